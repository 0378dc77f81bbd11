use super::*;
use crate::config::plan::SessionLimits;

fn caps(most: usize, trusted: &[&str]) -> Caps {
    Caps {
        connections: Arc::new(Gauge::new(most)),
        addresses: Arc::default(),
        per_address: None,
        sessions: SessionCaps::new(&SessionLimits::default(), None),
        handshakes: None,
        tls_handshakes: None,
        trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
        forwarded_header: ForwardedHeader::default(),
        refused: AtomicU64::new(0),
        nameless: AtomicU64::new(0),
        refusals: Default::default(),
    }
}

fn admitted(caps: &Caps, address: &str) -> Result<Permits, Overload> {
    caps.admit_connection(None, address.parse().unwrap())
}

#[test]
fn a_client_with_many_leaves_the_last_share_to_those_with_few() {
    let caps = caps(160, &["10.0.0.0/8"]);
    let hers: Vec<_> = (0..)
        .map(|_| admitted(&caps, "192.0.2.1"))
        .take_while(Result::is_ok)
        .collect();
    assert_eq!(hers.len(), 150);
    assert_eq!(
        admitted(&caps, "192.0.2.1").unwrap_err(),
        Overload::TooManyConnections
    );
    let mut others: Vec<_> = (0..10)
        .map(|last| admitted(&caps, &format!("198.51.100.{}", last % 3)).unwrap())
        .collect();
    assert_eq!(
        admitted(&caps, "198.51.100.1").unwrap_err(),
        Overload::GatewayFull
    );
    others.pop();
    admitted(&caps, "10.0.0.1").unwrap();
    drop((hers, others));
    assert_eq!((caps.connections.used(), caps.addresses.len()), (0, 0));
}

#[test]
fn every_refusal_has_its_count() {
    let caps = caps(1, &[]);
    let codes = [
        Overload::GatewayFull,
        Overload::ListenerFull,
        Overload::RouteFull,
        Overload::ServiceFull,
        Overload::SessionsFull,
        Overload::TooManyConnections,
        Overload::TooManySessions,
        Overload::TooManyHandshakes { retry_after: 1 },
    ]
    .map(|overload| overload.status_and_label().1);
    for code in codes.into_iter().chain(["descriptors_short"]) {
        caps.note_refusal(code);
    }
    caps.note_nameless();
    assert!(caps.refusals().all(|(_, count)| count == 1));
}

#[test]
fn so_is_the_last_share_of_a_listener() {
    let caps = caps(1000, &[]);
    let listener = Gauge::up_to(Some(32)).unwrap();
    let admitted = |address: &str| {
        let address = address.parse().unwrap();
        caps.admit_connection(Some(&listener), address)
    };
    let hers: Vec<_> = (0..)
        .map(|_| admitted("192.0.2.1"))
        .take_while(Result::is_ok)
        .collect();
    assert_eq!(hers.len(), 30);
    let refused = admitted("192.0.2.1").unwrap_err();
    assert_eq!(refused, Overload::TooManyConnections);
    let _others = [admitted("192.0.2.2").unwrap(), admitted("::2").unwrap()];
    let refused = admitted("192.0.2.3").unwrap_err();
    assert_eq!(refused, Overload::ListenerFull);
}

#[test]
fn what_joins_is_held_as_long() {
    let gauge = Arc::new(Gauge::new(9));
    let addresses = Arc::new(Addresses::default());
    let mut all = Permits::default();
    for _ in 0..3 {
        let mut some = Permits::default();
        for _ in 0..3 {
            some.take(&gauge, Overload::RouteFull).unwrap();
        }
        some.count(addresses.count("::1".parse().unwrap(), |_| true).unwrap());
        all.join(some);
    }
    assert_eq!(gauge.used(), 9);
    assert_eq!(addresses.has("::1".parse().unwrap()), 3);
    drop(all);
    assert_eq!((gauge.used(), addresses.len()), (0, 0));
}

/// There is one for each idle session.
#[test]
fn permits_are_small() {
    let size = size_of::<Permits>();
    assert!(size <= 56, "{size} bytes");
}

#[test]
fn a_small_gateway_has_no_share_to_keep() {
    let caps = caps(3, &[]);
    let held: Vec<_> = (0..3).map(|_| admitted(&caps, "::1").unwrap()).collect();
    assert_eq!(admitted(&caps, "::1").unwrap_err(), Overload::GatewayFull);
    drop(held);
    admitted(&caps, "::1").unwrap();
}

#[test]
fn a_refused_connection_holds_nothing() {
    let caps = caps(9, &[]);
    let listener = Gauge::up_to(Some(1)).unwrap();
    let peer = "192.0.2.1".parse().unwrap();
    let held = caps.admit_connection(Some(&listener), peer).unwrap();
    for _ in 0..3 {
        let refused = caps.admit_connection(Some(&listener), peer);
        assert_eq!(refused.unwrap_err(), Overload::ListenerFull);
    }
    assert_eq!(caps.connections.used(), 1);
    drop(held);
    assert_eq!((caps.connections.used(), caps.addresses.len()), (0, 0));
    caps.admit_connection(Some(&listener), peer).unwrap();
}
