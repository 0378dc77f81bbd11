//! `/metrics`: after known traffic the page says what happened, no more and no less, under labels
//! that no stranger can choose.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tidegate_tests::frame::{BINARY, PING};
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire, tools};

fn yaml(rest: &str) -> String {
    format!(
        "admin: {{ bind: '127.0.0.1:0' }}\n\
         services:\n  up: {{ endpoints: ['http://UP'] }}\n{rest}\
         routes:\n  - {{ name: chat, match: {{ path: /chat, upgrade: websocket }}, proxy: {{ service: up, websocket: {{ max_message: 1KiB }} }} }}\n\
         \x20 - {{ name: app, match: {{ path: /app/** }}, proxy: {{ service: up }} }}\n"
    )
}

#[tokio::test]
async fn requests_by_route_method_and_code() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(""));
    let admin = gateway.admin();
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.ask(&Request::get("/app/x?secret=1")).await.seen();
    }
    client.ask(&Request::new("DELETE", "/app/y")).await.seen();
    client.ask(&Request::new("BREW", "/app/y")).await.seen();
    client.ask(&Request::new("SPLIT", "/app/y")).await.seen();
    gateway
        .ask(&Request::get("/nothing"))
        .await
        .expect_problem(404);
    gateway
        .ask(&Request::get("/chat"))
        .await
        .expect_problem(426);
    let mut bad = gateway.connect().await;
    bad.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await;
    assert_eq!(bad.read_answer().await.status(), 400);
    for (series, value) in [
        ("route=\"app\",method=\"GET\",code=\"200\"", 3.0),
        ("route=\"app\",method=\"DELETE\",code=\"200\"", 1.0),
        ("route=\"app\",method=\"other\",code=\"200\"", 2.0),
        ("route=\"-\",method=\"GET\",code=\"404\"", 1.0),
        ("route=\"-\",method=\"GET\",code=\"426\"", 1.0),
        ("route=\"-\",method=\"other\",code=\"400\"", 1.0),
    ] {
        admin
            .counts(&format!("tidegate_http_requests_total{{{series}}}"), value)
            .await;
    }
    let page = admin.metrics().await;
    let requests = page
        .series()
        .filter(|series| series.starts_with("tidegate_http_requests_total"));
    assert_eq!(requests.count(), 6, "{}", page.text);
    let get = |name: &str| page.get(name);
    let timed = "tidegate_http_request_duration_seconds_count{route=\"app\",method=\"GET\"}";
    assert_eq!(get(timed), Some(3.0));
    assert_eq!(
        get("tidegate_http_requests_in_flight{route=\"app\"}"),
        Some(0.0)
    );
    let calls = "tidegate_upstream_request_duration_seconds_count{service=\"up\"}";
    assert_eq!(get(calls), Some(6.0));
    assert_eq!(get("tidegate_connections_accepted_total"), Some(4.0));
    assert!(
        !page.text.contains("secret") && !page.text.contains("/app"),
        "{}",
        page.text
    );
    assert_eq!(
        page.kind("tidegate_http_request_duration_seconds"),
        Some("histogram")
    );
}

#[tokio::test]
async fn a_request_under_way_is_in_flight_and_takes_as_long_as_its_answer() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml(""));
    let admin = gateway.admin();
    let mut client = gateway.connect().await;
    client.request(&Request::get("/app/x")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    let in_flight = "tidegate_http_requests_in_flight{route=\"app\"}";
    admin.counts(in_flight, 1.0).await;
    peer.send("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n")
        .await;
    client.read_head().await;
    // Its head alone is not the whole answer.
    assert_eq!(admin.metrics().await.get(in_flight), Some(1.0));
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    peer.send("ok").await;
    admin.counts(in_flight, 0.0).await;
    let labels = "route=\"app\",method=\"GET\"";
    admin
        .counts(
            &format!("tidegate_http_requests_total{{{labels},code=\"201\"}}"),
            1.0,
        )
        .await;
    let page = admin.metrics().await;
    let sum = format!("tidegate_http_request_duration_seconds_sum{{{labels}}}");
    assert!(page.get(&sum).unwrap() >= 0.03, "{}", page.text);
    let fast = format!("tidegate_http_request_duration_seconds_bucket{{{labels},le=\"0.025\"}}");
    assert_eq!(page.get(&fast), Some(0.0));
    // One that leaves before its answer is counted too.
    let mut hasty = gateway.connect().await;
    hasty.request(&Request::get("/app/y")).await;
    peer.read_head().await;
    drop(hasty);
    admin
        .counts(
            &format!("tidegate_http_requests_total{{{labels},code=\"499\"}}"),
            1.0,
        )
        .await;
    admin.counts(in_flight, 0.0).await;
}

