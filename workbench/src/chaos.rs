//! Chaos: a long mixed run of faults on services of its own, under a constant load, in an order that a seed gives; then
//! the referee counts every message. What is shown goes to standard output, line by line.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};

mod fault; // what can break
mod schedule; // in which order it does
pub mod settings; // what is asked for, from CHAOS_… variables
mod brokers; // what is asked of the brokers beside messages
mod members; // the consumers
mod stage; // the services and the consumers
mod inject; // how it is broken, and healed
mod watch; // whether anything moves
mod verdict; // what came of it
mod results; // the same, kept and told

pub use settings::Settings;

use results::{Made, Results, StepResult};
use schedule::{Schedule, Step};
use stage::{DATABASE, Stage};
use watch::Watch;

use crate::demo::say;
use crate::generator::Summary;
use crate::load::Load;

/// How often the consumers are looked at.
const TURN: Duration = Duration::from_millis(100);
/// Messages must flow before the first fault, within this time, …
const FIRST: Duration = Duration::from_mins(1);
/// … and again after each: all that was sent before the repair.
const RECOVERY: Duration = Duration::from_secs(90);
/// The generator waits while so many messages are under way.
const MAX_LAG: u64 = 300_000;
/// Where results are, unless said otherwise.
const RESULTS: &str = "workbench/results";

/// Makes faults until the time is over or `stop` is set, and lets the referee count. Whether all is well; data and logs
/// are kept where it is not.
pub fn run(settings: &Settings, stop: &AtomicBool) -> anyhow::Result<bool> {
    let (seconds, seed) = (settings.seconds.as_secs(), settings.seed);
    say(&format!(
        "chaos for {seconds} s with seed {seed}; once more: make chaos CHAOS_SECONDS={seconds} CHAOS_SEED={seed}"
    ));
    let mut run = Run {
        stage: Stage::build()?,
        results: Results {
            seed,
            seconds: settings.seconds.as_secs_f64(),
            rate: settings.rate,
            ..Results::default()
        },
        begun: Instant::now(),
        complaints_told: 0,
    };
    let outcome = run.play(settings, stop);
    if let Err(error) = &outcome {
        run.results.wrong.push(format!("the run broke off: {error:#}"));
    }
    say(&format!(
        "\n{}",
        results::table(std::slice::from_ref(&run.results))
    ));
    if let Some(folder) = &settings.results {
        say(&format!("results: {}", run.results.write(folder)?.display()));
    }
    if run.results.wrong.is_empty() {
        say("nothing lost, nothing doubled, nothing else wrong");
        return Ok(true);
    }
    for sentence in &run.results.wrong {
        say(&format!("WRONG: {sentence}"));
    }
    say(&format!(
        "data and logs are kept in {}",
        run.stage.keep().display()
    ));
    Ok(false)
}

/// Fills the table of the document from all results in the folder.
pub fn report(settings: &Settings) -> anyhow::Result<()> {
    let folder = settings.results.as_deref().unwrap_or(Path::new(RESULTS));
    results::fill(&settings.report, folder)
}

struct Run {
    stage: Stage,
    results: Results,
    begun: Instant,
    complaints_told: usize,
}

impl Run {
    fn play(&mut self, settings: &Settings, stop: &AtomicBool) -> anyhow::Result<()> {
        let watch = Watch::start(self.stage.postgres.config(DATABASE))?;
        let load = Load::start(self.stage.load(settings), MAX_LAG)?;
        self.begun = Instant::now();
        self.wait_until(FIRST, &watch, &load, || watch.progress().settled > 1_000)?;

        let until = Instant::now() + settings.seconds;
        let over = || Instant::now() >= until || stop.load(Ordering::Relaxed);
        let steps = Schedule::new(settings.seed, &settings.only);
        for step in steps {
            self.wait(step.pause, &watch, &load)?;
            if over() {
                break;
            }
            self.step(&step, &watch, &load)?;
        }
        self.tell("the faults are over");
        self.stage.heal()?;
        load.stop();
        while !load.has_ended() {
            self.turn(&watch, &load)?;
        }
        let sent: Summary = load.join()?;
        verdict::pass(&mut self.stage, &sent, &mut self.results)
    }

