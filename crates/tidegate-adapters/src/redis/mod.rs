//! The shared memory of a cluster in Redis: one, a master that Sentinels watch, or a Redis Cluster.
//!
//! Each verb of [`StateStore`] is a Lua script (`scripts/`), or a plain command, whose keys are all in one slot.
//! Sessions are in 64 partitions by their user, so that a Redis Cluster has them on all its nodes; `keys`
//! says what is where (ADR 0017). Whatever concerns a lease goes by Redis's own clock.
//!
//! `link` makes the connections and hears what is sent to this node. It reconnects nothing by itself: when
//! anything is cut, its end is told, and [`open`](StateStore::open) begins anew with fresh subscriptions.

mod keys;
mod left;
mod link;
mod sessions;
mod tokens;
mod trouble;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::{BoxFuture, try_join_all};
use redis::{FromRedisValue, Script, ScriptInvocation};
use tidegate::cluster::{
    Change, Ended, Entry, Inbox, Member, Membership, NodeId, OnlineUser, Orphan, Revocation,
    Revoked, SessionPage, Standing, StateStore, StoreError, Tally, To, Verdict,
};
use tidegate::config::plan::RedisPlan;

use self::keys::Keys;
use self::link::Link;
use self::trouble::Trouble;

/// For how long it is known that a node was buried; one that was stopped for longer has no connection left.
const BURIED: Duration = Duration::from_secs(24 * 60 * 60);

/// The shared memory of a cluster in Redis.
#[derive(Debug)]
pub struct RedisStore {
    plan: RedisPlan,
    keys: Keys,
    scripts: Scripts,
    link: Mutex<Option<Arc<Link>>>,
    trouble: Arc<Trouble>,
}

/// One for each verb that is more than a command.
#[derive(Debug)]
struct Scripts {
    renew: Script,
    leave: Script,
    members: Script,
    record: Script,
    held: Script,
    fence: Script,
    count_out: Script,
    claim: Script,
    orphans: Script,
    drop: Script,
    forget: Script,
    tally: Script,
    revoke: Script,
    revoked: Script,
}

impl RedisStore {
    /// A store as the plan has it. Nothing is connected yet.
    #[must_use]
    pub fn new(plan: RedisPlan) -> Self {
        Self {
            keys: Keys::new(&plan.prefix),
            scripts: Scripts::new(),
            link: Mutex::default(),
            trouble: Arc::new(Trouble::new(&plan)),
            plan,
        }
    }

    fn link(&self) -> Result<Arc<Link>, StoreError> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().map(Arc::clone).ok_or(StoreError::Unreachable)
    }

    async fn run<T: FromRedisValue>(&self, script: ScriptInvocation<'_>) -> Result<T, StoreError> {
        let done = self.link()?.run(&script).await;
        done.map_err(failed)
    }
}

impl Scripts {
    fn new() -> Self {
        Self {
            renew: Script::new(include_str!("scripts/renew.lua")),
            leave: Script::new(include_str!("scripts/leave.lua")),
            members: Script::new(include_str!("scripts/members.lua")),
            record: Script::new(include_str!("scripts/record.lua")),
            held: Script::new(include_str!("scripts/held.lua")),
            fence: Script::new(include_str!("scripts/fence.lua")),
            count_out: Script::new(include_str!("scripts/count_out.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            orphans: Script::new(include_str!("scripts/orphans.lua")),
            drop: Script::new(include_str!("scripts/drop.lua")),
            forget: Script::new(include_str!("scripts/forget.lua")),
            tally: Script::new(include_str!("scripts/tally.lua")),
            revoke: Script::new(include_str!("scripts/revoke.lua")),
            revoked: Script::new(include_str!("scripts/revoked.lua")),
        }
    }
}

/// What went wrong, in the words of the seam. A Redis that refuses is none that can be used either.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(error: redis::RedisError) -> StoreError {
    if error.code() == Some("FENCED") {
        return StoreError::Fenced;
    }
    StoreError::Unreachable
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn nodes(texts: &[String]) -> Vec<NodeId> {
    // Whoever writes otherwise is none of ours.
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

impl StateStore for RedisStore {
    fn open(&self, node: &NodeId) -> BoxFuture<'_, Result<Inbox, StoreError>> {
        let channels = [self.keys.all_nodes(), self.keys.node(node)];
        Box::pin(async move {
            let opened = Link::open(&self.plan, &channels, Arc::clone(&self.trouble)).await;
            let (link, inbox) = opened.map_err(|error| {
                self.trouble.note(&error);
                StoreError::Unreachable
            })?;
            self.trouble.clear();
            *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(link));
            Ok(inbox)
        })
    }

    fn renew(
        &self,
        node: &NodeId,
        lease: Duration,
        join: bool,
    ) -> BoxFuture<'_, Result<Standing, StoreError>> {
        let node = node.to_string();
        Box::pin(async move {
            let mut script = self.scripts.renew.prepare_invoke();
            for key in [
                self.keys.leases(),
                self.keys.dead(),
                self.keys.buried(),
                self.keys.last_renewal(),
                self.keys.lengths(),
            ] {
                script.key(key);
            }
            script.arg(node).arg(milliseconds(lease));
            script.arg(u8::from(join)).arg(milliseconds(BURIED));
            type Told = (String, Vec<String>, Vec<String>, (u64, u64));
            let (membership, members, dead, (seconds, microseconds)): Told =
                self.run(script).await?;
            Ok(Standing {
                membership: match membership.as_str() {
                    "held" => Membership::Held,
                    "dead" => Membership::Dead,
                    _ => Membership::Unknown,
                },
                members: nodes(&members),
                dead: nodes(&dead),
                time: UNIX_EPOCH
                    + Duration::from_secs(seconds)
                    + Duration::from_micros(microseconds),
            })
        })
    }

