//! The consumers' own faults.

use super::Undo;
use crate::chaos::fault::{Fault, Kind};
use crate::chaos::members::{GUEST, PLAIN, STATIC};
use crate::chaos::stage::Stage;

/// More workers than partitions would leave some without work.
const MOST_WORKERS: usize = 3;

pub(super) fn inject(stage: &mut Stage, fault: Fault, disturbed: bool) -> anyhow::Result<Option<Undo>> {
    let members = &mut stage.members;
    let chosen = [PLAIN, STATIC][fault.choose(2)];
    Ok(Some(match fault.kind {
        Kind::ConsumerKilled => {
            members.kill(chosen)?;
            Undo::StartMember(chosen)
        }
        Kind::ConsumerFrozen => {
            members.freeze(chosen)?;
            Undo::ThawMember(chosen)
        }
        Kind::ConsumerStopped => {
            members.stop(chosen, disturbed)?;
            Undo::StartMember(chosen)
        }
        Kind::WorkersChanged => {
            members.stop(PLAIN, disturbed)?;
            members.set_workers(PLAIN, members.workers(PLAIN) % MOST_WORKERS + 1);
            Undo::StartMember(PLAIN)
        }
        Kind::MemberJoins => {
            members.start(GUEST)?;
            Undo::StopMember(GUEST)
        }
        Kind::StaticRestart => {
            members.kill(STATIC)?;
            Undo::StartMember(STATIC)
        }
        _ => return Ok(None),
    }))
}
