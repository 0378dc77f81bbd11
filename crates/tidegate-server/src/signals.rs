//! The signals that have the gateway drain, and a second time end the process: SIGINT and SIGTERM.
//! SIGHUP has it read the files of TLS again.

use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// SIGHUP, which asks for files to be read again.
#[derive(Debug)]
pub(crate) struct HangUps(Signal);

impl HangUps {
    pub(crate) fn catch() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// The next one. Cancelling loses none.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
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

impl Received {
    /// What a shell expects of a process that a signal has ended.
    pub(crate) fn exit_code(self) -> ExitCode {
        let number = u8::try_from(self.0.as_raw_value()).unwrap_or_default();
        ExitCode::from(number.saturating_add(128))
    }
}