    /// Breaks something, heals it, and waits until all that had been sent by then is settled.
    fn step(&mut self, step: &Step, watch: &Watch, load: &Load) -> anyhow::Result<()> {
        watch.begin_lap();
        let mut result = StepResult {
            at_seconds: self.begun.elapsed().as_secs_f64(),
            from: watch.progress().next,
            ..StepResult::default()
        };
        let produced = load.produced();
        let names: Vec<String> = step.faults.iter().map(ToString::to_string).collect();
        let names = names.join(" and ");
        let disturbed = step.faults.len() > 1;

        let mut injected = Vec::new();
        for fault in &step.faults {
            injected.push(inject::inject(&mut self.stage, *fault, disturbed)?);
        }
        let lasts = step.faults.iter().map(|fault| fault.lasts).max();
        self.wait(lasts.unwrap_or_default(), watch, load)?;
        for injected in injected.iter_mut().rev() {
            injected.heal(&mut self.stage, disturbed)?;
        }

        let (healed, sent) = (Instant::now(), load.produced());
        let recovered = self.wait_until(RECOVERY, watch, load, || watch.progress().settled >= sent);
        let stall = watch.stall();
        result.recovery_seconds = healed.elapsed().as_secs_f64();
        result.stall_seconds = stall.total.as_secs_f64();
        result.partition_stall_seconds = stall.partition.as_secs_f64();
        result.produced = load.produced() - produced;
        result.to = watch.progress().next;
        result.faults.extend(injected.iter().map(|injected| Made {
            name: injected.fault.kind.name().to_owned(),
            lasts_seconds: injected.fault.lasts.as_secs_f64(),
            dice: injected.fault.dice,
            happened: injected.came_about(&self.stage),
        }));
        let unfelt: Vec<&str> = result
            .faults
            .iter()
            .filter(|made| !made.happened)
            .map(|made| made.name.as_str())
            .collect();
        self.tell(&format!(
            "{names}: stall {:.1} s, a partition {:.1} s, recovery {:.1} s, {} messages{}{}",
            result.stall_seconds,
            result.partition_stall_seconds,
            result.recovery_seconds,
            result.produced,
            if unfelt.is_empty() { "" } else { "; nobody felt " },
            unfelt.join(" and ")
        ));
        self.results.steps.push(result);
        recovered.map_err(|error| anyhow!("after {names}: {error:#}"))
    }

    /// Lets time pass, and looks after the consumers meanwhile.
    fn wait(&mut self, time: Duration, watch: &Watch, load: &Load) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(watch, load)?;
        }
        Ok(())
    }

    fn wait_until(
        &mut self,
        limit: Duration,
        watch: &Watch,
        load: &Load,
        condition: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        while !condition() {
            if Instant::now() >= until {
                bail!(
                    "{} of {} messages are settled after {limit:?}",
                    watch.progress().settled,
                    load.produced()
                );
            }
            self.turn(watch, load)?;
        }
        Ok(())
    }

    fn turn(&mut self, watch: &Watch, load: &Load) -> anyhow::Result<()> {
        thread::sleep(TURN);
        load.settled(watch.progress().settled);
        self.stage.members.look()?;
        let complaints = self.stage.members.complaints.clone();
        for complaint in complaints.iter().skip(self.complaints_told) {
            self.tell(&format!("WRONG: {complaint}"));
        }
        self.complaints_told = complaints.len();
        Ok(())
    }

    fn tell(&self, text: &str) {
        say(&format!("{:7.1} s  {text}", self.begun.elapsed().as_secs_f64()));
    }
}
