//! Owns the way from an event's fields to the bytes of one `COPY … (FORMAT binary)` row and its sort key: which
//! field fills which column, and what fills a column that has no field. How a value is written is its submodule's
//! business; batches and COPY's header and trailer are others'.

mod document;
mod key;
mod number;
mod numeric;
mod refuse;
mod text;
mod timestamp;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::dead_letter::{Reason, Refusal};
use crate::pipeline::decode::{Event, Kind, UNKNOWN, Value};
use crate::table::{Column, ColumnType, Coordinates, KeyColumn, Source, Table};
use refuse::Wrong;
use std::ops::ControlFlow;
use timestamp::Clock;

/// Writes the rows of one table. What the last event taught (the order of its fields, its date) makes the next one
/// cheaper; it never changes what is written.
#[derive(Debug)]
pub struct Encoder {
    columns: Vec<Column>,
    /// The columns that fields fill, by name.
    by_name: Vec<(Box<[u8]>, usize)>,
    key: Vec<KeyColumn>,
    /// There is an `extra` column, which keeps the fields that have no column.
    keeps_extra: bool,
    /// Where the fields go, by the numbers that the decoder gave their names.
    targets: Vec<Target>,
    /// The decoder whose numbers these are.
    names: u64,
    /// The numbers of the last event's names: the same again go where they went.
    last: Vec<u16>,
    /// For each column the event's field, plus one; 0: none.
    slots: Vec<u32>,
    /// The event's fields that have no column.
    unmapped: Vec<usize>,
    /// Where each column of the row starts.
    starts: Vec<usize>,
    scratch: Scratch,
}

/// What the writers of values keep from one row to the next.
#[derive(Debug, Default)]
struct Scratch {
    text: Vec<u8>,
    clock: Clock,
}

/// Where a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Column(usize),
    /// There is no such column.
    Nowhere,
    /// It was the route's, and has no column.
    Type,
    /// Not looked up yet.
    Unasked,
}

/// The length that COPY BINARY writes for NULL.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

impl Encoder {
    /// An encoder for `table`.
    pub fn new(table: &Table) -> Self {
        let mut by_name: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.source == Source::Field)
            .map(|(at, column)| (column.name.as_bytes().into(), at))
            .collect();
        by_name.sort_unstable();
        Self {
            by_name,
            key: table.key.clone(),
            keeps_extra: table.columns.iter().any(|column| column.source == Source::Extra),
            targets: Vec::new(),
            names: 0,
            last: Vec::new(),
            slots: vec![0; table.columns.len()],
            unmapped: Vec::new(),
            starts: vec![0; table.columns.len()],
            scratch: Scratch::default(),
            columns: table.columns.clone(),
        }
    }

    /// Appends one row to `rows` (field count, then length and bytes of each column) and its sort key to `keys`:
    /// bytes that compare as the table's index orders the rows. On refusal both are left as they were.
    ///
    /// `unmapped` is told each field that has no column and isn't kept in `extra`, once, by its unescaped name;
    /// refused events tell none. `type` is the route's and never told.
    pub fn encode(
        &mut self,
        event: &Event<'_>,
        at: &Coordinates<'_>,
        rows: &mut Vec<u8>,
        keys: &mut Vec<u8>,
        unmapped: &mut dyn FnMut(&str),
    ) -> Result<(), Refusal> {
        self.assign(event);
        let start = rows.len();
        if let Err(refusal) = self.row(event, at, rows) {
            rows.truncate(start);
            return Err(refusal);
        }
        for part in &self.key {
            let kind = self.columns[part.column].kind;
            key::append(&rows[self.starts[part.column]..], kind, part.descending, keys);
        }
        if !self.keeps_extra {
            for &field in &self.unmapped {
                unmapped(&event.key(field).text());
            }
        }
        Ok(())
    }

    /// Finds each column's field. The last of a repeated key wins, so that an earlier one is never looked at.
    fn assign(&mut self, event: &Event<'_>) {
        if self.names == event.names() && event.has_names(&self.last) {
            return;
        }
        if self.names != event.names() {
            self.names = event.names();
            self.targets.clear();
        }
        self.last.clear();
        self.slots.fill(0);
        self.unmapped.clear();
        for place in 0..event.len() {
            let number = event.name_number(place);
            // A name that isn't known may be another one next time: `u16::MAX` is no name's number.
            self.last.push(if number == UNKNOWN { u16::MAX } else { number });
            let mut target = self.targets.get(usize::from(number)).copied();
            if let None | Some(Target::Unasked) = target {
                target = Some(self.find(event, place));
            }
            match target {
                Some(Target::Column(column)) => {
                    self.slots[column] = u32::try_from(place + 1).unwrap_or(u32::MAX);
                }
                Some(Target::Type) => {}
                _ => self.unmapped.push(place),
            }
        }
        if self.unmapped.len() > 1 {
            forget_repeated(event, &mut self.unmapped);
        }
    }

    /// Looks up where a field goes, and keeps it if its name has a number.
    #[cold]
    fn find(&mut self, event: &Event<'_>, place: usize) -> Target {
        let name = event.key(place).text();
        let found = self
            .by_name
            .binary_search_by(|(column, _)| (**column).cmp(name.as_bytes()));
        let target = match found {
            Ok(at) => Target::Column(self.by_name[at].1),
            Err(_) if name == "type" => Target::Type,
            Err(_) => Target::Nowhere,
        };
        let number = usize::from(event.name_number(place));
        if number != usize::from(UNKNOWN) {
            if number >= self.targets.len() {
                self.targets.resize(number + 1, Target::Unasked);
            }
            self.targets[number] = target;
        }
        target
    }

    fn row(&mut self, event: &Event<'_>, at: &Coordinates<'_>, rows: &mut Vec<u8>) -> Result<(), Refusal> {
        let Self {
            columns,
            slots,
            unmapped,
            starts,
            scratch,
            ..
        } = self;
        // PostgreSQL allows 1600 columns.
        let count = i16::try_from(columns.len()).unwrap_or(i16::MAX);
        rows.extend_from_slice(&count.to_be_bytes());
        for ((column, &slot), start) in columns.iter().zip(&*slots).zip(starts) {
            *start = rows.len();
            match (slot as usize).checked_sub(1) {
                Some(field) if simple(column.kind, event, field, rows) => {}
                Some(field) => scratch.field(column, event, field, rows)?,
                None => absent(column, event, unmapped, at, rows)?,
            }
        }
        Ok(())
    }
}

