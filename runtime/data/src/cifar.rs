//! The binary versions of CIFAR-10 and CIFAR-100: records of one or two bytes of labels and an image of 32x32, channel by
//! channel. The files are mapped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::column::{Bytes, Column, ColumnKind, Shard, Stored};
use crate::dataset::{Dataset, Splits};
use crate::error::{CifarProblem, DataError, Place};
use crate::files::matches;

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const IMAGE_BYTES: usize = SIDE * SIDE * CHANNELS;
const LARGEST_PIXEL: f32 = 255.0;

/// Which of the two sets, and which labels of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cifar {
    /// Ten classes.
    Ten,
    /// A hundred classes.
    Hundred,
    /// The twenty groups that the hundred classes form.
    Twenty,
}

impl Cifar {
    fn label_bytes(self) -> usize {
        match self {
            Cifar::Ten => 1,
            Cifar::Hundred | Cifar::Twenty => 2,
        }
    }

    /// Which byte of a record is the label.
    fn label_at(self) -> usize {
        match self {
            Cifar::Ten | Cifar::Twenty => 0,
            Cifar::Hundred => 1,
        }
    }

    fn n_classes(self) -> usize {
        match self {
            Cifar::Ten => 10,
            Cifar::Hundred => 100,
            Cifar::Twenty => 20,
        }
    }

    /// Files of training, of test, and of the classes' names.
    fn names(self) -> [&'static str; 3] {
        match self {
            Cifar::Ten => ["data_batch_*.bin", "test_batch.bin", "batches.meta.txt"],
            Cifar::Hundred => ["train.bin", "test.bin", "fine_label_names.txt"],
            Cifar::Twenty => ["train.bin", "test.bin", "coarse_label_names.txt"],
        }
    }

    /// The folder in which the published archive has them.
    fn folder(self) -> &'static str {
        match self {
            Cifar::Ten => "cifar-10-batches-bin",
            Cifar::Hundred | Cifar::Twenty => "cifar-100-binary",
        }
    }
}

/// The data in a folder that holds the files of the published archive, or the archive's folder.
///
/// Columns: `image`, f32 `[32, 32, 3]`, red, green and blue divided by 255; `label`, i32. Without the test file there is no test set.
///
/// # Errors
/// When files are missing or not made of whole records.
pub fn cifar(directory: &Path, set: Cifar) -> Result<Splits, DataError> {
    let [train, test, names] = set.names();
    let inner = directory.join(set.folder());
    let directory = if inner.is_dir() { &inner } else { directory };
    let train = matches(&directory.join(train))?;
    let class_names = class_names(&directory.join(names), set)?;
    let name = directory.display();
    let part = |part: &str, paths: Vec<PathBuf>| -> Result<Dataset, DataError> {
        dataset(&format!("{name} ({part})"), paths, set, class_names.as_ref())
    };
    let test = directory.join(test);
    Ok(Splits {
        train: part("training", train)?,
        test: if test.is_file() { Some(part("test", vec![test])?) } else { None },
    })
}

fn dataset(
    name: &str,
    paths: Vec<PathBuf>,
    set: Cifar,
    class_names: Option<&Arc<[String]>>,
) -> Result<Dataset, DataError> {
    let record = set.label_bytes() + IMAGE_BYTES;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        let bytes = Bytes::map(&path)?;
        let fault = |problem: CifarProblem, byte: usize| DataError::File {
            path: path.clone(),
            place: Place::Byte(byte as u64),
            problem: problem.into(),
        };
        let rest = bytes.len() % record;
        if bytes.is_empty() {
            return Err(fault(CifarProblem::Empty { record }, 0));
        }
        if rest != 0 {
            let problem = CifarProblem::Records { bytes: bytes.len(), record, rest };
            return Err(fault(problem, bytes.len() - rest));
        }
        let shard = |bytes: &Arc<Bytes>, start, strides: Option<&[usize]>| Shard {
            path: Some(path.as_path().into()),
            bytes: Arc::clone(bytes),
            start,
            examples: bytes.len() / record,
            pitch: record,
            strides: strides.map(Into::into),
        };
        let bytes = Arc::new(bytes);
        images.push(shard(&bytes, set.label_bytes(), Some(&[SIDE, 1, SIDE * SIDE])));
        labels.push(shard(&bytes, set.label_at(), None));
    }
    let (shape, features) = ([SIDE, SIDE, CHANNELS], ColumnKind::Features);
    let image = Column::from_shards("image", features, &shape, Stored::U8, LARGEST_PIXEL, images)?;
    let label = Column::from_shards("label", ColumnKind::Label, &[], Stored::U8, 1.0, labels)?;
    let label = match class_names {
        Some(names) => label.with_class_names(Arc::clone(names)),
        None => label.with_classes(set.n_classes()),
    };
    Dataset::new(name, vec![image, label])
}

/// The names of the classes, one a line, if the file is there.
fn class_names(path: &Path, set: Cifar) -> Result<Option<Arc<[String]>>, DataError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = Bytes::map(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() != set.n_classes() {
        let problem = CifarProblem::Names { found: names.len(), expected: set.n_classes() };
        let (path, place) = (path.to_owned(), Place::Whole);
        return Err(DataError::File { path, place, problem: problem.into() });
    }
    Ok(Some(names.into()))
}
