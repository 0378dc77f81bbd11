//! Who a session speaks for: by the token of its handshake, by that of its first message, or by a newer
//! one that was sent in it; and until when.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::Bridge;
use super::call::Caller;
use super::envelope::{self, Id};
use super::headers;
use super::members::{Members, text};
use super::problem::Problem;
use super::resume::{self, CameBack};
use super::session::{Over, Session};
use crate::auth::{AuthError, Principal, TokenError};
use crate::config::plan::{ForwardAuth, OnExpiry};
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::headers::{FieldName, Headers};
use crate::limits::Permits;
use crate::pipeline::FilterError;
use crate::session::handle::Handle;
use crate::session::lifetime::Lifetime;
use crate::session::{Cause, renewal};

/// The most bytes of header fields that a session keeps of its `hello`, and the most of them.
const MAX_DEFAULTS: usize = 8 * 1024;
const MAX_LINES: usize = 32;
/// How long a client may take nothing before it is sent away without a `goaway`.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Who a session speaks for.
#[derive(Clone, Default)]
pub(super) struct Who {
    /// Who that is, where its route asked.
    pub(super) principal: Option<Arc<Principal>>,
    /// Whether services are told the token of that principal, which is not kept once more.
    tells_bearer: bool,
    /// When the token ends; `None`: it has no end.
    until: Option<Lifetime>,
    /// Whether the client was told that it will, or need not be.
    is_warned: bool,
    /// What the client said for all of its calls.
    defaults: Option<Box<Headers>>,
}

/// What a session has whose client says in its first message who it is.
pub(super) struct Late {
    /// Until when that may come, where nothing is done before it.
    by: Option<Instant>,
    /// How the session was opened, until then.
    handshake: Option<Exchange>,
    /// What its user has a share of.
    permits: Permits,
}

impl Late {
    pub(super) fn new(handshake: Exchange, by: Instant) -> Box<Self> {
        Box::new(Self {
            by: Some(by),
            handshake: Some(handshake),
            permits: Permits::default(),
        })
    }
}

/// What a session begins with.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) who: Who,
    /// Its handshake, where its client says later who it is; kept until then.
    pub(super) handshake: Option<Exchange>,
}

/// What became of a newer token.
pub(super) struct Shown {
    id: Id,
    judged: Result<Arc<Principal>, AuthError>,
}

/// A newer token while it is looked at. In a thin box, because few sessions ever have one.
pub(super) type Looking<'a> = Box<Pin<Box<dyn Future<Output = Shown> + Send + 'a>>>;

impl Who {
    /// Who opened a session, by its handshake.
    pub(super) fn of_handshake(bridge: &Bridge, exchange: &Exchange) -> Self {
        let bearer = exchange.principal.as_ref().and_then(|one| one.bearer());
        // As filters leave it, which may be otherwise.
        let said = exchange.headers.get("authorization");
        let mut who = Self {
            tells_bearer: is_told(bridge) && bearer.is_some() && said == bearer,
            ..Self::default()
        };
        if let Some(principal) = &exchange.principal {
            who.goes_by(Arc::clone(principal));
        }
        who
    }

    /// Their name, where that is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.user())
    }

    /// It speaks for `principal` from now on.
    fn renew(&mut self, caller: &Caller, principal: Arc<Principal>) {
        self.tells_bearer = is_told(&caller.bridge);
        self.goes_by(principal);
    }

    fn goes_by(&mut self, principal: Arc<Principal>) {
        let now = Instant::now();
        let expires = principal.expires();
        self.until = expires.map(|expires| Lifetime::begin(expires, now, SystemTime::now()));
        self.is_warned = self.until.is_none();
        self.principal = Some(principal);
    }

    /// A session may outlive its token, but nobody is called in the name of who had it.
    pub(super) fn check(&mut self) -> Result<(), Problem> {
        let is_over = match &mut self.until {
            Some(until) => until.is_over(Instant::now(), SystemTime::now),
            None => false,
        };
        if is_over {
            let detail = "the token of this session has expired";
            return Err(Problem::token_expired(detail));
        }
        Ok(())
    }

    /// Whether services are told the token.
    pub(super) const fn tells_bearer(&self) -> bool {
        self.tells_bearer
    }

    /// Says what its client wants of all calls.
    pub(super) fn tell_wishes(&self, headers: &mut Headers) {
        let fields = || self.defaults.iter().flat_map(|defaults| defaults.iter());
        for field in fields() {
            headers.remove(field.name.as_str());
        }
        for field in fields() {
            headers.append(field.name.clone(), field.value.clone());
        }
    }

    /// Says by what token, where services are told.
    pub(super) fn tell_bearer(&self, headers: &mut Headers) {
        let principal = self.principal.as_ref().filter(|_| self.tells_bearer);
        if let Some(bearer) = principal.and_then(|principal| principal.bearer()) {
            headers.remove("authorization");
            headers.append(FieldName::from_static("Authorization"), bearer.clone());
        }
    }
}

