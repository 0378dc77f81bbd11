//! Caps on connections, sessions, requests, calls, handshakes and bodies: whoever is over one hears
//! 429 or 503 and when to come again, before anything is dialled; and each is given back.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::{Answer, End, Request, ScriptedUpstream, TestGateway, Wire, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// Top-level keys, and keys of the one service and the one route.
fn yaml(top: &str, service: &str, route: &str) -> String {
    format!(
        "{top}\nservices: {{ up: {{ endpoints: [http://UP], {service} }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }}, {route} }}]\n"
    )
}

fn expect_overload(answer: &Answer, status: u16, code: &str) {
    answer.expect_problem(status);
    assert_eq!(answer.code(), code);
    let seconds = answer.head.field("Retry-After").unwrap();
    assert!(seconds.parse::<u32>().unwrap() >= 1, "{seconds}");
    assert!(
        answer.text().contains("\"retryable\":true"),
        "{}",
        answer.text()
    );
}

/// A connection over a cap of connections: it has an answer, and an end.
async fn expect_turned_away(mut client: Wire, status: u16, code: &str) {
    let begun = Instant::now();
    let answer = client.ask(&Request::get("/")).await;
    expect_overload(&answer, status, code);
    assert_eq!(answer.head.field("Connection"), Some("close"));
    assert_eq!(client.expect_end().await, End::Fin);
    assert!(begun.elapsed() < SLACK, "after {:?}", begun.elapsed());
}

/// A place is free once its holder has been seen to leave: until then one is turned away.
async fn get_in(gateway: &TestGateway, from: IpAddr) -> Wire {
    for _ in 0..1000 {
        let mut client = Wire::connect_from(from, gateway.address()).await;
        if client.ask(&Request::get("/")).await.status() == 200 {
            return client;
        }
    }
    panic!("nobody gets in");
}

