//! What can be wrong with a file, by its format.

use std::fmt;

use crate::column::Stored;

/// Where in a file something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular.
    Whole,
    /// At a byte, counted from 0.
    Byte(u64),
    /// At a byte of an array, counted from 0, in an archive of arrays.
    Array {
        /// The array.
        name: String,
        /// The byte of its own bytes.
        byte: u64,
    },
    /// In a line, counted from 1.
    Line(u64),
    /// In a field of a table.
    Field {
        /// The line, counted from 1.
        line: u64,
        /// The column's name.
        column: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Whole => Ok(()),
            Place::Byte(byte) => write!(f, ", byte {byte}"),
            Place::Array { name, byte } => write!(f, ", array `{name}`, byte {byte}"),
            Place::Line(line) => write!(f, ", line {line}"),
            Place::Field { line, column } => write!(f, ", line {line}, column `{column}`"),
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// With an array.
    #[error(transparent)]
    Npy(#[from] NpyProblem),
    /// With an archive.
    #[error(transparent)]
    Zip(#[from] ZipProblem),
    /// With records of CIFAR.
    #[error(transparent)]
    Cifar(#[from] CifarProblem),
    /// With a text.
    #[error(transparent)]
    Text(#[from] TextProblem),
    /// With a table.
    #[error(transparent)]
    Table(#[from] TableProblem),
    /// With an image.
    #[error(transparent)]
    Image(#[from] ImageProblem),
}

/// What is wrong with an `.npy` array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpyProblem {
    /// The first bytes are others.
    #[error("this is no `.npy` array: it does not begin with `\\x93NUMPY`")]
    Magic,
    /// The format has a version that is not known.
    #[error("version {major}.{minor} of the format is not known; 1.0, 2.0 and 3.0 are")]
    Version {
        /// Before the point.
        major: u8,
        /// Behind it.
        minor: u8,
    },
    /// The header is cut off.
    #[error("the header goes on, but the file ends here")]
    Short,
    /// The header has another form.
    #[error("the header should have {what} here")]
    Expected {
        /// What should be there.
        what: &'static str,
    },
    /// The header has a key that does not belong there, or twice.
    #[error("the header has the key `{key}`, which is unknown or there already")]
    Key {
        /// The key.
        key: String,
    },
    /// The header lacks a key.
    #[error("the header has no key `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The elements are records of several values.
    #[error(
        "the elements are records of named fields; save each field as an array of its own: `a['field']`"
    )]
    Records,
    /// The elements have another type.
    #[error("elements of type `{descr}` are not read; save `{}`", advice(descr))]
    Type {
        /// The type as the header writes it.
        descr: String,
    },
    /// There is one number.
    #[error("this is one number without axes; the first axis of an array counts the examples")]
    NoAxis,
    /// There are too many axes.
    #[error("the array has more than {most} axes")]
    Axes {
        /// As many as are allowed.
        most: usize,
    },
    /// There are no elements.
    #[error("axis {axis} of shape {shape:?} is empty")]
    Empty {
        /// The axis, from 0.
        axis: usize,
        /// All extents.
        shape: Vec<u64>,
    },
    /// There are more or fewer bytes of elements than the shape says.
    #[error(
        "{shape:?} elements of type {} take {} bytes, but {found} follow the header",
        stored_name(*stored), needed(shape, *stored)
    )]
    Length {
        /// The extents.
        shape: Vec<u64>,
        /// The type of the elements.
        stored: Stored,
        /// Bytes that there are.
        found: u128,
    },
}

/// How to save an array of a type that is not read.
fn advice(descr: &str) -> &'static str {
    match descr.as_bytes() {
        [b'>', b'f', ..] | [b'<', b'f', ..] => "a.astype('<f4')",
        [b'>', b'i' | b'u', ..] => "a.astype('<i4')",
        [b'<' | b'|' | b'>', b'U' | b'S' | b'O', ..] => "np.unique(a, return_inverse=True)[1]",
        _ => "a.astype('<f4') or a.astype('<i4')",
    }
}

