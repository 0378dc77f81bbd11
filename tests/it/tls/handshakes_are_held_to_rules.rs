//! What is offered and refused: versions, cipher suites, protocols, names; and how long and how often
//! a handshake may be held.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::certificates::Authority;
use tidegate_tests::{
    End, Request, ScriptedUpstream, TestGateway, Wire, eventually, tls, tools, within,
};
use tokio::net::TcpStream;

use super::Kit;

/// What `openssl s_client` came to, and all that it said.
async fn s_client(program: &Path, address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(["s_client", "-connect", &address.to_string(), "-brief"]);
    command.args(arguments);
    // An old client: what is refused is to be refused by us.
    command.env("OPENSSL_CONF", "/dev/null");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within("openssl", output).await.unwrap();
    [output.stdout, output.stderr]
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .collect()
}

async fn plain_upstream(kit: &Kit, listener: &str) -> (ScriptedUpstream, TestGateway) {
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let gateway = TestGateway::from_file(&kit.yaml(listener, &endpoint, ""));
    (upstream, gateway)
}

/// For each version and suite: what is agreed upon, or that nothing is.
#[tokio::test]
async fn versions_and_suites_offered_and_refused() {
    let Some(openssl) = tools::program("versions_and_suites_offered_and_refused", "openssl") else {
        return;
    };
    let kit = Kit::new();
    let (_upstream, all) = plain_upstream(&kit, "").await;
    let (_upstream, new) = plain_upstream(&kit, "min_version: 1.3").await;
    let one = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_AES_256_GCM_SHA384]";
    let (_upstream, few) = plain_upstream(&kit, one).await;
    let low = |cipher: &'static str| vec!["-tls1_2", "-cipher", cipher];
    let high = |suite: &'static str| vec!["-tls1_3", "-ciphersuites", suite];
    // The arguments; whether the defaults take it, a listener of TLS 1.3, and one of two suites.
    let rows: Vec<(Vec<&str>, [bool; 3])> = vec![
        (
            vec!["-tls1", "-cipher", "ALL@SECLEVEL=0"],
            [false, false, false],
        ),
        (
            vec!["-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
            [false, false, false],
        ),
        (vec!["-tls1_2"], [true, false, true]),
        (vec!["-tls1_3"], [true, true, true]),
        (low("ECDHE-ECDSA-AES128-GCM-SHA256"), [true, false, false]),
        (low("ECDHE-ECDSA-AES256-GCM-SHA384"), [true, false, true]),
        (low("ECDHE-ECDSA-CHACHA20-POLY1305"), [true, false, false]),
        (low("ECDHE-ECDSA-AES128-SHA256"), [false, false, false]),
        (low("ECDHE-ECDSA-AES256-SHA"), [false, false, false]),
        (low("ECDHE-RSA-AES128-GCM-SHA256"), [false, false, false]),
        (low("AES128-GCM-SHA256"), [false, false, false]),
        (low("DHE-RSA-AES128-GCM-SHA256"), [false, false, false]),
        (low("aNULL@SECLEVEL=0"), [false, false, false]),
        (low("eNULL@SECLEVEL=0"), [false, false, false]),
        (high("TLS_AES_128_GCM_SHA256"), [true, true, false]),
        (high("TLS_AES_256_GCM_SHA384"), [true, true, true]),
        (high("TLS_CHACHA20_POLY1305_SHA256"), [true, true, false]),
        (high("TLS_AES_128_CCM_SHA256"), [false, false, false]),
    ];
    for (arguments, wanted) in rows {
        for (gateway, wanted) in [&all, &new, &few].into_iter().zip(wanted) {
            let said = s_client(&openssl, gateway.address(), &arguments).await;
            let is_agreed = said.contains("CONNECTION ESTABLISHED");
            assert_eq!(is_agreed, wanted, "{arguments:?}: {said}");
        }
    }
}

