//! One column of a data set: a value of fixed shape for each example, wherever it lies.

mod stored;
mod windows;

use std::path::Path;
use std::sync::Arc;

use dlc_abi::ElemType;
use dlc_exec::FileMap;

use crate::error::DataError;
use crate::images::ImageFiles;
pub(crate) use stored::Numbers;
pub use stored::{Shard, Stored};
pub(crate) use windows::{Texts, Tokens};

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// What a model is given: an image, a row of measurements.
    Features,
    /// What it shall say, or anything else that is counted: a class number, the numbers of letters.
    Label,
}

/// Bytes of a file, mapped or decoded.
#[derive(Debug)]
pub enum Bytes {
    /// In memory.
    Owned(Vec<u8>),
    /// Read from the file when they are first touched.
    Mapped(FileMap),
}

impl Bytes {
    /// Maps a file.
    ///
    /// # Errors
    /// Those of opening and mapping it.
    pub(crate) fn map(path: &Path) -> Result<Self, DataError> {
        match FileMap::open(path) {
            Ok(map) => Ok(Bytes::Mapped(map)),
            Err(source) => Err(DataError::Io { path: path.to_owned(), source }),
        }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

/// One column: a value of fixed shape for each example, row-major, the examples one after the other.
#[derive(Debug)]
pub struct Column {
    name: String,
    kind: ColumnKind,
    shape: Vec<usize>,
    n_classes: Option<usize>,
    class_names: Option<Arc<[String]>>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    I32(Vec<i32>),
    Numbers(Numbers),
    /// Windows of texts, each moved by so many tokens.
    Windows(Arc<Texts>, usize),
    Images(ImageFiles),
}

/// Mapped files of so many bytes are not taken to stay in memory.
const LARGE: u64 = 1 << 26;

/// The bytes of files that are read when they are touched.
fn mapped_bytes<'a>(all: impl Iterator<Item = &'a Bytes>) -> u64 {
    let mapped = all.filter(|bytes| matches!(bytes, Bytes::Mapped(_)));
    mapped.map(|bytes| bytes.len() as u64).sum()
}

/// What is wrong with a value that was asked for.
pub enum Fault {
    /// It is no number of its classes.
    Label { example: usize, value: i64 },
    /// It is an integer of more than 32 bits.
    Wide { example: usize, value: i128 },
    /// Its file cannot be decoded.
    Decode(Box<DataError>),
}

impl Fault {
    pub(crate) fn in_dataset(self, dataset: &str, column: &Column) -> DataError {
        let (dataset, name) = (dataset.to_owned(), column.name.clone());
        match self {
            Fault::Decode(error) => *error,
            Fault::Label { example, value } => DataError::Label {
                dataset,
                column: name,
                example,
                place: column.place(example),
                value,
                n_classes: column.n_classes.unwrap_or(0),
            },
            Fault::Wide { example, value } => DataError::WideInteger {
                dataset,
                column: name,
                example,
                place: column.place(example),
                value,
            },
        }
    }
}

mod sealed {
    /// Keeps [`super::Sample`] to the types below.
    pub trait Sealed: Sized {
        /// Copies an example of a column that is known to serve this type.
        fn copy_row(
            column: &super::Column,
            example: usize,
            row: &mut [Self],
        ) -> Result<(), super::Fault>;
    }
}

/// Element types that columns deliver: `f32` and `i32`.
pub trait Sample: sealed::Sealed + Copy + 'static {
    /// The element type in a step's buffers.
    const ELEM: ElemType;
}

impl Column {
    /// Real numbers in memory; `shape` is that of one example.
    pub fn from_f32(name: &str, shape: &[usize], values: Vec<f32>) -> Self {
        Self::new(name, ColumnKind::Features, shape, Values::F32(values))
    }

    /// Class numbers in memory, one an example, in `0..n_classes` when that is known.
    pub fn from_labels(name: &str, n_classes: Option<usize>, values: Vec<i32>) -> Self {
        let column = Self::new(name, ColumnKind::Label, &[], Values::I32(values));
        Column { n_classes, ..column }
    }

