//! What the gateway says of itself on its admin listener, and what the system says of its process.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::series::{Census, Process};

/// How long an answer may take; the machine may be busy.
const ANSWER: Duration = Duration::from_secs(20);
/// Ticks of the kernel's accounts in a second, on every Linux that we know.
const TICKS: f64 = 100.0;

/// Asks a gateway's admin listener.
pub(super) fn ask(admin: SocketAddr) -> anyhow::Result<Census> {
    let asked = || -> anyhow::Result<String> {
        let mut stream = TcpStream::connect_timeout(&admin, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let request =
            format!("GET /v1/info HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    parse(&asked().context("the admin listener does not answer")?)
}

fn parse(answer: &str) -> anyhow::Result<Census> {
    let object = answer
        .find('{')
        .and_then(|from| answer.get(from..=answer.rfind('}')?))
        .with_context(|| format!("no object in {answer:?}"))?;
    let info: Value = serde_json::from_str(object)?;
    let count = |name: &str| {
        let count = info["census"][name].as_u64();
        count.with_context(|| format!("no {name} in {object}"))
    };
    Ok(Census {
        connections: count("connections")?,
        sessions: count("sessions")?,
        upstream_idle: count("upstream_idle")?,
        tasks: count("tasks")?,
        panics: count("panics")?,
    })
}

/// Looks at a process from outside.
pub(super) fn look(pid: u32) -> anyhow::Result<Process> {
    let file = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    let (memory, status, stat) = (file("smaps_rollup")?, file("status")?, file("stat")?);
    let number = |text: &str, name: &str| {
        line(text, name).with_context(|| format!("no {name} of process {pid}"))
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(Process {
        rss: number(&memory, "Rss:")?,
        pss: number(&memory, "Pss:")?,
        private: number(&memory, "Private_Clean:")? + number(&memory, "Private_Dirty:")?,
        descriptors: descriptors as u64,
        threads: number(&status, "Threads:")?,
        cpu: cpu(&stat).with_context(|| format!("no times in {stat:?}"))?,
    })
}

/// The number in the line that begins with `name`.
fn line(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time; the process's name, in brackets, may hold anything.
fn cpu(stat: &str) -> Option<f64> {
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: f64 = words.get(11)?.parse().ok()?;
    let system: f64 = words.get(12)?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_census_is_read_or_missed() {
        let census = r#"{"connections":1,"sessions":2,"upstream_idle":3,"tasks":4,"panics":0}"#;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        let read = parse(&format!(
            "{head}{{\"version\":\"1\",\"census\":{census}}}\n"
        ))
        .unwrap();
        assert_eq!((read.connections, read.sessions), (1, 2));
        assert_eq!((read.upstream_idle, read.tasks, read.panics), (3, 4, 0));
        assert!(parse(&format!("{head}{{\"census\":{{\"tasks\":4}}}}")).is_err());
        assert!(parse(head).is_err());
    }

    #[test]
    fn a_process_is_looked_at() {
        let ours = look(std::process::id()).unwrap();
        assert!(ours.rss > 500 && ours.descriptors >= 3 && ours.threads >= 1);
        assert_eq!(cpu("7 (a) b) S 1 1 1 0 -1 4 0 0 0 0 150 50 0 0"), Some(2.0));
    }
}
