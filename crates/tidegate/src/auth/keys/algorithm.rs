//! Algorithms of signatures (RFC 7518 section 3.1, RFC 8037 section 3.1), and the keys that each is for.

use std::fmt;

/// How a token is signed. `none` is no algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the names of the standard")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

/// What a key is; it decides for which algorithms it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    Secret,
}

impl Algorithm {
    /// All of them, by the names that tokens call them; these have a case.
    pub const NAMES: [(&'static str, Self); 13] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("ES512", Self::Es512),
        ("EdDSA", Self::EdDsa),
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
    ];

    /// The algorithm of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let mut all = Self::NAMES.iter();
        let (_, algorithm) = all.find(|(known, _)| *known == name)?;
        Some(*algorithm)
    }

    /// What tokens call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::NAMES.iter();
        all.find(|(_, one)| *one == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether both sides know the same secret.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// Whether keys of this kind are for it.
    pub(crate) const fn fits(self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Rsa => matches!(
                self,
                Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512
            ),
            KeyKind::P256 => matches!(self, Self::Es256),
            KeyKind::P384 => matches!(self, Self::Es384),
            KeyKind::P521 => matches!(self, Self::Es512),
            KeyKind::Ed25519 => matches!(self, Self::EdDsa),
            KeyKind::Secret => self.is_symmetric(),
        }
    }

    /// The fewest bytes of a secret for it: as many as its hash has (RFC 7518 section 3.2).
    pub(crate) const fn shortest_secret(self) -> usize {
        match self {
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            _ => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
