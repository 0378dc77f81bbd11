//! Where a listener listens, and what it does before requests reach the routes.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;

use crate::authority::Authority;
use crate::router::{HostPattern, PathPattern};

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// An IP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(UnixBind),
}

/// A unix socket to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixBind {
    /// Its file: an absolute path of at most 107 bytes.
    pub path: PathBuf,
    /// The permission bits of its file, such as `0o660` (the default of a configuration).
    pub mode: u32,
    /// The user whose file it becomes, by name or number; `None`: that of the process.
    pub owner: Option<Box<str>>,
    /// The group, likewise.
    pub group: Option<Box<str>>,
}

impl Bind {
    /// The peer, and the own address, of a connection through a unix socket, which has none: whoever
    /// connects there is on this machine.
    pub(crate) const UNIX_PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// The IP address, where it is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As the configuration has it: `127.0.0.1:8080`, `unix:/run/tidegate.sock`.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(unix) => write!(f, "unix:{}", unix.path.display()),
        }
    }
}

/// Who tells for whom it speaks by the PROXY protocol, before anything else.
#[derive(Debug, Clone)]
pub struct ProxyProtocolPlan {
    /// The peers that do. Nobody else is asked; a header of theirs is no request.
    pub trusted: Arc<[IpNet]>,
    /// Whether they may leave it out; `false`: they must send one.
    pub is_optional: bool,
}

impl ProxyProtocolPlan {
    /// Whether this peer is one of them.
    pub(crate) fn trusts(&self, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// Where a listener sends every request, instead of asking the routes: to the same URL by https.
#[derive(Debug, Clone)]
pub struct RedirectPlan {
    /// 301, 302, 307 or 308 (the default of a configuration).
    pub status: StatusCode,
    /// The port as clients see it; 443 is not written.
    pub port: u16,
    /// To which host.
    pub host: RedirectHost,
    /// Paths for which the routes are asked all the same, such as those of ACME's http-01.
    pub except: Vec<PathPattern>,
}

/// To which host a request is sent.
#[derive(Debug, Clone)]
pub enum RedirectHost {
    /// The one that it asked for, whichever that is.
    Asked,
    /// The one that it asked for, if it is one of these.
    Listed(Vec<HostPattern>),
    /// This one, whatever it asked for; its port does not count.
    Literal(Authority),
}
