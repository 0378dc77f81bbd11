//! `POST /kafka` of the admin listener, as publishers of the predecessor use it.

/// Who may publish there, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafkaPlan {
    /// Roles of which the caller's token must have one; at least one.
    pub roles: Vec<Box<str>>,
    /// The topics that may be named; empty (the default): that of pushes alone.
    pub topics: Vec<Box<str>>,
    /// Whether a `body` that is a text of JSON is what that says, as in the old schema, which knows texts
    /// alone (row B-030); yes.
    pub parse_string_body: bool,
}

impl KafkaPlan {
    /// For callers with one of these roles.
    #[must_use]
    pub const fn new(roles: Vec<Box<str>>) -> Self {
        Self {
            roles,
            topics: Vec::new(),
            parse_string_body: true,
        }
    }
}
