//! One topic as it is: its record, the settings in force, its partitions.

use protocol::id::{Offset, Partition};
use protocol::outcome::Refusal;
use protocol::verbs::{PartitionDescription, TopicDescription};

use crate::error::{self, Place};
use crate::shard::handle::PartitionHandle;
use crate::topics::journal::TopicRecord;
use crate::topics::settings::TopicSettings;

/// A topic as it is; replaced as a whole when it changes.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) record: TopicRecord,
    /// What is in force: the topic's own settings over the broker's defaults.
    pub(crate) settings: TopicSettings,
    /// By number. A partition whose log could not be opened answers with the reason.
    pub(crate) partitions: Vec<Result<PartitionHandle, Refusal>>,
}

impl Topic {
    /// The open partition of this number.
    pub(crate) fn partition(&self, number: Partition) -> Result<&PartitionHandle, Refusal> {
        match self.partitions.get(number.get() as usize) {
            Some(partition) => partition.as_ref().map_err(Clone::clone),
            None => {
                let place = Place { topic: self.record.name.clone(), partition: number };
                Err(error::unknown_partition(&place, self.partitions.len()))
            }
        }
    }

    /// How many partitions it has.
    pub(crate) fn partition_count(&self) -> u32 {
        self.record.partitions
    }

    /// The topic in words.
    pub(crate) fn describe(&self) -> TopicDescription {
        let partitions = Partition::all(self.record.partitions).zip(&self.partitions);
        TopicDescription {
            name: self.record.name.clone(),
            id: self.record.id,
            partitions: partitions
                .map(|(number, handle)| describe_partition(number, handle))
                .collect(),
            settings: self.settings.describe(&self.record.settings),
        }
    }
}

fn describe_partition(
    partition: Partition,
    handle: &Result<PartitionHandle, Refusal>,
) -> PartitionDescription {
    match handle {
        Ok(handle) => {
            let view = handle.view();
            PartitionDescription {
                partition,
                start: view.start(),
                end: view.end(),
                bytes: view.bytes(),
                failure: None,
            }
        }
        Err(refusal) => PartitionDescription {
            partition,
            start: Offset::ZERO,
            end: Offset::ZERO,
            bytes: 0,
            failure: Some(refusal.message.clone()),
        },
    }
}
