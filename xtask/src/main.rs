//! `cargo xtask`: the one entry for everything a developer or CI does with this repository.
//!
//! Read on in [`steps`]: the table there is the recipe of `cargo xtask test`.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool talks to its user on standard output"
)]

mod arguments;
mod autobahn;
mod bench;
mod code;
mod deny;
mod differential;
mod external_types;
mod fuzz;
mod openapi;
mod planted;
mod run;
mod running;
mod samples;
mod schedules;
mod services;
mod shell;
mod soak;
mod steps;
mod tools;

use std::process::ExitCode;

use arguments::{Arguments, Entry};
use run::Run;

fn main() -> ExitCode {
    match try_main() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether everything that was asked for passed.
fn try_main() -> anyhow::Result<bool> {
    let Arguments { entry, options } = Arguments::parse(std::env::args().skip(1))?;
    if entry == Entry::Help {
        print!("{}", arguments::usage());
        return Ok(true);
    }
    let run = Run::new(options)?;
    match entry {
        Entry::Help => Ok(true),
        Entry::Bench(options) => bench::run(&run, &options),
        Entry::Format => code::format(&run).map(|()| true),
        Entry::PlantedSchedules => schedules::find_planted(&run),
        Entry::Planted => planted::find_all(&run),
        Entry::Services => services::start(&run),
        Entry::Steps(names) => steps::perform(&run, &names),
    }
}
