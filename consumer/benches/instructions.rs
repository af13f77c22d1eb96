//! How many instructions the hot path takes, without services: counted by `valgrind --tool=callgrind`, so that a
//! regression shows on a machine that does something else meanwhile, too. `make bench-instructions`. The program runs
//! itself under valgrind with some work and with twice of it: the difference has neither start nor warm-up in it.

mod common; // events, tables, batches

use std::env;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use common::{Batches, EVENTS, Events, Rows, Turns, copy};
use storage_consumer::pipeline::batch::SortedRows;
use storage_consumer::pipeline::decode::Decoder;

/// The argument with which the program runs itself; the work and how often it is done come next.
const WORK: &str = "--work";
/// Rounds of all events, or of all batches.
const ROUNDS: usize = 8;

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Work {
    Decode(Events),
    /// Encoding is what this is more than decoding.
    DecodeAndEncode(Events),
    Sort,
    /// A COPY's bytes are what this is more than sorting.
    SortAndCopy,
}

impl Work {
    fn all() -> impl Iterator<Item = Self> {
        let of_events = EVENTS
            .into_iter()
            .flat_map(|events| [Self::Decode(events), Self::DecodeAndEncode(events)]);
        of_events.chain([Self::Sort, Self::SortAndCopy])
    }

    fn named(name: &str) -> Option<Self> {
        Self::all().find(|work| format!("{work:?}") == name)
    }

    /// Does it; says for how many events or rows.
    fn run(self, rounds: usize) -> usize {
        match self {
            Self::Decode(events) => {
                let (mut turns, mut decoder) = (Turns::new(events), Decoder::default());
                let count = rounds * Turns::ROUND;
                for _ in 0..count {
                    black_box(&decoder.decode(Some(turns.next())).expect("valid"));
                }
                count
            }
            Self::DecodeAndEncode(events) => {
                let (mut turns, mut decoder, mut rows) =
                    (Turns::new(events), Decoder::default(), Rows::new());
                let count = rounds * Turns::ROUND;
                for _ in 0..count {
                    rows.encode(&decoder.decode(Some(turns.next())).expect("valid"));
                }
                count
            }
            Self::Sort => sort(rounds, |_| 0),
            Self::SortAndCopy => sort(rounds, copy),
        }
    }

    /// Instructions of one event or row.
    fn count(self) -> Result<u64, String> {
        let (once, count) = self.under_valgrind(ROUNDS)?;
        let (twice, _) = self.under_valgrind(2 * ROUNDS)?;
        Ok((twice.saturating_sub(once) + count / 2) / count)
    }

    /// Instructions of the whole program, and how many events or rows it was about.
    fn under_valgrind(self, rounds: usize) -> Result<(u64, u64), String> {
        let program = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(program)
            .args([WORK, &format!("{self:?}"), &rounds.to_string()])
            .output()
            .map_err(|error| {
                format!("valgrind does not start ({error}): install it, as by `apt-get install valgrind`")
            })?;
        let said = String::from_utf8_lossy(&output.stderr);
        let total = said
            .lines()
            .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        let count = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
        match (total, count) {
            (Some(total), Some(count)) if output.status.success() => Ok((total, count)),
            _ => Err(format!("valgrind ended with {}\n{said}", output.status)),
        }
    }
}

fn sort(rounds: usize, take: fn(&SortedRows) -> usize) -> usize {
    let mut batches = Batches::new();
    let turns = rounds * Batches::COUNT;
    for _ in 0..turns {
        batches.sort(|rows| {
            black_box(take(rows));
        });
    }
    turns * Batches::ROWS
}

/// A line for each kind of event; then what becomes of rows.
fn table() -> Result<String, String> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    let version = valgrind.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let mut text = format!(
        "Instructions on {}, by {}.\n\n| an event | bytes | decode | encode | both |\n|---|---:|---:|---:|---:|\n",
        env::consts::ARCH,
        version.unwrap_or_else(|_| "valgrind".to_owned())
    );
    for events in EVENTS {
        let decode = Work::Decode(events).count()?;
        let both = Work::DecodeAndEncode(events).count()?;
        let bytes = Turns::new(events).bytes();
        let encode = both.saturating_sub(decode);
        let _ = writeln!(text, "| {events:?} | {bytes} | {decode} | {encode} | {both} |");
    }
    let sort = Work::Sort.count()?;
    let copy = Work::SortAndCopy.count()?.saturating_sub(sort);
    let _ = write!(
        text,
        "\n| a row, in batches of {} | instructions |\n|---|---:|\n| `sort` | {sort} |\n| `copy_data` | {copy} |\n",
        Batches::ROWS
    );
    Ok(text)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let answer = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [WORK, work, rounds] => match (Work::named(work), rounds.parse()) {
            (Some(work), Ok(rounds)) => Ok(work.run(rounds).to_string()),
            _ => Err(format!("there is no work {work} {rounds}")),
        },
        _ => table(),
    };
    let written = match &answer {
        Ok(text) => writeln!(io::stdout(), "{}", text.trim_end()),
        Err(error) => writeln!(io::stderr(), "instructions: {error}"),
    };
    ExitCode::from(u8::from(answer.is_err() || written.is_err()))
}
