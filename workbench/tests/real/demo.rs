//! The demo's binary, whole: what a newcomer runs first must end well and prove what it promises.

use std::process::{Command, Output};

use crate::shared::storage_consumer;

fn demo(variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_demo"))
        .env("STORAGE_CONSUMER_BIN", storage_consumer())
        .envs(variables.iter().copied())
        .output()
        .expect("the demo runs")
}

#[test]
fn the_demos_sums_agree() {
    let output = demo(&[
        ("DEMO_SECONDS", "3"),
        ("DEMO_RATE", "3000"),
        ("DEMO_MALFORMED", "0.05"),
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let verdict = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("the sums agree: "))
        .unwrap_or_else(|| panic!("no verdict in\n{text}"));
    let numbers: Vec<u64> = verdict
        .split(' ')
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect();
    let [produced, stored, dead_lettered] = numbers[..] else {
        panic!("{verdict}");
    };
    assert_eq!(produced, stored + dead_lettered);
    assert!(stored > 1_000 && dead_lettered > 10, "{verdict}");
    for told in ["the status page", "psql", "/metrics", "latency", "CPU"] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
}

#[test]
fn a_consumer_that_cannot_start_is_told_in_its_own_words() {
    let output = demo(&[("DEMO_SECONDS", "1"), ("BATCH_SIZE", "none")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("ended at its start") && text.contains("BATCH_SIZE"),
        "{text}"
    );
    let kept = text.trim().rsplit(' ').next().expect("the last word");
    std::fs::remove_dir_all(kept).expect("the log is kept");
}

#[test]
fn mistakes_in_the_settings_are_told_before_anything_starts() {
    let output = demo(&[("DEMO_RATE", "fast"), ("DEMO_KAFKA", "none")]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("DEMO_RATE") && text.contains("DEMO_KAFKA"),
        "{text}"
    );
}
