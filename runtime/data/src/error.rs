//! What can be wrong with data.

use std::path::PathBuf;

use dlc_abi::ElemType;

use crate::spec::KNOWN_FORMS;

/// Why data could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The text that names the data is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A file or folder could not be read.
    #[error("could not read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder lacks a file, under all the names it may have.
    #[error("`{}` has no `{expected}`, neither plain nor with `.gz`", directory.display())]
    Missing {
        /// The folder.
        directory: PathBuf,
        /// The usual name of the file.
        expected: String,
    },
    /// A data set that comes with a system package is not there.
    #[error(
        "`{name}` is not installed: `{}` does not exist; install the package `{package}`, \
         or give the folder of the files as `mnist:DIR`", directory.display()
    )]
    NotInstalled {
        /// The data set.
        name: &'static str,
        /// Where it would be.
        directory: PathBuf,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// An IDX file contradicts its format.
    #[error("`{}`, byte {offset}: {problem}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// Where in the (decompressed) file.
        offset: u64,
        /// What is wrong there.
        problem: IdxProblem,
    },
    /// A compressed file is damaged.
    #[error("`{}`: the gzip stream is damaged after {decoded} decompressed bytes", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Bytes that could be decompressed.
        decoded: u64,
        /// What the decoder says.
        source: std::io::Error,
    },
    /// Something follows a compressed stream.
    #[error("`{}`: {bytes} bytes follow the end of the gzip stream", path.display())]
    GzipTrailing {
        /// The file.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// Images and labels differ in number.
    #[error(
        "`{}` holds {n_images} images, but `{}` holds {n_labels} labels", images.display(), labels.display()
    )]
    Counts {
        /// File of images.
        images: PathBuf,
        /// Images in it.
        n_images: usize,
        /// File of labels.
        labels: PathBuf,
        /// Labels in it.
        n_labels: usize,
    },
    /// Training and test images differ in size.
    #[error(
        "the images of `{}` are {}x{}, those of `{}` are {}x{}",
        first.display(), first_size[0], first_size[1], second.display(), second_size[0], second_size[1]
    )]
    ImageSize {
        /// File of training images.
        first: PathBuf,
        /// Their height and width.
        first_size: [usize; 2],
        /// File of test images.
        second: PathBuf,
        /// Their height and width.
        second_size: [usize; 2],
    },
    /// Two columns of a data set have one name.
    #[error("data `{dataset}` has two columns named `{column}`")]
    DuplicateColumn {
        /// The data set.
        dataset: String,
        /// The name.
        column: String,
    },
    /// The data set holds no example, no column, or more examples than can be numbered.
    #[error(
        "data `{dataset}` has {columns} columns of {examples} examples; at least one and at most 4294967295 are needed"
    )]
    Size {
        /// The data set.
        dataset: String,
        /// Its columns.
        columns: usize,
        /// Its examples.
        examples: usize,
    },
    /// A column's values do not make whole examples, or not as many as the others.
    #[error(
        "column `{column}` of data `{dataset}` has {values} values, which are not {examples} examples of shape {shape:?}"
    )]
    ColumnLength {
        /// The data set.
        dataset: String,
        /// The column.
        column: String,
        /// Its number of values.
        values: usize,
        /// Examples in the first column.
        examples: usize,
        /// Shape of one example of the column.
        shape: Vec<usize>,
    },
    /// A label is outside its classes.
    #[error(
        "column `{column}` of data `{dataset}`, example {example}: label {value} is not in 0..{n_classes}"
    )]
    Label {
        /// The data set.
        dataset: String,
        /// The column.
        column: String,
        /// The example.
        example: usize,
        /// The label found.
        value: i64,
        /// The number of classes.
        n_classes: usize,
    },
    /// No column has that name.
    #[error("data `{dataset}` has no column `{column}`; it has {}", list(columns))]
    NoColumn {
        /// The data set.
        dataset: String,
        /// The name asked for.
        column: String,
        /// The names there are.
        columns: Vec<String>,
    },
    /// A column holds another element type.
    #[error("column `{column}` holds {elem:?}, not {asked:?}")]
    ColumnType {
        /// The column.
        column: String,
        /// Its element type.
        elem: ElemType,
        /// The type asked for.
        asked: ElemType,
    },
    /// The room for a batch has another size than the batch.
    #[error(
        "{examples} examples of column `{column}` are {expected} values, but there is room for {found}"
    )]
    BatchRoom {
        /// The column.
        column: String,
        /// Examples of the batch.
        examples: usize,
        /// Their values.
        expected: usize,
        /// Room given.
        found: usize,
    },
    /// An example number is too large.
    #[error("example {example} is not in 0..{examples} of data `{dataset}`")]
    NoExample {
        /// The data set.
        dataset: String,
        /// The number given.
        example: u32,
        /// Examples there are.
        examples: usize,
    },
    /// The embedded data set is damaged, which only a broken build can do.
    #[error("the embedded data `{name}` is damaged at line {line}")]
    Embedded {
        /// The data set.
        name: &'static str,
        /// The line, counted from 1.
        line: usize,
    },
}

