//! Partitions that do not have what comes next: where they are read on, and what is told of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::util::Timeout;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Shared;
use super::consumer::Reading;
use super::context::Context;
use super::positions::Place;
use super::topic_id::Identity;

/// How long the brokers have for one question.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far partitions reach, and which topics they are of where that matters.
#[derive(Debug)]
pub(super) struct Measured {
    partitions: Vec<Reach>,
    identities: Vec<(Arc<str>, Identity)>,
}

/// How far a partition reaches.
#[derive(Debug, Clone)]
struct Reach {
    place: Place,
    low: i64,
    high: i64,
}

/// What is missing of a partition.
#[derive(Debug, PartialEq, Eq)]
enum Gap {
    /// Nothing.
    None,
    /// It begins behind what comes next.
    Trimmed,
    /// It ends before what comes next, as after brokers have lost records: what stands there now is other than
    /// what stood there.
    Torn,
}

impl Reach {
    const fn gap(&self) -> Gap {
        if self.place.next < self.low {
            Gap::Trimmed
        } else if self.place.next > self.high {
            Gap::Torn
        } else {
            Gap::None
        }
    }
}

impl Reading {
    /// Asks the brokers how far what is read reaches; `None` where they do not say all of it.
    pub(super) fn measure(&self) -> JoinHandle<Option<Measured>> {
        let (consumer, shared) = (Arc::clone(&self.consumer), Arc::clone(&self.shared));
        let places = self.positions.places();
        let known = self.identities.keys().cloned().collect();
        spawn_blocking(move || measure(&consumer, &shared, places, &known))
    }

    /// Has everything read on where there is something, and says what is gone.
    pub(super) fn go_on(&mut self, measured: Measured) {
        let Measured {
            mut partitions,
            identities,
        } = measured;
        let is_found = partitions.iter().any(|one| one.gap() != Gap::None);
        for (topic, identity) in identities {
            let Identity::Is(identity) = identity else {
                continue;
            };
            let before = self.identities.get(&topic);
            if before.is_some_and(|before| *before != identity) {
                self.read_anew(&topic, identity, &partitions);
                partitions.retain(|one| one.place.topic != topic);
            }
        }
        // What has been read on meanwhile, or waits here still, says itself if something of it is gone.
        partitions.retain(|one| self.positions.is_at(&one.place));
        for one in &partitions {
            match one.gap() {
                Gap::Trimmed => self.jump(one),
                Gap::Torn => self.tear(one, one.high),
                // Something has been torn that has grown since then, and it is not said what.
                Gap::None if !is_found => self.tear(one, one.place.next),
                Gap::None => {}
            }
        }
        self.assign();
    }

    /// Reads a topic that was made anew from its beginning.
    fn read_anew(&mut self, topic: &Arc<str>, identity: Vec<u8>, partitions: &[Reach]) {
        tracing::error!(topic = &**topic, "the topic was made anew");
        self.positions.remove(topic);
        self.shared.history().forget(topic);
        let its = partitions.iter().filter(|one| one.place.topic == *topic);
        let its = its.map(|one| (one.place.number, one.low));
        self.positions.add(topic, its);
        self.identities.insert(Arc::clone(topic), identity);
        self.begin_histories();
    }

    fn jump(&mut self, reach: &Reach) {
        let Place {
            topic,
            number,
            next,
        } = &reach.place;
        tracing::error!(
            topic = &**topic,
            partition = number,
            from = next,
            to = reach.low,
            "a gap"
        );
        if let Some(partition) = self.positions.get(topic, *number) {
            partition.next = reach.low;
        }
        self.shared.history().jump(topic, *number, reach.low);
    }

    fn tear(&mut self, reach: &Reach, to: i64) {
        let Place {
            topic,
            number,
            next,
        } = &reach.place;
        tracing::error!(
            topic = &**topic,
            partition = number,
            from = to,
            to = next,
            "the brokers have lost records, and perhaps others stand there now"
        );
        if let Some(partition) = self.positions.get(topic, *number) {
            partition.next = to;
        }
        self.shared.history().tear(topic, *number, (to, *next));
    }
}

/// Asks how far each of them reaches, and of those that end too soon which topics they are of.
fn measure(
    consumer: &StreamConsumer<Context>,
    shared: &Shared,
    places: Vec<Place>,
    known: &HashSet<Arc<str>>,
) -> Option<Measured> {
    let mut partitions = Vec::with_capacity(places.len());
    for place in places {
        let patience = Timeout::After(PATIENCE);
        let ends = consumer.fetch_watermarks(&place.topic, place.number, patience);
        let (low, high) = ends.ok()?;
        partitions.push(Reach { place, low, high });
    }
    let torn = partitions.iter().filter(|one| one.gap() == Gap::Torn);
    let topics: HashSet<_> = torn.map(|one| Arc::clone(&one.place.topic)).collect();
    let mut identities = Vec::new();
    for topic in topics {
        let identity = shared.identity(consumer, &topic);
        // Which of both it is, is not guessed where it can be known.
        if identity == Identity::Unsaid && known.contains(&topic) {
            return None;
        }
        identities.push((topic, identity));
    }
    Some(Measured {
        partitions,
        identities,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(next: i64, low: i64, high: i64) -> Reach {
        let place = Place {
            topic: "t".into(),
            number: 0,
            next,
        };
        Reach { place, low, high }
    }

    #[test]
    fn what_is_missing_is_behind_or_before() {
        for next in 5..=9 {
            assert_eq!(reach(next, 5, 9).gap(), Gap::None, "{next}");
        }
        assert_eq!(reach(4, 5, 9).gap(), Gap::Trimmed);
        assert_eq!(reach(10, 5, 9).gap(), Gap::Torn);
    }
}
