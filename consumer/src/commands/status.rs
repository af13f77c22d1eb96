//! Owns the command `status`: who consumes, where each partition stands, how fast it goes on, what was refused last. Asks
//! Kafka and PostgreSQL, and nothing of the consumer's process.

use super::group::{Member, Members, ask_kafka};
use super::stored::{self, Letter, Row};
use super::terminal::{Cell, Paper, Tone, grouped, say, several};
use super::{EXIT_UNAVAILABLE, Trouble};
use crate::config::Config;
use crate::offsets::{Log, Offset, Partition, Tally};
use crate::postgres::Connection;
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

/// The rate is measured over so long where nothing else is asked for.
const LAPSE: Duration = Duration::from_secs(1);

/// The age of what waits may take so long to find out.
const AGE_WITHIN: Duration = Duration::from_secs(3);

/// So many of the newest dead letters are shown.
const LETTERS: i64 = 5;

/// What `status` takes.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
#[group(skip)]
pub struct Options {
    /// Look again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = lapse)]
    watch: Option<Duration>,
    /// As JSON, for scripts: one object, or with --watch one a line
    #[arg(long)]
    json: bool,
}

impl Eq for Options {}

fn lapse(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be 0.1 to 3600 seconds".to_owned())
}

/// What was seen at one look.
struct Look {
    at: Instant,
    members: Members,
    logs: BTreeMap<Partition, Log>,
    committed: BTreeMap<Partition, Offset>,
    rows: BTreeMap<Partition, Row>,
    /// Seconds since the oldest message came that is not stored, by partition.
    waits: BTreeMap<Partition, f64>,
    letters: Vec<Letter>,
}

/// Shows where the group stands. The exit code.
pub async fn run(config: Config, options: Options) -> u8 {
    if let Some(lapse) = options.watch {
        return watch(&config, lapse, options.json).await;
    }
    let shown = async {
        let client = stored::connect(&config).await?;
        let before = consumed(&client, &config).await?;
        let since = Instant::now();
        tokio::time::sleep(LAPSE).await;
        let look = look(&client, &config).await?;
        let rate = rate(before, since, &look);
        if options.json {
            say(&format!("{:#}\n", as_json(&config, &look, rate)));
        } else {
            say(&as_text(Paper::new(), &config, &look, Some(rate)));
        }
        Ok(u8::from(!verdict(&look).1))
    };
    shown.await.unwrap_or_else(|trouble: Trouble| trouble.tell())
}

/// Looks again and again. On a terminal, each look takes the place of the one before.
async fn watch(config: &Config, lapse: Duration, json: bool) -> u8 {
    let in_place = std::io::stdout().is_terminal() && !json;
    let mut client: Option<Connection> = None;
    let mut before: Option<(u64, Instant)> = None;
    loop {
        let seen = async {
            let open = match client.take().filter(|client| !client.is_closed()) {
                Some(open) => open,
                None => stored::connect(config).await?,
            };
            let look = look(&open, config).await?;
            client = Some(open);
            Ok::<_, Trouble>(look)
        };
        match seen.await {
            Ok(look) => {
                let measured = before.map(|(consumed, since)| rate(consumed, since, &look));
                before = Some((all_consumed(&look), look.at));
                if json {
                    say(&format!("{}\n", as_json(config, &look, measured.unwrap_or(0.0))));
                } else {
                    // The cursor home, and what is below it away: no flicker.
                    let home = if in_place { "\x1b[H\x1b[J" } else { "" };
                    say(&format!(
                        "{home}{}",
                        as_text(Paper::new(), config, &look, measured)
                    ));
                }
            }
            // It is waited for, as the consumer does.
            Err(Trouble::Unreachable(what)) => drop(Trouble::Unreachable(what).tell()),
            Err(trouble) => return trouble.tell(),
        }
        tokio::select! {
            () = tokio::time::sleep(lapse) => {}
            _ = tokio::signal::ctrl_c() => return if before.is_some() { 0 } else { EXIT_UNAVAILABLE },
        }
    }
}

async fn consumed(client: &Connection, config: &Config) -> Result<u64, Trouble> {
    let rows = stored::offsets(client, config).await?;
    Ok(rows.iter().map(|row| row.tally.consumed()).sum())
}

fn all_consumed(look: &Look) -> u64 {
    look.rows.values().map(|row| row.tally.consumed()).sum()
}

/// Messages a second since then.
fn rate(before: u64, since: Instant, look: &Look) -> f64 {
    let seconds = look.at.saturating_duration_since(since).as_secs_f64().max(0.001);
    let count = all_consumed(look).saturating_sub(before);
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds
}

