//! `TIDEGATE__LISTENERS__0__BIND=...`: single values of the file, replaced from the environment.
//!
//! Two underscores separate the steps of the path. Names match without regard to case, and a name
//! of the file matches with `_` for whatever a variable's name cannot hold. The value is read as a
//! YAML scalar or flow collection. What the replaced tree means is then judged as ever, so that a
//! misspelt key is reported like one in the file, with the variable in the place of the file.

use std::cmp::Ordering;
use std::sync::Arc;

use super::error::{Fault, Place, Position, Problems};
use super::load::Environment;
use super::yaml::{
    At, Entry, Key, Kind, Node, Quoted, Scalar, did_you_mean, item_path, key_path, parse,
};

const PREFIX: &str = "TIDEGATE__";

/// Maps whose keys are names of the user's choice: a name that is not there is an error, for the
/// variable cannot say how it is written.
const NAME_MAPS: [&str; 6] = [
    "services",
    "headers",
    "set_request_header",
    "add_request_header",
    "set_response_header",
    "add_response_header",
];

/// Lays every override of `environment` over `root`.
pub(super) fn apply(root: &mut Node, environment: &Environment, problems: &mut Problems) {
    let mut overrides: Vec<_> = environment
        .iter()
        .filter_map(|(name, value)| {
            let prefix = name.get(..PREFIX.len())?;
            let path = name.get(PREFIX.len()..)?;
            prefix
                .eq_ignore_ascii_case(PREFIX)
                .then(|| (path.split("__").collect::<Vec<_>>(), name, value))
        })
        .collect();
    overrides.sort_by(|(one, ..), (other, ..)| compare_paths(one, other));
    for (steps, name, value) in overrides {
        let variable: Arc<str> = name.into();
        let done = match value {
            None => Err(Fault::new("the value of this variable is not UTF-8")),
            Some(_) if steps.iter().any(|step| step.is_empty()) => {
                Err(Fault::new("this variable has an empty step between `__`"))
            }
            Some(value) => replace(root, &steps, node(&variable, value)),
        };
        if let Err(fault) = done {
            problems.fault(&Place::file(&variable), fault);
        }
    }
}

/// Indices by number, so that items are appended in their order; the rest as text.
fn compare_paths(one: &[&str], other: &[&str]) -> Ordering {
    let steps = one.iter().zip(other);
    steps
        .map(
            |(one, other)| match (one.parse::<usize>(), other.parse::<usize>()) {
                (Ok(one), Ok(other)) => one.cmp(&other),
                _ => one.cmp(other),
            },
        )
        .find(|order| order.is_ne())
        .unwrap_or_else(|| one.len().cmp(&other.len()))
}

/// The value of an override: what YAML makes of it, where that is a scalar or a flow collection,
/// and else the text itself (`[::]:8080` is no YAML).
fn node(variable: &Arc<str>, value: &str) -> Node {
    let is_flow = value.trim_start().starts_with(['{', '[']);
    let is_quoted = value.trim_start().starts_with(['"', '\'']);
    let mut problems = Problems::default();
    let parsed =
        parse(variable, value, &NoVariables, &mut problems).filter(|_| problems.is_empty());
    match parsed {
        Some(node) if matches!(node.kind, Kind::Scalar(_)) || is_flow || is_quoted => node,
        _ => Node {
            kind: Kind::Scalar(Scalar {
                text: value.to_owned(),
                quoted: false,
            }),
            at: at(variable),
        },
    }
}

/// An override's value is taken as it is.
struct NoVariables;

impl super::yaml::Variables for NoVariables {
    fn value_of(&self, _name: &str) -> Result<Option<&str>, Fault> {
        Err(Fault::new("no variables within variables"))
    }
}

