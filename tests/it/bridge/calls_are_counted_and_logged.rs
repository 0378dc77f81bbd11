//! Each call leaves a line in the access log and counts once, whoever answered it.

use serde_json::{Value, json};
use tidegate_tests::LogFile;
use tidegate_tests::admin::Metrics;
use tidegate_tests::{ScriptedUpstream, TestGateway};

use super::{Client, asked};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn whoever_answered() {
    let mut upstream = ScriptedUpstream::bind().await;
    let log = LogFile::new();
    let yaml = format!(
        "{}\nadmin: {{ bind: '127.0.0.1:0' }}\n\
         services: {{ accounts: {{ endpoints: http://UP }} }}\n\
         routes: {{ name: bridge, match: {{ path: /ws }}, bridge: {{ services: accounts }} }}\n",
        log.yaml("")
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let admin = gateway.admin();
    let mut client = Client::new(&gateway).await;
    let headers = json!({"traceparent": format!("00-{TRACE}-b7ad6b7169203331-01")});
    client
        .send(
            &json!({"id": "a", "type": "POST", "baseUrl": "accounts", "uri": "/x?token=secret",
                      "body": {"a": 1}, "headers": headers}),
        )
        .await;
    let mut wire = upstream.accept().await;
    let (head, _) = asked(&mut wire).await;
    assert!(head.field("traceparent").unwrap().contains(TRACE));
    admin
        .counts("tidegate_bridge_in_flight{service=\"accounts\"}", 1.0)
        .await;
    wire.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.receive().await["status"], 201);
    let told = client.ask(&json!({"id": 2, "baseUrl": "nobody"})).await;
    assert_eq!(told["status"], 403);
    let told = client.ask(&json!({"id": 3, "uri": "/nowhere"})).await;
    assert_eq!(told["status"], 404);
    client
        .send(&json!({"id": 4, "baseUrl": "accounts", "uri": "/slow"}))
        .await;
    asked(&mut wire).await;
    client.send(&json!({"op": "cancel", "id": 4})).await;
    assert_eq!(client.receive().await["op"], "end");

    logged(&log.events("bridge.request", 3).await);
    counted(&admin.metrics().await);
}

#[tokio::test]
async fn for_the_service_that_a_route_chose() {
    let mut upstream = ScriptedUpstream::bind().await;
    let log = LogFile::new();
    let yaml = format!(
        "{}\nadmin: {{ bind: '127.0.0.1:0' }}\n\
         services: {{ accounts: {{ endpoints: http://UP }}, others: {{ endpoints: http://UP }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, bridge: {{ services: others }} }}\n\
         - {{ name: accounts, match: {{ path: /accounts/** }}, proxy: {{ service: accounts }} }}\n",
        log.yaml("")
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let admin = gateway.admin();
    let mut client = Client::old(&gateway).await;
    // Old clients write what they leave out.
    for (id, base) in [(1, json!(null)), (2, json!(""))] {
        let mut call = json!({"id": id, "uri": "/accounts/7"});
        if base.is_string() {
            call["baseUrl"] = base;
        }
        client.send(&call).await;
        let mut wire = upstream.accept().await;
        asked(&mut wire).await;
        admin
            .counts("tidegate_bridge_in_flight{service=\"accounts\"}", 1.0)
            .await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
        let answer = client.receive().await;
        assert_eq!(
            (&answer["status"], &answer["baseUrl"]),
            (&json!(200), &json!(""))
        );
    }
    for line in log.events("bridge.request", 2).await {
        assert_eq!(
            (&line["service"], &line["route"]),
            (&json!("accounts"), &json!("accounts"))
        );
    }
    let page = admin.metrics().await;
    for (series, count) in [
        (
            "tidegate_bridge_requests_total{service=\"accounts\",method=\"GET\",code=\"200\",source=\"upstream\"}",
            Some(2.0),
        ),
        (
            "tidegate_bridge_requests_total{service=\"-\",method=\"GET\",code=\"200\",source=\"upstream\"}",
            None,
        ),
        ("tidegate_bridge_in_flight{service=\"accounts\"}", Some(0.0)),
        (
            "tidegate_bridge_request_duration_seconds_count{service=\"accounts\"}",
            Some(2.0),
        ),
    ] {
        assert_eq!(page.get(series), count, "{series}");
    }
}

fn logged(lines: &[Value]) {
    let line = &lines[0];
    assert_eq!(
        (
            &line["id"],
            &line["service"],
            &line["method"],
            &line["path"]
        ),
        (
            &json!("a"),
            &json!("accounts"),
            &json!("POST"),
            &json!("/x?token=***")
        )
    );
    assert_eq!(
        (
            &line["status"],
            &line["source"],
            &line["bytes_in"],
            &line["trace_id"]
        ),
        (&json!(201), &json!("upstream"), &json!(7), &json!(TRACE))
    );
    assert_eq!(
        (&lines[1]["id"], &lines[1]["service"], &lines[1]["code"]),
        (&json!("3"), &json!("-"), &json!("route_not_found"))
    );
    assert_eq!(
        (&lines[2]["status"], &lines[2]["code"], &lines[2]["source"]),
        (&json!(499), &json!("cancelled"), &json!("gateway"))
    );
}

fn counted(page: &Metrics) {
    for (series, count) in [
        (
            "tidegate_bridge_requests_total{service=\"accounts\",method=\"POST\",code=\"201\",source=\"upstream\"}",
            1.0,
        ),
        (
            "tidegate_bridge_requests_total{service=\"accounts\",method=\"GET\",code=\"499\",source=\"gateway\"}",
            1.0,
        ),
        (
            "tidegate_bridge_requests_total{service=\"-\",method=\"GET\",code=\"404\",source=\"gateway\"}",
            1.0,
        ),
        (
            "tidegate_bridge_requests_total{service=\"-\",method=\"GET\",code=\"403\",source=\"gateway\"}",
            1.0,
        ),
        ("tidegate_bridge_in_flight{service=\"accounts\"}", 0.0),
        ("tidegate_bridge_cancelled_total", 1.0),
        (
            "tidegate_ws_connections{route=\"bridge\",kind=\"bridge\"}",
            1.0,
        ),
    ] {
        assert_eq!(page.get(series), Some(count), "{series}");
    }
}
