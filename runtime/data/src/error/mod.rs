//! What can be wrong with data.

mod files;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dlc_abi::ElemType;

pub(crate) use files::stored_name;
pub use files::{
    CifarProblem, FileProblem, ImageProblem, NpyProblem, Place, TableProblem, TextProblem,
    ZipProblem,
};
pub use spec::SpecError;

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
    /// A file contradicts its format.
    #[error("`{}`{place}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        problem: FileProblem,
    },
    /// No file has a name of that form.
    #[error("`{}` matches no file; `*` stands for any part of a name", pattern.display())]
    NoMatch {
        /// The form.
        pattern: PathBuf,
    },
    /// Two files that shall follow one another hold arrays of different types or shapes.
    #[error(
        "column `{column}` is {found} in `{}`, but {expected} in `{}`; files of one data set must agree",
        path.display(), first.display()
    )]
    Shards {
        /// The column.
        column: String,
        /// The file that came first.
        first: PathBuf,
        /// Type and shape of an example there.
        expected: String,
        /// The file that differs.
        path: PathBuf,
        /// Type and shape of an example there, or that there is none.
        found: String,
    },
    /// A column's examples do not lie within the bytes of their file.
    #[error(
        "column `{column}`: {examples} examples of shape {shape:?} do not lie within the {bytes} bytes of {}",
        path.as_deref().map_or("memory".to_owned(), |path| format!("`{}`", path.display()))
    )]
    Shard {
        /// The column.
        column: String,
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// Its bytes.
        bytes: usize,
        /// Examples that it shall hold.
        examples: usize,
        /// Shape of an example.
        shape: Vec<usize>,
    },
    /// There are arrays of a training part, and one that is of no part.
    #[error(
        "`{}`: array `{array}` belongs to no part; beside arrays named `.._train` all others are named `.._train` or `.._test`",
        path.display()
    )]
    NoPart {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
    },
    /// No thread can be had to read ahead.
    #[error("no thread could be started to read data ahead")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder has no image.
    #[error("`{}` holds no image (`.png`, `.jpg`, `.jpeg`) and no folders of images", directory.display())]
    NoImages {
        /// The folder.
        directory: PathBuf,
    },
    /// A test part has a class that the training part has not.
    #[error("`{}` is no class to learn from; the classes are {}", directory.display(), list(classes))]
    OtherClass {
        /// The folder.
        directory: PathBuf,
        /// The classes there are.
        classes: Vec<String>,
    },
    /// Texts are shorter than a window.
    #[error(
        "data `{dataset}` have no window of {window} tokens and one more: the longest text has {longest}; pass a smaller `window`"
    )]
    ShortText {
        /// The data set.
        dataset: String,
        /// Tokens of a window.
        window: usize,
        /// Tokens of the longest text.
        longest: usize,
    },
    /// The test part is named twice.
    #[error("data `{dataset}` have a test part already; leave out `{option}`")]
    TwoTests {
        /// The data set.
        dataset: String,
        /// The option that asks for another one.
        option: &'static str,
    },
    /// Too few examples to set some apart.
    #[error(
        "data `{dataset}` have {examples} examples, of which `split={fraction}` cannot set some apart and keep some"
    )]
    Split {
        /// The data set.
        dataset: String,
        /// Examples.
        examples: usize,
        /// The part asked for.
        fraction: f64,
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
        "column `{column}` of data `{dataset}`, example {example}{}: label {value} is not in 0..{n_classes}",
        in_file(place)
    )]
    Label {
        /// The data set.
        dataset: String,
        /// The column.
        column: String,
        /// The example, as it lies in its files.
        example: usize,
        /// Its file and the byte where it begins, where it lies in one.
        place: Option<(Arc<Path>, u64)>,
        /// The label found.
        value: i64,
        /// The number of classes.
        n_classes: usize,
    },
    /// An integer does not fit into 32 bits.
    #[error(
        "column `{column}` of data `{dataset}`, example {example}{}: {value} does not fit into 32 bits, which integers of models have",
        in_file(place)
    )]
    WideInteger {
        /// The data set.
        dataset: String,
        /// The column.
        column: String,
        /// The example, as it lies in its files.
        example: usize,
        /// Its file and the byte where it begins, where it lies in one.
        place: Option<(Arc<Path>, u64)>,
        /// The integer.
        value: i128,
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

/// A place in a file, in parentheses.
fn in_file(place: &Option<(Arc<Path>, u64)>) -> String {
    place
        .as_ref()
        .map_or(String::new(), |(path, byte)| format!(" (`{}`, byte {byte})", path.display()))
}

/// Names in quotes, separated by commas.
pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
