//! What systemd is told of a service of `Type=notify` (`sd_notify(3)`): a datagram per state, to the
//! socket that it names in the environment. Elsewhere there is no such socket, and nothing is said.

use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service is up.
pub(crate) const READY: &str = "READY=1";
/// It has begun to end.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells `state`. Whoever cannot be told is no reason not to go on.
pub(crate) fn notify(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = tell(&name, state) {
        tracing::warn!(%error, state, "systemd cannot be told");
    }
}

fn tell(name: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A reader that does not read must not hold up the start.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address(name)?)?;
    Ok(())
}

/// A path, or behind an `@` a name of the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "NOTIFY_SOCKET is neither a path nor an abstract name",
        )),
    }
}
