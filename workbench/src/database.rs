//! Owns our own look into the database: a client that blocks, for a limited time, and that connects again when its
//! server was away. Not for threads that drive async code already.

use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Counting large tables may take so long.
const COUNT: Duration = Duration::from_mins(5);

/// A client.
pub struct Database {
    runtime: Runtime,
    config: Config,
    client: Option<Client>,
}

/// A row's columns, as text.
pub type Row = Vec<Option<String>>;

impl Database {
    /// A client that connects when it is first asked.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime for a client of the database")?;
        Ok(Self {
            runtime,
            config,
            client: None,
        })
    }

    /// The rows of a query that may take long.
    pub fn query(&mut self, sql: &str) -> anyhow::Result<Vec<Row>> {
        self.query_within(COUNT, sql)
    }

    /// The only number of a query's only row.
    pub fn number(&mut self, sql: &str) -> anyhow::Result<u64> {
        let value = self.first(sql)?;
        let value = value.with_context(|| format!("no answer to {sql}"))?;
        value.parse().with_context(|| format!("{value} is no count"))
    }

    /// The first column of the first row of a query, as text.
    pub fn first(&mut self, sql: &str) -> anyhow::Result<Option<String>> {
        let rows = self.query(sql)?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .flatten())
    }

    /// The rows of a query that is given up after `limit`.
    pub fn query_within(&mut self, limit: Duration, sql: &str) -> anyhow::Result<Vec<Row>> {
        let client = self.client.take();
        let config = &self.config;
        let (client, rows) = self.runtime.block_on(async {
            let work = async {
                let client = match client.filter(|client| !client.is_closed()) {
                    Some(client) => client,
                    None => connect(config).await?,
                };
                let rows = client.simple_query(sql).await?;
                anyhow::Ok((client, rows))
            };
            tokio::time::timeout(limit, work)
                .await
                .context("the database does not answer")?
        })?;
        self.client = Some(client);
        let rows = rows.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }
}

async fn connect(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection); // its error is the client's, too
    Ok(client)
}
