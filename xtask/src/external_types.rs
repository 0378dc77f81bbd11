//! Whose types a crate shows to its users. A type of another crate in a signature ties our versions
//! to that crate's, so each is agreed on.
//!
//! The tools for this want a nightly compiler, for one thing: rustdoc's pages as JSON. The pinned
//! rustdoc writes those too, where it is told that it may; no other part of the build is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::run::{Done, Run};
use crate::shell;

/// The crate that is judged, and whose types it may show beside the standard library's.
const PACKAGE: &str = "tidegate-ws";
const AGREED: &[&str] = &[
    "alloc",
    "bytes",
    "core",
    "futures_core",
    "futures_sink",
    "http",
    "std",
    "tokio",
];

/// Of tokio, these alone.
const AGREED_OF_TOKIO: &[&str] = &["AsyncRead", "AsyncWrite"];

pub(crate) fn judge(run: &Run) -> anyhow::Result<Done> {
    let pages = pages(run)?;
    let shown = shown(&pages)?;
    if !shown.keys().any(|path| path.starts_with("http::")) {
        bail!("no type of `http` is shown, which cannot be: are the pages read right?");
    }
    let foreign: Vec<String> = shown
        .iter()
        .filter(|(path, _)| !is_agreed(path))
        .map(|(path, by)| format!("  {path} by {by}"))
        .collect();
    if !foreign.is_empty() {
        bail!("{PACKAGE} shows types of others:\n{}", foreign.join("\n"));
    }
    println!(
        "{PACKAGE} shows {} foreign types, all agreed on",
        shown.len()
    );
    Ok(Done::Passed)
}

fn is_agreed(path: &str) -> bool {
    let of = path.split("::").next().unwrap_or_default();
    let name = path.rsplit("::").next().unwrap_or_default();
    AGREED.contains(&of) && (of != "tokio" || AGREED_OF_TOKIO.contains(&name))
}

/// Rustdoc's pages of the package with all its features.
fn pages(run: &Run) -> anyhow::Result<Value> {
    let folder = run.target.join("external-types");
    fs::create_dir_all(&folder)?;
    // In the environment of the whole build it would make cargo build everything anew.
    let rustdoc = folder.join("rustdoc");
    fs::write(
        &rustdoc,
        "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n",
    )?;
    fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o755))?;
    let mut command = run.cargo(&["rustdoc", "--locked", "--package", PACKAGE, "--lib"]);
    command.args(["--all-features", "--", "-Z", "unstable-options"]);
    command.args(["--output-format", "json"]);
    shell::run(command.env("RUSTDOC", &rustdoc))?;
    let name = format!("doc/{}.json", PACKAGE.replace('-', "_"));
    let text = fs::read_to_string(run.target.join(name)).context("rustdoc wrote no JSON")?;
    Ok(serde_json::from_str(&text)?)
}

/// The paths of other crates' types and traits, each with the name of one item that shows it.
fn shown(pages: &Value) -> anyhow::Result<BTreeMap<String, String>> {
    let items = pages["index"].as_object().context("there is no index")?;
    let paths = pages["paths"].as_object().context("there are no paths")?;
    let mut shown = BTreeMap::new();
    for item in items.values().filter(|item| is_ours(item)) {
        let mut ids = BTreeSet::new();
        collect(&item["inner"], &mut ids);
        for id in ids {
            let Some(found) = paths.get(&id.to_string()) else {
                continue;
            };
            if found["crate_id"] == 0 {
                continue;
            }
            let parts = found["path"].as_array().context("a path is a list")?;
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            let by = item["name"].as_str().unwrap_or("an impl").to_owned();
            shown.entry(parts.join("::")).or_insert(by);
        }
    }
    Ok(shown)
}

/// Whether an item is one that we wrote: not of another crate, nor an `impl` that every type has.
fn is_ours(item: &Value) -> bool {
    let implementation = &item["inner"]["impl"];
    item["crate_id"] == 0
        && implementation["blanket_impl"].is_null()
        && implementation["is_synthetic"] != true
}

/// The ids of all types and traits that are named in this part of an item.
fn collect(part: &Value, ids: &mut BTreeSet<u64>) {
    match part {
        Value::Object(fields) => {
            if fields.contains_key("path") || fields.contains_key("args") {
                ids.extend(fields.get("id").and_then(Value::as_u64));
            }
            for field in fields.values() {
                collect(field, ids);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        _ => {}
    }
}
