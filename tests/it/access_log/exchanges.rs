//! A request has one line, with its answer.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_tests::{LogFile, Request, ScriptedUpstream, TestGateway, Wire};

use super::{keys, number, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn yaml(log: &LogFile) -> String {
    format!(
        "{}trusted_proxies: [127.0.0.1]\n\
         services:\n  up: {{ endpoints: [http://UP] }}\n  \
         slow: {{ endpoints: [http://UP], response_timeout: 100ms, handshake_timeout: 100ms }}\n  \
         gone: {{ endpoints: ['http://127.0.0.1:9', 'http://127.0.0.2:9'] }}\n\
         routes:\n  - {{ name: chat, match: {{ path: /chat/**, upgrade: websocket }}, proxy: {{ service: up }} }}\n  \
         - {{ name: gone, match: {{ path: /gone }}, proxy: {{ service: gone }} }}\n  \
         - {{ name: slow, match: {{ path: /slow }}, proxy: {{ service: slow }} }}\n  \
         - {{ name: app, match: {{ path: /app/**, methods: [GET, POST] }}, filters: [{{ strip_prefix: 1 }}], proxy: {{ service: up }} }}\n",
        log.yaml("")
    )
}

#[tokio::test]
async fn it_says_all_that_was_asked_and_answered() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        assert_eq!(head.target(), "/a%20b?x=1&token=s3cret");
        wire.read_exact(5).await;
        wire.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
            .await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = TestGateway::start(&upstream, &yaml(&log));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begun = Instant::now();
    let request = Request::new("POST", "/app/a%20b?x=1&token=s3cret")
        .with("X-Forwarded-For", "203.0.113.9")
        .with("User-Agent", "test \"agent\"")
        .with("Origin", "https://app.example.com")
        .with("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01"))
        .body("12345");
    let mut client = gateway.connect().await;
    let answer = client.ask(&request).await;
    assert_eq!(
        (answer.status(), answer.text()),
        (201, "abcdefg".to_owned())
    );
    client
        .ask(&Request::get("/nothing"))
        .await
        .expect_problem(404);
    let lines = log.lines(2).await;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let mut line = lines[0].clone();
    let time = text(&line, "ts").to_owned();
    assert_eq!(time.len(), "2026-11-21T03:00:01.204Z".len(), "{time}");
    let seconds: f64 = time[17..23].parse().unwrap();
    let now = before.as_secs_f64() % 60.0;
    assert!(
        (seconds - now).rem_euclid(60.0) < 30.0 || now - seconds < 0.001,
        "{time} {now}"
    );
    let connection = text(&line, "conn").to_owned();
    assert!(connection.starts_with("c_") && connection.len() == 13);
    assert_eq!(lines[1]["conn"], *connection, "the same connection");
    let (whole, part) = (number(&line, "duration_ms"), number(&line, "upstream_ms"));
    assert!(
        0.0 < part && part <= whole && whole <= took,
        "{part} {whole} {took}"
    );
    for key in ["ts", "conn", "duration_ms", "upstream_ms"] {
        line.as_object_mut().unwrap().remove(key);
    }
    let expected = json!({
        "event": "http", "route": "app", "service": "up",
        "endpoint": upstream.address().to_string(), "client": "203.0.113.9", "method": "POST",
        "path": "/app/a%20b?x=1&token=***", "status": 201, "http": "1.1",
        "origin": "https://app.example.com", "ua": "test \"agent\"", "retries": 0,
        "bytes_in": 5, "bytes_out": 7, "trace_id": TRACE,
    });
    assert_eq!(line, expected);
    let log_text = log.text();
    let order = "ts event conn route service endpoint client method path status http origin ua \
                 duration_ms upstream_ms retries bytes_in bytes_out trace_id";
    assert_eq!(keys(log_text.lines().next().unwrap()).join(" "), order);
}

/// What became of `request`, as the log has it.
async fn outcome(gateway: &TestGateway, log: &LogFile, request: &Request) -> Value {
    let before = log.lines(0).await.len();
    gateway.connect().await.ask(request).await;
    log.lines(before + 1).await.remove(before)
}

/// A request, its route, its status, the code of a problem, and whether it is a handshake.
type Refused = (Request, &'static str, u16, Option<&'static str>, bool);

fn refused() -> [Refused; 10] {
    [
        (Request::get("/nothing"), "-", 404, Some("no_route"), false),
        (Request::get("/app/%00"), "-", 400, Some("bad_path"), false),
        (
            Request::new("PUT", "/app/x"),
            "-",
            405,
            Some("method_not_allowed"),
            false,
        ),
        (
            Request::get("/chat/x"),
            "-",
            426,
            Some("upgrade_required"),
            false,
        ),
        (
            Request::get("/gone"),
            "gone",
            502,
            Some("upstream_refused"),
            false,
        ),
        (
            Request::get("/slow"),
            "slow",
            504,
            Some("upstream_response_timeout"),
            false,
        ),
        (
            Request::handshake("/slow"),
            "slow",
            504,
            Some("upstream_handshake_timeout"),
            true,
        ),
        (Request::handshake("/chat/x"), "chat", 401, None, true),
        (
            Request::handshake("/nothing"),
            "-",
            404,
            Some("no_route"),
            true,
        ),
        (
            Request::handshake("/chat/x").set("Sec-WebSocket-Key", "x"),
            "chat",
            400,
            Some("bad_handshake"),
            true,
        ),
    ]
}

