//! Owns what a table looks like to an event: its columns in COPY order, where each value comes from, the key
//! that rows are sorted by; and the routes from event types to tables. Types only: `table::catalog` reads them.

pub mod catalog; // tables as PostgreSQL's catalog has them

use crate::config::UnknownTypes;
use crate::offsets::{Offset, Partition};
use std::fmt;
use std::sync::{Arc, Mutex};

/// A table's name, as given in a route: `table` or `schema.table`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema, where the route names one; otherwise PostgreSQL's `search_path` decides.
    pub schema: Option<String>,
    /// The table itself.
    pub name: String,
}

impl TableName {
    /// The name with each part quoted as an SQL identifier.
    #[must_use]
    pub fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.name)),
            None => quote(&self.name),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Quotes an SQL identifier.
#[must_use]
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The type of a column, as far as the event contract knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `double precision`
    Float8,
    /// `real`
    Float4,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `numeric`, with or without precision (PostgreSQL applies it)
    Numeric,
    /// `text`
    Text,
    /// `varchar(n)`: at most so many characters; without `(n)` it is `Text`
    Varchar(u32),
    /// `boolean`
    Bool,
    /// `timestamp with time zone`
    Timestamptz,
    /// `timestamp without time zone`: UTC
    Timestamp,
    /// `date`: UTC
    Date,
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `bytea`, for `kafka_key` only
    Bytea,
}

/// Where a column's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The event's field of the column's name.
    Field,
    /// All fields that have no column, as one object: the `jsonb` column `extra`. NULL where there are none.
    Extra,
    /// `kafka_topic`
    KafkaTopic,
    /// `kafka_partition`
    KafkaPartition,
    /// `kafka_offset`
    KafkaOffset,
    /// `kafka_timestamp`
    KafkaTimestamp,
    /// `kafka_key`
    KafkaKey,
}

/// A column that COPY fills. Columns that PostgreSQL fills (identity, generated, a DEFAULT that isn't a constant)
/// are not among a table's `columns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, and the event field's.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// NULL is refused.
    pub not_null: bool,
    /// The constant of its DEFAULT in PostgreSQL's binary format: taken when the event has no such field.
    pub default: Option<Vec<u8>>,
    /// Where its value comes from.
    pub source: Source,
}

/// A column of the table's key, in the key's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its place in `Table::columns`.
    pub column: usize,
    /// The largest value first: `DESC` in the index.
    pub descending: bool,
}

/// A table that a route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// The columns that COPY fills, in COPY's order.
    pub columns: Vec<Column>,
    /// The columns that rows are sorted by, as its B-tree or its BRIN indexes ask for; empty: order of arrival.
    pub key: Vec<KeyColumn>,
    /// What the catalog said, as one string: another one means that the table has changed.
    pub fingerprint: String,
}

/// Which table takes which type of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    tables: Vec<TableName>,
    by_type: Vec<(String, usize)>,
}

impl Routes {
    /// Adds a route; several types may share a table.
    pub fn add(&mut self, event_type: String, table: TableName) {
        let index = self
            .tables
            .iter()
            .position(|known| *known == table)
            .unwrap_or_else(|| {
                self.tables.push(table);
                self.tables.len() - 1
            });
        self.by_type.push((event_type, index));
    }

    /// The tables, each once, in the order of the routes.
    #[must_use]
    pub fn tables(&self) -> &[TableName] {
        &self.tables
    }

    /// The table for a type of event, by its place in `tables`. A scan: routes are few, and a comparison of two
    /// short words costs less than a hash of one.
    #[must_use]
    pub fn table_of(&self, event_type: &str) -> Option<usize> {
        self.by_type
            .iter()
            .find(|(known, _)| known == event_type)
            .map(|(_, index)| *index)
    }
}

/// The routes and their tables as they are now, with PostgreSQL's own numbers for them. A table that changes, and a route
/// that does, make a new generation; rows are encoded for one generation and stored in no other.
#[derive(Debug)]
pub struct Tables {
    /// Counts what was found to be new.
    pub generation: u64,
    /// Which table takes which type of event.
    pub routes: Routes,
    /// What becomes of events whose type has no route.
    pub unknown_types: UnknownTypes,
    /// In the order of the routes' tables.
    pub tables: Vec<Table>,
    /// Their names as text, in the same order.
    pub names: Vec<String>,
    /// Their object identifiers, in the same order.
    pub oids: Vec<u32>,
}

impl Tables {
    fn new(
        generation: u64,
        routes: Routes,
        unknown_types: UnknownTypes,
        tables: Vec<Table>,
        oids: Vec<u32>,
    ) -> Self {
        Self {
            generation,
            routes,
            unknown_types,
            names: tables.iter().map(|table| table.name.to_string()).collect(),
            tables,
            oids,
        }
    }
}

/// The newest generation of the tables, shared by all workers.
#[derive(Debug)]
pub struct SharedTables(Mutex<Arc<Tables>>);

impl SharedTables {
    /// The first generation; `tables` are those of the routes, in their order.
    #[must_use]
    pub fn new(routes: Routes, unknown_types: UnknownTypes, tables: Vec<Table>, oids: Vec<u32>) -> Self {
        let first = Tables::new(1, routes, unknown_types, tables, oids);
        Self(Mutex::new(Arc::new(first)))
    }

    /// The newest generation.
    #[must_use]
    pub fn current(&self) -> Arc<Tables> {
        Arc::clone(&self.lock())
    }

    /// Takes in what the catalog says now; where it differs from the newest generation, it is the next one. Where the routes
    /// have changed since it was asked for, it says nothing.
    pub fn update(&self, tables: Vec<Table>, oids: Vec<u32>) {
        let mut current = self.lock();
        let asked_for = tables.iter().map(|table| &table.name);
        if asked_for.eq(current.routes.tables()) && (current.tables != tables || current.oids != oids) {
            let (routes, unknown_types) = (current.routes.clone(), current.unknown_types);
            let next = Tables::new(current.generation + 1, routes, unknown_types, tables, oids);
            *current = Arc::new(next);
        }
    }

    /// Other routes, with their tables in their order: the next generation.
    pub fn reroute(&self, routes: Routes, unknown_types: UnknownTypes, tables: Vec<Table>, oids: Vec<u32>) {
        let mut current = self.lock();
        let next = Tables::new(current.generation + 1, routes, unknown_types, tables, oids);
        *current = Arc::new(next);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Tables>> {
        self.0.lock().expect("nobody panics while holding this lock")
    }
}

/// Where an event stood in Kafka: what the `kafka_*` columns are filled with.
#[derive(Clone, Copy, Debug)]
pub struct Coordinates<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The message's key.
    pub key: Option<&'a [u8]>,
}
