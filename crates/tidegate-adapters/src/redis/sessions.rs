//! The sessions of all nodes: who came and went, and who is online.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::{join_all, try_join_all};
use redis::cmd;
use tidegate::cluster::{Change, Entry, NodeId, OnlineUser, SessionPage, StoreError, Verdict};

use super::keys::{PARTITIONS, Partition};
use super::link::Link;
use super::{RedisStore, failed};

/// The bits of a cursor that are Redis's own; before them stands the partition.
const SCAN_BITS: u32 = 57;
/// The largest score that is exact.
const MOST_SCORE: u64 = (1 << 53) - 1;

/// The places, in what was asked, of what belongs to each partition.
pub(super) fn by_partition<'a>(
    all: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> BTreeMap<usize, (Partition, Vec<usize>)> {
    let mut places: BTreeMap<usize, (Partition, Vec<usize>)> = BTreeMap::new();
    for (place, (session, user)) in all.enumerate() {
        let partition = Partition::of(session, user);
        let (_, those) = places
            .entry(partition.place())
            .or_insert_with(|| (partition, Vec::new()));
        those.push(place);
    }
    places
}

/// What is done (`E`: enter, `L`: leave, `K`: leave and be kept), with which session, of which user, what is
/// said of it, and since when it is open.
fn parts(change: &Change) -> (&str, &str, Option<&str>, &str, u64) {
    match change {
        Change::Enter { entry, since } => {
            let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
            // A score can be so large, exactly.
            let since =
                u64::try_from(since.as_micros()).map_or(MOST_SCORE, |one| one.min(MOST_SCORE));
            let user = entry.user.as_deref();
            ("E", &entry.session, user, &entry.facts, since)
        }
        Change::Leave {
            session,
            user,
            is_kept,
        } => {
            let kind = if *is_kept { "K" } else { "L" };
            (kind, session, user.as_deref(), "", 0)
        }
    }
}

/// Sessions and facts, one behind the other; who a session's user is stands in its facts alone.
pub(super) fn pairs(values: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let mut values = values.into_iter();
    std::iter::from_fn(move || values.next().zip(values.next()))
}

pub(super) fn entry(session: &str, facts: &str) -> Entry {
    let told: Option<serde_json::Value> = serde_json::from_str(facts).ok();
    let user = told.as_ref().and_then(|told| told["user"].as_str());
    Entry {
        session: session.into(),
        user: user.map(Box::from),
        facts: facts.into(),
    }
}

/// An open session as it stands in Redis: its mark, its node, a newline, its facts.
fn open(session: &str, value: &str) -> Option<(NodeId, Entry)> {
    let (node, facts) = value.strip_prefix('O')?.split_once('\n')?;
    Some((node.parse().ok()?, entry(session, facts)))
}

impl RedisStore {
    pub(super) async fn record_all(
        &self,
        node: &str,
        changes: &[Change],
    ) -> Result<Vec<Verdict>, StoreError> {
        let all = changes.iter().map(|change| {
            let (_, session, user, ..) = parts(change);
            (session, user)
        });
        let some = by_partition(all).into_values();
        let some = some.map(|(partition, places)| async move {
            let mut script = self.scripts.record.prepare_invoke();
            script.key(self.keys.sessions(partition));
            script.key(self.keys.online(partition));
            script.key(self.keys.of_node(partition, node));
            script.key(self.keys.kept_of(partition, node));
            script.key(self.keys.fence(partition, node));
            script.arg(node);
            for change in places.iter().filter_map(|place| changes.get(*place)) {
                let (kind, session, user, facts, since) = parts(change);
                let user = user.unwrap_or_default();
                script.key(self.keys.of_user(partition, user));
                script.arg(kind).arg(session).arg(user);
                script.arg(facts).arg(since);
            }
            let told: Vec<u64> = self.run(script).await?;
            Ok::<_, StoreError>((places, told))
        });
        // All of them are done, also where one fails: what is under way must not overtake what follows.
        let told = join_all(some).await;
        let mut verdicts = vec![None; changes.len()];
        for one in told {
            let (places, told) = one?;
            for (place, told) in places.iter().zip(told.chunks_exact(4)) {
                if let (Some(verdict), [turn, known, sessions, time]) =
                    (verdicts.get_mut(*place), told)
                {
                    *verdict = Some(Verdict {
                        is_turn: *turn == 1,
                        was_known: *known == 1,
                        sessions: *sessions,
                        time: UNIX_EPOCH + Duration::from_micros(*time),
                    });
                }
            }
        }
        let verdicts: Option<_> = verdicts.into_iter().collect();
        verdicts.ok_or(StoreError::Unreachable)
    }

