//! One envelope's call over HTTP: what is sent, and what comes back.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method};
use tokio::time::timeout;

use super::address::{Base, Target, target};
use super::envelope::{Credit, Encoding, Request};
use super::members::text;
use super::problem::Problem;
use super::{Bridge, headers, presence};
use crate::auth::Principal;
use crate::authority::Authority;
use crate::body::{Body, BodyError, Part};
use crate::dispatch;
use crate::exchange::{Answer, Downstream, Exchange};
use crate::headers::{FieldName, Headers};
use crate::limits::{Gauge, Permits};
use crate::metrics::ExchangeMeter;
use crate::proxy::Proxy;
use crate::push::directory::Recipient;
use crate::upstream::Service;
use crate::worker::Worker;

/// What the calls of one session have in common.
pub(super) struct Caller {
    pub(super) bridge: Arc<Bridge>,
    pub(super) worker: Arc<Worker>,
    pub(super) downstream: Arc<Downstream>,
    pub(super) client: IpAddr,
    pub(super) authority: Option<Authority>,
    /// Who opened the session, where its route asked.
    pub(super) principal: Option<Arc<Principal>>,
    /// The user's calls, where they have a bound.
    pub(super) calls: Option<Arc<Gauge>>,
    /// What each call says of the session: fields of its handshake, and who calls.
    pub(super) headers: Headers,
    /// Where pushes for the session are left.
    pub(super) recipient: Recipient,
}

/// A call that can be made.
pub(super) struct Call {
    exchange: Exchange,
    /// Whether `baseUrl` named a service; `None`: the routes are asked.
    service: Option<Arc<Proxy>>,
    patience: Duration,
    pub(super) accept: Option<Encoding>,
    pub(super) stream: bool,
    pub(super) credit: Option<Credit>,
}

impl Caller {
    /// Makes a call of a request, whoever is meant by it, in the session of that id.
    pub(super) fn prepare(&self, request: &Request<'_>, session: &str) -> Result<Call, Problem> {
        self.check_token()?;
        let (service, target) = match &request.base_url {
            Some(base) => {
                let base = Base::parse(base)?;
                let service = self.bridge.service(base.service)?;
                (Some(service), base.target(&request.uri)?)
            }
            None => (None, target("", &request.uri)?),
        };
        let (body, media_type) = body(request)?;
        let mut headers = self.headers.clone_with_room(request.headers.len() + 4);
        let of_handshake = &self.bridge.plan.headers.from_handshake;
        headers::add_from_client(&mut headers, of_handshake, &request.headers)?;
        if let Some(media_type) = media_type
            && !headers.contains("content-type")
        {
            headers.append(
                FieldName::from_static("Content-Type"),
                HeaderValue::from_static(media_type),
            );
        }
        if body.is_empty() {
            headers.remove("content-type");
        }
        self.tell_user(&mut headers, session);
        let most = self.bridge.plan.timeout;
        let patience = request.timeout.map_or(most, |asked| asked.min(most));
        headers.append(
            FieldName::from_static("X-Request-Timeout-Ms"),
            HeaderValue::from(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)),
        );
        Ok(Call {
            exchange: self.exchange(request.method.clone(), target, headers, body),
            service,
            patience,
            accept: request.accept,
            stream: request.stream,
            credit: request.credit,
        })
    }

    /// A session may outlive its token, but nobody is called in the name of who had it.
    pub(super) fn check_token(&self) -> Result<(), Problem> {
        match &self.principal {
            Some(principal) if principal.is_over(SystemTime::now()) => Err(Problem::token_expired(
                "the token that this session was opened with has expired",
            )),
            _ => Ok(()),
        }
    }

    fn tell_user(&self, headers: &mut Headers, session: &str) {
        if let (Some(signer), Some(principal)) = (&self.bridge.signer, &self.principal) {
            let time = crate::time::unix_milliseconds() / 1000;
            let time = u64::try_from(time).unwrap_or(u64::MAX);
            signer.tell(headers, principal, session, time);
        }
    }

    fn exchange(&self, method: Method, target: Target, headers: Headers, body: Bytes) -> Exchange {
        Exchange {
            method,
            path: target.path,
            query: target.query,
            authority: self.authority.clone(),
            headers,
            body: Body::full(body),
            upgrade: false,
            downstream: Arc::clone(&self.downstream),
            client: self.client,
            captures: crate::router::Captures::default(),
            // What a route requires, it requires of whoever opened the session.
            principal: self.principal.clone(),
            extensions: http::Extensions::new(),
        }
    }
}

impl Call {
    /// What is known of it before it is made.
    pub(super) fn facts(&self) -> (&Exchange, Option<&Service>) {
        (
            &self.exchange,
            self.service.as_ref().map(|proxy| &*proxy.service),
        )
    }

    pub(super) fn method(&self) -> &Method {
        &self.exchange.method
    }

