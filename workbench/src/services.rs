//! Real services on loopback, for tests, the demo and benchmarks: a PostgreSQL server and Apache Kafka
//! brokers, each in a temporary folder on free ports, none of which outlives this process. `scripts/setup`
//! installs what they need. Everything here blocks, and may be called from async code as well as from plain
//! threads.

use std::env;
use std::ffi::OsStr;
use std::future::Future;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

pub mod ports; // free ports that the kernel will not give away meanwhile
pub mod folder; // temporary folders, and the end of those that others left behind
pub mod process; // a child with a log, a user and an end
pub mod postgres; // a PostgreSQL server
pub mod proxy; // between a client and PostgreSQL: cuts, silence, lost answers
mod java; // the JVM and Kafka's classes
pub mod kafka; // Kafka brokers: one, or a cluster
pub mod kafka_admin; // topics, records and the lag of groups, on any broker
pub mod prometheus; // a Prometheus server, and promtool
pub mod mock_kafka; // librdkafka's in-process broker, where no Java is at hand

pub use kafka::Kafka;
pub use mock_kafka::MockKafka;
pub use postgres::Postgres;
pub use prometheus::Prometheus;
pub use proxy::Proxy;

/// What to do about a service that is not installed; part of every error that says so.
const SET_UP: &str = "run scripts/setup test";

/// Polls `condition` until it holds, and says whether it did before `limit` had passed.
///
/// It is looked at once more after the limit, so that a process that was long off the processor is not
/// judged by an old look.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let last = Instant::now() >= deadline;
        if condition() {
            return true;
        }
        if last {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The folder that `scripts/setup` fills: `STORAGE_CONSUMER_CACHE`, else `storage-consumer` in the user's
/// cache folder.
pub(crate) fn cache_folder() -> PathBuf {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("STORAGE_CONSUMER_CACHE").unwrap_or_else(|| {
        set("XDG_CACHE_HOME")
            .unwrap_or_else(|| set("HOME").unwrap_or_else(env::temp_dir).join(".cache"))
            .join("storage-consumer")
    })
}

/// The first program of this name in `PATH`.
pub fn in_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let program = program.as_ref();
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a future to its end on a thread of its own, because a thread that already drives one may not block
/// on another.
pub fn block_on<T: Send>(future: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("no runtime for a service's client")?
                .block_on(future)
        });
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
