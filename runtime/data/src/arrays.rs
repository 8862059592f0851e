//! `.npy` and `.npz` files: arrays whose first axis counts the examples, one after the other over several files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::column::{Bytes, Column, ColumnKind, Shard, Stored};
use crate::dataset::{Dataset, Splits};
use crate::error::{DataError, FileProblem, Place, ZipProblem, stored_name};
use crate::files::{Files, matches};
use crate::npy::Array;
use crate::zip::{self, Method};

/// The ending of arrays of a training part, and those of a test part.
const TRAIN: &str = "_train";
const TESTS: [&str; 3] = ["_test", "_val", "_valid"];

/// A column to be, with all its shards.
#[derive(Debug)]
struct Draft {
    name: String,
    stored: Stored,
    /// Of one example.
    shape: Vec<usize>,
    shards: Vec<Shard>,
    first: Arc<Path>,
}

impl Draft {
    fn describe(stored: Stored, shape: &[usize]) -> String {
        format!("{} of shape {shape:?}", stored_name(stored))
    }

    /// Adds the examples of another file.
    fn extend(&mut self, path: &Path, array: &Array, shard: Shard) -> Result<(), DataError> {
        let shape = &array.shape[1..];
        if (self.stored, &self.shape[..]) != (array.stored, shape) {
            return Err(DataError::Shards {
                column: self.name.clone(),
                first: self.first.to_path_buf(),
                expected: Self::describe(self.stored, &self.shape),
                path: path.to_owned(),
                found: Self::describe(array.stored, shape),
            });
        }
        self.shards.push(shard);
        Ok(())
    }

    fn new(name: &str, path: &Arc<Path>, array: &Array, shard: Shard) -> Self {
        Draft {
            name: name.to_owned(),
            stored: array.stored,
            shape: array.shape[1..].to_vec(),
            shards: vec![shard],
            first: Arc::clone(path),
        }
    }

    /// Bytes with axes are features, as images are stored so; other integers are counted.
    fn kind(&self) -> ColumnKind {
        match self.stored {
            Stored::F32 | Stored::F64 => ColumnKind::Features,
            Stored::U8 if self.shape.iter().any(|&extent| extent > 1) => ColumnKind::Features,
            _ => ColumnKind::Label,
        }
    }

    fn column(self, scale: f32) -> Result<Column, DataError> {
        let kind = self.kind();
        let divisor = if kind == ColumnKind::Features { scale } else { 1.0 };
        Column::from_shards(&self.name, kind, &self.shape, self.stored, divisor, self.shards)
    }
}

/// The arrays of `.npz` archives, each a column of its own name. Arrays that are stored as they are, not compressed, are read where they
/// lie. Names that end in `_train` and `_test` are columns of the two parts. Features are divided by `scale`.
///
/// # Errors
/// When a file cannot be read, is damaged or no such archive, or the files do not agree.
pub(crate) fn npz(files: &Files, test: Option<&Files>, scale: f32) -> Result<Splits, DataError> {
    let drafts = archives(files)?;
    let name = files.to_string();
    let splits = match drafts.iter().any(|draft| draft.name.ends_with(TRAIN)) {
        false => Splits { train: dataset(&name, drafts, scale)?, test: None },
        true => parts(&name, drafts, scale)?,
    };
    with_test(splits, test.map(|files| (files.to_string(), archives(files))), scale)
}

/// Columns of one `.npy` file each, or of several that a pattern names. A column is named as its file, or as the text before `=` says.
///
/// # Errors
/// When a file cannot be read, is damaged or no array, or the files do not agree.
pub(crate) fn npy(files: &Files, test: Option<&Files>, scale: f32) -> Result<Splits, DataError> {
    let train = dataset(&files.to_string(), single_arrays(files)?, scale)?;
    let splits = Splits { train, test: None };
    with_test(splits, test.map(|files| (files.to_string(), single_arrays(files))), scale)
}

fn with_test(
    splits: Splits,
    test: Option<(String, Result<Vec<Draft>, DataError>)>,
    scale: f32,
) -> Result<Splits, DataError> {
    let Some((name, drafts)) = test else { return splits.with_shared_classes() };
    if splits.test.is_some() {
        return Err(DataError::TwoTests {
            dataset: splits.train.name().to_owned(),
            option: "test",
        });
    }
    let test = Some(dataset(&name, drafts?, scale)?);
    Splits { test, ..splits }.with_shared_classes()
}

fn dataset(name: &str, drafts: Vec<Draft>, scale: f32) -> Result<Dataset, DataError> {
    let columns = drafts.into_iter().map(|draft| draft.column(scale)).collect::<Result<_, _>>()?;
    Dataset::new(name, columns)
}

