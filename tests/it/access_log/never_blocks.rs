//! A log that is not taken keeps nobody waiting: its lines are dropped, counted and told of.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::log::json_lines;
use tidegate_tests::{LogFile, Request, ScriptedUpstream, TestGateway, Wire, eventually, tools};

const ADMIN: &str = "admin: { bind: '127.0.0.1:0' }\n";

fn routes() -> String {
    "services: { up: { endpoints: [http://UP] } }\n\
     routes: [{ name: chat, match: { path: /chat }, proxy: { service: up } }]\n"
        .to_owned()
}

/// Sends so many requests that the gateway answers by itself, with long lines in the log.
async fn burst(client: &mut Wire, from: usize, count: usize) {
    let padding = "x".repeat(1900);
    for number in from..from + count {
        let request = Request::get(&format!("/{number}/{padding}"));
        client.ask(&request).await.expect_problem(404);
    }
}

/// Lines that the log had and that it lost, once they are as many as they must be.
async fn counts(gateway: &TestGateway, all: f64) -> (f64, f64) {
    let mut counts = (0.0, 0.0);
    tidegate_tests::time::eventually_does("all lines are counted", async || {
        let page = gateway.admin().metrics().await;
        let count = |result| {
            let series = format!("tidegate_log_lines_total{{log=\"access\",result=\"{result}\"}}");
            page.get(&series).unwrap()
        };
        counts = (count("written"), count("dropped"));
        counts.0 + counts.1 >= all
    })
    .await;
    counts
}

