//! Bodies flow as they come, in both directions at once; who does not read stops who writes.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::wire::Framing;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn asked(request: &Request) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(request).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    (upstream, gateway, client, peer)
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let request = Request::get("/sse").with("Accept", "text/event-stream");
    let (_upstream, _gateway, mut client, mut peer) = asked(&request).await;
    peer.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let head = client.read_head().await; // before any event
    assert_eq!(head.tokens("Transfer-Encoding"), ["chunked"]);
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        peer.send(chunk(&event)).await;
        assert_eq!(client.read_chunk().await, Some(event.into_bytes()));
    }
    peer.send("0\r\n\r\n").await;
    assert_eq!(client.read_chunk().await, None);
}

#[tokio::test]
async fn events_without_chunks_arrive_one_by_one() {
    let (_upstream, _gateway, mut client, mut peer) = asked(&Request::get("/sse")).await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        .await;
    let head = client.read_head().await;
    let is_chunked = head.has("Transfer-Encoding");
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        peer.send(&event).await;
        if is_chunked {
            assert_eq!(client.read_chunk().await, Some(event.into_bytes()));
        } else {
            client.expect(event).await;
        }
    }
}

#[tokio::test]
async fn body_with_a_length_arrives_as_it_comes() {
    let (_upstream, _gateway, mut client, mut peer) = asked(&Request::get("/")).await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
        .await;
    client.read_head().await;
    for number in 10..20 {
        peer.send(format!("{number},")).await;
        client.expect(format!("{number},")).await;
    }
}

#[tokio::test]
async fn upload_arrives_as_it_is_sent() {
    let request = Request::new("POST", "/").with("Transfer-Encoding", "chunked");
    let (_upstream, _gateway, mut client, mut peer) = asked(&request).await;
    for number in 0..20 {
        let text = format!("part {number}");
        client.send(chunk(&text)).await;
        assert_eq!(peer.read_chunk().await, Some(text.into_bytes()));
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(peer.read_chunk().await, None);
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
}

#[tokio::test]
async fn both_directions_at_once() {
    let request = Request::new("POST", "/").with("Transfer-Encoding", "chunked");
    let (_upstream, _gateway, mut client, mut peer) = asked(&request).await;
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.read_head().await.status(), 200);
    for number in 0..20 {
        let text = format!("ball {number}");
        client.send(chunk(&text)).await;
        let got = peer.read_chunk().await.unwrap();
        peer.send(chunk(std::str::from_utf8(&got).unwrap())).await;
        assert_eq!(client.read_chunk().await, Some(text.into_bytes()));
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(peer.read_chunk().await, None);
    peer.send("0\r\n\r\n").await;
    assert_eq!(client.read_chunk().await, None);
}

/// An upstream may refuse an upload unread; its answer must not be lost to the upload.
#[tokio::test]
async fn answer_before_the_body_is_read_arrives() {
    for closes in [true, false] {
        let (_upstream, _gateway, mut client, mut peer) =
            asked(&Request::new("POST", "/").with("Content-Length", "1073741824")).await;
        client.send(vec![b'x'; 100_000]).await;
        let connection = if closes { "Connection: close\r\n" } else { "" };
        peer.send(format!(
            "HTTP/1.1 413 Too Much\r\n{connection}Content-Length: 3\r\n\r\nfat"
        ))
        .await;
        let answer = client.read_answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (413, "fat"));
        drop(peer);
    }
}