    /// Numbers as they lie in files; `shape` is that of one example. Real numbers that are made of them are divided by `divisor`.
    ///
    /// # Errors
    /// When an example does not lie within the bytes of its shard.
    pub fn from_shards(
        name: &str,
        kind: ColumnKind,
        shape: &[usize],
        stored: Stored,
        divisor: f32,
        shards: Vec<Shard>,
    ) -> Result<Self, DataError> {
        let numbers = Numbers::new(name, shape, stored, divisor, shards)?;
        Ok(Self::new(name, kind, shape, Values::Numbers(numbers)))
    }

    /// Windows of texts, moved by `offset` tokens.
    pub(crate) fn from_texts(name: &str, window: usize, texts: Arc<Texts>, offset: usize) -> Self {
        Self::new(name, ColumnKind::Label, &[window], Values::Windows(texts, offset))
    }

    /// Images that are decoded when they are fetched.
    pub(crate) fn from_images(name: &str, images: ImageFiles) -> Self {
        let shape = images.shape();
        Self::new(name, ColumnKind::Features, &shape, Values::Images(images))
    }

    fn new(name: &str, kind: ColumnKind, shape: &[usize], values: Values) -> Self {
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Column { name, kind, shape, n_classes: None, class_names: None, values }
    }

    /// The same, of labels in `0..n_classes`.
    pub fn with_classes(self, n_classes: usize) -> Self {
        Column { n_classes: Some(n_classes), ..self }
    }

    /// Says how many classes there are, which all values are known to be of.
    pub(crate) fn set_classes(&mut self, n_classes: usize) {
        self.n_classes = Some(n_classes);
    }

    /// The same, of labels that stand for these names.
    pub fn with_class_names(self, names: Arc<[String]>) -> Self {
        Column { n_classes: Some(names.len()), class_names: Some(names), ..self }
    }

    /// The same under another name.
    pub fn renamed(self, name: &str) -> Self {
        Column { name: name.to_owned(), ..self }
    }

    /// The name, unique in its data set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// Shape of one example, row-major, channels last; empty for one number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of classes of a label, when known.
    pub fn n_classes(&self) -> Option<usize> {
        self.n_classes
    }

    /// What the classes of a label stand for, when known; as many as there are classes.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// Element type of the values as they lie, which [`Column::serves`] may say are others as well.
    pub fn elem(&self) -> ElemType {
        match &self.values {
            Values::F32(_) | Values::Images(_) => ElemType::F32,
            Values::I32(_) | Values::Windows(..) => ElemType::I32,
            Values::Numbers(numbers) => match self.kind {
                ColumnKind::Label if !numbers.stored.is_float() => ElemType::I32,
                ColumnKind::Label | ColumnKind::Features => ElemType::F32,
            },
        }
    }

    /// Whether values of that type can be had: integers are real numbers too, unless they are to be divided.
    pub fn serves(&self, elem: ElemType) -> bool {
        let integers = match &self.values {
            Values::F32(_) | Values::Images(_) => false,
            Values::I32(_) | Values::Windows(..) => true,
            Values::Numbers(numbers) => !numbers.stored.is_float() && numbers.divisor == 1.0,
        };
        match elem {
            ElemType::F32 => true,
            ElemType::I32 => integers,
            ElemType::F64
            | ElemType::I64
            | ElemType::U8
            | ElemType::Bool
            | ElemType::Bf16
            | ElemType::F16
            | ElemType::I8 => false,
        }
    }

    /// Values of one example. The product fits: [`crate::Dataset::new`] has compared it with the number of values.
    pub fn row_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The file of an example and the byte where it begins, where it lies in one.
    pub fn place(&self, example: usize) -> Option<(Arc<Path>, u64)> {
        match &self.values {
            Values::F32(_) | Values::I32(_) => None,
            Values::Numbers(numbers) => numbers.place(example),
            Values::Windows(texts, _) => texts.place(example),
            Values::Images(images) => Some((images.path(example).into(), 0)),
        }
    }

