//! Who may ask the admin listener: whoever knows the token; without one, whoever is on this machine,
//! but no web page that reached it through a browser there.

use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::SLACK;
use tidegate_tests::{Admin, Request, ScriptedUpstream, TestGateway, Wire, tools};

const TOKEN: &str = "0123456789abcdef-token";
const REST: &str = "services: { up: { endpoints: ['http://UP'] } }\n\
    routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
const HEALTH: [&str; 6] = [
    "/livez",
    "/readyz",
    "/startupz",
    "/healthz",
    "/health",
    "/actuator/health",
];

async fn open() -> (TestGateway, ScriptedUpstream) {
    started("admin: { bind: '127.0.0.1:0' }\n").await
}

async fn closed() -> (TestGateway, ScriptedUpstream) {
    started(&format!(
        "admin: {{ bind: '127.0.0.1:0', token: {TOKEN} }}\n"
    ))
    .await
}

async fn started(admin: &str) -> (TestGateway, ScriptedUpstream) {
    let upstream = ScriptedUpstream::mirror().await;
    (
        TestGateway::start(&upstream, &format!("{admin}{REST}")),
        upstream,
    )
}

#[tokio::test]
async fn a_foreign_host_is_refused_without_a_token() {
    let (gateway, _upstream) = open().await;
    let admin = gateway.admin();
    let port = admin.0.port();
    for ours in [
        "localhost",
        "LocalHost:1",
        "127.0.0.1",
        "127.8.9.10:9900",
        "[::1]",
        "[::1]:9900",
        &format!("127.0.0.1:{port}"),
    ] {
        let request = Request::get("/v1/info").set("Host", ours);
        assert_eq!(admin.ask(&request).await.status(), 200, "{ours}");
    }
    for foreign in [
        "evil.example",
        "evil.example:9900",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]:9900",
        "0.0.0.0",
    ] {
        for path in ["/v1/info", "/metrics", "/livez", "/nothing"] {
            let request = Request::get(path).set("Host", foreign);
            admin.ask(&request).await.expect_problem(421);
        }
        let absolute = Request::get(&format!("http://{foreign}/v1/info")).set("Host", "localhost");
        admin.ask(&absolute).await.expect_problem(421);
    }
}

#[tokio::test]
async fn a_host_that_says_two_things_is_refused() {
    for (gateway, _upstream) in [open().await, closed().await] {
        let admin = gateway.admin();
        let twice = admin.request("/livez").with("Host", "localhost");
        admin.ask(&twice).await.expect_problem(400);
        let none = Request::get("/livez").without("Host");
        admin.ask(&none).await.expect_problem(400);
        let bad = Request::get("/livez").set("Host", "a b@c/");
        admin.ask(&bad).await.expect_problem(400);
    }
}

#[tokio::test]
async fn a_web_page_is_refused_without_a_token() {
    let (gateway, _upstream) = open().await;
    let admin = gateway.admin();
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost",
        "http://127.0.0.1:9900",
    ] {
        for path in ["/v1/info", "/metrics", "/livez"] {
            let request = admin.request(path).with("Origin", origin);
            let answer = admin.ask(&request).await;
            answer.expect_problem(403);
            assert!(!answer.head.has("Access-Control-Allow-Origin"));
        }
        let post = Request::new("POST", "/v1/info")
            .set("Host", "localhost")
            .with("Origin", origin);
        admin.ask(&post).await.expect_problem(403);
    }
}

/// A page that has its own name point here, or asks across origins, changes nothing.
#[tokio::test]
async fn a_web_page_orders_nothing_without_a_token() {
    let (gateway, _upstream) = open().await;
    let admin = gateway.admin();
    for (method, path) in [
        ("POST", "/v1/drain"),
        ("DELETE", "/v1/sessions/s_AAAAAAAAAAAAAAAA"),
    ] {
        let order = Request::new(method, path);
        let rebound = order.clone().set("Host", "evil.example:9900");
        admin.ask(&rebound).await.expect_problem(421);
        let across = order
            .set("Host", "127.0.0.1:9900")
            .with("Origin", "https://evil.example")
            .with("Content-Type", "text/plain");
        admin.ask(&across).await.expect_problem(403);
    }
    assert_eq!(admin.get("/readyz").await.text(), "ok\n");
    let preflight = Request::new("OPTIONS", "/v1/drain")
        .set("Host", "127.0.0.1:9900")
        .with("Origin", "https://evil.example")
        .with("Access-Control-Request-Method", "POST");
    let answer = admin.ask(&preflight).await;
    answer.expect_problem(403);
    assert!(!answer.head.has("Access-Control-Allow-Methods"));
}

