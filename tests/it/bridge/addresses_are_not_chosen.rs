//! No client chooses whom the gateway dials: a base URL is a name in a table, a URI is a path below it.

use serde_json::json;
use tidegate_tests::ScriptedUpstream;

use super::{Client, bridged};

#[tokio::test]
async fn whatever_base_url_says() {
    let upstream = ScriptedUpstream::mirror().await;
    let canary = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let address = canary.address();
    let mut client = Client::new(&gateway).await;
    let port = address.port();
    for base in [
        format!("http://{address}"),
        format!("{address}"),
        format!("http://account-service@{address}"),
        format!("http://{address}#account-service"),
        format!("http://{address}/account-service"),
        format!("http://localhost:{port}"),
        format!("http://127.1:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://127.0.0.1\\@account-service:{port}"),
        format!("//{address}"),
        format!("account-service.evil.example:{port}"),
        "http://169.254.169.254/latest/meta-data".into(),
        "http://[fd00:ec2::254]".into(),
        "file:///etc/passwd".into(),
        "gopher://account-service".into(),
        "http://account-service%00".into(),
        "http://account%2dservice".into(),
        "ACCOUNT-SERVICE\r\nHost: x".into(),
        "http://".into(),
    ] {
        let told = client
            .ask(&json!({"id": 1, "baseUrl": base, "uri": "/x"}))
            .await;
        assert_eq!(told["status"], 403, "{base}: {told}");
        assert_eq!(told["error"]["code"], "service_not_allowed", "{base}");
    }
    canary.was_left_alone().await;
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn whatever_the_uri_says() {
    let upstream = ScriptedUpstream::mirror().await;
    let canary = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let address = canary.address();
    let mut client = Client::new(&gateway).await;
    for uri in [
        format!("http://{address}/x"),
        format!("//{address}/x"),
        format!("\\\\{address}\\x"),
        format!("/\\{address}"),
        "/../x".into(),
        "/%2e%2e/x".into(),
        "/a/%2E%2e/%2e./x".into(),
        "/a%5c..%5cx".into(),
        "/x\r\nHost: evil".into(),
        "/x HTTP/1.1\r\n\r\nGET /y".into(),
        "/x#y".into(),
        "/\0".into(),
        "/%00".into(),
        "javascript:1".into(),
    ] {
        for base in ["account-service", "account-service/base"] {
            let told = client
                .ask(&json!({"id": 1, "baseUrl": base, "uri": uri}))
                .await;
            assert_eq!(told["status"], 400, "{base} {uri}: {told}");
            assert_eq!(told["error"]["code"], "invalid_uri", "{uri}");
        }
        let told = client.ask(&json!({"id": 1, "uri": uri})).await;
        assert_eq!(told["status"], 400, "{uri}: {told}");
    }
    canary.was_left_alone().await;
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn redirects_are_told_and_not_followed() {
    let canary = ScriptedUpstream::bind().await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        canary.address()
    );
    let upstream = ScriptedUpstream::answering(answer).await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    let told = client
        .ask(&json!({"id": 1, "baseUrl": "account-service", "uri": "/x"}))
        .await;
    assert_eq!(told["status"], 302);
    assert!(told["headers"]["location"].is_string() && told["body"].is_null());
    canary.was_left_alone().await;
}

#[tokio::test]
async fn methods_are_those_of_the_table() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::new(&gateway).await;
    for method in [
        "TRACE",
        "CONNECT",
        "track",
        "BREW",
        "",
        "GET /x HTTP/1.1\r\n",
    ] {
        let envelope = json!({"id": 1, "type": method, "baseUrl": "account-service"});
        let told = client.ask(&envelope).await;
        assert_eq!(told["status"], 405, "{method}: {told}");
    }
    upstream.was_left_alone().await;
}
