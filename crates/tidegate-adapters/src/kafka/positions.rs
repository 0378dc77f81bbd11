//! Where each partition is read on, and what could not be passed on yet. It lives as long as the process:
//! nothing of it is left with the brokers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Everything that is read.
#[derive(Debug, Default)]
pub(super) struct Positions {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Partition>>,
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    /// The offset that comes next from the brokers.
    pub(super) next: i64,
    /// What came and waits, the first first.
    pub(super) held: VecDeque<OwnedMessage>,
}

/// Where a partition is read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    /// The offset that comes next.
    pub(super) next: i64,
}

impl Positions {
    /// Whether it has been found out where the topic is read on.
    pub(super) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// The partitions of a topic that are read, and from where on.
    pub(super) fn of(&self, topic: &str) -> impl Iterator<Item = (i32, &Partition)> {
        let partitions = self.topics.get(topic).into_iter().flatten();
        partitions.map(|(number, partition)| (*number, partition))
    }

    /// Reads partitions that were not read before, from these offsets on.
    pub(super) fn add(
        &mut self,
        topic: &Arc<str>,
        found: impl IntoIterator<Item = (i32, i64)>,
    ) -> bool {
        let partitions = self.topics.entry(Arc::clone(topic)).or_default();
        let before = partitions.len();
        for (number, next) in found {
            let held = VecDeque::new();
            partitions.entry(number).or_insert(Partition { next, held });
        }
        partitions.len() > before
    }

    pub(super) fn remove(&mut self, topic: &str) -> bool {
        self.topics.remove(topic).is_some()
    }

    pub(super) fn get(&mut self, topic: &str, number: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.get_mut(&number)
    }

    /// Where all are read on in which nothing waits.
    pub(super) fn places(&self) -> Vec<Place> {
        let all = self.topics.iter().flat_map(|(topic, partitions)| {
            let free = partitions.iter().filter(|(_, one)| one.held.is_empty());
            free.map(move |(number, one)| Place {
                topic: Arc::clone(topic),
                number: *number,
                next: one.next,
            })
        });
        all.collect()
    }

    /// Whether that partition is still there, and nothing waits in it.
    pub(super) fn is_at(&mut self, place: &Place) -> bool {
        let partition = self.get(&place.topic, place.number);
        partition.is_some_and(|one| one.next == place.next && one.held.is_empty())
    }

    /// Those that wait for something.
    pub(super) fn stuck(&self) -> Vec<(Arc<str>, i32)> {
        let all = self.topics.iter().flat_map(|(topic, partitions)| {
            let stuck = partitions.iter().filter(|(_, one)| !one.held.is_empty());
            stuck.map(move |(number, _)| (Arc::clone(topic), *number))
        });
        all.collect()
    }

    /// Everything that is read.
    pub(super) fn all(&self) -> Vec<(Arc<str>, i32)> {
        let all = self.topics.iter().flat_map(|(topic, partitions)| {
            let numbers = partitions.keys();
            numbers.map(move |number| (Arc::clone(topic), *number))
        });
        all.collect()
    }

    /// Everything, as it is assigned.
    pub(super) fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in &self.topics {
            for (number, partition) in partitions {
                // It fails for numbers below zero alone.
                let _ = list.add_partition_offset(topic, *number, Offset::Offset(partition.next));
            }
        }
        list
    }
}
