//! A handshake of TLS, to its end or its failure.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::timeout;

use super::Transport;
use super::tls::Tls;

/// How long a peer whose handshake failed has to read why, and how much it may send meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(1);
const PASSED_OVER: usize = 64 * 1024;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The stream failed, or ended.
    #[error("the connection ended within the handshake: {0}")]
    Lost(io::Error),
    /// What the client said is HTTP without TLS.
    #[error("the client speaks HTTP without TLS")]
    PlainHttp,
    /// The two do not come together.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

impl Transport {
    pub(super) async fn shake_hands(&mut self, mut tls: Tls) -> Result<(), HandshakeError> {
        let shaken = poll_fn(|cx| self.poll_handshake(&mut tls, cx)).await;
        match shaken {
            Ok(()) => {
                if !tls.spoke_last() {
                    self.socket.acknowledge();
                }
                self.tls = Some(Box::new(tls));
            }
            // Nothing was said yet, and the answer to it can be read.
            Err(HandshakeError::PlainHttp | HandshakeError::Lost(_)) => {}
            Err(HandshakeError::Refused(_)) => {
                // An alert that was said is not to be lost to a reset.
                let _in_time = timeout(LAST_WORDS, self.let_go(&mut tls)).await;
            }
        }
        shaken
    }

    fn poll_handshake(
        &mut self,
        tls: &mut Tls,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HandshakeError>> {
        loop {
            tls.poll_step(&mut self.socket, cx)
                .map_err(refused_or_lost)?;
            ready!(tls.poll_unsent(&mut self.socket, cx)).map_err(HandshakeError::Lost)?;
            if !tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let is_first = tls.is_server() && !tls.has_heard();
            let input =
                ready!(tls.poll_more(&mut self.socket, cx)).map_err(HandshakeError::Lost)?;
            if is_first && is_http(input) {
                return Poll::Ready(Err(HandshakeError::PlainHttp));
            }
        }
    }

    /// Ends our side, and reads on until the peer has ended its own.
    async fn let_go(&mut self, tls: &mut Tls) -> io::Result<()> {
        poll_fn(|cx| tls.poll_unsent(&mut self.socket, cx)).await?;
        poll_fn(|cx| Pin::new(&mut self.socket).poll_shutdown(cx)).await?;
        let mut passed_over = 0;
        let mut room = [0; 1024];
        while passed_over < PASSED_OVER {
            let mut buffer = ReadBuf::new(&mut room);
            poll_fn(|cx| Pin::new(&mut self.socket).poll_read(cx, &mut buffer)).await?;
            match buffer.filled().len() {
                0 => break,
                read => passed_over += read,
            }
        }
        Ok(())
    }
}

/// What the engine refuses has its reason within.
fn refused_or_lost(error: io::Error) -> HandshakeError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => HandshakeError::Refused(error),
        Err(error) => HandshakeError::Lost(error),
    }
}

/// Whether this is the beginning of a request, and not of a handshake: a method and what it is for.
/// Where it is cut short after its first letter that is enough; no record begins with one.
fn is_http(input: &[u8]) -> bool {
    let method = input.iter().take_while(|byte| byte.is_ascii_uppercase());
    match method.count() {
        0 => false,
        length => input.get(length).is_none_or(|byte| *byte == b' '),
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::ServerConfig;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::plan::ServiceTls;
    use crate::tls::client::ClientTls;

    fn server(tickets: usize) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key);
        let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap().into()], secret)
            .unwrap();
        config.send_tls13_tickets = tickets;
        Arc::new(config)
    }

    /// A server that gives no tickets says nothing that would carry an acknowledgement, and its client's
    /// request may wait for one.
    #[tokio::test]
    async fn a_clients_last_words_are_acknowledged_at_once() {
        let anybody = ServiceTls {
            is_insecure: true,
            ..ServiceTls::default()
        };
        let client = ClientTls::load(&anybody).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut ours = Transport::accepted(accepted.unwrap().0);
        let mut theirs = Transport::accepted(dialled.unwrap());
        let name = "localhost".try_into().unwrap();
        let (shaken, connected) = tokio::join!(
            ours.accept_tls(server(0)),
            theirs.connect_tls(Arc::clone(&client.trust().config), name),
        );
        shaken.unwrap();
        connected.unwrap();
        assert!(ours.socket.acknowledges_at_once());
    }
}
