//! When the upstream refuses a handshake, the client sees its status, headers and body, and
//! the connection is HTTP as before.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::wire::Framing;
use tidegate_tests::{End, Head, Request, ScriptedUpstream, TestGateway};

/// The fields that travel end to end, in order and case.
fn end_to_end(head: &Head) -> Vec<(String, String)> {
    let ours = [
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "upgrade",
    ];
    let mut fields = head.fields.clone();
    fields.retain(|(name, _)| !ours.contains(&name.to_ascii_lowercase().as_str()));
    fields
}

#[tokio::test]
async fn status_headers_and_body_arrive() {
    let refusals = [
        "HTTP/1.1 401 Unauthorized\r\nDate: now\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\
         Set-Cookie: a=1\r\nset-cookie: b=2; Path=/\r\nX-Custom: 1\r\nContent-Length: 9\r\n\r\nnot today",
        "HTTP/1.1 302 Found\r\nDate: now\r\nLocation: /login?next=%2Fchat\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nDate: now\r\nContent-Length: 1\r\n\r\n?",
        "HTTP/1.1 403 Forbidden\r\nDate: now\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\nDate: now\r\nSec-WebSocket-Version: 13, 8\r\n\
         Content-Length: 0\r\n\r\n",
        "HTTP/1.1 429 Slow Down\r\nDate: now\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 432 Special\r\nDate: now\r\nContent-Length: 3\r\n\r\n432",
        "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 204 No Content\r\nDate: now\r\nX-A: 1\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nDate: now\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    ];
    for refusal in refusals {
        let upstream = ScriptedUpstream::answering(refusal).await;
        let gateway = TestGateway::before(&upstream);
        let answer = gateway.ask(&Request::handshake("/chat")).await;
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
        let sent = Head::parse(format!("{head}\r\n\r\n").into());
        assert_eq!(answer.head.start, sent.start);
        assert_eq!(end_to_end(&answer.head), end_to_end(&sent), "{refusal}");
        assert_eq!(answer.text(), body, "{refusal}");
        assert!(upstream.only_head().await.is_upgrade());
    }
}

#[tokio::test]
async fn connection_is_http_again() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        while let Ok(head) = wire.read_head_or_end().await {
            if head.target() == "/open" {
                wire.send(tidegate_tests::wire::switching(&head, &[])).await;
                return tidegate_tests::upstream::echo(wire).await;
            }
            let status = if head.is_upgrade() {
                "401 Unauthorized"
            } else {
                "200 OK"
            };
            wire.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok"))
                .await;
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        let refused = client.ask(&Request::handshake("/chat")).await;
        assert_eq!(refused.status(), 401);
        assert!(
            !refused
                .head
                .tokens("connection")
                .contains(&"close".to_owned())
        );
        assert_eq!(client.ask(&Request::get("/page")).await.text(), "ok");
    }
    client.upgrade("/open").await;
    client.close_session().await;
}

