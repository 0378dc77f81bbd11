//! Clients that we did not write talk to the bridge as they talked to the old one.

use tidegate_tests::child::{self, Process};
use tidegate_tests::wire::Wire;
use tidegate_tests::{ScriptedUpstream, tools};

use super::bridged;

/// Tells what it was asked, as JSON.
async fn tell(mut wire: Wire) {
    while let Ok(head) = wire.read_head_or_end().await {
        let Ok((body, ..)) = wire.read_body(&head).await else {
            return;
        };
        let sent = String::from_utf8(body).unwrap();
        let body = serde_json::json!({"target": head.target(), "sent": sent}).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn old_client_on_node() {
    let Some(folder) = tools::node_tools("old_client_on_node") else {
        return;
    };
    let upstream = ScriptedUpstream::serve(tell).await;
    let gateway = bridged(&upstream, "timeout: 60s, max_in_flight: 100");
    let mut command = child::node(&folder, "legacy-client.mjs", &[]);
    command.arg(format!("ws://{}/ws", gateway.address()));
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(
        status.success() && output.contains("ok"),
        "{status}: {output}"
    );
    gateway.is_empty().await;
}
