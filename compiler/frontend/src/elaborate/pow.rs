//! Operations that hold for values of every kind: arithmetic, powers, negation and functions of one element.

use super::Elaborator;
use super::tensor::{Kind, float, is_float};
use crate::diagnostics;
use crate::value::{Cell, Eval, Number, Reported, Tensor, Term, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::BinaryOp;
use dlc_ir::graph::{BinaryOp as NodeOp, UnaryOp};

/// The largest exponent that is written out as products.
const MAX_UNROLLED_POWER: i64 = 64;

impl Elaborator {
    /// An arithmetic operation, comparison, `and` or `or`.
    pub(crate) fn binary(&mut self, op: BinaryOp, a: Value, b: Value, span: Span) -> Eval<Value> {
        let (a, b) = (a.first(), b.first());
        if matches!(a, Value::Bad) || matches!(b, Value::Bad) {
            return Err(Reported::already());
        }
        if let Some(value) = self.compile_time(op, &a, &b, span)? {
            return Ok(value);
        }
        match op {
            BinaryOp::Pow => self.power(a, b, span),
            BinaryOp::MatMul => self.matmul(&a, &b, span),
            _ if matches!(a, Value::Cell(_)) || matches!(b, Value::Cell(_)) => {
                self.cell_binary(op, &a, &b, span)
            }
            _ => self.tensor_binary(op, &a, &b, span),
        }
    }

    /// The result where both sides are known when the program is compiled.
    fn compile_time(
        &mut self,
        op: BinaryOp,
        a: &Value,
        b: &Value,
        span: Span,
    ) -> Eval<Option<Value>> {
        let equal = match (a, b) {
            (Value::Number(a), Value::Number(b)) => return self.number_op(op, *a, *b, span),
            (Value::Bool(a), Value::Bool(b)) => match op {
                BinaryOp::And => return Ok(Some(Value::Bool(*a && *b))),
                BinaryOp::Or => return Ok(Some(Value::Bool(*a || *b))),
                _ => a == b,
            },
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Choice(a), Value::Choice(b)) => a.word == b.word,
            _ => return Ok(None),
        };
        match op {
            BinaryOp::Eq => Ok(Some(Value::Bool(equal))),
            BinaryOp::Ne => Ok(Some(Value::Bool(!equal))),
            _ => Err(self.report(diagnostics::wrong_operand(op.text(), a.noun(), span))),
        }
    }

    /// `a^b`: products for small integers, the square root for a half, otherwise e^(b · ln a).
    fn power(&mut self, a: Value, b: Value, span: Span) -> Eval<Value> {
        if let Value::Number(exponent) = &b {
            if let Some(whole) = whole(*exponent)
                && whole.abs() <= MAX_UNROLLED_POWER
            {
                return self.whole_power(a, whole, span);
            }
            if exponent.as_f64() == Some(0.5) {
                return self.function(UnaryOp::Sqrt, a, "^", span);
            }
        }
        // A base known when the program is compiled has its logarithm taken then, in double precision.
        let log = match &a {
            Value::Number(base) if base.as_f64().is_some() => {
                Value::real(base.as_f64().unwrap_or_default().ln())
            }
            _ => self.function(UnaryOp::Log, a, "^", span)?,
        };
        let exponent = self.binary(BinaryOp::Mul, b, log, span)?;
        self.function(UnaryOp::Exp, exponent, "^", span)
    }

    fn whole_power(&mut self, base: Value, exponent: i64, span: Span) -> Eval<Value> {
        if self.kind(&base).is_none() {
            return Err(self.report(diagnostics::wrong_operand("^", base.noun(), span)));
        }
        let mut square = base;
        let mut rest = exponent.unsigned_abs();
        let mut product: Option<Value> = None;
        while rest > 0 {
            if rest % 2 == 1 {
                product = Some(match product {
                    None => square.clone(),
                    Some(before) => self.binary(BinaryOp::Mul, before, square.clone(), span)?,
                });
            }
            rest /= 2;
            if rest > 0 {
                square = self.settled(square);
                square = self.binary(BinaryOp::Mul, square.clone(), square, span)?;
            }
        }
        let product = product.unwrap_or(Value::real(1.0));
        if exponent < 0 {
            return self.binary(BinaryOp::Div, Value::real(1.0), product, span);
        }
        Ok(product)
    }

    /// A value whose cell is computed, so that several uses share the work.
    pub(crate) fn settled(&mut self, value: Value) -> Value {
        match value {
            Value::Cell(cell) => {
                let term = self.settle(&cell.term);
                Value::Cell(Cell { term, exists: cell.exists })
            }
            other => other,
        }
    }

    /// `-a`.
    pub(crate) fn negated(&mut self, value: Value, span: Span) -> Eval<Value> {
        let value = value.first();
        match &value {
            Value::Number(Number::Real(number)) => Ok(Value::real(-number)),
            Value::Number(Number::Int(_)) => self.binary(BinaryOp::Sub, Value::int(0), value, span),
            // A sign is a factor, so that it leaves the sum over a product alone.
            Value::Cell(Cell { term: Term::Mul(..) | Term::Div(..), exists: None }) => {
                self.binary(BinaryOp::Mul, Value::real(-1.0), value, span)
            }
            Value::Cell(Cell { term: Term::Index(_), exists: None }) => {
                self.binary(BinaryOp::Mul, Value::int(-1), value, span)
            }
            Value::Cell(cell) => {
                let cell = cell.clone();
                let elem = self.number_elem(&value, "-", span)?;
                Ok(self.cell_unary(UnaryOp::Neg, &cell, elem))
            }
            Value::Tensor(tensor) => {
                let elem = self.number_elem(&value, "-", span)?;
                let tensor = self.convert_tensor(tensor, elem);
                Ok(Value::Tensor(self.tensor_unary(UnaryOp::Neg, &tensor)))
            }
            Value::Bad => Err(Reported::already()),
            other => Err(self.report(diagnostics::wrong_operand("-", other.noun(), span))),
        }
    }

    /// The element type in which a number is calculated with; truth values are 0 and 1.
    fn number_elem(&mut self, value: &Value, what: &str, span: Span) -> Eval<ElemType> {
        match self.kind(value) {
            Some(Kind::Elem(ElemType::Bool | ElemType::U8)) | Some(Kind::Int) => Ok(ElemType::I32),
            Some(Kind::Elem(elem)) => Ok(elem),
            Some(Kind::Real) => Ok(ElemType::F32),
            None if matches!(value, Value::Bad) => Err(Reported::already()),
            None => Err(self.report(diagnostics::wrong_operand(what, value.noun(), span))),
        }
    }

    /// `not a`.
    pub(crate) fn logical_not(&mut self, value: Value, span: Span) -> Eval<Value> {
        let value = value.first();
        match &value {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            Value::Bad => Err(Reported::already()),
            _ if self.kind(&value) != Some(Kind::Elem(ElemType::Bool)) => {
                Err(self.report(diagnostics::wrong_operand("not", value.noun(), span)))
            }
            Value::Tensor(tensor) => Ok(Value::Tensor(self.tensor_unary(UnaryOp::Not, tensor))),
            _ => {
                let cell = self.as_cell(&value, "not", span)?;
                let cell = self.explicit(cell);
                let term = self.negate(&cell.term);
                Ok(self.cell_value(Cell { term, exists: cell.exists }))
            }
        }
    }

    /// A function of one element, of any kind of number.
    pub(crate) fn function(
        &mut self,
        op: UnaryOp,
        value: Value,
        name: &str,
        span: Span,
    ) -> Eval<Value> {
        let value = value.first();
        if let Value::Number(number) = &value
            && let Some(argument) = number.as_f64()
        {
            // The absolute value of an integer is one.
            if let (UnaryOp::Abs, Number::Int(dim)) = (op, number) {
                return Ok(Value::int(dim.constant.abs()));
            }
            return match real_function(op, argument) {
                Some(result) if !result.is_nan() => Ok(Value::real(result)),
                _ => Err(self.report(diagnostics::no_real_value(name, argument, span))),
            };
        }
        let elem = self.number_elem(&value, name, span)?;
        let elem = if op == UnaryOp::Abs && !is_float(elem) { elem } else { float(elem) };
        match &value {
            Value::Cell(cell) => {
                let cell = cell.clone();
                Ok(self.cell_unary(op, &cell, elem))
            }
            other => {
                let tensor = self.as_tensor(other, elem, name, span)?;
                Ok(Value::Tensor(self.tensor_unary(op, &tensor)))
            }
        }
    }

    /// The larger or smaller of two numbers of any kind.
    pub(crate) fn extreme(
        &mut self,
        op: NodeOp,
        a: Value,
        b: Value,
        name: &str,
        span: Span,
    ) -> Eval<Value> {
        let (a, b) = (a.first(), b.first());
        if let (Value::Number(na), Value::Number(nb)) = (&a, &b) {
            let order = if op == NodeOp::Max { BinaryOp::Gt } else { BinaryOp::Lt };
            let taken = self.number_op(order, *na, *nb, span)?;
            if let Some(Value::Bool(first)) = taken {
                return Ok(if first { a } else { b });
            }
        }
        // Operands take the type of a sum of them.
        let elem = self.operand_elem(BinaryOp::Add, &a, &b, span)?;
        if matches!(a, Value::Cell(_)) || matches!(b, Value::Cell(_)) {
            let (a, b) = (self.as_cell(&a, name, span)?, self.as_cell(&b, name, span)?);
            let (a, b) = (self.explicit(a), self.explicit(b));
            let exists = self.both(a.exists, b.exists);
            let mut axes = self.term_axes(&a.term);
            axes.extend(self.term_axes(&b.term));
            let axes: Vec<usize> = axes.into_iter().collect();
            let na = self.compute_as(&a.term, elem, &axes);
            let nb = self.compute_as(&b.term, elem, &axes);
            let node = self.build().binary(op, na, nb);
            let term = self.dense(node, &axes);
            return Ok(self.cell_value(Cell { term, exists }));
        }
        let (a, b) = (self.as_tensor(&a, elem, name, span)?, self.as_tensor(&b, elem, name, span)?);
        let shape = self.common_shape(&[&a, &b], name, span)?;
        let (na, nb) = (self.broadcast(&a, &shape), self.broadcast(&b, &shape));
        let node = self.build().binary(op, na, nb);
        Ok(Value::Tensor(Tensor { node, shape }))
    }
}

