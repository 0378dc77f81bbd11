//! Who is measured: each is started before one measurement and ended after it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::configurations::Wanted;
use super::options::Options;
use super::scenarios::Legs;
use crate::running::{Running, free_address, with_all_descriptors};
use crate::shell;

/// How long one may take until it listens, or until it has ended.
const START: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    Tidegate,
    Nginx,
    Haproxy,
    /// Moves bytes and parses nothing.
    Raw,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::Tidegate, Self::Nginx, Self::Haproxy, Self::Raw];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Raw => "raw",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }
}

/// Who runs where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Placement {
    /// One worker alone on core 0, the load on core 1.
    Fixed,
    /// Two workers, and everybody where the system puts them.
    Free,
}

impl Placement {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Free => "free",
        }
    }

    pub(super) const fn workers(self) -> u32 {
        match self {
            Self::Fixed => 1,
            Self::Free => 2,
        }
    }
}

#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) tidegate: PathBuf,
    pub(super) nginx: PathBuf,
    pub(super) haproxy: PathBuf,
    /// Clients, upstream and raw relay in one.
    pub(super) load: PathBuf,
    pub(super) taskset: PathBuf,
}

impl Binaries {
    /// A command for `program` that keeps to its core, with all descriptors that it may have. It
    /// becomes the program itself, so its process is the program's.
    pub(super) fn command(&self, program: &Path, placement: Placement, core: u32) -> Command {
        match placement {
            Placement::Fixed => {
                let mut command = with_all_descriptors(&self.taskset);
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            Placement::Free => with_all_descriptors(program),
        }
    }
}

/// All that a measurement needs besides what is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) options: &'a Options,
    pub(super) binaries: &'a Binaries,
    /// Where configurations and logs go.
    pub(super) folder: &'a Path,
    pub(super) placement: Placement,
}

/// A peer that listens.
#[derive(Debug)]
pub(super) struct Started {
    running: Running,
    peer: Peer,
    pub(super) address: SocketAddr,
}

impl Started {
    pub(super) fn start(
        peer: Peer,
        setting: Setting<'_>,
        legs: Legs,
        upstream: SocketAddr,
    ) -> anyhow::Result<Self> {
        let Setting {
            binaries,
            folder,
            placement,
            ..
        } = setting;
        let address = free_address()?;
        let workers = placement.workers();
        let wanted = Wanted {
            address,
            upstream,
            workers,
            legs,
            folder,
        };
        let mut command = match peer {
            Peer::Tidegate => {
                let file = folder.join("tidegate.yaml");
                fs::write(&file, wanted.tidegate(free_address()?))?;
                let mut command = binaries.command(&binaries.tidegate, placement, 0);
                command.args(["run", "--config"]).arg(file);
                command
            }
            Peer::Nginx => {
                let file = folder.join("nginx.conf");
                fs::write(&file, wanted.nginx()?)?;
                let mut command = binaries.command(&binaries.nginx, placement, 0);
                command.arg("-p").arg(folder).arg("-c").arg(&file);
                // Until it has read the file, it would write to a log of the system.
                command.arg("-e").arg(folder.join("nginx.log"));
                command
            }
            Peer::Haproxy => {
                let file = folder.join("haproxy.cfg");
                fs::write(&file, wanted.haproxy())?;
                let mut command = binaries.command(&binaries.haproxy, placement, 0);
                command.arg("-db").arg("-f").arg(&file);
                command
            }
            Peer::Raw => {
                let mut command = binaries.command(&binaries.load, placement, 0);
                let addresses = [address.to_string(), upstream.to_string()];
                command.arg("raw").args(addresses).arg(workers.to_string());
                command
            }
        };
        let log = folder.join(format!("{}.out", peer.name()));
        let file = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let mut running = Running::start(peer.name(), &mut command)?;
        if let Err(error) = running.wait_for_port(address, START) {
            println!("{}", fs::read_to_string(log)?);
            return Err(error);
        }
        Ok(Self {
            running,
            peer,
            address,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        self.running.must_run()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Killed, nginx would leave its workers behind; the others are one process.
        if self.peer == Peer::Nginx {
            let pid = self.id().to_string();
            if shell::succeeds(Command::new("kill").args(["-s", "TERM", &pid])) {
                let _ = self.running.wait_for_end(END);
            }
        }
    }
}
