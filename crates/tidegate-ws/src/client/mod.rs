//! A client: it opens sessions with servers.
//!
//! ```no_run
//! use tidegate_ws::client::{ClientError, WebSocketClient};
//!
//! # async fn run() -> Result<(), tidegate_ws::BoxError> {
//! let client = WebSocketClient::new().subprotocol("chat");
//! match client.connect("ws://example.com/lobby").await {
//!     Ok(mut connected) => {
//!         connected.session.send("hello").await?;
//!         let answer = connected.session.receive().await;
//!         println!("{answer:?} after {}", connected.response.status());
//!     }
//!     Err(ClientError::Refused(refused)) => {
//!         println!("{}: {:?}", refused.response.status(), refused.response.body());
//!     }
//!     Err(error) => println!("{error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What a server answers is judged strictly: the key is new for each connection and must be
//! answered, a subprotocol or an extension that was not offered ends the connection, and so does an
//! answer that is too large or too slow. Redirects are not followed: they are refusals.

mod answer;
mod debug;
mod dial;
mod error;
mod target;
#[cfg(feature = "tls")]
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use self::answer::{Answer, refused};
use self::dial::Dialled;
pub use self::error::{ClientError, Refused};
use self::target::Target;
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
use crate::codec::{Randomness, Role};
use crate::deflate;
use crate::handler::WebSocketHandler;
use crate::handshake::client::Offer;
use crate::session::{self, Ending, HandshakeInfo, Opening, SessionConfig, WebSocketSession};

/// Opens sessions. It keeps no connection and no state: one serves any number of sessions, with
/// what was set on it.
#[derive(Clone)]
pub struct WebSocketClient {
    headers: HeaderMap,
    subprotocols: Vec<Box<str>>,
    session: Arc<SessionConfig>,
    timeout: Duration,
    max_head: usize,
    max_body: usize,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// An open session, and what the server answered.
#[non_exhaustive]
pub struct Connected {
    /// The session. It stands alone: pings are answered and the peer's close is, while one of its
    /// futures is polled; of the times it keeps that of its `close` alone.
    /// [`WebSocketClient::execute`] looks after one.
    pub session: WebSocketSession,
    /// The head of the 101.
    pub response: Response<()>,
}

/// A session that is over, and what the server had answered.
#[non_exhaustive]
pub struct Executed {
    /// How it ended.
    pub ending: Ending,
    /// The head of the 101.
    pub response: Response<()>,
}

impl WebSocketClient {
    /// A client without headers and subprotocols of its own, with the defaults of
    /// [`SessionConfig`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a header field with each handshake, beside those of the same name. `Host` replaces
    /// that of the URL. The handshake's own fields cannot be set: then no session opens
    /// ([`ClientError::Header`]).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Offers a subprotocol, behind those that were offered before. What is no token, or is offered
    /// twice, opens no session ([`ClientError::Protocol`]).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<Box<str>>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// How sessions behave: limits, and whether compression is offered
    /// ([`SessionConfig::deflate`]; not by default). Timeouts and the keep-alive are those of
    /// [`execute`](Self::execute); a session of [`connect`](Self::connect) only keeps
    /// [`SessionConfig::close_timeout`].
    #[must_use]
    pub fn session(mut self, config: impl Into<Arc<SessionConfig>>) -> Self {
        self.session = config.into();
        self
    }

    /// How long it may take until a session is open, or until a refusal is all there: the name's
    /// resolution, the connection, TLS and the handshake together. Default: 10 seconds.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most bytes that the heads of the answer may have, interim answers included; it has at
    /// most 100 fields. Default: 64 KiB.
    #[must_use]
    pub const fn max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes;
        self
    }

    /// The most bytes of a refusal's body that are kept. Default: 64 KiB.
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Whom to believe at `wss` URLs, and what to show them. Default: the authorities of the
    /// system, which are read at the first use.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Opens a session at `url`: `ws://` or `wss://` (or `http`, `https`), host, port, path, query.
    /// `wss` needs the feature `tls`.
    ///
    /// The session stands alone: it is served while one of its futures is polled, and of the times of
    /// its configuration it keeps none but [`SessionConfig::close_timeout`].
    /// [`execute`](Self::execute) keeps all.
    ///
    /// Cancel-safe: dropped, it leaves nothing behind.
    ///
    /// # Errors
    /// Each of [`ClientError`]; an answer that opens no session is [`ClientError::Refused`].
    pub async fn connect(&self, url: &str) -> Result<Connected, ClientError> {
        let (target, deadline) = (Target::parse(url)?, self.deadline());
        match self.dial(&target, deadline).await? {
            Dialled::Plain(io) => self.start(io, &target, deadline).await,
            #[cfg(feature = "tls")]
            Dialled::Tls(io) => self.start(*io, &target, deadline).await,
        }
    }

