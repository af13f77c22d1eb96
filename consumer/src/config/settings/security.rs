//! Owns the rows of the table of settings that are about encryption, certificates and credentials.

use super::{Group, Setting, URL};

pub(super) const SECURITY: &[Setting] = &[
    Setting::new(
        Group::Kafka,
        "kafka-security-protocol",
        "plaintext|ssl|sasl_plaintext|sasl_ssl",
        "Whether connections are encrypted (ssl), and whether brokers ask who it is (sasl)",
    )
    .env("KAFKA_SECURITY_PROTOCOL")
    .unset("plaintext"),
    Setting::new(
        Group::Kafka,
        "kafka-ssl-ca",
        "FILE",
        "Certificates (PEM) of the authorities that sign the brokers'",
    )
    .env("KAFKA_SSL_CA")
    .unset("those that the system trusts"),
    Setting::new(
        Group::Kafka,
        "kafka-ssl-certificate",
        "FILE",
        "Own certificate (PEM), for brokers that ask for one",
    )
    .env("KAFKA_SSL_CERTIFICATE"),
    Setting::new(
        Group::Kafka,
        "kafka-ssl-key",
        "FILE",
        "Private key (PEM) of --kafka-ssl-certificate",
    )
    .env("KAFKA_SSL_KEY"),
    Setting::new(
        Group::Kafka,
        "kafka-ssl-key-password-file",
        "FILE",
        "File that holds the passphrase of --kafka-ssl-key",
    )
    .env("KAFKA_SSL_KEY_PASSWORD_FILE"),
    Setting::new(
        Group::Kafka,
        "kafka-sasl-mechanism",
        "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER",
        "How it is proved to brokers who it is",
    )
    .env("KAFKA_SASL_MECHANISM"),
    Setting::new(
        Group::Kafka,
        "kafka-sasl-username",
        "NAME",
        "User for PLAIN and SCRAM",
    )
    .env("KAFKA_SASL_USERNAME"),
    Setting::new(
        Group::Kafka,
        "kafka-sasl-password",
        "PASSWORD",
        "Password for PLAIN and SCRAM; other users of the machine can see an option: prefer the variable, or a file",
    )
    .env("KAFKA_SASL_PASSWORD")
    .secret(),
    Setting::new(
        Group::Kafka,
        "kafka-sasl-password-file",
        "FILE",
        "File that holds the password, in place of --kafka-sasl-password",
    )
    .env("KAFKA_SASL_PASSWORD_FILE"),
    Setting::new(
        Group::Kafka,
        "kafka-oauth-token-endpoint",
        "URL",
        "Where OAUTHBEARER's tokens are fetched with the client's credentials",
    )
    .env("KAFKA_OAUTH_TOKEN_ENDPOINT"),
    Setting::new(
        Group::Kafka,
        "kafka-oauth-client-id",
        "NAME",
        "Client that the tokens are for",
    )
    .env("KAFKA_OAUTH_CLIENT_ID"),
    Setting::new(
        Group::Kafka,
        "kafka-oauth-client-secret-file",
        "FILE",
        "File that holds the client's secret",
    )
    .env("KAFKA_OAUTH_CLIENT_SECRET_FILE"),
    Setting::new(
        Group::Kafka,
        "kafka-oauth-scope",
        "SCOPE",
        "What the tokens are asked to allow",
    )
    .env("KAFKA_OAUTH_SCOPE"),
    Setting::new(
        Group::Postgres,
        URL,
        "URL",
        "All of it in one: postgres://USER@HOST:PORT/DATABASE?sslmode=MODE; what it gives, other settings need not",
    )
    .env("POSTGRES_URL")
    .secret()
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-passfile",
        "PATH",
        "Password file as PostgreSQL's own programs use it, where no password is given",
    )
    .env("PGPASSFILE")
    .unset("~/.pgpass, if it is there")
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-sslmode",
        "disable|prefer|require|verify-ca|verify-full",
        "Whether the connection is encrypted, and the server verified: by its authority (verify-ca) and its name \
         (verify-full)",
    )
    .env("POSTGRES_SSLMODE")
    .default(&["prefer"])
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-sslrootcert",
        "FILE|system",
        "Certificates (PEM) of the authorities that sign the server's; system: those that the system trusts, by \
         verify-full",
    )
    .env("POSTGRES_SSLROOTCERT")
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-sslcert",
        "FILE",
        "Own certificate (PEM), for a server that asks for one",
    )
    .env("POSTGRES_SSLCERT")
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-sslkey",
        "FILE",
        "Private key (PEM) of --postgres-sslcert",
    )
    .env("POSTGRES_SSLKEY")
    .also_migrate(),
];
