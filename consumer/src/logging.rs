//! Owns the log: one line per event to stderr (stdout belongs to commands whose answer it is), as JSON or as text.
//! Whatever a field holds, it stays on its line.
//!
//! A field named `flatten` that holds a JSON object as text becomes fields of its own: the statistics have a key per
//! routed table, and tracing's names of fields are fixed when the program is compiled.

mod fields; // what an event says, as JSON values

use self::fields::Fields;
use crate::config::{LogConfig, LogFormat, LogLevel};
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::OnceLock;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging for the whole process. Only the first call counts.
pub fn init(config: &LogConfig) {
    let terminal = std::io::stderr().is_terminal();
    let format = config.format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = Lines {
        format,
        colour: terminal && !plain,
        now: Timestamp::now,
        out: std::io::stderr,
    };
    let (level, handle) = reload::Layer::new(filter(config.level));
    drop(LEVEL.set(handle));
    // It fails only where logging has begun already.
    drop(
        tracing_subscriber::registry()
            .with(lines.with_filter(level))
            .try_init(),
    );
}

/// The filter of the running process, to be exchanged.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Another level, from now on, for the whole process.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // It fails only where nothing is logged any more.
        drop(handle.reload(filter(level)));
    }
}

/// Which events are logged: ours, and the Kafka client's, from the level up; other libraries' detail only when
/// everything is wanted.
fn filter(level: LogLevel) -> Targets {
    let (ours, others) = match level {
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::INFO),
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error | LogLevel::Critical => (LevelFilter::ERROR, LevelFilter::ERROR),
    };
    Targets::new()
        .with_default(others)
        .with_target("storage_consumer", ours)
        .with_target("librdkafka", ours)
        .with_target("rdkafka", ours)
}

/// Writes events as lines. A layer of our own, rather than `fmt`'s: the fields of spans and events are merged as
/// values, so that no key stands twice in an object.
struct Lines<W> {
    format: LogFormat,
    colour: bool,
    now: fn() -> Timestamp,
    out: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        // From the outermost span inwards: the nearest to the event has the last word on a key.
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = match self.format {
            LogFormat::Json => json((self.now)(), metadata, &fields),
            LogFormat::Text => text((self.now)(), metadata, &fields, self.colour),
        };
        // In one write, so that threads don't interleave. Where stderr is closed, there is nobody to tell.
        drop(self.out.make_writer_for(metadata).write_all(line.as_bytes()));
    }
}

/// The level as Python's logging names it, which the tools around metrics pipelines know.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "TRACE",
        Level::DEBUG => "DEBUG",
        Level::INFO => "INFO",
        Level::WARN => "WARNING",
        Level::ERROR => "ERROR",
    }
}

fn json(now: Timestamp, metadata: &Metadata<'_>, fields: &Fields) -> String {
    let mut line = String::with_capacity(256);
    let level = level_name(*metadata.level());
    write!(
        line,
        "{{\"timestamp\":\"{now:.6}\",\"level\":\"{level}\",\"target\":"
    )
    .expect("into memory");
    line += &Value::from(metadata.target()).to_string();
    line += ",\"message\":";
    line += &Value::from(fields.message.as_str()).to_string();
    for (key, value) in fields.others() {
        // These four are ours; a field of such a name must not make a key stand twice.
        let prefix = if matches!(key, "timestamp" | "level" | "target" | "message") {
            "field_"
        } else {
            ""
        };
        write!(line, ",{}:{value}", Value::from(format!("{prefix}{key}"))).expect("into memory");
    }
    line.push('}');
    on_one_line(&line) + "\n"
}

fn text(now: Timestamp, metadata: &Metadata<'_>, fields: &Fields, colour: bool) -> String {
    let level = *metadata.level();
    let (begin, end) = match level {
        _ if !colour => ("", ""),
        Level::ERROR => ("\x1b[31m", "\x1b[0m"),
        Level::WARN => ("\x1b[33m", "\x1b[0m"),
        Level::INFO => ("\x1b[32m", "\x1b[0m"),
        Level::DEBUG | Level::TRACE => ("\x1b[2m", "\x1b[0m"),
    };
    let mut line = now.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
    write!(line, " {begin}{:<7}{end} ", level_name(level)).expect("into memory");
    line += &on_one_line(&fields.message);
    for (key, value) in fields.others() {
        line.push(' ');
        line += &word(&Value::from(key));
        line.push('=');
        line += &word(value);
    }
    line.push('\n');
    line
}

/// A key or a value: as it is where that reads back as one word, otherwise as JSON.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => on_one_line(&other.to_string()),
    }
}

/// Can the text stand beside the `=` without quotes, and be read back as one word?
fn is_plain(text: &str) -> bool {
    let plain = |char: char| !char.is_whitespace() && !"\"\\={}".contains(char) && !breaks_a_line(char);
    !text.is_empty() && text.chars().all(plain)
}

/// Control characters, and those that make a terminal or a reader of lines show something else than what is there: ends
/// of lines in Unicode, directions of writing.
fn breaks_a_line(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with such characters escaped as JSON escapes them (all of them stand inside JSON's strings).
#[must_use]
pub fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => line += "\\n",
            '\r' => line += "\\r",
            '\t' => line += "\\t",
            char if breaks_a_line(char) => write!(line, "\\u{:04x}", u32::from(char)).expect("into memory"),
            char => line.push(char),
        }
    }
    line
}

#[cfg(test)]
mod tests;
