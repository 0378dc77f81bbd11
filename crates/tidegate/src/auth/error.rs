//! Why a request is not let through, and what its sender is told of it (RFC 6750 section 3).

use http::StatusCode;
use tidegate_ws::cors::CorsRefusal;

use super::tickets::LIFETIME;
use super::token::TokenError;

/// What `WWW-Authenticate` calls the space that credentials are for.
const REALM: &str = "tidegate";

/// Why a request is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There are two credentials, of different users or in the same place.
    #[error("the request has tokens of different users, or several in one place")]
    Conflict,
    /// The user may not do this.
    #[error("the user may not do this")]
    Forbidden,
    /// A credential other than a token is wrong.
    #[error("the user or the password is wrong")]
    Password {
        /// What may be tried besides.
        schemes: Schemes,
    },
    /// More passwords are shown than can be verified.
    #[error("more passwords are shown at once than can be verified")]
    PasswordsBusy,
    /// There is nothing to verify tokens with, for the moment.
    #[error("tokens cannot be verified at the moment")]
    KeysUnavailable,
    /// There is no credential that could be looked at.
    #[error("the request has no token")]
    Missing {
        /// What may be tried.
        schemes: Schemes,
    },
    /// There is more than one `Authorization`.
    #[error("the request has more than one `Authorization`")]
    Doubled,
    /// It comes from where browsers may not send it.
    #[error(transparent)]
    Origin(#[from] CorsRefusal),
    /// A ticket is not one, or was used before.
    #[error("the ticket is unknown, or was used before")]
    Ticket,
    /// A session's newer token is of somebody else than the one that it was opened with.
    #[error("the token is not of the user, and the tenant, who opened the session")]
    OtherSubject,
    /// The token is not good for this.
    #[error("the token lacks a scope")]
    Scope {
        /// The scopes that are needed.
        needed: Box<str>,
    },
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A client's tokens were refused too often.
    #[error("this client has shown wrong credentials too often")]
    TooManyFailures {
        /// When the next attempt is let through, in whole seconds.
        retry_after: u32,
    },
    /// A client shows more passwords at once than it may.
    #[error("this client shows too many passwords at once")]
    TooManyPasswords,
    /// A user has as many tickets as there may be, or all users together have.
    #[error("there are as many tickets as there may be, and none of them was used")]
    TooManyTickets,
    /// A handshake offers credentials for subprotocols and nothing else.
    #[error("the handshake offers a token and no subprotocol besides, so there is none to choose")]
    TokenAlone,
}

/// Which credentials could be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schemes {
    /// Tokens.
    pub bearer: bool,
    /// Passwords.
    pub basic: bool,
}

impl AuthError {
    /// The status of the answer, and one word for it.
    pub(crate) const fn status_and_label(&self) -> (StatusCode, &'static str) {
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
        match self {
            Self::Conflict => (UNAUTHORIZED, "conflicting_tokens"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::KeysUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable"),
            Self::Missing { .. } => (UNAUTHORIZED, "unauthenticated"),
            Self::OtherSubject => (StatusCode::FORBIDDEN, "subject_mismatch"),
            Self::Origin(_) => (StatusCode::FORBIDDEN, "origin_not_allowed"),
            Self::Password { .. } => (UNAUTHORIZED, "wrong_password"),
            Self::PasswordsBusy => (StatusCode::SERVICE_UNAVAILABLE, "passwords_busy"),
            Self::Scope { .. } => (StatusCode::FORBIDDEN, "insufficient_scope"),
            Self::Token(TokenError::Expired) => (UNAUTHORIZED, "token_expired"),
            Self::Token(TokenError::Revoked) => (UNAUTHORIZED, "token_revoked"),
            Self::Doubled | Self::Ticket | Self::Token(_) => (UNAUTHORIZED, "invalid_token"),
            Self::TokenAlone => (StatusCode::BAD_REQUEST, "bad_handshake"),
            Self::TooManyFailures { .. } => (TOO_MANY, "too_many_failures"),
            Self::TooManyPasswords => (TOO_MANY, "too_many_passwords"),
            Self::TooManyTickets => (TOO_MANY, "too_many_tickets"),
        }
    }

    /// When it may be tried again, in seconds, where that is known.
    pub(crate) const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::TooManyFailures { retry_after } => Some(*retry_after),
            Self::KeysUnavailable | Self::PasswordsBusy | Self::TooManyPasswords => Some(1),
            Self::TooManyTickets => Some(LIFETIME.as_secs() as u32),
            _ => None,
        }
    }

    /// Whether it counts as an attempt with a credential that is wrong. Passwords are counted before.
    pub(super) const fn is_failure(&self) -> bool {
        match self {
            Self::Token(error) => !matches!(
                error,
                TokenError::Expired
                    | TokenError::IssuedAhead
                    | TokenError::NotYet
                    | TokenError::Revoked
            ),
            Self::Conflict | Self::Doubled | Self::Ticket => true,
            _ => false,
        }
    }

    /// The challenges that go with the answer.
    pub(crate) fn challenges(&self) -> Vec<String> {
        let bearer = |error: &str| {
            vec![format!(
                "Bearer error=\"{error}\", error_description=\"{self}\", realm=\"{REALM}\""
            )]
        };
        match self {
            Self::Missing { schemes } | Self::Password { schemes } => schemes.challenges(),
            Self::Conflict | Self::Doubled | Self::Ticket | Self::Token(_) => {
                bearer("invalid_token")
            }
            Self::Scope { needed } => {
                let mut challenges = bearer("insufficient_scope");
                for challenge in &mut challenges {
                    challenge.push_str(&format!(", scope=\"{needed}\""));
                }
                challenges
            }
            _ => Vec::new(),
        }
    }
}

impl Schemes {
    fn challenges(self) -> Vec<String> {
        let bearer = self.bearer.then(|| format!("Bearer realm=\"{REALM}\""));
        let basic = format!("Basic realm=\"{REALM}\", charset=\"UTF-8\"");
        let basic = self.basic.then_some(basic);
        bearer.into_iter().chain(basic).collect()
    }
}
