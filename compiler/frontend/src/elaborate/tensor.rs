//! Expressions over whole tensors: element by element with broadcasting from the right, and matrix products.

use super::Elaborator;
use crate::diagnostics;
use crate::value::{Eval, Extent, Number, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::BinaryOp;
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{
    BinaryOp as NodeOp, Combine, Compare, Contract, Fill, Literal, NodeId, Op, Read, UnaryOp,
};

/// What an operand contributes to the element type of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Elements of a tensor.
    Elem(ElemType),
    /// An integer known at compile time: it takes the other's type.
    Int,
    /// A real known at compile time: it takes the other's type if that is a float.
    Real,
}

/// The place of an element type in the order bool, u8, i32, f32, f64 of what holds what.
fn width(elem: ElemType) -> u8 {
    match elem {
        ElemType::Bool => 0,
        ElemType::U8 | ElemType::I8 => 1,
        ElemType::I32 => 2,
        ElemType::I64 => 3,
        ElemType::F16 | ElemType::Bf16 | ElemType::F32 => 4,
        ElemType::F64 => 5,
    }
}

/// Whether the elements are floats.
pub(crate) fn is_float(elem: ElemType) -> bool {
    width(elem) >= 4
}

/// The element type in which two operands are calculated.
pub(crate) fn common(a: Kind, b: Kind) -> ElemType {
    match (a, b) {
        (Kind::Elem(a), Kind::Elem(b)) => {
            let wider = if width(a) >= width(b) { a } else { b };
            if width(wider) < 2 { ElemType::I32 } else { wider }
        }
        (Kind::Elem(elem), Kind::Int) | (Kind::Int, Kind::Elem(elem)) => {
            if width(elem) < 2 {
                ElemType::I32
            } else {
                elem
            }
        }
        (Kind::Elem(elem), Kind::Real) | (Kind::Real, Kind::Elem(elem)) => float(elem),
        (Kind::Int, Kind::Int) => ElemType::I32,
        _ => ElemType::F32,
    }
}

/// The type itself if it is a float, else single precision.
pub(crate) fn float(elem: ElemType) -> ElemType {
    if is_float(elem) { elem } else { ElemType::F32 }
}

/// A number as an element.
pub(crate) fn literal(value: f64, elem: ElemType) -> Literal {
    match elem {
        ElemType::Bool => Literal::Bool(value != 0.0),
        _ if is_float(elem) => Literal::Float(value),
        // Only integers are ever asked for in an integer type, and they are exact as reals.
        _ => Literal::Int(value as i64),
    }
}

impl Elaborator {
    /// What a value contributes to the element type of a result; `None` for values that are no numbers.
    pub(crate) fn kind(&self, value: &Value) -> Option<Kind> {
        match value {
            Value::Number(Number::Int(_)) => Some(Kind::Int),
            Value::Number(Number::Real(_)) => Some(Kind::Real),
            Value::Bool(_) => Some(Kind::Elem(ElemType::Bool)),
            Value::Tensor(tensor) => Some(Kind::Elem(self.elem(tensor.node))),
            Value::Cell(cell) => Some(self.term_kind(&cell.term)),
            _ => None,
        }
    }

    /// A number in every element of a tensor.
    pub(crate) fn number_node(&mut self, number: Number, elem: ElemType, shape: &[Dim]) -> NodeId {
        match number {
            Number::Real(value) => {
                self.build().constant(literal(value, elem), elem, shape.to_vec())
            }
            Number::Int(dim) => match dim.as_fixed() {
                Some(value) => {
                    self.build().constant(literal(value as f64, elem), elem, shape.to_vec())
                }
                None => {
                    let node = self.build().extent(dim, elem);
                    self.spread(node, shape)
                }
            },
        }
    }

    /// A scalar in every element of a tensor.
    pub(crate) fn spread(&mut self, scalar: NodeId, shape: &[Dim]) -> NodeId {
        if shape.is_empty() {
            return scalar;
        }
        self.build().view(scalar, Vec::new(), Fill::InRange, shape.to_vec())
    }

