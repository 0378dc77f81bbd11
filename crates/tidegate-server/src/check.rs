//! `tidegate check`: is this configuration valid?

use std::process::ExitCode;

use tidegate::config::Config;

use crate::cli::CheckArgs;
use crate::{config, out};

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let path = config::find(&args.config)?;
    let config = match Config::from_file(path) {
        Ok(config) => config,
        Err(errors) => {
            out::line(errors);
            return Ok(ExitCode::FAILURE);
        }
    };
    match config.resolve() {
        Ok(plan) => {
            for warning in config.warnings() {
                out::line(format_args!("warning: {warning}"));
            }
            let (services, routes) = (plan.services.len(), plan.routes.len());
            let file = config.file();
            out::line(format_args!(
                "{file}: valid (services: {services}, routes: {routes})"
            ));
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            out::line(errors);
            Ok(ExitCode::FAILURE)
        }
    }
}
