//! An end is told to both sides, at a frame boundary, and strangers can order none.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::frame::{BINARY, CLOSE};
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, eventually};

use super::{YAML, json, only_id, when};

/// How long an end may take to begin.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_end_is_told_to_both_sides_and_counted() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    for (body, code, reason) in [
        ("", 1008, "admin"),
        ("{}", 1008, "admin"),
        (
            r#"{"code":4001,"reason":"moved – see news"}"#,
            4001,
            "moved – see news",
        ),
        (r#"{"reason":"later"}"#, 1008, "later"),
        (r#"{"code":1012}"#, 1012, "admin"),
    ] {
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let (mut bystander, mut bystander_peer) = gateway.open(&mut upstream).await;
        let all = json(admin, "/v1/sessions").await;
        let local = client.local().to_string();
        let mut sessions = all["sessions"].as_array().unwrap().iter();
        let session = sessions.find(|session| session["peer"] == local.as_str());
        let id = session.unwrap()["id"].as_str().unwrap();
        let begun = Instant::now();
        let answer = admin.end_session(id, body).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let (told, other) = (client.read_frame().await, peer.read_frame().await);
        assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
        assert_eq!(
            (told.opcode, told.close_code()),
            (CLOSE, Some(code)),
            "{body}"
        );
        assert_eq!(&told.payload[2..], reason.as_bytes());
        assert_eq!(other.close_code(), Some(1001));
        assert_eq!(&other.payload[2..], b"admin");
        client
            .send_frame(&Frame::close(code, "").from_client())
            .await;
        peer.send_frame(&Frame::close(1001, "")).await;
        assert_eq!(client.expect_end().await, End::Fin);
        assert_eq!(peer.expect_end().await, End::Fin);
        drop((client, peer));
        eventually("only the other is left", || gateway.sessions() == 1).await;
        admin.end_session(id, "").await.expect_problem(404);
        let frame = Frame::text("still here");
        bystander_peer.send_frame(&frame).await;
        bystander.expect(&frame.bytes()).await;
        drop((bystander, bystander_peer));
        gateway.is_empty().await;
    }
    let closed = "tidegate_ws_connections_closed_total{route=\"all\"";
    for (code, count) in [("1008", 3.0), ("4xxx", 1.0), ("1012", 1.0)] {
        let series = format!("{closed},code=\"{code}\",cause=\"admin\",initiator=\"admin\"}}");
        admin.counts(&series, count).await;
    }
}

#[tokio::test]
async fn a_wrong_end_ends_nothing() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let id = only_id(admin).await;
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(124));
    let huge = format!("{{\"reason\":\"{}\"}}", "x".repeat(5000));
    for body in [
        "x",
        "[]",
        r#"{"code":1006}"#,
        r#"{"code":2000}"#,
        r#"{"cause":"x"}"#,
        &long,
        &huge,
    ] {
        admin.end_session(&id, body).await.expect_problem(400);
    }
    let other = if id.ends_with('A') { "B" } else { "A" };
    let guess = format!("{}{other}", &id[..id.len() - 1]);
    let first = if id.starts_with("s_A") { "B" } else { "A" };
    let early = format!("s_{first}{}", &id[3..]);
    for unknown in [
        &*guess,
        &early,
        "s_",
        "x",
        "s_AAAAAAAAAAAAAAAA",
        "%00",
        "..%2f",
    ] {
        admin.end_session(unknown, "").await.expect_problem(404);
    }
    for method in ["POST", "PUT", "PATCH"] {
        let target = format!("/v1/sessions/{id}");
        let request = Request::new(method, &target).set("Host", "localhost");
        let answer = admin.ask(&request).await;
        answer.expect_problem(405);
        assert!(answer.head.field("Allow").unwrap().contains("DELETE"));
    }
    let frame = Frame::text("still here");
    peer.send_frame(&frame).await;
    client.expect(&frame.bytes()).await;
}

