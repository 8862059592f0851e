//! What can be wrong with a text that names data.

use super::list;
use crate::spec::known_forms;

/// Why a text does not name data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is empty.
    #[error("no data are named; known forms are {}", list(&known_forms()))]
    Empty,
    /// Its form is not known.
    #[error(
        "unknown data `{given}`; known forms are {}{}", list(&known_forms()), meant(nearest)
    )]
    Unknown {
        /// The whole text.
        given: String,
        /// What it was probably meant to be.
        nearest: Option<String>,
    },
    /// The form needs something after a colon.
    #[error("`{name}` needs {what}: write `{form}`")]
    NeedsArgument {
        /// The name before the colon.
        name: &'static str,
        /// What is to be named: a folder, files.
        what: &'static str,
        /// The whole form.
        form: &'static str,
    },
    /// The form takes nothing after its name.
    #[error("`{name}` takes nothing after its name, but `:{argument}` was given")]
    TakesNoArgument {
        /// The name before the colon.
        name: &'static str,
        /// What came after it.
        argument: String,
    },
    /// The form has no such option.
    #[error("`{name}` has no option `{option}`; it has {}{}", list(options), meant(nearest))]
    UnknownOption {
        /// The form.
        name: &'static str,
        /// The option given.
        option: String,
        /// The options there are.
        options: Vec<&'static str>,
        /// What it was probably meant to be.
        nearest: Option<String>,
    },
    /// An option is given twice.
    #[error("option `{option}` is given twice")]
    OptionTwice {
        /// The option.
        option: &'static str,
    },
    /// An option has a value that it cannot have.
    #[error("option `{option}` takes {wanted}, not `{given}`")]
    OptionValue {
        /// The option.
        option: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// What was given.
        given: String,
    },
    /// Two options contradict each other.
    #[error("options `{first}` and `{second}` cannot be given together: {why}")]
    OptionsClash {
        /// An option.
        first: &'static str,
        /// Another one.
        second: &'static str,
        /// The reason.
        why: &'static str,
    },
}

/// What was probably meant.
fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"))
}
