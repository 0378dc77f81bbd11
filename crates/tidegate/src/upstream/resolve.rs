//! From an endpoint's name to its addresses, by the system's resolver.
//!
//! A look-up of the system occupies a thread and cannot be cancelled. So there is at most one under
//! way for an endpoint, in a task of its own, and whoever wants the name meanwhile waits for that
//! one; what it found holds for a moment.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::authority::Authority;
use crate::task::{self, Kind, Panics};

/// How long found addresses hold.
const FRESH: Duration = Duration::from_secs(5);
/// How long a failure holds.
const FAILED: Duration = Duration::from_secs(1);

type Found = Result<Arc<[SocketAddr]>, (io::ErrorKind, String)>;

/// The addresses of one endpoint.
#[derive(Debug)]
pub(super) struct Resolver {
    target: Target,
    panics: Arc<Panics>,
    /// The look-up that was begun last, and until when its result holds.
    last: Mutex<Option<(watch::Receiver<Option<Found>>, Instant)>>,
}

#[derive(Debug)]
enum Target {
    Address(SocketAddr),
    Name(Arc<str>, u16),
}

impl Resolver {
    pub(super) fn new(authority: &Authority, panics: &Arc<Panics>) -> Self {
        let port = authority.port().unwrap_or(80);
        let host = authority.host();
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let target = match literal.parse::<IpAddr>() {
            Ok(address) => Target::Address(SocketAddr::new(address, port)),
            Err(_name) => Target::Name(host.into(), port),
        };
        Self {
            target,
            panics: Arc::clone(panics),
            last: Mutex::new(None),
        }
    }

    /// The addresses, in the order in which they are to be tried. Dropped, it leaves the look-up to
    /// those who wait for it too.
    pub(super) async fn addresses(&self) -> io::Result<Arc<[SocketAddr]>> {
        let (host, port) = match &self.target {
            Target::Address(address) => return Ok(Arc::new([*address])),
            Target::Name(host, port) => (host, *port),
        };
        let mut found = self.last_or_new(host, port);
        let found = found.wait_for(Option::is_some).await;
        match found.as_deref() {
            Ok(Some(Ok(addresses))) => Ok(Arc::clone(addresses)),
            Ok(Some(Err((kind, text)))) => Err(io::Error::new(*kind, text.clone())),
            // The thread that looked it up has stopped.
            Ok(None) | Err(_) => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    fn last_or_new(&self, host: &Arc<str>, port: u16) -> watch::Receiver<Option<Found>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((receiver, begun)) = &*last {
            let holds = match &*receiver.borrow() {
                // Under way, as long as somebody is at it.
                None => receiver.has_changed().is_ok(),
                Some(Ok(_)) => begun.elapsed() < FRESH,
                Some(Err(_)) => begun.elapsed() < FAILED,
            };
            if holds {
                return receiver.clone();
            }
        }
        let (sender, receiver) = watch::channel(None);
        *last = Some((receiver.clone(), Instant::now()));
        let host = Arc::clone(host);
        task::spawn(Kind::LookUp, &self.panics, async move {
            let found = look_up(&host, port).await;
            // Nobody may be waiting any more; the result stays for whoever comes next.
            let _ = sender.send(Some(
                found.map_err(|error| (error.kind(), error.to_string())),
            ));
        });
        receiver
    }
}

async fn look_up(host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    Ok(interleave(usable(found)?).into())
}

/// Those of the addresses that a name may stand for. Whoever has a say in a name must not lead the
/// gateway to the machine's own secrets; an endpoint that is written as an address is not asked.
fn usable(mut found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let all = found.len();
    found.retain(|address| !is_of_the_machine(address.ip().to_canonical()));
    if !found.is_empty() {
        return Ok(found);
    }
    let (kind, message) = if all == 0 {
        (io::ErrorKind::NotFound, "the name has no address")
    } else {
        (
            io::ErrorKind::PermissionDenied,
            "the name leads to a link-local or metadata address; write that address as the endpoint if it is meant",
        )
    };
    Err(io::Error::new(kind, message))
}

/// Link-local addresses, and those at which clouds tell a machine its credentials.
fn is_of_the_machine(address: IpAddr) -> bool {
    const METADATA: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    ];
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    is_link_local || METADATA.contains(&address)
}

/// Orders the addresses so that the families take turns, the first one's first (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    while first.len() + second.len() > 0 {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1"];
        let ordered = interleave(
            addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        );
        let ordered: Vec<_> = ordered.iter().map(ToString::to_string).collect();
        assert_eq!(
            ordered,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]
        );
    }

    #[test]
    fn names_do_not_lead_to_the_machines_secrets() {
        let addresses = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect();
        for refused in [
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "[::ffff:169.254.1.1]:80",
        ] {
            let error = usable(addresses(&[refused])).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{refused}");
        }
        let both = usable(addresses(&["169.254.169.254:80", "10.0.0.9:80"])).unwrap();
        assert_eq!(both, addresses(&["10.0.0.9:80"]));
        assert_eq!(usable(vec![]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn one_look_up_serves_all_who_wait() {
        let resolver = Resolver::new(&Authority::parse(b"localhost:9").unwrap(), &Arc::default());
        let Target::Name(host, port) = &resolver.target else {
            panic!("a name")
        };
        let (first, second) = (
            resolver.last_or_new(host, *port),
            resolver.last_or_new(host, *port),
        );
        assert!(first.same_channel(&second));
        assert!(
            resolver
                .addresses()
                .await
                .unwrap()
                .iter()
                .all(|address| address.ip().is_loopback())
        );
    }
}
