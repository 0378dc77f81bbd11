//! An upstream that cannot prove who it is gets no request: the client is told 502 and no more, the
//! log which check failed.

use std::sync::Arc;

use rustls::ServerConfig;
use tidegate_tests::certificates::{Authority, Flaw, Issued, self_signed};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, eventually, tls, tools};

use super::Kit;

/// A gateway of its own process without TLS on its listener, before `endpoint`.
async fn before(
    test: &str,
    endpoint: &str,
    service: &str,
) -> Option<(Process, std::net::SocketAddr, Scratch)> {
    let binary = tools::tidegate(test)?;
    let yaml = format!(
        "version: 1\nworkers: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         services: {{ up: {{ endpoints: ['{endpoint}'], {service} }} }}\n\
         routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
    );
    Some(Process::gateway(&binary, &yaml).await)
}

/// Both kinds of request are refused, and the log says by which check.
async fn is_refused(test: &str, server: Arc<ServerConfig>, host: &str, service: &str, check: &str) {
    let upstream = ScriptedUpstream::mirror_tls(server).await;
    let endpoint = format!("https://{host}:{}", upstream.address().port());
    let Some((process, address, _folder)) = before(test, &endpoint, service).await else {
        return;
    };
    for request in [Request::get("/"), Request::handshake("/")] {
        let answer = Wire::connect(address).await.ask(&request).await;
        answer.expect_problem(502);
        assert_eq!(answer.code(), "upstream_tls_failed");
        let said = answer.text();
        for secret in [check, "certificate", "127.0.0.1", "issuer"] {
            assert!(
                !said.contains(secret),
                "the client is told {secret}: {said}"
            );
        }
    }
    let told = format!("TLS failed: {check}: ");
    eventually("the log says which check failed", || {
        process.output().matches(&told).count() == 2
    })
    .await;
    assert!(upstream.heads().is_empty(), "it was asked all the same");
}

async fn flawed(test: &str, flaw: Flaw, check: &str) {
    let kit = Kit::new();
    let issued = kit.authority.flawed_server(&["127.0.0.1"], flaw);
    is_refused(
        test,
        tls::server(&issued),
        "127.0.0.1",
        &kit.trusts(),
        check,
    )
    .await;
}

#[tokio::test]
async fn not_one_that_has_expired() {
    flawed("not_one_that_has_expired", Flaw::Expired, "expired").await;
}

#[tokio::test]
async fn not_one_of_the_future() {
    flawed("not_one_of_the_future", Flaw::NotYetValid, "not_yet_valid").await;
}

#[tokio::test]
async fn not_one_of_another_name() {
    let kit = Kit::new();
    for issued in [
        kit.authority.server(&["other.example"]),
        kit.authority.server(&["127.0.0.2"]),
    ] {
        let server = tls::server(&issued);
        let test = "not_one_of_another_name";
        is_refused(test, server, "127.0.0.1", &kit.trusts(), "wrong_name").await;
    }
}

#[tokio::test]
async fn not_one_that_signed_for_itself() {
    let kit = Kit::new();
    let server = tls::server(&self_signed(&["127.0.0.1"]));
    let test = "not_one_that_signed_for_itself";
    is_refused(test, server, "127.0.0.1", &kit.trusts(), "self_signed").await;
}

#[tokio::test]
async fn not_one_of_an_unknown_authority() {
    let kit = Kit::new();
    let issued = Authority::new("a stranger").server(&["127.0.0.1"]);
    let test = "not_one_of_an_unknown_authority";
    let server = tls::server(&issued);
    is_refused(test, server, "127.0.0.1", &kit.trusts(), "unknown_issuer").await;
}

/// Without any keys the authorities of the system are believed, and ours is none of them.
#[tokio::test]
async fn not_one_that_the_system_does_not_know() {
    let kit = Kit::new();
    let test = "not_one_that_the_system_does_not_know";
    let server = tls::server(&kit.issued);
    is_refused(test, server, "127.0.0.1", "", "unknown_issuer").await;
}

