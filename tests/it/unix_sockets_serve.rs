//! A listener on a unix socket: it serves as one on TCP does, to those whom its file lets in, and leaves
//! no file behind; a socket that somebody listens at is never taken away.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::frame::Frame;
use tidegate_tests::{
    End, Request, ScriptedUpstream, TestGateway, Wire, eventually, tools, within,
};
use tokio::net::UnixStream;

fn yaml(upstream: &ScriptedUpstream, bind: &str, keys: &str, top: &str) -> String {
    format!(
        "version: 1\nworkers: 1\nadmin: {{ bind: '127.0.0.1:0' }}\n{top}\n\
         listeners: [{{ name: local, bind: {bind}, {keys} }}]\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    )
}

fn at(path: &Path) -> String {
    format!("'unix:{}'", path.display())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[tokio::test]
async fn requests_and_sessions() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), "", ""));
    let mut client = Wire::connect_unix(&path).await;
    let lie = Request::get("/a").with("X-Forwarded-For", "203.0.113.9");
    for _ in 0..2 {
        drop(upstream.take_heads());
        assert_eq!(client.ask(&lie).await.status(), 200);
        let head = upstream.only_head().await;
        assert_eq!(head.field("X-Forwarded-For"), Some("127.0.0.1"));
    }
    let big = "x".repeat(3_000_000);
    let answer = client.ask(&Request::new("POST", "/big").body(&big)).await;
    assert_eq!(answer.status(), 200);

    let mut session = Wire::connect_unix(&path).await;
    session.upgrade("/").await;
    let payload = "y".repeat(1_000_000);
    session
        .send_frame(&Frame::text(&payload).from_client())
        .await;
    assert_eq!(session.read_frame().await.payload, payload.as_bytes());
    let info = gateway.admin().get("/v1/info").await.text();
    assert!(
        info.contains(&format!("\"unix:{}\"", path.display())),
        "{info}"
    );
    let sessions = gateway.admin().get("/v1/sessions").await.text();
    assert!(sessions.contains("\"127.0.0.1"), "{sessions}");
    session.close_session().await;
    // Who leaves is seen to leave.
    let mut session = Wire::connect_unix(&path).await;
    session.upgrade("/").await;
    drop((session, client));
    gateway.is_empty().await;
    gateway.stop().await;
    assert!(!path.exists(), "the file is still there");
}

#[tokio::test]
async fn who_is_behind_it() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let top = "trusted_proxies: [127.0.0.1]\nlimits: { max_connections_per_address: 1 }";
    let keys = "proxy_protocol: { trusted: [127.0.0.1], header: optional }";
    let _gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), keys, top));
    let mut held = Vec::new();
    for (header, request, told) in [
        (
            "",
            Request::get("/").with("X-Forwarded-For", "192.0.2.1"),
            "192.0.2.1, 127.0.0.1",
        ),
        (
            "PROXY TCP4 192.0.2.2 10.0.0.1 1 2\r\n",
            Request::get("/"),
            "192.0.2.2",
        ),
        (
            "PROXY TCP4 192.0.2.3 10.0.0.1 1 2\r\n",
            Request::get("/"),
            "192.0.2.3",
        ),
    ] {
        drop(upstream.take_heads());
        let mut wire = Wire::connect_unix(&path).await;
        wire.send(header).await;
        assert_eq!(wire.ask(&request).await.status(), 200);
        let head = upstream.only_head().await;
        assert_eq!(head.field("X-Forwarded-For"), Some(told));
        held.push(wire);
    }
    let mut wire = Wire::connect_unix(&path).await;
    wire.send("PROXY TCP4 192.0.2.3 10.0.0.1 1 2\r\n").await;
    wire.ask(&Request::get("/")).await.expect_problem(429);
}

/// Whoever can read a folder can lock it; that is no reason not to serve.
#[tokio::test]
async fn a_lock_on_its_folder_keeps_nobody_from_starting() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let folder = fs::File::open(scratch.path()).unwrap();
    folder.lock().unwrap();
    let yaml = yaml(&upstream, &at(&path), "", "");
    let _gateway = tokio::task::spawn_blocking(move || TestGateway::from_file(&yaml))
        .await
        .unwrap();
    let mut client = Wire::connect_unix(&path).await;
    assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
}

/// Whoever is not trusted is one client with all others on this machine.
#[tokio::test]
async fn strangers_there_are_one_client() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let top = "limits: { max_connections_per_address: 1 }";
    let _gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), "", top));
    let mut first = Wire::connect_unix(&path).await;
    assert_eq!(first.ask(&Request::get("/")).await.status(), 200);
    let mut second = Wire::connect_unix(&path).await;
    second.ask(&Request::get("/")).await.expect_problem(429);
    assert_eq!(second.expect_end().await, End::Fin);
}

