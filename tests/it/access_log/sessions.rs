//! A session has a line when it opens and one when it has ended, in the words of the metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::frame::{BINARY, PING};
use tidegate_tests::{DEADLINE, Frame, LogFile, Request, ScriptedUpstream, TestGateway, Wire};

use super::{keys, number, text};

fn yaml(log: &LogFile, keys: &str, websocket: &str) -> String {
    format!(
        "admin: {{ bind: '127.0.0.1:0' }}\n{}services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: [{{ name: chat, match: {{ path: /** }}, proxy: {{ service: up, websocket: {{ close_timeout: 2s, {websocket} }} }} }}]\n",
        log.yaml(keys)
    )
}

#[tokio::test]
async fn both_lines_say_all_there_is() {
    let log = LogFile::new();
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml(&log, "", ""));
    let mut client = gateway.connect().await;
    let request = Request::handshake("/room/1?ticket=s3cret&a=b")
        .with("Origin", "https://app.example.com")
        .with("User-Agent", "agent")
        .with("Sec-WebSocket-Protocol", "v12.stomp, bearer");
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake_with(&["Sec-WebSocket-Protocol: v12.stomp"])
        .await;
    assert_eq!(client.read_head().await.status(), 101);
    let open = log.events("ws.open", 1).await.remove(0);
    for frame in [
        Frame::text("abc"),
        Frame::new(BINARY, [0; 500]),
        Frame::new(PING, "12"),
    ] {
        client.send_frame(&frame.clone().from_client()).await;
        assert_eq!(peer.read_frame().await.payload, frame.payload);
    }
    peer.send_frame(&Frame::text("12345678")).await;
    client.read_frame().await;
    client
        .send_frame(&Frame::close(4001, "done, \"thanks\"").from_client())
        .await;
    assert_eq!(peer.read_close().await, Some(4001));
    peer.send_frame(&Frame::close(4001, "not this").clone())
        .await;
    assert_eq!(client.read_close().await, Some(4001));
    drop((client, peer));
    let close = log.events("ws.close", 1).await.remove(0);

    judge_open(open.clone(), &close, &upstream);
    let expected = json!({
        "event": "ws.close", "route": "chat", "code": 4001, "reason": "done, \"thanks\"",
        "initiator": "client", "cause": "client_close", "msgs_in": 2, "msgs_out": 1,
        "bytes_in": 3 + 500 + 2 + 2 + 14, "bytes_out": 8 + 2 + 8,
    });
    assert_eq!(
        strip(close, &["ts", "conn", "session", "duration_s"]),
        expected
    );
    in_order(&log.text());
}

fn strip(mut line: Value, keys: &[&str]) -> Value {
    for key in keys {
        line.as_object_mut().unwrap().remove(*key).unwrap();
    }
    line
}

fn judge_open(open: Value, close: &Value, upstream: &ScriptedUpstream) {
    let session = text(&open, "session").to_owned();
    assert!(session.starts_with("s_") && session.len() == 18);
    assert!(number(&open, "upstream_handshake_ms") <= number(&open, "handshake_ms"));
    for key in ["session", "conn"] {
        assert_eq!(open[key], close[key]);
    }
    assert!(number(close, "duration_s") < 60.0);
    let expected = json!({
        "event": "ws.open", "route": "chat", "service": "up",
        "endpoint": upstream.address().to_string(), "client": "127.0.0.1",
        "path": "/room/1?ticket=***&a=b", "status": 101, "subprotocol": "v12.stomp", "http": "1.1",
        "origin": "https://app.example.com", "ua": "agent",
    });
    let varying = [
        "ts",
        "conn",
        "session",
        "handshake_ms",
        "upstream_handshake_ms",
    ];
    assert_eq!(strip(open, &varying), expected);
}

fn in_order(log_text: &str) {
    let orders: Vec<_> = log_text.lines().map(|line| keys(line).join(" ")).collect();
    assert_eq!(
        orders,
        [
            "ts event conn session route service endpoint client path status subprotocol http origin ua \
         handshake_ms upstream_handshake_ms",
            "ts event conn session route duration_s code reason initiator cause msgs_in msgs_out \
         bytes_in bytes_out",
        ]
    );
}

/// Opens a session and ends it in the way of this number; what the log must say of it: code, cause,
/// initiator, reason.
async fn end(
    way: usize,
    gateway: &TestGateway,
    upstream: &mut ScriptedUpstream,
) -> (u16, &'static str, &'static str, String) {
    let (mut client, mut peer) = gateway.open(upstream).await;
    let answer = async |from: &mut Wire, to: &mut Wire, code: u16, masked: bool| {
        let _ = to.read_close().await;
        let back = Frame::close(code, "");
        to.send_frame(&if masked { back.from_client() } else { back })
            .await;
        let _ = from.read_close().await;
    };
    match way {
        0 => {
            client
                .send_frame(&Frame::close(1000, "bye").from_client())
                .await;
            answer(&mut client, &mut peer, 1000, false).await;
            (1000, "client_close", "client", "bye".into())
        }
        1 => {
            client.send_frame(&Frame::new(8, "").from_client()).await;
            answer(&mut client, &mut peer, 1000, false).await;
            (1005, "client_close", "client", String::new())
        }
        2 => {
            peer.send_frame(&Frame::close(4999, "moved\n{\"event\":\"ws.open\"}"))
                .await;
            answer(&mut peer, &mut client, 1000, true).await;
            (
                4999,
                "upstream_close",
                "upstream",
                "moved\n{\"event\":\"ws.open\"}".into(),
            )
        }
        3 => {
            client.reset();
            assert_eq!(peer.read_close().await, Some(1001));
            (1006, "client_lost", "client", String::new())
        }
        4 => {
            peer.reset();
            assert_eq!(client.read_close().await, Some(1011));
            (1011, "upstream_lost", "upstream", "upstream_lost".into())
        }
        _ => end_by_rule(way, gateway, client, peer).await,
    }
}

