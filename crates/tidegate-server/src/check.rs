//! `tidegate check`: is this configuration valid?

use std::process::ExitCode;

use tidegate::config::Config;
use tidegate::limits::descriptors;

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
            // As `run` would; where it fails, there are fewer, which is said next.
            let _ = descriptors::raise();
            if let Some(surprise) = config.too_many_connections(&plan) {
                out::line(format_args!("warning: {surprise}"));
            }
            let log = plan.access_log.as_ref();
            if let Some((log, error)) = log.and_then(|log| Some((log, log.target.check().err()?))) {
                let (file, target) = (config.file(), &log.target);
                out::line(format_args!(
                    "{file}: access_log: it cannot be opened at {target}: {error}"
                ));
                return Ok(ExitCode::FAILURE);
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
