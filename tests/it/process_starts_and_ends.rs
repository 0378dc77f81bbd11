//! The binary: runs from a file and the environment, ends cleanly on a signal, and shows in its demo
//! what it promises.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, Request, ScriptedUpstream, Wire, tools};

fn yaml(upstream: &ScriptedUpstream) -> String {
    format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         drain: {{ delay: none, spread: none }}\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    )
}

#[tokio::test]
async fn signals_end_it_with_0() {
    let Some(binary) = tools::tidegate("signals_end_it_with_0") else {
        return;
    };
    for signal in ["TERM", "INT"] {
        let upstream = ScriptedUpstream::mirror().await;
        let (mut gateway, address, _files) = Process::gateway(&binary, &yaml(&upstream)).await;
        let mut client = Wire::connect(address).await;
        client.ask(&Request::get("/")).await.seen();
        let mut session = Wire::connect(address).await;
        session.upgrade("/").await;
        gateway.signal(signal);
        let told = session.read_frame().await;
        assert_eq!(told.close_code(), Some(1001));
        assert!(told.payload[2..].starts_with(b"drain"), "{told:?}");
        session
            .send_frame(&Frame::close(1001, "").from_client())
            .await;
        let (status, output) = gateway.ends().await;
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(!output.contains("panicked"), "{output}");
        client.read_to_end().await;
    }
}

#[tokio::test]
async fn second_signal_ends_it_at_once() {
    let Some(binary) = tools::tidegate("second_signal_ends_it_at_once") else {
        return;
    };
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.read_to_end().await;
    })
    .await;
    let (mut gateway, address, _files) = Process::gateway(&binary, &yaml(&upstream)).await;
    let mut client = Wire::connect(address).await;
    client.request(&Request::get("/")).await;
    upstream.only_head().await;
    gateway.signal("TERM");
    // It waits for the answer; the second signal does not.
    let begun = Instant::now();
    tidegate_tests::eventually("it has heard the first", || {
        gateway.output().contains("draining")
    })
    .await;
    gateway.signal("TERM");
    gateway.ends().await;
    assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn request_under_way_is_finished() {
    let Some(binary) = tools::tidegate("request_under_way_is_finished") else {
        return;
    };
    let mut upstream = ScriptedUpstream::bind().await;
    let (mut gateway, address, _files) = Process::gateway(&binary, &yaml(&upstream)).await;
    let mut client = Wire::connect(address).await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    gateway.signal("TERM");
    tidegate_tests::eventually("it has heard", || gateway.output().contains("draining")).await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
    let (status, output) = gateway.ends().await;
    assert_eq!(status.code(), Some(0), "{output}");
    let last = output.lines().last().unwrap();
    assert!(
        last.contains("\"ended\"") && last.contains("\"cut\":0"),
        "{output}"
    );
}

