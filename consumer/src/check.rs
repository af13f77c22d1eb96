//! Owns the answer to `storage-consumer check`: whether the main job would run with this configuration. Looks at both
//! servers, changes nothing, and says one line a finding.

use crate::config::Config;
use crate::postgres::{self, Connection};
use crate::schema::{self, StartError};
use crate::table::catalog::{self, CatalogError};
use crate::table::{ColumnType, Source, Table, TableName};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::io::Write;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The privileges that the main job needs on its own tables.
const OWN_TABLES: [(&str, &str); 2] = [
    ("consumer_offsets", "SELECT, INSERT, UPDATE"),
    ("dead_letters", "SELECT, INSERT, UPDATE"),
];

/// What a finding means for the main job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// It runs, but not as well as it could.
    Doubtful,
    /// It would not run.
    Bad,
}

/// What was found, in the order in which it was looked for.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<(Verdict, String)>,
}

impl Report {
    fn good(&mut self, text: impl Into<String>) {
        self.lines.push((Verdict::Good, text.into()));
    }

    fn doubtful(&mut self, text: impl Into<String>) {
        self.lines.push((Verdict::Doubtful, text.into()));
    }

    fn bad(&mut self, text: impl Into<String>) {
        self.lines.push((Verdict::Bad, text.into()));
    }

    fn failed(&self) -> bool {
        self.lines.iter().any(|(verdict, _)| *verdict == Verdict::Bad)
    }
}

/// Checks, prints, and returns the exit code: 0 when the main job would run, otherwise 1.
pub async fn run(config: &Config) -> u8 {
    let mut report = Report::default();
    report.good("configuration: valid");
    check_kafka(config, &mut report).await;
    check_postgres(config, &mut report).await;
    let mut out = std::io::stdout().lock();
    for (verdict, text) in &report.lines {
        let word = match verdict {
            Verdict::Good => "ok     ",
            Verdict::Doubtful => "WARNING",
            Verdict::Bad => "ERROR  ",
        };
        let _ = writeln!(out, "{word} {text}");
    }
    u8::from(report.failed())
}

async fn check_kafka(config: &Config, report: &mut Report) {
    let kafka = config.kafka.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let mut properties = ClientConfig::new();
        for (key, value) in &kafka.properties {
            properties.set(key, value);
        }
        properties
            .set("bootstrap.servers", &kafka.servers)
            .set("group.id", &kafka.group_id);
        properties.set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer = properties.create()?;
        let metadata = consumer.fetch_metadata(Some(&kafka.topic), TIMEOUT)?;
        let brokers = metadata.brokers().len();
        let topic = metadata.topics().iter().find(|topic| topic.name() == kafka.topic);
        Ok::<_, rdkafka::error::KafkaError>((
            brokers,
            topic.map(|topic| {
                (
                    topic.partitions().len(),
                    topic.error().map(rdkafka::error::RDKafkaErrorCode::from),
                )
            }),
        ))
    })
    .await
    .expect("the check does not panic");
    let servers = &config.kafka.servers;
    match answer {
        Err(error) => report.bad(format!(
            "kafka {servers}: {error}; check --kafka-servers and the network"
        )),
        Ok((brokers, topic)) => {
            report.good(format!("kafka {servers}: {brokers} broker(s)"));
            let name = &config.kafka.topic;
            match topic {
                Some((partitions, None)) if partitions > 0 => {
                    report.good(format!("topic {name}: {partitions} partition(s)"));
                    if usize::from(config.workers) > partitions {
                        report.doubtful(format!(
                            "topic {name}: {} workers for {partitions} partition(s), so some have nothing to do; \
                             lower --workers",
                            config.workers
                        ));
                    }
                }
                Some((_, Some(error))) => {
                    report.bad(format!("topic {name}: {error}; create it, or check --topic"));
                }
                _ => report.bad(format!(
                    "topic {name}: does not exist; create it, or check --topic"
                )),
            }
        }
    }
}

