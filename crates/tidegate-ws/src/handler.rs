//! What an embedder writes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::BoxError;
use crate::session::WebSocketSession;

/// What happens on a session. An `async fn` from a session is one, if it needs no subprotocol.
pub trait WebSocketHandler: Send + Sync + 'static {
    /// Lives through one session. When it returns, the session closes with 1000, or with 1011 after
    /// an error or a panic (RFC 6455 section 7.4.1). Its future is dropped where it waits once its
    /// session is over and [`SessionConfig::handler_grace`](crate::SessionConfig::handler_grace) has
    /// passed, or when what drives the session is dropped.
    fn handle(
        &self,
        session: WebSocketSession,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// The subprotocols that it speaks; of the client's offers the first that is among them is
    /// agreed (RFC 6455 section 4.2.2). None unless told.
    fn subprotocols(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl<F, T> WebSocketHandler for F
where
    F: Fn(WebSocketSession) -> T + Send + Sync + 'static,
    T: Future<Output = Result<(), BoxError>> + Send,
{
    fn handle(
        &self,
        session: WebSocketSession,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self(session)
    }
}

impl<H: WebSocketHandler> WebSocketHandler for Arc<H> {
    fn handle(
        &self,
        session: WebSocketSession,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        H::handle(self, session)
    }

    fn subprotocols(&self) -> Vec<&str> {
        H::subprotocols(self)
    }
}

/// Any handler, where handlers of several types stand side by side. It boxes one future per session.
#[derive(Clone)]
pub struct AnyHandler(Arc<dyn Erased>);

impl AnyHandler {
    /// Hides the type of `handler`.
    #[must_use]
    pub fn new(handler: impl WebSocketHandler) -> Self {
        Self(Arc::new(handler))
    }
}

impl WebSocketHandler for AnyHandler {
    fn handle(
        &self,
        session: WebSocketSession,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.0.handle(session)
    }

    fn subprotocols(&self) -> Vec<&str> {
        self.0.subprotocols()
    }
}

impl fmt::Debug for AnyHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyHandler")
    }
}

type Boxed<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

trait Erased: Send + Sync {
    fn handle(&self, session: WebSocketSession) -> Boxed<'_>;
    fn subprotocols(&self) -> Vec<&str>;
}

impl<H: WebSocketHandler> Erased for H {
    fn handle(&self, session: WebSocketSession) -> Boxed<'_> {
        Box::pin(H::handle(self, session))
    }

    fn subprotocols(&self) -> Vec<&str> {
        H::subprotocols(self)
    }
}
