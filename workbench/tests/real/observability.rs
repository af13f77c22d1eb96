//! What is shipped to watch with: the metrics as Prometheus takes them, the alerts, the dashboard. On a real Prometheus.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, while_load_flows};
use crate::shared::{Scene, postgres};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use workbench::generator::{Config, Settings, publish};
use workbench::http;
use workbench::services::prometheus::{Prometheus, program};
use workbench::services::{ports, wait_until};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn file(path: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free_port().expect("a free port")))
}

/// A configuration with the shipped rules, that scrapes these targets.
fn configuration(targets: &[SocketAddr]) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}\n\
         rule_files: [\"{ROOT}/deploy/prometheus/alerts.yaml\"]\n\
         scrape_configs:\n\
         - job_name: storage-consumer\n  static_configs: [{{targets: [{}]}}]\n",
        targets.join(", ")
    )
}

/// Runs promtool, which must find nothing to say against the input.
fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = Command::new(program("promtool").unwrap_or_else(|error| panic!("{error:#}")))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    promtool
        .stdin
        .take()
        .expect("it is piped")
        .write_all(input.as_bytes())
        .expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // The linter of metrics says what it thinks, and is content all the same.
    let complains = !input.is_empty() && !said.is_empty();
    assert!(
        output.status.success() && !complains,
        "promtool {arguments:?}: {said}\n{input}"
    );
}

fn dashboard() -> Value {
    serde_json::from_str(&file("deploy/grafana/dashboards/storage-consumer.json")).expect("it is JSON")
}

/// Every query of the dashboard's panels, with what Grafana puts in for its variables.
fn queries() -> Vec<(String, String)> {
    let of_panel = |panel: &Value| -> Vec<(String, String)> {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets
            .map(|target| {
                let query = target["expr"].as_str().expect("a query");
                (title.clone(), filled_in(query))
            })
            .collect()
    };
    let panels = dashboard()["panels"].take();
    let panels = panels.as_array().expect("panels");
    panels.iter().flat_map(of_panel).collect()
}

fn filled_in(query: &str) -> String {
    let query = query
        .replace("$__rate_interval", "10s")
        .replace("$__range", "1m")
        .replace("$job", ".+")
        .replace("$instance", ".+");
    assert!(!query.contains('$'), "a variable in {query}");
    query
}

/// The names of metrics that a text speaks of, those of histograms without their suffixes.
fn spoken_of(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("storage_consumer_") || word.starts_with("process_"))
        .map(|word| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word)
        })
        .collect()
}

/// The names of all metrics in Prometheus' text, those of histograms without their suffixes.
fn exported(metrics: &str) -> BTreeSet<&str> {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect()
}

