//! Owns the targets: what should be reached, as it was set, beside what the results of all parts say of it. What a
//! micro-benchmark measures is named with its command.

use std::fmt::Write as _;
use std::path::Path;

use super::drain::{CPU, PEAK, RATE};
use super::latency::{DEFAULTS, P50, P99, RESIDENT, SOON, case_name};
use super::report::cell;
use super::results::{Results, Spread};
use super::settings::Part;
use super::{Case, growth};

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) drain: Option<Results>,
    pub(super) latency: Option<Results>,
    pub(super) baseline: Option<Results>,
    pub(super) growth: Option<Results>,
    pub(super) indexes: Option<Results>,
}

impl Parts {
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |part| Results::read(folder, part);
        Ok(Self {
            drain: read(Part::Drain)?,
            latency: read(Part::Latency)?,
            baseline: read(Part::Baseline)?,
            growth: read(Part::Growth)?,
            indexes: read(Part::Indexes)?,
        })
    }

    /// The rate of a drain in relation to another case of the same part.
    fn drain_to(&self, case: Case, to: Case) -> Option<Spread> {
        let drain = self.drain.as_ref()?;
        drain.ratio(&case.name(), drain, &to.name(), RATE)
    }

    fn latency(&self, rate: u32, mode: &str, value: &str) -> Option<Spread> {
        self.latency.as_ref()?.spread(&case_name(rate, mode), value)
    }

    /// The most memory of all drains with one worker. Nothing while one of the two parts is missing, or the largest
    /// number of partitions: it would say too little.
    fn peak(&self) -> Option<Spread> {
        let (drain, growth) = (self.drain.as_ref()?, self.growth.as_ref()?);
        growth.spread(&growth::most_partitions(), PEAK)?;
        let one_worker = [false, true].map(|bare| drain_case(bare, 1).name());
        let drains = drain
            .samples
            .iter()
            .filter(|sample| one_worker.contains(&sample.case));
        let peaks = growth
            .samples
            .iter()
            .chain(drains)
            .filter_map(|sample| sample.values.get(PEAK));
        Spread::of(vec![peaks.copied().fold(0.0, f64::max)])
    }
}

