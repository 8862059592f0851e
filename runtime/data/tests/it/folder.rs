//! A folder of files for a test.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use dlc_data::{DataError, DataSpec, Dataset, Splits};

/// A folder of its own that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dlc-data-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Folder(path)
    }

    /// A folder with some files.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        let folder = Folder::new();
        files.iter().for_each(|(name, bytes)| folder.write(name, bytes));
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("the folder is writable");
        }
        fs::write(path, bytes).expect("the folder is writable");
    }

    /// Loads data by a text in which `DIR` stands for the folder.
    pub fn load(&self, spec: &str) -> Result<Splits, DataError> {
        let spec = spec.replace("DIR", &self.0.to_string_lossy());
        spec.parse::<DataSpec>().map_err(DataError::from)?.load()
    }

    /// What is said of data that cannot be loaded, or of which an example cannot be had, with `DIR` for the folder.
    pub fn error(&self, spec: &str) -> String {
        match self.load(spec) {
            Err(error) => self.shorten(&error),
            Ok(splits) => {
                let parts = std::iter::once(&splits.train).chain(&splits.test);
                let errors = parts.filter_map(|part| read_all(part).err());
                self.shorten(&errors.into_iter().next().expect("the files are broken"))
            }
        }
    }

    /// A message with its causes, with `DIR` for the folder.
    pub fn shorten(&self, error: &DataError) -> String {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        text.replace(&*self.0.to_string_lossy(), "DIR")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary place harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every value of every column, as real numbers.
pub fn read_all(dataset: &Dataset) -> Result<Vec<(String, Vec<f32>)>, DataError> {
    let examples: Vec<u32> = (0..dataset.n_examples() as u32).collect();
    let read = |column: &dlc_data::Column| {
        let n = examples.len() * column.row_len();
        let mut values = vec![0.0; n];
        if column.serves(dlc_abi::ElemType::I32) {
            dataset.gather(column.name(), &examples, &mut vec![0_i32; n])?;
        }
        dataset.gather(column.name(), &examples, &mut values)?;
        Ok((column.name().to_owned(), values))
    };
    dataset.columns().iter().map(read).collect()
}

/// The integers of a column.
pub fn integers(dataset: &Dataset, column: &str) -> Vec<i32> {
    let examples: Vec<u32> = (0..dataset.n_examples() as u32).collect();
    let row = dataset.column(column).expect("the column is there").row_len();
    let mut values = vec![0; examples.len() * row];
    dataset.gather(column, &examples, &mut values).expect("they are integers");
    values
}

/// The real numbers of a column.
pub fn reals(dataset: &Dataset, column: &str) -> Vec<f32> {
    let all = read_all(dataset).expect("the data are sound");
    all.into_iter().find(|(name, _)| name == column).expect("the column is there").1
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory is writable");
    encoder.finish().expect("memory is writable")
}