#[tokio::test]
async fn connections_of_the_gateway_and_of_a_listener() {
    let upstream = ScriptedUpstream::mirror().await;
    let cases = [
        (
            TestGateway::start(&upstream, &yaml("limits: { max_connections: 3 }", "", "")),
            "gateway_full",
        ),
        (
            TestGateway::listening_before(&upstream, "max_connections: 3"),
            "listener_full",
        ),
    ];
    for (gateway, code) in cases {
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(gateway.connect().await);
        }
        let mut session = gateway.connect().await;
        session.upgrade("/").await;
        let before = upstream.connections();
        for _ in 0..3 {
            expect_turned_away(gateway.connect().await, 503, code).await;
        }
        assert_eq!(upstream.connections(), before, "something was dialled");
        // Those who are in are served; the connection of a session counts as long as it lives.
        held[0].ask(&Request::get("/")).await.seen();
        session.close_session().await;
        let again = get_in(&gateway, loopback(1)).await;
        expect_turned_away(gateway.connect().await, 503, code).await;
        drop((held, again));
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn connections_of_one_address() {
    let upstream = ScriptedUpstream::mirror().await;
    let top = "limits: { max_connections_per_address: 2 }";
    let gateway = TestGateway::start(&upstream, &yaml(top, "", ""));
    let here = gateway.address();
    let mut session = Wire::connect_from(loopback(2), here).await;
    session.upgrade("/").await;
    let held = Wire::connect_from(loopback(2), here).await;
    let before = upstream.connections();
    for _ in 0..3 {
        let more = Wire::connect_from(loopback(2), here).await;
        expect_turned_away(more, 429, "too_many_connections").await;
    }
    assert_eq!(upstream.connections(), before, "something was dialled");
    let mut other = Wire::connect_from(loopback(3), here).await;
    other.ask(&Request::get("/")).await.seen();
    session.close_session().await;
    let again = get_in(&gateway, loopback(2)).await;
    drop((held, again, other));
    gateway.is_empty().await;
}

/// Behind a trusted proxy the clients count whom it names, each request and each session; the
/// proxy's own connections do not.
#[tokio::test]
async fn addresses_behind_a_trusted_proxy() {
    let mut upstream = ScriptedUpstream::bind().await;
    let top = "trusted_proxies: [127.0.0.1]\nlimits: { max_connections_per_address: 1 }";
    let gateway = TestGateway::start(&upstream, &yaml(top, "", ""));
    let of = |client: &str| Request::get("/").with("X-Forwarded-For", client);
    let mut first = gateway.connect().await;
    first.request(&of("192.0.2.1")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;

    let mut second = gateway.connect().await;
    for client in ["192.0.2.1", "::ffff:192.0.2.1"] {
        let answer = second.ask(&of(client)).await;
        expect_overload(&answer, 429, "too_many_connections");
    }
    assert_eq!(upstream.connections(), 1, "something was dialled");
    second.request(&of("192.0.2.2")).await;
    let mut other = upstream.accept().await;
    other.read_head().await;
    other.send(OK).await;
    assert_eq!(second.read_answer().await.text(), "ok");
    // Answered, it counts no more; its connection stays.
    peer.send(OK).await;
    assert_eq!(first.read_answer().await.text(), "ok");
    let handshake = Request::handshake("/").with("X-Forwarded-For", "192.0.2.1");
    first.request(&handshake).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(first.read_head().await.status(), 101);
    let answer = second.ask(&handshake).await;
    expect_overload(&answer, 429, "too_many_connections");
    first.reset();
    peer.read_to_end().await;
    eventually("the session is gone", || gateway.sessions() == 0).await;
    second.request(&handshake).await;
    upstream.accept().await.accept_handshake().await;
    assert_eq!(second.read_head().await.status(), 101);
}

/// A proxy that names nobody, or nobody who can be one, is itself the client.
#[tokio::test]
async fn a_trusted_proxy_that_names_nobody_counts_itself() {
    let upstream = ScriptedUpstream::mirror().await;
    let top = "trusted_proxies: [127.0.0.1]\nlimits: { max_connections_per_address: 2 }";
    let gateway = TestGateway::start(&upstream, &yaml(top, "", ""));
    let handshakes = [
        Request::handshake("/"),
        Request::handshake("/").with("X-Forwarded-For", "192.0.2.9, unknown"),
    ];
    let mut held = Vec::new();
    for handshake in &handshakes {
        let mut client = gateway.connect().await;
        client.request(handshake).await;
        assert_eq!(client.read_head().await.status(), 101);
        held.push(client);
    }
    let mut client = gateway.connect().await;
    for request in &handshakes {
        let refused = client.ask(request).await;
        expect_overload(&refused, 429, "too_many_connections");
    }
    let refused = client.ask(&Request::get("/")).await;
    expect_overload(&refused, 429, "too_many_connections");
    let named = Request::handshake("/").with("X-Forwarded-For", "192.0.2.9");
    client.request(&named).await;
    assert_eq!(client.read_head().await.status(), 101);
}

/// Who has most of a route's sessions leaves the last ones to others.
#[tokio::test]
async fn the_last_sessions_of_a_route_are_shared() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml("", "", "limits: { max_sessions: 16 }"));
    let mut held = Vec::new();
    for _ in 0..15 {
        let mut client = gateway.connect().await;
        client.upgrade("/").await;
        held.push(client);
    }
    let refused = gateway.ask(&Request::handshake("/")).await;
    expect_overload(&refused, 429, "too_many_connections");
    let mut other = Wire::connect_from(loopback(2), gateway.address()).await;
    other.upgrade("/").await;
    let mut third = Wire::connect_from(loopback(3), gateway.address()).await;
    let refused = third.ask(&Request::handshake("/")).await;
    expect_overload(&refused, 503, "route_full");
}

