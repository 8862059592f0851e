//! Weights by name, as safetensors: canonical row-major elements, whatever the layout that a target prefers.

use dlc_abi::{BufferRole, ElemType, name_of_sliced};
use dlc_exec::{Entry, FileMap, Memory};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::atomic::write_atomically;
use crate::error::{TrainError, list};
use crate::ranks::Ranks;
use crate::session::Session;
use crate::tensor::{Data, Tensor, TensorRef, Values, elem_name};

/// Why weights could not be read, written or set.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be read.
    #[error("could not read weights from `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file could not be written.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are no whole file of tensors.
    #[error("this is no safetensors file, or not a whole one: {0}")]
    Format(#[from] SafeTensorError),
    /// Weights of the model are not in the file.
    #[error("the file lacks {} of `{model}`; it has {}", list(missing), list(found))]
    Missing {
        /// The model.
        model: String,
        /// The names that are missing.
        missing: Vec<String>,
        /// The names in the file.
        found: Vec<String>,
    },
    /// The file has weights that the model lacks.
    #[error("`{model}` has no weights named {}", list(names))]
    Unexpected {
        /// The model.
        model: String,
        /// The names.
        names: Vec<String>,
    },
    /// A weight has another type or shape.
    #[error("weight `{name}` is {expected}, but {found} was given")]
    Mismatch {
        /// The weight.
        name: String,
        /// Its type and shape.
        expected: String,
        /// Those found.
        found: String,
    },
}

/// Whether a buffer is part of the trained model: a parameter, or state of the model itself such as a moving average. The
/// state that an optimizer keeps for a parameter is not; its name is that of the parameter, a slash and its own.
pub fn is_weight(entry: &Entry) -> bool {
    !is_slice(entry) && is_of_weight(entry)
}

/// Whether a buffer is a weight or a slice of one.
fn is_of_weight(entry: &Entry) -> bool {
    entry.role == BufferRole::Param || !entry.name.contains('/')
}

/// Whether a buffer is what one of several ranks trains of a parameter or state. Files have the whole.
fn is_slice(entry: &Entry) -> bool {
    name_of_sliced(&entry.name).is_some()
}

impl Session {
    /// The weights as a safetensors file.
    pub fn export_weights(&self) -> Vec<u8> {
        serialize(self.whole_entries().filter(|found| is_of_weight(found.entry)), None)
    }

    /// Writes the weights to a file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_weights(&self, path: &Path) -> Result<(), TrainError> {
        let result = write_atomically(path, &self.export_weights());
        result.map_err(|source| WeightsError::Write { path: path.to_owned(), source }.into())
    }

    /// Takes weights from the bytes of a safetensors file. It must have every weight of the model, with its type and shape,
    /// and nothing else; otherwise nothing is changed.
    ///
    /// # Errors
    /// When the file is damaged or for another model.
    pub fn import_weights(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        let model = self.model().to_owned();
        let tensors = SafeTensors::deserialize(bytes).map_err(WeightsError::from)?;
        copy_tensors(&mut self.memory, self.ranks.as_ref(), &model, &tensors, is_of_weight)?;
        Ok(())
    }

    /// As [`Session::import_weights`], from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is for another model.
    pub fn load_weights(&mut self, path: &Path) -> Result<(), TrainError> {
        let map = FileMap::open(path)
            .map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
        self.import_weights(&map)
    }

    /// One weight, or optimizer state, by name. States that ranks have in pieces are there on rank 0 when an epoch or a run has ended.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn weight(&self, name: &str) -> Result<Tensor, TrainError> {
        let unknown = || dlc_exec::BufferError::Unknown { name: name.to_owned() };
        let found = self.whole_entries().find(|found| found.name == name);
        let Whole { entry, shape, bytes, .. } = found.ok_or_else(unknown)?;
        let data = match entry.elem {
            ElemType::F32 => Data::F32(numbers(bytes, f32::from_le_bytes)),
            ElemType::F64 => Data::F64(numbers(bytes, f64::from_le_bytes)),
            ElemType::I32 => Data::I32(numbers(bytes, i32::from_le_bytes)),
            ElemType::I64 => Data::I64(numbers(bytes, i64::from_le_bytes)),
            ElemType::U8 | ElemType::Bool => Data::U8(bytes.to_vec()),
            // Half-width floats and signed bytes are handed out as files only.
            ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
                return Err(mismatch(entry, "a type that can be viewed".to_owned()).into());
            }
        };
        Ok(Tensor { shape: shape.to_vec(), data })
    }

    /// Sets one weight, or optimizer state, by name.
    ///
    /// # Errors
    /// When there is none of that name, or it has another type or shape.
    pub fn set_weight(&mut self, name: &str, tensor: TensorRef<'_>) -> Result<(), TrainError> {
        let memory = self.memory_mut();
        let unknown = || dlc_exec::BufferError::Unknown { name: name.to_owned() };
        let index = memory.layout().index(name).ok_or_else(unknown)?;
        let entry = &memory.layout().entries()[index];
        let found = || format!("{}{:?}", elem_name(tensor.values.elem()), tensor.shape);
        if entry.elem != tensor.values.elem()
            || entry.shape != tensor.shape
            || entry.n_elements() != tensor.values.len()
        {
            return Err(mismatch(entry, found()).into());
        }
        match tensor.values {
            Values::F32(values) => memory.write::<f32>(name)?.copy_from_slice(values),
            Values::F64(values) => memory.write::<f64>(name)?.copy_from_slice(values),
            Values::I32(values) => memory.write::<i32>(name)?.copy_from_slice(values),
            Values::I64(values) => memory.write::<i64>(name)?.copy_from_slice(values),
            Values::U8(values) => memory.write::<u8>(name)?.copy_from_slice(values),
        }
        self.scatter();
        Ok(())
    }

    /// Names, types and shapes of the weights, in the order of the text.
    pub fn weights(&self) -> impl Iterator<Item = &Entry> {
        self.memory().layout().entries().iter().filter(|entry| is_weight(entry))
    }
}

