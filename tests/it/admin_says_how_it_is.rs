//! The admin listener: whether the gateway lives and is ready, and what there is of it, also while
//! it stops.

use std::process::Command;

use serde_json::Value;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::SLACK;
use tidegate_tests::{
    Admin, Request, ScriptedUpstream, TestGateway, Wire, eventually, openapi, tools,
};
use tokio::net::TcpStream;

const YAML: &str = "admin: { bind: '127.0.0.1:0' }\n\
    services: { up: { endpoints: ['http://UP'] } }\n\
    routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";

async fn json(admin: Admin, target: &str) -> Value {
    let answer = admin.get(target).await;
    assert_eq!(answer.head.field("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn health_by_each_of_its_names() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    for path in [
        "/livez",
        "/readyz",
        "/startupz",
        "/healthz",
        "/health",
        "/actuator/health",
    ] {
        let answer = admin.get(path).await;
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        assert_eq!(answer.head.field("Cache-Control"), Some("no-store"));
        let mut wire = Wire::connect(admin.0).await;
        let head = Request::new("HEAD", path).set("Host", "localhost");
        wire.request(&head).await;
        assert_eq!(wire.read_head().await.status(), 200, "HEAD {path}");
        let (body, _end) = wire.read_to_end().await;
        assert!(body.is_empty(), "{body:?}");
    }
    assert_eq!(json(admin, "/actuator/health").await["status"], "UP");
    for query in ["?verbose", "?verbose=true", "?x=1&verbose"] {
        let checks = json(admin, &format!("/readyz{query}")).await;
        assert_eq!(checks["status"], "ok");
        let names: Vec<_> = checks["checks"].as_array().unwrap().iter().collect();
        assert!(
            names.iter().all(|check| check["status"] == "ok"),
            "{names:?}"
        );
        for name in ["config", "listeners", "workers"] {
            assert!(names.iter().any(|check| check["name"] == name), "{name}");
        }
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn an_old_probe_that_names_no_host_is_answered() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let probe = Request::get("/readyz").version("HTTP/1.0").without("Host");
    let mut wire = Wire::connect(gateway.admin().0).await;
    wire.request(&probe).await;
    let (answer, _end) = wire.read_to_end().await;
    assert!(answer.starts_with(b"HTTP/1.0 200 "), "{answer:?}");
}

#[tokio::test]
async fn facts_are_those_of_the_gateway() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let info = json(admin, "/v1/info").await;
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert!(info["commit"].is_string());
    assert_eq!(info["workers"], 1);
    assert_eq!(info["draining"], false);
    assert_eq!(info["listeners"][0]["name"], "public");
    let address = gateway.address().to_string();
    assert_eq!(info["listeners"][0]["address"], address.as_str());
    assert!(info["uptime_seconds"].as_u64().unwrap() < 60);
    let started = info["started"].as_str().unwrap();
    let shape: String = started
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{started}");

    let census = &info["census"];
    for kind in [
        "connections",
        "sessions",
        "upstream_idle",
        "tasks",
        "panics",
    ] {
        assert_eq!(census[kind], 0, "{kind} in {census}");
    }
    let (client, peer) = gateway.open(&mut upstream).await;
    let mut plain = gateway.connect().await;
    plain.request(&Request::get("/")).await;
    let mut other = upstream.accept().await;
    other.read_head().await;
    other
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    plain.read_answer().await;
    eventually("the census is that of both", || {
        gateway.sessions() == 1 && gateway.upstream_idle() == 1
    })
    .await;
    let census = json(admin, "/v1/info").await["census"].take();
    assert_eq!(census["sessions"], 1, "{census}");
    assert_eq!(census["connections"], 1, "{census}");
    assert_eq!(census["upstream_idle"], 1, "{census}");
    assert!(census["tasks"].as_u64().unwrap() >= 2, "{census}");
    drop((client, peer, plain));
    gateway.is_empty().await;
    let census = json(admin, "/v1/info").await["census"].take();
    assert_eq!(census["sessions"], 0, "{census}");
    assert_eq!(census["connections"], 0, "{census}");
}

#[tokio::test]
async fn a_body_that_nobody_wants_costs_no_answer() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    let large = "x".repeat(8 << 10);
    for (method, path, status) in [
        ("GET", "/livez", 200),
        ("GET", "/nothing", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/v1/sessions/x", 400),
        ("POST", "/v1/drain", 400),
    ] {
        for _ in 0..5 {
            let request = Request::new(method, path).set("Host", "localhost");
            let answer = admin.ask(&request.body(&large)).await;
            assert_eq!(answer.status(), status, "{method} {path}");
        }
    }
    // Nor does one that never comes.
    let request = admin.request("/livez").with("Content-Length", "9");
    assert_eq!(admin.ask(&request).await.status(), 200);
}

#[tokio::test]
async fn the_document_is_served_as_it_is_kept() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let served = gateway.admin().get("/openapi.json").await;
    assert_eq!(served.head.field("Content-Type"), Some("application/json"));
    assert_eq!(served.text(), openapi::DOCUMENT);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let admin = gateway.admin();
    for path in ["/", "/v1", "/v1/info/", "/metrics/x", "/LIVEZ"] {
        admin.get(path).await.expect_problem(404);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        for path in ["/livez", "/metrics", "/v1/info"] {
            let request = Request::new(method, path).set("Host", "localhost");
            let answer = admin.ask(&request).await;
            answer.expect_problem(405);
            assert_eq!(
                answer.head.tokens("Allow"),
                ["get", "head"],
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn stopping_it_is_alive_and_not_ready_until_all_has_ended() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let (admin, address) = (gateway.admin(), gateway.address());
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    let stopping = tokio::spawn(gateway.stop());
    // Not ready comes first: when the data listener is closed, it has been told already.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let ready = admin.get("/readyz").await;
    assert_eq!(ready.status(), 503, "{}", ready.text());
    assert_eq!(ready.text(), "draining: the gateway drains\n");
    assert_eq!(admin.get("/healthz").await.status(), 503);
    assert_eq!(admin.get("/actuator/health").await.status(), 503);
    let checks: Value = serde_json::from_slice(&admin.get("/readyz?verbose").await.body).unwrap();
    assert_eq!(checks["status"], "failed");
    let check = |place: usize| checks["checks"][place].clone();
    assert_eq!(check(0)["name"], "draining");
    assert_eq!(check(0)["status"], "failed");
    let workers = serde_json::json!({ "name": "workers", "status": "ok", "detail": "ending" });
    assert_eq!(check(3), workers);
    for path in ["/livez", "/startupz"] {
        assert_eq!(admin.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(json(admin, "/v1/info").await["draining"], true);
    assert_eq!(admin.metrics().await.get("tidegate_draining"), Some(1.0));

    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
    stopping.await.unwrap();
    assert!(
        TcpStream::connect(admin.0).await.is_err(),
        "it outlives the gateway"
    );
}

#[tokio::test]
async fn without_the_key_there_is_none_and_an_address_is_had_once() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let taken = YAML.replace("127.0.0.1:0", &gateway.admin().0.to_string());
    let error = TestGateway::try_start(&upstream, &taken).unwrap_err();
    assert!(error.contains("`admin`"), "{error}");

    let Some(binary) = tools::tidegate("without_the_key_there_is_none") else {
        return;
    };
    let yaml = format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    );
    let (silent, address, _files) = Process::gateway(&binary, &yaml).await;
    let answer = Wire::connect(address)
        .await
        .ask(&Request::get("/livez"))
        .await;
    assert_eq!(
        answer.seen().target(),
        "/livez",
        "the data plane has no such path"
    );
    assert!(!silent.output().contains("\"listener\":\"admin\""));
}

/// The commands of the document, but the one that needs another machine.
#[tokio::test]
async fn what_the_document_shows_works() {
    let Some(curl) = tools::program("what_the_document_shows_works", "curl") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, YAML);
    let address = gateway.admin().0.to_string();
    let document = include_str!("../../docs/admin.md");
    let urls: Vec<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("curl "))
        .filter_map(|url| {
            let url = url.trim_matches('\'');
            url.strip_prefix("http://127.0.0.1:9900")
        })
        .collect();
    assert_eq!(urls.len(), 6, "{urls:?}");
    for path in urls {
        let url = format!("http://{address}{path}");
        let mut command = Command::new(&curl);
        let command = command.args(["--silent", "--show-error", "--fail", &url]);
        let (status, said) = Process::start(command).ends().await;
        assert!(status.success() && !said.is_empty(), "{url}: {said}");
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_it() {
    let Some(binary) = tools::tidegate("a_second_signal_does_not_wait_for_it") else {
        return;
    };
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.read_to_end().await;
    })
    .await;
    let scratch = Scratch::new();
    let yaml = format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\ndrain: {{ delay: none }}\n{}",
        YAML.replace("UP", &upstream.address().to_string())
    );
    let file = scratch.write("tidegate.yaml", &yaml);
    let mut gateway = Process::start(Command::new(binary).arg("run").arg("--config").arg(file));
    let admin = Admin(gateway.address_of("admin").await);
    let address = gateway.address_of("public").await;
    let mut client = Wire::connect(address).await;
    client.request(&Request::get("/")).await;
    upstream.only_head().await;
    gateway.signal("TERM");
    eventually("it has heard the first", || {
        gateway.output().contains("draining")
    })
    .await;
    while admin.get("/readyz").await.status() != 503 {}
    let begun = std::time::Instant::now();
    gateway.signal("TERM");
    gateway.ends().await;
    assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
}
