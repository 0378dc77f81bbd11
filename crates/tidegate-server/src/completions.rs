//! `tidegate completions`: a script that makes a shell complete our commands.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::out;

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    out::line(String::from_utf8(script)?.trim_end());
    Ok(ExitCode::SUCCESS)
}
