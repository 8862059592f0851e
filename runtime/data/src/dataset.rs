//! A table of examples: named columns, in memory or mapped from files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlc_abi::ElemType;
use dlc_exec::FileMap;

use crate::error::DataError;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// What a model is given: an image, a row of measurements.
    Features,
    /// What it shall say: a class number.
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
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    I32(Vec<i32>),
    /// From byte `start` on; a value is its byte divided by `divisor`, rounded once.
    BytesAsF32 {
        bytes: Bytes,
        start: usize,
        divisor: f32,
    },
    /// From byte `start` on; a value is its byte.
    BytesAsI32 {
        bytes: Bytes,
        start: usize,
    },
}

mod sealed {
    /// Keeps [`super::Sample`] to the types below.
    pub trait Sealed: Sized {
        /// Copies an example of a column that is known to hold this type.
        fn copy_row(column: &super::Column, example: usize, row: &mut [Self]);
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
        Column {
            name: name.to_owned(),
            kind: ColumnKind::Features,
            shape: shape.to_vec(),
            n_classes: None,
            values: Values::F32(values),
        }
    }

    /// Class numbers in memory, one an example, in `0..n_classes` when that is known.
    pub fn from_labels(name: &str, n_classes: Option<usize>, values: Vec<i32>) -> Self {
        Column {
            name: name.to_owned(),
            kind: ColumnKind::Label,
            shape: Vec::new(),
            n_classes,
            values: Values::I32(values),
        }
    }

    /// Real numbers stored as bytes from `start` on, to be divided by `divisor` when they are fetched; `shape` is that of
    /// one example. The bytes before `start`, a file's header, are no values.
    pub fn from_scaled_bytes(
        name: &str,
        shape: &[usize],
        bytes: Bytes,
        start: usize,
        divisor: f32,
    ) -> Self {
        Column {
            name: name.to_owned(),
            kind: ColumnKind::Features,
            shape: shape.to_vec(),
            n_classes: None,
            values: Values::BytesAsF32 { bytes, start, divisor },
        }
    }

    /// Class numbers stored as bytes from `start` on, one an example, in `0..n_classes` when that is known.
    pub fn from_byte_labels(
        name: &str,
        n_classes: Option<usize>,
        bytes: Bytes,
        start: usize,
    ) -> Self {
        Column {
            name: name.to_owned(),
            kind: ColumnKind::Label,
            shape: Vec::new(),
            n_classes,
            values: Values::BytesAsI32 { bytes, start },
        }
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

    /// Element type of the values as they are fetched.
    pub fn elem(&self) -> ElemType {
        match self.values {
            Values::F32(_) | Values::BytesAsF32 { .. } => ElemType::F32,
            Values::I32(_) | Values::BytesAsI32 { .. } => ElemType::I32,
        }
    }

    /// Values of one example. The product fits: [`Dataset::new`] has compared it with the number of values.
    pub fn row_len(&self) -> usize {
        self.shape.iter().product()
    }

    fn n_values(&self) -> usize {
        match &self.values {
            Values::F32(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::BytesAsF32 { bytes, start, .. } | Values::BytesAsI32 { bytes, start } => {
                bytes.len().saturating_sub(*start)
            }
        }
    }

    /// Examples in the column, when its values make whole examples.
    fn n_examples(&self) -> Option<usize> {
        let row = self.shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent))?;
        (row > 0 && self.n_values().is_multiple_of(row)).then(|| self.n_values() / row)
    }

    /// The first label outside its classes.
    fn first_bad_label(&self) -> Option<(usize, i64)> {
        let n_classes = i64::try_from(self.n_classes?).unwrap_or(i64::MAX);
        let bad = |value: i64| !(0..n_classes).contains(&value);
        match &self.values {
            Values::I32(values) => values
                .iter()
                .position(|&value| bad(i64::from(value)))
                .map(|example| (example, i64::from(values[example]))),
            Values::BytesAsI32 { bytes, start } => bytes[*start..]
                .iter()
                .position(|&value| bad(i64::from(value)))
                .map(|example| (example, i64::from(bytes[start + example]))),
            Values::F32(_) | Values::BytesAsF32 { .. } => None,
        }
    }
}

impl Sample for f32 {
    const ELEM: ElemType = ElemType::F32;
}

impl sealed::Sealed for f32 {
    fn copy_row(column: &Column, example: usize, row: &mut [f32]) {
        let first = example * row.len();
        match &column.values {
            Values::F32(values) => row.copy_from_slice(&values[first..first + row.len()]),
            Values::BytesAsF32 { bytes, start, divisor } => {
                let bytes = &bytes[start + first..start + first + row.len()];
                for (value, &byte) in row.iter_mut().zip(bytes) {
                    *value = f32::from(byte) / divisor;
                }
            }
            Values::I32(_) | Values::BytesAsI32 { .. } => {
                unreachable!("`Dataset::gather` has compared the element types")
            }
        }
    }
}

impl Sample for i32 {
    const ELEM: ElemType = ElemType::I32;
}