    /// Whether fetching a value may take long: it is decoded first, or lies in a large file that may not be in memory.
    pub(crate) fn is_slow(&self) -> bool {
        match &self.values {
            Values::F32(_) | Values::I32(_) => false,
            Values::Numbers(numbers) => numbers.mapped_bytes() >= LARGE,
            Values::Windows(texts, _) => texts.mapped_bytes() >= LARGE,
            Values::Images(_) => true,
        }
    }

    pub(crate) fn n_values(&self) -> usize {
        match &self.values {
            Values::F32(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::Numbers(numbers) => numbers.n_examples().saturating_mul(self.row_len()),
            Values::Windows(texts, _) => texts.n_windows().saturating_mul(self.row_len()),
            Values::Images(images) => images.n_images().saturating_mul(self.row_len()),
        }
    }

    /// Examples in the column, when its values make whole examples.
    pub(crate) fn n_examples(&self) -> Option<usize> {
        let row = self.shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent))?;
        (row > 0 && self.n_values().is_multiple_of(row)).then(|| self.n_values() / row)
    }

    /// The least and the greatest of the integers of a column that can be looked through quickly.
    pub(crate) fn integer_range(&self) -> Option<(i64, i64)> {
        let mut row = [0_i32];
        let mut range: Option<(i64, i64)> = None;
        for example in 0..self.n_quick() {
            <i32 as sealed::Sealed>::copy_row(self, example, &mut row).ok()?;
            let value = i64::from(row[0]);
            range = Some(range.map_or((value, value), |(least, greatest)| {
                (least.min(value), greatest.max(value))
            }));
        }
        range
    }

    /// The examples of a column of single integers that lie close together, else none.
    fn n_quick(&self) -> usize {
        let quick = self.row_len() == 1
            && match &self.values {
                Values::F32(_) | Values::Windows(..) | Values::Images(_) => false,
                Values::I32(_) => true,
                Values::Numbers(numbers) => self.serves(ElemType::I32) && numbers.is_dense(),
            };
        if quick { self.n_examples().unwrap_or(0) } else { 0 }
    }

    /// The first label outside its classes; where labels lie far apart in a file they are looked at when they are fetched.
    pub(crate) fn first_bad_label(&self) -> Option<Fault> {
        self.n_classes?;
        let mut row = [0_i32];
        (0..self.n_quick())
            .find_map(|example| <i32 as sealed::Sealed>::copy_row(self, example, &mut row).err())
    }
}

impl Sample for f32 {
    const ELEM: ElemType = ElemType::F32;
}

impl sealed::Sealed for f32 {
    fn copy_row(column: &Column, example: usize, row: &mut [f32]) -> Result<(), Fault> {
        let first = example * row.len();
        match &column.values {
            Values::F32(values) => row.copy_from_slice(&values[first..first + row.len()]),
            Values::I32(values) => {
                for (real, &integer) in row.iter_mut().zip(&values[first..]) {
                    *real = integer as f32;
                }
            }
            Values::Numbers(numbers) => numbers.copy_f32(example, row),
            Values::Windows(texts, offset) => texts.copy(example, *offset, row, f32::from),
            Values::Images(images) => {
                images.copy_f32(example, row).map_err(|error| Fault::Decode(Box::new(error)))?
            }
        }
        Ok(())
    }
}

impl Sample for i32 {
    const ELEM: ElemType = ElemType::I32;
}

impl sealed::Sealed for i32 {
    fn copy_row(column: &Column, example: usize, row: &mut [i32]) -> Result<(), Fault> {
        let first = example * row.len();
        match &column.values {
            Values::I32(values) => row.copy_from_slice(&values[first..first + row.len()]),
            Values::Numbers(numbers) => {
                numbers.copy_i32(example, row).map_err(|value| Fault::Wide { example, value })?
            }
            Values::Windows(texts, offset) => texts.copy(example, *offset, row, i32::from),
            Values::F32(_) | Values::Images(_) => {
                unreachable!("`Column::serves` has refused integers")
            }
        }
        let Some(n_classes) = column.n_classes else { return Ok(()) };
        let bad = |value: &&i32| usize::try_from(**value).map_or(true, |value| value >= n_classes);
        match row.iter().find(bad) {
            Some(&value) => Err(Fault::Label { example, value: value.into() }),
            None => Ok(()),
        }
    }
}
