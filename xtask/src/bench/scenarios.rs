//! What is measured, and what is to be reached.

use super::peers::Peer;

/// One thing that the clients do.
#[derive(Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(super) what: &'static str,
    pub(super) unit: Unit,
    /// Who speaks TLS.
    pub(super) legs: Legs,
    /// What the load is told, besides where and for how long.
    pub(super) order: &'static [&'static str],
    /// None where a figure is only told.
    pub(super) marks: &'static [Mark],
}

// Ratios are no `Eq`, but each scenario is itself.
impl Eq for Scenario {}

/// Between whom there is TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Legs {
    Plain,
    /// Clients and gateway.
    Client,
    /// Gateway and upstream.
    Upstream,
    Both,
    /// No TLS, and calls of the gateway's bridge.
    Bridge,
    /// As `Client`, with a key exchange that nginx and HAProxy do not have.
    ClientHybrid,
}

impl Legs {
    pub(super) const fn has_client(self) -> bool {
        matches!(self, Self::Client | Self::Both | Self::ClientHybrid)
    }

    pub(super) const fn has_upstream(self) -> bool {
        matches!(self, Self::Upstream | Self::Both)
    }

    /// How the load is told.
    pub(super) const fn order(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Bridge => &[],
            Self::Client => &["tls=client"],
            Self::Upstream => &["tls=upstream"],
            Self::Both => &["tls=both"],
            Self::ClientHybrid => &["tls=client", "exchange=hybrid"],
        }
    }
}

