//! The filters that a route can have: those that a configuration can name, and an embedder's own.

use std::sync::Arc;

use super::header_edit::HeaderEdit;
use super::headers::{RequestHeader, ResponseHeader};
use super::require::{Require, RequirePlan};
use super::{
    EditableName, Filter, HeaderLine, PrefixPath, RewritePath, Setting, StripPrefix, Template,
    UnboundVariable,
};
use crate::router::Matcher;

/// A filter with its arguments checked.
#[derive(Debug, Clone)]
pub enum FilterPlan {
    /// Adds a line to the request's headers, besides those of the same name.
    AddRequestHeader(HeaderLine),
    /// Adds a line to the response's headers, besides those of the same name.
    AddResponseHeader(HeaderLine),
    /// A filter of an embedder; no configuration names it.
    Custom(Arc<dyn Filter>),
    /// Puts a path before the request's.
    PrefixPath(PrefixPath),
    /// Removes all lines of a name from the request's headers.
    RemoveRequestHeader(EditableName),
    /// Removes all lines of a name from the response's headers.
    RemoveResponseHeader(EditableName),
    /// Lets through whom it knows, and who may.
    Require(RequirePlan),
    /// Replaces what a regex matches in the path.
    RewritePath(RewritePath),
    /// Makes a line the only one of its name in the request's headers.
    SetRequestHeader(HeaderLine),
    /// Makes a line the only one of its name in the response's headers.
    SetResponseHeader(HeaderLine),
    /// Drops segments from the front of the path.
    StripPrefix(StripPrefix),
}

impl FilterPlan {
    /// The filter that does it.
    #[must_use]
    pub fn build(&self, setting: &Setting) -> Arc<dyn Filter> {
        use HeaderEdit::{Add, Remove, Set};
        match self.clone() {
            Self::AddRequestHeader(line) => Arc::new(RequestHeader(Add(line))),
            Self::AddResponseHeader(line) => Arc::new(ResponseHeader(Add(line))),
            Self::Custom(filter) => filter,
            Self::PrefixPath(filter) => Arc::new(filter),
            Self::RemoveRequestHeader(name) => Arc::new(RequestHeader(Remove(name))),
            Self::RemoveResponseHeader(name) => Arc::new(ResponseHeader(Remove(name))),
            Self::Require(plan) => Arc::new(Require::new(plan, setting.clone())),
            Self::RewritePath(filter) => Arc::new(filter),
            Self::SetRequestHeader(line) => Arc::new(RequestHeader(Set(line))),
            Self::SetResponseHeader(line) => Arc::new(ResponseHeader(Set(line))),
            Self::StripPrefix(filter) => Arc::new(filter),
        }
    }

    /// Whether every placeholder has a value whenever `matcher` holds. Errors with the first that
    /// has not.
    pub fn check_variables(&self, matcher: &Matcher) -> Result<(), UnboundVariable> {
        let mut variables = self.template().into_iter().flat_map(Template::variables);
        match variables.find(|name| !matcher.captures(name)) {
            None => Ok(()),
            Some(name) => Err(UnboundVariable { name: name.clone() }),
        }
    }

    fn template(&self) -> Option<&Template> {
        match self {
            Self::AddRequestHeader(line)
            | Self::AddResponseHeader(line)
            | Self::SetRequestHeader(line)
            | Self::SetResponseHeader(line) => line.template(),
            Self::PrefixPath(filter) => filter.template(),
            Self::Custom(_)
            | Self::RemoveRequestHeader(_)
            | Self::RemoveResponseHeader(_)
            | Self::Require(_)
            | Self::RewritePath(_)
            | Self::StripPrefix(_) => None,
        }
    }
}
