//! An answer that the upstream did not finish is never made to look whole.

use tidegate_tests::{End, Request, ScriptedUpstream, TestGateway, Wire};

fn lose(wire: Wire, by_reset: bool) {
    if by_reset {
        wire.reset();
    } else {
        drop(wire);
    }
}

/// Every way in which an answer is cut, with the bytes of the body before the cut.
const CUTS: [(&str, &str); 6] = [
    ("Content-Length: 100", "hello"),
    ("Content-Length: 6", "hello"),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
    ("Transfer-Encoding: chunked", "a\r\nhello"),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n5"),
];

#[tokio::test]
async fn by_the_end_of_the_upstream() {
    for (framing, body) in CUTS {
        for by_reset in [false, true] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let mut client = gateway.connect().await;
            client.request(&Request::get("/")).await;
            let mut peer = upstream.accept().await;
            peer.read_head().await;
            peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"))
                .await;
            if by_reset {
                // A reset may overtake what was sent before it.
                client.something_came().await;
            }
            lose(peer, by_reset);
            let (head, got, _) = client.read_cut_answer().await;
            assert_eq!(head.status(), 200);
            assert!(b"hello".starts_with(&got), "{framing} {body:?}: {got:?}");
        }
    }
}

#[tokio::test]
async fn for_http_1_0_by_a_reset() {
    for (framing, body) in CUTS {
        if framing.starts_with("Content-Length") {
            continue; // the length tells
        }
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::get("/").version("HTTP/1.0")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"))
            .await;
        client.read_head().await;
        drop(peer);
        let (_, end) = client.read_to_end().await;
        assert_eq!(
            end,
            End::Reset,
            "{body:?}: only a reset tells an HTTP/1.0 client"
        );
    }
}

/// Without a length or chunks only the kind of the end tells.
#[tokio::test]
async fn until_close_by_a_reset() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
        .await;
    client.something_came().await;
    peer.reset();
    client.read_cut_answer().await;
}

/// Who cuts a download whose only end is the connection's.
#[derive(Debug, Clone, Copy)]
enum Cutter {
    Gateway,
    HalfClose,
}

/// A file that stops half-way must not be taken for the whole, whoever stopped it.
#[tokio::test]
async fn until_close_by_a_reset_when_the_gateway_goes_or_the_client_half_closes() {
    let answers = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
    ];
    for answer in answers {
        for cutter in [Cutter::Gateway, Cutter::HalfClose] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let mut client = gateway.connect().await;
            client.request(&Request::get("/").version("HTTP/1.0")).await;
            let mut peer = upstream.accept().await;
            peer.read_head().await;
            peer.send(answer).await;
            let head = client.read_head().await;
            assert!(!head.has("Transfer-Encoding"), "{head:?}");
            client.expect("hello").await;
            match cutter {
                Cutter::Gateway => gateway.cut().await,
                Cutter::HalfClose => client.finish().await,
            }
            let end = client.expect_end().await;
            assert_eq!(end, End::Reset, "{cutter:?}: half looks whole: {answer:?}");
            peer.read_to_end().await;
        }
    }
}

#[tokio::test]
async fn broken_chunks_look_cut() {
    let bodies = [
        "5\r\nhelloXX3\r\nabc\r\n0\r\n\r\n",
        "5\r\nhello\r\nzz\r\n",
        "5\r\nhello\r\n-1\r\n",
        "5\r\nhello\r\n0x1\r\nx\r\n0\r\n\r\n",
        "5\r\nhello\r\nffffffffffffffffff\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ];
    for body in bodies {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::get("/")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let head = client.read_head().await;
        peer.send(body).await;
        let read = client.read_body(&head).await;
        assert!(read.is_err(), "{body:?} looks whole");
        peer.read_to_end().await;
    }
}

#[tokio::test]
async fn cut_upload_looks_cut_to_the_upstream() {
    let requests = [
        Request::new("POST", "/")
            .with("Content-Length", "100")
            .then("hello"),
        Request::new("POST", "/")
            .with("Transfer-Encoding", "chunked")
            .then("5\r\nhello\r\n"),
        Request::new("POST", "/")
            .with("Transfer-Encoding", "chunked")
            .then("5\r\nhello\r\n0\r\n"),
    ];
    for request in requests {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        drop(client);
        let read = peer.read_body(&head).await;
        assert!(read.is_err(), "{request:?} looks whole");
        gateway.is_empty().await;
    }
}
