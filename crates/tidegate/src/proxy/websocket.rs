//! A WebSocket upgrade through the proxy: the upstream is asked first, and what it says is what the
//! client gets.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::{HeaderValue, Method};
use tidegate_ws::deflate;
use tidegate_ws::handshake::{self, Extension, Fields as _, Key, ResponseError};
use tidegate_ws::scan::Extensions;
use tokio::time::{Instant, timeout};

use super::relay::Upstream;
use super::{Attempts, Proxy, connect, failure, headers, request_head};
use crate::body::{Body, BodyError, Bounded, Part, Pulled, Stream};
use crate::error::{GatewayError, UpstreamError};
use crate::exchange::{Answer, Exchange};
use crate::headers::{FieldName, Headers};
use crate::http1::HeadError;
use crate::http1::Limits;
use crate::http1::client::Call;
use crate::http1::head::{Framing, ResponseHead, Version};
use crate::metrics::ExchangeMeter;
use crate::pipeline::FrameFilters;
use crate::session::facts::Facts;
use crate::upgrade::{Acceptance, Decision, Partner, Wish, is_of_handshake};
use crate::upstream::{Lease, Purpose};
use crate::worker::Worker;

/// The most bytes of a refusal's body that are passed on.
const MAX_REFUSAL: u64 = 1024 * 1024;
/// The most bytes of a refusal's body that are read ahead to learn its length.
const MAX_GATHERED: usize = 64 * 1024;

/// Asks the service whether it takes the WebSocket, going on to the next endpoint while none has
/// said anything. Dropped, it leaves nothing behind: the upstream connection goes with it.
pub(crate) async fn decide(
    proxy: &Proxy,
    worker: &Arc<Worker>,
    exchange: &Exchange,
    mut wish: Wish,
    meter: &mut ExchangeMeter<'_>,
) -> Result<Decision, GatewayError> {
    let passing = &proxy.plan.websocket.extensions;
    wish.extensions
        .retain(|offer| is_deflate(offer) || foreign_name(offer, passing).is_some());
    if let Some(listed) = &proxy.plan.websocket.subprotocols {
        let is_listed = |offer: &String| listed.iter().any(|name| **name == **offer);
        wish.protocols.retain(is_listed);
    }
    let mut attempts = Attempts::new(&proxy.service, Purpose::Session, true);
    loop {
        let lease = attempts.lease(meter)?;
        let endpoint = lease.endpoint();
        match ask(proxy, worker, exchange, &wish, lease, meter).await {
            Ok(decision) => return Ok(decision),
            Err(error) => attempts.failed(&endpoint, error)?,
        }
    }
}

async fn ask(
    proxy: &Proxy,
    worker: &Arc<Worker>,
    exchange: &Exchange,
    wish: &Wish,
    lease: Lease,
    meter: &mut ExchangeMeter<'_>,
) -> Result<Decision, GatewayError> {
    let begun = Instant::now();
    // Sessions have connections of their own: a long one would empty the pool for the calls.
    let io = connect(proxy, worker, &lease.endpoint()).await?;
    let key = Key::new(fastrand::u128(..).to_ne_bytes());
    let head = handshake_head(proxy, exchange, wish, &key, &lease);
    let mut call = io.call(Method::GET, head, Framing::Length(0), Body::empty(), false);
    let answered = timeout(
        proxy.plan.service.handshake_timeout,
        poll_fn(|cx| call.poll_answer(&Limits::default(), cx)),
    );
    let head = answered
        .await
        .map_err(|_elapsed| UpstreamError::HandshakeTimeout)?
        .map_err(failure)?;
    meter.upstream_answered(begun.elapsed());
    if head.status.as_u16() != 101 {
        return Ok(Decision::Refuse(
            refusal(call, head, worker, proxy, lease).await,
        ));
    }
    // HTTP/1.0 knows no switch (RFC 9110 section 15.2).
    if head.version != Version::Http11 {
        return Err(UpstreamError::Malformed(HeadError::Version).into());
    }
    let relayed = check(&head.headers, &key, wish).map_err(UpstreamError::Switch)?;
    let mut headers = head.headers;
    let subprotocol = headers.get("sec-websocket-protocol").cloned();
    let extensions = headers
        .get_all("sec-websocket-extensions")
        .cloned()
        .collect();
    headers::remove_hop_by_hop(&mut headers);
    headers.retain(|field| !is_of_handshake(field.name.as_str()));
    let route = worker.route(proxy.place);
    let facts = Facts::new(
        route,
        exchange,
        Some(lease.endpoint()),
        subprotocol.as_ref(),
    );
    Ok(Decision::Accept(Box::new(Acceptance {
        key: wish.key,
        headers,
        subprotocol,
        extensions,
        partner: Partner::Upstream(Box::new(Upstream {
            leg: call.into_io().into_parts(),
            extensions: relayed,
            plan: Arc::clone(&proxy.plan.websocket),
            lease,
        })),
        filters: FrameFilters::default(),
        route: Arc::clone(worker.meters.route(proxy.place)),
        facts,
        principal: exchange.principal.clone(),
    })))
}

