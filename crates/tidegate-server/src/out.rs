//! What the commands print: the only place that writes to the terminal.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to standard output. A reader that has gone away is no error of ours.
pub(crate) fn line(text: impl Display) {
    let mut stdout = io::stdout().lock();
    let _reader_gone = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Writes lines to standard output; whether anybody reads on. To lose them otherwise, on a full disk
/// perhaps, is an error.
pub(crate) fn lines(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Writes a line to standard error.
pub(crate) fn error(text: impl Display) {
    let _reader_gone = writeln!(io::stderr().lock(), "{text}");
}