fn needed(shape: &[u64], stored: Stored) -> String {
    let bytes =
        shape.iter().try_fold(stored.size() as u128, |n, &extent| n.checked_mul(extent.into()));
    bytes.map_or_else(|| "more than can be counted".to_owned(), |bytes| bytes.to_string())
}

/// The name of a type of numbers, as NumPy calls it.
pub(crate) fn stored_name(stored: Stored) -> &'static str {
    match stored {
        Stored::U8 => "uint8",
        Stored::I8 => "int8",
        Stored::U16 => "uint16",
        Stored::I16 => "int16",
        Stored::U32 => "uint32",
        Stored::I32 => "int32",
        Stored::U64 => "uint64",
        Stored::I64 => "int64",
        Stored::F32 => "float32",
        Stored::F64 => "float64",
    }
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZipProblem {
    /// There is no directory at the end.
    #[error(
        "this is no zip archive, or its end is missing: there is no directory before this byte"
    )]
    NoEnd,
    /// The directory lies elsewhere.
    #[error("the directory should begin at byte {start}, which is not before its end")]
    Directory {
        /// Where it should begin.
        start: u64,
    },
    /// An entry of the directory is damaged.
    #[error("the directory is damaged")]
    Entry,
    /// A file is encrypted.
    #[error("`{name}` is encrypted; unpack the archive first")]
    Encrypted {
        /// The file.
        name: String,
    },
    /// A file is packed in an unknown way.
    #[error("`{name}` is packed by method {method}; stored (0) and deflated (8) files are read")]
    Method {
        /// The file.
        name: String,
        /// The number of the method.
        method: usize,
    },
    /// A file does not lie within the archive.
    #[error("`{name}` does not lie within the archive")]
    Outside {
        /// The file.
        name: String,
    },
    /// A file cannot have as many bytes as the directory says.
    #[error(
        "`{name}` is said to have {size} bytes, but its {packed} packed bytes stand for at most {possible}"
    )]
    Size {
        /// The file.
        name: String,
        /// Bytes that the directory says.
        size: u64,
        /// Packed bytes.
        packed: usize,
        /// The most they can stand for.
        possible: u64,
    },
    /// The bytes of a file are others than were packed.
    #[error("`{name}` is damaged: after {unpacked} bytes, length or checksum are wrong")]
    Damaged {
        /// The file.
        name: String,
        /// Bytes that could be unpacked.
        unpacked: u64,
    },
    /// The archive holds a file that is no array.
    #[error("`{name}` is no `.npy` array; an archive of examples holds arrays alone")]
    NoArray {
        /// The file.
        name: String,
    },
    /// The archive is empty.
    #[error("the archive holds no array")]
    Empty,
}

/// What is wrong with records of CIFAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CifarProblem {
    /// There is no whole record.
    #[error(
        "a file of {bytes} bytes is not made of whole records of {record} bytes: {rest} are left over"
    )]
    Records {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes of a record.
        record: usize,
        /// Bytes behind the last whole one.
        rest: usize,
    },
    /// The file is empty.
    #[error("the file is empty; it should hold records of {record} bytes")]
    Empty {
        /// Bytes of a record.
        record: usize,
    },
    /// The names of the classes are not as many as there are classes.
    #[error("{found} names of classes are given, but there are {expected} classes")]
    Names {
        /// Names there are.
        found: usize,
        /// Classes there are.
        expected: usize,
    },
}