#[tokio::test]
async fn sessions_and_requests_of_a_route() {
    let mut upstream = ScriptedUpstream::bind().await;
    let limits = "limits: { max_sessions: 1, max_requests: 2 }";
    let gateway = TestGateway::start(&upstream, &yaml("", "", limits));
    // A handshake under way counts, a refused one no more.
    let mut asking = gateway.connect().await;
    asking.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    let mut client = gateway.connect().await;
    let refused = client.ask(&Request::handshake("/")).await;
    expect_overload(&refused, 503, "route_full");
    peer.send("HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(asking.read_answer().await.status(), 403);
    asking.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(asking.read_head().await.status(), 101);
    let refused = client.ask(&Request::handshake("/")).await;
    expect_overload(&refused, 503, "route_full");

    // Requests are counted apart from them, to the last byte of the answer.
    let mut pairs = Vec::new();
    for _ in 0..2 {
        let mut busy = gateway.connect().await;
        busy.request(&Request::get("/")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            .await;
        busy.read_head().await;
        pairs.push((busy, peer));
    }
    let before = upstream.connections();
    let refused = client.ask(&Request::get("/")).await;
    expect_overload(&refused, 503, "route_full");
    assert_eq!(upstream.connections(), before, "something was dialled");
    let (mut busy, mut peer) = pairs.pop().unwrap();
    peer.send("k").await;
    busy.expect("ok").await;
    client.request(&Request::get("/")).await;
    peer.read_head().await;
    peer.send(OK).await;
    assert_eq!(client.read_answer().await.text(), "ok");
    // A client that leaves gives its place back.
    drop(pairs);
    drop((asking, busy));
    eventually("the session is gone", || gateway.sessions() == 0).await;
    client.request(&Request::handshake("/")).await;
    upstream.accept().await.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
}

/// Of a service calls and sessions together, on whichever route; idle connections do not count.
#[tokio::test]
async fn connections_of_a_service() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml("", "limits: { max_connections: 2 }", ""));
    let (session, peer) = gateway.open(&mut upstream).await;
    let mut busy = gateway.connect().await;
    busy.request(&Request::get("/")).await;
    let mut call = upstream.accept().await;
    call.read_head().await;
    let mut client = gateway.connect().await;
    for request in [Request::get("/"), Request::handshake("/")] {
        expect_overload(&client.ask(&request).await, 503, "service_full");
    }
    assert_eq!(upstream.connections(), 2, "something was dialled");
    call.send(OK).await;
    assert_eq!(busy.read_answer().await.text(), "ok");
    eventually("it is idle", || gateway.upstream_idle() == 1).await;
    client.request(&Request::get("/")).await;
    call.read_head().await;
    expect_overload(&busy.ask(&Request::get("/")).await, 503, "service_full");
    session.reset();
    drop(peer);
    eventually("the session is gone", || gateway.sessions() == 0).await;
    busy.request(&Request::handshake("/")).await;
    upstream.accept().await.accept_handshake().await;
    assert_eq!(busy.read_head().await.status(), 101);
}

#[tokio::test]
async fn handshakes_of_one_address() {
    let upstream = ScriptedUpstream::mirror().await;
    let top = "limits: { handshakes_per_address: { rate: 10/m, burst: 3 } }";
    let gateway = TestGateway::start(&upstream, &yaml(top, "", ""));
    for _ in 0..3 {
        gateway.connect().await.upgrade("/").await;
    }
    let mut client = gateway.connect().await;
    let before = upstream.connections();
    let refused = client.ask(&Request::handshake("/")).await;
    expect_overload(&refused, 429, "too_many_handshakes");
    assert_eq!(upstream.connections(), before, "something was dialled");
    let wait = refused.head.field("Retry-After").unwrap().to_owned();
    assert!((1..=6).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    // Neither plain requests nor other addresses are meant.
    client.ask(&Request::get("/")).await.seen();
    let mut other = Wire::connect_from(loopback(9), gateway.address()).await;
    other.upgrade("/").await;
    // And what was said of the wait is true.
    tokio::time::sleep(Duration::from_secs(wait.parse().unwrap())).await;
    client.upgrade("/").await;
}

/// A token is for a handshake that is asked for upstream: those refused before cost none.
#[tokio::test]
async fn refused_handshakes_cost_no_token() {
    let upstream = ScriptedUpstream::mirror().await;
    let top = "limits: { handshakes_per_address: { rate: 1/m, burst: 1 } }";
    let limits = "limits: { max_sessions: 1 }";
    let gateway = TestGateway::start(&upstream, &yaml(top, "", limits));
    let mut other = Wire::connect_from(loopback(2), gateway.address()).await;
    other.upgrade("/").await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        let old = Request::handshake("/").set("Sec-WebSocket-Version", "8");
        client.ask(&old).await.expect_problem(426);
        let refused = client.ask(&Request::handshake("/")).await;
        expect_overload(&refused, 503, "route_full");
    }
    other.close_session().await;
    for _ in 0..1000 {
        client.request(&Request::handshake("/")).await;
        let head = client.read_head().await;
        if head.status() == 101 {
            return;
        }
        assert_eq!(head.status(), 503);
        client.read_body(&head).await.unwrap();
    }
    panic!("its place is never free");
}

