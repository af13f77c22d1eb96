//! A Prometheus server on loopback, and its `promtool`: what operators scrape, alert and look with.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::folder::Folder;
use super::ports;
use super::process::{Launch, Process};
use super::{SET_UP, cache_folder, in_path, wait_until};
use crate::http::get_within;

/// Starting, and answering a question, takes no longer.
const LIMIT: Duration = Duration::from_secs(30);

/// A running server; it ends when it is dropped, and its data with it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    _folder: Folder,
}

impl Prometheus {
    /// Starts it with this configuration (the text of a `prometheus.yml`).
    pub fn start(configuration: &str) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration)?;
        let port = ports::free_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let process = Launch::new(
            "Prometheus",
            program("prometheus")?,
            folder.path().join("prometheus.log"),
        )
        .arg_path("--config.file", &file)
        .arg_path("--storage.tsdb.path", &folder.path().join("data"))
        .args([format!("--web.listen-address={address}")])
        .env("GOMAXPROCS", "2")
        .spawn()?;
        let mut server = Self {
            process,
            address,
            _folder: folder,
        };
        let mut ended = None;
        let ready = wait_until(LIMIT, || {
            ended = server.process.ended().ok().flatten();
            ended.is_some() || server.get("/-/ready").is_ok()
        });
        if !ready || ended.is_some() {
            bail!("Prometheus did not start\n{}", server.process.log_tail());
        }
        Ok(server)
    }

    /// The samples of a `PromQL` expression now: each with `metric` and `value`. A scalar is no sample.
    pub fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.api(&format!("/api/v1/query?query={}", encoded(expression)))?;
        let samples = answer["result"].as_array().cloned();
        samples.with_context(|| format!("{expression}: no vector in {answer}"))
    }

    /// The value of an expression with one sample.
    pub fn value(&self, expression: &str) -> anyhow::Result<f64> {
        let samples = self.query(expression)?;
        ensure!(
            samples.len() == 1,
            "{expression}: {} samples: {samples:?}",
            samples.len()
        );
        let value = samples[0]["value"][1].as_str().context("a sample has a value")?;
        Ok(value.parse()?)
    }

    /// What a path of the API says, its `data`; an error of Prometheus is one here.
    pub fn api(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = get_within(LIMIT, self.address, path)?;
        let mut answer: Value =
            serde_json::from_str(&body).with_context(|| format!("{path}: {status}: {body}"))?;
        ensure!(
            status == 200 && answer["status"] == "success",
            "{path}: {status}: {}",
            answer["error"]
        );
        Ok(answer["data"].take())
    }

    fn get(&self, path: &str) -> anyhow::Result<()> {
        let (status, body) = get_within(LIMIT, self.address, path)?;
        ensure!(status == 200, "{path}: {status}: {body}");
        Ok(())
    }
}

/// `prometheus` or `promtool`: in `PATH`, else where `scripts/setup test` has put them.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let unpacked = cache_folder().join("prometheus/usr/bin").join(name);
    in_path(name)
        .or_else(|| unpacked.is_file().then_some(unpacked))
        .with_context(|| format!("no {name} is installed: {SET_UP}"))
}

/// A text as the value of a URL's query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_arrives_as_it_is() {
        assert_eq!(encoded("a{b=\"c\"} + 1"), "a%7Bb%3D%22c%22%7D%20%2B%201");
    }
}
