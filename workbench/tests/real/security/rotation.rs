//! Passwords and certificates that are renewed under a running consumer: files are read again when a connection is made.

use super::certificates::{Authority, Files};
use super::kafka::{PASSWORD, USER, secured};
use super::postgres::encrypted;
use crate::consumer::{Consumer, PATIENCE, expect_settled, expect_settled_on, load, query};
use crate::shared::{Scene, postgres};
use std::sync::atomic::AtomicBool;
use workbench::generator::{Settings, publish};
use workbench::services::{Postgres, wait_until};

const HBA: &str = "host all postgres all scram-sha-256\nhostssl all consumer all scram-sha-256\n";

fn send(settings: &Settings) {
    publish::run(settings, &AtomicBool::new(false), |_| {}).expect("the load is sent");
}

/// Ends all connections of the consumer, so that it has to make new ones.
fn end_connections(own: &Postgres) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'consumer'";
    own.execute("postgres", sql).expect("ended");
}

/// The number of log lines that hold both words.
fn count(consumer: &Consumer, one: &str, other: &str) -> usize {
    let text = consumer.text();
    text.lines()
        .filter(|line| line.contains(one) && line.contains(other))
        .count()
}

fn wait_for(consumer: &Consumer, one: &str, other: &str) {
    let found = wait_until(PATIENCE, || count(consumer, one, other) > 0);
    assert!(
        found,
        "no line with {one:?} and {other:?} in\n{}",
        consumer.text()
    );
}

#[test]
fn postgres_password_and_certificates_may_be_renewed_while_events_flow() {
    let first = Authority::new("the first authority");
    let server = first.issue("postgres", &["127.0.0.1"]);
    let (scene, own) = Scene::with_postgres_of("rotated", 1, &encrypted(&server, &first, HBA));
    let role = "CREATE ROLE consumer LOGIN PASSWORD 'first'; GRANT ALL ON SCHEMA public TO consumer";
    own.execute(&scene.database, role).expect("a role");
    let files = Files::new();
    let password = files.write("password", "first\n");
    let root = files.write("root.crt", &first.certificate);
    let consumer = Consumer::start_on(
        &scene,
        &own,
        &[
            "--postgres-user=consumer",
            "--postgres-password-file",
            &password,
            "--postgres-sslmode=verify-full",
            "--postgres-sslrootcert",
            &root,
        ],
    );
    send(&load(&scene, 500));
    expect_settled(&scene, &own, &consumer, 500);

    // The password: the server has the new one first, and says so.
    own.execute("postgres", "ALTER ROLE consumer PASSWORD 'second'")
        .expect("a new password");
    end_connections(&own);
    send(&load(&scene, 500));
    wait_for(&consumer, "postgres does not take the work now", "28P01");
    files.write("password", "second\n");
    expect_settled(&scene, &own, &consumer, 1000);

    // The file is gone for a moment.
    std::fs::remove_file(&password).expect("removed");
    end_connections(&own);
    send(&load(&scene, 500));
    wait_for(
        &consumer,
        "postgres does not take the work now",
        "--postgres-password-file: there is no file",
    );
    files.write("password", "second\n");
    expect_settled(&scene, &own, &consumer, 1500);

    // The authority.
    let second = Authority::new("the second authority");
    let server = second.issue("postgres", &["127.0.0.1"]);
    own.write_file("server.crt", &server.certificate)
        .expect("written");
    own.write_file("server.key", &server.key).expect("written");
    own.reload().expect("read again");
    end_connections(&own);
    send(&load(&scene, 500));
    wait_for(
        &consumer,
        "postgres does not take the work now",
        "is signed by none of --postgres-sslrootcert",
    );
    files.write("root.crt", &second.certificate);
    expect_settled(&scene, &own, &consumer, 2000);
    consumer.stop();
}

#[test]
fn kafkas_password_may_be_renewed_in_its_file() {
    let secured = secured();
    let kafka = &secured.kafka;
    let scene = Scene::on(kafka, "kafkas_password", 1, &[]);
    let files = Files::new();
    let ca = files.write("ca.crt", &secured.authority.certificate);
    let password = files.write("password", "not-yet");
    let servers = kafka.address("SASL").expect("a listener");
    let arguments = [
        "--kafka-security-protocol=sasl_ssl",
        "--kafka-ssl-ca",
        &ca,
        "--kafka-sasl-mechanism=SCRAM-SHA-256",
        "--kafka-sasl-username",
        USER,
        "--kafka-sasl-password-file",
        &password,
    ];
    let consumer = Consumer::launch(&scene, &servers, postgres().port(), "consume", &arguments);
    send(&Settings {
        kafka_servers: kafka.bootstrap(),
        ..load(&scene, 500)
    });
    wait_for(&consumer, "WARNING", "invalid credentials");
    files.write("password", PASSWORD);
    expect_settled_on(kafka, &scene, postgres(), &consumer, 500);
    consumer.wait_for_line("joining anew with those");
    assert_eq!(
        query(
            postgres(),
            &scene.database,
            "SELECT count(*)::text FROM consumer_offsets"
        )
        .as_deref(),
        Some("1")
    );
    consumer.stop();
}

#[test]
fn kafkas_certificate_may_be_renewed_in_its_files() {
    let secured = secured();
    let kafka = &secured.kafka;
    let scene = Scene::on(kafka, "kafkas_certificate", 1, &[]);
    let files = Files::new();
    let ca = files.write("ca.crt", &secured.authority.certificate);
    let stranger = Authority::new("another authority").issue("consumer", &[]);
    let certificate = files.write("client.crt", &stranger.certificate);
    let key = files.write("client.key", &stranger.key);
    let servers = kafka.address("MUTUAL").expect("a listener");
    let arguments = [
        "--kafka-security-protocol=ssl",
        "--kafka-ssl-ca",
        &ca,
        "--kafka-ssl-certificate",
        &certificate,
        "--kafka-ssl-key",
        &key,
    ];
    let consumer = Consumer::launch(&scene, &servers, postgres().port(), "consume", &arguments);
    send(&Settings {
        kafka_servers: kafka.bootstrap(),
        ..load(&scene, 500)
    });
    wait_for(&consumer, "WARNING", "certificate");
    // For a moment the certificate is the new one, and the key the old one.
    let client = secured.authority.issue("consumer", &[]);
    files.write("client.crt", &client.certificate);
    consumer.wait_for_line("those that the files hold by now cannot be used");
    files.write("client.key", &client.key);
    expect_settled_on(kafka, &scene, postgres(), &consumer, 500);
    consumer.wait_for_line("joining anew with those");
    consumer.stop();
}