impl sealed::Sealed for i32 {
    fn copy_row(column: &Column, example: usize, row: &mut [i32]) {
        let first = example * row.len();
        match &column.values {
            Values::I32(values) => row.copy_from_slice(&values[first..first + row.len()]),
            Values::BytesAsI32 { bytes, start } => {
                let bytes = &bytes[start + first..start + first + row.len()];
                for (value, &byte) in row.iter_mut().zip(bytes) {
                    *value = i32::from(byte);
                }
            }
            Values::F32(_) | Values::BytesAsF32 { .. } => {
                unreachable!("`Dataset::gather` has compared the element types")
            }
        }
    }
}

/// A table of examples. Clones and selections share the values.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    columns: Arc<[Column]>,
    /// Which examples of the columns these are, in order; `None` for all of them.
    selection: Option<Arc<[u32]>>,
    n_examples: usize,
    /// Rows read of all columns together; clones share the count.
    rows_read: Arc<AtomicU64>,
}

impl Dataset {
    /// A data set from its columns.
    ///
    /// # Errors
    /// When columns differ in their number of examples, two have one name, there is no example, or a label is outside its
    /// classes.
    pub fn new(name: &str, columns: Vec<Column>) -> Result<Self, DataError> {
        let dataset = || name.to_owned();
        let n_examples = columns.first().and_then(Column::n_examples).unwrap_or(0);
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].iter().any(|other| other.name == column.name) {
                return Err(DataError::DuplicateColumn {
                    dataset: dataset(),
                    column: column.name.clone(),
                });
            }
            if column.n_examples() != Some(n_examples) {
                return Err(DataError::ColumnLength {
                    dataset: dataset(),
                    column: column.name.clone(),
                    values: column.n_values(),
                    examples: n_examples,
                    shape: column.shape.clone(),
                });
            }
            if let (Some((example, value)), Some(n_classes)) =
                (column.first_bad_label(), column.n_classes)
            {
                return Err(DataError::Label {
                    dataset: dataset(),
                    column: column.name.clone(),
                    example,
                    value,
                    n_classes,
                });
            }
        }
        if n_examples == 0 || u32::try_from(n_examples).is_err() {
            return Err(DataError::Size {
                dataset: dataset(),
                columns: columns.len(),
                examples: n_examples,
            });
        }
        Ok(Dataset {
            name: dataset(),
            columns: columns.into(),
            selection: None,
            n_examples,
            rows_read: Arc::default(),
        })
    }

    /// Some of the examples, in the order given, as a data set that shares the values.
    ///
    /// # Errors
    /// When an example does not exist, or none is given.
    pub fn select(&self, name: &str, examples: &[u32]) -> Result<Self, DataError> {
        if examples.is_empty() || u32::try_from(examples.len()).is_err() {
            return Err(DataError::Size {
                dataset: name.to_owned(),
                columns: self.columns.len(),
                examples: examples.len(),
            });
        }
        let selection =
            examples.iter().map(|&example| self.stored(example)).collect::<Result<_, _>>()?;
        Ok(Dataset {
            name: name.to_owned(),
            columns: Arc::clone(&self.columns),
            selection: Some(selection),
            n_examples: examples.len(),
            rows_read: Arc::default(),
        })
    }

    /// The name that messages use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of examples, at least 1.
    pub fn n_examples(&self) -> usize {
        self.n_examples
    }

    /// All columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn column(&self, name: &str) -> Result<&Column, DataError> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| DataError::NoColumn {
            dataset: self.name.clone(),
            column: name.to_owned(),
            columns: self.columns.iter().map(|column| column.name.clone()).collect(),
        })
    }

    /// How many rows were read of all columns together, through this value and its clones. Each of several ranks reads its own alone.
    pub fn rows_read(&self) -> u64 {
        self.rows_read.load(Ordering::Relaxed)
    }

    /// Assembles a batch: writes the rows of `examples` of a column into `out`, one after the other, in that order.
    /// `out` has exactly `examples.len() * column.row_len()` values. Allocates nothing.
    ///
    /// # Errors
    /// When the column does not exist or is of another type, an example does not exist, or `out` has another size.
    pub fn gather<T: Sample>(
        &self,
        column: &str,
        examples: &[u32],
        out: &mut [T],
    ) -> Result<(), DataError> {
        let column = self.column(column)?;
        if column.elem() != T::ELEM {
            return Err(DataError::ColumnType {
                column: column.name.clone(),
                elem: column.elem(),
                asked: T::ELEM,
            });
        }
        let row_len = column.row_len();
        let expected = examples.len().saturating_mul(row_len);
        if out.len() != expected {
            return Err(DataError::BatchRoom {
                column: column.name.clone(),
                examples: examples.len(),
                expected,
                found: out.len(),
            });
        }
        for (&example, row) in examples.iter().zip(out.chunks_exact_mut(row_len)) {
            T::copy_row(column, self.stored(example)? as usize, row);
        }
        self.rows_read.fetch_add(examples.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Copies one example of a column; `row` has exactly `column.row_len()` values.
    ///
    /// # Errors
    /// As [`Dataset::gather`].
    pub fn fetch<T: Sample>(
        &self,
        column: &str,
        example: u32,
        row: &mut [T],
    ) -> Result<(), DataError> {
        self.gather(column, &[example], row)
    }

    /// Where an example lies in the columns.
    fn stored(&self, example: u32) -> Result<u32, DataError> {
        let stored = match &self.selection {
            Some(selection) => selection.get(example as usize).copied(),
            None => ((example as usize) < self.n_examples).then_some(example),
        };
        stored.ok_or_else(|| DataError::NoExample {
            dataset: self.name.clone(),
            example,
            examples: self.n_examples,
        })
    }
}

/// A data set as it is trained with.
#[derive(Debug, Clone)]
pub struct Splits {
    /// Examples to learn from.
    pub train: Dataset,
    /// Examples to judge by, when the source has them apart.
    pub test: Option<Dataset>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Dataset {
        let x = Column::from_f32("x", &[2], vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        let label = Column::from_labels("label", Some(3), vec![2, 0, 1]);
        Dataset::new("small", vec![x, label]).expect("a sound table")
    }

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let data = small();
        let mut x = [0.0; 6];
        data.gather("x", &[2, 0, 2], &mut x).expect("in range");
        assert_eq!(x, [2.0, 2.5, 0.0, 0.5, 2.0, 2.5]);
        let mut label = [0];
        data.fetch("label", 1, &mut label).expect("in range");
        assert_eq!(label, [0]);
        assert_eq!(data.column("label").map(Column::kind).ok(), Some(ColumnKind::Label));
    }

    #[test]
    fn bytes_are_scaled_after_their_header() {
        let bytes = Bytes::Owned(vec![9, 9, 0, 51, 255, 128]);
        let x = Column::from_scaled_bytes("x", &[2, 1], bytes, 2, 255.0);
        let label = Column::from_byte_labels("label", None, Bytes::Owned(vec![7, 200]), 0);
        let data = Dataset::new("bytes", vec![x, label]).expect("a sound table");
        let mut x = [0.0; 4];
        data.gather("x", &[1, 0], &mut x).expect("in range");
        assert_eq!(x, [1.0, 128.0 / 255.0, 0.0, 0.2]);
        let mut label = [0; 2];
        data.gather("label", &[1, 0], &mut label).expect("in range");
        assert_eq!(label, [200, 7]);
    }

    #[test]
    fn selections_of_selections_keep_their_order() {
        let odd = small().select("odd", &[2, 1]).expect("in range");
        let last = odd.select("last", &[1, 1, 0]).expect("in range");
        let mut label = [0; 3];
        last.gather("label", &[0, 1, 2], &mut label).expect("in range");
        assert_eq!(label, [0, 0, 1]);
        assert_eq!(last.n_examples(), 3);
        let error = last.fetch("label", 3, &mut [0]).expect_err("out of range");
        assert_eq!(error.to_string(), "example 3 is not in 0..3 of data `last`");
        let error = odd.select("none", &[2]).expect_err("out of range");
        assert_eq!(error.to_string(), "example 2 is not in 0..2 of data `odd`");
    }

    #[test]
    fn misuse_is_explained() {
        let data = small();
        let text = |result: Result<(), DataError>| result.expect_err("refused").to_string();
        assert_eq!(
            text(data.gather("y", &[0], &mut [0.0_f32])),
            "data `small` has no column `y`; it has `x`, `label`"
        );
        assert_eq!(
            text(data.gather("label", &[0], &mut [0.0_f32])),
            "column `label` holds I32, not F32"
        );
        assert_eq!(
            text(data.gather("x", &[0, 1], &mut [0.0_f32; 3])),
            "2 examples of column `x` are 4 values, but there is room for 3"
        );
    }

    #[test]
    fn tables_that_contradict_themselves_are_refused() {
        let text = |columns| Dataset::new("t", columns).expect_err("refused").to_string();
        let x = || Column::from_f32("x", &[2], vec![0.0; 6]);
        assert_eq!(text(vec![x(), x()]), "data `t` has two columns named `x`");
        assert_eq!(
            text(vec![x(), Column::from_labels("label", None, vec![0, 1])]),
            "column `label` of data `t` has 2 values, which are not 3 examples of shape []"
        );
        assert_eq!(
            text(vec![Column::from_f32("x", &[4], vec![0.0; 6])]),
            "column `x` of data `t` has 6 values, which are not 0 examples of shape [4]"
        );
        assert_eq!(
            text(vec![Column::from_f32("x", &[usize::MAX, 3], vec![0.0; 6])]),
            format!(
                "column `x` of data `t` has 6 values, which are not 0 examples of shape {:?}",
                [usize::MAX, 3]
            )
        );
        assert_eq!(
            text(vec![]),
            "data `t` has 0 columns of 0 examples; at least one and at most 4294967295 are needed"
        );
        assert_eq!(
            text(vec![x(), Column::from_labels("label", Some(2), vec![0, 1, 2])]),
            "column `label` of data `t`, example 2: label 2 is not in 0..2"
        );
        assert_eq!(
            text(vec![Column::from_labels("label", Some(2), vec![0, -1])]),
            "column `label` of data `t`, example 1: label -1 is not in 0..2"
        );
    }
}
