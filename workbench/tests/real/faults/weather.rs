//! PostgreSQL's bad weather: faults that pass, one after another on one server, under a constant load. Each is told
//! with its SQLSTATE, and events are stored again when it is over.

use crate::consumer::{
    Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates, query, while_load_flows,
};
use crate::shared::Scene;
use std::cell::RefCell;
use std::fs;
use std::time::Duration;
use workbench::generator::Settings;
use workbench::services::postgres::Options;
use workbench::services::process::Signal;
use workbench::services::{Postgres, wait_until};

#[test]
fn each_fault_that_passes_drops_nothing_and_is_told() {
    let server = Options {
        settings: vec![("max_connections".to_owned(), "10".to_owned())],
        ..Options::default()
    };
    let (scene, own) = Scene::with_postgres_of("passing", 2, &server);
    migrate_with_coordinates(&scene, &own);
    let role = "CREATE ROLE app LOGIN PASSWORD 'right';
         GRANT INSERT ON server_metrics, application_metrics TO app;
         GRANT SELECT, INSERT, UPDATE ON consumer_offsets, dead_letters TO app;
         GRANT SELECT ON storage_consumer_migrations TO app";
    own.execute(&scene.database, role).expect("the role can be made");
    let consumer = Consumer::start_on(
        &scene,
        &own,
        &[
            "--postgres-user",
            "app",
            "--postgres-password",
            "right",
            "--postgres-statement-timeout",
            "3",
        ],
    );
    let weather = Weather {
        scene: &scene,
        own: &own,
        consumer: &consumer,
    };
    let settings = Settings {
        rate: 1000.0,
        ..load(&scene, 0)
    };
    let sent = while_load_flows(settings, || {
        weather.clears("before any fault");
        weather.backend_is_killed();
        weather.lock_is_held();
        weather.connections_are_used_up();
        weather.server_is_read_only();
        weather.transactions_conflict();
        weather.transactions_deadlock();
        weather.password_is_wrong();
    });
    let found = expect_settled(&scene, &own, &consumer, sent.produced);
    assert_eq!(found.dead_letters, 0, "a row stored twice would be one");
    let lines = consumer.stop();
    let revoked = lines
        .iter()
        .filter(|line| line["message"] == "partitions revoked");
    assert_eq!(revoked.count(), 0, "the group stayed stable: {lines:?}");
}

/// Faults of a PostgreSQL under a constant load, one after another.
struct Weather<'a> {
    scene: &'a Scene,
    own: &'a Postgres,
    consumer: &'a Consumer,
}

