//! What sockets this process holds, and what the kernel says of them, so that a leak is seen whoever in
//! here holds it. Those of strangers, and those that are closed and only live on in the kernel, do not
//! count, whatever port they use.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, RawFd};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};
use socket2::{Domain, Socket, Type};

/// How many connected TCP sockets of this process have `port` at one of their ends.
#[must_use]
pub fn open_on(port: u16) -> usize {
    connected()
        .filter(|(local, remote)| *local == port || *remote == port)
        .count()
}

/// Whether this process holds the socket with the port `local`, connected to the port `remote`.
#[must_use]
pub fn is_open(local: u16, remote: u16) -> bool {
    connected().any(|ends| ends == (local, remote))
}

/// The inodes of the sockets of this process that ask for a connection to `address` and have no answer
/// (SYN-SENT). The kernel's table is read for them, which may take its time.
#[must_use]
pub fn dialling(address: SocketAddr) -> Vec<String> {
    let port = format!(":{:04X}", address.port());
    let held = inodes("self");
    table()
        .filter(|row| row.contains(&port))
        .filter_map(|row| {
            let words: Vec<&str> = row.split_whitespace().collect();
            let is_it = words.get(2)?.ends_with(&port) && *words.get(3)? == "02";
            let inode = words.get(9).filter(|inode| held.contains(**inode))?;
            is_it.then(|| (*inode).to_owned())
        })
        .collect()
}

/// Whether this process holds the socket with this inode.
#[must_use]
pub fn is_held(inode: &str) -> bool {
    inodes("self").contains(inode)
}

/// The other ends' ports of the connections to `port` of this machine that are established, as the kernel
/// has them.
#[must_use]
pub fn established_on(port: u16) -> Vec<u16> {
    let local = format!(":{port:04X}");
    table()
        .filter_map(|row| {
            let words: Vec<&str> = row.split_whitespace().collect();
            let is_one = words.get(1)?.ends_with(&local) && *words.get(3)? == "01";
            let remote = words.get(2)?.rsplit(':').next()?;
            is_one.then(|| u16::from_str_radix(remote, 16).unwrap())
        })
        .collect()
}

/// The ports on which the process `pid` listens.
#[must_use]
pub fn listening(pid: u32) -> Vec<u16> {
    let held = inodes(&pid.to_string());
    let mut ports = Vec::new();
    for file in TABLES {
        // Listeners come first, however many others there are.
        for row in rows(file).skip(1) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let [_, local, _, "0A", .., inode] = words[..words.len().min(10)] else {
                break;
            };
            let port = local.rsplit(':').next().unwrap_or_default();
            if held.contains(inode) {
                ports.push(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports
}

nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u32; 37],
    nix::sys::socket::sockopt::GetStruct<[u32; 37]>
);

#[derive(Debug, Clone, Copy)]
struct TcpInfo;

/// Whether the kernel at the other end of `socket` has taken all that was sent.
///
/// # Panics
/// When the kernel does not tell, which one of Linux older than 4.6 does not.
#[must_use]
pub fn all_is_taken(socket: &impl AsFd) -> bool {
    let info = nix::sys::socket::getsockopt(socket, TcpInfo).unwrap();
    // `tcpi_unacked` and `tcpi_notsent_bytes`.
    (info[6], info[36]) == (0, 0)
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

const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

fn rows(table: &str) -> impl Iterator<Item = String> {
    let file = File::open(table).ok().map(BufReader::new);
    file.into_iter()
        .flat_map(|file| file.lines().map_while(Result::ok))
}

fn table() -> impl Iterator<Item = String> {
    TABLES.into_iter().flat_map(rows)
}

/// The open descriptors of a process, and what they are.
fn descriptors(process: &str) -> impl Iterator<Item = fs::DirEntry> + use<> {
    let all = fs::read_dir(format!("/proc/{process}/fd"));
    all.into_iter().flatten().filter_map(Result::ok)
}

/// The inodes of the sockets of a process.
fn inodes(process: &str) -> HashSet<String> {
    let links = descriptors(process).filter_map(|entry| fs::read_link(entry.path()).ok());
    links
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect()
}

/// The ports of the connected sockets of this process. Its own descriptors are asked, because the
/// kernel's table is long where many sockets are, and misses some while others come and go.
fn connected() -> impl Iterator<Item = (u16, u16)> {
    descriptors("self").filter_map(|entry| {
        let socket: RawFd = entry.file_name().to_str()?.parse().ok()?;
        let remote = port(&getpeername(socket).ok()?)?;
        Some((port(&getsockname(socket).ok()?)?, remote))
    })
}

fn port(address: &SockaddrStorage) -> Option<u16> {
    let v4 = address.as_sockaddr_in().map(|address| address.port());
    v4.or_else(|| Some(address.as_sockaddr_in6()?.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    fn pair() -> (u16, TcpStream, TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(open_on(address.port()), 0);
        assert!(listening(std::process::id()).contains(&address.port()));
        let client = TcpStream::connect(address).unwrap();
        let (peer, _) = listener.accept().unwrap();
        (address.port(), client, peer)
    }

    #[test]
    fn full_listener_is_full() {
        let full = FullListener::bind();
        let more = TcpStream::connect_timeout(&full.address(), Duration::from_millis(100));
        assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_dial_without_an_answer_is_seen() {
        let full = FullListener::bind();
        assert!(dialling(full.address()).is_empty());
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        assert!(socket.connect(&full.address().into()).is_err());
        let inodes = dialling(full.address());
        assert!(inodes.len() == 1 && is_held(&inodes[0]));
        drop(socket);
        assert!(!is_held(&inodes[0]));
    }

    #[test]
    fn counts_both_ends() {
        let (port, client, peer) = pair();
        let (local, remote) = (client.local_addr().unwrap(), peer.local_addr().unwrap());
        assert_eq!(open_on(port), 2);
        assert_eq!(established_on(port), [local.port()]);
        assert!(is_open(local.port(), remote.port()) && is_open(remote.port(), local.port()));
    }

    /// Its connection lives on in the kernel (FIN-WAIT-2), and nobody holds it.
    #[test]
    fn counts_nothing_that_is_closed() {
        let (port, client, _peer) = pair();
        drop(client);
        assert_eq!(open_on(port), 1);
    }

    #[test]
    fn counts_nothing_of_strangers() {
        let (port, client, _peer) = pair();
        let remote = client.local_addr().unwrap().port();
        let mut stranger = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(OwnedFd::from(client)))
            .spawn()
            .unwrap();
        assert_eq!(open_on(port), 1);
        assert!(is_open(port, remote) && !is_open(remote, port));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn sees_what_is_not_taken() {
        use std::io::{Read as _, Write as _};
        let (_, mut sender, mut receiver) = pair();
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(more) = sender.write(&[7; 65_536]) {
            sent += more;
        }
        assert!(!all_is_taken(&sender));
        receiver.read_exact(&mut vec![0; sent]).unwrap();
        while !all_is_taken(&sender) {
            std::thread::yield_now();
        }
    }
}
