//! Owns the command `replay` as a person meets it: which dead letters, the question, the progress, the sums. The work is
//! `pipeline::store::replay`'s.

use super::Trouble;
use super::terminal::{self, Cell, Paper, Tone, say, several};
use crate::config::Config;
use crate::dead_letter::Reason;
use crate::offsets::{Offset, Partition};
use crate::pipeline::store::replay::{Replay, ReplayError, Selected, Selection, Sums};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// Ctrl-C. Of a transaction whose COMMIT was on its way nobody has waited for the answer.
const INTERRUPTED: &str =
    "interrupted: what is counted here is done, and what was under way is perhaps; start again for the rest";

/// As a shell tells the end by SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// What `replay` takes. What is given holds together: `--reason R --since T` is both.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub struct Options {
    /// Dead letters of this partition
    #[arg(long, value_name = "NUMBER", group = "which", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The dead letter at this offset of the partition
    #[arg(long, value_name = "OFFSET", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Dead letters of this reason, such as `unknown_type`
    #[arg(long, value_name = "REASON", group = "which", value_parser = reason)]
    reason: Option<Reason>,
    /// Dead letters that were refused at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", group = "which", value_parser = moment)]
    since: Option<SystemTime>,
    /// All dead letters of the group and the topic
    #[arg(long, group = "which", conflicts_with_all = ["partition", "offset", "reason", "since"])]
    all: bool,
    /// At most so many, by partition and offset
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Change nothing, and say what would become of them; PostgreSQL is asked, too
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// The sums as a JSON object, for scripts
    #[arg(long)]
    json: bool,
}

fn reason(text: &str) -> Result<Reason, String> {
    let known = Reason::ALL.into_iter().find(|reason| reason.as_str() == text);
    known.ok_or_else(|| {
        let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    let milliseconds = time
        .ok()
        .and_then(|time| u64::try_from(time.as_millisecond()).ok());
    milliseconds
        .map(|milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
        .ok_or_else(|| "must be a time since 1970, such as 2026-01-15T10:30:00Z".to_owned())
}

impl From<ReplayError> for Trouble {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unreachable(_) => Self::Unreachable(error.to_string()),
            ReplayError::Database(_) | ReplayError::NotCounted { .. } => Self::Refused(error.to_string()),
        }
    }
}

/// Replays. The exit code.
pub async fn run(config: Config, options: &Options) -> u8 {
    replay(config, options)
        .await
        .unwrap_or_else(|trouble| trouble.tell())
}

async fn replay(config: Config, options: &Options) -> Result<u8, Trouble> {
    let selection = Selection {
        partition: options.partition.map(Partition),
        offset: options.offset.map(Offset),
        reason: options.reason,
        since: options.since,
    };
    let (group, topic) = (config.kafka.group_id.clone(), config.kafka.topic.clone());
    let routes = config.table_routes();
    let mut replay = Replay::open(config.postgres, group.clone(), topic.clone(), &routes, selection).await?;
    let plan = replay.plan().await?;
    let selected: u64 = plan.iter().map(|selected| selected.count).sum();
    let taken = options.limit.map_or(selected, |limit| limit.min(selected));
    let paper = Paper::new();
    if !options.json {
        say(&format!(
            "{} of group {group}, topic {topic}\n",
            several(selected, "dead letter")
        ));
        if selected > 0 {
            say(&plan_table(paper, &plan));
        }
    }
    if taken > 0 && !options.dry_run {
        let question = format!("Replay {}?", several(taken, "dead letter"));
        if let Err(code) = terminal::agreed(options.yes, &question) {
            return Ok(code);
        }
    }
    let partitions: BTreeSet<Partition> = plan.iter().map(|selected| selected.partition).collect();
    let bar = progress(taken);
    let mut sums = Sums::default();
    let tell = |so_far: &Sums| {
        bar.set_position(so_far.all_stored() + so_far.all_refused());
        sums = so_far.clone();
    };
    let ended = tokio::select! {
        ended = replay.run(&partitions, taken, options.dry_run, tell) => Some(ended),
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    if options.json {
        let ended_early = match &ended {
            None => Some(INTERRUPTED.to_owned()),
            Some(ended) => ended.as_ref().err().map(ToString::to_string),
        };
        let answer = json!({
            "selected": selected,
            "dry_run": options.dry_run,
            "stored": sums.stored,
            "refused": sums.refused,
            "ended_early": ended_early,
        });
        say(&format!("{answer:#}\n"));
    } else {
        say(&sums_table(paper, &sums, options.dry_run));
    }
    match ended {
        None => {
            terminal::complain(INTERRUPTED);
            Ok(EXIT_INTERRUPTED)
        }
        Some(ended) => {
            ended?;
            Ok(u8::from(sums.all_refused() > 0))
        }
    }
}

fn plan_table(paper: Paper, plan: &[Selected]) -> String {
    let rows: Vec<Vec<Cell>> = plan
        .iter()
        .map(|selected| {
            vec![
                Cell::number(i64::from(selected.partition.0)),
                Cell::text(&selected.reason),
                Cell::count(selected.count),
            ]
        })
        .collect();
    paper.table(&["partition", "reason", "dead letters"], &rows)
}

fn sums_table(paper: Paper, sums: &Sums, dry: bool) -> String {
    let (stored, refused) = if dry {
        ("would be stored in", "would be refused again")
    } else {
        ("stored in", "refused again, kept")
    };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (table, count) in &sums.stored {
        let what = Cell::text(format!("{stored} {table}")).toned(Tone::Good);
        rows.push(vec![what, Cell::count(*count)]);
    }
    for (reason, count) in &sums.refused {
        let what = Cell::text(format!("{refused}: {reason}")).toned(Tone::Doubtful);
        rows.push(vec![what, Cell::count(*count)]);
    }
    let all = sums.all_stored() + sums.all_refused();
    rows.push(vec![Cell::text("all"), Cell::count(all)]);
    paper.table(&["", "messages"], &rows)
}

/// On a terminal only.
fn progress(all: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("  {bar:40} {human_pos} of {human_len}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
