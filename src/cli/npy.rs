//! Tensors in `.npy` files.

use anyhow::Context;
use dlc::Array;
use dlc_abi::ElemType;
use dlc_train::{Data, Tensor};
use ndarray::ArrayD;
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement, WriteNpyExt};
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::wrong_input;

/// Reads a file as a tensor of an element type. Doubles are rounded to single precision, and integers of other widths are taken
/// where all values fit, because these are what array programs write unless told otherwise.
pub(super) fn read(path: &Path, elem: ElemType) -> anyhow::Result<Tensor> {
    let wrong = |what: &str| {
        wrong_input(format!("`{}` cannot be read as {elem:?}: {what}", path.display()))
    };
    let (shape, data) = match elem {
        ElemType::F32 => match array::<f32>(path)? {
            Some(array) => parts(array, Data::F32),
            None => match array::<f64>(path)? {
                Some(array) => parts(array.mapv(|value| value as f32), Data::F32),
                None => return Err(wrong("its elements are no floats")),
            },
        },
        ElemType::F64 => match array::<f64>(path)? {
            Some(array) => parts(array, Data::F64),
            None => match array::<f32>(path)? {
                Some(array) => parts(array.mapv(f64::from), Data::F64),
                None => return Err(wrong("its elements are no floats")),
            },
        },
        ElemType::I32 | ElemType::I64 | ElemType::U8 => {
            let Some((shape, values)) = integers(path)? else {
                return Err(wrong("its elements are no integers"));
            };
            let range = || wrong("a value is out of range");
            let data = match elem {
                ElemType::I64 => Data::I64(values),
                ElemType::U8 => Data::U8(convert(&values).ok_or_else(range)?),
                _ => Data::I32(convert(&values).ok_or_else(range)?),
            };
            (shape, data)
        }
        ElemType::Bool => match array::<bool>(path)? {
            Some(array) => parts(array.mapv(u8::from), Data::U8),
            None => return Err(wrong("its elements are no truth values")),
        },
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            return Err(wrong("the model takes a storage type, which `.npy` files do not hold"));
        }
    };
    Ok(Tensor { shape, data })
}

fn parts<T: Clone>(array: ArrayD<T>, data: impl FnOnce(Vec<T>) -> Data) -> (Vec<usize>, Data) {
    let shape = array.shape().to_vec();
    // Files may hold arrays in column-major order; iteration is row-major always.
    (shape, data(array.iter().cloned().collect()))
}

/// Integers of any width.
fn integers(path: &Path) -> anyhow::Result<Option<(Vec<usize>, Vec<i64>)>> {
    fn widen<T: Copy + Into<i64>>(array: ArrayD<T>) -> (Vec<usize>, Vec<i64>) {
        (array.shape().to_vec(), array.iter().map(|&value| value.into()).collect())
    }
    if let Some(array) = array::<i64>(path)? {
        return Ok(Some(widen(array)));
    }
    if let Some(array) = array::<i32>(path)? {
        return Ok(Some(widen(array)));
    }
    if let Some(array) = array::<u8>(path)? {
        return Ok(Some(widen(array)));
    }
    if let Some(array) = array::<i8>(path)? {
        return Ok(Some(widen(array)));
    }
    if let Some(array) = array::<i16>(path)? {
        return Ok(Some(widen(array)));
    }
    if let Some(array) = array::<u16>(path)? {
        return Ok(Some(widen(array)));
    }
    Ok(array::<u32>(path)?.map(widen))
}

fn convert<T: TryFrom<i64>>(values: &[i64]) -> Option<Vec<T>> {
    values.iter().map(|&value| T::try_from(value).ok()).collect()
}

/// The array, or nothing when its elements are of another type.
fn array<T: ReadableElement>(path: &Path) -> anyhow::Result<Option<ArrayD<T>>> {
    let unread = |error: &dyn std::fmt::Display| {
        wrong_input(format!("could not read `{}`: {error}", path.display()))
    };
    let mut file = File::open(path).map_err(|error| unread(&error))?;
    let bytes = file.metadata().map_err(|error| unread(&error))?.len();
    let mut start = Vec::new();
    file.by_ref().take(LONGEST_HEADER).read_to_end(&mut start).map_err(|error| unread(&error))?;
    // The reader makes room for as many elements as the header says; only a file that holds them may say so.
    if said_elements(&start).is_some_and(|elements| elements > u128::from(bytes)) {
        return Err(unread(&format!("its shape asks for more than its {bytes} bytes")));
    }
    file.rewind().map_err(|error| unread(&error))?;
    match ArrayD::<T>::read_npy(BufReader::new(file)) {
        Ok(array) => Ok(Some(array)),
        Err(ReadNpyError::WrongDescriptor(_)) => Ok(None),
        Err(error) => Err(unread(&error)),
    }
}

/// Bytes within which a header names its shape: rank 32, the most that array programs have, with room for other entries.
const LONGEST_HEADER: u64 = 4096;

/// The number of elements that the start of a file speaks of, if it names a shape.
fn said_elements(start: &[u8]) -> Option<u128> {
    let text = String::from_utf8_lossy(start);
    let (_, rest) = text.split_once("'shape'")?;
    let (_, rest) = rest.split_once('(')?;
    let (extents, _) = rest.split_once(')')?;
    let extents = extents.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    extents
        .map(|extent| extent.trim_end_matches('L').parse::<u128>().ok())
        .try_fold(1_u128, |elements, extent| Some(elements.saturating_mul(extent?)))
}

/// Writes an array to a file, whole or not at all.
pub(super) fn write(path: &Path, array: &Array) -> anyhow::Result<()> {
    let context = || format!("could not write `{}`", path.display());
    let mut bytes = Vec::new();
    match array {
        Array::F32(array) => array.write_npy(&mut bytes),
        Array::F64(array) => array.write_npy(&mut bytes),
        Array::I32(array) => array.write_npy(&mut bytes),
        Array::I64(array) => array.write_npy(&mut bytes),
        Array::U8(array) => array.write_npy(&mut bytes),
        _ => return Err(anyhow::anyhow!("arrays of this type cannot be written")),
    }
    .with_context(context)?;
    // Pipes and devices are written to; a file beside them could not take their place.
    let is_special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if is_special {
        fs::write(path, &bytes).with_context(context)
    } else {
        dlc_train::write_atomically(path, &bytes).with_context(context)
    }
}

#[cfg(test)]
mod tests {
    use super::said_elements;

    #[test]
    fn headers_say_how_many_elements_there_are() {
        let cases: [(&[u8], Option<u128>); 6] = [
            (b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 8), }", Some(40)),
            (b"{'shape': (7,), 'descr': '<f4'}", Some(7)),
            (b"{'shape': ()}", Some(1)),
            (b"{'shape': (3L, 2L)}", Some(6)),
            (b"{'shape': (x,)}", None),
            (b"hello", None),
        ];
        for (start, elements) in cases {
            assert_eq!(said_elements(start), elements, "{}", String::from_utf8_lossy(start));
        }
    }
}
