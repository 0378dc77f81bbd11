//! Clients that we did not write talk to the bridge as they talked to the old one.

use tidegate_tests::browser::{Browser, PATIENCE};
use tidegate_tests::child::{self, Process, Scratch};
use tidegate_tests::wire::Wire;
use tidegate_tests::{ScriptedUpstream, TestGateway, tools};
use tokio::sync::mpsc;

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

/// An upstream that has the page, and hears what it tells; whatever else it is asked, it tells.
async fn page() -> (ScriptedUpstream, mpsc::UnboundedReceiver<String>) {
    let (sender, told) = mpsc::unbounded_channel();
    let upstream = ScriptedUpstream::serve(move |mut wire| {
        let sender = sender.clone();
        async move {
            while let Ok(head) = wire.read_head_or_end().await {
                let Ok((body, ..)) = wire.read_body(&head).await else {
                    return;
                };
                let text = if head.target() == "/" {
                    include_str!("../../tools/legacy-page.html")
                } else {
                    sender.send(String::from_utf8(body).unwrap()).ok();
                    ""
                };
                let length = text.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
                );
                if wire.try_send(head + text).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (upstream, told)
}

#[tokio::test]
async fn old_client_in_chromium() {
    if tools::program("old_client_in_chromium", "chromium").is_none() {
        return;
    }
    let (page, mut told) = page().await;
    let upstream = ScriptedUpstream::serve(tell).await;
    let yaml = format!(
        "services: {{ account-service: {{ endpoints: http://UP }}, page: {{ endpoints: 'http://{}' }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, bridge: {{ services: account-service, timeout: 60s, max_in_flight: 100 }} }}\n\
         - {{ name: page, match: {{ path: [/, /told] }}, proxy: {{ service: page }} }}\n",
        page.address()
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let home = Scratch::new();
    let browser = Browser::open(home.path(), &format!("http://{}/", gateway.address()));
    let Ok(told) = tokio::time::timeout(PATIENCE, told.recv()).await else {
        panic!("the page told nothing; the browser: {}", browser.output());
    };
    assert_eq!(told.as_deref(), Some("ok"));
    drop(browser);
    gateway.is_empty().await;
}
