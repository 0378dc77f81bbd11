//! From a target to a connection.

use tokio::net::TcpStream;

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
pub(super) async fn dial(target: &Target, tls: Option<&Tls>) -> Result<Dialled, ClientError> {
    if !target.is_tls {
        return connect(target).await.map(Dialled::Plain);
    }
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => Tls::of_system().map_err(|error| ClientError::Tls(error.into()))?,
    };
    let io = connect(target).await?;
    let io = tls.connect(&target.host, io).await?;
    Ok(Dialled::Tls(Box::new(io)))
}

#[cfg(not(feature = "tls"))]
pub(super) async fn dial(target: &Target) -> Result<Dialled, ClientError> {
    if target.is_tls {
        return Err(ClientError::Url("wss needs the feature `tls`"));
    }
    connect(target).await.map(Dialled::Plain)
}

/// Tries the host's addresses one after the other.
async fn connect(target: &Target) -> Result<TcpStream, ClientError> {
    let io = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(ClientError::Connect)?;
    // A message is written whole; to wait for more of it would only delay it.
    io.set_nodelay(true).map_err(ClientError::Connect)?;
    Ok(io)
}
