//! What was measured: every reading, and the medians of them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::peers::{Peer, Placement};
use super::rounds::MOST_OTHERS;
use super::scenarios::{Mark, Of, Scenario, Unit};

/// One peer in one scenario at one placement.
pub(super) type Place = (Placement, &'static str, Peer);

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// In the scenario's unit.
    pub(super) figure: f64,
    /// Cores that were busy with none of those who took part.
    pub(super) others: f64,
    /// Microseconds that 50, 99 and 99.9 of 100 messages kept to, and the longest.
    pub(super) latencies: Option<[f64; 4]>,
    /// All that the load said.
    raw: Value,
}

impl Reading {
    /// Reads what the load said.
    pub(super) fn parse(unit: Unit, said: &str) -> anyhow::Result<Self> {
        let line = said.lines().last().unwrap_or_default();
        let raw: Value = serde_json::from_str(line).with_context(|| format!("the load: {said}"))?;
        let number = |name: &str| {
            let number = raw[name].as_f64();
            number.with_context(|| format!("no {name} in {line}"))
        };
        if unit == Unit::Memory {
            let figure = number("bytes")?;
            return Ok(Self {
                figure,
                others: 0.0,
                latencies: None,
                raw,
            });
        }
        let operations = number("operations")?;
        anyhow::ensure!(operations > 0.0, "nothing was done: {line}");
        let micros = |name: &str| number(name).map(|nanos| nanos / 1e3);
        let latencies = match raw.get("p99_ns") {
            Some(_) => Some([
                micros("p50_ns")?,
                micros("p99_ns")?,
                micros("p999_ns")?,
                micros("longest_ns")?,
            ]),
            None => None,
        };
        Ok(Self {
            figure: number("gateway_ns")? / 1e3 / operations,
            others: number("others")?,
            latencies,
            raw,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Figures {
    readings: BTreeMap<Place, Vec<Reading>>,
}

/// How a figure stands to what is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Goal,
    Reached,
    Short,
    /// Somebody needed for it was not measured.
    Unknown,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Reached => "reached",
            Self::Short => "SHORT",
            Self::Unknown => "-",
        }
    }
}

impl Figures {
    pub(super) fn add(&mut self, place: Place, reading: Reading) {
        self.readings.entry(place).or_default().push(reading);
    }

    pub(super) fn readings(&self, place: Place) -> &[Reading] {
        self.readings.get(&place).map_or(&[], Vec::as_slice)
    }

    pub(super) fn median(&self, place: Place) -> Option<f64> {
        median(self.readings(place).iter().map(|reading| reading.figure))
    }

    /// The median of one of the latencies, of each round.
    pub(super) fn latency(&self, place: Place, which: usize) -> Option<f64> {
        let readings = self.readings(place).iter();
        median(readings.filter_map(|reading| Some(reading.latencies?[which])))
    }

    /// The most cores that others used in a round of any peer.
    pub(super) fn others(&self, placement: Placement, scenario: &Scenario) -> f64 {
        let of = |peer| self.readings((placement, scenario.name, peer)).iter();
        let all = Peer::ALL.into_iter().flat_map(of);
        all.fold(0.0, |most, reading| reading.others.max(most))
    }

    /// Rounds of a scenario that others made noisy beside any peer.
    pub(super) fn noisy_rounds(&self, placement: Placement, scenario: &Scenario) -> usize {
        let of = |peer| self.readings((placement, scenario.name, peer));
        let is_noisy = |round: &usize| {
            let readings = Peer::ALL
                .into_iter()
                .filter_map(|peer| of(peer).get(*round));
            readings
                .into_iter()
                .any(|reading| reading.others > MOST_OTHERS)
        };
        let rounds = Peer::ALL.into_iter().map(|peer| of(peer).len()).max();
        (0..rounds.unwrap_or(0)).filter(is_noisy).count()
    }

