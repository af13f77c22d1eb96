//! What exercises storage-consumer: the services that it needs, load, a demo, benchmarks, tests on the real
//! thing.

pub mod services; // real PostgreSQL and real Kafka on loopback
