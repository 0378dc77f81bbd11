//! `tidegate version`: what is this?

use std::process::ExitCode;

use crate::out;

/// The commit that this was built from, where that is known.
pub(crate) const COMMIT: Option<&str> = option_env!("TIDEGATE_COMMIT");

/// What it was built with besides.
fn features() -> Vec<&'static str> {
    let all = [
        ("kafka", cfg!(feature = "kafka")),
        ("redis", cfg!(feature = "redis")),
    ];
    let there = all.iter().filter(|(_, is_there)| *is_there);
    let names: Vec<_> = there.map(|(name, _)| *name).collect();
    if names.is_empty() {
        vec!["none"]
    } else {
        names
    }
}

pub(crate) fn version() -> anyhow::Result<ExitCode> {
    out::line(format_args!("tidegate {}", env!("CARGO_PKG_VERSION")));
    out::line(format_args!("commit   {}", COMMIT.unwrap_or("unknown")));
    out::line(format_args!("target   {}", env!("TIDEGATE_TARGET")));
    out::line(format_args!("compiler {}", env!("TIDEGATE_RUSTC")));
    out::line(format_args!("features {}", features().join(" ")));
    Ok(ExitCode::SUCCESS)
}
