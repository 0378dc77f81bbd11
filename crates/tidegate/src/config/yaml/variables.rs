//! `${NAME}` and `${NAME:-default}` in scalars; `$${` is a literal `${`.

use super::super::error::Fault;
use super::Quoted;

/// Where the values of variables come from.
pub(in crate::config) trait Variables {
    /// The value of `name`; `None` where it is not set; a fault where its value is not text.
    fn value_of(&self, name: &str) -> Result<Option<&str>, Fault>;
}

/// What the writer of `${...}` may have meant by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dollar {
    /// A variable, for nothing else is written so.
    IsVariable,
    /// A group of a regex: the text replaces what a regex has found.
    MayBeGroup,
}

/// Fills in the variables of `text`. `None`: there are none, and the text stands as it is.
pub(super) fn fill(
    text: &str,
    variables: &dyn Variables,
    dollar: Dollar,
) -> Result<Option<String>, Fault> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &found[2..];
            continue;
        }
        filled.push_str(before);
        let Some((inside, after)) = found[2..].split_once('}') else {
            return Err(Fault::new("`${` has no closing `}`").suggest("`$${` stands for `${`"));
        };
        filled.push_str(value(inside, variables, dollar)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(Some(filled))
}

/// What stands for the `NAME` or `NAME:-default` between the braces.
fn value<'a>(
    inside: &'a str,
    variables: &'a dyn Variables,
    dollar: Dollar,
) -> Result<&'a str, Fault> {
    let is_group = dollar == Dollar::MayBeGroup;
    let as_group =
        |name: &str| format!("for a group of the regex write `${name}` or `$${{{name}}}`");
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        let fault = Fault::new(format!("{} is not the name of a variable", Quoted(name)));
        let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        return Err(match is_group && is_number && name.len() < 4 {
            true => fault.suggest(as_group(name)),
            false => fault.suggest("write `${NAME}` or `${NAME:-default}`; `$${` stands for `${`"),
        });
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Fault::new(format!(
            "the default of the variable {} holds another variable",
            Quoted(name)
        )));
    }
    match (variables.value_of(name)?, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (None, None) => {
            let message = format!("the environment variable {} is not set", Quoted(name));
            Err(Fault::new(message).suggest(match is_group {
                true => as_group(name),
                false => format!("set it, or write `${{{name}:-default}}`"),
            }))
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Variables for Fixed {
        fn value_of(&self, name: &str) -> Result<Option<&str>, Fault> {
            Ok(match name {
                "HOST" => Some("h"),
                "EMPTY" => Some(""),
                "TRICKY" => Some("${HOST}"),
                _ => None,
            })
        }
    }

    #[test]
    fn variables_are_filled_in_once() {
        let fill = |text| fill(text, &Fixed, Dollar::IsVariable).unwrap();
        assert_eq!(fill("no $variable $1 {x}"), None);
        assert_eq!(fill("http://${HOST}:${PORT:-80}/").unwrap(), "http://h:80/");
        assert_eq!(fill("$${HOST}").unwrap(), "${HOST}");
        assert_eq!(fill("$$${HOST}").unwrap(), "$${HOST}");
        assert_eq!(fill("${EMPTY}|${EMPTY:-x}|${UNSET:-}").unwrap(), "|x|");
        assert_eq!(fill("${TRICKY}").unwrap(), "${HOST}");
        assert_eq!(fill("${UNSET:-a:-b}").unwrap(), "a:-b");
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        let fault = |text| fill(text, &Fixed, Dollar::IsVariable).unwrap_err().message;
        assert!(fault("${UNSET}").contains("`UNSET` is not set"));
        assert!(fault("${1}").contains("not the name"));
        assert!(fault("${}").contains("not the name"));
        assert!(fault("a ${HOST").contains("no closing"));
        assert!(fault("${A:-${HOST}}").contains("another variable"));
    }

    #[test]
    fn where_a_group_may_be_meant_its_notation_is_told() {
        let remedy = |text| {
            let fault = fill(text, &Fixed, Dollar::MayBeGroup).unwrap_err();
            fault.suggestion.unwrap()
        };
        assert!(remedy("/${rest}").contains("`$rest` or `$${rest}`"));
        assert!(remedy("/${12}").contains("`$12` or `$${12}`"));
        assert!(remedy("/${a b}").contains("`${NAME}`"));
    }
}
