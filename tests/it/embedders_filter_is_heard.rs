//! An embedder's own filter, through the public API: it may wait, answer itself, mark every answer,
//! and refuse frames.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tidegate::body::Body;
use tidegate::exchange::{Answer, Exchange};
use tidegate::headers::FieldName;
use tidegate::pipeline::{
    Direction, ExchangeFacts, Filter, FilterPlan, FrameFacts, FrameFilter, FrameRefusal, Moment,
    ResponseHead, SessionOpening, Step,
};
use tidegate_tests::frame::BINARY;
use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, eventually};
use tokio::sync::Semaphore;

const MAX_FRAME: u64 = 1000;

/// Lets in whoever gets a permit, which it waits for; `/secret` it answers itself.
#[derive(Debug)]
struct Guard {
    permits: Arc<Semaphore>,
}

impl Filter for Guard {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::waits(async {
            if let Ok(permit) = self.permits.acquire().await {
                permit.forget();
            }
            let number = HeaderValue::from_static("7");
            exchange
                .headers
                .set(FieldName::from_static("X-User"), number);
            if exchange.path.as_str() != "/secret" {
                return Ok(Step::Continue);
            }
            let mut answer = Answer::new(StatusCode::FORBIDDEN);
            answer.body = Body::full("not you");
            Ok(Step::Answer(answer))
        })
    }

    fn on_response(&self, facts: &ExchangeFacts<'_>, head: &mut ResponseHead<'_>) {
        let kind = if facts.upgrade { "upgrade" } else { "plain" };
        head.headers_mut().set(
            FieldName::from_static("X-Guard"),
            HeaderValue::from_static(kind),
        );
    }

    fn on_session(&self, opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        let watched = opening.exchange.path.as_str() != "/free";
        watched.then(|| Box::new(Small) as Box<dyn FrameFilter>)
    }
}

/// Refuses long frames of clients.
struct Small;

impl FrameFilter for Small {
    fn on_frame(&mut self, direction: Direction, frame: &FrameFacts) -> Result<(), FrameRefusal> {
        if direction == Direction::ToUpstream && frame.length > MAX_FRAME {
            return Err(FrameRefusal::new(format!("{} bytes", frame.length)));
        }
        Ok(())
    }
}

fn guarded(upstream: &ScriptedUpstream, permits: &Arc<Semaphore>) -> TestGateway {
    let yaml = "services: { up: { endpoints: [http://UP] } }\n\
        routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let guard = Guard {
        permits: Arc::clone(permits),
    };
    TestGateway::embedded(upstream, yaml, |plan| {
        plan.routes[0]
            .filters
            .push(FilterPlan::Custom(Arc::new(guard)));
    })
}

#[tokio::test]
async fn waits_before_the_upstream_is_asked() {
    for request in [Request::get("/"), Request::handshake("/")] {
        let upstream = ScriptedUpstream::mirror().await;
        let permits = Arc::new(Semaphore::new(0));
        let gateway = guarded(&upstream, &permits);
        let mut client = gateway.connect().await;
        client.request(&request).await;
        client.stays_silent().await;
        assert_eq!(upstream.connections(), 0, "it was asked too soon");
        // The one thread is not held meanwhile.
        let mut other = gateway.connect().await;
        other.request(&Request::get("/")).await;
        permits.add_permits(2);
        assert!(matches!(client.read_head().await.status(), 101 | 200));
        assert_eq!(other.read_head().await.status(), 200);
        for head in upstream.heads() {
            assert_eq!(head.field("X-User"), Some("7"), "{head:?}");
        }
    }
}

#[tokio::test]
async fn waits_for_no_client_that_left() {
    let upstream = ScriptedUpstream::mirror().await;
    let permits = Arc::new(Semaphore::new(0));
    let gateway = guarded(&upstream, &permits);
    let mut clients = Vec::new();
    for request in [Request::get("/"), Request::handshake("/")] {
        let mut client = gateway.connect().await;
        client.request(&request).await;
        client.stays_silent().await;
        clients.push(client);
    }
    drop(clients);
    gateway.is_empty().await;
    permits.add_permits(1);
    assert_eq!(permits.available_permits(), 1, "a dead request took it");
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn answers_itself() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = guarded(&upstream, &Arc::new(Semaphore::new(10)));
    let mut client = gateway.connect().await;
    for request in [
        Request::get("/secret"),
        Request::new("POST", "/secret").body("hello"),
        Request::handshake("/secret"),
    ] {
        let answer = client.ask(&request).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (403, "not you"),
            "{request:?}"
        );
        assert!(answer.head.has("X-Guard"), "{:?}", answer.head);
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn marks_answers_refusals_and_101s() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = guarded(&upstream, &Arc::new(Semaphore::new(10)));
    let plain = gateway.ask(&Request::get("/")).await;
    assert_eq!(plain.head.field("X-Guard"), Some("plain"));
    let mut client = gateway.connect().await;
    let switched = client.upgrade("/").await;
    assert_eq!(switched.field("X-Guard"), Some("upgrade"));

    upstream.refuse().await;
    let failed = gateway.ask(&Request::handshake("/")).await;
    failed.expect_problem(502);
    assert_eq!(failed.head.field("X-Guard"), Some("upgrade"));
}

