//! The tests on real services: a real Apache Kafka and a real PostgreSQL, started by the tests themselves. One
//! binary, so that all of them share one of each; `scripts/setup test` installs what they need, and a test whose
//! service does not start fails.

mod shared; // the services and a scene of its own for each test
mod consumer; // the program under test, and the referee
mod referee; // it must find what it looks for
mod services; // the services themselves
mod generator; // load that is there when it says so
mod exactly_once; // promises 1 to 3
mod contract; // the event contract, promises 4 and 6
mod inputs; // what is encoded is what PostgreSQL takes
mod faults; // what breaks, broken on purpose
mod operation; // exit codes, probes, numbers, check, secrets
mod observability; // metrics, alerts and dashboard, as Prometheus takes them
mod page; // the status page, in a real browser
mod systemd; // what a service manager is told, and the unit that is shipped for it
mod security; // encryption, certificates, passwords, privileges
mod commands; // what is asked for beside the main job
mod demo; // the whole path, as a newcomer sees it
