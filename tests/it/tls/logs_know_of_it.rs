//! The access log tells of TLS where there is some, and of handshakes that failed nothing: they are counted.

use rcgen::DnType;
use tidegate_tests::{LogFile, Request, ScriptedUpstream, TestGateway, Wire, tls};

use super::Kit;

fn gateway(kit: &Kit, log: &LogFile, upstream: &ScriptedUpstream) -> TestGateway {
    let endpoint = format!("https://localhost:{}", upstream.address().port());
    let ca = kit.ca.display();
    let asking = format!("client_certificates: {{ mode: wanted, ca: '{ca}' }}");
    let yaml = kit.yaml(&asking, &endpoint, &kit.trusts());
    let admin = "admin: { bind: 127.0.0.1:0, aliases: [application_websockets] }\n";
    TestGateway::from_file(&(yaml + &log.yaml("") + admin))
}

#[tokio::test]
async fn lines_have_the_version_and_the_clients_subject() {
    let (kit, log) = (Kit::new(), LogFile::new());
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let gateway = gateway(&kit, &log, &upstream);
    let subject = [
        (DnType::OrganizationName, "Example, Inc."),
        (DnType::CommonName, "robot \"1\""),
    ];
    let robot = kit.authority.client(&subject, &[]);
    for certificate in [None, Some(&robot)] {
        let config = tls::client(&kit.authority, certificate);
        let connected = Wire::connect_tls(gateway.address(), &config, "localhost").await;
        let mut client = connected.unwrap();
        assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
        client.upgrade("/").await;
    }
    for event in ["http", "ws.open"] {
        let lines = log.events(event, 2).await;
        for line in &lines {
            assert_eq!(line["tls"], "TLSv1.3", "{line}");
            assert_eq!(line["tls_cipher"], "TLS_AES_256_GCM_SHA384", "{line}");
            assert_eq!(line["sni"], "localhost", "{line}");
        }
        assert!(lines[0].get("client_certificate").is_none(), "{}", lines[0]);
        let told = lines[1]["client_certificate"].as_str().unwrap();
        assert!(
            told.contains("robot") && told.contains("O=Example"),
            "{told}"
        );
    }
}

/// Also of those that come back by a ticket; and nobody's name is another's, or is made up.
#[tokio::test]
async fn lines_have_the_name_that_was_asked_for() {
    let (kit, log) = (Kit::new(), LogFile::new());
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let gateway = gateway(&kit, &log, &upstream);
    let config = tls::credulous();
    let names = ["A.example", "b.example", "b.example", "127.0.0.1"];
    for (number, name) in names.iter().enumerate() {
        let connected = Wire::connect_tls(gateway.address(), &config, name).await;
        let mut client = connected.unwrap();
        let request = Request::get(&format!("/{number}"));
        assert_eq!(client.ask(&request).await.status(), 200);
    }
    let resumed = "tidegate_tls_handshakes_total{result=\"resumed\"}";
    gateway.admin().counts(resumed, 1.0).await;
    let lines = log.events("http", names.len()).await;
    // An address is no name (RFC 6066 section 3).
    let told = [
        Some("a.example"),
        Some("b.example"),
        Some("b.example"),
        None,
    ];
    for (number, name) in told.iter().enumerate() {
        let path = format!("/{number}");
        let line = lines.iter().find(|line| line["path"] == path.as_str());
        let line = line.unwrap();
        assert_eq!(
            line.get("sni").and_then(|sni| sni.as_str()),
            *name,
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_counted_and_has_no_line() {
    let (kit, log) = (Kit::new(), LogFile::new());
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let gateway = gateway(&kit, &log, &upstream);
    let mut plain = gateway.connect().await;
    plain.ask(&Request::get("/")).await.expect_problem(400);
    drop(gateway.connect().await);
    for result in ["plain_http", "lost"] {
        let series = format!("tidegate_tls_handshakes_total{{result=\"{result}\"}}");
        gateway.admin().counts(&series, 1.0).await;
    }
    let mut client = kit.connect(gateway.address()).await;
    assert_eq!(client.ask(&Request::get("/")).await.status(), 200);
    let lines = log.lines(1).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["status"], 200);
}

#[tokio::test]
async fn the_alias_of_the_sessions_says_wss() {
    let (kit, log) = (Kit::new(), LogFile::new());
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let gateway = gateway(&kit, &log, &upstream);
    let mut client = kit.connect(gateway.address()).await;
    client.upgrade("/room").await;
    let told = gateway.admin().get("/application/websockets").await.text();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    for key in ["gatewayPath", "serviceUrl"] {
        let url = told[0][key].as_str().unwrap();
        assert!(url.starts_with("wss://") && url.ends_with("/room"), "{url}");
    }
}
