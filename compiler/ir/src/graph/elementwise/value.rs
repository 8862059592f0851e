//! Elements of a node by type: the types of tensors, and dual numbers for forward mode.

use super::dual::Dual;
use crate::graph::data::Literal;
use crate::graph::tensor::{Data, Tensor};
use dlc_abi::ElemType;

/// Elements of a node in row-major order.
#[derive(Debug, Clone)]
pub(in crate::graph) enum Value {
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
                type $type = $crate::graph::elementwise::Dual;
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

pub(in crate::graph) use {with_element, with_number};

impl Value {
    /// Without elements, of a type; `dual` asks for dual numbers in place of double precision. `None` for storage types.
    pub(in crate::graph) fn empty(elem: ElemType, dual: bool) -> Option<Value> {
        Some(match elem {
            ElemType::F32 => Value::F32(Vec::new()),
            ElemType::F64 if dual => Value::Dual(Vec::new()),
            ElemType::F64 => Value::F64(Vec::new()),
            ElemType::I32 => Value::I32(Vec::new()),
            ElemType::I64 => Value::I64(Vec::new()),
            ElemType::U8 => Value::U8(Vec::new()),
            ElemType::Bool => Value::Bool(Vec::new()),
            ElemType::Bf16 | ElemType::F16 | ElemType::I8 => return None,
        })
    }

    /// `n` equal elements of the type of this value; `None` if the literal is of another kind.
    pub(in crate::graph) fn filled(&self, literal: Literal, n: usize) -> Option<Value> {
        Some(match (self, literal) {
            (Value::F32(_), Literal::Float(x)) => Value::F32(vec![x as f32; n]),
            (Value::F64(_), Literal::Float(x)) => Value::F64(vec![x; n]),
            (Value::Dual(_), Literal::Float(x)) => Value::Dual(vec![Dual::still(x); n]),
            (Value::I32(_), Literal::Int(x)) => Value::I32(vec![x as i32; n]),
            (Value::I64(_), Literal::Int(x)) => Value::I64(vec![x; n]),
            (Value::U8(_), Literal::Int(x)) => Value::U8(vec![x as u8; n]),
            (Value::Bool(_), Literal::Bool(x)) => Value::Bool(vec![x; n]),
            _ => return None,
        })
    }

    /// The first element.
    pub(in crate::graph) fn first(&self) -> Option<Literal> {
        Some(match self {
            Value::F32(data) => Literal::Float(f64::from(*data.first()?)),
            Value::F64(data) => Literal::Float(*data.first()?),
            Value::Dual(data) => Literal::Float(data.first()?.value),
            Value::I32(data) => Literal::Int(i64::from(*data.first()?)),
            Value::I64(data) => Literal::Int(*data.first()?),
            Value::U8(data) => Literal::Int(i64::from(*data.first()?)),
            Value::Bool(data) => Literal::Bool(*data.first()?),
        })
    }

    /// Values of one type one after the other.
    pub(in crate::graph) fn joined(parts: &[Value]) -> Value {
        let mut joined = parts[0].clone();
        for part in &parts[1..] {
            match (&mut joined, part) {
                (Value::F32(to), Value::F32(from)) => to.extend(from),
                (Value::F64(to), Value::F64(from)) => to.extend(from),
                (Value::I32(to), Value::I32(from)) => to.extend(from),
                (Value::I64(to), Value::I64(from)) => to.extend(from),
                (Value::U8(to), Value::U8(from)) => to.extend(from),
                (Value::Bool(to), Value::Bool(from)) => to.extend(from),
                (Value::Dual(to), Value::Dual(from)) => to.extend(from.iter().copied()),
                _ => unreachable!("parts of a tensor have one type"),
            }
        }
        joined
    }

    /// The elements from one place up to, not including, another.
    pub(in crate::graph) fn part(&self, from: usize, to: usize) -> Value {
        match self {
            Value::F32(data) => Value::F32(data[from..to].to_vec()),
            Value::F64(data) => Value::F64(data[from..to].to_vec()),
            Value::I32(data) => Value::I32(data[from..to].to_vec()),
            Value::I64(data) => Value::I64(data[from..to].to_vec()),
            Value::U8(data) => Value::U8(data[from..to].to_vec()),
            Value::Bool(data) => Value::Bool(data[from..to].to_vec()),
            Value::Dual(data) => Value::Dual(data[from..to].to_vec()),
        }
    }

    /// Number of elements.
    pub(in crate::graph) fn len(&self) -> usize {
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
    pub(in crate::graph) fn from_data(data: &Data) -> Value {
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
    pub(in crate::graph) fn to_tensor(&self, shape: Vec<i64>) -> Tensor {
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
