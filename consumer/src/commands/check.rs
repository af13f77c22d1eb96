//! Owns the answer to `storage-consumer check`: whether the main job would run with this configuration. Looks at both
//! servers, changes nothing, and says one line a finding.

use crate::config::{Config, OAuth};
use crate::pipeline::consume::onlooker;
use crate::pipeline::oauth_token;
use crate::postgres::{self, Connection};
use crate::schema::{self, StartError};
use crate::table::catalog::{self, CatalogError};
use crate::table::{ColumnType, Source, Table, TableName};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use std::error::Error;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(10);

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

/// What the client says while it tries.
struct Notes {
    said: Mutex<Said>,
    oauth: Option<OAuth>,
}

#[derive(Clone, Default)]
struct Said {
    /// Why a broker could not be asked.
    why: Option<(RDKafkaErrorCode, String)>,
    /// No broker is left.
    all_down: bool,
}

impl ClientContext for Notes {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth_token(self.oauth.as_ref())
    }

    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let mut said = self.said.lock().expect("not poisoned");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => said.all_down = true,
            Some(code) => said.why = Some((code, reason.to_owned())),
            None => {}
        }
    }
}

impl ConsumerContext for Notes {}

/// Asks until there is an answer, or no use in asking.
fn metadata(consumer: &BaseConsumer<Notes>, topic: &str) -> Result<Metadata, String> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let error = match consumer.fetch_metadata(Some(topic), Duration::from_millis(500)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        // What it has said is handed over when it is polled.
        while consumer.poll(Duration::ZERO).is_some() {}
        let said = consumer.context().said.lock().expect("not poisoned").clone();
        // Credentials that one broker refuses, others refuse, too.
        let refused = matches!(said.why, Some((RDKafkaErrorCode::Authentication, _)));
        if refused || said.all_down && said.why.is_some() || Instant::now() > until {
            return Err(why(said, &error));
        }
    }
}

/// Why the brokers can't be asked, and what to look at.
fn why(said: Said, error: &KafkaError) -> String {
    match said.why {
        None => format!("{error}; check --kafka-servers, --kafka-security-protocol and the network"),
        Some((RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed, said)) => {
            format!(
                "{said}; check --kafka-sasl-mechanism, user and password, or what the token is fetched with"
            )
        }
        // A broker that refuses our certificate says so once the handshake is over.
        Some((code, said)) if code == RDKafkaErrorCode::SSL || said.contains("certificate") => {
            format!("{said}; check --kafka-ssl-ca, the names in --kafka-servers and --kafka-ssl-certificate")
        }
        Some((_, said)) => {
            format!("{said}; check --kafka-servers, --kafka-security-protocol and the network")
        }
    }
}

async fn check_kafka(config: &Config, report: &mut Report) {
    let kafka = config.kafka.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let notes = Notes {
            said: Mutex::default(),
            oauth: kafka.oauth.clone(),
        };
        let consumer: BaseConsumer<Notes> = onlooker(&kafka)
            .create_with_context(notes)
            .map_err(|error| error.to_string())?;
        let metadata = metadata(&consumer, &kafka.topic)?;
        let brokers = metadata.brokers().len();
        let topic = metadata.topics().iter().find(|topic| topic.name() == kafka.topic);
        Ok::<_, String>((
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
        Err(error) => report.bad(format!("kafka {servers}: {error}")),
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
    match encryption(&client).await {
        Ok(encryption) => report.good(format!(
            "{server}: connected as {}, {encryption}",
            config.postgres.user
        )),
        Err(error) => report.bad(format!("{server}: {}", postgres::describe(&error))),
    }
    if let Err(error) = check_tables(config, &client, report).await {
        report.bad(format!("{server}: {}", postgres::describe(&error)));
    }
}

/// Whether the connection is encrypted, and how.
async fn encryption(client: &Connection) -> Result<String, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl",
            &[],
        )
        .await?;
    Ok(match row {
        Some(row) => format!("encrypted ({})", row.try_get::<_, &str>(0)?),
        None => "not encrypted".to_owned(),
    })
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
    let routes = config.table_routes();
    let missing = schema::privileges::missing(client, routes.tables()).await?;
    for privilege in &missing {
        report.bad(privilege.to_string());
    }
    // Without a look at the tables there is nothing more to say of them.
    if missing.iter().any(schema::privileges::Missing::hides_tables) {
        return Ok(());
    }
    if schema::is_current(client).await? {
        report.good("migrations: all applied");
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
    for table in routes.tables() {
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
            Ok(())
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