/// Where a figure comes from.
enum Source {
    /// The results; told with so many decimals and a unit.
    Results(fn(&Parts) -> Option<Spread>, usize, &'static str),
    /// A command that takes no part in the run, and what to look for.
    Command(&'static str),
}

struct Target {
    what: &'static str,
    must: &'static str,
    ambition: &'static str,
    source: Source,
}

const fn target(what: &'static str, must: &'static str, ambition: &'static str, source: Source) -> Target {
    Target {
        what,
        must,
        ambition,
        source,
    }
}

const fn drain_case(bare: bool, paths: u32) -> Case {
    Case::Drain { bare, paths }
}

const fn limit_case(bare: bool, paths: u32) -> Case {
    Case::Limit { bare, paths }
}

use Source::{Command, Results as Measured};

const TARGETS: &[Target] = &[
    target(
        "drain ÷ limit, one connection",
        "≥ 0.90",
        "≥ 0.97",
        Measured(
            |parts| parts.drain_to(drain_case(false, 1), limit_case(false, 1)),
            2,
            "",
        ),
    ),
    target(
        "the same without indexes",
        "≥ 0.90",
        "≥ 0.95",
        Measured(
            |parts| parts.drain_to(drain_case(true, 1), limit_case(true, 1)),
            2,
            "",
        ),
    ),
    target(
        "drain with 2 workers ÷ limit with 2 connections",
        "≥ 0.80",
        "≥ 0.90",
        Measured(
            |parts| parts.drain_to(drain_case(false, 2), limit_case(false, 2)),
            2,
            "",
        ),
    ),
    target(
        "the same without indexes",
        "≥ 0.65",
        "≥ 0.80",
        Measured(
            |parts| parts.drain_to(drain_case(true, 2), limit_case(true, 2)),
            2,
            "",
        ),
    ),
    target(
        "drain ÷ plain COPY: order of arrival, en_US.UTF-8, 20,000 rows a transaction",
        "≥ 1.8",
        "",
        Measured(|parts| parts.drain_to(drain_case(false, 1), Case::Plain), 2, ""),
    ),
    target(
        "drain ÷ Python baseline",
        "≥ 15",
        "≥ 20",
        Measured(
            |parts| {
                let (drain, baseline) = (parts.drain.as_ref()?, parts.baseline.as_ref()?);
                drain.ratio(
                    &drain_case(false, 1).name(),
                    baseline,
                    &Case::Baseline.name(),
                    RATE,
                )
            },
            1,
            "",
        ),
    ),
    target(
        "consumer's CPU, all threads, per million events drained",
        "≤ 0.8 s",
        "≤ 0.6 s",
        Measured(
            |parts| parts.drain.as_ref()?.spread(&drain_case(false, 1).name(), CPU),
            2,
            " s",
        ),
    ),
    target(
        "decode and encode, one thread, an event of the two built-in types",
        "≤ 300 ns",
        "≤ 200 ns",
        Command("`make bench-micro`, `decode_and_encode`, `Mixed`"),
    ),
    target(
        "sort, a row",
        "< 60 ns",
        "",
        Command("`make bench-micro`, `sort`, its time ÷ 10,000 rows"),
    ),
    target(
        "latency at 5,000/s, `--batch-size 1 --commit-interval 0`, p50",
        "≤ 10 ms",
        "≤ 5 ms",
        Measured(|parts| parts.latency(5_000, SOON, P50), 1, " ms"),
    ),
    target(
        "the same, p99",
        "≤ 30 ms",
        "≤ 15 ms",
        Measured(|parts| parts.latency(5_000, SOON, P99), 1, " ms"),
    ),
    target(
        "latency at 50,000/s, defaults, p99",
        "≤ 50 ms",
        "≤ 20 ms",
        Measured(|parts| parts.latency(50_000, DEFAULTS, P99), 1, " ms"),
    ),
    target(
        "the most memory (RSS) of all drains with one worker, up to 200 partitions",
        "≤ 96 MB",
        "≤ 64 MB",
        Measured(Parts::peak, 0, " MB"),
    ),
    target(
        "memory (RSS) at 1,000/s, defaults",
        "≤ 32 MB",
        "≤ 20 MB",
        Measured(|parts| parts.latency(1_000, DEFAULTS, RESIDENT), 0, " MB"),
    ),
    target(
        "drain's rate from 1 to 200 partitions: the slowest below the fastest, by their medians",
        "≤ 15 %",
        "≤ 5 %",
        Measured(
            |parts| parts.growth.as_ref().and_then(growth::apart_by_partitions),
            0,
            " %",
        ),
    ),
    target(
        "drain's rate with a backlog 10 times larger: the slower below the faster",
        "≤ 15 %",
        "≤ 5 %",
        Measured(
            |parts| parts.growth.as_ref().and_then(growth::apart_by_backlog),
            0,
            " %",
        ),
    ),
];

/// A line for each target.
pub(super) fn table(parts: &Parts) -> String {
    let mut text = String::from("| target | measured | must | ambition |\n|---|---:|---:|---:|\n");
    for target in TARGETS {
        let measured = match &target.source {
            Measured(measured, decimals, unit) => match measured(parts) {
                Some(spread) => cell(Some(spread), *decimals) + unit,
                None => cell(None, *decimals),
            },
            Command(command) => (*command).to_owned(),
        };
        let ambition = if target.ambition.is_empty() {
            "–"
        } else {
            target.ambition
        };
        let _ = writeln!(
            text,
            "| {} | {measured} | {} | {ambition} |",
            target.what, target.must
        );
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::results::Sample;
    use super::*;

    fn results(samples: Vec<Sample>) -> Results {
        Results {
            samples,
            ..Results::default()
        }
    }

    #[test]
    fn what_was_not_measured_is_told_as_that() {
        let text = table(&Parts::default());
        assert_eq!(text.lines().count(), TARGETS.len() + 3, "{text}");
        for line in text.lines().skip(2).filter(|line| !line.is_empty()) {
            assert!(
                line.contains("| – |") || line.contains("`make bench-micro`"),
                "{line}"
            );
        }
    }

    #[test]
    fn each_target_finds_its_figure() {
        let sample = |case: Case, rate| Sample::new(case.name(), 1).with(RATE, rate);
        let of_growth = |case, rate, peak| Sample::new(case, 1).with(RATE, rate).with(PEAK, peak);
        let mut samples = vec![
            sample(drain_case(false, 1), 270_000.0)
                .with(CPU, 0.7)
                .with(PEAK, 70.0),
            sample(drain_case(true, 1), 800_000.0).with(PEAK, 71.0),
            // Two workers have twice the memory, which is not what the target is about.
            sample(drain_case(false, 2), 400_000.0).with(PEAK, 140.0),
            sample(drain_case(true, 2), 900_000.0).with(PEAK, 150.0),
            sample(Case::Plain, 150_000.0),
        ];
        for (bare, paths) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
            samples.push(sample(limit_case(bare, paths), 1_000_000.0));
        }
        let at = |rate, mode, p50| {
            Sample::new(case_name(rate, mode), 1)
                .with(P50, p50)
                .with(P99, 2.0 * p50)
                .with(RESIDENT, p50 + 7.0)
        };
        let growth_samples = growth::every_case()
            .into_iter()
            .zip(1u32..)
            .map(|(case, turn)| of_growth(case, 1_000.0 + f64::from(turn), 80.0 + f64::from(turn)));
        let parts = Parts {
            drain: Some(results(samples)),
            latency: Some(results(vec![
                at(1_000, DEFAULTS, 12.0),
                at(5_000, SOON, 4.0),
                at(50_000, DEFAULTS, 11.0),
            ])),
            baseline: Some(results(vec![sample(Case::Baseline, 10_000.0)])),
            growth: Some(results(growth_samples.collect())),
            indexes: None,
        };
        let text = table(&parts);
        for line in [
            "| drain ÷ limit, one connection | 0.27 | ≥ 0.90 | ≥ 0.97 |",
            "| drain ÷ plain COPY: order of arrival, en_US.UTF-8, 20,000 rows a transaction | 1.80 | ≥ 1.8 | – |",
            "| drain ÷ Python baseline | 27.0 | ≥ 15 | ≥ 20 |",
            "| consumer's CPU, all threads, per million events drained | 0.70 s |",
            "| latency at 5,000/s, `--batch-size 1 --commit-interval 0`, p50 | 4.0 ms |",
            "| the same, p99 | 8.0 ms |",
            "| latency at 50,000/s, defaults, p99 | 22.0 ms |",
            "| the most memory (RSS) of all drains with one worker, up to 200 partitions | 87 MB |",
            "| memory (RSS) at 1,000/s, defaults | 19 MB |",
            "by their medians | 0 % |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("| – | ≥") && !text.contains("| – | ≤"), "{text}");
    }
}
