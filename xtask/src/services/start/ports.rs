//! Ports of the loopback: the usual one of each service, or one that is free.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use crate::running::free_address;

/// Those that are given to somebody, who may not listen there yet.
#[derive(Default)]
pub(super) struct Ports(BTreeSet<u16>);

impl Ports {
    /// `usual`, or where somebody else has it another one, said aloud.
    pub(super) fn take(&mut self, what: &str, usual: u16) -> anyhow::Result<u16> {
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).is_ok();
        if is_free && self.0.insert(usual) {
            return Ok(usual);
        }
        loop {
            let port = free_address()?.port();
            if self.0.insert(port) {
                println!("{what}: port {usual} is taken, so it is {port}");
                return Ok(port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_not_where_somebody_listens() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let first = ports.take("one", port).unwrap();
        assert_ne!(first, port);
        assert_ne!(ports.take("two", first).unwrap(), first);
    }
}
