//! Whether what the brokers have arrives here. librdkafka may leave a partition unread for ever and say nothing
//! (confluentinc/librdkafka#5153, #5430), and after several outages not connect any more at all: so the brokers
//! are asked how far each partition reaches. Where it reaches further than was read and nothing of it arrives, or
//! this client has no answer, a new one reads on. Whether other clients have answers does not count.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::consumer::Reading;
use super::lookup;

/// How often the brokers are asked.
pub(super) const ASKED_EACH: Duration = Duration::from_secs(2);
/// How long nothing arrives of a partition that has more, while the brokers answer, before a new client reads it.
const STUCK_AFTER: Duration = Duration::from_secs(15);
/// The same at the most, where new clients have been of no help.
const STUCK_AT_MOST: Duration = Duration::from_secs(600);
/// How long a client has no answer before a new one tries; and at the most, where that had none either.
const SILENT_AFTER: Duration = Duration::from_secs(30);
const SILENT_AT_MOST: Duration = Duration::from_secs(120);
/// How much of the time between two answers counts: of an outage nothing is known.
const STEP: Duration = Duration::from_secs(5);

/// A topic and the number of a partition.
pub(super) type Partition = (Arc<str>, i32);
/// The offset behind the last record of each, as far as the brokers say.
pub(super) type Ends = HashMap<Partition, i64>;

/// What the client that reads fails to do.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// The partitions that are behind.
    behind: HashMap<Partition, Behind>,
    /// When the brokers said so last.
    told: Option<Instant>,
    /// How long one of them may be, and for whose sake that is longer than at first.
    stuck_after: Duration,
    renewed_for: HashSet<Partition>,
    /// A record has arrived since that was asked last.
    has_arrived: bool,
    /// When there was an answer last, or a new client began.
    heard: Instant,
    silent_after: Duration,
}

/// A partition that has more than was read.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// The offset that comes next.
    next: i64,
    /// How long that has been so.
    waited: Duration,
}

/// How a partition stands, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// All of it was read, or it is held up here.
    Well,
    /// There is more than this offset, which comes next.
    Behind(i64),
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            behind: HashMap::new(),
            told: None,
            stuck_after: STUCK_AFTER,
            renewed_for: HashSet::new(),
            has_arrived: false,
            heard: Instant::now(),
            silent_after: SILENT_AFTER,
        }
    }
}

impl Watchdog {
    /// Is told how partitions stand of which the brokers have said so; and says which of them are stuck. Of
    /// the others nothing changes.
    fn told(&mut self, standings: HashMap<Partition, Standing>, now: Instant) -> Vec<Partition> {
        let since = self.told.replace(now).unwrap_or(now);
        let step = now.duration_since(since).min(STEP);
        let mut stuck = Vec::new();
        for (partition, standing) in standings {
            let Standing::Behind(next) = standing else {
                self.behind.remove(&partition);
                continue;
            };
            let new = Behind {
                next,
                waited: Duration::ZERO,
            };
            match self.behind.get_mut(&partition) {
                Some(one) if one.next == next => {
                    one.waited += step;
                    if one.waited >= self.stuck_after {
                        stuck.push(partition);
                    }
                }
                Some(one) => *one = new,
                None => _ = self.behind.insert(partition, new),
            }
        }
        stuck
    }

    /// A new client is to read these. Each has longer than the one before it, until one of them goes on.
    fn are_stuck(&mut self, stuck: &[Partition]) {
        self.renewed_for = stuck.iter().cloned().collect();
        self.stuck_after = (2 * self.stuck_after).min(STUCK_AT_MOST);
    }

    /// A record has arrived.
    pub(super) fn arrived(&mut self, topic: &str, number: i32) {
        self.has_arrived = true;
        let is_it = |one: &Partition| &*one.0 == topic && one.1 == number;
        if self.renewed_for.iter().any(is_it) {
            self.renewed_for.clear();
            self.stuck_after = STUCK_AFTER;
        }
    }

    /// The client has had some answer.
    pub(super) const fn has_answer(&mut self, now: Instant) {
        self.has_arrived = false;
        self.heard = now;
        self.silent_after = SILENT_AFTER;
    }

    /// It has had none to a question; whether that is so for too long. The next one has longer.
    fn is_silent(&mut self, now: Instant) -> bool {
        if self.has_arrived {
            self.has_answer(now);
        }
        let is_long = now.duration_since(self.heard) >= self.silent_after;
        if is_long {
            self.silent_after = (2 * self.silent_after).min(SILENT_AT_MOST);
        }
        is_long
    }

    /// A new client reads, which has its time.
    pub(super) fn is_renewed(&mut self, now: Instant) {
        self.heard = now;
        for one in self.behind.values_mut() {
            one.waited = Duration::ZERO;
        }
    }
}

