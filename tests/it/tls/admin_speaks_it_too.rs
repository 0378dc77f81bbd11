//! The admin listener over TLS, with and without clients' certificates.

use rcgen::DnType;
use tidegate_tests::{Admin, Request, ScriptedUpstream, TestGateway, Wire, tls};

use super::Kit;

fn gateway(kit: &Kit, upstream: &ScriptedUpstream, more: &str) -> TestGateway {
    TestGateway::start(
        upstream,
        &format!(
            "admin: {{ bind: 127.0.0.1:0, tls: {{ certificates: {}, {more} }} }}\n\
             services: {{ up: {{ endpoints: ['http://UP'] }} }}\n\
             routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
            kit.server.yaml()
        ),
    )
}

#[tokio::test]
async fn it_answers_over_tls_alone() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&kit, &upstream, "");
    let Admin(address) = gateway.admin();
    let answer = kit
        .connect(address)
        .await
        .ask(&Request::get("/livez").host("localhost"))
        .await;
    assert_eq!(answer.status(), 200);
    let answer = Wire::connect(address)
        .await
        .ask(&Request::get("/livez"))
        .await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (400, "plain_http")
    );
}

#[tokio::test]
async fn it_can_ask_for_certificates() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let more = format!(
        "client_certificates: {{ mode: required, ca: '{}' }}",
        kit.ca.display()
    );
    let gateway = gateway(&kit, &upstream, &more);
    let Admin(address) = gateway.admin();
    let request = Request::get("/metrics").host("localhost");
    let operator = kit
        .authority
        .client(&[(DnType::CommonName, "operator")], &[]);
    let config = tls::client(&kit.authority, Some(&operator));
    let mut client = Wire::connect_tls(address, &config, "localhost")
        .await
        .unwrap();
    assert_eq!(client.ask(&request).await.status(), 200);
    let config = tls::client(&kit.authority, None);
    let connected = Wire::connect_tls(address, &config, "localhost").await;
    let is_answered = async {
        let mut client = connected.ok()?;
        client.try_send(request.bytes()).await.ok()?;
        client.read_head_or_end().await.ok()
    };
    assert!(is_answered.await.is_none());
}
