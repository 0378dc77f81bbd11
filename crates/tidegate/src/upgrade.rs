//! The wish to become a WebSocket, the decision on it, and carrying it out.
//!
//! [`settle`] is the only place that writes a 101 and the only place that starts a session. Until
//! then nothing is promised: everything lives in the request's future, and a client that gives up
//! drops the upstream connection with it.

use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderValue;
use tidegate_ws::handshake::{Key, server};

use crate::auth::Principal;
use crate::body::Body;
use crate::error::GatewayError;
use crate::exchange::{Answer, Downstream, Exchange};
use crate::handler;
use crate::headers::Headers;
use crate::http1::head::Framing;
use crate::http1::server::DownstreamIo;
use crate::http1::write;
use crate::limits::Permits;
use crate::metrics::{ExchangeMeter, RouteMeters, SessionMeter};
use crate::pipeline::FrameFilters;
use crate::proxy;
use crate::proxy::relay::{self, Relay};
use crate::route::Target;
use crate::session::facts::Facts;
use crate::session::handle::Handle;
use crate::session::registry::Registered;
use crate::session::{Cause, Initiator};
use crate::task::{self, Kind};
use crate::transport::Transport;
use crate::worker::{Present, Worker};

/// A client's wish to become a WebSocket, checked (RFC 6455 section 4.2.1).
#[derive(Debug)]
pub(crate) struct Wish {
    /// Its key.
    pub(crate) key: Key,
    /// The subprotocols that it offers.
    pub(crate) protocols: Vec<String>,
    /// The extensions that it offers, each with its parameters; which of them may pass is the
    /// route's to say.
    pub(crate) extensions: Vec<String>,
}

/// The verdict on a wish.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It becomes a WebSocket.
    Accept(Box<Acceptance>),
    /// It does not; the client gets this.
    Refuse(Answer),
}

/// What a session needs to start, once somebody has agreed to it.
#[derive(Debug)]
pub(crate) struct Acceptance {
    /// The client's key, which the 101 answers.
    pub(crate) key: Key,
    /// The fields of the 101 that are not of the handshake; filters may change them.
    pub(crate) headers: Headers,
    /// The subprotocol that the partner chose.
    pub(crate) subprotocol: Option<HeaderValue>,
    /// The extensions that it accepted, line by line.
    pub(crate) extensions: Vec<HeaderValue>,
    /// Who agreed.
    pub(crate) partner: Partner,
    /// Who watches the session's frames.
    pub(crate) filters: FrameFilters,
    /// Where the session is counted.
    pub(crate) route: Arc<RouteMeters>,
    /// What those who operate the gateway are told of it.
    pub(crate) facts: Facts,
    /// Who asks for it, where that is known.
    pub(crate) principal: Option<Arc<Principal>>,
}

/// Who has agreed to a session, and will hold its other end.
#[derive(Debug)]
pub(crate) enum Partner {
    /// Code of the embedder's.
    Handler(Box<handler::Agreed>),
    /// A service: the session is relayed.
    Upstream(Box<relay::Upstream>),
}

/// What a session begins with, whoever its partner is.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The client's leg, with what it sent behind its request.
    pub(crate) downstream: (Transport, BytesMut),
    /// Who watches its frames.
    pub(crate) filters: FrameFilters,
    /// What it uses of what is capped.
    pub(crate) permits: Permits,
    /// Its place in the registry.
    pub(crate) registered: Registered,
    /// Where it runs, and is in the load.
    pub(crate) worker: Present,
    /// Where it is counted.
    pub(crate) meter: SessionMeter,
}

/// Asks the route's target whether it takes the WebSocket: a proxy asks its service, a handler is asked
/// itself. Dropped, it leaves nothing behind.
pub(crate) async fn decide(
    target: &Target,
    worker: &Arc<Worker>,
    exchange: &Exchange,
    wish: Wish,
    meter: &mut ExchangeMeter<'_>,
) -> Result<Decision, GatewayError> {
    // A session that began now would be ended at once.
    if worker.drain.has_closed() {
        return Err(GatewayError::Draining);
    }
    let decision = match target {
        Target::Bridge(bridge) => bridge.decide(worker, exchange, &wish),
        Target::Handler(handler) => handler.decide(worker, exchange, &wish),
        Target::Proxy(proxy) => {
            proxy::websocket::decide(proxy, worker, exchange, wish, meter).await?
        }
    };
    match decision {
        Decision::Accept(_) if worker.drain.has_closed() => Err(GatewayError::Draining),
        decision => Ok(decision),
    }
}