const OPEN: &str = "tidegate_ws_connections{route=\"chat\",kind=\"proxy\"}";

#[tokio::test]
async fn sessions_and_messages_while_they_are_open() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(""));
    let admin = gateway.admin();
    assert_eq!(admin.metrics().await.get(OPEN), Some(0.0));
    let mut one = gateway.connect().await;
    one.upgrade("/chat").await;
    let mut two = gateway.connect().await;
    two.upgrade("/chat").await;
    admin.counts(OPEN, 2.0).await;
    for frame in [
        Frame::text("hello"),
        Frame::new(BINARY, [7; 100]).unfinished(),
        Frame::new(PING, "p"),
        Frame::new(0, [8; 100]),
        Frame::new(PING, "q"),
    ] {
        one.send_frame(&frame.from_client()).await;
    }
    while one.read_frame().await.payload != b"q" {}
    let messages = |labels: &str| format!("tidegate_ws_messages_total{{route=\"chat\",{labels}}}");
    for direction in ["in", "out"] {
        for kind in ["text", "binary"] {
            let labels = format!("direction=\"{direction}\",kind=\"{kind}\"");
            admin.counts(&messages(&labels), 1.0).await;
        }
        let bytes = format!("tidegate_ws_bytes_total{{route=\"chat\",direction=\"{direction}\"}}");
        admin.counts(&bytes, 207.0).await;
    }
    for (series, value) in [
        (
            "tidegate_ws_handshakes_total{route=\"chat\",code=\"101\"}",
            2.0,
        ),
        (
            "tidegate_ws_handshake_duration_seconds_count{route=\"chat\"}",
            2.0,
        ),
        ("tidegate_ws_connections_opened_total{route=\"chat\"}", 2.0),
    ] {
        admin.counts(series, value).await;
    }
    let page = admin.metrics().await;
    // A handshake is no request, and an open session has no duration yet.
    let others = [
        "http_requests_total{route=\"chat\"",
        "ws_connection_duration_seconds_count",
    ];
    assert!(
        others.iter().all(|series| !page.text.contains(series)),
        "{}",
        page.text
    );
}

/// A header that promises nearly all that a number can hold costs its sender ten bytes.
#[tokio::test]
async fn bytes_are_those_that_passed_and_not_those_that_were_promised() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml("").replace("1KiB", "none"));
    let admin = gateway.admin();
    let bytes = "tidegate_ws_bytes_total{route=\"chat\",direction=\"in\"}";
    let header = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04";
    for round in 1..=3 {
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/chat")).await;
        let mut peer = upstream.accept().await;
        peer.accept_handshake().await;
        client.read_head().await;
        client.send(header).await;
        client.send([7; 100]).await;
        peer.expect(header).await;
        peer.expect([7; 100]).await;
        admin.counts(bytes, 100.0 * f64::from(round)).await;
    }
}

#[tokio::test]
async fn sessions_by_how_they_ended() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(""));
    let admin = gateway.admin();
    for code in [1000, 4321, 4999] {
        let mut session = gateway.connect().await;
        session.upgrade("/chat").await;
        session
            .send_frame(&Frame::close(code, "bye").from_client())
            .await;
        assert_eq!(session.read_close().await, Some(code));
    }
    let mut large = gateway.connect().await;
    large.upgrade("/chat").await;
    large
        .send_frame(&Frame::text(&"x".repeat(2000)).from_client())
        .await;
    assert_eq!(large.read_close().await, Some(1009));
    drop(large);
    let mut lost = gateway.connect().await;
    lost.upgrade("/chat").await;
    lost.reset();
    for (labels, value) in [
        (
            "code=\"1000\",cause=\"client_close\",initiator=\"client\"",
            1.0,
        ),
        (
            "code=\"4xxx\",cause=\"client_close\",initiator=\"client\"",
            2.0,
        ),
        (
            "code=\"1009\",cause=\"message_too_big\",initiator=\"client\"",
            1.0,
        ),
        (
            "code=\"1006\",cause=\"client_lost\",initiator=\"client\"",
            1.0,
        ),
    ] {
        let series = format!("tidegate_ws_connections_closed_total{{route=\"chat\",{labels}}}");
        admin.counts(&series, value).await;
    }
    admin.counts(OPEN, 0.0).await;
    let durations = "tidegate_ws_connection_duration_seconds";
    admin
        .counts(&format!("{durations}_count{{route=\"chat\"}}"), 5.0)
        .await;
    let page = admin.metrics().await;
    let day = format!("{durations}_bucket{{route=\"chat\",le=\"86400\"}}");
    assert_eq!(page.get(&day), Some(5.0));
    assert_eq!(page.get("tidegate_panics_total"), Some(0.0));
}

