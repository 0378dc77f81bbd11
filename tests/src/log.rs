//! An access log as those read it who operate the gateway: its file.

use std::path::PathBuf;

use serde_json::Value;

use crate::child::Scratch;
use crate::time::eventually;

/// A file for an access log, in a folder of its own.
#[derive(Debug)]
pub struct LogFile {
    folder: Scratch,
    path: PathBuf,
}

impl LogFile {
    /// A file that is not there yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let folder = Scratch::new();
        let path = folder.path().join("access.log");
        Self { folder, path }
    }

    /// A fifo, which nobody reads yet.
    ///
    /// # Panics
    /// When there can be none.
    #[must_use]
    pub fn fifo() -> Self {
        let log = Self::new();
        let made = std::process::Command::new("mkfifo").arg(&log.path).status();
        assert!(made.unwrap().success());
        log
    }

    /// The key of a configuration that writes it, with more keys in flow style (`format: text`).
    #[must_use]
    pub fn yaml(&self, keys: &str) -> String {
        let path = self.path.display();
        format!("access_log: {{ to: {{ file: {path} }}, {keys} }}\n")
    }

    /// Where it is.
    #[must_use]
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Another file in its folder.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What stands in it now.
    #[must_use]
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Its lines, once there are as many; each must be JSON.
    pub async fn lines(&self, count: usize) -> Vec<Value> {
        self.lines_until(&format!("the log has {count} lines"), |lines| {
            lines.len() >= count
        })
        .await
    }

    /// Its lines of this event, once there are as many.
    pub async fn events(&self, event: &str, count: usize) -> Vec<Value> {
        let is = |line: &&Value| line["event"] == event;
        let what = format!("the log has {count} lines of {event}");
        let lines = self
            .lines_until(&what, |lines| lines.iter().filter(is).count() >= count)
            .await;
        lines.iter().filter(is).cloned().collect()
    }

    /// Its lines, once they are as they must be.
    pub async fn lines_until(&self, what: &str, are: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut lines = Vec::new();
        eventually(what, || {
            lines = json_lines(&self.text());
            are(&lines)
        })
        .await;
        lines
    }
}

/// The whole lines of a text; each must be a JSON object.
///
/// # Panics
/// When one is none.
#[must_use]
pub fn json_lines(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
        assert!(value.is_object(), "{line}");
        value
    };
    whole.split_terminator('\n').map(parse).collect()
}
