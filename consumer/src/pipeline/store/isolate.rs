//! Finds the rows that PostgreSQL refuses, in a transaction of its own that is always rolled back: the batch is then
//! stored without them, in the same way as any other. Savepoints keep what was accepted; COPY's error context names
//! the refused row, and where it doesn't (a trigger at the end of the statement, a deferred constraint), halving does.

use super::session::{Interruption, Session};
use crate::pipeline::batch::{DatabaseRefusal, SortedRows};
use crate::postgres::{self, Fault};
use std::ops::Range;

/// The refused rows of each table, by the table's place. `hint` is the row that stopped the first attempt.
pub(super) async fn refused_rows(
    session: &Session,
    sorted: &[SortedRows],
    hint: Option<(usize, usize)>,
) -> Result<Vec<(usize, Vec<DatabaseRefusal>)>, Interruption> {
    // What is deferred to COMMIT must be told of the rows that cause it.
    session.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
    let mut found = Vec::new();
    let mut turn = "SAVEPOINT part";
    for (table, rows) in sorted.iter().enumerate() {
        let suspect = hint.filter(|(of, _)| *of == table).map(|(_, row)| row);
        let refusals = refused_of_table(session, table, rows, suspect, &mut turn).await?;
        if !refusals.is_empty() {
            found.push((table, refusals));
        }
    }
    session.execute("ROLLBACK").await?;
    Ok(found)
}

/// `turn` is what keeps or undoes the part before, and opens the next one.
async fn refused_of_table(
    session: &Session,
    table: usize,
    rows: &SortedRows,
    suspect: Option<usize>,
    turn: &mut &'static str,
) -> Result<Vec<DatabaseRefusal>, Interruption> {
    let mut refusals = Vec::new();
    let mut steps = Steps::new(rows.len(), suspect);
    while let Some(part) = steps.next() {
        // Both requests are sent before the answers are waited for: where all rows are refused, there is one COPY a row.
        let (turned, copied) = tokio::join!(
            biased;
            session.execute(turn),
            session.copy(table, rows, part.clone()),
        );
        turned?;
        match copied {
            Ok(()) => {
                *turn = "RELEASE part; SAVEPOINT part";
                steps.accepted(&part);
            }
            Err(Interruption::Postgres(error))
                if postgres::classify(&error) == Fault::Refused && !session.is_out_of_step() =>
            {
                *turn = "ROLLBACK TO part";
                if part.len() == 1 {
                    refusals.push(refusal(part.start, &error));
                }
                let line = refused_line(&error, &session.tables.tables[table].name.name);
                steps.refused(&part, line.map(|line| part.start + line));
            }
            Err(interruption) => return Err(interruption),
        }
    }
    Ok(refusals)
}

fn refusal(row: usize, error: &tokio_postgres::Error) -> DatabaseRefusal {
    /// Messages of PostgreSQL quote the row; the payload is kept anyway.
    const LONGEST: usize = 2000;
    let sqlstate = error
        .code()
        .map(|code| code.code().to_owned())
        .unwrap_or_default();
    DatabaseRefusal {
        row,
        sqlstate,
        detail: postgres::describe(error).chars().take(LONGEST).collect(),
    }
}

/// The place of the refused row in its COPY, from 0, if the error's context tells it.
pub(super) fn refused_line(error: &tokio_postgres::Error, table: &str) -> Option<usize> {
    line_in_context(error.as_db_error()?.where_()?, table)
}

