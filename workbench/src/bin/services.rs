//! A real Kafka and a real PostgreSQL on loopback until Ctrl-C, for trying the consumer by hand where no Docker
//! runs. Prints the variables that the consumer and the generator read.

#![allow(clippy::print_stdout)] // the variables are this program's answer

use std::io::Write as _;
use workbench::services::{Kafka, Postgres, kafka, postgres};

fn main() -> anyhow::Result<()> {
    let options = postgres::Options {
        database: "mlops_db".to_owned(),
        ..postgres::Options::default()
    };
    let postgres = Postgres::start(&options)?;
    let kafka = Kafka::start(&kafka::Options::default())?;
    kafka.create_topic("datacenter-metrics", 6, &[])?;
    println!("export KAFKA_BOOTSTRAP_SERVERS={}", kafka.bootstrap());
    println!("export POSTGRES_HOST=127.0.0.1 POSTGRES_PORT={}", postgres.port());
    println!(
        "export POSTGRES_DB={} POSTGRES_USER={} POSTGRES_PASSWORD={}",
        options.database, options.user, options.password
    );
    println!("# psql {}", postgres.url(&options.database));
    std::io::stdout().flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The servers end, and their data goes, when this returns.
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    })?;
    Ok(())
}