#[test]
fn prometheus_takes_every_number_and_the_dashboard_shows_them_all() {
    let scene = Scene::new("observed", 3);
    let address = free_address();
    let settings = Settings {
        rate: 800.0,
        malformed_ratio: 0.1,
        config: Config::Chaos,
        ..load(&scene, 0)
    };
    let consumer = Consumer::start(&scene, &["--http-listen", &address.to_string()]);
    let prometheus =
        Prometheus::start(&configuration(&[address])).unwrap_or_else(|error| panic!("{error:#}"));
    while_load_flows(settings, || {
        let flows = || count(&scene, postgres()).settled() > 500;
        assert!(wait_until(PATIENCE, flows), "{}", consumer.text());
        // A session that is ended within a transaction is a retry, with its SQLSTATE.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND xact_start IS NOT NULL",
            scene.database
        );
        let retried = wait_until(PATIENCE, || {
            postgres()
                .execute("postgres", &end)
                .expect("sessions can be ended");
            !prometheus
                .query("storage_consumer_retries_total")
                .expect("an answer")
                .is_empty()
        });
        assert!(retried, "{}", consumer.text());
        let mut waiting = queries();
        let all_show = wait_until(PATIENCE, || {
            waiting.retain(|(title, query)| {
                let samples = prometheus
                    .query(query)
                    .unwrap_or_else(|error| panic!("{title}: {error:#}"));
                samples.is_empty()
            });
            waiting.is_empty()
        });
        assert!(
            all_show,
            "these show nothing: {waiting:#?}\n{:?}",
            http::get(address, "/metrics")
        );
        // What marks starts and alerts shows nothing as long as there are none.
        for mark in dashboard()["annotations"]["list"].as_array().expect("marks") {
            if let Some(query) = mark["expr"].as_str() {
                prometheus
                    .query(&filled_in(query))
                    .unwrap_or_else(|error| panic!("{error:#}"));
            }
        }
        let broken = "storage_consumer_unaccounted_messages != 0";
        assert_eq!(prometheus.query(broken).expect("an answer"), Vec::<Value>::new());
    });

    // At rest Prometheus has what the tables have.
    let sum = |query: &str| prometheus.value(query).ok();
    let mut found = count(&scene, postgres());
    let agrees = wait_until(PATIENCE, || {
        found = count(&scene, postgres());
        sum("sum(storage_consumer_lag_messages)") == Some(0.0)
            && sum("sum(storage_consumer_rows_stored_total)") == Some(as_float(found.stored))
            && sum("sum(storage_consumer_dead_letters_total)") == Some(as_float(found.dead_lettered))
            && sum("storage_consumer_messages_consumed_total") == Some(as_float(found.settled()))
            && sum("storage_consumer_latency_seconds_count") == Some(as_float(found.settled()))
            && sum("storage_consumer_event_latency_seconds_count") == Some(as_float(found.stored))
            && sum("max(storage_consumer_lag_seconds)") == Some(0.0)
    });
    let (_, metrics) = http::get(address, "/metrics").expect("an answer");
    assert!(agrees, "{found:?}\n{metrics}");
    assert!(found.dead_lettered > 0, "{found:?}");
    consumer.stop();

    promtool(&["check", "metrics"], &metrics);
    let exported = exported(&metrics);
    let (rules, panels) = (
        file("deploy/prometheus/alerts.yaml"),
        file("deploy/grafana/dashboards/storage-consumer.json"),
    );
    let unknown: Vec<_> = spoken_of(&rules)
        .into_iter()
        .chain(spoken_of(&panels))
        // The rules' head names them all.
        .filter(|name| *name != "storage_consumer_" && !exported.contains(name))
        .collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}\n{metrics}");
    let readme = file("README.md");
    for name in exported {
        let told = name.strip_prefix("storage_consumer_").unwrap_or(name);
        assert!(
            readme.contains(&format!("`{told}`")),
            "{name} is not in the README's table"
        );
    }
}

