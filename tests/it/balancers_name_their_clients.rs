//! The PROXY protocol: who stands behind a trusted balancer is the client, from its first byte on; what
//! nobody trusted says is no request; and a balancer that says nothing, or nonsense, is not served.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::frame::Frame;
use tidegate_tests::time::{SLACK, eventually_does};
use tidegate_tests::{End, Head, Request, ScriptedUpstream, TestGateway, Wire, eventually, tools};

/// Balancers are in 127.0.0.0/24.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9));

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A gateway before `upstream`, with keys of `proxy_protocol`, of the listener's limits, and of the top.
fn gateway(upstream: &ScriptedUpstream, keys: &str, limits: &str, top: &str) -> TestGateway {
    TestGateway::from_file(&format!(
        "version: 1\nworkers: 1\nadmin: {{ bind: '127.0.0.1:0' }}\n\
         listeners: [{{ name: public, bind: '127.0.0.1:0', limits: {{ {limits} }}, \
         proxy_protocol: {{ trusted: [127.0.0.0/24], {keys} }} }}]\n{top}\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    ))
}

/// A header of version 2.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, addresses].concat()
}

fn v2_of(client: Ipv4Addr, port: u16) -> Vec<u8> {
    let ends = [client.octets(), [198, 51, 100, 1]].concat();
    v2(
        0x21,
        0x11,
        &[&ends[..], &port.to_be_bytes(), &[1, 0xbb]].concat(),
    )
}

fn v1_of(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 4000 443\r\n").into_bytes()
}

async fn from(address: IpAddr, gateway: &TestGateway) -> Wire {
    Wire::connect_from(address, gateway.address()).await
}

/// A connection of the balancer's that says `header`.
async fn speaks(gateway: &TestGateway, header: impl AsRef<[u8]>) -> Wire {
    let mut wire = from(BALANCER, gateway).await;
    wire.send(header).await;
    wire
}

fn is_for(head: &Head, client: &str) {
    assert_eq!(head.field("X-Forwarded-For"), Some(client), "{head:?}");
    assert_eq!(head.field("X-Real-IP"), Some(client), "{head:?}");
}

#[tokio::test]
async fn the_client_is_whom_the_header_names() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "", "");
    let v6 = "PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n";
    let mapped = "PROXY TCP6 ::ffff:192.0.2.9 ::1 4000 443\r\n";
    let six: Vec<u8> = (0..16).chain([0; 20]).collect();
    let added = [
        &[192, 0, 2, 3, 1, 2, 3, 4, 0, 0, 0, 0][..],
        &[4, 0, 2, 0, 0],
    ]
    .concat();
    for (header, client) in [
        (V1.to_vec(), "192.0.2.1"),
        (v6.into(), "2001:db8::1"),
        (mapped.into(), "192.0.2.9"),
        (v2_of(Ipv4Addr::new(192, 0, 2, 2), 4000), "192.0.2.2"),
        (v2(0x21, 0x11, &added), "192.0.2.3"),
        (v2(0x21, 0x21, &six), "1:203:405:607:809:a0b:c0d:e0f"),
        // It speaks for itself, or for somebody without an address.
        (v2(0x20, 0x00, b""), "127.0.0.7"),
        (v2(0x20, 0x11, &added), "127.0.0.7"),
        (v2(0x21, 0x00, b""), "127.0.0.7"),
        (v2(0x21, 0x31, &[b'/'; 216]), "127.0.0.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.7"),
    ] {
        drop(upstream.take_heads());
        let lie = Request::get("/").with("X-Forwarded-For", "203.0.113.9");
        let mut wire = speaks(&gateway, &header).await;
        assert_eq!(wire.ask(&lie).await.status(), 200);
        is_for(&upstream.only_head().await, client);
        // It stands once for the whole connection.
        assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
        is_for(&upstream.heads()[1], client);
    }
}

