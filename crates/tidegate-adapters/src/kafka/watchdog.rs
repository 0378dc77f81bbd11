//! Whether what the brokers have arrives here. librdkafka may leave a partition unread for ever and say nothing
//! (confluentinc/librdkafka#5153, #5430): so the brokers are asked how far each partition reaches, and where it
//! reaches further than was read and nothing of it arrives, a new client reads on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::consumer::Reading;
use super::lookup;

/// How often the brokers are asked.
pub(super) const ASKED_EACH: Duration = Duration::from_secs(2);
/// How long nothing arrives of a partition that has more before a new client reads it.
const STUCK_AFTER: Duration = Duration::from_secs(15);
/// The same at the most, where new clients have been of no help.
const AT_MOST: Duration = Duration::from_secs(600);

/// A topic and the number of a partition.
pub(super) type Partition = (Arc<str>, i32);
/// The offset behind the last record of each, as far as the brokers say.
pub(super) type Ends = HashMap<Partition, i64>;

/// The partitions that are behind.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    behind: HashMap<Partition, Behind>,
}

/// A partition that has more than was read.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// The offset that comes next.
    next: i64,
    /// Since when, by the client that reads now.
    since: Instant,
    patience: Duration,
}

impl Watchdog {
    /// Is told of all partitions that have more, with the offset that comes next of each; and says which of
    /// them are stuck.
    fn told(&mut self, behind: HashMap<Partition, i64>, now: Instant) -> Vec<Partition> {
        let known = std::mem::take(&mut self.behind);
        let behind = behind.into_iter().map(|(partition, next)| {
            let before = known.get(&partition).filter(|one| one.next == next);
            let new = Behind {
                next,
                since: now,
                patience: STUCK_AFTER,
            };
            let behind = before.copied().unwrap_or(new);
            (partition, behind)
        });
        self.behind = behind.collect();
        let stuck = self.behind.iter_mut().filter_map(|(partition, one)| {
            let is_stuck = now.duration_since(one.since) >= one.patience;
            is_stuck.then(|| {
                one.patience = (2 * one.patience).min(AT_MOST);
                partition.clone()
            })
        });
        stuck.collect()
    }

    /// A new client reads, which has its time.
    pub(super) fn is_renewed(&mut self, now: Instant) {
        for one in self.behind.values_mut() {
            one.since = now;
        }
    }
}

impl Reading {
    /// Asks the brokers how far all that is read reaches.
    pub(super) fn ask_for_ends(&self) -> JoinHandle<Ends> {
        let (consumer, all) = (Arc::clone(&self.consumer), self.positions.all());
        spawn_blocking(move || match all.is_empty() {
            true => Ends::new(),
            false => lookup::ends(&consumer, &all),
        })
    }

    /// Has a new client read on where something has not arrived for too long.
    pub(super) fn has_ends(&mut self, ends: Ends) {
        let waits = self.positions.stuck();
        let behind = ends.iter().filter_map(|((topic, number), end)| {
            let next = self.positions.get(topic, *number)?.next;
            // What stands behind the last record is the brokers' own, as at the end of a transaction.
            let read = next.max(self.shared.context.fetched(topic, *number));
            let partition = (Arc::clone(topic), *number);
            (read < *end && !waits.contains(&partition)).then_some((partition, next))
        });
        let behind = behind.collect();
        self.shared.context.saw(ends);
        let stuck = self.watchdog.told(behind, Instant::now());
        for (topic, number) in &stuck {
            let client = self.shared.context.what_it_does(topic, *number);
            tracing::warn!(
                topic = &**topic,
                partition = number,
                client,
                "records do not arrive"
            );
        }
        if !stuck.is_empty() {
            self.renew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(next: i64) -> HashMap<Partition, i64> {
        HashMap::from([(("t".into(), 0), next)])
    }

    #[test]
    fn what_arrives_is_not_stuck_however_much_more_there_is() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        for next in 0..100 {
            let now = begun + 2 * Duration::from_secs(next);
            let next = i64::try_from(next).unwrap();
            assert!(watchdog.told(behind(next), now).is_empty());
        }
    }

    #[test]
    fn what_does_not_arrive_is_and_new_clients_have_longer_and_longer() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        let mut stuck = Vec::new();
        for second in (0..3600).step_by(5) {
            let now = begun + Duration::from_secs(second);
            if !watchdog.told(behind(7), now).is_empty() {
                watchdog.is_renewed(now);
                stuck.push(second);
            }
        }
        assert_eq!(stuck, [15, 45, 105, 225, 465, 945, 1545, 2145, 2745, 3345]);
    }

    #[test]
    fn brokers_that_do_not_say_stop_the_clock() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        for second in 0..100 {
            let now = begun + Duration::from_secs(second);
            let ends = match second % 10 {
                0 => HashMap::new(),
                _ => behind(7),
            };
            assert!(watchdog.told(ends, now).is_empty());
        }
    }
}
