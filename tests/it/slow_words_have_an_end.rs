//! Heads that come too slowly, interim answers without end, lines without bound: each is ended.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

/// An upstream that says `part` again and again, and never its answer.
async fn babbling(part: &'static str) -> ScriptedUpstream {
    ScriptedUpstream::serve(move |mut wire| async move {
        wire.read_head().await;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while wire.try_send(part).await.is_ok() {
            ticks.tick().await;
        }
    })
    .await
}

#[tokio::test]
async fn head_of_an_upstream() {
    let timeouts = "handshake_timeout: 500ms, response_timeout: 500ms";
    for part in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n",
        "H",
    ] {
        let upstream = babbling(part).await;
        let gateway = TestGateway::before_with(&upstream, timeouts, "");
        for request in [Request::get("/"), Request::handshake("/")] {
            let mut client = gateway.connect().await;
            client.request(&request).await;
            let begun = Instant::now();
            let status = loop {
                // Interim answers may be passed on.
                match client.read_head().await.status() {
                    100..=199 => {}
                    status => break status,
                }
            };
            assert!(matches!(status, 502 | 504), "{part:?}: {status}");
            let limit = Duration::from_millis(500) + SLACK;
            assert!(
                begun.elapsed() < limit,
                "{part:?} took {:?}",
                begun.elapsed()
            );
        }
    }
}

/// Ten seconds for a head, however steadily it trickles.
#[tokio::test]
async fn head_of_a_client_is_408() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let begun = Instant::now();
    client
        .send("GET / HTTP/1.1\r\nHost: test.example\r\nX-A: ")
        .await;
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            () = client.something_came() => break,
            _ = ticks.tick() => {}
        }
        client.try_send("a").await.ok();
        assert!(
            begun.elapsed() < Duration::from_secs(10) + SLACK,
            "it is still waited for"
        );
    }
    client.read_answer().await.expect_problem(408);
    assert!(
        begun.elapsed() > Duration::from_secs(9),
        "after {:?}",
        begun.elapsed()
    );
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn chunk_lines_and_trailers_of_an_answer() {
    let endless = [
        format!("5;{}", "a".repeat(200_000)),
        format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(200_000)),
        format!("0\r\nX-A: {}\r\n\r\n", "a".repeat(200_000)),
        format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(50_000)),
    ];
    for body in endless {
        let upstream = ScriptedUpstream::answering(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ))
        .await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::get("/")).await;
        let head = client.read_head().await;
        if head.status() == 200 {
            let read = client.read_body(&head).await;
            assert!(
                read.is_err(),
                "{} bytes of framing were let through",
                body.len()
            );
        } else {
            assert_eq!(head.status(), 502);
        }
    }
}

#[tokio::test]
async fn chunk_lines_and_trailers_of_an_upload() {
    let endless = [
        format!("5;{}", "a".repeat(200_000)),
        format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(200_000)),
        format!("0\r\nX-A: {}\r\n\r\n", "a".repeat(200_000)),
        format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(50_000)),
    ];
    for body in endless {
        let upstream = ScriptedUpstream::serve(|mut wire| async move {
            while let Ok(head) = wire.read_head_or_end().await {
                let read = wire.read_body(&head).await;
                assert!(read.is_err(), "an upload of endless framing looks whole");
            }
        })
        .await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        let request = Request::new("POST", "/")
            .with("Transfer-Encoding", "chunked")
            .then(&body);
        client.try_send(request.bytes()).await.ok();
        if let Ok(head) = client.read_head_or_end().await {
            assert!(matches!(head.status(), 400 | 413 | 431), "{head:?}");
        }
        drop(client);
        gateway.is_empty().await;
    }
}