#[tokio::test]
async fn under_any_cut() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "", "");
    for header in [V1.to_vec(), v2_of(Ipv4Addr::new(192, 0, 2, 1), 4000)] {
        let whole = [header, Request::get("/").bytes()].concat();
        for cut in [1, 5, 12, 16, 27, 28, 44, 60] {
            drop(upstream.take_heads());
            let mut wire = speaks(&gateway, &whole[..cut]).await;
            // So that the first part is looked at alone, or not: both must do.
            tokio::task::yield_now().await;
            wire.send(&whole[cut..]).await;
            assert_eq!(wire.read_answer().await.status(), 200);
            is_for(&upstream.only_head().await, "192.0.2.1");
        }
        drop(upstream.take_heads());
        let mut wire = from(BALANCER, &gateway).await;
        for byte in &whole {
            wire.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.read_answer().await.status(), 200);
        is_for(&upstream.only_head().await, "192.0.2.1");
    }
    // One that is longer than nearly all are.
    drop(upstream.take_heads());
    let ends = [192, 0, 2, 1, 198, 51, 100, 1, 0, 0, 0, 0];
    let added = [&[0xe0, 0x20, 0][..], &[7; 0x2000]].concat();
    let header = v2(0x21, 0x11, &[&ends[..], &added].concat());
    let mut wire = speaks(&gateway, &header[..5000]).await;
    wire.send(&header[5000..]).await;
    assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
    is_for(&upstream.only_head().await, "192.0.2.1");
}

#[tokio::test]
async fn a_session_is_the_clients() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "", "");
    let mut wire = speaks(&gateway, V1).await;
    // The handshake and a frame behind it, which must not be lost.
    let early = [
        Request::handshake("/").bytes(),
        Frame::text("early").from_client().bytes(),
    ];
    wire.send(early.concat()).await;
    assert_eq!(wire.read_head().await.status(), 101);
    assert_eq!(wire.read_frame().await.payload, b"early");
    let sessions = gateway.admin().get("/v1/sessions").await.text();
    assert!(sessions.contains("\"192.0.2.1"), "{sessions}");
    assert!(!sessions.contains("127.0.0.7"), "{sessions}");
    wire.close_session().await;
    gateway.is_empty().await;
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "header: optional", "", "");
    let mut plain = from(STRANGER, &gateway).await;
    assert_eq!(plain.ask(&Request::get("/")).await.status(), 200);
    is_for(&upstream.only_head().await, "127.0.9.9");
    drop(upstream.take_heads());
    for header in [V1.to_vec(), v2_of(Ipv4Addr::new(192, 0, 2, 2), 1)] {
        let mut wire = from(STRANGER, &gateway).await;
        wire.send([header, Request::get("/").bytes()].concat())
            .await;
        wire.read_answer().await.expect_problem(400);
        assert_eq!(wire.expect_end().await, End::Fin);
    }
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
}

#[tokio::test]
async fn a_balancer_must_say_it_rightly() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "", "", "");
    let mut refused = 0.0;
    for words in [
        Request::get("/").bytes(),
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4000\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\n".to_vec(),
        [b"PROXY UNKNOWN ", &[b'x'; 107][..]].concat(),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x11, &[0; 13]),
        v2(0x11, 0x11, &[0; 12]),
        // A checksum that does not fit.
        v2(
            0x21,
            0x11,
            &[[0; 12].as_slice(), &[3, 0, 4, 1, 2, 3, 4]].concat(),
        ),
    ] {
        let mut wire = speaks(&gateway, [words, Request::get("/").bytes()].concat()).await;
        wire.expect_end().await;
        refused += 1.0;
        let series = "tidegate_refused_total{code=\"bad_proxy_header\"}";
        gateway.admin().counts(series, refused).await;
    }
    // One that leaves amid it did nothing wrong.
    let mut wire = speaks(&gateway, &V1[..20]).await;
    wire.finish().await;
    wire.expect_end().await;
    upstream.was_left_alone().await;
    gateway.is_empty().await;
}

