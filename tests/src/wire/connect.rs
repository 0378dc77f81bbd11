//! Ways to the other side: from an address, narrow, over TLS, by a unix socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::Wire;
use crate::link::Link;
use crate::time::within;
use crate::tls;

impl Wire {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::fitting(stream, address).await
    }

    /// Connects from the local address `from`, one of 127.0.0.0/8 say.
    pub async fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = within("a connection", socket.connect(address)).await;
        Self::fitting(stream.unwrap(), address).await
    }

    /// Connects with a receive buffer of a few KiB, so that not reading is soon felt.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let stream = within("a connection", socket.connect(address)).await;
        Self::fitting(stream.unwrap(), address).await
    }

    /// Connects to `address` over TLS, to one who must be `name`.
    pub async fn connect_tls(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let stream = within("a connection", TcpStream::connect(address)).await?;
        let stream = within("a handshake of TLS", tls::connect(stream, config, name)).await?;
        Ok(Self::of(Link::tls(stream)))
    }

    /// What is spoken at `address` over a stream to there.
    async fn fitting(stream: TcpStream, address: SocketAddr) -> Self {
        if !tls::must_be_spoken_at(address) {
            return Self::new(stream);
        }
        let config = tls::credulous();
        let shaking = tls::connect(stream, &config, "localhost");
        match within("a handshake of TLS", shaking).await {
            Ok(stream) => Self::of(Link::tls(stream)),
            Err(error) => panic!("no TLS with {address}: {error}"),
        }
    }

    /// Connects to the unix socket at `path`. The stream is read and written as any other; it has no
    /// addresses.
    pub async fn connect_unix(path: &Path) -> Self {
        let stream = within("a connection", UnixStream::connect(path)).await;
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {path:?}: {error}"));
        Self::new(as_tcp(stream))
    }

    /// The same over TLS, with one who must be `name`.
    pub async fn connect_unix_tls(
        path: &Path,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let stream = within("a connection", UnixStream::connect(path)).await?;
        let shaking = tls::connect(as_tcp(stream), config, name);
        let stream = within("a handshake of TLS", shaking).await?;
        Ok(Self::of(Link::tls(stream)))
    }
}

/// What is read and written in the same way.
fn as_tcp(stream: UnixStream) -> TcpStream {
    let stream = OwnedFd::from(stream.into_std().unwrap());
    TcpStream::from_std(stream.into()).unwrap()
}
