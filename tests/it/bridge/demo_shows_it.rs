//! `tidegate dev` has a page that tries the bridge, with a token that opens it.

use std::process::Command;

use serde_json::json;
use tidegate_tests::child::Process;
use tidegate_tests::{Request, Wire, eventually, tools};

use super::Client;

#[tokio::test]
async fn the_page_has_what_it_needs() {
    let Some(binary) = tools::tidegate("demo_shows_it") else {
        return;
    };
    let mut demo = Process::start(Command::new(&binary).args(["dev", "--bind", "127.0.0.1:0"]));
    demo.listens().await;
    eventually("it prints its commands", || {
        demo.output().contains("Ctrl-C")
    })
    .await;
    let output = demo.output();
    let (before, _) = output.split_once("/_tidegate/demo").unwrap();
    let address = before.rsplit("http://").next().unwrap().parse().unwrap();
    let answer = Wire::connect(address)
        .await
        .ask(&Request::get("/_tidegate/demo"))
        .await;
    assert_eq!(answer.status(), 200);
    let page = String::from_utf8(answer.body).unwrap();
    let token = page
        .split("const token = '")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    // The one that is printed, too.
    assert!(
        output.contains(&format!("-s tidegate.v1.json -s tidegate.bearer.{token}")),
        "{output}"
    );
    for (offer, status) in [
        ("tidegate.v1.json".to_owned(), 401),
        (format!("tidegate.v1.json, tidegate.bearer.{token}x"), 401),
        (format!("tidegate.v1.json, tidegate.bearer.{token}"), 101),
    ] {
        let mut wire = Wire::connect(address).await;
        let handshake = Request::handshake("/ws").with("Sec-WebSocket-Protocol", &offer);
        wire.request(&handshake).await;
        assert_eq!(wire.read_head().await.status(), status);
        if status != 101 {
            continue;
        }
        let mut client = Client(wire);
        assert_eq!(client.receive().await["user"], "demo");
        for (envelope, status) in [
            (json!({"id": 1, "baseUrl": "demo", "uri": "customers"}), 200),
            (json!({"id": 2, "uri": "/customers"}), 200),
            (json!({"id": 3, "baseUrl": "http://169.254.169.254"}), 403),
        ] {
            assert_eq!(client.ask(&envelope).await["status"], status, "{envelope}");
        }
        let told = client
            .ask(&json!({"id": 4, "baseUrl": "demo", "uri": "me"}))
            .await;
        assert_eq!(told["body"]["claims"]["sub"], "demo");
        client
            .send(&json!({"id": 5, "uri": "/sse", "stream": true}))
            .await;
        assert_eq!(client.receive().await["stream"], true);
        assert_eq!(client.receive().await["event"]["data"], "event 1");
    }
}
