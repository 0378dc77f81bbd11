//! What the delivery of a push costs: told to many sessions at once, beside a loop that does nothing but
//! write the same frames to as many sockets; and told to one session among few others and many.
//!
//! All clients are in this process; the gateways and the loop are processes of their own, whose CPU is
//! read. Each push goes out once all have the one before it, and each frame is compared.

pub(crate) mod bare;
mod crowd;
pub(crate) mod publisher;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::bare::Order;
use self::crowd::{Crowd, Part, ROOM};
use self::publisher::Publisher;
use crate::measure::accounts::Tree;

/// Pushes that come before any counts.
const WARM_UP: usize = 3;
/// Bytes of what is told.
const DATA: usize = 200;
/// Pushes to one session, of which each is one request; and requests of so many pushes.
const SINGLE: usize = 500;
const BATCHES: usize = 100;
const BATCH: usize = 50;

/// A process that is measured: where it listens, where it is told what to push, and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    address: SocketAddr,
    orders: SocketAddr,
    pid: i32,
}

impl std::str::FromStr for Measured {
    type Err = String;

    /// `ADDRESS,ADDRESS,PID`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let [address, orders, pid] = parts[..] else {
            return Err(format!("`{text}` is not ADDRESS,ADDRESS,PID"));
        };
        Ok(Self {
            address: address.parse().map_err(words)?,
            orders: orders.parse().map_err(words)?,
            pid: pid.parse().map_err(words)?,
        })
    }
}

/// What was used for some deliveries.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: Duration,
    elapsed: Duration,
    deliveries: usize,
}

/// Pushes to all of `count` sessions, `pushes` times in each round; prints a line of JSON for each way and
/// round.
pub(crate) fn many(
    gateway: Measured,
    bare: Measured,
    [count, pushes, rounds]: [usize; 3],
) -> Result<(), String> {
    let mut ours = Crowd::open(gateway.address, 0, count, Part::Joins)?;
    let mut theirs = Crowd::open(bare.address, 0, count, Part::Reads)?;
    let trees = (Tree::of(gateway.pid)?, Tree::of(bare.pid)?);
    let publisher = Publisher::new(gateway.orders);
    let mut order = Order::connect(bare.orders)?;
    let data = "x".repeat(DATA - 2);
    let names: Vec<String> = (0..count).map(|user| format!("\"user-{user}\"")).collect();
    let users = format!(
        "{{\"user\":[{}],\"event\":\"bench\",\"data\":\"{data}\"}}",
        names.join(",")
    );
    let room = format!("{{\"room\":\"{ROOM}\",\"event\":\"bench\",\"data\":\"{data}\"}}");
    for round in 0..=rounds {
        let is_counted = round > 0;
        let times = if is_counted { pushes } else { WARM_UP };
        for (way, body) in [("users", &users), ("room", &room)] {
            let through = measure(&trees.0, times, || {
                publisher.push(body)?;
                ours.all_are_told()
            })?;
            let frame = ours.last_frame().to_vec();
            let written = measure(&trees.1, times, || {
                order.write(&frame)?;
                theirs.all_are_told()
            })?;
            if is_counted {
                println!("{}", told(way, "tidegate", through));
                println!("{}", told(way, "bare", written));
            }
        }
    }
    Ok(())
}

/// Pushes to one session of each gateway, beside which there are as many others as `others` says; prints a
/// line of JSON for each gateway, way and round.
pub(crate) fn one(gateways: &[(usize, Measured)], rounds: usize) -> Result<(), String> {
    let mut all = Vec::new();
    for (others, gateway) in gateways {
        let crowd = Crowd::open(gateway.address, 1, *others, Part::Acks)?;
        let alone = Crowd::open(gateway.address, 0, 1, Part::Acks)?;
        let publisher = Publisher::new(gateway.orders);
        all.push((*others, crowd, alone, publisher, Tree::of(gateway.pid)?));
    }
    let data = "x".repeat(DATA - 2);
    let push = format!("{{\"user\":\"user-0\",\"event\":\"bench\",\"data\":\"{data}\"}}");
    let batch = format!("[{}]", vec![push.as_str(); BATCH].join(","));
    for round in 0..=rounds {
        for (others, crowd, alone, publisher, tree) in &mut all {
            // Whatever they were told meanwhile, pings for instance.
            crowd.look()?;
            for (way, body, times, pushes) in [
                ("single", &push, SINGLE, 1),
                ("batch", &batch, BATCHES, BATCH),
            ] {
                let mut cost = measure(tree, times, || {
                    publisher.push(body)?;
                    (0..pushes).try_fold(0, |sum, _| Ok(sum + alone.all_are_told()?))
                })?;
                cost.deliveries = times * pushes;
                if round > 0 {
                    println!("{}", told(way, &others.to_string(), cost));
                }
            }
        }
    }
    Ok(())
}

fn measure(
    tree: &Tree,
    times: usize,
    mut push: impl FnMut() -> Result<usize, String>,
) -> Result<Cost, String> {
    let (begun, before) = (now(), tree.cpu()?);
    let mut deliveries = 0;
    for _ in 0..times {
        deliveries += push()?;
    }
    Ok(Cost {
        cpu: tree.cpu()?.saturating_sub(before),
        elapsed: begun.elapsed(),
        deliveries,
    })
}

fn told(way: &str, by: &str, cost: Cost) -> String {
    let each = cost.cpu.as_nanos() as f64 / cost.deliveries as f64;
    let rate = cost.deliveries as f64 / cost.elapsed.as_secs_f64();
    format!(
        "{{\"way\":\"{way}\",\"by\":\"{by}\",\"cpu_ns\":{each:.0},\"per_second\":{rate:.0},\"deliveries\":{}}}",
        cost.deliveries
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "real durations are measured; there is no tokio clock here"
)]
fn now() -> Instant {
    Instant::now()
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
