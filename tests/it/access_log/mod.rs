//! The access log says what came in and what became of it: a line for each request and two for each
//! session, no secret in any of them, and nobody waits for it.

mod exchanges;
mod files;
mod formats;
mod never_blocks;
mod secrets;
mod sessions;

use serde_json::Value;

/// The keys of a line in their order. (`Value` sorts them.)
fn keys(line: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("\":") {
        let start = rest[..at].rfind('"').unwrap();
        keys.push(rest[start + 1..at].to_owned());
        rest = &rest[at + 2..];
    }
    keys
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} of {line}"))
}

fn number(line: &Value, key: &str) -> f64 {
    line[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} of {line}"))
}
