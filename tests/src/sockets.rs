//! What sockets the kernel knows of, so that a leak is seen whoever holds it.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How many TCP sockets of this machine have `port` at one of their ends, listeners and those in
/// TIME-WAIT not counted.
#[must_use]
pub fn open_on(port: u16) -> usize {
    table(&on_port(port))
        .iter()
        .filter(|row| !row.is_listening && !row.is_waiting)
        .filter(|row| row.local == port || row.remote == port)
        .count()
}

/// As [`open_on`], of the sockets that have `address` itself at one of their ends: others on this
/// machine may use its port with another address.
#[must_use]
pub fn open_at(address: SocketAddrV4) -> usize {
    // The kernel writes the address as a number in the order of this machine's bytes.
    let number = u32::from_ne_bytes(address.ip().octets());
    let end = format!("{number:08X}:{:04X} ", address.port());
    table(&end)
        .iter()
        .filter(|row| !row.is_listening && !row.is_waiting)
        .count()
}

/// How many connections to `port` are being made and are not answered (SYN-SENT).
#[must_use]
pub fn dialling(port: u16) -> usize {
    table(&on_port(port))
        .iter()
        .filter(|row| row.is_dialling && row.remote == port)
        .count()
}

/// Whether the socket with the port `local`, connected to the port `remote`, is alive at that end.
#[must_use]
pub fn is_open(local: u16, remote: u16) -> bool {
    table(&on_port(local))
        .iter()
        .any(|row| !row.is_waiting && row.local == local && row.remote == remote)
}

/// How many bytes the socket with the port `local` has sent toward the port `remote` that the kernel
/// there has not taken yet; `None` where the table does not show it, which, while others come and
/// go, it may fail to do.
#[must_use]
pub fn untaken(local: u16, remote: u16) -> Option<u64> {
    let rows = table(&on_port(local));
    let mut ours = rows
        .iter()
        .filter(|row| row.local == local && row.remote == remote);
    ours.next().map(|row| row.untaken)
}

/// The ports on which the process `pid` listens.
#[must_use]
pub fn listening(pid: u32) -> Vec<u16> {
    let held: HashSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    table(" 0A ")
        .iter()
        .filter(|row| row.is_listening && held.contains(&format!("socket:[{}]", row.inode)))
        .map(|row| row.local)
        .collect()
}

/// An address that takes no connection and refuses none: the queue of its listener is full, so the
/// kernel drops whatever asks.
#[derive(Debug)]
pub struct FullListener {
    address: SocketAddr,
    _listener: Socket,
    _fillers: Vec<TcpStream>,
}

impl FullListener {
    /// Listens on 127.0.0.1, and fills the queue.
    #[must_use]
    pub fn bind() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            fillers.push(filler);
        }
        Self {
            address,
            _listener: listener,
            _fillers: fillers,
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Debug)]
struct Row {
    local: u16,
    remote: u16,
    is_dialling: bool,
    is_listening: bool,
    is_waiting: bool,
    untaken: u64,
    inode: String,
}

/// How an address with `port` ends in the table.
fn on_port(port: u16) -> String {
    format!(":{port:04X} ")
}

/// The rows that hold `part`. Only these are looked into: after many cases the table is long.
fn table(part: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(part));
        rows.extend(lines.filter_map(row));
    }
    rows
}

fn row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let port = |word: &str| u16::from_str_radix(word.rsplit(':').next()?, 16).ok();
    Some(Row {
        local: port(words.get(1)?)?,
        remote: port(words.get(2)?)?,
        is_dialling: *words.get(3)? == "02",
        is_listening: *words.get(3)? == "0A",
        is_waiting: *words.get(3)? == "06",
        untaken: u64::from_str_radix(words.get(4)?.split(':').next()?, 16).ok()?,
        inode: (*words.get(9)?).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_listener_is_full() {
        let full = FullListener::bind();
        let more = TcpStream::connect_timeout(&full.address(), Duration::from_millis(100));
        assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }

    #[test]
    fn counts_both_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(open_on(address.port()), 0);
        assert!(listening(std::process::id()).contains(&address.port()));
        let _client = TcpStream::connect(address).unwrap();
        let _peer = listener.accept().unwrap();
        assert_eq!(open_on(address.port()), 2);
        let SocketAddr::V4(address) = address else {
            unreachable!("it was bound so")
        };
        assert_eq!(open_at(address), 2);
        let other = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), address.port());
        assert_eq!(open_at(other), 0);
    }

    #[test]
    fn counts_what_is_not_taken() {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, from) = listener.accept().unwrap();
        let (local, remote) = (from.port(), receiver.local_addr().unwrap().port());
        while untaken(local, remote) != Some(0) {}
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(more) = sender.write(&[7; 65_536]) {
            sent += more;
        }
        while untaken(local, remote).is_none_or(|left| left == 0) {}
        receiver.read_exact(&mut vec![0; sent]).unwrap();
        while untaken(local, remote) != Some(0) {
            std::thread::yield_now();
        }
    }
}
