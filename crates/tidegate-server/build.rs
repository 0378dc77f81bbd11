//! Tells the binary for what and by which compiler it was built.

use std::env;
use std::io::{self, Write};
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
    writeln!(cargo, "cargo::rerun-if-changed=build.rs")
}
