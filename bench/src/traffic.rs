//! What calls of a browser's app cost on the wire and in time: over HTTP/1.1 on a kept connection, and over
//! the bridge; each with and without compression. One client, one call at a time.
//!
//! Bytes are those that the client's socket took and gave: what TCP carries, without its own headers.

mod http;
mod service;
mod socket;
mod websocket;

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::measure::accounts::Tree;
use crate::measure::bridge;

/// Bytes of an answer's body, about.
const SIZES: [usize; 3] = [200, 1024, 16 * 1024];
/// Of them the median counts.
const ROUNDS: usize = 5;
/// Calls that come before any counts.
const WARM_UP: usize = 100;

/// How calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    /// The service compresses.
    HttpGzip,
    Bridge,
    /// With permessage-deflate.
    BridgeDeflate,
}

impl Way {
    const ALL: [Self; 4] = [
        Self::Http,
        Self::HttpGzip,
        Self::Bridge,
        Self::BridgeDeflate,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP/1.1",
            Self::HttpGzip => "HTTP/1.1, gzip",
            Self::Bridge => "bridge",
            Self::BridgeDeflate => "bridge, deflate",
        }
    }

    /// What the service is asked for.
    fn path(self, size: usize, number: usize) -> String {
        let kind = if self == Self::HttpGzip {
            "gzip"
        } else {
            "plain"
        };
        format!("/{kind}/{size}/{number}")
    }
}

/// What a client does.
enum Client {
    Http(http::Client),
    Bridge(Box<websocket::Client>),
}

/// Of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// To the gateway and from it, with the first call's connection.
    opening: [u64; 2],
    /// The same for one call.
    call: [f64; 2],
    elapsed: Duration,
    gateway: Duration,
}

/// Measures, and prints a line of JSON for each way and size.
pub(crate) fn run(
    gateway: SocketAddr,
    upstream: SocketAddr,
    pid: i32,
    calls: usize,
) -> Result<(), String> {
    service::start(upstream)?;
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().map_err(words)?;
    let tree = Tree::of(pid)?;
    for size in SIZES {
        let mut costs = [const { Vec::new() }; Way::ALL.len()];
        for _ in 0..ROUNDS {
            for (way, costs) in Way::ALL.into_iter().zip(&mut costs) {
                let measured = measure(way, gateway, size, calls, &tree);
                costs.push(runtime.block_on(measured)?);
            }
        }
        for (way, costs) in Way::ALL.into_iter().zip(&costs) {
            println!("{}", told(way, size, costs));
        }
    }
    Ok(())
}

async fn measure(
    way: Way,
    gateway: SocketAddr,
    size: usize,
    calls: usize,
    tree: &Tree,
) -> Result<Cost, String> {
    let (stream, count) = socket::connect(gateway).await?;
    let mut client = match way {
        Way::Http | Way::HttpGzip => Client::Http(http::Client::new(stream, gateway)),
        Way::Bridge | Way::BridgeDeflate => {
            let deflate = way == Way::BridgeDeflate;
            let client = websocket::Client::open(stream, gateway, deflate).await?;
            Client::Bridge(Box::new(client))
        }
    };
    let opening = count.look();
    for number in 0..WARM_UP {
        client.call(way, size, number).await?;
    }
    let (before, begun, used) = (count.look(), now(), tree.cpu()?);
    for number in 0..calls {
        client.call(way, size, WARM_UP + number).await?;
    }
    let (elapsed, used) = (begun.elapsed(), tree.cpu()?.saturating_sub(used));
    let after = count.look();
    let each = |at: usize| (after[at] - before[at]) as f64 / calls as f64;
    let share = |time: Duration| time / u32::try_from(calls).unwrap_or(u32::MAX);
    Ok(Cost {
        opening,
        call: [each(0), each(1)],
        elapsed: share(elapsed),
        gateway: share(used),
    })
}

impl Client {
    /// Calls, and compares what comes back with what is due.
    async fn call(&mut self, way: Way, size: usize, number: usize) -> Result<(), String> {
        let path = way.path(size, number);
        let body = match self {
            Self::Http(client) => client.call(&path).await?,
            Self::Bridge(client) => client.call(number + 1, &path).await?,
        };
        if body != service::body(size, number).as_bytes() {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("a wrong answer to {path}: {body}"));
        }
        Ok(())
    }
}

fn told(way: Way, size: usize, costs: &[Cost]) -> String {
    let first = costs.first().copied().unwrap_or_default();
    let median = |of: fn(&Cost) -> Duration| {
        let mut times: Vec<Duration> = costs.iter().map(of).collect();
        times.sort_unstable();
        times.get(times.len() / 2).map_or(0, Duration::as_nanos)
    };
    format!(
        "{{\"way\":\"{}\",\"size\":{size},\"opening_up\":{},\"opening_down\":{},\"up\":{:.1},\"down\":{:.1},\
         \"call_ns\":{},\"gateway_ns\":{}}}",
        way.name(),
        first.opening[0],
        first.opening[1],
        first.call[0],
        first.call[1],
        median(|cost| cost.elapsed),
        median(|cost| cost.gateway),
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "real durations are measured; there is no tokio clock here"
)]
fn now() -> Instant {
    Instant::now()
}

/// The token of the one user there is.
fn token() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| bridge::signed(1, 180));
    &TOKEN
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
