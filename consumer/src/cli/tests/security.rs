//! What the command line makes of certificates, passwords and URLs.

use super::*;
use crate::config::{Password, RootCertificates, Secret, SslMode};
use std::path::Path;

/// A file that only its owner can read, as password files must be.
fn private(text: &str) -> (tempfile::NamedTempFile, String) {
    file(text)
}

fn password(config: &Config) -> String {
    config
        .postgres
        .current_password()
        .expect("a password")
        .expose()
        .to_owned()
}

fn property<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    let mut found = config.kafka.properties.iter().filter(|(name, _)| name == key);
    let value = found.next().map(|(_, value)| value.as_str());
    assert!(found.next().is_none(), "{key} twice");
    value
}

#[test]
fn a_url_stands_where_it_was_given() {
    let url = "postgres://me:s%20t@db:5433/metrics?sslmode=require";
    let env = [
        ("POSTGRES_URL", url),
        ("POSTGRES_STATEMENT_TIMEOUT", "7"),
        ("POSTGRES_PASSWORD_FILE", ""),
    ];
    let from_url = config(&["consume", "--postgres-db", "other"], &env).postgres;
    assert_eq!((from_url.host.as_str(), from_url.port), ("db", 5433));
    assert_eq!(
        (from_url.user.as_str(), from_url.database.as_str()),
        ("me", "other")
    );
    assert_eq!(from_url.password, Password::Given(Secret::new("s t")));
    assert_eq!(from_url.tls.mode, SslMode::Require);

    // The URL of the command line comes before variables, and what it leaves out may come from them.
    let env = [("POSTGRES_HOST", "elsewhere"), ("POSTGRES_USER", "you")];
    let mixed = config(&["consume", "--postgres-url", "postgresql://db"], &env).postgres;
    assert_eq!((mixed.host.as_str(), mixed.user.as_str()), ("db", "you"));
}

