//! Every open WebSocket can be seen by those who operate the gateway, with what it is and what went
//! through it, and be ended: at a frame boundary, and told to both of its sides.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::frame::{BINARY, CLOSE, TEXT};
use tidegate_tests::{
    Admin, End, Frame, Request, ScriptedUpstream, TestGateway, Wire, eventually, tools,
};

const YAML: &str = "admin: { bind: '127.0.0.1:0' }\n\
    trusted_proxies: [127.0.0.9]\n\
    services:\n  talk: { endpoints: ['ws://UP/base'] }\n  other: { endpoints: ['http://UP'] }\n\
    routes:\n\
    \x20 - { name: chat, match: { path: /chat/**, host: '*.example.com', upgrade: websocket }, filters: [{ strip_prefix: 1 }], proxy: { service: talk } }\n\
    \x20 - { name: rest, match: { path: /**, methods: [GET, POST], headers: { X-A: { regex: 'v[0-9]' } } }, proxy: { service: other, websocket: { close_timeout: 1s } } }\n\
    \x20 - { name: all, match: { path: /** }, proxy: { service: other, websocket: { close_timeout: 1s } } }\n";
/// How long an end may take to begin.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn json(admin: Admin, target: &str) -> Value {
    let answer = admin.get(target).await;
    assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
    assert_eq!(answer.head.field("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

async fn ids(admin: Admin, query: &str) -> Vec<String> {
    let page = json(admin, &format!("/v1/sessions{query}")).await;
    assert_eq!(page["next_cursor"], Value::Null);
    let sessions = page["sessions"].as_array().unwrap().iter();
    sessions
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The only session, once it is as it must be.
async fn when(admin: Admin, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let session = json(admin, "/v1/sessions").await["sessions"][0].take();
        if is(&session) {
            return session;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{session}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn only_id(admin: Admin) -> String {
    let mut ids = ids(admin, "").await;
    assert_eq!(ids.len(), 1);
    ids.remove(0)
}

#[tokio::test]
async fn a_session_is_told_as_it_is() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    assert_eq!(
        json(admin, "/v1/sessions").await,
        json!({ "sessions": [], "next_cursor": null })
    );
    let mut client = gateway.connect().await;
    let wish = Request::handshake("/chat/room/7?access_token=hunter22")
        .host("A.Example.com:8080")
        .with("Sec-WebSocket-Protocol", "v9.x, v12.stomp");
    client.request(&wish).await;
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    assert_eq!(head.target(), "/base/room/7?access_token=hunter22");
    assert!(ids(admin, "").await.is_empty(), "nobody has agreed yet");
    peer.send(tidegate_tests::wire::switching(
        &head,
        &["Sec-WebSocket-Protocol: v12.stomp"],
    ))
    .await;
    assert_eq!(client.read_head().await.status(), 101);
    for _ in 0..3 {
        let frame = Frame::text("hello").from_client();
        client.send_frame(&frame).await;
        peer.expect(&frame.bytes()).await;
    }
    let parts = [
        Frame::new(TEXT, "ab").unfinished().bytes(),
        Frame::new(0, "cd").bytes(),
    ];
    peer.send(parts.concat()).await;
    client.expect(parts.concat()).await;
    let mut session = when(admin, |session| session["msgs_out"] == 1).await;
    let id = session["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("s_") && id.len() == 18, "{id}");
    let alone = json(admin, &format!("/v1/sessions/{id}")).await;
    for (name, shape) in [("opened", "0000-00-00T00:00:00.000Z")] {
        let text = session[name].take();
        let digits = text.as_str().unwrap().chars();
        let digits: String = digits
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(digits, shape);
    }
    for name in ["age_seconds", "idle_seconds"] {
        assert!(session[name].take().as_u64().unwrap() < 60);
    }
    let local = client.local().to_string();
    assert_eq!(
        session,
        json!({
            "id": id, "route": "chat", "service": "talk",
            "endpoint": upstream.address().to_string(),
            "client": "127.0.0.1", "peer": local, "listener": "public",
            "host": "a.example.com:8080", "path": "/chat/room/7", "subprotocol": "v12.stomp",
            "opened": null, "age_seconds": null, "idle_seconds": null,
            "msgs_in": 3, "msgs_out": 1, "bytes_in": 15, "bytes_out": 4, "closing": false,
        })
    );
    assert_eq!(alone["id"], id.as_str());
    assert_eq!(alone["bytes_in"], 15);
    assert!(!alone.to_string().contains("hunter22"));
    // Once one side has said goodbye it is closing, and gone with the answer.
    client
        .send_frame(&Frame::close(1000, "").from_client())
        .await;
    when(admin, |session| session["closing"] == true).await;
    peer.read_frame().await;
    peer.send_frame(&Frame::close(1000, "")).await;
    drop((peer, client));
    gateway.is_empty().await;
    assert!(ids(admin, "").await.is_empty());
    let gone = admin.get(&format!("/v1/sessions/{id}")).await;
    gone.expect_problem(404);
    assert_eq!(gone.code(), "no_session");
}

#[tokio::test]
async fn time_without_a_message_is_told() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    when(admin, |session| session["idle_seconds"].as_u64() >= Some(2)).await;
    let frame = Frame::text("x").from_client();
    client.send_frame(&frame).await;
    peer.expect(&frame.bytes()).await;
    let session = when(admin, |session| session["msgs_in"] == 1).await;
    assert!(session["idle_seconds"].as_u64().unwrap() < 2, "{session}");
    assert!(session["age_seconds"].as_u64().unwrap() >= 2, "{session}");
}

#[tokio::test]
async fn sessions_by_route_service_and_address() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let chat = Request::handshake("/chat/x").host("a.example.com");
    let mut open = Vec::new();
    for from in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 9]] {
        for wish in [chat.clone(), Request::handshake("/y")] {
            let mut client = Wire::connect_from(from.into(), gateway.address()).await;
            let wish = wish.with("X-Forwarded-For", "203.0.113.7");
            client.request(&wish).await;
            assert_eq!(client.read_head().await.status(), 101);
            open.push(client);
        }
    }
    for (query, count) in [
        ("", 6),
        ("?limit=1000", 6),
        ("?route=chat", 3),
        ("?route=all&service=other", 3),
        ("?route=chat&service=other", 0),
        ("?service=talk", 3),
        ("?route=cha", 0),
        ("?address=127.0.0.2", 2),
        ("?address=127.0.0.0/30", 4),
        ("?address=127.0.0.0%2F8", 4),
        ("?address=127.0.0.9", 0),
        ("?address=203.0.113.7", 2),
        ("?address=::ffff:127.0.0.2", 2),
        ("?address=203.0.113.7&route=chat", 1),
        ("?user=u42", 0),
        ("?user=", 0),
    ] {
        assert_eq!(ids(admin, query).await.len(), count, "{query}");
    }
    for wrong in [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=x",
        "?limit=",
        "?cursor=",
        "?cursor=x",
        "?cursor=1-2-3",
        "?rout=chat",
        "?route=a&route=b",
        "?address=localhost",
        "?route=%f",
    ] {
        let answer = admin.get(&format!("/v1/sessions{wrong}")).await;
        assert_eq!(answer.status(), 400, "{wrong}: {}", answer.text());
    }
    // A cursor far behind the last is the end.
    for far in [
        "?cursor=0-99999999",
        "?cursor=9-0",
        "?cursor=0-18446744073709551615",
    ] {
        assert!(ids(admin, far).await.is_empty(), "{far}");
    }
}

#[tokio::test]
async fn an_end_is_told_to_both_sides_and_counted() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    for (body, code, reason) in [
        ("", 1008, "admin"),
        ("{}", 1008, "admin"),
        (
            r#"{"code":4001,"reason":"moved – see news"}"#,
            4001,
            "moved – see news",
        ),
        (r#"{"reason":"later"}"#, 1008, "later"),
        (r#"{"code":1012}"#, 1012, "admin"),
    ] {
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let (mut bystander, mut bystander_peer) = gateway.open(&mut upstream).await;
        let all = json(admin, "/v1/sessions").await;
        let local = client.local().to_string();
        let mut sessions = all["sessions"].as_array().unwrap().iter();
        let session = sessions.find(|session| session["peer"] == local.as_str());
        let id = session.unwrap()["id"].as_str().unwrap();
        let begun = Instant::now();
        let answer = admin.end_session(id, body).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let (told, other) = (client.read_frame().await, peer.read_frame().await);
        assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
        assert_eq!(
            (told.opcode, told.close_code()),
            (CLOSE, Some(code)),
            "{body}"
        );
        assert_eq!(&told.payload[2..], reason.as_bytes());
        assert_eq!(other.close_code(), Some(1001));
        assert_eq!(&other.payload[2..], b"admin");
        client
            .send_frame(&Frame::close(code, "").from_client())
            .await;
        peer.send_frame(&Frame::close(1001, "")).await;
        assert_eq!(client.expect_end().await, End::Fin);
        assert_eq!(peer.expect_end().await, End::Fin);
        drop((client, peer));
        eventually("only the other is left", || gateway.sessions() == 1).await;
        admin.end_session(id, "").await.expect_problem(404);
        let frame = Frame::text("still here");
        bystander_peer.send_frame(&frame).await;
        bystander.expect(&frame.bytes()).await;
        drop((bystander, bystander_peer));
        gateway.is_empty().await;
    }
    let closed = "tidegate_ws_connections_closed_total{route=\"all\"";
    for (code, count) in [("1008", 3.0), ("4xxx", 1.0), ("1012", 1.0)] {
        let series = format!("{closed},code=\"{code}\",cause=\"admin\",initiator=\"admin\"}}");
        admin.counts(&series, count).await;
    }
}

#[tokio::test]
async fn a_wrong_end_ends_nothing() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let id = only_id(admin).await;
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(124));
    let huge = format!("{{\"reason\":\"{}\"}}", "x".repeat(5000));
    for body in [
        "x",
        "[]",
        r#"{"code":1006}"#,
        r#"{"code":2000}"#,
        r#"{"cause":"x"}"#,
        &long,
        &huge,
    ] {
        admin.end_session(&id, body).await.expect_problem(400);
    }
    let other = if id.ends_with('A') { "B" } else { "A" };
    let guess = format!("{}{other}", &id[..id.len() - 1]);
    let early = format!("s_{other}{}", &id[3..]);
    for unknown in [
        &*guess,
        &early,
        "s_",
        "x",
        "s_AAAAAAAAAAAAAAAA",
        "%00",
        "..%2f",
    ] {
        admin.end_session(unknown, "").await.expect_problem(404);
    }
    for method in ["POST", "PUT", "PATCH"] {
        let target = format!("/v1/sessions/{id}");
        let request = Request::new(method, &target).set("Host", "localhost");
        let answer = admin.ask(&request).await;
        answer.expect_problem(405);
        assert!(answer.head.field("Allow").unwrap().contains("DELETE"));
    }
    let frame = Frame::text("still here");
    peer.send_frame(&frame).await;
    client.expect(&frame.bytes()).await;
}

