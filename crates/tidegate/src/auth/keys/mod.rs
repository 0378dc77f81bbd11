//! Keys that tokens are verified with: what they are, and for which algorithms they hold.
//!
//! The key decides on the algorithm, not the token: a [`Key`] holds one verifier for each algorithm
//! that is configured and that its kind is for, and a token's `alg` only picks among these.

pub mod algorithm;
mod jwk;
mod public;

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

pub use self::algorithm::Algorithm;
use self::algorithm::KeyKind;
pub use self::jwk::JwksError;
use crate::config::Secret;

/// The most keys of a set. With more, one token without `kid` could cost as many verifications.
pub(crate) const MOST_KEYS: usize = 64;

/// One key.
#[derive(Clone)]
pub struct Key {
    /// The `kid` of tokens that it signs, where it has a name.
    id: Option<Box<str>>,
    kind: KeyKind,
    verifiers: Vec<(Algorithm, Verifier)>,
}

/// Why something is no key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// None of the algorithms is for it.
    #[error("it is for none of the algorithms that are allowed")]
    NoAlgorithm,
    /// It is not encoded as it should be.
    #[error("it is no {0}")]
    Malformed(&'static str),
    /// It is a private key, which has no business here.
    #[error("it is a private key; only its public half is needed here")]
    Private,
    /// It is too short to be safe.
    #[error("it is too short: {0}")]
    Short(&'static str),
    /// It is of a kind that no algorithm is for.
    #[error("keys of its kind are not supported")]
    Unsupported,
}

#[derive(Clone)]
enum Verifier {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Key {
    /// A public key as PEM has it: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`.
    ///
    /// # Errors
    /// Where it is none, or of no use with `allowed`.
    pub fn of_pem(text: &str, allowed: &[Algorithm]) -> Result<Self, KeyError> {
        let (kind, bytes) = public::of_pem(text)?;
        Self::public(kind, &bytes, allowed)
    }

    /// The public key of an X.509 certificate in DER, written as base64; white space in it counts for
    /// nothing. Of the certificate nothing else is looked at: it is trusted because it is configured.
    ///
    /// # Errors
    /// As for [`Self::of_pem`].
    pub fn of_certificate(text: &str, allowed: &[Algorithm]) -> Result<Self, KeyError> {
        let (kind, bytes) = public::of_certificate(text)?;
        Self::public(kind, &bytes, allowed)
    }

    /// A shared secret.
    ///
    /// # Errors
    /// Where it is shorter than the hash of an algorithm of `allowed`, or none is for secrets.
    pub fn of_secret(secret: &Secret, allowed: &[Algorithm]) -> Result<Self, KeyError> {
        let secret = secret.reveal();
        let fitting = fitting(KeyKind::Secret, allowed);
        let too_short = |one: &Algorithm| secret.len() < one.shortest_secret();
        if let Some(algorithm) = fitting.iter().copied().find(too_short) {
            return Err(KeyError::Short(match algorithm {
                Algorithm::Hs512 => "HS512 wants at least 64 bytes",
                Algorithm::Hs384 => "HS384 wants at least 48 bytes",
                _ => "HS256 wants at least 32 bytes",
            }));
        }
        let verifier = |algorithm| {
            let hash = match algorithm {
                Algorithm::Hs512 => hmac::HMAC_SHA512,
                Algorithm::Hs384 => hmac::HMAC_SHA384,
                _ => hmac::HMAC_SHA256,
            };
            let key = hmac::Key::new(hash, secret);
            (algorithm, Verifier::Secret(Box::new(key)))
        };
        let verifiers = fitting.into_iter().map(verifier).collect();
        Self::with(KeyKind::Secret, verifiers)
    }

    /// One of `bytes`: those of RFC 8017 for RSA, a point that is not compressed, or those of RFC 8032.
    fn public(kind: KeyKind, bytes: &[u8], allowed: &[Algorithm]) -> Result<Self, KeyError> {
        if kind == KeyKind::Rsa {
            public::check_size(bytes)?;
        }
        let mut verifiers = Vec::new();
        for algorithm in fitting(kind, allowed) {
            let key = ParsedPublicKey::new(verification(algorithm), bytes);
            let key = key.map_err(|_rejected| KeyError::Malformed("key of its kind"))?;
            verifiers.push((algorithm, Verifier::Public(key)));
        }
        Self::with(kind, verifiers)
    }

    fn with(kind: KeyKind, verifiers: Vec<(Algorithm, Verifier)>) -> Result<Self, KeyError> {
        if verifiers.is_empty() {
            return Err(KeyError::NoAlgorithm);
        }
        Ok(Self {
            id: None,
            kind,
            verifiers,
        })
    }

    /// With this name, which tokens then have to call it by.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Verifier> {
        let mut all = self.verifiers.iter();
        all.find(|(one, _)| *one == algorithm)
            .map(|(_, verifier)| verifier)
    }
}

impl Verifier {
    fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Keys that tokens may be signed with.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// What a key set says of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    Holds,
    /// It is of none of the keys that it could be of.
    Fails,
    /// No key of this set has the `kid`, or is for the algorithm.
    UnknownKey,
}

impl KeySet {
    /// These keys; those behind the 64th are left out.
    #[must_use]
    pub fn new(mut keys: Vec<Key>) -> Self {
        keys.truncate(MOST_KEYS);
        Self { keys }
    }

    /// The keys of a JWK set (RFC 7517) that are for one of `allowed`; the others are passed over, for a
    /// set may hold keys for other uses.
    ///
    /// # Errors
    /// Where it is no JWK set.
    pub fn of_jwks(json: &[u8], allowed: &[Algorithm]) -> Result<Self, JwksError> {
        jwk::parse(json, allowed).map(Self::new)
    }

    /// With these besides.
    pub(crate) fn with(mut self, more: &[Key]) -> Self {
        self.keys.extend_from_slice(more);
        self.keys.truncate(MOST_KEYS);
        self
    }

    /// All of them.
    pub(crate) fn into_keys(self) -> Vec<Key> {
        self.keys
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether `signature` is that of `message`, by the key that `id` names, or by one without a name.
    /// Where there is no `id`, each key is tried that is for the algorithm.
    pub(crate) fn judge(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Judgement {
        let could_be = |key: &&Key| match (id, &key.id) {
            (Some(id), Some(name)) => **name == *id,
            _ => true,
        };
        let candidates = self.keys.iter().filter(could_be);
        let mut verifiers = candidates
            .filter_map(|key| key.verifier(algorithm))
            .peekable();
        if verifiers.peek().is_none() {
            return Judgement::UnknownKey;
        }
        if verifiers.any(|verifier| verifier.holds(message, signature)) {
            Judgement::Holds
        } else {
            Judgement::Fails
        }
    }
}

fn fitting(kind: KeyKind, allowed: &[Algorithm]) -> Vec<Algorithm> {
    let fits = |one: &Algorithm| one.fits(kind);
    allowed.iter().copied().filter(fits).collect()
}

fn verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        // Those of secrets fit no public key, so nobody asks for them here.
        Algorithm::EdDsa | Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
            &signature::ED25519
        }
    }
}