    pub(super) async fn all_held(&self, node: &str) -> Result<Vec<Entry>, StoreError> {
        let all = Partition::all().map(|partition| {
            let mut script = self.scripts.held.prepare_invoke();
            script.key(self.keys.sessions(partition));
            script.key(self.keys.of_node(partition, node));
            script.arg(node);
            self.run::<Vec<String>>(script)
        });
        let all = try_join_all(all).await?.into_iter().flat_map(pairs);
        Ok(all
            .map(|(session, facts)| entry(&session, &facts))
            .collect())
    }

    pub(super) async fn count_online(&self) -> Result<u64, StoreError> {
        let link = self.link()?;
        let counts = Partition::all().map(|partition| {
            let mut count = cmd("ZCARD");
            count.arg(self.keys.online(partition));
            link.ask::<u64>(count)
        });
        let counts = try_join_all(counts).await.map_err(failed)?;
        Ok(counts.iter().sum())
    }

    /// How many sessions a node has.
    pub(super) async fn count_of(&self, node: &str) -> Result<u64, StoreError> {
        let link = self.link()?;
        let counts = Partition::all().map(|partition| {
            let mut count = cmd("SCARD");
            count.arg(self.keys.of_node(partition, node));
            link.ask::<u64>(count)
        });
        let counts = try_join_all(counts).await.map_err(failed)?;
        Ok(counts.iter().sum())
    }

    pub(super) async fn page_of_users(
        &self,
        after: &str,
        most: usize,
    ) -> Result<Vec<OnlineUser>, StoreError> {
        let link = self.link()?;
        let mut from = match after {
            "" => "-".to_owned(),
            after => format!("({after}"),
        };
        let mut found = Vec::new();
        // A page that is not full is the last one: those who have gone in between leave their place to others.
        loop {
            let names = self.names_behind(&link, &from, most).await?;
            let is_end = names.len() < most;
            if let Some(last) = names.last() {
                from = format!("({last}");
            }
            let counts = names.iter().map(|user| {
                let mut count = cmd("ZCARD");
                count.arg(self.keys.of_user(Partition::of_user(user), user));
                link.ask::<u64>(count)
            });
            let counts = try_join_all(counts).await.map_err(failed)?;
            let users = names.into_iter().map(String::into_boxed_str).zip(counts);
            let users = users.map(|(user, sessions)| OnlineUser { user, sessions });
            found.extend(users.filter(|one| one.sessions > 0));
            if is_end || found.len() >= most {
                found.truncate(most);
                return Ok(found);
            }
        }
    }

    /// The first names of users who are online behind one.
    async fn names_behind(
        &self,
        link: &Link,
        from: &str,
        most: usize,
    ) -> Result<Vec<String>, StoreError> {
        let pages = Partition::all().map(|partition| {
            let mut page = cmd("ZRANGEBYLEX");
            page.arg(self.keys.online(partition)).arg(from).arg("+");
            page.arg("LIMIT").arg(0).arg(most);
            link.ask::<Vec<String>>(page)
        });
        let pages = try_join_all(pages).await.map_err(failed)?;
        let mut names: Vec<_> = pages.into_iter().flatten().collect();
        names.sort_unstable();
        names.truncate(most);
        Ok(names)
    }

    pub(super) async fn all_of_user(&self, user: &str) -> Result<Vec<(NodeId, Entry)>, StoreError> {
        let link = self.link()?;
        let partition = Partition::of_user(user);
        let mut members = cmd("ZRANGE");
        members.arg(self.keys.of_user(partition, user));
        members.arg(0).arg(-1);
        let sessions: Vec<String> = link.ask(members).await.map_err(failed)?;
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = cmd("HMGET");
        values.arg(self.keys.sessions(partition)).arg(&sessions);
        let values: Vec<Option<String>> = link.ask(values).await.map_err(failed)?;
        let found = sessions.iter().zip(values);
        Ok(found
            .filter_map(|(session, value)| open(session, &value?))
            .collect())
    }

    pub(super) async fn page_of_sessions(
        &self,
        cursor: u64,
        most: usize,
    ) -> Result<SessionPage, StoreError> {
        let link = self.link()?;
        let (mut number, mut scan) = (cursor >> SCAN_BITS, cursor & ((1 << SCAN_BITS) - 1));
        let mut found = Vec::new();
        while number < PARTITIONS as u64 {
            let partition = Partition::number(number);
            let mut page = cmd("HSCAN");
            page.arg(self.keys.sessions(partition)).arg(scan);
            page.arg("COUNT").arg(most);
            let (next, values): (u64, Vec<String>) = link.ask(page).await.map_err(failed)?;
            found.extend(pairs(values).filter_map(|(session, value)| open(&session, &value)));
            (number, scan) = match next {
                0 => (number + 1, 0),
                next => (number, next),
            };
            if found.len() >= most {
                break;
            }
        }
        let next = Some(number << SCAN_BITS | scan);
        Ok(SessionPage {
            sessions: found,
            next: next.filter(|_| number < PARTITIONS as u64),
        })
    }
}
