//! Owns what SIGHUP does to the main job: environment and file are read again, and what is safe is taken over, all or nothing:
//! the log's level, the routes, what becomes of unknown types. What can't be taken over, but differs, is told by name.

use crate::config::{Config, Effective, PostgresConfig, Reading, Sources};
use crate::logging;
use crate::metrics::Metrics;
use crate::postgres;
use crate::table::catalog::{self, Catalog, CatalogError};
use crate::table::{Routes, SharedTables};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// The settings that are taken over.
const SAFE: [&str; 3] = ["log-level", "route", "unknown-types"];

/// The configuration of the running process, and where it comes from.
pub struct Reload {
    sources: Sources,
    /// What the process was started with, where it could be read once more.
    at_start: Option<Reading>,
    /// As far as it is taken over: the newest one.
    config: Config,
    tables: Arc<SharedTables>,
    metrics: Arc<Metrics>,
    /// Who shows it to people.
    shown: Box<dyn Fn(&Effective) + Send + Sync>,
}

/// Why nothing is taken over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// The new configuration has mistakes.
    #[error("{0}")]
    Config(String),
    /// The tables of the new routes can't be filled, or not be looked at.
    #[error("{0}")]
    Tables(String),
}

impl Reload {
    /// For a process that runs with this configuration, which comes from there, where `at_start` was read.
    #[must_use]
    pub fn new(
        sources: Sources,
        at_start: Option<Reading>,
        config: Config,
        tables: Arc<SharedTables>,
        metrics: Arc<Metrics>,
        shown: impl Fn(&Effective) + Send + Sync + 'static,
    ) -> Self {
        Self {
            sources,
            at_start,
            config,
            tables,
            metrics,
            shown: Box::new(shown),
        }
    }

    /// Reads the configuration anew at each request, until nobody can make one any more.
    pub async fn serve(mut self, mut requests: UnboundedReceiver<()>) {
        while requests.recv().await.is_some() {
            match self.take_over().await {
                Ok((changed, now)) => {
                    let at_start = self.at_start.iter();
                    let differing = at_start.flat_map(|at_start| at_start.differences(&now));
                    for name in differing.filter(|name| !SAFE.contains(name)) {
                        tracing::warn!("--{name} differs now: it holds from the next start on");
                    }
                    tracing::info!(changed = changed.join(", "), "configuration reloaded");
                }
                Err(refusal) => {
                    tracing::error!("the configuration was not reloaded, nothing has changed: {refusal}");
                }
            }
        }
    }

    /// What has changed.
    async fn take_over(&mut self) -> Result<(Vec<&'static str>, Reading), Refusal> {
        let read = self.sources.read(|name| std::env::var_os(name));
        let (config, reading) = read.map_err(|error| {
            let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
            Refusal::Config(problems.join("; "))
        })?;
        let mut changed = Vec::new();
        let other_types = config.unknown_types != self.config.unknown_types;
        if config.routes != self.config.routes || other_types {
            let routes = config.table_routes();
            let catalog = read_tables(&self.config.postgres, &routes).await?;
            if config.routes != self.config.routes {
                changed.push("route");
            }
            if other_types {
                changed.push("unknown-types");
            }
            self.tables
                .reroute(routes, config.unknown_types, catalog.tables, catalog.oids);
            // From now on they are told, be it as 0.
            let _ = self.metrics.places(&self.tables.current().names);
            self.config.routes = config.routes;
            self.config.unknown_types = config.unknown_types;
        }
        if config.log.level != self.config.log.level {
            logging::set_level(config.log.level);
            self.config.log.level = config.log.level;
            changed.push("log-level");
        }
        self.config.effective = self.config.effective.with(&SAFE, &config.effective);
        (self.shown)(&self.config.effective);
        Ok((changed, reading))
    }
}

/// The routed tables, if rows of events can fill them.
async fn read_tables(config: &PostgresConfig, routes: &Routes) -> Result<Catalog, Refusal> {
    let read = match postgres::connect(config).await {
        Ok(client) => catalog::read(&client, routes.tables()).await,
        Err(error) => Err(error.into()),
    };
    read.map_err(|error| {
        Refusal::Tables(match error {
            CatalogError::Unfit(findings) => findings.to_string(),
            CatalogError::Connect(error) => format!("postgres: {error}; send SIGHUP again when it is back"),
            CatalogError::Postgres(error) => format!("postgres: {}", postgres::describe(&error)),
        })
    })
}