#[tokio::test]
async fn environment_fills_in_and_overrides() {
    let Some(binary) = tools::tidegate("environment_fills_in_and_overrides") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let file = scratch.write(
        "env.yaml",
        "version: 1\nlisteners: [{ name: public, bind: 192.0.2.1:1 }]\n\
         services: { up: { endpoints: ['http://${UPSTREAM_HOST:-127.0.0.1}:${UPSTREAM_PORT}'] } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    );
    let mut command = Command::new(&binary);
    command.arg("run").arg("--config").arg(&file);
    command.env("UPSTREAM_PORT", upstream.address().port().to_string());
    command.env("TIDEGATE__LISTENERS__0__BIND", "127.0.0.1:0");
    let mut gateway = Process::start(&mut command);
    let address = gateway.listens().await;
    Wire::connect(address)
        .await
        .ask(&Request::get("/"))
        .await
        .seen();
}

#[tokio::test]
async fn without_arguments_it_runs_from_its_folder() {
    let Some(binary) = tools::tidegate("without_arguments_it_runs_from_its_folder") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let _ = scratch.write("tidegate.yaml", &yaml(&upstream));
    let mut gateway = Process::start(Command::new(&binary).current_dir(scratch.path()));
    let address = gateway.listens().await;
    Wire::connect(address)
        .await
        .ask(&Request::get("/"))
        .await
        .seen();
}

/// A hundred clients at once, on every worker that the machine has.
#[tokio::test]
async fn all_cores_serve() {
    let Some(binary) = tools::tidegate("all_cores_serve") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let (gateway, address, _files) = Process::gateway(&binary, &yaml(&upstream)).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..100_u32 {
        clients.spawn(async move {
            let mut plain = Wire::connect(address).await;
            let mut session = Wire::connect(address).await;
            session.upgrade("/").await;
            for round in 0..10 {
                let target = format!("/{number}/{round}");
                assert_eq!(
                    plain.ask(&Request::get(&target)).await.seen().target(),
                    target
                );
                session
                    .send_frame(&Frame::text(&target).from_client())
                    .await;
                assert_eq!(session.read_frame().await.payload, target.as_bytes());
            }
            session.close_session().await;
        });
    }
    clients.join_all().await;
    assert!(
        !gateway.output().contains("panicked"),
        "{}",
        gateway.output()
    );
}

/// Whoever tries the demo has written no file, so what is wrong is told by its options.
#[tokio::test]
async fn demo_that_cannot_run_names_the_option_to_change() {
    let Some(binary) = tools::tidegate("demo_that_cannot_run_names_the_option_to_change") else {
        return;
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let held = other.local_addr().unwrap().to_string();
    for (options, named, unnamed) in [
        (
            ["--bind", &held, "--admin", "127.0.0.1:0"],
            "--bind",
            "--admin",
        ),
        (
            ["--bind", "127.0.0.1:0", "--admin", &held],
            "--admin",
            "--bind",
        ),
        (
            ["--bind", &taken, "--admin", &taken],
            "--admin",
            "demo.yaml",
        ),
        (
            ["--bind", "127.0.0.1:0", "--admin", "0.0.0.0:0"],
            "--admin",
            "demo.yaml",
        ),
    ] {
        let mut demo = Process::start(Command::new(&binary).arg("dev").args(options));
        let (status, output) = demo.ends().await;
        assert_eq!(status.code(), Some(1), "{options:?}: {output}");
        let error = output.lines().last().unwrap();
        assert!(
            error.contains(named) && !error.contains(unnamed) && !error.contains("127.0.0.1:0"),
            "{options:?}: {output}"
        );
    }
}

/// The commands that `dev` prints are pasted by a newcomer: each must work.
#[tokio::test]
async fn demo_shows_what_it_promises() {
    let Some(binary) = tools::tidegate("demo_shows_what_it_promises") else {
        return;
    };
    let mut demo = Process::start(Command::new(&binary).args(["dev", "--bind", "127.0.0.1:0"]));
    demo.listens().await;
    tidegate_tests::eventually("it prints its commands", || {
        let output = demo.output();
        ["/hello", "/customers", "/refuse", "/sse"]
            .iter()
            .all(|path| output.contains(path))
    })
    .await;
    let output = demo.output();
    let (_, behind) = output.split_once("curl").unwrap();
    let (_, behind) = behind.split_once("http://").unwrap();
    let address = behind.split('/').next().unwrap().parse().unwrap();

    let customers = Wire::connect(address)
        .await
        .ask(&Request::get("/customers"))
        .await;
    assert_eq!(customers.status(), 200);
    assert!(
        customers
            .head
            .field("Content-Type")
            .unwrap()
            .starts_with("application/json")
    );
    serde_json::from_slice::<serde_json::Value>(&customers.body).unwrap();

    let refusal = Wire::connect(address)
        .await
        .ask(&Request::handshake("/refuse"))
        .await;
    assert_eq!(refusal.status(), 401);
    assert!(refusal.head.has("WWW-Authenticate") && refusal.head.has("Set-Cookie"));

    let mut hello = Wire::connect(address).await;
    hello.upgrade("/hello").await;
    hello
        .send_frame(&Frame::text("is it you").from_client())
        .await;
    while hello.read_frame().await.payload != b"is it you" {} // a greeting may come first
    hello.close_session().await;

    let mut events = Wire::connect(address).await;
    events.request(&Request::get("/sse")).await;
    let head = events.read_head().await;
    assert_eq!(head.status(), 200);
    assert!(
        head.field("Content-Type")
            .unwrap()
            .starts_with("text/event-stream")
    );
    assert!(events.read_chunk().await.is_some());

    let mut tabs = [tab(&output, address).await, tab(&output, address).await];
    let said = paste_commands(&output).await;
    if !said.is_empty() {
        tabs_are_pushed_to_and_kicked(&mut tabs, said).await;
    }
    drop(tabs);
    let begun = Instant::now();
    demo.signal("INT");
    let (status, output) = demo.ends().await;
    assert_eq!(status.code(), Some(0), "{output}");
    let limit = Duration::from_secs(5) + SLACK;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
}

/// The commands have reached two tabs of the user: a push first, and then their end.
async fn tabs_are_pushed_to_and_kicked(tabs: &mut [Wire; 2], mut said: Vec<(String, String)>) {
    let mut of = |end: &str| -> serde_json::Value {
        let place = said.iter().position(|(command, _)| command.contains(end));
        serde_json::from_str(&said.remove(place.unwrap()).1).unwrap()
    };
    assert_eq!(of("/v1/users/demo/push")["matched"], 2);
    assert_eq!(of("/v1/users/demo/sessions")["sessions"], 2);
    let online = of("/v1/users");
    assert_eq!(online["users_online"], 1, "{online}");
    assert_eq!(online["users"][0]["sessions"], 2, "{online}");
    for tab in tabs {
        let pushed = tab.read_frame().await;
        let pushed: serde_json::Value = serde_json::from_slice(&pushed.payload).unwrap();
        assert_eq!(pushed["op"], "push");
        assert_eq!(pushed["event"], "cash-out");
        assert_eq!(tab.read_close().await, Some(4440));
        tab.send_frame(&Frame::close(4440, "").from_client()).await;
    }
}

/// A session of the user whose token the demo printed, behind its welcome.
async fn tab(output: &str, address: SocketAddr) -> Wire {
    let (_, behind) = output.split_once("-s tidegate.bearer.").unwrap();
    let token = behind.split_whitespace().next().unwrap();
    let offer = format!("tidegate.v1.json, tidegate.bearer.{token}");
    let handshake = Request::handshake("/ws").with("Sec-WebSocket-Protocol", &offer);
    let mut tab = Wire::connect(address).await;
    tab.request(&handshake).await;
    assert_eq!(tab.read_head().await.status(), 101);
    tab.read_frame().await;
    tab
}

/// Runs each curl command that the demo printed; what each said.
async fn paste_commands(output: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if tools::program("demo_shows_what_it_promises", "curl").is_none() {
        return all;
    }
    let joined = output.replace("\\\n", " ");
    for line in joined
        .lines()
        .filter(|line| line.trim_start().starts_with("curl "))
    {
        let pasted = line
            .trim()
            .replacen("curl ", "curl --silent --max-time 3 ", 1);
        let mut shell = Command::new("sh");
        let (status, said) = Process::start(shell.args(["-c", &pasted])).ends().await;
        // 28: curl ran out of the time that it was given, in a stream without an end.
        let is_fine = matches!(status.code(), Some(0 | 28));
        assert!(is_fine && !said.is_empty(), "{pasted}: {status} {said}");
        all.push((pasted, said));
    }
    all
}
