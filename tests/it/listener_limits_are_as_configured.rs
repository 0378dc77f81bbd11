//! What a listener grants its clients: the size of their heads, and the time for each thing they do.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Request, ScriptedUpstream, TestGateway, Wire};

const SHORT: Duration = Duration::from_secs(3);
/// Far below [`SHORT`], so that a machine may be slow and what comes so often is still in time.
const PAUSE: Duration = Duration::from_millis(500);

/// It was [`SHORT`], and not long after.
fn expect_short(begun: Instant) {
    let took = begun.elapsed();
    assert!(took >= SHORT && took < SHORT + SLACK, "after {took:?}");
}

fn padded(bytes: usize) -> Request {
    Request::get("/").with("X-Padding", &"x".repeat(bytes))
}

fn fielded(count: usize) -> Request {
    let lines = (0..count).map(|number| (format!("X-{number}"), "1"));
    lines.fold(Request::get("/"), |request, (name, value)| {
        request.with(&name, value)
    })
}

#[tokio::test]
async fn smaller_heads() {
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "max_head: 1KiB, max_fields: 5, max_target: 100";
    let gateway = TestGateway::listening_before(&upstream, limits);
    let long = |length: usize| Request::get(&format!("/{}", "a".repeat(length - 1)));
    for fits in [padded(900), fielded(4), long(100)] {
        gateway.ask(&fits).await.seen();
    }
    let before = upstream.heads().len();
    for (request, status) in [
        (padded(1024), 431),
        (fielded(5), 431),
        (long(101), 414),
        (long(2000), 414),
    ] {
        gateway.ask(&request).await.expect_problem(status);
    }
    assert_eq!(upstream.heads().len(), before, "a refused one went on");
}

#[tokio::test]
async fn larger_heads() {
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "max_head: 256KiB, max_fields: 300, max_target: 100KiB";
    let gateway = TestGateway::listening_before(&upstream, limits);
    let target = format!("/{}", "a".repeat(90_000));
    for fits in [padded(200_000), fielded(299), Request::get(&target)] {
        let seen = gateway.ask(&fits).await.seen();
        assert!(seen.raw.len() >= fits.bytes().len(), "it was shortened");
    }
    for (request, status) in [(padded(256 << 10), 431), (fielded(300), 431)] {
        gateway.ask(&request).await.expect_problem(status);
    }
}

/// From its first byte, however long that took to come.
#[tokio::test]
async fn slow_head() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::listening_before(&upstream, "head_timeout: 3s");
    let mut client = gateway.connect().await;
    tokio::time::sleep(PAUSE).await;
    let begun = Instant::now();
    for byte in padded(1000).bytes() {
        if client.try_send([byte]).await.is_err() {
            break;
        }
        let answered = tokio::time::timeout(Duration::from_millis(25), client.something_came());
        if answered.await.is_ok() {
            break;
        }
    }
    let answer = client.read_answer().await;
    answer.expect_problem(408);
    expect_short(begun);
    assert_eq!(client.expect_end().await, End::Fin);
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn no_head_at_all() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::listening_before(&upstream, "head_timeout: 3s");
    let begun = Instant::now();
    let mut client = gateway.connect().await;
    client.expect_end().await;
    expect_short(begun);
    gateway.is_empty().await;
}

#[tokio::test]
async fn no_next_head() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::listening_before(&upstream, "keep_alive_timeout: 3s");
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.ask(&Request::get("/")).await.seen();
        tokio::time::sleep(PAUSE).await;
    }
    let answered = Instant::now();
    client.ask(&Request::get("/")).await.seen();
    client.expect_end().await;
    expect_short(answered);
    gateway.is_empty().await;
}

/// A byte now and then is progress; none is the end.
#[tokio::test]
async fn slow_body() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::listening_before(&upstream, "body_timeout: 3s, min_body_rate: none");
    for framing in [("Content-Length", "100"), ("Transfer-Encoding", "chunked")] {
        let mut client = gateway.connect().await;
        let request = Request::new("POST", "/").with(framing.0, framing.1);
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        let part = if framing.1 == "100" {
            "x"
        } else {
            "1\r\nx\r\n"
        };
        let mut begun = Instant::now();
        for _ in 0..8 {
            tokio::time::sleep(PAUSE).await;
            begun = Instant::now();
            client.send(part).await;
            peer.expect(part).await;
        }
        let answer = client.read_answer().await;
        answer.expect_problem(408);
        assert_eq!(answer.code(), "slow_body");
        expect_short(begun);
        peer.read_to_end().await;
        drop(client);
        gateway.is_empty().await;
    }
}

