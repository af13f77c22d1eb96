//! The network between the consumers and PostgreSQL: the proxy's doings.

use super::Undo;
use crate::chaos::fault::{Fault, Kind};
use crate::chaos::stage::Stage;
use crate::services::proxy::Lost;

/// A cut comes after so many bytes at most: a second's load, or less.
const BYTES: usize = 200_000;

pub(super) fn inject(stage: &mut Stage, fault: Fault) -> Option<Undo> {
    let proxy = &stage.proxy;
    match fault.kind {
        Kind::ConnectionCut => proxy.cut_after(1 + fault.choose(BYTES)),
        Kind::AnswerLost => proxy.lose_commit(Lost::Answer),
        Kind::RequestLost => proxy.lose_commit(Lost::Request),
        Kind::NetworkSilent => proxy.silence(true),
        Kind::NetworkRefuses => {
            proxy.refuse(true);
            proxy.cut();
        }
        _ => return None,
    }
    Some(Undo::Network)
}

/// The network is as it should be. What was held back flows on after some silences; others end with a cut.
pub(super) fn heal(stage: &Stage, fault: Fault) {
    if fault.kind == Kind::NetworkSilent && fault.choose(2) == 0 {
        stage.proxy.cut();
    }
    stage.proxy.silence(false);
    stage.proxy.refuse(false);
}

/// All that the proxy has done to connections so far.
pub(super) fn deeds(stage: &Stage) -> u64 {
    let counts = stage.proxy.counts();
    counts.cut + counts.refused + counts.commits_lost + counts.silenced_bytes
}
