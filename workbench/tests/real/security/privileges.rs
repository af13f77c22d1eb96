//! The least that the consumer needs, as docs/operations.md has it: it is enough, and nothing of it is too much.

use crate::consumer::{Consumer, count, expect_sums, load, query};
use crate::contract::send;
use crate::shared::{Scene, kafka, postgres, unique};
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::wait_until;

const PAGE: &str = include_str!("../../../../docs/operations.md");

/// The documented statements, for the test's own roles and database.
fn statements(consumer: &str, database: &str) -> Vec<String> {
    let (_, page) = PAGE.split_once("\n## Privileges\n").expect("the chapter");
    let (_, page) = page.split_once("```sql\n").expect("its statements");
    let (sql, _) = page.split_once("```").expect("their end");
    let statements: Vec<String> = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.replace("mlops_db", database)
                .replace("TO consumer;", &format!("TO {consumer};"))
        })
        .collect();
    assert!(
        statements
            .iter()
            .all(|line| line.starts_with("GRANT ") && line.ends_with(';'))
    );
    statements
}

/// `GRANT a, b ON x, y TO z` as one statement for each privilege and object; `REVOKE … FROM` undoes it.
fn singly(statement: &str) -> Vec<(String, String)> {
    let (privileges, rest) = statement
        .trim_start_matches("GRANT ")
        .split_once(" ON ")
        .expect("on something");
    let (objects, role) = rest
        .trim_end_matches(';')
        .split_once(" TO ")
        .expect("to somebody");
    let kind = ["DATABASE ", "SCHEMA "]
        .into_iter()
        .find(|kind| objects.starts_with(kind))
        .unwrap_or("");
    let mut single = Vec::new();
    for privilege in privileges.split(", ") {
        for object in objects.trim_start_matches(kind).split(", ") {
            let on = format!("{privilege} ON {kind}{object}");
            single.push((
                format!("GRANT {on} TO {role}"),
                format!("REVOKE {on} FROM {role}"),
            ));
        }
    }
    single
}

#[test]
fn the_documented_grants_are_enough_and_none_is_too_many() {
    let scene = Scene::new("privileges", 1);
    let server = postgres();
    let database = &scene.database;
    let (owner, role) = (unique("owner"), unique("consumer_role"));
    let run = |sql: &str| {
        server
            .execute(database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    };
    run(&format!(
        "CREATE ROLE {owner} LOGIN PASSWORD 'x'; CREATE ROLE {role} LOGIN PASSWORD 'x';
         REVOKE ALL ON DATABASE {database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
         GRANT CONNECT ON DATABASE {database} TO {owner}; GRANT USAGE, CREATE ON SCHEMA public TO {owner}"
    ));
    let start = |command: &str, user: &str, more: &[&str]| {
        let login = [&["--postgres-user", user, "--postgres-password", "x"], more].concat();
        Consumer::launch(&scene, &kafka().bootstrap(), server.port(), command, &login)
    };
    let mut migrate = start("migrate", &owner, &[]);
    assert!(migrate.wait().success(), "{}", migrate.text());
    let statements = statements(&role, database);
    run(&statements.join("\n"));
    let mut check = start("check", &role, &["--no-migrate"]);
    assert!(check.wait().success(), "{}", check.text());

    // Rows, dead letters, a table that changes meanwhile, and a dead letter of the same place again.
    let consumer = start("consume", &role, &["--no-migrate"]);
    let settled = |messages: u64| {
        let settled = wait_until(crate::consumer::PATIENCE, || {
            count(&scene, server).settled() >= messages
        });
        assert!(
            settled,
            "{:?} of {messages}\n{}",
            count(&scene, server),
            consumer.text()
        );
        expect_sums(&count(&scene, server), messages);
    };
    publish::run(&load(&scene, 500), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    send(&scene, &[Some(b"no event".to_vec()), None]);
    settled(502);
    run("ALTER TABLE server_metrics ADD COLUMN note text");
    publish::run(&load(&scene, 500), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    settled(1002);
    consumer.wait_for_line("tables have changed");
    consumer.stop();
    let again = "UPDATE consumer_offsets SET next_offset = next_offset - 502, dead_lettered = 0, stored = stored - 500;
                 DELETE FROM server_metrics; DELETE FROM application_metrics";
    run(again);
    let consumer = start("consume", &role, &["--no-migrate"]);
    let offset = "SELECT next_offset::text FROM consumer_offsets";
    let at_the_end = || query(server, database, offset).as_deref() == Some("1002");
    assert!(
        wait_until(crate::consumer::PATIENCE, at_the_end),
        "{}",
        consumer.text()
    );
    consumer.stop();

    for (grant, revoke) in statements.iter().flat_map(|statement| singly(statement)) {
        run(&revoke);
        let mut consumer = start("consume", &role, &["--no-migrate", "--startup-timeout", "60"]);
        let status = consumer.wait();
        let text = consumer.text();
        assert_eq!(status.code(), Some(1), "{revoke}: {text}");
        // `GRANT privilege ON object TO role`: the words of the message, as of the statement.
        let (privilege, object) = grant
            .trim_start_matches("GRANT ")
            .split_once(" ON ")
            .and_then(|(privilege, rest)| Some((privilege, rest.split_once(" TO ")?.0)))
            .expect("a grant");
        let object = object.rsplit(' ').next().expect("a name");
        let said = text
            .lines()
            .any(|line| line.contains("ERROR") && line.contains(privilege) && line.contains(object));
        assert!(said, "{privilege} on {object} is not told in\n{text}");
        run(&grant);
    }
}
