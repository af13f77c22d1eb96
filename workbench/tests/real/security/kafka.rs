//! TLS and SASL with Kafka: one broker with a listener for each way in, and those that must be refused.

use super::certificates::{Authority, Files, Identity};
use crate::consumer::{Consumer, expect_settled_on, load};
use crate::shared::{Scene, postgres};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::thread;
use workbench::generator::{Settings, publish};
use workbench::services::Kafka;
use workbench::services::kafka::Options;

pub(super) const USER: &str = "consumer";
pub(super) const PASSWORD: &str = "kafkas-hunter2";
pub(super) const CLIENT: &str = "the-client";
pub(super) const CLIENT_SECRET: &str = "oauths-hunter2";
/// Both, as HTTP sends them.
pub(super) const CLIENT_BASIC: &str = "dGhlLWNsaWVudDpvYXV0aHMtaHVudGVyMg==";

/// A broker that lets in nobody unseen, and the authority of it and its clients.
pub(super) struct Secured {
    pub(super) kafka: Kafka,
    pub(super) authority: Authority,
}

/// The one of all tests.
pub(super) fn secured() -> &'static Secured {
    static SECURED: OnceLock<Result<Secured, String>> = OnceLock::new();
    let started = SECURED.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    started
        .as_ref()
        .unwrap_or_else(|error| panic!("no Kafka with security: {error}"))
}

fn start() -> anyhow::Result<Secured> {
    let authority = Authority::new("the authority");
    let mut settings = Vec::new();
    let mut set = |name: String, value: &str| settings.push((name, value.replace('\n', "\\n")));
    let server = authority.issue("kafka", &["localhost", "127.0.0.1"]);
    let mut present = |listener: &str, own: &Identity| {
        for (name, value) in [
            ("keystore.type", "PEM"),
            ("keystore.key", own.key.as_str()),
            ("keystore.certificate.chain", own.certificate.as_str()),
            ("truststore.type", "PEM"),
            ("truststore.certificates", authority.certificate.as_str()),
        ] {
            set(format!("listener.name.{listener}.ssl.{name}"), value);
        }
    };
    for listener in ["tls", "mutual", "sasl", "oauth"] {
        present(listener, &server);
    }
    present("elsewhere", &authority.issue("kafka", &["kafka.internal"]));
    present("expired", &authority.issue_expired("kafka", &["127.0.0.1"]));
    set("listener.name.mutual.ssl.client.auth".to_owned(), "required");

    let module = "org.apache.kafka.common.security";
    let sasl = "listener.name.sasl";
    set(
        format!("{sasl}.sasl.enabled.mechanisms"),
        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    );
    set(
        format!("{sasl}.plain.sasl.jaas.config"),
        &format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
    );
    for mechanism in ["scram-sha-256", "scram-sha-512"] {
        set(
            format!("{sasl}.{mechanism}.sasl.jaas.config"),
            &format!("{module}.scram.ScramLoginModule required;"),
        );
    }
    set(
        "listener.name.oauth.sasl.enabled.mechanisms".to_owned(),
        "OAUTHBEARER",
    );
    set(
        "listener.name.oauth.oauthbearer.sasl.jaas.config".to_owned(),
        &format!(
            "{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
        ),
    );
    let scram = |mechanism: &str| {
        [
            "--add-scram".to_owned(),
            format!("{mechanism}=[name={USER},password={PASSWORD}]"),
        ]
    };
    let kafka = Kafka::start(&Options {
        settings,
        listeners: vec![
            ("TLS", "SSL"),
            ("MUTUAL", "SSL"),
            ("SASL", "SASL_SSL"),
            ("OAUTH", "SASL_SSL"),
            ("ELSEWHERE", "SSL"),
            ("EXPIRED", "SSL"),
        ],
        format: [scram("SCRAM-SHA-256"), scram("SCRAM-SHA-512")].concat(),
        ..Options::default()
    })?;
    Ok(Secured { kafka, authority })
}

/// A token that is signed by nobody, which the listener takes: `{"sub":"consumer",…}`, until the year 2100.
pub(super) const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjb25zdW1lciIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6Im1ldHJpY3MifQ.";

/// Answers the client that comes with its secret and asks for the scope `metrics` with a token; returns where it does so.
pub(super) fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/token", listener.local_addr().expect("its address"));
    // Ends with the process, as the servers do.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut reader = BufReader::new(stream.try_clone().expect("the same stream"));
            let (mut head, mut length) = (String::new(), 0);
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
                let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let body = String::from_utf8_lossy(&body);
            let known = head.contains(&format!("Basic {CLIENT_BASIC}"))
                && body.contains("grant_type=client_credentials")
                && body.contains("scope=metrics");
            let (status, answer) = if known {
                let answer =
                    format!("{{\"access_token\":\"{TOKEN}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}");
                ("200 OK", answer)
            } else {
                ("401 Unauthorized", "{\"error\":\"invalid_client\"}".to_owned())
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            );
        }
    });
    url
}

/// Options, each its name without `--kafka-`, and its value.
type Given<'a> = &'a [(&'a str, &'a str)];

/// The options as the program takes them.
fn options(given: Given<'_>) -> Vec<String> {
    given
        .iter()
        .flat_map(|(name, value)| [format!("--kafka-{name}"), (*value).to_owned()])
        .collect()
}

fn start_at(scene: &Scene, listener: &str, command: &str, given: Given<'_>) -> Consumer {
    let servers = secured().kafka.address(listener).expect("a listener");
    let given = options(given);
    let arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    Consumer::launch(scene, &servers, postgres().port(), command, &arguments)
}

