//! Where a listener is found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address at which a program on this machine finds what is bound to `bound`, be it to every one.
pub(crate) fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_on_loopback() {
        let at = |bound: &str| reachable(bound.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9900"), "127.0.0.1:9900");
        assert_eq!(at("[::]:9900"), "[::1]:9900");
        assert_eq!(at("10.0.0.1:1"), "10.0.0.1:1");
    }
}
