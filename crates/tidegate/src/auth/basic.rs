//! Users with a password that stand in the configuration (RFC 7617), each with the hash of it: Argon2 in
//! the form that its reference writes, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
//!
//! A hash takes tens of milliseconds and megabytes on purpose. So it is computed on threads apart from the
//! workers, a few at a time, and what came of it is remembered like a token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::principal::{Claims, Identity, Principal};
use crate::config::Secret;

/// Hashes that are computed at a time; each takes the memory that it says.
const AT_A_TIME: usize = 2;
/// How long one waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The most memory of a hash, in KiB, and its most rounds and lanes: more could keep a thread for seconds.
const MOST_MEMORY: u32 = 256 * 1024;
const MOST_ROUNDS: u32 = 16;
const MOST_LANES: u32 = 16;
/// The longest `user:password` in base64.
pub(super) const LONGEST: usize = 1024;

/// The hash of a password.
#[derive(Debug, Clone)]
pub struct PasswordHash {
    algorithm: Algorithm,
    params: Params,
    salt: Vec<u8>,
    hash: Secret,
}

/// Why a text is no hash of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordHashError {
    /// It takes more time or memory than a gateway has.
    #[error("it takes too much: at most m=262144 (KiB), t=16 and p=16")]
    TooDear,
    /// It is none of Argon2.
    #[error("it is no hash of Argon2, such as `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`")]
    Malformed,
}

/// A user of the configuration.
#[derive(Debug, Clone)]
pub struct BasicUser {
    /// Its name.
    pub name: Box<str>,
    /// The hash of its password.
    pub password: PasswordHash,
    /// Its roles.
    pub roles: Vec<Box<str>>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Users {
    by_name: HashMap<Box<str>, (PasswordHash, Arc<Principal>)>,
    /// Computed for whom nobody knows, so that the time does not tell who is known.
    decoy: Option<PasswordHash>,
    permits: Arc<Semaphore>,
    /// For one's turn.
    pub(super) longest_wait: Duration,
}

impl PasswordHash {
    /// Reads one.
    ///
    /// # Errors
    /// Where it is none, or takes more than a gateway has.
    pub fn parse(text: &str) -> Result<Self, PasswordHashError> {
        const MALFORMED: PasswordHashError = PasswordHashError::Malformed;
        let parts: Vec<_> = text.split('$').collect();
        let ["", algorithm, "v=19", params, salt, hash] = parts[..] else {
            return Err(MALFORMED);
        };
        let algorithm = match algorithm {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => Algorithm::Argon2d,
            _ => return Err(MALFORMED),
        };
        let mut numbers = params.splitn(3, ',');
        let mut number = |name: &str| -> Option<u32> {
            numbers
                .next()?
                .strip_prefix(name)?
                .strip_prefix('=')?
                .parse()
                .ok()
        };
        let (m, t, p) = (number("m"), number("t"), number("p"));
        let (Some(m), Some(t), Some(p)) = (m, t, p) else {
            return Err(MALFORMED);
        };
        if m > MOST_MEMORY || t > MOST_ROUNDS || p > MOST_LANES {
            return Err(PasswordHashError::TooDear);
        }
        let decode = |text| BASE64_STANDARD_NO_PAD.decode(text).ok();
        let (Some(salt), Some(hash)) = (decode(salt), decode(hash)) else {
            return Err(MALFORMED);
        };
        if salt.len() < 8 || !(16..=64).contains(&hash.len()) {
            return Err(MALFORMED);
        }
        let params = Params::new(m, t, p, Some(hash.len()));
        Ok(Self {
            algorithm,
            params: params.map_err(|_out_of_range| MALFORMED)?,
            salt,
            hash: Secret::of_bytes(&hash),
        })
    }

    /// What computing it takes.
    pub(crate) fn cost(&self) -> impl PartialEq {
        (
            self.algorithm,
            self.params.m_cost(),
            self.params.t_cost(),
            self.params.p_cost(),
        )
    }

    fn holds(&self, password: &[u8]) -> bool {
        let argon = Argon2::new(self.algorithm, Version::V0x13, self.params.clone());
        let mut made = vec![0; self.hash.len()];
        let mut memory = vec![Block::default(); self.params.block_count()];
        let hashed =
            argon.hash_password_into_with_memory(password, &self.salt, &mut made, &mut memory);
        hashed.is_ok() && self.hash.is(&made)
    }
}

impl Users {
    pub(super) fn new(users: &[BasicUser]) -> Self {
        let user = |user: &BasicUser| {
            let principal = Principal {
                identity: Arc::new(Identity::without_token(&user.name)),
                roles: user.roles.clone().into(),
                scopes: Box::default(),
                claims: Claims::default(),
            };
            (
                user.name.clone(),
                (user.password.clone(), Arc::new(principal)),
            )
        };
        Self {
            by_name: users.iter().map(user).collect(),
            decoy: users.first().map(|user| user.password.clone()),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
            longest_wait: LONGEST_WAIT,
        }
    }

    /// All turns, so that nobody else has one.
    #[cfg(test)]
    pub(super) async fn hold_all(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = Arc::clone(&self.permits).acquire_many_owned(AT_A_TIME as u32);
        all.await.unwrap()
    }

    /// Who has this `user:password` in base64; `Some(None)`: nobody, `None`: its turn does not come. Waits
    /// for its turn, and then for the hash; dropped, the hash is computed to its end nevertheless, and
    /// `held` is held until then.
    pub(super) async fn verify(
        &self,
        credential: &str,
        held: impl Send + 'static,
    ) -> Option<Option<Arc<Principal>>> {
        let Some((name, password)) = parts(credential) else {
            return Some(None);
        };
        let known = self.by_name.get(&*name);
        let Some(hash) = known.map(|(hash, _)| hash).or(self.decoy.as_ref()) else {
            return Some(None);
        };
        let hash = hash.clone();
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = timeout(self.longest_wait, permit).await.ok()?.ok()?;
        let computed = spawn_blocking(move || {
            let _held = (permit, held);
            hash.holds(password.as_bytes())
        });
        let holds = computed.await.unwrap_or(false);
        let found = known.filter(|_| holds);
        Some(found.map(|(_, principal)| Arc::clone(principal)))
    }
}

/// The user and the password.
fn parts(credential: &str) -> Option<(String, String)> {
    let decoded = BASE64_STANDARD.decode(credential).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `hunter2`, by the reference's own program with little memory.
    const HASH: &str =
        "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzYWx0$7t5hJGFvHdMPRY7nSZyC+v9XcNrnaDAT6ZCIfnGcJ3A";

    #[test]
    fn what_is_no_hash_is_none() {
        let error = |text: &str| PasswordHash::parse(text).unwrap_err();
        assert!(PasswordHash::parse(HASH).is_ok());
        for text in [
            "",
            "hunter2",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=64,t=2$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=64,t=2,p=1$c2FsdA$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzYWx0$aGFzaA",
            "$argon2id$v=19$m=64,t=2,p=1,x$c29tZXNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=1,t=0,p=1$c29tZXNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        ] {
            assert_eq!(error(text), PasswordHashError::Malformed, "{text}");
        }
        let dear = HASH.replace("m=64", "m=300000");
        assert_eq!(error(&dear), PasswordHashError::TooDear);
        assert_eq!(
            error(&HASH.replace("t=2", "t=99")),
            PasswordHashError::TooDear
        );
    }
}