/// Walks down `steps` from `root` and puts a value there.
fn replace(root: &mut Node, steps: &[&str], value: Node) -> Result<(), Fault> {
    let variable = Arc::clone(&value.at.file);
    let mut node = root;
    let mut path = String::new();
    let mut has_free_names = false;
    for step in steps {
        if matches!(node.kind, Kind::Broken) {
            return Ok(()); // reported already, and nothing to lay over it
        }
        let index = step.parse::<usize>().ok();
        let is_named = matches!(&node.kind, Kind::Map(entries) if find(entries, step).is_some());
        node = match index {
            Some(index) if !is_named && !has_free_names => item(node, index, &path, &variable)?,
            _ => field(node, step, &path, &variable, has_free_names)?,
        };
        path = match index {
            Some(index) if !is_named => item_path(&path, index),
            _ => key_path(&path, &step.to_ascii_lowercase()),
        };
        has_free_names =
            !has_free_names && NAME_MAPS.iter().any(|name| name.eq_ignore_ascii_case(step));
    }
    *node = value;
    Ok(())
}

/// The item `index` of `node`, which becomes a list where it is a single item or nothing.
fn item<'t>(
    node: &'t mut Node,
    index: usize,
    path: &str,
    variable: &Arc<str>,
) -> Result<&'t mut Node, Fault> {
    if !matches!(node.kind, Kind::List(_)) {
        let list = Node {
            kind: Kind::List(Vec::new()),
            at: node.at.clone(),
        };
        let single = std::mem::replace(node, list);
        if let (Kind::List(items), false) = (&mut node.kind, matches!(single.kind, Kind::Null)) {
            items.push(single);
        }
    }
    let Kind::List(items) = &mut node.kind else {
        return Err(Fault::new("this variable fits nothing"));
    };
    let len = items.len();
    if index == len {
        items.push(nothing(variable));
    }
    items.get_mut(index).ok_or_else(|| {
        Fault::new(format!(
            "this variable fits nothing: {} has no item {index}",
            Quoted(path)
        ))
        .suggest(format!("the next item to add is {len}"))
    })
}

/// The value of the key `step` of `node`, which becomes a map where it is nothing.
fn field<'t>(
    node: &'t mut Node,
    step: &str,
    path: &str,
    variable: &Arc<str>,
    has_free_names: bool,
) -> Result<&'t mut Node, Fault> {
    if matches!(node.kind, Kind::Null) {
        node.kind = Kind::Map(Vec::new());
    }
    let noun = node.kind.noun();
    let Kind::Map(entries) = &mut node.kind else {
        return Err(Fault::new(format!(
            "this variable fits nothing: {} is {noun} and has no key {}",
            Quoted(path),
            Quoted(&step.to_ascii_lowercase())
        )));
    };
    if let Some(index) = find(entries, step) {
        let is_ambiguous = find(&entries[index + 1..], step).is_some();
        if is_ambiguous {
            let fault = Fault::new(format!("{} names several keys", Quoted(step)));
            return Err(fault.suggest("rename one of them in the file"));
        }
        return Ok(&mut entries[index].value);
    }
    if has_free_names {
        let mut fault = Fault::new(format!(
            "this variable fits nothing: {} has no {}",
            Quoted(path),
            Quoted(&step.to_ascii_lowercase())
        ));
        let names = entries.iter().map(|entry| entry.key.name.as_str());
        fault.suggestion = did_you_mean(step, names);
        return Err(fault);
    }
    entries.push(Entry {
        key: Key {
            name: step.to_ascii_lowercase(),
            at: at(variable),
        },
        value: nothing(variable),
    });
    let last = entries.len() - 1;
    Ok(&mut entries[last].value)
}

/// The index of the key which a step of a variable's name means.
fn find(entries: &[Entry], step: &str) -> Option<usize> {
    entries.iter().position(|entry| {
        let name = entry.key.name.bytes().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
            _ => b'_',
        });
        name.eq(step.bytes().map(|byte| byte.to_ascii_lowercase()))
    })
}

fn nothing(variable: &Arc<str>) -> Node {
    Node {
        kind: Kind::Null,
        at: at(variable),
    }
}

