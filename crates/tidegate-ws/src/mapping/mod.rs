//! Handlers by path: which one a request is for, and what holds for it there.
//!
//! ```
//! use tidegate_ws::cors::Cors;
//! use tidegate_ws::mapping::{MappedHandler, HandlerMapping};
//! use tidegate_ws::path::Captures;
//! use tidegate_ws::session::WebSocketSession;
//!
//! async fn chat(session: WebSocketSession) -> Result<(), tidegate_ws::BoxError> {
//!     let captures = session.handshake().and_then(|info| info.attributes.get::<Captures>());
//!     let room = captures.and_then(|captures| captures.get("room"));
//!     // ...
//!     # let _ = room;
//!     Ok(())
//! }
//!
//! let mapping = HandlerMapping::builder()
//!     .handler("/chat/{room}", MappedHandler::new(chat))
//!     .handler("/admin/**", MappedHandler::new(chat).order(-1))
//!     .cors("/chat/**", Cors::new().allow_origin("https://app.example.com".parse()?))
//!     .build()?;
//!
//! let request = http::Request::get("/chat/lobby").body(())?;
//! let (answer, pending) = mapping.handle(&request).into_parts();
//! assert_eq!(answer.status(), 426, "it is there, but this is no handshake");
//! assert!(pending.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::cors::{Cors, CorsError, CorsPolicy};
use crate::handler::{AnyHandler, WebSocketHandler};
use crate::handshake::{connection_upgrades, upgrades_to_websocket};
use crate::path::{Captures, Path, PathError, PathPattern, PatternError};
use crate::service::{HandshakeService, Outcome, Pending, Refusal, Why};
use crate::session::Ending;

/// A handler with what holds for its sessions.
#[derive(Debug, Clone)]
pub struct MappedHandler {
    handler: AnyHandler,
    service: HandshakeService,
    order: i32,
}

/// Handlers by path patterns, in their order.
#[derive(Debug, Clone, Default)]
pub struct HandlerMapping {
    entries: Vec<Entry>,
    cors: Vec<PathPattern>,
}

/// Collects what a [`HandlerMapping`] is made of.
#[derive(Debug, Default)]
pub struct HandlerMappingBuilder {
    handlers: Vec<(String, MappedHandler)>,
    cors: Vec<(String, Cors)>,
}

/// Why a mapping cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// What is configured about origins at a handler, and at the path pattern beside it,
    /// contradicts each other.
    #[error("the origins of the handler at `{pattern}`: {source}")]
    Cors {
        /// The handler's pattern.
        pattern: String,
        /// How.
        source: CorsError,
    },
    /// A path pattern is none.
    #[error("the path pattern `{pattern}`: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
}

/// A session that waits for its connection, with the handler that it is for.
#[derive(Debug)]
pub struct MappedPending {
    pending: Pending,
    handler: AnyHandler,
}

#[derive(Debug, Clone)]
struct Entry {
    pattern: PathPattern,
    mapped: MappedHandler,
    /// The handler's own policy, then its policies below each of the mapping's `cors` patterns.
    policies: Vec<CorsPolicy>,
}

impl MappedHandler {
    /// A handler with the defaults of [`HandshakeService`], speaking the handler's subprotocols.
    #[must_use]
    pub fn new(handler: impl WebSocketHandler) -> Self {
        Self::with_service(handler, HandshakeService::new())
    }

    /// A handler whose sessions this service opens. A service that names no subprotocols speaks the
    /// handler's.
    #[must_use]
    pub fn with_service(handler: impl WebSocketHandler, service: HandshakeService) -> Self {
        let service = service.or_speaking(&handler);
        Self {
            handler: AnyHandler::new(handler),
            service,
            order: 0,
        }
    }

    /// Its place among the handlers: lower comes first, and of the same order what was added first.
    /// With an order below 0 it comes before the other routes of the server, see
    /// [`HandlerMapping::before`]. Default: 0.
    #[must_use]
    pub const fn order(mut self, order: i32) -> Self {
        self.order = order;
        self
    }
}

impl HandlerMapping {
    /// A builder with no handlers yet.
    #[must_use]
    pub fn builder() -> HandlerMappingBuilder {
        HandlerMappingBuilder::default()
    }

    /// Judges a request for a server that has no other routes: where no pattern matches, it is
    /// refused (404), and so is a path that could be read in two ways (400).
    pub fn handle<B>(&self, request: &Request<B>) -> Outcome<MappedPending> {
        let why = match self.first(request, |_entry| true) {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => Why::NoHandler,
            Err(error) => error.into(),
        };
        Outcome::Refuse(Refusal::new(why))
    }

    /// Judges a request before the server's other routes are asked: `None` unless it asks for a
    /// WebSocket where a handler of an order below 0 is. So one path can serve WebSockets here and
    /// plain requests there.
    pub fn before<B>(&self, request: &Request<B>) -> Option<Outcome<MappedPending>> {
        let headers = request.headers();
        let is_upgrade = connection_upgrades(headers) && upgrades_to_websocket(headers);
        is_upgrade
            .then(|| self.first(request, |entry| entry.mapped.order < 0).ok())
            .flatten()
            .flatten()
    }

