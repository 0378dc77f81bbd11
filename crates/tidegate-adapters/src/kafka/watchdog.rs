//! Whether what the brokers have arrives here. librdkafka may leave a partition unread for ever and say nothing
//! (confluentinc/librdkafka#5153, #5430), and after several outages not connect any more at all: so the brokers
//! are asked how far each partition reaches. Where it reaches further than was read and nothing of it arrives, or
//! this client has no answer, a new one reads on. Whether other clients have answers does not count.

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

/// How long a client has no answer before a new one tries.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// A topic and the number of a partition.
pub(super) type Partition = (Arc<str>, i32);
/// The offset behind the last record of each, as far as the brokers say.
pub(super) type Ends = HashMap<Partition, i64>;

/// What the client that reads fails to do.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    behind: HashMap<Partition, Behind>,
    /// Since when there was no answer.
    silent: Option<Instant>,
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

    /// Is told whether there was an answer; and says whether there was none for too long.
    fn is_silent(&mut self, has_answer: bool, now: Instant) -> bool {
        if has_answer {
            self.silent = None;
            return false;
        }
        let since = *self.silent.get_or_insert(now);
        now.duration_since(since) >= SILENT_FOR
    }

    /// A new client reads, which has its time.
    pub(super) fn is_renewed(&mut self, now: Instant) {
        self.silent = None;
        for one in self.behind.values_mut() {
            one.since = now;
        }
    }
}

impl Reading {
    /// Asks the brokers how far all that is read reaches; `None` where this client has no answer.
    pub(super) fn ask_for_ends(&self) -> JoinHandle<Option<Ends>> {
        let (consumer, all) = (Arc::clone(&self.consumer), self.positions.all());
        let wanted = self.wanted.first().cloned();
        spawn_blocking(move || match wanted {
            // It may be the first, and then there is no other to ask about.
            Some(topic) if all.is_empty() => lookup::can_ask(&consumer, &topic).then(Ends::new),
            None if all.is_empty() => Some(Ends::new()),
            _ => lookup::ends(&consumer, &all),
        })
    }

    /// Has a new client read on where there was no answer for too long, or something has not arrived.
    pub(super) fn has_ends(&mut self, ends: Option<Ends>) {
        let now = Instant::now();
        let is_silent = self.watchdog.is_silent(ends.is_some(), now);
        let ends = ends.unwrap_or_default();
        let behind = self.behind(&ends);
        self.shared.context.saw(ends);
        let stuck = self.watchdog.told(behind, now);
        for (topic, number) in &stuck {
            let client = self.shared.context.what_it_does(topic, *number);
            tracing::warn!(
                topic = &**topic,
                partition = number,
                client,
                "records do not arrive"
            );
        }
        if is_silent || !stuck.is_empty() {
            self.renew();
        }
    }

    /// The partitions that reach further than was read, with the offset that comes next.
    fn behind(&mut self, ends: &Ends) -> HashMap<Partition, i64> {
        let held = self.positions.stuck();
        let behind = ends.iter().filter_map(|(partition, end)| {
            let (topic, number) = partition;
            let next = self.positions.get(topic, *number)?.next;
            // What stands behind the last record is the brokers' own, as at the end of a transaction.
            let read = next.max(self.shared.context.fetched(topic, *number));
            (read < *end && !held.contains(partition)).then(|| (partition.clone(), next))
        });
        behind.collect()
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
    fn a_client_without_any_answer_is_replaced_once_and_again() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        let mut silent = Vec::new();
        for second in (0..100).step_by(5) {
            let now = begun + Duration::from_secs(second);
            if watchdog.is_silent(second == 10, now) {
                watchdog.is_renewed(now);
                silent.push(second);
            }
        }
        assert_eq!(silent, [45, 80]);
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
