//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::cell::{Bound, Histogram};

/// What a histogram is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Written in seconds.
    Micros,
    Bytes,
}

/// The text so far. Writing into memory does not fail.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a family: all its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// Writes the samples of a histogram, unless it has seen nothing.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[Bound],
        all: impl Iterator<Item = &'a Histogram>,
    ) {
        self.histogram_of(Unit::Micros, name, labels, bounds, all);
    }

    /// The same, of things in this unit.
    pub(super) fn histogram_of<'a>(
        &mut self,
        unit: Unit,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[Bound],
        all: impl Iterator<Item = &'a Histogram>,
    ) {
        let Some(sum) = Histogram::sum(all) else {
            return;
        };
        let mut upto = 0_u64;
        let written = bounds.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (text, count) in written.zip(&sum.counts) {
            upto = upto.wrapping_add(*count);
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(text));
            let _ = writeln!(self.0, " {upto}");
        }
        let _ = write!(self.0, "{name}_sum");
        self.labels(labels, None);
        let (seconds, micros) = (sum.sum / 1_000_000, sum.sum % 1_000_000);
        let _ = match unit {
            Unit::Micros => writeln!(self.0, " {seconds}.{micros:06}"),
            Unit::Bytes => writeln!(self.0, " {}", sum.sum),
        };
        self.sample(&format!("{name}_count"), labels, upto);
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let bound = bound.map(|bound| ("le", bound));
        let mut between = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(self.0, "{between}{name}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
            between = ',';
        }
        if between == ',' {
            self.0.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cell::REQUEST_BOUNDS;
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_a_label_escaped() {
        let histogram = Histogram::default();
        for millis in [1, 3, 70_000] {
            histogram.observe(Duration::from_millis(millis), REQUEST_BOUNDS);
        }
        let mut page = Page::default();
        page.histogram(
            "x",
            &[("a", "b\"\\\n")],
            REQUEST_BOUNDS,
            [&histogram].into_iter(),
        );
        let has = |line: &str| page.0.lines().any(|found| found == line);
        assert!(has(r#"x_bucket{a="b\"\\\n",le="0.0005"} 0"#), "{}", page.0);
        assert!(has(r#"x_bucket{a="b\"\\\n",le="0.001"} 1"#), "{}", page.0);
        assert!(has(r#"x_bucket{a="b\"\\\n",le="60"} 2"#), "{}", page.0);
        assert!(has(r#"x_bucket{a="b\"\\\n",le="+Inf"} 3"#), "{}", page.0);
        assert!(has(r#"x_sum{a="b\"\\\n"} 70.004000"#), "{}", page.0);
        assert!(has(r#"x_count{a="b\"\\\n"} 3"#), "{}", page.0);
    }
}