/// Whether services are told of tokens.
pub(super) fn is_told(bridge: &Bridge) -> bool {
    matches!(bridge.plan.forward_auth, ForwardAuth::Bearer)
}

impl Caller {
    /// The remote control of the session with that id, which runs on this worker.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Handle>> {
        self.worker.sessions.find(id.parse().ok()?)
    }

    fn leeway(&self) -> Duration {
        self.worker.authenticator().leeway()
    }

    async fn look(&self, client: IpAddr, token: &str) -> Result<Arc<Principal>, AuthError> {
        self.worker.authenticator().bearer(client, token).await
    }
}

impl<'a> Session<'a> {
    /// When something is due of what has to do with its token.
    pub(super) fn token_due(&self) -> Option<Instant> {
        let ends = self.who.until.filter(|_| !self.is_past);
        let ends = ends.map(|until| until.due());
        [self.hello_by(), self.warn_at(), ends]
            .into_iter()
            .flatten()
            .min()
    }

    /// Until when its client may say who it is, where nothing is done before that.
    pub(super) fn hello_by(&self) -> Option<Instant> {
        self.late.as_ref().and_then(|late| late.by)
    }

    /// When the client is told that its token will end.
    fn warn_at(&self) -> Option<Instant> {
        let is_told = self.caller.version_1 && !self.who.is_warned;
        let due = self.who.until.filter(|_| is_told)?.due();
        let before = self.caller.leeway() + self.caller.bridge.plan.warn_before;
        Some(due.checked_sub(before).unwrap_or(due))
    }

    /// Does what is due by now.
    pub(super) async fn token_overdue(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if self.hello_by().is_some_and(|by| by <= now) {
            self.leave(Cause::AuthFailed, 4408, "hello_timeout");
            return Ok(());
        }
        let is_over = match &mut self.who.until {
            Some(until) if !self.is_past => until.is_over(now, SystemTime::now),
            _ => false,
        };
        if is_over {
            return self.expired().await;
        }
        if self.warn_at().is_some_and(|at| at <= now) {
            self.who.is_warned = true;
            return self.warn(now).await;
        }
        Ok(())
    }

    /// The token has ended.
    async fn expired(&mut self) -> Result<(), Over> {
        self.is_past = true;
        self.who.is_warned = true;
        let handle = Arc::clone(&self.handle);
        // Without that word, and where it cannot be said, the worker's look at all sessions ends it.
        if self.caller.version_1 && handle.facts.tokens().on_expiry == OnExpiry::Close {
            let goaway = r#"{"op":"goaway","cause":"token_expired"}"#.to_owned();
            let _in_time = timeout(LAST_WORD, self.send(goaway)).await;
            handle.order(Cause::TokenExpired);
            self.leaves();
        }
        Ok(())
    }

    async fn warn(&mut self, now: Instant) -> Result<(), Over> {
        let (Some(until), Some(principal)) = (self.who.until, &self.who.principal) else {
            return Ok(());
        };
        let left = until.due().saturating_duration_since(now);
        let left = left.saturating_sub(self.caller.leeway());
        let warning = json!({
            "op": "auth-expiring",
            "exp": principal.claim("exp"),
            "in": left.as_secs(),
        });
        self.send(warning.to_string()).await
    }

