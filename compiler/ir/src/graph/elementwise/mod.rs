//! Operations element by element: what the graph interpreter does at every element, and passes to constants.

mod dual;
mod element;
mod value;

use super::data::{BinaryOp, Compare, Literal, NodeId, Op, UnaryOp};
use crate::entity::EntityRef;
use crate::scalar;
use dlc_abi::ElemType;

pub(super) use dual::Dual;
pub(super) use element::{Element, Number};
pub(super) use value::{Value, with_element, with_number};

/// Why an element has no value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NoValue {
    /// Storage types have no arithmetic here.
    Unsupported(ElemType),
    /// An integer divided by zero.
    DivisionByZero {
        /// Which element, in row-major order.
        element: usize,
    },
    /// A float that no integer of the type stands for.
    BadConversion {
        /// Which element, in row-major order.
        element: usize,
        /// The float.
        value: String,
    },
}

/// The value of an element-wise operation whose operands are constants, given in order: one element of what the interpreter
/// makes of them, so the same bits. `None` for other operations, for storage types, and where an element has no value.
pub fn fold_constant(op: &Op, elem: ElemType, operands: &[(ElemType, Literal)]) -> Option<Literal> {
    let values: Vec<Value> = operands
        .iter()
        .map(|&(elem, literal)| Value::empty(elem, false)?.filled(literal, 1))
        .collect::<Option<_>>()?;
    let mut n = 0;
    let numbered = op.clone().map_operands(|_| {
        n += 1;
        NodeId::from_index(n - 1)
    });
    apply(&numbered, elem, false, |id| &values[id.index()])?.ok()?.first()
}

/// An element-wise operation on the values of its operands; `None` for other operations.
pub(super) fn apply<'v>(
    op: &Op,
    elem: ElemType,
    dual: bool,
    value: impl Fn(NodeId) -> &'v Value,
) -> Option<Result<Value, NoValue>> {
    Some(match op {
        Op::Unary(op, a) => Ok(unary(*op, value(*a))),
        Op::Binary(op, a, b) => binary(*op, value(*a), value(*b)),
        Op::Compare(op, a, b) => Ok(compare(*op, value(*a), value(*b))),
        Op::Select(c, a, b) => Ok(select(value(*c), value(*a), value(*b))),
        Op::Fma(a, b, c) => Ok(fma(value(*a), value(*b), value(*c))),
        Op::Convert(a) => convert(value(*a), elem, dual),
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => return None,
    })
}

/// A function of one element.
fn unary(op: UnaryOp, a: &Value) -> Value {
    if let (UnaryOp::Not, Value::Bool(a)) = (op, a) {
        return Value::Bool(a.iter().map(|x| !x).collect());
    }
    with_number!(a, T => {
        let a = T::slice(a).iter();
        T::wrap(match op {
            UnaryOp::Neg => a.map(|&x| Number::neg(x)).collect(),
            UnaryOp::Abs => a.map(|&x| Number::abs(x)).collect(),
            UnaryOp::Exp
            | UnaryOp::Log
            | UnaryOp::Log1p
            | UnaryOp::Sqrt
            | UnaryOp::Tanh
            | UnaryOp::Erf
            | UnaryOp::Sigmoid
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Floor
            | UnaryOp::Not => a.map(|&x| T::function(op, x)).collect(),
        })
    })
}

fn zip<T: Element, U>(a: &Value, b: &Value, f: impl Fn(T, T) -> U) -> Vec<U> {
    T::slice(a).iter().zip(T::slice(b)).map(|(&a, &b)| f(a, b)).collect()
}

/// A function of two elements.
fn binary(op: BinaryOp, a: &Value, b: &Value) -> Result<Value, NoValue> {
    match op {
        BinaryOp::And => return Ok(Value::Bool(zip(a, b, |a: bool, b| a && b))),
        BinaryOp::Or => return Ok(Value::Bool(zip(a, b, |a: bool, b| a || b))),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max => {}
    }
    with_number!(a, T => numbers::<T>(op, a, b))
}

fn numbers<T: Number>(op: BinaryOp, a: &Value, b: &Value) -> Result<Value, NoValue> {
    if matches!(op, BinaryOp::Div | BinaryOp::Rem)
        && let Some(element) = T::slice(b).iter().position(|b| b.is_integer_zero())
    {
        return Err(NoValue::DivisionByZero { element });
    }
    Ok(T::wrap(match op {
        BinaryOp::Add => zip(a, b, T::add),
        BinaryOp::Sub => zip(a, b, T::sub),
        BinaryOp::Mul => zip(a, b, T::mul),
        BinaryOp::Div => zip(a, b, T::div),
        BinaryOp::Rem => zip(a, b, |a: T, b: T| a.sub(a.div(b).mul(b))),
        BinaryOp::Min => zip(a, b, scalar::min::<T>),
        BinaryOp::Max => zip(a, b, scalar::max::<T>),
        BinaryOp::And | BinaryOp::Or => unreachable!("truth values are handled above"),
    }))
}

