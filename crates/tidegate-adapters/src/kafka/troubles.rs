//! What is not as it should be, each said once in the log and kept for those who ask.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Troubles that are kept: there is one for each thing that a configuration names.
const MOST: usize = 64;

/// What it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// What reads has ended.
    Reader,
    /// None of them answers.
    Brokers,
    /// The registry of schemas.
    Registry,
    /// A topic is not read as it should be.
    Reading(Arc<str>),
    /// What is published to a topic is not taken.
    Writing(Arc<str>),
    /// It is not known which topic that of pushes is.
    Identity,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reader => f.write_str("nothing is read any more"),
            Self::Brokers => f.write_str("no broker can be reached"),
            Self::Registry => f.write_str("the registry of schemas is of no use"),
            Self::Reading(topic) => write!(f, "the topic `{topic}` cannot be read"),
            Self::Writing(topic) => write!(f, "the topic `{topic}` takes no records"),
            Self::Identity => f.write_str("who comes back is not told what it missed"),
        }
    }
}

/// All of one bus; its clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Troubles(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// So that nothing is locked where all is well.
    count: AtomicUsize,
    all: Mutex<BTreeMap<About, Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    why: Box<str>,
    /// How often since it was said.
    times: u64,
}

impl Troubles {
    /// Says it, unless it has been said since that was last well; then it is counted. Whether it was said.
    pub(super) fn begin(&self, about: &About, why: &str) -> bool {
        let mut all = self.all();
        if let Some(trouble) = all.get_mut(about) {
            trouble.times += 1;
            if *trouble.why != *why {
                trouble.why = why.into();
            }
            return false;
        }
        if all.len() >= MOST {
            return false;
        }
        let why = why.into();
        all.insert(about.clone(), Trouble { why, times: 1 });
        self.0.count.store(all.len(), Ordering::Release);
        true
    }

    /// It is over; how often it was met, where it was.
    pub(super) fn end(&self, about: &About) -> Option<u64> {
        if self.is_none() {
            return None;
        }
        let mut all = self.all();
        let trouble = all.remove(about);
        self.0.count.store(all.len(), Ordering::Release);
        trouble.map(|trouble| trouble.times)
    }

    /// Whether all is well.
    pub(super) fn is_none(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    pub(super) fn has(&self, about: &About) -> bool {
        !self.is_none() && self.all().contains_key(about)
    }

    /// What is wrong, in a few words each, the worst first.
    pub(super) fn told(&self) -> Vec<String> {
        if self.is_none() {
            return Vec::new();
        }
        let all = self.all();
        let told = all
            .iter()
            .map(|(about, trouble)| format!("{about}: {}", trouble.why));
        told.collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<About, Trouble>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{About, MOST, Troubles};

    #[test]
    fn each_is_said_once_until_it_is_over() {
        let troubles = Troubles::default();
        let about = About::Reading("t".into());
        assert_eq!(troubles.end(&about), None);
        assert!(troubles.begin(&about, "a"));
        assert!(!troubles.begin(&about, "b"));
        assert!(troubles.begin(&About::Brokers, "c"));
        assert_eq!(
            troubles.told(),
            [
                "no broker can be reached: c",
                "the topic `t` cannot be read: b"
            ]
        );
        assert!(troubles.has(&about));
        assert_eq!(troubles.end(&about), Some(2));
        assert!(!troubles.has(&about));
        assert!(troubles.begin(&about, "a"));
    }

    #[test]
    fn there_are_no_more_than_there_is_room_for() {
        let troubles = Troubles::default();
        for number in 0..2 * MOST {
            troubles.begin(&About::Writing(number.to_string().into()), "");
        }
        assert_eq!(troubles.told().len(), MOST);
    }
}
