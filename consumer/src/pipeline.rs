//! Wires the stages of an event's path, supervises them, shuts them down; the only file that knows them all.
//! Each worker is a consume loop on a thread of its own and a store task with a connection of its own.

pub mod consume; // Kafka's messages into the filling batch; when a batch is due
pub mod token; // what OAUTHBEARER proves itself with
mod rebalance; // what librdkafka says of the group, and is told
mod assignment; // which partitions this worker has, and where each stands
mod flow; // what follows from all that happens: the worker's decisions
pub mod decode; // payload → fields, in one pass
pub mod encode; // fields → the bytes of a COPY BINARY row
pub mod routing; // one message → a row, a dead letter, or skipped
pub mod batch; // rows and dead letters, and the offsets that they cover
pub mod exchange; // what the consume loop and the store say to each other
pub mod store; // a batch → one transaction, sent again until PostgreSQL takes it
mod commit; // the advisory commit to Kafka
#[cfg(test)]
mod model; // thousands of schedules of polls, rebalances, crashes and lost answers

pub use self::rebalance::oauth_token;

use self::consume::{Consume, ConsumeError, Parts};
use self::routing::Routing;
use self::store::{Shared, Store};
use crate::config::{self, Config, Effective};
use crate::health::Health;
use crate::http::{self, Sources};
use crate::metrics::Metrics;
use crate::reload::Reload;
use crate::schema::{self, StartError};
use crate::status::{Facts, Setting, Status};
use crate::supervisor::Supervisor;
use crate::table::SharedTables;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// The statistics line comes at this interval.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);

/// After its last commit, a worker may take so long to leave the group.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Why a run ends other than by request.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The database could not be prepared.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The servers were out of reach for too long at the start.
    #[error("not started within --startup-timeout: {0}")]
    StartupTimeout(String),
    /// The address for HTTP can't be listened on.
    #[error("--http-listen {address}: {error}; name a free address, or `off`")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// A worker could not go on.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// The workers did not end in time.
    #[error("the workers did not end within the shutdown timeout; what was not stored will be read again")]
    Hanging,
    /// The system refuses what every program may have.
    #[error("{0}")]
    System(std::io::Error),
}

impl RunError {
    /// The process' exit code, after sysexits.h where it has one.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::StartupTimeout(_) => 69,
            Self::Consume(ConsumeError::ShutdownTimeout { .. }) | Self::Hanging => 75,
            _ => 1,
        }
    }
}

/// Runs the main job until SIGTERM, SIGINT or `--duration`. A second signal ends the process at once. At SIGHUP the
/// configuration is read again from its sources.
pub async fn run(config: Config, sources: config::Sources) -> Result<(), RunError> {
    let started = Instant::now();
    let at_start = sources
        .read(|name| std::env::var_os(name))
        .ok()
        .map(|(_, at_start)| at_start);
    let stop = Arc::new(AtomicBool::new(false));
    let supervisor = Supervisor::of_environment();
    let (reload, reloads) = mpsc::unbounded_channel();
    let mut stopping =
        stop_requests(&config, Arc::clone(&stop), supervisor.clone(), reload).map_err(RunError::System)?;
    let routes = config.table_routes();
    let health = Arc::new(Health::new(config.workers, config.batch.interval, started));
    let tables = routes.tables().iter().map(ToString::to_string).collect();
    let metrics = Arc::new(Metrics::new(tables, buffer_limit(&config)));
    let status = status(&config, &metrics, &health, &stop);
    if let Some(address) = config.http_listen {
        let listener = http::bind(address)
            .await
            .map_err(|error| RunError::Http { address, error })?;
        tracing::info!(%address, "http: /, /status, /live, /ready, /metrics");
        tokio::spawn(Arc::clone(&status).watch());
        tokio::spawn(http::serve(
            listener,
            Sources {
                health: Arc::clone(&health),
                metrics: Arc::clone(&metrics),
                status: Arc::clone(&status),
                names: config.http_names.clone().into(),
            },
        ));
    }
    tokio::spawn(supervisor.report(Arc::clone(&health), Arc::clone(&metrics), started));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        topic = config.kafka.topic,
        group_id = config.kafka.group_id,
        kafka_servers = config.kafka.servers,
        postgres_host = config.postgres.host,
        postgres_port = config.postgres.port,
        postgres_db = config.postgres.database,
        batch_size = config.batch.size,
        commit_interval = config.batch.interval.as_secs_f64(),
        workers = config.workers,
        "storage consumer starts",
    );

    let prepared = schema::prepare(
        &config.postgres,
        routes.tables(),
        config.migrate,
        &health.postgres,
    );
    let catalog = tokio::select! {
        prepared = within(config.startup_timeout, prepared) => match prepared {
            Some(catalog) => catalog?,
            None => return Err(RunError::StartupTimeout(health.not_ready(Instant::now()).join("; "))),
        },
        _ = &mut stopping => return Ok(()),
    };
    let tables = Arc::new(SharedTables::new(
        routes,
        config.unknown_types,
        catalog.tables,
        catalog.oids,
    ));
    let reloading = Reload::new(
        sources,
        at_start,
        config.clone(),
        Arc::clone(&tables),
        Arc::clone(&metrics),
        move |effective| status.configured(shown(effective)),
    );
    tokio::spawn(reloading.serve(reloads));

    let mut workers = tokio::task::JoinSet::new();
    for number in 0..config.workers {
        let ended = start_worker(&config, number, &tables, &metrics, &health, &stop);
        workers.spawn(async move { ended.await.unwrap_or(Err(ConsumeError::StoreGone)) });
    }
    let ended = supervise(&config, &mut workers, stopping, &stop, &metrics, &health, started).await;

    let elapsed = started.elapsed();
    let statistics = metrics.statistics();
    tracing::info!(flatten = statistics.last_line(elapsed), "final statistics");
    ended
}

