//! Arithmetic on values known when the program is compiled.

use super::Elaborator;
use crate::diagnostics;
use crate::value::{Eval, Number, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::BinaryOp;
use dlc_ir::Dim;

/// Why an operation on sizes has no value.
enum Fault {
    Overflow,
    ZeroDivisor,
    /// The result is no linear function of the batch.
    Batch,
}

/// Integers lie within this bound, so that they are exact as reals and that sums of a few never overflow.
pub(crate) const MAX_INT: i64 = 1 << 53;

/// Whether an integer lies within [`MAX_INT`].
pub(crate) fn in_bounds(value: i64) -> bool {
    value.unsigned_abs() <= MAX_INT.unsigned_abs()
}

fn checked(batch_factor: Option<i64>, constant: Option<i64>) -> Result<Dim, Fault> {
    match (batch_factor, constant) {
        (Some(batch_factor), Some(constant)) if in_bounds(batch_factor) && in_bounds(constant) => {
            Ok(Dim { batch_factor, constant })
        }
        _ => Err(Fault::Overflow),
    }
}

fn add(a: Dim, b: Dim) -> Result<Dim, Fault> {
    checked(a.batch_factor.checked_add(b.batch_factor), a.constant.checked_add(b.constant))
}

fn sub(a: Dim, b: Dim) -> Result<Dim, Fault> {
    checked(a.batch_factor.checked_sub(b.batch_factor), a.constant.checked_sub(b.constant))
}

fn mul(a: Dim, b: Dim) -> Result<Dim, Fault> {
    let (scaled, factor) = match (a.as_fixed(), b.as_fixed()) {
        (_, Some(factor)) => (a, factor),
        (Some(factor), _) => (b, factor),
        (None, None) => return Err(Fault::Batch),
    };
    checked(scaled.batch_factor.checked_mul(factor), scaled.constant.checked_mul(factor))
}

/// Quotient rounded down, and remainder with the sign of the divisor.
fn div_mod(a: Dim, b: Dim) -> Result<(Dim, Dim), Fault> {
    let divisor = b.as_fixed().ok_or(Fault::Batch)?;
    if divisor == 0 {
        return Err(Fault::ZeroDivisor);
    }
    if a.batch_factor % divisor != 0 {
        return Err(Fault::Batch);
    }
    // The multiple of the batch divides, so the rest decides the rounding.
    let quotient = a.constant.checked_div(divisor).ok_or(Fault::Overflow)?;
    let remainder = a.constant.checked_rem(divisor).ok_or(Fault::Overflow)?;
    let down = remainder != 0 && (remainder < 0) != (divisor < 0);
    let quotient = quotient - i64::from(down);
    let remainder = if down { remainder + divisor } else { remainder };
    let factor = a.batch_factor.checked_div(divisor);
    Ok((checked(factor, Some(quotient))?, Dim::fixed(remainder)))
}

/// Integer power.
fn int_pow(a: i64, b: i64) -> Option<i64> {
    u32::try_from(b).ok().and_then(|b| a.checked_pow(b))
}

/// Whether an order holds for every batch, or for none.
fn order(a: Dim, b: Dim, holds: impl Fn(i64, i64) -> bool) -> Option<bool> {
    // The difference is linear in the batch, so it is decided by its value at 1 when it does not change sign after it.
    let factor = a.batch_factor.checked_sub(b.batch_factor)?;
    let at_one = a.at(1).checked_sub(b.at(1))?;
    if factor == 0 {
        return Some(holds(at_one, 0));
    }
    let same_side = (factor > 0 && at_one > 0) || (factor < 0 && at_one < 0);
    same_side.then(|| holds(at_one, 0))
}

impl Elaborator {
    /// An operation on two numbers. `Ok(None)` means that the result depends on the batch and must be computed when the program runs.
    pub(crate) fn number_op(
        &mut self,
        op: BinaryOp,
        a: Number,
        b: Number,
        span: Span,
    ) -> Eval<Option<Value>> {
        let result = match (a, b) {
            (Number::Int(a), Number::Int(b)) => int_op(op, a, b),
            _ => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => real_op(op, a, b),
                _ => return Ok(None),
            },
        };
        match result {
            Ok(value) => Ok(value),
            Err(Fault::Overflow) => Err(self.report(diagnostics::overflow(span))),
            Err(Fault::ZeroDivisor) => Err(self.report(diagnostics::zero_divisor(span))),
            Err(Fault::Batch) => {
                Err(self.report(diagnostics::batch_dependent(span, &format!("`{}`", op.text()))))
            }
        }
    }

    /// The value of a number that must not depend on the batch.
    pub(crate) fn fixed(&mut self, dim: Dim, what: &str, span: Span) -> Eval<i64> {
        match dim.as_fixed() {
            Some(value) => Ok(value),
            None => Err(self.report(diagnostics::batch_dependent(span, what))),
        }
    }

    /// An integer known at compile time.
    pub(crate) fn int_value(&mut self, value: &Value, what: &str, span: Span) -> Eval<i64> {
        match value {
            Value::Number(Number::Int(dim)) => self.fixed(*dim, what, span),
            Value::Bad => Err(crate::value::Reported::already()),
            other => Err(self.report(diagnostics::needs_constant(
                what,
                "an integer",
                other.noun(),
                span,
            ))),
        }
    }
}