    /// `hello`: who the client is, where it has not said that yet, and what it wants of all calls.
    pub(super) async fn hello(&mut self, members: &Members<'_>) -> Result<(), Over> {
        let defaults = match self.defaults(members) {
            Ok(defaults) => defaults,
            Err(problem) => return self.malformed(problem).await,
        };
        let Some(by) = self.hello_by() else {
            self.who.defaults = defaults;
            return match resume::asked(members) {
                // Who may do nothing any more has nothing to come back to.
                Some(_) if self.who.check().is_err() => self.welcome(&CameBack::Anew).await,
                Some(asked) => self.come_back(asked).await,
                None => Ok(()),
            };
        };
        let Some(token) = members.value("token").and_then(text) else {
            self.leave(Cause::AuthFailed, 4401, "unauthenticated");
            return Ok(());
        };
        let caller = self.caller;
        let looked = timeout_at(by, caller.look(caller.client, &token)).await;
        let Ok(looked) = looked else {
            self.leave(Cause::AuthFailed, 4408, "hello_timeout");
            return Ok(());
        };
        let judged = looked.and_then(|principal| {
            let late = self.late.as_ref();
            let exchange = late.and_then(|late| late.handshake.as_ref());
            let mut required = self.handle.facts.tokens().required.iter();
            required.try_for_each(|plan| match exchange {
                Some(exchange) => plan.judge(&principal, exchange),
                None => plan.judge_user(&principal),
            })?;
            Ok(principal)
        });
        if let Ok(principal) = &judged {
            let (caps, mut permits) = (caller.worker.caps(), Permits::default());
            let route = self.handle.facts.caps();
            if let Err(overload) = caps.admit_user(route, principal.user(), &mut permits) {
                caps.note_refusal(overload.status_and_label().1);
                self.leave(Cause::AuthFailed, 4429, overload.status_and_label().1);
                return Ok(());
            }
            if let Some(late) = &mut self.late {
                late.permits = permits;
            }
        }
        let principal = match judged.and_then(|principal| self.adopt(principal)) {
            Ok(principal) => principal,
            Err(error) => {
                caller
                    .worker
                    .authenticator()
                    .note(error.status_and_label().1);
                let (code, reason) = farewell(&error);
                self.leave(Cause::AuthFailed, code, reason);
                return Ok(());
            }
        };
        if let Some(late) = &mut self.late {
            (late.by, late.handshake) = (None, None);
        }
        self.who.defaults = defaults;
        tracing::debug!(
            user = principal.user(),
            "a bridge's client has said who it is"
        );
        match resume::asked(members) {
            Some(asked) => self.come_back(asked).await,
            None => self.welcome(&CameBack::Anew).await,
        }
    }

    fn defaults(&self, members: &Members<'_>) -> Result<Option<Box<Headers>>, Problem> {
        let said = envelope::headers(members)?;
        let allowed = &self.caller.bridge.plan.headers;
        let said: Vec<_> = said
            .into_iter()
            .filter(|(name, _)| headers::is_among(&allowed.from_client, name))
            .collect();
        let bytes: usize = said
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > MAX_DEFAULTS || said.len() > MAX_LINES {
            let detail = format!("headers has more than {MAX_DEFAULTS} bytes or {MAX_LINES} lines");
            return Err(Problem::malformed(detail));
        }
        let mut defaults = Headers::new();
        headers::add_from_client(&mut defaults, &allowed.from_handshake, &said)?;
        Ok((!said.is_empty()).then(|| Box::new(defaults)))
    }

