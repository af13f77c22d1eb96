//! The fault suite: what breaks, broken on purpose, under load, on real services. After each fault the same referee
//! counts (`consumer::expect_settled`): every message is one row or one dead letter, none twice, no lag is left.

mod consumer; // killed, frozen, stopped
mod group; // members come and go
mod zombie; // members that freeze and wake up
mod postgres; // crashes, outages, refusals of every class
mod network; // answers lost, silence
mod kafka; // brokers that die
mod topics; // topics that are made anew, that grow, whose log starts later than expected
mod messages; // what a log may hold beside plain messages
mod data; // rows that the database refuses, tables that change
mod open; // what is not passed yet
