//! Thousands of TLS connections at once, each a process's share of descriptors: with tickets and
//! without. It takes a minute, and so is asked for by name (`--ignored`).

use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{Request, Wire, tls, tools};

use super::Kit;

/// As many as two processes of 20,000 descriptors have room for, each with an upstream of its own to
/// be kept free.
const MANY: usize = 9000;
const AT_ONCE: usize = 400;

#[tokio::test]
#[ignore = "thousands of connections"]
async fn all_shake_hands_and_all_are_answered() {
    let test = "all_shake_hands_and_all_are_answered";
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
        let mut open: Vec<Wire> = Vec::with_capacity(MANY);
        let mut slowest = Duration::ZERO;
        while open.len() < MANY {
            let shaking: Vec<_> = (0..AT_ONCE.min(MANY - open.len()))
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
            "tickets {tickets}: {MANY} connections in {:?}, the slowest of {AT_ONCE} at once in {slowest:?}",
            begun.elapsed()
        );
        for client in &mut open {
            assert_eq!(client.ask(&Request::get("/again")).await.status(), 404);
        }
    }
}
