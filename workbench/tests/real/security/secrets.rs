//! Nothing that is secret is ever told: not in the log, at the level that tells most, not over HTTP, not by `ps`.

use super::certificates::{Authority, Files};
use super::kafka::{CLIENT, CLIENT_BASIC, CLIENT_SECRET, PASSWORD, TOKEN, USER, secured, token_endpoint};
use super::postgres::encrypted;
use crate::consumer::{Consumer, PATIENCE, expect_settled_on, load};
use crate::operation::get;
use crate::shared::{Scene, unique};
use std::sync::atomic::AtomicBool;
use workbench::generator::{Settings, publish};
use workbench::services::{Postgres, ports, wait_until};

const POSTGRES_PASSWORD: &str = "postgres-hunter2";
const NEW_PASSWORD: &str = "another-hunter2";

/// All that was said, and by whom.
#[derive(Default)]
struct Heard(Vec<(&'static str, String)>);

impl Heard {
    fn add(&mut self, whence: &'static str, text: String) {
        self.0.push((whence, text));
    }

    /// What the process shows to everybody on the machine.
    fn command_line(&mut self, consumer: &Consumer) {
        let path = format!("/proc/{}/cmdline", consumer.id());
        self.add("ps", std::fs::read_to_string(path).expect("a running process"));
    }

    fn expect_none_of(&self, secrets: &[&str]) {
        for (whence, text) in &self.0 {
            for secret in secrets {
                let line = text.lines().find(|line| line.contains(secret));
                assert!(
                    line.is_none(),
                    "{whence} tells {secret}: {}",
                    line.unwrap_or_default()
                );
            }
        }
    }
}

#[test]
fn nothing_that_is_secret_is_told_wherever_one_looks() {
    let secured = secured();
    let kafka = &secured.kafka;
    let authority = Authority::new("the authority");
    let server = authority.issue("postgres", &["127.0.0.1"]);
    let hba =
        "host all postgres all scram-sha-256\nhostssl all consumer all scram-sha-256 clientcert=verify-ca\n";
    let own = Postgres::start(&encrypted(&server, &authority, hba)).expect("a PostgreSQL of the test's own");
    let name = unique("secrets");
    kafka.create_topic(&name, 1, &[]).expect("the test's topic");
    own.create_database(&name).expect("the test's database");
    let scene = Scene {
        topic: name.clone(),
        group: name.clone(),
        database: name,
    };
    let set_password = |password: &str| {
        let sql = format!(
            "ALTER ROLE consumer PASSWORD '{password}';
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'consumer'"
        );
        own.execute(&scene.database, &sql).expect("a password");
    };
    own.execute(
        &scene.database,
        "CREATE ROLE consumer LOGIN; GRANT ALL ON SCHEMA public TO consumer",
    )
    .expect("a role");
    set_password(POSTGRES_PASSWORD);

    let files = Files::new();
    let client = authority.issue("consumer", &[]);
    let file = |name: &str, content: &str| files.write(name, content);
    let (certificate, key) = (
        file("client.crt", &client.certificate),
        file("client.key", &client.key),
    );
    let (root, ca) = (
        file("root.crt", &authority.certificate),
        file("ca.crt", &secured.authority.certificate),
    );
    let passfile = file("pgpass", &format!("*:*:*:*:{POSTGRES_PASSWORD}\n"));
    let password = file("kafka", PASSWORD);
    let secret = file("secret", CLIENT_SECRET);
    let endpoint = token_endpoint();
    let http = ports::free_port().expect("a free port");
    let listen = format!("127.0.0.1:{http}");
    let common = [
        "--log-level=TRACE",
        "--http-listen",
        &listen,
        "--kafka-property=debug=all",
        "--kafka-security-protocol=sasl_ssl",
        "--kafka-ssl-ca",
        &ca,
        "--postgres-user=consumer",
        "--postgres-passfile",
        &passfile,
        "--postgres-sslmode=verify-full",
        "--postgres-sslrootcert",
        &root,
        "--postgres-sslcert",
        &certificate,
        "--postgres-sslkey",
        &key,
    ];
    let scram = [
        "--kafka-sasl-mechanism=SCRAM-SHA-256",
        "--kafka-sasl-username",
        USER,
        "--kafka-sasl-password-file",
        &password,
    ];
    let plain = [
        "--kafka-sasl-mechanism=PLAIN",
        "--kafka-sasl-username",
        USER,
        "--kafka-sasl-password-file",
        &password,
    ];
    let oauth = [
        "--kafka-sasl-mechanism=OAUTHBEARER",
        "--kafka-oauth-token-endpoint",
        &endpoint,
        "--kafka-oauth-client-id",
        CLIENT,
        "--kafka-oauth-scope=metrics",
        "--kafka-oauth-client-secret-file",
        &secret,
    ];
    let start = |listener: &str, command: &str, arguments: &[&str]| {
        let servers = kafka.address(listener).expect("a listener");
        Consumer::launch_without_password(
            &scene,
            &servers,
            own.port(),
            command,
            &[&common, arguments].concat(),
        )
    };
    let mut heard = Heard::default();
    let mut sent = 0;
    for (listener, mechanism) in [("SASL", &scram[..]), ("SASL", &plain[..]), ("OAUTH", &oauth[..])] {
        let mut check = start(listener, "check", mechanism);
        check.wait();
        heard.add("check", check.text());
        let consumer = start(listener, "consume", mechanism);
        let settings = Settings {
            kafka_servers: kafka.bootstrap(),
            ..load(&scene, 200)
        };
        let mut send = || {
            publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent");
            sent += 200;
            sent
        };
        expect_settled_on(kafka, &scene, &own, &consumer, send());
        heard.command_line(&consumer);
        // The password is refused, and renewed; meanwhile the pages tell why nothing moves.
        set_password(NEW_PASSWORD);
        let messages = send();
        let refused = wait_until(PATIENCE, || consumer.text().contains("28P01"));
        assert!(refused, "{}", consumer.text());
        for page in ["/ready", "/live", "/metrics", "/status", "/"] {
            heard.add(page, get(http, page).expect("an answer").1);
        }
        files.write("pgpass", &format!("*:*:*:*:{NEW_PASSWORD}\n"));
        expect_settled_on(kafka, &scene, &own, &consumer, messages);
        let text = consumer.text();
        consumer.stop();
        assert!(
            text.contains("TRACE") || text.contains("DEBUG"),
            "nothing is told at all"
        );
        heard.add("the log", text);
        set_password(POSTGRES_PASSWORD);
        files.write("pgpass", &format!("*:*:*:*:{POSTGRES_PASSWORD}\n"));
    }

    // What is refused before anything is opened, and brokers that refuse.
    let url = format!("--postgres-url=postgres://consumer:{POSTGRES_PASSWORD}@127.0.0.1:x/d");
    let given = format!("--kafka-sasl-password={PASSWORD}");
    let mut mistakes = start(
        "SASL",
        "consume",
        &[&scram[..], &[&url, &given, POSTGRES_PASSWORD]].concat(),
    );
    assert_eq!(mistakes.wait().code(), Some(64), "{}", mistakes.text());
    heard.add("a mistake of the command line", mistakes.text());
    let mut mistakes = start("SASL", "consume", &[&scram[..], &[&url, &given]].concat());
    assert_eq!(mistakes.wait().code(), Some(64), "{}", mistakes.text());
    heard.add("mistakes", mistakes.text());
    let mut check = start("OAUTH", "check", &scram);
    check.wait();
    heard.add("the wrong mechanism", check.text());

    let key_body = client.key.lines().nth(1).expect("a line of the key");
    heard.expect_none_of(&[
        POSTGRES_PASSWORD,
        NEW_PASSWORD,
        PASSWORD,
        CLIENT_SECRET,
        CLIENT_BASIC,
        TOKEN,
        key_body,
    ]);
}