    /// `auth`: a newer token.
    pub(super) async fn auth(&mut self, members: &Members<'_>) -> Result<(), Over> {
        let id = members.value("id").and_then(|id| Id::parse(id).ok());
        let token = members.value("token").and_then(text);
        let (Some(id), Some(token)) = (id, token) else {
            return self
                .malformed(Problem::malformed("auth has an id and a token"))
                .await;
        };
        let refusal = if self.hello_by().is_some() {
            Some(unauthenticated())
        } else if self.is_open(&id) {
            Some(Problem::duplicate_id("a request with this id is under way"))
        } else if self.looking.is_some() {
            Some(Problem::too_many_in_flight("another token is being looked at").retry())
        } else {
            None
        };
        if let Some(problem) = refusal {
            return self.send(answer(&id, Err(&problem))).await;
        }
        let (caller, token) = (self.caller, token.into_owned());
        self.looking = Some(Box::new(Box::pin(async move {
            let judged = caller.look(caller.client, &token).await;
            Shown { id, judged }
        })));
        Ok(())
    }

    /// A newer token was looked at.
    pub(super) async fn shown(&mut self, shown: Shown) -> Result<(), Over> {
        let judged = shown.judged.and_then(|principal| {
            renewal::judge(&self.handle, &principal)?;
            self.adopt(principal)
        });
        let authenticator = self.caller.worker.authenticator();
        authenticator.note_renewal(judged.is_ok());
        let (frame, left) = match judged {
            // Before anything is sent, which may take a while.
            Ok(principal) => (
                answer(&shown.id, Ok(&principal)),
                self.caller.judge_rooms(&self.who),
            ),
            Err(error) => {
                authenticator.note(error.status_and_label().1);
                let error = GatewayError::Filter(FilterError::Auth(error));
                (answer(&shown.id, Err(&Problem::from(&error))), Vec::new())
            }
        };
        self.send(frame).await?;
        self.tell_left(&left).await
    }

    /// The session speaks for `principal` from now on.
    fn adopt(&mut self, principal: Arc<Principal>) -> Result<Arc<Principal>, AuthError> {
        let worker = &self.caller.worker;
        if self.handle.renew(principal.identity(), &worker.clock) {
            let roles = Some(principal.shared_roles());
            worker.directory().identify(&self.handle, roles);
            self.caller.recipient.identify(principal.identity());
        }
        // It may have been revoked since it was judged, and whoever did that has passed by here.
        if worker
            .authenticator()
            .revocations()
            .hold(principal.identity())
        {
            self.handle.order(Cause::TokenRevoked);
            return Err(TokenError::Revoked.into());
        }
        self.who.renew(self.caller, Arc::clone(&principal));
        self.is_past = false;
        Ok(principal)
    }

    /// Ends the session for what its client showed, or did not show.
    fn leave(&mut self, cause: Cause, code: u16, reason: &str) {
        self.handle.send_away(cause, code, reason.into());
        self.leaves();
    }

    /// Nothing more is done in it; what it was ordered is carried out while it is read to its end.
    fn leaves(&mut self) {
        self.is_leaving = true;
        self.late = None;
        self.looking = None;
        self.underway = None;
    }
}

/// What is asked for before anybody is known.
pub(super) fn unauthenticated() -> Problem {
    Problem::unauthenticated("the first message is a hello with a token")
}

/// By what code, and with what reason, who shows that is sent away.
fn farewell(error: &AuthError) -> (u16, &'static str) {
    let (status, label) = error.status_and_label();
    let code = match status {
        StatusCode::FORBIDDEN => 4403,
        StatusCode::TOO_MANY_REQUESTS => 4429,
        StatusCode::SERVICE_UNAVAILABLE => 1013,
        _ => 4401,
    };
    (code, label)
}

/// The answer to a newer token.
fn answer(id: &Id, outcome: Result<&Principal, &Problem>) -> String {
    let mut frame = b"{\"id\":".to_vec();
    id.write(&mut frame);
    match outcome {
        Ok(principal) => {
            let roles: Vec<_> = principal.roles().collect();
            let body = json!({ "exp": principal.claim("exp"), "roles": roles });
            frame.extend_from_slice(format!(",\"status\":200,\"body\":{body}}}").as_bytes());
        }
        Err(problem) => {
            let status = problem.status.as_u16();
            let begin = format!(",\"status\":{status},\"body\":null,\"error\":");
            frame.extend_from_slice(begin.as_bytes());
            problem.write(None, &mut frame);
            frame.push(b'}');
        }
    }
    String::from_utf8(frame).unwrap_or_default()
}
