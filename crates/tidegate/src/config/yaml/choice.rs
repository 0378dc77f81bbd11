//! A choice: a word, or a map of one key.

use super::super::error::{Fault, Place, Problems};
use super::{Kind, Quoted, Spot, did_you_mean};

/// One of several words, written as the word or as a map of that one key.
pub(in crate::config) struct Choice<'t> {
    pub(in crate::config) name: &'t str,
    pub(in crate::config) place: Place,
    pub(in crate::config) argument: Option<Spot<'t>>,
}

impl<'t> Choice<'t> {
    /// The argument, which there must be.
    pub(in crate::config) fn need_argument(&self, problems: &mut Problems) -> Option<Spot<'t>> {
        if self.argument.is_none() {
            let name = self.name;
            let message = format!("{} lacks its argument", Quoted(name));
            problems.suggest(&self.place, message, format!("write `{name}: ...`"));
        }
        self.argument.clone()
    }

    /// Reports an argument where there is none to give; `{}` and nothing are none.
    pub(in crate::config) fn no_argument(&self, problems: &mut Problems) -> Option<()> {
        let Some(argument) = &self.argument else {
            return Some(());
        };
        match argument.kind() {
            Kind::Null => Some(()),
            Kind::Map(entries) if entries.is_empty() => Some(()),
            _ => {
                let message = format!("{} takes no argument", Quoted(self.name));
                problems.add(&argument.place(), message);
                None
            }
        }
    }

    /// Reports a name that is none of `known`.
    pub(in crate::config) fn unknown<'a>(
        &self,
        problems: &mut Problems,
        what: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) {
        let mut fault = Fault::new(format!("unknown {what} {}", Quoted(self.name)));
        fault.suggestion = did_you_mean(self.name, known);
        problems.fault(&self.place, fault);
    }
}
