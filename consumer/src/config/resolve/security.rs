//! Owns the options for Kafka's security: each stands for a property of librdkafka. What such an option needs beside it is
//! told here, before librdkafka waits for brokers that will never let it in.

use super::Resolver;
use crate::config::values::{self, Parsed};
use crate::config::{OAuth, file};
use std::path::PathBuf;

const PROTOCOL: &str = "kafka-security-protocol";
const MECHANISM: &str = "kafka-sasl-mechanism";
const PASSWORD: &str = "kafka-sasl-password";
const PASSWORD_FILE: &str = "kafka-sasl-password-file";
const USERNAME: &str = "kafka-sasl-username";
const ENDPOINT: &str = "kafka-oauth-token-endpoint";
const CLIENT_ID: &str = "kafka-oauth-client-id";
const CLIENT_SECRET_FILE: &str = "kafka-oauth-client-secret-file";
const SCOPE: &str = "kafka-oauth-scope";
const SSL: [&str; 4] = [
    "kafka-ssl-ca",
    "kafka-ssl-certificate",
    "kafka-ssl-key",
    "kafka-ssl-key-password-file",
];
const SASL: [&str; 8] = [
    MECHANISM,
    USERNAME,
    PASSWORD,
    PASSWORD_FILE,
    ENDPOINT,
    CLIENT_ID,
    CLIENT_SECRET_FILE,
    SCOPE,
];

/// librdkafka's name for what the option gives.
fn property(name: &str) -> &'static str {
    match name {
        PROTOCOL => "security.protocol",
        "kafka-ssl-ca" => "ssl.ca.location",
        "kafka-ssl-certificate" => "ssl.certificate.location",
        "kafka-ssl-key" => "ssl.key.location",
        "kafka-ssl-key-password-file" => "ssl.key.password",
        MECHANISM => "sasl.mechanism",
        USERNAME => "sasl.username",
        PASSWORD | PASSWORD_FILE => "sasl.password",
        _ => unreachable!("an option for security"),
    }
}

/// Another name that librdkafka has for one of them.
fn same(key: &str) -> &str {
    if key == "sasl.mechanisms" {
        "sasl.mechanism"
    } else {
        key
    }
}

/// The value of a property, whichever of its names it has.
fn value<'a>(properties: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let found = properties.iter().find(|(name, _)| same(name) == key);
    found.map(|(_, value)| value.as_str())
}

impl Resolver<'_> {
    /// Puts what the options give before the properties; returns those whose value is a file's content.
    pub(super) fn kafka_security(
        &mut self,
        properties: &mut Vec<(String, String)>,
    ) -> Vec<(String, PathBuf)> {
        let mut named = Vec::new();
        let mut files = Vec::new();
        let mut text = |this: &mut Self, name: &'static str, parse: fn(&str) -> Parsed<String>| {
            if let Some(value) = this.optional(name, parse) {
                named.push((name, property(name).to_owned(), value));
            }
        };
        text(self, PROTOCOL, |text| {
            values::security_protocol(text).map(str::to_owned)
        });
        for name in &SSL[..3] {
            text(self, name, |text| values::readable(text).map(|_| text.to_owned()));
        }
        text(self, MECHANISM, |text| {
            values::sasl_mechanism(text).map(str::to_owned)
        });
        text(self, USERNAME, values::word);
        let password = match self.password_file(PASSWORD, PASSWORD_FILE) {
            Some(_) => PASSWORD_FILE,
            None => PASSWORD,
        };
        if password == PASSWORD
            && let Some(secret) = self.optional(PASSWORD, values::secret)
        {
            named.push((
                PASSWORD,
                property(PASSWORD).to_owned(),
                secret.expose().to_owned(),
            ));
        }
        for name in [PASSWORD_FILE, SSL[3]] {
            let given = self
                .typed
                .first(name)
                .filter(|_| name != PASSWORD_FILE || password == name);
            let Some(given) = given else { continue };
            let path = PathBuf::from(&given.text);
            match file::secret(&path) {
                Ok(secret) => {
                    let key = property(name).to_owned();
                    named.push((name, key.clone(), secret.expose().to_owned()));
                    files.push((key, path));
                }
                Err(what) => self.mistake(name, &what),
            }
        }
        for (name, key, _) in &named {
            if value(properties, key).is_some() {
                self.mistake(
                    name,
                    &format!("gives {key}, and so does --kafka-property: leave out one of them"),
                );
            }
        }
        let mut all: Vec<(String, String)> = named.into_iter().map(|(_, key, value)| (key, value)).collect();
        properties.retain(|(key, _)| all.iter().all(|(name, _)| same(key) != name));
        all.append(properties);
        *properties = all;
        self.what_security_needs(properties);
        files
    }

    /// How tokens are fetched, if they are.
    pub(super) fn oauth(&mut self) -> Option<OAuth> {
        let endpoint = match self
            .typed
            .first(ENDPOINT)
            .map(|given| values::http_url(&given.text))?
        {
            Ok(endpoint) => Some(endpoint),
            // The value may hold a secret where none belongs: it is not shown.
            Err(what) => {
                self.mistake(ENDPOINT, &format!("the value {what}"));
                None
            }
        };
        let scope = self.optional(SCOPE, values::word);
        let client_id = self.optional(CLIENT_ID, values::word);
        let secret_file = self
            .typed
            .first(CLIENT_SECRET_FILE)
            .map(|given| PathBuf::from(&given.text));
        let oauth = OAuth {
            endpoint: endpoint?,
            client_id: client_id?,
            secret_file: secret_file?,
            scope,
        };
        if let Err(what) = file::secret(&oauth.secret_file) {
            self.mistake(CLIENT_SECRET_FILE, &what);
        }
        Some(oauth)
    }

    fn what_security_needs(&mut self, properties: &[(String, String)]) {
        let protocol = value(properties, "security.protocol")
            .unwrap_or("plaintext")
            .to_ascii_lowercase();
        for name in SSL {
            if !protocol.ends_with("ssl") {
                let what =
                    format!("is of no use to the protocol {protocol}: give --{PROTOCOL} ssl or sasl_ssl");
                self.mistake(name, &what);
            }
        }
        for name in SASL {
            if !protocol.starts_with("sasl") {
                let what = format!("is of no use to the protocol {protocol}: give --{PROTOCOL} sasl_ssl");
                self.mistake(name, &what);
            }
        }
        self.both_or_none("kafka-ssl-certificate", "kafka-ssl-key");
        if self.typed.first("kafka-ssl-key").is_none() {
            self.mistake(SSL[3], "is of no use without --kafka-ssl-key");
        }
        if !protocol.starts_with("sasl") {
            return;
        }
        let Some(mechanism) = value(properties, "sasl.mechanism") else {
            return self.mistake(
                PROTOCOL,
                "needs to know how to prove who it is: give --kafka-sasl-mechanism",
            );
        };
        let missing: &[&str] = match mechanism {
            "OAUTHBEARER" => &[ENDPOINT, CLIENT_ID, CLIENT_SECRET_FILE],
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => &[USERNAME, PASSWORD_FILE],
            _ => &[],
        };
        for name in missing {
            let given = match *name {
                USERNAME | PASSWORD_FILE => value(properties, property(name)).is_some(),
                name => self.typed.first(name).is_some(),
            };
            if !given {
                let what = format!("needs --{name}");
                match self.typed.first(MECHANISM) {
                    Some(_) => self.mistake(MECHANISM, &what),
                    None => self.mistake("kafka-property", &format!("sasl.mechanism {what}")),
                }
            }
        }
    }
}
