//! When a node was not to be trusted, and what is forgiven for that: only of its own sessions, and of users who
//! had one there. What is forgiven nowhere else:
//!
//! - **Killed**: what it had not published yet is not told as opened (`Doubts::was_unpublished`), and what
//!   the store had not heard of yet not as closed (`Doubts::was_unheard`); who was told by it as offline or
//!   closed a moment before, and not dropped by the store, is told so again by others. That a user came may
//!   be left out, and with it that it is there again, where it is with others by then.
//! - **Away** (stopped, or without the store; others may have taken it for dead): it and others may tell the
//!   same end, under one name. That a user came or went may be told again, where nobody knew the outcome.
//! - **Reborn** (its lease had lapsed, and it enters its sessions anew under another name): an end may be told
//!   under two names, an opening behind an end that was on its way meanwhile, and a user be told as
//!   offline twice.
//! - **Untaken** (the brokers take nothing from it, or do not say so): what it publishes may stand there
//!   several times, under one name.

/// How long a node may take, on a loaded machine, from one step of its work to the next: milliseconds.
pub(super) const SLACK: i64 = 1_000;
/// How long after the brokers take records again what they had not taken may be published: milliseconds.
const PUBLISHED_AGAIN: i64 = 2_000 + SLACK;

/// Why a node is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It was killed; until others have told its end.
    Killed,
    /// It was stopped or without the store, until it was in the cluster again.
    Away,
    /// From when it found its lease lapsed until it was in the cluster again.
    Reborn,
    /// The brokers took nothing from it, or it did not know.
    Untaken,
}

/// A time in which a node is not to be trusted, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Which node.
    pub node: String,
    /// Why.
    pub why: Why,
    /// The first moment.
    pub from: i64,
    /// The last one.
    pub to: i64,
}

/// All such times.
#[derive(Debug, Clone, Default)]
pub struct Doubts {
    /// In any order.
    pub all: Vec<Doubt>,
    /// How long a lease and a claim last: milliseconds.
    pub lease: i64,
}

impl Doubt {
    /// Whether it has a moment in common with that time.
    pub(super) const fn meets(&self, from: i64, to: i64) -> bool {
        self.from <= to && from <= self.to
    }

    /// Whether others may have told the end of its node's sessions.
    pub(super) const fn is_absence(&self) -> bool {
        matches!(self.why, Why::Killed | Why::Away)
    }
}

impl Doubts {
    /// Such times; those of one reason that follow each other are one.
    #[must_use]
    pub fn new(mut all: Vec<Doubt>, lease: i64) -> Self {
        all.sort_by_key(|one| (one.node.clone(), one.why, one.from));
        all.dedup_by(|next, before| {
            let is_one = (&next.node, next.why) == (&before.node, before.why);
            let goes_on = is_one && next.why != Why::Killed && next.from <= before.to;
            if goes_on {
                before.to = before.to.max(next.to);
            }
            goes_on
        });
        Self { all, lease }
    }

    /// Those of a node.
    pub(super) fn of<'d>(&'d self, node: &'d str) -> impl Iterator<Item = &'d Doubt> {
        self.all.iter().filter(move |doubt| doubt.node == node)
    }

    fn meet(&self, node: &str, why: Why, from: i64, to: i64) -> bool {
        let mut its = self.of(node).filter(|doubt| doubt.why == why);
        its.any(|doubt| doubt.meets(from, to))
    }

    /// Whether a node was killed before what began at `time` was through: at once, or while `why` kept it.
    fn was_killed_before(&self, node: &str, time: i64, why: Why) -> bool {
        let mut kills = self.of(node).filter(|doubt| doubt.why == Why::Killed);
        kills.any(|kill| {
            let is_quick = kill.from - time <= SLACK;
            let mut kept = self.of(node).filter(|doubt| doubt.why == why);
            let is_kept = |doubt: &Doubt| {
                doubt.from - SLACK <= time && kill.from <= doubt.to.saturating_add(SLACK)
            };
            // Until it is gone it goes on for a moment.
            time <= kill.from + SLACK && (is_quick || kept.any(is_kept))
        })
    }

    /// Whether the opening of a session at that time was never published.
    pub(super) fn was_unpublished(&self, node: &str, time: i64) -> bool {
        self.was_killed_before(node, time, Why::Untaken)
    }

    /// Whether the store never heard of it.
    pub(super) fn was_unheard(&self, node: &str, time: i64) -> bool {
        self.was_killed_before(node, time, Why::Away)
    }

    /// Whether a node may tell an end at `own` that others tell too, with the time `theirs`: when they counted it
    /// out, or it was counted out by the node.
    pub(super) fn is_told_by_both(&self, node: &str, own: i64, theirs: i64) -> bool {
        let (first, last) = (own.min(theirs), own.max(theirs));
        let mut kept = [Why::Away, Why::Untaken].into_iter();
        self.meet(node, Why::Away, first - SLACK, last + SLACK)
            || self.was_away_behind_brokers(node, own)
            || kept.any(|why| self.was_killed_before(node, own, why))
    }

    /// Whether the brokers did not take what was told at that time before its node was without the store: then
    /// nobody had dropped it there.
    fn was_away_behind_brokers(&self, node: &str, time: i64) -> bool {
        let mut untaken = self.of(node).filter(|doubt| doubt.why == Why::Untaken);
        untaken.any(|doubt| {
            let until = doubt.to.saturating_add(PUBLISHED_AGAIN);
            doubt.meets(time - SLACK, time + SLACK) && self.meet(node, Why::Away, doubt.from, until)
        })
    }

    /// Whether nobody knew whether the brokers had what was told at that time by that node; `None`: by
    /// whichever.
    pub(super) fn is_unsure(&self, node: Option<&str>, time: i64) -> bool {
        let mut its = self.all.iter().filter(|doubt| {
            doubt.why == Why::Untaken && node.is_none_or(|node| node == doubt.node)
        });
        its.any(|doubt| doubt.meets(time, time + SLACK))
    }

    /// Whether one who told the end of `dead`'s sessions at that time may have died over it.
    pub(super) fn has_second(&self, dead: &str, time: i64) -> bool {
        let mut others = self.all.iter().filter(|doubt| doubt.node != dead);
        others
            .any(|doubt| doubt.is_absence() && doubt.meets(time - SLACK, time + self.lease + SLACK))
    }

    /// How often a node went on as another one in that time.
    pub(super) fn rebirths<'d>(
        &'d self,
        node: &'d str,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = &'d Doubt> {
        let its = self.of(node).filter(|doubt| doubt.why == Why::Reborn);
        its.filter(move |doubt| doubt.meets(from, to))
    }
}
