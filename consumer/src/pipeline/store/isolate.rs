//! Finds the rows that PostgreSQL refuses, in a transaction of its own that is always rolled back: the batch is then
//! stored without them, in the same way as any other. Savepoints keep what was accepted; COPY's error context names
//! the refused row, and where it doesn't (a trigger at the end of the statement, a deferred constraint), halving does.

use super::session::{Interruption, Session};
use crate::pipeline::batch::{DatabaseRefusal, SortedRows};
use crate::postgres::{self, Fault};
use std::ops::Range;

/// After a refused row, so many rows are tried next; doubled after each success. Where refused rows are few, the
/// steps are soon large; where all are refused, little is sent in vain.
const FIRST_STEP: usize = 16;

/// The refused rows of each table, by the table's place. `hint` is the row that stopped the first attempt.
pub(super) async fn refused_rows(
    session: &Session,
    sorted: &[SortedRows],
    hint: Option<(usize, usize)>,
) -> Result<Vec<(usize, Vec<DatabaseRefusal>)>, Interruption> {
    // What is deferred to COMMIT must be told of the rows that cause it.
    session.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
    let mut found = Vec::new();
    for (table, rows) in sorted.iter().enumerate() {
        let suspect = hint.filter(|(of, _)| *of == table).map(|(_, row)| row);
        let refusals = refused_of_table(session, table, rows, suspect).await?;
        if !refusals.is_empty() {
            found.push((table, refusals));
        }
    }
    session.execute("ROLLBACK").await?;
    Ok(found)
}

async fn refused_of_table(
    session: &Session,
    table: usize,
    rows: &SortedRows,
    suspect: Option<usize>,
) -> Result<Vec<DatabaseRefusal>, Interruption> {
    let mut refusals = Vec::new();
    let mut steps = Steps::new(rows.len(), suspect);
    while let Some(part) = steps.next() {
        session.execute("SAVEPOINT part").await?;
        match session.copy(table, rows, part.clone()).await {
            Ok(()) => {
                session.execute("RELEASE part").await?;
                steps.accepted(&part);
            }
            Err(Interruption::Postgres(error)) if postgres::classify(&error) == Fault::Refused => {
                session.execute("ROLLBACK TO part; RELEASE part").await?;
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
    step: usize,
    /// A row that is to be tried alone.
    suspect: Option<usize>,
}

impl Steps {
    fn new(rows: usize, suspect: Option<usize>) -> Self {
        Self {
            settled: 0,
            rows,
            step: rows.max(1),
            suspect: suspect.filter(|suspect| *suspect < rows),
        }
    }

    fn next(&self) -> Option<Range<usize>> {
        if self.settled == self.rows {
            return None;
        }
        let end = match self.suspect {
            Some(suspect) if suspect == self.settled => suspect + 1,
            Some(suspect) => suspect,
            None => (self.settled + self.step).min(self.rows),
        };
        Some(self.settled..end)
    }

    fn accepted(&mut self, part: &Range<usize>) {
        self.settled = part.end;
        self.suspect = self.suspect.filter(|suspect| *suspect >= part.end);
        self.step = self.step.saturating_mul(2);
    }

    fn refused(&mut self, part: &Range<usize>, suspect: Option<usize>) {
        if part.len() == 1 {
            self.settled = part.end;
            self.suspect = None;
            self.step = FIRST_STEP;
        } else {
            self.suspect = suspect.filter(|row| part.contains(row));
            self.step = (part.len() / 2).max(1);
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
            let mut steps = Steps::new(rows, hint);
            let mut found = BTreeSet::new();
            let mut tries = 0;
            while let Some(part) = steps.next() {
                tries += 1;
                prop_assert!(!part.is_empty() && tries <= 10 * rows + 10);
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
            prop_assert_eq!(found, bad);
        }
    }
}
