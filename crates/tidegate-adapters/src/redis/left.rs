//! What is left of a node that is gone, and of sessions whose end is not told yet.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::try_join_all;
use redis::cmd;
use tidegate::cluster::{Ended, Orphan, StoreError};

use super::keys::{PARTITIONS, Partition};
use super::sessions::{by_partition, entry, pairs};
use super::{BURIED, RedisStore, failed, milliseconds};

/// Digits before a place: the partition.
const PLACE_OF: usize = 2;
/// Digits of the time with which a place in a partition begins.
const TIME: usize = 16;

/// What was counted out, as it stands in Redis: its mark, its node, a newline, its facts, a newline, and when
/// that was.
fn orphan(partition: Partition, place: &str, value: &str) -> Option<Orphan> {
    let (owner, value) = value.split_once('\n')?;
    let (facts, since) = value.split_once('\n')?;
    let since = Duration::from_micros(since.parse().ok()?);
    Some(Orphan {
        entry: entry(place.get(TIME..)?, facts),
        is_last: owner.starts_with('L'),
        time: UNIX_EPOCH + since,
        place: format!("{:02}{place}", partition.place()).into(),
    })
}

impl RedisStore {
    pub(super) async fn count_out_some(&self, dead: &str, most: usize) -> Result<bool, StoreError> {
        let most = most.div_ceil(PARTITIONS);
        let all = Partition::all().map(|partition| async move {
            let mut script = self.scripts.fence.prepare_invoke();
            script.key(self.keys.sessions(partition));
            script.key(self.keys.of_node(partition, dead));
            script.key(self.keys.fence(partition, dead));
            script.arg(dead).arg(most).arg(milliseconds(BURIED));
            let open: Vec<String> = self.run(script).await?;
            if open.is_empty() {
                return Ok(false);
            }
            let mut script = self.scripts.count_out.prepare_invoke();
            script.key(self.keys.sessions(partition));
            script.key(self.keys.online(partition));
            script.key(self.keys.of_node(partition, dead));
            script.key(self.keys.kept_of(partition, dead));
            script.arg(dead);
            for (session, facts) in pairs(open) {
                let entry = entry(&session, &facts);
                let user = entry.user.as_deref().unwrap_or_default();
                script.key(self.keys.of_user(partition, user));
                script.arg(session).arg(user);
            }
            self.run::<()>(script).await?;
            Ok::<_, StoreError>(true)
        });
        let were_open = try_join_all(all).await?;
        Ok(were_open.contains(&true))
    }

    /// A place is the partition and what stands there.
    pub(super) async fn page_of_orphans(
        &self,
        dead: &str,
        after: &str,
        most: usize,
    ) -> Result<Vec<Orphan>, StoreError> {
        let (number, after) = after.split_at_checked(PLACE_OF).unwrap_or_default();
        let number = number.parse().unwrap_or_default();
        let link = self.link()?;
        let left = Partition::all().skip(number);
        let counts = left.map(|partition| {
            let mut count = cmd("ZCARD");
            count.arg(self.keys.kept_of(partition, dead));
            let count = link.ask::<usize>(count);
            async move { Ok((partition, count.await?)) }
        });
        let counts = try_join_all(counts).await.map_err(failed)?;
        let mut left = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut found = Vec::new();
        // What is counted may stand before the place, or belong to another node by now.
        while found.is_empty() {
            let (mut some, mut count) = (Vec::new(), 0);
            while count < most
                && let Some((partition, its)) = left.next()
            {
                count += its;
                let behind = Some(after).filter(|_| partition.place() == number);
                some.push(self.orphans_in(partition, dead, behind.unwrap_or_default(), most));
            }
            if some.is_empty() {
                break;
            }
            found.extend(try_join_all(some).await?.into_iter().flatten());
        }
        found.truncate(most);
        Ok(found)
    }

    async fn orphans_in(
        &self,
        partition: Partition,
        dead: &str,
        after: &str,
        most: usize,
    ) -> Result<Vec<Orphan>, StoreError> {
        let behind = match after {
            "" => "-".to_owned(),
            after => format!("({after}"),
        };
        let mut script = self.scripts.orphans.prepare_invoke();
        script.key(self.keys.sessions(partition));
        script.key(self.keys.kept_of(partition, dead));
        script.arg(dead).arg(behind).arg(most);
        let kept: Vec<String> = self.run(script).await?;
        let kept = pairs(kept);
        Ok(kept
            .filter_map(|(place, value)| orphan(partition, &place, &value))
            .collect())
    }

    pub(super) async fn drop_all(&self, node: &str, ended: &[Ended]) -> Result<(), StoreError> {
        let all = ended.iter().map(|one| (&*one.session, one.user.as_deref()));
        let drops = by_partition(all).into_values();
        let drops = drops.map(|(partition, places)| {
            let mut script = self.scripts.drop.prepare_invoke();
            script.key(self.keys.sessions(partition));
            script.key(self.keys.kept_of(partition, node));
            script.arg(node);
            for one in places.iter().filter_map(|place| ended.get(*place)) {
                script.arg(&*one.session);
            }
            self.run::<()>(script)
        });
        try_join_all(drops).await.map(|_all| ())
    }
}