/// A comparison.
fn compare(op: Compare, a: &Value, b: &Value) -> Value {
    with_number!(a, T => Value::Bool(match op {
        Compare::Eq => zip(a, b, |a: T, b| a == b),
        Compare::Ne => zip(a, b, |a: T, b| a != b),
        Compare::Lt => zip(a, b, |a: T, b| a < b),
        Compare::Le => zip(a, b, |a: T, b| a <= b),
    }))
}

/// `condition ? a : b`.
fn select(condition: &Value, a: &Value, b: &Value) -> Value {
    let condition = bool::slice(condition);
    with_element!(a, T => {
        let pairs = T::slice(a).iter().zip(T::slice(b));
        T::wrap(condition.iter().zip(pairs).map(|(&c, (&a, &b))| if c { a } else { b }).collect())
    })
}

/// `a * b + c`, rounded once.
fn fma(a: &Value, b: &Value, c: &Value) -> Value {
    with_number!(a, T => {
        let pairs = T::slice(a).iter().zip(T::slice(b));
        T::wrap(pairs.zip(T::slice(c)).map(|((&a, &b), &c)| T::fma(a, b, c)).collect())
    })
}

/// To another element type; `dual` asks for dual numbers in place of double precision.
fn convert(a: &Value, elem: ElemType, dual: bool) -> Result<Value, NoValue> {
    match a {
        Value::F32(a) => from_float(a.iter().map(|&x| f64::from(x)), elem, dual),
        Value::F64(a) => from_float(a.iter().copied(), elem, dual),
        Value::Dual(duals) if elem == ElemType::F64 => Ok(Value::Dual(duals.clone())),
        Value::Dual(a) => from_float(a.iter().map(|x| x.value), elem, dual),
        Value::I32(a) => from_integer(a.iter().map(|&x| i64::from(x)), elem, dual),
        Value::I64(a) => from_integer(a.iter().copied(), elem, dual),
        Value::U8(a) => from_integer(a.iter().map(|&x| i64::from(x)), elem, dual),
        Value::Bool(a) => from_integer(a.iter().map(|&x| i64::from(x)), elem, dual),
    }
}

fn from_float(a: impl Iterator<Item = f64>, elem: ElemType, dual: bool) -> Result<Value, NoValue> {
    let refused =
        |(element, value)| NoValue::BadConversion { element, value: format!("{value:?}") };
    // Truncation is asked for element by element, so that the error names the guilty one.
    fn all<T>(
        a: impl Iterator<Item = f64>,
        to: impl Fn(f64) -> Option<T>,
    ) -> Result<Vec<T>, (usize, f64)> {
        a.enumerate().map(|(at, x)| to(x).ok_or((at, x))).collect()
    }
    let byte = |x: f64| scalar::to_i32(x).and_then(|x| u8::try_from(x).ok());
    Ok(match elem {
        ElemType::F32 => Value::F32(a.map(|x| x as f32).collect()),
        ElemType::F64 if dual => Value::Dual(a.map(Dual::still).collect()),
        ElemType::F64 => Value::F64(a.collect()),
        ElemType::I32 => Value::I32(all(a, scalar::to_i32).map_err(refused)?),
        ElemType::I64 => Value::I64(all(a, scalar::to_i64).map_err(refused)?),
        ElemType::U8 => Value::U8(all(a, byte).map_err(refused)?),
        ElemType::Bool => Value::Bool(a.map(|x| x != 0.0).collect()),
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            return Err(NoValue::Unsupported(elem));
        }
    })
}

fn from_integer(
    a: impl Iterator<Item = i64>,
    elem: ElemType,
    dual: bool,
) -> Result<Value, NoValue> {
    Ok(match elem {
        ElemType::F32 => Value::F32(a.map(|x| x as f32).collect()),
        ElemType::F64 if dual => Value::Dual(a.map(Dual::of).collect()),
        ElemType::F64 => Value::F64(a.map(|x| x as f64).collect()),
        ElemType::I32 => Value::I32(a.map(|x| x as i32).collect()),
        ElemType::I64 => Value::I64(a.collect()),
        ElemType::U8 => Value::U8(a.map(|x| x as u8).collect()),
        ElemType::Bool => Value::Bool(a.map(|x| x != 0).collect()),
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            return Err(NoValue::Unsupported(elem));
        }
    })
}
