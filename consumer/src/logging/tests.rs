//! The lines as they are written, for events and spans as the program has them.

use super::*;
use std::io;
use std::sync::{Arc, Mutex};
use tracing::{debug, error, info, info_span, trace, warn};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn instant() -> Timestamp {
    "2026-11-24T06:54:55.1234567Z".parse().expect("a timestamp")
}

/// What is logged while `work` runs.
fn logged(format: LogFormat, colour: bool, level: LogLevel, work: impl FnOnce()) -> String {
    let sink = Sink::default();
    let out = sink.clone();
    let lines = Lines {
        format,
        colour,
        now: instant,
        out: move || out.clone(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(level)));
    tracing::subscriber::with_default(subscriber, work);
    let bytes = sink.0.lock().expect("no panic").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

fn as_json(work: impl FnOnce()) -> Value {
    let line = logged(LogFormat::Json, false, LogLevel::Debug, work);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    serde_json::from_str(&line).expect("JSON")
}

fn as_text(work: impl FnOnce()) -> String {
    logged(LogFormat::Text, false, LogLevel::Debug, work)
}

#[test]
fn a_line_of_json() {
    let line = logged(LogFormat::Json, false, LogLevel::Info, || {
        info!(partition = 3, rate = 1.5, broken = f64::NAN, ready = true, topic = "t", r#type = %"x", "stored {}", 7);
    });
    assert_eq!(
        line,
        "{\"timestamp\":\"2026-11-24T06:54:55.123456Z\",\"level\":\"INFO\",\
         \"target\":\"storage_consumer::logging::tests\",\"message\":\"stored 7\",\"partition\":3,\"rate\":1.5,\
         \"broken\":null,\"ready\":true,\"topic\":\"t\",\"type\":\"x\"}\n"
    );
}

#[test]
fn a_line_of_text() {
    let line = as_text(|| {
        warn!(
            partition = 3,
            topic = "t",
            detail = "two words",
            none = "",
            "slow"
        );
    });
    assert_eq!(
        line,
        "2026-11-24 06:54:55.123 WARNING slow partition=3 topic=t detail=\"two words\" none=\"\"\n"
    );
    let line = logged(LogFormat::Text, true, LogLevel::Info, || error!("down"));
    assert_eq!(line, "2026-11-24 06:54:55.123 \x1b[31mERROR  \x1b[0m down\n");
}

#[test]
fn hostile_text_stays_on_its_line() {
    let hostile = "a\n{\"level\":\"ERROR\"}\r\x1b[2J\u{85}\u{9b}31m\u{2028}\u{202e}\0\"\\";
    let value = as_json(|| info!(field = hostile, "{hostile}"));
    assert_eq!(value["field"], hostile);
    assert_eq!(value["message"], hostile);

    for line in [
        as_text(|| {
            info!(field = hostile, flatten = r#"{"k\ney":"a\nb"}"#, "{hostile}");
        }),
        logged(LogFormat::Json, false, LogLevel::Info, || {
            info!(field = hostile, "{hostile}");
        }),
    ] {
        let body = line.strip_suffix('\n').expect("ends its line");
        assert!(!body.contains(breaks_a_line), "{body:?}");
    }
    assert_eq!(
        as_text(|| info!(target: "storage_consumer", flatten = r#"{"k\ney":"a\nb"}"#, "x")),
        "2026-11-24 06:54:55.123 INFO    x \"k\\ney\"=\"a\\nb\"\n"
    );
}

#[test]
fn an_object_becomes_fields() {
    let statistics = r#"{"server_metrics":12,"lag":{"0":5}}"#;
    let value = as_json(|| info!(total = 12, flatten = statistics, rate = 0.5, "statistics"));
    assert_eq!(value["server_metrics"], 12);
    assert_eq!(value["lag"]["0"], 5);
    assert_eq!(value["rate"], 0.5);
    assert!(value.get("flatten").is_none());
    assert_eq!(
        as_json(|| info!(flatten = %statistics, "x"))["server_metrics"],
        12
    );
    assert_eq!(
        as_json(|| info!(flatten = "no object", "x"))["flatten"],
        "no object"
    );
    let text = as_text(|| info!(flatten = r#"{"server_metrics":12,"a":"b"}"#, "statistics"));
    assert!(text.ends_with("statistics server_metrics=12 a=b\n"), "{text}");
}

#[test]
fn no_key_stands_twice() {
    let line = logged(LogFormat::Json, false, LogLevel::Info, || {
        let _outer = info_span!("worker", worker = 1, partition = 8).entered();
        let inner = info_span!("batch", partition = 9, rows = tracing::field::Empty);
        inner.record("rows", 100);
        let _inner = inner.entered();
        info!(
            worker = 2,
            level = "mine",
            flatten = r#"{"message":"m","worker":3}"#,
            "x"
        );
    });
    let value: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&value["worker"], &value["partition"], &value["rows"]),
        (&3.into(), &9.into(), &100.into())
    );
    assert_eq!(
        (&value["level"], &value["field_level"]),
        (&"INFO".into(), &"mine".into())
    );
    assert_eq!(
        (&value["message"], &value["field_message"]),
        (&"x".into(), &"m".into())
    );
    for key in ["worker", "partition", "level", "message"] {
        assert_eq!(line.matches(&format!("\"{key}\":")).count(), 1, "{key} in {line}");
    }
}

#[test]
fn an_error_tells_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot store")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("the disk is full"));
    let value = as_json(|| error!(error = &error as &dyn std::error::Error, "stopped"));
    assert_eq!(value["error"], "cannot store: the disk is full");
}

#[test]
fn large_numbers_stay_numbers_where_json_has_them() {
    let value = as_json(|| info!(small = 5_i128, big = u128::MAX, most = u64::MAX, "x"));
    assert_eq!(value["small"], 5);
    assert_eq!(value["most"], u64::MAX);
    assert_eq!(value["big"], u128::MAX.to_string());
}

#[test]
fn levels_have_the_names_of_pythons_logging() {
    let lines = logged(LogFormat::Text, false, LogLevel::Trace, || {
        trace!("x");
        debug!("x");
        info!("x");
        warn!("x");
        error!("x");
    });
    let names: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(names, ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"]);
}

#[test]
fn the_level_holds_for_ours_and_is_coarser_for_others() {
    let at = |level| {
        let filter = filter(level);
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        let finest = |target| {
            levels
                .iter()
                .find(|it| filter.would_enable(target, it))
                .map(|it| level_name(*it))
        };
        (
            finest("storage_consumer::pipeline"),
            finest("librdkafka"),
            finest("hyper::proto"),
        )
    };
    let all = |name| (Some(name), Some(name), Some(name));
    assert_eq!(at(LogLevel::Trace), all("TRACE"));
    assert_eq!(at(LogLevel::Debug), (Some("DEBUG"), Some("DEBUG"), Some("INFO")));
    assert_eq!(at(LogLevel::Info), all("INFO"));
    assert_eq!(at(LogLevel::Warning), all("WARNING"));
    assert_eq!(at(LogLevel::Error), all("ERROR"));
    assert_eq!(at(LogLevel::Critical), all("ERROR"));
}