    /// Makes the call, and returns when the head of its answer is there. Dropped, it leaves nothing
    /// behind.
    pub(super) async fn answer(self, caller: &Caller) -> Result<(Answer, Permits), Problem> {
        let mut meter = ExchangeMeter::of_call(&caller.worker, &self.exchange.method);
        let mut permits = Permits::default();
        let called = async {
            if self.service.is_none() && presence::is_asked(&self.exchange) {
                return caller.presence(&self.exchange);
            }
            dispatch::call(
                &caller.worker,
                self.exchange,
                self.service.as_deref(),
                &mut permits,
                &mut meter,
            )
            .await
        };
        let answered = match timeout(self.patience, called).await {
            Ok(answered) => answered,
            Err(_elapsed) => {
                meter.answered(http::StatusCode::GATEWAY_TIMEOUT);
                let limit = self.patience.as_millis();
                let problem = Problem::upstream_timeout(format!("no answer in {limit} ms"));
                return Err(problem);
            }
        };
        match answered {
            Ok(answer) => {
                meter.answered(answer.status);
                Ok((answer, permits))
            }
            Err(error) => {
                meter.answered(error.status());
                Err(Problem::from(&error))
            }
        }
    }
}

/// The bytes that are sent, and what they are called where the client does not say.
fn body(request: &Request<'_>) -> Result<(Bytes, Option<&'static str>), Problem> {
    let Some(value) = request.body else {
        return Ok((Bytes::new(), None));
    };
    if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok((Bytes::new(), None));
    }
    let string =
        || text(value).ok_or_else(|| Problem::malformed("body is a string in this encoding"));
    Ok(match request.body_encoding {
        Encoding::Json => (
            Bytes::copy_from_slice(value.get().as_bytes()),
            Some("application/json"),
        ),
        Encoding::Text => (
            Bytes::from(string()?.into_owned()),
            Some("text/plain; charset=utf-8"),
        ),
        Encoding::Base64 => {
            let bytes = STANDARD.decode(string()?.as_bytes());
            let bytes = bytes.map_err(|_base64| Problem::malformed("body is not base64"))?;
            (Bytes::from(bytes), Some("application/octet-stream"))
        }
    })
}

/// Reads a body to its end.
///
/// # Errors
/// When it is longer than `limit` or than there is room for, ends too early, nothing comes of it for
/// `patience`, or all of it takes six times as long.
pub(super) async fn gather(
    body: &mut Body,
    limit: u64,
    patience: Duration,
    held: &mut Held,
) -> Result<Vec<u8>, Problem> {
    if body.length().is_some_and(|length| length > limit) {
        return Err(too_big(limit));
    }
    let whole = patience.saturating_mul(6);
    let gathered = timeout(whole, async {
        let mut gathered = Vec::new();
        while let Some(data) = next(body, patience).await? {
            if (gathered.len() + data.len()) as u64 > limit {
                return Err(too_big(limit));
            }
            held.add(data.len())?;
            gathered.extend_from_slice(&data);
        }
        Ok(gathered)
    });
    gathered.await.unwrap_or_else(|_elapsed| {
        let limit = whole.as_millis();
        Err(Problem::upstream_timeout(format!(
            "the answer was not whole in {limit} ms"
        )))
    })
}

fn too_big(limit: u64) -> Problem {
    Problem::response_too_big(format!("the answer is over {limit} bytes"))
}

/// The answers that one session has gathered and not sent yet, in bytes, and how many there may be.
#[derive(Debug, Clone)]
pub(super) struct Room {
    held: Arc<AtomicU64>,
    most: u64,
}

impl Room {
    pub(super) fn new(most: u64) -> Self {
        Self {
            held: Arc::default(),
            most,
        }
    }
}

/// What one call has of it; dropped, it is given back.
#[derive(Debug)]
pub(super) struct Held {
    room: Room,
    bytes: u64,
}

impl Held {
    pub(super) const fn nothing(room: Room) -> Self {
        Self { room, bytes: 0 }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = bytes as u64;
        self.bytes += bytes;
        let all = self.room.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all <= self.room.most {
            return Ok(());
        }
        let detail = "answers of this session wait to be taken";
        Err(Problem {
            retry_after: Some(Duration::from_secs(1)),
            ..Problem::too_many_in_flight(detail)
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The next piece of a body; `None` at its end.
pub(super) async fn next(body: &mut Body, patience: Duration) -> Result<Option<Bytes>, Problem> {
    loop {
        let pulled = timeout(patience, poll_fn(|cx| body.poll_part(cx))).await;
        let pulled = pulled.map_err(|_elapsed| {
            Problem::upstream_timeout("the service stopped in the middle of its answer")
        })?;
        match pulled {
            None => return Ok(None),
            Some(Ok(Part::Data(data))) => return Ok(Some(data)),
            Some(Ok(Part::Trailers(_))) => {}
            Some(Err(error)) => return Err(cut(&error)),
        }
    }
}

fn cut(error: &BodyError) -> Problem {
    tracing::debug!(%error, "answer cut");
    Problem::bad_gateway("the service's answer ended before its end")
}
