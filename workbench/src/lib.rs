//! What exercises storage-consumer: load, the services that it needs, a demo, tests on the real thing.

pub mod generator; // a datacenter's metric events, as many and as broken as asked for
pub mod signals; // how the programs end
pub mod services; // real PostgreSQL and real Kafka on loopback
pub mod demo; // the whole path on one machine, watched and proved
