//! The signals that have the gateway drain, and a second time end the process, SIGINT and SIGTERM; and
//! those that ask for something else: SIGUSR1, by which logs are opened anew, and SIGHUP, by which the
//! files of TLS are read again.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGXFSZ, on Linux but for MIPS, and on the BSDs; tokio has no name for it. It comes when a file would
/// grow beyond what the process may write (`ulimit -f`), and would end it.
const FILE_TOO_LARGE: i32 = 25;

/// Both signals, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// One that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received(SignalKind);

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one that ends. Cancelling loses none.
    pub(crate) async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.interrupt.recv() => Received(SignalKind::interrupt()),
            _ = self.terminate.recv() => Received(SignalKind::terminate()),
        }
    }
}

/// SIGUSR1 and SIGHUP, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Requests {
    reopen: Signal,
    hangup: Signal,
}

impl Requests {
    pub(crate) fn catch() -> io::Result<Self> {
        // Once caught it stays so, and the write fails instead, which logs bear.
        drop(signal(SignalKind::from_raw(FILE_TOO_LARGE))?);
        Ok(Self {
            reopen: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Calls `reopen` and `reload` whenever that is asked for.
    pub(crate) async fn each(&mut self, reopen: impl Fn(), reload: impl Fn()) -> Infallible {
        loop {
            tokio::select! {
                _ = self.reopen.recv() => reopen(),
                // A closed terminal, or a habit of other servers' users: nobody is to be cut for it.
                _ = self.hangup.recv() => {
                    tracing::warn!(
                        "SIGHUP: the files of TLS are read again; the configuration itself is read at \
                         the start only"
                    );
                    reload();
                }
            }
        }
    }
}

impl Received {
    /// What a shell expects of a process that a signal has ended.
    pub(crate) fn exit_code(self) -> ExitCode {
        let number = u8::try_from(self.0.as_raw_value()).unwrap_or_default();
        ExitCode::from(number.saturating_add(128))
    }
}
