//! Owns which of librdkafka's properties a user may not set because a promise stands on them, and which are secrets.
//! Whether a property exists, and takes the value, only librdkafka knows: it says so when the client is created.

/// Properties that are refused, each with the reason and what to do instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use --kafka-servers"),
    ("metadata.broker.list", "use --kafka-servers"),
    (
        "group.id",
        "use --group-id: the offsets in PostgreSQL are kept under it",
    ),
    (
        "auto.offset.reset",
        "use --offset-reset: it holds only where neither PostgreSQL nor Kafka has an offset",
    ),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("offset.store.method", OFFSETS),
    ("offset.store.path", OFFSETS),
    ("offset.store.sync.interval.ms", OFFSETS),
    (
        "enable.partition.eof",
        "ends of partitions are not messages, and every message must be accounted for",
    ),
    (
        "plugin.library.paths",
        "a plugin sees and changes every message, and runs foreign code in this process",
    ),
    (
        "test.mock.num.brokers",
        "it puts a mock inside this process in the place of the brokers",
    ),
];

const OFFSETS: &str = "offsets are committed with the rows in PostgreSQL, and to Kafka only after that";

/// Why the property is refused.
pub(super) fn refusal(key: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == key).map(|(_, why)| *why)
}

/// Must the property's value stay out of logs and errors? Rather one too many: it goes by the words of the name.
pub(super) fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 7] = [
        "password",
        "passphrase",
        "secret",
        "token.value",
        "credential",
        "private.key",
        "key.pem",
    ];
    // Free text in which people put secrets.
    const WHOLE: [&str; 3] = [
        "sasl.oauthbearer.config",
        "sasl.jaas.config",
        "sasl.kerberos.kinit.cmd",
    ];
    let key = key.to_ascii_lowercase().replace('_', ".");
    WORDS.iter().any(|word| key.contains(word)) || WHOLE.contains(&key.as_str())
}

/// `KEY=VALUE`, to a property that may be set. The reason never shows the value.
pub(super) fn property(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        // The text itself may be the secret whose key was forgotten: it is not shown.
        return Err("a value is not KEY=VALUE, such as security.protocol=SASL_SSL".to_owned());
    };
    let key = key.trim();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if key.is_empty() || !key.bytes().all(legal) {
        return Err("a value has no property's name before its \"=\"".to_owned());
    }
    if value.contains('\0') {
        return Err(format!("{key} holds a NUL character"));
    }
    // In librdkafka's names "_" is never a variant of ".", but case matters: "Group.Id" it refuses by itself.
    if let Some(why) = refusal(key) {
        return Err(format!("{key} cannot be set: {why}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_break_a_promise_are_refused() {
        assert_eq!(
            property("group.id=x").expect_err("refused"),
            "group.id cannot be set: use --group-id: the offsets in PostgreSQL are kept under it"
        );
        for (key, _) in REFUSED {
            assert!(property(&format!(" {key} =x")).is_err(), "{key}");
        }
        assert_eq!(property("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert_eq!(
            property("client.id="),
            Ok(("client.id".to_owned(), String::new()))
        );
    }

    #[test]
    fn a_malformed_property_does_not_show_itself() {
        for text in [
            "hunter2",
            "=hunter2",
            "hunter2 x=hunter2",
            "sasl.password=hunter2\0",
        ] {
            assert!(
                !property(text).expect_err("malformed").contains("hunter2"),
                "{text}"
            );
        }
    }

    #[test]
    fn secrets_by_name() {
        for key in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["sasl.username", "ssl.key.location", "ssl.ca.pem", "client.id"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
