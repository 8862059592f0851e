//! A table of examples: named columns, in memory or mapped from files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::column::{Column, ColumnKind, Sample};
use crate::error::DataError;
use crate::shuffle::permutation;

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
            if columns[..index].iter().any(|other| other.name() == column.name()) {
                return Err(DataError::DuplicateColumn {
                    dataset: dataset(),
                    column: column.name().to_owned(),
                });
            }
            if column.n_examples() != Some(n_examples) {
                return Err(DataError::ColumnLength {
                    dataset: dataset(),
                    column: column.name().to_owned(),
                    values: column.n_values(),
                    examples: n_examples,
                    shape: column.shape().to_vec(),
                });
            }
            if let Some(fault) = column.first_bad_label() {
                return Err(fault.in_dataset(name, column));
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
        self.columns.iter().find(|column| column.name() == name).ok_or_else(|| {
            DataError::NoColumn {
                dataset: self.name.clone(),
                column: name.to_owned(),
                columns: self.columns.iter().map(|column| column.name().to_owned()).collect(),
            }
        })
    }

    /// Whether fetching examples may take long, so that it is worth while to read ahead: some are decoded, or lie in large files.
    pub fn is_slow(&self) -> bool {
        self.columns.iter().any(Column::is_slow)
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
        if !column.serves(T::ELEM) {
            return Err(DataError::ColumnType {
                column: column.name().to_owned(),
                elem: column.elem(),
                asked: T::ELEM,
            });
        }
        let row_len = column.row_len();
        let expected = examples.len().saturating_mul(row_len);
        if out.len() != expected {
            return Err(DataError::BatchRoom {
                column: column.name().to_owned(),
                examples: examples.len(),
                expected,
                found: out.len(),
            });
        }
        for (&example, row) in examples.iter().zip(out.chunks_exact_mut(row_len)) {
            T::copy_row(column, self.stored(example)? as usize, row)
                .map_err(|fault| fault.in_dataset(&self.name, column))?;
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

/// Which examples are set apart to judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apart {
    /// Any, by a fixed shuffle that is the same for every seed of training.
    Any,
    /// The last ones; so many before them are left out, because they share values with them.
    Last { gap: usize },
}

/// Decides which examples are set apart, and never changes.
const SPLIT_SEED: u64 = 0x5350_4C49;

impl Splits {
    /// The same with as many classes as the labels of both parts show, where these begin at 0.
    pub(crate) fn with_shared_classes(mut self) -> Result<Self, DataError> {
        let names: Vec<String> = {
            let labels = self.train.columns().iter().filter(|column| {
                column.kind() == ColumnKind::Label && column.n_classes().is_none()
            });
            labels.map(|column| column.name().to_owned()).collect()
        };
        for name in names {
            let mut ranges = vec![self.train.column(&name)?.integer_range()];
            if let Some(test) = &self.test {
                ranges.push(test.column(&name).ok().and_then(Column::integer_range));
            }
            let greatest = ranges.into_iter().try_fold(0, |greatest, range| match range {
                Some((least, most)) if least >= 0 => Some(most.max(greatest)),
                _ => None,
            });
            let Some(n_classes) = greatest.and_then(|most| usize::try_from(most + 1).ok()) else {
                continue;
            };
            for part in std::iter::once(&mut self.train).chain(&mut self.test) {
                // Nothing shares the columns of data that are being loaded.
                let columns = Arc::get_mut(&mut part.columns).into_iter().flatten();
                columns.filter(|c| c.name() == name).for_each(|c| c.set_classes(n_classes));
            }
        }
        Ok(self)
    }

    /// Sets a part of the training examples apart to judge by: the fraction of them, rounded, at least one.
    pub(crate) fn set_apart(self, fraction: f64, apart: Apart) -> Result<Self, DataError> {
        if self.test.is_some() {
            let dataset = self.train.name().to_owned();
            return Err(DataError::TwoTests { dataset, option: "split" });
        }
        let examples = self.train.n_examples();
        let n_test = ((examples as f64 * fraction).round() as usize).max(1);
        let mut order: Vec<u32> = (0..=u32::MAX).take(examples).collect();
        let gap = match apart {
            Apart::Any => {
                permutation(SPLIT_SEED, 0, &mut order);
                0
            }
            Apart::Last { gap } => gap,
        };
        let Some(n_train) = examples.checked_sub(n_test + gap).filter(|&n| n > 0) else {
            let dataset = self.train.name().to_owned();
            return Err(DataError::Split { dataset, examples, fraction });
        };
        let name = self.train.name();
        Ok(Splits {
            train: self.train.select(&format!("{name} (training)"), &order[..n_train])?,
            test: Some(self.train.select(&format!("{name} (test)"), &order[examples - n_test..])?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::{Bytes, Shard, Stored};

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
        let shard = |bytes, start, pitch| Shard {
            path: None,
            bytes: Arc::new(bytes),
            start,
            examples: 2,
            pitch,
            strides: None,
        };
        let (features, label) = (ColumnKind::Features, ColumnKind::Label);
        let shards = vec![shard(bytes, 2, 2)];
        let x = Column::from_shards("x", features, &[2, 1], Stored::U8, 255.0, shards)
            .expect("it lies within the bytes");
        let shards = vec![shard(Bytes::Owned(vec![7, 200]), 0, 1)];
        let label = Column::from_shards("label", label, &[], Stored::U8, 1.0, shards)
            .expect("it lies within the bytes");
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
        assert_eq!(text(data.gather("x", &[0], &mut [0; 2])), "column `x` holds F32, not I32");
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
