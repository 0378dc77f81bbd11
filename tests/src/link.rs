//! What a [`crate::Wire`] is made of: a socket, with TLS over it or without.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connected stream.
#[derive(Debug)]
pub enum Link {
    /// A socket alone.
    Plain(TcpStream),
    /// TLS, and the socket under it.
    Tls(Secured),
}

/// TLS, which says that it ends when it is dropped, as a FIN does by itself.
#[derive(Debug)]
pub struct Secured(Option<Box<TlsStream<TcpStream>>>);

impl Secured {
    fn stream(&mut self) -> Pin<&mut TlsStream<TcpStream>> {
        Pin::new(self.0.as_mut().unwrap())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        if let Some(mut stream) = self.0.take() {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut stream).poll_shutdown(&mut cx);
        }
    }
}

/// Half of one.
pub type Reads = Box<dyn AsyncRead + Send + Unpin>;
/// The other half.
pub type Writes = Box<dyn AsyncWrite + Send + Unpin>;

impl Link {
    /// TLS over a socket.
    #[must_use]
    pub fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Secured(Some(Box::new(stream))))
    }

    /// Drops it without a word, as a crash would; over TLS its end is none.
    pub fn cut(mut self) {
        if let Self::Tls(Secured(stream)) = &mut self {
            drop(stream.take());
        }
    }

    /// The socket under it.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(Secured(stream)) => stream.as_ref().unwrap().get_ref().0,
        }
    }

    /// The two directions apart.
    #[must_use]
    pub fn into_split(self) -> (Reads, Writes) {
        match self {
            Self::Plain(socket) => {
                let (reads, writes) = socket.into_split();
                (Box::new(reads), Box::new(writes))
            }
            Self::Tls(mut secured) => {
                let (reads, writes) = tokio::io::split(*secured.0.take().unwrap());
                (Box::new(reads), Box::new(writes))
            }
        }
    }

    /// The address at the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    /// The address at this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }
}

impl std::os::fd::AsFd for Link {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(secured) => secured.stream().poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(secured) => secured.stream().poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(secured) => secured.stream().poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(secured) => secured.stream().poll_shutdown(cx),
        }
    }
}