impl Weather<'_> {
    /// Lets the fault begin, waits until the consumer tells it with these words, lets it end, and waits until
    /// that is told, too, and events are stored again.
    fn passes(&self, fault: &str, told: &str, begin: impl Fn(), end: impl FnOnce()) {
        let before = self.consumer.lines().len();
        let says = |message: &str, reason: &str| {
            self.consumer.lines()[before..].iter().any(|line| {
                line["message"] == message
                    && (reason.is_empty()
                        || line["reason"].as_str().is_some_and(|said| said.contains(reason)))
            })
        };
        let happened = wait_until(PATIENCE, || {
            begin();
            let message = "postgres does not take the work now; it is kept and sent again";
            wait_until(Duration::from_millis(500), || says(message, told))
        });
        assert!(happened, "{fault}: not told: {}", self.consumer.text());
        end();
        let is_over = wait_until(PATIENCE, || says("postgres is back", ""));
        assert!(is_over, "{fault}: not over: {}", self.consumer.text());
        self.clears(fault);
    }

    /// Waits until events are stored.
    fn clears(&self, fault: &str) {
        let before = count(self.scene, self.own).settled();
        let flows = || count(self.scene, self.own).settled() > before + 200;
        assert!(
            wait_until(PATIENCE, flows),
            "{fault}: nothing is stored afterwards: {}",
            self.consumer.text()
        );
    }

    fn sql(&self, sql: &str) {
        self.own
            .execute(&self.scene.database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    }

    fn ask(&self, sql: &str) -> Option<String> {
        query(self.own, &self.scene.database, sql)
    }

    /// A session of a user other than the consumer's, which lasts.
    fn session(&self, user: &str, password: &str) -> anyhow::Result<OtherSession> {
        let mut config = self.own.config(&self.scene.database);
        config.user(user).password(password);
        OtherSession::open(&config)
    }

    fn superuser(&self) -> OtherSession {
        self.session("postgres", "postgres").expect("a session")
    }

    /// Waits until the consumer waits for a lock.
    fn consumer_waits(&self, fault: &str) {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE application_name = 'storage-consumer' AND wait_event_type = 'Lock'";
        let waits = || self.ask(sql).as_deref() == Some("1");
        assert!(wait_until(PATIENCE, waits), "{fault}: {}", self.consumer.text());
    }

    fn backend_is_killed(&self) {
        let kill = || {
            let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'storage-consumer'";
            // None, while the server recovers.
            let Some(pid) = self.ask(sql) else { return };
            let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
            // It may have gone meanwhile.
            let _ = rustix::process::kill_process(pid.expect("a process id"), Signal::KILL);
        };
        self.passes("a backend is killed", "", kill, || {});
        let log = fs::read_to_string(self.own.log()).expect("the server's log");
        assert!(log.contains("was terminated by signal 9"), "{log}");
    }

    fn lock_is_held(&self) {
        let owner = self.superuser();
        let alter = || owner.sql("BEGIN; ALTER TABLE server_metrics ADD IF NOT EXISTS note text");
        self.passes("ALTER TABLE holds its lock", "[SQLSTATE 57014]", alter, || {
            owner.sql("COMMIT");
        });
    }

    fn connections_are_used_up(&self) {
        let taken = RefCell::new(Vec::new());
        let take_all = || {
            while let Ok(session) = self.session("app", "right") {
                taken.borrow_mut().push(session);
            }
            self.sql(TERMINATE);
            while let Ok(session) = self.session("app", "right") {
                taken.borrow_mut().push(session);
            }
        };
        self.passes("connections are used up", "[SQLSTATE 53300]", take_all, || {
            taken.borrow_mut().clear();
        });
    }

    fn server_is_read_only(&self) {
        let set = |value: &str| {
            self.sql(&format!(
                "ALTER SYSTEM SET default_transaction_read_only = {value}"
            ));
            self.sql("SELECT pg_reload_conf()");
        };
        self.passes("read-only", "[SQLSTATE 25006]", || set("on"), || set("off"));
    }

    fn transactions_conflict(&self) {
        let fault = "a serialization conflict";
        let database = &self.scene.database;
        self.sql(&format!(
            "ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"
        ));
        self.sql(TERMINATE);
        let other = self.superuser();
        let conflict = || {
            // It shall win, whoever comes first.
            other.sql("BEGIN ISOLATION LEVEL READ COMMITTED; UPDATE consumer_offsets SET updated_at = now()");
            self.consumer_waits(fault);
            other.sql("COMMIT");
        };
        self.passes(fault, "[SQLSTATE 40001]", conflict, || {
            self.sql(&format!(
                "ALTER DATABASE {database} RESET default_transaction_isolation"
            ));
            self.sql(TERMINATE);
        });
    }

    fn transactions_deadlock(&self) {
        let fault = "a deadlock";
        let other = self.superuser();
        // Who looks for it first is its victim: it shall not be this session.
        other.sql("SET deadlock_timeout = '1min'");
        let embrace = || {
            other.sql("BEGIN; LOCK TABLE server_metrics IN SHARE MODE");
            self.consumer_waits(fault);
            other.sql("UPDATE consumer_offsets SET updated_at = now(); COMMIT");
        };
        self.passes(fault, "[SQLSTATE 40P01]", embrace, || {});
    }

    fn password_is_wrong(&self) {
        let change = |password: &str| self.sql(&format!("ALTER ROLE app PASSWORD '{password}'"));
        let change_and_terminate = || {
            change("another");
            self.sql(TERMINATE);
        };
        self.passes(
            "the password is wrong",
            "[SQLSTATE 28P01]",
            change_and_terminate,
            || {
                change("right");
            },
        );
    }
}

/// Ends the consumer's sessions.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name = 'storage-consumer'";

/// A session that lasts over several statements.
struct OtherSession {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl OtherSession {
    fn open(config: &tokio_postgres::Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (client, connection) = runtime.block_on(config.connect(tokio_postgres::NoTls))?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    fn sql(&self, sql: &str) {
        self.runtime
            .block_on(self.client.batch_execute(sql))
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}
