//! What can go wrong in a program that uses this library.

use dlc_driver::model::Failure;
use dlc_driver::{DriverError, SplitError};
use dlc_grammar::{Diagnostic, Sources, render_terminal};
use dlc_train::{CheckpointError, TrainError};

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text of a model could not be read, is wrong, or could not be compiled. Its diagnostics are part of the message.
    #[error("{}", describe(failure))]
    Model {
        /// What happened.
        failure: Failure,
    },
    /// Making or running the network failed.
    #[error(transparent)]
    Run(#[from] TrainError),
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Diagnostics { sources, diagnostics } => {
            render_terminal(diagnostics, sources, false)
        }
        Failure::Read { .. } | Failure::Batch { .. } | Failure::Driver(_) => failure.to_string(),
    }
}

impl Error {
    /// What is wrong with the text, with the files it speaks of, when that is the reason.
    pub fn diagnostics(&self) -> Option<(&[Diagnostic], &Sources)> {
        match self {
            Error::Model { failure: Failure::Diagnostics { sources, diagnostics } } => {
                Some((diagnostics, sources))
            }
            Error::Model { .. } | Error::Run(_) => None,
        }
    }

    /// Whether what was given is at fault (the text, data, weights, a checkpoint, options), as opposed to the machine or this
    /// library.
    pub fn is_input(&self) -> bool {
        match self {
            Error::Model { failure } => match failure {
                Failure::Read { .. } | Failure::Diagnostics { .. } | Failure::Batch { .. } => true,
                Failure::Driver(error) => match error {
                    DriverError::UnknownTarget { .. }
                    | DriverError::Ranks { .. }
                    | DriverError::NoRank { .. }
                    | DriverError::TargetLacks { .. }
                    | DriverError::BelowLevels { .. }
                    | DriverError::NotTrained { .. } => true,
                    DriverError::Split(error) => !matches!(error, SplitError::Pass(_)),
                    DriverError::Pass(_)
                    | DriverError::Codegen(_)
                    | DriverError::Artefact { .. }
                    | DriverError::Archive { .. } => false,
                },
            },
            Error::Run(error) => match error {
                TrainError::Data(_)
                | TrainError::Batch(_)
                | TrainError::NoProgram { .. }
                | TrainError::MissingInput { .. }
                | TrainError::UnknownInput { .. }
                | TrainError::Input { .. }
                | TrainError::InputLength { .. }
                | TrainError::BatchMismatch { .. }
                | TrainError::TooManyExamples { .. }
                | TrainError::NoColumn { .. }
                | TrainError::Column { .. }
                | TrainError::TooLong { .. }
                | TrainError::Gang(dlc_exec::GangError::Threads { .. })
                | TrainError::Step(dlc_exec::StepError::BadIndex { .. }) => true,
                TrainError::Weights(error) => {
                    !matches!(error, dlc_train::WeightsError::Write { .. })
                }
                TrainError::Checkpoint(error) => !matches!(error, CheckpointError::Write { .. }),
                TrainError::Comm(_)
                | TrainError::Program(_)
                | TrainError::Layout(_)
                | TrainError::Gang(_)
                | TrainError::Workspace(_)
                | TrainError::Memory(_)
                | TrainError::Buffer(_)
                | TrainError::Step(_)
                | TrainError::Contract { .. }
                | TrainError::Range { .. } => false,
            },
        }
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
