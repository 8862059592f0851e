//! Folders of the MNIST family: four IDX files, plain or compressed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::column::{Column, ColumnKind, Shard, Stored};
use crate::dataset::{Dataset, Splits};
use crate::error::DataError;
use crate::idx::{self, Content, Idx};

/// Where the Debian package puts the Fashion-MNIST files.
pub const FASHION_MNIST_DIR: &str = "/usr/share/datasets/fashion-mnist";
/// The Debian package that brings them.
pub const FASHION_MNIST_PACKAGE: &str = "dataset-fashion-mnist";

/// White, as a byte.
const LARGEST_PIXEL: f32 = 255.0;

/// The data in a folder that holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same two with `t10k-`, each
/// plain or with `.gz`; a dot in place of the last hyphen but one (`train-images.idx3-ubyte`) is understood too. Plain
/// files are mapped, compressed ones decoded to memory; plain ones are preferred. Without any `t10k-` file there is no test set.
///
/// Columns: `image`, f32 `[rows, columns, 1]`, pixels divided by 255; `label`, i32.
///
/// # Errors
/// When files are missing, damaged, or do not fit together; the message names file, offset, what was expected and found.
pub fn mnist(directory: &Path) -> Result<Splits, DataError> {
    let train = Part::read(directory, "train")?;
    let test_exists = ["images-idx3-ubyte", "labels-idx1-ubyte"]
        .iter()
        .any(|stem| find(directory, &format!("t10k-{stem}")).is_ok());
    let test = if test_exists { Some(Part::read(directory, "t10k")?) } else { None };
    if let Some(test) = &test
        && test.image_size() != train.image_size()
    {
        return Err(DataError::ImageSize {
            first: train.images_path,
            first_size: [train.images.extents[1], train.images.extents[2]],
            second: test.images_path.clone(),
            second_size: test.image_size(),
        });
    }
    // A class that one part lacks is still a class.
    let n_classes = [Some(&train), test.as_ref()]
        .into_iter()
        .flatten()
        .map(Part::n_classes)
        .max()
        .expect("there is a training part");
    let name = directory.display();
    Ok(Splits {
        train: train.into_dataset(&format!("{name} (training)"), n_classes)?,
        test: test
            .map(|test| test.into_dataset(&format!("{name} (test)"), n_classes))
            .transpose()?,
    })
}

/// Images and labels that belong together.
#[derive(Debug)]
struct Part {
    images_path: PathBuf,
    images: Idx,
    labels_path: PathBuf,
    labels: Idx,
}

impl Part {
    fn read(directory: &Path, prefix: &str) -> Result<Self, DataError> {
        let images_path = find(directory, &format!("{prefix}-images-idx3-ubyte"))?;
        let labels_path = find(directory, &format!("{prefix}-labels-idx1-ubyte"))?;
        let images = idx::read(&images_path, Content::Images)?;
        let labels = idx::read(&labels_path, Content::Labels)?;
        let (n_images, n_labels) = (images.extents[0], labels.extents[0]);
        if n_images != n_labels {
            return Err(DataError::Counts {
                images: images_path,
                n_images,
                labels: labels_path,
                n_labels,
            });
        }
        Ok(Part { images_path, images, labels_path, labels })
    }

    fn image_size(&self) -> [usize; 2] {
        [self.images.extents[1], self.images.extents[2]]
    }

    fn n_classes(&self) -> usize {
        let labels = &self.labels.bytes[self.labels.start..];
        labels.iter().max().map_or(0, |&label| usize::from(label) + 1)
    }

    fn into_dataset(self, name: &str, n_classes: usize) -> Result<Dataset, DataError> {
        let [rows, columns] = self.image_size();
        let shard = |path: PathBuf, idx: Idx, pitch| Shard {
            path: Some(path.into()),
            bytes: Arc::new(idx.bytes),
            start: idx.start,
            examples: idx.extents[0],
            pitch,
            strides: None,
        };
        let images = vec![shard(self.images_path, self.images, rows * columns)];
        let labels = vec![shard(self.labels_path, self.labels, 1)];
        let (shape, features) = ([rows, columns, 1], ColumnKind::Features);
        let image =
            Column::from_shards("image", features, &shape, Stored::U8, LARGEST_PIXEL, images)?;
        let label = Column::from_shards("label", ColumnKind::Label, &[], Stored::U8, 1.0, labels)?
            .with_classes(n_classes);
        Dataset::new(name, vec![image, label])
    }
}

/// The file of that usual name under one of its spellings.
fn find(directory: &Path, usual: &str) -> Result<PathBuf, DataError> {
    let dotted = usual.replacen("-idx", ".idx", 1);
    let candidates =
        [usual.to_owned(), dotted.clone(), format!("{usual}.gz"), format!("{dotted}.gz")];
    candidates.iter().map(|name| directory.join(name)).find(|path| path.is_file()).ok_or_else(
        || DataError::Missing { directory: directory.to_owned(), expected: usual.to_owned() },
    )
}
