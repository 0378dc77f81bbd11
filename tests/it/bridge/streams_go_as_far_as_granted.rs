//! Long answers come in chunks, as far as their client grants; what is not granted is not read.

use serde_json::{Value, json};
use tidegate_tests::ScriptedUpstream;

use super::{Client, asked, bridged};

fn stream(uri: &str) -> Value {
    json!({"id": 8, "baseUrl": "account-service", "uri": uri, "stream": true})
}

#[tokio::test]
async fn events_as_they_happen() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    client.send(&stream("/events")).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    wire.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let head = client.receive().await;
    assert_eq!(
        (&head["id"], &head["status"], &head["stream"]),
        (&json!(8), &json!(200), &json!(true))
    );
    for (number, word) in ["Hel", "lo"].into_iter().enumerate() {
        let event = format!("id: {number}\nevent: token\ndata: {word}\n\n");
        wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        assert_eq!(
            client.receive().await,
            json!({"op": "chunk", "id": 8, "n": number,
                   "event": {"id": number.to_string(), "event": "token", "data": word}})
        );
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(
        client.receive().await,
        json!({"op": "end", "id": 8, "n": 2})
    );
}

#[tokio::test]
async fn no_further_than_granted() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let mut envelope = stream("/long");
    envelope["credit"] = json!(1000);
    client.send(&envelope).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    let length = 64 << 20;
    wire.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    ))
    .await;
    assert_eq!(client.receive().await["stream"], true);
    // The service cannot get rid of its answer: nobody reads it.
    let words = vec![b'x'; 64 * 1024];
    wire.send_until_full(&words, std::time::Duration::from_millis(300))
        .await;
    let mut came = 0;
    while came < 1000 {
        came += client.receive().await["data"].as_str().unwrap().len();
    }
    assert_eq!(came, 1000);
    assert_eq!(
        client.ask(&json!({"op": "ping"})).await,
        json!({"op": "pong"})
    );
    client.send(&json!({"op": "credit", "id": 8, "n": 5})).await;
    assert_eq!(client.receive().await["data"], "xxxxx");
    // Another call of the same session does not wait for it.
    client
        .send(&json!({"id": 9, "baseUrl": "account-service", "uri": "/other"}))
        .await;
    let mut other = upstream.accept().await;
    asked(&mut other).await;
    other.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.receive().await["id"], 9);
    let told = client.ask(&json!({"op": "cancel", "id": 8})).await;
    assert_eq!(
        (&told["op"], &told["error"]["code"]),
        (&json!("end"), &json!("cancelled"))
    );
}

#[tokio::test]
async fn ends_too_early() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    client.send(&stream("/cut")).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\":1}\n\r\n")
        .await;
    assert_eq!(client.receive().await["stream"], true);
    assert_eq!(client.receive().await["data"], json!({"a": 1}));
    wire.reset();
    let told = client.receive().await;
    assert_eq!((&told["op"], &told["n"]), (&json!("end"), &json!(1)));
    assert_eq!(told["error"]["code"], "bad_gateway");
}

#[tokio::test]
async fn short_answers_come_whole() {
    let upstream = ScriptedUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n[1]",
    )
    .await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let told = client.ask(&stream("/short")).await;
    assert_eq!((&told["body"], told.get("stream")), (&json!([1]), None));
}

#[tokio::test]
async fn ends_where_the_grant_ends() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s, stream_above: 1B");
    let mut client = Client::new(&gateway).await;
    let mut envelope = stream("/exact");
    envelope["credit"] = json!(5);
    client.send(&envelope).await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(client.receive().await["stream"], true);
    assert_eq!(client.receive().await["data"], "hello");
    assert_eq!(
        client.receive().await,
        json!({"op": "end", "id": 8, "n": 1})
    );
}