    /// The gateway's figure as `mark` wants it: by itself, or over another one's.
    pub(super) fn value(
        &self,
        placement: Placement,
        scenario: &Scenario,
        mark: Mark,
    ) -> Option<f64> {
        let place = |peer| (placement, scenario.name, peer);
        let ours = self.median(place(Peer::Tidegate))?;
        Some(match mark.of {
            Of::Figure => ours,
            Of::Scenario(name) => ours / self.median((placement, name, Peer::Tidegate))?,
            Of::Peer(peer) => ours / self.median(place(peer))?,
            Of::Latency(peer) => {
                self.latency(place(Peer::Tidegate), 1)? / self.latency(place(peer), 1)?
            }
        })
    }

    pub(super) fn verdict(&self, placement: Placement, scenario: &Scenario, mark: Mark) -> Verdict {
        match self.value(placement, scenario, mark) {
            None => Verdict::Unknown,
            Some(value) if value <= mark.goal => Verdict::Goal,
            Some(value) if value <= mark.reach => Verdict::Reached,
            Some(_) => Verdict::Short,
        }
    }

    /// Every reading and every median.
    pub(super) fn json(&self) -> Value {
        let places = self
            .readings
            .iter()
            .map(|((placement, scenario, peer), readings)| {
                let place = (*placement, *scenario, *peer);
                json!({
                    "placement": placement.name(),
                    "scenario": scenario,
                    "peer": peer.name(),
                    "median": self.median(place),
                    "rounds": readings.iter().map(|reading| json!({
                        "figure": reading.figure,
                        "others": reading.others,
                    "noisy": reading.others > MOST_OTHERS,
                        "said": reading.raw,
                    })).collect::<Vec<_>>(),
                })
            });
        places.collect()
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let (above, below) = (
        numbers.get(numbers.len() / 2)?,
        numbers.len().saturating_sub(1) / 2,
    );
    Some((above + numbers.get(below)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::SCENARIOS;
    use super::*;

    fn said(gateway_ns: u32) -> String {
        format!("{{\"operations\":1000,\"gateway_ns\":{gateway_ns},\"others\":0.02}}\n")
    }

    fn figures(ours: &[u32], nginx: &[u32]) -> Figures {
        let mut figures = Figures::default();
        for (peer, readings) in [(Peer::Tidegate, ours), (Peer::Nginx, nginx)] {
            for reading in readings {
                let reading = Reading::parse(Unit::Cpu, &said(*reading)).unwrap();
                figures.add((Placement::Fixed, "echo-64", peer), reading);
            }
        }
        figures
    }

    #[test]
    fn one_odd_round_does_not_move_the_median() {
        assert_eq!(median([3.0, 1.0, 900.0].into_iter()), Some(3.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn cpu_is_told_for_one_operation() {
        let reading = Reading::parse(Unit::Cpu, &said(6_800_000)).unwrap();
        assert!((reading.figure - 6.8).abs() < 1e-9);
        assert!(Reading::parse(Unit::Cpu, "no 101").is_err());
        assert!(
            Reading::parse(Unit::Cpu, r#"{"operations":0,"gateway_ns":1,"others":0}"#).is_err()
        );
        let memory = Reading::parse(Unit::Memory, r#"{"bytes":1494.5,"points":[]}"#).unwrap();
        assert!((memory.figure - 1494.5).abs() < 1e-9);
    }

    #[test]
    fn a_verdict_is_the_ratio_of_medians_against_its_mark() {
        let scenario = &SCENARIOS[0];
        let mark = scenario.marks[0];
        for (ours, verdict) in [
            (&[7_000_000, 9_000_000, 6_900_000], Verdict::Goal),
            (&[7_500_000, 7_400_000, 7_600_000], Verdict::Reached),
            (&[7_900_000, 7_900_000, 6_000_000], Verdict::Short),
        ] {
            let figures = figures(ours, &[7_000_000, 7_000_000, 7_000_000]);
            assert_eq!(figures.verdict(Placement::Fixed, scenario, mark), verdict);
            assert_eq!(
                figures.verdict(Placement::Free, scenario, mark),
                Verdict::Unknown
            );
            assert_eq!(
                figures.verdict(Placement::Fixed, scenario, scenario.marks[1]),
                Verdict::Unknown
            );
        }
    }
}
