//! Owns the baseline: a consumer as one would write it in Python (`baseline.py`), in a virtual environment in the cache
//! folder. What it needs is installed from the user's package index; where that can't be, the run goes on without it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::drain::{CPU, POSTGRES_CPU, RATE};
use super::results::{Results, Sample, per_second};
use super::settings::Settings;
use super::stage::{PARTITIONS, Shape, Stage, TOPIC};
use super::{Case, keep, report};
use crate::demo::say;
use crate::services::process::Launch;
use crate::services::{cache_folder, in_path};
use crate::usage;

/// What it needs; `lz4` because the topic is compressed.
const PACKAGES: [&str; 3] = ["kafka-python", "psycopg2-binary", "lz4"];
/// It is slow: so many events tell enough.
const EVENTS: u64 = 200_000;
/// Installing, and a run.
const LIMIT: Duration = Duration::from_mins(10);

pub(super) fn measure(
    stage: &mut Stage<'_>,
    settings: &Settings,
    results: &mut Results,
) -> anyhow::Result<()> {
    let python = match python(stage) {
        Ok(python) => python,
        Err(error) => {
            let sentence = format!("not measured: its packages can't be installed: {error:#}");
            say(&sentence);
            let line = sentence.lines().next().unwrap_or_default().to_owned();
            results.conditions.push(("baseline".to_owned(), line));
            return Ok(());
        }
    };
    stage.fill(TOPIC, PARTITIONS, settings.events)?;
    let events = EVENTS.min(settings.events);
    let script = stage.folder.path().join("baseline.py");
    fs::write(&script, include_str!("baseline.py"))?;
    results.conditions.push((
        "baseline".to_owned(),
        format!("the first {events} events that it gets"),
    ));

    let surroundings = stage.fresh(TOPIC, Shape::Indexed)?;
    let log = stage.log("baseline");
    let postgres = stage.postgres_id()?;
    let before = usage::cpu_seconds_of_server(postgres);
    Launch::new("the Python baseline", python, &log)
        .args([&script])
        .env("KAFKA_BOOTSTRAP_SERVERS", &surroundings.kafka_servers)
        .env("KAFKA_TOPIC", &surroundings.topic)
        .env("KAFKA_GROUP_ID", &surroundings.group)
        .env("POSTGRES_URL", stage.postgres.url(&surroundings.database))
        .env("EVENTS", events.to_string())
        .run(LIMIT)?;
    let postgres_cpu = usage::cpu_seconds_of_server(postgres) - before;
    let said = fs::read_to_string(&log)?;
    let last = said.lines().last().context("the Python baseline said nothing")?;
    let answer: Value = serde_json::from_str(last).with_context(|| said.clone())?;
    let number = |name: &str| {
        answer[name]
            .as_f64()
            .with_context(|| format!("no {name} in {last}"))
    };
    let millions = per_second(events, 1e6);
    let sample = Sample::new(Case::Baseline.name(), 1)
        .with(RATE, per_second(events, number("seconds")?))
        .with(CPU, number("cpu_seconds")? / millions)
        .with(POSTGRES_CPU, postgres_cpu / millions);
    keep(results, sample);
    Ok(())
}

/// The interpreter of the virtual environment, made where there is none.
fn python(stage: &Stage<'_>) -> anyhow::Result<PathBuf> {
    let folder = cache_folder().join("bench-python");
    let python = folder.join("bin/python");
    let log = stage.log("pip");
    let complete = folder.join("complete");
    if !complete.is_file() {
        let system = in_path("python3").context("there is no python3")?;
        fs::create_dir_all(cache_folder())?;
        Launch::new("python3 -m venv", system, &log)
            .args(["-m", "venv", "--clear"])
            .args([&folder])
            .run(LIMIT)?;
        Launch::new("pip", &python, &log)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES)
            .run(LIMIT)?;
        fs::write(&complete, "")?;
    }
    Ok(python)
}

/// Its line.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::new();
    report::rates(&mut text, results);
    text
}
