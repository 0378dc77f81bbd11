//! The socket under a connection: plain TCP, with what the kernel tells of it.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::libc;
#[cfg(target_os = "linux")]
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::limits::descriptors::is_reserved;

/// After so long without life the kernel asks whether the peer is still there.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// After so long with bytes that the peer does not acknowledge, or has no room for, the kernel gives
/// the connection up; at the least, and at the least so much behind what its user allows.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
const USER_TIMEOUT_SLACK: Duration = Duration::from_secs(30);
/// So many bytes may wait in the kernel that it has not sent. A peer that takes them slowly is seen
/// to take them, because there is room again once half of these are gone.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 256 * 1024;

/// What has become of what was written. A write tells that the peer takes something only when much
/// room is free again; this tells of each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// So many bytes have been taken by the kernel at the other end.
    pub(crate) taken: u64,
    /// That is all.
    pub(crate) is_all: bool,
}

#[cfg(target_os = "linux")]
nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfoStart,
    nix::sys::socket::sockopt::GetStruct<TcpInfoStart>
);

#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
struct TcpInfo;

/// The beginning of the kernel's `struct tcp_info`, as Linux has had it since 4.6; that of libc ends
/// too early.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct TcpInfoStart {
    _states_and_times: [u32; 6],
    unacked: u32,
    _counts: [u32; 23],
    bytes_acked: u64,
    _received: [u32; 4],
    notsent_bytes: u32,
    _min_rtt: u32,
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket(TcpStream);

/// Connects to `target` from a local address; an unspecified one leaves the choice to the system.
pub(super) async fn connect(source: IpAddr, target: SocketAddr) -> io::Result<Socket> {
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if is_reserved(socket.as_raw_fd()) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    if !source.is_unspecified() {
        // The port is chosen on connect, so that it need be free towards this target only.
        #[cfg(target_os = "linux")]
        nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(target).await.map(Socket::new)
}

/// Sets what holds for all streams. What a listening socket has, those that it accepts begin with,
/// where the system is Linux.
pub(crate) fn set_options(socket: &SockRef<'_>) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL);
    // A stream whose peer is gone already refuses options; the next read tells.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

impl Socket {
    /// Takes a connected stream and sets what holds for all of them.
    pub(super) fn new(stream: TcpStream) -> Self {
        set_options(&SockRef::from(&stream));
        Self(stream)
    }

    /// Takes a stream that was accepted by a socket with the options of all streams.
    pub(super) fn accepted(stream: TcpStream) -> Self {
        if cfg!(target_os = "linux") {
            Self(stream)
        } else {
            Self::new(stream)
        }
    }

    /// Keeps the kernel from giving up a peer that takes nothing before its user does, who waits for
    /// `stall`.
    pub(super) fn outlast(&self, stall: Duration) {
        let timeout = stall.saturating_add(USER_TIMEOUT_SLACK);
        #[cfg(target_os = "linux")]
        if timeout > USER_TIMEOUT {
            let longest = Duration::from_millis(i32::MAX as u64);
            let _ = SockRef::from(&self.0).set_tcp_user_timeout(Some(timeout.min(longest)));
        }
    }

    /// Our own address.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Whether the peer has ended its side, or the stream has failed, as far as the kernel has told;
    /// nothing is read.
    pub(super) fn has_ended(&self) -> bool {
        let ready = pin!(self.0.ready(Interest::READABLE));
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed() || ready.is_error(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Whether the peer has reset the stream without having ended it before, as far as the kernel
    /// has told. It is told once; nothing is read.
    pub(super) fn was_reset(&self) -> bool {
        let ready = pin!(self.0.ready(Interest::READABLE | Interest::WRITABLE));
        let is_over = match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_write_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        // A reset behind an end is EPIPE: the answer to words of ours that nobody was left for.
        is_over
            && SockRef::from(&self.0)
                .take_error()
                .is_ok_and(|error| error.is_some_and(|error| is_reset(&error)))
    }

    /// What has become of what was written, where the kernel tells.
    #[cfg(target_os = "linux")]
    pub(super) fn delivery(&self) -> Option<Delivery> {
        let info = nix::sys::socket::getsockopt(&self.0, TcpInfo).ok()?;
        Some(Delivery {
            taken: info.bytes_acked,
            is_all: info.unacked == 0 && info.notsent_bytes == 0,
        })
    }

    /// What has become of what was written, where the kernel tells.
    #[cfg(not(target_os = "linux"))]
    pub(super) const fn delivery(&self) -> Option<Delivery> {
        None
    }

    /// Lets the kernel hold so much of what the peer sends and nobody reads, where it agrees.
    pub(super) fn make_room(&self, bytes: usize) {
        let _ = SockRef::from(&self.0).set_recv_buffer_size(bytes);
    }

    /// Has the kernel acknowledge at once what has come. A peer that sends small words (Nagle) waits for
    /// it with the next one, up to 40 ms.
    pub(super) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&self.0).set_tcp_quickack(true);
    }

    /// Whether that is what the kernel will do.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn acknowledges_at_once(&self) -> bool {
        SockRef::from(&self.0).tcp_quickack().unwrap_or_default()
    }

    /// Writes what the kernel takes of `bytes` now.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// Whether dropping this stream resets it.
    pub(super) fn set_abort_on_drop(&self, abort: bool) {
        // A socket that refuses the option is gone already.
        let _ = SockRef::from(&self.0).set_linger(abort.then_some(Duration::ZERO));
    }
}

/// Whether a stream failed because its peer, or the way to it, is gone, and not because the peer
/// had said before that it would end.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::BrokenPipe
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_has_the_options_of_what_is_dialled() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        set_options(&SockRef::from(&listener));
        let address = listener.local_addr().unwrap();
        let dialled = connect(Ipv4Addr::UNSPECIFIED.into(), address).await;
        let dialled = dialled.unwrap();
        let (stream, _peer) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let accepted = Socket::accepted(TcpStream::from_std(stream).unwrap());
        let options = |one: &Socket| {
            let socket = SockRef::from(&one.0);
            (
                socket.tcp_nodelay().unwrap(),
                socket.keepalive().unwrap(),
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_user_timeout().unwrap(),
                socket.tcp_notsent_lowat().unwrap(),
            )
        };
        let expected = (
            true,
            true,
            KEEPALIVE_TIME,
            KEEPALIVE_INTERVAL,
            Some(USER_TIMEOUT),
            UNSENT,
        );
        assert_eq!(options(&dialled), expected);
        assert_eq!(options(&accepted), expected);
    }
}