/// Appends a field's value with its length if it is one of the most common ones, which need no second look: a short
/// number, a text without escapes.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "once a column: what is handed over by way of memory costs as much as the work"
)]
fn simple(kind: ColumnType, event: &Event<'_>, field: usize, rows: &mut Vec<u8>) -> bool {
    match kind {
        ColumnType::Float8 => {
            let Some(number) = event.short_number(field) else {
                return false;
            };
            fixed8(rows, number::short_float8(number).to_be_bytes());
        }
        ColumnType::Int4 => {
            let Some(integer) = event.short_number(field).and_then(number::short_integer) else {
                return false;
            };
            fixed4(rows, integer.to_be_bytes());
        }
        ColumnType::Text => {
            let Some((text, length)) = event.plain_text(field) else {
                return false;
            };
            leading(rows, text, length);
        }
        _ => return false,
    }
    true
}

impl Scratch {
    /// Appends a field's value with its length.
    #[inline(never)]
    fn field(
        &mut self,
        column: &Column,
        event: &Event<'_>,
        field: usize,
        rows: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let value = event.value(field);
        if value.kind() != Kind::Null {
            return self
                .value(column.kind, &value, rows)
                .map_err(|wrong| wrong.in_field(event.key(field).raw(), column.kind, &value));
        }
        if column.not_null {
            return Err(refuse::missing(column, "found null"));
        }
        rows.extend_from_slice(&NULL);
        Ok(())
    }

    /// Appends a value that isn't `null`, with its length.
    #[inline]
    fn value(&mut self, kind: ColumnType, value: &Value<'_>, rows: &mut Vec<u8>) -> Result<(), Wrong> {
        match kind {
            ColumnType::Float8 => fixed8(rows, number::float8(value)?.to_be_bytes()),
            ColumnType::Float4 => fixed4(rows, number::float4(value)?.to_be_bytes()),
            ColumnType::Int2 => fixed2(rows, narrow::<i16>(number::integer(value)?)?.to_be_bytes()),
            ColumnType::Int4 => fixed4(rows, narrow::<i32>(number::integer(value)?)?.to_be_bytes()),
            ColumnType::Int8 => fixed8(rows, number::integer(value)?.to_be_bytes()),
            ColumnType::Numeric => numeric::append(value, rows)?,
            ColumnType::Text => text::append(value, None, rows)?,
            ColumnType::Varchar(most) => text::append(value, Some(most), rows)?,
            ColumnType::Bool => rows.extend_from_slice(match value.kind() {
                Kind::True => &[0, 0, 0, 1, 1],
                Kind::False => &[0, 0, 0, 1, 0],
                _ => return Err(Wrong::new(Reason::TypeMismatch, "true or false is needed for")),
            }),
            ColumnType::Timestamptz | ColumnType::Timestamp => {
                let micros = self.clock.micros(value, &mut self.text)?;
                fixed8(rows, micros.to_be_bytes());
            }
            ColumnType::Date => {
                let micros = self.clock.micros(value, &mut self.text)?;
                fixed4(rows, timestamp::day(micros).to_be_bytes());
            }
            ColumnType::Uuid => {
                let uuid = text::uuid(value, &mut self.text)?;
                sized(rows, &uuid);
            }
            ColumnType::Json | ColumnType::Jsonb => document::append(value, kind, rows)?,
            // `bytea` is for `kafka_key` only; the catalog lets no other column of it through.
            ColumnType::Bytea => return Err(Wrong::new(Reason::TypeMismatch, "no JSON value is good for")),
        }
        Ok(())
    }
}