#[test]
fn an_outage_shows_in_every_number_that_it_touches_and_leaves_none_behind() {
    let (scene, mut own) = Scene::with_own_postgres("outage_numbers", 2);
    let address = free_address();
    let arguments = [
        "--http-listen",
        &address.to_string(),
        "--max-batch-bytes",
        "256KiB",
    ];
    let consumer = Consumer::start_on(&scene, &own, &arguments);
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let shows = |wanted: &[(&str, RangeInclusive<f64>)]| {
        let mut missing = Vec::new();
        let all = wait_until(PATIENCE, || {
            let (_, metrics) = http::get(address, "/metrics").expect("an answer");
            missing.clear();
            missing.extend(wanted.iter().filter(|(name, range)| {
                let values: Vec<f64> = metrics
                    .lines()
                    .filter_map(|line| line.strip_prefix("storage_consumer_")?.strip_prefix(name))
                    .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
                    .collect();
                values.is_empty() || !range.contains(&values.iter().sum())
            }));
            missing.is_empty()
        });
        assert!(
            all,
            "{missing:?}\n{:?}\n{}",
            http::get(address, "/metrics"),
            consumer.text()
        );
    };
    let exactly = |sum: f64| sum..=sum;
    let more_than = |sum: f64| sum.next_up()..=f64::INFINITY;
    shows(&[("messages_consumed_total ", exactly(2000.0))]);
    own.stop_fast().expect("it stops");
    publish::run(&load(&scene, 4000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    shows(&[
        ("ready ", exactly(0.0)),
        ("lag_messages{", exactly(4000.0)),
        ("lag_seconds{", more_than(0.0)),
        ("retries_total{", more_than(0.0)),
        ("partitions_assigned ", exactly(2.0)),
        ("partitions_paused ", exactly(2.0)),
        // A batch as large as it may be is filled, another one is in the store.
        ("buffered_bytes{buffer=\"batches\"}", more_than(256.0 * 1024.0)),
        ("buffered_messages{buffer=\"kafka_client\"}", more_than(0.0)),
        ("messages_consumed_total ", exactly(2000.0)),
    ]);
    own.restart().expect("it starts");
    shows(&[
        ("ready ", exactly(1.0)),
        ("lag_messages{", exactly(0.0)),
        ("lag_seconds{", exactly(0.0)),
        ("partitions_paused ", exactly(0.0)),
        ("buffered_bytes{", exactly(0.0)),
        ("buffered_messages{", exactly(0.0)),
        ("messages_consumed_total ", exactly(6000.0)),
        ("unaccounted_messages ", exactly(0.0)),
    ]);
    expect_settled(&scene, &own, &consumer, 6000);
    // Each batch has been decoded, and its decoding told with its commit.
    let value = |name: &str| {
        let (_, metrics) = http::get(address, "/metrics").expect("an answer");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    assert_eq!(
        value("storage_consumer_phase_seconds_count{phase=\"decode\"}"),
        value("storage_consumer_batches_total")
    );
    consumer.stop();
}

#[test]
fn alerts_fire_when_they_should_and_at_no_other_time() {
    promtool(
        &[
            "check",
            "config",
            &format!("{ROOT}/deploy/prometheus/prometheus.yml"),
        ],
        "",
    );
    promtool(
        &[
            "test",
            "rules",
            &format!("{ROOT}/deploy/prometheus/alerts.test.yaml"),
        ],
        "",
    );
}

#[test]
fn every_alert_says_what_it_means_and_has_a_runbook_and_a_test() {
    let prometheus = Prometheus::start(&configuration(&[])).unwrap_or_else(|error| panic!("{error:#}"));
    let rules = || {
        let groups = prometheus.api("/api/v1/rules").expect("an answer")["groups"].take();
        let groups = groups.as_array().expect("groups").clone();
        groups
            .into_iter()
            .flat_map(|group| group["rules"].as_array().expect("rules").clone())
            .collect::<Vec<_>>()
    };
    let evaluated = || rules().iter().all(|rule| rule["health"] != "unknown");
    assert!(wait_until(PATIENCE, evaluated), "{:?}", rules());
    let rules = rules();
    assert!(rules.len() > 10, "{rules:?}");
    let operations = file("docs/operations.md");
    let tests = file("deploy/prometheus/alerts.test.yaml");
    let headings: BTreeSet<String> = operations
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' '))
        .map(anchor)
        .collect();
    for rule in &rules {
        let name = rule["name"].as_str().expect("a name");
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str();
            assert!(
                text.is_some_and(|text| !text.is_empty()),
                "{name}: no {annotation}"
            );
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}: {severity}"
        );
        let runbook = rule["annotations"]["runbook_url"].as_str().expect("a runbook");
        let (page, section) = runbook.split_once('#').expect("a section");
        assert!(page.ends_with("/docs/operations.md"), "{name}: {runbook}");
        assert!(
            headings.contains(section),
            "{name}: docs/operations.md has no section {section}"
        );
        assert!(
            tests.contains(name),
            "{name} is in no test of deploy/prometheus/alerts.test.yaml"
        );
    }
}

/// A heading as GitHub's address of it.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_dashboard_is_laid_out_and_says_of_each_panel_what_it_shows() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: an id twice");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(
                    x < 24 && taken.insert((x, y)),
                    "{title}: lies on another panel, or outside"
                );
            }
        }
        let is_row = panel["type"] == "row";
        let described = panel["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_row || described, "{title}: no description");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

/// Counts are far below 2^53, where floats stop being exact.
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
fn as_float(count: u64) -> f64 {
    count as f64
}
