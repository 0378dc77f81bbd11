//! `match`: what a request must be like. Patterns stay texts here; `link` compiles them.

use http::{HeaderValue, Method};

use super::super::error::{Place, Problems};
use super::super::value;
use super::super::yaml::{Located, Spot};
use super::located;
use crate::headers::FieldName;

const UPGRADES: [(&str, ()); 1] = [("websocket", ())];

/// The value of `match`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Match {
    pub(in crate::config) paths: Vec<Located<String>>,
    pub(in crate::config) hosts: Vec<Located<String>>,
    pub(in crate::config) methods: Vec<Located<Method>>,
    pub(in crate::config) headers: Vec<(FieldName, HeaderTest)>,
    pub(in crate::config) certificate: Option<CertificateTest>,
    pub(in crate::config) upgrade: bool,
    pub(in crate::config) place: Place,
}

/// What is asked of the client's certificate.
#[derive(Debug, Clone)]
pub(in crate::config) enum CertificateTest {
    Absent,
    Present {
        subject: Option<TextTest>,
        san: Option<TextTest>,
    },
}

/// What is asked of a text of it.
#[derive(Debug, Clone)]
pub(in crate::config) enum TextTest {
    Exact(String),
    Regex(Located<String>),
}

/// What is asked of one header field.
#[derive(Debug, Clone)]
pub(in crate::config) enum HeaderTest {
    Absent,
    Exact(HeaderValue),
    Present,
    Regex(Located<String>),
}

impl Match {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        let path = fields.take("path");
        let host = fields.take("host");
        let methods = fields.take("methods");
        let headers = fields.take("headers");
        let certificate = fields.take("client_certificate");
        let upgrade = fields.take("upgrade");
        let is_empty = [&path, &host, &methods, &headers, &certificate, &upgrade]
            .iter()
            .all(|condition| condition.is_none());
        let matcher = Self {
            paths: texts(path, problems),
            hosts: texts(host, problems),
            methods: methods
                .map_or_else(Vec::new, |spot| spot.one_or_many(problems))
                .iter()
                .filter_map(|spot| located(spot, problems, value::method))
                .collect(),
            headers: headers
                .map_or_else(Vec::new, |spot| spot.entries(problems))
                .iter()
                .filter_map(|(name, spot)| read_header(name, spot, problems))
                .collect(),
            certificate: certificate.and_then(|spot| read_certificate(&spot, problems)),
            upgrade: upgrade
                .and_then(|spot| spot.name_of(problems, "upgrade", &UPGRADES))
                .is_some(),
            place: fields.place().clone(),
        };
        if is_empty {
            let message = "the match is empty, so it is not clear whether all is meant";
            problems.suggest(fields.place(), message, "write `path: /**`");
        }
        fields.finish(problems);
        Some(matcher)
    }
}

pub(super) fn texts(spot: Option<Spot<'_>>, problems: &mut Problems) -> Vec<Located<String>> {
    let items = spot.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let items = items.iter();
    items
        .filter_map(|spot| located(spot, problems, |text| Ok(text.to_owned())))
        .collect()
}

/// `present`, `absent`, or what its subject and its names must be like.
fn read_certificate(spot: &Spot<'_>, problems: &mut Problems) -> Option<CertificateTest> {
    const WORDS: [(&str, bool); 2] = [("present", true), ("absent", false)];
    if !spot.is_map() {
        return match spot.name_of(problems, "test", &WORDS)? {
            true => Some(CertificateTest::Present {
                subject: None,
                san: None,
            }),
            false => Some(CertificateTest::Absent),
        };
    }
    let mut fields = spot.fields(problems)?;
    let (subject, san) = (fields.take("subject"), fields.take("san"));
    if subject.is_none() && san.is_none() {
        let message = "nothing is asked of the certificate";
        problems.suggest(
            fields.place(),
            message,
            "write `client_certificate: present`",
        );
    }
    fields.finish(problems);
    // One that cannot be read asks for something all the same.
    let subject = subject.map(|spot| read_text(&spot, problems));
    let san = san.map(|spot| read_text(&spot, problems));
    Some(CertificateTest::Present {
        subject: subject.flatten(),
        san: san.flatten(),
    })
}

fn read_text(spot: &Spot<'_>, problems: &mut Problems) -> Option<TextTest> {
    let exact = |spot: &Spot<'_>, problems: &mut Problems| spot.text(problems).map(str::to_owned);
    if !spot.is_map() {
        return exact(spot, problems).map(TextTest::Exact);
    }
    let choice = spot.choice(problems)?;
    match choice.name {
        "exact" => exact(&choice.need_argument(problems)?, problems).map(TextTest::Exact),
        "regex" => {
            let spot = choice.need_argument(problems)?;
            let regex = located(&spot, problems, |text| Ok(text.to_owned()));
            regex.map(TextTest::Regex)
        }
        _ => {
            choice.unknown(problems, "test", ["exact", "regex"]);
            None
        }
    }
}

/// A value alone is an exact one; else one of `exact`, `regex`, `present`.
fn read_header(
    name: &Located<&str>,
    spot: &Spot<'_>,
    problems: &mut Problems,
) -> Option<(FieldName, HeaderTest)> {
    let field = value::field_name(name.value)
        .map_err(|fault| problems.fault(&name.place, fault))
        .ok();
    let test = if spot.is_map() {
        let choice = spot.choice(problems)?;
        match choice.name {
            "exact" => HeaderTest::Exact(
                choice
                    .need_argument(problems)?
                    .value(problems, value::field_value)?,
            ),
            "regex" => HeaderTest::Regex(located(
                &choice.need_argument(problems)?,
                problems,
                |text| Ok(text.to_owned()),
            )?),
            "present" => match choice.need_argument(problems)?.truth(problems)? {
                true => HeaderTest::Present,
                false => HeaderTest::Absent,
            },
            _ => {
                choice.unknown(problems, "test", ["exact", "regex", "present"]);
                return None;
            }
        }
    } else {
        HeaderTest::Exact(spot.value(problems, value::field_value)?)
    };
    Some((field?, test))
}
