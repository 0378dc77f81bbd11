//! The binary `tidegate`: what is global to a process. The gateway itself is the crate `tidegate`.

mod assemble;
mod check;
mod cli;
mod completions;
mod config;
mod dev;
mod log;
mod out;
mod push;
mod reachable;
mod routes;
mod run;
mod sessions;
mod signals;
mod systemd;
mod token;
mod version;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, RoutesCommand};

/// Sessions come in crowds and stay for hours: docs/adr/0009.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Check(args) => check::check(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Dev(args) => dev::dev(&args),
        Command::Push(args) => push::push(&args),
        Command::Routes(RoutesCommand::Test(args)) => routes::test(&args),
        Command::Run(args) => run::run(&args),
        Command::Sessions(command) => sessions::sessions(&command),
        Command::Token(command) => token::token(&command),
        Command::Users(command) => sessions::users(&command),
        Command::Version => version::version(),
    };
    log::close();
    done.unwrap_or_else(|error| {
        out::error(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
