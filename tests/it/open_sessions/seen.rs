//! What is told of sessions, routes and services.

use std::net::Ipv4Addr;

use serde_json::json;
use tidegate_tests::frame::TEXT;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire};

use super::{YAML, ids, json, only_id, when};

/// Whether it looks like `2026-11-21T03:00:01.204Z`.
fn is_moment(text: &str) -> bool {
    let digits = text.chars();
    let digits: String = digits
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    digits == "0000-00-00T00:00:00.000Z"
}

#[tokio::test]
async fn a_session_is_told_as_it_is() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    assert_eq!(
        json(admin, "/v1/sessions").await,
        json!({ "sessions": [], "next_cursor": null })
    );
    let mut client = gateway.connect().await;
    let wish = Request::handshake("/chat/room/7?access_token=hunter22")
        .host("A.Example.com:8080")
        .with("Sec-WebSocket-Protocol", "v9.x, v12.stomp");
    client.request(&wish).await;
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    assert_eq!(head.target(), "/base/room/7?access_token=hunter22");
    assert!(ids(admin, "").await.is_empty(), "nobody has agreed yet");
    peer.send(tidegate_tests::wire::switching(
        &head,
        &["Sec-WebSocket-Protocol: v12.stomp"],
    ))
    .await;
    assert_eq!(client.read_head().await.status(), 101);
    for _ in 0..3 {
        let frame = Frame::text("hello").from_client();
        client.send_frame(&frame).await;
        peer.expect(&frame.bytes()).await;
    }
    let parts = [
        Frame::new(TEXT, "ab").unfinished().bytes(),
        Frame::new(0, "cd").bytes(),
    ];
    peer.send(parts.concat()).await;
    client.expect(parts.concat()).await;
    let mut session = when(admin, |session| session["msgs_out"] == 1).await;
    let id = session["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("s_") && id.len() == 18, "{id}");
    let alone = json(admin, &format!("/v1/sessions/{id}")).await;
    let opened = session["opened"].take();
    assert!(is_moment(opened.as_str().unwrap()), "{opened}");
    for name in ["age_seconds", "idle_seconds"] {
        assert!(session[name].take().as_u64().unwrap() < 60);
    }
    let local = client.local().to_string();
    assert_eq!(
        session,
        json!({
            "id": id, "route": "chat", "kind": "proxy", "service": "talk",
            "endpoint": upstream.address().to_string(), "handler": null, "user": null,
            "client": "127.0.0.1", "peer": local, "listener": "public", "client_certificate": null,
            "host": "a.example.com:8080", "path": "/chat/room/7", "subprotocol": "v12.stomp",
            "opened": null, "age_seconds": null, "idle_seconds": null,
            "msgs_in": 3, "msgs_out": 1, "bytes_in": 15, "bytes_out": 4, "closing": false,
            "cause": null, "initiator": null,
        })
    );
    assert_eq!(alone["id"], id.as_str());
    assert_eq!(alone["bytes_in"], 15);
    assert!(!alone.to_string().contains("hunter22"));
}

/// Some clients put one there, for want of a header.
#[tokio::test]
async fn a_credential_in_a_subprotocol_is_not_told() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    for (chosen, told) in [
        ("base64url.bearer.hunter22", "base64url.bearer.***"),
        ("eyJhbGciOi.eyJzdWIi.hunter22", "***"),
    ] {
        let field = format!("Sec-WebSocket-Protocol: {chosen}");
        let mut client = gateway.connect().await;
        let wish = Request::handshake("/chat/room").with("Sec-WebSocket-Protocol", chosen);
        client.request(&wish).await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        peer.send(tidegate_tests::wire::switching(&head, &[&field]))
            .await;
        assert_eq!(
            client.read_head().await.field("Sec-WebSocket-Protocol"),
            Some(chosen)
        );
        let id = only_id(admin).await;
        for path in ["/v1/sessions", &format!("/v1/sessions/{id}")] {
            let text = json(admin, path).await.to_string();
            assert!(
                text.contains(&format!("\"subprotocol\":\"{told}\"")),
                "{text}"
            );
            assert!(!text.contains("hunter22"), "{text}");
        }
        drop((client, peer));
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn a_session_is_closing_and_then_gone() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let id = only_id(admin).await;
    // Once one side has said goodbye it is closing, and gone with the answer.
    client
        .send_frame(&Frame::close(1000, "").from_client())
        .await;
    let session = when(admin, |session| session["closing"] == true).await;
    let (cause, initiator) = (&session["cause"], &session["initiator"]);
    assert_eq!(
        (cause, initiator),
        (&"client_close".into(), &"client".into())
    );
    peer.read_frame().await;
    peer.send_frame(&Frame::close(1000, "")).await;
    drop((peer, client));
    gateway.is_empty().await;
    assert!(ids(admin, "").await.is_empty());
    let gone = admin.get(&format!("/v1/sessions/{id}")).await;
    gone.expect_problem(404);
    assert_eq!(gone.code(), "no_session");
}

