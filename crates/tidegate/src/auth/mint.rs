//! Tokens made here, for development: by a key that was made for it, or that a file holds.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

use super::keys::Algorithm;
use crate::config::Secret;

/// Makes tokens.
pub struct Mint {
    signer: Signer,
}

enum Signer {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Secret(Box<hmac::Key>),
}

/// Why no token could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The library of cryptography failed.
    #[error("the token cannot be signed")]
    Failed,
    /// It is no private key that tokens can be signed with.
    #[error("there is no private key of RSA, P-256, P-384 or Ed25519 in PKCS #8")]
    NoKey,
    /// The secret is too short.
    #[error("the secret has less than 32 bytes")]
    Short,
}

impl From<Unspecified> for MintError {
    fn from(_: Unspecified) -> Self {
        Self::Failed
    }
}

impl Mint {
    /// A new key on the curve P-256, and it in PEM: whoever has it can be anybody.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn make() -> Result<(Self, Secret), MintError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let pem = pem("PRIVATE KEY", key.to_pkcs8v1()?.as_ref());
        let signer = Signer::P256(Box::new(key));
        Ok((Self { signer }, Secret::new(&pem)))
    }

    /// By a private key in PEM (PKCS #8).
    ///
    /// # Errors
    /// Where there is none in it.
    pub fn of_pem(pem: &str) -> Result<Self, MintError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|_malformed| MintError::NoKey)?;
        let der = key.secret_der();
        let signer = if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Signer::Ed25519(Box::new(key))
        } else if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            Signer::P256(Box::new(key))
        } else if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der) {
            Signer::P384(Box::new(key))
        } else if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            Signer::Rsa(Box::new(key))
        } else {
            return Err(MintError::NoKey);
        };
        Ok(Self { signer })
    }

    /// By a shared secret, with HS256.
    ///
    /// # Errors
    /// Where it is too short to be one.
    pub fn of_secret(secret: &Secret) -> Result<Self, MintError> {
        if secret.reveal().len() < Algorithm::Hs256.shortest_secret() {
            return Err(MintError::Short);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        Ok(Self {
            signer: Signer::Secret(Box::new(key)),
        })
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.signer {
            Signer::Rsa(_) => Algorithm::Rs256,
            Signer::P256(_) => Algorithm::Es256,
            Signer::P384(_) => Algorithm::Es384,
            Signer::Ed25519(_) => Algorithm::EdDsa,
            Signer::Secret(_) => Algorithm::Hs256,
        }
    }

    /// The public half of its key in PEM, for `auth.jwt.pem`; `None` for a secret.
    #[must_use]
    pub fn public_pem(&self) -> Option<String> {
        let der = match &self.signer {
            Signer::Rsa(key) => key.public_key().as_der(),
            Signer::P256(key) | Signer::P384(key) => key.public_key().as_der(),
            Signer::Ed25519(key) => key.public_key().as_der(),
            Signer::Secret(_) => return None,
        };
        Some(pem("PUBLIC KEY", der.ok()?.as_ref()))
    }

    /// A token with these claims, whatever they are.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, MintError> {
        let header = json!({ "alg": self.algorithm().name(), "typ": "JWT" });
        let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let claims = Value::Object(claims.clone());
        let message = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let signature = self.signature(message.as_bytes())?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("{message}.{signature}"))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        Ok(match &self.signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                signature
            }
            Signer::P256(key) | Signer::P384(key) => key.sign(&random, message)?.as_ref().to_vec(),
            Signer::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Signer::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mint({})", self.algorithm())
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {kind}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use std::time::{Duration, SystemTime};
    use tokio::time::Instant;

    use super::super::cache::{CachePlan, Now, TokenCache, digest_of};
    use super::super::claims::{ClaimPath, Rules};
    use super::super::keys::{Key, KeySet};
    use super::super::token::{Parts, TokenError, seconds};
    use super::*;

    fn rules(algorithm: Algorithm) -> Rules {
        Rules {
            tenant: None,
            algorithms: vec![algorithm],
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::ZERO,
            user: ClaimPath::new("sub"),
            roles: ClaimPath::new("roles"),
            scopes: ClaimPath::new("scope"),
        }
    }

    fn claims() -> Map<String, Value> {
        let Value::Object(claims) = json!({
            "sub": "u42", "exp": seconds(SystemTime::now()) + 300, "roles": ["user", "editor"],
            "iss": "https://id.example/", "aud": ["api"], "email": "somebody@example.com",
        }) else {
            panic!("an object");
        };
        claims
    }

    fn rsa() -> Mint {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = key.as_der().unwrap();
        Mint::of_pem(&pem("PRIVATE KEY", der.as_ref())).unwrap()
    }

    #[test]
    fn what_it_signs_can_be_verified_and_nothing_else() {
        let (made, private) = Mint::make().unwrap();
        let private = String::from_utf8(private.reveal().to_vec()).unwrap();
        for mint in [made, Mint::of_pem(&private).unwrap(), rsa()] {
            let algorithm = mint.algorithm();
            let key = Key::of_pem(&mint.public_pem().unwrap(), &[algorithm]).unwrap();
            let keys = KeySet::new(vec![key]);
            let token = mint.sign(&claims()).unwrap();
            let judge = |token: &str| {
                let now = SystemTime::now();
                Parts::of(token)?.verify(&keys, &rules(algorithm), now)
            };
            assert_eq!(judge(&token).unwrap().user(), "u42");
            // Any sign that is changed spoils it.
            for place in (0..token.len()).step_by(7) {
                let mut other = token.clone().into_bytes();
                other[place] = if other[place] == b'A' { b'B' } else { b'A' };
                assert!(
                    judge(&String::from_utf8(other).unwrap()).is_err(),
                    "{place}"
                );
            }
        }
        assert!(Mint::of_pem("x").is_err());
        assert!(Mint::of_secret(&Secret::new("short")).is_err());
    }

    /// How long `work` takes at best; load makes it slower, never faster.
    fn fastest(mut work: impl FnMut()) -> Duration {
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let begun = Instant::now();
            for _ in 0..20 {
                work();
            }
            best = best.min(begun.elapsed() / 20);
        }
        best
    }

    /// Prints both; with optimisation, as it is shipped, the one is at least twenty times the other.
    #[test]
    fn a_token_that_is_known_is_cheap() {
        let mint = rsa();
        let key = Key::of_pem(&mint.public_pem().unwrap(), &[Algorithm::Rs256]).unwrap();
        let (keys, rules) = (KeySet::new(vec![key]), rules(Algorithm::Rs256));
        let mut claims = claims();
        claims.insert("pad".into(), "x".repeat(120).into());
        let token = mint.sign(&claims).unwrap();
        let verify = || {
            let now = SystemTime::now();
            let principal = Parts::of(&token)?.verify(&keys, &rules, now)?;
            Ok::<_, TokenError>(std::sync::Arc::new(principal))
        };
        let cache = TokenCache::new(&CachePlan::default());
        let known = || {
            let (digest, now) = (digest_of(&token), Now::look());
            cache.get_or_judge(&digest, 0, now, verify).unwrap();
        };
        known();
        let look = || {
            let (digest, now) = (digest_of(&token), Now::look());
            assert!(cache.get(&digest, 0, now).is_some());
        };
        let verified = fastest(|| assert!(verify().is_ok()));
        let looked = fastest(look);
        let ratio = verified.as_secs_f64() / looked.as_secs_f64();
        let length = token.len();
        println!(
            "a token of {length} bytes: RS256 {verified:?}, known {looked:?}, {ratio:.0} times"
        );
        let least = if cfg!(debug_assertions) { 2.0 } else { 20.0 };
        assert!(ratio >= least, "{verified:?} {looked:?}");
    }
}
