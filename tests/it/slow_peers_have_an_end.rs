//! Peers that take their time, byte by byte, and peers that never end: what is right comes through
//! whole, and what is not ends in its time.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, Wire};

/// Sends byte by byte, each in a segment of its own as far as the kernel allows.
async fn dribble(wire: &mut Wire, bytes: impl AsRef<[u8]>) {
    for byte in bytes.as_ref() {
        wire.send([*byte]).await;
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_whole() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for request in [
        Request::new("POST", "/a?b=c")
            .with("X-A", "b")
            .body("hello, you"),
        Request::new("PUT", "/").chunks(&["hello", ", ", "you"]),
    ] {
        let asking = async {
            dribble(&mut client, request.bytes()).await;
            client.read_answer().await
        };
        let answering = async {
            let mut peer = upstream.accept().await;
            let head = peer.read_head().await;
            let (body, ..) = peer.read_body(&head).await.unwrap();
            assert_eq!(body, b"hello, you");
            let answer = "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                5\r\nhello\r\n3;a=b\r\n you\r\n0\r\nX-T: 1\r\n\r\n";
            // A chunk of three has three bytes.
            dribble(&mut peer, answer.replace(" you", "you")).await;
            peer.finish().await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.text(), "helloyou");
        assert_eq!(answer.head.field("X-A"), Some("b"));
        assert_eq!(answer.trailers, [("X-T".to_owned(), "1".to_owned())]);
    }
}

#[tokio::test]
async fn a_session_one_byte_at_a_time() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let shaken = async {
        dribble(&mut client, Request::handshake("/").bytes()).await;
        client.read_head().await
    };
    let agreed = async {
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        dribble(&mut peer, tidegate_tests::wire::switching(&head, &[])).await;
        peer
    };
    let (head, mut peer) = tokio::join!(shaken, agreed);
    assert_eq!(head.status(), 101);
    for size in [0, 5, 200] {
        let up = Frame::new(2, vec![7; size]).from_client().bytes();
        let down = Frame::new(2, vec![9; size]).bytes();
        tokio::join!(dribble(&mut client, &up), dribble(&mut peer, &down));
        peer.expect(&up).await;
        client.expect(&down).await;
    }
}

/// An upstream's head: whole it is an answer, however slowly it came; half of it is 504, and more
/// than a head may be is 502.
#[tokio::test]
async fn heads_of_upstreams() {
    let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "x".repeat(70_000));
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Le", 504),
        ("HTTP/1.1 200 OK\r\nX-A: b\r\n", 504),
        ("H", 504),
        (&*long, 502),
    ];
    let keys = "response_timeout: 500ms, handshake_timeout: 500ms";
    for (words, status) in cases {
        for request in [Request::get("/"), Request::handshake("/")] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before_with(&upstream, keys, "");
            let mut client = gateway.connect().await;
            let begun = Instant::now();
            client.request(&request).await;
            let mut peer = upstream.accept().await;
            peer.read_head().await;
            peer.try_send(words).await.ok();
            let answer = client.read_answer().await;
            answer.expect_problem(status);
            assert!(begun.elapsed() < Duration::from_millis(500) + SLACK);
            peer.read_to_end().await;
            drop(client);
            gateway.is_empty().await;
        }
    }
}

/// An answer's body may pause for longer than any timeout, and trickle for ever; with its client it
/// ends.
#[tokio::test]
async fn answers_that_trickle() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "response_timeout: 2s", "");
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.read_head().await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        peer.send("1\r\nx\r\n").await;
        assert_eq!(client.read_chunk().await.unwrap(), b"x");
    }
    drop(client);
    peer.read_to_end().await;
    gateway.is_empty().await;
}

/// A client that has its last answer and does not end its side is let go within a few seconds.
#[tokio::test]
async fn client_that_never_ends() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let last = Request::get("/").with("Connection", "close");
    client.ask(&last).await.seen();
    let mut refused = gateway.connect().await;
    refused.send("nonsense\r\n\r\n").await;
    refused.read_answer().await.expect_problem(400);
    let begun = Instant::now();
    assert_eq!(client.expect_end().await, End::Fin);
    assert_eq!(refused.expect_end().await, End::Fin);
    gateway.is_empty().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5) + SLACK, "after {took:?}");
    drop((client, refused));
}

/// Nor is an upstream that said `Connection: close` and stays.
#[tokio::test]
async fn upstream_that_never_ends() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
    assert_eq!(peer.expect_end().await, End::Fin);
    assert_eq!(gateway.upstream_idle(), 0);
}

/// A client that ends its side behind its request is taken for gone.
#[tokio::test]
async fn half_closed_clients() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    for request in [Request::get("/"), Request::handshake("/")] {
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        let begun = Instant::now();
        client.finish().await;
        peer.expect_end().await;
        client.expect_end().await;
        gateway.is_empty().await;
        assert!(begun.elapsed() < SLACK, "after {:?}", begun.elapsed());
    }
}

/// An upstream may end its side behind its answer, and only there.
#[tokio::test]
async fn half_closed_upstreams() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "pool: { max_idle: 0 }", "");
    let whole = "HTTP/1.1 200 OK\r\n\r\nok";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok";
    for (words, status) in [(whole, 200), ("", 502), ("HTTP/1.1 20", 502), (cut, 0)] {
        let mut client = gateway.connect().await;
        client
            .request(&Request::new("POST", "/").body("hello"))
            .await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        peer.read_body(&head).await.unwrap();
        peer.send(words).await;
        peer.finish().await;
        match status {
            0 => drop(client.read_cut_answer().await),
            status => assert_eq!(client.read_answer().await.status(), status, "{words:?}"),
        }
        peer.read_to_end().await;
    }
    gateway.is_empty().await;
}
