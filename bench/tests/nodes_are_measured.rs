//! What several nodes take is measured, short, with gateways, brokers and Redis as processes of their own.
#![cfg(feature = "cluster")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::process::{Command, Output};

use tidegate_tests::tools;

const LOAD: &str = env!("CARGO_BIN_EXE_tidegate-load");

fn load(words: &[&str]) -> Output {
    let mut load = Command::new(LOAD);
    load.arg("cluster").args(words).output().unwrap()
}

/// Whether there is a figure of this, above zero.
fn is_told(output: &Output, way: &str, by: &str, figure: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let beginning = format!("{{\"way\":\"{way}\",\"by\":\"{by}\",\"{figure}\":");
    let cost = said.lines().find_map(|line| line.strip_prefix(&*beginning));
    let cost = cost.and_then(|rest| rest.split([',', '}']).next()?.parse::<f64>().ok());
    cost.is_some_and(|cost| cost > 0.0)
}

#[test]
fn every_way_to_a_user_of_two_nodes_is_measured() {
    let test = "every_way_to_a_user_of_two_nodes_is_measured";
    let needed = [tools::kafka(test), tools::registry(test)];
    let [Some(_), Some(_)] = needed else { return };
    if tools::program(test, "redis-server").is_none() {
        return;
    }
    let Some(gateway) = tools::tidegate_with(test, "kafka") else {
        return;
    };
    let gateway = gateway.to_str().unwrap();
    let output = load(&[gateway, "1", "20", "memory=1", "redis=2", "both=2"]);
    assert!(is_told(&output, "latency", "bare redis", "p50_us"));
    assert!(is_told(&output, "latency", "memory 1 holder", "p50_us"));
    for from in [
        "redis 2 holder",
        "redis 2 other",
        "both 2 other",
        "both 2 record",
    ] {
        assert!(is_told(&output, "latency", from, "p50_us"), "{output:?}");
        for way in ["alone", "burst"] {
            let part = if from.ends_with("other") {
                "publishes"
            } else {
                "neither"
            };
            assert!(is_told(&output, way, &format!("{from} {part}"), "cpu_ns"));
        }
    }
    for what in ["consumer", "acked"] {
        let by = format!("both 2 record {what}");
        assert!(is_told(&output, "latency", &by, "p50_us"), "{output:?}");
    }
    assert!(is_told(&output, "session", "both 2 holds", "cpu_ns"));
    assert!(is_told(&output, "idle", "both 2 node", "cpu_ns"));
}

#[test]
fn what_is_no_cluster_gives_no_figure() {
    for words in [
        ["/nowhere", "1", "1", "paper=2"],
        ["/nowhere", "1", "1", "redis"],
    ] {
        let output = load(&words);
        assert!(!output.status.success(), "{output:?}");
    }
}
