//! Owns the demo's own look into the database: a client that blocks, for a limited time, and that connects again
//! when its server was away.

use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// A look may take so long.
const LIMIT: Duration = Duration::from_secs(2);
/// Counting large tables may take so long.
const COUNT: Duration = Duration::from_mins(5);

/// A client.
pub(super) struct Database {
    runtime: Runtime,
    config: Config,
    client: Option<Client>,
}

/// A row's columns, as text.
pub(super) type Row = Vec<Option<String>>;

impl Database {
    pub(super) fn new(config: Config) -> anyhow::Result<Self> {
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

    /// The reason and detail of the newest dead letter; `None` where there is none, or no answer.
    pub(super) fn newest_dead_letter(&mut self) -> Option<String> {
        let sql = "SELECT reason || ': ' || detail FROM dead_letters ORDER BY id DESC LIMIT 1";
        let rows = self.query_within(LIMIT, sql).ok()?;
        rows.into_iter().next()?.into_iter().next()?
    }

    /// The rows of a query that may take long.
    pub(super) fn query(&mut self, sql: &str) -> anyhow::Result<Vec<Row>> {
        self.query_within(COUNT, sql)
    }

    /// The only number of a query's only row.
    pub(super) fn number(&mut self, sql: &str) -> anyhow::Result<u64> {
        let rows = self.query(sql)?;
        let value = rows.first().and_then(|row| row.first()).cloned().flatten();
        let value = value.with_context(|| format!("no answer to {sql}"))?;
        value.parse().with_context(|| format!("{value} is no count"))
    }

    fn query_within(&mut self, limit: Duration, sql: &str) -> anyhow::Result<Vec<Row>> {
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
