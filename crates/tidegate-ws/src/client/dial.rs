//! From a target to a connection.

use std::io;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::ClientError;
use super::target::Target;
#[cfg(feature = "tls")]
use super::tls::{Tls, TlsStream};

/// A new connection.
pub(super) enum Dialled {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

#[cfg(feature = "tls")]
pub(super) async fn dial(
    target: &Target,
    deadline: Instant,
    tls: Option<&Tls>,
) -> Result<Dialled, ClientError> {
    if !target.is_tls {
        return connect(target, deadline).await.map(Dialled::Plain);
    }
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => Tls::of_system().map_err(|error| ClientError::Tls(error.into()))?,
    };
    let io = connect(target, deadline).await?;
    let io = tls.connect(&target.host, io).await?;
    Ok(Dialled::Tls(Box::new(io)))
}

#[cfg(not(feature = "tls"))]
pub(super) async fn dial(target: &Target, deadline: Instant) -> Result<Dialled, ClientError> {
    if target.is_tls {
        return Err(ClientError::Url("wss needs the feature `tls`"));
    }
    connect(target, deadline).await.map(Dialled::Plain)
}

async fn connect(target: &Target, deadline: Instant) -> Result<TcpStream, ClientError> {
    let io = first_of_addresses(target, deadline)
        .await
        .map_err(ClientError::Connect)?;
    // A message is written whole; to wait for more of it would only delay it.
    io.set_nodelay(true).map_err(ClientError::Connect)?;
    Ok(io)
}

/// Tries the host's addresses one after the other. Each has its share of the time that is left, so
/// that one that does not answer leaves some to the next.
async fn first_of_addresses(target: &Target, deadline: Instant) -> io::Result<TcpStream> {
    let found = lookup_host((target.host.as_str(), target.port)).await?;
    let addresses: Vec<_> = found.collect();
    let Some((last, others)) = addresses.split_last() else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no address",
        ));
    };
    let mut shares = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in others {
        let share = deadline.saturating_duration_since(Instant::now()) / shares;
        shares -= 1;
        if let Ok(Ok(io)) = timeout(share, TcpStream::connect(address)).await {
            return Ok(io);
        }
    }
    TcpStream::connect(last).await
}