#[tokio::test]
async fn an_end_waits_for_the_end_of_a_long_frame() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let down = Frame::new(BINARY, vec![7; 300_000]).bytes();
    let up = Frame::new(BINARY, vec![9; 300_000]).from_client().bytes();
    peer.send(&down[..1000]).await;
    client.expect(&down[..1000]).await;
    client.send(&up[..1000]).await;
    peer.expect(&up[..1000]).await;
    let id = only_id(admin).await;
    assert_eq!(admin.end_session(&id, "").await.status(), 202);
    client.stays_silent().await;
    peer.stays_silent().await;
    let session = when(admin, |session| session["closing"] == true).await;
    assert_eq!(session["id"], id);
    assert_eq!(
        (&session["cause"], &session["initiator"]),
        (&"admin".into(), &"admin".into())
    );
    tokio::join!(
        async {
            peer.send(&down[1000..]).await;
            peer.expect(&up[1000..]).await;
            assert_eq!(peer.read_close().await, Some(1001));
        },
        async {
            client.send(&up[1000..]).await;
            client.expect(&down[1000..]).await;
            assert_eq!(client.read_close().await, Some(1008));
        }
    );
}

#[tokio::test]
async fn an_end_inside_a_frame_that_never_ends_is_a_reset() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let down = Frame::new(BINARY, vec![7; 1000]).bytes();
    peer.send(&down[..500]).await;
    client.expect(&down[..500]).await;
    let id = only_id(admin).await;
    assert_eq!(admin.end_session(&id, "").await.status(), 202);
    assert_eq!(peer.read_close().await, Some(1001));
    assert_eq!(client.expect_end().await, End::Reset);
    gateway.is_empty().await;
}

#[tokio::test]
async fn strangers_see_and_end_nothing() {
    const TOKEN: &str = "0123456789abcdef-token";
    let targets = |id: &str| {
        [
            "/v1/sessions".to_owned(),
            format!("/v1/sessions/{id}"),
            "/v1/routes".to_owned(),
            "/v1/services".to_owned(),
            "/application/websockets".to_owned(),
            "/actuator/websocket".to_owned(),
            "/actuator/websocket/count".to_owned(),
        ]
    };
    let aliases = "aliases: [actuator_websocket, application_websockets]";
    for (token, refusal) in [(format!("token: {TOKEN},"), 401), (String::new(), 403)] {
        let bind = format!("bind: '127.0.0.1:0', {token} {aliases}");
        let yaml = YAML.replace("bind: '127.0.0.1:0'", &bind);
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::start(&upstream, &yaml);
        let admin = gateway.admin();
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let known = |request: Request| match &*token {
            "" => request,
            _ => request.with("Authorization", &format!("Bearer {TOKEN}")),
        };
        let list = admin.ask(&known(admin.request("/v1/sessions"))).await;
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        let id = list["sessions"][0]["id"].as_str().unwrap();
        let end = Request::new("DELETE", &format!("/v1/sessions/{id}")).set("Host", "localhost");
        for target in targets(id) {
            assert_eq!(
                admin.ask(&known(admin.request(&target))).await.status(),
                200,
                "{target}"
            );
            let strange = admin.request(&target).with("Origin", "http://localhost");
            admin.ask(&strange).await.expect_problem(refusal);
        }
        let strange = end.clone().with("Origin", "http://localhost");
        admin.ask(&strange).await.expect_problem(refusal);
        let afar = end.clone().set("Host", "evil.example");
        let refusal = if token.is_empty() { 421 } else { 401 };
        admin.ask(&afar).await.expect_problem(refusal);
        let frame = Frame::text("still here");
        peer.send_frame(&frame).await;
        client.expect(&frame.bytes()).await;
        assert_eq!(admin.ask(&known(end)).await.status(), 202);
        assert_eq!(client.read_close().await, Some(1008));
    }
}
