//! Where lines go.

use std::fmt::{self, Display};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Mutex;

use nix::libc;
use nix::sys::socket::{MsgFlags, send};

/// What several processes may write into a pipe without cutting each other's lines.
const PIPE_ATOM: usize = 4096;

/// Those who write to the standard streams by way of a sink, so that none cuts another's lines.
static STANDARD: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, which is made where there is none and never cut short; or a fifo, or a device.
    File(PathBuf),
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::File(path) => Display::fmt(&path.display(), f),
        }
    }
}

/// A target that is open.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// Into a pipe whole lines are written, as many as go at once.
    is_pipe: bool,
    /// A socket, as systemd's journal is, can be told with each write not to block.
    is_socket: bool,
}

impl Target {
    /// Whether it could be opened; leaves no trace of the question.
    ///
    /// # Errors
    /// Why it could not.
    pub fn check(&self) -> io::Result<()> {
        let Self::File(path) = self else {
            return Ok(());
        };
        if path.exists() {
            return self.open_as_is().map(drop);
        }
        // Whether a file may be made there is known when it is.
        let folder = path.parent().unwrap_or(path);
        let made = folder.join(format!(".tidegate-{}", std::process::id()));
        let options = OpenOptions::new().write(true).create_new(true).open(&made);
        options.and_then(|_file| std::fs::remove_file(&made))
    }

    pub(super) fn open(&self) -> io::Result<Output> {
        let file = self.open_as_is()?;
        let kind = file.metadata()?.file_type();
        let mut output = Output {
            file,
            is_pipe: kind.is_fifo(),
            is_socket: kind.is_socket(),
        };
        if kind.is_file() && matches!(self, Self::File(_)) {
            output.end_line();
        }
        Ok(output)
    }

    fn open_as_is(&self) -> io::Result<File> {
        match self {
            Self::Stdout => standard(io::stdout().as_fd()),
            Self::Stderr => standard(io::stderr().as_fd()),
            Self::File(path) => {
                let mut options = OpenOptions::new();
                options.append(true).create(true).mode(0o640);
                // Not stuck in a fifo that nobody reads, neither now nor later; read from as well, it
                // can be opened before anybody does.
                options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
                let opened = options.clone().read(true).open(path);
                match opened {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        options.open(path)
                    }
                    opened => opened,
                }
            }
        }
    }

    pub(super) const fn lock(&self) -> Option<&'static Mutex<()>> {
        match self {
            Self::Stdout => Some(&STANDARD[0]),
            Self::Stderr => Some(&STANDARD[1]),
            Self::File(_) => None,
        }
    }
}

/// A standard stream. Others share it, so it cannot be told not to block; a pipe and a terminal can be
/// opened anew for that.
fn standard(stream: BorrowedFd<'_>) -> io::Result<File> {
    let file = File::from(stream.try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    if !kind.is_fifo() && !kind.is_char_device() {
        return Ok(file);
    }
    let mut options = OpenOptions::new();
    options.write(true);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let anew = options.open(format!("/proc/self/fd/{}", stream.as_raw_fd()));
    Ok(anew.unwrap_or(file))
}

impl Output {
    /// Writes some of these lines; how many bytes.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut end = lines.len();
        if self.is_pipe && end > PIPE_ATOM {
            end = match memchr::memrchr(b'\n', &lines[..PIPE_ATOM]) {
                Some(last) => last + 1,
                None => PIPE_ATOM,
            };
        }
        let written = if self.is_socket {
            let at_once = MsgFlags::MSG_DONTWAIT;
            send(self.file.as_raw_fd(), &lines[..end], at_once).map_err(io::Error::from)
        } else {
            self.file.write(&lines[..end])
        };
        match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        }
    }

    /// Whoever wrote to the file before may have been killed within a line.
    fn end_line(&mut self) {
        let mut last = [b'\n'];
        // An empty file has no last byte, and one that may not be read keeps its own.
        let found = self.file.seek(SeekFrom::End(-1));
        if found.is_ok() && self.file.read_exact(&mut last).is_ok() && last != *b"\n" {
            let _ = self.file.write(b"\n");
        }
    }
}