#[tokio::test]
async fn time_without_a_message_is_told() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    when(admin, |session| session["idle_seconds"].as_u64() >= Some(2)).await;
    let frame = Frame::text("x").from_client();
    client.send_frame(&frame).await;
    peer.expect(&frame.bytes()).await;
    let session = when(admin, |session| session["msgs_in"] == 1).await;
    assert!(session["idle_seconds"].as_u64().unwrap() < 2, "{session}");
    assert!(session["age_seconds"].as_u64().unwrap() >= 2, "{session}");
}

#[tokio::test]
async fn sessions_by_route_service_and_address() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let chat = Request::handshake("/chat/x").host("a.example.com");
    let mut open = Vec::new();
    for from in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 9]] {
        for wish in [chat.clone(), Request::handshake("/y")] {
            let mut client = Wire::connect_from(from.into(), gateway.address()).await;
            let wish = wish.with("X-Forwarded-For", "203.0.113.7");
            client.request(&wish).await;
            assert_eq!(client.read_head().await.status(), 101);
            open.push(client);
        }
    }
    for (query, count) in [
        ("", 6),
        ("?limit=1000", 6),
        ("?route=chat", 3),
        ("?route=all&service=other", 3),
        ("?route=chat&service=other", 0),
        ("?service=talk", 3),
        ("?route=cha", 0),
        ("?address=127.0.0.2", 2),
        ("?address=127.0.0.0/30", 4),
        ("?address=127.0.0.0%2F8", 4),
        ("?address=127.0.0.9", 0),
        ("?address=203.0.113.7", 2),
        ("?address=::ffff:127.0.0.2", 2),
        ("?address=203.0.113.7&route=chat", 1),
        ("?user=u42", 0),
        ("?user=", 0),
    ] {
        assert_eq!(ids(admin, query).await.len(), count, "{query}");
    }
    for wrong in [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=x",
        "?limit=",
        "?limit=%2B5",
        "?cursor=",
        "?cursor=x",
        "?cursor=1-2-3",
        "?rout=chat",
        "?route=a&route=b",
        "?address=localhost",
        "?route=%f",
    ] {
        let answer = admin.get(&format!("/v1/sessions{wrong}")).await;
        assert_eq!(answer.status(), 400, "{wrong}: {}", answer.text());
    }
    // A cursor far behind the last is the end.
    for far in [
        "?cursor=0-99999999",
        "?cursor=9-0",
        "?cursor=0-18446744073709551615",
    ] {
        assert!(ids(admin, far).await.is_empty(), "{far}");
    }
}

#[tokio::test]
async fn routes_and_services_are_told_as_they_are_used() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let routes = |sessions: u64| {
        json!({ "routes": [
            {
                "name": "chat",
                "match": { "path": ["/chat/**"], "host": ["*.example.com"], "upgrade": "websocket" },
                "service": "talk", "handler": null, "sessions": 0,
            },
            {
                "name": "rest",
                "match": {
                    "path": ["/**"], "methods": ["GET", "POST"],
                    "headers": { "X-A": { "regex": "v[0-9]" } },
                },
                "service": "other", "handler": null, "sessions": 0,
            },
            {
                "name": "all", "match": { "path": ["/**"] },
                "service": "other", "handler": null, "sessions": sessions,
            },
        ] })
    };
    assert_eq!(json(admin, "/v1/routes").await, routes(0));
    let open = gateway.open(&mut upstream).await;
    // It is counted a moment after its 101.
    admin
        .counts("tidegate_ws_connections{route=\"all\",kind=\"proxy\"}", 1.0)
        .await;
    assert_eq!(json(admin, "/v1/routes").await, routes(1));
    let address = upstream.address().to_string();
    let endpoint = |path: &str, leases: u64| json!([{ "address": address, "path": path, "tls": false, "weight": 1, "leases": leases }]);
    assert_eq!(
        json(admin, "/v1/services").await,
        json!({ "services": [
            { "name": "talk", "endpoints": endpoint("/base", 0), "routes": ["chat"], "sessions": 0 },
            { "name": "other", "endpoints": endpoint("", 1), "routes": ["rest", "all"], "sessions": 1 },
        ] })
    );
    drop(open);
    gateway.is_empty().await;
    admin
        .counts("tidegate_ws_connections{route=\"all\",kind=\"proxy\"}", 0.0)
        .await;
    assert_eq!(json(admin, "/v1/routes").await, routes(0));
}