/// What the status page shows.
fn status(
    config: &Config,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    stop: &Arc<AtomicBool>,
) -> Arc<Status> {
    let facts = Facts {
        started: SystemTime::now(),
        topic: config.kafka.topic.clone(),
        group: config.kafka.group_id.clone(),
        workers: config.workers,
        commit_interval: config.batch.interval,
    };
    let status = Status::new(facts, Arc::clone(metrics), Arc::clone(health), Arc::clone(stop));
    status.configured(shown(&config.effective));
    Arc::new(status)
}

/// The configuration as the status page shows it.
fn shown(effective: &Effective) -> Vec<Setting> {
    let settings = effective.iter().map(|held| Setting {
        setting: held.setting.name.to_owned(),
        value: held.value.clone(),
        source: held.source.as_str().to_owned(),
    });
    settings.collect()
}

/// Waits for the workers, tells the statistics meanwhile. When one ends, all end.
async fn supervise(
    config: &Config,
    workers: &mut tokio::task::JoinSet<Result<(), ConsumeError>>,
    mut stopping: oneshot::Receiver<()>,
    stop: &AtomicBool,
    metrics: &Metrics,
    health: &Health,
    started: Instant,
) -> Result<(), RunError> {
    let mut tick = tokio::time::interval_at((started + STATISTICS_INTERVAL).into(), STATISTICS_INTERVAL);
    let mut before = metrics.statistics();
    let mut deadline = None;
    let mut result = Ok(());
    let join_deadline = config.startup_timeout.map(|timeout| started + timeout);
    let mut joined = false;
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                None => return result,
                Some(ended) => {
                    stop.store(true, Ordering::Relaxed);
                    deadline = deadline.or(Some(Instant::now() + config.shutdown_timeout + LEAVE_WITHIN));
                    if let (Ok(Err(error)), Ok(())) = (ended, &result) {
                        result = Err(error.into());
                    }
                }
            },
            _ = &mut stopping, if deadline.is_none() => {
                deadline = Some(Instant::now() + config.shutdown_timeout + LEAVE_WITHIN);
            }
            _ = tick.tick() => {
                let now = metrics.statistics();
                tracing::info!(flatten = now.line(&before, STATISTICS_INTERVAL, started.elapsed()), "statistics");
                before = now;
                let reasons = health.not_ready(Instant::now());
                if deadline.is_none() && !reasons.is_empty() {
                    tracing::warn!(reasons = reasons.join("; "), "not ready: waiting, nothing is lost");
                }
            }
            () = tokio::time::sleep(Duration::from_millis(100)), if deadline.is_some() || (join_deadline.is_some() && !joined) => {
                joined |= health.workers.iter().all(|worker| worker.joined());
                if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    return result.and(Err(RunError::Hanging));
                }
                if !joined && deadline.is_none() && join_deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    return Err(RunError::StartupTimeout(health.not_ready(Instant::now()).join("; ")));
                }
            }
        }
    }
}