/// The integer that a number is.
fn whole(number: Number) -> Option<i64> {
    match number {
        Number::Int(dim) => dim.as_fixed(),
        Number::Real(value) if value == value.trunc() && value.abs() <= 64.0 => Some(value as i64),
        Number::Real(_) => None,
    }
}

/// A function of a number known when the program is compiled; `None` where it is of truth values.
fn real_function(op: UnaryOp, x: f64) -> Option<f64> {
    Some(match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log1p => x.ln_1p(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Erf => erf(x),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Not => return None,
    })
}

/// The error function to about 1e-15: its power series near zero, a continued fraction of the complement beyond
/// (Abramowitz and Stegun, 7.1.6 and 7.1.14).
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 3.0 {
        // 2/√π · e^(-x²) · Σ 2^n x^(2n+1) / (2n+1)!!, whose terms are all positive.
        let mut term = magnitude;
        let mut sum = term;
        let mut n = 1.0;
        while term > sum * 1e-17 {
            term *= 2.0 * magnitude * magnitude / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        let value = 2.0 / std::f64::consts::PI.sqrt() * (-magnitude * magnitude).exp() * sum;
        return value.copysign(x);
    }
    let mut fraction = magnitude;
    for n in (1..=60).rev() {
        fraction = magnitude + f64::from(n) / 2.0 / fraction;
    }
    let complement = (-magnitude * magnitude).exp() / (std::f64::consts::PI.sqrt() * fraction);
    (1.0 - complement).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_matches_tabulated_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
            (3.5, 0.999_999_256_9),
        ] {
            assert!((erf(x) - value).abs() < 1e-10, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert!((erf(3.0 - 1e-12) - erf(3.0)).abs() < 1e-14, "the two forms meet");
    }
}