    /// The same elements in another type. Constants are rewritten in place of being converted when the program runs.
    pub(crate) fn convert(&mut self, node: NodeId, elem: ElemType) -> NodeId {
        if self.elem(node) == elem {
            return node;
        }
        if elem == ElemType::F32
            && let Some(&counted) = self.counts.get(&node)
        {
            return counted;
        }
        let shape = self.graph.nodes[node].shape.clone();
        match self.graph.nodes[node].op.clone() {
            Op::Const(value) => {
                let value = match value {
                    Literal::Float(value) => value,
                    Literal::Int(value) => value as f64,
                    Literal::Bool(value) => f64::from(u8::from(value)),
                };
                let value = if is_float(elem) { value } else { value.trunc() };
                self.build().constant(literal(value, elem), elem, shape)
            }
            Op::Iota { axis } if elem != ElemType::Bool => self.build().iota(axis, elem, shape),
            Op::Select(condition, a, b) if self.is_const(a) && self.is_const(b) => {
                let (a, b) = (self.convert(a, elem), self.convert(b, elem));
                self.build().select(condition, a, b)
            }
            _ => self.build().convert(node, elem),
        }
    }

    fn is_const(&self, node: NodeId) -> bool {
        matches!(self.graph.nodes[node].op, Op::Const(_))
    }

    /// A whole tensor in another element type.
    pub(crate) fn convert_tensor(&mut self, tensor: &Tensor, elem: ElemType) -> Tensor {
        Tensor { node: self.convert(tensor.node, elem), shape: tensor.shape.clone() }
    }

    /// A tensor repeated along axes in front until it has this shape, which must end in its own.
    pub(crate) fn broadcast(&mut self, tensor: &Tensor, shape: &[Extent]) -> NodeId {
        if tensor.rank() == shape.len() {
            return tensor.node;
        }
        let ahead = shape.len() - tensor.rank();
        let subs = (0..tensor.rank()).map(|axis| Affine::axis(ahead + axis)).collect();
        let dims = shape.iter().map(|extent| extent.dim).collect();
        self.build().view(tensor.node, subs, Fill::InRange, dims)
    }

    /// The common shape of operands, or a report of the axis that disagrees.
    pub(crate) fn common_shape(
        &mut self,
        operands: &[&Tensor],
        what: &str,
        span: Span,
    ) -> Eval<Vec<Extent>> {
        let mut shape: Vec<Extent> = Vec::new();
        for tensor in operands {
            let (longer, shorter) = if tensor.rank() > shape.len() {
                (&tensor.shape, &shape)
            } else {
                (&shape, &tensor.shape)
            };
            let ahead = longer.len() - shorter.len();
            let clash = shorter.iter().zip(&longer[ahead..]).position(|(a, b)| a.dim != b.dim);
            if let Some(at) = clash {
                let (a, b) = (shape.clone(), tensor.shape.clone());
                let from_end = shorter.len() - at;
                return Err(
                    self.report(diagnostics::broadcast_mismatch(what, span, &a, &b, from_end))
                );
            }
            if tensor.rank() > shape.len() {
                shape = tensor.shape.clone();
            }
        }
        Ok(shape)
    }

    /// A value as a tensor of an element type, for an operation between whole tensors.
    pub(crate) fn as_tensor(
        &mut self,
        value: &Value,
        elem: ElemType,
        what: &str,
        span: Span,
    ) -> Eval<Tensor> {
        let node = match value {
            Value::Tensor(tensor) => return Ok(self.convert_tensor(tensor, elem)),
            Value::Number(number) => self.number_node(*number, elem, &[]),
            Value::Bool(value) => {
                let value = literal(f64::from(u8::from(*value)), elem);
                self.build().constant(value, elem, Vec::new())
            }
            Value::Bad => return Err(crate::value::Reported::already()),
            other => return Err(self.report(diagnostics::not_a_number(what, other.noun(), span))),
        };
        Ok(Tensor { node, shape: Vec::new() })
    }