#[tokio::test]
async fn an_end_waits_for_the_end_of_a_long_frame() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let down = Frame::new(BINARY, vec![7; 300_000]).bytes();
    let up = Frame::new(BINARY, vec![9; 300_000]).from_client().bytes();
    peer.send(&down[..1000]).await;
    client.expect(&down[..1000]).await;
    client.send(&up[..1000]).await;
    peer.expect(&up[..1000]).await;
    let id = only_id(admin).await;
    assert_eq!(admin.end_session(&id, "").await.status(), 202);
    client.stays_silent().await;
    peer.stays_silent().await;
    assert!(when(admin, |session| session["closing"] == true).await["id"] == id.as_str());
    tokio::join!(
        async {
            peer.send(&down[1000..]).await;
            peer.expect(&up[1000..]).await;
            assert_eq!(peer.read_close().await, Some(1001));
        },
        async {
            client.send(&up[1000..]).await;
            client.expect(&down[1000..]).await;
            assert_eq!(client.read_close().await, Some(1008));
        }
    );
}

#[tokio::test]
async fn an_end_inside_a_frame_that_never_ends_is_a_reset() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let down = Frame::new(BINARY, vec![7; 1000]).bytes();
    peer.send(&down[..500]).await;
    client.expect(&down[..500]).await;
    let id = only_id(admin).await;
    assert_eq!(admin.end_session(&id, "").await.status(), 202);
    assert_eq!(peer.read_close().await, Some(1001));
    assert_eq!(client.expect_end().await, End::Reset);
    gateway.is_empty().await;
}