#[tokio::test]
async fn refusals_say_why() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        if head.target().starts_with("/chat") {
            wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
                .await;
        }
        wire.read_to_end().await;
    })
    .await;
    let gateway = TestGateway::start(&upstream, &yaml(&log));
    for (request, route, status, code, is_upgrade) in refused() {
        let line = outcome(&gateway, &log, &request).await;
        assert_eq!(line["event"], "http", "{line}");
        assert_eq!(line["route"], route, "{line}");
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["code"].as_str(), code, "{line}");
        assert_eq!(line["upgrade"] == "websocket", is_upgrade, "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert_eq!(line["retries"], u64::from(route == "gone"), "{line}");
        assert_eq!(line["service"].is_null(), route == "-", "{line}");
        assert!(line["cause"].is_null(), "{line}");
    }
}

/// It is told by where it came from.
#[tokio::test]
async fn what_was_no_request_is_told_too() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(&log));
    for (bytes, status, code) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            400,
            "bad_request",
        ),
        ("\x01\r\n\r\n", 400, "bad_request"),
    ] {
        let before = log.lines(0).await.len();
        let mut client = gateway.connect().await;
        client.send(bytes).await;
        assert_eq!(client.read_answer().await.status(), status);
        let line = log.lines(before + 1).await.remove(before);
        assert_eq!(
            (&line["status"], &line["code"]),
            (&json!(status), &json!(code))
        );
        assert_eq!(
            (&line["route"], &line["client"]),
            (&json!("-"), &json!("127.0.0.1"))
        );
    }
}

#[tokio::test]
async fn over_a_limit_is_told_too() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = format!(
        "limits: {{ max_connections: 1 }}\n{}services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        log.yaml("")
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let mut first = gateway.connect().await;
    first.ask(&Request::get("/")).await.seen();
    gateway.ask(&Request::get("/")).await.expect_problem(503);
    let lines = log.lines(2).await;
    assert_eq!(lines[1]["status"], 503);
    assert_eq!(lines[1]["code"], "gateway_full");
    assert_eq!(lines[1]["client"], "127.0.0.1");
    assert_ne!(lines[0]["conn"], lines[1]["conn"]);
}

#[tokio::test]
async fn answers_that_are_not_whole_say_whose_doing_it_was() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        match head.target() {
            "/cut" => {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                    .await;
            }
            "/long" => {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                    .await;
                wire.read_to_end().await;
            }
            _ => {
                wire.read_to_end().await;
            }
        }
    })
    .await;
    let gateway = TestGateway::start(&upstream, &yaml(&log));
    let mut client = gateway.connect().await;
    client.request(&Request::get("/app/cut")).await;
    client.read_cut_answer().await;
    let line = log.lines(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["cause"]),
        (&json!(200), &json!("upstream_lost"))
    );
    assert_eq!(line["bytes_out"], 3);

    let mut client = gateway.connect().await;
    client.request(&Request::get("/app/long")).await;
    client.read_head().await;
    client.expect("abc").await;
    client.reset();
    let line = log.lines(2).await.remove(1);
    assert_eq!(
        (&line["status"], &line["cause"]),
        (&json!(200), &json!("client_lost"))
    );
    assert_eq!(line["bytes_out"], 3);

    // What was only about to be sent does not count.
    let mut client = gateway.connect().await;
    let upload = "POST /app/up HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc";
    let heads = upstream.heads().len();
    client.send(upload).await;
    tidegate_tests::eventually("the upstream is asked", || upstream.heads().len() > heads).await;
    client.reset();
    let line = log.lines(3).await.remove(2);
    assert_eq!(
        (&line["cause"], &line["bytes_in"], &line["bytes_out"]),
        (&json!("client_lost"), &json!(3), &json!(0))
    );

    for (request, count) in [
        (Request::get("/app/x"), 4),
        (Request::handshake("/chat/x"), 5),
    ] {
        let heads = upstream.heads().len();
        let mut client = gateway.connect().await;
        client.request(&request).await;
        tidegate_tests::eventually("the upstream is asked", || upstream.heads().len() > heads)
            .await;
        client.reset();
        let line = log.lines(count).await.remove(count - 1);
        assert_eq!(
            (&line["status"], &line["cause"]),
            (&json!(499), &json!("client_lost"))
        );
    }
}

#[tokio::test]
async fn each_request_of_a_connection_has_its_own_numbers() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(&log));
    let mut client = gateway.connect().await;
    for size in [0_usize, 1, 70_000, 3] {
        let request = Request::new("POST", &format!("/app/{size}")).body("x".repeat(size));
        client.ask(&request).await.seen();
    }
    drop::<Wire>(client);
    let lines = log.lines(4).await;
    let sizes: Vec<_> = lines.iter().map(|line| line["bytes_in"].as_u64()).collect();
    assert_eq!(sizes, [Some(0), Some(1), Some(70_000), Some(3)]);
}