#[tokio::test]
async fn it_may_be_left_out_where_that_is_allowed() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "header: optional", "", "");
    for (words, client) in [
        (&b""[..], "127.0.0.7"),
        (V1, "192.0.2.1"),
        // The beginning of what may be a header, and is none.
        (b"\r\n\r\n", "127.0.0.7"),
    ] {
        drop(upstream.take_heads());
        let mut wire = speaks(&gateway, words).await;
        assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
        is_for(&upstream.only_head().await, client);
    }
    drop(upstream.take_heads());
    let mut wire = speaks(&gateway, b"P").await;
    tokio::task::yield_now().await;
    wire.send(&Request::new("POST", "/").body("x").bytes()[1..])
        .await;
    assert_eq!(wire.read_answer().await.status(), 200);
    is_for(&upstream.only_head().await, "127.0.0.7");
    let mut wire = speaks(&gateway, b"PROXY nonsense\r\n").await;
    wire.expect_end().await;
}

#[tokio::test]
async fn it_has_the_time_of_a_head() {
    let upstream = ScriptedUpstream::bind().await;
    for keys in ["", "header: optional"] {
        let gateway = gateway(&upstream, keys, "head_timeout: 1s", "");
        for begun in [&b""[..], &V1[..20], SIGNATURE] {
            let since = Instant::now();
            let mut wire = speaks(&gateway, begun).await;
            wire.expect_end().await;
            let took = since.elapsed();
            let limit = Duration::from_secs(1);
            assert!(took >= limit && took < limit + SLACK, "{took:?}");
        }
        gateway.is_empty().await;
    }
    upstream.was_left_alone().await;
}

/// A drain waits for it as long as for a first request.
#[tokio::test]
async fn it_does_not_keep_a_gateway_from_ending() {
    let upstream = ScriptedUpstream::bind().await;
    let top = "drain: { delay: none, spread: none, timeout: 10m }";
    let gateway = gateway(&upstream, "", "head_timeout: 10m", top);
    let mut wire = speaks(&gateway, &V1[..20]).await;
    gateway.drain();
    wire.expect_end().await;
    gateway.drained().await;
    upstream.was_left_alone().await;
}

/// Half a header is looked at when more of it comes, and not all the time.
#[tokio::test]
async fn waiting_for_it_costs_nothing() {
    let Some(binary) = tools::tidegate("waiting_for_it_costs_nothing") else {
        return;
    };
    let yaml = "version: 1\nworkers: 1\nlisteners: [{ name: public, bind: '127.0.0.1:0', \
        limits: { head_timeout: 3s }, proxy_protocol: { trusted: [127.0.0.0/8] } }]\n";
    let (gateway, address, _files) = Process::gateway(&binary, yaml).await;
    let before = gateway.cpu_ticks();
    for begun in [&V1[..20], SIGNATURE] {
        let mut wire = Wire::connect(address).await;
        wire.send(begun).await;
        wire.expect_end().await;
    }
    let used = gateway.cpu_ticks() - before;
    assert!(used < 40, "{used} hundredths of a second in six seconds");
}

#[tokio::test]
async fn clients_are_counted_and_not_their_balancer() {
    let upstream = ScriptedUpstream::mirror().await;
    let top = "limits: { max_connections_per_address: 2 }";
    let gateway = gateway(&upstream, "", "", top);
    let mut held = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        for _ in 0..2 {
            let mut wire = speaks(&gateway, v1_of(client)).await;
            assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
            held.push(wire);
        }
        let mut wire = speaks(&gateway, v1_of(client)).await;
        let answer = wire.ask(&Request::get("/")).await;
        answer.expect_problem(429);
        assert_eq!(answer.code(), "too_many_connections");
        assert!(answer.head.has("Retry-After"), "{answer:?}");
        assert_eq!(wire.expect_end().await, End::Fin);
    }
    // Those for whom it names nobody are its own; its questions whether we live are nobody's.
    for _ in 0..2 {
        let mut wire = speaks(&gateway, b"PROXY UNKNOWN\r\n").await;
        assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
        held.push(wire);
    }
    let mut wire = speaks(&gateway, b"PROXY UNKNOWN\r\n").await;
    wire.ask(&Request::get("/")).await.expect_problem(429);
    for _ in 0..3 {
        let mut wire = speaks(&gateway, v2(0x20, 0, b"")).await;
        assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
        held.push(wire);
    }
    drop(held);
    gateway.is_empty().await;
    eventually_does("there is room again", async || {
        let mut wire = speaks(&gateway, v1_of("192.0.2.1")).await;
        wire.ask(&Request::get("/")).await.status() == 200
    })
    .await;
}