#[tokio::test]
async fn strangers_see_and_end_nothing() {
    const TOKEN: &str = "0123456789abcdef-token";
    let targets = |id: &str| {
        [
            "/v1/sessions".to_owned(),
            format!("/v1/sessions/{id}"),
            "/v1/routes".to_owned(),
            "/v1/services".to_owned(),
            "/application/websockets".to_owned(),
            "/actuator/websocket".to_owned(),
            "/actuator/websocket/count".to_owned(),
        ]
    };
    let aliases = "aliases: [actuator_websocket, application_websockets]";
    for (token, refusal) in [(format!("token: {TOKEN},"), 401), (String::new(), 403)] {
        let bind = format!("bind: '127.0.0.1:0', {token} {aliases}");
        let yaml = YAML.replace("bind: '127.0.0.1:0'", &bind);
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::start(&upstream, &yaml);
        let admin = gateway.admin();
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let known = |request: Request| match &*token {
            "" => request,
            _ => request.with("Authorization", &format!("Bearer {TOKEN}")),
        };
        let list = admin.ask(&known(admin.request("/v1/sessions"))).await;
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        let id = list["sessions"][0]["id"].as_str().unwrap();
        let end = Request::new("DELETE", &format!("/v1/sessions/{id}")).set("Host", "localhost");
        for target in targets(id) {
            assert_eq!(
                admin.ask(&known(admin.request(&target))).await.status(),
                200,
                "{target}"
            );
            let strange = admin.request(&target).with("Origin", "http://localhost");
            admin.ask(&strange).await.expect_problem(refusal);
        }
        let strange = end.clone().with("Origin", "http://localhost");
        admin.ask(&strange).await.expect_problem(refusal);
        let afar = end.clone().set("Host", "evil.example");
        let refusal = if token.is_empty() { 421 } else { 401 };
        admin.ask(&afar).await.expect_problem(refusal);
        let frame = Frame::text("still here");
        peer.send_frame(&frame).await;
        client.expect(&frame.bytes()).await;
        assert_eq!(admin.ask(&known(end)).await.status(), 202);
        assert_eq!(client.read_close().await, Some(1008));
    }
}