/// What `check` says of Kafka.
fn connection(scene: &Scene, listener: &str, given: Given<'_>) -> String {
    let mut check = start_at(scene, listener, "check", given);
    check.wait();
    let text = check.text();
    let line = text.lines().find(|line| line.contains(" kafka "));
    line.unwrap_or_else(|| panic!("no line of kafka in\n{text}"))
        .to_owned()
}

#[test]
fn events_are_read_from_brokers_that_let_in_nobody_unseen() {
    let Secured { kafka, authority } = secured();
    let scene = Scene::on(kafka, "ways_in", 2, &[]);
    let files = Files::new();
    let ca = ("ssl-ca", files.write("ca.crt", &authority.certificate));
    let client = authority.issue("consumer", &[]);
    let certificate = files.write("client.crt", &client.certificate);
    let passphrase = files.write("passphrase", "keys-hunter2\n");
    let key = files.encrypt(&files.write("client.key", &client.key), &passphrase);
    let password = files.write("password", &format!("{PASSWORD}\n"));
    let secret = files.write("secret", CLIENT_SECRET);
    let endpoint = token_endpoint();
    let ca = (ca.0, ca.1.as_str());
    let user = ("sasl-username", USER);
    let password = ("sasl-password-file", password.as_str());
    let sasl = ("security-protocol", "sasl_ssl");
    let ways: &[(&str, Given<'_>)] = &[
        ("TLS", &[("security-protocol", "ssl"), ca]),
        (
            "MUTUAL",
            &[
                ("security-protocol", "ssl"),
                ca,
                ("ssl-certificate", &certificate),
                ("ssl-key", &key),
                ("ssl-key-password-file", &passphrase),
            ],
        ),
        ("SASL", &[sasl, ca, ("sasl-mechanism", "PLAIN"), user, password]),
        (
            "SASL",
            &[sasl, ca, ("sasl-mechanism", "SCRAM-SHA-256"), user, password],
        ),
        (
            "SASL",
            &[sasl, ca, ("sasl-mechanism", "SCRAM-SHA-512"), user, password],
        ),
        (
            "OAUTH",
            &[
                sasl,
                ca,
                ("sasl-mechanism", "OAUTHBEARER"),
                ("oauth-token-endpoint", &endpoint),
                ("oauth-client-id", CLIENT),
                ("oauth-client-secret-file", &secret),
                ("oauth-scope", "metrics"),
            ],
        ),
    ];
    let mut sent = 0;
    for (listener, given) in ways {
        let settings = Settings {
            kafka_servers: kafka.bootstrap(),
            ..load(&scene, 100)
        };
        publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent");
        sent += 100;
        let consumer = start_at(&scene, listener, "consume", given);
        expect_settled_on(kafka, &scene, postgres(), &consumer, sent);
        consumer.stop();
    }
}

#[test]
fn brokers_and_credentials_that_are_not_those_meant_are_refused_and_told() {
    let Secured { kafka, authority } = secured();
    let scene = Scene::on(kafka, "not_meant", 1, &[]);
    let files = Files::new();
    let right = files.write("ca.crt", &authority.certificate);
    let wrong = files.write("other.crt", &Authority::new("another authority").certificate);
    let ssl = ("security-protocol", "ssl");
    let sasl = ("security-protocol", "sasl_ssl");
    let ca = ("ssl-ca", right.as_str());
    let bad = files.write("password", "hunter2");
    let endpoint = token_endpoint();
    let scram = [
        sasl,
        ca,
        ("sasl-mechanism", "SCRAM-SHA-512"),
        ("sasl-username", USER),
        ("sasl-password-file", bad.as_str()),
    ];
    let plain = scram.map(|given| {
        if given.0 == "sasl-mechanism" {
            (given.0, "PLAIN")
        } else {
            given
        }
    });
    let oauth = [
        sasl,
        ca,
        ("sasl-mechanism", "OAUTHBEARER"),
        ("oauth-token-endpoint", &endpoint),
        ("oauth-client-id", CLIENT),
        ("oauth-client-secret-file", bad.as_str()),
    ];
    let cases: &[(&str, Given<'_>, &[&str])] = &[
        ("TLS", &[ssl, ca], &["ok "]),
        (
            "TLS",
            &[ssl, ("ssl-ca", &wrong)],
            &["certificate verify failed", "--kafka-ssl-ca"],
        ),
        (
            "ELSEWHERE",
            &[ssl, ca],
            &["certificate verify failed", "the names in --kafka-servers"],
        ),
        (
            "EXPIRED",
            &[ssl, ca],
            &["certificate verify failed", "--kafka-ssl-ca"],
        ),
        ("MUTUAL", &[ssl, ca], &["--kafka-ssl-certificate"]),
        (
            "SASL",
            &scram,
            &["invalid credentials", "--kafka-sasl-mechanism, user and password"],
        ),
        (
            "SASL",
            &plain,
            &[
                "Invalid username or password",
                "--kafka-sasl-mechanism, user and password",
            ],
        ),
        ("OAUTH", &oauth, &["token", "what the token is fetched with"]),
    ];
    for (listener, given, told) in cases {
        let line = connection(&scene, listener, given);
        assert_eq!(
            line.starts_with("ERROR"),
            told != &["ok "],
            "{listener} {given:?}: {line}"
        );
        for told in *told {
            assert!(line.contains(told), "{told:?} for {listener} {given:?} in {line}");
        }
        assert!(!line.contains("hunter2"), "{line}");
    }
}
