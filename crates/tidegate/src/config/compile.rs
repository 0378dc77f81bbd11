//! Patterns, regexes and filters as written become those that run: where `config/` meets `router/`
//! and `pipeline/`. Their errors say what is wrong within a text; the place of the text comes from
//! here.

use std::fmt::Display;

use super::error::{Fault, Problems};
use super::schema::{CertificateTest, Filter, HeaderTest, Line, Match, Side, TextTest};
use super::url;
use super::yaml::{Located, Quoted};
use crate::headers::FieldName;
use crate::pipeline::{
    EditableName, FilterPlan, HeaderLine, HeaderPlanError, PrefixPath, PrefixPathError,
    RewriteError, RewritePath, StripPrefix,
};
use crate::router::{
    CertificateExpect, HeaderExpect, HeaderRule, HostPattern, Matcher, PathError, PathPattern,
    PatternError, TextExpect, WholeRegex,
};

/// The matcher of a route; `None` where a pattern of it is wrong.
pub(super) fn matcher(written: &Match, problems: &mut Problems) -> Option<Matcher> {
    let paths = parse_each(&written.paths, problems, path_pattern);
    let hosts = parse_each(&written.hosts, problems, host_pattern);
    let headers = written.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, test)| header_rule(name, test, problems))
        .collect();
    Some(Matcher {
        paths: paths?,
        hosts: hosts?,
        methods: written
            .methods
            .iter()
            .map(|method| method.value.clone())
            .collect(),
        headers: headers.into_iter().collect::<Option<_>>()?,
        certificate: match &written.certificate {
            Some(test) => Some(certificate(test, problems)?),
            None => None,
        },
        upgrade: written.upgrade,
    })
}

/// The filters that one item of `filters` stands for: one for each header it names. `matcher` is
/// that of the route, whose captures they may use.
pub(super) fn filter(
    written: &Located<Filter>,
    matcher: Option<&Matcher>,
    problems: &mut Problems,
) -> Option<Vec<FilterPlan>> {
    let plans = match &written.value {
        Filter::Require(plan) => vec![FilterPlan::Require(plan.clone())],
        Filter::StripPrefix(segments) => vec![FilterPlan::StripPrefix(StripPrefix {
            segments: *segments,
        })],
        Filter::PrefixPath(text) => {
            let prefix = parse(text, problems, prefix_path)?;
            vec![FilterPlan::PrefixPath(prefix)]
        }
        Filter::RewritePath { regex, to } => {
            let rewrite = RewritePath::parse(&regex.value, &to.value).map_err(|error| {
                let place = match error {
                    RewriteError::BadRegex(_) => &regex.place,
                    RewriteError::LoneDollar { .. } | RewriteError::UnknownGroup { .. } => {
                        &to.place
                    }
                };
                problems.add(place, one_line(&error));
            });
            let rewrite = rewrite.ok()?;
            vec![FilterPlan::RewritePath(rewrite)]
        }
        Filter::SetHeader(side, lines) => header_lines(lines, problems)?
            .map(|line| side.set(line))
            .collect(),
        Filter::AddHeader(side, lines) => {
            let mut plans: Vec<_> = header_lines(lines, problems)?
                .map(|line| side.add(line))
                .collect();
            if matches!(side, Side::Response) {
                // Answers run through the filters backwards; the lines keep their order.
                plans.reverse();
            }
            plans
        }
        Filter::RemoveHeader(side, names) => {
            let names = parse_each(names, problems, |name| {
                EditableName::parse(name).map_err(|error| header_fault(name, &error))
            })?;
            names.into_iter().map(|name| side.remove(name)).collect()
        }
    };
    for plan in &plans {
        if let Some(Err(unbound)) = matcher.map(|matcher| plan.check_variables(matcher)) {
            let name = &unbound.name;
            let suggestion = format!(
                "capture it in `match.path`, as in `/{{{name}}}/**`; as text, write `{{{{`"
            );
            problems.suggest(&written.place, unbound.to_string(), suggestion);
            return None;
        }
    }
    Some(plans)
}

impl Side {
    const fn set(self, line: HeaderLine) -> FilterPlan {
        match self {
            Self::Request => FilterPlan::SetRequestHeader(line),
            Self::Response => FilterPlan::SetResponseHeader(line),
        }
    }

    const fn add(self, line: HeaderLine) -> FilterPlan {
        match self {
            Self::Request => FilterPlan::AddRequestHeader(line),
            Self::Response => FilterPlan::AddResponseHeader(line),
        }
    }

    const fn remove(self, name: EditableName) -> FilterPlan {
        match self {
            Self::Request => FilterPlan::RemoveRequestHeader(name),
            Self::Response => FilterPlan::RemoveResponseHeader(name),
        }
    }
}

fn header_rule(name: &FieldName, test: &HeaderTest, problems: &mut Problems) -> Option<HeaderRule> {
    let expect = match test {
        HeaderTest::Absent => HeaderExpect::Absent,
        HeaderTest::Exact(value) => HeaderExpect::Exact(value.clone()),
        HeaderTest::Present => HeaderExpect::Present,
        HeaderTest::Regex(text) => HeaderExpect::Regex(parse(text, problems, |text| {
            WholeRegex::parse(text).map_err(|error| fault(text, "regex", one_line(&error)))
        })?),
    };
    Some(HeaderRule {
        name: name.clone(),
        expect,
    })
}

