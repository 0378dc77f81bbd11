//! From an HTTP server's request to a session: what to answer, and what to run afterwards.
//!
//! A [`HandshakeService`] looks at an `http::Request` of any server. What comes out is the answer to
//! write, and where that is a 101, a [`Pending`] session that waits for the connection:
//!
//! ```no_run
//! # use tidegate_ws::service::HandshakeService;
//! # use tidegate_ws::session::WebSocketSession;
//! # async fn upgraded() -> tokio::io::DuplexStream { unimplemented!() }
//! # async fn serve(request: http::Request<()>) {
//! let service = HandshakeService::new();
//! let (response, pending) = service.handle(&request).into_parts();
//! // Give `response` to the HTTP server. If there is a session, it begins behind it:
//! if let Some(pending) = pending {
//!     let io = upgraded().await;
//!     pending
//!         .run(io, |mut session: WebSocketSession| async move {
//!             while let Some(message) = session.receive().await {
//!                 session.send(message?).await?;
//!             }
//!             Ok(())
//!         })
//!         .await;
//! }
//! # }
//! ```

mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::refusal::{Refusal, Why};
use crate::attributes::{Attributes, Principal, RemoteAddress};
use crate::cors::{Cors, CorsError, CorsPolicy, Origin, Own};
use crate::deflate;
use crate::handler::WebSocketHandler;
use crate::handshake::server::{Wish, decide};
use crate::session::{self, Ending, HandshakeInfo, Opening, SessionConfig};

/// What opens sessions, and how.
///
/// Unless told otherwise: pages of the same origin alone and programs that are no browsers, no
/// subprotocol, no compression, no attributes, and the defaults of [`SessionConfig`].
#[derive(Clone, Default)]
pub struct HandshakeService {
    subprotocols: Vec<Box<str>>,
    session: Arc<SessionConfig>,
    cors: Cors,
    policy: CorsPolicy,
    scheme: Option<Box<str>>,
    attributes: Option<Selector>,
}

type Selector = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What came of a request.
#[derive(Debug)]
pub enum Outcome<P = Pending> {
    /// It becomes a session, once the answer is written.
    Switch {
        /// The 101.
        response: Response<()>,
        /// The session.
        pending: P,
    },
    /// It does not.
    Refuse(Refusal),
}

/// A session that waits for its connection: all that was agreed. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Pending {
    info: Box<HandshakeInfo>,
    deflate: Option<deflate::Agreed>,
    session: Arc<SessionConfig>,
}

impl HandshakeService {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults, speaking what `handler` does: that is settled by [`handle`](Self::handle), before
    /// there is a handler to run.
    #[must_use]
    pub fn speaking(handler: &impl WebSocketHandler) -> Self {
        Self::new().subprotocols(handler.subprotocols())
    }

    /// The subprotocols that may be agreed on; the client's order counts. A client that
    /// offers none of them gets a session without. Default: none.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item: Into<Box<str>>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// How sessions behave: limits, timeouts, keep-alive, and whether messages are compressed for
    /// clients that offer it ([`SessionConfig::deflate`]; not by default).
    #[must_use]
    pub fn session(mut self, config: impl Into<Arc<SessionConfig>>) -> Self {
        self.session = config.into();
        self
    }

    /// Which pages may open a session. Default: those of the same origin.
    ///
    /// # Errors
    /// When the settings contradict each other ([`Cors::build`]).
    pub fn cors(mut self, cors: Cors) -> Result<Self, CorsError> {
        self.policy = cors.build()?;
        self.cors = cors;
        Ok(self)
    }

    /// The scheme by which clients come, `http` or `https`, to compare origins with. Default: not
    /// known, so that a page's own scheme is taken.
    #[must_use]
    pub fn scheme(mut self, scheme: impl Into<Box<str>>) -> Self {
        self.scheme = Some(scheme.into());
        self
    }

    /// Which of the [`Attributes`] among a request's extensions a session is given, by name.
    /// Default: none.
    #[must_use]
    pub fn attributes(mut self, wanted: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.attributes = Some(Arc::new(wanted));
        self
    }

    /// Judges a request, of which the body is not looked at.
    pub fn handle<B>(&self, request: &Request<B>) -> Outcome {
        match self.decide(request, &self.policy) {
            Ok((response, pending)) => Outcome::Switch { response, pending },
            Err(why) => Outcome::Refuse(Refusal::new(why)),
        }
    }