async fn look(client: &Connection, config: &Config) -> Result<Look, Trouble> {
    let rows = stored::offsets(client, config).await?;
    let at = Instant::now();
    let rows: BTreeMap<Partition, Row> = rows.into_iter().map(|row| (row.partition, row)).collect();
    let letters = stored::newest_letters(client, config, LETTERS).await?;
    let stored: BTreeMap<Partition, Offset> = rows
        .iter()
        .map(|(partition, row)| (*partition, row.next))
        .collect();
    ask_kafka(config, move |group| {
        let partitions = group.partitions()?;
        let logs = group.logs(&partitions)?;
        let committed = group.committed(&partitions)?;
        let members = group.members(!committed.is_empty())?;
        let waiting = logs
            .iter()
            .filter_map(|(partition, log)| {
                let next = stored.get(partition).copied().unwrap_or(log.start).max(log.start);
                (next < log.end).then_some((*partition, next))
            })
            .collect();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let waits = group
            .messages_at(&waiting, AGE_WITHIN)?
            .into_iter()
            .filter_map(|(partition, (_, timestamp))| {
                let came = Duration::from_millis(u64::try_from(timestamp?).ok()?);
                Some((partition, now.saturating_sub(came).as_secs_f64()))
            })
            .collect();
        Ok(Look {
            at,
            members,
            logs,
            committed,
            rows,
            waits,
            letters,
        })
    })
    .await
}

impl Look {
    fn partitions(&self) -> BTreeSet<Partition> {
        self.logs.keys().chain(self.rows.keys()).copied().collect()
    }

    fn lag(&self, partition: Partition) -> Option<u64> {
        let log = self.logs.get(&partition)?;
        let next = self.rows.get(&partition).map_or(log.start, |row| row.next);
        Some(next.distance_to(log.end))
    }

    fn all_lag(&self) -> u64 {
        self.logs
            .keys()
            .filter_map(|partition| self.lag(*partition))
            .sum()
    }

    /// Who reads the partition.
    fn reader(&self, partition: Partition) -> Option<&Member> {
        match &self.members {
            Members::Known(members) => members
                .iter()
                .find(|member| member.partitions.contains(&partition)),
            Members::NotTold => None,
        }
    }

    fn is_outside(&self, partition: Partition) -> bool {
        let place = self.logs.get(&partition).zip(self.rows.get(&partition));
        place.is_some_and(|(log, row)| row.next < log.start || row.next > log.end)
    }
}

/// The state in words, and whether it is well.
fn verdict(look: &Look) -> (String, bool) {
    let outside: Vec<String> = look
        .partitions()
        .into_iter()
        .filter(|partition| look.is_outside(*partition))
        .map(|partition| partition.to_string())
        .collect();
    if !outside.is_empty() {
        let text = format!(
            "the stored offset is not in the log of partition {}",
            outside.join(", ")
        );
        return (text, false);
    }
    let lag = look.all_lag();
    let nobody = matches!(&look.members, Members::Known(members) if members.is_empty());
    let longest = look.waits.values().copied().fold(0.0, f64::max);
    match (lag, nobody) {
        (0, true) => ("nobody consumes, and nothing waits".to_owned(), true),
        (0, false) => ("all is stored".to_owned(), true),
        (_, true) => (
            format!("nobody consumes, and {} wait", several(lag, "message")),
            false,
        ),
        (_, false) => (
            format!("{} behind, {longest:.1} s", several(lag, "message")),
            true,
        ),
    }
}

fn as_text(paper: Paper, config: &Config, look: &Look, rate: Option<f64>) -> String {
    let (words, well) = verdict(look);
    let tone = if well { Tone::Good } else { Tone::Bad };
    let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let mut text = format!(
        "group {}, topic {}: {}\n{rate} messages/s\n\n",
        config.kafka.group_id,
        config.kafka.topic,
        paper.toned(tone, &words)
    );
    text += &members_table(paper, &look.members);
    text.push('\n');
    text += &partitions_table(paper, look);
    if !look.letters.is_empty() {
        text += "\nnewest dead letters\n";
        text += &letters_table(paper, &look.letters);
        let newest = &look.letters[0];
        let _ = writeln!(
            text,
            "  storage-consumer replay --partition {} --offset {}",
            newest.partition, newest.offset
        );
    }
    text
}

fn members_table(paper: Paper, members: &Members) -> String {
    let members = match members {
        Members::NotTold => {
            return "members: Kafka does not tell them to this client (group.protocol=consumer)\n".to_owned();
        }
        Members::Known(members) if members.is_empty() => return "no members\n".to_owned(),
        Members::Known(members) => members,
    };
    let rows: Vec<Vec<Cell>> = members
        .iter()
        .map(|member| {
            let partitions: Vec<String> = member.partitions.iter().map(ToString::to_string).collect();
            vec![
                Cell::text(&member.host),
                Cell::text(&member.client_id),
                Cell::text(partitions.join(",")),
            ]
        })
        .collect();
    paper.table(&["host", "client", "partitions"], &rows)
}

