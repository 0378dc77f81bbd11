//! Load for a gateway, and the upstreams behind it. `cargo xtask` starts these processes:
//!
//! - `tidegate-load soak upstream` and `tidegate-load soak client GATEWAY`, the two sides of a soak;
//! - `tidegate-load measure ...`, both sides of one measurement of the bench, in one thread;
//! - `tidegate-load traffic GATEWAY UPSTREAM PID CALLS`, what calls cost on the wire, over HTTP and the bridge;
//! - `tidegate-load push many GATEWAY BARE SESSIONS PUSHES ROUNDS` and `push one ROUNDS OTHERS=GATEWAY ...`, what pushes
//!   cost, to many sessions and to one; `bare LISTEN ORDERS`, the loop to compare with; GATEWAY and BARE are
//!   `ADDRESS,ADDRESS,PID`, the second address where pushes are ordered;
//! - `tidegate-load cluster GATEWAY ROUNDS PUSHES BUS=NODES ...` (with the feature `cluster`), what it takes to reach a user on one of
//!   several nodes, over Kafka and Redis, which it starts itself; GATEWAY is a binary that has both adapters;
//! - `tidegate-load certificates FOLDER`, an authority and a certificate for what is measured over TLS;
//! - `tidegate-load raw LISTEN UPSTREAM THREADS`, a relay that parses nothing, to compare with.
#![expect(
    clippy::print_stdout,
    reason = "what is counted goes to standard output, line by line"
)]

#[cfg(feature = "cluster")]
mod cluster;
mod measure;
mod push;
mod soak;
mod traffic;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match perform(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["soak", "upstream"] => soak::upstreams(),
        ["soak", "client", gateway] => soak::clients(parsed(gateway)?),
        ["measure", ref order @ ..] => measure::run(order),
        ["certificates", folder] => measure::secure::make(folder.as_ref()),
        ["raw", listen, upstream, threads] => {
            measure::raw::run(parsed(listen)?, parsed(upstream)?, parsed(threads)?)
        }
        ["push", "many", gateway, bare, sessions, pushes, rounds] => push::many(
            parsed(gateway)?,
            parsed(bare)?,
            [parsed(sessions)?, parsed(pushes)?, parsed(rounds)?],
        ),
        ["push", "one", rounds, ref gateways @ ..] => {
            let gateways = gateways.iter().map(|word| {
                let (others, gateway) = word.split_once('=').ok_or("OTHERS=GATEWAY is due")?;
                Ok((parsed(others)?, parsed(gateway)?))
            });
            push::one(&gateways.collect::<Result<Vec<_>, String>>()?, parsed(rounds)?)
        }
        ["bare", listen, orders] => push::bare::run(parsed(listen)?, parsed(orders)?),
        #[cfg(feature = "cluster")]
        ["cluster", gateway, rounds, pushes, ref clusters @ ..] => {
            let counts = [parsed(rounds)?, parsed(pushes)?];
            cluster::run(gateway.as_ref(), counts, clusters)
        }
        ["traffic", gateway, upstream, pid, calls] => traffic::run(
            parsed(gateway)?,
            parsed(upstream)?,
            parsed(pid)?,
            parsed(calls)?,
        ),
        _ => Err(
            "tidegate-load soak upstream | soak client ADDRESS | measure ORDER | \
                  traffic ADDRESS UPSTREAM PID CALLS | \
                  push many MEASURED MEASURED SESSIONS PUSHES ROUNDS | push one ROUNDS OTHERS=MEASURED.. | \
                  bare ADDRESS ORDERS | cluster FILE ROUNDS PUSHES BUS=NODES.. | \
                  certificates FOLDER | raw ADDRESS UPSTREAM THREADS"
                .to_owned(),
        ),
    }
}

fn parsed<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse()
        .map_err(|_error| format!("`{word}` is not what belongs here"))
}