    /// Judges a request that none of the server's other routes took: `None` where no pattern
    /// matches, as none does where a path could be read in two ways. A request that asks for no
    /// WebSocket is refused (426) where a handler is.
    pub fn after<B>(&self, request: &Request<B>) -> Option<Outcome<MappedPending>> {
        self.first(request, |_entry| true).ok().flatten()
    }

    /// The answer of the first handler that is meant, if there is one.
    fn first<B>(
        &self,
        request: &Request<B>,
        is_meant: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Outcome<MappedPending>>, PathError> {
        let path = Path::normalise(request.uri().path().as_bytes())?;
        let mut captures = Captures::default();
        let matching = self
            .entries
            .iter()
            .filter(|entry| is_meant(entry))
            .find(|entry| entry.pattern.matches(&path, &mut captures));
        let Some(entry) = matching else {
            return Ok(None);
        };
        let place = self
            .cors
            .iter()
            .position(|pattern| pattern.matches(&path, &mut Captures::default()))
            .map_or(0, |place| place + 1);
        Ok(Some(entry.handle(request, place, captures)))
    }
}

impl Entry {
    fn handle<B>(
        &self,
        request: &Request<B>,
        place: usize,
        captures: Captures,
    ) -> Outcome<MappedPending> {
        // There is one for every place.
        let same_origin = CorsPolicy::default();
        let policy = self.policies.get(place).unwrap_or(&same_origin);
        match self.mapped.service.decide(request, policy) {
            Ok((response, mut pending)) => {
                pending.handshake_mut().attributes.insert(captures);
                let handler = self.mapped.handler.clone();
                Outcome::Switch {
                    response,
                    pending: MappedPending { pending, handler },
                }
            }
            Err(why) => Outcome::Refuse(Refusal::new(why)),
        }
    }
}

impl HandlerMappingBuilder {
    /// Adds a handler at the paths that match `pattern`; [`PathPattern`] tells how it is written.
    /// What the pattern captures is among the session's attributes, as [`Captures`].
    #[must_use]
    pub fn handler(mut self, pattern: impl Into<String>, mapped: MappedHandler) -> Self {
        self.handlers.push((pattern.into(), mapped));
        self
    }

    /// Adds what holds about origins at the paths that match `pattern`, whatever the handler. The
    /// first of these patterns that matches counts; it is combined with the handler's own
    /// settings, which win ([`Cors::combine`]).
    #[must_use]
    pub fn cors(mut self, pattern: impl Into<String>, cors: Cors) -> Self {
        self.cors.push((pattern.into(), cors));
        self
    }

    /// The mapping.
    ///
    /// # Errors
    /// When a pattern is none, or settings about origins contradict each other.
    pub fn build(self) -> Result<HandlerMapping, MappingError> {
        let (patterns, settings): (Vec<_>, Vec<_>) = self.cors.into_iter().unzip();
        let cors = patterns
            .into_iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        let mut entries = self
            .handlers
            .into_iter()
            .map(|(pattern, mapped)| Entry::new(pattern, mapped, &settings))
            .collect::<Result<Vec<_>, _>>()?;
        // Stable, so that equals stay as they were added.
        entries.sort_by_key(|entry| entry.mapped.order);
        Ok(HandlerMapping { entries, cors })
    }
}

impl Entry {
    fn new(
        pattern: String,
        mapped: MappedHandler,
        settings: &[Cors],
    ) -> Result<Self, MappingError> {
        let own = mapped.service.own_cors();
        let combined = settings.iter().map(|pattern| own.combine(pattern).build());
        let policies = std::iter::once(own.build())
            .chain(combined)
            .collect::<Result<_, _>>();
        Ok(Self {
            policies: policies.map_err(|source| MappingError::Cors {
                pattern: pattern.clone(),
                source,
            })?,
            pattern: parse(pattern)?,
            mapped,
        })
    }
}

impl MappedPending {
    /// The session, to be run with another handler or to be told more.
    pub const fn pending_mut(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// Runs the session with its handler over `io`, see [`Pending::run`].
    pub async fn run<I>(self, io: I) -> Ending
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.pending.run(io, self.handler).await
    }

    /// As [`run`](Self::run), once the connection is there, see [`Pending::run_when`].
    ///
    /// # Errors
    /// When the connection never comes.
    pub async fn run_when<I, E>(
        self,
        connection: impl Future<Output = Result<I, E>>,
    ) -> Result<Ending, E>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.pending.run_when(connection, self.handler).await
    }
}

fn parse(pattern: String) -> Result<PathPattern, MappingError> {
    PathPattern::parse(&pattern).map_err(|source| MappingError::Pattern { pattern, source })
}
