//! Connect, handshake and response timeouts are three, and none stands for another.

use std::time::{Duration, Instant};

use tidegate_tests::sockets::FullListener;
use tidegate_tests::time::SLACK;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

const SHORT: Duration = Duration::from_millis(400);

/// Asks, and expects a 504 after [`SHORT`] and not long after.
async fn expect_504_soon(gateway: &TestGateway, request: &Request) {
    let mut client = gateway.connect().await;
    let begun = Instant::now();
    client.ask(request).await.expect_problem(504);
    let took = begun.elapsed();
    assert!(took >= SHORT && took < SHORT + SLACK, "504 after {took:?}");
}

fn before_full(full: &FullListener, keys: &str) -> TestGateway {
    let yaml = format!(
        "services: {{ up: {{ endpoints: [http://UP], {keys} }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
    );
    TestGateway::start_among(&[("UP", full.address())], &yaml)
}

#[tokio::test]
async fn connect_timeout_is_for_the_connection() {
    let full = FullListener::bind();
    let keys = "connect_timeout: 400ms, handshake_timeout: 60s, response_timeout: 60s";
    let gateway = before_full(&full, keys);
    expect_504_soon(&gateway, &Request::get("/")).await;
    expect_504_soon(&gateway, &Request::handshake("/")).await;
}

#[tokio::test]
async fn short_handshake_and_response_timeouts_do_not_cut_the_connect() {
    let full = FullListener::bind();
    let keys = "connect_timeout: 1s, handshake_timeout: 100ms, response_timeout: 100ms";
    let gateway = before_full(&full, keys);
    for request in [Request::get("/"), Request::handshake("/")] {
        let begun = Instant::now();
        gateway.ask(&request).await.expect_problem(504);
        assert!(
            begun.elapsed() >= Duration::from_secs(1),
            "after {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn handshake_timeout_is_for_the_handshake() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "connect_timeout: 60s, handshake_timeout: 400ms, response_timeout: 60s";
    let gateway = TestGateway::before_with(&upstream, keys, "");
    expect_504_soon(&gateway, &Request::handshake("/")).await;
    upstream.accept().await;

    // A plain request may take longer.
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    let early = tokio::time::timeout(SHORT * 2, client.read_head_or_end()).await;
    assert!(
        early.is_err(),
        "a plain request was cut by the handshake's timeout"
    );
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
}

#[tokio::test]
async fn response_timeout_is_for_plain_requests() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "connect_timeout: 60s, handshake_timeout: 60s, response_timeout: 400ms";
    let gateway = TestGateway::before_with(&upstream, keys, "");
    expect_504_soon(&gateway, &Request::get("/")).await;
    upstream.accept().await;
    expect_504_soon(&gateway, &Request::new("POST", "/").body("hello")).await;
    upstream.accept().await;

    // A handshake may take longer.
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    let early = tokio::time::timeout(SHORT * 2, client.read_head_or_end()).await;
    assert!(
        early.is_err(),
        "a handshake was cut by the response's timeout"
    );
    peer.send(tidegate_tests::wire::switching(&asked, &[]))
        .await;
    assert_eq!(client.read_head().await.status(), 101);
}

/// The upstream has begun to answer: how long it then takes is its own affair.
#[tokio::test]
async fn response_timeout_ends_with_the_first_head() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "response_timeout: 1s", "");
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        .await;
    client.read_head().await;
    let early = tokio::time::timeout(Duration::from_millis(1500), client.read_exact(1)).await;
    assert!(early.is_err(), "a body came from nowhere");
    peer.send("ok").await;
    client.expect("ok").await;
}

/// It counts from when the upstream has the request, not while the client still sends it.
#[tokio::test]
async fn response_timeout_does_not_count_the_upload() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "response_timeout: 1s", "");
    let mut client = gateway.connect().await;
    client
        .request(&Request::new("POST", "/").with("Content-Length", "10"))
        .await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..10 {
        ticks.tick().await;
        client.send("x").await;
        peer.expect("x").await;
    }
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
}
