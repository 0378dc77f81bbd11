//! The handshake with a client, on the task of its connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Secured;
use super::server::ServerTls;
use crate::connection;
use crate::transport::{HandshakeError, Transport};
use crate::worker::Worker;

/// How long a client that is refused, or that meets a gateway which has closed, has for it.
const MOMENT: Duration = Duration::from_secs(2);

/// What became of handshakes, as they are counted.
pub(crate) const RESULTS: [&str; 7] = [
    "ok",
    "resumed",
    "lost",
    "plain_http",
    "rate_limited",
    "refused",
    "timeout",
];

/// A handshake to be held.
pub(crate) struct Handshake<'a> {
    pub(crate) tls: &'a ServerTls,
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) peer: SocketAddr,
    /// The client is only to be told why it is not served.
    pub(crate) is_refused: bool,
}

impl Handshake<'_> {
    /// Holds it; `None` where it failed, which has been counted and logged.
    pub(crate) async fn hold(self, mut transport: Transport) -> Option<(Transport, Secured)> {
        if self
            .worker
            .caps()
            .admit_tls_handshake(self.peer.ip())
            .is_err()
        {
            self.count("rate_limited");
            return None;
        }
        let mut patience = self.tls.handshake_timeout();
        if self.is_refused {
            patience = patience.min(MOMENT);
        }
        let closed = async {
            self.worker.drain.closed().await;
            sleep(MOMENT).await;
        };
        let held = tokio::select! {
            biased;
            held = timeout(patience, transport.accept_tls(self.tls.config())) => held,
            () = closed => return None,
        };
        let peer = self.peer;
        match held {
            Ok(Ok(())) => {
                let mut secured = transport.secured()?;
                secured.forwards_certificate = self.tls.forwards_certificates();
                self.count(if secured.is_resumed { "resumed" } else { "ok" });
                return Some((transport, secured));
            }
            Ok(Err(HandshakeError::PlainHttp)) => {
                self.count("plain_http");
                tracing::debug!(%peer, "HTTP without TLS on a port of TLS");
                connection::refuse_plain(transport).await;
            }
            Ok(Err(HandshakeError::Refused(error))) => {
                self.count("refused");
                tracing::debug!(%peer, %error, "handshake of TLS failed");
            }
            Ok(Err(HandshakeError::Lost(error))) => {
                self.count("lost");
                tracing::debug!(%peer, %error, "handshake of TLS failed");
            }
            Err(_elapsed) => {
                self.count("timeout");
                tracing::debug!(%peer, "handshake of TLS took too long");
            }
        }
        None
    }

    fn count(&self, result: &str) {
        let place = RESULTS.iter().position(|one| *one == result);
        if let Some(count) = place.and_then(|place| self.worker.meters.tls.get(place)) {
            count.add(1);
        }
    }
}
