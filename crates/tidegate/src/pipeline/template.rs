//! Text with placeholders for what the route's path captured.

use std::borrow::Cow;
use std::sync::Arc;

use tidegate_ws::path::is_variable_name;

use crate::router::Captures;

/// Text in which `{name}` stands for a captured value; `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable(Arc<str>),
}

/// Why a text is not a template. `at` counts bytes from 0; the messages count columns from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// What stands in braces is not a name.
    #[error("column {}: `{name}` is not a name: letters, digits, `_` and `-`, no digit first", .at + 1)]
    InvalidName {
        /// What stands there.
        name: String,
        /// Where it begins.
        at: usize,
    },
    /// A brace without its partner.
    #[error("column {}: this brace has no partner; a brace as text is written twice", .at + 1)]
    UnbalancedBrace {
        /// Where it is.
        at: usize,
    },
}

/// A placeholder stands for something that the route's paths do not (all) capture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{{name}}}` is captured by none of the route's paths, or not by all of them")]
pub struct UnboundVariable {
    /// Its name.
    pub name: Arc<str>,
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(next) = text[at..].find(['{', '}']) {
            let brace = at + next;
            literal.push_str(&text[at..brace]);
            let (found, behind) = text[brace..].split_at(1);
            if behind.starts_with(found) {
                literal.push_str(found);
                at = brace + 2;
                continue;
            }
            let end = behind
                .find('}')
                .filter(|_| found == "{")
                .ok_or(TemplateError::UnbalancedBrace { at: brace })?;
            let name = &behind[..end];
            if !is_variable_name(name) {
                let (name, at) = (name.to_owned(), brace + 1);
                return Err(TemplateError::InvalidName { name, at });
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Variable(name.into()));
            at = brace + 1 + end + 1;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self { parts })
    }

    /// The names it needs, in order, repeated ones repeated.
    pub fn variables(&self) -> impl Iterator<Item = &Arc<str>> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(name) => Some(name),
        })
    }

    /// The text, where it has no placeholder.
    #[must_use]
    pub fn as_fixed(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with the captured values in place. Errors when one of them is missing.
    pub fn render(&self, captures: &Captures) -> Result<Cow<'_, str>, UnboundVariable> {
        if let Some(text) = self.as_fixed() {
            return Ok(Cow::Borrowed(text));
        }
        let mut out = String::new();
        for part in &self.parts {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Variable(name) => captures
                    .get(name)
                    .ok_or_else(|| UnboundVariable { name: name.clone() })?,
            });
        }
        Ok(Cow::Owned(out))
    }

    /// The text with something harmless for each placeholder, to judge its fixed parts by.
    pub(super) fn sample(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Variable(_) => "x",
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, UnboundVariable> {
        let mut captures = Captures::default();
        captures.push("id", "7");
        let template = Template::parse(text).unwrap();
        template.render(&captures).map(Cow::into_owned)
    }

    #[test]
    fn captured_values_take_the_place_of_their_names() {
        assert_eq!(rendered("user-{id}/{id}").unwrap(), "user-7/7");
        assert_eq!(rendered("").unwrap(), "");
        assert_eq!(rendered("{{id}} {{{id}}}").unwrap(), "{id} {7}");
        let missing = rendered("{id}{x}").unwrap_err();
        assert_eq!(&*missing.name, "x");
        assert!(missing.to_string().starts_with("`{x}` is captured"));
    }

    #[test]
    fn the_names_it_needs_are_known_before_it_is_rendered() {
        let template = Template::parse("{a}-{b}-{a}").unwrap();
        let names: Vec<_> = template.variables().map(|name| &**name).collect();
        assert_eq!(names, ["a", "b", "a"]);
        assert_eq!(template.as_fixed(), None);
        assert_eq!(Template::parse("x}}").unwrap().as_fixed(), Some("x}"));
    }

    #[test]
    fn errors_say_where() {
        use TemplateError::*;
        let name = |name: &str| name.to_owned();
        for (text, wanted) in [
            ("a{b", UnbalancedBrace { at: 1 }),
            ("a}b", UnbalancedBrace { at: 1 }),
            ("{a}}", UnbalancedBrace { at: 3 }),
            (
                "é{}",
                InvalidName {
                    name: name(""),
                    at: 3,
                },
            ),
            (
                "{a b}",
                InvalidName {
                    name: name("a b"),
                    at: 1,
                },
            ),
        ] {
            assert_eq!(Template::parse(text), Err(wanted), "{text}");
        }
    }
}
