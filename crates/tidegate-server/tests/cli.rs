//! The binary as its users meet it: exit codes, messages, signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/tidegate.yaml");
const BIND: &str = "TIDEGATE__LISTENERS__0__BIND";

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments);
    command
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn check_exits_with_0_or_1_and_a_wrong_use_with_2() {
    let (code, said) = ended(&mut tidegate(&["check", "--config", SAMPLE]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("valid (services: 1, routes: 1)"), "{said}");
    let mut invalid = tidegate(&["check", "--config", SAMPLE]);
    let (code, said) = ended(invalid.env("TIDEGATE__WORKERS", "many"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("TIDEGATE__WORKERS:1:1: workers: "), "{said}");
    let (code, said) = ended(&mut tidegate(&["check", "--colour"]));
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn the_demos_configuration_can_be_saved_and_checked() {
    let (code, config) = ended(&mut tidegate(&["dev", "--print-config"]));
    assert_eq!(code, Some(0), "{config}");
    // Whoever copies it brings a key.
    let folder = std::env::temp_dir().join(format!("tidegate-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = folder.join("key.pem");
    let (code, minted) = ended(tidegate(&["token", "mint", "--key"]).arg(&key));
    assert_eq!(code, Some(0), "{minted}");
    let mut check = tidegate(&["check", "--config", "/dev/stdin"]);
    let check = check.stdin(Stdio::piped()).stdout(Stdio::piped());
    let public = folder.join("key.pub.pem");
    let check = check.env("KEY", format!("file:{}", public.display()));
    let mut check = check.spawn().unwrap();
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(config.as_bytes()).unwrap();
    drop(stdin);
    let checked = check.wait_with_output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_listener_that_cannot_bind_is_named_and_nothing_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut run = tidegate(&["run", "--config", SAMPLE]);
    let (code, said) = ended(run.env(BIND, &address));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("`public`") && said.contains(&address),
        "{said}"
    );
    let why = said.matches("Address already in use").count();
    assert_eq!(why, 1, "why is said once: {said}");
    let (code, said) = ended(&mut tidegate(&["dev", "--bind", &address]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--bind"), "{said}");
}

#[test]
fn a_signal_ends_the_gateway_in_order() {
    for signal in ["-INT", "-TERM"] {
        // `run` is the default command.
        let mut run = tidegate(&["--config", SAMPLE]);
        let run = run.env(BIND, "127.0.0.1:0").stdout(Stdio::piped());
        let mut run = run.spawn().unwrap();
        let mut log = BufReader::new(run.stdout.take().unwrap()).lines();
        let is_listening = log.any(|line| line.unwrap().contains("\"msg\":\"listening\""));
        assert!(is_listening);
        let pid = run.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(killed.success());
        assert_eq!(run.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn routes_test_tells_by_its_exit_code_whether_a_route_is_taken() {
    let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    let post = ["routes", "test", "POST", "/a", "--config", SAMPLE];
    let (code, said) = ended(&mut tidegate(&post));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ended(tidegate(&post).args(upgrade));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("405"), "{said}");
}
