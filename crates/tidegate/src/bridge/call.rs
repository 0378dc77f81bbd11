//! One envelope's call over HTTP: what is sent, and what comes back.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method};
use tokio::time::timeout;

use super::address::{Base, Target, target};
use super::envelope::{Credit, Encoding, Request};
use super::members::text;
use super::problem::Problem;
use super::token::{Opened, Who};
use super::{Bridge, headers, presence, trace};
use crate::authority::Authority;
use crate::body::{Body, BodyError, Part};
use crate::dispatch;
use crate::exchange::{Answer, Downstream, Exchange};
use crate::handler::Life;
use crate::headers::{FieldName, Headers};
use crate::limits::Permits;
use crate::metrics::{CallMeter, ExchangeMeter};
use crate::proxy::Proxy;
use crate::push::resume::Recipient;
use crate::upstream::Service;
use crate::worker::Worker;

/// What the calls of one session have in common.
pub(super) struct Caller {
    pub(super) bridge: Arc<Bridge>,
    pub(super) worker: Arc<Worker>,
    pub(super) downstream: Arc<Downstream>,
    pub(super) client: IpAddr,
    pub(super) authority: Option<Authority>,
    pub(super) version_1: bool,
    /// Who opened the session; nobody, once that one has begun.
    pub(super) opened: Mutex<Option<Box<Opened>>>,
    /// What each call says of the session: fields of its handshake.
    pub(super) headers: Headers,
    /// Where pushes for the session are left.
    pub(super) recipient: Recipient,
    /// Bytes of answers that are gathered and not sent yet.
    pub(super) held: AtomicU64,
    /// What of its messages keeps the session from being idle.
    pub(super) life: Arc<Life>,
}

/// So many of the largest answers one session may have gathered and not taken.
const ROOM: u64 = 4;

/// A call that can be made.
pub(super) struct Call {
    exchange: Exchange,
    /// Whether `baseUrl` named a service; `None`: the routes are asked.
    service: Option<Arc<Proxy>>,
    patience: Duration,
    pub(super) accept: Option<Encoding>,
    pub(super) stream: bool,
    pub(super) credit: Option<Credit>,
    /// The id of its trace.
    pub(super) trace: Box<str>,
}

impl Caller {
    /// Makes a call of a request, whoever is meant by it, for `who` in the session of that id.
    pub(super) fn prepare(
        &self,
        request: &Request<'_>,
        who: &Who,
        session: &str,
    ) -> Result<Call, Problem> {
        let mut headers = self.headers.clone_with_room(request.headers.len() + 6);
        who.tell_wishes(&mut headers);
        let of_handshake = &self.bridge.plan.headers.from_handshake;
        headers::add_from_client(&mut headers, of_handshake, &request.headers)?;
        let trace = trace::settle(&mut headers);
        let prepared = self.prepare_traced(request, who, session, headers);
        match prepared {
            Ok(call) => Ok(Call { trace, ..call }),
            Err(problem) => Err(problem.traced(&trace)),
        }
    }

    /// What a request is refused with before it is a call.
    pub(super) fn traced(&self, problem: Problem, request: &Request<'_>) -> Problem {
        if problem.trace.is_some() {
            return problem;
        }
        let mut headers = self.headers.clone();
        let of_handshake = &self.bridge.plan.headers.from_handshake;
        // What is wrong with them is not what is told.
        let _ = headers::add_from_client(&mut headers, of_handshake, &request.headers);
        let trace = trace::settle(&mut headers);
        problem.traced(&trace)
    }

    fn prepare_traced(
        &self,
        request: &Request<'_>,
        who: &Who,
        session: &str,
        mut headers: Headers,
    ) -> Result<Call, Problem> {
        let (service, target) = match &request.base_url {
            Some(base) => {
                let base = Base::parse(base)?;
                let service = self.bridge.service(base.service)?;
                (Some(service), base.target(&request.uri)?)
            }
            None => (None, target("", &request.uri)?),
        };
        let target = self.checked(target)?;
        let (body, media_type) = body(request)?;
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
            // Where a method has a body as a rule, its absence is told (RFC 9110 section 8.6).
            if [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
                let zero = HeaderValue::from_static("0");
                headers.append(FieldName::from_static("Content-Length"), zero);
            }
        }
        who.tell_bearer(&mut headers);
        let connection = self.downstream.connection.to_string();
        if let Ok(connection) = HeaderValue::from_str(&connection) {
            headers.append(FieldName::from_static("X-Tidegate-Conn"), connection);
        }
        self.tell_user(&mut headers, who, session);
        let most = self.bridge.plan.timeout;
        let patience = request.timeout.map_or(most, |asked| asked.min(most));
        headers.append(
            FieldName::from_static("X-Request-Timeout-Ms"),
            HeaderValue::from(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)),
        );
        Ok(Call {
            exchange: Exchange {
                principal: who.principal.clone(),
                ..self.exchange(request.method.clone(), target, headers, body)
            },
            service,
            patience,
            accept: request.accept,
            stream: request.stream,
            credit: request.credit,
            trace: Box::default(),
        })
    }

    /// What is called, if a request over HTTP could have it: no longer, and without tokens.
    fn checked(&self, target: Target) -> Result<Target, Problem> {
        let query = target.query.as_ref().map_or(0, |query| query.len() + 1);
        let most = self.downstream.limits.max_target;
        if target.path.as_str().len() + query > most {
            let detail = format!("uri has more than {most} bytes");
            return Err(Problem::uri_too_long(detail));
        }
        let query = self.worker.authenticator().without_tokens(target.query);
        Ok(Target { query, ..target })
    }

    fn tell_user(&self, headers: &mut Headers, who: &Who, session: &str) {
        if let (Some(signer), Some(principal)) = (&self.bridge.signer, &who.principal) {
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
            // What a route requires, it requires of whoever the session speaks for: see `prepare`.
            principal: None,
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
    pub(super) async fn answer(
        self,
        caller: &Caller,
        call: &mut CallMeter,
    ) -> Result<(Answer, Permits), Problem> {
        let mut meter = ExchangeMeter::of_call(&caller.worker, &self.exchange.method, call);
        let meter = &mut meter;
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
                meter,
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
    held: &mut Held<'_>,
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

/// What one call has of the room that its session has for answers; dropped, it is given back.
pub(super) struct Held<'a> {
    caller: &'a Caller,
    bytes: u64,
}

impl<'a> Held<'a> {
    pub(super) const fn nothing(caller: &'a Caller) -> Self {
        Self { caller, bytes: 0 }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = bytes as u64;
        self.bytes += bytes;
        let all = self.caller.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let most = self.caller.bridge.plan.max_response.saturating_mul(ROOM);
        if all <= most {
            return Ok(());
        }
        let detail = "answers of this session wait to be taken";
        Err(Problem {
            retry_after: Some(Duration::from_secs(1)),
            ..Problem::too_many_in_flight(detail)
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.caller.held.fetch_sub(self.bytes, Ordering::Relaxed);
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
