//! Tokens that were taken back.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::ScriptInvocation;
use tidegate::cluster::{Revocation, Revoked, StoreError};

use super::RedisStore;

/// The end of what has none: as large as a score can be, exactly.
const NEVER: u64 = (1 << 53) - 1;
const MILLISECOND: u128 = 1_000_000;
const MICROSECOND: u128 = 1_000;

/// `time` in units of so many nanoseconds since 1970: rather later than the token.
fn whole(time: SystemTime, unit: u128) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Told again, it is the same.
    let units = since.as_nanos().div_ceil(unit);
    u64::try_from(units).map_or(NEVER, |units| units.min(NEVER))
}

impl RedisStore {
    fn revoking(&self, script: &mut ScriptInvocation<'_>) {
        script.key(self.keys.by_number()).key(self.keys.by_end());
        script.key(self.keys.by_issue());
        script.key(self.keys.last_number()).key(self.keys.epoch());
    }

    pub(super) async fn take_back(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let mut script = self.scripts.revoke.prepare_invoke();
        self.revoking(&mut script);
        script.arg(RandomState::new().hash_one(SystemTime::now()) | 1);
        for one in revocations {
            let ends = one.ends.map_or(NEVER, |ends| whole(ends, MILLISECOND));
            let issued = one.until.map_or(0, |until| whole(until, MICROSECOND));
            script.arg(&*one.what).arg(ends).arg(issued);
        }
        self.run(script).await
    }

    pub(super) async fn taken_back(&self, after: u64, most: usize) -> Result<Revoked, StoreError> {
        let mut script = self.scripts.revoked.prepare_invoke();
        self.revoking(&mut script);
        script.arg(after).arg(most);
        let told: Vec<String> = self.run(script).await?;
        let Some(([last, epoch], told)) = told.split_first_chunk() else {
            return Err(StoreError::Unreachable);
        };
        let revocations = told.chunks_exact(3).filter_map(|one| {
            let [what, ends, issued] = one else {
                return None;
            };
            let ends = ends.parse().ok().filter(|ends| *ends < NEVER);
            let issued = issued.parse().ok().filter(|issued| *issued > 0);
            Some(Revocation {
                what: what.as_str().into(),
                until: issued.map(|issued| UNIX_EPOCH + Duration::from_micros(issued)),
                ends: ends.map(|ends| UNIX_EPOCH + Duration::from_millis(ends)),
            })
        });
        let number = |text: &str| text.parse().map_err(|_no_number| StoreError::Unreachable);
        Ok(Revoked {
            revocations: revocations.collect(),
            last: number(last)?,
            epoch: number(epoch)?,
        })
    }
}