#[tokio::test]
async fn its_file_says_who_may_connect() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let own = fs::metadata(scratch.path()).unwrap();
    let (uid, gid) = (own.uid(), own.gid());
    let shown = path.display();
    for (bind, mode) in [
        (at(&path), 0o660),
        (format!("{{ unix: '{shown}' }}"), 0o660),
        (format!("{{ unix: '{shown}', mode: 600 }}"), 0o600),
        (
            format!("{{ unix: '{shown}', mode: 0666, owner: {uid}, group: {gid} }}"),
            0o666,
        ),
    ] {
        let gateway = TestGateway::from_file(&yaml(&upstream, &bind, "", ""));
        let file = fs::metadata(&path).unwrap();
        assert_eq!(file.permissions().mode() & 0o7777, mode, "{bind}");
        assert_eq!((file.uid(), file.gid()), (uid, gid));
        gateway.stop().await;
    }
    let nobody = format!("{{ unix: '{shown}', owner: no-such-user-here }}");
    let refused = TestGateway::try_from_file(&yaml(&upstream, &nobody, "", "")).unwrap_err();
    assert!(
        refused.contains("listener `local` cannot bind unix:"),
        "{refused}"
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_not_stale_stays() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let file = yaml(&upstream, &at(&path), "", "");
    let is_refused = || {
        let refused = TestGateway::try_from_file(&file).unwrap_err();
        assert!(refused.contains("cannot bind unix:"), "{refused}");
    };
    // Of another gateway, which goes on.
    let gateway = TestGateway::from_file(&file);
    is_refused();
    let mut client = Wire::connect_unix(&path).await;
    assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
    drop(client);
    gateway.stop().await;
    // Of a program that does not come round to accepting.
    let busy = UnixListener::bind(&path).unwrap();
    is_refused();
    // Nobody listens any more: it is stale.
    drop(busy);
    assert!(is_socket(&path));
    let gateway = TestGateway::from_file(&file);
    let mut client = Wire::connect_unix(&path).await;
    assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
    drop(client);
    // It was replaced meanwhile: the other's stays.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    gateway.stop().await;
    assert!(is_socket(&path), "another's socket was removed");
    drop(other);
    // What is no socket is left alone.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    is_refused();
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    is_refused();
    fs::remove_file(&path).unwrap();
    let missing = yaml(&upstream, &at(&scratch.path().join("no/gate.sock")), "", "");
    assert!(TestGateway::try_from_file(&missing).is_err());
}

/// The binary, killed and started again; and told to end.
#[tokio::test]
async fn a_process_leaves_no_file_or_finds_its_own() {
    let Some(binary) = tools::tidegate("a_process_leaves_no_file_or_finds_its_own") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let top = "drain: { delay: none, spread: none }";
    let config = scratch.write("tidegate.yaml", &yaml(&upstream, &at(&path), "", top));
    let start = || {
        Process::start(
            Command::new(&binary)
                .arg("run")
                .arg("--config")
                .arg(&config),
        )
    };
    let mut first = start();
    let _admin = first.address_of("admin").await;
    let said = format!(
        "\"listener\":\"local\",\"address\":\"unix:{}\"",
        path.display()
    );
    assert!(first.output().contains(&said), "{}", first.output());
    let mut second = start();
    let (status, output) = second.ends().await;
    assert!(!status.success());
    assert!(output.contains("another process listens there"), "{output}");
    first.signal("KILL");
    first.ends().await;
    assert!(is_socket(&path));
    let mut third = start();
    let _admin = third.address_of("admin").await;
    let mut client = Wire::connect_unix(&path).await;
    assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
    drop(client);
    third.signal("TERM");
    let (status, output) = third.ends().await;
    assert!(status.success(), "{output}");
    assert!(!path.exists(), "the file is still there");
}

/// Who has connected when it goes out of sight is served; nobody else finds it.
#[tokio::test]
async fn a_drain_takes_the_file_first() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let top = "drain: { delay: none, spread: none }";
    let gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), "", top));
    let mut client = Wire::connect_unix(&path).await;
    gateway.drain();
    assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
    eventually("the file is gone", || !path.exists()).await;
    assert!(UnixStream::connect(&path).await.is_err());
    drop(client);
    gateway.drained().await;
}

