//! Why Redis is of no use, in its own words, for those who run it.

use std::sync::{Mutex, PoisonError};

use redis::RedisError;
use tidegate::config::plan::{RedisMode, RedisPlan};

/// As much is said of it.
const LONGEST: usize = 200;
/// Behind these Redis repeats what it was sent, and tells where in which script it was.
const REPEATED: [&str; 2] = [", with args", " script: "];

/// What went wrong last.
#[derive(Debug)]
pub(super) struct Trouble {
    last: Mutex<Option<Box<str>>>,
    /// What is not repeated.
    secrets: Box<[Box<str>]>,
    /// What all keys begin with.
    prefix: Box<str>,
}

impl Trouble {
    pub(super) fn new(plan: &RedisPlan) -> Self {
        let sentinels = match &plan.mode {
            RedisMode::Sentinel { password, .. } => password.as_ref(),
            _ => None,
        };
        let secrets = plan.password.iter().chain(sentinels);
        let secrets = secrets.map(|one| String::from_utf8_lossy(one.reveal()).into());
        Self {
            last: Mutex::default(),
            secrets: secrets.collect(),
            prefix: format!("{}:", plan.prefix).into(),
        }
    }

    /// The last one since it was over.
    pub(super) fn last(&self) -> Option<Box<str>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// It is over.
    pub(super) fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Something went wrong.
    pub(super) fn note(&self, error: &RedisError) {
        self.say(&error.to_string());
    }

    pub(super) fn say(&self, text: &str) {
        let words: Box<str> = self.cleaned(text).into();
        tracing::debug!(error = %words, "Redis does not do it");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// Without passwords, and without names of keys.
    fn cleaned(&self, text: &str) -> String {
        let ends = REPEATED.iter().copied().chain([&*self.prefix]);
        let end = ends.filter_map(|one| text.find(one)).min();
        let mut said = end
            .and_then(|end| text.get(..end))
            .unwrap_or(text)
            .to_owned();
        for secret in self.secrets.iter().filter(|one| !one.is_empty()) {
            said = said.replace(&**secret, "***");
        }
        let plain = said
            .chars()
            .map(|one| if one.is_control() { ' ' } else { one });
        plain.take(LONGEST).collect()
    }
}

#[cfg(test)]
mod tests {
    use tidegate::config::Secret;

    use super::*;

    #[test]
    fn neither_passwords_nor_keys_are_repeated() {
        let trouble = Trouble::new(&RedisPlan {
            password: Some(Secret::new("hunter22")),
            ..RedisPlan::new(Vec::new())
        });
        for (text, said) in [
            ("OOM: no. script: 1f, on @user_script:9.", "OOM: no."),
            (
                "ERR unknown command 'AUTH', with args beginning with: 'gate' 'x' ",
                "ERR unknown command 'AUTH'",
            ),
            ("no such hunter22\nuser", "no such *** user"),
            ("WRONGTYPE at tidegate:{p1}:user:bob", "WRONGTYPE at "),
        ] {
            trouble.say(text);
            assert_eq!(trouble.last().as_deref(), Some(said));
        }
        trouble.say(&"x".repeat(1000));
        assert_eq!(trouble.last().unwrap().len(), LONGEST);
        trouble.clear();
        assert_eq!(trouble.last(), None);
    }
}
