//! Owns what the demo is asked for: `DEMO_…` variables, every mistake told at once, and the text that explains them.

use std::str::FromStr;
use std::time::Duration;

use crate::variables::value;

/// The exit code for a mistake in the settings, as `sysexits` has it.
pub const EXIT_USAGE: u8 = 64;

/// How long the demo runs when nobody watches and nobody says.
const UNWATCHED: Duration = Duration::from_secs(30);

/// What the variables mean.
pub const HELP: &str = "\
Environment:
  DEMO_KAFKA      mock (default): librdkafka's broker inside of this process, in memory;
                  apache: a real Apache Kafka, which needs Java
  DEMO_RATE       events a second [default: 2000]; 0 is as many as the consumer takes
  DEMO_MALFORMED  the share of messages that must be refused, 0 to 1 [default: 0.01]
  DEMO_SECONDS    how long, 0 is without end [default: without end on a terminal, else 30]
  DEMO_MAX_LAG    the generator waits while about so many events are under way [default: 50000]
  STORAGE_CONSUMER_BIN  another consumer than the one beside this program
The consumer takes its own variables too, as BATCH_SIZE, COMMIT_INTERVAL, WORKERS, LOG_LEVEL.
NO_COLOR, or an output that is no terminal: a plain line every two seconds.";

/// The broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// librdkafka's mock cluster.
    Mock,
    /// Apache Kafka.
    Apache,
}

impl FromStr for Broker {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mock" => Ok(Self::Mock),
            "apache" => Ok(Self::Apache),
            _ => Err("choose mock or apache"),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The broker.
    pub broker: Broker,
    /// Events a second; 0 is as many as the consumer takes.
    pub rate: f64,
    /// The share of messages that must be refused.
    pub malformed: f64,
    /// How long; `None` is without end.
    pub seconds: Option<Duration>,
    /// How many events may be under way before the generator waits.
    pub max_lag: u64,
}

impl Settings {
    /// Reads the variables through `lookup`; `watched` says whether there is a terminal.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, watched: bool) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let seconds = value(&lookup, &mut mistakes, "DEMO_SECONDS", -1.0);
        let settings = Self {
            broker: value(&lookup, &mut mistakes, "DEMO_KAFKA", Broker::Mock),
            rate: value(&lookup, &mut mistakes, "DEMO_RATE", 2_000.0),
            malformed: value(&lookup, &mut mistakes, "DEMO_MALFORMED", 0.01),
            max_lag: value(&lookup, &mut mistakes, "DEMO_MAX_LAG", 50_000),
            seconds: match seconds {
                0.0 => None,
                -1.0 => (!watched).then_some(UNWATCHED),
                seconds => Duration::try_from_secs_f64(seconds).ok().or_else(|| {
                    mistakes.push("DEMO_SECONDS: must be 0 or more".to_owned());
                    None
                }),
            },
        };
        let mut check = |fine: bool, mistake: &str| {
            if !fine {
                mistakes.push(mistake.to_owned());
            }
        };
        check(
            settings.rate == 0.0 || (0.001..=1e9).contains(&settings.rate),
            "DEMO_RATE: must be from 0.001 to 1e9 events a second, or 0 for as many as the consumer takes",
        );
        check(
            (0.0..=1.0).contains(&settings.malformed),
            "DEMO_MALFORMED: must be from 0 to 1",
        );
        check(settings.max_lag > 0, "DEMO_MAX_LAG: must be at least 1");
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], watched: bool) -> Result<Settings, Vec<String>> {
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::read(lookup, watched)
    }

    #[test]
    fn the_end_depends_on_who_watches_unless_it_is_given() {
        let seconds = |variables: &[(&str, &str)], watched| read(variables, watched).expect("fine").seconds;
        assert_eq!(seconds(&[], true), None);
        assert_eq!(seconds(&[], false), Some(UNWATCHED));
        assert_eq!(seconds(&[("DEMO_SECONDS", "")], true), None);
        assert_eq!(seconds(&[("DEMO_SECONDS", "0")], false), None);
        assert_eq!(
            seconds(&[("DEMO_SECONDS", "2.5")], true),
            Some(Duration::from_millis(2_500))
        );
    }

    #[test]
    fn every_mistake_is_told_at_once_by_name() {
        let names = [
            ("DEMO_KAFKA", "confluent"),
            ("DEMO_RATE", "-5"),
            ("DEMO_MALFORMED", "1.5"),
            ("DEMO_SECONDS", "-3"),
            ("DEMO_MAX_LAG", "many"),
        ];
        let mistakes = read(&names, true).expect_err("all are wrong");
        assert_eq!(mistakes.len(), names.len(), "{mistakes:?}");
        for (name, _) in names {
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(name)),
                "{mistakes:?}"
            );
            assert!(HELP.contains(name));
        }
    }
}