fn at(variable: &Arc<str>) -> At {
    At {
        file: Arc::clone(variable),
        position: Position { line: 1, column: 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree of `text` under `overrides`, in a short notation, and what went wrong.
    fn overridden(text: &str, overrides: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut problems = Problems::default();
        let mut root = parse(&"t".into(), text, &Environment::empty(), &mut problems).unwrap();
        let environment = overrides.iter().copied().collect();
        apply(&mut root, &environment, &mut problems);
        let said = problems.into_sorted("t");
        (show(&root), said.iter().map(ToString::to_string).collect())
    }

    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Broken => "!".into(),
            Kind::Null => "~".into(),
            Kind::Scalar(scalar) => scalar.text.clone(),
            Kind::List(items) => {
                let items: Vec<_> = items.iter().map(show).collect();
                format!("[{}]", items.join(","))
            }
            Kind::Map(entries) => {
                let entries = entries.iter();
                let entries: Vec<_> = entries
                    .map(|entry| format!("{}:{}", entry.key.name, show(&entry.value)))
                    .collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    fn tree(text: &str, name: &str, value: &str) -> String {
        let (tree, said) = overridden(text, &[(name, value)]);
        assert_eq!(said, Vec::<String>::new());
        tree
    }

    #[test]
    fn a_variable_replaces_or_adds_a_value() {
        let bind = "TIDEGATE__LISTENERS__0__BIND";
        assert_eq!(
            tree("listeners: [{bind: a}]", bind, "[::]:80"),
            "{listeners:[{bind:[::]:80}]}"
        );
        assert_eq!(
            tree("listeners: {bind: a}", bind, "127.0.0.1:1"),
            "{listeners:[{bind:127.0.0.1:1}]}"
        );
        assert_eq!(tree("a: 1", "tidegate__Workers", "4"), "{a:1,workers:4}");
        assert_eq!(
            tree(
                "services: {a-b.c: {x: 1}}",
                "TIDEGATE__SERVICES__A_B_C__X",
                "{y: [2]}"
            ),
            "{services:{a-b.c:{x:{y:[2]}}}}"
        );
        assert_eq!(tree("a: 1", "TIDEGATE__B", "${NOT}"), "{a:1,b:${NOT}}");
        assert_eq!(tree("a: 1", "TIDEGATE__B", "c: d"), "{a:1,b:c: d}");
        assert_eq!(tree("a: 1", "TIDEGATE__B", ""), "{a:1,b:}");
        assert_eq!(tree("a: 1", "OTHER__A", "2"), "{a:1}");
    }

    #[test]
    fn items_are_added_in_the_order_of_their_numbers() {
        let overrides: Vec<_> = (0..12).map(|at| format!("TIDEGATE__A__{at}")).collect();
        let overrides: Vec<_> = overrides.iter().map(|name| (name.as_str(), "x")).collect();
        let (tree, said) = overridden("a:", &overrides);
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(tree, format!("{{a:[{}]}}", ["x"; 12].join(",")));
    }

    #[test]
    fn a_variable_that_fits_nothing_is_named() {
        let said = |text, name| overridden(text, &[(name, "1")]).1.join("\n");
        assert_eq!(
            said("services: {chat: {}}", "TIDEGATE__SERVICES__CHTA__BALANCE"),
            "TIDEGATE__SERVICES__CHTA__BALANCE: this variable fits nothing: `services` has no `chta` (did you mean `chat`?)"
        );
        assert!(said("a: [1]", "TIDEGATE__A__2").contains("`a` has no item 2 (the next"));
        assert!(said("a: [1]", "TIDEGATE__A__99999999999999999999").contains("fits nothing"));
        assert!(said("a: 1", "TIDEGATE__A__B").contains("`a` is a single value"));
        assert!(said("a: 1", "TIDEGATE__").contains("empty step"));
        assert!(said("a: 1", "TIDEGATE__A____B").contains("empty step"));
        let text = "services: {a-b: {}, a_b: {}}";
        assert!(said(text, "TIDEGATE__SERVICES__A_B__X").contains("several keys"));
    }
}