/// What is wrong with a text or a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// The bytes are no text.
    #[error("these bytes are no UTF-8; pass `unit=byte` to take bytes as they are")]
    NotUtf8,
    /// There are too many different tokens.
    #[error(
        "there are {found} different tokens, more than {most}; `words=N` keeps the most frequent ones"
    )]
    TooMany {
        /// Tokens there are.
        found: usize,
        /// Tokens that can be numbered.
        most: usize,
    },
    /// A vocabulary has an empty line.
    #[error(
        "a vocabulary has one token a line, and this line is empty; `\\n` stands for a line end, `\\s` for a space"
    )]
    EmptyToken,
    /// A vocabulary has a token twice.
    #[error("the token `{name}` is there already")]
    TokenTwice {
        /// The token.
        name: String,
    },
    /// A text has a token that the vocabulary has not.
    #[error(
        "`{token}` is not in the vocabulary; a line `<unk>` there would stand for all that is not"
    )]
    Unknown {
        /// The token.
        token: String,
    },
}

/// What is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableProblem {
    /// There is no line of values.
    #[error("the table has no line of values")]
    Empty,
    /// The first line has numbers where the names of columns should stand.
    #[error(
        "the first line holds numbers alone, not names of columns; pass `header=no` if it is an example"
    )]
    NoHeader,
    /// A name stands twice in the first line.
    #[error("two columns are named `{name}`")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A line has another number of fields.
    #[error("{found} fields, but the lines before have {expected}")]
    Fields {
        /// Fields of the line.
        found: usize,
        /// Fields of the first one.
        expected: usize,
    },
    /// The columns are others than those of the first file.
    #[error("the columns are {found}, but those of `{first}` are {expected}")]
    Columns {
        /// Columns of this file.
        found: String,
        /// The file that came first.
        first: String,
        /// Its columns.
        expected: String,
    },
    /// A line is no text.
    #[error("this line is no UTF-8")]
    NotUtf8,
    /// A value is missing.
    #[error(
        "the value is missing; `missing=mean` fills in the mean, `missing=0` a number, `missing=drop` leaves the line out"
    )]
    Missing,
    /// A label is missing.
    #[error("the label is missing; `missing=drop` leaves the line out")]
    MissingLabel,
    /// A column has numbers and other texts.
    #[error(
        "`{text}` is no number, as other values of the column are; correct it, or pass `text={column}` if they are names"
    )]
    Mixed {
        /// The text.
        text: String,
        /// The column.
        column: String,
    },
    /// A column has too many different texts.
    #[error("the column has more than {most} different texts; `drop={column}` leaves it out")]
    TooMany {
        /// As many as are allowed.
        most: usize,
        /// The column.
        column: String,
    },
    /// An option names a column that is not there.
    #[error("option `{option}` names the column `{column}`, but the columns are {columns}")]
    NoColumn {
        /// The option.
        option: &'static str,
        /// The name it gives.
        column: String,
        /// The columns there are.
        columns: String,
    },
    /// All columns are labels or left out.
    #[error("no column is left to learn from")]
    NoFeatures,
}

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageProblem {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// The first bytes are those of no known format.
    #[error("this is neither PNG nor JPEG")]
    Unknown,
    /// The format is not read.
    #[error(
        "images of the format `{ending}` are not read; convert them to PNG or JPEG, or take them out of the folder"
    )]
    Format {
        /// The ending of the file's name.
        ending: String,
    },
    /// The size is impossible or too large.
    #[error("an image of {width}x{height} pixels is not read; it needs 1 to {most} pixels")]
    Size {
        /// Pixels of a row.
        width: u64,
        /// Rows.
        height: u64,
        /// As many pixels as are allowed.
        most: u64,
    },
    /// There are fewer bytes than the size asks for.
    #[error(
        "the header asks for {pixels} bytes of pixels, but the file can hold {possible} at most"
    )]
    Short {
        /// Bytes that the header asks for.
        pixels: u64,
        /// Bytes that there can be.
        possible: u64,
    },
    /// The file is damaged, by what the decoder says.
    #[error("damaged PNG: {0}")]
    Png(String),
    /// The file is damaged, by what the decoder says.
    #[error("damaged JPEG: {0}")]
    Jpeg(String),
}
