//! The signals that end the process, SIGINT and SIGTERM, and SIGUSR1, by which logs are opened anew.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

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

    /// The next one. Cancelling loses none.
    pub(crate) async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.interrupt.recv() => Received(SignalKind::interrupt()),
            _ = self.terminate.recv() => Received(SignalKind::terminate()),
        }
    }
}

/// SIGUSR1, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Reopen(Signal);

impl Reopen {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::user_defined1())?))
    }

    /// Calls `reopen` whenever the signal comes.
    pub(crate) async fn each(&mut self, reopen: impl Fn()) -> Infallible {
        loop {
            self.0.recv().await;
            reopen();
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
