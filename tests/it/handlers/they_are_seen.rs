//! Sessions with handlers are listed, counted and logged as others are, with the numbers of what was sent.

use serde_json::{Value, json};
use tidegate_tests::frame::{BINARY, PING, PONG};
use tidegate_tests::{Admin, Frame, LogFile, Request, TestGateway, eventually, eventually_does};

use super::{echo, farewell, gateway, open, yaml};

async fn sessions(admin: Admin, query: &str) -> Vec<Value> {
    let answer = admin.get(&format!("/v1/sessions{query}")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let mut page: Value = serde_json::from_slice(&answer.body).unwrap();
    serde_json::from_value(page["sessions"].take()).unwrap()
}

#[tokio::test]
async fn the_list_tells_of_them() {
    let aliases = "trusted_proxies: []";
    let yaml = yaml(aliases, "", "").replace(
        "bind: '127.0.0.1:0' }",
        "bind: '127.0.0.1:0', aliases: [application_websockets] }",
    );
    let gateway = gateway(&yaml, echo);
    let admin = gateway.admin();
    let mut client = gateway.connect().await;
    client.upgrade("/chat/1?token=secret").await;
    client.send_frame(&Frame::text("hello").from_client()).await;
    client.read_frame().await;
    let listed = sessions(admin, "?route=chat").await;
    let [session] = &listed[..] else {
        panic!("{listed:?}");
    };
    let expected = json!({
        "route": "chat", "kind": "handler", "service": null, "endpoint": null, "handler": "code",
        "client": "127.0.0.1", "peer": client.local().to_string(), "host": "test.example",
        "path": "/chat/1", "msgs_in": 1, "msgs_out": 1, "bytes_in": 5, "bytes_out": 5,
        "closing": false, "cause": null, "initiator": null,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&session[key], value, "{key} of {session}");
    }
    assert!(sessions(admin, "?service=code").await.is_empty());
    let told = admin.get("/application/websockets").await;
    let told: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(told[0]["serviceUrl"], Value::Null, "{told}");
    assert_eq!(told[0]["serviceSessionId"], session["id"]);
    let count = "tidegate_ws_connections{route=\"chat\",kind=\"handler\"}";
    admin.counts(count, 1.0).await;
    client.close_session().await;
    eventually("it is not listed any more", || gateway.sessions() == 0).await;
    admin.counts(count, 0.0).await;
}

#[tokio::test]
async fn an_admin_ends_one_of_them() {
    let gateway = gateway(&yaml("", "", ""), echo);
    let admin = gateway.admin();
    let mut bystander = open(&gateway).await;
    for (body, code, reason) in [
        ("", 4440, "admin"),
        (r#"{"reason":"later"}"#, 4440, "later"),
        (r#"{"code":1012}"#, 1012, "admin"),
        (r#"{"code":4001,"reason":"bye"}"#, 4001, "bye"),
    ] {
        let mut client = open(&gateway).await;
        let local = client.local().to_string();
        let mut listed = sessions(admin, "").await;
        listed.retain(|session| session["peer"] == local.as_str());
        let id = listed[0]["id"].as_str().unwrap();
        assert_eq!(admin.end_session(id, body).await.status(), 202);
        let told = client.read_frame().await;
        assert_eq!(told.close_code(), Some(code), "{body}");
        assert_eq!(&told.payload[2..], reason.as_bytes());
        // Until it has answered it is still there.
        let by_admin = (json!(true), json!("admin"), json!("admin"));
        eventually_does("it is told to be closing", async || {
            let answer = admin.get(&format!("/v1/sessions/{id}")).await;
            let mut told: Value = serde_json::from_slice(&answer.body).unwrap();
            let mut take = |key: &str| told[key].take();
            (take("closing"), take("cause"), take("initiator")) == by_admin
        })
        .await;
        client
            .send_frame(&Frame::close(code, "").from_client())
            .await;
        client.expect_end().await;
        drop(client);
        eventually("it is gone", || gateway.sessions() == 1).await;
    }
    let closed = "tidegate_ws_connections_closed_total{route=\"chat\",code=\"4xxx\",\
        cause=\"admin\",initiator=\"admin\"}";
    admin.counts(closed, 3.0).await;
    super::echoes(&mut bystander, "still here").await;
}

#[tokio::test]
async fn counters_and_lines_say_what_was_sent() {
    let log = LogFile::new();
    let gateway = gateway(&yaml(&log.yaml(""), "", ""), echo);
    let admin = gateway.admin();
    let mut client = gateway.connect().await;
    let request = Request::handshake("/chat/1").with("User-Agent", "agent");
    client.request(&request).await;
    assert_eq!(client.read_head().await.status(), 101);
    let texts = ["a", "", "three"];
    for text in texts {
        super::echoes(&mut client, text).await;
    }
    let parts = [
        Frame::new(BINARY, [7; 300]).unfinished(),
        Frame::new(0, [8; 200]),
    ];
    for part in parts {
        client.send_frame(&part.from_client()).await;
    }
    assert_eq!(client.read_frame().await.payload.len(), 500);
    client
        .send_frame(&Frame::new(PING, "ping").from_client())
        .await;
    assert_eq!(client.read_frame().await, Frame::new(PONG, "ping"));
    client
        .send_frame(&Frame::close(4001, "done").from_client())
        .await;
    assert_eq!(farewell(&mut client).await.0, Some(4001));
    drop(client);
    let close = judge_lines(&log).await;
    judge_counters(admin, &close).await;
}

/// The line of the end, once both are as they must be.
async fn judge_lines(log: &LogFile) -> Value {
    let open = log.events("ws.open", 1).await.remove(0);
    for (key, value) in [
        ("route", json!("chat")),
        ("handler", json!("code")),
        ("service", Value::Null),
        ("status", json!(101)),
        ("ua", json!("agent")),
    ] {
        assert_eq!(open[key], value, "{open}");
    }
    let close = log.events("ws.close", 1).await.remove(0);
    for (key, value) in [
        ("session", open["session"].clone()),
        ("code", json!(4001)),
        ("reason", json!("done")),
        ("cause", json!("client_close")),
        ("initiator", json!("client")),
        ("msgs_in", json!(4)),
        ("msgs_out", json!(4)),
        ("bytes_in", json!(6 + 500 + 4 + 6)),
    ] {
        assert_eq!(close[key], value, "{key} of {close}");
    }
    close
}

async fn judge_counters(admin: Admin, close: &Value) {
    let route = "route=\"chat\"";
    for (series, value) in [
        (
            format!("tidegate_ws_handshakes_total{{{route},code=\"101\"}}"),
            1.0,
        ),
        (
            format!("tidegate_ws_connections_opened_total{{{route}}}"),
            1.0,
        ),
        (
            format!("tidegate_ws_messages_total{{{route},direction=\"in\",kind=\"text\"}}"),
            3.0,
        ),
        (
            format!("tidegate_ws_messages_total{{{route},direction=\"out\",kind=\"text\"}}"),
            3.0,
        ),
        (
            format!("tidegate_ws_messages_total{{{route},direction=\"in\",kind=\"binary\"}}"),
            1.0,
        ),
        (
            format!("tidegate_ws_messages_total{{{route},direction=\"out\",kind=\"binary\"}}"),
            1.0,
        ),
        (
            format!("tidegate_ws_bytes_total{{{route},direction=\"in\"}}"),
            516.0,
        ),
        (
            format!(
                "tidegate_ws_connections_closed_total{{{route},code=\"4xxx\",\
                 cause=\"client_close\",initiator=\"client\"}}"
            ),
            1.0,
        ),
        (
            format!("tidegate_ws_connection_duration_seconds_count{{{route}}}"),
            1.0,
        ),
    ] {
        admin.counts(&series, value).await;
    }
    let out = admin.metrics().await;
    let out = out.get(&format!(
        "tidegate_ws_bytes_total{{{route},direction=\"out\"}}"
    ));
    assert_eq!(
        out.map(|bytes| json!(bytes as u64)),
        Some(close["bytes_out"].clone())
    );
}

/// Every second some of the open sessions have a line, if something has passed on them.
#[tokio::test]
async fn open_ones_have_lines_now_and_then() {
    let log = LogFile::new();
    let top = log.yaml("stats_interval: 1s");
    let gateway = TestGateway::handling(&yaml(&top, "", ""), |one| one.handler("code", echo));
    let mut client = open(&gateway).await;
    super::echoes(&mut client, "hello").await;
    let stats = log.events("ws.stats", 1).await.remove(0);
    assert_eq!(
        (&stats["msgs_in"], &stats["bytes_out"]),
        (&json!(1), &json!(5)),
        "{stats}"
    );
}