#[tokio::test]
async fn routes_and_services_are_told_as_they_are_used() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let routes = |sessions: u64| {
        json!({ "routes": [
            {
                "name": "chat",
                "match": { "path": ["/chat/**"], "host": ["*.example.com"], "upgrade": "websocket" },
                "service": "talk", "sessions": 0,
            },
            {
                "name": "rest",
                "match": {
                    "path": ["/**"], "methods": ["GET", "POST"],
                    "headers": { "X-A": { "regex": "v[0-9]" } },
                },
                "service": "other", "sessions": 0,
            },
            {
                "name": "all", "match": { "path": ["/**"] },
                "service": "other", "sessions": sessions,
            },
        ] })
    };
    assert_eq!(json(admin, "/v1/routes").await, routes(0));
    let open = gateway.open(&mut upstream).await;
    // It is counted a moment after its 101.
    admin
        .counts("tidegate_ws_connections{route=\"all\",kind=\"proxy\"}", 1.0)
        .await;
    assert_eq!(json(admin, "/v1/routes").await, routes(1));
    let address = upstream.address().to_string();
    let endpoint = |path: &str, leases: u64| json!([{ "address": address, "path": path, "weight": 1, "leases": leases }]);
    assert_eq!(
        json(admin, "/v1/services").await,
        json!({ "services": [
            { "name": "talk", "endpoints": endpoint("/base", 0), "routes": ["chat"], "sessions": 0 },
            { "name": "other", "endpoints": endpoint("", 1), "routes": ["rest", "all"], "sessions": 1 },
        ] })
    );
    drop(open);
    gateway.is_empty().await;
    admin
        .counts("tidegate_ws_connections{route=\"all\",kind=\"proxy\"}", 0.0)
        .await;
    assert_eq!(json(admin, "/v1/routes").await, routes(0));
}

#[tokio::test]
async fn other_gateways_paths_are_there_where_they_are_switched_on() {
    let mut upstream = ScriptedUpstream::bind().await;
    let none = TestGateway::start(&upstream, YAML);
    let paths = [
        "/application/websockets",
        "/actuator/websocket",
        "/actuator/websocket/count",
    ];
    for path in paths {
        none.admin().get(path).await.expect_problem(404);
    }
    let aliases = "aliases: [actuator_websocket, application_websockets]";
    let bind = format!("bind: '127.0.0.1:0', {aliases}");
    let gateway = TestGateway::start(&upstream, &YAML.replace("bind: '127.0.0.1:0'", &bind));
    let admin = gateway.admin();
    assert_eq!(admin.get(paths[0]).await.text(), "[]");
    assert_eq!(admin.get(paths[1]).await.text(), "{\"count\":0}");
    assert_eq!(admin.get(paths[2]).await.text(), "0");
    admin
        .get("/actuator/websocket/other")
        .await
        .expect_problem(404);
    let mut client = gateway.connect().await;
    let wish = Request::handshake("/chat/room/7?t=secret").host("a.example.com");
    client.request(&wish).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
    let id = only_id(admin).await;
    let (local, address) = (client.local(), upstream.address());
    let whole = |service_session: &str| {
        format!(
            "[{{\"sessionId\":\"{id}\",\"clientAddress\":\"/{local}\",\
             \"gatewayPath\":\"ws://a.example.com/chat/room/7\",\
             \"serviceUrl\":\"ws://{address}/base/room/7\",\
             \"serviceSessionId\":{service_session}}}]"
        )
    };
    assert_eq!(
        admin.get(paths[0]).await.text(),
        whole(&format!("\"{id}\""))
    );
    assert_eq!(admin.get(paths[1]).await.text(), "{\"count\":1}");
    assert_eq!(admin.get(paths[2]).await.text(), "1");
    // The service's side has just closed.
    peer.send_frame(&Frame::close(1000, "")).await;
    client.read_frame().await;
    when(admin, |session| session["closing"] == true).await;
    assert_eq!(admin.get(paths[0]).await.text(), whole("null"));
}

