//! Files that changed are read again: the folders that hold them are watched, those of symbolic
//! links on their way too, and now and then all are looked at whatever was told.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::client::ClientTls;
use super::files::FileError;
use super::server::ServerTls;

/// How long nothing more must change before files are read, and how long that may take.
const QUIET: Duration = Duration::from_millis(100);
const MOST_CHANGES: u32 = 20;
/// How often they are read though nothing was told: some file systems tell nothing. More often where the
/// system has no watch left for us.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_UNWATCHED: Duration = Duration::from_secs(2);
/// The most symbolic links on the way to one file.
const MOST_LINKS: usize = 16;

/// What is made of files.
#[derive(Debug, Clone)]
pub(crate) enum Watched {
    /// A listener's TLS.
    Listener(Arc<str>, Arc<ServerTls>),
    /// A service's.
    Service(Arc<str>, Arc<ClientTls>),
}

/// The watch, until it is dropped.
pub(crate) struct Watch {
    tell: Option<SyncSender<Told>>,
    thread: Option<JoinHandle<()>>,
}

/// Asks for the files of TLS to be read again.
#[derive(Debug, Clone)]
pub struct Reload(SyncSender<Told>);

/// What wakes it.
enum Told {
    Changed,
    End,
}

impl Watched {
    fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Listener(_, tls) => tls.paths(),
            Self::Service(_, tls) => tls.paths(),
        }
    }

    fn reload(&self) -> Result<bool, FileError> {
        match self {
            Self::Listener(_, tls) => tls.reload(),
            Self::Service(_, tls) => tls.reload(),
        }
    }

    const fn name(&self) -> (&'static str, &Arc<str>) {
        match self {
            Self::Listener(name, _) => ("listener", name),
            Self::Service(name, _) => ("service", name),
        }
    }
}

impl Watch {
    /// Watches on a thread of its own; `counted` gets the result of each reload.
    pub(crate) fn start(
        watched: Vec<Watched>,
        counted: impl Fn(bool) + Send + 'static,
    ) -> io::Result<Self> {
        let (tell, told) = sync_channel(1);
        let teller = tell.clone();
        let run = move || run(&watched, &teller, &told, &counted);
        let thread = thread::Builder::new().name("tidegate-tls".into());
        Ok(Self {
            tell: Some(tell),
            thread: Some(thread.spawn(run)?),
        })
    }

    /// By which it can be asked for a look.
    pub(crate) fn reload(&self) -> Option<Reload> {
        self.tell.clone().map(Reload)
    }
}

impl Reload {
    /// Reads the files of TLS again soon, as when they have changed. Where they are wrong, what holds
    /// goes on to hold; where the gateway has ended, nothing is read.
    pub fn ask(&self) {
        // Where one is told already, that one does it.
        let _ = self.0.try_send(Told::Changed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(Told::End);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

fn run(
    watched: &[Watched],
    tell: &SyncSender<Told>,
    told: &Receiver<Told>,
    counted: &impl Fn(bool),
) {
    let mut failed = vec![None; watched.len()];
    // Made anew after each look: a folder that was replaced is another one.
    let mut folders = watch_folders(watched, tell);
    loop {
        let patience = if folders.is_some() {
            LOOK
        } else {
            LOOK_UNWATCHED
        };
        match told.recv_timeout(patience) {
            Ok(Told::Changed) => {
                for _ in 0..MOST_CHANGES {
                    match told.recv_timeout(QUIET) {
                        Ok(Told::Changed) => {}
                        Ok(Told::End) => return,
                        Err(_quiet) => break,
                    }
                }
            }
            Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        // Before the files are read, so that a change meanwhile is told.
        folders = {
            drop(folders);
            watch_folders(watched, tell)
        };
        for (one, failed) in watched.iter().zip(&mut failed) {
            look(one, failed, counted);
        }
    }
}

/// Reads the files of one again, and tells what came of it. A failure is told once.
fn look(one: &Watched, failed: &mut Option<String>, counted: &impl Fn(bool)) {
    let (kind, name) = one.name();
    match one.reload() {
        Ok(false) => *failed = None,
        Ok(true) => {
            *failed = None;
            counted(true);
            tracing::info!(of = kind, name = &**name, "certificates read again");
        }
        Err(error) => {
            let error = error.to_string();
            if failed.as_ref() != Some(&error) {
                counted(false);
                tracing::error!(
                    of = kind,
                    name = &**name,
                    error,
                    "certificates stay as they were"
                );
                *failed = Some(error);
            }
        }
    }
}

/// Watches all folders; `None` where one cannot be.
fn watch_folders(watched: &[Watched], tell: &SyncSender<Told>) -> Option<RecommendedWatcher> {
    let tell = tell.clone();
    let changed = move |event: notify::Result<notify::Event>| {
        let is_access = event.is_ok_and(|event| event.kind.is_access());
        if !is_access {
            let _ = tell.try_send(Told::Changed);
        }
    };
    let failed = |error: &notify::Error| {
        tracing::debug!(%error, "certificate files cannot be watched, and are looked at");
    };
    let watcher = notify::recommended_watcher(changed).inspect_err(failed);
    let mut watcher = watcher.ok()?;
    let paths = watched.iter().flat_map(Watched::paths);
    let folders: BTreeSet<_> = paths.flat_map(|path| folders_of(&path)).collect();
    for folder in folders {
        let watching = watcher.watch(&folder, RecursiveMode::NonRecursive);
        watching.inspect_err(failed).ok()?;
    }
    Some(watcher)
}

/// The folders in which something changes when what `path` names does: its own, and those of the
/// symbolic links on the way.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut whole = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some((link, target, rest)) = first_link(&whole) else {
            break;
        };
        let folder = link.parent().unwrap_or(Path::new("/")).to_owned();
        whole = folder.join(target).join(rest);
        folders.insert(folder);
    }
    folders.extend(whole.parent().map(Path::to_owned));
    folders
}

/// The first symbolic link on a path, where it leads, and what of the path is behind it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf, PathBuf)> {
    let mut before = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        if part == Component::ParentDir {
            before.pop();
            continue;
        }
        before.push(part);
        if let Ok(target) = std::fs::read_link(&before) {
            return Some((before, target, parts.as_path().to_owned()));
        }
    }
    None
}