    fn leave(&self, node: &NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        let node = node.to_string();
        Box::pin(async move {
            let mut script = self.scripts.leave.prepare_invoke();
            script.key(self.keys.leases()).key(self.keys.dead());
            script.key(self.keys.lengths()).arg(node);
            self.run(script).await
        })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        Box::pin(async move {
            let mut script = self.scripts.members.prepare_invoke();
            script.key(self.keys.leases()).key(self.keys.dead());
            let (members, dead): (Vec<(String, u64)>, Vec<String>) = self.run(script).await?;
            let members = members.into_iter();
            let members = members.map(|(node, left)| (node, Some(Duration::from_millis(left))));
            let all = members.chain(dead.into_iter().map(|node| (node, None)));
            let counted = all.map(|(node, lease)| async move {
                let sessions = self.count_of(&node).await?;
                // Whoever writes otherwise is none of ours.
                let node = node.parse().ok();
                Ok::<_, StoreError>(node.map(|node| Member {
                    node,
                    lease,
                    sessions,
                }))
            });
            let all = try_join_all(counted).await?;
            Ok(all.into_iter().flatten().collect())
        })
    }

    fn record(
        &self,
        node: &NodeId,
        changes: Vec<Change>,
    ) -> BoxFuture<'_, Result<Vec<Verdict>, StoreError>> {
        let node = node.to_string();
        Box::pin(async move { self.record_all(&node, &changes).await })
    }

    fn held(&self, node: &NodeId) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let node = node.to_string();
        Box::pin(async move { self.all_held(&node).await })
    }

    fn count_out(&self, dead: &NodeId, most: usize) -> BoxFuture<'_, Result<bool, StoreError>> {
        let dead = dead.to_string();
        Box::pin(async move { self.count_out_some(&dead, most).await })
    }

    fn claim(
        &self,
        by: &NodeId,
        dead: &NodeId,
        lease: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let (by, dead) = (by.to_string(), dead.to_string());
        Box::pin(async move {
            let mut script = self.scripts.claim.prepare_invoke();
            script.key(self.keys.dead()).key(self.keys.claim(&dead));
            script.arg(dead).arg(by).arg(milliseconds(lease));
            self.run(script).await
        })
    }

    fn orphans<'s>(
        &'s self,
        dead: &NodeId,
        after: &'s str,
        most: usize,
    ) -> BoxFuture<'s, Result<Vec<Orphan>, StoreError>> {
        let dead = dead.to_string();
        Box::pin(async move { self.page_of_orphans(&dead, after, most).await })
    }

    fn drop_ended<'s>(
        &'s self,
        node: &NodeId,
        ended: &'s [Ended],
    ) -> BoxFuture<'s, Result<(), StoreError>> {
        let node = node.to_string();
        Box::pin(async move { self.drop_all(&node, ended).await })
    }

    fn forget(&self, dead: &NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        let dead = dead.to_string();
        Box::pin(async move {
            let mut script = self.scripts.forget.prepare_invoke();
            script.key(self.keys.dead()).key(self.keys.buried());
            script.key(self.keys.claim(&dead)).arg(dead);
            self.run(script).await
        })
    }

    fn online(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.count_online())
    }

    fn users<'s>(
        &'s self,
        after: &'s str,
        most: usize,
    ) -> BoxFuture<'s, Result<Vec<OnlineUser>, StoreError>> {
        Box::pin(self.page_of_users(after, most))
    }

    fn sessions_of<'s>(
        &'s self,
        user: &'s str,
    ) -> BoxFuture<'s, Result<Vec<(NodeId, Entry)>, StoreError>> {
        Box::pin(self.all_of_user(user))
    }

    fn sessions(&self, cursor: u64, most: usize) -> BoxFuture<'_, Result<SessionPage, StoreError>> {
        Box::pin(self.page_of_sessions(cursor, most))
    }

    fn tally<'s>(
        &'s self,
        node: &NodeId,
        of: &'s str,
        said: &'s str,
    ) -> BoxFuture<'s, Result<Vec<Tally>, StoreError>> {
        let node = node.to_string();
        Box::pin(async move {
            let mut script = self.scripts.tally.prepare_invoke();
            script.key(self.keys.leases()).key(self.keys.tally(of));
            script.arg(node).arg(said).arg(milliseconds(BURIED));
            let told: Vec<String> = self.run(script).await?;
            let told = told.chunks_exact(2).filter_map(|pair| match pair {
                [node, said] => Some(Tally {
                    node: node.parse().ok()?,
                    said: said.as_str().into(),
                }),
                _ => None,
            });
            Ok(told.collect())
        })
    }

    fn revoke(&self, revocations: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.take_back(&revocations).await })
    }

    fn revoked(&self, after: u64, most: usize) -> BoxFuture<'_, Result<Revoked, StoreError>> {
        Box::pin(self.taken_back(after, most))
    }

    fn send<'s>(&'s self, to: To<'s>, message: &'s [u8]) -> BoxFuture<'s, Result<(), StoreError>> {
        let channel = match to {
            To::All => self.keys.all_nodes(),
            To::Node(node) => self.keys.node(node),
        };
        Box::pin(async move {
            let sent = self.link()?.publish(&channel, message).await;
            sent.map_err(failed)
        })
    }

    fn trouble(&self) -> Option<Box<str>> {
        self.trouble.last()
    }
}
