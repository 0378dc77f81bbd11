//! Each client's pushes against what was published for its user.

use std::collections::{HashMap, HashSet};

use super::{Begin, Class, Fault, Got, History, Kind, Life, Publish, Socket, order, recovery};

/// What is wrong with a history, at whose end its open clients waited for nothing any more.
#[must_use]
pub fn faults(history: &History) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, life) in history.lives.iter().enumerate() {
        let judge = Judge {
            history,
            number,
            life,
        };
        judge.phantoms(&mut faults);
        judge.doubles(&mut faults);
        judge.order(&mut faults);
        judge.losses(&mut faults);
    }
    order::disagreements(history, &mut faults);
    recovery::denials(history, &mut faults);
    acked_early(history, &mut faults);
    faults.sort_by_key(|fault| (fault.at, fault.kind));
    faults
}

struct Judge<'h> {
    history: &'h History,
    number: usize,
    life: &'h Life,
}

impl Judge<'_> {
    fn fault(&self, kind: Kind, at: u64, words: String) -> Fault {
        Fault {
            kind,
            life: self.number,
            at,
            words,
        }
    }

    fn published(&self, got: &Got) -> Option<&Publish> {
        self.history.published.get(&got.number)
    }

    fn phantoms(&self, faults: &mut Vec<Fault>) {
        for got in self.life.sockets.iter().flat_map(|socket| &socket.got) {
            let number = got.number;
            let wrong = match self.published(got) {
                None => "was never published",
                Some(push) if push.word != got.word => "said something else",
                Some(push) if !push.users.contains(&self.life.user) => "was for somebody else",
                Some(push) if push.begun > got.at => "was not published yet",
                Some(_) => continue,
            };
            faults.push(self.fault(Kind::Phantom, got.at, format!("{number} {wrong}")));
        }
    }

    /// A session is told each push once; who comes back may be told it again. What is live may come to
    /// another session as well, on a node that was behind: it has no place by which that could be seen.
    fn doubles(&self, faults: &mut Vec<Fault>) {
        for socket in &self.life.sockets {
            let mut here: HashMap<u64, &Got> = HashMap::new();
            for got in &socket.got {
                let Some(before) = here.insert(got.number, got) else {
                    continue;
                };
                if !self.comes_again(socket, before) {
                    let words = format!("{} came twice", got.number);
                    faults.push(self.fault(Kind::Double, got.at, words));
                }
            }
        }
    }

    /// Whether something came before it was known what its client had missed, by the record for several users
    /// on a node that had just begun: without a place it counts, and comes again in its place.
    fn comes_again(&self, socket: &Socket, got: &Got) -> bool {
        let is_early = socket.begin == Begin::Recovered && got.at < socket.since;
        let push = self.published(got);
        let was_cut = |push| recovery::was_cut(self.history, push, socket.node);
        is_early && !got.has_cursor && push.is_some_and(was_cut)
    }

    /// What comes first in a socket, and for the first time to a client, comes in order.
    fn order(&self, faults: &mut Vec<Fault>) {
        let each = self.life.sockets.iter().map(std::slice::from_ref);
        let mut told = HashSet::new();
        for chain in self.life.chains().chain(each) {
            let firsts = firsts(chain);
            let pushes: Vec<_> = firsts
                .iter()
                .filter_map(|got| Some((got, self.published(got)?)))
                .filter(|(got, push)| order::has_place(got, push))
                .collect();
            for (place, (got, push)) in pushes.iter().enumerate() {
                let overtaken = pushes[..place]
                    .iter()
                    .find(|(_, before)| self.precedes(push, before));
                if let Some((_, before)) = overtaken
                    && told.insert((before.number, push.number))
                {
                    let words = format!("{} came before {}", before.number, push.number);
                    faults.push(self.fault(Kind::Order, got.at, words));
                }
            }
        }
    }

    fn precedes(&self, one: &Publish, other: &Publish) -> bool {
        order::precedes(self.history, one, other)
    }

    fn losses(&self, faults: &mut Vec<Fault>) {
        let count = self.life.chains().count();
        for (place, chain) in self.life.chains().enumerate() {
            let is_settled = place + 1 == count && self.life.open().is_some();
            for push in self.missing(chain, is_settled) {
                let words = format!("{} never came", push.number);
                let at = push.acked.unwrap_or(push.begun);
                faults.push(self.fault(Kind::Loss, at, words));
            }
        }
    }

    /// What a client is due and has not: all that was published since it was there, up to the last that
    /// it has, or to the end.
    fn missing(&self, chain: &[Socket], is_settled: bool) -> Vec<&Publish> {
        let since = chain[0].since;
        let firsts = firsts(chain);
        let has: HashSet<u64> = firsts.iter().map(|got| got.number).collect();
        let came: Vec<&Publish> = firsts
            .iter()
            .filter_map(|got| Some((got, self.published(got)?)))
            .filter(|(got, push)| order::has_place(got, push))
            .map(|(_, push)| push)
            .collect();
        let is_due = |push: &&Publish| {
            push.class == Class::Resumable
                && push.acked.is_some()
                && push.begun > since
                && push.users.contains(&self.life.user)
                && !has.contains(&push.number)
                && (is_settled || came.iter().any(|behind| self.precedes(push, behind)))
        };
        self.history.published.values().filter(is_due).collect()
    }
}

/// What came, without what had come before.
fn firsts(chain: &[Socket]) -> Vec<Got> {
    let mut has = HashSet::new();
    let all = chain.iter().flat_map(|socket| &socket.got).copied();
    all.filter(|got| has.insert(got.number)).collect()
}

/// What nobody got was never there.
fn acked_early(history: &History, faults: &mut [Fault]) {
    let sockets = history.lives.iter().flat_map(|life| &life.sockets);
    let came: HashSet<u64> = sockets
        .flat_map(|socket| &socket.got)
        .map(|got| got.number)
        .collect();
    for fault in faults.iter_mut().filter(|fault| fault.kind == Kind::Loss) {
        let number = fault
            .words
            .split(' ')
            .next()
            .and_then(|one| one.parse().ok());
        if number.is_some_and(|number: u64| !came.contains(&number)) {
            fault.kind = Kind::EarlyAck;
            fault.words.push_str(" to anybody, and was answered");
        }
    }
}
