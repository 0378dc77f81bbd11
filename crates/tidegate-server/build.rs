//! Tells the binary from what, for what and by which compiler it was built.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

fn main() -> io::Result<()> {
    let mut cargo = io::stdout().lock();
    let target = env::var_os("TARGET").unwrap_or_default();
    writeln!(
        cargo,
        "cargo::rustc-env=TIDEGATE_TARGET={}",
        target.display()
    )?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output()?.stdout;
    let version = String::from_utf8_lossy(&version);
    writeln!(cargo, "cargo::rustc-env=TIDEGATE_RUSTC={}", version.trim())?;
    writeln!(cargo, "cargo::rerun-if-env-changed=TIDEGATE_COMMIT")?;
    // Who builds without the repository may set the variable; it reaches the binary by itself.
    if env::var_os("TIDEGATE_COMMIT").is_none()
        && let Some((commit, log)) = repository()
    {
        writeln!(cargo, "cargo::rustc-env=TIDEGATE_COMMIT={commit}")?;
        writeln!(cargo, "cargo::rerun-if-changed={log}")?;
    }
    writeln!(cargo, "cargo::rerun-if-changed=build.rs")
}

/// The commit that is checked out, and the file that changes with it; `None` where this is not the
/// project's own repository.
fn repository() -> Option<(String, String)> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join("../..");
    if here.canonicalize().ok()? != Path::new(&top).canonicalize().ok()? {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let log = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ])?;
    Some((commit, log))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
