//! One JSON object as its members in their order, with every value as it was written.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most members that one envelope may have.
const MAX_MEMBERS: usize = 256;

/// The members of an object. Values are kept as text, so that what is echoed or forwarded has the
/// digits and the order that its sender wrote.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> + '_ {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.0.into_iter()
    }

    /// The value of `name`; `null` counts as absent.
    pub(super) fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.iter()
            .find(|(member, _)| *member == name)
            .map(|(_, value)| value)
            .filter(|value| value.get() != "null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            // Which of two would count is each parser's own guess.
            if members.iter().any(|(member, _)| *member == name) {
                return Err(A::Error::custom("a member stands twice"));
            }
            members.push((name, value));
        }
        Ok(members)
    }
}

/// A list of at most [`MAX_FEW`] values, as they were written.
pub(super) struct Few<'a>(pub(super) Vec<&'a RawValue>);

/// The most frames of a batch, and the most lines of one header field.
pub(super) const MAX_FEW: usize = 64;

impl<'de: 'a, 'a> Deserialize<'de> for Few<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor).map(Self)
    }
}

struct FewVisitor;

impl<'de> Visitor<'de> for FewVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            if values.len() == MAX_FEW {
                return Err(A::Error::custom("more than 64 elements"));
            }
            values.push(value);
        }
        Ok(values)
    }
}

/// A name, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string, borrowed where nothing in it is escaped; `None` where the value is none.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get())
        .ok()
        .map(|Name(text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_digits_and_escapes() {
        let text = r#"{"b":1.50,"a":{"x":[1, 2]},"n\u0041me":"t\"x","z":null}"#;
        let members: Members<'_> = serde_json::from_str(text).unwrap();
        let seen: Vec<_> = members
            .iter()
            .map(|(name, value)| (name, value.get()))
            .collect();
        assert_eq!(
            seen,
            [
                ("b", "1.50"),
                ("a", r#"{"x":[1, 2]}"#),
                ("nAme", r#""t\"x""#),
                ("z", "null"),
            ]
        );
        assert!(members.value("z").is_none());
        assert_eq!(super::text(members.value("nAme").unwrap()).unwrap(), "t\"x");
        assert!(super::text(members.value("b").unwrap()).is_none());
    }

    #[test]
    fn what_is_read_in_two_ways_is_refused() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "[]",
            "42",
            "{",
            "{} x",
        ] {
            assert!(serde_json::from_str::<Members<'_>>(bad).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":0")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert!(serde_json::from_str::<Members<'_>>(&many).is_err());
    }
}
