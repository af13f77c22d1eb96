//! TLS with PostgreSQL: libpq's modes, the certificates that must be refused, and those that are demanded.

use super::certificates::{Authority, Files, Identity, self_signed, self_signed_expired};
use crate::consumer::{Consumer, expect_settled, load};
use crate::shared::{Scene, kafka};
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::Postgres;
use workbench::services::postgres::Options;

const PLAIN_AND_TLS: &str = "local all all scram-sha-256\nhost all all all scram-sha-256\n";

/// How a server is made that has this certificate, knows clients of this authority, and lets in whom `pg_hba.conf` says.
pub(super) fn encrypted(own: &Identity, clients: &Authority, hba: &str) -> Options {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let file = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    Options {
        fsync: false,
        settings: vec![
            setting("ssl", "on"),
            setting("ssl_cert_file", "server.crt"),
            setting("ssl_key_file", "server.key"),
            setting("ssl_ca_file", "clients.crt"),
        ],
        files: vec![
            file("server.crt", &own.certificate),
            file("server.key", &own.key),
            file("clients.crt", &clients.certificate),
            file("pg_hba.conf", hba),
        ],
        ..Options::default()
    }
}

/// What `check` says of the connection to PostgreSQL.
fn connection(scene: &Scene, own: &Postgres, arguments: &[&str]) -> String {
    let mut check = Consumer::launch(scene, &kafka().bootstrap(), own.port(), "check", arguments);
    check.wait();
    let text = check.text();
    let line = text.lines().find(|line| line.contains(" postgres "));
    line.unwrap_or_else(|| panic!("no line of postgres in\n{text}"))
        .to_owned()
}

fn expect(line: &str, told: &[&str]) {
    for told in told {
        assert!(line.contains(told), "{told:?} in {line}");
    }
}

#[test]
fn events_are_stored_over_a_connection_that_is_verified_in_full() {
    let authority = Authority::new("the authority");
    let server = authority.issue("postgres", &["localhost", "127.0.0.1"]);
    let hba = "host all postgres all scram-sha-256\nhostssl all consumer all scram-sha-256 clientcert=verify-full\n";
    let (scene, own) = Scene::with_postgres_of("verified", 2, &encrypted(&server, &authority, hba));
    own.execute(
        &scene.database,
        "CREATE ROLE consumer LOGIN PASSWORD 'of-the-consumer'; GRANT ALL ON SCHEMA public TO consumer",
    )
    .expect("a role");
    let files = Files::new();
    let root = files.write("root.crt", &authority.certificate);
    let client = authority.issue("consumer", &[]);
    let certificate = files.write("client.crt", &client.certificate);
    let key = files.write("client.key", &client.key);
    let url = format!(
        "postgres://consumer:of-the-consumer@localhost:{}/{}?sslmode=verify-full&sslrootcert={root}",
        own.port(),
        scene.database
    );
    let arguments = [
        "--postgres-url",
        &url,
        "--postgres-sslcert",
        &certificate,
        "--postgres-sslkey",
        &key,
    ];
    let line = connection(&scene, &own, &arguments);
    expect(&line, &["ok ", "connected as consumer, encrypted (TLSv1.3)"]);

    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start_on(&scene, &own, &arguments);
    expect_settled(&scene, &own, &consumer, 2000);
    consumer.stop();

    // The server demands a certificate, of its own authority, for this user.
    let line = connection(&scene, &own, &["--postgres-url", &url]);
    expect(
        &line,
        &[
            "ERROR",
            "requires a valid client certificate",
            "--postgres-sslcert",
        ],
    );
    let stranger = Authority::new("another authority").issue("consumer", &[]);
    let certificate = files.write("stranger.crt", &stranger.certificate);
    let key = files.write("stranger.key", &stranger.key);
    let stranger = [
        "--postgres-url",
        &url,
        "--postgres-sslcert",
        &certificate,
        "--postgres-sslkey",
        &key,
    ];
    expect(
        &connection(&scene, &own, &stranger),
        &["ERROR", "the server refuses our certificate"],
    );
    let mismatch = [
        "--postgres-url",
        &url,
        "--postgres-sslcert",
        &certificate,
        "--postgres-sslkey",
        &root,
    ];
    let mut consumer = Consumer::start_on(&scene, &own, &mismatch);
    assert_eq!(consumer.wait().code(), Some(64), "{}", consumer.text());
    assert!(
        consumer.text().contains("--postgres-sslkey"),
        "{}",
        consumer.text()
    );
}

