//! `tidegate users ls` and `kick`.

use std::process::Command;

use serde_json::Value;
use tidegate_tests::child::Process;
use tidegate_tests::{ScriptedUpstream, tools};

use super::{Users, house};

#[tokio::test]
async fn commands_see_and_kick() {
    let Some(binary) = tools::tidegate("commands_see_and_kick") else {
        return;
    };
    let Some(mut users) = Users::open("commands_see_and_kick") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "", "");
    let at = gateway.admin().0.to_string();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        let command = command.arg("users").args(arguments).args(["--admin", &at]);
        let (status, said) = Process::start(command).ends().await;
        assert_eq!(status.code(), Some(0), "{said}");
        said
    };
    let mut one = users.enter(&gateway, "u 1", "/talk").await;
    let _two = users.enter(&gateway, "u2", "/ws").await;
    let said = run(&["ls"]).await;
    let lines: Vec<Vec<_>> = said
        .lines()
        .map(|line| line.split("  ").collect())
        .collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert_eq!(
        (lines[0][0], lines[1][0], lines[2][0]),
        ("USER", "u 1", "u2")
    );
    assert_eq!(
        run(&["kick", "u 1", "--code", "4002", "--reason", "out"]).await,
        "1 session is ended\n"
    );
    assert_eq!(one.read_close().await, Some(4002));
    drop(one);
    tidegate_tests::time::eventually("one is gone", || gateway.users() == 1).await;
    let said: Value = serde_json::from_str(&run(&["ls", "--json"]).await).unwrap();
    assert_eq!(
        (&said["user"], &said["sessions"]),
        (&"u2".into(), &1.into())
    );
    assert_eq!(run(&["kick", "nobody"]).await, "0 sessions are ended\n");
}
