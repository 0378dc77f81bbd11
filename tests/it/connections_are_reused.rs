//! Connections live on, to clients and to upstreams, as long as they are clean and asked for, and
//! no more of them than configured.

use tidegate_tests::sockets;
use tidegate_tests::{End, Request, ScriptedUpstream, TestGateway, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for number in 0..20 {
        let request = match number % 4 {
            0 => Request::get("/"),
            1 => Request::new("POST", "/").body("hello"),
            2 => Request::new("POST", "/").chunks(&["a", "b"]),
            _ => Request::new("DELETE", "/"),
        };
        client.ask(&request).await.seen();
    }
    let mut other = gateway.connect().await;
    other.ask(&Request::get("/")).await.seen();
    assert_eq!(upstream.connections(), 1);
    assert_eq!(gateway.upstream_idle(), 1);
}

#[tokio::test]
async fn pool_is_bounded() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway =
        TestGateway::before_with(&upstream, "pool: { max_idle: 3, idle_timeout: 1s }", "");
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.connect().await;
        client.request(&Request::get("/")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        open.push((client, peer));
    }
    for (client, peer) in &mut open {
        peer.send(OK).await;
        client.read_answer().await;
    }
    let port = upstream.address().port();
    eventually("only 3 are kept", || gateway.upstream_idle() == 3).await;
    // Ours of the pair are still open; the gateway's are down to three.
    let mut ended = 0;
    for (_, peer) in &mut open {
        if tokio::time::timeout(tidegate_tests::time::GRACE, peer.read_head_or_end())
            .await
            .is_ok()
        {
            ended += 1;
        }
    }
    assert_eq!(ended, 7);
    drop(open);
    eventually("no socket is left", || sockets::open_on(port) == 0).await;
    eventually("none is counted", || gateway.upstream_idle() == 0).await;
}

#[tokio::test]
async fn idle_connections_are_let_go() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "pool: { idle_timeout: 1s }", "");
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send(OK).await;
    client.read_answer().await;
    peer.expect_end().await;
    eventually("it is forgotten", || gateway.upstream_idle() == 0).await;
}

#[tokio::test]
async fn connection_that_the_upstream_ended_is_not_used() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    // A POST cannot be repeated, so it must not be sent where nobody listens any more.
    for method in ["GET", "POST", "POST", "PUT"] {
        client
            .request(&Request::new(method, "/").body("hello"))
            .await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        peer.read_body(&head).await.unwrap();
        peer.send(OK).await;
        let answer = client.read_answer().await;
        assert_eq!(answer.status(), 200, "{:?} {}", answer.head, answer.text());
        peer.finish().await; // without a word of it; on the loopback its FIN is there at once
    }
}

/// An idle connection on which the upstream speaks unasked (a 408 before it hangs up, say) is not
/// used again: its words are no answer to the next request.
#[tokio::test]
async fn words_on_an_idle_connection_answer_nobody() {
    let unasked = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nevil";
    for then_ends in [false, true] {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        let mut idle = Vec::new();
        for request in [
            Request::get("/1"),
            Request::get("/2"),
            Request::handshake("/3"),
        ] {
            client.request(&request).await;
            let mut peer = upstream.accept().await;
            let asked = peer.read_head().await;
            assert!(request.bytes().starts_with(asked.start.as_bytes()));
            peer.send(OK).await;
            assert_eq!(client.read_answer().await.text(), "ok");
            peer.send(unasked).await;
            if then_ends {
                peer.finish().await;
            }
            idle.push(peer); // it stays open
        }
    }
}

#[tokio::test]
async fn handshake_on_a_dead_idle_connection_opens() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send(OK).await;
    client.read_answer().await;
    peer.finish().await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
}

#[tokio::test]
async fn close_is_honoured() {
    let upstream = ScriptedUpstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        // The upstream's wish is for its own connection; the client's lives on.
        let answer = client.ask(&Request::get("/")).await;
        assert_eq!(answer.text(), "ok");
        assert!(
            !answer
                .head
                .tokens("Connection")
                .contains(&"close".to_owned())
        );
    }
    assert_eq!(upstream.connections(), 3);
    assert_eq!(gateway.upstream_idle(), 0);

    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    for _ in 0..3 {
        let mut client = gateway.connect().await;
        let answer = client
            .ask(&Request::get("/").with("Connection", "close"))
            .await;
        assert!(
            answer
                .head
                .tokens("Connection")
                .contains(&"close".to_owned())
        );
        assert!(
            !answer
                .seen()
                .tokens("Connection")
                .contains(&"close".to_owned())
        );
        assert_eq!(client.expect_end().await, End::Fin);
    }
    assert_eq!(
        upstream.connections(),
        1,
        "the client's wish is not for the upstream's connection"
    );
}

#[tokio::test]
async fn http_1_0_may_ask_to_live_on() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let request = Request::get("/")
        .version("HTTP/1.0")
        .with("Connection", "keep-alive");
    let answer = client.ask(&request).await;
    if answer
        .head
        .tokens("Connection")
        .contains(&"keep-alive".to_owned())
    {
        client.ask(&request).await.seen();
    } else {
        client.expect_end().await; // it need not be granted
    }
}

/// CVE-2025-4366: what is left of an upload must not become the next client's request.
#[tokio::test]
async fn half_an_upload_ends_its_connection() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client
        .request(
            &Request::new("POST", "/")
                .with("Content-Length", "1000")
                .then("part"),
        )
        .await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.read_answer().await.status(), 413);
    drop(client);
    peer.read_to_end().await;
    assert_eq!(gateway.upstream_idle(), 0);

    let mut other = gateway.connect().await;
    other.request(&Request::get("/next")).await;
    let mut peer = upstream.accept().await;
    assert_eq!(peer.read_head().await.target(), "/next");
}

#[tokio::test]
async fn clients_that_leave_are_forgotten() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let tasks = gateway.tasks();
    let mut clients = Vec::new();
    for number in 0..50 {
        let mut client = gateway.connect().await;
        match number % 3 {
            0 => drop(client.ask(&Request::get("/")).await),
            1 => client.send("GET / HT").await,
            _ => {}
        }
        clients.push(client);
    }
    for (number, client) in clients.into_iter().enumerate() {
        if number % 2 == 0 {
            client.reset();
        }
    }
    gateway.is_empty().await;
    eventually("no task is left", || {
        gateway.tasks() <= tasks + gateway.upstream_idle()
    })
    .await;
    let port = gateway.address().port();
    eventually("no socket is left", || sockets::open_on(port) == 0).await;
}

#[tokio::test]
async fn stopped_gateway_leaves_nothing() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let mut idle = gateway.connect().await;
    idle.send("GET / HTTP/1.1\r\n").await;
    let mut waiting = gateway.connect().await;
    waiting.request(&Request::get("/")).await;
    let mut asked = upstream.accept().await;
    asked.read_head().await;
    let port = gateway.address().port();
    let ends = async {
        for wire in [&mut client, &mut idle, &mut waiting, &mut peer, &mut asked] {
            wire.read_to_end().await;
        }
    };
    tokio::join!(gateway.stop(), ends);
    drop((client, idle, waiting, peer, asked));
    eventually("no socket is left", || sockets::open_on(port) == 0).await;
    let refused = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    assert!(refused.is_err(), "it still listens");
}