/// The ways that are not a peer's.
async fn end_by_rule(
    way: usize,
    gateway: &TestGateway,
    mut client: Wire,
    mut peer: Wire,
) -> (u16, &'static str, &'static str, String) {
    match way {
        5 => {
            client.send_frame(&Frame::text("unmasked")).await;
            assert_eq!(client.read_close().await, Some(1002));
            (1002, "protocol_error", "client", "protocol_error".into())
        }
        6 => {
            peer.send_frame(&Frame::new(BINARY, [0; 1001])).await;
            assert_eq!(client.read_close().await, Some(1001));
            (
                1001,
                "message_too_big",
                "upstream",
                "message_too_big".into(),
            )
        }
        7 => {
            for _ in 0..60 {
                if client
                    .try_send(Frame::new(PING, "").from_client().bytes())
                    .await
                    .is_err()
                {
                    break;
                }
            }
            while client.read_frame().await.opcode != 8 {}
            (1008, "rate_limited", "client", "rate_limited".into())
        }
        _ => {
            let admin = gateway.admin();
            let page = admin.get("/v1/sessions").await.text();
            let page: Value = serde_json::from_str(&page).unwrap();
            let open = page["sessions"].as_array().unwrap().iter();
            let mut open = open.filter(|session| session["closing"] == false);
            let id = open.next().unwrap()["id"].as_str().unwrap().to_owned();
            let body = "{\"code\":4321,\"reason\":\"go\"}";
            let request = Request::new("DELETE", &format!("/v1/sessions/{id}")).body(body);
            let request = request.with("Connection", "close");
            let mut asking = Wire::connect(admin.0).await;
            assert_eq!(asking.ask(&request.host("localhost")).await.status(), 202);
            assert_eq!(client.read_close().await, Some(4321));
            (4321, "admin", "admin", "go".into())
        }
    }
}

const WAYS: usize = 9;

#[tokio::test]
async fn each_end_is_told_once_and_as_the_metrics_have_it() {
    let log = LogFile::new();
    let mut upstream = ScriptedUpstream::bind().await;
    let limits = "max_message: 1000, max_control_frames: 20";
    let gateway = TestGateway::start(&upstream, &yaml(&log, "", limits));
    let mut expected = BTreeMap::new();
    for round in 0..3 * WAYS {
        let (code, cause, initiator, reason) = end(round % WAYS, &gateway, &mut upstream).await;
        gateway.is_empty().await;
        let close = log.events("ws.close", round + 1).await.remove(round);
        let told = ["code", "cause", "initiator", "reason"].map(|key| close[key].clone());
        let due = [json!(code), json!(cause), json!(initiator), json!(reason)];
        assert_eq!(told, due, "{close}");
        let code = match code {
            3000..5000 => format!("{}xxx", code / 1000),
            code => code.to_string(),
        };
        let series = format!(
            "{{route=\"chat\",code=\"{code}\",cause=\"{cause}\",initiator=\"{initiator}\"}}"
        );
        *expected.entry(series).or_insert(0.0) += 1.0;
    }
    for (series, count) in expected {
        let series = format!("tidegate_ws_connections_closed_total{series}");
        gateway.admin().counts(&series, count).await;
    }
    each_has_its_two_lines(&log.lines(0).await, 3 * WAYS);
}

/// Each session opened once and closed once, and in this order.
fn each_has_its_two_lines(lines: &[Value], count: usize) {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["event"] != "ws.stats") {
        seen.entry(text(line, "session"))
            .or_default()
            .push(text(line, "event"));
    }
    assert_eq!(seen.len(), count);
    for (session, events) in seen {
        assert_eq!(events, ["ws.open", "ws.close"], "{session}");
    }
}

