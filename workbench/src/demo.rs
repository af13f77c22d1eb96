//! The demo: the whole path on one machine, from the generator through a broker and the real program into a
//! throwaway PostgreSQL, shown while it runs, and an account at its end whose sums must agree.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};

pub mod settings; // what is asked for, from DEMO_… variables
mod stage; // the services and the consumer
mod introduction; // what a person is told at the start
mod scrape; // the consumer's HTTP answers
mod histogram; // a histogram of Prometheus, and what can be read from it
mod figures; // what was seen, over time
mod panel; // the same for the eyes
mod account; // what was produced against what is stored
mod summary; // the account and the figures, told at the end

pub use panel::is_watched;
pub use settings::Settings;

use figures::{Figures, Snapshot};
use panel::Panel;
use stage::Stage;

use crate::database::Database;
use crate::load::Load;
use crate::services::process::Signal;

/// The consumer's figures are looked at so often. The generator is held back by what is seen here.
const LOOK: Duration = Duration::from_millis(100);
/// The newest dead letter is asked for so often.
const ASK: Duration = Duration::from_secs(1);
/// The database's answer to that may take so long.
const ANSWER: Duration = Duration::from_secs(2);
/// What is under way when the generator stops may take so long.
const SETTLE: Duration = Duration::from_secs(30);
/// The consumer may take so long to stop, its own shutdown timeout included.
const STOP: Duration = Duration::from_secs(40);

/// Runs the demo until `settings.seconds` are over or `stop` is set. Whether the sums agree; an error where it
/// did not come so far.
pub fn run(settings: &Settings, stop: &AtomicBool) -> anyhow::Result<bool> {
    let Some(mut stage) = Stage::build(settings, stop)? else {
        say("stopped before anything was sent");
        return Ok(true);
    };
    match play(&mut stage, settings, stop) {
        Ok(true) => Ok(true),
        Ok(false) => {
            say(&format!("  the logs are kept in {}", stage.keep().display()));
            Ok(false)
        }
        Err(error) => Err(anyhow!(
            "{error:#}; the logs are kept in {}",
            stage.keep().display()
        )),
    }
}

fn play(stage: &mut Stage, settings: &Settings, stop: &AtomicBool) -> anyhow::Result<bool> {
    introduction::tell(stage, settings);
    let mut database = Database::new(stage.postgres.config(stage::DATABASE))?;
    let mut panel = Panel::new();
    let load = Load::start(stage.load(settings), settings.max_lag)?;
    let mut watch = Watch::new(stage, &load, &mut database, &mut panel);

    let until = settings.seconds.map(|seconds| Instant::now() + seconds);
    let over = || stop.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until);
    while !over() && !watch.load.has_ended() {
        watch.turn("running")?;
    }
    load.stop();
    while !watch.load.has_ended() {
        watch.turn("the generator stops")?;
    }
    let produced = load.join()?;
    let acknowledged = produced.produced - produced.failed;

    let deadline = Instant::now() + SETTLE;
    loop {
        // Looked at after the last message was acknowledged, and before the deadline is.
        watch.turn("what is under way is stored")?;
        let seen = watch.figures.newest();
        if seen.is_some_and(|seen| seen.consumed + seen.lost >= acknowledged) || Instant::now() >= deadline {
            break;
        }
    }
    let figures = watch.end();
    panel.end();

    let status = stage.consumer.stop(Signal::TERM, STOP)?;
    if !status.success() {
        bail!(
            "storage-consumer was asked to stop and ended with {status}{}",
            stage.last_error()
        );
    }
    let account = account::Account::draw_up(stage, &mut database, &produced, &figures)
        .context("the account can't be drawn up")?;
    summary::tell(&account, &figures, &produced);
    Ok(account.disagreements().is_empty())
}

/// Looks at everything, again and again, and shows it.
struct Watch<'a> {
    stage: &'a mut Stage,
    load: &'a Load,
    database: &'a mut Database,
    panel: &'a mut Panel,
    figures: Figures,
    next_look: Instant,
    next_ask: Instant,
}

impl<'a> Watch<'a> {
    fn new(stage: &'a mut Stage, load: &'a Load, database: &'a mut Database, panel: &'a mut Panel) -> Self {
        Self {
            stage,
            load,
            database,
            panel,
            figures: Figures::new(Instant::now()),
            next_look: Instant::now(),
            next_ask: Instant::now(),
        }
    }

    /// Waits for the next look, and takes it. An error when the consumer has ended.
    fn turn(&mut self, phase: &'static str) -> anyhow::Result<()> {
        thread::sleep(self.next_look.saturating_duration_since(Instant::now()));
        self.next_look = Instant::now() + LOOK;
        if let Some(status) = self.stage.consumer.ended()? {
            bail!(
                "storage-consumer ended by itself with {status}{}",
                self.stage.last_error()
            );
        }
        match scrape::metrics(self.stage.http) {
            Ok(scrape) => {
                let snapshot = Snapshot::new(&scrape, self.load, self.stage.consumer.id());
                self.load.settled(snapshot.consumed + snapshot.lost);
                self.figures.add(snapshot);
            }
            // It may hang for a moment, or have been stopped by a person who wants to see what happens.
            Err(_) => self.figures.miss(),
        }
        if Instant::now() >= self.next_ask {
            self.next_ask = Instant::now() + ASK;
            self.figures.dead_letter = newest_dead_letter(self.database);
        }
        self.panel.show(&self.figures, self.load, phase);
        Ok(())
    }

    fn end(self) -> Figures {
        self.figures
    }
}

/// The reason and detail of the newest dead letter; `None` where there is none, or no answer.
fn newest_dead_letter(database: &mut Database) -> Option<String> {
    let sql = "SELECT reason || ': ' || detail FROM dead_letters ORDER BY id DESC LIMIT 1";
    let rows = database.query_within(ANSWER, sql).ok()?;
    rows.into_iter().next()?.into_iter().next()?
}

/// Tells a person something.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    // Whoever closed our output does not want to hear more.
    let _ = writeln!(std::io::stdout(), "{text}");
}
