//! Load for a gateway, and the upstreams behind it: both check every byte that they get.
//!
//! `tidegate-load upstream` and `tidegate-load client GATEWAY` are two processes that
//! `cargo xtask soak` starts. Each obeys lines on its standard input, says what it counts once a
//! second as a line of JSON, and ends with its input. What went otherwise than it should is a
//! *fault*: it is told at once, in words.
#![expect(
    clippy::print_stdout,
    reason = "what is counted goes to standard output, line by line"
)]

mod client;
mod payload;
mod talk;
mod upstream;
mod wire;

use std::process::ExitCode;

use tokio::task::LocalSet;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let everything = LocalSet::new();
    let ended = match words[..] {
        ["upstream"] => runtime.block_on(everything.run_until(upstream::run())),
        ["client", gateway] => match gateway.parse() {
            Ok(gateway) => runtime.block_on(everything.run_until(client::run(gateway))),
            Err(_) => Err(format!("{gateway} is no address")),
        },
        _ => Err("tidegate-load upstream | client ADDRESS".to_owned()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
