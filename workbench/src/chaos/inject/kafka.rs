//! Kafka's faults: one of three brokers dies, the topic grows.

use super::Undo;
use crate::chaos::brokers;
use crate::chaos::fault::{Fault, Kind};
use crate::chaos::stage::{GROUP, Stage, TOPIC};

/// The topic grows no further.
const MOST_PARTITIONS: i32 = 18;

pub(super) fn inject(stage: &mut Stage, fault: Fault) -> anyhow::Result<Option<Undo>> {
    let partitions = brokers::partitions(&stage.kafka, TOPIC)?;
    let node = match fault.kind {
        Kind::BrokerKilled => 1 + fault.choose(stage.kafka.nodes()),
        Kind::LeaderKilled => {
            let partition = i32::try_from(fault.choose(usize::try_from(partitions)?))?;
            stage.kafka.leader(TOPIC, partition)?
        }
        Kind::CoordinatorKilled => stage.kafka.coordinator(GROUP)?,
        Kind::PartitionsAdded if partitions < MOST_PARTITIONS => {
            stage.kafka.add_partitions(TOPIC, partitions + 1)?;
            return Ok(Some(Undo::Nothing));
        }
        _ => return Ok(None),
    };
    // One that was killed before may still lack what the others have: that is as good as two that are away.
    brokers::wait_until_in_sync(&stage.kafka, TOPIC)?;
    stage.kafka.kill_node(node)?;
    Ok(Some(Undo::StartBroker(node)))
}
