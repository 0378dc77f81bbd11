//! Subprotocols: those that a route lists pass, the others do not, and what is spoken in them is no
//! business of the gateway's. Brokers and servers that others wrote are asked.

mod graphql;
mod listed;
mod mqtt;
mod stomp;

use std::net::SocketAddr;
use std::path::Path;

use tidegate_tests::TestGateway;
use tidegate_tests::child::{self, Process};

/// A gateway before `upstream`, with these routes, each of a line.
fn before(upstream: SocketAddr, routes: &str) -> TestGateway {
    TestGateway::start_among(
        &[("UP", upstream)],
        &format!("services: {{ up: {{ endpoints: 'http://UP' }} }}\nroutes:\n{routes}"),
    )
}

/// Runs the client `script` to its end, which must be a good one.
async fn converse(folder: &Path, script: &str, gateway: &TestGateway) {
    let url = format!("ws://{}", gateway.address());
    let mut client = Process::start(&mut child::node(folder, script, &[&url]));
    let (status, output) = client.ends_late().await;
    assert!(
        status.success() && output.lines().any(|line| line == "ok"),
        "{status}: {output}"
    );
    gateway.is_empty().await;
}
