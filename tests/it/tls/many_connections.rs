//! Many TLS connections at once, with tickets and without. Thousands take a
//! minute, and so are asked for by name (`--ignored`; `cargo xtask test --full` does).

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{Frame, Request, ScriptedUpstream, Wire, tls, tools};

use super::Kit;

/// As many as two processes of 20,000 descriptors have room for, each with an upstream of its own to
/// be kept free.
const MANY: usize = 9000;
const AT_ONCE: usize = 400;

#[tokio::test]
#[ignore = "thousands of connections"]
async fn all_shake_hands_and_all_are_answered() {
    all_are_answered("all_shake_hands_and_all_are_answered", MANY).await;
}

#[tokio::test]
async fn some_shake_hands_and_all_are_answered() {
    all_are_answered("some_shake_hands_and_all_are_answered", 600).await;
}

async fn all_are_answered(test: &str, many: usize) {
    let Some(binary) = tools::tidegate(test) else {
        return;
    };
    for tickets in [true, false] {
        let kit = Kit::new();
        let folder = Scratch::new();
        // A path that ends in the gateway: no route takes it.
        let yaml = kit
            .yaml(&format!("tickets: {tickets}"), "http://127.0.0.1:9", "")
            .replace("/**", "/nothing")
            .replace(
                "workers: 1",
                "workers: 2\nlimits: { max_connections: 10000 }",
            )
            .replace(
                "127.0.0.1:0\n",
                "127.0.0.1:0\n    limits: { keep_alive_timeout: 10m }\n",
            );
        let file = folder.write("tidegate.yaml", &yaml);
        let mut process = Process::start(Command::new(&binary).arg("--config").arg(file));
        let address = process.address_of("public").await;
        let config = tls::client(&kit.authority, None);
        let begun = Instant::now();
        let mut open: Vec<Wire> = Vec::with_capacity(many);
        let mut slowest = Duration::ZERO;
        while open.len() < many {
            let shaking: Vec<_> = (0..AT_ONCE.min(many - open.len()))
                .map(|_| {
                    let config = config.clone();
                    tokio::spawn(async move {
                        let begun = Instant::now();
                        let connected = Wire::connect_tls(address, &config, "localhost").await;
                        let mut client = connected.unwrap();
                        let answer = client.ask(&Request::get("/other")).await;
                        assert_eq!(answer.status(), 404);
                        (client, begun.elapsed())
                    })
                })
                .collect();
            for one in shaking {
                let (client, took) = one.await.unwrap();
                slowest = slowest.max(took);
                open.push(client);
            }
        }
        println!(
            "tickets {tickets}: {many} connections in {:?}, the slowest of {AT_ONCE} at once in {slowest:?}",
            begun.elapsed()
        );
        for client in &mut open {
            assert_eq!(client.ask(&Request::get("/again")).await.status(), 404);
        }
    }
}

/// What an idle session costs, by the slope of the process's memory over sessions: plain, and with TLS on
/// either leg or both.
#[tokio::test]
#[ignore = "thousands of sessions"]
async fn idle_sessions_cost_little() {
    const FEW: usize = 1000;
    const MANY: usize = 4000;
    let Some(binary) = tools::tidegate("idle_sessions_cost_little") else {
        return;
    };
    let mut costs = Vec::new();
    for (client_tls, upstream_tls) in [(false, false), (true, false), (false, true), (true, true)] {
        let kit = Kit::new();
        let (upstream, scheme) = if upstream_tls {
            let server = tls::server(&kit.issued);
            (ScriptedUpstream::mirror_tls(server).await, "https")
        } else {
            (ScriptedUpstream::mirror().await, "http")
        };
        let service = if upstream_tls {
            kit.trusts()
        } else {
            String::new()
        };
        let endpoint = format!("{scheme}://{}", upstream.address());
        let mut yaml = kit.yaml("", &endpoint, &service);
        yaml = yaml.replace(
            "workers: 1",
            "workers: 1\nlimits: { max_connections: 10000 }",
        );
        if !client_tls {
            let lines = yaml
                .lines()
                .filter(|line| !line.contains("tls: { certificates"));
            yaml = lines.collect::<Vec<_>>().join("\n");
        }
        let (process, address, _folder) = Process::gateway(&binary, &yaml).await;
        let config = tls::client(&kit.authority, None);
        let mut open = Vec::new();
        let mut memory = Vec::new();
        for count in [FEW, MANY] {
            while open.len() < count {
                let opening: Vec<_> = (0..100)
                    .map(|_| tokio::spawn(session(address, client_tls.then(|| config.clone()))))
                    .collect();
                for one in opening {
                    open.push(one.await.unwrap());
                }
            }
            // What goes back to the system goes within a moment.
            tokio::time::sleep(Duration::from_secs(1)).await;
            memory.push(process.shared_memory());
        }
        let cost = memory[1].saturating_sub(memory[0]) / (MANY - FEW);
        println!(
            "client over TLS {client_tls}, upstream over TLS {upstream_tls}: {cost} bytes each"
        );
        costs.push(cost);
    }
    for with_tls in &costs[1..3] {
        let more = with_tls.saturating_sub(costs[0]);
        assert!(more < 10 * 1024, "TLS on a leg costs {more} bytes more");
    }
}

/// A session that has said something, and heard it back.
async fn session(address: SocketAddr, config: Option<Arc<ClientConfig>>) -> Wire {
    let mut client = match config {
        None => Wire::connect(address).await,
        Some(config) => Wire::connect_tls(address, &config, "localhost")
            .await
            .unwrap(),
    };
    client.upgrade("/").await;
    client
        .send_frame(&Frame::text("something").from_client())
        .await;
    assert_eq!(client.read_frame().await.payload, b"something");
    client
}
