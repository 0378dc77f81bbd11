//! `tidegate routes test`: which route does a request take, and why not the others?

use std::process::ExitCode;

use crate::cli::RoutesTestArgs;
use crate::config;

/// STUB until branch `router` is merged.
pub(crate) fn test(args: &RoutesTestArgs) -> anyhow::Result<ExitCode> {
    let _plan = config::load(&args.config)?.resolve()?;
    anyhow::bail!(
        "not there yet: {} {} {:?}",
        args.method,
        args.url,
        args.header
    )
}
