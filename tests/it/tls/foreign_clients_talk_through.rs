//! Clients that we did not write, over TLS: curl, Node's `ws` and Python's `websockets`, with
//! certificates of their own.

use std::process::Command;

use rcgen::DnType;
use tidegate_tests::child::{self, Process};
use tidegate_tests::{ScriptedUpstream, TestGateway, tls, tools};

use super::Kit;

async fn gateway(kit: &Kit) -> (ScriptedUpstream, TestGateway) {
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let endpoint = format!("wss://localhost:{}", upstream.address().port());
    let asking = format!(
        "client_certificates: {{ mode: required, ca: '{}' }}",
        kit.ca.display()
    );
    let gateway = TestGateway::from_file(&kit.yaml(&asking, &endpoint, &kit.trusts()));
    (upstream, gateway)
}

/// Runs a client to its end, which must be a good one.
async fn talks(mut command: Command, kit: &Kit, gateway: &TestGateway) {
    let client = kit.authority.client(&[(DnType::CommonName, "robot")], &[]);
    let files = client.write(&kit.folder, "client");
    command
        .arg(format!("wss://localhost:{}", gateway.address().port()))
        .args([&kit.ca, &files.cert, &files.key]);
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(
        status.success() && output.contains("ok"),
        "{status}: {output}"
    );
    gateway.is_empty().await;
}

#[tokio::test]
async fn node() {
    let Some(folder) = tools::node_tools("tls::node") else {
        return;
    };
    let kit = Kit::new();
    let (_upstream, gateway) = gateway(&kit).await;
    talks(
        child::node(&folder, "node-wss-client.mjs", &[]),
        &kit,
        &gateway,
    )
    .await;
}

#[tokio::test]
async fn python() {
    let Some(program) = tools::python("tls::python") else {
        return;
    };
    let kit = Kit::new();
    let (_upstream, gateway) = gateway(&kit).await;
    let mut command = Command::new(program);
    command.arg(tools::script("python-wss-client.py"));
    talks(command, &kit, &gateway).await;
}

#[tokio::test]
async fn curl() {
    let Some(program) = tools::program("tls::curl", "curl") else {
        return;
    };
    let kit = Kit::new();
    let (_upstream, gateway) = gateway(&kit).await;
    let client = kit.authority.client(&[(DnType::CommonName, "robot")], &[]);
    let files = client.write(&kit.folder, "client");
    let url = format!("https://localhost:{}/a", gateway.address().port());
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let mut command = Command::new(&program);
        command.args(["-sS", "--fail", version, "--tls-max", &version[6..]]);
        command.arg("--cacert").arg(&kit.ca);
        command
            .arg("--cert")
            .arg(&files.cert)
            .arg("--key")
            .arg(&files.key);
        let (status, output) = Process::start(command.arg(&url)).ends().await;
        assert!(status.success(), "{version}: {output}");
        assert!(output.contains("GET /a HTTP/1.1"), "{version}: {output}");
    }
}
