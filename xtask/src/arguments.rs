//! What was typed: the entry and its options. Nothing is looked at here but the words themselves.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::{bench, soak, steps};

const USAGE: &str = "\
cargo xtask test [OPTIONS] [-- TEST-ARGUMENTS]   every step in order
cargo xtask fmt                                  format the code
cargo xtask lint | doc | api | features | deny   one step alone
cargo xtask services                             install what the tests need
cargo xtask services --start                     run Kafka, a registry of schemas and Redis, until Ctrl-C
cargo xtask openapi                              the admin API against its document
cargo xtask autobahn [--full] [--direct]         the Autobahn suite through the gateway
cargo xtask autobahn-ws [--full]                 the Autobahn suite against tidegate-ws, both roles
cargo xtask fuzz [--fuzz-seconds N]              every fuzz target for a while
cargo xtask fuzz-planted [-- NAMES]              what the fuzz targets are worth: bugs put in
cargo xtask schedules                            200 schedules of faults, with a log
cargo xtask schedules-planted [-- NAMES]         what the schedules are worth: faults put in
cargo xtask soak [--minutes N] [--idle N] [--active N] [--churn N]
                                                 load for minutes, and nothing may be left of it
{bench}cargo xtask differential                         nginx and HAProxy are asked the same as we

Options:
  --full              all Autobahn cases, longer fuzzing, the soak, schedules of faults, the
                      differential
  --only STEP,STEP    only these steps, in the order of the table
  --fuzz-seconds N    seconds for each fuzz target (default 60, with --full 600)
  --minutes N         of the soak, under load (default 20)
  --idle N, --active N
                      sessions of the soak (default 8000 and 1000)
  --churn N           short lives of the soak a second (default 40)
  --gateway FILE      the binary that Autobahn and the soak judge, built elsewhere
  --direct            Autobahn straight against the echo server, to check the harness itself

Steps:
";

/// What `help` prints; the steps are those of the table.
pub(crate) fn usage() -> String {
    let mut usage = USAGE.replace("{bench}", bench::USAGE);
    for (name, what) in steps::table() {
        usage.push_str(&format!("  {name:<12} {what}\n"));
    }
    usage.push('\n');
    usage.push_str(bench::EXPLAINED);
    usage
}

/// Which of the things xtask can do is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Bench(bench::Options),
    Format,
    Help,
    /// The planted bugs.
    Planted,
    /// What the gateway shares with others, to be used by hand.
    Services,
    /// The planted faults that schedules must show.
    PlantedSchedules,
    /// The steps of these names, in the table's order.
    Steps(Vec<&'static str>),
}

/// How it is to be done.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The long ones too.
    pub(crate) full: bool,
    /// Autobahn against the echo server, with no gateway between.
    pub(crate) direct: bool,
    /// Seconds for each fuzz target, when the user named any.
    pub(crate) fuzz_seconds: Option<u32>,
    /// The binary to judge, in place of the one that is built here.
    pub(crate) gateway: Option<PathBuf>,
    /// How much load the soak is.
    pub(crate) soak: soak::Amounts,
    /// What stood behind `--`: handed to `cargo test`, or the beginnings of planted bugs' names.
    pub(crate) test_arguments: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) entry: Entry,
    pub(crate) options: Options,
}

impl Arguments {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut words = words;
        let mut entry = match words.next().as_deref() {
            None | Some("help" | "--help" | "-h") => Entry::Help,
            Some("fmt") => Entry::Format,
            // Its options are its own.
            Some("bench") => {
                let options = bench::Options::parse(words)?;
                return Ok(Self {
                    entry: options.map_or(Entry::Help, Entry::Bench),
                    options: Options::default(),
                });
            }
            Some("fuzz-planted") => Entry::Planted,
            Some("schedules-planted") => Entry::PlantedSchedules,
            Some("test") => Entry::Steps(Vec::new()),
            Some(
                word @ ("lint" | "doc" | "api" | "deny" | "services" | "autobahn" | "autobahn-ws"
                | "fuzz" | "features" | "differential" | "openapi" | "soak" | "schedules"),
            ) => Entry::Steps(steps_named(word)?),
            Some(word) => bail!("there is no `cargo xtask {word}`; try `cargo xtask help`"),
        };
        let mut options = Options::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => entry = Entry::Help,
                "--full" => options.full = true,
                "--start" if entry == Entry::Steps(steps_named("services")?) => {
                    entry = Entry::Services;
                }
                "--direct" => options.direct = true,
                "--only" => {
                    let list = words.next().context("--only: names of steps are missing")?;
                    let steps = Entry::Steps(steps_named(&list)?);
                    if entry != Entry::Help {
                        entry = steps;
                    }
                }
                "--fuzz-seconds" => {
                    let number = words
                        .next()
                        .context("--fuzz-seconds: a number is missing")?;
                    let seconds = number
                        .parse()
                        .with_context(|| format!("--fuzz-seconds {number}: not a number"))?;
                    options.fuzz_seconds = Some(seconds);
                }
                "--gateway" => {
                    let file = words.next().context("--gateway: a file is missing")?;
                    options.gateway = Some(file.into());
                }
                "--minutes" => options.soak.minutes = soak::number(&word, words.next())?,
                "--idle" => options.soak.idle = soak::number(&word, words.next())?,
                "--active" => options.soak.active = soak::number(&word, words.next())?,
                "--churn" => options.soak.churn = soak::number(&word, words.next())?,
                "--" => options.test_arguments = words.by_ref().collect(),
                _ => bail!("unknown option `{word}`; try `cargo xtask help`"),
            }
        }
        // `test`, and no steps named: those that it always performs, or all.
        if entry == Entry::Steps(Vec::new()) {
            entry = Entry::Steps(steps::names_of_test(options.full));
        }
        Ok(Self { entry, options })
    }
}