/// A client knows what it is quick at; a list that is written down is in the order of the gateway.
#[tokio::test]
async fn suites_are_preferred_as_the_client_does_or_as_written_down() {
    let name = "suites_are_preferred_as_the_client_does_or_as_written_down";
    let Some(openssl) = tools::program(name, "openssl") else {
        return;
    };
    let kit = Kit::new();
    let (_upstream, all) = plain_upstream(&kit, "").await;
    let list = "cipher_suites: [TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256]";
    let (_upstream, listed) = plain_upstream(&kit, list).await;
    for (offered, by_client, by_list) in [
        (
            "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        (
            "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
        ),
    ] {
        for (gateway, due) in [(&all, by_client), (&listed, by_list)] {
            let arguments = ["-tls1_3", "-ciphersuites", offered];
            let said = s_client(&openssl, gateway.address(), &arguments).await;
            assert!(
                said.contains(&format!("Ciphersuite: {due}")),
                "{offered}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn http_1_1_is_the_one_protocol() {
    let Some(openssl) = tools::program("http_1_1_is_the_one_protocol", "openssl") else {
        return;
    };
    let kit = Kit::new();
    let (_upstream, gateway) = plain_upstream(&kit, "").await;
    let address = gateway.address();
    let both = s_client(&openssl, address, &["-alpn", "h2,http/1.1"]).await;
    assert!(both.contains("CONNECTION ESTABLISHED"), "{both}");
    let mut command = Command::new(&openssl);
    command.args(["s_client", "-connect", &address.to_string()]);
    command.args(["-alpn", "h2,http/1.1"]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within("openssl", output).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    // RFC 7301 section 3.2.
    let h2 = s_client(&openssl, address, &["-alpn", "h2"]).await;
    assert!(h2.contains("no application protocol"), "{h2}");
}

#[tokio::test]
async fn plain_http_is_told_in_plain_words() {
    let kit = Kit::new();
    let (upstream, gateway) = plain_upstream(&kit, "").await;
    for request in [
        Request::get("/"),
        Request::handshake("/"),
        Request::new("PUT", "/").body("x"),
    ] {
        let mut client = Wire::connect(gateway.address()).await;
        client.request(&request).await;
        let answer = client.read_answer().await;
        answer.expect_problem(400);
        assert_eq!(answer.code(), "plain_http");
        assert_eq!(client.expect_end().await, End::Fin);
    }
    // Letter by letter too.
    let mut client = Wire::connect(gateway.address()).await;
    client.send("G").await;
    assert_eq!(client.read_answer().await.code(), "plain_http");
    // Junk is no HTTP, and gets an alert.
    let mut client = Wire::connect(gateway.address()).await;
    client.send([0x80, 0x2e, 1, 0, 2, 0, 0x15]).await;
    let (said, _end) = client.read_to_end().await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    upstream.was_left_alone().await;
    gateway.is_empty().await;
}

/// Whoever does not go on has so long, and no longer; meanwhile it counts as a connection.
#[tokio::test]
async fn slow_ones_are_let_go() {
    let kit = Kit::new();
    let (_upstream, gateway) = plain_upstream(&kit, "handshake_timeout: 1s").await;
    let begun = Instant::now();
    let mut silent = Wire::connect(gateway.address()).await;
    let mut slow = Wire::connect(gateway.address()).await;
    slow.send([0x16, 3, 1, 2, 0, 1]).await;
    silent.expect_end().await;
    slow.expect_end().await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    gateway.is_empty().await;
}

#[tokio::test]
async fn a_peer_may_hold_so_many_in_a_time() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let yaml = kit.yaml("", &endpoint, "")
        + "limits: { tls_handshakes_per_address: { rate: 1/m, burst: 3 } }\n\
           admin: { bind: 127.0.0.1:0 }\n";
    let gateway = TestGateway::from_file(&yaml);
    let config = tls::client(&kit.authority, None);
    let mut shaken = 0;
    for _ in 0..6 {
        let connected = Wire::connect_tls(gateway.address(), &config, "localhost").await;
        shaken += usize::from(connected.is_ok());
    }
    assert_eq!(shaken, 3);
    let refused = "tidegate_tls_handshakes_total{result=\"rate_limited\"}";
    gateway.admin().counts(refused, 3.0).await;
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name() {
    let kit = Kit::new();
    let [one, two, wild] = ["one", "two", "wild"].map(Authority::new);
    let files = [
        one.server(&["one.example"]).write(&kit.folder, "one"),
        two.server(&["two.example", "three.example"])
            .write(&kit.folder, "two"),
        wild.server(&["*.wild.example"]).write(&kit.folder, "wild"),
    ];
    let upstream = ScriptedUpstream::mirror().await;
    let certificates: Vec<_> = files.iter().map(|files| files.yaml()).collect();
    let gateway = TestGateway::from_file(&format!(
        "version: 1\nworkers: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0, \
         tls: {{ certificates: [{}] }} }}]\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        certificates.join(", "),
        upstream.address()
    ));
    for (name, authority) in [
        ("one.example", &one),
        ("ONE.example", &one),
        ("two.example", &two),
        ("three.example", &two),
        ("four.wild.example", &wild),
    ] {
        let config = tls::client(authority, None);
        let connected = Wire::connect_tls(gateway.address(), &config, name).await;
        assert!(connected.is_ok(), "{name}: {:?}", connected.err());
    }
    // Who asks for nobody that is known gets the first, which is not for that name.
    let config = tls::client(&one, None);
    let connected = Wire::connect_tls(gateway.address(), &config, "a.b.example").await;
    let error = connected.unwrap_err().to_string();
    assert!(error.contains("one.example"), "{error}");
}

#[tokio::test]
async fn tickets_are_given_where_they_are_wanted() {
    for (tickets, resumed) in [(true, 1.0), (false, 0.0)] {
        let kit = Kit::new();
        let upstream = ScriptedUpstream::mirror().await;
        let endpoint = format!("http://{}", upstream.address());
        let yaml = kit.yaml(&format!("tickets: {tickets}"), &endpoint, "")
            + "admin: { bind: 127.0.0.1:0 }\n";
        let gateway = TestGateway::from_file(&yaml);
        let config = tls::client(&kit.authority, None);
        for _ in 0..2 {
            let connected = Wire::connect_tls(gateway.address(), &config, "localhost").await;
            // With the answer the tickets have come too.
            let answer = connected.unwrap().ask(&Request::get("/")).await;
            assert_eq!(answer.status(), 200);
        }
        let admin = gateway.admin();
        let series = "tidegate_tls_handshakes_total{result=\"resumed\"}";
        admin.counts(series, resumed).await;
        let series = "tidegate_tls_handshakes_total{result=\"ok\"}";
        admin.counts(series, 2.0 - resumed).await;
    }
}

/// Whatever is done to a client's first flight, or said behind a good handshake, nothing panics.
#[tokio::test]
async fn junk_breaks_nothing() {
    let kit = Kit::new();
    let (_upstream, gateway) = plain_upstream(&kit, "handshake_timeout: 1s").await;
    let mut hello = Vec::new();
    let config = tls::client(&kit.authority, None);
    let name = "localhost".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(config.clone(), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    for round in 0..200 {
        let mut bent = hello.clone();
        match round % 4 {
            0 => bent.truncate(fastrand::usize(..bent.len())),
            1 => bent[fastrand::usize(5..hello.len())] ^= 1 << fastrand::u8(..8),
            2 => {
                let at = fastrand::usize(..bent.len());
                bent.splice(at..at, (0..50).map(|_| fastrand::u8(..)));
            }
            _ => bent.extend((0..3000).map(|_| fastrand::u8(..))),
        }
        let mut client = Wire::connect(gateway.address()).await;
        client.try_send(&bent).await.ok();
        client.finish().await;
        client.read_to_end().await;
    }
    for _ in 0..20 {
        let connected = Wire::connect_tls(gateway.address(), &config, "localhost").await;
        let mut client = connected.unwrap();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
        let junk: Vec<u8> = (0..500).map(|_| fastrand::u8(..)).collect();
        client
            .say_in_clear(&[&[0x17, 3, 3, 1, 0xf4], &junk[..]].concat())
            .await;
        let (_said, end) = client.read_to_end().await;
        assert_eq!(end, End::Reset);
    }
    gateway.is_empty().await;
    assert_eq!(gateway.panics(), 0);
}

/// A drain waits for nobody who has not even shaken hands.
#[tokio::test]
async fn unfinished_ones_hold_no_drain_up() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let yaml = kit.yaml("handshake_timeout: 1h", &endpoint, "")
        + "drain: { delay: 10ms, spread: 10ms, timeout: 1h }\n";
    let gateway = TestGateway::from_file(&yaml);
    let address = gateway.address();
    let _silent = TcpStream::connect(address).await.unwrap();
    gateway.drain();
    gateway.drained().await;
    eventually("nobody listens", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
}
