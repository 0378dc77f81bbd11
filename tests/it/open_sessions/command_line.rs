//! `tidegate sessions ls` and `kill`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{ScriptedUpstream, TestGateway, eventually, tools};

use super::YAML;

const TOKEN: &str = "0123456789abcdef-token";

/// A gateway with a token, and what the commands need to reach it.
struct Scene {
    binary: PathBuf,
    gateway: TestGateway,
    upstream: ScriptedUpstream,
    scratch: Scratch,
    at: String,
    /// The gateway's file, as it would be with a port that is not chosen by the system.
    file: String,
    token: String,
}

impl Scene {
    async fn set(test: &str) -> Option<Self> {
        let binary = tools::tidegate(test)?;
        let upstream = ScriptedUpstream::bind().await;
        let scratch = Scratch::new();
        let bind = format!("bind: '127.0.0.1:0', token: {TOKEN}");
        let yaml = YAML.replace("bind: '127.0.0.1:0'", &bind);
        let gateway = TestGateway::start(&upstream, &yaml);
        let at = gateway.admin().0.to_string();
        let listeners = "listeners: [{ name: public, bind: 127.0.0.1:0 }]";
        let file = format!("version: 1\n{listeners}\n{yaml}");
        let file = file.replace("127.0.0.1:0', token", &format!("{at}', token"));
        let file = file.replace("UP", &upstream.address().to_string());
        let path = |name, text: &str| scratch.write(name, text).display().to_string();
        Some(Self {
            file: path("gateway.yaml", &file),
            token: path("token", &format!("{TOKEN}\n")),
            binary,
            gateway,
            upstream,
            scratch,
            at,
        })
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(&self.binary);
        let command = command.arg("sessions").args(arguments);
        let command = command.current_dir(self.scratch.path());
        let (status, said) = Process::start(command).ends().await;
        (status.code(), said)
    }

    fn by_file(&self) -> [&str; 2] {
        ["--config", &self.file]
    }

    fn by_address(&self) -> [&str; 4] {
        ["--admin", &self.at, "--token-file", &self.token]
    }
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let Some(mut scene) = Scene::set("sessions_are_listed_and_ended").await else {
        return;
    };
    let (mut client, _peer) = scene.gateway.open(&mut scene.upstream).await;
    let (mut other, _other_peer) = scene.gateway.open(&mut scene.upstream).await;
    let (by_file, by_address) = (scene.by_file(), scene.by_address());
    for place in [&by_file[..], &by_address] {
        let (code, table) = scene.run(&[&["ls"], place].concat()).await;
        assert_eq!((code, table.lines().count()), (Some(0), 3), "{table}");
        assert!(table.starts_with("ID "), "{table}");
        let none = [&["ls", "--route", "chat", "--json"], place].concat();
        assert_eq!(scene.run(&none).await, (Some(0), String::new()));
    }
    let filters = [
        "ls",
        "--route",
        "all",
        "--service",
        "other",
        "--address",
        "127.0.0.0/8",
        "--json",
    ];
    let (_, listed) = scene.run(&[&filters[..], &by_file].concat()).await;
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(listed.len(), 2);
    let local = client.local().to_string();
    let session = listed.iter().find(|one| one["peer"] == local.as_str());
    let id = session.unwrap()["id"].as_str().unwrap();
    let end = ["kill", id, "--code", "4005", "--reason", "bye"];
    let ended = scene.run(&[&end[..], &by_address].concat()).await;
    assert_eq!(ended, (Some(0), String::new()));
    let close = client.read_frame().await;
    assert_eq!(
        (close.close_code(), &close.payload[2..]),
        (Some(4005), &b"bye"[..])
    );
    drop(client);
    eventually("it is gone", || scene.gateway.sessions() == 1).await;
    other.stays_silent().await;
    let again = scene.run(&[&["kill", id], &by_file[..]].concat()).await;
    assert!(
        again.0 == Some(1) && again.1.contains("no session"),
        "{again:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let Some(scene) = Scene::set("what_is_wrong_is_said").await else {
        return;
    };
    let by_file = scene.by_file();
    let id = "s_AAAAAAAAAAAAAAAA";
    let mirror = ScriptedUpstream::mirror().await;
    let stranger = TestGateway::before(&mirror);
    let path = |name, text| scene.scratch.write(name, text).display().to_string();
    let (empty, two) = (path("empty", "\n"), path("two", "a\nHost: b"));
    for (arguments, complaint) in [
        (&[&["kill", id], &by_file[..]].concat()[..], "no session"),
        (&[&["kill", "x/../y"], &by_file[..]].concat(), "no session"),
        (
            &[&["kill", id, "--code", "1006"], &by_file[..]].concat(),
            "close frame",
        ),
        (
            &["kill", id, "--admin", &stranger.address().to_string()],
            "no admin listener",
        ),
        (&["ls", "--token-file", &empty], "no token"),
        (&["ls", "--token-file", &two], "no token"),
        (&["ls", "--admin", &scene.at], "--token-file"),
        (&["ls", "--admin", "127.0.0.1:1"], "cannot ask"),
        (
            &[&["ls", "--address", "here"], &by_file[..]].concat(),
            "`address`",
        ),
        (&["ls", "--config", "none.yaml"], "none.yaml"),
    ] {
        let (code, said) = scene.run(arguments).await;
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(complaint), "{arguments:?}: {said}");
        assert!(!said.contains("ROUTE"), "headings of nothing: {said}");
        assert!(!said.contains(TOKEN));
    }
}

/// Whoever reads no more has seen enough; what cannot be written is lost, which is no success.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_list_that_is_lost_is_no_success() {
    let Some(scene) = Scene::set("a_list_that_is_lost_is_no_success").await else {
        return;
    };
    let full = std::fs::File::options().write(true).open("/dev/full");
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    let outputs: [(Stdio, i32); 2] = [(full.unwrap().into(), 1), (unread.into(), 0)];
    for (stdout, code) in outputs {
        let mut command = Command::new(&scene.binary);
        command.args(["sessions", "ls"]).args(scene.by_file());
        command.stdout(stdout);
        let ended = tokio::task::spawn_blocking(move || command.output());
        let ended = ended.await.unwrap().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("cannot be written"), code == 1, "{said}");
    }
}
