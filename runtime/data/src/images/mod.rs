//! Folders of images, PNG and JPEG: a folder for each class. Images are decoded when they are fetched.

mod decode;
mod resize;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::column::Column;
use crate::dataset::{Dataset, Splits};
use crate::error::{DataError, ImageProblem, Place};
use crate::files::natural_key;

/// How an image of another size is brought to that of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Scaled until it covers the column's size, then cut at both sides equally.
    Crop,
    /// Scaled along each axis for itself.
    Stretch,
}

/// How images are read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImageOptions {
    /// Height and width; those of the first image without it.
    pub size: Option<[usize; 2]>,
    /// 1 for grey values, 3 for red, green and blue.
    pub channels: usize,
    pub fit: Fit,
}

/// More pixels than this no picture of a data set has.
const MOST_PIXELS: u64 = 1 << 26;
/// Names of folders that hold parts.
const TRAIN: &str = "train";
const TESTS: [&str; 4] = ["test", "val", "valid", "validation"];
/// Endings of pictures that are read, and of those that are not.
const READ: [&str; 3] = ["png", "jpg", "jpeg"];
const NOT_READ: [&str; 7] = ["gif", "webp", "bmp", "tif", "tiff", "avif", "heic"];

/// Files of images, each decoded to the same size when it is fetched.
#[derive(Debug)]
pub(crate) struct ImageFiles {
    paths: Vec<PathBuf>,
    size: [usize; 2],
    channels: usize,
    fit: Fit,
}

/// Eight-bit pixels, row by row, channels last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Picture {
    width: usize,
    height: usize,
    /// 1 or 3.
    channels: usize,
    pixels: Vec<u8>,
}

/// The images of a folder whose folders are classes, in the order of their names; or whose folders `train` and `test` hold such folders.
/// Images that lie in the folder itself have no label.
///
/// Columns: `image`, f32 `[height, width, channels]`, values divided by 255; `label`, i32.
///
/// # Errors
/// When a folder cannot be read, has no image, or a class has none, or the first image cannot be decoded. Others are looked at when they are
/// fetched.
pub(crate) fn images(
    directory: &Path,
    test: Option<&Path>,
    options: &ImageOptions,
) -> Result<Splits, DataError> {
    let inner = directory.join(TRAIN);
    let train = if inner.is_dir() { &inner } else { directory };
    let beside = || TESTS.iter().map(|name| directory.join(name)).find(|path| path.is_dir());
    let test = match (test, inner.is_dir()) {
        (Some(test), _) => Some(test.to_owned()),
        (None, true) => beside(),
        (None, false) => None,
    };
    let classes = Classes::of(train)?;
    let files = classes.files(train)?;
    let size = match options.size {
        Some(size) => size,
        None => {
            let path = &files[0].0;
            let picture = decode::picture(path).map_err(|problem| fault(path, problem))?;
            [picture.height, picture.width]
        }
    };
    let dataset = |name: &Path, files| dataset(name, files, size, options, &classes);
    Ok(Splits {
        train: dataset(train, files)?,
        test: match &test {
            Some(test) => Some(dataset(test, classes.files(test)?)?),
            None => None,
        },
    })
}

fn fault(path: &Path, problem: ImageProblem) -> DataError {
    DataError::File { path: path.to_owned(), place: Place::Whole, problem: problem.into() }
}

/// The names of the classes; none where images have no label.
struct Classes(Option<Arc<[String]>>);

impl Classes {
    fn of(directory: &Path) -> Result<Self, DataError> {
        let (folders, images) = entries(directory)?;
        if !images.is_empty() && folders.is_empty() {
            return Ok(Classes(None));
        }
        if folders.is_empty() {
            return Err(DataError::NoImages { directory: directory.to_owned() });
        }
        Ok(Classes(Some(folders.into())))
    }

