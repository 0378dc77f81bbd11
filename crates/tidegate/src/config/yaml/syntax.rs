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
    let line = text.lines().nth(marker.line().saturating_sub(1));
    let line = line.unwrap_or_default();
    let is_tab = matches!(
        error.kind(),
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation
    );
    let fault = match fault.suggestion {
        None if is_tab => fault.suggest("indent with spaces"),
        None if line.contains("${") => {
            fault.suggest("inside `{ }` and `[ ]` a variable needs quotes: \"${NAME}\"")
        }
        None if holds_capture(line) => fault.suggest(
            "inside `{ }` and `[ ]` a text with braces needs quotes: `{ path: \"/a/{id}\" }`",
        ),
        _ => fault,
    };
    (marker, fault)
}

/// Whether a brace opens right behind a letter, a slash or the like, as in the pattern `/a/{id}`:
/// in flow style the text ends before that brace.
fn holds_capture(line: &str) -> bool {
    let pairs = line.chars().zip(line.chars().skip(1));
    let mut pairs = pairs.filter(|(_, brace)| *brace == '{');
    pairs.any(|(before, _)| before.is_alphanumeric() || matches!(before, '/' | '-' | '_' | '.'))
}

pub(super) fn too_deep() -> Fault {
    Fault::new(format!("nested more than {DEEPEST} levels deep"))
}
