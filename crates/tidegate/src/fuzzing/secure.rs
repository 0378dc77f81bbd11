//! A transport with TLS over a stream in memory, to be polled by a script.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::memory::{self, Peer};
use crate::transport::{HandshakeError, Transport};

type Shaken = (Transport, Result<(), HandshakeError>);

/// One side of TLS, by the gateway's own transport.
pub struct Secure(State);

enum State {
    Shaking(Pin<Box<dyn Future<Output = Shaken>>>),
    Open(Transport),
    Failed,
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secure")
    }
}

impl Secure {
    /// A server; `room` bytes may wait for its peer.
    #[must_use]
    pub fn accept(config: Arc<ServerConfig>, room: usize) -> (Self, Peer) {
        let (stream, peer) = memory::pair(room);
        let shaking = async move {
            let mut transport = Transport::in_memory(stream);
            let shaken = transport.accept_tls(config).await;
            (transport, shaken)
        };
        (Self(State::Shaking(Box::pin(shaking))), peer)
    }

    /// A client, likewise.
    #[must_use]
    pub fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        room: usize,
    ) -> (Self, Peer) {
        let (stream, peer) = memory::pair(room);
        let shaking = async move {
            let mut transport = Transport::in_memory(stream);
            let shaken = transport.connect_tls(config, name).await;
            (transport, shaken)
        };
        (Self(State::Shaking(Box::pin(shaking))), peer)
    }

    /// Goes on with the handshake. A transport whose handshake failed is dropped.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        match &mut self.0 {
            State::Shaking(shaking) => {
                let (transport, shaken) = ready!(shaking.as_mut().poll(cx));
                self.0 = match &shaken {
                    Ok(()) => State::Open(transport),
                    Err(_) => State::Failed,
                };
                Poll::Ready(shaken.map_err(|error| error.to_string()))
            }
            State::Open(_) => Poll::Ready(Ok(())),
            State::Failed => Poll::Ready(Err("it failed before".to_owned())),
        }
    }

    /// The transport, once the handshake is over.
    fn open(&mut self) -> Option<&mut Transport> {
        match &mut self.0 {
            State::Open(transport) => Some(transport),
            State::Shaking(_) | State::Failed => None,
        }
    }

    /// Reads into `room`; how much.
    pub fn poll_read(
        &mut self,
        room: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        let mut buffer = ReadBuf::new(room);
        let read = Pin::new(self.open()?).poll_read(cx, &mut buffer);
        Some(read.map_ok(|()| buffer.filled().len()))
    }

    /// Writes some of `parts`.
    pub fn poll_write(
        &mut self,
        parts: [&[u8]; 2],
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        let slices = parts.map(IoSlice::new);
        Some(Pin::new(self.open()?).poll_write_vectored(cx, &slices))
    }

    /// Flushes.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        Some(Pin::new(self.open()?).poll_flush(cx))
    }

    /// Ends its own side.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        Some(Pin::new(self.open()?).poll_shutdown(cx))
    }

    /// How many bytes it holds that wait for a flush.
    pub fn unsent(&mut self) -> usize {
        self.open().map_or(0, |transport| transport.unsent())
    }
}
