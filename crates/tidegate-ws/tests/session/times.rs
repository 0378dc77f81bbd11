//! What happens when a time has come.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_ws::codec::Role;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::{Cause, Initiator, KeepAlive, Observer};
use tidegate_ws::{Driver, Ending, Opening, SessionConfig, WebSocketSession, run};
use tokio::io::duplex;
use tokio::task::{JoinHandle, spawn};
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{Peer, close, listen};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn serve(config: SessionConfig) -> (Peer, JoinHandle<Ending>) {
    let (near, far) = duplex(4096);
    let opening = Opening::new(Role::Server);
    (
        Peer(near),
        spawn(run(far, opening, Arc::new(config), listen)),
    )
}

fn quiet() -> SessionConfig {
    let mut config = SessionConfig::default();
    config.keep_alive = None;
    config
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_with_1001() {
    let mut config = quiet();
    config.idle_timeout = Some(seconds(80));
    let (mut peer, ending) = serve(config);
    for _ in 0..3 {
        sleep(seconds(70)).await;
        peer.send(OpCode::Text, b"moves").await;
        // Pings are no messages.
        peer.send(OpCode::Ping, b"").await;
        assert_eq!(peer.next().await.unwrap().0, OpCode::Pong);
    }
    let begin = Instant::now();
    for _ in 0..7 {
        sleep(seconds(10)).await;
        peer.send(OpCode::Ping, b"").await;
        assert_eq!(peer.next().await.unwrap().0, OpCode::Pong);
    }
    assert_eq!(
        peer.next().await,
        Some((OpCode::Close, close(1001, "idle_timeout")))
    );
    let took = begin.elapsed().as_secs();
    assert!((80..=91).contains(&took), "{took} s");
    peer.send(OpCode::Close, &close(1001, "")).await;
    let ending = ending.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1001, Cause::IdleTimeout));
    assert_eq!(ending.initiator, Initiator::Session);
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_asked_for_a_sign_of_life() {
    let (mut peer, ending) = serve(SessionConfig::default());
    for _ in 0..20 {
        let begin = Instant::now();
        let (opcode, payload) = peer.next().await.unwrap();
        assert_eq!((opcode, payload.len()), (OpCode::Ping, 8));
        let took = begin.elapsed().as_secs();
        assert!((25..=26).contains(&took), "{took} s");
        peer.send(OpCode::Pong, &payload).await;
    }
    // Anything is a sign of life, and who gives signs is not asked.
    for _ in 0..10 {
        sleep(seconds(20)).await;
        peer.send(OpCode::Text, b"x").await;
    }
    assert_eq!(peer.next().await.unwrap().0, OpCode::Ping);
    let begin = Instant::now();
    assert_eq!(
        peer.next().await,
        Some((OpCode::Close, close(1001, "ping_timeout")))
    );
    let took = begin.elapsed().as_secs();
    assert!((10..=11).contains(&took), "{took} s");
    // It is not there to answer.
    let ending = ending.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1001, Cause::PingTimeout));
}

/// What nobody reads is no silence of the peer.
#[tokio::test(start_paused = true)]
async fn a_handler_that_is_slow_does_not_cost_the_session() {
    let (near, far) = duplex(4096);
    let mut config = SessionConfig::default();
    config.idle_timeout = Some(seconds(60));
    let handler = async |mut session: WebSocketSession| {
        sleep(seconds(1000)).await;
        for _ in 0..2 {
            session.receive().await.unwrap()?;
        }
        Ok(())
    };
    let opening = Opening::new(Role::Server);
    let server = spawn(run(far, opening, Arc::new(config), handler));
    let mut peer = Peer(near);
    peer.send(OpCode::Text, b"x").await;
    peer.send(OpCode::Text, b"x").await;
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    drop(peer);
    assert_eq!(server.await.unwrap().cause, Cause::HandlerDone);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_ends_the_session_with_1013() {
    let (near, far) = duplex(1000);
    let begin = Instant::now();
    let handler = async |mut session: WebSocketSession| {
        session.send(vec![1; 100_000]).await?;
        listen(session).await
    };
    let opening = Opening::new(Role::Server);
    let server = spawn(run(far, opening, Arc::new(quiet()), handler));
    let ending = server.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1013, Cause::WriteStall));
    let took = begin.elapsed().as_secs();
    assert!((30..=31).contains(&took), "{took} s");
    drop(near);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_slow_but_reads_is_waited_for() {
    let (near, far) = duplex(1000);
    let handler = async |mut session: WebSocketSession| {
        session.send(vec![1; 10_000]).await?;
        listen(session).await
    };
    let opening = Opening::new(Role::Server);
    let server = spawn(run(far, opening, Arc::new(quiet()), handler));
    let mut peer = Peer(near);
    let mut bytes = [0; 900];
    for _ in 0..3 {
        sleep(seconds(29)).await;
        tokio::io::AsyncReadExt::read_exact(&mut peer.0, &mut bytes)
            .await
            .unwrap();
    }
    assert!(!server.is_finished());
    drop(peer);
    server.await.unwrap();
}

/// An embedder with a clock of its own.
#[derive(Default)]
struct Clock(Mutex<Option<std::time::Instant>>);

impl Observer for Clock {
    fn keeps_time(&self) -> bool {
        true
    }
    fn deadline(&self, at: Option<std::time::Instant>) {
        *self.0.lock().unwrap() = at;
    }
}

#[tokio::test(start_paused = true)]
async fn an_embedder_can_keep_the_time() {
    let (near, far) = duplex(1000);
    let clock = Arc::new(Clock::default());
    let mut opening = Opening::new(Role::Server);
    opening.observer = Some(Arc::<Clock>::clone(&clock));
    let mut config = SessionConfig::default();
    config.keep_alive = Some(KeepAlive {
        every: seconds(10),
        wait: seconds(5),
    });
    let (session, driver) = Driver::start(far, opening, Arc::new(config));
    let control = driver.control();
    let server = spawn(driver.run(|| listen(session)));
    let begin = Instant::now();
    let sweep = spawn(async move {
        loop {
            sleep(seconds(1)).await;
            let at = *clock.0.lock().unwrap();
            if at.is_some_and(|at| at <= Instant::now().into_std()) {
                control.wake();
            }
        }
    });
    let mut peer = Peer(near);
    assert_eq!(peer.next().await.unwrap().0, OpCode::Ping);
    let took = begin.elapsed().as_secs();
    assert!((10..=12).contains(&took), "{took} s");
    assert_eq!(server.await.unwrap().cause, Cause::PingTimeout);
    sweep.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_stands_alone_does_not_wait_for_a_silent_peer() {
    for (role, room) in [
        (Role::Client, 4096),
        (Role::Server, 4096),
        // One that takes nothing either.
        (Role::Client, 16),
    ] {
        let (_silent, far) = duplex(room);
        let mut config = quiet();
        config.close_timeout = seconds(7);
        let mut session = WebSocketSession::new(far, Opening::new(role), Arc::new(config));
        session.send("a word or two to begin with").await.unwrap();
        let begin = Instant::now();
        let closing = timeout(seconds(60), session.close(1000, "done"));
        let ending = closing.await.expect("it gives up");
        assert_eq!(begin.elapsed().as_secs(), 7, "{role:?}");
        assert_eq!((ending.code, ending.cause), (1000, Cause::Closed));
        assert_eq!(ending.initiator, Initiator::Handler);
        assert!(session.receive().await.is_none());
    }
}
