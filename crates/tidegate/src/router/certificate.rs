//! What a route asks of the client's certificate.

use std::fmt;

use super::WholeRegex;
use crate::tls::ClientCertificate;

/// What the client's certificate must be like. One that was shown has been verified.
#[derive(Debug, Clone)]
pub enum CertificateExpect {
    /// The client showed none.
    Absent,
    /// The client showed one, of which all of this holds.
    Present {
        /// Its subject, as RFC 4514 writes it.
        subject: Option<TextExpect>,
        /// One of its subject alternative names, with its kind, such as `DNS:a.example`.
        san: Option<TextExpect>,
    },
}

/// What a text must be like.
#[derive(Debug, Clone)]
pub enum TextExpect {
    /// This text.
    Exact(Box<str>),
    /// One that matches as a whole.
    Regex(WholeRegex),
}

impl CertificateExpect {
    /// Whether `certificate` is as this asks.
    #[must_use]
    pub fn holds(&self, certificate: Option<&ClientCertificate>) -> bool {
        let fits = |wanted: &Option<TextExpect>, text: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.holds(text))
        };
        match (self, certificate) {
            (Self::Absent, None) => true,
            (Self::Present { subject, san }, Some(certificate)) => {
                fits(subject, certificate.subject())
                    && (san.is_none() || certificate.names().any(|name| fits(san, name)))
            }
            (Self::Absent, Some(_)) | (Self::Present { .. }, None) => false,
        }
    }
}

impl TextExpect {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for CertificateExpect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Present { subject, san } => {
                f.write_str("one")?;
                if let Some(subject) = subject {
                    write!(f, " whose subject {subject}")?;
                }
                if let Some(san) = san {
                    let and = if subject.is_some() { " and" } else { "" };
                    write!(f, "{and} with a name that {san}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for TextExpect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(wanted) => write!(f, "is {wanted:?}"),
            Self::Regex(regex) => write!(f, "matches {}", regex.as_str()),
        }
    }
}
