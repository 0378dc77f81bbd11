//! What Redis takes to pass a message on, with no gateway.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::arrivals::{Arrivals, data, numbered};
use super::words;

const CHANNEL: &str = "bench";
const READ: usize = 64 * 1024;

/// One who publishes, and one who subscribes, each by a connection.
#[derive(Debug)]
pub(super) struct Pair {
    publisher: Mutex<TcpStream>,
    pub(super) arrivals: Arc<Arrivals>,
}

impl Pair {
    pub(super) fn open(redis: SocketAddr) -> Result<Self, String> {
        let mut subscriber = connect(redis)?;
        let mut publisher = connect(redis)?;
        say(&mut subscriber, &["SUBSCRIBE", CHANNEL])?;
        let mut read = vec![0; READ];
        // It has subscribed once Redis says so.
        subscriber.read(&mut read).map_err(words)?;
        // Its own answers are read to be out of the way.
        let mut answers = publisher.try_clone().map_err(words)?;
        thread::spawn(move || while matches!(answers.read(&mut [0; 512]), Ok(1..)) {});
        let arrivals = Arc::<Arrivals>::default();
        let noted = Arc::clone(&arrivals);
        thread::spawn(move || {
            let mut kept = Vec::new();
            loop {
                match subscriber.read(&mut read) {
                    Ok(0) | Err(_) => return noted.fail("Redis has ended".to_owned()),
                    Ok(count) => kept.extend_from_slice(&read[..count]),
                }
                let mut rest = &kept[..];
                while let Some((number, behind)) = numbered(rest) {
                    noted.note(number);
                    rest = behind;
                }
                kept = rest.to_vec();
            }
        });
        publisher.flush().map_err(words)?;
        let publisher = Mutex::new(publisher);
        Ok(Self {
            publisher,
            arrivals,
        })
    }

    pub(super) fn publish(&self, number: u64) -> Result<(), String> {
        let mut publisher = self
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        say(&mut publisher, &["PUBLISH", CHANNEL, &data(number)])
    }
}

fn connect(redis: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(redis).map_err(words)?;
    stream.set_nodelay(true).map_err(words)?;
    Ok(stream)
}

fn say(stream: &mut TcpStream, command: &[&str]) -> Result<(), String> {
    let mut text = format!("*{}\r\n", command.len());
    for word in command {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(text.as_bytes()).map_err(words)
}
