//! What the commands print: the only place that writes to the terminal.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to standard output. A reader that has gone away is no error of ours.
pub(crate) fn line(text: impl Display) {
    let mut stdout = io::stdout().lock();
    let _reader_gone = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Writes a line to standard error.
pub(crate) fn error(text: impl Display) {
    let _reader_gone = writeln!(io::stderr().lock(), "{text}");
}
