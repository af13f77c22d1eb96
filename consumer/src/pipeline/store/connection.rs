//! Owns the place of a store's connection: taken out of it for work, made anew where there is none, given up where it cannot
//! be used again. Both the store of batches and the replay keep one.

use super::session::{Interruption, Session};
use crate::config::PostgresConfig;
use crate::table::Tables;
use std::sync::Arc;

/// The connection, taken out of its place, or a new one where there is none.
pub(super) async fn open_session(
    session: &mut Option<Session>,
    config: &PostgresConfig,
    group_id: &str,
    topic: &str,
    tables: &Arc<Tables>,
) -> Result<Session, Interruption> {
    match session.take() {
        Some(session) if !session.client.is_closed() => Ok(session),
        _ => Session::open(config, group_id, topic, Arc::clone(tables)).await,
    }
}

/// Ends an open transaction; a connection that can't is given up.
pub(super) async fn rollback(session: &mut Option<Session>) {
    *session = match session.take() {
        Some(session) if session.rollback().await => Some(session),
        _ => None,
    };
}
