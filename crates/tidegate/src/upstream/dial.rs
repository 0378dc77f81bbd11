//! From an endpoint to a connected transport: resolve, then race the addresses (RFC 8305).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::{Endpoint, Service};
use crate::error::{UpstreamError, is_shortage};
use crate::tls::TlsFailure;
use crate::tls::client::{ClientTls, Trust};
use crate::transport::{self, HandshakeError, Transport};

/// How long an address has for itself before the next one is tried beside it (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A connection, and whom we believed when TLS was begun on it.
pub(crate) type Dialled = (Transport, Option<Arc<Trust>>);

/// Connects to `endpoint`, TLS included, within the service's connect timeout, name look-up included.
///
/// Dropped, it leaves no socket behind.
pub(crate) async fn dial(service: &Service, endpoint: &Endpoint) -> Result<Dialled, UpstreamError> {
    let dialled = async {
        let addresses = endpoint.resolver.addresses().await;
        let addresses = addresses.map_err(UpstreamError::Unresolvable)?;
        let mut transport = race(service, &addresses).await?;
        let trust = match &endpoint.tls {
            Some(tls) => Some(secure(&mut transport, tls, endpoint).await?),
            None => None,
        };
        Ok((transport, trust))
    };
    match timeout(service.plan.connect_timeout, dialled).await {
        Ok(dialled) => dialled,
        Err(_elapsed) => Err(UpstreamError::ConnectTimeout),
    }
}

/// Shakes hands, and makes sure that it is the endpoint at the other end.
async fn secure(
    transport: &mut Transport,
    tls: &ClientTls,
    endpoint: &Endpoint,
) -> Result<Arc<Trust>, UpstreamError> {
    let host = endpoint.plan.authority.host();
    let Some(name) = tls.name_of(host) else {
        return Err(UpstreamError::Tls(TlsFailure::no_name(host)));
    };
    let trust = tls.trust();
    let shaken = transport.connect_tls(Arc::clone(&trust.config), name).await;
    match shaken {
        Ok(()) => Ok(trust),
        Err(HandshakeError::Refused(error)) => Err(UpstreamError::Tls(TlsFailure::of(&error))),
        Err(HandshakeError::Lost(error)) => Err(UpstreamError::Tls(TlsFailure::lost(&error))),
        // Only servers hear that.
        Err(error @ HandshakeError::PlainHttp) => {
            let error = io::Error::other(error);
            Err(UpstreamError::Tls(TlsFailure::lost(&error)))
        }
    }
}

async fn race(service: &Service, addresses: &[SocketAddr]) -> Result<Transport, UpstreamError> {
    let attempt = |address| connect(source_addresses(service, address), address);
    if let [address] = *addresses {
        return attempt(address).await;
    }
    let attempts = addresses.iter().copied().map(attempt);
    first(attempts, service.plan.connect_timeout).await
}

/// Makes the attempts one behind the other, each next one beside the last when that takes long. They
/// are made in here and not in tasks, so that with this future all of them end, and a panic in one
/// is a panic of whoever waits.
async fn first<T>(
    mut attempts: impl ExactSizeIterator<Item = impl Future<Output = Result<T, UpstreamError>>>,
    connect_timeout: Duration,
) -> Result<T, UpstreamError> {
    let mut under_way = FuturesUnordered::new();
    let mut last = UpstreamError::Connect(io::ErrorKind::AddrNotAvailable.into());
    loop {
        let next = attempts.next();
        let patience = if next.is_some() {
            ATTEMPT_DELAY
        } else if under_way.is_empty() {
            return Err(last);
        } else {
            connect_timeout
        };
        under_way.extend(next);
        while let Ok(Some(ended)) = timeout(patience, under_way.next()).await {
            match ended {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error,
            }
            if attempts.len() > 0 {
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

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::task::{Kind, Panics, survive};

    type Attempt = BoxFuture<'static, Result<u32, UpstreamError>>;

    fn refused() -> Attempt {
        ready(Err(UpstreamError::Connect(
            io::ErrorKind::ConnectionRefused.into(),
        )))
        .boxed()
    }

    async fn first_of(attempts: Vec<Attempt>) -> Result<u32, UpstreamError> {
        first(attempts.into_iter(), Duration::from_secs(60)).await
    }

    #[tokio::test]
    async fn the_next_one_runs_beside_one_that_takes_long() {
        let attempts = vec![pending().boxed(), refused(), ready(Ok(3)).boxed()];
        assert_eq!(first_of(attempts).await.unwrap(), 3);
        let all_fail = first_of(vec![refused(), refused()]).await;
        assert!(matches!(all_fail, Err(UpstreamError::Connect(_))));
        assert!(first_of(vec![]).await.is_err());
    }

    /// Whoever is slow is not given up for the next one.
    #[tokio::test]
    async fn an_earlier_one_may_still_come_first() {
        let slow = async {
            tokio::time::sleep(2 * ATTEMPT_DELAY).await;
            Ok(1)
        };
        let attempts = vec![slow.boxed(), pending().boxed(), refused()];
        assert_eq!(first_of(attempts).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_ends_the_others() {
        let (panics, alive) = (Panics::default(), Arc::new(()));
        let held = Arc::clone(&alive);
        let other = async move {
            let _held = held;
            pending().await
        };
        let bad = async { panic!("in an attempt") };
        let attempts = first_of(vec![other.boxed(), AssertUnwindSafe(bad).boxed()]);
        assert!(survive(Kind::Exchange, &panics, attempts).await.is_none());
        assert_eq!((panics.count(), Arc::strong_count(&alive)), (1, 1));
    }
}
