//! The sockets that listen: TCP, and unix sockets with their files.

use std::fs::{self, File, Permissions, TryLockError};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use nix::unistd::{Group, User};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::BACKLOG;
use crate::config::plan::{Bind, UnixBind};
use crate::transport;

/// How long another process may take to make a socket in the same folder.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: usize = 200;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket; dropped, it is removed, unless it is another one's by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl Bound {
    pub(super) fn bind(bind: &Bind) -> io::Result<Self> {
        match bind {
            Bind::Tcp(address) => tcp(*address).map(Self::Tcp),
            Bind::Unix(plan) => unix(plan),
        }
    }

    /// Where it listens, with the port that it has.
    pub(super) fn place(&self, bind: &Bind) -> io::Result<Bind> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Bind::Tcp),
            Self::Unix(..) => Ok(bind.clone()),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            Self::Unix(socket, _) => registry.register(socket, token, Interest::READABLE),
        }
    }

    /// Accepts one. A unix stream is handed on as a TCP one: it is read, written and ended by the same
    /// calls, and refuses the options and questions that are TCP's, which nobody relies on.
    pub(super) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().map(|(stream, peer)| (stream.into(), peer)),
            Self::Unix(socket, _) => {
                let (stream, _nameless) = socket.accept()?;
                let stream = std::os::unix::net::UnixStream::from(stream);
                Ok((OwnedFd::from(stream).into(), Bind::UNIX_PEER))
            }
        }
    }

    /// Takes it out of sight: who has connected can be accepted still, and nobody else connects.
    pub(super) fn hide(&mut self) {
        if let Self::Unix(_, file) = self {
            file.remove();
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, wherever the system's default stands.
        socket.set_only_v6(false)?;
    }
    // For those that it accepts.
    transport::set_options(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Until it listens nobody can connect, so that nobody comes before the file says who may.
fn unix(plan: &UnixBind) -> io::Result<Bound> {
    let path = &plan.path;
    let owner = plan.owner.as_deref().map(user).transpose()?;
    let group = plan.group.as_deref().map(group).transpose()?;
    let _alone = lock_folder(path);
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let mut file = SocketFile {
        path: path.clone(),
        identity: None,
    };
    file.identity = identity(path);
    fs::set_permissions(path, Permissions::from_mode(plan.mode))?;
    if owner.is_some() || group.is_some() {
        chown(path, owner, group)?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let socket = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
    Ok(Bound::Unix(UnixListener::from_std(socket), file))
}

/// Keeps others of us from making a socket in the same folder meanwhile: of two that find a stale one,
/// the second would remove the first's. Where the folder cannot be read, nothing keeps them from it; nor
/// where the lock does not become free: whoever can read the folder can hold that, and keep us from
/// starting.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = path.parent().map(File::open)?.ok()?;
    for _ in 0..LOOKS {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK),
            Err(TryLockError::Error(_not_here)) => return None,
        }
    }
    let socket = path.display();
    tracing::warn!(%socket, "another process holds a lock on the folder of a socket; it is not waited for");
    None
}

/// Removes a socket that nobody listens at any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let message = "there is something that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that has more to accept than it may is alive, and is not waited for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => {
            let message = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

fn user(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let user = User::from_name(name)?;
    let unknown = || io::Error::other(format!("there is no user {name}"));
    user.map(|user| user.uid.as_raw()).ok_or_else(unknown)
}

fn group(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = Group::from_name(name)?;
    let unknown = || io::Error::other(format!("there is no group {name}"));
    group.map(|group| group.gid.as_raw()).ok_or_else(unknown)
}

impl SocketFile {
    fn remove(&mut self) {
        let ours = self.identity.take();
        if ours.is_some() && ours == identity(&self.path) {
            // What cannot be removed is found stale by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_a_listener_accepts_has_the_options_of_all_streams() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Bound::bind(&Bind::Tcp(any)).unwrap();
        let Ok(Bind::Tcp(address)) = listener.place(&Bind::Tcp(any)) else {
            panic!("it has an address");
        };
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _peer) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    }
}
