//! What can go wrong when a model is compiled ahead of time.

use dlc_driver::DriverError;
use dlc_driver::model::Failure;
use dlc_grammar::render_terminal;
use dlc_train::TrainError;
use std::path::PathBuf;

/// Why there is no artefact.
#[derive(thiserror::Error)]
pub enum Error {
    /// The text could not be read, is wrong, or could not be compiled. Its diagnostics are part of the message.
    #[error("{}", describe(failure))]
    Model {
        /// What happened.
        failure: Failure,
    },
    /// First weights could not be drawn or read.
    #[error(transparent)]
    Weights(#[from] TrainError),
    /// A file could not be read.
    #[error("could not read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("could not write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A build script's environment was asked for where there is none.
    #[error("`OUT_DIR` is not set: say where files should go, or call this from a build script")]
    NoOutDir,
}

/// As the message, since `main` of a build script shows errors in this form.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Error {
    /// Whether what was given is at fault (the text, weights, choices), as opposed to the machine or the compiler.
    pub fn is_input(&self) -> bool {
        match self {
            Error::Model { failure } => match failure {
                Failure::Read { .. } | Failure::Diagnostics { .. } | Failure::Batch { .. } => true,
                Failure::Driver(error) => match error {
                    DriverError::UnknownTarget { .. }
                    | DriverError::TargetLacks { .. }
                    | DriverError::BelowLevels { .. }
                    | DriverError::NotTrained { .. } => true,
                    // A build script asks for no part of a batch.
                    DriverError::Split(_)
                    | DriverError::Ranks { .. }
                    | DriverError::NoRank { .. }
                    | DriverError::Pass(_)
                    | DriverError::Codegen(_)
                    | DriverError::Artefact { .. }
                    | DriverError::Archive { .. } => false,
                },
            },
            Error::Weights(error) => matches!(error, TrainError::Weights(_)),
            Error::Read { .. } | Error::NoOutDir => true,
            Error::Write { .. } => false,
        }
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Diagnostics { sources, diagnostics } => {
            render_terminal(diagnostics, sources, false)
        }
        Failure::Read { path, source } => format!("could not read `{}`: {source}", path.display()),
        Failure::Batch { .. } | Failure::Driver(_) => failure.to_string(),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Model { failure }
    }
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        Error::Model { failure: Failure::Driver(error) }
    }
}
