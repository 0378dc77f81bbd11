//! Every id gets exactly one terminal frame, whatever becomes of its call.

use std::collections::HashMap;

use serde_json::{Value, json};
use tidegate_tests::ScriptedUpstream;
use tidegate_tests::frame::Frame;
use tidegate_tests::wire::Wire;

use super::{Client, asked, bridged};

fn call(id: u64, uri: &str) -> Value {
    json!({"id": id, "baseUrl": "account-service", "uri": uri})
}

/// Does what the target says: a status, or a way to fail.
async fn obey(mut wire: Wire) {
    while let Ok(head) = wire.read_head_or_end().await {
        let what = head.target().split('/').nth(1).unwrap().to_owned();
        let body = "x".repeat(if what == "big" { 5_000_000 } else { 3 });
        let answer = match &*what {
            "cut" => {
                return wire
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
                    .await;
            }
            "drop" => return,
            "garbage" => return wire.send("SPDY/9 so\r\n\r\n").await,
            "silent" => return drop(wire.read_head_or_end().await),
            "204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            status => {
                let status: u16 = status.parse().unwrap_or(200);
                let length = body.len();
                format!(
                    "HTTP/1.1 {status} So\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            }
        };
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn whatever_the_service_does() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let cases = [
        ("200", 200),
        ("204", 204),
        ("404", 404),
        ("500", 500),
        ("big", 200),
        ("cut", 502),
        ("drop", 502),
        ("garbage", 502),
        ("silent", 504),
    ];
    // Twice over and all at once: two requests that are the same get an answer each.
    let mut expected = HashMap::new();
    for (id, (what, status)) in cases.iter().chain(&cases).enumerate() {
        let id = id as u64 + 1;
        expected.insert(id, *status);
        let mut envelope = call(id, &format!("/{what}/x"));
        if *what == "silent" {
            envelope["timeout"] = json!(300);
        }
        client.send(&envelope).await;
    }
    while !expected.is_empty() {
        let told = client.receive().await;
        let id = told["id"].as_u64().unwrap();
        let status = expected
            .remove(&id)
            .unwrap_or_else(|| panic!("twice: {told}"));
        assert_eq!(told["status"], status, "{id}");
        assert_eq!(
            told.get("error").is_some(),
            matches!(status, 502 | 504),
            "{id}"
        );
    }
    client
        .0
        .send_frame(&Frame::new(9, "over?").from_client())
        .await;
    assert_eq!(client.0.read_frame().await.payload, b"over?");
}

#[tokio::test]
async fn services_that_are_not_there() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    upstream.refuse().await;
    let mut client = Client::new(&gateway).await;
    let told = client.ask(&call(1, "/x")).await;
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&json!(502), &json!("bad_gateway"))
    );
    assert_eq!(told["error"]["retryable"], true);
    assert!(!told.to_string().contains("127.0.0.1"), "{told}");
}

#[tokio::test]
async fn ids_that_are_in_use() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    client.send(&call(1, "/first")).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    let told = client.ask(&call(1, "/second")).await;
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&json!(409), &json!("duplicate_id"))
    );
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi")
        .await;
    assert_eq!(client.receive().await["body"], "hi");
    // It is free again.
    client.send(&call(1, "/third")).await;
    assert_eq!(asked(&mut wire).await.0.target(), "/third");
}

#[tokio::test]
async fn more_at_once_than_allowed() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s, max_in_flight: 2");
    let mut client = Client::new(&gateway).await;
    client.send(&call(1, "/a")).await;
    client.send(&call(2, "/b")).await;
    let told = client.ask(&call(3, "/c")).await;
    assert_eq!((&told["id"], &told["status"]), (&json!(3), &json!(429)));
    assert_eq!(told["error"]["retry_after"], 1);
    for _ in 0..2 {
        let mut wire = upstream.accept().await;
        asked(&mut wire).await;
        wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.receive().await["status"], 204);
    }
    // What was refused was never sent.
    assert_eq!(upstream.heads().len(), 2);
}

#[tokio::test]
async fn calls_are_taken_back() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    client.send(&call(1, "/slow")).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    let told = client.ask(&json!({"op": "cancel", "id": 1})).await;
    assert_eq!((&told["op"], &told["id"]), (&json!("end"), &json!(1)));
    assert_eq!(
        (&told["error"]["code"], &told["error"]["status"]),
        (&json!("cancelled"), &json!(499))
    );
    wire.expect_end().await;
    // Once is enough, and what is over cannot be taken back.
    client.send(&json!({"op": "cancel", "id": 1})).await;
    assert_eq!(
        client.ask(&json!({"op": "ping", "t": 5})).await,
        json!({"op": "pong", "t": 5})
    );
}

#[tokio::test]
async fn deadlines_of_envelopes() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let mut envelope = call(1, "/slow");
    envelope["timeout"] = json!(50);
    client.send(&envelope).await;
    let mut wire = upstream.accept().await;
    let (head, _) = asked(&mut wire).await;
    assert_eq!(head.field("X-Request-Timeout-Ms"), Some("50"));
    let told = client.receive().await;
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&json!(504), &json!("upstream_timeout"))
    );
}

