//! Programs that run beside us for a while, and end with us.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::shell;
use crate::steps::now;

/// How often a condition is looked at while we wait for it.
const LOOK: Duration = Duration::from_millis(50);

/// A started program; dropping it ends it, it and nothing else.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    pub(crate) fn start(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child })
    }

    /// Starts a program that prints one line of greeting, and gives that line too.
    pub(crate) fn start_greeting(
        name: &'static str,
        command: &mut Command,
    ) -> anyhow::Result<(Self, String)> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Self::start(name, piped)?;
        let output = running.child.stdout.take().context("no standard output")?;
        let mut greeting = String::new();
        BufReader::new(output).read_line(&mut greeting)?;
        if greeting.is_empty() {
            bail!("{name} ended before it said anything");
        }
        Ok((running, greeting))
    }

    /// Starts a program that takes orders and talks: with both ends of the talk.
    pub(crate) fn start_talking(
        name: &'static str,
        command: &mut Command,
    ) -> anyhow::Result<(Self, ChildStdin, ChildStdout)> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Self::start(name, piped)?;
        let input = running.child.stdin.take().context("no standard input")?;
        let output = running.child.stdout.take().context("no standard output")?;
        Ok((running, input, output))
    }

    /// Its process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended with {status}", self.name),
        }
    }

    /// Waits until a port accepts; fails when the program ends before that or takes too long.
    pub(crate) fn wait_for_port(
        &mut self,
        address: SocketAddr,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let begun = now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} and never listened on {address}",
                    self.name
                );
            }
            if begun.elapsed() > limit {
                bail!("{} does not listen on {address} after {limit:?}", self.name);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for the program's own end.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let begun = now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                bail!("{} still runs after {limit:?}", self.name);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address with a port that is free now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// Files that a process of ours may open at most.
pub(crate) fn descriptor_limit() -> anyhow::Result<u32> {
    let said = shell::output(Command::new("sh").args(["-c", "ulimit -Hn"]))?;
    Ok(said.trim().parse().unwrap_or(u32::MAX))
}

/// A command that runs `program` with as many descriptors as it may have.
pub(crate) fn with_all_descriptors(program: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = r#"ulimit -n "$(ulimit -Hn)" && exec "$@""#;
    command.args(["-c", script, "sh"]).arg(program);
    command
}