#[tokio::test]
async fn slow_words_have_an_end_here_too() {
    let upstream = ScriptedUpstream::bind().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let keys = "limits: { head_timeout: 1s }";
    let gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), keys, ""));
    let mut silent = Wire::connect_unix(&path).await;
    let mut slow = Wire::connect_unix(&path).await;
    slow.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(silent.expect_end().await, End::Fin);
    slow.read_answer().await.expect_problem(408);
    drop((silent, slow));
    gateway.is_empty().await;
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn curl_talks_to_it() {
    if tools::program("curl_talks_to_it", "curl").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let _gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), "", ""));
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "15",
        "--unix-socket",
    ]);
    command.arg(&path).arg("http://local.example/a?b");
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(status.success(), "{status}: {output}");
    assert!(output.starts_with("GET /a?b HTTP/1.1\r\n"), "{output}");
    assert!(output.contains("\r\nHost: local.example\r\n"), "{output}");
}

/// Node's own client, plain and for a WebSocket.
#[tokio::test]
async fn node_talks_to_it() {
    let Some(folder) = tools::node_tools("node_talks_to_it") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let _gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), "", ""));
    let program = "const path = process.argv[1], http = require('http');\n\
        const WebSocket = require(process.argv[2] + '/node_modules/ws');\n\
        http.get({ socketPath: path, path: '/a' }, (answer) => {\n\
          answer.resume();\n\
          const socket = new WebSocket('ws+unix://' + path + ':/chat');\n\
          socket.on('open', () => socket.send('through'));\n\
          socket.on('message', (text) => { console.log(answer.statusCode + ' ' + text);\n\
            socket.close(1000); });\n\
        });\n";
    let mut command = Command::new("node");
    command.args(["-e", program]).arg(&path).arg(folder);
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(status.success(), "{status}: {output}");
    assert_eq!(output.trim(), "200 through");
    let targets: Vec<_> = upstream
        .heads()
        .iter()
        .map(|head| head.target().to_owned())
        .collect();
    assert_eq!(targets, ["/a", "/chat"]);
}

#[tokio::test]
async fn nginx_passes_to_it() {
    if tools::program("nginx_passes_to_it", "nginx").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let top = "trusted_proxies: [127.0.0.1]";
    let _gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), "", top));
    let (root, port) = (scratch.path().display(), spare_port());
    let config = scratch.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; error_log stderr; pid {root}/pid;\nevents {{}}\n\
             http {{\n access_log off; client_body_temp_path {root}/body;\n \
             proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u;\n \
             scgi_temp_path {root}/s;\n server {{ listen 127.0.0.1:{port}; location / {{\n \
             proxy_pass http://unix:{root}/gate.sock:; proxy_http_version 1.1;\n \
             proxy_set_header X-Forwarded-For $remote_addr;\n \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}\n"
        ),
    );
    let mut command = Command::new("nginx");
    command.arg("-p").arg(scratch.path()).arg("-c").arg(config);
    let mut nginx = Process::start(&mut command);
    let address = nginx.listens().await;
    let client = std::net::IpAddr::from([127, 0, 9, 9]);
    let mut wire = Wire::connect_from(client, address).await;
    assert_eq!(wire.ask(&Request::get("/")).await.status(), 200);
    let head = upstream.only_head().await;
    assert_eq!(head.field("X-Forwarded-For"), Some("127.0.9.9, 127.0.0.1"));
    assert_eq!(head.field("X-Real-IP"), Some("127.0.9.9"));
    let mut session = Wire::connect_from(client, address).await;
    session.upgrade("/").await;
    session
        .send_frame(&Frame::text("through").from_client())
        .await;
    assert_eq!(session.read_frame().await.payload, b"through");
    session.close_session().await;
}

#[tokio::test]
async fn haproxy_passes_to_it() {
    if tools::program("haproxy_passes_to_it", "haproxy").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let path = scratch.path().join("gate.sock");
    let keys = "proxy_protocol: { trusted: [127.0.0.1] }";
    let _gateway = TestGateway::from_file(&yaml(&upstream, &at(&path), keys, ""));
    let (shown, port) = (path.display(), spare_port());
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
         listen all\n bind 127.0.0.1:{port}\n server up unix@{shown} send-proxy-v2\n"
    );
    let config = scratch.write("haproxy.cfg", &config);
    let program = tools::program("haproxy", "haproxy").unwrap();
    let mut haproxy = Process::start(Command::new(program).arg("-db").arg("-f").arg(config));
    let address = haproxy.listens().await;
    let client = std::net::IpAddr::from([127, 0, 9, 9]);
    let mut wire = Wire::connect_from(client, address).await;
    let answer = within("an answer", wire.ask(&Request::get("/"))).await;
    assert_eq!(answer.status(), 200);
    let head = upstream.only_head().await;
    assert_eq!(head.field("X-Forwarded-For"), Some("127.0.9.9"));
}
