//! What is spoken to upstreams: for each version and cipher suite of `openssl s_server`, whether it is
//! agreed upon, with the least version as it is by default and with 1.3.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tidegate_tests::child::{Process, spare_port};
use tidegate_tests::{Request, TestGateway, tools};

use super::Kit;

/// A server that answers any request with a page.
async fn s_server(program: &Path, kit: &Kit, arguments: &[&str]) -> (Process, SocketAddr) {
    let port = spare_port();
    let mut command = Command::new(program);
    command.args(["s_server", "-www", "-quiet", "-accept"]);
    command.arg(format!("127.0.0.1:{port}"));
    command.arg("-cert").arg(&kit.server.cert);
    command.arg("-key").arg(&kit.server.key);
    command.args(arguments);
    // An old server: what is refused is to be refused by us.
    command.env("OPENSSL_CONF", "/dev/null");
    let mut process = Process::start(&mut command);
    let address = process.listens().await;
    (process, address)
}

fn gateway(kit: &Kit, address: SocketAddr, more: &str) -> TestGateway {
    let ca = kit.ca.display();
    let service = format!("tls: {{ ca: '{ca}', {more} }}");
    TestGateway::from_file(&kit.yaml("", &format!("https://{address}"), &service))
}

#[tokio::test]
async fn versions_and_suites_offered_and_refused() {
    let Some(openssl) = tools::program("tls::upstreams::versions_and_suites", "openssl") else {
        return;
    };
    let kit = Kit::new();
    let low = |cipher: &'static str| vec!["-tls1_2", "-cipher", cipher];
    let high = |suite: &'static str| vec!["-tls1_3", "-ciphersuites", suite];
    // The arguments; whether the defaults take it, and a service of TLS 1.3.
    let rows: Vec<(Vec<&str>, [bool; 2])> = vec![
        (vec!["-tls1", "-cipher", "ALL@SECLEVEL=0"], [false, false]),
        (vec!["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], [false, false]),
        (vec!["-tls1_2"], [true, false]),
        (vec!["-tls1_3"], [true, true]),
        (low("ECDHE-ECDSA-AES128-GCM-SHA256"), [true, false]),
        (low("ECDHE-ECDSA-AES256-GCM-SHA384"), [true, false]),
        (low("ECDHE-ECDSA-CHACHA20-POLY1305"), [true, false]),
        (low("ECDHE-ECDSA-AES128-SHA256"), [false, false]),
        (low("ECDHE-ECDSA-AES256-SHA"), [false, false]),
        (low("aNULL@SECLEVEL=0"), [false, false]),
        (high("TLS_AES_128_GCM_SHA256"), [true, true]),
        (high("TLS_AES_256_GCM_SHA384"), [true, true]),
        (high("TLS_CHACHA20_POLY1305_SHA256"), [true, true]),
        (high("TLS_AES_128_CCM_SHA256"), [false, false]),
    ];
    for (arguments, wanted) in rows {
        let (server, address) = s_server(&openssl, &kit, &arguments).await;
        let leasts = ["", "min_version: 1.3"];
        for (least, wanted) in leasts.into_iter().zip(wanted) {
            let gateway = gateway(&kit, address, least);
            let mut client = kit.connect(gateway.address()).await;
            let answer = client.ask(&Request::get("/")).await;
            let status = if wanted { 200 } else { 502 };
            let said = (&arguments, least, server.output());
            assert_eq!(answer.status(), status, "{said:?}");
            if !wanted {
                assert_eq!(answer.code(), "upstream_tls_failed", "{said:?}");
            }
        }
    }
}