/// Whichever side finds that there is nothing in common.
#[tokio::test]
async fn not_one_that_is_too_old() {
    let kit = Kit::new();
    let server = tls::server_of(&kit.issued, &[&rustls::version::TLS12]);
    let ca = kit.ca.display();
    let service = format!("tls: {{ ca: '{ca}', min_version: 1.3 }}");
    let test = "not_one_that_is_too_old";
    is_refused(test, server, "127.0.0.1", &service, "nothing_in_common").await;
}

#[tokio::test]
async fn one_that_speaks_no_tls_is_told() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let endpoint = format!("https://{}", upstream.address());
    let test = "one_that_speaks_no_tls_is_told";
    let Some((process, address, _folder)) = before(test, &endpoint, &kit.trusts()).await else {
        return;
    };
    let mut client = Wire::connect(address).await;
    client.request(&Request::get("/")).await;
    let answer = client.read_answer().await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (504, "upstream_connect_timeout"),
        "it waits for the end of a head that never comes"
    );
    drop(process);
}

#[tokio::test]
async fn one_whose_authority_is_taken_away_is_not_asked_again() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let endpoint = format!("https://127.0.0.1:{}", upstream.address().port());
    let test = "one_whose_authority_is_taken_away_is_not_asked_again";
    let Some((process, address, _folder)) = before(test, &endpoint, &kit.trusts()).await else {
        return;
    };
    let ask = async || Wire::connect(address).await.ask(&Request::get("/")).await;
    assert_eq!(ask().await.status(), 200);
    // The connection is idle and could be used again; its peer is not believed any more.
    std::fs::write(&kit.ca, Authority::new("another").pem()).unwrap();
    eventually("the authorities are read again", || {
        process.output().contains("certificates read again")
    })
    .await;
    let answer = ask().await;
    assert_eq!(answer.code(), "upstream_tls_failed");
    let told = "TLS failed: unknown_issuer: ";
    eventually("the log says why", || process.output().contains(told)).await;
    std::fs::write(&kit.ca, kit.authority.pem()).unwrap();
    eventually("they are read once more", || {
        process.output().matches("certificates read again").count() == 2
    })
    .await;
    assert_eq!(ask().await.status(), 200);
}

fn gateway(upstream: &ScriptedUpstream, service: &str) -> TestGateway {
    let port = upstream.address().port();
    TestGateway::start(
        upstream,
        &format!(
            "services: {{ up: {{ endpoints: ['wss://localhost:{port}'], {service} }} }}\n\
             routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
        ),
    )
}

#[tokio::test]
async fn a_name_can_be_told_that_the_url_has_not() {
    let kit = Kit::new();
    let issued = kit.authority.server(&["app.internal"]);
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&issued)).await;
    let ca = kit.ca.display();
    let gateway = gateway(
        &upstream,
        &format!("tls: {{ ca: '{ca}', server_name: app.internal, min_version: 1.3 }}"),
    );
    assert_eq!(gateway.ask(&Request::get("/")).await.status(), 200);
}

#[tokio::test]
async fn system_and_file_can_be_believed_together() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let ca = kit.ca.display();
    let both = format!("tls: {{ roots: [system, file], ca: '{ca}' }}");
    let answer = gateway(&upstream, &both).ask(&Request::get("/")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn anybody_may_be_one_that_is_insecure_and_the_log_says_so() {
    let issued: Issued = self_signed(&["nobody.example"]);
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&issued)).await;
    let endpoint = format!("https://{}", upstream.address());
    let test = "anybody_may_be_one_that_is_insecure_and_the_log_says_so";
    let service = "tls: { insecure: true }";
    let Some((process, address, _folder)) = before(test, &endpoint, service).await else {
        return;
    };
    let answer = Wire::connect(address).await.ask(&Request::get("/")).await;
    assert_eq!(answer.status(), 200);
    let output = process.output();
    let loud = output
        .lines()
        .filter(|line| line.contains("\"level\":\"error\""));
    assert_eq!(
        loud.filter(|line| line.contains("INSECURE")).count(),
        1,
        "{output}"
    );
}