#[test]
fn a_server_that_is_not_the_one_meant_is_refused() {
    let authority = Authority::new("the authority");
    let server = authority.issue("postgres", &["localhost", "127.0.0.1"]);
    let (scene, own) = Scene::with_postgres_of("refused", 1, &encrypted(&server, &authority, PLAIN_AND_TLS));
    let files = Files::new();
    let root = files.write("root.crt", &authority.certificate);
    let asked = |mode: &str, root: &str| {
        connection(
            &scene,
            &own,
            &["--postgres-sslmode", mode, "--postgres-sslrootcert", root],
        )
    };
    let present = |identity: &Identity| {
        own.write_file("server.crt", &identity.certificate)
            .expect("written");
        own.write_file("server.key", &identity.key).expect("written");
        own.reload().expect("read again");
    };
    expect(&asked("verify-full", &root), &["ok ", "encrypted"]);

    let other = files.write("other.crt", &Authority::new("another authority").certificate);
    for mode in ["require", "verify-ca", "verify-full"] {
        let line = asked(mode, &other);
        expect(&line, &["ERROR", "is signed by none of --postgres-sslrootcert"]);
    }
    expect(
        &asked("verify-full", "system"),
        &["ERROR", "is signed by none of --postgres-sslrootcert"],
    );

    present(&authority.issue("postgres", &["db.internal"]));
    let line = asked("verify-full", &root);
    expect(
        &line,
        &[
            "ERROR",
            "another name than --postgres-host",
            "db.internal",
            "127.0.0.1",
        ],
    );
    expect(&asked("verify-ca", &root), &["ok ", "encrypted"]);

    present(&authority.issue_expired("postgres", &["127.0.0.1"]));
    for mode in ["require", "verify-ca", "verify-full"] {
        expect(&asked(mode, &root), &["ERROR", "has expired", "renew it"]);
    }
    expect(
        &connection(&scene, &own, &["--postgres-sslmode", "require"]),
        &["ok ", "encrypted"],
    );

    // One that signed itself is trusted as what it is, and no further.
    let itself = self_signed(&["127.0.0.1"]);
    present(&itself);
    let trusted = files.write("itself.crt", &itself.certificate);
    expect(&asked("verify-full", &trusted), &["ok ", "encrypted"]);
    expect(&asked("verify-ca", &root), &["ERROR"]);
    let expired = self_signed_expired(&["127.0.0.1"]);
    present(&expired);
    let trusted = files.write("itself.crt", &expired.certificate);
    expect(&asked("verify-ca", &trusted), &["ERROR", "has expired"]);
    let elsewhere = self_signed(&["db.internal"]);
    present(&elsewhere);
    let trusted = files.write("itself.crt", &elsewhere.certificate);
    expect(&asked("verify-full", &trusted), &["ERROR", "another name"]);
}

#[test]
fn encryption_is_preferred_and_can_be_required_or_left_out() {
    let authority = Authority::new("the authority");
    let server = authority.issue("postgres", &["localhost", "127.0.0.1"]);
    // This server takes one user with encryption only, and one only without.
    let hba = "host all postgres all scram-sha-256\nhostssl all tls all scram-sha-256\nhostnossl all plain all scram-sha-256\n";
    let (scene, own) = Scene::with_postgres_of("preferred", 1, &encrypted(&server, &authority, hba));
    own.execute(
        "postgres",
        "CREATE ROLE tls LOGIN PASSWORD 'x'; CREATE ROLE plain LOGIN PASSWORD 'x'",
    )
    .expect("roles");
    let asked = |user: &str, mode: &str| {
        let arguments = [
            "--postgres-user",
            user,
            "--postgres-password",
            "x",
            "--postgres-sslmode",
            mode,
        ];
        connection(&scene, &own, &arguments)
    };
    expect(&asked("tls", "prefer"), &["ok ", "connected as tls, encrypted"]);
    expect(&asked("tls", "disable"), &["ERROR", "no encryption"]);
    expect(
        &asked("plain", "prefer"),
        &["ok ", "connected as plain, not encrypted"],
    );
    expect(&asked("plain", "require"), &["ERROR", "pg_hba.conf"]);
    let stranger = Files::new();
    let root = stranger.write("root.crt", &Authority::new("another authority").certificate);
    let arguments = ["--postgres-sslmode", "prefer", "--postgres-sslrootcert", &root];
    expect(&connection(&scene, &own, &arguments), &["ok ", "not encrypted"]);

    // The servers of the other tests know no encryption.
    let without = |mode: &str| connection(&scene, crate::shared::postgres(), &["--postgres-sslmode", mode]);
    expect(
        &without("require"),
        &["ERROR", "does not support TLS", "ssl = on"],
    );
    // That database is not there, which is all that is wrong.
    expect(&without("prefer"), &["ERROR", "3D000"]);
}