    /// A tensor as it is, or a number as a scalar of single precision.
    pub(crate) fn as_tensor_or_scalar(
        &mut self,
        value: Value,
        what: &str,
        span: Span,
    ) -> Eval<Tensor> {
        match value.first() {
            Value::Tensor(tensor) => Ok(tensor),
            other => self.as_tensor(&other, ElemType::F32, what, span),
        }
    }

    /// An operation on the elements of whole tensors.
    pub(crate) fn tensor_binary(
        &mut self,
        op: BinaryOp,
        a: &Value,
        b: &Value,
        span: Span,
    ) -> Eval<Value> {
        let elem = self.operand_elem(op, a, b, span)?;
        let what = op.text();
        // A number is made directly in the shape of the other operand.
        let (a, b) = match (a, b) {
            (Value::Tensor(a), Value::Number(number)) => {
                let a = self.convert_tensor(a, elem);
                let node = self.number_node(*number, elem, &a.dims());
                (a.clone(), Tensor { node, shape: a.shape })
            }
            (Value::Number(number), Value::Tensor(b)) => {
                let b = self.convert_tensor(b, elem);
                let node = self.number_node(*number, elem, &b.dims());
                (Tensor { node, shape: b.shape.clone() }, b)
            }
            _ => (self.as_tensor(a, elem, what, span)?, self.as_tensor(b, elem, what, span)?),
        };
        let shape = self.common_shape(&[&a, &b], what, span)?;
        let (na, nb) = (self.broadcast(&a, &shape), self.broadcast(&b, &shape));
        let node = self.binary_node(op, na, nb);
        Ok(Value::Tensor(Tensor { node, shape }))
    }

    /// The element type in which an operation calculates.
    pub(crate) fn operand_elem(
        &mut self,
        op: BinaryOp,
        a: &Value,
        b: &Value,
        span: Span,
    ) -> Eval<ElemType> {
        let (Some(ka), Some(kb)) = (self.kind(a), self.kind(b)) else {
            let wrong = if self.kind(a).is_none() { a } else { b };
            if matches!(wrong, Value::Bad) {
                return Err(crate::value::Reported::already());
            }
            return Err(self.report(diagnostics::wrong_operand(op.text(), wrong.noun(), span)));
        };
        let logical = Kind::Elem(ElemType::Bool);
        Ok(match op {
            BinaryOp::And | BinaryOp::Or => {
                if ka != logical || kb != logical {
                    let (wrong, kind) = if ka != logical { (a, ka) } else { (b, kb) };
                    let noun = self.kind_noun(wrong, kind);
                    return Err(self.report(diagnostics::wrong_operand(op.text(), &noun, span)));
                }
                ElemType::Bool
            }
            BinaryOp::Div => float(common(ka, kb)),
            BinaryOp::IntDiv | BinaryOp::Mod => {
                let elem = common(ka, kb);
                if is_float(elem) {
                    let (wrong, kind) = if is_float_kind(ka) { (a, ka) } else { (b, kb) };
                    let noun = self.kind_noun(wrong, kind);
                    return Err(self.report(diagnostics::wrong_operand(op.text(), &noun, span)));
                }
                elem
            }
            _ => common(ka, kb),
        })
    }

    fn kind_noun(&self, value: &Value, kind: Kind) -> String {
        match kind {
            Kind::Elem(elem) => {
                format!("{} of {}", value.noun(), dlc_ir::graph::ops::elem_name(elem))
            }
            Kind::Int | Kind::Real => value.noun().to_string(),
        }
    }

