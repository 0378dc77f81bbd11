//! A balancer says by the PROXY protocol for whom it speaks before the handshake of TLS, and whom it names
//! is the client of that handshake and of all that follows.

use std::net::SocketAddr;

use tidegate_tests::frame::Frame;
use tidegate_tests::{Link, Request, ScriptedUpstream, TestGateway, Wire, tls, tools};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::Kit;
use crate::balancers_name_their_clients::haproxy;

const V1: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\r\n";

fn gateway(kit: &Kit, upstream: &ScriptedUpstream, keys: &str, top: &str) -> TestGateway {
    let endpoint = format!("http://{}", upstream.address());
    let trusted = format!("    proxy_protocol: {{ trusted: [127.0.0.0/8], {keys} }}\n    tls:");
    let yaml = kit.yaml("", &endpoint, "").replace("    tls:", &trusted);
    TestGateway::from_file(&(yaml + "admin: { bind: 127.0.0.1:0 }\n" + top))
}

/// A client whose balancer says `header`, and whose handshake follows at once.
async fn behind(header: &str, kit: &Kit, address: SocketAddr) -> std::io::Result<Wire> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(header.as_bytes()).await?;
    let config = tls::client(&kit.authority, None);
    let stream = tls::connect(stream, &config, "localhost").await?;
    Ok(Wire::of(Link::tls(stream)))
}

#[tokio::test]
async fn the_client_is_whom_it_names() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&kit, &upstream, "", "");
    let mut client = behind(V1, &kit, gateway.address()).await.unwrap();
    let seen = client.ask(&Request::get("/")).await.seen();
    assert_eq!(seen.field("X-Forwarded-For"), Some("192.0.2.1"));
    assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"));
    client.upgrade("/").await;
    let told = gateway.admin().get("/v1/sessions").await.text();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["sessions"][0]["peer"], "192.0.2.1:4000");
}

#[tokio::test]
async fn who_says_nothing_before_it_is_not_served() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&kit, &upstream, "", "");
    assert!(behind("", &kit, gateway.address()).await.is_err());
    let admin = gateway.admin();
    let refused = "tidegate_refused_total{code=\"bad_proxy_header\"}";
    admin.counts(refused, 1.0).await;
    let metrics = admin.metrics().await;
    for result in ["ok", "lost", "refused"] {
        let series = format!("tidegate_tls_handshakes_total{{result=\"{result}\"}}");
        assert_eq!(metrics.get(&series), Some(0.0), "{result}");
    }
}

#[tokio::test]
async fn where_it_may_say_nothing_a_handshake_may_come_first() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&kit, &upstream, "header: optional", "");
    for (header, client) in [("", "127.0.0.1"), (V1, "192.0.2.1")] {
        let connected = behind(header, &kit, gateway.address()).await;
        let seen = connected.unwrap().ask(&Request::get("/")).await.seen();
        assert_eq!(seen.field("X-Forwarded-For"), Some(client));
    }
}

/// Who is over a cap is told so over TLS, and it is the client's cap, not the balancer's.
#[tokio::test]
async fn caps_are_the_clients() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "limits: { max_connections_per_address: 1 }\n";
    let gateway = gateway(&kit, &upstream, "", limits);
    let mut held = Vec::new();
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)] {
        let header = format!("PROXY TCP4 {client} 198.51.100.1 4000 443\r\n");
        let connected = behind(&header, &kit, gateway.address()).await;
        let mut wire = connected.unwrap();
        assert_eq!(wire.ask(&Request::get("/")).await.status(), status);
        held.push(wire);
    }
}

/// Handshakes are bounded for the client that the header names, not for the balancer.
#[tokio::test]
async fn the_rate_of_handshakes_is_the_clients() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "limits: { tls_handshakes_per_address: { rate: 1/m, burst: 1 } }\n";
    let gateway = gateway(&kit, &upstream, "", limits);
    for (client, is_served) in [
        ("192.0.2.1", true),
        ("192.0.2.1", false),
        ("192.0.2.2", true),
    ] {
        let header = format!("PROXY TCP4 {client} 198.51.100.1 4000 443\r\n");
        let held = behind(&header, &kit, gateway.address()).await;
        assert_eq!(held.is_ok(), is_served, "{client}");
    }
}

#[tokio::test]
async fn haproxy_speaks_before_its_clients_do() {
    if tools::program("tls::haproxy_speaks_before_its_clients_do", "haproxy").is_none() {
        return;
    }
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&kit, &upstream, "", "");
    let server = gateway.address().to_string();
    for options in ["send-proxy", "send-proxy-v2"] {
        let (_haproxy, address, _files) = haproxy(&server, options).await;
        let mut client = kit.connect(address).await;
        let seen = client.ask(&Request::get("/")).await.seen();
        // HAProxy itself comes from 127.0.0.7.
        assert_eq!(
            seen.field("X-Forwarded-For"),
            Some("127.0.0.1"),
            "{options}"
        );
        client.upgrade("/").await;
        client
            .send_frame(&Frame::text("through").from_client())
            .await;
        assert_eq!(client.read_frame().await.payload, b"through");
        client.close_session().await;
    }
}