#[tokio::test]
async fn refuses_a_frame_with_1008_and_its_reason() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = guarded(&upstream, &Arc::new(Semaphore::new(10)));
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let good = Frame::new(BINARY, vec![7; 1000]).from_client().bytes();
    client.send(&good).await;
    peer.expect(&good).await;
    // Only clients are bounded.
    let long = Frame::new(BINARY, vec![7; 5000]).bytes();
    peer.send(&long).await;
    client.expect(&long).await;

    let bad = Frame::new(BINARY, vec![7; 1001]).from_client();
    client.send_frame(&bad).await;
    let told = client.read_frame().await;
    assert_eq!(told.close_code(), Some(1008));
    assert_eq!(&told.payload[2..], b"1001 bytes");
    let told = peer.read_frame().await;
    assert!(told.close_code().is_some(), "the frame went on");
    client
        .send_frame(&Frame::close(1008, "").from_client())
        .await;
    peer.send_frame(&Frame::close(1000, "")).await;
    peer.finish().await;
    client.expect_end().await;
    gateway.is_empty().await;
    eventually("the session is gone", || gateway.sessions() == 0).await;
}

#[tokio::test]
async fn watches_the_sessions_that_it_wants() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = guarded(&upstream, &Arc::new(Semaphore::new(10)));
    let mut client = gateway.connect().await;
    client.upgrade("/free").await;
    let long = Frame::new(BINARY, vec![7; 100_000]);
    client.send_frame(&long.clone().from_client()).await;
    client.expect(long.bytes()).await;
    client.close_session().await;
}

/// Holds up the thread that it is called on, until it is let go.
#[derive(Debug)]
struct Stuck {
    is: SyncSender<()>,
    lets_go: Mutex<Option<Receiver<()>>>,
}

impl Filter for Stuck {
    fn on_session(&self, _opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        let lets_go = self.lets_go.lock().unwrap().take()?;
        let is = self.is.clone();
        Some(Box::new(StuckFrames { is, lets_go }))
    }
}

struct StuckFrames {
    is: SyncSender<()>,
    lets_go: Receiver<()>,
}

impl FrameFilter for StuckFrames {
    fn on_frame(&mut self, _direction: Direction, _frame: &FrameFacts) -> Result<(), FrameRefusal> {
        self.is.send(()).unwrap();
        // Whoever waited has what it wanted.
        let _ = self.lets_go.recv();
        Ok(())
    }
}

#[tokio::test]
async fn one_that_never_returns_does_not_keep_the_gateway() {
    let mut upstream = ScriptedUpstream::bind().await;
    let (is, is_stuck) = sync_channel(1);
    let (let_go, lets_go) = sync_channel::<()>(1);
    let lets_go = Mutex::new(Some(lets_go));
    let yaml = "drain: { delay: none, spread: none, timeout: 500ms }\n\
        services: { up: { endpoints: [http://UP] } }\n\
        routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let gateway = TestGateway::embedded(&upstream, yaml, |plan| {
        let filter = FilterPlan::Custom(Arc::new(Stuck { is, lets_go }));
        plan.routes[0].filters.push(filter);
    });
    let (mut client, _peer) = gateway.open(&mut upstream).await;
    client.send_frame(&Frame::text("x").from_client()).await;
    let stuck = tokio::task::spawn_blocking(move || is_stuck.recv());
    stuck.await.unwrap().unwrap();
    let begun = Instant::now();
    gateway.drain();
    let cut = gateway.drained().await;
    let age = begun.elapsed();
    assert!(age < Duration::from_millis(2500) + SLACK, "after {age:?}");
    assert_eq!(cut, 1);
    drop(let_go);
}
