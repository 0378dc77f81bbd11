//! What the event parser refuses, said to people.

use granit_parser::{ErrorKind, Marker, ScanError};

use super::super::error::Fault;

/// Levels of nesting; the language itself needs eight.
pub(super) const DEEPEST: usize = 64;

/// What `error` says about `text`, and where.
pub(super) fn syntax_fault(error: &ScanError, text: &str) -> (Marker, Fault) {
    let marker = *error.marker();
    let fault = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        ErrorKind::UnknownAnchor => Fault::new("this alias names an anchor that does not exist")
            .suggest("a text that begins with `*` or `&` needs quotes"),
        kind => Fault::new(format!("not valid YAML: {kind}")),
    };
    let line = marker.line().saturating_sub(1);
    let is_unquoted_variable = text
        .lines()
        .nth(line)
        .is_some_and(|line| line.contains("${"));
    let is_tab = matches!(
        error.kind(),
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation
    );
    let fault = match fault.suggestion {
        None if is_tab => fault.suggest("indent with spaces"),
        None if is_unquoted_variable => {
            fault.suggest("inside `{ }` and `[ ]` a variable needs quotes: \"${NAME}\"")
        }
        _ => fault,
    };
    (marker, fault)
}

pub(super) fn too_deep() -> Fault {
    Fault::new(format!("nested more than {DEEPEST} levels deep"))
}