#[tokio::test]
async fn churn_leaves_no_session_without_its_end() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &yaml(&log, "stats_interval: 1s", ""));
    let count = 200;
    let mut staying = Vec::new();
    for number in 0..count {
        let mut client = gateway.connect().await;
        client.upgrade("/").await;
        client.send_frame(&Frame::text("x").from_client()).await;
        match number % 4 {
            0 => client.close_session().await,
            1 => client.reset(),
            2 => drop(client),
            _ => staying.push(client),
        }
    }
    // Those who are left are ended by the drain, and those who do not answer are cut.
    let answering = staying.split_off(staying.len() / 2);
    let goodbyes = answering.into_iter().map(|mut client| {
        tokio::spawn(async move {
            while client.read_frame().await.opcode != 8 {}
            client
                .send_frame(&Frame::close(1001, "").from_client())
                .await;
            client.read_to_end().await;
        })
    });
    let goodbyes: Vec<_> = goodbyes.collect();
    gateway.stop().await;
    for goodbye in goodbyes {
        goodbye.await.unwrap();
    }
    // All is there when the gateway has ended.
    let lines = tidegate_tests::log::json_lines(&log.text());
    each_has_its_two_lines(&lines, count);
    let drained = lines.iter().filter(|line| line["cause"] == "drain");
    assert!(drained.count() >= 25);
}

/// Who does not follow is cut, for what began to end it.
#[tokio::test]
async fn sessions_that_a_drain_cuts_have_ended_for_what_they_were_told() {
    let log = LogFile::new();
    let mut upstream = ScriptedUpstream::bind().await;
    let yaml = yaml(&log, "", "").replace("close_timeout: 2s", "close_timeout: 1m");
    let drain = "drain: { delay: none, spread: none, timeout: 1s }\n";
    let gateway = TestGateway::start(&upstream, &format!("{drain}{yaml}"));
    let (_deaf, _deaf_peer) = gateway.open(&mut upstream).await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    client
        .send_frame(&Frame::close(4001, "done").from_client())
        .await;
    assert_eq!(peer.read_close().await, Some(4001)); // and has no answer to it
    gateway.drain();
    assert_eq!(gateway.drained().await, 2);
    let lines = tidegate_tests::log::json_lines(&log.text());
    let closes = lines.iter().filter(|line| line["event"] == "ws.close");
    let ends =
        closes.map(|line| [&line["cause"], &line["code"], &line["reason"]].map(Value::to_string));
    let mut ends: Vec<_> = ends.collect();
    ends.sort();
    assert_eq!(
        ends,
        [
            ["\"client_close\"", "4001", "\"done\""],
            ["\"drain\"", "1001", "\"drain\""],
        ]
    );
}

#[tokio::test]
async fn a_gateway_that_is_cut_tells_the_ends_of_its_sessions() {
    let log = LogFile::new();
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml(&log, "", ""));
    let open = gateway.open(&mut upstream).await;
    let mut waiting = gateway.connect().await;
    waiting.request(&Request::get("/waits")).await;
    let _asked = upstream.accept().await.read_head().await;
    gateway.cut().await;
    drop(open);
    let lines = tidegate_tests::log::json_lines(&log.text());
    let close = lines
        .iter()
        .find(|line| line["event"] == "ws.close")
        .unwrap();
    assert_eq!(
        (&close["cause"], &close["code"]),
        (&json!("internal"), &json!(1006))
    );
    assert_eq!(
        lines.iter().filter(|line| line["event"] == "http").count(),
        1,
        "{lines:?}"
    );
}

#[tokio::test]
async fn sessions_that_go_on_are_told_of_now_and_then_and_silent_ones_are_not() {
    let log = LogFile::new();
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, &yaml(&log, "stats_interval: 1s", ""));
    let before_all = Instant::now();
    let (silent, _silent_peer) = gateway.open(&mut upstream).await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let opens = log.events("ws.open", 2).await;
    let frame = Frame::text("abc").from_client();
    let (mut sent, begun) = (0, Instant::now());
    let stats = loop {
        assert!(begun.elapsed() < 6 * DEADLINE, "{}", log.text());
        client.send_frame(&frame).await;
        peer.read_frame().await;
        sent += 1;
        let lines = log.lines(0).await;
        let stats = lines.into_iter().filter(|line| line["event"] == "ws.stats");
        let stats: Vec<_> = stats.collect();
        if stats.len() >= 3 {
            break stats;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // Whole seconds, and none that is not over.
    let lasted = before_all.elapsed().as_secs_f64();
    let is_over = |line: &Value| line["duration_s"].as_f64().unwrap() <= lasted;
    assert!(stats.iter().all(is_over), "{stats:?} after {lasted}");
    assert!(stats.iter().any(|line| line["idle_s"] == 0.0), "{stats:?}");
    let mut before = 0;
    for line in &stats {
        assert_eq!(line["session"], opens[1]["session"], "{line}");
        assert_eq!(line["conn"], opens[1]["conn"]);
        let messages = line["msgs_in"].as_u64().unwrap();
        assert!(before <= messages && messages <= sent, "{line}");
        assert_eq!(line["bytes_in"].as_u64(), Some(messages * 3));
        assert_eq!(
            (&line["msgs_out"], &line["bytes_out"]),
            (&json!(0), &json!(0))
        );
        before = messages;
    }
    let log_text = log.text();
    let line = log_text
        .lines()
        .find(|line| line.contains("ws.stats"))
        .unwrap();
    let order = "ts event conn session route duration_s idle_s msgs_in msgs_out bytes_in bytes_out";
    assert_eq!(keys(line).join(" "), order);
    drop(silent);
}