/// Thousands of addresses at once: each has its own count and its own rate, and none is starved by
/// what the others do.
#[tokio::test]
async fn many_addresses_each_for_itself() {
    let upstream = ScriptedUpstream::mirror().await;
    let top = "limits: { max_connections_per_address: 1, handshakes_per_address: 1/m }";
    let gateway = TestGateway::start(&upstream, &yaml(top, "", ""));
    let mut clients = Vec::new();
    for number in 0..3000_u32 {
        let from = IpAddr::from((0x7f01_0000 + number).to_be_bytes());
        let mut client = Wire::connect_from(from, gateway.address()).await;
        if number % 100 == 0 {
            client.upgrade("/").await;
            let again = Wire::connect_from(from, gateway.address()).await;
            expect_turned_away(again, 429, "too_many_connections").await;
        }
        clients.push(client);
    }
    drop(clients);
    gateway.is_empty().await;
}

#[tokio::test]
async fn bodies_of_a_route() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml("", "", "limits: { max_body: 10 }"));
    let post = || Request::new("POST", "/");
    for request in [
        post().body("hello, you"),
        post().chunks(&["hello", ", ", "you"]),
    ] {
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        assert_eq!(peer.read_body(&head).await.unwrap().0, b"hello, you");
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.read_answer().await.text(), "ok");
    }
    // One that says that it is larger, whether it comes or waits to be asked for.
    let before = upstream.connections();
    let announced = post().with("Content-Length", "11");
    for request in [
        post().body("hello, you!"),
        announced.clone(),
        announced.with("Expect", "100-continue"),
    ] {
        let mut client = gateway.connect().await;
        let answer = client.ask(&request).await;
        answer.expect_problem(413);
        assert_eq!(answer.code(), "body_too_large");
        client.finish().await;
        assert_eq!(client.expect_end().await, End::Fin);
    }
    assert_eq!(upstream.connections(), before, "something was dialled");
    // One that turns out to be.
    let mut client = gateway.connect().await;
    let growing = post().with("Transfer-Encoding", "chunked");
    client.request(&growing.then("5\r\nhello\r\n")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.expect("5\r\nhello\r\n").await;
    client.send("6\r\n, you!\r\n0\r\n\r\n").await;
    peer.expect_end().await;
    let answer = client.read_answer().await;
    answer.expect_problem(413);
    assert_eq!(answer.code(), "body_too_large");
    client.finish().await;
    client.expect_end().await;
    gateway.is_empty().await;
}

/// The answer has begun: all that can be done is to cut it.
#[tokio::test]
async fn body_that_grows_under_its_answer() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml("", "", "limits: { max_body: 10 }"));
    let mut client = gateway.connect().await;
    let begun = Request::new("POST", "/").with("Transfer-Encoding", "chunked");
    client.request(&begun.then("5\r\nhello\r\n")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.expect("5\r\nhello\r\n").await;
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        .await;
    client.read_head().await;
    assert_eq!(client.read_chunk().await.unwrap(), b"ok");
    client.send("6\r\n, you!\r\n").await;
    peer.expect_end().await;
    let (rest, _) = client.read_to_end().await;
    assert!(rest.is_empty(), "{rest:?}");
    gateway.is_empty().await;
}

/// Refusing costs no more than a bound: those who never ask are let go within the two seconds, and
/// whoever comes on top of too many of them is told at once.
#[tokio::test]
async fn refusals_are_few_and_short() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml("limits: { max_connections: 1 }", "", ""));
    let mut inside = gateway.connect().await;
    inside.ask(&Request::get("/")).await.seen();
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(gateway.connect().await);
    }
    let mut unheard = gateway.connect().await;
    let answer = unheard.read_answer().await;
    expect_overload(&answer, 503, "gateway_full");
    unheard.expect_end().await;
    for silent in &mut silent {
        let ended = tokio::time::timeout(Duration::ZERO, silent.something_came()).await;
        assert!(ended.is_err(), "it had to wait for a place among them");
    }
    for mut silent in silent {
        silent.expect_end().await;
    }
    assert!(begun.elapsed() < Duration::from_secs(2) + SLACK);
    expect_turned_away(gateway.connect().await, 503, "gateway_full").await;
    inside.ask(&Request::get("/")).await.seen();
}
