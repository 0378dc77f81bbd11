//! From an endpoint to a connected transport: resolve, then race the addresses (RFC 8305).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Endpoint, Service};
use crate::error::{UpstreamError, is_shortage};
use crate::transport::{self, Transport};

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
        Ok(transport) => transport,
        Err(_elapsed) => Err(UpstreamError::ConnectTimeout),
    }
}

/// Tries the addresses one behind the other, each next one beside the last when that takes long.
async fn race(service: &Service, addresses: &[SocketAddr]) -> Result<Transport, UpstreamError> {
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
                Ok(Ok(transport)) => return Ok(transport),
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

async fn connect(sources: Vec<IpAddr>, target: SocketAddr) -> Result<Transport, UpstreamError> {
    for source in sources {
        match transport::connect(source, target).await {
            Ok(transport) => return Ok(transport),
            // All ports of this local address are in use towards the target.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) if is_shortage(&error) => return Err(UpstreamError::Shortage(error)),
            Err(error) => return Err(UpstreamError::Connect(error)),
        }
    }
    Err(UpstreamError::AddressesExhausted)
}
