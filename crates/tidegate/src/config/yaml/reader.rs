//! Typed reading of the tree. A reader that finds something wrong says so to `Problems`, answers
//! `None` and lets the others go on; for what is `Broken` the saying has been done.

use std::ops::RangeInclusive;

use super::super::error::{Fault, Place, Problems};
use super::{
    Choice, Entry, Fields, Kind, Node, Quoted, did_you_mean, item_path, key_path, nearest,
};

/// A value with the place where it was written.
#[derive(Debug, Clone)]
pub(in crate::config) struct Located<T> {
    pub(in crate::config) value: T,
    pub(in crate::config) place: Place,
}

/// One node, with the path that led to it.
#[derive(Debug, Clone)]
pub(in crate::config) struct Spot<'t> {
    node: &'t Node,
    path: String,
}

impl<'t> Spot<'t> {
    pub(in crate::config) const fn root(node: &'t Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    pub(in crate::config) fn place(&self) -> Place {
        self.node.at.place(self.path.as_str())
    }

    pub(in crate::config) const fn is_map(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    pub(in crate::config) const fn is_scalar(&self) -> bool {
        matches!(self.node.kind, Kind::Scalar(_))
    }

    pub(in crate::config) const fn is_broken(&self) -> bool {
        matches!(self.node.kind, Kind::Broken)
    }

    /// A map whose keys we know.
    pub(in crate::config) fn fields(&self, problems: &mut Problems) -> Option<Fields<'t>> {
        Some(Fields::new(self.place(), self.map(problems)?))
    }

    /// A map whose keys are names of the user's choice.
    pub(in crate::config) fn entries(
        &self,
        problems: &mut Problems,
    ) -> Vec<(Located<&'t str>, Self)> {
        let entries = self.map(problems).unwrap_or_default();
        entries
            .iter()
            .map(|entry| {
                let spot = self.below(entry);
                let name = Located {
                    value: entry.key.name.as_str(),
                    place: entry.key.at.place(spot.path.as_str()),
                };
                (name, spot)
            })
            .collect()
    }

    /// One item, or a list of at least one.
    pub(in crate::config) fn one_or_many(&self, problems: &mut Problems) -> Vec<Self> {
        let items = self.any_number();
        if items.is_empty() && !self.is_broken() {
            problems.suggest(
                &self.place(),
                "the list is empty",
                "write at least one item",
            );
        }
        items
    }

    /// One item, or a list that may be empty.
    pub(in crate::config) fn any_number(&self) -> Vec<Self> {
        let Kind::List(items) = &self.node.kind else {
            return vec![self.clone()];
        };
        let spot = |(index, node)| Spot {
            node,
            path: item_path(&self.path, index),
        };
        items.iter().enumerate().map(spot).collect()
    }

