//! What exercises storage-consumer: load, the services that it needs, a demo, tests on the real thing.

pub mod generator; // a datacenter's metric events, as many and as broken as asked for
pub mod signals; // how the programs end
mod usage; // what processes have used
pub mod document; // what a command fills in
pub mod program; // how programs with such settings start and end
pub mod http; // one request to a program on this machine
mod variables; // settings from the environment
pub mod services; // real PostgreSQL and real Kafka on loopback
mod load; // the generator on a thread of its own
pub mod subject; // the program under test, as a process
pub mod database; // a client that blocks, and that finds its server again
pub mod referee; // what came of a topic, counted
pub mod demo; // the whole path on one machine, watched and proved
pub mod chaos; // a long mixed run of faults, seeded, and its verdict
pub mod bench; // end to end: how close to PostgreSQL itself
