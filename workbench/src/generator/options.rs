//! Owns the command line of `event-generator`: flags, then the environment, then defaults. Every
//! mistake in a value is told at once.

use super::settings::{Config, Settings};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jiff::{SignedDuration, Timestamp};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// The exit code for a mistake in the options, as `sysexits` has it.
pub const EXIT_USAGE: u8 = 64;

/// What the command line asks for.
pub struct Options {
    /// The load.
    pub settings: Settings,
    /// Print the summary as one line of JSON.
    pub summary_json: bool,
}

/// The end before anything began: a mistake, or a wish for help.
#[derive(Debug)]
pub struct Stop {
    /// What to tell.
    pub message: String,
    /// The exit code: 0 where help was asked for.
    pub code: u8,
}

/// Reads options; `environment` looks up a variable.
pub fn parse(
    arguments: impl IntoIterator<Item = String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Options, Stop> {
    let matches = command().try_get_matches_from(arguments).map_err(|error| Stop {
        message: error.render().to_string(),
        code: if error.use_stderr() { EXIT_USAGE } else { 0 },
    })?;
    let mut values = Values {
        matches: &matches,
        mistakes: Vec::new(),
    };
    let settings = settings(&mut values, environment);
    let mut mistakes = values.mistakes;
    mistakes.extend(settings.mistakes());
    if !mistakes.is_empty() {
        return Err(Stop {
            message: format!(
                "{}\n(event-generator --help lists the options)\n",
                mistakes.join("\n")
            ),
            code: EXIT_USAGE,
        });
    }
    Ok(Options {
        settings,
        summary_json: matches.get_flag("summary-json"),
    })
}

fn settings(values: &mut Values<'_>, environment: impl Fn(&str) -> Option<String>) -> Settings {
    let default = Settings::default();
    let of_environment = |name| environment(name).filter(|value| !value.is_empty());
    Settings {
        kafka_servers: values
            .text("kafka-servers")
            .or_else(|| of_environment("KAFKA_BOOTSTRAP_SERVERS"))
            .unwrap_or(default.kafka_servers),
        topic: values
            .text("topic")
            .or_else(|| of_environment("KAFKA_TOPIC"))
            .unwrap_or(default.topic),
        partitions: values.parsed("partitions").unwrap_or(default.partitions),
        servers: values.parsed("servers").unwrap_or(default.servers),
        services: values.parsed("services").unwrap_or(default.services),
        rate: values.parsed("rate").unwrap_or(default.rate),
        count: values.parsed("count"),
        duration: values.with("duration", duration),
        anomaly_probability: values
            .parsed("anomaly-probability")
            .unwrap_or(default.anomaly_probability),
        config: values.with("config", config).unwrap_or(default.config),
        malformed_ratio: values
            .parsed("malformed-ratio")
            .unwrap_or(default.malformed_ratio),
        seed: values.parsed("seed"),
        start_time: values.parsed::<Timestamp>("start-time"),
        idempotent: default.idempotent,
        kafka_properties: values.properties("kafka-property"),
    }
}

fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .allow_negative_numbers(true)
    };
    Command::new("event-generator")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Sends a datacenter's metric events to a Kafka topic")
        .args([
            option("kafka-servers", "HOST:PORT,…", "Bootstrap servers [env: KAFKA_BOOTSTRAP_SERVERS] [default: localhost:9092]"),
            option("topic", "TOPIC", "Topic, created when it isn't there [env: KAFKA_TOPIC] [default: datacenter-metrics]"),
            option("partitions", "N", "Partitions of a topic that is created [default: 6]"),
            option("servers", "N", "Servers in the datacenter [default: 10]"),
            option("services", "N", "Services that run on them [default: 5]"),
            option("rate", "EVENTS/S", "Events a second; 0 = as fast as it goes [default: 100]"),
            option("count", "N", "Stop after N events"),
            option("duration", "TIME", "Stop after a time: 90s, 5m, 1h, or seconds"),
            option("anomaly-probability", "P", "Share of readings that an anomaly touches [default: 0.05]"),
            option("config", "normal|chaos", "chaos: more and harder anomalies, bursts, late and unknown events, extra fields [default: normal]"),
            option("malformed-ratio", "P", "Share of messages that a consumer must refuse [default: 0]"),
            option("seed", "N", "The same seed makes the same values"),
            option("start-time", "RFC3339", "Time of the first event, each one after 1/rate later [default: the wall clock]"),
            option("kafka-property", "KEY=VALUE", "Any librdkafka property, may be repeated")
                .action(ArgAction::Append),
            Arg::new("summary-json")
                .long("summary-json")
                .help("Print the summary as one line of JSON")
                .action(ArgAction::SetTrue)
                .value_parser(value_parser!(bool)),
        ])
}

