//! Upstreams by IPv6, by name, and from the addresses that are configured.

use std::net::SocketAddr;

use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

#[tokio::test]
async fn over_ipv6() {
    let upstream = ScriptedUpstream::mirror_on(ScriptedUpstream::ipv6()).await;
    let gateway = TestGateway::before(&upstream);
    gateway.ask(&Request::get("/")).await.seen();
    gateway.connect().await.upgrade("/").await;
    let gateway = TestGateway::before_with(&upstream, "", "host: rewrite");
    let seen = gateway.ask(&Request::get("/")).await.seen();
    assert_eq!(
        seen.field("Host"),
        Some(upstream.address().to_string().as_str())
    );
}

/// `localhost` may be ::1, 127.0.0.1 or both: whichever listens is found, and soon.
#[tokio::test]
async fn by_name_whichever_family_listens() {
    for address in [
        SocketAddr::from(([127, 0, 0, 1], 0)),
        ScriptedUpstream::ipv6(),
    ] {
        let upstream = ScriptedUpstream::mirror_on(address).await;
        let names_it = tokio::net::lookup_host("localhost:0").await.unwrap();
        let ips: Vec<_> = names_it.map(|found| found.ip()).collect();
        if !ips.contains(&upstream.address().ip()) {
            continue; // this machine's localhost is of one family
        }
        let yaml = format!(
            "services: {{ up: {{ endpoints: ['http://localhost:{}/base'] }} }}\n\
             routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up, host: rewrite }} }}]\n",
            upstream.address().port()
        );
        let gateway = TestGateway::start(&upstream, &yaml);
        for request in [Request::get("/x"), Request::handshake("/x")] {
            drop(upstream.take_heads());
            let mut client = gateway.connect().await;
            client.request(&request).await;
            client.read_head().await;
            let seen = upstream.only_head().await;
            assert_eq!(seen.target(), "/base/x");
            let host = format!("localhost:{}", upstream.address().port());
            assert_eq!(seen.field("Host"), Some(host.as_str()));
        }
    }
}

#[tokio::test]
async fn from_the_configured_addresses_in_turn() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "source_addresses: [127.0.0.2, 127.0.0.3]";
    let gateway = TestGateway::before_with(&upstream, keys, "");
    let mut sources = Vec::new();
    let mut held = Vec::new();
    for number in 0..4 {
        let mut client = gateway.connect().await;
        if number % 2 == 0 {
            client.request(&Request::handshake("/")).await;
            let mut peer = upstream.accept().await;
            sources.push(peer.peer().ip().to_string());
            peer.accept_handshake().await;
            assert_eq!(client.read_head().await.status(), 101);
            held.push((client, peer));
        } else {
            client.request(&Request::get("/")).await;
            let peer = upstream.accept().await;
            sources.push(peer.peer().ip().to_string());
            held.push((client, peer));
        }
    }
    sources.sort();
    assert_eq!(
        sources,
        ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]
    );
}

#[tokio::test]
async fn from_one_configured_address() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "source_addresses: [127.0.0.9]", "");
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/")).await;
    assert_eq!(upstream.accept().await.peer().ip().to_string(), "127.0.0.9");
}

#[tokio::test]
async fn endpoints_of_several_services_do_not_mix() {
    let first = ScriptedUpstream::mirror().await;
    let second = ScriptedUpstream::mirror().await;
    let yaml = "services: { one: { endpoints: [http://FIRST] }, two: { endpoints: [http://SECOND] } }\n\
        routes:\n  - { name: a, match: { path: /a }, proxy: { service: one } }\n  \
        - { name: b, match: { path: /b }, proxy: { service: two } }\n";
    let addresses = [("FIRST", first.address()), ("SECOND", second.address())];
    let gateway = TestGateway::start_among(&addresses, yaml);
    let mut client = gateway.connect().await;
    for _ in 0..5 {
        client.ask(&Request::get("/a")).await.seen();
        client.ask(&Request::get("/b")).await.seen();
    }
    assert!(first.heads().iter().all(|head| head.target() == "/a"));
    assert!(second.heads().iter().all(|head| head.target() == "/b"));
    assert_eq!((first.heads().len(), second.heads().len()), (5, 5));
}
