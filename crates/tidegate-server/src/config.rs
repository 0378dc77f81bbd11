//! Where the configuration comes from.

use std::path::{Path, PathBuf};

use anyhow::bail;
use tidegate::config::Config;

use crate::cli::ConfigArgs;

/// Where a configuration is looked for, in this order.
const PLACES: [&str; 2] = ["tidegate.yaml", "/etc/tidegate/tidegate.yaml"];

/// The file that `args` mean.
pub(crate) fn find(args: &ConfigArgs) -> anyhow::Result<PathBuf> {
    if let Some(path) = &args.config {
        return Ok(path.clone());
    }
    match PLACES.iter().find(|place| Path::new(place).exists()) {
        Some(place) => Ok(PathBuf::from(place)),
        None => bail!(
            "there is neither ./{} nor {}: name a configuration with --config FILE, or try `tidegate dev`",
            PLACES[0],
            PLACES[1]
        ),
    }
}

/// Reads the configuration that `args` mean.
pub(crate) fn load(args: &ConfigArgs) -> anyhow::Result<Config> {
    Ok(Config::from_file(find(args)?)?)
}