#[tokio::test]
async fn frames_that_are_no_requests() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    for text in ["42", "{", "[1]", "[{\"id\":1}", "{\"uri\":1}"] {
        client.send_text(text).await;
        let told = client.receive().await;
        assert_eq!(told["error"]["code"], "malformed_frame", "{text}: {told}");
    }
    let told = client.ask(&json!({"op": "levitate"})).await;
    assert_eq!(told["op"], "error");
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn batches_are_answered_one_by_one() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let batch = Value::from((1..=64).map(|id| call(id, "/204/x")).collect::<Vec<_>>());
    client.send(&batch).await;
    let mut ids: Vec<_> = Vec::new();
    for _ in 1..=64 {
        ids.push(client.receive().await["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=64).collect::<Vec<_>>());
    let batch = Value::from((1..=65).map(|id| call(id, "/204/x")).collect::<Vec<_>>());
    assert_eq!(client.ask(&batch).await["op"], "error");
}

#[tokio::test]
async fn answers_that_are_too_big() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(&upstream, "timeout: 60s, max_response: 1MiB");
    let mut client = Client::new(&gateway).await;
    let told = client.ask(&call(1, "/big/x")).await;
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&json!(502), &json!("response_too_big"))
    );
}

#[tokio::test]
async fn messages_that_come_too_fast_wait() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(&upstream, "rates: { messages: { rate: 20/s, burst: 1 } }");
    let mut client = Client::new(&gateway).await;
    let begun = std::time::Instant::now();
    for id in 1..=11 {
        client.send(&call(id, "/204/x")).await;
    }
    for _ in 1..=11 {
        assert_eq!(client.receive().await["status"], 204);
    }
    // Ten of them waited for a twentieth of a second each.
    assert!(begun.elapsed().as_millis() >= 500, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn messages_that_come_too_fast_are_refused() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(
        &upstream,
        "rates: { messages: { rate: 1/m, burst: 2 }, over: reject }",
    );
    let mut client = Client::new(&gateway).await;
    for (id, status) in [(1, 204), (2, 204), (3, 429), (4, 429)] {
        let told = client.ask(&call(id, "/204/x")).await;
        assert_eq!((&told["id"], &told["status"]), (&json!(id), &json!(status)));
        if status == 429 {
            assert_eq!(told["error"]["code"], "rate_limited");
            assert!(
                told["error"]["retry_after"].as_u64().unwrap() <= 61,
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn messages_that_come_too_fast_end_the_session() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(&upstream, "rates: { bytes: 10B, over: close }");
    let mut client = Client::new(&gateway).await;
    assert_eq!(client.ask(&call(1, "/204/x")).await["status"], 204);
    client.send(&call(2, "/204/x")).await;
    assert_eq!(client.0.read_close().await, Some(4429));
}

#[tokio::test]
async fn what_takes_a_call_back_is_heard_at_any_rate() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(
        &upstream,
        "rates: { messages: { rate: 1/m, burst: 1 }, over: reject }",
    );
    let mut client = Client::new(&gateway).await;
    client.send(&call(1, "/slow")).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    let told = client.ask(&json!({"op": "cancel", "id": 1})).await;
    assert_eq!((&told["op"], &told["id"]), (&json!("end"), &json!(1)));
    // Each frame of a batch has its own answer, and none is free.
    let batch = Value::from((2..=4).map(|id| call(id, "/x")).collect::<Vec<_>>());
    client.send(&batch).await;
    for id in 2..=4 {
        let told = client.receive().await;
        assert_eq!((&told["id"], &told["status"]), (&json!(id), &json!(429)));
    }
}

#[tokio::test]
async fn heads_that_are_too_long() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let lines = vec![""; 100_000];
    let fields: serde_json::Map<_, _> = (0..200).map(|n| (format!("x-{n}"), json!("1"))).collect();
    for headers in [
        json!({"x": lines}),
        json!({"x": "y".repeat(70_000)}),
        Value::from(fields),
    ] {
        let mut envelope = call(1, "/x");
        envelope["headers"] = headers;
        let told = client.ask(&envelope).await;
        assert_eq!((&told["id"], &told["status"]), (&json!(1), &json!(400)));
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn answers_that_nobody_takes_have_a_bound() {
    let upstream = ScriptedUpstream::serve(obey).await;
    let gateway = bridged(
        &upstream,
        "timeout: 60s, max_response: 5MB, websocket: { deflate: none }",
    );
    let mut client = Client::new(&gateway).await;
    for id in 1..=12 {
        client.send(&call(id, "/big/x")).await;
    }
    let mut statuses = HashMap::new();
    for _ in 1..=12 {
        let told = client.receive().await;
        *statuses
            .entry(told["status"].as_u64().unwrap())
            .or_insert(0) += 1;
    }
    // Some went through, some were refused, and each has its answer.
    assert_eq!(statuses.values().sum::<i32>(), 12);
    assert!(
        statuses.keys().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains_key(&200), "{statuses:?}");
}