    /// As [`connect`](Self::connect), over a connection that is there already. It is taken as it
    /// is: at a `wss` URL too, TLS is the caller's.
    ///
    /// # Errors
    /// As `connect`, save for those of the connection.
    pub async fn connect_over<I>(&self, io: I, url: &str) -> Result<Connected, ClientError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let target = Target::parse(url)?;
        self.start(io, &target, self.deadline()).await
    }

    /// Opens a session at `url`, offering the handler's subprotocols too, and runs `handler` on it
    /// until it is over.
    ///
    /// Dropped, it drops the handler and the connection.
    ///
    /// # Errors
    /// As [`connect`](Self::connect). Once the session is open, how it ends is told by
    /// [`Executed::ending`].
    pub async fn execute(
        &self,
        url: &str,
        handler: impl WebSocketHandler,
    ) -> Result<Executed, ClientError> {
        let (target, deadline) = (Target::parse(url)?, self.deadline());
        match self.dial(&target, deadline).await? {
            Dialled::Plain(io) => self.run(io, &target, deadline, handler).await,
            #[cfg(feature = "tls")]
            Dialled::Tls(io) => self.run(*io, &target, deadline, handler).await,
        }
    }

    /// As [`execute`](Self::execute), over a connection that is there already.
    ///
    /// # Errors
    /// As [`connect_over`](Self::connect_over).
    pub async fn execute_over<I>(
        &self,
        io: I,
        url: &str,
        handler: impl WebSocketHandler,
    ) -> Result<Executed, ClientError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let target = Target::parse(url)?;
        self.run(io, &target, self.deadline(), handler).await
    }

    async fn start<I>(
        &self,
        io: I,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connected, ClientError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let opened = self.open(io, target, deadline, &[]).await?;
        Ok(Connected {
            session: WebSocketSession::new(opened.io, opened.opening, opened.config),
            response: opened.response,
        })
    }

    async fn run<I>(
        &self,
        io: I,
        target: &Target,
        deadline: Instant,
        handler: impl WebSocketHandler,
    ) -> Result<Executed, ClientError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let subprotocols = handler.subprotocols();
        let opened = self.open(io, target, deadline, &subprotocols).await?;
        drop(subprotocols);
        let ending = session::run(opened.io, opened.opening, opened.config, handler).await;
        Ok(Executed {
            ending,
            response: opened.response,
        })
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        // A century is as good as for ever.
        let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        now + self.timeout.min(century)
    }

    async fn dial(&self, target: &Target, deadline: Instant) -> Result<Dialled, ClientError> {
        #[cfg(feature = "tls")]
        let dialled = dial::dial(target, deadline, self.tls.as_ref());
        #[cfg(not(feature = "tls"))]
        let dialled = dial::dial(target, deadline);
        timeout_at(deadline, dialled)
            .await
            .map_err(|_elapsed| ClientError::Timeout)?
    }

    async fn open<I>(
        &self,
        mut io: I,
        target: &Target,
        deadline: Instant,
        subprotocols: &[&str],
    ) -> Result<Opened<I>, ClientError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let offer = self.offer(subprotocols)?;
        let request = self.request(target, &offer)?;
        let mut answer = Answer::new(&mut io);
        let asked = async {
            answer.ask(&request).await?;
            answer.head(self.max_head).await
        };
        let response = timeout_at(deadline, asked)
            .await
            .map_err(|_elapsed| ClientError::Timeout)??;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut body = BytesMut::new();
            let read = answer.body(&response, self.max_body, &mut body);
            let is_whole = timeout_at(deadline, read).await.unwrap_or(false);
            return Err(refused(response, body, is_whole));
        }
        let leftover = answer.into_ahead();
        let agreed = offer.check(response.version(), response.headers())?;
        let mut info = HandshakeInfo::new(target.uri.clone(), response.headers().clone());
        info.subprotocol = agreed.subprotocol.map(Into::into);
        let mut opening = Opening::new(Role::Client);
        opening.deflate = deflate::answered(&agreed.extensions, self.session.deflate.as_slice())?;
        opening.info = Some(Box::new(info));
        opening.leftover = leftover;
        Ok(Opened {
            io,
            opening,
            config: Arc::clone(&self.session),
            response,
        })
    }

    fn offer(&self, more: &[&str]) -> Result<Offer, ClientError> {
        let [one, two] = [Randomness::next(), Randomness::next()];
        let random = u128::from(one) << 64 | u128::from(two);
        let mut offer = Offer::new(random.to_ne_bytes());
        let own = self.subprotocols.iter().map(|name| &**name);
        for name in own.chain(more.iter().copied()) {
            offer = offer.protocol(name)?;
        }
        let extensions = deflate::offers(self.session.deflate.as_slice());
        Ok(match HeaderValue::try_from(extensions) {
            Ok(value) => offer.extensions(value),
            // What is offered is made of tokens.
            Err(_) => offer,
        })
    }

    fn request(&self, target: &Target, offer: &Offer) -> Result<BytesMut, ClientError> {
        if let Some(name) = self.headers.keys().find(|name| is_of_handshake(name)) {
            return Err(ClientError::Header(name.clone()));
        }
        let mut request = BytesMut::with_capacity(512);
        let mut add = |parts: [&[u8]; 4]| {
            for part in parts {
                request.extend_from_slice(part);
            }
        };
        add([b"GET ", target.path.as_bytes(), b" HTTP/1.1\r\n", b""]);
        if !self.headers.contains_key(HOST) {
            add([b"host", b": ", target.authority.as_bytes(), b"\r\n"]);
        }
        for (name, value) in self.headers.iter().chain(&offer.headers()) {
            add([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        add([b"\r\n", b"", b"", b""]);
        Ok(request)
    }
}

impl Default for WebSocketClient {
    fn default() -> Self {
        Self {
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            session: Arc::default(),
            timeout: Duration::from_secs(10),
            max_head: 64 << 10,
            max_body: 64 << 10,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// A connection on which a session may begin.
struct Opened<I> {
    io: I,
    opening: Opening,
    config: Arc<SessionConfig>,
    response: Response<()>,
}

/// Whether a field of the request is the handshake's to write.
fn is_of_handshake(name: &HeaderName) -> bool {
    let prefix = SEC_WEBSOCKET_PROTOCOL.as_str().trim_end_matches("protocol");
    [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name.as_str().starts_with(prefix)
}