#[tokio::test]
async fn only_the_token_opens_what_is_not_health() {
    let (gateway, _upstream) = closed().await;
    let admin = gateway.admin();
    for path in HEALTH {
        assert_eq!(admin.get(path).await.status(), 200, "{path}");
        let from_afar = Request::get(path).set("Host", "10.0.0.9:9900");
        assert_eq!(admin.ask(&from_afar).await.status(), 200, "{path}");
    }
    let short = &TOKEN[..TOKEN.len() - 1];
    for path in [
        "/v1/info",
        "/openapi.json",
        "/metrics",
        "/",
        "/livez/",
        "//livez",
        "/v1/../livez",
    ] {
        let answer = admin.get(path).await;
        answer.expect_problem(401);
        let challenge = answer.head.field("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        for wrong in [
            format!("Bearer {short}"),
            format!("Bearer {TOKEN}x"),
            format!("Bearer {TOKEN}{TOKEN}"),
            format!("Bearer {}", TOKEN.to_uppercase()),
            format!("Basic {TOKEN}"),
            TOKEN.to_owned(),
            "Bearer ".to_owned(),
            "Bearer".to_owned(),
        ] {
            let request = admin.request(path).with("Authorization", &wrong);
            let answer = admin.ask(&request).await;
            answer.expect_problem(401);
            assert!(!answer.text().contains(short), "{}", answer.text());
        }
    }
    let right = format!("Bearer {TOKEN}");
    let twice = admin
        .request("/v1/info")
        .with("Authorization", &right)
        .with("Authorization", "Bearer x");
    admin.ask(&twice).await.expect_problem(401);
    for scheme in ["Bearer", "bearer"] {
        let known = admin
            .request("/v1/info")
            .with("Authorization", &format!("{scheme} {TOKEN}"));
        assert_eq!(admin.ask(&known).await.status(), 200);
        // Whoever knows the token may be anywhere.
        let afar = known
            .set("Host", "gateway.example")
            .with("Origin", "https://ops.example");
        assert_eq!(admin.ask(&afar).await.status(), 200);
    }
}

#[tokio::test]
async fn the_token_of_a_file_opens_and_is_told_to_nobody() {
    let Some(binary) = tools::tidegate("the_token_of_a_file_opens_and_is_told_to_nobody") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let secret = scratch.write("token", &format!("{TOKEN}\n"));
    let yaml = format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         admin: {{ bind: 0.0.0.0:0, token: 'file:{}' }}\n{}",
        secret.display(),
        REST.replace("UP", &upstream.address().to_string())
    );
    let file = scratch.write("tidegate.yaml", &yaml);
    let mut command = Command::new(binary);
    command
        .args(["run", "--log-level", "trace", "--config"])
        .arg(file);
    let mut gateway = Process::start(&mut command);
    let port = gateway.address_of("admin").await.port();
    let admin = Admin(([127, 0, 0, 1], port).into());
    admin.get("/metrics").await.expect_problem(401);
    let known = admin
        .request("/metrics")
        .with("Authorization", &format!("Bearer {TOKEN}"));
    let answer = admin.ask(&known).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.text().contains(TOKEN));
    assert!(!gateway.output().contains(TOKEN), "{}", gateway.output());
}

#[tokio::test]
async fn whoever_holds_all_its_connections_keeps_nobody_out() {
    let (gateway, _upstream) = open().await;
    let admin = gateway.admin();
    let opened = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut wire = Wire::connect(admin.0).await;
        wire.send("GET /livez HT").await;
        idle.push(wire);
    }
    let begun = Instant::now();
    assert_eq!(admin.get("/livez").await.status(), 200);
    assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
    // The oldest had to go; the youngest has its answer still.
    idle[0].expect_end().await;
    let took = opened.elapsed();
    assert!(
        took < Duration::from_secs(9),
        "slow heads end by themselves: {took:?}"
    );
    let mut youngest = idle.pop().unwrap();
    youngest.send("TP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(youngest.read_answer().await.status(), 200);
}

#[tokio::test]
async fn a_slow_head_has_an_end() {
    let (gateway, _upstream) = open().await;
    let mut slow = Wire::connect(gateway.admin().0).await;
    let begun = Instant::now();
    slow.send("GET /livez HTTP/1.1\r\nHost: loc").await;
    slow.read_to_end().await;
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9), "it took {took:?}");
    assert!(took < Duration::from_secs(10) + SLACK, "it took {took:?}");
}

#[tokio::test]
async fn a_giant_head_has_an_end() {
    let (gateway, _upstream) = open().await;
    let admin = gateway.admin();
    let mut wire = Wire::connect(admin.0).await;
    wire.send("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
        .await;
    let mut sent = 0;
    while wire.try_send(vec![b'x'; 4096]).await.is_ok() {
        sent += 4096;
        assert!(sent < 64 << 20, "it takes whatever comes");
    }
    assert_eq!(admin.get("/livez").await.status(), 200);
}