    /// All images of a folder with their labels, class after class.
    fn files(&self, directory: &Path) -> Result<Vec<(PathBuf, i32)>, DataError> {
        let (folders, images) = entries(directory)?;
        let Some(names) = &self.0 else {
            let files: Vec<_> = images.iter().map(|name| (directory.join(name), 0)).collect();
            return match files.is_empty() {
                true => Err(DataError::NoImages { directory: directory.to_owned() }),
                false => Ok(files),
            };
        };
        if let Some(other) = folders.iter().find(|folder| !names.contains(folder)) {
            return Err(DataError::OtherClass {
                directory: directory.join(other),
                classes: names.to_vec(),
            });
        }
        let mut files = Vec::new();
        for (label, name) in (0..).zip(names.iter()) {
            let folder = directory.join(name);
            // A part may lack a class; that all of them have images is looked at where the classes come from.
            let images = if folder.is_dir() { entries(&folder)?.1 } else { Vec::new() };
            if images.is_empty() && folder.is_dir() {
                return Err(DataError::NoImages { directory: folder });
            }
            files.extend(images.iter().map(|image| (folder.join(image), label)));
        }
        match files.is_empty() {
            true => Err(DataError::NoImages { directory: directory.to_owned() }),
            false => Ok(files),
        }
    }
}

/// Folders and images of a folder, each in the order of their names. Hidden files and such that are no pictures are passed over.
fn entries(directory: &Path) -> Result<(Vec<String>, Vec<String>), DataError> {
    let io = |source| DataError::Io { path: directory.to_owned(), source };
    let (mut folders, mut images) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            folders.push(name);
        } else if READ.contains(&&*ending) {
            images.push(name);
        } else if NOT_READ.contains(&&*ending) {
            return Err(fault(&path, ImageProblem::Format { ending }));
        }
    }
    for names in [&mut folders, &mut images] {
        names.sort_by_cached_key(|name| (natural_key(name), name.clone()));
    }
    Ok((folders, images))
}

fn dataset(
    name: &Path,
    files: Vec<(PathBuf, i32)>,
    size: [usize; 2],
    options: &ImageOptions,
    classes: &Classes,
) -> Result<Dataset, DataError> {
    let (paths, labels): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let (channels, fit) = (options.channels, options.fit);
    let images = ImageFiles { paths, size, channels, fit };
    let mut columns = vec![Column::from_images("image", images)];
    if let Some(names) = &classes.0 {
        let label = Column::from_labels("label", None, labels).with_class_names(Arc::clone(names));
        columns.push(label);
    }
    Dataset::new(&name.display().to_string(), columns)
}

impl ImageFiles {
    pub fn n_images(&self) -> usize {
        self.paths.len()
    }

    pub fn shape(&self) -> [usize; 3] {
        [self.size[0], self.size[1], self.channels]
    }

    pub fn path(&self, example: usize) -> &Path {
        &self.paths[example]
    }

    /// Decodes an image and brings it to the common size.
    pub fn copy_f32(&self, example: usize, row: &mut [f32]) -> Result<(), DataError> {
        const WHITE: f32 = 255.0;
        let path = self.path(example);
        let picture = decode::picture(path).map_err(|problem| fault(path, problem))?;
        let picture = picture.with_channels(self.channels);
        let picture = resize::resize(picture, self.size, self.fit);
        for (value, &pixel) in row.iter_mut().zip(&picture.pixels) {
            *value = f32::from(pixel) / WHITE;
        }
        Ok(())
    }
}

impl Picture {
    /// The same with so many channels. Grey is the weighted sum of ITU-R BT.601.
    fn with_channels(self, channels: usize) -> Self {
        let pixels = match (self.channels, channels) {
            (3, 1) => {
                let (colours, _) = self.pixels.as_chunks::<3>();
                let grey = |&[r, g, b]: &[u8; 3]| {
                    let [r, g, b] = [r, g, b].map(u32::from);
                    ((299 * r + 587 * g + 114 * b + 500) / 1000) as u8
                };
                colours.iter().map(grey).collect()
            }
            (1, 3) => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            _ => return self,
        };
        Picture { channels, pixels, ..self }
    }
}