#[tokio::test]
async fn refused_handshakes_and_what_was_tried_anew() {
    let gone = ScriptedUpstream::bind().await;
    let address = gone.address();
    gone.refuse().await;
    let upstream =
        ScriptedUpstream::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let both = format!("['http://{address}', 'http://UP']");
    let yaml = yaml("").replace("['http://UP']", &both);
    let gateway = TestGateway::start(&upstream, &yaml);
    let admin = gateway.admin();
    for _ in 0..4 {
        let answer = gateway.ask(&Request::handshake("/chat")).await;
        assert_eq!(answer.status(), 403);
    }
    let wrong = Request::handshake("/chat").set("Sec-WebSocket-Version", "8");
    gateway.ask(&wrong).await.expect_problem(426);
    gateway
        .ask(&Request::handshake("/nothing"))
        .await
        .expect_problem(404);
    let handshakes = "tidegate_ws_handshakes_total";
    admin
        .counts(&format!("{handshakes}{{route=\"chat\",code=\"403\"}}"), 4.0)
        .await;
    admin
        .counts(&format!("{handshakes}{{route=\"chat\",code=\"426\"}}"), 1.0)
        .await;
    admin
        .counts(&format!("{handshakes}{{route=\"-\",code=\"404\"}}"), 1.0)
        .await;
    let page = admin.metrics().await;
    let retries = "tidegate_upstream_retries_total{service=\"up\",reason=\"upstream_refused\"}";
    let retries = page.get(retries).unwrap();
    assert!((1.0..=4.0).contains(&retries), "{}", page.text);
    assert_eq!(
        page.get("tidegate_ws_connections_opened_total{route=\"chat\"}"),
        Some(0.0)
    );
}

#[tokio::test]
async fn refusals_by_their_code() {
    let mut upstream = ScriptedUpstream::bind().await;
    let limits =
        "limits: { max_connections: 3, handshakes_per_address: { rate: 1/m, burst: 1 } }\n";
    let gateway = TestGateway::start(&upstream, &yaml(limits));
    let admin = gateway.admin();
    let rate = "tidegate_ws_rate_limited_total{scope=\"address\",action=\"refuse\"}";
    let full = "tidegate_refused_total{code=\"gateway_full\"}";
    let page = admin.metrics().await;
    assert_eq!((page.get(rate), page.get(full)), (Some(0.0), Some(0.0)));
    let mut session = gateway.connect().await;
    session.request(&Request::handshake("/chat")).await;
    upstream.accept().await.accept_handshake().await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect().await;
        let answer = client.ask(&Request::handshake("/chat")).await;
        assert_eq!(answer.code(), "too_many_handshakes");
        others.push(client);
    }
    for _ in 0..3 {
        let answer = gateway.ask(&Request::get("/app/x")).await;
        assert_eq!(answer.code(), "gateway_full");
    }
    admin.counts(rate, 2.0).await;
    admin.counts(full, 3.0).await;
    let page = admin.metrics().await;
    let refused = page.series().filter(|one| one.contains("tidegate_refused"));
    assert_eq!(refused.filter_map(|one| page.get(one)).sum::<f64>(), 3.0);
}

#[tokio::test]
async fn the_document_names_what_is_on_the_page_and_nothing_else() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(""));
    let page = gateway.admin().metrics().await;
    let document = include_str!("../../docs/admin.md");
    let written: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("tidegate_") || name.starts_with("process_"))
        .collect();
    assert!(written.len() > 15, "{written:?}");
    let served: BTreeSet<&str> = page.families().collect();
    assert_eq!(written, served);
}

#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    let Some(promtool) = tools::program("promtool_finds_nothing_to_say", "promtool") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(""));
    let admin = gateway.admin();
    gateway.ask(&Request::get("/app/x")).await.seen();
    gateway
        .ask(&Request::get("/nothing"))
        .await
        .expect_problem(404);
    let mut session = Wire::connect(gateway.address()).await;
    session.upgrade("/chat").await;
    session.send_frame(&Frame::text("a").from_client()).await;
    session.read_frame().await;
    session.close_session().await;
    admin
        .counts(
            "tidegate_ws_connection_duration_seconds_count{route=\"chat\"}",
            1.0,
        )
        .await;
    let page = admin.metrics().await.text;
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = check.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{said}\nin\n{page}"
    );
}
