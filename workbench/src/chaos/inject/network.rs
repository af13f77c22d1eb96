//! The network between the consumers and PostgreSQL: the proxy's doings.

use super::Undo;
use crate::chaos::fault::Fault;
use crate::chaos::stage::Stage;

pub(super) fn inject(_stage: &mut Stage, _fault: Fault) -> Option<Undo> {
    None
}

pub(super) fn deeds(_stage: &Stage) -> u64 {
    0
}
