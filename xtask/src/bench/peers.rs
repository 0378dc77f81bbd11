//! Who is measured: each is started before one measurement and ended after it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::options::Options;
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

    const fn workers(self) -> u32 {
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
        let mut command = match peer {
            Peer::Tidegate => {
                let file = folder.join("tidegate.yaml");
                fs::write(&file, tidegate(address, free_address()?, upstream, workers))?;
                let mut command = binaries.command(&binaries.tidegate, placement, 0);
                command.args(["run", "--config"]).arg(file);
                command
            }
            Peer::Nginx => {
                let file = folder.join("nginx.conf");
                fs::write(&file, nginx(address, upstream, workers, folder)?)?;
                let mut command = binaries.command(&binaries.nginx, placement, 0);
                command.arg("-p").arg(folder).arg("-c").arg(&file);
                // Until it has read the file, it would write to a log of the system.
                command.arg("-e").arg(folder.join("nginx.log"));
                command
            }
            Peer::Haproxy => {
                let file = folder.join("haproxy.cfg");
                fs::write(&file, haproxy(address, upstream, workers))?;
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

/// The gateway with all that it writes down while it works: metrics, the access log, its own pings.
/// As shipped; standard error is a file of the measurement's folder.
fn tidegate(address: SocketAddr, admin: SocketAddr, upstream: SocketAddr, workers: u32) -> String {
    format!(
        "version: 1\n\
         workers: {workers}\n\
         listeners: [{{ name: public, bind: \"{address}\" }}]\n\
         admin: {{ bind: \"{admin}\" }}\n\
         access_log: {{ to: stderr }}\n\
         services:\n  \
           upstream: {{ endpoints: \"http://{upstream}\", pool: {{ max_idle: 128 }} }}\n\
         routes:\n  \
           - name: all\n    \
             match: {{ path: \"/**\" }}\n    \
             proxy:\n      \
               service: upstream\n      \
               websocket: {{ keep_alive: {{ interval: 25s, timeout: 10s }} }}\n"
    )
}

fn nginx(
    address: SocketAddr,
    upstream: SocketAddr,
    workers: u32,
    folder: &Path,
) -> anyhow::Result<String> {
    let at = folder.display();
    // As root it would give its workers to a user who may not be able to enter the folder.
    let is_root = shell::output(Command::new("id").arg("-u"))?.trim() == "0";
    let user = if is_root { "user root;" } else { "" };
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        temporary.push_str(&format!("  {kind}_temp_path {at}/nginx-{kind};\n"));
    }
    Ok(format!(
        "daemon off;\n\
         {user}\n\
         worker_processes {workers};\n\
         pid {at}/nginx.pid;\n\
         error_log {at}/nginx.log warn;\n\
         events {{ worker_connections 19500; }}\n\
         http {{\n\
         {temporary}  \
           access_log off;\n  \
           keepalive_requests 1000000000;\n  \
           proxy_buffer_size 16k;\n  \
           proxy_buffers 8 16k;\n  \
           upstream service {{\n    \
             server {upstream};\n    \
             keepalive 128;\n    \
             keepalive_requests 1000000000;\n  \
           }}\n  \
           map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n  \
           server {{\n    \
             listen {address} backlog=1024;\n    \
             location / {{\n      \
               proxy_pass http://service;\n      \
               proxy_http_version 1.1;\n      \
               proxy_set_header Host $http_host;\n      \
               proxy_set_header Upgrade $http_upgrade;\n      \
               proxy_set_header Connection $connection_upgrade;\n      \
               proxy_read_timeout 1h;\n      \
               proxy_send_timeout 1h;\n    \
             }}\n  \
           }}\n\
         }}\n"
    ))
}

fn haproxy(address: SocketAddr, upstream: SocketAddr, workers: u32) -> String {
    format!(
        "global\n  \
           nbthread {workers}\n  \
           maxconn 9700\n\
         defaults\n  \
           mode http\n  \
           timeout connect 5s\n  \
           timeout client 1h\n  \
           timeout server 1h\n  \
           timeout tunnel 1h\n  \
           http-reuse always\n\
         listen public\n  \
           bind {address}\n  \
           server upstream {upstream}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_configuration_names_the_workers_and_both_sides() {
        let (address, upstream) = (
            "127.0.0.1:1001".parse().unwrap(),
            "127.0.0.1:1002".parse().unwrap(),
        );
        let folder = Path::new("/somewhere");
        for (text, workers) in [
            (tidegate(address, address, upstream, 2), "workers: 2"),
            (
                nginx(address, upstream, 2, folder).unwrap(),
                "worker_processes 2",
            ),
            (haproxy(address, upstream, 2), "nbthread 2"),
        ] {
            for part in ["127.0.0.1:1001", "127.0.0.1:1002", workers] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }

    #[test]
    fn nginx_keeps_everything_in_the_folder() {
        let any = "127.0.0.1:1".parse().unwrap();
        let text = nginx(any, any, 1, Path::new("/somewhere")).unwrap();
        for word in text
            .split_whitespace()
            .filter(|word| word.starts_with('/') && word.len() > 1)
        {
            assert!(word.starts_with("/somewhere/"), "{word}");
        }
    }
}
