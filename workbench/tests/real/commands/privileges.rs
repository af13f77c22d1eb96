//! The privileges that docs/operations.md grants for the commands of an operator are enough, and without them it is said what
//! is missing.

use super::{GPU_ROUTE, GPU_TABLE, execute, gpu_events, run, settled};
use crate::consumer::Consumer;
use crate::contract::send;
use crate::shared::{Scene, unique};

const PAGE: &str = include_str!("../../../../docs/operations.md");

/// The statements of the block with these words, for a role of the test's own.
fn documented(words: &str, role: &str, other_role: &str) -> String {
    let mut blocks = PAGE.split("```sql\n").skip(1);
    let block = blocks
        .find(|block| block.contains(words))
        .expect("the block is there");
    let (statements, _) = block.split_once("```").expect("its end");
    statements
        .replace("TO operator", &format!("TO {role}"))
        .replace("TO reader", &format!("TO {other_role}"))
}

#[test]
fn the_documented_grants_are_enough_for_the_commands_of_an_operator() {
    let scene = Scene::new("operators", 1);
    send(&scene, &gpu_events(0..20));
    let consumer = Consumer::start(&scene, &[]);
    settled(&scene, &consumer, 20);
    execute(&scene, GPU_TABLE);
    let (operator, reader) = (unique("operator"), unique("reader"));
    for role in [&operator, &reader] {
        execute(&scene, &format!("CREATE ROLE {role} LOGIN PASSWORD 'postgres'"));
    }
    // What `consume` needs, its table included.
    execute(
        &scene,
        &format!(
            "GRANT INSERT ON server_metrics, application_metrics, gpu_metrics TO {operator};
             GRANT SELECT, INSERT, UPDATE ON consumer_offsets, dead_letters TO {operator};
             GRANT SELECT ON storage_consumer_migrations TO {operator}"
        ),
    );
    let by = |role: &str, arguments: &[&str]| run(&scene, &[arguments, &["--postgres-user", role]].concat());
    let replay = ["replay", "--all", "--yes", GPU_ROUTE[0], GPU_ROUTE[1]];
    let (code, text) = by(&operator, &replay);
    assert!(
        code == 1 && text.contains("permission denied for table dead_letters"),
        "{text}"
    );
    let (code, text) = by(&reader, &["status"]);
    assert!(
        code == 1 && text.contains("permission denied for table"),
        "{text}"
    );

    execute(
        &scene,
        &documented("GRANT DELETE ON dead_letters", &operator, &reader),
    );
    let (code, text) = by(&operator, &replay);
    assert_eq!(code, 0, "{text}");
    for looks in [&["status"][..], &["offsets", "show"]] {
        let (code, text) = by(&reader, looks);
        assert_eq!(code, 0, "{text}");
    }
    execute(&scene, &format!("GRANT SELECT ON gpu_metrics TO {reader}"));
    let (code, text) = by(&reader, &["audit", GPU_ROUTE[0], GPU_ROUTE[1]]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = by(&reader, &replay);
    assert!(
        code == 0 && text.contains("0 dead letters"),
        "nothing is left: {text}"
    );
    consumer.stop();
    let (code, text) = by(&operator, &["offsets", "set", "--to", "earliest", "--yes"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = by(&reader, &["offsets", "set", "--to", "latest", "--yes"]);
    assert!(code == 1 && text.contains("permission denied"), "{text}");
}
