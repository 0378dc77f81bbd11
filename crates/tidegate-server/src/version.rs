//! `tidegate version`: what is this?

use std::process::ExitCode;

use crate::out;

pub(crate) fn version() -> anyhow::Result<ExitCode> {
    out::line(format_args!("tidegate {}", env!("CARGO_PKG_VERSION")));
    out::line(format_args!("target   {}", env!("TIDEGATE_TARGET")));
    out::line(format_args!("compiler {}", env!("TIDEGATE_RUSTC")));
    Ok(ExitCode::SUCCESS)
}