async fn check_postgres(config: &Config, report: &mut Report) {
    let server = format!(
        "postgres {}:{}/{}",
        config.postgres.host, config.postgres.port, config.postgres.database
    );
    let client = match postgres::connect(&config.postgres).await {
        Ok(client) => client,
        Err(error) => return report.bad(format!("{server}: {error}")),
    };
    report.good(format!("{server}: connected as {}", config.postgres.user));
    if let Err(error) = check_tables(config, &client, report).await {
        report.bad(format!("{server}: {}", postgres::describe(&error)));
    }
}

async fn check_tables(
    config: &Config,
    client: &Connection,
    report: &mut Report,
) -> Result<(), tokio_postgres::Error> {
    let read_only = client.query_one(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool",
        &[],
    );
    if read_only.await?.try_get(0)? {
        report.bad("postgres: is read-only; name the primary server in --postgres-host");
    }
    if let Some(encoding) = schema::unfit_encoding(client).await? {
        report.bad(StartError::Encoding(encoding).to_string());
    }
    if schema::is_current(client).await? {
        report.good("migrations: all applied");
        for (table, privileges) in OWN_TABLES {
            check_privileges(client, table, privileges, report).await?;
        }
    } else if config.migrate {
        let may = client
            .query_one("SELECT has_schema_privilege(current_schema(), 'CREATE')", &[])
            .await?;
        if may.try_get::<_, Option<bool>>(0)? == Some(true) {
            report.good("migrations: missing; consume will apply them");
        } else {
            report.bad("migrations: missing, and this user may not create tables; run `storage-consumer migrate` as the owner");
        }
    } else {
        report.bad("migrations: missing, and --no-migrate forbids them; run `storage-consumer migrate`");
    }
    for table in config.table_routes().tables() {
        check_table(client, table, report).await?;
    }
    Ok(())
}

async fn check_table(
    client: &Connection,
    name: &TableName,
    report: &mut Report,
) -> Result<(), tokio_postgres::Error> {
    match catalog::read(client, std::slice::from_ref(name)).await {
        Ok(catalog) => {
            for table in &catalog.tables {
                report.good(describe(table));
                for warning in warnings(table) {
                    report.doubtful(warning);
                }
            }
            check_privileges(client, &name.quoted(), "INSERT", report).await
        }
        Err(CatalogError::Unfit(findings)) => {
            for finding in findings.0 {
                report.bad(finding);
            }
            Ok(())
        }
        Err(CatalogError::Connect(error)) => {
            report.bad(format!("table {name}: {error}"));
            Ok(())
        }
        Err(CatalogError::Postgres(error)) => Err(error),
    }
}

fn describe(table: &Table) -> String {
    let fields = table
        .columns
        .iter()
        .filter(|column| column.source == Source::Field)
        .count();
    let key: Vec<&str> = table
        .key
        .iter()
        .map(|key| table.columns[key.column].name.as_str())
        .collect();
    let order = if key.is_empty() {
        "no index that asks for an order".to_owned()
    } else {
        format!("rows sorted by {}", key.join(", "))
    };
    format!(
        "table {}: {fields} column(s) filled from fields, {order}",
        table.name
    )
}

fn warnings(table: &Table) -> Vec<String> {
    let no_zone = table
        .columns
        .iter()
        .filter(|column| column.kind == ColumnType::Timestamp && column.name == "timestamp");
    no_zone
        .map(|column| {
            format!(
                "table {}, column {}: has no time zone; values are stored as UTC, prefer timestamptz",
                table.name, column.name
            )
        })
        .collect()
}

async fn check_privileges(
    client: &Connection,
    table: &str,
    privileges: &str,
    report: &mut Report,
) -> Result<(), tokio_postgres::Error> {
    for privilege in privileges.split(", ") {
        let row = client
            .query_one("SELECT has_table_privilege($1, $2)", &[&table, &privilege])
            .await?;
        if !row.try_get::<_, bool>(0)? {
            report.bad(format!(
                "table {table}: this user lacks {privilege}; run GRANT {privilege} ON {table} TO the user"
            ));
        }
    }
    Ok(())
}
