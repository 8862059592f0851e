//! Values of nodes inside the interpreter: the types of tensors, and dual numbers for forward mode.

use super::dual::Dual;
use crate::graph::tensor::{Data, Tensor};

/// Elements of a node in row-major order.
#[derive(Debug, Clone)]
pub(super) enum Value {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
    Dual(Vec<Dual>),
}

/// Runs a block with a type name standing for the number type of a value.
macro_rules! with_number {
    ($value:expr, $type:ident => $body:expr) => {
        match $value {
            Value::F32(_) => {
                type $type = f32;
                $body
            }
            Value::F64(_) => {
                type $type = f64;
                $body
            }
            Value::I32(_) => {
                type $type = i32;
                $body
            }
            Value::I64(_) => {
                type $type = i64;
                $body
            }
            Value::Dual(_) => {
                type $type = $crate::graph::interpret::dual::Dual;
                $body
            }
            Value::U8(_) | Value::Bool(_) => {
                unreachable!("the verifier refuses arithmetic on storage types and truth values")
            }
        }
    };
}

/// Runs a block with a type name standing for the element type of a value.
macro_rules! with_element {
    ($value:expr, $type:ident => $body:expr) => {
        match $value {
            Value::U8(_) => {
                type $type = u8;
                $body
            }
            Value::Bool(_) => {
                type $type = bool;
                $body
            }
            value => with_number!(value, $type => $body),
        }
    };
}

pub(super) use {with_element, with_number};

impl Value {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        match self {
            Value::F32(data) => data.len(),
            Value::F64(data) => data.len(),
            Value::I32(data) => data.len(),
            Value::I64(data) => data.len(),
            Value::U8(data) => data.len(),
            Value::Bool(data) => data.len(),
            Value::Dual(data) => data.len(),
        }
    }

    /// From a tensor's elements.
    pub(super) fn from_data(data: &Data) -> Value {
        match data {
            Data::F32(data) => Value::F32(data.clone()),
            Data::F64(data) => Value::F64(data.clone()),
            Data::I32(data) => Value::I32(data.clone()),
            Data::I64(data) => Value::I64(data.clone()),
            Data::U8(data) => Value::U8(data.clone()),
            Data::Bool(data) => Value::Bool(data.clone()),
        }
    }

    /// As a tensor; of dual numbers the values.
    pub(super) fn to_tensor(&self, shape: Vec<i64>) -> Tensor {
        let data = match self {
            Value::F32(data) => Data::F32(data.clone()),
            Value::F64(data) => Data::F64(data.clone()),
            Value::I32(data) => Data::I32(data.clone()),
            Value::I64(data) => Data::I64(data.clone()),
            Value::U8(data) => Data::U8(data.clone()),
            Value::Bool(data) => Data::Bool(data.clone()),
            Value::Dual(data) => Data::F64(data.iter().map(|x| x.value).collect()),
        };
        Tensor { shape, data }
    }
}