#[tokio::test]
async fn the_command_line_lists_and_ends_them() {
    let Some(binary) = tools::tidegate("the_command_line_lists_and_ends_them") else {
        return;
    };
    const TOKEN: &str = "0123456789abcdef-token";
    let mut upstream = ScriptedUpstream::bind().await;
    let scratch = Scratch::new();
    let bind = format!("bind: '127.0.0.1:0', token: {TOKEN}");
    let yaml = YAML.replace("bind: '127.0.0.1:0'", &bind);
    let gateway = TestGateway::start(&upstream, &yaml);
    let at = gateway.admin().0.to_string();
    // The same file, as it would be with a port that is not chosen by the system.
    let file = format!("version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n{yaml}");
    let file = file.replace("127.0.0.1:0', token", &format!("{at}', token"));
    let file = file.replace("UP", &upstream.address().to_string());
    let file = scratch.write("tidegate.yaml", &file).display().to_string();
    let token = scratch
        .write("token", &format!("{TOKEN}\n"))
        .display()
        .to_string();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        let command = command
            .arg("sessions")
            .args(arguments)
            .current_dir(scratch.path());
        let (status, said) = Process::start(command).ends().await;
        (status.code(), said)
    };
    let by_file = ["--config", &*file];
    let by_address = ["--admin", &*at, "--token-file", &*token];
    let (mut client, _peer) = gateway.open(&mut upstream).await;
    let (mut other, _other_peer) = gateway.open(&mut upstream).await;
    let local = client.local().to_string();
    for place in [&by_file[..], &by_address] {
        let (code, table) = run(&[&["ls"], place].concat()).await;
        assert_eq!((code, table.lines().count()), (Some(0), 3), "{table}");
        assert!(table.starts_with("ID "), "{table}");
        let (code, none) = run(&[&["ls", "--route", "chat", "--json"], place].concat()).await;
        assert_eq!((code, &*none), (Some(0), ""));
    }
    let filters = [
        "ls",
        "--route",
        "all",
        "--service",
        "other",
        "--address",
        "127.0.0.0/8",
    ];
    let (_, listed) = run(&[&filters[..], &["--json"], &by_file].concat()).await;
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(listed.len(), 2);
    let session = listed.iter().find(|one| one["peer"] == local.as_str());
    let id = session.unwrap()["id"].as_str().unwrap();
    let end = ["kill", id, "--code", "4005", "--reason", "bye"];
    let (code, said) = run(&[&end, &by_address[..]].concat()).await;
    assert_eq!((code, &*said), (Some(0), ""));
    let close = client.read_frame().await;
    assert_eq!(
        (close.close_code(), &close.payload[2..]),
        (Some(4005), &b"bye"[..])
    );
    drop(client);
    eventually("it is gone", || gateway.sessions() == 1).await;
    other.stays_silent().await;
    for (arguments, complaint) in [
        (&[&["kill", id], &by_file[..]].concat()[..], "no session"),
        (&[&["kill", "x/../y"], &by_file[..]].concat(), "no session"),
        (
            &[&["kill", id, "--code", "1006"], &by_file[..]].concat(),
            "close frame",
        ),
        (&["ls", "--admin", &at], "Authorization"),
        (&["ls", "--admin", "127.0.0.1:1"], "cannot ask"),
        (
            &[&["ls", "--address", "here"], &by_file[..]].concat(),
            "`address`",
        ),
        (&["ls", "--config", "none.yaml"], "none.yaml"),
    ] {
        let (code, said) = run(arguments).await;
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(complaint), "{arguments:?}: {said}");
        assert!(!said.contains(TOKEN));
    }
}