/// What it takes of the gateway's connections is seen before anybody is named.
#[tokio::test]
async fn the_gateway_is_full_for_all() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "max_connections: 2", "");
    let _held = [speaks(&gateway, V1).await, speaks(&gateway, V1).await];
    eventually_does("the listener is full", async || {
        let mut wire = speaks(&gateway, V1).await;
        wire.send(Request::get("/").bytes()).await;
        wire.read_answer().await.code() == "listener_full"
    })
    .await;
}

/// A balancer before a proxy: the header names the proxy, and the proxy its client.
#[tokio::test]
async fn behind_it_a_trusted_proxy_is_believed() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "", "trusted_proxies: [10.0.0.0/8]");
    let request = Request::get("/").with("X-Forwarded-For", "203.0.113.9");
    for (client, told) in [
        ("10.1.2.3", "203.0.113.9, 10.1.2.3"),
        ("192.0.2.1", "192.0.2.1"),
    ] {
        drop(upstream.take_heads());
        let mut wire = speaks(&gateway, v1_of(client)).await;
        assert_eq!(wire.ask(&request).await.status(), 200);
        let head = upstream.only_head().await;
        assert_eq!(head.field("X-Forwarded-For"), Some(told), "{head:?}");
    }
}

/// HAProxy before `server` (an address or `unix@/path`), which it reaches as `options` say.
pub(super) async fn haproxy(
    server: &str,
    options: &str,
) -> (Process, std::net::SocketAddr, Scratch) {
    let scratch = Scratch::new();
    let port = spare_port();
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n \
         timeout check 15s\n\
         listen all\n bind 127.0.0.1:{port}\n option httpchk GET /health\n \
         server up {server} source 127.0.0.7 inter 100ms {options}\n"
    );
    let config = scratch.write("haproxy.cfg", &config);
    let program = tools::program("haproxy", "haproxy").unwrap();
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(config);
    let mut process = Process::start(&mut command);
    let address = process.listens().await;
    (process, address, scratch)
}

#[tokio::test]
async fn haproxy_names_its_clients() {
    if tools::program("haproxy_names_its_clients", "haproxy").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "", "");
    let server = gateway.address().to_string();
    for options in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "send-proxy-v2-ssl-cn",
    ] {
        let (_haproxy, address, _files) = haproxy(&server, options).await;
        drop(upstream.take_heads());
        let mut wire = Wire::connect_from(STRANGER, address).await;
        assert_eq!(
            wire.ask(&Request::get("/")).await.status(),
            200,
            "{options}"
        );
        is_for(&upstream.only_head().await, "127.0.9.9");
        let mut wire = Wire::connect_from(STRANGER, address).await;
        wire.upgrade("/").await;
        wire.send_frame(&Frame::text("through").from_client()).await;
        assert_eq!(wire.read_frame().await.payload, b"through");
        wire.close_session().await;
    }
}

#[tokio::test]
async fn haproxy_finds_it_alive() {
    if tools::program("haproxy_finds_it_alive", "haproxy").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "", "", "");
    let server = gateway.address().to_string();
    for options in [
        "send-proxy check check-send-proxy",
        "send-proxy-v2 check check-send-proxy",
    ] {
        drop(upstream.take_heads());
        let (_haproxy, address, _files) = haproxy(&server, options).await;
        let checks = || {
            let heads = upstream.heads().into_iter();
            heads.filter(|head| head.target() == "/health").count()
        };
        // Two that failed would have taken the server out.
        eventually("it was looked at", || checks() > 4).await;
        let mut wire = Wire::connect_from(STRANGER, address).await;
        assert_eq!(
            wire.ask(&Request::get("/")).await.status(),
            200,
            "{options}"
        );
        let metrics = gateway.admin().metrics().await;
        let refused = metrics.get("tidegate_refused_total{code=\"bad_proxy_header\"}");
        assert_eq!(refused, Some(0.0));
    }
}