/// `COPY server_metrics, line 3, column rack_id: …`; the words depend on the server's language, the order doesn't.
fn line_in_context(context: &str, table: &str) -> Option<usize> {
    let own = context
        .lines()
        .find_map(|line| line.strip_prefix("COPY ")?.strip_prefix(table))?;
    let digits: String = own
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// Which rows are tried next. Rows are settled from the first to the last; each is either accepted as part of a
/// step, or refused alone.
struct Steps {
    settled: usize,
    rows: usize,
    /// So many rows are tried where nothing is known of them: after a refused row as many as were accepted before it,
    /// twice as many after each success. Where refused rows are few, the steps are large; where all are refused, each
    /// is tried once.
    step: usize,
    /// Rows accepted since the last refused one.
    gap: usize,
    /// A row that is to be tried alone.
    suspect: Option<usize>,
    /// Between `settled` and this place some row is refused: halving finds it.
    refused_before: Option<usize>,
}

impl Steps {
    fn new(rows: usize, suspect: Option<usize>) -> Self {
        Self {
            settled: 0,
            rows,
            step: rows.max(1),
            gap: 0,
            suspect: suspect.filter(|suspect| *suspect < rows),
            refused_before: None,
        }
    }

    fn next(&self) -> Option<Range<usize>> {
        if self.settled == self.rows {
            return None;
        }
        let end = match (self.suspect, self.refused_before) {
            (Some(suspect), _) if suspect == self.settled => suspect + 1,
            (Some(suspect), _) => suspect,
            (None, Some(end)) => self.settled + ((end - self.settled) / 2).max(1),
            (None, None) => self.settled.saturating_add(self.step).min(self.rows),
        };
        Some(self.settled..end)
    }

    fn accepted(&mut self, part: &Range<usize>) {
        self.settled = part.end;
        self.gap += part.len();
        self.suspect = self.suspect.filter(|suspect| *suspect >= part.end);
        self.refused_before = self.refused_before.filter(|end| *end > part.end);
        self.step = self.step.saturating_mul(2);
    }

    fn refused(&mut self, part: &Range<usize>, suspect: Option<usize>) {
        if part.len() == 1 {
            self.settled = part.end;
            self.suspect = None;
            self.refused_before = None;
            self.step = self.gap.max(1);
            self.gap = 0;
        } else {
            self.suspect = suspect.filter(|row| part.contains(row));
            self.refused_before = Some(part.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_line_is_read_in_any_language_and_from_hostile_names() {
        assert_eq!(
            line_in_context(
                "COPY server_metrics, line 3, column rack_id: \"x\"",
                "server_metrics"
            ),
            Some(2)
        );
        assert_eq!(line_in_context("COPY t2, Zeile 12", "t2"), Some(11));
        assert_eq!(
            line_in_context(
                "PL/pgSQL function f() line 9 at RAISE\nCOPY t, line 4: \"5\"",
                "t"
            ),
            Some(3)
        );
        assert_eq!(
            line_in_context("PL/pgSQL function f() line 9 at RAISE", "t"),
            None
        );
    }

    /// The refused rows that are found, and the tries that it takes.
    fn search(
        rows: usize,
        bad: &BTreeSet<usize>,
        hint: Option<usize>,
        tells_lines: bool,
    ) -> (BTreeSet<usize>, usize) {
        let mut steps = Steps::new(rows, hint);
        let mut found = BTreeSet::new();
        let mut tries = 0;
        while let Some(part) = steps.next() {
            tries += 1;
            assert!(!part.is_empty() && tries <= 10 * rows + 10);
            match bad.range(part.clone()).next() {
                None => steps.accepted(&part),
                Some(first) => {
                    if part.len() == 1 {
                        found.insert(part.start);
                    }
                    steps.refused(&part, tells_lines.then_some(*first));
                }
            }
        }
        (found, tries)
    }

    #[test]
    fn the_search_is_short() {
        let tries = |every: usize, tells_lines| {
            let bad = (0..20_000).filter(|row| (row + 1) % every == 0).collect();
            let (found, tries) = search(20_000, &bad, None, tells_lines);
            assert_eq!(found, bad);
            tries
        };
        // One try a row where all are refused; a few a refused row where few are, a logarithm where no line is told.
        assert!(tries(1, true) < 20_010 && tries(1, false) < 20_030);
        assert!(tries(100, true) < 1_000 && tries(100, false) < 2_500);
        assert!(tries(20_000, true) <= 3 && tries(20_000, false) < 20);
    }

    proptest! {
        #[test]
        fn exactly_the_bad_rows_are_found(
            rows in 0usize..300,
            bad in prop::collection::btree_set(0usize..300, 0..40),
            tells_lines: bool,
            hinted: bool,
        ) {
            let bad: BTreeSet<usize> = bad.into_iter().filter(|row| *row < rows).collect();
            let hint = if hinted { bad.first().copied() } else { None };
            let (found, _) = search(rows, &bad, hint, tells_lines);
            prop_assert_eq!(found, bad);
        }
    }
}
