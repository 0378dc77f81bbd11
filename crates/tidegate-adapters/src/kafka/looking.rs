//! Looking for topics and their partitions, beside the reading.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::consumer::Reading;
use super::history::SKEW;
use super::lookup::{self, Failure, Found, Known};
use super::topic_id::Identity;

/// What was found of each topic: what it is, and its partitions.
pub(super) type Looked = Vec<(Arc<str>, Identity, Result<Found, Failure>)>;

impl Reading {
    /// Finds out where to begin with a topic.
    pub(super) fn want(&mut self, topic: Arc<str>) {
        if !self.positions.knows(&topic) && !self.wanted.contains(&topic) {
            self.wanted.push(topic);
            if self.looking.is_none() {
                self.look(false);
            }
        }
    }

    /// Looks for topics that are wanted, and with `all` for new partitions of those that are read.
    pub(super) fn look(&mut self, all: bool) {
        let gone: Vec<Arc<str>> = self.positions.topics().cloned().collect();
        let gone = gone
            .into_iter()
            .filter(|topic| !self.shared.is_wanted(topic));
        for topic in gone.collect::<Vec<_>>() {
            self.absent.remove(&topic);
            if self.positions.remove(&topic) {
                self.shared.forget(&topic);
                self.assign();
            }
        }
        if all {
            self.shared.learn_keys();
        }
        let shared = &self.shared;
        self.wanted.retain(|topic| {
            let is_wanted = shared.is_wanted(topic);
            if !is_wanted {
                shared.forget(topic);
            }
            is_wanted
        });
        let mut questions: Vec<(Arc<str>, Known)> = Vec::new();
        for topic in &self.wanted {
            questions.push((Arc::clone(topic), Known::Nothing));
        }
        for topic in self.positions.topics() {
            if let Some(since) = self.absent.get(topic) {
                questions.push((Arc::clone(topic), Known::Absent(*since)));
            } else if all {
                let known = self.positions.of(topic).map(|(number, _)| number);
                let known = Known::Partitions(known.collect());
                questions.push((Arc::clone(topic), known));
            }
        }
        if questions.is_empty() {
            return;
        }
        let (consumer, shared) = (Arc::clone(&self.consumer), Arc::clone(&self.shared));
        self.looking = Some(spawn_blocking(move || {
            let mut found = Vec::with_capacity(questions.len());
            for (topic, known) in questions {
                let answer = lookup::look(&consumer, &topic, &known);
                let is_over = matches!(answer, Err(Failure::Brokers(_)));
                let identity = match answer {
                    Ok(Some(_)) => shared.identity(&consumer, &topic),
                    _ => Identity::Unsaid,
                };
                found.push((topic, identity, answer));
                if is_over {
                    return found; // the others would fail as well, one after the other
                }
            }
            found
        }));
    }

    pub(super) fn found(&mut self, found: Looked) {
        let mut is_changed = false;
        for (topic, identity, found) in found {
            if !matches!(found, Err(Failure::Brokers(_))) {
                self.shared.context.has_answered();
                self.watchdog.has_answer(Instant::now());
            }
            if found.as_ref().is_ok_and(Option::is_some) {
                let is_known = self.identities.contains_key(&topic);
                self.shared.is_identified(&topic, &identity, is_known);
            }
            if let Identity::Is(identity) = identity
                && self.is_another(&topic, identity)
            {
                is_changed = true;
                continue;
            }
            match found {
                Ok(Some(partitions)) => {
                    self.shared.is_well(&topic);
                    let count = partitions.len();
                    if self.positions.add(&topic, partitions) {
                        is_changed = true;
                        tracing::info!(topic = &*topic, partitions = count, "reading");
                    }
                    self.absent.remove(&topic);
                }
                Ok(None) => {
                    self.shared.is_missing(&topic);
                    if self.positions.of(&topic).next().is_none() {
                        self.positions.add(&topic, []);
                        self.absent
                            .entry(Arc::clone(&topic))
                            .or_insert_with(skewed_now);
                    }
                }
                Err(Failure::Brokers(error)) => {
                    self.shared.context.is_away(&error.to_string());
                    continue;
                }
                Err(Failure::Topic(error)) => {
                    self.shared.is_refused(&topic, &error);
                    continue;
                }
            }
            self.wanted.retain(|one| *one != topic);
        }
        if is_changed {
            self.assign();
        }
        self.begin_histories();
    }

    /// From here on all of what is read is with who subscribes.
    pub(super) fn begin_histories(&self) {
        for topic in self.positions.topics() {
            let partitions = self.positions.of(topic);
            let partitions = partitions.map(|(number, partition)| (number, partition.next));
            let identity = self.identities.get(topic).map(|id| &id[..]);
            self.shared.history().begin(topic, identity, partitions);
            self.shared.is_read(topic);
        }
    }

    /// Whether a topic of that name is not the one that was read. Then it is read as one that was not there.
    fn is_another(&mut self, topic: &Arc<str>, identity: Vec<u8>) -> bool {
        let known = self.identities.entry(Arc::clone(topic)).or_default();
        let before = std::mem::replace(known, identity);
        if before.is_empty() || before == *known {
            return false;
        }
        tracing::error!(topic = &**topic, "the topic was made anew");
        self.positions.remove(topic);
        self.shared.history().forget(topic);
        self.positions.add(topic, []);
        self.absent.insert(Arc::clone(topic), skewed_now());
        // What is lost of others is said again, once they are assigned anew.
        self.forget_losses();
        true
    }
}

/// What was found, once somebody looked.
pub(super) async fn looked<T: Default>(looking: &mut Option<JoinHandle<T>>) -> T {
    let Some(handle) = looking else {
        return std::future::pending().await;
    };
    let found = Pin::new(handle).await;
    *looking = None;
    found.unwrap_or_default()
}

fn skewed_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_millis());
    // A topic that was not there is read from before we looked.
    now.unwrap_or_default().saturating_sub(SKEW)
}
