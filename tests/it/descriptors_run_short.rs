//! Descriptors run short: what was told so hears it, what waits costs nothing, and when some are
//! free again it goes on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::eventually_does;
use tidegate_tests::{Request, ScriptedUpstream, Wire, eventually, tools};

/// Starts the gateway where it may have so many descriptors.
async fn start(binary: &Path, descriptors: usize, yaml: &str) -> (Process, SocketAddr, Scratch) {
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.yaml", yaml);
    let script = format!("ulimit -n {descriptors} && exec \"$0\" run --config \"$1\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(binary).arg(file);
    let mut gateway = Process::start(&mut shell);
    let address = gateway.listens().await;
    (gateway, address, scratch)
}

fn yaml(upstream: &ScriptedUpstream, limits: &str) -> String {
    format!(
        "version: 1\nworkers: 1\nlimits: {{ {limits} }}\n\
         listeners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         services: {{ up: {{ endpoints: [http://{}], pool: {{ max_idle: 1 }} }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    )
}

/// Opens sessions until one is refused, and returns them with the refusal's code.
async fn fill(address: SocketAddr) -> (Vec<Wire>, String) {
    let mut sessions = Vec::new();
    loop {
        let mut client = Wire::connect(address).await;
        client.request(&Request::handshake("/")).await;
        let head = client.read_head().await;
        if head.status() != 101 {
            let (body, ..) = client.read_body(&head).await.unwrap();
            let (framing, trailers) = (tidegate_tests::wire::Framing::Length, Vec::new());
            let answer = tidegate_tests::Answer {
                head,
                body,
                framing,
                trailers,
            };
            answer.expect_problem(503);
            assert!(answer.head.has("Retry-After"), "{:?}", answer.head);
            return (sessions, answer.code());
        }
        sessions.push(client);
        assert!(sessions.len() < 100, "nothing is ever short");
    }
}

/// Serves again, soon.
async fn serves(address: SocketAddr) {
    eventually_does("it serves again", async || {
        let mut client = Wire::connect(address).await;
        client.ask(&Request::get("/")).await.status() == 200
    })
    .await;
}

/// What the gateway costs in a second of waiting, in hundredths of a second of CPU.
async fn cost(gateway: &Process) -> u64 {
    let before = gateway.cpu_ticks();
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.cpu_ticks() - before
}

/// Silent about it, a gateway takes as many connections as it has descriptors for, and says so.
#[tokio::test]
async fn by_default_the_cap_comes_first() {
    let Some(binary) = tools::tidegate("by_default_the_cap_comes_first") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let (gateway, address, _files) = start(&binary, 64, &yaml(&upstream, "")).await;
    for round in 0..2 {
        let (mut sessions, code) = fill(address).await;
        assert_eq!(code, "gateway_full", "{round}");
        assert!(
            sessions.len() >= 8,
            "{} with 64 descriptors",
            sessions.len()
        );
        for session in &mut sessions {
            session.stays_silent().await;
        }
        assert!(cost(&gateway).await < 20, "it spins");
        drop(sessions);
        serves(address).await;
        eventually("all are gone", || gateway.descriptors() < 30).await;
    }
    let output = gateway.output();
    assert!(output.contains("max_connections"), "{output}");
    assert!(!output.contains("accepting pauses"), "{output}");
}

/// Told to take more than it can, it keeps the last descriptors for itself.
#[tokio::test]
async fn with_too_high_a_cap_it_keeps_a_reserve() {
    let Some(binary) = tools::tidegate("with_too_high_a_cap_it_keeps_a_reserve") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let limits = yaml(&upstream, "max_connections: 5000");
    let (gateway, address, _files) = start(&binary, 64, &limits).await;
    let (sessions, code) = fill(address).await;
    assert_eq!(code, "descriptors_short");
    let mut more = Vec::new();
    for _ in 0..100 {
        more.push(Wire::connect(address).await);
    }
    for refused in &mut more {
        // Whoever has not asked yet may get in where one descriptor is left.
        if tokio::time::timeout(Duration::from_millis(20), refused.something_came())
            .await
            .is_ok()
        {
            let answer = refused.read_answer().await;
            assert_eq!(answer.code(), "descriptors_short");
        }
        assert!(
            gateway.descriptors() <= 64 - 16 + 2,
            "{}",
            gateway.descriptors()
        );
    }
    assert!(cost(&gateway).await < 20, "it spins");
    drop((sessions, more));
    serves(address).await;
    let output = gateway.output();
    assert!(
        output.contains("are too few for 5000 connections"),
        "{output}"
    );
}

/// Connections that nobody uses do not keep out those who want one to another service.
#[tokio::test]
async fn idle_upstream_connections_make_room() {
    const CLIENTS: usize = 24;
    let Some(binary) = tools::tidegate("idle_upstream_connections_make_room") else {
        return;
    };
    let mut upstreams = Vec::new();
    for _ in 0..4 {
        upstreams.push(ScriptedUpstream::bind().await);
    }
    let mut yaml = "version: 1\nworkers: 2\nlisteners: [{ name: public, bind: 127.0.0.1:0 }]\n\
                    limits: { max_connections: 100 }\nservices:\n"
        .to_owned();
    let mut routes = "routes:\n".to_owned();
    for (place, upstream) in upstreams.iter().enumerate() {
        let address = upstream.address();
        yaml += &format!("  up{place}: {{ endpoints: 'http://{address}' }}\n");
        routes += &format!(
            "  - {{ name: r{place}, match: {{ path: /{place} }}, proxy: {{ service: up{place} }} }}\n"
        );
    }
    let (_gateway, address, _files) = start(&binary, 128, &(yaml + &routes)).await;
    let (mut clients, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        clients.push(Wire::connect(address).await);
    }
    for (place, upstream) in upstreams.iter_mut().enumerate() {
        // All at once, so that each has a connection of its own.
        for client in &mut clients {
            client.request(&Request::get(&format!("/{place}"))).await;
        }
        let mut calls = Vec::new();
        for _ in 0..CLIENTS {
            let mut call = upstream.accept().await;
            call.read_head().await;
            calls.push(call);
        }
        for call in &mut calls {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
        for client in &mut clients {
            assert_eq!(client.read_answer().await.status(), 200, "{place}");
        }
        idle.append(&mut calls);
    }
}

/// And whoever asks before hears of it.
#[tokio::test]
async fn check_warns_of_too_high_a_cap() {
    let Some(binary) = tools::tidegate("check_warns_of_too_high_a_cap") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    for (most, warns) in [(5000, true), (10, false)] {
        let text = yaml(&upstream, &format!("max_connections: {most}"));
        let file = scratch.write("tidegate.yaml", &text);
        let mut shell = Command::new("sh");
        let script = "ulimit -n 64 && exec \"$0\" check --config \"$1\"";
        shell.arg("-c").arg(script).arg(&binary).arg(file);
        let (status, output) = Process::start(&mut shell).ends().await;
        assert!(status.success() && output.contains("valid"), "{output}");
        // With its place, as all warnings.
        assert_eq!(
            output.contains("tidegate.yaml:3:28: limits.max_connections: "),
            warns,
            "{output}"
        );
        assert_eq!(
            output.contains("too few for 5000 connections"),
            warns,
            "{output}"
        );
    }
}

/// None is left at all: accepting pauses, says so once, and goes on by itself.
#[tokio::test]
async fn without_any_it_pauses_and_goes_on() {
    let Some(binary) = tools::tidegate("without_any_it_pauses_and_goes_on") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let (gateway, address, _files) = start(&binary, 128, &yaml(&upstream, "")).await;
    let mut session = Wire::connect(address).await;
    session.upgrade("/").await;
    let at_rest = gateway.descriptors();
    for round in 1..=2 {
        gateway.allow_descriptors(gateway.first_free_descriptor());
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let mut client = Wire::connect(address).await;
            client.request(&Request::get("/")).await;
            waiting.push(client);
        }
        let pauses = || gateway.output().matches("accepting pauses").count();
        eventually("it pauses", || pauses() == round).await;
        assert!(cost(&gateway).await < 20, "it spins");
        assert_eq!(pauses(), round, "it is said again and again");
        session
            .send_frame(&tidegate_tests::Frame::text("hi").from_client())
            .await;
        assert_eq!(session.read_frame().await.payload, b"hi");
        gateway.allow_descriptors(128);
        let mut served = 0;
        for client in &mut waiting {
            let answer = client.read_answer().await;
            if answer.status() == 200 {
                served += 1;
            } else {
                // It had the last descriptor, and there was none to dial with.
                assert_eq!(answer.code(), "descriptors_short");
            }
        }
        assert!(served > 15, "{served} were served");
        drop(waiting);
        eventually("it says that it goes on", || {
            gateway.output().matches("accepting goes on").count() == round
        })
        .await;
        // One idle connection to the upstream may be kept.
        eventually("they are gone", || gateway.descriptors() <= at_rest + 1).await;
    }
}