/// Appends what fills a column that no field of the event does.
#[inline(never)]
fn absent(
    column: &Column,
    event: &Event<'_>,
    unmapped: &[usize],
    at: &Coordinates<'_>,
    rows: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if from_elsewhere(column, event, unmapped, at, rows)?.is_continue() {
        match &column.default {
            Some(constant) => sized(rows, constant),
            None if column.not_null => return Err(refuse::missing(column, "found no such field")),
            None => rows.extend_from_slice(&NULL),
        }
    }
    Ok(())
}

/// Appends what doesn't come from a field of the column's name. `Continue`: there is none.
fn from_elsewhere(
    column: &Column,
    event: &Event<'_>,
    unmapped: &[usize],
    at: &Coordinates<'_>,
    rows: &mut Vec<u8>,
) -> Result<ControlFlow<()>, Refusal> {
    let coordinate = |wrong: Wrong| wrong.in_coordinate(column);
    match column.source {
        Source::Field => return Ok(ControlFlow::Continue(())),
        Source::Extra if unmapped.is_empty() => return Ok(ControlFlow::Continue(())),
        Source::Extra => document::object(event, unmapped, column.kind, rows)?,
        Source::KafkaTopic => text::plain(at.topic.as_bytes(), column.kind, rows).map_err(coordinate)?,
        Source::KafkaPartition => {
            integer(i64::from(at.partition.0), column.kind, rows).map_err(coordinate)?;
        }
        Source::KafkaOffset => integer(at.offset.0, column.kind, rows).map_err(coordinate)?,
        Source::KafkaTimestamp => {
            let Some(millis) = at.timestamp_ms else {
                return Ok(ControlFlow::Continue(()));
            };
            let micros = timestamp::from_unix_millis(millis).map_err(coordinate)?;
            if column.kind == ColumnType::Date {
                fixed4(rows, timestamp::day(micros).to_be_bytes());
            } else {
                fixed8(rows, micros.to_be_bytes());
            }
        }
        Source::KafkaKey => {
            let Some(key) = at.key else {
                return Ok(ControlFlow::Continue(()));
            };
            text::plain(key, column.kind, rows).map_err(coordinate)?;
        }
    }
    Ok(ControlFlow::Break(()))
}

fn integer(value: i64, kind: ColumnType, rows: &mut Vec<u8>) -> Result<(), Wrong> {
    match kind {
        ColumnType::Int2 => fixed2(rows, narrow::<i16>(value)?.to_be_bytes()),
        ColumnType::Int4 => fixed4(rows, narrow::<i32>(value)?.to_be_bytes()),
        _ => fixed8(rows, value.to_be_bytes()),
    }
    Ok(())
}

#[inline]
fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Wrong> {
    T::try_from(value).map_err(|_| number::OUT_OF_RANGE)
}

/// Of fields with the same name only the last one counts.
#[cold]
fn forget_repeated(event: &Event<'_>, fields: &mut Vec<usize>) {
    let name = |field: usize| event.key(field).text();
    fields.sort_unstable_by(|&a, &b| name(a).cmp(&name(b)).then(b.cmp(&a)));
    fields.dedup_by(|&mut later, &mut kept| name(later) == name(kept));
    fields.sort_unstable();
}

#[inline]
fn fixed2(rows: &mut Vec<u8>, bytes: [u8; 2]) {
    let mut column = [0, 0, 0, 2, 0, 0];
    column[4..].copy_from_slice(&bytes);
    rows.extend_from_slice(&column);
}

#[inline]
fn fixed4(rows: &mut Vec<u8>, bytes: [u8; 4]) {
    let mut column = [0, 0, 0, 4, 0, 0, 0, 0];
    column[4..].copy_from_slice(&bytes);
    rows.extend_from_slice(&column);
}

#[inline]
fn fixed8(rows: &mut Vec<u8>, bytes: [u8; 8]) {
    let mut column = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    column[4..].copy_from_slice(&bytes);
    rows.extend_from_slice(&column);
}

/// Appends a text of so many bytes, with which `text` begins.
#[inline]
fn leading(rows: &mut Vec<u8>, text: &[u8], bytes: usize) {
    const ONCE: usize = 16;
    match text.first_chunk::<ONCE>() {
        // Written together with what follows it, which is cut off: most texts are short, and a copy whose length isn't
        // known takes longer to begin than to do.
        Some(chunk) if bytes <= ONCE => {
            let end = rows.len() + 4 + bytes;
            let mut column = [0; 4 + ONCE];
            column[..4].copy_from_slice(&length(bytes));
            column[4..].copy_from_slice(chunk);
            rows.extend_from_slice(&column);
            rows.truncate(end);
        }
        _ => sized(rows, &text[..bytes]),
    }
}

/// Appends bytes with their length.
#[inline]
fn sized(rows: &mut Vec<u8>, bytes: &[u8]) {
    rows.extend_from_slice(&length(bytes.len()));
    rows.extend_from_slice(bytes);
}

/// A column's length as COPY BINARY writes it. Kafka's messages are shorter than 2 GiB, and so are all columns.
#[inline]
fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes()
}

/// Writes the length of a column whose bytes were appended behind a place that was left for it.
fn close(rows: &mut [u8], start: usize) {
    let length = length(rows.len() - start - 4);
    rows[start..start + 4].copy_from_slice(&length);
}
