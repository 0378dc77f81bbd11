//! `prefix_path`: the upstream knows the path below another one.

use super::{Filter, FilterError, Moment, Template, TemplateError};
use crate::exchange::Exchange;
use crate::router::{Path, PathError};

const NAME: &str = "prefix_path";

/// Puts a path before the request's; it may hold placeholders for captured values.
#[derive(Debug, Clone)]
pub struct PrefixPath {
    prefix: Prefix,
}

#[derive(Debug, Clone)]
enum Prefix {
    Fixed(Path),
    /// Never one without placeholders: these are `Fixed`.
    Made(Template),
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixPathError {
    /// It is not a path without dot segments.
    #[error("not a path: {0}")]
    Path(#[from] PathError),
    /// It is not a template.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl PrefixPath {
    /// Parses a prefix, a [`Template`]. It begins with a slash; one at its end counts for nothing.
    pub fn parse(text: &str) -> Result<Self, PrefixPathError> {
        let template = Template::parse(text)?;
        let sample = Path::compose(&template.sample())?;
        let prefix = if template.as_fixed().is_some() {
            Prefix::Fixed(sample)
        } else {
            Prefix::Made(template)
        };
        Ok(Self { prefix })
    }

    /// The template, where there is something to fill in.
    pub(super) const fn template(&self) -> Option<&Template> {
        match &self.prefix {
            Prefix::Fixed(_) => None,
            Prefix::Made(template) => Some(template),
        }
    }

    fn apply(&self, exchange: &mut Exchange) -> Result<(), FilterError> {
        let path = match &self.prefix {
            Prefix::Fixed(prefix) => prefix.followed_by(&exchange.path),
            Prefix::Made(template) => {
                let prefix = template.render(&exchange.captures)?;
                let filter = NAME;
                exchange
                    .path
                    .prefixed(&prefix)
                    .map_err(|source| FilterError::Path { filter, source })?
            }
        };
        exchange.replace_path(path);
        Ok(())
    }
}

impl Filter for PrefixPath {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::after(self.apply(exchange))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::exchange;

    fn prefixed(prefix: &str, value: &str) -> Result<String, FilterError> {
        let mut exchange = exchange("/a");
        exchange.captures.push("t", value);
        PrefixPath::parse(prefix).unwrap().apply(&mut exchange)?;
        Ok(exchange.path.to_string())
    }

    #[test]
    fn a_prefix_may_hold_captured_values() {
        assert_eq!(prefixed("/api/", "x").unwrap(), "/api/a");
        assert_eq!(prefixed("/t/{t}", "x%2Fy").unwrap(), "/t/x%2Fy/a");
        assert_eq!(prefixed("/t{t}", "/x/y").unwrap(), "/t/x/y/a");
    }

    #[test]
    fn a_captured_value_cannot_climb_out_of_the_prefix() {
        // `v{t}` on `/v..` captures two dots.
        let error = prefixed("/tenants/{t}", "..").unwrap_err();
        assert!(error.blames_downstream(), "{error}");
        assert!(prefixed("/tenants/.{t}", ".").is_err());
    }

    #[test]
    fn what_is_no_path_is_refused_before_any_request_comes() {
        let refused = |text| PrefixPath::parse(text).unwrap_err();
        assert_eq!(
            refused("api").to_string(),
            "not a path: it does not begin with a slash"
        );
        assert_eq!(refused("/a/../b"), PathError::DotSegment { at: 3 }.into());
        assert_eq!(refused("/{t}/%2"), PathError::BadEscape { at: 3 }.into());
        assert!(matches!(refused("/{t"), PrefixPathError::Template(_)));
    }
}