/// Steadily, and too slowly: it is refused behind the first `body_timeout`, and its upstream let go.
/// Where its answer has begun, that one is cut.
#[tokio::test]
async fn body_that_trickles() {
    let mut upstream = ScriptedUpstream::bind().await;
    let limits = "body_timeout: 3s, min_body_rate: 20B";
    let gateway = TestGateway::listening_before(&upstream, limits);
    for is_answered in [false, true] {
        let mut client = gateway.connect().await;
        let request = Request::new("POST", "/").with("Content-Length", "1000");
        // The listener counts from when it has the head, which is before the upstream has it.
        let begun = Instant::now();
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        if is_answered {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
                .await;
            client.read_head().await;
        }
        let (mut sent, mut ended) = (0, false);
        while !ended {
            ended = tokio::time::timeout(SHORT / 4, client.something_came())
                .await
                .is_ok();
            if !ended {
                client.send("x").await;
                sent += 1;
            }
            assert!(sent < 20, "10 bytes a second for 2 s");
        }
        expect_short(begun);
        assert!(sent >= 2, "it was let be for less than its time");
        if is_answered {
            client.read_to_end().await;
        } else {
            let answer = client.read_answer().await;
            answer.expect_problem(408);
            assert_eq!(answer.code(), "slow_body");
        }
        peer.read_to_end().await;
        drop(client);
        gateway.is_empty().await;
    }
}

/// As fast as the rate for longer than the time, and then held up by the upstream for as long.
#[tokio::test]
async fn body_that_comes_as_fast_as_it_can() {
    const SIZE: usize = 16 << 20;
    let mut upstream = ScriptedUpstream::bind().await;
    let limits = "body_timeout: 3s, min_body_rate: 100B";
    let gateway = TestGateway::listening_before(&upstream, limits);
    let mut client = gateway.connect().await;
    let length = (SIZE + 3000).to_string();
    let request = Request::new("POST", "/").with("Content-Length", &length);
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    peer.narrow();
    peer.read_head().await;
    for _ in 0..6 {
        tokio::time::sleep(SHORT / 4).await;
        client.send([b'x'; 500]).await;
        peer.expect([b'x'; 500]).await;
    }
    let mut client = client.into_stream();
    let mut sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        client.write_all(&vec![b'y'; SIZE]).await.unwrap();
        client.flush().await.unwrap();
        client
    });
    let stalled = tokio::time::timeout(SHORT + SHORT / 2, &mut sending).await;
    assert!(stalled.is_err(), "16 MiB were taken for a deaf upstream");
    for _ in 0..SIZE >> 20 {
        peer.expect(vec![b'y'; 1 << 20]).await;
    }
    let client = tidegate_tests::within("the upload", sending).await.unwrap();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(Wire::of(client).read_answer().await.text(), "ok");
}

/// Sends for ever, and tells how much was taken.
async fn pour(mut wire: Wire) -> usize {
    wire.read_head().await;
    wire.narrow();
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("{:x}\r\n{}\r\n", 8192, "x".repeat(8192));
    let mut sent = 0;
    while wire.try_send(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    sent
}

/// A client that takes nothing is cut, and what it did not take was not read from the upstream
/// either; one that takes some again and again is not cut.
#[tokio::test]
async fn slow_reader() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::listening_before(&upstream, "write_timeout: 3s");
    for reads in [false, true] {
        let mut client = gateway.connect().await;
        let mut taken = 0;
        client.request(&Request::get("/")).await;
        let peer = upstream.accept().await;
        let poured = tokio::spawn(pour(peer));
        if reads {
            for _ in 0..8 {
                tokio::time::sleep(PAUSE).await;
                taken += client.read_exact(1 << 20).await.len();
            }
            assert!(!poured.is_finished(), "it was cut");
        }
        let sent = tidegate_tests::within("the cut", poured).await.unwrap();
        let untaken = sent - taken;
        assert!(untaken < 32 << 20, "{untaken} bytes that nobody takes");
        gateway.is_empty().await;
        let (_, end) = client.read_to_end().await;
        assert_eq!(end, End::Reset, "half an answer looks whole");
    }
}

/// Each time far less than what makes the kernel here say that there is room again, and yet it takes.
#[tokio::test]
async fn reader_of_little_is_no_stalled_one() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::listening_before(&upstream, "write_timeout: 3s");
    // The kernel at its end tells of little room only where there is little in all.
    let mut client = Wire::connect_narrow(gateway.address()).await;
    client.request(&Request::get("/")).await;
    let poured = tokio::spawn(pour(upstream.accept().await));
    for _ in 0..8 {
        tokio::time::sleep(SHORT / 4).await;
        client.read_exact(1 << 16).await;
    }
    assert!(!poured.is_finished(), "it was cut");
    tidegate_tests::within("the cut", poured).await.unwrap();
    gateway.is_empty().await;
}
