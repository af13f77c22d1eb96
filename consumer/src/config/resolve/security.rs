//! Owns the options for Kafka's security: each stands for a property of librdkafka. What such an option needs beside it is
//! told here, before librdkafka waits for brokers that will never let it in.

use super::Resolver;
use crate::config::file;
use crate::config::values::{self, Parsed};
use std::path::PathBuf;

const PROTOCOL: &str = "kafka-security-protocol";
const MECHANISM: &str = "kafka-sasl-mechanism";
const PASSWORD: &str = "kafka-sasl-password";
const PASSWORD_FILE: &str = "kafka-sasl-password-file";
const SSL: [&str; 4] = [
    "kafka-ssl-ca",
    "kafka-ssl-certificate",
    "kafka-ssl-key",
    "kafka-ssl-key-password-file",
];
const SASL: [&str; 8] = [
    MECHANISM,
    "kafka-sasl-username",
    PASSWORD,
    PASSWORD_FILE,
    "kafka-oauth-token-endpoint",
    "kafka-oauth-client-id",
    "kafka-oauth-client-secret-file",
    "kafka-oauth-scope",
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
        "kafka-sasl-username" => "sasl.username",
        PASSWORD | PASSWORD_FILE => "sasl.password",
        "kafka-oauth-token-endpoint" => "sasl.oauthbearer.token.endpoint.url",
        "kafka-oauth-client-id" => "sasl.oauthbearer.client.id",
        "kafka-oauth-client-secret-file" => "sasl.oauthbearer.client.secret",
        "kafka-oauth-scope" => "sasl.oauthbearer.scope",
        _ => unreachable!("an option for security"),
    }
}

/// Other names that librdkafka has for some of them.
fn same(key: &str) -> &str {
    match key {
        "sasl.mechanisms" => "sasl.mechanism",
        "sasl.oauthbearer.client.credentials.client.id" => "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.client.credentials.client.secret" => "sasl.oauthbearer.client.secret",
        key => key,
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
        text(self, "kafka-sasl-username", values::word);
        text(self, "kafka-oauth-client-id", values::word);
        text(self, "kafka-oauth-scope", values::word);
        let endpoint = "kafka-oauth-token-endpoint";
        match self
            .typed
            .first(endpoint)
            .map(|given| values::http_url(&given.text))
        {
            // The value may hold a secret where none belongs: it is not shown.
            Some(Err(what)) => self.mistake(endpoint, &format!("the value {what}")),
            _ => text(self, endpoint, values::http_url),
        }
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
        for name in [PASSWORD_FILE, SSL[3], "kafka-oauth-client-secret-file"] {
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
        if self.typed.first("kafka-oauth-token-endpoint").is_some() {
            all.push(("sasl.oauthbearer.method".to_owned(), "oidc".to_owned()));
        }
        properties.retain(|(key, _)| all.iter().all(|(name, _)| same(key) != name));
        all.append(properties);
        *properties = all;
        self.what_security_needs(properties);
        files
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
        let has = |key| value(properties, key).is_some();
        let Some(mechanism) = value(properties, "sasl.mechanism") else {
            return self.mistake(
                PROTOCOL,
                "needs to know how to prove who it is: give --kafka-sasl-mechanism",
            );
        };
        let missing: &[&str] = match mechanism {
            // Whoever sets more of it by properties has another way of getting tokens, which librdkafka looks at.
            "OAUTHBEARER" if !has("sasl.oauthbearer.method") => &[
                "kafka-oauth-token-endpoint",
                "kafka-oauth-client-id",
                "kafka-oauth-client-secret-file",
            ],
            "OAUTHBEARER" if self.typed.first("kafka-oauth-token-endpoint").is_some() => {
                &["kafka-oauth-client-id", "kafka-oauth-client-secret-file"]
            }
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => &["kafka-sasl-username", PASSWORD_FILE],
            _ => &[],
        };
        for name in missing {
            if !has(property(name)) && self.typed.first(name).is_none() {
                self.mistake(MECHANISM, &format!("needs --{name}"));
            }
        }
    }
}