/// Applies the missing migrations, and gives the built-in tables the indexes that were asked for, if any were.
pub async fn migrate(config: Config) -> Result<(), RunError> {
    let health = Health::new(0, config.batch.interval, Instant::now());
    match within(
        config.startup_timeout,
        schema::migrate_when_there(&config.postgres, &health.postgres),
    )
    .await
    {
        Some(migrated) => migrated?,
        None => {
            return Err(RunError::StartupTimeout(
                health.not_ready(Instant::now()).join("; "),
            ));
        }
    }
    // The server is there: how long it builds an index is no matter of the start.
    if let Some(indexes) = config.indexes {
        schema::index_when_there(&config.postgres, indexes, &health.postgres).await?;
    }
    Ok(())
}

/// The bytes that all workers may hold together: two batches each, and what its Kafka client fetches ahead.
fn buffer_limit(config: &Config) -> u64 {
    let batches = 2 * config.batch.max_bytes as u64;
    u64::from(config.workers) * (batches + consume::fetched_ahead(&config.kafka))
}

/// Starts one worker; what it is given back tells how it ended.
fn start_worker(
    config: &Config,
    number: u16,
    tables: &Arc<SharedTables>,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    stop: &Arc<AtomicBool>,
) -> oneshot::Receiver<Result<(), ConsumeError>> {
    let routing = || Routing::new(&tables.current());
    let (commands, commands_of_store) = mpsc::unbounded_channel();
    let (outcomes_of_store, outcomes) = std::sync::mpsc::channel();
    let (tell_end, ended) = oneshot::channel();
    let parts = Parts {
        worker: number,
        kafka: config.kafka.clone(),
        batch: config.batch,
        routing: routing(),
        tables: Arc::clone(tables),
        metrics: Arc::clone(metrics),
        health: Arc::clone(&health.workers[usize::from(number)]),
        commands,
        outcomes,
        stop: Arc::clone(stop),
        shutdown_timeout: config.shutdown_timeout,
    };
    let thread = std::thread::Builder::new()
        .name(format!("consume-{number}"))
        .spawn(move || {
            let result = Consume::new(parts).and_then(Consume::run);
            let _ = tell_end.send(result);
        })
        .expect("the system gives a thread at the start");

    let store = Store::new(
        config.postgres.clone(),
        config.kafka.group_id.clone(),
        config.kafka.topic.clone(),
        routing(),
        Shared {
            tables: Arc::clone(tables),
            metrics: Arc::clone(metrics),
            health: Arc::clone(&health.postgres),
        },
    );
    let consume = thread.thread().clone();
    let serve = store.run(commands_of_store, move |outcome| {
        // A loop that has ended needs no outcome.
        let _ = outcomes_of_store.send(outcome);
        consume.unpark();
    });
    // A thread of its own: the store and its connection hand each piece of a COPY over many times a millisecond, which
    // costs little on one thread, and two wake-ups between two.
    std::thread::Builder::new()
        .name(format!("store-{number}"))
        .spawn(move || store_runtime().block_on(serve))
        .expect("the system gives a thread at the start");
    ended
}

fn store_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives what an event loop needs")
}

/// Sets `stop` at the first signal or when the duration is over, and tells it; ends the process at the second signal. Each
/// SIGHUP until then is a request to `reload`, unless the terminal that the log goes to was closed.
fn stop_requests(
    config: &Config,
    stop: Arc<AtomicBool>,
    supervisor: Supervisor,
    reload: mpsc::UnboundedSender<()>,
) -> std::io::Result<oneshot::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let had_terminal = std::io::stderr().is_terminal();
    let duration = config.duration;
    let shutdown_timeout = config.shutdown_timeout;
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let over = after(duration);
        tokio::pin!(over);
        let reason = loop {
            tokio::select! {
                reason = next_signal(&mut terminate, &mut interrupt) => break reason.0,
                () = &mut over => break "duration is over",
                _ = hangup.recv() => {
                    if had_terminal && !std::io::stderr().is_terminal() {
                        break "its terminal was closed";
                    }
                    let _ = reload.send(());
                }
            }
        };
        tracing::info!(
            reason,
            shutdown_timeout = shutdown_timeout.as_secs_f64(),
            "stopping: storing what is batched"
        );
        stop.store(true, Ordering::Relaxed);
        supervisor.stopping(shutdown_timeout + LEAVE_WITHIN);
        let _ = tell.send(());
        let (reason, code) = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!(
            reason,
            "second signal: ending at once; what was not stored will be read again"
        );
        std::process::exit(code);
    });
    Ok(told)
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", 128 + 15),
        _ = interrupt.recv() => ("SIGINT", 128 + 2),
    }
}

async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
