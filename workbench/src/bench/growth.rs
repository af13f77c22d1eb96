//! Owns what should stay as it is when there is more of something: partitions, backlog, rows in the tables.

use std::fmt::Write as _;

use indicatif::HumanCount;

use super::drain::{Drain, PEAK, RATE, TRANSACTION};
use super::keep;
use super::report::cell;
use super::results::{Results, Spread};
use super::settings::Settings;
use super::stage::{PARTITIONS, Shape, Stage, TOPIC};

const PARTITION_COUNTS: [i32; 5] = [1, 2, 6, 24, 200];
/// A topic for each number of partitions, with a part of the events only.
const PART_OF_THE_EVENTS: u64 = 4;
/// The larger backlog is so many times the smaller one.
const BACKLOG: u64 = 10;

pub(super) fn measure(
    stage: &mut Stage<'_>,
    settings: &Settings,
    results: &mut Results,
) -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for partitions in PARTITION_COUNTS {
        let topic = format!("partitions-{partitions}");
        cases.push((
            partitions_case(partitions),
            topic,
            partitions,
            settings.events / PART_OF_THE_EVENTS,
        ));
    }
    cases.push((
        backlog_case(1),
        "backlog".to_owned(),
        PARTITIONS,
        settings.events / BACKLOG,
    ));
    cases.push((
        backlog_case(BACKLOG),
        TOPIC.to_owned(),
        PARTITIONS,
        settings.events,
    ));
    for (_, topic, partitions, events) in &cases {
        stage.fill(topic, *partitions, *events)?;
    }
    for round in 1..=settings.rounds {
        for (case, topic, _, events) in &cases {
            let drain = Drain {
                case: case.clone(),
                round,
                topic,
                events: *events,
                shape: Shape::Indexed,
                workers: 1,
                before: 0,
            };
            keep(results, drain.measure(stage)?);
        }
    }
    // Once each: filling the tables takes much longer than what is measured.
    for before in &settings.tables {
        let drain = Drain {
            case: format!("{} rows in the table before", HumanCount(*before)),
            round: 1,
            topic: TOPIC,
            events: settings.events,
            shape: Shape::Indexed,
            workers: 1,
            before: *before,
        };
        keep(results, drain.measure(stage)?);
    }
    Ok(())
}

fn partitions_case(partitions: i32) -> String {
    let plural = if partitions == 1 { "" } else { "s" };
    format!("{partitions} partition{plural}")
}

fn backlog_case(times: u64) -> String {
    match times {
        1 => "a backlog".to_owned(),
        times => format!("{times} times that backlog"),
    }
}

/// The case with the most partitions.
pub(super) fn most_partitions() -> String {
    partitions_case(PARTITION_COUNTS[PARTITION_COUNTS.len() - 1])
}

/// How far the rates with few and many partitions are apart.
pub(super) fn apart_by_partitions(results: &Results) -> Option<Spread> {
    apart(results, &PARTITION_COUNTS.map(partitions_case))
}

/// How far the rates with a small and a large backlog are apart.
pub(super) fn apart_by_backlog(results: &Results) -> Option<Spread> {
    apart(results, &[1, BACKLOG].map(backlog_case))
}

/// By how many per cent the slowest case is below the fastest one, by their medians; nothing if one is missing.
fn apart(results: &Results, cases: &[String]) -> Option<Spread> {
    let median = |case: &String| Some(results.spread(case, RATE)?.median);
    let rates = Spread::of(cases.iter().map(median).collect::<Option<_>>()?)?;
    Spread::of(vec![100.0 * (1.0 - rates.min / rates.max)])
}

#[cfg(test)]
pub(super) fn every_case() -> Vec<String> {
    let partitions = PARTITION_COUNTS.map(partitions_case);
    partitions
        .into_iter()
        .chain([1, BACKLOG].map(backlog_case))
        .collect()
}

/// A line for each case, in relation to the first one of its kind; a table that held rows, to the same load on an empty
/// one.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::from(
        "| one worker, indexes | events/s | in relation | consumer's peak, MB | rows a transaction |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for case in results.cases() {
        let first = if case.ends_with("backlog") {
            backlog_case(1)
        } else if case.ends_with("before") {
            backlog_case(BACKLOG)
        } else {
            partitions_case(PARTITION_COUNTS[0])
        };
        let cell_of = |value, decimals| cell(results.spread(case, value), decimals);
        let _ = writeln!(
            text,
            "| {case} | {} | {} | {} | {} |",
            cell_of(RATE, 0),
            cell(results.ratio(case, results, &first, RATE), 2),
            cell_of(PEAK, 0),
            cell_of(TRANSACTION, 0)
        );
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::results::Sample;
    use super::*;

    #[test]
    fn each_case_stands_in_relation_to_the_first_of_its_kind() {
        let sample = |case: String, rate| Sample::new(case, 1).with(RATE, rate);
        let results = Results {
            samples: vec![
                sample(partitions_case(1), 100.0),
                sample(partitions_case(200), 95.0),
                sample(backlog_case(1), 200.0),
                sample(backlog_case(BACKLOG), 190.0),
            ],
            ..Results::default()
        };
        let text = table(&results);
        assert!(text.contains("| 200 partitions | 95 | 0.95 |"), "{text}");
        assert!(text.contains("| 10 times that backlog | 190 | 0.95 |"), "{text}");
        let apart = apart_by_backlog(&results).expect("both are there").median;
        assert!((apart - 5.0).abs() < 1e-9, "{apart}");
        assert_eq!(apart_by_partitions(&results), None, "2, 6 and 24 are missing");
    }
}
