//! `GET /v1/events`, and the events of ends that nobody ordered.

use std::sync::Mutex;

use serde_json::Value;
use tidegate::handler::WebSocketSession;
use tidegate_tests::mint::SECRET;
use tidegate_tests::time::within;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire, eventually};

use super::{Users, entered, house, next};

/// What looks on at a stream of lines.
struct Stream {
    wire: Wire,
    text: String,
}

impl Stream {
    async fn of(gateway: &TestGateway, query: &str) -> Self {
        let admin = gateway.admin();
        let mut wire = Wire::connect(admin.0).await;
        wire.request(&admin.request(&format!("/v1/events{query}")))
            .await;
        let head = wire.read_head().await;
        assert_eq!(head.status(), 200, "{head:?}");
        assert_eq!(head.field("Content-Type"), Some("application/x-ndjson"));
        let text = String::new();
        Self { wire, text }
    }

    /// The next line that is not empty; `None` at the end.
    async fn line(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.text.find('\n') {
                let line: String = self.text.drain(..=end).collect();
                if !line.trim().is_empty() {
                    return Some(serde_json::from_str(&line).unwrap());
                }
            }
            let chunk = within("a chunk", self.wire.read_chunk()).await?;
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn operators_see_them_line_by_line() {
    let Some(mut users) = Users::open("operators_see_them") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "bus: { node: node-7 }", "");
    let mut all = Stream::of(&gateway, "").await;
    let mut of_users = Stream::of(&gateway, "?kind=user").await;
    let mut of_sessions = Stream::of(&gateway, "?kind=session").await;
    let session = users.enter(&gateway, "u42", "/ws").await;
    let opened = all.line().await.unwrap();
    assert_eq!(opened["type"], "session.opened");
    let id = opened["session"].as_str().unwrap();
    let known = super::json(gateway.admin(), &format!("/v1/sessions/{id}")).await;
    assert_eq!(known["user"], "u42");
    for (name, value) in [
        ("user", "u42"),
        ("node", "node-7"),
        ("route", "bridge"),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(opened[name], value, "{opened}");
    }
    assert_eq!(opened["roles"][0], "user");
    assert!(opened["id"].as_str().unwrap().starts_with("e_"));
    assert!(opened["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(all.line().await.unwrap()["type"], "user.online");
    session.close_session().await;
    let closed = all.line().await.unwrap();
    assert_eq!(closed["type"], "session.closed");
    assert_eq!(
        (&closed["session"], &closed["code"]),
        (&opened["session"], &1000.into())
    );
    assert_eq!(
        (&closed["cause"], &closed["initiator"]),
        (&"client_close".into(), &"client".into())
    );
    assert!(closed["duration_seconds"].as_f64().unwrap() > 0.0);
    let offline = all.line().await.unwrap();
    assert_eq!(
        (&offline["type"], &offline["timeout"]),
        (&"user.offline".into(), &false.into())
    );
    // The two kinds are never mixed.
    for kind in ["user.online", "user.offline"] {
        assert_eq!(of_users.line().await.unwrap()["type"], kind);
    }
    for kind in ["session.opened", "session.closed"] {
        assert_eq!(of_sessions.line().await.unwrap()["type"], kind);
    }
    gateway
        .admin()
        .get("/v1/events?kind=x")
        .await
        .expect_problem(400);
    // What happens last is told, and then the stream ends.
    let left = users.enter(&gateway, "u43", "/ws").await;
    gateway.stop().await;
    let mut last = Vec::new();
    while let Some(line) = of_users.line().await {
        last.push(line["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(last, ["user.online", "user.offline"]);
    drop(left);
}

#[tokio::test]
async fn so_many_look_on_and_no_more() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "", "");
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(Stream::of(&gateway, "").await);
    }
    let refused = gateway.admin().get("/v1/events").await;
    refused.expect_problem(503);
    assert_eq!(refused.code(), "too_many_streams");
    streams.pop();
    let admin = gateway.admin();
    let begun = std::time::Instant::now();
    loop {
        let mut wire = Wire::connect(admin.0).await;
        wire.request(&admin.request("/v1/events")).await;
        let status = wire.read_head().await.status();
        if status == 200 {
            break;
        }
        assert!(
            begun.elapsed() < tidegate_tests::DEADLINE,
            "its place is not given back"
        );
    }
}

async fn stumbles(mut session: WebSocketSession) -> Result<(), tidegate_ws::BoxError> {
    session.receive().await;
    std::panic::panic_any("on purpose")
}

#[tokio::test]
async fn a_panic_a_drain_and_a_cut_are_ends_too() {
    let Some(mut users) = Users::open("a_panic_a_drain_and_a_cut") else {
        return;
    };
    let yaml = format!(
        "version: 1\nworkers: 2\nlisteners: {{ name: public, bind: 127.0.0.1:0 }}\n\
         drain: {{ delay: none, spread: none, timeout: 1s }}\n\
         auth: {{ jwt: {{ secret: '{SECRET}', token_from: header }} }}\n\
         routes: {{ name: clumsy, match: {{ path: /** }}, filters: require, handler: stumbles }}\n"
    );
    let host = || TestGateway::hosting(&yaml, |builder| builder.handler("stumbles", stumbles));
    let gateway = host();
    let mut events = gateway.events();
    let mut one = users.enter(&gateway, "u1", "/").await;
    one.send_frame(&Frame::text("x").from_client()).await;
    for expected in [
        "opened u1 clumsy",
        "online u1 [\"user\"]",
        "closed u1 clumsy 1011 internal",
        "offline u1 false",
    ] {
        assert_eq!(next(&mut events).await, expected);
    }
    assert_eq!(gateway.panics(), 1);
    // One that answers no close frame is cut by the drain's end.
    let mut two = users.enter(&gateway, "u2", "/").await;
    gateway.drain();
    assert_eq!(two.read_close().await, Some(1012));
    let ended = gateway.drained();
    let _cut = ended.await;
    for expected in [
        "opened u2 clumsy",
        "online u2 [\"user\"]",
        "closed u2 clumsy 1012 drain",
        "offline u2 false",
    ] {
        assert_eq!(next(&mut events).await, expected);
    }
    assert!(events.receive().await.is_none(), "the bus is gone");
    let gateway = host();
    let mut events = gateway.events();
    let three = users.enter(&gateway, "u3", "/").await;
    gateway.cut().await;
    for expected in ["opened u3 clumsy", "online u3 [\"user\"]"] {
        assert_eq!(next(&mut events).await, expected);
    }
    assert!(next(&mut events).await.starts_with("closed u3 clumsy"));
    assert_eq!(next(&mut events).await, "offline u3 false");
    drop(three);
}

#[tokio::test]
async fn who_leaves_before_the_101_leaves_nobody_behind() {
    let Some(mut users) = Users::open("who_leaves_before_the_101") else {
        return;
    };
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = house(&upstream, "", "");
    let events = Mutex::new(gateway.events());
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        client.request(&users.handshake("u1", "/talk")).await;
        let mut peer = upstream.accept().await;
        let _head = peer.read_head().await;
        client.reset();
        peer.expect_end().await;
    }
    gateway.is_empty().await;
    assert_eq!(gateway.users(), 0);
    let marker = entered(&gateway, &users.handshake("u2", "/ws")).await;
    let mut events = events.into_inner().unwrap();
    assert_eq!(next(&mut events).await, "opened u2 bridge");
    drop((marker, Request::get("/")));
    eventually("all have gone", || gateway.users() == 0).await;
}
