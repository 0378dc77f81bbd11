//! What sockets the kernel knows of, so that a leak is seen whoever holds it.

use std::collections::HashSet;
use std::fs;

/// How many TCP sockets of this machine have `port` at one of their ends, listeners and those in
/// TIME-WAIT not counted.
#[must_use]
pub fn open_on(port: u16) -> usize {
    table()
        .iter()
        .filter(|row| !row.is_listening && !row.is_waiting)
        .filter(|row| row.local == port || row.remote == port)
        .count()
}

/// The ports on which the process `pid` listens.
#[must_use]
pub fn listening(pid: u32) -> Vec<u16> {
    let held: HashSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    table()
        .iter()
        .filter(|row| row.is_listening && held.contains(&format!("socket:[{}]", row.inode)))
        .map(|row| row.local)
        .collect()
}

#[derive(Debug)]
struct Row {
    local: u16,
    remote: u16,
    is_listening: bool,
    is_waiting: bool,
    inode: String,
}

fn table() -> Vec<Row> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(row).collect::<Vec<_>>())
        .collect()
}

fn row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let port = |word: &str| u16::from_str_radix(word.rsplit(':').next()?, 16).ok();
    Some(Row {
        local: port(words.get(1)?)?,
        remote: port(words.get(2)?)?,
        is_listening: *words.get(3)? == "0A",
        is_waiting: *words.get(3)? == "06",
        inode: (*words.get(9)?).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_both_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(open_on(address.port()), 0);
        assert!(listening(std::process::id()).contains(&address.port()));
        let _client = std::net::TcpStream::connect(address).unwrap();
        let _peer = listener.accept().unwrap();
        assert_eq!(open_on(address.port()), 2);
    }
}
