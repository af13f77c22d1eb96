//! What exercises the consumer: load, and whatever the tests and benchmarks need around it.

pub mod generator; // a datacenter's metric events, as many and as broken as asked for
