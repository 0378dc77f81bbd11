//! Did you mean ...?

use super::Quoted;

/// No name of ours is longer, so no longer text is a misspelling of one.
const LONGEST: usize = 64;

/// The candidate that `written` is most likely a misspelling of.
pub(in crate::config) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if written.chars().count() > LONGEST {
        return None;
    }
    let folded = fold(written);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The suggestion to write the nearest candidate, or the list of all of them.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(candidate) = nearest(written, candidates.clone()) {
        return Some(format!("did you mean {}?", Quoted(candidate)));
    }
    const LISTED: usize = 12;
    let all: Vec<_> = candidates.into_iter().collect();
    if all.is_empty() {
        return None;
    }
    let listed: Vec<_> = all.iter().take(LISTED).copied().collect();
    let more = if all.len() > LISTED { ", ..." } else { "" };
    Some(format!("one of: {}{more}", listed.join(", ")))
}

/// Case and the choice between `-` and `_` are not what makes a different word.
fn fold(text: &str) -> String {
    text.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let keys = ["name", "match", "filters", "proxy", "idle_timeout"];
        for (written, meant) in [
            ("nmae", "name"),
            ("matches", "match"),
            ("Filter", "filters"),
            ("idle-timeout", "idle_timeout"),
            ("idel_timout", "idle_timeout"),
        ] {
            assert_eq!(nearest(written, keys), Some(meant), "{written}");
        }
        assert_eq!(nearest("authentication", keys), None);
        assert_eq!(nearest(&"n".repeat(10_000), keys), None);
    }

    #[test]
    fn without_a_slip_the_choices_are_listed() {
        assert_eq!(
            did_you_mean("zzz", ["keep", "rewrite"]).unwrap(),
            "one of: keep, rewrite"
        );
        assert_eq!(did_you_mean("zzz", []), None);
    }
}