/// Our handshake with the upstream: the client's request with a key of our own.
fn handshake_head(
    proxy: &Proxy,
    exchange: &Exchange,
    wish: &Wish,
    key: &Key,
    lease: &Lease,
) -> BytesMut {
    let endpoint = &lease.endpoint().plan;
    let mut headers = headers::for_upstream(exchange, &proxy.plan, endpoint);
    headers.retain(|field| {
        ![
            "content-length",
            "expect",
            "sec-websocket-accept",
            "sec-websocket-extensions",
            "sec-websocket-key",
            "te",
        ]
        .iter()
        .any(|name| field.name.is(name))
    });
    let is_filtered = proxy.plan.websocket.subprotocols.is_some();
    headers.retain(|field| !is_filtered || !field.name.is("sec-websocket-protocol"));
    let mut add = |name, value: &[u8]| {
        // A key is base64, and offers were legal values before.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(FieldName::from_static(name), value);
        }
    };
    add("Connection", b"Upgrade");
    add("Upgrade", b"websocket");
    add("Sec-WebSocket-Key", key.as_bytes());
    if !wish.extensions.is_empty() {
        add(
            "Sec-WebSocket-Extensions",
            wish.extensions.join(", ").as_bytes(),
        );
    }
    if is_filtered && !wish.protocols.is_empty() {
        add(
            "Sec-WebSocket-Protocol",
            wish.protocols.join(", ").as_bytes(),
        );
    }
    let mut head = request_head(exchange, endpoint, &headers);
    head.extend_from_slice(b"\r\n");
    head
}

/// Whether an offer is one of permessage-deflate.
fn is_deflate(offer: &str) -> bool {
    name_of(offer).eq_ignore_ascii_case("permessage-deflate")
}

/// The name of an offer that is among `names`.
fn foreign_name<'o>(offer: &'o str, names: &[Box<str>]) -> Option<&'o str> {
    let name = name_of(offer);
    let is_listed = names.iter().any(|listed| name.eq_ignore_ascii_case(listed));
    is_listed.then_some(name)
}

fn name_of(offer: &str) -> &str {
    offer
        .split_once(';')
        .map_or(offer, |(name, _)| name)
        .trim_ascii()
}

/// Checks the upstream's 101 (RFC 6455 section 4.1, last list). A wrong one is never repaired.
fn check(headers: &Headers, key: &Key, wish: &Wish) -> Result<Extensions, ResponseError> {
    handshake::client::check_switch(key, headers)?;
    let offered: Vec<&str> = wish.protocols.iter().map(String::as_str).collect();
    handshake::chosen_protocol(headers.lines("sec-websocket-protocol"), &offered)?;
    let extensions = handshake::extensions(headers.lines("sec-websocket-extensions"))
        .map_err(|_malformed| ResponseError::Extensions)?;
    accepted_extensions(&extensions, &wish.extensions)
}

/// What the extensions that an upstream accepted are to the relay. Each must have been offered, and
/// none can be accepted twice.
fn accepted_extensions(
    accepted: &[Extension<'_>],
    offers: &[String],
) -> Result<Extensions, ResponseError> {
    let mut relayed = Extensions::None;
    for (place, one) in accepted.iter().enumerate() {
        let is_same = |name: &str| name.eq_ignore_ascii_case(one.name);
        let is_offered = if one.is_deflate() {
            deflate::answers(one, offers)
        } else {
            offers.iter().any(|offer| is_same(name_of(offer)))
        };
        let is_twice = accepted[..place].iter().any(|other| is_same(other.name));
        if !is_offered || is_twice {
            return Err(ResponseError::Extensions);
        }
        if !one.is_deflate() {
            relayed = Extensions::Foreign;
        } else if relayed == Extensions::None {
            relayed = Extensions::Deflate;
        }
    }
    Ok(relayed)
}

/// The upstream's own answer, with bounds on the size of its body and on the time that it takes. A
/// short body is given a length, because clients of a handshake seldom read chunks.
async fn refusal(
    call: Call,
    head: ResponseHead,
    worker: &Arc<Worker>,
    proxy: &Proxy,
    lease: Lease,
) -> Answer {
    let mut answer = super::answer(call, head, worker, proxy, lease);
    let rest = Bounded::new(std::mem::take(&mut answer.body), MAX_REFUSAL);
    let mut body = Gathered {
        ahead: BytesMut::new(),
        rest: rest.within(proxy.plan.service.handshake_timeout),
        failed: None,
    };
    answer.body = match body.length() {
        Some(0) => body.rest.into_inner(),
        None if body.gather().await => Body::full(body.ahead.freeze()),
        _ => Body::stream(body),
    };
    answer
}

/// A body of which some was read ahead.
struct Gathered {
    ahead: BytesMut,
    rest: Bounded,
    /// What ended the reading ahead.
    failed: Option<BodyError>,
}

impl Gathered {
    /// Reads ahead, up to a bound; whether that is the whole body.
    async fn gather(&mut self) -> bool {
        while self.ahead.len() < MAX_GATHERED {
            match poll_fn(|cx| self.rest.poll_part(cx)).await {
                None => return true,
                Some(Ok(Part::Data(data))) => self.ahead.extend_from_slice(&data),
                Some(Ok(Part::Trailers(_))) => {}
                Some(Err(error)) => {
                    self.failed = Some(error);
                    return false;
                }
            }
        }
        false
    }
}

impl Stream for Gathered {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            return Poll::Ready(Some(Ok(Part::Data(ahead.freeze()))));
        }
        match self.failed.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => self.rest.poll_part(cx),
        }
    }

    fn poll_aside(&mut self, cx: &mut Context<'_>) {
        self.rest.poll_aside(cx);
    }

    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.rest.poll_settle(cx)
    }

    fn length(&self) -> Option<u64> {
        self.rest.length()
    }
}
