//! Clients' certificates: who must show one, who may, and where what it says can be used.

use std::net::SocketAddr;

use rcgen::{DnType, SanType};
use tidegate_tests::certificates::{Authority, Issued};
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, tls};

use super::Kit;

const SUBJECT: &str = "CN=robot,O=Example\\, Inc.";

fn robot(authority: &Authority) -> Issued {
    let subject = [
        (DnType::OrganizationName, "Example, Inc."),
        (DnType::CommonName, "robot"),
    ];
    let names = [
        SanType::DnsName("robot.example".try_into().unwrap()),
        SanType::URI("spiffe://example/robot".try_into().unwrap()),
    ];
    authority.client(&subject, &names)
}

fn asking(kit: &Kit, mode: &str) -> String {
    let ca = kit.ca.display();
    format!("client_certificates: {{ mode: {mode}, ca: '{ca}', forward: true }}")
}

async fn ask(
    kit: &Kit,
    gateway: SocketAddr,
    certificate: Option<&Issued>,
    request: &Request,
) -> Option<tidegate_tests::Answer> {
    let config = tls::client(&kit.authority, certificate);
    let mut client = Wire::connect_tls(gateway, &config, "localhost")
        .await
        .ok()?;
    // With TLS 1.3 a client learns that it is refused behind its own handshake.
    client.try_send(request.bytes()).await.ok()?;
    client.read_head_or_end().await.ok()?;
    drop(client);
    let mut client = Wire::connect_tls(gateway, &config, "localhost")
        .await
        .ok()?;
    Some(client.ask(request).await)
}

#[tokio::test]
async fn one_that_is_required_must_be_shown_and_good() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let gateway = TestGateway::from_file(&kit.yaml(&asking(&kit, "required"), &endpoint, ""));
    let stranger = robot(&Authority::new("a stranger"));
    let request = Request::get("/");
    let address = gateway.address();
    assert!(ask(&kit, address, None, &request).await.is_none());
    assert!(
        ask(&kit, address, Some(&stranger), &request)
            .await
            .is_none()
    );
    assert!(upstream.heads().is_empty());
    let robot = robot(&kit.authority);
    let answer = ask(&kit, address, Some(&robot), &request).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn upstreams_are_told_by_us_alone() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let gateway = TestGateway::from_file(&kit.yaml(&asking(&kit, "wanted"), &endpoint, ""));
    let forged = Request::get("/")
        .with("Client-Cert", ":Zm9yZ2Vk:")
        .with("Client-Cert-Chain", ":Zm9yZ2Vk:")
        .with("X-Client-Cert-Subject", "CN=root")
        .with("x_client_cert_san", "DNS:root");
    let address = gateway.address();
    let seen = ask(&kit, address, None, &forged).await.unwrap().seen();
    let text = String::from_utf8_lossy(&seen.raw).to_ascii_lowercase();
    assert!(!text.contains("cert"), "{text}");

    let robot = robot(&kit.authority);
    let seen = ask(&kit, address, Some(&robot), &forged)
        .await
        .unwrap()
        .seen();
    assert_eq!(seen.fields("X-Client-Cert-Subject"), [SUBJECT]);
    let names = "DNS:robot.example, URI:spiffe://example/robot";
    assert_eq!(seen.fields("X-Client-Cert-San"), [names]);
    let body: String = robot
        .cert
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    assert_eq!(seen.fields("Client-Cert"), [format!(":{body}:")]);
    assert!(!seen.has("Client-Cert-Chain") && !seen.has("x_client_cert_san"));
}

/// Without TLS, and without `forward`, nobody's word of a certificate passes either.
#[tokio::test]
async fn nobody_says_so_without_tls() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let forged = Request::get("/").with("Client-Cert", ":Zm9yZ2Vk:");
    let seen = gateway.ask(&forged).await.seen();
    assert!(!seen.has("Client-Cert"));
}

#[tokio::test]
async fn routes_are_chosen_by_them() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let up = upstream.address();
    let tls = asking(&kit, "wanted");
    let gateway = TestGateway::from_file(&format!(
        "version: 1\nworkers: 1\nlisteners:\n  - name: public\n    bind: 127.0.0.1:0\n    \
         tls: {{ certificates: {}, {tls} }}\n\
         services:\n  a: {{ endpoints: ['http://{up}/a'] }}\n  b: {{ endpoints: ['http://{up}/b'] }}\n  \
         c: {{ endpoints: ['http://{up}/c'] }}\n  d: {{ endpoints: ['http://{up}/d'] }}\n\
         routes:\n  \
         - {{ name: a, match: {{ path: /one, client_certificate: {{ subject: 'CN=robot,O=Example\\, Inc.' }} }}, proxy: {{ service: a }} }}\n  \
         - {{ name: b, match: {{ path: /two, client_certificate: {{ san: {{ regex: 'DNS:.*\\.example' }} }} }}, proxy: {{ service: b }} }}\n  \
         - {{ name: c, match: {{ path: /three, client_certificate: absent }}, proxy: {{ service: c }} }}\n  \
         - {{ name: d, match: {{ path: /**, client_certificate: present }}, proxy: {{ service: d }} }}\n",
        kit.server.yaml()
    ));
    let robot = robot(&kit.authority);
    for (path, with, without) in [
        ("/one", "/a/one", 404),
        ("/two", "/b/two", 404),
        ("/three", "/d/three", 200),
    ] {
        let request = Request::get(path);
        let address = gateway.address();
        let seen = ask(&kit, address, Some(&robot), &request)
            .await
            .unwrap()
            .seen();
        assert_eq!(seen.target(), with);
        let answer = ask(&kit, address, None, &request).await.unwrap();
        assert_eq!(answer.status(), without, "{path}");
    }
}

#[tokio::test]
async fn sessions_are_told_with_their_subject() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let yaml = kit.yaml(&asking(&kit, "wanted"), &endpoint, "") + "admin: { bind: 127.0.0.1:0 }\n";
    let gateway = TestGateway::from_file(&yaml);
    let config = tls::client(&kit.authority, Some(&robot(&kit.authority)));
    let connected = Wire::connect_tls(gateway.address(), &config, "localhost").await;
    let mut client = connected.unwrap();
    client.upgrade("/").await;
    let told = gateway.admin().get("/v1/sessions").await.text();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["sessions"][0]["client_certificate"], SUBJECT);
}

/// A ticket of a time when other authorities were believed opens nothing.
#[tokio::test]
async fn a_client_whose_authority_is_taken_away_does_not_come_back() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror().await;
    let endpoint = format!("http://{}", upstream.address());
    let folder = tidegate_tests::child::Scratch::new();
    let ca = folder.write("clients.pem", kit.authority.pem());
    let asking = format!(
        "client_certificates: {{ mode: required, ca: '{}' }}",
        ca.display()
    );
    let gateway = TestGateway::from_file(&kit.yaml(&asking, &endpoint, ""));
    // One client, with the tickets that it gets.
    let config = tls::client(&kit.authority, Some(&robot(&kit.authority)));
    let works = async || {
        let connected = Wire::connect_tls(gateway.address(), &config, "localhost").await;
        let Ok(mut client) = connected else {
            return false;
        };
        let request = Request::get("/").with("Connection", "close");
        client.try_send(request.bytes()).await.is_ok() && client.read_head_or_end().await.is_ok()
    };
    assert!(works().await && works().await);
    std::fs::write(&ca, Authority::new("another").pem()).unwrap();
    tidegate_tests::eventually_does("it is refused", async || !works().await).await;
    assert!(!works().await);
}