#[tokio::test]
async fn chunked_and_close_delimited_bodies_arrive_whole() {
    let refusals = [
        "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n6\r\n today\r\n0\r\n\r\n",
        "HTTP/1.1 401 No\r\nConnection: close\r\n\r\nnot today",
        "HTTP/1.0 401 No\r\n\r\nnot today",
    ];
    for refusal in refusals {
        let upstream = ScriptedUpstream::serve(move |mut wire| async move {
            wire.read_head().await;
            wire.send(refusal).await;
        })
        .await;
        let gateway = TestGateway::before(&upstream);
        let answer = gateway.ask(&Request::handshake("/chat")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (401, "not today"),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn upgrade_fields_of_a_refusal_promise_nothing() {
    let refusal = "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nContent-Length: 2\r\n\r\nhi";
    let upstream = ScriptedUpstream::answering(refusal).await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let answer = client.ask(&Request::handshake("/chat")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"));
    assert!(!answer.head.has("Upgrade"), "{:?}", answer.head);
    assert!(!answer.head.has("X-Hop"), "{:?}", answer.head);
    assert!(
        !answer
            .head
            .tokens("connection")
            .contains(&"upgrade".to_owned())
    );
    assert_eq!(gateway.sessions(), 0);
    // No tunnel: what comes next is a request.
    assert_eq!(client.ask(&Request::get("/next")).await.text(), "hi");
}

#[tokio::test]
async fn body_of_64_kib_arrives_whole() {
    let body = "x".repeat(64 * 1024);
    let refusal = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let upstream = ScriptedUpstream::answering(refusal).await;
    let gateway = TestGateway::before(&upstream);
    let answer = gateway.ask(&Request::handshake("/chat")).await;
    assert_eq!((answer.status(), answer.framing), (403, Framing::Length));
    assert!(answer.text() == body, "{} bytes arrived", answer.body.len());
}

#[tokio::test]
async fn cut_body_does_not_look_whole() {
    let refusals = [
        "HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nnot to",
        "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n6\r\n to",
        "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n",
    ];
    for refusal in refusals {
        let upstream = ScriptedUpstream::serve(move |mut wire| async move {
            wire.read_head().await;
            wire.send(refusal).await;
        })
        .await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/chat")).await;
        let head = client.read_head().await;
        let body = client.read_body(&head).await;
        match head.status() {
            401 => assert!(body.is_err(), "a cut refusal looks whole: {refusal}"),
            status => assert_eq!(status, 502, "{refusal}"),
        }
    }
}

#[tokio::test]
async fn answer_without_end_is_bounded() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.send("HTTP/1.1 401 No\r\nContent-Length: 1073741824\r\n\r\n")
            .await;
        let chunk = vec![b'x'; 1 << 16];
        for _ in 0..(1 << 30) / chunk.len() {
            if wire.try_send(&chunk).await.is_err() {
                return;
            }
        }
        panic!("a refusal of 1 GiB was read to its end");
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/chat")).await;
    let head = client.read_head().await;
    let (body, end) = client.read_to_end().await;
    match head.status() {
        // Cut where the bound is: by the length, or visibly.
        401 => assert!(
            body.len() < 1 << 30 && (end == End::Reset || head.has("Content-Length")),
            "{head:?} and {} bytes",
            body.len()
        ),
        status => assert_eq!(status, 502),
    }
}

/// Clients of a handshake seldom read chunks: a short refusal comes with a length.
#[tokio::test]
async fn short_refusal_without_a_length_gets_one() {
    let refusals = [
        "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n6\r\n today\r\n0\r\n\r\n",
        "HTTP/1.1 401 No\r\nConnection: close\r\n\r\nnot today",
    ];
    for refusal in refusals {
        let upstream = ScriptedUpstream::serve(move |mut wire| async move {
            wire.read_head().await;
            wire.send(refusal).await;
        })
        .await;
        let gateway = TestGateway::before(&upstream);
        let answer = gateway.ask(&Request::handshake("/chat")).await;
        assert_eq!(answer.framing, Framing::Length, "{:?}", answer.head);
        assert_eq!(answer.head.field("Content-Length"), Some("9"));
        assert_eq!(answer.text(), "not today");
    }
}

/// A refusal that does not end is ended when the handshake's time is up, and does not look whole.
#[tokio::test]
async fn stalled_refusal_does_not_hold_the_client() {
    let limit = Duration::from_millis(500);
    let refusals = [
        "HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nnot",
        "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n",
        "HTTP/1.1 401 No\r\nConnection: close\r\n\r\nnot",
    ];
    for refusal in refusals {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before_with(&upstream, "handshake_timeout: 500ms", "");
        let mut client = gateway.connect().await;
        let begun = Instant::now();
        client.request(&Request::handshake("/chat")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.send(refusal).await;
        let head = client.read_head().await;
        let body = client.read_body(&head).await;
        match head.status() {
            401 => assert!(body.is_err(), "a cut refusal looks whole: {refusal}"),
            status => assert_eq!(status, 504, "{refusal}"),
        }
        let took = begun.elapsed();
        assert!(took >= limit && took < limit + SLACK, "{took:?}: {refusal}");
        peer.expect_end().await;
        drop(client);
        gateway.is_empty().await;
    }
}
