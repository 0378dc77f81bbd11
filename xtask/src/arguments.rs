//! What was typed: the entry and its options. Nothing is looked at here but the words themselves.

use anyhow::{Context as _, bail};

use crate::steps;

const USAGE: &str = "\
cargo xtask test [OPTIONS] [-- TEST-ARGUMENTS]   every step in order
cargo xtask fmt                                  format the code
cargo xtask lint | doc | features | deny         one step alone
cargo xtask services                             install what the tests need
cargo xtask autobahn [--full] [--direct]         the Autobahn suite through the gateway
cargo xtask fuzz [--fuzz-seconds N]              every fuzz target for a while
cargo xtask fuzz-planted [-- NAMES]              what the fuzz targets are worth: bugs put in

Options:
  --full              all Autobahn cases, longer fuzzing
  --only STEP,STEP    only these steps, in the order of the table
  --fuzz-seconds N    seconds for each fuzz target (default 60, with --full 600)
  --direct            Autobahn straight against the echo server, to check the harness itself

Steps:
";

/// What `help` prints; the steps are those of the table.
pub(crate) fn usage() -> String {
    let mut usage = USAGE.to_owned();
    for (name, what) in steps::table() {
        usage.push_str(&format!("  {name:<10} {what}\n"));
    }
    usage
}

/// Which of the things xtask can do is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Format,
    Help,
    /// The planted bugs.
    Planted,
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
            Some("fuzz-planted") => Entry::Planted,
            Some("test") => Entry::Steps(steps::names().collect()),
            Some(
                word @ ("lint" | "doc" | "deny" | "services" | "autobahn" | "fuzz" | "features"),
            ) => Entry::Steps(steps_named(word)?),
            Some(word) => bail!("there is no `cargo xtask {word}`; try `cargo xtask help`"),
        };
        let mut options = Options::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => entry = Entry::Help,
                "--full" => options.full = true,
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
                "--" => options.test_arguments = words.by_ref().collect(),
                _ => bail!("unknown option `{word}`; try `cargo xtask help`"),
            }
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
    fn a_misspelt_step_or_option_is_refused() {
        assert!(parse("test --only fmtt").is_err());
        assert!(parse("test --ful").is_err());
        assert!(parse("tset").is_err());
        assert!(parse("fuzz --fuzz-seconds ten").is_err());
        assert!(parse("fuzz-plant").is_err());
        assert_eq!(parse("fuzz-planted").unwrap().entry, Entry::Planted);
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
    fn what_stands_behind_two_dashes_goes_to_the_tests() {
        let arguments = parse("test --only tests -- refusal --nocapture").unwrap();
        assert_eq!(arguments.options.test_arguments, ["refusal", "--nocapture"]);
    }
}
