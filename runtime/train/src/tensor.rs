//! Tensors that callers give and get: a shape and row-major elements of one of a few types.

use std::fmt;

use dlc_abi::{Dim, ElemType};

/// Borrowed elements in row-major order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// 64-bit integers.
    I64(&'a [i64]),
    /// Bytes.
    U8(&'a [u8]),
}

impl Values<'_> {
    /// Their element type.
    pub fn elem(&self) -> ElemType {
        match self {
            Values::F32(_) => ElemType::F32,
            Values::F64(_) => ElemType::F64,
            Values::I32(_) => ElemType::I32,
            Values::I64(_) => ElemType::I64,
            Values::U8(_) => ElemType::U8,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::I64(values) => values.len(),
            Values::U8(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements `start..end`.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        match self {
            Values::F32(values) => Values::F32(&values[start..end]),
            Values::F64(values) => Values::F64(&values[start..end]),
            Values::I32(values) => Values::I32(&values[start..end]),
            Values::I64(values) => Values::I64(&values[start..end]),
            Values::U8(values) => Values::U8(&values[start..end]),
        }
    }
}

/// A borrowed tensor, row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorRef<'a> {
    /// Extents; empty for one number.
    pub shape: &'a [usize],
    /// As many elements as the product of the extents.
    pub values: Values<'a>,
}

impl<'a> TensorRef<'a> {
    /// Single-precision numbers.
    pub fn f32(shape: &'a [usize], values: &'a [f32]) -> Self {
        TensorRef { shape, values: Values::F32(values) }
    }

    /// 32-bit integers, such as class numbers.
    pub fn i32(shape: &'a [usize], values: &'a [i32]) -> Self {
        TensorRef { shape, values: Values::I32(values) }
    }
}

/// Owned elements in row-major order.
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
    /// Bytes; truth values are 0 and 1.
    U8(Vec<u8>),
}

impl Data {
    /// The elements, borrowed.
    pub fn values(&self) -> Values<'_> {
        match self {
            Data::F32(values) => Values::F32(values),
            Data::F64(values) => Values::F64(values),
            Data::I32(values) => Values::I32(values),
            Data::I64(values) => Values::I64(values),
            Data::U8(values) => Values::U8(values),
        }
    }

    /// Appends elements of the same type.
    ///
    /// # Panics
    /// When the types differ; results of one program never do.
    pub(crate) fn append(&mut self, more: Data) {
        match (self, more) {
            (Data::F32(all), Data::F32(more)) => all.extend(more),
            (Data::F64(all), Data::F64(more)) => all.extend(more),
            (Data::I32(all), Data::I32(more)) => all.extend(more),
            (Data::I64(all), Data::I64(more)) => all.extend(more),
            (Data::U8(all), Data::U8(more)) => all.extend(more),
            (all, more) => {
                panic!(
                    "{:?} elements cannot follow {:?} ones",
                    more.values().elem(),
                    all.values().elem()
                )
            }
        }
    }
}

/// An owned tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Extents; empty for one number.
    pub shape: Vec<usize>,
    /// As many elements as the product of the extents.
    pub data: Data,
}

impl Tensor {
    /// The tensor, borrowed.
    pub fn view(&self) -> TensorRef<'_> {
        TensorRef { shape: &self.shape, values: self.data.values() }
    }
}

/// A shape that may grow with the batch, as messages show it: `[batch, 28, 28, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'a>(pub &'a [Dim]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, dim) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match (dim.batch_factor, dim.constant) {
                (0, constant) => write!(f, "{constant}")?,
                (1, 0) => f.write_str("batch")?,
                (1, constant) => write!(f, "batch + {constant}")?,
                (factor, 0) => write!(f, "{factor}*batch")?,
                (factor, constant) => write!(f, "{factor}*batch + {constant}")?,
            }
        }
        f.write_str("]")
    }
}

/// The name of an element type in the language.
pub(crate) fn elem_name(elem: ElemType) -> &'static str {
    match elem {
        ElemType::F32 => "f32",
        ElemType::F64 => "f64",
        ElemType::I32 => "i32",
        ElemType::I64 => "i64",
        ElemType::U8 => "u8",
        ElemType::Bool => "bool",
        ElemType::Bf16 => "bf16",
        ElemType::F16 => "f16",
        ElemType::I8 => "i8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_read_as_in_the_language() {
        let dim = |batch_factor, constant| Dim { batch_factor, constant };
        let shape = [dim(1, 0), dim(0, 28), dim(2, 0), dim(1, 1), dim(3, 2)];
        assert_eq!(Shape(&shape).to_string(), "[batch, 28, 2*batch, batch + 1, 3*batch + 2]");
        assert_eq!(Shape(&[]).to_string(), "[]");
    }
}
