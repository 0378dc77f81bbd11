//! cargo-deny: licences, bans (the directions between our crates among them), sources, advisories.

use crate::run::{Done, Run};
use crate::shell;
use crate::tools::Tool;

const CARGO_DENY: Tool = Tool {
    name: "deny",
    version: "0.20.2",
};

pub(crate) fn check(run: &Run) -> anyhow::Result<Done> {
    // A crate with fewer dependents than it may have is no fault: hence no word on unused wrappers.
    let check = [
        "--locked",
        "check",
        "--allow",
        "unused-wrapper",
        "bans",
        "licenses",
        "sources",
    ];
    shell::run(&mut CARGO_DENY.cargo(run, &check)?)?;
    // The database of advisories is a repository on the network, which not every machine reaches.
    if let Err(error) = shell::output(&mut CARGO_DENY.cargo(run, &["fetch", "db"])?) {
        println!("{error:#}");
        run.skip_even_in_ci("advisories", "their database cannot be fetched from here");
        return Ok(Done::Passed);
    }
    shell::run(
        &mut CARGO_DENY.cargo(run, &["--locked", "check", "--disable-fetch", "advisories"])?,
    )?;
    Ok(Done::Passed)
}
