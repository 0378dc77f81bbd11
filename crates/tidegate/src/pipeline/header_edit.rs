//! What a configuration can do to header fields, of requests and of responses alike.

use http::HeaderValue;

use super::{FilterError, Template, TemplateError};
use crate::headers::{FieldName, Headers, InvalidFieldName};
use crate::router::Captures;

/// A header that filters may touch: one that the gateway does not write itself.
#[derive(Debug, Clone, PartialEq)]
pub struct EditableName(FieldName);

/// A header that filters may touch, and the value they give it.
#[derive(Debug, Clone)]
pub struct HeaderLine {
    name: EditableName,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Fixed(HeaderValue),
    /// Never one without placeholders: these are `Fixed`.
    Made(Template),
}

/// A header that belongs to the gateway.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the gateway itself writes the header {name}: {advice}")]
pub struct ProtectedHeader {
    /// Its name, as it was written.
    pub name: FieldName,
    /// What to do instead, or why nothing can be done.
    pub advice: &'static str,
}

/// Why a header filter cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HeaderPlanError {
    /// The name is not a header name.
    #[error(transparent)]
    InvalidName(#[from] InvalidFieldName),
    /// The value holds bytes that a header cannot hold.
    #[error("a header value holds no control characters")]
    InvalidValue,
    /// The header belongs to the gateway.
    #[error(transparent)]
    Protected(#[from] ProtectedHeader),
    /// The value is not a template.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl EditableName {
    /// Parses a name. Errors when it is not a header name, or one that the gateway owns.
    pub fn parse(name: &str) -> Result<Self, HeaderPlanError> {
        let name = FieldName::parse(name.to_owned())?;
        match advice(&name) {
            None => Ok(Self(name)),
            Some(advice) => Err(ProtectedHeader { name, advice }.into()),
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &FieldName {
        &self.0
    }
}

/// What to say about a name that the gateway owns.
fn advice(name: &FieldName) -> Option<&'static str> {
    const CONNECTION: [&str; 7] = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ];
    const HANDSHAKE: [&str; 5] = [
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
    ];
    let among = |names: &[&str]| names.iter().any(|known| name.is(known));
    if name.is("Host") {
        Some("use `proxy.host`")
    } else if name.is("Content-Length") {
        Some("it follows from the body")
    } else if among(&CONNECTION) {
        Some("it belongs to one connection and is made anew for each")
    } else if among(&HANDSHAKE) {
        Some("it is part of the WebSocket handshake")
    } else {
        None
    }
}

impl HeaderLine {
    /// Parses a header line whose value is a [`Template`]; white space around the value is cut off.
    pub fn parse(name: &str, value: &str) -> Result<Self, HeaderPlanError> {
        let name = EditableName::parse(name)?;
        let template = Template::parse(value.trim_ascii())?;
        let sample = HeaderValue::try_from(template.sample())
            .map_err(|_invalid| HeaderPlanError::InvalidValue)?;
        let value = if template.as_fixed().is_some() {
            Value::Fixed(sample)
        } else {
            Value::Made(template)
        };
        Ok(Self { name, value })
    }

    /// The template of its value, where there is something to fill in.
    pub(super) const fn template(&self) -> Option<&Template> {
        match &self.value {
            Value::Fixed(_) => None,
            Value::Made(template) => Some(template),
        }
    }

    fn value(&self, captures: &Captures) -> Result<HeaderValue, FilterError> {
        match &self.value {
            Value::Fixed(value) => Ok(value.clone()),
            Value::Made(template) => HeaderValue::try_from(template.render(captures)?.into_owned())
                .map_err(|_invalid| FilterError::HeaderValue {
                    name: self.name.0.clone(),
                }),
        }
    }
}

/// One change to header fields.
#[derive(Debug, Clone)]
pub(super) enum HeaderEdit {
    Add(HeaderLine),
    Remove(EditableName),
    Set(HeaderLine),
}

impl HeaderEdit {
    /// Makes the change; on an error the fields stay as they are.
    pub(super) fn apply(
        &self,
        headers: &mut Headers,
        captures: &Captures,
    ) -> Result<(), FilterError> {
        match self {
            Self::Add(line) => headers.append(line.name.0.clone(), line.value(captures)?),
            Self::Remove(EditableName(name)) => {
                headers.remove(name.as_str());
            }
            Self::Set(line) => headers.set(line.name.0.clone(), line.value(captures)?),
        }
        Ok(())
    }

    /// Whether [`Self::apply`] would succeed.
    pub(super) fn check(&self, captures: &Captures) -> Result<(), FilterError> {
        match self {
            Self::Add(line) | Self::Set(line) if line.template().is_some() => {
                line.value(captures).map(|_value| ())
            }
            Self::Add(_) | Self::Remove(_) | Self::Set(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_owns_is_refused_in_any_case() {
        for name in [
            "connection",
            "UPGRADE",
            "Transfer-Encoding",
            "Content-Length",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Proxy-Connection",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Accept",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Extensions",
            "sec-websocket-protocol",
            "Host",
        ] {
            let error = HeaderLine::parse(name, "x").unwrap_err();
            assert!(matches!(error, HeaderPlanError::Protected(_)), "{name}");
            assert!(EditableName::parse(name).is_err(), "{name}");
        }
        assert_eq!(
            EditableName::parse("host").unwrap_err().to_string(),
            "the gateway itself writes the header host: use `proxy.host`"
        );
        assert!(EditableName::parse("X-Forwarded-Host").is_ok());
    }

    #[test]
    fn a_line_is_judged_before_any_request_comes() {
        let refused = |name, value| HeaderLine::parse(name, value).unwrap_err();
        assert_eq!(
            refused("a b", "x"),
            HeaderPlanError::InvalidName(InvalidFieldName)
        );
        assert_eq!(refused("A", "x\r\nB: y"), HeaderPlanError::InvalidValue);
        assert_eq!(refused("A", "{x}\n{x}"), HeaderPlanError::InvalidValue);
        assert!(matches!(
            refused("A", "{x"),
            HeaderPlanError::Template(TemplateError::UnbalancedBrace { at: 0 })
        ));
    }

    #[test]
    fn a_captured_value_that_fits_no_header_is_an_error() {
        let line = HeaderLine::parse("X-Id", " {id} ").unwrap();
        let edit = HeaderEdit::Set(line);
        let mut headers = Headers::new();
        let mut captures = Captures::default();
        captures.push("id", "a\r\nB: c");
        assert!(matches!(
            edit.check(&captures),
            Err(FilterError::HeaderValue { .. })
        ));
        assert!(edit.apply(&mut headers, &captures).is_err());
        assert!(headers.is_empty());
        let unbound = edit.check(&Captures::default()).unwrap_err();
        assert!(matches!(unbound, FilterError::Unbound(_)));
        assert!(!unbound.blames_downstream());
    }
}