impl Scenario {
    /// Whether `peer` can be measured in it.
    pub(super) const fn is_for(&self, peer: Peer) -> bool {
        match self.legs {
            Legs::Plain => true,
            Legs::Client | Legs::Upstream | Legs::Both => !matches!(peer, Peer::Raw),
            Legs::Bridge | Legs::ClientHybrid => matches!(peer, Peer::Tidegate),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Microseconds of the gateway's CPU for each message, request or session.
    Cpu,
    /// Bytes of memory for each session.
    Memory,
}

/// What the gateway's figure is to be at most: enough, and better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    pub(super) of: Of,
    pub(super) reach: f64,
    pub(super) goal: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Times this one's figure.
    Peer(Peer),
    /// Times this one's latency that 99 of 100 messages keep to.
    Latency(Peer),
    /// Itself.
    Figure,
    /// Times its own figure in that scenario.
    Scenario(&'static str),
}

const fn of_nginx(reach: f64, goal: f64) -> Mark {
    Mark {
        of: Of::Peer(Peer::Nginx),
        reach,
        goal,
    }
}

const fn of_haproxy(reach: f64, goal: f64) -> Mark {
    Mark {
        of: Of::Peer(Peer::Haproxy),
        reach,
        goal,
    }
}

const SMALL: &[Mark] = &[of_nginx(1.1, 1.0), of_haproxy(0.9, 0.8)];
const MEMORY: &[Mark] = &[Mark {
    of: Of::Figure,
    reach: 2_000.0,
    goal: 700.0,
}];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "echo-64",
        what: "64 B back and forth, 64 sessions",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=echo", "connections=64", "size=64"],
        marks: SMALL,
    },
    Scenario {
        name: "echo-64x16",
        what: "64 B, 16 in one write, 64 sessions",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=echo", "connections=64", "size=64", "pipeline=16"],
        marks: SMALL,
    },
    Scenario {
        name: "echo-1k",
        what: "1 KiB back and forth, 64 sessions",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=echo", "connections=64", "size=1024"],
        marks: SMALL,
    },
    Scenario {
        name: "echo-64k",
        what: "64 KiB back and forth, 16 sessions",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=echo", "connections=16", "size=65536"],
        marks: &[of_nginx(0.8, 0.72), of_haproxy(0.65, 0.55)],
    },
    Scenario {
        name: "paced",
        what: "10,000 messages of 64 B a second over 256 sessions",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=paced", "connections=256", "size=64", "rate=10000"],
        marks: &[
            of_nginx(1.1, 1.0),
            Mark {
                of: Of::Latency(Peer::Nginx),
                reach: 1.0,
                goal: 1.0,
            },
        ],
    },
    Scenario {
        name: "handshake",
        what: "a session opened and closed, 16 at a time",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=handshake", "connections=16"],
        marks: &[of_nginx(1.3, 1.0)],
    },
    Scenario {
        name: "get",
        what: "GET of 128 B on 64 kept connections",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=get", "connections=64", "size=128"],
        marks: &[of_nginx(1.5, 0.9)],
    },
    Scenario {
        name: "get-1k",
        what: "GET of 1 KiB on 64 kept connections",
        unit: Unit::Cpu,
        legs: Legs::Plain,
        order: &["kind=get", "connections=64", "size=1024"],
        marks: &[],
    },
    Scenario {
        name: "bridge",
        what: "bridged GET of 1 KiB, 64 sessions with 16 calls each under way",
        unit: Unit::Cpu,
        legs: Legs::Bridge,
        order: &["kind=bridge", "connections=64", "size=1024", "pipeline=16"],
        marks: &[Mark {
            of: Of::Scenario("get-1k"),
            reach: 1.3,
            goal: 1.0,
        }],
    },
    Scenario {
        name: "bridge-idle",
        what: "memory of a bridge session of a user with a token of 700 bytes",
        unit: Unit::Memory,
        legs: Legs::Bridge,
        order: &["kind=bridge-idle", "rate=500"],
        marks: &[Mark {
            of: Of::Figure,
            reach: 4_096.0,
            goal: 3_000.0,
        }],
    },
    Scenario {
        name: "idle",
        what: "memory of a session that is open",
        unit: Unit::Memory,
        legs: Legs::Plain,
        order: &["kind=idle", "rate=1000"],
        marks: MEMORY,
    },
    Scenario {
        name: "used",
        what: "the same, after 64 KiB went through it",
        unit: Unit::Memory,
        legs: Legs::Plain,
        order: &["kind=used", "rate=1000", "size=65536"],
        marks: MEMORY,
    },
    Scenario {
        name: "tls-echo-64",
        what: "echo-64 over wss",
        unit: Unit::Cpu,
        legs: Legs::Client,
        order: &["kind=echo", "connections=64", "size=64"],
        marks: &[of_nginx(1.1, 1.0)],
    },
    Scenario {
        name: "tls-echo-64x16",
        what: "echo-64x16 over wss",
        unit: Unit::Cpu,
        legs: Legs::Client,
        order: &["kind=echo", "connections=64", "size=64", "pipeline=16"],
        marks: &[],
    },
    Scenario {
        name: "tls-echo-1k",
        what: "echo-1k over wss",
        unit: Unit::Cpu,
        legs: Legs::Client,
        order: &["kind=echo", "connections=64", "size=1024"],
        marks: &[of_nginx(1.1, 1.0)],
    },
    Scenario {
        name: "tls-echo-64k",
        what: "echo-64k over wss",
        unit: Unit::Cpu,
        legs: Legs::Client,
        order: &["kind=echo", "connections=16", "size=65536"],
        marks: &[],
    },
    Scenario {
        name: "tls-handshake",
        what: "a full handshake of TLS and its end, 16 at a time",
        unit: Unit::Cpu,
        legs: Legs::Client,
        order: &["kind=shake", "connections=16"],
        marks: &[of_nginx(1.2, 1.0)],
    },
    Scenario {
        name: "tls-handshake-pq",
        what: "the same, by X25519MLKEM768",
        unit: Unit::Cpu,
        legs: Legs::ClientHybrid,
        order: &["kind=shake", "connections=16"],
        marks: &[],
    },
    Scenario {
        name: "tls-session",
        what: "handshake, over wss by a full handshake",
        unit: Unit::Cpu,
        legs: Legs::Client,
        order: &["kind=handshake", "connections=16"],
        marks: &[],
    },
    Scenario {
        name: "tls-idle",
        what: "idle, the client's leg over TLS",
        unit: Unit::Memory,
        legs: Legs::Client,
        order: &["kind=idle", "rate=500"],
        marks: &[],
    },
    Scenario {
        name: "tls-idle-upstream",
        what: "idle, the upstream's leg over TLS",
        unit: Unit::Memory,
        legs: Legs::Upstream,
        order: &["kind=idle", "rate=500"],
        marks: &[],
    },
    Scenario {
        name: "tls-idle-both",
        what: "idle, both legs over TLS",
        unit: Unit::Memory,
        legs: Legs::Both,
        order: &["kind=idle", "rate=500"],
        marks: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_with_others_is_asked_of_them() {
        for scenario in SCENARIOS {
            for mark in scenario.marks {
                if let Of::Peer(peer) | Of::Latency(peer) = mark.of {
                    assert!(scenario.is_for(peer), "{}", scenario.name);
                }
            }
            assert!(scenario.is_for(Peer::Tidegate));
        }
    }

    #[test]
    fn a_goal_is_never_easier_than_what_is_enough() {
        for scenario in SCENARIOS {
            for mark in scenario.marks {
                assert!(mark.goal <= mark.reach, "{}", scenario.name);
            }
        }
    }
}