/// Two data sets of arrays whose names end in the name of their part.
fn parts(name: &str, drafts: Vec<Draft>, scale: f32) -> Result<Splits, DataError> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for draft in drafts {
        let of_test = TESTS.iter().find_map(|ending| draft.name.strip_suffix(ending));
        let (part, short) = match (draft.name.strip_suffix(TRAIN), of_test) {
            (Some(short), _) => (&mut train, short),
            (None, Some(short)) => (&mut test, short),
            (None, None) => {
                return Err(DataError::NoPart {
                    path: draft.first.to_path_buf(),
                    array: draft.name,
                });
            }
        };
        part.push(Draft { name: short.to_owned(), ..draft });
    }
    let of = |part: &str, drafts| dataset(&format!("{name} ({part})"), drafts, scale);
    Ok(Splits {
        train: of("training", train)?,
        test: if test.is_empty() { None } else { Some(of("test", test)?) },
    })
}

/// All arrays of all archives; each archive has the same ones.
fn archives(files: &Files) -> Result<Vec<Draft>, DataError> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (index, path) in files.resolve()?.into_iter().enumerate() {
        let path: Arc<Path> = path.into();
        let bytes = Arc::new(Bytes::map(&path)?);
        let mut seen = Vec::new();
        for (name, array, bytes, start) in arrays_of(&path, &bytes)? {
            let shard = array.shard(&path, &bytes, start);
            match drafts.iter_mut().find(|draft| draft.name == name) {
                Some(draft) if !seen.contains(&name) => draft.extend(&path, &array, shard)?,
                None if index > 0 => {
                    let found = Draft::describe(array.stored, &array.shape[1..]);
                    return Err(DataError::Shards {
                        column: name,
                        first: drafts[0].first.to_path_buf(),
                        expected: "not there".to_owned(),
                        path: path.to_path_buf(),
                        found,
                    });
                }
                // `Dataset::new` refuses names that stand twice.
                Some(_) | None => drafts.push(Draft::new(&name, &path, &array, shard)),
            }
            seen.push(name);
        }
        if let Some(draft) = drafts.iter().find(|draft| !seen.contains(&draft.name)) {
            return Err(DataError::Shards {
                column: draft.name.clone(),
                first: draft.first.to_path_buf(),
                expected: Draft::describe(draft.stored, &draft.shape),
                path: path.to_path_buf(),
                found: "not there".to_owned(),
            });
        }
    }
    Ok(drafts)
}

/// The arrays of an archive: name, header, the bytes that hold it, and where in these it begins.
fn arrays_of(
    path: &Path,
    archive: &Arc<Bytes>,
) -> Result<Vec<(String, Array, Arc<Bytes>, usize)>, DataError> {
    let fault = |(byte, problem): zip::Fault| DataError::File {
        path: path.to_owned(),
        place: Place::Byte(byte),
        problem: problem.into(),
    };
    let entries = zip::entries(archive).map_err(fault)?;
    if entries.is_empty() {
        return Err(fault((0, ZipProblem::Empty)));
    }
    let mut arrays = Vec::new();
    for entry in entries {
        let Some(name) = entry.name.strip_suffix(".npy").map(str::to_owned) else {
            return Err(fault((entry.start as u64, ZipProblem::NoArray { name: entry.name })));
        };
        let (bytes, start) = match entry.method {
            Method::Stored => (Arc::clone(archive), entry.start),
            Method::Deflated => (Arc::new(Bytes::Owned(entry.unpack(archive).map_err(fault)?)), 0),
        };
        let end = start + entry.size as usize;
        let array = Array::read(&bytes[start..end]).map_err(|(byte, problem)| DataError::File {
            path: path.to_owned(),
            place: Place::Array { name: name.clone(), byte },
            problem: FileProblem::Npy(problem),
        })?;
        arrays.push((name, array, bytes, start));
    }
    Ok(arrays)
}

/// One column for each path of the text.
fn single_arrays(files: &Files) -> Result<Vec<Draft>, DataError> {
    files.patterns().iter().map(|pattern| single_array(pattern)).collect()
}

fn single_array(pattern: &Path) -> Result<Draft, DataError> {
    let text = pattern.to_string_lossy();
    let (given, pattern) = match text.split_once('=') {
        Some((name, path)) => (Some(name.to_owned()), PathBuf::from(path)),
        None => (None, pattern.to_owned()),
    };
    let stem = || {
        let stem = pattern.file_stem().unwrap_or_default().to_string_lossy();
        let ends = |c: char| matches!(c, '*' | '-' | '_' | '.');
        stem.trim_matches(ends).to_owned()
    };
    let name = given.unwrap_or_else(stem);
    let mut draft: Option<Draft> = None;
    for path in matches(&pattern)? {
        let path: Arc<Path> = path.into();
        let bytes = Arc::new(Bytes::map(&path)?);
        let array = Array::read(&bytes).map_err(|(byte, problem)| DataError::File {
            path: path.to_path_buf(),
            place: Place::Byte(byte),
            problem: FileProblem::Npy(problem),
        })?;
        let shard = array.shard(&path, &bytes, 0);
        match &mut draft {
            Some(draft) => draft.extend(&path, &array, shard)?,
            None => draft = Some(Draft::new(&name, &path, &array, shard)),
        }
    }
    draft.ok_or(DataError::NoMatch { pattern })
}