fn partitions_table(paper: Paper, look: &Look) -> String {
    let count = |row: Option<&Row>, of: fn(&Tally) -> u64| {
        Cell::number(row.map(|row| i64::try_from(of(&row.tally)).unwrap_or(i64::MAX)))
    };
    let rows: Vec<Vec<Cell>> = look
        .partitions()
        .into_iter()
        .map(|partition| {
            let row = look.rows.get(&partition);
            let tone = |bad: bool| if bad { Tone::Bad } else { Tone::Plain };
            let next = Cell::number(row.map(|row| row.next.0)).toned(tone(look.is_outside(partition)));
            let lag = look.lag(partition);
            vec![
                Cell::number(i64::from(partition.0)),
                Cell::text(look.reader(partition).map_or("-", |member| member.host.as_str())),
                next,
                Cell::number(look.committed.get(&partition).map(|offset| offset.0)),
                Cell::number(look.logs.get(&partition).map(|log| log.end.0)),
                Cell::number(lag.map(|lag| i64::try_from(lag).unwrap_or(i64::MAX))),
                Cell::seconds(look.waits.get(&partition).copied()),
                count(row, |tally| tally.stored),
                count(row, |tally| tally.dead_lettered),
                count(row, |tally| tally.skipped),
                Cell::seconds(row.map(|row| row.idle)),
            ]
        })
        .collect();
    let head = [
        "partition",
        "read by",
        "stored offset",
        "in kafka",
        "log end",
        "lag",
        "lag s",
        "stored",
        "dead letters",
        "skipped",
        "idle s",
    ];
    paper.table(&head, &rows)
}

fn letters_table(paper: Paper, letters: &[Letter]) -> String {
    let rows: Vec<Vec<Cell>> = letters
        .iter()
        .map(|letter| {
            let reason = match &letter.sqlstate {
                Some(sqlstate) => format!("{} {sqlstate}", letter.reason),
                None => letter.reason.clone(),
            };
            vec![
                Cell::text(&letter.failed_at),
                Cell::number(i64::from(letter.partition.0)),
                Cell::text(grouped(letter.offset.0)),
                Cell::text(reason).toned(Tone::Doubtful),
                Cell::text(letter.detail.chars().take(80).collect::<String>()),
            ]
        })
        .collect();
    paper.table(&["refused", "partition", "offset", "reason", "detail"], &rows)
}

fn as_json(config: &Config, look: &Look, rate: f64) -> Value {
    let partitions = look.partitions().into_iter().map(|partition| {
        let row = look.rows.get(&partition);
        json!({
            "partition": partition.0,
            "read_by": look.reader(partition).map(|member| member.host.as_str()),
            "stored_offset": row.map(|row| row.next.0),
            "kafka_offset": look.committed.get(&partition).map(|offset| offset.0),
            "log_start": look.logs.get(&partition).map(|log| log.start.0),
            "log_end": look.logs.get(&partition).map(|log| log.end.0),
            "lag_messages": look.lag(partition),
            "lag_seconds": look.waits.get(&partition),
            "stored": row.map(|row| row.tally.stored),
            "dead_lettered": row.map(|row| row.tally.dead_lettered),
            "skipped": row.map(|row| row.tally.skipped),
            "idle_seconds": row.map(|row| row.idle),
        })
    });
    let members = match &look.members {
        Members::NotTold => Value::Null,
        Members::Known(members) => members
            .iter()
            .map(|member| {
                let partitions: Vec<i32> = member.partitions.iter().map(|partition| partition.0).collect();
                json!({"host": member.host, "client_id": member.client_id, "partitions": partitions})
            })
            .collect(),
    };
    let letters = look.letters.iter().map(|letter| {
        json!({
            "partition": letter.partition.0,
            "offset": letter.offset.0,
            "failed_at": letter.failed_at,
            "reason": letter.reason,
            "detail": letter.detail,
            "sqlstate": letter.sqlstate,
        })
    });
    let (words, well) = verdict(look);
    json!({
        "group_id": config.kafka.group_id,
        "topic": config.kafka.topic,
        "well": well,
        "verdict": words,
        "rate_per_sec": rate,
        "lag_messages": look.all_lag(),
        "lag_seconds": look.waits.values().copied().fold(0.0, f64::max),
        "members": members,
        "partitions": partitions.collect::<Vec<_>>(),
        "newest_dead_letters": letters.collect::<Vec<_>>(),
    })
}
