//! Owns how commands speak to a person: tables, colour, questions. Colour and questions on a terminal only; `NO_COLOR` is
//! honoured. What came from outside stays on its line.

use crate::logging::on_one_line;
use std::io::{self, BufRead, IsTerminal, Write};

/// A colour, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
    Quiet,
}

/// How standard output is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    coloured: bool,
}

impl Paper {
    /// For standard output.
    pub(super) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            coloured: io::stdout().is_terminal() && !plain,
        }
    }

    /// The text in its tone.
    pub(super) fn toned(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.coloured => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A table with aligned columns; those of numbers to the right.
    pub(super) fn table(self, head: &[&str], rows: &[Vec<Cell>]) -> String {
        let width = |column: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let right = |column: usize| {
            rows.iter()
                .any(|row| row.get(column).is_some_and(|cell| cell.is_number))
        };
        let line = |cells: Vec<(&str, Tone)>| {
            let mut line = String::new();
            for (column, (text, tone)) in cells.into_iter().enumerate() {
                let room = " ".repeat(widths[column] - text.chars().count());
                let text = self.toned(tone, text);
                line += "  ";
                line += &if right(column) { room + &text } else { text + &room };
            }
            line.trim_end().to_owned() + "\n"
        };
        let mut text = line(head.iter().map(|name| (*name, Tone::Quiet)).collect());
        for row in rows {
            text += &line(row.iter().map(|cell| (cell.text.as_str(), cell.tone)).collect());
        }
        text
    }
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    is_number: bool,
}

impl Cell {
    /// Text, wherever it came from.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self {
            text: on_one_line(text.as_ref()),
            tone: Tone::Plain,
            is_number: false,
        }
    }

    /// A number; a dash where there is none.
    pub(super) fn number(number: impl Into<Option<i64>>) -> Self {
        Self {
            text: number.into().map_or_else(|| "-".to_owned(), grouped),
            tone: Tone::Plain,
            is_number: true,
        }
    }

    /// The same, of a count.
    pub(super) fn count(number: u64) -> Self {
        Self::number(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Seconds, to one decimal; a dash where there are none.
    pub(super) fn seconds(seconds: Option<f64>) -> Self {
        Self {
            text: seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
            tone: Tone::Plain,
            is_number: true,
        }
    }

    /// In this tone.
    pub(super) fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A count of things, in words: `1 row`, `2 rows`.
pub(super) fn several(count: u64, what: &str) -> String {
    let number = grouped(i64::try_from(count).unwrap_or(i64::MAX));
    if count == 1 {
        format!("{number} {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// To standard output. Whoever has closed it wants no more.
pub(super) fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// A line to standard error.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// There is nobody to ask.
    Nobody,
}

/// Asks a person; any answer but yes is a no.
pub(super) fn ask(question: &str) -> Answer {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Answer::Nobody;
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(_) if ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()) => Answer::Yes,
        _ => Answer::No,
    }
}

/// Whether to go on: yes beforehand, or a person's yes. Otherwise the exit code.
pub(super) fn agreed(yes: bool, question: &str) -> Result<(), u8> {
    if yes {
        return Ok(());
    }
    match ask(question) {
        Answer::Yes => Ok(()),
        Answer::No => {
            complain("nothing was changed");
            Err(1)
        }
        Answer::Nobody => {
            complain("nothing was changed: there is no terminal to ask on; pass --yes");
            Err(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-1_234_567, "-1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(
            (several(1, "row"), several(2000, "row")),
            ("1 row".to_owned(), "2,000 rows".to_owned())
        );
    }

    #[test]
    fn a_table_is_aligned_and_hostile_text_stays_on_its_line() {
        let paper = Paper { coloured: false };
        let rows = [
            vec![Cell::text("a\nb\u{1b}[31m"), Cell::number(5)],
            vec![Cell::text("c"), Cell::number(None)],
            vec![Cell::text("d"), Cell::count(12_345)],
        ];
        let text = paper.table(&["name", "count"], &rows);
        assert_eq!(
            text,
            "  name             count\n  a\\nb\\u001b[31m       5\n  c                    -\n  d               12,345\n"
        );
    }
}