impl Reading {
    /// Asks the brokers how far all that is read reaches; `None` where this client has no answer.
    pub(super) fn ask_for_ends(&self) -> JoinHandle<Option<Ends>> {
        let (consumer, all) = (Arc::clone(&self.consumer), self.positions.all());
        // It may be the first, or not be there.
        let any = self
            .wanted
            .first()
            .or_else(|| self.positions.topics().next());
        let any = any.cloned();
        spawn_blocking(move || match any {
            Some(topic) if all.is_empty() => lookup::can_ask(&consumer, &topic).then(Ends::new),
            None => Some(Ends::new()),
            _ => lookup::ends(&consumer, &all),
        })
    }

    /// Has a new client read on where there was no answer for too long, or something has not arrived.
    pub(super) fn has_ends(&mut self, ends: Option<Ends>) {
        let now = Instant::now();
        let Some(ends) = ends else {
            if self.watchdog.is_silent(now) {
                tracing::warn!("a client has no answer of any broker");
                self.must_renew = true;
            }
            return;
        };
        self.watchdog.has_answer(now);
        let standings = self.standings(&ends);
        self.shared.context.saw(ends);
        let stuck = self.watchdog.told(standings, now);
        if stuck.is_empty() {
            return;
        }
        for (topic, number) in &stuck {
            let client = self.shared.context.what_it_does(topic, *number);
            tracing::warn!(
                topic = &**topic,
                partition = number,
                client,
                "records do not arrive"
            );
        }
        self.watchdog.are_stuck(&stuck);
        self.must_renew = true;
    }

    fn standings(&mut self, ends: &Ends) -> HashMap<Partition, Standing> {
        let held: HashSet<_> = self.positions.stuck().into_iter().collect();
        let standings = ends.iter().map(|(partition, end)| {
            let (topic, number) = partition;
            let next = self.positions.get(topic, *number).map(|one| one.next);
            // What stands behind the last record is the brokers' own, as at the end of a transaction.
            let fetched = self.shared.context.fetched(topic, *number);
            let standing = match next {
                Some(next) if next.max(fetched) < *end && !held.contains(partition) => {
                    Standing::Behind(next)
                }
                _ => Standing::Well,
            };
            (partition.clone(), standing)
        });
        standings.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(standing: Standing) -> HashMap<Partition, Standing> {
        HashMap::from([(("t".into(), 0), standing)])
    }

    fn behind(next: i64) -> HashMap<Partition, Standing> {
        at(Standing::Behind(next))
    }

    /// The seconds at which it is stuck, of those in which there is an answer.
    fn stuck_at(watchdog: &mut Watchdog, seconds: impl Iterator<Item = u64>) -> Vec<u64> {
        let begun = Instant::now();
        let mut all = Vec::new();
        for second in seconds {
            let stuck = watchdog.told(behind(7), begun + Duration::from_secs(second));
            if !stuck.is_empty() {
                watchdog.are_stuck(&stuck);
                watchdog.is_renewed(begun);
                all.push(second);
            }
        }
        all
    }

    #[test]
    fn what_arrives_is_not_stuck_however_much_more_there_is() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        for next in 0..100 {
            let now = begun + 2 * Duration::from_secs(next);
            let next = i64::try_from(next).unwrap();
            assert_eq!(watchdog.told(behind(next), now), []);
        }
    }

    #[test]
    fn what_was_read_meanwhile_begins_anew() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        for second in (0..100).step_by(5) {
            let now = begun + Duration::from_secs(second);
            let standing = match second % 10 {
                0 => Standing::Behind(7),
                _ => Standing::Well,
            };
            assert_eq!(watchdog.told(at(standing), now), []);
        }
    }

    #[test]
    fn what_does_not_arrive_is_and_new_clients_have_longer_and_longer() {
        let mut watchdog = Watchdog::default();
        let stuck = stuck_at(&mut watchdog, (0..3600).step_by(5));
        assert_eq!(stuck, [15, 45, 105, 225, 465, 945, 1545, 2145, 2745, 3345]);
        // Until it goes on.
        watchdog.arrived("t", 1);
        assert_eq!(watchdog.stuck_after, STUCK_AT_MOST);
        watchdog.arrived("t", 0);
        assert_eq!(watchdog.stuck_after, STUCK_AFTER);
    }

    #[test]
    fn time_without_answers_does_not_count_and_is_not_forgotten() {
        // For a minute the brokers say nothing.
        let answers = (0..=10).step_by(2).chain((70..90).step_by(2));
        let stuck = stuck_at(&mut Watchdog::default(), answers);
        assert_eq!(stuck, [70]);
        let answers = (0..=6).step_by(2).chain((70..80).step_by(2));
        let stuck = stuck_at(&mut Watchdog::default(), answers);
        assert_eq!(stuck, [74]);
    }

    #[test]
    fn a_client_without_any_answer_is_replaced_and_the_next_ones_have_longer() {
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        let mut silent = Vec::new();
        for second in (0..600).step_by(5) {
            if second == 10 {
                watchdog.has_answer(begun + Duration::from_secs(second));
                continue;
            }
            let now = begun + Duration::from_secs(second);
            if watchdog.is_silent(now) {
                watchdog.is_renewed(now);
                silent.push(second);
            }
        }
        assert_eq!(silent, [40, 100, 220, 340, 460, 580]);
    }
}
