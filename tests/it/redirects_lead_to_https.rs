//! A listener that redirects: whatever is asked, the answer is the same URL by https, at a host that the
//! client itself named or the configuration did; nothing reaches a service.

use std::process::Command;

use tidegate_tests::child::Process;
use tidegate_tests::{Answer, End, Request, ScriptedUpstream, TestGateway, Wire, tools};

fn gateway(upstream: &ScriptedUpstream, redirect: &str) -> TestGateway {
    TestGateway::from_file(&format!(
        "version: 1\nworkers: 1\ntrusted_proxies: [127.0.0.1]\n\
         listeners: [{{ name: plain, bind: '127.0.0.1:0', redirect: {redirect} }}]\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    ))
}

fn leads_to(answer: &Answer, status: u16, location: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(answer.head.field("Location"), Some(location));
    assert_eq!(answer.head.fields("Location").len(), 1);
    assert_eq!(answer.body, b"");
    assert_eq!(answer.head.field("Content-Length"), Some("0"));
    assert!(answer.head.has("Date"), "{answer:?}");
}

#[tokio::test]
async fn every_request_with_its_path_and_query() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "https");
    let mut client = gateway.connect().await;
    for (target, host, location) in [
        ("/", "a.example", "https://a.example/"),
        (
            "/a/../b%2Fc/?x=%20+&y=//",
            "A.Example:80",
            "https://a.example/b%2Fc/?x=%20+&y=//",
        ),
        ("/?", "a.example:8080", "https://a.example/?"),
        (
            "//evil.example/x",
            "a.example",
            "https://a.example//evil.example/x",
        ),
        ("/%0d%0aSet-Cookie:x?%0d%0a", "a.example", ""),
        (
            "/?%0d%0aSet-Cookie:x",
            "a.example",
            "https://a.example/?%0d%0aSet-Cookie:x",
        ),
        (
            "http://b.example:81/x?y",
            "a.example",
            "https://b.example/x?y",
        ),
        ("/", "[2001:db8::1]:80", "https://[2001:db8::1]/"),
        ("/", "192.0.2.1", "https://192.0.2.1/"),
    ] {
        let request = Request::get(target).host(host);
        let answer = client.ask(&request).await;
        if location.is_empty() {
            answer.expect_problem(400);
        } else {
            leads_to(&answer, 308, location);
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"] {
        let request = Request::new(method, "/x?y").host("a.example");
        leads_to(&client.ask(&request).await, 308, "https://a.example/x?y");
    }
    client
        .request(&Request::new("HEAD", "/x").host("a.example"))
        .await;
    let head = client.read_head().await;
    assert_eq!(head.field("Location"), Some("https://a.example/x"));
    // Nobody tells it another host, not even a proxy that is trusted.
    let told = Request::get("/")
        .host("a.example")
        .with("X-Forwarded-Host", "evil.example")
        .with("Forwarded", "host=evil.example");
    leads_to(&client.ask(&told).await, 308, "https://a.example/");
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn a_websocket_handshake_too() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "https");
    let mut client = gateway.connect().await;
    let handshake = Request::handshake("/chat?room=1").host("a.example");
    leads_to(
        &client.ask(&handshake).await,
        308,
        "https://a.example/chat?room=1",
    );
    let again = Request::get("/next").host("a.example");
    leads_to(&client.ask(&again).await, 308, "https://a.example/next");
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "https");
    let mut client = gateway.connect().await;
    client
        .send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = client.read_answer().await;
    leads_to(&answer, 308, "https://a.example/x");
    assert_eq!(answer.head.field("Connection"), Some("close"));
    assert_eq!(client.expect_end().await, End::Fin);
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn as_it_is_configured() {
    let upstream = ScriptedUpstream::bind().await;
    for (redirect, host, status, location) in [
        ("{ to: https, status: 301 }", "a:80", 301, "https://a/x?y"),
        (
            "{ to: https, status: 302, port: 8443 }",
            "a:80",
            302,
            "https://a:8443/x?y",
        ),
        (
            "{ to: https, status: 307, port: 443 }",
            "a",
            307,
            "https://a/x?y",
        ),
        (
            "{ to: https, host: www.example }",
            "a",
            308,
            "https://www.example/x?y",
        ),
        (
            "{ to: https, host: b, port: 1 }",
            "a:80",
            308,
            "https://b:1/x?y",
        ),
        (
            "{ to: https, hosts: [a, '*.b'] }",
            "a:80",
            308,
            "https://a/x?y",
        ),
        (
            "{ to: https, hosts: [a, '*.b'] }",
            "C.b",
            308,
            "https://c.b/x?y",
        ),
    ] {
        let gateway = gateway(&upstream, redirect);
        let answer = gateway.ask(&Request::get("/x?y").host(host)).await;
        leads_to(&answer, status, location);
    }
    let listed = gateway(
        &upstream,
        "{ to: https, hosts: [a.example, '*.b.example'] }",
    );
    for host in ["b.example", "a.example.evil.example", "evil.example"] {
        let answer = listed.ask(&Request::get("/").host(host)).await;
        answer.expect_problem(421);
        assert_eq!(answer.code(), "misdirected");
        assert!(!answer.head.has("Location"), "{answer:?}");
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn a_host_that_is_none_leads_nowhere() {
    let upstream = ScriptedUpstream::bind().await;
    let asked = gateway(&upstream, "https");
    for lines in [
        "HTTP/1.1\r\n",
        "HTTP/1.1\r\nHost:\r\n",
        "HTTP/1.1\r\nHost: a b\r\n",
        "HTTP/1.1\r\nHost: a/b\r\n",
        "HTTP/1.1\r\nHost: user@a\r\n",
        "HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "HTTP/1.0\r\n",
    ] {
        let mut client = asked.connect().await;
        client.send(format!("GET / {lines}\r\n")).await;
        let answer = client.read_answer().await;
        answer.expect_problem(400);
        assert!(!answer.head.has("Location"), "{answer:?}");
    }
    let mut client = asked.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.read_answer().await.code(), "no_host");
    let literal = gateway(&upstream, "{ to: https, host: www.example }");
    let mut client = literal.connect().await;
    client.send("GET /x HTTP/1.0\r\n\r\n").await;
    leads_to(&client.read_answer().await, 308, "https://www.example/x");
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn curl_would_follow() {
    if tools::program("curl_would_follow", "curl").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "{ to: https, port: 8443 }");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "15"]);
    command.args(["--output", "/dev/null", "--data", "a=1"]);
    command.args(["--write-out", "%{http_code} %{redirect_url}"]);
    command.arg(format!(
        "http://localhost:{}/a?b=c",
        gateway.address().port()
    ));
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(status.success(), "{status}: {output}");
    assert_eq!(output, "308 https://localhost:8443/a?b=c");
}

