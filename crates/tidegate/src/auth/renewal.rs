//! Tokens that come otherwise than with what they open: for a ticket, for a session that is open already,
//! or in its first message.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Authenticator;
use super::error::{AuthError, Schemes};
use super::principal::Principal;
use super::sources::{self, Credential, TokenSource};
use crate::exchange::Exchange;
use crate::pipeline::CorsPlan;

impl Authenticator {
    /// Who sends a request, by the token in `Authorization` alone.
    pub(crate) async fn by_header(
        &self,
        exchange: &mut Exchange,
    ) -> Result<Arc<Principal>, AuthError> {
        self.by(exchange, &[TokenSource::Header], None).await
    }

    /// The same of a newer token for a session: in `Authorization`, or in a cookie where tokens may stand
    /// in that.
    pub(crate) async fn shown_anew(
        &self,
        exchange: &mut Exchange,
        cors: Option<&CorsPlan>,
    ) -> Result<Arc<Principal>, AuthError> {
        let mut sources = vec![TokenSource::Header];
        let of_cookie = |source: &&TokenSource| matches!(source, TokenSource::Cookie(_));
        sources.extend(self.sources().iter().filter(of_cookie).cloned());
        self.by(exchange, &sources, cors).await
    }

    async fn by(
        &self,
        exchange: &mut Exchange,
        sources: &[TokenSource],
        cors: Option<&CorsPlan>,
    ) -> Result<Arc<Principal>, AuthError> {
        let shown = sources::take(exchange, sources)?;
        if !matches!(shown.credential, Some(Credential::Bearer(_))) {
            let (bearer, basic) = (self.jwt.is_some(), false);
            let schemes = Schemes { bearer, basic };
            return Err(AuthError::Missing { schemes });
        }
        match self.judge(exchange, &shown, cors) {
            Ok(None) => self.wait(exchange, shown, cors).await,
            Ok(Some(judged)) => self.settle(exchange, Ok(judged)),
            Err(error) => self.settle(exchange, Err(error)),
        }
    }

    /// Who bears a token that `client` shows otherwise than in a request. Dropped, it leaves nothing
    /// behind.
    pub(crate) async fn bearer(
        &self,
        client: IpAddr,
        token: &str,
    ) -> Result<Arc<Principal>, AuthError> {
        let Some(tokens) = &self.jwt else {
            return Err(AuthError::Missing {
                schemes: Schemes {
                    bearer: true,
                    basic: false,
                },
            });
        };
        let mut judged = self.judge_token(client, token);
        if matches!(judged, Ok(None)) {
            tokens.keys.renewed().await;
            judged = self.judge_token(client, token);
        }
        let judged = judged.and_then(|judged| judged.ok_or_else(|| self.still_missing()));
        judged.map_err(|error| self.blame(client, error))
    }

    /// A session was shown a newer token.
    pub(crate) fn note_renewal(&self, is_good: bool) {
        self.renewals[usize::from(is_good)].fetch_add(1, Ordering::Relaxed);
    }
}
