//! TLS goes with whatever else a listener does: it redirects, and it listens on a unix socket.

use tidegate_tests::frame::Frame;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, tls};

use super::Kit;

#[tokio::test]
async fn it_redirects_behind_the_handshake() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let redirect = "    redirect: { to: https, host: www.example, status: 301 }\n    tls:";
    let yaml = kit.yaml("", &endpoint, "").replace("    tls:", redirect);
    let gateway = TestGateway::from_file(&yaml);
    let mut client = kit.connect(gateway.address()).await;
    let answer = client.ask(&Request::get("/a?b").host("example")).await;
    assert_eq!(answer.status(), 301);
    assert_eq!(
        answer.head.field("Location"),
        Some("https://www.example/a?b")
    );
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn it_listens_on_a_unix_socket() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let path = kit.folder.path().join("gate.sock");
    let bind = format!("bind: 'unix:{}'", path.display());
    let yaml = kit.yaml("", &endpoint, "");
    let gateway = TestGateway::from_file(&yaml.replace("bind: 127.0.0.1:0", &bind));
    let config = tls::client(&kit.authority, None);
    let connected = Wire::connect_unix_tls(&path, &config, "localhost").await;
    let mut client = connected.unwrap();
    let seen = client.ask(&Request::get("/")).await.seen();
    assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"));
    assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.1"));
    client.upgrade("/").await;
    // More than the socket holds: what was sealed waits for it.
    let payload = "y".repeat(1_000_000);
    client
        .send_frame(&Frame::text(&payload).from_client())
        .await;
    assert_eq!(client.read_frame().await.payload, payload.as_bytes());
    client.close_session().await;
    gateway.is_empty().await;
}
