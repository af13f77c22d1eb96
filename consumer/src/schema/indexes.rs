//! Owns the two designs of the built-in tables' indexes, and the change from one to the other. An index that somebody
//! else made, or made otherwise, is left alone and told.

use super::{LOCK, PATIENT};
use crate::config::Indexes;
use crate::table::quote;
use std::fmt::Write as _;
use std::time::Instant;
use tokio_postgres::{Client, Transaction};

/// A built-in table, and the column whose values tell its series apart.
struct BuiltIn {
    table: &'static str,
    identifier: &'static str,
}

/// In the order in which consumers lock them.
const TABLES: [BuiltIn; 2] = [
    BuiltIn {
        table: "server_metrics",
        identifier: "server_id",
    },
    BuiltIn {
        table: "application_metrics",
        identifier: "service_name",
    },
];

/// An index: its name, and what PostgreSQL says behind USING when it is asked for the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Index {
    name: String,
    definition: String,
}

impl BuiltIn {
    /// The index that the design has beside the BRIN on the time, which both have.
    fn index(&self, design: Indexes) -> Index {
        let Self { table, identifier } = self;
        match design {
            Indexes::Btree => Index {
                name: format!("{table}_{identifier}_timestamp_idx"),
                definition: format!("btree ({identifier}, \"timestamp\" DESC)"),
            },
            // So few pages a range, because a batch is some hundred pages of rows in order.
            Indexes::Brin => Index {
                name: format!("{table}_{identifier}_idx"),
                definition: format!("brin ({identifier}) WITH (pages_per_range='8')"),
            },
        }
    }

    fn time_index(&self) -> Index {
        Index {
            name: format!("{}_timestamp_idx", self.table),
            definition: "brin (\"timestamp\")".to_owned(),
        }
    }

    /// What must be done to a table that has these indexes, so that it has those of the design.
    fn plan(&self, found: &[Index], design: Indexes) -> Plan {
        let other = match design {
            Indexes::Btree => Indexes::Brin,
            Indexes::Brin => Indexes::Btree,
        };
        let (wanted, unwanted, time) = (self.index(design), self.index(other), self.time_index());
        if !found.contains(&time) {
            return Plan::LeaveAlone(missing(&time));
        }
        let taken = found
            .iter()
            .find(|index| index.name == wanted.name && **index != wanted);
        match (found.contains(&wanted), found.contains(&unwanted), taken) {
            (true, false, _) => Plan::Nothing,
            (false, false, _) => Plan::LeaveAlone(missing(&unwanted)),
            (_, true, Some(taken)) => Plan::LeaveAlone(format!(
                "another index has the name {}: {}",
                taken.name, taken.definition
            )),
            (has, true, None) => Plan::Change {
                create: (!has).then_some(wanted),
                drop: unwanted.name,
            },
        }
    }
}

fn missing(index: &Index) -> String {
    format!("it has no index {} as {}", index.name, index.definition)
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Change {
        create: Option<Index>,
        drop: String,
    },
    /// The table's owner has, or had, other ideas.
    LeaveAlone(String),
}

/// Gives the built-in tables the indexes of the design, all in one transaction, and logs what was done. Whoever stores
/// rows waits until it is done; whoever reads, only at its end.
pub(super) async fn change(client: &mut Client, design: Indexes) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(PATIENT).await?;
    let begun = Instant::now();
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    let mut done = Vec::new();
    for built_in in &TABLES {
        done.push(change_table(&transaction, built_in, design).await?);
    }
    transaction.commit().await?;
    let elapsed_sec = begun.elapsed().as_secs_f64();
    for (BuiltIn { table, .. }, plan) in TABLES.iter().zip(done) {
        match plan {
            Plan::LeaveAlone(reason) => {
                tracing::warn!(table, reason, "the indexes are somebody's own: left as they are");
            }
            Plan::Nothing => tracing::info!(table, "the indexes are as asked for already"),
            Plan::Change { create, drop } => {
                let created = create.map(|index| format!("{} using {}", index.name, index.definition));
                tracing::info!(table, created, dropped = drop, elapsed_sec, "indexes changed");
            }
        }
    }
    Ok(())
}

async fn change_table(
    transaction: &Transaction<'_>,
    built_in: &BuiltIn,
    design: Indexes,
) -> Result<Plan, tokio_postgres::Error> {
    let found = transaction
        .query_opt(
            "SELECT c.oid, n.nspname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.oid = to_regclass($1)",
            &[&built_in.table],
        )
        .await?;
    let Some(row) = found else {
        return Ok(Plan::LeaveAlone("there is no such table".to_owned()));
    };
    let (oid, schema) = (row.try_get::<_, u32>(0)?, row.try_get::<_, String>(1)?);
    let mut indexes = Vec::new();
    for row in transaction
        .query(include_str!("../sql/table_indexes.sql"), &[&oid])
        .await?
    {
        indexes.push(Index {
            name: row.try_get("name")?,
            definition: row.try_get("definition")?,
        });
    }
    let plan = built_in.plan(&indexes, design);
    if let Plan::Change { create, drop } = &plan {
        let qualified = |name: &str| format!("{}.{}", quote(&schema), quote(name));
        let table = qualified(built_in.table);
        // Nobody writes from here on, and nobody else changes the table; reading goes on until the index is dropped.
        let mut sql = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE; ");
        if let Some(Index { name, definition }) = create {
            let _ = write!(
                sql,
                "CREATE INDEX {} ON {table} USING {definition}; ",
                quote(name)
            );
        }
        let _ = write!(sql, "DROP INDEX {}", qualified(drop));
        transaction.batch_execute(&sql).await?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(of: &BuiltIn, designs: &[Indexes]) -> Vec<Index> {
        let own = designs.iter().map(|design| of.index(*design));
        own.chain([of.time_index()]).collect()
    }

    #[test]
    fn one_design_takes_the_place_of_the_other_once() {
        let server = &TABLES[0];
        for (from, to) in [(Indexes::Btree, Indexes::Brin), (Indexes::Brin, Indexes::Btree)] {
            let plan = |designs: &[Indexes]| server.plan(&indexes(server, designs), to);
            let change = |create| Plan::Change {
                create,
                drop: server.index(from).name,
            };
            assert_eq!(plan(&[from]), change(Some(server.index(to))));
            assert_eq!(plan(&[to]), Plan::Nothing);
            // Somebody has made the other one by hand.
            assert_eq!(plan(&[from, to]), change(None));
        }
    }

    #[test]
    fn what_somebody_else_made_is_left_alone() {
        let service = &TABLES[1];
        let btree = service.index(Indexes::Btree);
        let time = service.time_index();
        let index = |name: &str, definition: &str| Index {
            name: name.to_owned(),
            definition: definition.to_owned(),
        };
        let unique = format!("unique {}", btree.definition);
        for found in [
            vec![],
            vec![time.clone()],
            vec![btree.clone()],
            vec![index("mine", &btree.definition), time.clone()],
            vec![index(&btree.name, "btree (service_name)"), time.clone()],
            vec![index(&btree.name, &unique), time.clone()],
            vec![
                btree,
                index("application_metrics_service_name_idx", "btree (service_name)"),
                time,
            ],
        ] {
            assert!(
                matches!(service.plan(&found, Indexes::Brin), Plan::LeaveAlone(_)),
                "{found:?}"
            );
        }
    }
}
