//! Redis in three ways: alone, a master and its replica under three Sentinels, and a cluster of three.

use std::process::Command;

use anyhow::Context as _;

use super::asked::says;
use super::{Line, Place, Ports, Service};
use crate::run::Run;
use crate::shell;

/// By this name the Sentinels know their master.
const MASTER: &str = "mymaster";

const SENTINELS: [&str; 3] = ["sentinel-1", "sentinel-2", "sentinel-3"];
const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// The slots of each node.
const SLOTS: [&str; 3] = ["0 5461", "5462 10922", "10923 16383"];

/// Starts all of them.
pub(super) fn begin(
    _: &Run,
    place: &Place,
    ports: &mut Ports,
) -> anyhow::Result<(Vec<Service>, Vec<Line>)> {
    let alone = ports.take("Redis", 6379)?;
    let mut services = vec![process(place, "redis", alone, &[], "PING", "+PONG")?];
    let mut lines = vec![Line {
        what: "Redis",
        place: url(alone),
        variable: Some("REDIS"),
    }];
    lines.push(sentinels(place, ports, &mut services)?);
    lines.push(cluster(place, ports, &mut services)?);
    Ok((services, lines))
}

fn sentinels(
    place: &Place,
    ports: &mut Ports,
    services: &mut Vec<Service>,
) -> anyhow::Result<Line> {
    let master = ports.take("Redis's master", 6380)?;
    let replica = ports.take("Redis's replica", 6381)?;
    services.push(process(place, "master", master, &[], "PING", "+PONG")?);
    let follows = [format!("replicaof 127.0.0.1 {master}")];
    let (asked, answer) = ("INFO replication", "master_link_status:up");
    services.push(process(place, "replica", replica, &follows, asked, answer)?);
    let monitors = [
        format!("sentinel monitor {MASTER} 127.0.0.1 {master} 2"),
        format!("sentinel down-after-milliseconds {MASTER} 5000"),
    ];
    let asked = format!("SENTINEL CKQUORUM {MASTER}");
    let mut urls = Vec::new();
    for (name, usual) in SENTINELS.into_iter().zip(26_379..) {
        let port = ports.take("a Sentinel", usual)?;
        services.push(process(place, name, port, &monitors, &asked, "+OK 3")?);
        urls.push(url(port));
    }
    Ok(Line {
        what: "Sentinels",
        place: format!(
            "url: ['{}'], mode: {{ sentinel: {{ master: {MASTER} }} }}",
            urls.join("', '")
        ),
        variable: None,
    })
}

fn cluster(place: &Place, ports: &mut Ports, services: &mut Vec<Service>) -> anyhow::Result<Line> {
    let (mut urls, mut first) = (Vec::new(), None);
    for ((name, slots), usual) in NODES.into_iter().zip(SLOTS).zip(7000..) {
        let port = ports.take("a node of Redis Cluster", usual)?;
        let bus = ports.take("what it tells the other nodes by", usual + 10_000)?;
        let settings = [
            "cluster-enabled yes".to_owned(),
            format!("cluster-port {bus}"),
        ];
        let (met, met_bus) = *first.get_or_insert((port, bus));
        let orders = [
            format!("CLUSTER ADDSLOTSRANGE {slots}\r\n"),
            format!("CLUSTER MEET 127.0.0.1 {met} {met_bus}\r\n"),
        ];
        let mut node = process(
            place,
            name,
            port,
            &settings,
            "CLUSTER INFO",
            "cluster_state:ok",
        )?;
        let is_whole = node.answers;
        // Said until it helps: none of them harms a second time.
        node.answers = Box::new(move || {
            let hears = |order: &String| says(port, order.as_bytes(), b"\r\n");
            is_whole() || (orders.iter().all(hears) && is_whole())
        });
        services.push(node);
        urls.push(url(port));
    }
    Ok(Line {
        what: "Redis Cluster",
        place: format!("url: ['{}'], mode: cluster", urls.join("', '")),
        variable: None,
    })
}

/// One process with settings of its own, which is well when it answers `asked` with `answer`.
fn process(
    place: &Place,
    name: &'static str,
    port: u16,
    settings: &[String],
    asked: &str,
    answer: &'static str,
) -> anyhow::Result<Service> {
    let program = shell::which("redis-server").context("no redis-server")?;
    let is_sentinel = SENTINELS.contains(&name);
    let folder = place.folder(name)?;
    let mut lines = vec![
        "bind 127.0.0.1".to_owned(),
        format!("port {port}"),
        format!("dir {}", folder.display()),
    ];
    if !is_sentinel {
        lines.push("save \"\"".to_owned());
    }
    lines.extend_from_slice(settings);
    let file = place.write(&format!("{name}.conf"), &lines.join("\n"))?;
    let mut command = Command::new(program);
    command.arg(file).args(is_sentinel.then_some("--sentinel"));
    let request = format!("{asked}\r\nQUIT\r\n");
    Ok(Service {
        name,
        running: place.run(name, &command)?,
        answers: Box::new(move || says(port, request.as_bytes(), answer.as_bytes())),
    })
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}