/// What is wrong with an IDX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdxProblem {
    /// The file ends inside its header.
    #[error("the header takes {expected} bytes, but the file ends here")]
    Header {
        /// Bytes the header takes.
        expected: usize,
    },
    /// The first four bytes are not those of the expected content.
    #[error("expected {}, found {}", magic(*expected), magic(*found))]
    Magic {
        /// The number expected.
        expected: u32,
        /// The number found.
        found: u32,
    },
    /// There is nothing in the file.
    #[error("the {axis} is 0")]
    Empty {
        /// Which number.
        axis: &'static str,
    },
    /// The header promises more than the file can hold, compressed as well as can be.
    #[error(
        "the header promises {promised} bytes of data, but a file of {file_bytes} bytes cannot hold more than {possible}"
    )]
    TooLarge {
        /// Bytes promised.
        promised: u128,
        /// Bytes of the file on disk.
        file_bytes: u64,
        /// The most it can hold.
        possible: u64,
    },
    /// The data end early.
    #[error("expected {expected} bytes in all, but the data end here")]
    Truncated {
        /// Bytes that header and data take.
        expected: u64,
    },
    /// Something follows the data.
    #[error("the data end here, but the file goes on")]
    Trailing,
}

/// A magic number with its meaning.
fn magic(number: u32) -> String {
    let meaning = match number {
        crate::idx::MAGIC_IMAGES => " (images)",
        crate::idx::MAGIC_LABELS => " (labels)",
        _ => "",
    };
    format!("the magic number {number:#010x}{meaning}")
}

/// Why a text does not name data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is empty.
    #[error("no data are named; known forms are {}", list(KNOWN_FORMS))]
    Empty,
    /// Its form is not known.
    #[error(
        "unknown data `{given}`; known forms are {}{}", list(KNOWN_FORMS),
        nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"))
    )]
    Unknown {
        /// The whole text.
        given: String,
        /// What it was probably meant to be.
        nearest: Option<String>,
    },
    /// The form needs something after a colon.
    #[error("`{name}` needs a folder: write `{form}`")]
    NeedsArgument {
        /// The name before the colon.
        name: &'static str,
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
}

/// Why batches cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A batch has no examples.
    #[error("a batch needs at least one example")]
    EmptyBatch,
    /// There is nothing to make batches of, or more than can be numbered.
    #[error("batches need 1 to 4294967295 examples, there are {examples}")]
    Examples {
        /// How many there are.
        examples: usize,
    },
    /// The position to resume from is outside an epoch: it was saved for other data or another batch size.
    #[error("an epoch has {n_batches} batches, so it cannot be resumed at batch {batch}")]
    Position {
        /// The batch to resume at.
        batch: u64,
        /// Batches in an epoch.
        n_batches: u64,
    },
}

/// Names in quotes, separated by commas.
fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