    /// The node of an operation on operands of one shape and the element type of [`Elaborator::operand_elem`].
    pub(crate) fn binary_node(&mut self, op: BinaryOp, a: NodeId, b: NodeId) -> NodeId {
        let mut build = self.build();
        match op {
            BinaryOp::Add => build.binary(NodeOp::Add, a, b),
            BinaryOp::Sub => build.binary(NodeOp::Sub, a, b),
            BinaryOp::Mul => build.binary(NodeOp::Mul, a, b),
            BinaryOp::Div | BinaryOp::IntDiv => build.binary(NodeOp::Div, a, b),
            BinaryOp::Mod => build.binary(NodeOp::Rem, a, b),
            BinaryOp::Eq => build.compare(Compare::Eq, a, b),
            BinaryOp::Ne => build.compare(Compare::Ne, a, b),
            BinaryOp::Lt => build.compare(Compare::Lt, a, b),
            BinaryOp::Le => build.compare(Compare::Le, a, b),
            BinaryOp::Gt => build.compare(Compare::Lt, b, a),
            BinaryOp::Ge => build.compare(Compare::Le, b, a),
            BinaryOp::And => build.binary(NodeOp::And, a, b),
            BinaryOp::Or => build.binary(NodeOp::Or, a, b),
            BinaryOp::Pow | BinaryOp::MatMul => {
                unreachable!(
                    "powers and matrix products are expanded before elements are calculated"
                )
            }
        }
    }

    /// A function of one element, of a whole tensor.
    pub(crate) fn tensor_unary(&mut self, op: UnaryOp, tensor: &Tensor) -> Tensor {
        let node = self.build().unary(op, tensor.node);
        Tensor { node, shape: tensor.shape.clone() }
    }

    /// `a @ b`: rows of `a` times columns of `b`; a vector on either side has no row or column axis in the result.
    pub(crate) fn matmul(&mut self, a: &Value, b: &Value, span: Span) -> Eval<Value> {
        let (Value::Tensor(a), Value::Tensor(b)) = (a, b) else {
            let wrong = if matches!(a, Value::Tensor(_)) { b } else { a };
            return Err(self.report(diagnostics::wrong_operand("@", wrong.noun(), span)));
        };
        let elem = common(Kind::Elem(self.elem(a.node)), Kind::Elem(self.elem(b.node)));
        let (a, b) = (self.convert_tensor(a, elem), self.convert_tensor(b, elem));
        if a.rank() == 0 || b.rank() == 0 {
            return Err(self.report(diagnostics::wrong_operand("@", "a scalar", span)));
        }
        // Axes of the space: batch axes, the row, the column, and last the summed axis.
        let stacked = b.rank().saturating_sub(2);
        let inner_a = a.shape[a.rank() - 1];
        let inner_b = b.shape[if b.rank() == 1 { 0 } else { b.rank() - 2 }];
        let rows = &a.shape[..a.rank() - 1];
        if inner_a.dim != inner_b.dim || stacked > rows.len() {
            return Err(self.report(diagnostics::matmul_mismatch(span, &a.shape, &b.shape)));
        }
        let agree = rows.iter().zip(&b.shape[..stacked]).all(|(a, b)| a.dim == b.dim);
        if !agree || (stacked > 0 && stacked + 1 < rows.len()) {
            return Err(self.report(diagnostics::matmul_mismatch(span, &a.shape, &b.shape)));
        }
        let mut out: Vec<Extent> = rows.to_vec();
        if b.rank() > 1 {
            out.push(b.shape[b.rank() - 1]);
        }
        let mut space: Vec<Dim> = out.iter().map(|extent| extent.dim).collect();
        let inner = space.len();
        space.push(inner_a.dim);
        let subs_a = (0..rows.len()).chain([inner]).map(Affine::axis).collect();
        let subs_b = if b.rank() == 1 {
            vec![Affine::axis(inner)]
        } else {
            (0..stacked).chain([inner, inner - 1]).map(Affine::axis).collect()
        };
        let reads = vec![Read::in_range(a.node, subs_a), Read::in_range(b.node, subs_b)];
        let node = self.build().contract(Contract::normal(Combine::Sum, space, inner, reads));
        Ok(Value::Tensor(Tensor { node, shape: out }))
    }
}

fn is_float_kind(kind: Kind) -> bool {
    match kind {
        Kind::Elem(elem) => is_float(elem),
        Kind::Int => false,
        Kind::Real => true,
    }
}
