//! Arrays as they go in and out: `ndarray` views and arrays of the element types that models have.

use dlc_train::{Data, Tensor, TensorRef, Values};
use ndarray::{ArrayD, ArrayView, Dimension};
use std::borrow::Cow;

/// The most axes a tensor may have here.
const MAX_RANK: usize = 8;

/// A tensor given by name, made from an `ndarray` view with `.into()`. It borrows the view's elements if they lie in row-major
/// order without gaps, and copies them otherwise.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// Of fixed size, so that making a view allocates nothing.
    shape: [usize; MAX_RANK],
    rank: usize,
    elements: Elements<'a>,
}

#[derive(Debug, Clone)]
enum Elements<'a> {
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
    I32(Cow<'a, [i32]>),
    I64(Cow<'a, [i64]>),
    U8(Cow<'a, [u8]>),
}

macro_rules! from_views {
    ($($rust:ty, $variant:ident;)*) => {$(
        impl<'a, D: Dimension> From<ArrayView<'a, $rust, D>> for View<'a> {
            /// # Panics
            /// When the array has more than eight axes; no model has such an input.
            fn from(array: ArrayView<'a, $rust, D>) -> Self {
                let rank = array.ndim();
                let mut shape = [0; MAX_RANK];
                shape[..rank].copy_from_slice(array.shape());
                let elements = match array.to_slice() {
                    Some(slice) => Cow::Borrowed(slice),
                    None => Cow::Owned(array.iter().copied().collect()),
                };
                View { shape, rank, elements: Elements::$variant(elements) }
            }
        }
    )*};
}

from_views! {
    f32, F32;
    f64, F64;
    i32, I32;
    i64, I64;
    u8, U8;
}

impl View<'_> {
    pub(crate) fn tensor(&self) -> TensorRef<'_> {
        let values = match &self.elements {
            Elements::F32(values) => Values::F32(values),
            Elements::F64(values) => Values::F64(values),
            Elements::I32(values) => Values::I32(values),
            Elements::I64(values) => Values::I64(values),
            Elements::U8(values) => Values::U8(values),
        };
        TensorRef { shape: &self.shape[..self.rank], values }
    }
}

/// An array of one of the element types that models have; truth values are bytes 0 and 1.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Array {
    /// Single precision.
    F32(ArrayD<f32>),
    /// Double precision.
    F64(ArrayD<f64>),
    /// 32-bit integers.
    I32(ArrayD<i32>),
    /// 64-bit integers.
    I64(ArrayD<i64>),
    /// Bytes.
    U8(ArrayD<u8>),
}

impl Array {
    /// The array, if its elements are single-precision numbers.
    pub fn as_f32(&self) -> Option<&ArrayD<f32>> {
        match self {
            Array::F32(array) => Some(array),
            Array::F64(_) | Array::I32(_) | Array::I64(_) | Array::U8(_) => None,
        }
    }

    /// The array, if its elements are 32-bit integers.
    pub fn as_i32(&self) -> Option<&ArrayD<i32>> {
        match self {
            Array::I32(array) => Some(array),
            Array::F32(_) | Array::F64(_) | Array::I64(_) | Array::U8(_) => None,
        }
    }
}

impl From<Tensor> for Array {
    fn from(tensor: Tensor) -> Self {
        fn array<T>(shape: Vec<usize>, values: Vec<T>) -> ArrayD<T> {
            ArrayD::from_shape_vec(shape, values)
                .expect("a tensor has as many elements as its shape says")
        }
        match tensor.data {
            Data::F32(values) => Array::F32(array(tensor.shape, values)),
            Data::F64(values) => Array::F64(array(tensor.shape, values)),
            Data::I32(values) => Array::I32(array(tensor.shape, values)),
            Data::I64(values) => Array::I64(array(tensor.shape, values)),
            Data::U8(values) => Array::U8(array(tensor.shape, values)),
        }
    }
}

/// What a model predicts, by name, in the order of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    named: Vec<(String, Array)>,
}

impl Results {
    pub(crate) fn new(tensors: Vec<(String, Tensor)>) -> Self {
        Results { named: tensors.into_iter().map(|(name, tensor)| (name, tensor.into())).collect() }
    }

    /// The result of that name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, array)| array)
    }

    /// The result of that name, if its elements are single-precision numbers.
    pub fn f32(&self, name: &str) -> Option<&ArrayD<f32>> {
        self.get(name).and_then(Array::as_f32)
    }

    /// All results.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.named.iter().map(|(name, array)| (name.as_str(), array))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn views_keep_shape_and_order_also_when_transposed() {
        let a = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let view = View::from(a.view());
        assert_eq!(view.tensor(), TensorRef::f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert!(matches!(view.elements, Elements::F32(Cow::Borrowed(_))));
        let view = View::from(a.t());
        assert_eq!(view.tensor(), TensorRef::f32(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    }
}