#[tokio::test]
async fn a_fifo_that_nobody_reads() {
    let log = LogFile::fifo();
    let mut upstream = ScriptedUpstream::bind().await;
    let yaml = format!("{ADMIN}{}{}", log.yaml(""), routes());
    let gateway = TestGateway::start(&upstream, &yaml);
    let count = 3000;
    let mut client = gateway.connect().await;
    burst(&mut client, 0, count).await;
    // More than all buffers hold, and nobody waited; sessions neither.
    let mut session = gateway.connect().await;
    session.request(&Request::handshake("/chat")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(session.read_head().await.status(), 101);
    let series = "tidegate_log_lines_total{log=\"access\",result=\"dropped\"}";
    let dropped = gateway.admin().metrics().await.get(series).unwrap();
    assert!(dropped > 0.0 && dropped < count as f64, "{dropped}");
    // A reader gets what is left, whole lines of it in their order.
    let path = log.path().clone();
    let read = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = std::sync::Arc::clone(&read);
    std::thread::spawn(move || {
        let mut fifo = std::fs::File::open(path).unwrap();
        let mut step = [0; 65_536];
        while let Ok(count @ 1..) = fifo.read(&mut step) {
            into.lock().unwrap().extend_from_slice(&step[..count]);
        }
    });
    let all = count as f64 + 1.0;
    let (written, dropped) = counts(&gateway, all).await;
    assert_eq!(written + dropped, all);
    let lines = || json_lines(&String::from_utf8(read.lock().unwrap().clone()).unwrap());
    eventually("all that was written is read", || {
        lines().len() as f64 >= written
    })
    .await;
    let lines = lines();
    assert_eq!(lines.len() as f64, written);
    let number = |line: &serde_json::Value| {
        let path = line["path"].as_str().unwrap();
        path.split('/').nth(1).unwrap().parse::<usize>().ok()
    };
    let numbers: Vec<_> = lines.iter().filter_map(number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "each at most once");
    // And from now on none is lost.
    burst(&mut client, count, 300).await;
    let (_, after) = counts(&gateway, all + 300.0).await;
    assert_eq!(after, dropped);
}

#[tokio::test]
async fn a_disk_that_is_full() {
    let upstream = ScriptedUpstream::mirror().await;
    let log = "access_log: { to: { file: /dev/full } }\n";
    let gateway = TestGateway::start(&upstream, &format!("{ADMIN}{log}{}", routes()));
    let count = 2500;
    burst(&mut gateway.connect().await, 0, count).await;
    let page = gateway.admin().metrics().await;
    let count_of = |result| {
        let series = format!("tidegate_log_lines_total{{log=\"access\",result=\"{result}\"}}");
        page.get(&series).unwrap()
    };
    assert_eq!(count_of("written"), 0.0);
    assert!(count_of("dropped") > 0.0);
    gateway.stop().await; // nor does its end wait for long
}

fn config(keys: &str) -> String {
    format!(
        "version: 1\nworkers: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n{keys}\n\
         services: {{ up: {{ endpoints: ['http://127.0.0.1:9'] }} }}\n\
         routes: [{{ name: chat, match: {{ path: /chat }}, proxy: {{ service: up }} }}]\n"
    )
}

/// Both standard streams are read by nobody any more.
#[tokio::test]
async fn streams_whose_readers_are_gone() {
    let Some(binary) = tools::tidegate("streams_whose_readers_are_gone") else {
        return;
    };
    for target in ["stderr", "stdout"] {
        let (mut child, address) = piped(&binary, target).await;
        drop((child.stdout.take(), child.stderr.take()));
        burst(&mut Wire::connect(address).await, 0, 1500).await;
        end(child).await;
    }
}

/// And by somebody who has stopped reading.
#[tokio::test]
async fn streams_whose_readers_are_asleep() {
    let Some(binary) = tools::tidegate("streams_whose_readers_are_asleep") else {
        return;
    };
    for target in ["stderr", "stdout"] {
        let (child, address) = piped(&binary, target).await;
        burst(&mut Wire::connect(address).await, 0, 1500).await;
        end(child).await;
    }
}

/// Nor does it keep the application log from telling: the journal of systemd is a socket.
#[tokio::test]
async fn a_socket_that_nobody_reads() {
    let Some(binary) = tools::tidegate("a_socket_that_nobody_reads") else {
        return;
    };
    let (_reader, stream) = std::os::unix::net::UnixStream::pair().unwrap();
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.yaml", &config(""));
    let output = scratch.path().join("stdout");
    let mut command = Command::new(&binary);
    command.args(["run", "--config"]).arg(file);
    let command = command.stdout(std::fs::File::create(&output).unwrap());
    let command = command.stderr(OwnedFd::from(stream)).stdin(Stdio::null());
    let child = command.spawn().unwrap();
    let address = listening(child.id()).await;
    burst(&mut Wire::connect(address).await, 0, 1500).await;
    eventually("it is told that lines are dropped", || {
        let text = std::fs::read_to_string(&output).unwrap();
        text.contains("lines are dropped")
    })
    .await;
    end(child).await;
}

/// A gateway that writes into pipes, its access log to `target`.
async fn piped(binary: &Path, target: &str) -> (std::process::Child, std::net::SocketAddr) {
    let scratch = Scratch::new();
    let yaml = config(&format!("access_log: {{ to: {target} }}"));
    let file = scratch.write("tidegate.yaml", &yaml);
    let mut command = Command::new(binary);
    command
        .args(["run", "--log-level", "debug", "--config"])
        .arg(file);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.stdin(Stdio::null()).spawn().unwrap();
    let address = listening(child.id()).await;
    (child, address)
}

async fn listening(pid: u32) -> std::net::SocketAddr {
    eventually("it listens", || {
        !tidegate_tests::sockets::listening(pid).is_empty()
    })
    .await;
    ([127, 0, 0, 1], tidegate_tests::sockets::listening(pid)[0]).into()
}

/// Ends it politely; its logs hold it up for seconds at most.
async fn end(mut child: std::process::Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.unwrap().success());
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_application_log_says_when_it_begins_and_how_many_when_it_is_over() {
    let test = "the_application_log_says_when_it_begins_and_how_many_when_it_is_over";
    let Some(binary) = tools::tidegate(test) else {
        return;
    };
    let log = LogFile::fifo();
    let (mut gateway, address, _files) = Process::gateway(&binary, &config(&log.yaml(""))).await;
    burst(&mut Wire::connect(address).await, 0, 3000).await;
    let told = |gateway: &Process, words: &str| {
        let output = gateway.output();
        output
            .lines()
            .filter(|line| line.contains(words))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    eventually("it is told that lines are dropped", || {
        !told(&gateway, "lines are dropped").is_empty()
    })
    .await;
    let path = log.path().clone();
    std::thread::spawn(move || {
        let mut fifo = std::fs::File::open(path).unwrap();
        std::io::copy(&mut fifo, &mut std::io::sink()).ok();
    });
    eventually("it is told how many they were", || {
        !told(&gateway, "log is written again").is_empty()
    })
    .await;
    let (began, over) = (
        told(&gateway, "are dropped"),
        told(&gateway, "written again"),
    );
    assert_eq!((began.len(), over.len()), (1, 1), "{began:?} {over:?}");
    let over = json_lines(&format!("{}\n", over[0]));
    assert_eq!(over[0]["log"], "access");
    let dropped = over[0]["dropped"].as_u64().unwrap();
    assert!(0 < dropped && dropped < 3000, "{dropped}");
    gateway.signal("TERM");
    assert_eq!(gateway.ends().await.0.code(), Some(0));
}
