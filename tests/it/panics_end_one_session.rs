//! A panic, be it in an embedder's filter, ends the request or the session that it happens in: it is
//! counted, nothing of it is left, and the others on the same thread go on.

use std::panic;
use std::sync::Once;

use tidegate::exchange::Exchange;
use tidegate::pipeline::{
    Direction, ExchangeFacts, Filter, FilterPlan, FrameFacts, FrameFilter, FrameRefusal, Moment,
    ResponseHead, SessionOpening, Step,
};
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, eventually};

/// Panics in the moment that the path names.
#[derive(Debug)]
struct Clumsy;

fn stumble(path: &str, moment: &str) {
    assert!(path != format!("/{moment}"), "clumsy on purpose");
}

impl Filter for Clumsy {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        stumble(exchange.path.as_str(), "request");
        Moment::waits(async {
            stumble(exchange.path.as_str(), "waiting");
            Ok(Step::Continue)
        })
    }

    fn on_response(&self, facts: &ExchangeFacts<'_>, _head: &mut ResponseHead<'_>) {
        stumble(facts.path.as_str(), "response");
    }

    fn on_session(&self, opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        stumble(opening.exchange.path.as_str(), "session");
        Some(Box::new(Self))
    }
}

impl FrameFilter for Clumsy {
    fn on_frame(&mut self, _to: Direction, frame: &FrameFacts) -> Result<(), FrameRefusal> {
        assert!(frame.length != 13, "clumsy on purpose");
        Ok(())
    }
}

/// A gateway with everything capped at two, so that what is not given back is missed.
fn clumsy(upstream: &ScriptedUpstream) -> TestGateway {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&"clumsy on purpose") {
                tell(info);
            }
        }));
    });
    let yaml = "limits: { max_connections: 3, max_connections_per_address: 3 }\n\
        services: { up: { endpoints: [http://UP], limits: { max_connections: 2 } } }\n\
        routes:\n  - name: r\n    match: { path: /** }\n    proxy: { service: up }\n    \
        limits: { max_sessions: 2, max_requests: 2 }\n";
    TestGateway::embedded(upstream, yaml, |plan| {
        let filter = FilterPlan::Custom(std::sync::Arc::new(Clumsy));
        plan.routes[0].filters.push(filter);
    })
}

/// Nothing has been said to the client yet, so it is told.
#[tokio::test]
async fn within_a_request_is_500() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = clumsy(&upstream);
    let mut bystander = gateway.connect().await;
    bystander.upgrade("/").await;
    let tasks = gateway.tasks();
    let mut panics = 0;
    for round in 0..5 {
        for request in [
            Request::get("/request"),
            Request::get("/waiting"),
            Request::get("/response"),
            Request::new("POST", "/response").body("hello"),
            Request::handshake("/request"),
            Request::handshake("/response"),
            Request::handshake("/session"),
        ] {
            let mut client = gateway.connect().await;
            let answer = client.ask(&request).await;
            answer.expect_problem(500);
            assert_eq!(answer.code(), "internal_error");
            let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(problem["route"], "r", "{problem}");
            assert_eq!(client.expect_end().await, End::Fin, "{round} {request:?}");
            panics += 1;
            assert_eq!(gateway.panics(), panics, "{request:?}");
            drop(client);
            eventually("only the bystander is left", || gateway.tasks() <= tasks).await;
        }
    }
    bystander.send_frame(&Frame::text("hi").from_client()).await;
    assert_eq!(bystander.read_frame().await.payload, b"hi");
    bystander.close_session().await;
    gateway.is_empty().await;
    eventually("the upstream is left alone", || {
        upstream.running() <= gateway.upstream_idle()
    })
    .await;
}

#[tokio::test]
async fn within_a_session_resets_it() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = clumsy(&upstream);
    let (mut bystander, mut other) = gateway.open(&mut upstream).await;
    let tasks = gateway.tasks();
    for round in 1..=5 {
        for to_upstream in [true, false] {
            let (mut client, mut peer) = gateway.open(&mut upstream).await;
            client.send_frame(&Frame::text("hello").from_client()).await;
            assert_eq!(peer.read_frame().await.payload, b"hello");
            let unlucky = Frame::text("thirteen byte");
            if to_upstream {
                client.send_frame(&unlucky.from_client()).await;
            } else {
                peer.send_frame(&unlucky).await;
            }
            assert_eq!(client.expect_end().await, End::Reset, "{round}");
            assert_eq!(peer.expect_end().await, End::Reset, "{round}");
            eventually("its task is gone", || gateway.tasks() <= tasks).await;
        }
        assert_eq!(gateway.panics(), round * 2);
    }
    assert_eq!(gateway.sessions(), 1);
    bystander.send_frame(&Frame::text("hi").from_client()).await;
    assert_eq!(other.read_frame().await.payload, b"hi");
    other.send_frame(&Frame::text("ho")).await;
    assert_eq!(bystander.read_frame().await.payload, b"ho");
    bystander.reset();
    other.read_to_end().await;
    gateway.is_empty().await;
}
