//! Connections that take nothing any more: what the peer has said is heard to its end.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_ws::codec::Role;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::Cause;
use tidegate_ws::{
    BoxError, Driver, Ending, HandshakeInfo, Opening, SessionConfig, SessionError, WebSocketSession,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::task::{JoinHandle, spawn, yield_now};
use tokio::time::{Duration, Instant, timeout};

use crate::kit::{Peer, close, frame};

fn config() -> Arc<SessionConfig> {
    Arc::new(SessionConfig::default())
}

fn serve<F>(handle: impl FnOnce(WebSocketSession) -> F) -> (Peer, JoinHandle<Ending>)
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (near, far) = duplex(64 << 10);
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let handler = handle(session);
    (Peer(near), spawn(driver.run(move || handler)))
}

/// The peer says so much and is gone; it is heard to its end, though nothing can be written.
#[tokio::test]
async fn what_came_before_a_write_failed_is_received() {
    for (last, code, cause) in [
        (
            frame(OpCode::Close, &close(1000, "")),
            1000,
            Cause::PeerClosed,
        ),
        (vec![], 1006, Cause::PeerLost),
    ] {
        // All of it in one read, or the most of it still with the connection.
        for length in [1, 20_000] {
            let said = [
                &frame(OpCode::Text, &vec![b'a'; length]).repeat(3),
                &last[..],
            ]
            .concat();
            let (near, far) = duplex(64 << 10);
            let (mut session, driver) = Driver::start(far, HandshakeInfo::default(), config());
            let mut peer = Peer(near);
            peer.0.write_all(&said).await.unwrap();
            drop(peer);
            let ending = spawn(driver.run(async move || {
                for _ in 0..3 {
                    let message = session.receive().await.unwrap().unwrap();
                    assert_eq!(message.payload().len(), length);
                    // It is lost, sooner or later.
                    let _ = session.send("answer").await;
                    let _ = session.flush().await;
                    yield_now().await;
                }
                if cause == Cause::PeerLost {
                    let lost = session.receive().await;
                    assert!(matches!(lost, Some(Err(SessionError::Io(_)))), "{lost:?}");
                }
                assert!(session.receive().await.is_none());
                let sent = session.send("late").await;
                assert!(matches!(sent, Err(SessionError::Closed)), "{sent:?}");
                Ok(())
            }));
            let ending = ending.await.unwrap();
            assert_eq!((ending.code, ending.cause), (code, cause), "{length}");
        }
    }
}

/// A handler that gives up at once leaves the peer's last word to the session.
#[tokio::test]
async fn a_close_behind_a_write_that_failed_counts() {
    for (last, code, cause) in [
        (
            frame(OpCode::Close, &close(4000, "")),
            4000,
            Cause::PeerClosed,
        ),
        (vec![], 1006, Cause::PeerLost),
    ] {
        let said = [&frame(OpCode::Text, b"a").repeat(3), &last[..]].concat();
        let (mut peer, ending) = serve(async |mut session| {
            session.receive().await;
            while session.send("answer").await.is_ok() {
                yield_now().await;
            }
            Err("nobody hears".into())
        });
        peer.0.write_all(&said).await.unwrap();
        drop(peer);
        let ending = ending.await.unwrap();
        assert_eq!((ending.code, ending.cause), (code, cause));
    }
}

/// Nothing can be written, and nothing comes: neither is that for ever.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_more_and_says_nothing_is_given_up() {
    for is_heard in [true, false] {
        let begin = Instant::now();
        let (io, mut far) = HalfDead::pair();
        let (mut session, driver) = Driver::start(io, HandshakeInfo::default(), config());
        let ending = spawn(driver.run(async move || {
            session.send("lost").await?;
            if !is_heard {
                pending::<()>().await;
            }
            let lost = session.receive().await;
            assert!(matches!(lost, Some(Err(SessionError::Io(_)))), "{lost:?}");
            assert!(session.receive().await.is_none());
            Ok(())
        }));
        if !is_heard {
            let text = frame(OpCode::Text, b"unheard");
            far.write_all(&text.repeat(2)).await.unwrap();
        }
        let ending = ending.await.unwrap();
        assert_eq!((ending.code, ending.cause), (1006, Cause::PeerLost));
        // The handler's grace, and once more where it runs on.
        let most = if is_heard { 32 } else { 64 };
        let took = begin.elapsed().as_secs();
        assert!((most - 4..most).contains(&took), "{took} s");
    }
}

/// A connection that gives what its far end says, and takes nothing.
struct HalfDead(DuplexStream);

impl HalfDead {
    fn pair() -> (Self, DuplexStream) {
        let (near, far) = duplex(4096);
        (Self(near), far)
    }
}

impl AsyncRead for HalfDead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for HalfDead {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stands_alone_and_closes_is_told_that_the_server_is_gone() {
    let (near, far) = duplex(4096);
    let mut client = WebSocketSession::new(near, Opening::new(Role::Client), config());
    let closes = spawn(async move { client.close(1000, "").await });
    yield_now().await;
    drop(far);
    let ending = timeout(Duration::from_secs(60), closes).await;
    assert_eq!(ending.unwrap().unwrap().cause, Cause::Closed);
}
