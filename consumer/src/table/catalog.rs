//! Reads tables from PostgreSQL's catalog and says which of their columns an event can't fill.
//! The contract (which type takes what) is in the design's table; its bytes are `pipeline::encode`'s.

mod key; // the order that a table's indexes ask for

use super::{Column, ColumnType, KeyColumn, Source, Table, TableName};
use crate::postgres::{ConnectError, Connection};
use std::error::Error;
use std::fmt;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, ToStatement};

/// Why a table can't be read from the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// PostgreSQL did not answer.
    #[error("could not read the catalog")]
    Postgres(#[from] tokio_postgres::Error),
    /// PostgreSQL could not be reached, or has become silent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The tables are not what the routes need: each finding names table, column and type.
    #[error("{0}")]
    Unfit(Findings),
}

/// What is wrong with the routed tables, one line a finding.
#[derive(Debug)]
pub struct Findings(pub Vec<String>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// The routed tables, as the catalog has them now.
#[derive(Debug)]
pub struct Catalog {
    /// The tables, in the order in which they were asked for.
    pub tables: Vec<Table>,
    /// PostgreSQL's own numbers for them, in the same order.
    pub oids: Vec<u32>,
}

/// Reads the tables; every finding of every table is told at once. A server that has become silent is not waited for.
pub async fn read(connection: &Connection, names: &[TableName]) -> Result<Catalog, CatalogError> {
    match connection.answer(read_all(connection, names)).await {
        Ok(read) => read.map_err(CatalogError::Unfit),
        Err(ConnectError::Postgres(error)) => Err(error.into()),
        Err(silence) => Err(silence.into()),
    }
}

async fn read_all(
    client: &Client,
    names: &[TableName],
) -> Result<Result<Catalog, Findings>, tokio_postgres::Error> {
    let mut oids = Vec::with_capacity(names.len());
    let mut findings = Vec::new();
    for name in names {
        match find(client, name).await? {
            Ok(oid) => oids.push(oid),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        return Ok(Err(Findings(findings)));
    }
    // The fingerprints first: should a table change between the two questions, its fingerprint is the old one, and the
    // next transaction sees the difference.
    let fingerprints = fingerprints(client, FINGERPRINTS, &oids).await?;
    let mut tables = Vec::with_capacity(names.len());
    for ((name, oid), fingerprint) in names.iter().zip(&oids).zip(fingerprints) {
        let (mut table, unfit) = read_table(client, name, *oid).await?;
        findings.extend(unfit);
        table.fingerprint = fingerprint;
        tables.push(table);
    }
    if findings.is_empty() {
        Ok(Ok(Catalog { tables, oids }))
    } else {
        Ok(Err(Findings(findings)))
    }
}

/// The statement behind `fingerprints`, to be prepared where it is asked often.
pub const FINGERPRINTS: &str = include_str!("../sql/table_fingerprint.sql");

/// What COPY depends on, one string a table; see `sql/table_fingerprint.sql`.
pub async fn fingerprints<S>(
    client: &Client,
    statement: &S,
    oids: &[u32],
) -> Result<Vec<String>, tokio_postgres::Error>
where
    S: ToStatement + ?Sized,
{
    let rows = client.query(statement, &[&oids]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn find(client: &Client, name: &TableName) -> Result<Result<u32, String>, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "SELECT oid, relkind::text FROM pg_class WHERE oid = to_regclass($1)",
            &[&name.quoted()],
        )
        .await?;
    Ok(match row {
        None => Err(format!(
            "table {name}: does not exist; create it, or leave out its --route"
        )),
        Some(row) => {
            let kind: &str = row.try_get(1)?;
            if matches!(kind, "r" | "p") {
                Ok(row.try_get(0)?)
            } else {
                Err(format!(
                    "table {name}: is not a table; name a table in its --route"
                ))
            }
        }
    })
}

async fn read_table(
    client: &Client,
    name: &TableName,
    oid: u32,
) -> Result<(Table, Vec<String>), tokio_postgres::Error> {
    let mut columns = Vec::new();
    let mut numbers: Vec<i16> = Vec::new();
    let mut findings = Vec::new();
    for row in client
        .query(include_str!("../sql/table_columns.sql"), &[&oid])
        .await?
    {
        let column: String = row.try_get("name")?;
        let type_name: String = row.try_get("type")?;
        let default: Option<String> = row.try_get("default_expression")?;
        if row.try_get("filled_by_postgres")? || default.as_deref().is_some_and(|text| !is_constant(text)) {
            continue;
        }
        let kind = column_type(row.try_get("type_oid")?, row.try_get("type_modifier")?);
        let source = kind.and_then(|kind| source(&column, kind));
        let (Some(kind), Some(source)) = (kind, source) else {
            findings.push(format!(
                "table {name}, column {column}: type {type_name} can't be filled from an event; change its type, or \
                 give it a DEFAULT that PostgreSQL computes"
            ));
            continue;
        };
        let default = match default {
            Some(expression) => constant(client, &expression, &type_name).await?,
            None => None,
        };
        columns.push(Column {
            name: column,
            kind,
            not_null: row.try_get("not_null")?,
            default,
            source,
        });
        numbers.push(row.try_get("number")?);
    }
    if columns.is_empty() && findings.is_empty() {
        findings.push(format!("table {name}: has no column that an event could fill"));
    }
    let place = |number| numbers.iter().position(|candidate| *candidate == number);
    let key = key::read(client, oid, &numbers).await?;
    let key = key.into_iter().filter_map(|(number, descending)| {
        let column = place(number)?;
        Some(KeyColumn { column, descending })
    });
    Ok((
        Table {
            name: name.clone(),
            columns,
            key: key.collect(),
            fingerprint: String::new(),
        },
        findings,
    ))
}

fn column_type(oid: u32, modifier: i32) -> Option<ColumnType> {
    Some(match Type::from_oid(oid)? {
        Type::FLOAT8 => ColumnType::Float8,
        Type::FLOAT4 => ColumnType::Float4,
        Type::INT2 => ColumnType::Int2,
        Type::INT4 => ColumnType::Int4,
        Type::INT8 => ColumnType::Int8,
        Type::NUMERIC => ColumnType::Numeric,
        Type::TEXT => ColumnType::Text,
        // The modifier is the length plus the four bytes of a header that is no longer there.
        Type::VARCHAR => u32::try_from(modifier - 4).map_or(ColumnType::Text, ColumnType::Varchar),
        Type::BOOL => ColumnType::Bool,
        Type::TIMESTAMPTZ => ColumnType::Timestamptz,
        Type::TIMESTAMP => ColumnType::Timestamp,
        Type::DATE => ColumnType::Date,
        Type::UUID => ColumnType::Uuid,
        Type::JSON => ColumnType::Json,
        Type::JSONB => ColumnType::Jsonb,
        Type::BYTEA => ColumnType::Bytea,
        _ => return None,
    })
}

/// Where the column's value comes from; `None` where its type doesn't suit its name.
fn source(column: &str, kind: ColumnType) -> Option<Source> {
    use ColumnType as T;
    let (source, fits) = match column {
        "kafka_topic" => (Source::KafkaTopic, matches!(kind, T::Text | T::Varchar(_))),
        "kafka_partition" => (Source::KafkaPartition, matches!(kind, T::Int4 | T::Int8)),
        "kafka_offset" => (Source::KafkaOffset, matches!(kind, T::Int8)),
        "kafka_timestamp" => (
            Source::KafkaTimestamp,
            matches!(kind, T::Timestamptz | T::Timestamp),
        ),
        "kafka_key" => (
            Source::KafkaKey,
            matches!(kind, T::Bytea | T::Text | T::Varchar(_)),
        ),
        "extra" if kind == T::Jsonb => (Source::Extra, true),
        _ => (Source::Field, kind != T::Bytea),
    };
    fits.then_some(source)
}

/// Whether a DEFAULT is a constant: a literal with at most one cast. (PostgreSQL has folded `'now'::timestamptz` and
/// its like when the DEFAULT was set; two casts could hide a function.)
fn is_constant(expression: &str) -> bool {
    let (literal, rest) = split_literal(expression.trim());
    if !literal {
        return false;
    }
    let Some(cast) = rest.strip_prefix("::") else {
        return rest.is_empty();
    };
    cast.chars()
        .all(|c| c.is_alphanumeric() || " ,_().\"[]".contains(c))
}

/// Whether the text starts with a literal, and what follows it.
fn split_literal(text: &str) -> (bool, &str) {
    if let Some(inner) = text.strip_prefix('(') {
        // `(-1)`, `(0.5)`: what pg_get_expr makes of a signed number.
        let Some((number, rest)) = inner.split_once(')') else {
            return (false, text);
        };
        return (is_number(number), rest);
    }
    if let Some(inner) = text.strip_prefix('\'') {
        let mut bytes = inner.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            if byte == b'\'' && bytes.next_if(|(_, next)| *next == b'\'').is_none() {
                return (true, &inner[at + 1..]);
            }
        }
        return (false, text);
    }
    let end = text.find("::").unwrap_or(text.len());
    let word = &text[..end];
    (
        is_number(word) || ["true", "false", "NULL"].contains(&word),
        &text[end..],
    )
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite) && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// The constant's bytes, computed by PostgreSQL itself.
async fn constant(
    client: &Client,
    expression: &str,
    type_name: &str,
) -> Result<Option<Vec<u8>>, tokio_postgres::Error> {
    let row = client
        .query_one(&format!("SELECT ({expression})::{type_name}"), &[])
        .await?;
    Ok(row.try_get::<_, Option<Bytes>>(0)?.map(|bytes| bytes.0))
}

/// A value of any type in PostgreSQL's binary format.
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_told_from_what_postgres_must_compute() {
        for constant in [
            "0",
            "(-1)",
            "1.5",
            "'-1'::integer",
            "(0)::double precision",
            "'it''s'::text",
            "true",
            "'2020-01-01 00:00:00+00'::timestamp with time zone",
            "NULL::character varying",
            "'{}'::jsonb",
        ] {
            assert!(is_constant(constant), "{constant}");
        }
        for computed in [
            "now()",
            "CURRENT_TIMESTAMP",
            "nextval('a_seq'::regclass)",
            "gen_random_uuid()",
            "('now'::text)::timestamp with time zone",
            "('a'::text || 'b'::text)",
            "(1 + 2)",
            "'a'::text || now()",
            "random()",
        ] {
            assert!(!is_constant(computed), "{computed}");
        }
    }

    #[test]
    fn coordinates_need_a_type_that_holds_them() {
        assert_eq!(
            source("kafka_offset", ColumnType::Int8),
            Some(Source::KafkaOffset)
        );
        assert_eq!(source("kafka_offset", ColumnType::Int4), None);
        assert_eq!(source("kafka_key", ColumnType::Bytea), Some(Source::KafkaKey));
        assert_eq!(source("raw", ColumnType::Bytea), None);
        assert_eq!(source("extra", ColumnType::Jsonb), Some(Source::Extra));
        assert_eq!(source("extra", ColumnType::Text), Some(Source::Field));
    }

    #[test]
    fn a_varchar_without_length_is_text() {
        assert_eq!(column_type(Type::VARCHAR.oid(), -1), Some(ColumnType::Text));
        assert_eq!(
            column_type(Type::VARCHAR.oid(), 14),
            Some(ColumnType::Varchar(10))
        );
        assert_eq!(column_type(Type::POINT.oid(), -1), None);
    }
}
