//! Owns what holds between the settings of PostgreSQL: whose password counts, what a mode of TLS needs.

use super::Resolver;
use crate::config::problem::{Problem, Source};
use crate::config::settings;
use crate::config::tls::ClientCertificate;
use crate::config::typed::Given;
use crate::config::values;
use crate::config::{Password, PostgresConfig, PostgresTls, RootCertificates, SslMode};
use std::path::PathBuf;

impl Resolver<'_> {
    pub(super) fn postgres(&mut self) -> PostgresConfig {
        let config = PostgresConfig {
            host: self.one("postgres-host", values::host),
            port: self.one("postgres-port", values::port),
            database: self.one("postgres-db", |text| values::name(text, 63)),
            user: self.one("postgres-user", |text| values::name(text, 63)),
            password: self.password(),
            tls: self.postgres_tls(),
            statement_timeout: self.one("postgres-statement-timeout", values::statement_timeout),
        };
        // Files are read when a connection is made; what is wrong with them is told now.
        if let Err(what) = config.password.read(&config.login()) {
            let name = config.password.option();
            let source = self
                .typed
                .first(name)
                .map_or(Source::Default, |given| given.source.clone());
            self.problems
                .push(Problem::new(settings::setting(name), source, what));
        }
        config
    }

    /// The password or its file, whichever was given with the higher precedence; else libpq's password file; else the
    /// default.
    fn password(&mut self) -> Password {
        let otherwise =
            || values::secret(super::defaults(settings::setting("postgres-password"))[0]).expect("valid");
        if let Some(file) = self.password_file("postgres-password", "postgres-password-file") {
            return Password::File(PathBuf::from(file.text));
        }
        if let Some(password) = self.optional("postgres-password", values::secret) {
            return Password::Given(password);
        }
        let in_home = || {
            let path = self.typed.home.as_ref()?.join(".pgpass");
            path.is_file().then_some(path)
        };
        let given = self
            .typed
            .first("postgres-passfile")
            .map(|given| PathBuf::from(&given.text));
        match given.or_else(in_home) {
            Some(path) => Password::Passfile {
                path,
                otherwise: otherwise(),
            },
            None => Password::Given(otherwise()),
        }
    }

    /// The file that holds a secret, unless the secret itself was given with a higher precedence. Both from one place are
    /// a mistake.
    pub(super) fn password_file(&mut self, name: &str, file: &str) -> Option<Given> {
        let file = self.typed.first(file)?.clone();
        let Some(given) = self.typed.first(name) else {
            return Some(file);
        };
        if given.source.rank() == file.source.rank() {
            let what = format!("is given as well as --{name}, from the same place: give one of them");
            self.problems
                .push(Problem::new(file.setting, file.source.clone(), what));
        }
        (given.source.rank() >= file.source.rank()).then_some(file)
    }

    fn postgres_tls(&mut self) -> PostgresTls {
        let roots = self.optional("postgres-sslrootcert", values::root_certificates);
        let mode = self.optional("postgres-sslmode", values::ssl_mode);
        let system = roots == Some(RootCertificates::System);
        if let (true, Some(SslMode::Prefer | SslMode::Require | SslMode::VerifyCa)) = (system, mode) {
            // Anybody can have a certificate that the system trusts.
            self.mistake(
                "postgres-sslmode",
                "is not enough where --postgres-sslrootcert is system: only verify-full is",
            );
        }
        let mode = match mode {
            None if system => SslMode::VerifyFull,
            None => self.one("postgres-sslmode", values::ssl_mode),
            Some(mode) => mode,
        };
        if mode >= SslMode::VerifyCa && self.typed.first("postgres-sslrootcert").is_none() {
            self.mistake(
                "postgres-sslmode",
                "needs to know whom to trust: give --postgres-sslrootcert FILE, or --postgres-sslrootcert system",
            );
        }
        PostgresTls {
            mode,
            roots,
            client: self.client_certificate(),
        }
    }

    fn client_certificate(&mut self) -> Option<ClientCertificate> {
        self.both_or_none("postgres-sslcert", "postgres-sslkey");
        let chain = self.optional("postgres-sslcert", values::readable);
        let key = self.optional("postgres-sslkey", values::readable);
        chain
            .zip(key)
            .map(|(chain, key)| ClientCertificate { chain, key })
    }

    /// Of a certificate and its key, one alone is of no use.
    pub(super) fn both_or_none(&mut self, certificate: &str, key: &str) {
        for (one, other) in [(certificate, key), (key, certificate)] {
            if self.typed.first(other).is_none() {
                self.mistake(one, &format!("is of no use without --{other}"));
            }
        }
    }

    /// What is wrong with a setting in the light of others, if it is given.
    pub(super) fn mistake(&mut self, name: &str, what: &str) {
        if let Some(given) = self.typed.first(name) {
            self.problems
                .push(Problem::new(given.setting, given.source.clone(), what.to_owned()));
        }
    }
}
