//! Peers that end their stream without a close frame: what they said is heard, and what is said to
//! them is written as long as they read.

use std::future::pending;
use std::sync::Arc;

use tidegate_ws::codec::Role;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::Cause;
use tidegate_ws::{
    BoxError, Driver, Ending, HandshakeInfo, Opening, SessionConfig, SessionError,
    WebSocketSession, run,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn};
use tokio::time::Instant;

use crate::kit::{echo, frame, part};

async fn connect() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

fn config() -> Arc<SessionConfig> {
    Arc::default()
}

/// Binary frames as a server sends them.
fn echoed(length: u16, count: usize) -> Vec<u8> {
    let mut bytes = vec![0x82, 126];
    bytes.extend(length.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(length), b'x');
    bytes.repeat(count)
}

/// A peer that has said `count` messages and FIN, before anybody hears it.
async fn said(length: u16, count: usize, rest: &[u8]) -> (TcpStream, TcpStream) {
    let frames = frame(OpCode::Binary, &vec![b'x'; usize::from(length)]).repeat(count);
    let (mut near, far) = connect().await;
    near.write_all(&frames).await.unwrap();
    near.write_all(rest).await.unwrap();
    near.shutdown().await.unwrap();
    (near, far)
}

/// All that is said to it, up to the end.
async fn heard(mut near: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).await.unwrap();
    heard
}

fn is_lost(ending: &Ending) {
    assert_eq!((ending.code, ending.cause), (1006, Cause::PeerLost));
}

#[tokio::test]
async fn the_last_words_are_echoed() {
    let half = &part(OpCode::Binary, true, &[1; 100])[..50];
    for (length, count) in [(200, 1), (200, 3), (1000, 100), (30_000, 2)] {
        for rest in [&[][..], half] {
            let (near, far) = said(length, count, rest).await;
            let server = spawn(run(far, HandshakeInfo::default(), config(), echo));
            // No close frame is sent to who sends none.
            assert!(
                heard(near).await == echoed(length, count),
                "{count} messages of {length}"
            );
            is_lost(&server.await.unwrap());
        }
    }
}

/// The end comes with them, in the same turn.
#[tokio::test]
async fn the_last_words_are_echoed_when_the_end_is_there_already() {
    for (length, count) in [(200, 1), (1000, 10), (30_000, 3)] {
        let (mut near, far) = duplex(100_000);
        let frames = frame(OpCode::Binary, &vec![b'x'; usize::from(length)]).repeat(count);
        let server = spawn(run(far, HandshakeInfo::default(), config(), echo));
        // It waits; what comes next comes at once.
        tokio::task::yield_now().await;
        near.write_all(&frames).await.unwrap();
        near.shutdown().await.unwrap();
        assert!(heard(near).await == echoed(length, count), "{length}");
        is_lost(&server.await.unwrap());
    }
}

/// The same where nobody drives the session.
#[tokio::test]
async fn a_session_that_stands_alone_echoes_the_last_words() {
    let (near, far) = said(1000, 3, &[]).await;
    let server = spawn(async move {
        let mut session = WebSocketSession::new(far, Opening::new(Role::Server), config());
        while let Some(Ok(message)) = session.receive().await {
            session.send(message).await.unwrap();
        }
        let late = session.send("late").await;
        late.unwrap();
        session.close(1000, "").await
    });
    let mut expected = echoed(1000, 3);
    expected.extend_from_slice(b"\x81\x04late");
    assert!(heard(near).await == expected);
    is_lost(&server.await.unwrap());
}

fn serve<F>(
    far: TcpStream,
    handle: impl FnOnce(WebSocketSession) -> F + Send + 'static,
) -> JoinHandle<Ending>
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    spawn(driver.run(move || handle(session)))
}

/// The answer takes its time, and the driver has seen the end of the stream long before.
#[tokio::test]
async fn an_answer_that_comes_later_is_written() {
    let (near, far) = said(1000, 1, &[]).await;
    let (found, is_found) = oneshot::channel();
    let server = serve(far, async move |mut session: WebSocketSession| {
        let message = session.receive().await.unwrap()?;
        // It is told at once that this is the end.
        let lost = session.receive().await;
        assert!(matches!(lost, Some(Err(SessionError::Lost))), "{lost:?}");
        assert!(session.receive().await.is_none());
        is_lost(&session.ending().unwrap());
        is_found.await?;
        session.send(message).await?;
        session.flush().await?;
        session.close(4000, "not told").await;
        assert!(matches!(
            session.send("late").await,
            Err(SessionError::Closed)
        ));
        Ok(())
    });
    let asks = spawn(heard(near));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    found.send(()).unwrap();
    assert!(asks.await.unwrap() == echoed(1000, 1));
    is_lost(&server.await.unwrap());
}

/// A handler that neither receives nor sends does not keep the connection for ever, nor does it spin.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_is_given_up_in_time() {
    let (near, far) = duplex(4096);
    let begin = Instant::now();
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let control = driver.control();
    let server = spawn(driver.run(async move || {
        let _session = session;
        pending::<()>().await;
        Ok(())
    }));
    drop(near);
    is_lost(&server.await.unwrap());
    let took = begin.elapsed();
    // The handler's grace, once.
    assert!((30..32).contains(&took.as_secs()), "{took:?}");
    assert!(control.ending().is_none());
}
