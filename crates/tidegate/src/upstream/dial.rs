//! From an endpoint to a connected transport: resolve, then race the addresses (RFC 8305).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Endpoint, Service};
use crate::error::{UpstreamError, is_shortage};
use crate::limits::descriptors::is_reserved;
use crate::transport::Transport;

/// How long an address has for itself before the next one is tried beside it (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to `endpoint` within the service's connect timeout, name look-up included.
///
/// Dropped, it leaves no socket behind.
pub(crate) async fn dial(
    service: &Service,
    endpoint: &Endpoint,
) -> Result<Transport, UpstreamError> {
    let dialled = async {
        let addresses = endpoint.resolver.addresses().await;
        let addresses = addresses.map_err(UpstreamError::Unresolvable)?;
        race(service, &addresses).await
    };
    match timeout(service.plan.connect_timeout, dialled).await {
        Ok(stream) => Ok(Transport::new(stream?)),
        Err(_elapsed) => Err(UpstreamError::ConnectTimeout),
    }
}

/// Tries the addresses one behind the other, each next one beside the last when that takes long.
async fn race(service: &Service, addresses: &[SocketAddr]) -> Result<TcpStream, UpstreamError> {
    if let [address] = *addresses {
        return connect(source_addresses(service, address), address).await;
    }
    let mut attempts = JoinSet::new();
    let mut last = UpstreamError::Connect(io::ErrorKind::AddrNotAvailable.into());
    let mut addresses = addresses.iter().copied();
    loop {
        let next = addresses.next();
        if let Some(address) = next {
            attempts.spawn(connect(source_addresses(service, address), address));
        } else if attempts.is_empty() {
            return Err(last);
        }
        let patience = if next.is_some() {
            ATTEMPT_DELAY
        } else {
            service.plan.connect_timeout
        };
        while let Ok(Some(joined)) = timeout(patience, attempts.join_next()).await {
            match joined {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_panicked) => {}
            }
            if addresses.len() > 0 {
                break; // a failure need not be waited for
            }
        }
    }
}

/// The local addresses to try, beginning with the one whose turn it is; one that leaves the choice
/// to the system where none is configured for the family.
fn source_addresses(service: &Service, target: SocketAddr) -> Vec<IpAddr> {
    let fits = |source: &&IpAddr| source.is_ipv4() == target.is_ipv4();
    let mut sources: Vec<_> = service
        .plan
        .source_addresses
        .iter()
        .filter(fits)
        .copied()
        .collect();
    if sources.is_empty() {
        let any = if target.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        return vec![any];
    }
    let turn = service.next_source.fetch_add(1, Ordering::Relaxed) % sources.len();
    sources.rotate_left(turn);
    sources
}

async fn connect(sources: Vec<IpAddr>, target: SocketAddr) -> Result<TcpStream, UpstreamError> {
    for source in sources {
        match connect_from(source, target).await {
            Ok(stream) => return Ok(stream),
            // All ports of this local address are in use towards the target.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) if is_shortage(&error) => return Err(UpstreamError::Shortage(error)),
            Err(error) => return Err(UpstreamError::Connect(error)),
        }
    }
    Err(UpstreamError::AddressesExhausted)
}

async fn connect_from(source: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if is_reserved(socket.as_raw_fd()) {
        return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
    }
    if !source.is_unspecified() {
        // The port is chosen on connect, so that it need be free towards this target only.
        #[cfg(target_os = "linux")]
        nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(target).await
}
