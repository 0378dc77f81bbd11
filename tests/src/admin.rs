//! The admin listener as its callers see it, and the page of Prometheus, read as strictly as its
//! format allows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::openapi;
use crate::request::Request;
use crate::time::DEADLINE;
use crate::wire::{Answer, Wire};

/// The admin listener of a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Admin(pub SocketAddr);

impl Admin {
    /// A request for `target` as curl would send it.
    #[must_use]
    pub fn request(&self, target: &str) -> Request {
        Request::get(target).set("Host", &self.0.to_string())
    }

    /// Asks for `target` on a connection of its own.
    pub async fn get(&self, target: &str) -> Answer {
        self.ask(&self.request(target)).await
    }

    /// Sends `request` on a connection of its own; the answer is one that the document of the
    /// listener tells of.
    pub async fn ask(&self, request: &Request) -> Answer {
        let answer = Wire::connect(self.0).await.ask(request).await;
        openapi::expect_told(request, &answer);
        answer
    }

    /// Ends the session `id`, with this body where it is not empty.
    pub async fn end_session(&self, id: &str, body: &str) -> Answer {
        let target = format!("/v1/sessions/{id}");
        let request = Request::new("DELETE", &target).set("Host", &self.0.to_string());
        let request = match body {
            "" => request,
            body => request.body(body),
        };
        self.ask(&request).await
    }

    /// Reads and checks `/metrics`.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let kind = answer.head.field("Content-Type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        Metrics::parse(&answer.text())
    }

    /// Waits until the series `name{labels}` has `value`; what is counted at the end of an exchange
    /// comes a moment after its answer.
    pub async fn counts(&self, series: &str, value: f64) {
        let begun = Instant::now();
        loop {
            let metrics = self.metrics().await;
            if metrics.get(series) == Some(value) {
                return;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "{series} is {:?}, not {value}, in\n{}",
                metrics.get(series),
                metrics.text
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// One reading of `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    /// The whole page.
    pub text: String,
    values: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Metrics {
    /// Parses a page.
    ///
    /// # Panics
    /// When a line is malformed, a series stands there twice or before its type, a name is not of
    /// its kind, or a histogram's buckets do not add up.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut page = Self {
            text: text.to_owned(),
            values: BTreeMap::new(),
            kinds: BTreeMap::new(),
        };
        assert!(text.ends_with('\n'), "the last line does not end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let is_total = name.ends_with("_total");
                assert_eq!(is_total, kind == "counter", "{line}");
                let before = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "twice: {line}");
                assert!(text.contains(&format!("# HELP {name} ")), "no help: {line}");
            } else if !line.starts_with("# HELP ") {
                page.sample(line);
            }
        }
        page.judge_histograms();
        page
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .filter(|family| self.kinds.contains_key(*family))
            .unwrap_or(name);
        assert!(self.kinds.contains_key(family), "no type before: {line}");
        let before = self.values.insert(series.to_owned(), value);
        assert!(before.is_none(), "twice: {line}");
    }

    fn judge_histograms(&self) {
        let mut last: Option<(&str, f64)> = None;
        // In the order of the page, which is that of the bounds.
        let lines = self.text.lines().filter(|line| line.contains("le=\""));
        for line in lines {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let (labels, bound) = series.rsplit_once("le=\"").unwrap();
            if let Some((_, before)) = last.filter(|(of, _)| *of == labels) {
                assert!(value >= before, "not cumulative: {line}");
            }
            last = Some((labels, value));
            if bound == "+Inf\"}" {
                let labels = labels
                    .trim_end_matches([',', '{'])
                    .replace("_bucket", "_count");
                let count = self
                    .values
                    .iter()
                    .find(|(key, _)| key.trim_end_matches('}') == labels);
                assert_eq!(count.map(|(_, count)| *count), Some(value), "{line}");
            }
        }
    }

    /// The value of a series, written as on the page.
    #[must_use]
    pub fn get(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    /// The kind of a family.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&str> {
        self.kinds.get(name).map(String::as_str)
    }

    /// The names of all families.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// All series, as on the page.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}
