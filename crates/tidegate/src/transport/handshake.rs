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