/// A parameter or state as files have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole<'a> {
    pub name: &'a str,
    /// What memory has of it: the whole, or the piece of one of several ranks.
    pub entry: &'a Entry,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

impl Session {
    /// All parameters and states that are here whole, in the order in which one process has them. Those that ranks have in pieces are, on
    /// rank 0, from when an epoch or a run ends until the next step.
    pub(crate) fn whole_entries(&self) -> impl Iterator<Item = Whole<'_>> {
        let memory = self.memory();
        let entries = memory.layout().entries().iter().enumerate();
        entries.filter_map(|(index, entry)| match name_of_sliced(&entry.name) {
            None => {
                let bytes = memory.entry_bytes(index).expect("the index comes from the layout");
                Some(Whole { name: &entry.name, entry, shape: &entry.shape, bytes })
            }
            Some(name) => {
                let (shape, bytes) = self.ranks.as_ref()?.aside(name)?;
                Some(Whole { name, entry, shape, bytes })
            }
        })
    }
}

/// Parameters and states as a safetensors file. The file depends on contents alone: tensors are sorted, and there is at
/// most one entry of metadata.
pub(crate) fn serialize<'a>(
    entries: impl Iterator<Item = Whole<'a>>,
    metadata: Option<(&str, String)>,
) -> Vec<u8> {
    let views = entries.map(|Whole { name, entry, shape, bytes }| {
        let view = TensorView::new(dtype(entry.elem), shape.to_vec(), bytes)
            .expect("the layout has checked that shape and size agree");
        (name, view)
    });
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    safetensors::serialize(views, metadata).expect("the header is made of names and numbers")
}

/// Copies tensors of a file into a memory, after all of them were checked. The memory of one of several `ranks` may have only some of
/// them, or slices.
pub(crate) fn copy_tensors(
    memory: &mut Memory,
    ranks: Option<&Ranks>,
    model: &str,
    tensors: &SafeTensors<'_>,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<(), WeightsError> {
    let whole = ranks.is_none_or(Ranks::is_whole);
    let name_of = |entry: &'_ Entry| -> String {
        name_of_sliced(&entry.name).unwrap_or(&entry.name).to_owned()
    };
    let pieces_of =
        |entry: &Entry| ranks.and_then(|ranks| ranks.pieces_of(&entry.name, entry.elem.size()));
    let layout = std::sync::Arc::clone(memory.layout());
    let entries = || layout.entries().iter().enumerate().filter(|(_, entry)| wanted(entry));
    let mut found: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    found.sort_unstable();
    let missing: Vec<String> = entries()
        .map(|(_, entry)| name_of(entry))
        .filter(|name| found.binary_search(name).is_err())
        .collect();
    if !missing.is_empty() {
        return Err(WeightsError::Missing { model: model.to_owned(), missing, found });
    }
    found.retain(|name| !entries().any(|(_, entry)| name_of(entry) == *name));
    if whole && !found.is_empty() {
        return Err(WeightsError::Unexpected { model: model.to_owned(), names: found });
    }
    for (_, entry) in entries() {
        let tensor = tensors.tensor(&name_of(entry))?;
        let shape = pieces_of(entry).map_or(&entry.shape[..], |(shape, _)| shape);
        if tensor.dtype() != dtype(entry.elem) || tensor.shape() != shape {
            let found =
                format!("{}{:?}", tensor.dtype().to_string().to_lowercase(), tensor.shape());
            return Err(mismatch(entry, found));
        }
    }
    for (index, entry) in entries() {
        let bytes = memory.entry_bytes_mut(index).expect("the index comes from the layout");
        let tensor = tensors.tensor(&name_of(entry))?;
        match pieces_of(entry) {
            Some((_, pieces)) => pieces.take(tensor.data(), bytes),
            None => bytes.copy_from_slice(tensor.data()),
        }
    }
    Ok(())
}

/// The numbers of a tensor, from their bytes.
fn numbers<T, const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| of(*chunk)).collect()
}

fn mismatch(entry: &Entry, found: String) -> WeightsError {
    let expected = format!("{}{:?}", elem_name(entry.elem), entry.shape);
    WeightsError::Mismatch { name: entry.name.clone(), expected, found }
}

fn dtype(elem: ElemType) -> Dtype {
    match elem {
        ElemType::F32 => Dtype::F32,
        ElemType::F64 => Dtype::F64,
        ElemType::I32 => Dtype::I32,
        ElemType::I64 => Dtype::I64,
        ElemType::U8 => Dtype::U8,
        ElemType::Bool => Dtype::BOOL,
        ElemType::Bf16 => Dtype::BF16,
        ElemType::F16 => Dtype::F16,
        ElemType::I8 => Dtype::I8,
    }
}

// The format is little-endian, and so are memories that are copied as bytes.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "weights of big-endian machines need their bytes swapped"
);
