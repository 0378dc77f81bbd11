//! Filters see each frame between a client and a handler before it passes, and may refuse it.

use std::sync::{Arc, Mutex};

use tidegate::handler::{BoxError, WebSocketSession};
use tidegate::pipeline::{
    Direction, Filter, FrameFacts, FrameFilter, FrameRefusal, SessionOpening,
};
use tidegate_tests::frame::{BINARY, PING, PONG};
use tidegate_tests::{End, Frame, Request, TestGateway};

use super::{Alive, echo, yaml};

type Seen = Arc<Mutex<Vec<(Direction, u8, bool, u64)>>>;

/// Notes all frames, and refuses those of 13 bytes.
#[derive(Debug, Clone, Default)]
struct Guard(Seen);

impl Filter for Guard {
    fn on_session(&self, opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        assert_eq!(opening.exchange.captures.get("room"), Some("1"));
        Some(Box::new(self.clone()))
    }
}

impl FrameFilter for Guard {
    fn on_frame(&mut self, to: Direction, frame: &FrameFacts) -> Result<(), FrameRefusal> {
        if frame.length == 13 {
            return Err(FrameRefusal::new("unlucky;length=13"));
        }
        let seen = (to, frame.opcode, frame.fin, frame.length);
        self.0.lock().unwrap().push(seen);
        Ok(())
    }
}

fn guarded(guard: &Guard, code: impl tidegate::handler::WebSocketHandler) -> TestGateway {
    TestGateway::handling(&yaml("", "", ""), |builder| {
        builder.handler("code", code).filter("chat", guard.clone())
    })
}

#[tokio::test]
async fn each_frame_is_seen_whatever_its_cuts() {
    let guard = Guard::default();
    let gateway = guarded(&guard, echo);
    let frames = [
        Frame::text("hello"),
        Frame::new(BINARY, vec![7; 70_000]).unfinished(),
        Frame::new(PING, "x"),
        Frame::new(0, vec![8; 200]),
        Frame::close(1000, ""),
    ];
    let wire: Vec<u8> = frames
        .iter()
        .flat_map(|frame| frame.clone().from_client().bytes())
        .collect();
    for cut in [1, 3, 17, 60_000, wire.len()] {
        guard.0.lock().unwrap().clear();
        let mut client = gateway.connect().await;
        // Some of it comes behind the request.
        let mut early = Request::handshake("/chat/1").bytes();
        early.extend_from_slice(&wire[..8]);
        client.send(&early).await;
        assert_eq!(client.read_head().await.status(), 101);
        let (slow, fast) = wire[8..].split_at(24);
        for piece in slow.chunks(cut).chain(fast.chunks(cut.max(1000))) {
            client.send(piece).await;
        }
        assert_eq!(client.read_frame().await, frames[0]);
        let mut whole = client.read_frame().await;
        if whole.opcode == PONG {
            whole = client.read_frame().await;
        } else {
            assert_eq!(client.read_frame().await, Frame::new(PONG, "x"));
        }
        assert_eq!(whole.payload.len(), 70_200);
        assert_eq!(client.read_close().await, Some(1000));
        assert_eq!(client.expect_end().await, End::Fin);
        let seen = guard.0.lock().unwrap().clone();
        let inward: Vec<_> = seen
            .iter()
            .filter(|one| one.0 == Direction::ToUpstream)
            .collect();
        let sent = frames
            .iter()
            .map(|one| (one.opcode, one.fin, one.payload.len() as u64));
        let told = inward.iter().map(|one| (one.1, one.2, one.3));
        assert!(told.eq(sent), "{inward:?}");
        let outward = seen.iter().filter(|one| one.0 == Direction::ToDownstream);
        assert_eq!(outward.count(), 4, "{seen:?}");
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn a_frame_that_is_refused_goes_nowhere() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&heard);
    let alive = Alive::default();
    let counted = alive.clone();
    let listening = move |mut session: WebSocketSession| {
        let (keeps, living) = (Arc::clone(&keeps), counted.one());
        async move {
            let _living = living;
            while let Some(message) = session.receive().await {
                keeps.lock().unwrap().push(message?.payload().to_vec());
            }
            Ok::<(), BoxError>(())
        }
    };
    let gateway = guarded(&Guard::default(), listening);
    let unlucky = Frame::text("thirteen byte").from_client().bytes();
    for cut in [1, 5, unlucky.len()] {
        heard.lock().unwrap().clear();
        let mut client = gateway.connect().await;
        client.upgrade("/chat/1").await;
        client
            .send_frame(&Frame::text("before").from_client())
            .await;
        for piece in unlucky.chunks(cut) {
            client.send(piece).await;
        }
        client
            .try_send(Frame::text("behind").from_client().bytes())
            .await
            .ok();
        let told = client.read_frame().await;
        assert_eq!(told.close_code(), Some(1008));
        assert_eq!(&told.payload[2..], b"unlucky;length=13");
        client
            .send_frame(&Frame::close(1008, "").from_client())
            .await;
        assert_eq!(client.expect_end().await, End::Fin, "its goodbye is heard");
        gateway.is_empty().await;
        assert_eq!(*heard.lock().unwrap(), [b"before"], "{cut}");
    }
    let closed = "tidegate_ws_connections_closed_total{route=\"chat\",code=\"1008\",\
        cause=\"policy\",initiator=\"gateway\"}";
    gateway.admin().counts(closed, 3.0).await;
}

/// A handler's own too.
#[tokio::test]
async fn nor_does_one_of_the_handler() {
    let saying = async |mut session: WebSocketSession| -> Result<(), BoxError> {
        session.send("before").await?;
        session.send(vec![7; 13]).await?;
        session.send("behind").await?;
        std::future::pending().await
    };
    let gateway = guarded(&Guard::default(), saying);
    let mut client = gateway.connect().await;
    client.upgrade("/chat/1").await;
    assert_eq!(client.read_frame().await, Frame::text("before"));
    let told = client.read_frame().await;
    assert_eq!(told.close_code(), Some(1008), "{told:?}");
    client
        .send_frame(&Frame::close(1008, "").from_client())
        .await;
    assert_eq!(client.expect_end().await, End::Fin);
    gateway.is_empty().await;
}