fn certificate(test: &CertificateTest, problems: &mut Problems) -> Option<CertificateExpect> {
    let mut text = |test: &Option<TextTest>| {
        Some(match test {
            None => None,
            Some(TextTest::Exact(text)) => Some(TextExpect::Exact(text.as_str().into())),
            Some(TextTest::Regex(regex)) => {
                let regex = parse(regex, problems, |text| {
                    WholeRegex::parse(text).map_err(|error| fault(text, "regex", one_line(&error)))
                });
                Some(TextExpect::Regex(regex?))
            }
        })
    };
    match test {
        CertificateTest::Absent => Some(CertificateExpect::Absent),
        CertificateTest::Present { subject, san } => Some(CertificateExpect::Present {
            subject: text(subject)?,
            san: text(san)?,
        }),
    }
}

fn header_lines(
    lines: &[Line],
    problems: &mut Problems,
) -> Option<impl Iterator<Item = HeaderLine>> {
    let mut parsed = Vec::with_capacity(lines.len());
    let mut is_complete = true;
    for Line { name, value } in lines {
        match HeaderLine::parse(&name.value, &value.value) {
            Ok(line) => parsed.push(line),
            Err(error) => {
                is_complete = false;
                let (place, shown) = match error {
                    HeaderPlanError::InvalidName(_) | HeaderPlanError::Protected(_) => {
                        (&name.place, &name.value)
                    }
                    HeaderPlanError::InvalidValue | HeaderPlanError::Template(_) => {
                        (&value.place, &value.value)
                    }
                };
                problems.fault(place, header_fault(shown, &error));
            }
        }
    }
    is_complete.then(|| parsed.into_iter())
}

fn header_fault(shown: &str, error: &HeaderPlanError) -> Fault {
    match error {
        HeaderPlanError::InvalidName(_) => fault(shown, "header name", error),
        HeaderPlanError::InvalidValue => fault(shown, "header value", error),
        HeaderPlanError::Protected(_) => Fault::new(error.to_string()),
        HeaderPlanError::Template(_) => fault(shown, "template", error),
    }
}

/// Parses path patterns; `None` where one is wrong.
pub(super) fn paths(
    paths: &[Located<String>],
    problems: &mut Problems,
) -> Option<Vec<PathPattern>> {
    parse_each(paths, problems, path_pattern)
}

/// Parses host patterns; `None` where one is wrong.
pub(super) fn hosts(
    hosts: &[Located<String>],
    problems: &mut Problems,
) -> Option<Vec<HostPattern>> {
    parse_each(hosts, problems, host_pattern)
}

fn host_pattern(text: &str) -> Result<HostPattern, Fault> {
    let pattern = HostPattern::parse(text).map_err(|error| fault(text, "host pattern", error))?;
    let host = text.strip_prefix("*.").unwrap_or(text);
    // The colons of an IPv6 address cut it short, but leave no empty part.
    let host = host.split(':').next().unwrap_or_default();
    if url::has_empty_label(host) {
        let error = "a part of its name between dots is empty";
        return Err(fault(text, "host pattern", error));
    }
    Ok(pattern)
}

fn path_pattern(text: &str) -> Result<PathPattern, Fault> {
    PathPattern::parse(text).map_err(|error| {
        let fault = fault(text, "path pattern", one_line(&error));
        match error {
            PatternError::NoLeadingSlash => fault.suggest(format!("write `/{text}`")),
            _ => fault,
        }
    })
}

fn prefix_path(text: &str) -> Result<PrefixPath, Fault> {
    PrefixPath::parse(text).map_err(|error| {
        let fault = fault(text, "prefix", &error);
        match error {
            PrefixPathError::Path(PathError::NoLeadingSlash) => {
                fault.suggest(format!("write `/{text}`"))
            }
            _ => fault,
        }
    })
}

fn fault(text: &str, what: &str, error: impl Display) -> Fault {
    Fault::new(format!("{} is no {what}: {error}", Quoted(text)))
}

fn parse<T>(
    text: &Located<String>,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<T> {
    parse(&text.value)
        .map_err(|fault| problems.fault(&text.place, fault))
        .ok()
}

/// Parses every text, so that each that is wrong is reported; `None` where one was.
fn parse_each<T>(
    texts: &[Located<String>],
    problems: &mut Problems,
    parse_one: impl Fn(&str) -> Result<T, Fault>,
) -> Option<Vec<T>> {
    let parsed: Vec<_> = texts
        .iter()
        .map(|text| parse(text, problems, &parse_one))
        .collect();
    parsed.into_iter().collect()
}

/// The message of an error that may show a regex over several lines, with the last line alone,
/// which says what is wrong.
fn one_line(error: &impl Display) -> String {
    let message = error.to_string();
    match message.split_once("regex parse error:\n") {
        Some((before, shown)) => {
            let reason = shown.lines().next_back().unwrap_or_default();
            format!(
                "{before}{}",
                reason.strip_prefix("error: ").unwrap_or(reason)
            )
        }
        None => message.replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_of_regexes_fit_on_a_line() {
        let error = WholeRegex::parse("a(").unwrap_err();
        assert_eq!(one_line(&error), "unclosed group");
        let error = PathPattern::parse("/{a:(}").unwrap_err();
        assert!(one_line(&error).ends_with("is not valid: unclosed group"));
        let error = WholeRegex::parse("(a{1000}){1000}").unwrap_err();
        assert!(!one_line(&error).contains('\n'));
    }
}