impl Wish {
    /// Reads the wish out of an upgrade request.
    pub(crate) fn parse(exchange: &Exchange) -> Result<Self, GatewayError> {
        let wish = server::Wish::parse(&exchange.headers)?;
        if exchange.body.length() != Some(0) {
            return Err(GatewayError::UpgradeBody);
        }
        let own = |text: &str| text.to_owned();
        Ok(Self {
            key: wish.key,
            protocols: wish.protocols.into_iter().map(own).collect(),
            extensions: wish.extensions.iter().map(|one| own(one.text)).collect(),
        })
    }

    /// Forgets subprotocols that a filter has taken out of the offer.
    pub(crate) fn keep_offered(&mut self, exchange: &Exchange) {
        let headers = &exchange.headers;
        self.protocols.retain(|name| {
            let mut offered = headers.list("sec-websocket-protocol");
            offered.any(|one| one == name.as_bytes())
        });
    }
}

/// Writes the 101 and starts the session. What `meter` counts is a 101 once that is written.
pub(crate) async fn settle(
    mut acceptance: Acceptance,
    io: DownstreamIo,
    (permits, downstream): (Permits, &Downstream),
    worker: &Arc<Worker>,
    meter: ExchangeMeter<'_>,
) {
    if acceptance.facts.user().is_some() {
        // An upstream may be such a gateway too; of two names, the client gets that of the nearer one.
        acceptance.headers.remove(SESSION);
    }
    let mut head = switching_head(&acceptance);
    // Before the 101, so that whoever has it finds the session.
    let present = Present::new(worker);
    let roles = acceptance.principal.as_ref().map(|one| one.shared_roles());
    let (sessions, clock) = (&worker.sessions, &worker.clock);
    let registered = sessions.register(downstream.connection, acceptance.facts, roles, clock);
    if let Some(identity) = registered.handle().identity() {
        tell_session(&mut head, registered.handle(), downstream.secure);
        // Whoever revoked its token meanwhile has passed by here already.
        if worker.authenticator().revocations().hold(&identity) {
            registered.handle().order(Cause::TokenRevoked);
        }
    }
    head.extend_from_slice(b"\r\n");
    if let Partner::Handler(agreed) = &acceptance.partner
        && let Some(mailbox) = &agreed.mailbox
    {
        worker.push().directory.enter(mailbox, registered.handle());
    }
    if io
        .write(head, Framing::Length(0), Body::empty())
        .await
        .is_err()
    {
        // The client is gone, and the upstream connection goes with this frame.
        let handle = registered.handle();
        return handle.publish_closed((1006, Cause::ClientLost, Initiator::Client));
    }
    // An upgrade has no body, so nobody else holds the connection.
    let Some(leg) = io.into_parts() else {
        return;
    };
    meter.switched(registered.handle());
    let opening = Opening {
        downstream: leg,
        filters: acceptance.filters,
        permits,
        registered,
        worker: present,
        meter: SessionMeter::opened(acceptance.route),
    };
    // In a task of its own, so that what the request held is given back.
    match acceptance.partner {
        Partner::Handler(agreed) => {
            task::spawn(Kind::Session, worker.panics(), agreed.begin(opening));
        }
        Partner::Upstream(upstream) => {
            let relay = Relay::new(*upstream, opening);
            task::spawn(Kind::Session, worker.panics(), relay);
        }
    }
}

fn switching_head(acceptance: &Acceptance) -> BytesMut {
    let mut head = BytesMut::with_capacity(512);
    head.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    write::field(&mut head, b"Sec-WebSocket-Accept", &acceptance.key.accept());
    if let Some(subprotocol) = &acceptance.subprotocol {
        write::field(&mut head, b"Sec-WebSocket-Protocol", subprotocol.as_bytes());
    }
    for extensions in &acceptance.extensions {
        write::field(
            &mut head,
            b"Sec-WebSocket-Extensions",
            extensions.as_bytes(),
        );
    }
    for field in acceptance
        .headers
        .iter()
        .filter(|field| !is_of_handshake(field.name.as_str()))
    {
        write::field(
            &mut head,
            field.name.as_str().as_bytes(),
            field.value.as_bytes(),
        );
    }
    head
}

/// Tells who opened the session what it is called, by which it can be given a newer token.
fn tell_session(head: &mut BytesMut, handle: &Handle, is_secure: bool) {
    let id = handle.id.to_string();
    write::field(head, SESSION.as_bytes(), id.as_bytes());
    if let Some(cookie) = &handle.facts.tokens().session_cookie {
        let secure = if is_secure { "; Secure" } else { "" };
        let cookie = format!("{cookie}={id}; Path=/; SameSite=Strict{secure}");
        write::field(head, b"Set-Cookie", cookie.as_bytes());
    }
}

/// The field of a 101 that tells what its session is called.
const SESSION: &str = "X-Tidegate-Session";

/// Whether a field of a 101 is ours to write, whatever a filter says.
pub(crate) fn is_of_handshake(name: &str) -> bool {
    const PREFIX: &str = "sec-websocket-";
    ["connection", "content-length", "upgrade"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}