/// Reads values by option and gathers mistakes: clap would stop at the first one.
struct Values<'a> {
    matches: &'a ArgMatches,
    mistakes: Vec<String>,
}

impl Values<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.matches.get_one::<String>(name).cloned()
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.with(name, |text| {
            text.parse().map_err(|error: T::Err| error.to_string())
        })
    }

    fn with<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes
                    .push(format!("--{name}: `{text}` can't be read: {error}"));
                None
            }
        }
    }

    fn properties(&mut self, name: &str) -> Vec<(String, String)> {
        let mut properties = Vec::new();
        for text in self.matches.get_many::<String>(name).into_iter().flatten() {
            match text.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    properties.push((key.to_owned(), value.to_owned()));
                }
                // The text stays untold: it may be a secret.
                _ => self.mistakes.push(format!("--{name}: must be KEY=VALUE")),
            }
        }
        properties
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    duration.try_into().map_err(|_| "is negative".to_owned())
}

fn config(text: &str) -> Result<Config, String> {
    match text {
        "normal" => Ok(Config::Normal),
        "chaos" => Ok(Config::Chaos),
        _ => Err("choose normal or chaos".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str, environment: &[(&str, &str)]) -> Result<Options, Stop> {
        let arguments = std::iter::once("event-generator").chain(line.split_whitespace());
        parse(arguments.map(str::to_owned), |name| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_defaults() {
        let environment = [
            ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
            ("KAFKA_TOPIC", "there"),
        ];
        let options = parse_line("", &[]).expect("defaults are fine");
        assert_eq!(options.settings.kafka_servers, "localhost:9092");
        let options =
            parse_line("--topic here --duration 1m --rate 0 --summary-json", &environment).expect("fine");
        assert_eq!(options.settings.kafka_servers, "kafka:9092");
        assert_eq!(options.settings.topic, "here");
        assert_eq!(options.settings.duration, Some(Duration::from_mins(1)));
        assert!(options.settings.rate == 0.0 && options.summary_json);
        let options = parse_line(
            "--duration 1.5 --start-time 2025-01-01T00:00:00Z --config chaos",
            &[],
        );
        let settings = options.expect("fine").settings;
        assert_eq!(settings.duration, Some(Duration::from_millis(1_500)));
        assert_eq!(settings.config, Config::Chaos);
        assert!(settings.start_time.is_some());
    }

    #[test]
    fn every_mistake_is_told_at_once_and_help_is_none() {
        let line = "--rate fast --count -1 --duration soon --config wild --malformed-ratio 2 \
                    --kafka-property x --start-time now --servers 0";
        let stop = parse_line(line, &[]).err().expect("mistakes");
        assert_eq!(stop.code, EXIT_USAGE);
        assert_eq!(
            stop.message.lines().filter(|l| l.starts_with("--")).count(),
            8,
            "{}",
            stop.message
        );
        assert_eq!(
            parse_line("--colour", &[]).err().expect("unknown").code,
            EXIT_USAGE
        );
        assert_eq!(parse_line("--help", &[]).err().expect("help").code, 0);
    }
}
