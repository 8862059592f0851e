//! Tensors as they lie in buffers: row-major at the largest batch, little-endian in bytes.

use dlc_abi::{BufferDesc, ElemType};
use dlc_ir::graph::{Data, Tensor};

/// Applies an expression to the vector in a [`Data`].
macro_rules! each {
    ($data:expr, $values:ident => $result:expr) => {
        match $data {
            Data::F32($values) => Data::F32($result),
            Data::F64($values) => Data::F64($result),
            Data::I32($values) => Data::I32($result),
            Data::I64($values) => Data::I64($result),
            Data::U8($values) => Data::U8($result),
            Data::Bool($values) => Data::Bool($result),
        }
    };
}

/// All elements of a buffer that holds a tensor of a smaller batch; those beyond it repeat the first.
pub(crate) fn spread(desc: &BufferDesc, max_batch: i64, tensor: &Tensor) -> Data {
    let places = places(desc, max_batch, &tensor.shape);
    let count = desc.shape.iter().map(|dim| dim.at(max_batch)).product::<i64>() as usize;
    each!(&tensor.data, values => {
        let mut whole = vec![values[0]; count];
        for (&at, &value) in places.iter().zip(values) {
            whole[at] = value;
        }
        whole
    })
}

/// The tensor of a batch among all elements of a buffer.
pub(crate) fn gathered(desc: &BufferDesc, max_batch: i64, batch: i64, whole: &Data) -> Tensor {
    let shape: Vec<i64> = desc.shape.iter().map(|dim| dim.at(batch)).collect();
    let places = places(desc, max_batch, &shape);
    let data = each!(whole, values => places.iter().map(|&at| values[at]).collect());
    Tensor::new(shape, data)
}

/// Places of all elements of a shape, in row-major order. Strides come from the largest batch.
fn places(desc: &BufferDesc, max_batch: i64, shape: &[i64]) -> Vec<usize> {
    let mut places = vec![0usize];
    for (dim, &extent) in desc.shape.iter().zip(shape) {
        let whole = dim.at(max_batch) as usize;
        places = places
            .into_iter()
            .flat_map(|outer| (0..extent as usize).map(move |at| outer * whole + at))
            .collect();
    }
    places
}

/// Elements as bytes.
pub(crate) fn to_bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U8(values) => values.clone(),
        Data::Bool(values) => values.iter().map(|&x| u8::from(x)).collect(),
    }
}

/// Bytes as elements.
pub(crate) fn from_bytes(elem: ElemType, bytes: &[u8]) -> Data {
    match elem {
        ElemType::F32 => Data::F32(numbers(bytes, f32::from_le_bytes)),
        ElemType::F64 => Data::F64(numbers(bytes, f64::from_le_bytes)),
        ElemType::I32 => Data::I32(numbers(bytes, i32::from_le_bytes)),
        ElemType::I64 => Data::I64(numbers(bytes, i64::from_le_bytes)),
        ElemType::U8 => Data::U8(bytes.to_vec()),
        ElemType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            unreachable!("no tensor of an interpreter has a storage type")
        }
    }
}

fn numbers<const N: usize, T>(bytes: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .chunks_exact(N)
        .map(|chunk| number(chunk.try_into().expect("chunks have N bytes")))
        .collect()
}
