//! Encryption, certificates, passwords and privileges, on servers that insist on them. Certificates are made for each
//! test; what must be refused is refused, and says why.

mod certificates; // authorities, and what they sign
mod postgres; // TLS with PostgreSQL
mod kafka; // TLS and SASL with Kafka
mod rotation; // what is renewed under a running consumer
mod privileges; // the least that the consumer needs
mod secrets; // nothing of them is ever told
