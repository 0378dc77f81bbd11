//! `filters`: what is done to a request and its answer, in the order of the list.

use super::super::error::Problems;
use super::super::yaml::{Choice, Located, Quoted, Spot};
use super::{located, require};
use crate::pipeline::RequirePlan;

const MOST_SEGMENTS: u32 = 64;
const NAMES: [&str; 10] = [
    "require",
    "strip_prefix",
    "prefix_path",
    "rewrite_path",
    "set_request_header",
    "add_request_header",
    "remove_request_header",
    "set_response_header",
    "add_response_header",
    "remove_response_header",
];

/// One filter as written.
#[derive(Debug, Clone)]
pub(in crate::config) enum Filter {
    Require(RequirePlan),
    StripPrefix(usize),
    PrefixPath(Located<String>),
    RewritePath {
        regex: Located<String>,
        to: Located<String>,
    },
    SetHeader(Side, Vec<Line>),
    AddHeader(Side, Vec<Line>),
    RemoveHeader(Side, Vec<Located<String>>),
}

/// Whose header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Side {
    Request,
    Response,
}

/// One header line to write, its value a template.
#[derive(Debug, Clone)]
pub(in crate::config) struct Line {
    pub(in crate::config) name: Located<String>,
    pub(in crate::config) value: Located<String>,
}

impl Filter {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Located<Self>> {
        let choice = spot.choice(problems)?;
        if !NAMES.contains(&choice.name) {
            choice.unknown(problems, "filter", NAMES);
            return None;
        }
        if choice.name == "require" {
            let value = Self::Require(require::read(&choice, problems)?);
            let place = choice.place;
            return Some(Located { value, place });
        }
        let argument = choice.need_argument(problems)?;
        let value = match choice.name {
            "strip_prefix" => {
                Self::StripPrefix(argument.whole(problems, 1..=MOST_SEGMENTS)? as usize)
            }
            "prefix_path" => Self::PrefixPath(text(&argument, problems)?),
            "rewrite_path" => read_rewrite(&argument, problems)?,
            _ => read_header_filter(&choice, &argument, problems),
        };
        let place = choice.place;
        Some(Located { value, place })
    }
}

fn read_header_filter(choice: &Choice<'_>, argument: &Spot<'_>, problems: &mut Problems) -> Filter {
    let side = match choice.name.contains("_request_") {
        true => Side::Request,
        false => Side::Response,
    };
    match choice.name.split('_').next() {
        Some("set") => Filter::SetHeader(side, read_lines(argument, Count::One, problems)),
        Some("add") => Filter::AddHeader(side, read_lines(argument, Count::Any, problems)),
        _ => {
            let names = argument.one_or_many(problems);
            let names = names.iter();
            let names = names.filter_map(|spot| text(spot, problems));
            Filter::RemoveHeader(side, names.collect())
        }
    }
}

fn read_rewrite(spot: &Spot<'_>, problems: &mut Problems) -> Option<Filter> {
    let mut fields = spot.fields(problems)?;
    let example = "regex: \"^/a/(.*)$\"";
    let regex = fields.need("regex", example, problems);
    let regex = regex.and_then(|spot| text(&spot, problems));
    let to = fields.need("to", "to: \"/b/$1\"", problems);
    let to = to.and_then(|spot| text(&spot, problems));
    fields.finish(problems);
    Some(Filter::RewritePath {
        regex: regex?,
        to: to?,
    })
}

/// How many values one header may be given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    One,
    Any,
}

fn read_lines(spot: &Spot<'_>, count: Count, problems: &mut Problems) -> Vec<Line> {
    let entries = spot.entries(problems);
    if entries.is_empty() && spot.is_map() {
        problems.suggest(
            &spot.place(),
            "no header is named",
            "write `{ X-Name: value }`",
        );
    }
    let mut lines: Vec<Line> = Vec::new();
    for (name, spot) in entries {
        let is_same = |line: &Line| line.name.value.eq_ignore_ascii_case(name.value);
        if lines.iter().any(is_same) {
            let message = format!("{} is named twice", Quoted(name.value));
            problems.suggest(&name.place, message, "header names have no case");
            continue;
        }
        let values = match count {
            Count::One => vec![spot],
            Count::Any => spot.one_or_many(problems),
        };
        let values = values.iter();
        let values: Vec<_> = values.filter_map(|spot| text(spot, problems)).collect();
        lines.extend(values.into_iter().map(|value| Line {
            name: Located {
                value: name.value.to_owned(),
                place: name.place.clone(),
            },
            value,
        }));
    }
    lines
}

fn text(spot: &Spot<'_>, problems: &mut Problems) -> Option<Located<String>> {
    located(spot, problems, |text| Ok(text.to_owned()))
}
