//! The fault suite: what breaks, broken on purpose, under load, on real services. After each fault the same referee
//! counts (`consumer::expect_settled`): every message is one row or one dead letter, none twice, no lag is left.

mod consumer; // killed, frozen, stopped
mod group; // members come and go, zombies
mod postgres; // crashes, outages, refusals of every class
mod network; // answers lost, silence
mod kafka; // brokers, topics, logs
mod data; // rows that the database refuses
mod tables; // tables that change, or go
