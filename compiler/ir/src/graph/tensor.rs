//! Tensors as plain values: what interpreters take and give.

use super::ops::elem_name;
use dlc_abi::ElemType;

/// Elements in row-major order of the logical shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Bytes.
    U8(Vec<u8>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Extents; empty for a scalar.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: Data,
}

impl Data {
    /// The element type.
    pub fn elem(&self) -> ElemType {
        match self {
            Data::F32(_) => ElemType::F32,
            Data::F64(_) => ElemType::F64,
            Data::I32(_) => ElemType::I32,
            Data::I64(_) => ElemType::I64,
            Data::U8(_) => ElemType::U8,
            Data::Bool(_) => ElemType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(data) => data.len(),
            Data::F64(data) => data.len(),
            Data::I32(data) => data.len(),
            Data::I64(data) => data.len(),
            Data::U8(data) => data.len(),
            Data::Bool(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tensor {
    /// A tensor of these elements.
    ///
    /// # Panics
    /// When their number does not fit the shape.
    pub fn new(shape: Vec<i64>, data: Data) -> Self {
        let count: i64 = shape.iter().product();
        assert_eq!(count, data.len() as i64, "elements of {}{shape:?}", elem_name(data.elem()));
        Tensor { shape, data }
    }

    /// A tensor of single precision; panics as [`Tensor::new`].
    pub fn f32(shape: &[i64], data: Vec<f32>) -> Self {
        Tensor::new(shape.to_vec(), Data::F32(data))
    }

    /// A tensor of double precision; panics as [`Tensor::new`].
    pub fn f64(shape: &[i64], data: Vec<f64>) -> Self {
        Tensor::new(shape.to_vec(), Data::F64(data))
    }

    /// A tensor of 32-bit integers; panics as [`Tensor::new`].
    pub fn i32(shape: &[i64], data: Vec<i32>) -> Self {
        Tensor::new(shape.to_vec(), Data::I32(data))
    }

    /// All elements as double precision: exact but for 64-bit integers; truth values are 0 and 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(data) => data.iter().map(|&x| f64::from(x)).collect(),
            Data::F64(data) => data.clone(),
            Data::I32(data) => data.iter().map(|&x| f64::from(x)).collect(),
            Data::I64(data) => data.iter().map(|&x| x as f64).collect(),
            Data::U8(data) => data.iter().map(|&x| f64::from(x)).collect(),
            Data::Bool(data) => data.iter().map(|&x| f64::from(u8::from(x))).collect(),
        }
    }

    /// The tensor with single precision widened, as a graph of [`super::retyped`] takes it; others stay.
    pub fn widened(&self) -> Tensor {
        match &self.data {
            Data::F32(_) => Tensor { shape: self.shape.clone(), data: Data::F64(self.to_f64()) },
            Data::F64(_) | Data::I32(_) | Data::I64(_) | Data::U8(_) | Data::Bool(_) => {
                self.clone()
            }
        }
    }

    /// The first element that differs in its bits, as (element, own bits, other bits); any NaN equals any NaN.
    /// `None` when all are equal.
    ///
    /// # Panics
    /// When element types or shapes differ.
    pub fn first_difference(&self, other: &Tensor) -> Option<(usize, u64, u64)> {
        assert_eq!(self.shape, other.shape, "tensors of one shape are compared");
        assert_eq!(self.data.elem(), other.data.elem(), "tensors of one type are compared");
        let (own, theirs) = (self.bits(), other.bits());
        (0..own.len()).find(|&at| own[at] != theirs[at]).map(|at| (at, own[at], theirs[at]))
    }

    /// The bits of every element, NaN as one pattern.
    fn bits(&self) -> Vec<u64> {
        match &self.data {
            Data::F32(data) => data
                .iter()
                .map(|x| u64::from(if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }))
                .collect(),
            Data::F64(data) => data
                .iter()
                .map(|x| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() })
                .collect(),
            Data::I32(data) => data.iter().map(|&x| x as u32 as u64).collect(),
            Data::I64(data) => data.iter().map(|&x| x as u64).collect(),
            Data::U8(data) => data.iter().map(|&x| u64::from(x)).collect(),
            Data::Bool(data) => data.iter().map(|&x| u64::from(x)).collect(),
        }
    }
}