    /// Speaks what `handler` does, unless it speaks something already.
    #[cfg(feature = "mapping")]
    pub(crate) fn or_speaking(self, handler: &impl WebSocketHandler) -> Self {
        if self.subprotocols.is_empty() {
            return self.subprotocols(handler.subprotocols());
        }
        self
    }

    /// What is configured about origins, to be combined with a pattern's.
    #[cfg(feature = "mapping")]
    pub(crate) const fn own_cors(&self) -> &Cors {
        &self.cors
    }

    pub(crate) fn decide<B>(
        &self,
        request: &Request<B>,
        policy: &CorsPolicy,
    ) -> Result<(Response<()>, Pending), Why> {
        let headers = request.headers();
        let wish = decide(request.method(), request.version(), headers)?;
        let origin = Origin::parse(headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes));
        let own = Own {
            scheme: self.scheme.as_deref(),
            authority: headers.get(HOST).and_then(|host| host.to_str().ok()),
        };
        policy.handshake(&origin, own)?;

        let mut accepted = wish.accept(&self.subprotocols);
        let deflate = self.agree_on_deflate(&wish);
        if let Some((_, value)) = &deflate {
            accepted = accepted.with_extensions(value.clone());
        }
        let mut info = self.info(request);
        info.subprotocol = accepted.subprotocol().map(Into::into);
        let pending = Pending {
            info: Box::new(info),
            deflate: deflate.map(|(agreed, _)| agreed),
            session: Arc::clone(&self.session),
        };
        Ok((accepted.response(), pending))
    }

    fn agree_on_deflate(&self, wish: &Wish<'_>) -> Option<(deflate::Agreed, HeaderValue)> {
        let config = self.session.deflate.as_ref()?;
        let (agreed, element) = deflate::accept(&wish.extensions, config)?;
        Some((agreed, HeaderValue::try_from(element).ok()?))
    }

    fn info<B>(&self, request: &Request<B>) -> HandshakeInfo {
        let known = request.extensions();
        let mut info = HandshakeInfo::new(request.uri().clone(), request.headers().clone());
        info.cookies = cookies(request.headers());
        info.principal = known.get().map(|Principal(name)| Arc::clone(name));
        info.remote_address = known.get().map(|RemoteAddress(address)| *address);
        if let (Some(attributes), Some(wanted)) = (known.get::<Attributes>(), &self.attributes) {
            info.attributes.insert(attributes.select(&**wanted));
        }
        info
    }
}

impl fmt::Debug for HandshakeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeService")
            .field("subprotocols", &self.subprotocols)
            .field("session", &self.session)
            .field("cors", &self.cors)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl<P> Outcome<P> {
    /// The answer in one form, and the session if there is one.
    pub fn into_parts(self) -> (Response<Bytes>, Option<P>) {
        match self {
            Self::Switch { response, pending } => (response.map(|()| Bytes::new()), Some(pending)),
            Self::Refuse(refusal) => (refusal.into_response(), None),
        }
    }
}

impl Pending {
    /// What is known of the handshake.
    #[must_use]
    pub const fn handshake(&self) -> &HandshakeInfo {
        &self.info
    }

    /// The same, for whoever knows more.
    pub const fn handshake_mut(&mut self) -> &mut HandshakeInfo {
        &mut self.info
    }

    /// Runs the session over `io`, which is the connection behind the 101, until it is over. Dropped,
    /// the session and its connection go with it.
    ///
    /// The handler's subprotocols are not looked at any more: the service has agreed on one
    /// ([`HandshakeService::speaking`]).
    pub async fn run<I>(self, io: I, handler: impl WebSocketHandler) -> Ending
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut opening = Opening::from(*self.info);
        opening.deflate = self.deflate;
        session::run(io, opening, self.session, handler).await
    }

    /// As [`run`](Self::run), once `connection` is there: what an HTTP server gives for one that it
    /// will hand over when the 101 is written.
    ///
    /// # Errors
    /// When the connection never comes.
    pub async fn run_when<I, E>(
        self,
        connection: impl Future<Output = Result<I, E>>,
        handler: impl WebSocketHandler,
    ) -> Result<Ending, E>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Ok(self.run(connection.await?, handler).await)
    }
}

/// The cookies of all lines (RFC 6265 section 4.2.1), as they stand there.
fn cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim_ascii().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
