//! What is told of a run: tables on the terminal and in `bench/BENCHMARKS.md`, and all of it as JSON.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use super::figures::Figures;
use super::options::Options;
use super::peers::{Binaries, Peer, Placement};
use super::rounds::MOST_OTHERS;
use super::scenarios::{Mark, Of, SCENARIOS, Scenario, Unit};
use super::table::Table;
use crate::run::Run;
use crate::shell;

/// Between these lines of the document stand the figures of the last run that was written.
const BEGIN: &str = "<!-- figures: made by cargo xtask bench --write -->";
const END: &str = "<!-- end of figures -->";

/// The profile that the document shows, and how many lines of it.
const PROFILE: (&str, usize) = ("get", 40);

#[derive(Debug)]
pub(super) struct Report {
    pub(super) figures: Figures,
    /// What was run, and on what: names and values.
    about: Vec<(&'static str, String)>,
    /// Where the gateway spends its time, by scenario.
    pub(super) profiles: Vec<(&'static str, String)>,
}

impl Report {
    pub(super) fn begin(run: &Run, options: &Options, binaries: &Binaries) -> Self {
        let line = |command: &mut Command| {
            let said = shell::output(command).unwrap_or_default();
            let first = said.trim().lines().next().unwrap_or("unknown");
            // HAProxy goes on with an address.
            first.split(" - ").next().unwrap_or(first).to_owned()
        };
        let mut git = Command::new("git");
        git.current_dir(&run.root)
            .args(["describe", "--always", "--dirty"]);
        // nginx tells its version on standard error.
        let mut nginx = Command::new("sh");
        nginx.args(["-c", r#""$0" -v 2>&1"#]).arg(&binaries.nginx);
        let rounds = format!(
            "{} of {} s each, {} idle sessions at most",
            options.rounds,
            options.window.as_secs_f64(),
            options.sessions
        );
        let mut about = vec![
            ("day", line(Command::new("date").args(["-u", "+%F"]))),
            ("commit", line(&mut git)),
            ("kernel", line(Command::new("uname").arg("-sr"))),
            ("processor", processor()),
            ("tcp", congestion_control()),
            ("rounds", rounds),
        ];
        if options.peers.contains(&Peer::Nginx) {
            about.push(("nginx", line(&mut nginx)));
        }
        if options.peers.contains(&Peer::Haproxy) {
            about.push(("haproxy", line(Command::new(&binaries.haproxy).arg("-v"))));
        }
        Self {
            figures: Figures::default(),
            about,
            profiles: Vec::new(),
        }
    }

    /// Prints all tables, and leaves everything in `results.json`.
    pub(super) fn tell(&self, folder: &Path) -> anyhow::Result<()> {
        for (title, table) in self.tables() {
            println!("\n{title}\n\n{}", table.plain());
        }
        println!("{}", self.noise());
        let about = self.about.iter();
        let about: serde_json::Map<_, _> = about
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let file = folder.join("results.json");
        let results = json!({ "about": about, "figures": self.figures.json() });
        fs::write(&file, serde_json::to_string_pretty(&results)?)?;
        println!("every reading: {}", file.display());
        Ok(())
    }

    /// Puts the figures into the document.
    pub(super) fn write(&self, document: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(document)
            .with_context(|| format!("cannot read {}", document.display()))?;
        fs::write(document, between(&text, (BEGIN, END), &self.markdown())?)?;
        println!("the figures stand in {}", document.display());
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.about {
            text.push_str(&format!("- {name}: {value}\n"));
        }
        for (title, table) in self.tables() {
            text.push_str(&format!("\n**{title}**\n\n{}", table.markdown()));
        }
        text.push_str(&format!("\n{}\n", self.noise()));
        let (shown, lines) = PROFILE;
        let profiles = self.profiles.iter();
        for (scenario, profile) in profiles.filter(|(scenario, _)| *scenario == shown) {
            let profile: Vec<&str> = profile.lines().take(lines).collect();
            let profile = profile.join("\n");
            let title = format!("Where tidegate spends its time in {scenario}");
            text.push_str(&format!("\n**{title}**\n\n```text\n{profile}\n```\n"));
        }
        text
    }

    fn tables(&self) -> Vec<(&'static str, Table)> {
        let mut tables = vec![
            ("Figures, placement fixed", self.costs(Placement::Fixed)),
            ("What is to be reached", self.verdicts()),
            (
                "Latency at the fixed rate, in µs from when a message was due",
                self.latencies(),
            ),
            (
                "Two workers, placement free: ranks nothing below 25 %",
                self.costs(Placement::Free),
            ),
        ];
        tables.retain(|(_, table)| !table.is_empty());
        tables
    }

    fn costs(&self, placement: Placement) -> Table {
        let mut head = vec!["scenario", "unit"];
        head.extend(Peer::ALL.map(Peer::name));
        head.extend(["/ nginx", "/ haproxy", "rounds", "others"]);
        let mut table = Table::new(head);
        for scenario in SCENARIOS {
            let median = |peer| self.figures.median((placement, scenario.name, peer));
            let medians = Peer::ALL.map(median);
            if medians.iter().all(Option::is_none) {
                continue;
            }
            let ratio = |to| Some(median(Peer::Tidegate)? / median(to)?);
            let mut row = vec![scenario.name.to_owned(), unit(scenario).to_owned()];
            row.extend(medians.map(|median| shown(median, scenario.unit)));
            row.extend([Peer::Nginx, Peer::Haproxy].map(|to| two(ratio(to))));
            let of = |peer| {
                self.figures
                    .readings((placement, scenario.name, peer))
                    .len()
            };
            row.push(Peer::ALL.map(of).into_iter().max().unwrap_or(0).to_string());
            row.push(match scenario.unit {
                Unit::Cpu => two(Some(self.figures.others(placement, scenario))),
                Unit::Memory => "-".to_owned(),
            });
            table.add(row);
        }
        table
    }

    fn verdicts(&self) -> Table {
        let mut table = Table::new(vec![
            "scenario",
            "tidegate is",
            "measured",
            "reach",
            "goal",
            "verdict",
        ]);
        for scenario in SCENARIOS {
            for mark in scenario.marks {
                let value = self.figures.value(Placement::Fixed, scenario, *mark);
                if value.is_none() {
                    continue;
                }
                let verdict = self.figures.verdict(Placement::Fixed, scenario, *mark);
                let number = |number| match mark.of {
                    Of::Figure => shown(number, Unit::Memory),
                    Of::Peer(_) | Of::Latency(_) | Of::Scenario(_) => two(number),
                };
                table.add(vec![
                    scenario.name.to_owned(),
                    meaning(*mark),
                    number(value),
                    number(Some(mark.reach)),
                    number(Some(mark.goal)),
                    verdict.word().to_owned(),
                ]);
            }
        }
        table
    }

    fn latencies(&self) -> Table {
        let mut table = Table::new(vec!["placement", "peer", "p50", "p99", "p99.9", "longest"]);
        for placement in [Placement::Fixed, Placement::Free] {
            for peer in Peer::ALL {
                let of = |which| self.figures.latency((placement, "paced", peer), which);
                let latencies = [0, 1, 2, 3].map(of);
                if latencies.iter().any(Option::is_none) {
                    continue;
                }
                let mut row = vec![placement.name().to_owned(), peer.name().to_owned()];
                row.extend(latencies.map(|latency| format!("{:.0}", latency.unwrap_or(0.0))));
                table.add(row);
            }
        }
        table
    }

    /// What the machine did besides.
    fn noise(&self) -> String {
        let mut noisy = Vec::new();
        for scenario in SCENARIOS {
            for placement in [Placement::Fixed, Placement::Free] {
                let rounds = self.figures.noisy_rounds(placement, scenario);
                if rounds > 0 {
                    let placement = placement.name();
                    noisy.push(format!("{} {placement}: {rounds}", scenario.name));
                }
            }
        }
        if noisy.is_empty() {
            return format!(
                "In no round that counts did others use more than {MOST_OTHERS} cores."
            );
        }
        format!(
            "NOISY: others used more than {MOST_OTHERS} cores in these rounds: {}.",
            noisy.join(", ")
        )
    }
}

fn meaning(mark: Mark) -> String {
    match mark.of {
        Of::Peer(peer) => format!("times {}", peer.name()),
        Of::Latency(peer) => format!("times {}'s p99", peer.name()),
        Of::Figure => "bytes a session".to_owned(),
        Of::Scenario(name) => format!("times {name}"),
    }
}

const fn unit(scenario: &Scenario) -> &'static str {
    match scenario.unit {
        Unit::Cpu => "µs CPU",
        Unit::Memory => "bytes",
    }
}

fn shown(figure: Option<f64>, unit: Unit) -> String {
    match (figure, unit) {
        (Some(figure), Unit::Cpu) => format!("{figure:.2}"),
        (Some(figure), Unit::Memory) => format!("{figure:.0}"),
        (None, _) => "-".to_owned(),
    }
}

fn two(number: Option<f64>) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.2}"))
}

/// `text` with `figures` in place of those that were there.
pub(super) fn between(
    text: &str,
    (begin, end): (&str, &str),
    figures: &str,
) -> anyhow::Result<String> {
    let parts = text.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let (before, after) = parts.context("the document has no place for figures")?;
    Ok(format!("{before}{begin}\n\n{figures}\n{end}{after}"))
}

/// What paces the sockets of everybody here.
fn congestion_control() -> String {
    let name = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    name.map_or("unknown".to_owned(), |name| name.trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |line: &str| {
        Some(
            line.strip_prefix("model name")?
                .split_once(':')?
                .1
                .trim()
                .to_owned(),
        )
    };
    let name = text.lines().find_map(named);
    let cores = text.lines().filter(|line| line.starts_with("processor"));
    format!(
        "{} cores, {}",
        cores.count(),
        name.unwrap_or("unknown".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::super::figures::Reading;
    use super::*;

    fn report() -> Report {
        let mut figures = Figures::default();
        for (peer, gateway_ns) in [(Peer::Tidegate, 7_000_000), (Peer::Nginx, 6_800_000)] {
            let said = format!(r#"{{"operations":1000,"gateway_ns":{gateway_ns},"others":0.3}}"#);
            let reading = Reading::parse(Unit::Cpu, &said).unwrap();
            figures.add((Placement::Fixed, "echo-64", peer), reading);
        }
        Report {
            figures,
            about: vec![("commit", "abc".to_owned())],
            profiles: vec![("get", "50.00%  tidegate\n".to_owned())],
        }
    }

    #[test]
    fn figures_ratios_and_verdicts_are_told() {
        let text = report().markdown();
        for part in [
            "| echo-64 | µs CPU | 7.00 | 6.80 | - | - | 1.03 | - | 1 | 0.30 |",
            "| echo-64 | times nginx | 1.03 | 1.10 | 1.00 | reached |",
            "NOISY: others used more than 0.1 cores in these rounds: echo-64 fixed: 1.",
            "```text\n50.00%  tidegate\n```",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("haproxy's"), "{text}");
    }

    #[test]
    fn writing_replaces_the_figures_and_nothing_else() {
        let before = format!("# Method\n{BEGIN}\nold\n{END}\n## More\n");
        let after = between(&before, (BEGIN, END), "new\n").unwrap();
        assert_eq!(
            after,
            format!("# Method\n{BEGIN}\n\nnew\n\n{END}\n## More\n")
        );
        assert_eq!(between(&after, (BEGIN, END), "new\n").unwrap(), after);
        assert!(between("# Method\n", (BEGIN, END), "new").is_err());
    }

    #[test]
    fn the_document_has_its_place_for_figures() {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/BENCHMARKS.md");
        assert!(between(&fs::read_to_string(document).unwrap(), (BEGIN, END), "").is_ok());
    }
}