    /// A text: any single value, for the key alone says that it is meant as one.
    pub(in crate::config) fn text(&self, problems: &mut Problems) -> Option<&'t str> {
        match &self.node.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            _ => self.mismatch("a text", problems),
        }
    }

    /// A value that `parse` makes of a text.
    pub(in crate::config) fn value<T>(
        &self,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        match parse(self.text(problems)?) {
            Ok(value) => Some(value),
            Err(fault) => {
                problems.fault(&self.place(), fault);
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(in crate::config) fn whole(
        &self,
        problems: &mut Problems,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let Kind::Scalar(scalar) = &self.node.kind else {
            return self.mismatch("a whole number", problems);
        };
        let is_digits =
            !scalar.text.is_empty() && scalar.text.bytes().all(|byte| byte.is_ascii_digit());
        if scalar.quoted || !is_digits {
            let fault = Fault::new(format!(
                "expected a whole number, found {}",
                Quoted(&scalar.text)
            ));
            let fault = if scalar.quoted && is_digits {
                fault.suggest("leave the quotes out")
            } else {
                fault
            };
            problems.fault(&self.place(), fault);
            return None;
        }
        let number = scalar.text.parse().ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let message = format!("{} is not from {least} to {most}", Quoted(&scalar.text));
            problems.add(&self.place(), message);
        }
        number
    }

    /// `true` or `false`.
    pub(in crate::config) fn truth(&self, problems: &mut Problems) -> Option<bool> {
        let Kind::Scalar(scalar) = &self.node.kind else {
            return self.mismatch("`true` or `false`", problems);
        };
        match scalar.text.as_str() {
            "true" if !scalar.quoted => Some(true),
            "false" if !scalar.quoted => Some(false),
            text => {
                let message = format!("expected `true` or `false`, found {}", Quoted(text));
                problems.add(&self.place(), message);
                None
            }
        }
    }

    /// A word, or a map of one key.
    pub(in crate::config) fn choice(&self, problems: &mut Problems) -> Option<Choice<'t>> {
        match &self.node.kind {
            Kind::Scalar(scalar) => Some(Choice {
                name: &scalar.text,
                place: self.place(),
                argument: None,
            }),
            Kind::Map(entries) => {
                let [entry] = entries.as_slice() else {
                    let message = format!("expected one key, found {}", entries.len());
                    problems.suggest(
                        &self.place(),
                        message,
                        "write a list with one item for each",
                    );
                    return None;
                };
                let spot = self.below(entry);
                Some(Choice {
                    name: &entry.key.name,
                    place: entry.key.at.place(spot.path.as_str()),
                    argument: Some(spot),
                })
            }
            _ => self.mismatch("a name or a map of one key", problems),
        }
    }

    /// One of `names`, without an argument.
    pub(in crate::config) fn name_of<T: Copy>(
        &self,
        problems: &mut Problems,
        what: &str,
        names: &[(&'static str, T)],
    ) -> Option<T> {
        if let Kind::List(items) = &self.node.kind {
            let written = match items.as_slice() {
                [
                    Node {
                        kind: Kind::Scalar(item),
                        ..
                    },
                ] => &item.text,
                _ => "",
            };
            let words = names.iter().map(|(name, _)| *name);
            let suggestion = match nearest(written, words.clone()) {
                Some(word) => Some(format!("write {} without the brackets", Quoted(word))),
                None => did_you_mean("", words),
            };
            let mut fault = Fault::new(format!("expected one {what}, found a list"));
            fault.suggestion = suggestion;
            problems.fault(&self.place(), fault);
            return None;
        }
        let choice = self.choice(problems)?;
        let Some((_, value)) = names.iter().find(|(name, _)| *name == choice.name) else {
            choice.unknown(problems, what, names.iter().map(|(name, _)| *name));
            return None;
        };
        choice.no_argument(problems)?;
        Some(*value)
    }

    fn map(&self, problems: &mut Problems) -> Option<&'t [Entry]> {
        match &self.node.kind {
            Kind::Map(entries) => Some(entries),
            _ => self.mismatch("a map", problems),
        }
    }

    fn below(&self, entry: &'t Entry) -> Self {
        Self::of(entry, &self.path)
    }

    /// The value of an entry of the map at `path`.
    pub(super) fn of(entry: &'t Entry, path: &str) -> Self {
        Spot {
            node: &entry.value,
            path: key_path(path, &entry.key.name),
        }
    }

    pub(super) const fn kind(&self) -> &'t Kind {
        &self.node.kind
    }

    fn mismatch<T>(&self, expected: &str, problems: &mut Problems) -> Option<T> {
        if !self.is_broken() {
            let found = self.node.kind.noun();
            problems.add(&self.place(), format!("expected {expected}, found {found}"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::parse;
    use super::*;
    use crate::config::load::Environment;

    /// What `read` makes of `text`, and what it complains of.
    fn read<T>(text: &str, read: impl FnOnce(Spot<'_>, &mut Problems) -> T) -> (T, Vec<String>) {
        let mut problems = Problems::default();
        let file = Arc::from("t");
        let variables = Environment::from_iter([("NUMBER", "7"), ("EMPTY", "")]);
        let root = parse(&file, text, &variables, &mut problems).unwrap();
        let value = read(Spot::root(&root), &mut problems);
        let said = problems
            .into_sorted("t")
            .into_iter()
            .map(|error| error.to_string());
        (value, said.collect())
    }

    #[test]
    fn unknown_keys_are_named_with_what_was_meant() {
        let (_, said) = read("{ nmae: 1, zzz: 2, name: 3 }", |spot, problems| {
            let mut fields = spot.fields(problems).unwrap();
            fields.take("name");
            fields.take("path");
            fields.finish(problems);
        });
        assert_eq!(
            said,
            [
                "t:1:3: nmae: unknown key (one of: name, path)",
                "t:1:12: zzz: unknown key (one of: name, path)",
            ]
        );
    }

    #[test]
    fn a_variable_may_stand_for_a_number_even_in_quotes() {
        let number = |spot: Spot<'_>, problems: &mut Problems| spot.whole(problems, 1..=9);
        assert_eq!(read("${NUMBER}", number).0, Some(7));
        assert_eq!(read("\"${NUMBER}\"", number).0, Some(7));
        assert_eq!(
            read("\"7\"", number).1,
            ["t:1:1: expected a whole number, found `7` (leave the quotes out)"]
        );
        assert_eq!(read("12", number).1, ["t:1:1: `12` is not from 1 to 9"]);
        assert_eq!(
            read("99999999999999999999", number).1,
            ["t:1:1: `99999999999999999999` is not from 1 to 9"]
        );
    }

    #[test]
    fn an_empty_variable_is_an_empty_text_and_nothing_is_not() {
        let text = |spot: Spot<'_>, problems: &mut Problems| {
            spot.fields(problems)?
                .take("a")?
                .text(problems)
                .map(str::to_owned)
        };
        assert_eq!(read("a: ${EMPTY}", text).0.as_deref(), Some(""));
        assert_eq!(read("a: 'null'", text).0.as_deref(), Some("null"));
        assert_eq!(
            read("a:", text).1,
            ["t:1:2: a: expected a text, found nothing"]
        );
        assert_eq!(read("a: ${NONE}", text).1.len(), 1, "said once, not twice");
    }

    #[test]
    fn one_item_stands_for_a_list_of_it() {
        let count = |spot: Spot<'_>, problems: &mut Problems| spot.one_or_many(problems).len();
        assert_eq!(read("a", count).0, 1);
        assert_eq!(read("[a, b]", count).0, 2);
        assert!(read("[]", count).1[0].contains("the list is empty"));
    }

    #[test]
    fn a_choice_is_a_name_or_a_map_of_one_key() {
        let names = [("keep", 1), ("rewrite", 2)];
        let choice =
            |spot: Spot<'_>, problems: &mut Problems| spot.name_of(problems, "way", &names);
        assert_eq!(read("keep", choice).0, Some(1));
        assert_eq!(read("{ rewrite: {} }", choice).0, Some(2));
        assert_eq!(
            read("rewirte", choice).1,
            ["t:1:1: unknown way `rewirte` (did you mean `rewrite`?)"]
        );
        assert_eq!(
            read("{ keep: 1 }", choice).1,
            ["t:1:9: keep: `keep` takes no argument"]
        );
        assert_eq!(read("{ keep: {}, rewrite: {} }", choice).1.len(), 1);
        assert_eq!(
            read("[keep]", choice).1,
            ["t:1:1: expected one way, found a list (write `keep` without the brackets)"]
        );
        assert_eq!(
            read("[keep, rewrite]", choice).1,
            ["t:1:1: expected one way, found a list (one of: keep, rewrite)"]
        );
    }
}
