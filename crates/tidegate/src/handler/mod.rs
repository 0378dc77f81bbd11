//! Handlers: code of an embedder's at which a route ends.
//!
//! A route says `handler: chat`, and [`GatewayBuilder::handler`](crate::GatewayBuilder::handler) says what
//! `chat` is. Until the 101 such a route is like any other: its filters see the request, its limits hold,
//! and what they refuse is refused over HTTP. Then the handler is given a [`WebSocketSession`], whose
//! other end is the client.
//!
//! # What a handler knows
//!
//! [`WebSocketSession::handshake`] tells of the request, as filters have left it: its URL, headers, cookies,
//! the client's address, the subprotocol, and the [`Principal`] if a filter has put one into
//! [`Exchange::extensions`](crate::exchange::Exchange::extensions). Among its attributes, which are found by
//! their type, are [`RouteFacts`] and, of the [`Attributes`] that filters have put there, those whose names
//! [`GatewayBuilder::attributes`](crate::GatewayBuilder::attributes) selects; none unless it does. What else
//! is among the extensions, a handler is not given: it may be secret, or too large to keep. One that needs
//! nothing of all this any more drops it by [`WebSocketSession::take_handshake`], and gives back its memory.
//!
//! # What the gateway does meanwhile
//!
//! It answers pings and asks clients for signs of life, ends sessions that are idle, too old or too slow,
//! counts what passes, lists the session and can end it by the admin listener, and drains it; by the
//! limits of the route ([`HandlerLimits`](crate::config::plan::HandlerLimits)). Once the session is over,
//! [`receive`](WebSocketSession::receive) says so, and the handler has `close_timeout` (5 s) to return; then
//! its future is dropped. So it is when the gateway is cut.
//!
//! # What it must not do
//!
//! Handlers run on the threads of the workers, each with a runtime of one thread (`current_thread`), beside
//! thousands of other sessions. **A handler that blocks, blocks them all**: no blocking I/O, no long
//! computation, no lock that is held for long. Such work belongs on a thread of the embedder's own
//! (`tokio::task::spawn_blocking`, or a runtime beside the gateway), with a channel in between. What a handler
//! spawns by `tokio::spawn` runs on the same thread, and ends with the gateway.
//!
//! A panic in a handler ends its session, with 1011, and no other; it is counted
//! (`tidegate_panics_total`).

mod filtered;
mod handshake;
mod leg;
mod session;
mod target;
mod watch;

pub use tidegate_ws::attributes::{Attributes, Principal};
pub use tidegate_ws::{
    BoxError, Close, Message, ReceiveHalf, SendHalf, SessionError, Text, WebSocketHandler,
    WebSocketSession,
};
pub use tidegate_ws::{Ending, HandshakeInfo};

pub use self::handshake::RouteFacts;
pub(crate) use self::target::{Agreed, Handler, Handlers, agree_to_deflate, config};