/// A path that is served here all the same, as who proves a domain by http-01 needs it.
#[tokio::test]
async fn but_for_paths_that_are_excepted() {
    let upstream = ScriptedUpstream::mirror().await;
    let keys = "{ to: https, except: [/.well-known/acme-challenge/*, '/x/{id}'] }";
    let gateway = gateway(&upstream, keys);
    let mut client = gateway.connect().await;
    for target in ["/.well-known/acme-challenge/token", "/a/../x/7?y"] {
        let answer = client.ask(&Request::get(target).host("a")).await;
        assert_eq!(answer.status(), 200, "{target}");
    }
    for (target, location) in [
        (
            "/.well-known/acme-challenge/../x",
            "https://a/.well-known/x",
        ),
        (
            "/.well-known/acme-challenge/",
            "https://a/.well-known/acme-challenge/",
        ),
    ] {
        let answer = client.ask(&Request::get(target).host("a")).await;
        leads_to(&answer, 308, location);
    }
}

/// Of two listeners only one redirects.
#[tokio::test]
async fn other_listeners_are_not_concerned() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::from_file(&format!(
        "version: 1\nworkers: 1\nadmin: {{ bind: '127.0.0.1:0' }}\n\
         listeners: [{{ name: public, bind: '127.0.0.1:0' }}, \
         {{ name: plain, bind: '127.0.0.1:0', redirect: https }}]\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    ));
    assert_eq!(gateway.ask(&Request::get("/")).await.status(), 200);
    let info = gateway.admin().get("/v1/info").await.text();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let plain = info["listeners"][1]["address"].as_str().unwrap();
    let mut client = Wire::connect(plain.parse().unwrap()).await;
    let answer = client.ask(&Request::get("/").host("a")).await;
    leads_to(&answer, 308, "https://a/");
    let series = "tidegate_http_requests_total{route=\"-\",method=\"GET\",code=\"308\"}";
    gateway.admin().counts(series, 1.0).await;
}
