//! Moves metric events from a Kafka topic into PostgreSQL tables, each event exactly once.
//!
//! The modules stand in the order in which data flows: configuration first, then the path of an
//! event, then what watches over it. `ARCHITECTURE.md` is the map in prose.

pub mod cli; // the command line: commands, help, exit codes
pub mod config; // settings as typed, then validated: one section per stage
pub mod offsets; // Partition, Offset and the range that a batch covers
pub mod dead_letter; // a refused message: position, bytes, reason
pub mod table; // a table as its columns: where each value comes from; routes
pub mod pipeline; // the path of an event, from Kafka's bytes to PostgreSQL's
pub mod postgres; // connections; SQLSTATE → what follows
pub mod schema; // migrations; the database at the start
pub mod commands; // what people and scripts ask for beside the main job
pub mod reload; // what SIGHUP does to the main job
pub mod retry; // the pace of attempts
pub mod metrics; // what was counted and measured
pub mod health; // alive, ready, and why not
pub mod status; // both as people are shown them, and the last 15 minutes
pub mod http; // all of it: probes, Prometheus, /status and the page
pub mod supervisor; // health and numbers, for the service manager
pub mod logging; // log lines as JSON or text, one each, whatever they hold