/// The steps of a comma-separated list, in the order of the table.
fn steps_named(list: &str) -> anyhow::Result<Vec<&'static str>> {
    let wanted: Vec<&str> = list.split(',').map(str::trim).collect();
    for name in &wanted {
        if !steps::names().any(|known| known == *name) {
            let known: Vec<&str> = steps::names().collect();
            bail!(
                "there is no step `{name}`; the steps are: {}",
                known.join(", ")
            );
        }
    }
    Ok(steps::names()
        .filter(|known| wanted.contains(known))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn steps_run_in_the_order_of_the_table_not_of_the_command_line() {
        let arguments = parse("test --only fuzz,fmt").unwrap();
        assert_eq!(arguments.entry, Entry::Steps(vec!["fmt", "fuzz"]));
    }

    #[test]
    fn the_differential_is_for_full_runs_and_for_whoever_names_it() {
        let steps = |line: &str| match parse(line).unwrap().entry {
            Entry::Steps(names) => names,
            other => panic!("{other:?}"),
        };
        assert!(!steps("test").contains(&"differential"));
        assert!(steps("test").contains(&"fuzz"));
        assert!(steps("test --full").contains(&"differential"));
        assert_eq!(steps("differential"), ["differential"]);
        assert_eq!(steps("test --only differential"), ["differential"]);
        assert_eq!(steps("schedules"), ["schedules"]);
    }

    #[test]
    fn a_misspelt_step_or_option_is_refused() {
        assert!(parse("test --only fmtt").is_err());
        assert!(parse("test --ful").is_err());
        assert!(parse("tset").is_err());
        assert!(parse("fuzz --fuzz-seconds ten").is_err());
        assert!(parse("fuzz-plant").is_err());
        assert_eq!(parse("fuzz-planted").unwrap().entry, Entry::Planted);
        let planted = parse("schedules-planted -- loss").unwrap();
        assert_eq!(planted.entry, Entry::PlantedSchedules);
    }

    #[test]
    fn help_is_given_to_whoever_asks_and_names_every_step() {
        for line in [
            "",
            "--help",
            "test --help",
            "test --only fmt -h",
            "fuzz --help",
        ] {
            assert_eq!(parse(line).unwrap().entry, Entry::Help, "{line}");
        }
        let filtered = parse("test -- --help").unwrap();
        assert_ne!(filtered.entry, Entry::Help);
        let usage = usage();
        for name in steps::names() {
            assert!(usage.contains(&format!("\n  {name} ")), "{name}");
        }
    }

    #[test]
    fn the_soak_is_for_whoever_asks_for_it() {
        let runs_soak = |line| match parse(line).unwrap().entry {
            Entry::Steps(names) => names.contains(&"soak"),
            entry => panic!("{entry:?}"),
        };
        assert!(!runs_soak("test"));
        assert!(runs_soak("test --full"));
        assert!(runs_soak("test --only soak"));
        assert!(!runs_soak("test --full --only fmt"));
        let soak = parse("soak --minutes 3 --idle 10 --active 5 --churn 2").unwrap();
        let amounts = soak.options.soak;
        assert_eq!((amounts.minutes, amounts.idle), (3, 10));
        assert_eq!((amounts.active, amounts.churn), (5, 2));
        assert!(parse("soak --minutes").is_err());
        let other = parse("soak --gateway /a/tidegate").unwrap().options.gateway;
        assert_eq!(other, Some("/a/tidegate".into()));
    }

    #[test]
    fn services_are_started_by_whoever_asks_for_it() {
        let entry = |line: &str| parse(line).unwrap().entry;
        assert_eq!(entry("services"), Entry::Steps(vec!["services"]));
        assert_eq!(entry("services --start"), Entry::Services);
        assert_eq!(entry("services --start --help"), Entry::Help);
        assert!(parse("test --start").is_err());
        assert!(parse("services --stop").is_err());
    }

    #[test]
    fn the_bench_has_options_of_its_own() {
        let Entry::Bench(options) = parse("bench --only get --rounds 3").unwrap().entry else {
            panic!("no bench");
        };
        assert_eq!(options.rounds, 3);
        assert_eq!(parse("bench --help").unwrap().entry, Entry::Help);
        assert!(parse("bench --full").is_err());
        assert!(parse("test --rounds 3").is_err());
        assert!(usage().contains("cargo xtask bench ") && usage().contains("--noisy"));
    }

    #[test]
    fn what_stands_behind_two_dashes_goes_to_the_tests() {
        let arguments = parse("test --only tests -- refusal --nocapture").unwrap();
        assert_eq!(arguments.options.test_arguments, ["refusal", "--nocapture"]);
    }
}
