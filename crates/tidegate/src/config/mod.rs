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
mod link;
mod load;
mod overrides;
mod schema;
mod url;
mod value;
mod warnings;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use error::{Place, Problems};
use schema::Root;
use yaml::Spot;

pub use error::{ConfigError, ConfigErrors, Position};
pub use load::Environment;
pub use plan::Plan;

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
        let mut problems = Problems::default();
        if let Some(root) = &self.root {
            warnings::collect(root, &mut problems);
        }
        problems.into_sorted(&self.file)
    }

    /// The name of the file, as messages show it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}
