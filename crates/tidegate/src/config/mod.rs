//! Configuration: a YAML text becomes a [`Config`] (as written), and that a [`Plan`] (names
//! linked, patterns compiled).
//!
//! `load` reads files and the environment, `yaml` makes a tree of a text, `overrides` lays
//! `TIDEGATE__...` variables over it, `schema` reads types out of it, `link` resolves the names and
//! `compile` the patterns. All that is wrong comes out at once, each with its place and a
//! suggestion. Nothing here binds a port.

pub mod defaults;
pub mod plan;

mod compile;
mod error;
#[cfg(test)]
mod examples;
mod link;
mod load;
mod overrides;
mod schema;
mod secret;
mod url;
mod value;
mod warnings;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use error::{Fault, Place, Problems};
use schema::Root;
use yaml::Spot;

use crate::limits::descriptors;

pub use error::{ConfigError, ConfigErrors, Position};
pub use load::Environment;
pub use plan::Plan;
pub use secret::Secret;
pub(crate) use yaml::did_you_mean;

/// Reads a time as the file writes it: `10s`, `1m30s`. Never zero.
///
/// # Errors
/// With what to write instead.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    value::duration(text).map_err(|fault| match fault.suggestion {
        Some(suggestion) => format!("{} ({suggestion})", fault.message),
        None => fault.message,
    })
}

/// A configuration as it was written: typed, but its names not yet linked.
#[derive(Debug, Clone)]
pub struct Config {
    file: Arc<str>,
    /// `None`: the file is no map at all, which `problems` say.
    root: Option<Root>,
    /// What was wrong so far.
    problems: Problems,
}

impl Config {
    /// Reads a file, with the variables and the overrides that the environment of this process
    /// holds.
    ///
    /// # Errors
    /// When there is no YAML to read. What the YAML says wrongly comes out of
    /// [`resolve`](Self::resolve).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        let path = path.as_ref();
        let file = Arc::from(path.display().to_string());
        let mut problems = Problems::default();
        match load::read(path, &file, &mut problems) {
            Some(text) => Self::read(file, &text, &Environment::of_process(), problems),
            None => Err(problems.into_errors(&file)),
        }
    }

    /// Reads a text, which messages call `file_name`, without any environment: a variable without
    /// a default is an error.
    ///
    /// # Errors
    /// As for [`from_file`](Self::from_file).
    pub fn from_yaml(file_name: &str, text: &str) -> Result<Self, ConfigErrors> {
        Self::from_yaml_with(file_name, text, &Environment::empty())
    }

    /// Reads a text with the variables and the overrides of `environment`.
    ///
    /// # Errors
    /// As for [`from_file`](Self::from_file).
    pub fn from_yaml_with(
        file_name: &str,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        Self::read(file_name.into(), text, environment, Problems::default())
    }

    fn read(
        file: Arc<str>,
        text: &str,
        environment: &Environment,
        mut problems: Problems,
    ) -> Result<Self, ConfigErrors> {
        let Some(mut tree) = yaml::parse(&file, text, environment, &mut problems) else {
            return Err(problems.into_errors(&file));
        };
        overrides::apply(&mut tree, environment, &mut problems);
        let root = Root::read(&Spot::root(&tree), &mut problems);
        Ok(Self {
            file,
            root,
            problems,
        })
    }

    /// Links the names and compiles the patterns.
    ///
    /// # Errors
    /// All that is wrong with the configuration, what reading it has found included.
    pub fn resolve(&self) -> Result<Plan, ConfigErrors> {
        let mut problems = self.problems.clone();
        let plan = self
            .root
            .as_ref()
            .and_then(|root| link::link(root, &mut problems));
        match plan {
            Some(plan) if problems.is_empty() => Ok(plan),
            _ => {
                if problems.is_empty() {
                    let place = Place::file(&self.file);
                    problems.add(
                        &place,
                        "a fault of ours: it cannot be linked; please report it",
                    );
                }
                Err(problems.into_errors(&self.file))
            }
        }
    }

    /// What is doubtful, though it does not keep a gateway from starting. Where there are errors,
    /// some of these follow from them alone: show them for valid configurations.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigError> {
        let mut problems = self.problems.doubts();
        if let Some(root) = &self.root {
            warnings::collect(root, &mut problems);
        }
        problems.into_sorted(&self.file)
    }

    /// What to say where the descriptors that this process may have now are too few for the
    /// connections that `plan`, which this became, allows.
    #[must_use]
    pub fn too_many_connections(&self, plan: &Plan) -> Option<ConfigError> {
        let enough_for = descriptors::connections(plan.workers, plan.listeners.len());
        let most = plan
            .limits
            .max_connections
            .filter(|most| *most > enough_for)?;
        let place = self.root.as_ref()?.limits.max_connections.as_ref()?;
        let message = format!(
            "the {} descriptors that this process may have (ulimit -n) are too few for {most} connections",
            descriptors::allowed()
        );
        let remedy = format!("they are enough for {enough_for} with one to an upstream each");
        Some(place.say(Fault::new(message).suggest(remedy)))
    }

    /// The name of the file, as messages show it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: &str = include_str!("../../../../config/full.yaml");

    const STEPS: [&str; 17] = [
        "ADMIN",
        "BIND",
        "TOKEN",
        "SERVICES",
        "LISTENERS",
        "ROUTES",
        "WORKERS",
        "CHAT",
        "ENDPOINTS",
        "MATCH",
        "HEADERS",
        "X_ENV",
        "PROXY",
        "HOST",
        "FILTERS",
        "0",
        "1",
    ];

    /// Whatever is said of a text, it is said and not panicked, and never in no words.
    fn judge(text: &str, environment: &Environment) {
        let judged = Config::from_yaml_with("t", text, environment)
            .and_then(|config| (config.warnings(), config.resolve()).1);
        if let Err(errors) = judged {
            assert!(errors.iter().count() > 0);
            assert!(
                errors
                    .iter()
                    .all(|error| !error.message.contains("a fault of ours"))
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "(?s).{0,200}") {
            judge(&text, &Environment::empty());
        }

        #[test]
        fn anything_in_place_of_a_part_of_a_sample_is_judged(
            start in 0..FULL.len(),
            len in 0..40_usize,
            put in r#"[\[\]{}:,*&!'"$| \n\tA-Za-z0-9/.-]{0,12}"#,
        ) {
            let mut text = FULL.as_bytes().to_vec();
            text.splice(start..(start + len).min(FULL.len()), put.into_bytes());
            judge(&String::from_utf8_lossy(&text), &Environment::empty());
        }

        #[test]
        fn any_override_is_judged(
            steps in prop::collection::vec(prop::sample::select(STEPS.to_vec()), 1..5),
            value in r#"[\[\]{}:,'" a-z0-9]{0,12}"#,
        ) {
            let name = format!("TIDEGATE__{}", steps.join("__"));
            judge(FULL, &Environment::from_iter([(name, value)]));
        }

        #[test]
        fn any_scalar_is_judged_wherever_it_stands(value in r#"(?s)[^\x00]{0,30}"#) {
            let quoted = serde_json::to_string(&value).unwrap_or_default();
            for (key, old) in [
                ("connect_timeout: ", "5s"), ("max_message: ", "none"), ("origin: ", "keep"),
                ("host: ", "keep"), ("path: ", "/chat/**"), ("- prefix_path: ", "/v1"),
                ("endpoints: ", "http://127.0.0.1:9000"), ("X-Env: ", "canary"),
            ] {
                let text = FULL.replace(&format!("{key}{old}"), &format!("{key}{quoted}"));
                judge(&text, &Environment::empty());
            }
        }
    }
}
