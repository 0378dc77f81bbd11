//! What is to be measured.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages come back, and the next ones go: as fast as it goes.
    Echo,
    /// Messages go when they are due, whatever became of the others.
    Paced,
    /// Sessions are opened and closed with a closing handshake.
    Handshake,
    /// Connections that shake hands of TLS, and end.
    Shake,
    /// Requests on connections that are kept.
    Get,
    /// Calls in envelopes, each of which is followed by the next once it is answered; `pipeline` of them
    /// are under way in each session.
    Bridge,
    /// Sessions with a bridge that do nothing, of a user each; memory is read.
    BridgeIdle,
    /// Sessions that do nothing; memory is read.
    Idle,
    /// Likewise, after one message went through each of them.
    Used,
}

/// Who speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Legs {
    pub(super) client: bool,
    pub(super) upstream: bool,
}

/// The key exchange of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// X25519.
    Classic,
    /// X25519MLKEM768.
    Hybrid,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) gateway: SocketAddr,
    /// Where the upstream listens.
    pub(super) upstream: SocketAddr,
    /// The gateway's first process; its children count too.
    pub(super) pid: i32,
    /// Connections at one time.
    pub(super) connections: usize,
    /// Bytes of a message's payload, or of an answer's body.
    pub(super) size: usize,
    /// Messages that go in one write, and come back before the next ones go.
    pub(super) pipeline: usize,
    /// Messages, or new idle sessions, in a second.
    pub(super) rate: f64,
    pub(super) warm_up: Duration,
    pub(super) window: Duration,
    /// Idle sessions where memory is read first, and where it is read last.
    pub(super) least: usize,
    pub(super) most: usize,
    /// Between the last of so many sessions and the reading.
    pub(super) settle: Duration,
    pub(super) tls: Legs,
    pub(super) exchange: Exchange,
    /// The folder of the certificates, where there is TLS.
    pub(super) certificates: String,
}

impl Order {
    /// Reads `key=value` words; a key that is unknown or missing is an error.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut order = Self {
            kind: Kind::Echo,
            gateway: unspecified,
            upstream: unspecified,
            pid: 0,
            connections: 1,
            size: 64,
            pipeline: 1,
            rate: 1_000.0,
            warm_up: Duration::from_millis(300),
            window: Duration::from_secs(1),
            least: 200,
            most: 900,
            settle: Duration::from_millis(1_500),
            tls: Legs::default(),
            exchange: Exchange::Classic,
            certificates: String::new(),
        };
        for word in words {
            order.take(word)?;
        }
        if order.gateway == unspecified || order.upstream == unspecified || order.pid <= 0 {
            return Err("gateway, upstream and pid must be told".to_owned());
        }
        if order.connections == 0 || order.pipeline == 0 || order.least >= order.most {
            return Err("numbers that measure nothing".to_owned());
        }
        if order.kind == Kind::Shake && !order.tls.client {
            return Err("no handshake without TLS".to_owned());
        }
        Ok(order)
    }

    fn take(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = word.split_once('=').ok_or(format!("no value: {word}"))?;
        match key {
            "kind" => self.kind = kind(value)?,
            "gateway" => self.gateway = number(word, value)?,
            "upstream" => self.upstream = number(word, value)?,
            "pid" => self.pid = number(word, value)?,
            "connections" => self.connections = number(word, value)?,
            "size" => self.size = number(word, value)?,
            "pipeline" => self.pipeline = number(word, value)?,
            "rate" => self.rate = number(word, value)?,
            "warm-up-ms" => self.warm_up = Duration::from_millis(number(word, value)?),
            "window-ms" => self.window = Duration::from_millis(number(word, value)?),
            "least" => self.least = number(word, value)?,
            "settle-ms" => self.settle = Duration::from_millis(number(word, value)?),
            "most" => self.most = number(word, value)?,
            "tls" => self.tls = legs(value)?,
            "exchange" => self.exchange = exchange(value)?,
            "certificates" => self.certificates = value.to_owned(),
            _ => return Err(format!("no such word: {word}")),
        }
        Ok(())
    }
}

fn legs(word: &str) -> Result<Legs, String> {
    let (client, upstream) = match word {
        "client" => (true, false),
        "upstream" => (false, true),
        "both" => (true, true),
        _ => return Err(format!("nobody's TLS: {word}")),
    };
    Ok(Legs { client, upstream })
}

fn exchange(word: &str) -> Result<Exchange, String> {
    Ok(match word {
        "classic" => Exchange::Classic,
        "hybrid" => Exchange::Hybrid,
        _ => return Err(format!("no such key exchange: {word}")),
    })
}

fn kind(word: &str) -> Result<Kind, String> {
    Ok(match word {
        "echo" => Kind::Echo,
        "paced" => Kind::Paced,
        "handshake" => Kind::Handshake,
        "shake" => Kind::Shake,
        "get" => Kind::Get,
        "bridge" => Kind::Bridge,
        "bridge-idle" => Kind::BridgeIdle,
        "idle" => Kind::Idle,
        "used" => Kind::Used,
        _ => return Err(format!("no such kind: {word}")),
    })
}

fn number<T: FromStr>(word: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_error| format!("cannot be read: {word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHERE: [&str; 3] = ["gateway=127.0.0.1:1", "upstream=127.0.0.1:2", "pid=3"];

    #[test]
    fn words_say_what_is_measured() {
        let words = [&WHERE[..], &["kind=paced", "rate=10000", "window-ms=250"]].concat();
        let order = Order::parse(&words).unwrap();
        assert_eq!((order.kind, order.pid), (Kind::Paced, 3));
        assert_eq!(order.window, Duration::from_millis(250));
        assert!((order.rate - 10_000.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for word in [
            "kind=fast",
            "size",
            "size=big",
            "speed=1",
            "connections=0",
            "least=900",
            "tls=all",
            "exchange=none",
            "kind=shake",
        ] {
            assert!(
                Order::parse(&[&WHERE[..], &[word]].concat()).is_err(),
                "{word}"
            );
        }
        assert!(Order::parse(&WHERE[..2]).is_err());
    }
}
