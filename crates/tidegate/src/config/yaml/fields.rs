//! A map whose keys are ours.

use super::super::error::{Fault, Place, Problems};
use super::{Entry, Key, Quoted, Spot, did_you_mean, key_path, nearest};

/// A map whose keys we know; `finish` reports those that nobody asked for.
pub(in crate::config) struct Fields<'t> {
    place: Place,
    entries: &'t [Entry],
    asked: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    pub(super) const fn new(place: Place, entries: &'t [Entry]) -> Self {
        Self {
            place,
            entries,
            asked: Vec::new(),
        }
    }

    pub(in crate::config) const fn place(&self) -> &Place {
        &self.place
    }

    /// The value of `key`, where it was written.
    pub(in crate::config) fn take(&mut self, key: &'static str) -> Option<Spot<'t>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key.name == key)?;
        Some(Spot::of(entry, &self.place.path))
    }

    /// The value of `key`, which must be written; `example` is what to write.
    pub(in crate::config) fn need(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Spot<'t>> {
        let spot = self.take(key);
        if spot.is_none() {
            let message = format!("the key {} is missing", Quoted(key));
            problems.suggest(&self.place, message, format!("write `{example}`"));
        }
        spot
    }

    /// Reports every key that was not asked for.
    pub(in crate::config) fn finish(self, problems: &mut Problems) {
        self.finish_with(problems, |_key| None);
    }

    /// The same; `hint` may know what a key that was not asked for is.
    pub(in crate::config) fn finish_with(
        self,
        problems: &mut Problems,
        hint: impl Fn(&str) -> Option<String>,
    ) {
        for key in self.entries.iter().map(|entry| &entry.key) {
            if !self.asked.contains(&key.name.as_str()) {
                let place = key.at.place(key_path(&self.place.path, &key.name));
                let mut fault = self.unknown_key(key);
                fault.suggestion = hint(&key.name).or(fault.suggestion);
                problems.fault(&place, fault);
            }
        }
    }

    fn unknown_key(&self, key: &Key) -> Fault {
        let name = key.name.as_str();
        // A variable may mean a key that the file has already; a second key of one map cannot.
        let is_override = key.at.file != self.place.file;
        let mut fault = Fault::new("unknown key");
        if name == "<<" {
            return fault.suggest("merge keys are not YAML 1.2; repeat the keys");
        }
        let is_written = |key: &&str| self.entries.iter().any(|entry| entry.key.name == *key);
        let asked = self.asked.iter().copied();
        let free = asked.filter(|key| is_override || !is_written(key));
        fault.suggestion = match nearest(name, free) {
            Some(key) => Some(format!("did you mean {}?", Quoted(key))),
            None => did_you_mean("", self.asked.iter().copied()),
        };
        fault
    }
}
