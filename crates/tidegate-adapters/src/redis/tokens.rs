//! Tokens that were taken back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate::cluster::{Revocation, Revoked, StoreError};

use super::RedisStore;

/// The end of what has none: as large as a score can be, exactly.
const NEVER: u64 = (1 << 53) - 1;

fn end(ends: Option<SystemTime>) -> u64 {
    ends.map_or(NEVER, |ends| {
        let since = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Rather later than the token.
        u64::try_from(since.as_millis() + 1).map_or(NEVER, |ends| ends.min(NEVER))
    })
}

impl RedisStore {
    pub(super) async fn take_back(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let mut script = self.scripts.revoke.prepare_invoke();
        script.key(self.keys.by_number()).key(self.keys.by_end());
        script.key(self.keys.last_number());
        for one in revocations {
            script.arg(&*one.what).arg(end(one.ends));
        }
        self.run(script).await
    }

    pub(super) async fn taken_back(&self, after: u64, most: usize) -> Result<Revoked, StoreError> {
        let mut script = self.scripts.revoked.prepare_invoke();
        script.key(self.keys.by_number()).key(self.keys.by_end());
        script.key(self.keys.last_number());
        script.arg(after).arg(most);
        let told: Vec<String> = self.run(script).await?;
        let (last, told) = told.split_first().ok_or(StoreError::Unreachable)?;
        let revocations = told.chunks_exact(2).filter_map(|pair| {
            let [what, ends] = pair else { return None };
            let ends = ends.parse().ok().filter(|ends| *ends < NEVER);
            Some(Revocation {
                what: what.as_str().into(),
                ends: ends.map(|ends| UNIX_EPOCH + Duration::from_millis(ends)),
            })
        });
        Ok(Revoked {
            revocations: revocations.collect(),
            last: last.parse().map_err(|_no_number| StoreError::Unreachable)?,
        })
    }
}
