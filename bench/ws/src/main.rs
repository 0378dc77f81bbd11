//! `tidegate-ws` beside other WebSocket libraries: what an echo costs, and what an idle session holds.
//!
//! Everything runs on one thread over a pipe in memory, so that no kernel is measured. `libraries.rs`
//! is who is measured, `wire.rs` the client, which is the same for all, `memory.rs` the heap.

#![expect(
    clippy::disallowed_methods,
    reason = "nothing of the gateway runs here"
)]

mod libraries;
mod memory;
mod speed;
mod wire;

use libraries::Library;

/// What was typed: rounds, milliseconds of each measurement, and a library and scenario alone.
struct Options {
    rounds: usize,
    milliseconds: u64,
    library: Option<Library>,
    scenario: Option<String>,
}

fn main() {
    let options = options();
    print!("{}", speed::measure(&options));
    println!();
    print!("{}", memory::measure());
}

fn options() -> Options {
    let mut options = Options {
        rounds: 11,
        milliseconds: 100,
        library: None,
        scenario: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| usage(&word));
        match word.as_str() {
            "--rounds" => options.rounds = value.parse().unwrap_or_else(|_| usage(&word)),
            "--milliseconds" => {
                options.milliseconds = value.parse().unwrap_or_else(|_| usage(&word));
            }
            "--library" => {
                options.library = Some(Library::named(&value).unwrap_or_else(|| usage(&word)));
            }
            "--scenario" => options.scenario = Some(value),
            _ => usage(&word),
        }
    }
    options
}

fn usage(word: &str) -> ! {
    eprintln!(
        "`{word}`: the options are --rounds N, --milliseconds N, --library NAME, --scenario NAME"
    );
    std::process::exit(2)
}
