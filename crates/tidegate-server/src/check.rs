//! `tidegate check`: is this configuration valid?

use std::error::Error as _;
use std::fmt;
use std::process::ExitCode;

use tidegate::Gateway;
use tidegate::config::Config;
use tidegate::limits::descriptors;
use tidegate::tls;

use crate::cli::CheckArgs;
use crate::{assemble, config, out};

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
            let broken = tls::check(&plan);
            for error in &broken {
                out::line(format_args!("{}: {}", config.file(), Chain(error)));
            }
            let missing = assemble::missing(&plan);
            if let Some(missing) = missing {
                out::line(format_args!("{}: {missing}", config.file()));
            }
            // This program registers none.
            let checked = Gateway::builder(plan.clone()).check();
            let is_linked = checked.map_err(out::line).is_ok();
            let log = plan.access_log.as_ref();
            let stuck = log.and_then(|log| Some((log, log.target.check().err()?)));
            if let Some((log, error)) = &stuck {
                let (file, target) = (config.file(), &log.target);
                out::line(format_args!(
                    "{file}: access_log: it cannot be opened at {target}: {error}"
                ));
            }
            if !broken.is_empty() || !is_linked || missing.is_some() || stuck.is_some() {
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

/// An error with what is behind it.
struct Chain<'a>(&'a tls::TlsError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