#[tokio::test]
async fn refused_upload_reads_its_answer() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::routing(
        &upstream,
        "  - { name: a, match: { path: /a }, proxy: { service: a } }\n",
    );
    let mut client = gateway.connect().await;
    let request = Request::new("POST", "/nowhere").body(vec![b'x'; 300_000]);
    // The gateway need not take all of it, but it must not let a reset overtake its answer.
    client.try_send(request.bytes()).await.ok();
    client.read_answer().await.expect_problem(404);
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn slow_client_stops_the_upstream() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    for framing in [Framing::Length, Framing::Chunked] {
        let mut client = Wire::connect_narrow(gateway.address()).await;
        client.request(&Request::get("/")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        let part = vec![b'x'; 1 << 20];
        let (head, part) = match framing {
            Framing::Length => ("Content-Length: 67108864", part),
            _ => {
                let text = String::from_utf8(part).unwrap();
                ("Transfer-Encoding: chunked", chunk(&text).into_bytes())
            }
        };
        peer.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"))
            .await;
        let mut stream = peer.into_stream();
        let mut writer = tokio::spawn(async move {
            for _ in 0..64 {
                stream.write_all(&part).await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
            // Over TLS the last of it may wait still.
            stream.flush().await.unwrap();
        });
        let stalled = tokio::time::timeout(Duration::from_millis(500), &mut writer).await;
        assert!(
            stalled.is_err(),
            "64 MiB were taken for a client that does not read"
        );
        let answer = client.read_answer().await;
        assert_eq!((answer.framing, answer.body.len()), (framing, 64 << 20));
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn slow_upstream_stops_the_client() {
    let request = Request::new("POST", "/").with("Content-Length", "67108864");
    let (_upstream, _gateway, client, peer) = asked(&request).await;
    let mut stream = client.into_stream();
    let mut writer = tokio::spawn(async move {
        let part = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            stream.write_all(&part).await.unwrap();
        }
        stream
    });
    let stalled = tokio::time::timeout(Duration::from_millis(500), &mut writer).await;
    assert!(
        stalled.is_err(),
        "64 MiB were taken for an upstream that does not read"
    );
    let mut peer = peer.into_stream();
    let mut body = vec![0; 64 << 20];
    within("the upload", peer.read_exact(&mut body))
        .await
        .unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'), "the body is garbled");
    writer.await.unwrap();
}

#[tokio::test]
async fn client_that_leaves_ends_the_upstreams_work() {
    let requests = [
        Request::get("/"),
        Request::new("POST", "/")
            .with("Content-Length", "100")
            .then("half"),
    ];
    for request in requests {
        let (_upstream, gateway, client, mut peer) = asked(&request).await;
        let begun = Instant::now();
        drop(client);
        peer.read_to_end().await;
        let limit = Duration::from_secs(1) + SLACK;
        assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
        gateway.is_empty().await;
        assert_eq!(
            gateway.upstream_idle(),
            0,
            "half a request's connection is kept"
        );
    }
}

#[tokio::test]
async fn client_that_leaves_ends_the_download() {
    let (_upstream, gateway, mut client, mut peer) = asked(&Request::get("/")).await;
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.read_head().await;
    drop(client);
    peer.expect_end().await;
    gateway.is_empty().await;
}

#[tokio::test]
async fn body_is_asked_for_once() {
    let request = Request::new("POST", "/")
        .with("Content-Length", "5")
        .with("Expect", "100-continue");
    let (_upstream, _gateway, mut client, mut peer) = asked(&request).await;
    // RFC 9110 section 10.1.1: the upstream decides, or the gateway once it knows the route.
    peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.read_head().await.status(), 100);
    client.send("hello").await;
    peer.expect("hello").await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let answer = client.read_answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn body_is_not_asked_for_when_it_is_refused() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::routing(
        &upstream,
        "  - { name: a, match: { path: /a }, proxy: { service: a } }\n",
    );
    let request = Request::new("POST", "/nowhere")
        .with("Content-Length", "5")
        .with("Expect", "100-continue");
    gateway.ask(&request).await.expect_problem(404);
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn refusal_needs_no_body() {
    let request = Request::new("POST", "/")
        .with("Content-Length", "5")
        .with("Expect", "100-continue");
    let (_upstream, _gateway, mut client, mut peer) = asked(&request).await;
    peer.send("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let answer = client.read_answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "no"));
}

/// An upstream that does not know `Expect` waits for the body, and the client for a word.
#[tokio::test]
async fn client_is_not_left_waiting_for_a_100() {
    let request = Request::new("POST", "/")
        .with("Content-Length", "5")
        .with("Expect", "100-continue");
    let (_upstream, _gateway, mut client, mut peer) = asked(&request).await;
    assert_eq!(client.read_head().await.status(), 100);
    client.send("hello").await;
    peer.expect("hello").await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
}

/// The upstream is long gone when the client reads the last of its answer.
#[tokio::test]
async fn answer_outlives_its_upstream() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        let body = "x".repeat(8 << 20);
        let length = body.len();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let mut client = Wire::connect_narrow(gateway.address()).await;
    client.request(&Request::get("/")).await;
    client.something_came().await;
    let answer = client.read_answer().await;
    assert_eq!(answer.body.len(), 8 << 20);
}
