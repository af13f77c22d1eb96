//! Owns what the main job's user must be allowed, and which of it is missing. `docs/operations.md` has it as GRANTs, and a
//! test on a real server holds that they are enough, and that none of them is too many.

use super::HISTORY;
use crate::table::TableName;
use std::fmt;
use tokio_postgres::Client;

/// What is needed on the consumer's own tables.
const OWN: [(&str, &[&str]); 3] = [
    (HISTORY, &["SELECT"]),
    ("consumer_offsets", &["SELECT", "INSERT", "UPDATE"]),
    ("dead_letters", &["SELECT", "INSERT", "UPDATE"]),
];

/// What is needed on each routed table: the whole of it, for the transaction locks it.
const ROUTED: &str = "INSERT";

/// A privilege that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    privilege: String,
    object: String,
    user: String,
}

impl Missing {
    /// Without it, migrations and tables can't be looked at.
    #[must_use]
    pub fn hides_tables(&self) -> bool {
        self.object == format!("TABLE {HISTORY}") || self.privilege == "USAGE"
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            privilege,
            object,
            user,
        } = self;
        write!(
            f,
            "this user lacks {privilege} on {object}; run GRANT {privilege} ON {object} TO {user}"
        )
    }
}

/// What the user lacks on the tables that are there.
pub async fn missing(client: &Client, routed: &[TableName]) -> Result<Vec<Missing>, tokio_postgres::Error> {
    let (mut tables, mut privileges) = (Vec::new(), Vec::new());
    for (table, needed) in OWN {
        for privilege in needed {
            tables.push(table.to_owned());
            privileges.push(*privilege);
        }
    }
    for table in routed {
        tables.push(table.quoted());
        privileges.push(ROUTED);
    }
    let sql = include_str!("../sql/missing_privileges.sql");
    let rows = client.query(sql, &[&tables, &privileges]).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let user: String = client
        .query_one("SELECT quote_ident(current_user)", &[])
        .await?
        .try_get(0)?;
    rows.iter()
        .map(|row| {
            Ok(Missing {
                privilege: row.try_get("privilege")?,
                object: row.try_get("object")?,
                user: user.clone(),
            })
        })
        .collect()
}
