//! Owns the order in which a table's indexes want its rows: a B-tree is filled in it for half the price, and a BRIN
//! index finds nothing without it.

use tokio_postgres::{Client, Row};

/// An index as far as rows can be put in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Index {
    is_brin: bool,
    is_unique: bool,
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    /// `pg_attribute.attnum`
    number: i16,
    descending: bool,
    /// A point in time.
    is_moment: bool,
}

/// The columns that rows are sorted by, by their numbers in the catalog, and which of them descend. `filled` are the
/// columns that an event fills.
pub(super) async fn read(
    client: &Client,
    table: u32,
    filled: &[i16],
) -> Result<Vec<(i16, bool)>, tokio_postgres::Error> {
    let rows = client
        .query(include_str!("../../sql/table_keys.sql"), &[&table])
        .await?;
    let mut key = order(&indexes(&rows)?, filled);
    // Past the first column that PostgreSQL fills, the order is not ours to make.
    let ours = key
        .iter()
        .take_while(|column| filled.contains(&column.number))
        .count();
    key.truncate(ours);
    Ok(key
        .iter()
        .map(|column| (column.number, column.descending))
        .collect())
}

fn indexes(rows: &[Row]) -> Result<Vec<Index>, tokio_postgres::Error> {
    let mut indexes: Vec<Index> = Vec::new();
    let mut last = None;
    for row in rows {
        let index: u32 = row.try_get("index")?;
        if last.replace(index) != Some(index) {
            indexes.push(Index {
                is_brin: row.try_get("is_brin")?,
                is_unique: row.try_get("is_unique")?,
                columns: Vec::new(),
            });
        }
        let column = Column {
            number: row.try_get("number")?,
            descending: row.try_get("descending")?,
            is_moment: row.try_get("is_moment")?,
        };
        if let Some(index) = indexes.last_mut() {
            index.columns.push(column);
        }
    }
    Ok(indexes)
}

/// The widest B-tree; without one, the BRIN index on an identifier, for which the order is all; a primary key or unique
/// index only where there is neither: those are mostly surrogate keys.
fn order(indexes: &[Index], filled: &[i16]) -> Vec<Column> {
    let widest = |unique: bool| {
        let trees = indexes
            .iter()
            .filter(|index| !index.is_brin && index.is_unique == unique);
        // The first of several, where `max_by_key` takes the last.
        let widest = trees.rev().max_by_key(|index| index.columns.len());
        widest.map(|index| index.columns.clone())
    };
    widest(false)
        .or_else(|| series(indexes, filled))
        .or_else(|| widest(true))
        .unwrap_or_default()
}

/// The rows of one identifier together, the newest first, as the B-tree of the built-in tables has them. BRIN has no
/// order of its own: what is no moment leads, and the moment of another BRIN index follows.
fn series(indexes: &[Index], filled: &[i16]) -> Option<Vec<Column>> {
    let newest_first = |column: &Column| Column {
        descending: column.is_moment,
        ..*column
    };
    let mut ranges = indexes.iter().filter(|index| index.is_brin);
    let identifier = ranges.clone().find(|index| {
        let first = index.columns.first();
        first.is_some_and(|first| !first.is_moment && filled.contains(&first.number))
    })?;
    let mut key: Vec<Column> = identifier.columns.iter().map(newest_first).collect();
    if !key.iter().any(|column| column.is_moment) {
        let moment = ranges.find_map(|index| {
            let columns = &mut index.columns.iter();
            columns.find(|column| column.is_moment && filled.contains(&column.number))
        });
        key.extend(moment.map(newest_first));
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESTAMP: Column = Column {
        number: 1,
        descending: false,
        is_moment: true,
    };
    const SERVER: Column = Column {
        number: 2,
        descending: false,
        is_moment: false,
    };
    const RACK: Column = Column { number: 3, ..SERVER };
    /// Filled by PostgreSQL.
    const ID: Column = Column { number: 4, ..SERVER };
    const INGESTED: Column = Column {
        number: 5,
        ..TIMESTAMP
    };
    const NEWEST: Column = Column {
        descending: true,
        ..TIMESTAMP
    };
    const FILLED: [i16; 3] = [1, 2, 3];

    fn btree(columns: &[Column]) -> Index {
        Index {
            is_brin: false,
            is_unique: false,
            columns: columns.to_vec(),
        }
    }

    fn brin(columns: &[Column]) -> Index {
        Index {
            is_brin: true,
            ..btree(columns)
        }
    }

    fn unique(columns: &[Column]) -> Index {
        Index {
            is_unique: true,
            ..btree(columns)
        }
    }

    #[test]
    fn a_btree_has_its_own_order_and_a_brin_pair_that_of_its_series() {
        let pair = [brin(&[TIMESTAMP]), brin(&[SERVER])];
        let with = |more: Index| [&pair[..], &[more]].concat();
        let cases: &[(&[Index], &[Column])] = &[
            (&[], &[]),
            (&[brin(&[TIMESTAMP])], &[]),
            (&[brin(&[SERVER])], &[SERVER]),
            (&pair, &[SERVER, NEWEST]),
            (&[brin(&[SERVER, TIMESTAMP])], &[SERVER, NEWEST]),
            (&[brin(&[SERVER]), brin(&[INGESTED])], &[SERVER]),
            (&[brin(&[ID]), brin(&[TIMESTAMP])], &[]),
            (&with(btree(&[RACK])), &[RACK]),
            (&with(unique(&[ID])), &[SERVER, NEWEST]),
            (
                &[unique(&[SERVER, TIMESTAMP]), brin(&[TIMESTAMP])],
                &[SERVER, TIMESTAMP],
            ),
            (&[btree(&[RACK]), btree(&[SERVER, NEWEST])], &[SERVER, NEWEST]),
            (&[btree(&[RACK]), btree(&[SERVER])], &[RACK]),
        ];
        for (indexes, expected) in cases {
            assert_eq!(order(indexes, &FILLED), *expected, "{indexes:?}");
        }
    }
}
