//! What can go wrong while a session is made or used.

use dlc_abi::{Dim, ElemType};
use dlc_comm::CommError;
use dlc_data::{BatchError, DataError};
use dlc_exec::{
    BufferError, GangError, LayoutError, MemoryError, ProgramError, StepError, WorkspaceError,
};

use crate::checkpoint::CheckpointError;
use crate::tensor::{Shape, elem_name};
use crate::weights::WeightsError;

/// Why a session could not be made, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A compiled program is not sound.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The programs of the model disagree about a parameter.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The threads could not be had.
    #[error(transparent)]
    Gang(#[from] GangError),
    /// The buffers of a step could not be made.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A buffer was used wrongly.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The ranks of a run lost one another.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// The data are wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Batches cannot be made.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model lacks the program that is asked for: its text has no `train` block.
    #[error("`{model}` has no `train` block, so it cannot {what}")]
    NoProgram {
        /// The model.
        model: String,
        /// What was asked for.
        what: &'static str,
    },
    /// A program is not as this runtime expects it: a defect of the compiler.
    #[error("`{program}`: {problem}")]
    Contract {
        /// The program.
        program: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An input was not given.
    #[error("input `{name}` of `{program}` is missing")]
    MissingInput {
        /// The program.
        program: String,
        /// The input.
        name: String,
    },
    /// There is no such input.
    #[error("`{program}` has no input `{name}`; it has {}", list(known))]
    UnknownInput {
        /// The program.
        program: String,
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An input was given as another type or shape.
    #[error(
        "input `{name}` is {}{}, but {}{found_shape:?} was given",
        elem_name(*elem), Shape(shape), elem_name(*found_elem)
    )]
    Input {
        /// The input.
        name: String,
        /// Its element type.
        elem: ElemType,
        /// Its shape.
        shape: Vec<Dim>,
        /// The element type given.
        found_elem: ElemType,
        /// The shape given.
        found_shape: Vec<usize>,
    },
    /// The number of elements does not fit the shape.
    #[error("input `{name}` of shape {shape:?} needs {expected} elements, {found} were given")]
    InputLength {
        /// The input.
        name: String,
        /// The shape given.
        shape: Vec<usize>,
        /// Its number of elements.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// Two inputs hold different numbers of examples.
    #[error("input `{name}` holds {found} examples, but `{first}` holds {expected}")]
    BatchMismatch {
        /// The first input.
        first: String,
        /// Its examples.
        expected: usize,
        /// The other input.
        name: String,
        /// Its examples.
        found: usize,
    },
    /// More examples than the program takes at once, where they cannot be cut into batches.
    #[error("{found} examples were given, but `{program}` takes at most {max} at once")]
    TooManyExamples {
        /// The program.
        program: String,
        /// Examples given.
        found: usize,
        /// Its limit.
        max: usize,
    },
    /// No column of the data can be an input.
    #[error(
        "no column of data `{dataset}` serves as input `{input}`: {}{}; its columns are {}",
        elem_name(*elem), Shape(shape), list_plain(columns)
    )]
    NoColumn {
        /// The data set.
        dataset: String,
        /// The input.
        input: String,
        /// Its element type.
        elem: ElemType,
        /// Its shape.
        shape: Vec<Dim>,
        /// The columns, with types and shapes.
        columns: Vec<String>,
    },
    /// A column has another type or shape than the input it is for.
    #[error(
        "input `{input}` is {}{}, but column `{column}` of data `{dataset}` is {}{}",
        elem_name(*elem), Shape(shape), elem_name(*found_elem), column_shape(found_shape)
    )]
    Column {
        /// The data set.
        dataset: String,
        /// The column.
        column: String,
        /// The input.
        input: String,
        /// The input's element type.
        elem: ElemType,
        /// The input's shape.
        shape: Vec<Dim>,
        /// The column's element type.
        found_elem: ElemType,
        /// The shape of one of the column's examples.
        found_shape: Vec<usize>,
    },
    /// The run that is asked for has more steps than can be counted.
    #[error("{epochs} epochs of {steps} steps are more than can be counted")]
    TooLong {
        /// Epochs.
        epochs: u64,
        /// Steps of each.
        steps: u64,
    },
    /// A count has left the range of its type.
    #[error("`{name}` has grown to {value}, which its type does not hold")]
    Range {
        /// What was counted.
        name: String,
        /// How far.
        value: String,
    },
}

/// The shape of a column, with the examples as first axis, as the inputs' shapes are shown.
pub(crate) fn column_shape(shape: &[usize]) -> String {
    let extents = shape.iter().map(|extent| format!(", {extent}"));
    format!("[batch{}]", extents.collect::<String>())
}

pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn list_plain(names: &[String]) -> String {
    names.join(", ")
}
