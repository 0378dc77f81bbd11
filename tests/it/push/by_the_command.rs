//! `tidegate push`.

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::tools;

use super::Setting;

#[tokio::test]
async fn tells_whom_it_names() {
    let test = "tells_whom_it_names";
    let (Some(binary), Some(setting)) = (tools::tidegate(test), Setting::new(test, "").await)
    else {
        return;
    };
    let (mut one, id) = setting.new_session("u42").await;
    let (at, scratch) = (setting.gateway.admin().0.to_string(), Scratch::new());
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        let command = command.args(["push", "--admin", &at]).args(arguments);
        let command = command.current_dir(scratch.path());
        let (status, said) = Process::start(command).ends().await;
        (status.code(), said)
    };
    let arguments = [
        "--user", "u41", "--user", "u42", "--event", "a", "--source", "s",
    ];
    let (status, said) = run(&[&arguments[..], &["--data", "{\"n\": 1}"]].concat()).await;
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &told["matched"]), (Some(0), &json!(1)), "{said}");
    let push = one.receive().await;
    assert_eq!(
        (&push["event"], &push["source"]),
        (&json!("a"), &json!("s"))
    );
    assert_eq!(push["data"], json!({"n": 1}));
    let again = [
        "--session",
        &id,
        "--event",
        "b",
        "--data",
        "no JSON",
        "--idempotency-key",
        "k",
    ];
    let (first, second) = (run(&again).await, run(&again).await);
    assert_eq!(first, second);
    assert_eq!(one.receive().await["data"], "no JSON");
    for (cut, place) in [
        ("{\"x\":1", "column 6"),
        (" [1,\n2", "line 2"),
        ("{x}", "column 2"),
    ] {
        let (status, said) = run(&["--all", "--event", "c", "--data", cut]).await;
        assert_eq!(status, Some(2), "{cut}: {said}");
        assert!(said.contains(place) && said.contains("--text"), "{said}");
    }
    for text in ["{\"x\":1", "{\"x\":1}", "7"] {
        run(&["--session", &id, "--event", "d", "--data", text, "--text"]).await;
        assert_eq!(one.receive().await["data"], text);
    }
    let (waits, acks) = tokio::join!(run(&["--all", "--event", "c", "--wait"]), async {
        let push = one.receive().await;
        one.send(&json!({"op": "ack", "seq": push["seq"]})).await;
        push
    });
    assert_eq!((&acks["event"], &acks["ack"]), (&json!("c"), &json!(true)));
    let told: Value = serde_json::from_str(&waits.1).unwrap();
    assert_eq!(told["acked"], 1, "{told}");
    let long = "x".repeat(300);
    let (status, said) = run(&["--user", &long, "--event", "a"]).await;
    assert!(status == Some(1) && said.contains("256"), "{said}");
}
