//! What all clients share: where the gateway is, what is counted, and what a cut excuses.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::soak::talk::{self, Fault, say_counts};

/// Addresses of the loopback that clients come from, so that ports suffice and no address stands
/// for all.
const SOURCES: u64 = 64;

/// A number that everybody counts with.
#[derive(Debug, Default)]
pub(crate) struct Count(Cell<u64>);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.set(self.0.get() + more);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.set(self.0.get().saturating_sub(less));
    }

    /// Counts one as long as the guard lives.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.add(1);
        Held(self)
    }
}

/// One, counted.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a Count);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// One kind of client that is kept at a number.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Started and not yet ended.
    pub(crate) wanted: Count,
    /// Of these, the ones that are open.
    pub(crate) open: Count,
}

/// How a client ended that is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    AsMeant,
    /// By a cut of its service.
    ByCut,
}

/// Which upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Steady,
    /// The one that is cut.
    Shaky,
}

/// Who a client is: where it comes from, whom it asks for, and what was then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) source: IpAddr,
    pub(crate) service: Service,
    /// The cuts before it began.
    cuts: u64,
}

impl Place {
    /// The path that leads to its service.
    pub(crate) const fn prefix(self) -> &'static str {
        match self.service {
            Service::Steady => "/steady",
            Service::Shaky => "/shaky",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) gateway: SocketAddr,
    pub(crate) idle: Kept,
    pub(crate) active: Kept,
    pub(crate) http: Kept,
    /// Handshakes of idle and active sessions under way.
    pub(crate) opening: Count,
    /// Short lives under way.
    pub(crate) churning: Count,
    /// Short lives that have ended.
    pub(crate) lives: Count,
    /// Open sessions of the service that is cut.
    shaky: Count,
    /// Sessions, of which some part is due since the last look.
    pub(crate) due_sessions: Cell<f64>,
    /// Short lives, likewise.
    pub(crate) due: Cell<f64>,
    pub(crate) messages: Count,
    pub(crate) bytes: Count,
    pub(crate) requests: Count,
    ends: Count,
    unexpected: Count,
    /// Ends that a cut explains.
    cut: Count,
    numbers: Count,
    /// Odd while the shaky service is away.
    cuts: Cell<u64>,
    leaving: watch::Sender<u64>,
    kinds: RefCell<BTreeMap<&'static str, (u64, u64)>>,
}

impl Load {
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        Self {
            gateway,
            idle: Kept::default(),
            active: Kept::default(),
            http: Kept::default(),
            opening: Count::default(),
            churning: Count::default(),
            lives: Count::default(),
            shaky: Count::default(),
            due_sessions: Cell::new(0.0),
            due: Cell::new(0.0),
            messages: Count::default(),
            bytes: Count::default(),
            requests: Count::default(),
            ends: Count::default(),
            unexpected: Count::default(),
            cut: Count::default(),
            numbers: Count::default(),
            cuts: Cell::new(0),
            leaving: watch::Sender::new(0),
            kinds: RefCell::default(),
        }
    }

    /// A place for one more short life, or connection. While the shaky service is away, all go to
    /// the steady one.
    pub(crate) fn place(&self) -> Place {
        let service = if self.numbers.get().is_multiple_of(2) || self.is_away() {
            Service::Steady
        } else {
            Service::Shaky
        };
        self.place_at(service)
    }

    /// A place for one more session: half of them belong to each service, whatever was lost.
    pub(crate) fn place_of_session(&self) -> Place {
        let open = self.idle.open.get() + self.active.open.get();
        let service = if 2 * self.shaky.get() >= open {
            Service::Steady
        } else {
            Service::Shaky
        };
        self.place_at(service)
    }

    fn place_at(&self, service: Service) -> Place {
        self.numbers.add(1);
        let (number, cuts) = (self.numbers.get(), self.cuts.get());
        let host = 2 + (number / 2 % SOURCES) as u8;
        Place {
            number,
            source: Ipv4Addr::new(127, 0, 0, host).into(),
            service,
            cuts,
        }
    }

    /// Whether the shaky service is being cut.
    pub(crate) fn is_away(&self) -> bool {
        self.cuts.get() % 2 == 1
    }

    /// Whether its service was cut since it began.
    pub(crate) fn was_cut(&self, place: Place) -> bool {
        place.service == Service::Shaky && self.cuts.get() > place.cuts
    }

    /// Counts an open session, where its service is the one that is cut.
    pub(crate) fn hold_shaky(&self, place: Place) -> Option<Held<'_>> {
        (place.service == Service::Shaky).then(|| self.shaky.hold())
    }

    /// Told when everybody is to leave.
    pub(crate) fn departure(&self) -> watch::Receiver<u64> {
        self.leaving.subscribe()
    }

    pub(crate) fn leave(&self) {
        self.leaving.send_modify(|times| *times += 1);
    }

    pub(crate) fn cut_begins(&self) {
        self.cuts.set(self.cuts.get() | 1);
        talk::say("event", "cut-begins");
    }

    pub(crate) fn cut_ended(&self) {
        self.cuts.set((self.cuts.get() | 1) + 1);
        talk::say("event", "cut-ended");
    }

    /// Takes whatever went wrong for the cut's doing, where there was one.
    pub(crate) fn excuse(&self, place: Place, ended: Result<(), Fault>) -> Result<Ended, Fault> {
        match ended {
            Ok(()) => Ok(Ended::AsMeant),
            Err(_) if self.was_cut(place) => Ok(Ended::ByCut),
            Err(fault) => Err(fault),
        }
    }

    /// Counts how one client ended, and tells a fault.
    pub(crate) fn judge(&self, kind: &'static str, place: Place, ended: Result<Ended, Fault>) {
        self.ends.add(1);
        let mut kinds = self.kinds.borrow_mut();
        let counts = kinds.entry(kind).or_default();
        counts.0 += 1;
        match ended {
            Ok(Ended::AsMeant) => {}
            Ok(Ended::ByCut) => self.cut.add(1),
            Err(fault) => {
                counts.1 += 1;
                self.unexpected.add(1);
                talk::say("fault", &format!("{kind} {}: {fault}", place.prefix()));
            }
        }
    }

    pub(crate) fn say(&self) {
        say_counts(&[
            ("idle", self.idle.open.get()),
            ("active", self.active.open.get()),
            ("http", self.http.open.get()),
            ("shaky", self.shaky.get()),
            ("churning", self.churning.get()),
            (
                "left",
                self.idle.wanted.get() + self.active.wanted.get() + self.http.wanted.get(),
            ),
            ("messages", self.messages.get()),
            ("bytes", self.bytes.get()),
            ("requests", self.requests.get()),
            ("lives", self.lives.get()),
            ("ends", self.ends.get()),
            ("cut", self.cut.get()),
            ("unexpected", self.unexpected.get()),
        ]);
    }

    pub(crate) fn say_kinds(&self) {
        for (kind, (ends, unexpected)) in &*self.kinds.borrow() {
            talk::say(
                "kind",
                &format!("{kind:<34} {ends:>7} ends {unexpected:>5} unexpected"),
            );
        }
        talk::say("event", "kinds-told");
    }
}

/// Lets some time pass, at random, but never more than `most`.
pub(crate) async fn pause(most: Duration) {
    sleep(most.mul_f64(fastrand::f64())).await;
}
