//! Who is measured: the same echo server, written as each library's documentation has it.

use std::sync::{Arc, LazyLock};

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::{JoinHandle, spawn};

/// What one read takes at most, where a library can be told.
const READ: usize = 32 << 10;

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// This repository's.
    Tidegate,
    /// tungstenite, by tokio-tungstenite.
    Tungstenite,
    /// fastwebsockets.
    Fastwebsockets,
    /// tokio-websockets.
    TokioWebsockets,
    /// yawc.
    Yawc,
    /// Nobody: bytes are copied back with their headers and masks. What the client and the pipe cost.
    Copy,
}

impl Library {
    /// All of them, ours first.
    pub const ALL: [Self; 6] = [
        Self::Tidegate,
        Self::Tungstenite,
        Self::Fastwebsockets,
        Self::TokioWebsockets,
        Self::Yawc,
        Self::Copy,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate-ws",
            Self::Tungstenite => "tungstenite",
            Self::Fastwebsockets => "fastwebsockets",
            Self::TokioWebsockets => "tokio-websockets",
            Self::Yawc => "yawc",
            Self::Copy => "(copy)",
        }
    }

    /// The library of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Echoes messages until the peer is gone, in a task of its own, which holds the future of this
    /// library alone. `sized`: with reads of [`READ`] bytes where that can be told; otherwise with the
    /// library's own defaults.
    pub fn spawn_echo(self, io: impl Io, sized: bool) -> JoinHandle<()> {
        match self {
            Self::Tidegate => spawn(tidegate(io)),
            Self::Tungstenite => spawn(tungstenite(io, sized)),
            Self::Fastwebsockets => spawn(fastwebsockets(io)),
            Self::TokioWebsockets => spawn(tokio_websockets(io)),
            Self::Yawc => spawn(yawc(io, sized)),
            Self::Copy => spawn(copy(io)),
        }
    }
}

fn tidegate(io: impl Io) -> impl Future<Output = ()> + Send {
    use tidegate_ws::codec::Role;
    use tidegate_ws::{BoxError, Opening, SessionConfig, WebSocketSession, run};

    // One for all sessions, as a server has it.
    static CONFIG: LazyLock<Arc<SessionConfig>> = LazyLock::new(Arc::default);

    async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
        while let Some(message) = session.receive().await {
            session.send(message?).await?;
        }
        Ok(())
    }
    // The task's future is that of the session, as a server spawns it.
    run(io, Opening::new(Role::Server), Arc::clone(&CONFIG), echo).map(drop)
}

async fn tungstenite(io: impl Io, sized: bool) {
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

    let mut config = WebSocketConfig::default();
    if sized {
        config = config.read_buffer_size(READ);
    }
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    while let Some(Ok(message)) = socket.next().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn fastwebsockets(io: impl Io) {
    use fastwebsockets::{FragmentCollector, Frame, OpCode, Role, WebSocket};

    let mut socket = FragmentCollector::new(WebSocket::after_handshake(io, Role::Server));
    while let Ok(frame) = socket.read_frame().await {
        if frame.opcode == OpCode::Close {
            return;
        }
        let echo = Frame::new(true, frame.opcode, None, frame.payload);
        if socket.write_frame(echo).await.is_err() {
            return;
        }
    }
}

async fn tokio_websockets(io: impl Io) {
    let mut socket = tokio_websockets::ServerBuilder::new().serve(io);
    while let Some(Ok(message)) = socket.next().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn yawc(io: impl Io, sized: bool) {
    use yawc::{Options, Role, WebSocket};

    let mut options = Options::default().without_compression().with_utf8();
    if sized {
        options = options.with_read_buffer_capacity(READ);
    }
    let Ok(mut socket) = WebSocket::from_stream(io, Role::Server, options) else {
        return;
    };
    while let Some(frame) = socket.next().await {
        if socket.send(frame).await.is_err() {
            return;
        }
    }
}

async fn copy(mut io: impl Io) {
    let mut buffer = vec![0; READ];
    while let Ok(count @ 1..) = io.read(&mut buffer).await {
        if io.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
