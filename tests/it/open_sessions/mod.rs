//! Every open WebSocket can be seen by those who operate the gateway, and be ended by them.

mod command_line;
mod ended;
mod seen;
mod walked;

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::Admin;

const YAML: &str = "admin: { bind: '127.0.0.1:0' }\n\
    trusted_proxies: [127.0.0.9]\n\
    services:\n  talk: { endpoints: ['ws://UP/base'] }\n  other: { endpoints: ['http://UP'] }\n\
    routes:\n\
    \x20 - { name: chat, match: { path: /chat/**, host: '*.example.com', upgrade: websocket }, filters: [{ strip_prefix: 1 }], proxy: { service: talk } }\n\
    \x20 - { name: rest, match: { path: /**, methods: [GET, POST], headers: { X-A: { regex: 'v[0-9]' } } }, proxy: { service: other, websocket: { close_timeout: 1s } } }\n\
    \x20 - { name: all, match: { path: /** }, proxy: { service: other, websocket: { close_timeout: 1s } } }\n";

async fn json(admin: Admin, target: &str) -> Value {
    let answer = admin.get(target).await;
    assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
    assert_eq!(answer.head.field("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

async fn ids(admin: Admin, query: &str) -> Vec<String> {
    let page = json(admin, &format!("/v1/sessions{query}")).await;
    assert_eq!(page["next_cursor"], Value::Null);
    let sessions = page["sessions"].as_array().unwrap().iter();
    sessions
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The only session, once it is as it must be.
async fn when(admin: Admin, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let session = json(admin, "/v1/sessions").await["sessions"][0].take();
        if is(&session) {
            return session;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{session}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn only_id(admin: Admin) -> String {
    let mut ids = ids(admin, "").await;
    assert_eq!(ids.len(), 1);
    ids.remove(0)
}