fn int_op(op: BinaryOp, a: Dim, b: Dim) -> Result<Option<Value>, Fault> {
    let ordered = |holds: fn(i64, i64) -> bool| match order(a, b, holds) {
        Some(value) => Ok(Some(Value::Bool(value))),
        None => Err(Fault::Batch),
    };
    Ok(Some(match op {
        BinaryOp::Add => Value::dim(add(a, b)?),
        BinaryOp::Sub => Value::dim(sub(a, b)?),
        BinaryOp::Mul => Value::dim(mul(a, b)?),
        BinaryOp::IntDiv => Value::dim(div_mod(a, b)?.0),
        BinaryOp::Mod => Value::dim(div_mod(a, b)?.1),
        BinaryOp::Div => match (a.as_fixed(), b.as_fixed()) {
            (_, Some(0)) => return Err(Fault::ZeroDivisor),
            (Some(a), Some(b)) => Value::real(a as f64 / b as f64),
            _ => return Ok(None),
        },
        BinaryOp::Pow => match (a.as_fixed(), b.as_fixed()) {
            (Some(a), Some(b)) if b < 0 => return real_op(op, a as f64, b as f64),
            (Some(a), Some(b)) => Value::dim(checked(Some(0), int_pow(a, b))?),
            _ => return Err(Fault::Batch),
        },
        BinaryOp::Eq if a == b => Value::Bool(true),
        BinaryOp::Ne if a == b => Value::Bool(false),
        BinaryOp::Eq => return ordered(|a, b| a == b),
        BinaryOp::Ne => return ordered(|a, b| a != b),
        BinaryOp::Lt => return ordered(|a, b| a < b),
        BinaryOp::Le => return ordered(|a, b| a <= b),
        BinaryOp::Gt => return ordered(|a, b| a > b),
        BinaryOp::Ge => return ordered(|a, b| a >= b),
        BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or => return Ok(None),
    }))
}

fn real_op(op: BinaryOp, a: f64, b: f64) -> Result<Option<Value>, Fault> {
    Ok(Some(match op {
        BinaryOp::Add => Value::real(a + b),
        BinaryOp::Sub => Value::real(a - b),
        BinaryOp::Mul => Value::real(a * b),
        BinaryOp::Div | BinaryOp::IntDiv | BinaryOp::Mod if b == 0.0 => {
            return Err(Fault::ZeroDivisor);
        }
        BinaryOp::Div => Value::real(a / b),
        BinaryOp::IntDiv => Value::real((a / b).floor()),
        BinaryOp::Mod => Value::real(a - b * (a / b).floor()),
        BinaryOp::Pow => Value::real(a.powf(b)),
        BinaryOp::Eq => Value::Bool(a == b),
        BinaryOp::Ne => Value::Bool(a != b),
        BinaryOp::Lt => Value::Bool(a < b),
        BinaryOp::Le => Value::Bool(a <= b),
        BinaryOp::Gt => Value::Bool(a > b),
        BinaryOp::Ge => Value::Bool(a >= b),
        BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: Result<Option<Value>, Fault>) -> i64 {
        match value {
            Ok(Some(Value::Number(Number::Int(dim)))) => dim.as_fixed().expect("fixed"),
            _ => panic!("no integer"),
        }
    }

    #[test]
    fn division_rounds_down_and_the_remainder_follows_the_divisor() {
        for (a, b, quotient, remainder) in
            [(7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1), (-6, 3, -2, 0)]
        {
            let (a, b) = (Dim::fixed(a), Dim::fixed(b));
            assert_eq!(int(int_op(BinaryOp::IntDiv, a, b)), quotient);
            assert_eq!(int(int_op(BinaryOp::Mod, a, b)), remainder);
        }
    }

    #[test]
    fn sizes_with_the_batch_stay_linear_or_fail() {
        let batch = Dim::batch();
        let eight = Dim { batch_factor: 8, constant: 0 };
        assert!(
            matches!(int_op(BinaryOp::Mul, batch, Dim::fixed(8)), Ok(Some(Value::Number(Number::Int(dim)))) if dim == eight)
        );
        assert!(
            matches!(int_op(BinaryOp::IntDiv, eight, Dim::fixed(4)), Ok(Some(Value::Number(Number::Int(dim)))) if dim.batch_factor == 2)
        );
        assert!(matches!(int_op(BinaryOp::IntDiv, batch, Dim::fixed(4)), Err(Fault::Batch)));
        assert!(matches!(int_op(BinaryOp::Mul, batch, batch), Err(Fault::Batch)));
        assert!(matches!(int_op(BinaryOp::Gt, eight, Dim::fixed(3)), Ok(Some(Value::Bool(true)))));
        assert!(matches!(int_op(BinaryOp::Gt, batch, Dim::fixed(3)), Err(Fault::Batch)));
    }

    #[test]
    fn overflow_and_zero_divisors_are_faults() {
        let big = Dim::fixed(MAX_INT);
        assert!(matches!(int_op(BinaryOp::Add, big, Dim::fixed(1)), Err(Fault::Overflow)));
        assert!(matches!(int_op(BinaryOp::IntDiv, big, Dim::fixed(0)), Err(Fault::ZeroDivisor)));
        assert!(matches!(real_op(BinaryOp::Div, 1.0, 0.0), Err(Fault::ZeroDivisor)));
        assert!(matches!(
            int_op(BinaryOp::Pow, Dim::fixed(10), Dim::fixed(40)),
            Err(Fault::Overflow)
        ));
    }
}
