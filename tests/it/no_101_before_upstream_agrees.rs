//! A client that reads 101 has an upstream behind it that agreed. Until then it hears nothing, and
//! nothing that it says goes on.

use std::time::{Duration, Instant};

use tidegate_tests::sockets::{self, FullListener};
use tidegate_tests::time::SLACK;
use tidegate_tests::wire::switching;
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, eventually};

#[tokio::test]
async fn client_hears_nothing_while_the_upstream_thinks() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/chat")).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    client.stays_silent().await;
    assert_eq!(gateway.sessions(), 0, "a session before the 101");

    peer.send(switching(&asked, &[])).await;
    assert_eq!(client.read_head().await.status(), 101);
    eventually("the session is known", || gateway.sessions() == 1).await;
}

#[tokio::test]
async fn half_an_agreement_is_none() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/chat")).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    let answer = switching(&asked, &[]);
    let (most, last) = answer.split_at(answer.len() - 1);
    peer.send(most).await;
    client.stays_silent().await;
    peer.send(last).await;
    assert_eq!(client.read_head().await.status(), 101);
}

#[tokio::test]
async fn interim_answers_are_no_agreement() {
    for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/chat")).await;
        let mut peer = upstream.accept().await;
        let asked = peer.read_head().await;
        peer.send(format!("HTTP/1.1 {interim}\r\nLink: </a>\r\n\r\n"))
            .await;
        peer.send(switching(&asked, &[])).await;
        let mut answer = client.read_head().await;
        if interim.starts_with(&answer.status().to_string()) {
            answer = client.read_head().await; // an interim answer may be passed on
        }
        assert_eq!(answer.status(), 101, "after {interim}");
    }
}

#[tokio::test]
async fn silent_upstream_is_504_and_is_hung_up_on() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "handshake_timeout: 200ms", "");
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/chat")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    client.read_answer().await.expect_problem(504);
    peer.expect_end().await;
}

#[tokio::test]
async fn client_that_gives_up_ends_the_upstream_handshake() {
    for by_reset in [false, true] {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/chat")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        let begun = Instant::now();
        if by_reset {
            client.reset();
        } else {
            drop(client);
        }
        peer.expect_end().await;
        assert_promptly(begun);
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn client_that_gives_up_cancels_the_dial() {
    let unreachable = FullListener::bind();
    let address = unreachable.address();
    let gateway = TestGateway::start_among(
        &[("UP", unreachable.address())],
        "services: { up: { endpoints: [http://UP], connect_timeout: 60s } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    );
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/chat")).await;
    let mut dialling = Vec::new();
    eventually("the gateway dials", || {
        dialling = sockets::dialling(address);
        dialling.len() == 1
    })
    .await;
    let begun = Instant::now();
    drop(client);
    eventually("the dial is cancelled", || !sockets::is_held(&dialling[0])).await;
    assert_promptly(begun);
    gateway.is_empty().await;
}

fn assert_promptly(begun: Instant) {
    let limit = Duration::from_secs(1) + SLACK;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn words_right_behind_either_handshake_are_kept() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let hello = Frame::text("hello").from_client().bytes();
    client
        .request(&Request::handshake("/chat").then(&hello))
        .await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    peer.stays_silent().await;

    let welcome = Frame::text("welcome").bytes();
    let mut answer = switching(&asked, &[]);
    answer.extend_from_slice(&welcome);
    peer.send(answer).await;
    assert_eq!(client.read_head().await.status(), 101);
    client.expect(&welcome).await;
    peer.expect(&hello).await;

    let more = Frame::text("more").from_client().bytes();
    client.send(&more).await;
    peer.expect(&more).await;
}

#[tokio::test]
async fn half_a_frame_behind_either_handshake_is_kept() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let hello = Frame::text("hello, world").from_client().bytes();
    let request = Request::handshake("/chat").then(&hello[..3]);
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    let welcome = Frame::text("welcome").bytes();
    let mut answer = switching(&asked, &[]);
    answer.extend_from_slice(&welcome[..1]);
    peer.send(answer).await;
    assert_eq!(client.read_head().await.status(), 101);
    client.send(&hello[3..]).await;
    peer.expect(&hello).await;
    peer.send(&welcome[1..]).await;
    client.expect(&welcome).await;
}

#[tokio::test]
async fn flood_behind_a_handshake_is_held_back_and_then_delivered() {
    const FRAMES: usize = 64;
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/chat")).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;

    let frame = Frame::new(2, vec![b'x'; 1 << 20]).masked([0; 4]).bytes();
    let length = frame.len();
    let mut stream = client.into_stream();
    let flood = tokio::spawn(async move {
        for _ in 0..FRAMES {
            tokio::io::AsyncWriteExt::write_all(&mut stream, &frame)
                .await
                .unwrap();
        }
        // Over TLS the last of it may wait still.
        tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        stream
    });
    let mut flood = flood;
    let stalled = tokio::time::timeout(Duration::from_millis(500), &mut flood).await;
    assert!(
        stalled.is_err(),
        "64 MiB were taken before the upstream agreed"
    );
    peer.stays_silent().await;

    peer.send(switching(&asked, &[])).await;
    for _ in 0..FRAMES {
        let got = peer.read_exact(length).await;
        assert!(
            got[14..].iter().all(|byte| *byte == b'x'),
            "the flood is garbled"
        );
    }
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn words_behind_a_refused_handshake_are_thrown_away() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.stays_silent().await;
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            .await;
        let (left, _) = wire.read_to_end().await;
        assert!(
            left.is_empty(),
            "early words reached an upstream that refused"
        );
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let smuggled = Request::get("/admin").bytes();
    let frame = Frame::text("hello").from_client().bytes();
    for early in [smuggled, frame] {
        let mut client = gateway.connect().await;
        client
            .request(&Request::handshake("/chat").then(early))
            .await;
        let answer = client.read_answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
        let says = answer.head.tokens("connection");
        assert!(says.contains(&"close".to_owned()), "{:?}", answer.head);
        assert_eq!(client.expect_end().await, End::Fin);
    }
    drop(gateway);
    assert_eq!(upstream.heads().len(), 2, "{:?}", upstream.heads());
    eventually("the scripts end", || upstream.running() == 0).await;
}

/// Requests, a handshake and frames, all in one segment.
#[tokio::test]
async fn pipelined_handshake_waits_for_its_turn() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let hello = Frame::text("hello").from_client();
    let all = [
        Request::get("/1").bytes(),
        Request::new("POST", "/2").chunks(&["a", "b"]).bytes(),
        Request::handshake("/3").bytes(),
        hello.bytes(),
    ];
    client.send(all.concat()).await;
    for target in ["/1", "/2"] {
        assert_eq!(client.read_answer().await.seen().target(), target);
    }
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read_frame().await.payload, hello.payload);
}