#[test]
fn a_url_and_an_option_of_the_same_place_may_not_give_the_same() {
    let args = [
        "migrate",
        "--postgres-url=postgres://me:hunter2@db/d",
        "--postgres-host=db",
    ];
    let text = mistakes(&args, &[]);
    assert!(
        text.contains(
            "--postgres-url (POSTGRES_URL, from the command line): gives what --postgres-host, from the same"
        ),
        "{text}"
    );
    let text = mistakes(&["migrate"], &[("POSTGRES_URL", "postgres://me:hunter2@a,b/d")]);
    assert!(
        text.contains("several hosts") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_password_is_given_or_in_a_file_or_in_the_passfile_or_the_default() {
    let (_keep, secret) = private("from-file\n");
    let (_keep, passfile) = private("*:*:*:mlops:from-passfile\n");
    let of = |env: &[(&str, &str)]| password(&config(&["migrate"], env));
    assert_eq!(of(&[]), "mlops_password");
    assert_eq!(of(&[("PGPASSFILE", &passfile)]), "from-passfile");
    assert_eq!(
        of(&[("PGPASSFILE", &passfile), ("POSTGRES_USER", "other")]),
        "mlops_password"
    );
    assert_eq!(
        of(&[("PGPASSFILE", &passfile), ("POSTGRES_PASSWORD", "given")]),
        "given"
    );
    assert_eq!(
        of(&[("PGPASSFILE", &passfile), ("POSTGRES_PASSWORD_FILE", &secret)]),
        "from-file"
    );
    let text = mistakes(&["migrate"], &[("PGPASSFILE", "/nowhere")]);
    assert!(
        text.contains("--postgres-passfile (PGPASSFILE, from the environment): there is no file"),
        "{text}"
    );
}

#[test]
fn the_passfile_of_the_users_folder_is_used_if_it_is_there() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("a folder");
    let env = [("HOME", home.path().to_str().expect("UTF-8"))];
    assert_eq!(password(&config(&["migrate"], &env)), "mlops_password");
    let path = home.path().join(".pgpass");
    std::fs::write(&path, "localhost:5432:mlops_db:mlops:from-home").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its own");
    assert_eq!(password(&config(&["migrate"], &env)), "from-home");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("its own");
    let text = mistakes(&["migrate"], &env);
    assert!(
        text.contains("chmod 0600") && !text.contains("from-home"),
        "{text}"
    );
}

#[test]
fn a_file_that_holds_a_password_is_read_again() {
    let (keep, path) = private("one\n");
    let config = config(&["migrate", "--postgres-password-file", &path], &[]);
    assert_eq!(password(&config), "one");
    std::fs::write(keep.path(), "two\r\n").expect("written");
    assert_eq!(password(&config), "two");
    std::fs::write(keep.path(), "").expect("written");
    let what = config.postgres.current_password().expect_err("empty");
    assert_eq!(what, "--postgres-password-file: names a file that is empty");
}

#[test]
fn who_is_verified_must_be_known() {
    let (_keep, pem) = private("a certificate");
    let tls = |args: &[&str]| config(&[&["migrate"], args].concat(), &[]).postgres.tls;
    assert_eq!(tls(&[]).mode, SslMode::Prefer);
    assert_eq!(tls(&["--postgres-sslrootcert=system"]).mode, SslMode::VerifyFull);
    let verified = tls(&["--postgres-sslmode=verify-ca", "--postgres-sslrootcert", &pem]);
    assert_eq!(verified.roots, Some(RootCertificates::File(pem.clone().into())));
    let both = tls(&["--postgres-sslcert", &pem, "--postgres-sslkey", &pem]);
    assert_eq!(both.client.expect("both").key, Path::new(&pem));

    for (args, told) in [
        (
            &["--postgres-sslmode=verify-full"][..],
            "needs to know whom to trust",
        ),
        (
            &["--postgres-sslmode=require", "--postgres-sslrootcert=system"],
            "only verify-full is",
        ),
        (
            &["--postgres-sslrootcert=/nowhere"],
            "is a file that is not there",
        ),
        (
            &["--postgres-sslcert", &pem],
            "is of no use without --postgres-sslkey",
        ),
        (
            &["--postgres-sslkey", &pem],
            "is of no use without --postgres-sslcert",
        ),
        (&["--postgres-sslmode=strict"], "verify-ca, verify-full"),
    ] {
        let text = mistakes(&[&["migrate"], args].concat(), &[]);
        assert!(text.contains(told), "{args:?}: {text}");
    }
}

#[test]
fn kafkas_options_are_librdkafkas_properties() {
    let (_keep, pem) = private("a certificate");
    let (keep, secret) = private("hunter2\n");
    let env = [
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SSL_CA", &pem),
        ("KAFKA_SSL_CERTIFICATE", &pem),
        ("KAFKA_SSL_KEY", &pem),
        ("KAFKA_SSL_KEY_PASSWORD_FILE", &secret),
        ("KAFKA_SASL_MECHANISM", "scram-sha-512"),
        ("KAFKA_SASL_USERNAME", "me"),
        ("KAFKA_SASL_PASSWORD_FILE", &secret),
    ];
    let found = config(&["consume", "--kafka-property=client.id=x"], &env);
    for (key, value) in [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", &pem),
        ("ssl.certificate.location", &pem),
        ("ssl.key.location", &pem),
        ("ssl.key.password", "hunter2"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "me"),
        ("sasl.password", "hunter2"),
        ("client.id", "x"),
    ] {
        assert_eq!(property(&found, key), Some(value), "{key}");
    }
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    std::fs::write(keep.path(), "rotated\n").expect("written");
    let now = found.kafka.current_properties();
    assert!(now.contains(&("sasl.password".to_owned(), "rotated".to_owned())));

    let env = [
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
        ("KAFKA_OAUTH_TOKEN_ENDPOINT", "https://login/token"),
        ("KAFKA_OAUTH_CLIENT_ID", "me"),
        ("KAFKA_OAUTH_CLIENT_SECRET_FILE", &secret),
        ("KAFKA_OAUTH_SCOPE", "kafka"),
    ];
    let found = config(&["consume"], &env);
    assert_eq!(property(&found, "sasl.mechanism"), Some("OAUTHBEARER"));
    let oauth = found.kafka.oauth.expect("how tokens are fetched");
    assert_eq!(oauth.endpoint, "https://login/token");
    assert_eq!(oauth.scope.as_deref(), Some("kafka"));
    assert_eq!(oauth.current_secret(), Ok(Secret::new("rotated")));
}

#[test]
fn what_kafkas_security_lacks_is_told() {
    let (_keep, pem) = private("x");
    for (args, told) in [
        (
            &["--kafka-security-protocol=sasl_ssl"][..],
            "give --kafka-sasl-mechanism",
        ),
        (&["--kafka-security-protocol=https"], "sasl_plaintext, sasl_ssl"),
        (
            &["--kafka-ssl-ca", &pem],
            "is of no use to the protocol plaintext",
        ),
        (
            &["--kafka-security-protocol=ssl", "--kafka-sasl-username=me"],
            "is of no use to the protocol ssl",
        ),
        (
            &["--kafka-security-protocol=ssl", "--kafka-ssl-key", &pem],
            "is of no use without --kafka-ssl-certificate",
        ),
        (
            &[
                "--kafka-security-protocol=sasl_ssl",
                "--kafka-sasl-mechanism=PLAIN",
            ],
            "--kafka-sasl-mechanism (KAFKA_SASL_MECHANISM, from the command line): needs --kafka-sasl-username",
        ),
        (
            &[
                "--kafka-security-protocol=sasl_ssl",
                "--kafka-sasl-mechanism=PLAIN",
            ],
            "needs --kafka-sasl-password-file",
        ),
        (
            &[
                "--kafka-security-protocol=sasl_ssl",
                "--kafka-sasl-mechanism=OAUTHBEARER",
            ],
            "needs --kafka-oauth-client-secret-file",
        ),
        (
            &["--kafka-oauth-token-endpoint=https://me:hunter2@login"],
            "is not a URL",
        ),
        (
            &["--kafka-sasl-username=me", "--kafka-property=sasl.username=you"],
            "gives sasl.username, and so does --kafka-property",
        ),
        (
            &[
                "--kafka-sasl-mechanism=PLAIN",
                "--kafka-property=sasl.mechanisms=PLAIN",
            ],
            "gives sasl.mechanism, and so does --kafka-property",
        ),
        (
            &[
                "--kafka-sasl-password=hunter2",
                "--kafka-sasl-password-file",
                &pem,
            ],
            "is given as well as --kafka-sasl-password",
        ),
    ] {
        let text = mistakes(&[&["consume"], args].concat(), &[]);
        assert!(text.contains(told), "{args:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    // Properties alone are nobody's business here: librdkafka looks at them.
    let args = [
        "consume",
        "--kafka-property=security.protocol=SASL_SSL",
        "--kafka-property=sasl.mechanism=GSSAPI",
    ];
    config(&args, &[]);
}

#[test]
fn a_secret_on_the_command_line_is_noticed() {
    let exposed = |args: &[&str], env: &[(&str, &str)]| config(&[&["consume"], args].concat(), env).exposed;
    let none: [&str; 0] = [];
    assert_eq!(
        exposed(
            &["--postgres-url=postgres://me@db"],
            &[("POSTGRES_PASSWORD", "x")]
        ),
        none
    );
    assert_eq!(
        exposed(&["--postgres-url=postgres://me:x@db"], &[]),
        ["postgres-password"]
    );
    assert_eq!(exposed(&["--postgres-password=x"], &[]), ["postgres-password"]);
    let properties = [
        "--kafka-property=client.id=x",
        "--kafka-property=ssl.key.password=x",
        "--kafka-property=ssl.key.pem=x",
    ];
    assert_eq!(exposed(&properties, &[]), ["kafka-property"]);
}

#[test]
#[cfg(unix)]
fn text_that_is_not_utf8_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(b"a\xff".to_vec());
    let args = [
        "storage-consumer".into(),
        "consume".into(),
        "--topic".into(),
        broken(),
    ];
    let error = parse(args, |name| (name == "POSTGRES_USER").then(broken)).expect_err("a mistake");
    let text = error.to_string();
    assert!(
        text.contains("--topic (KAFKA_TOPIC, from the command line): is not UTF-8"),
        "{text}"
    );
    assert!(
        text.contains("--postgres-user (POSTGRES_USER, from the environment): is not UTF-8"),
        "{text}"
    );
}