#[tokio::test]
async fn other_gateways_paths_are_there_where_they_are_switched_on() {
    let mut upstream = ScriptedUpstream::bind().await;
    let none = TestGateway::start(&upstream, YAML);
    let paths = [
        "/application/websockets",
        "/actuator/websocket",
        "/actuator/websocket/count",
    ];
    for path in paths {
        none.admin().get(path).await.expect_problem(404);
    }
    let aliases = "aliases: [actuator_websocket, application_websockets]";
    let bind = format!("bind: '127.0.0.1:0', {aliases}");
    let gateway = TestGateway::start(&upstream, &YAML.replace("bind: '127.0.0.1:0'", &bind));
    let admin = gateway.admin();
    assert_eq!(admin.get(paths[0]).await.text(), "[]");
    assert_eq!(admin.get(paths[1]).await.text(), "{\"count\":0}");
    assert_eq!(admin.get(paths[2]).await.text(), "0");
    admin
        .get("/actuator/websocket/other")
        .await
        .expect_problem(404);
    let mut client = gateway.connect().await;
    let wish = Request::handshake("/chat/room/7?a=1&Token=secret&b").host("a.example.com");
    client.request(&wish).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
    let id = only_id(admin).await;
    let (local, address) = (client.local(), upstream.address());
    let whole = |service_session: &str| {
        format!(
            "[{{\"sessionId\":\"{id}\",\"clientAddress\":\"/{local}\",\
             \"gatewayPath\":\"ws://a.example.com/chat/room/7?a=1&Token=***&b\",\
             \"serviceUrl\":\"ws://{address}/base/room/7?a=1&Token=***&b\",\
             \"serviceSessionId\":{service_session}}}]"
        )
    };
    assert_eq!(
        admin.get(paths[0]).await.text(),
        whole(&format!("\"{id}\""))
    );
    assert_eq!(admin.get(paths[1]).await.text(), "{\"count\":1}");
    assert_eq!(admin.get(paths[2]).await.text(), "1");
    // The service's side has just closed.
    peer.send_frame(&Frame::close(1000, "")).await;
    client.read_frame().await;
    when(admin, |session| session["closing"] == true).await;
    assert_eq!(admin.get(paths[0]).await.text(), whole("null"));
}

#[tokio::test]
async fn a_client_by_ipv4_is_one_on_a_socket_for_both_families() {
    let mut upstream = ScriptedUpstream::bind().await;
    let yaml = YAML.replace(
        "'127.0.0.1:0'",
        "'127.0.0.1:0', aliases: application_websockets",
    );
    let yaml = format!("version: 1\nlisteners: {{ name: six, bind: '[::]:0' }}\n{yaml}");
    let gateway = TestGateway::from_file(&yaml.replace("UP", &upstream.address().to_string()));
    let mut client = Wire::connect((Ipv4Addr::LOCALHOST, gateway.address().port()).into()).await;
    client.request(&Request::handshake("/")).await;
    upstream.accept().await.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
    let (admin, local) = (gateway.admin(), client.local().to_string());
    let session = json(admin, "/v1/sessions").await["sessions"][0].take();
    assert_eq!(
        (&session["peer"], &session["client"]),
        (&local.as_str().into(), &"127.0.0.1".into())
    );
    let all = json(admin, "/application/websockets").await;
    assert_eq!(all[0]["clientAddress"], format!("/{local}"));
}
