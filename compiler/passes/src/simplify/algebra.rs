//! Rules of arithmetic and logic. Those on floats are exact for infinities, NaN and both zeros.

use super::{Becomes, Rule, Site, When, same_literal};
use dlc_abi::ElemType;
use dlc_ir::graph::{BinaryOp, Literal, NodeId, Op, UnaryOp};

pub(super) const RULES: &[Rule] = &[
    // x * 1 = 1 * x = x
    Rule { name: "mul_one", when: When::Always, apply: mul_one },
    // x * -1 = -1 * x = -x
    Rule { name: "mul_minus_one", when: When::Always, apply: mul_minus_one },
    // x + -0 = x; of integers x + 0 = x. (-0 + +0 is +0, so +0 is not neutral.)
    Rule { name: "add_neutral", when: When::Always, apply: add_neutral },
    // x - +0 = x
    Rule { name: "sub_zero", when: When::Always, apply: sub_zero },
    // a + -b = a - b and -a + b = b - a
    Rule { name: "add_neg", when: When::Always, apply: add_neg },
    // a - -b = a + b
    Rule { name: "sub_neg", when: When::Always, apply: sub_neg },
    // x / 1 = x
    Rule { name: "div_one", when: When::Always, apply: div_one },
    // x / 2^n = x * 2^-n, where 2^-n is a normal number
    Rule { name: "div_power_of_two", when: When::Always, apply: div_power_of_two },
    // --x = x
    Rule { name: "neg_neg", when: When::Always, apply: neg_neg },
    // |-x| = |x| and ||x|| = |x|
    Rule { name: "abs_of_sign", when: When::Always, apply: abs_of_sign },
    // not not x = x
    Rule { name: "not_not", when: When::Always, apply: not_not },
    // max(x, x) = min(x, x) = x; x and x = x or x = x
    Rule { name: "same_operands", when: When::Always, apply: same_operands },
    // x and true = x or false = x; x and false = false; x or true = true
    Rule { name: "truth_const", when: When::Always, apply: truth_const },
    // true ? a : b = a; false ? a : b = b; c ? a : a = a
    Rule { name: "select_known", when: When::Always, apply: select_known },
    // not c ? a : b = c ? b : a
    Rule { name: "select_not", when: When::Always, apply: select_not },
];

fn binary(site: &Site<'_>, wanted: BinaryOp) -> Option<(NodeId, NodeId)> {
    match site.node.op {
        Op::Binary(op, a, b) if op == wanted => Some((a, b)),
        _ => None,
    }
}

fn unary_of(site: &Site<'_>, id: NodeId, wanted: UnaryOp) -> Option<NodeId> {
    match site.op(id) {
        Op::Unary(op, x) if *op == wanted => Some(*x),
        _ => None,
    }
}

/// Whether a node is a constant equal to a number, bit for bit.
fn is_number(site: &Site<'_>, id: NodeId, value: f64) -> bool {
    site.constant(id).is_some_and(|literal| match literal {
        Literal::Float(_) => same_literal(literal, Literal::Float(value)),
        Literal::Int(int) => int as f64 == value,
        Literal::Bool(_) => false,
    })
}

/// The other operand, where one is the number.
fn other_than(site: &Site<'_>, (a, b): (NodeId, NodeId), value: f64) -> Option<NodeId> {
    if is_number(site, b, value) {
        Some(a)
    } else if is_number(site, a, value) {
        Some(b)
    } else {
        None
    }
}

fn mul_one(site: &mut Site<'_>) -> Option<Becomes> {
    let operands = binary(site, BinaryOp::Mul)?;
    other_than(site, operands, 1.0).map(Becomes::Node)
}

fn mul_minus_one(site: &mut Site<'_>) -> Option<Becomes> {
    let operands = binary(site, BinaryOp::Mul)?;
    let x = other_than(site, operands, -1.0)?;
    Some(Becomes::Op(Op::Unary(UnaryOp::Neg, x)))
}

fn add_neutral(site: &mut Site<'_>) -> Option<Becomes> {
    let operands = binary(site, BinaryOp::Add)?;
    other_than(site, operands, -0.0).map(Becomes::Node)
}

fn sub_zero(site: &mut Site<'_>) -> Option<Becomes> {
    let (a, b) = binary(site, BinaryOp::Sub)?;
    is_number(site, b, 0.0).then_some(Becomes::Node(a))
}

fn add_neg(site: &mut Site<'_>) -> Option<Becomes> {
    let (a, b) = binary(site, BinaryOp::Add)?;
    if let Some(b) = unary_of(site, b, UnaryOp::Neg) {
        return Some(Becomes::Op(Op::Binary(BinaryOp::Sub, a, b)));
    }
    let a = unary_of(site, a, UnaryOp::Neg)?;
    Some(Becomes::Op(Op::Binary(BinaryOp::Sub, b, a)))
}

fn sub_neg(site: &mut Site<'_>) -> Option<Becomes> {
    let (a, b) = binary(site, BinaryOp::Sub)?;
    let b = unary_of(site, b, UnaryOp::Neg)?;
    Some(Becomes::Op(Op::Binary(BinaryOp::Add, a, b)))
}

fn div_one(site: &mut Site<'_>) -> Option<Becomes> {
    let (a, b) = binary(site, BinaryOp::Div)?;
    is_number(site, b, 1.0).then_some(Becomes::Node(a))
}

fn div_power_of_two(site: &mut Site<'_>) -> Option<Becomes> {
    let (a, b) = binary(site, BinaryOp::Div)?;
    let Literal::Float(divisor) = site.constant(b)? else { return None };
    let inverse = 1.0 / divisor;
    let (smallest, largest) = match site.node.elem {
        ElemType::F32 => (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
        _ => (f64::MIN_POSITIVE, f64::MAX),
    };
    let power = divisor.to_bits() << 12 == 0;
    let normal = |x: f64| (smallest..=largest).contains(&x.abs());
    if !power || !normal(inverse) || !normal(divisor) || divisor == 1.0 {
        return None;
    }
    let factor = site.push(site.number(inverse), site.node.elem, site.node.shape.clone());
    Some(Becomes::Op(Op::Binary(BinaryOp::Mul, a, factor)))
}

fn neg_neg(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Unary(UnaryOp::Neg, x) = site.node.op else { return None };
    unary_of(site, x, UnaryOp::Neg).map(Becomes::Node)
}

fn abs_of_sign(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Unary(UnaryOp::Abs, x) = site.node.op else { return None };
    if let Some(x) = unary_of(site, x, UnaryOp::Neg) {
        return Some(Becomes::Op(Op::Unary(UnaryOp::Abs, x)));
    }
    unary_of(site, x, UnaryOp::Abs).map(|_| Becomes::Node(x))
}

fn not_not(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Unary(UnaryOp::Not, x) = site.node.op else { return None };
    unary_of(site, x, UnaryOp::Not).map(Becomes::Node)
}

fn same_operands(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Binary(op, a, b) = site.node.op else { return None };
    let idempotent = match op {
        BinaryOp::Min | BinaryOp::Max | BinaryOp::And | BinaryOp::Or => true,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => false,
    };
    (idempotent && a == b).then_some(Becomes::Node(a))
}

fn truth_const(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Binary(op, a, b) = site.node.op else { return None };
    // The value that decides the result alone.
    let decisive = match op {
        BinaryOp::And => false,
        BinaryOp::Or => true,
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max => return None,
    };
    for (constant, other) in [(a, b), (b, a)] {
        if let Some(Literal::Bool(value)) = site.constant(constant) {
            return Some(Becomes::Node(if value == decisive { constant } else { other }));
        }
    }
    None
}

fn select_known(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Select(condition, a, b) = site.node.op else { return None };
    if a == b {
        return Some(Becomes::Node(a));
    }
    match site.constant(condition) {
        Some(Literal::Bool(taken)) => Some(Becomes::Node(if taken { a } else { b })),
        _ => None,
    }
}

fn select_not(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Select(condition, a, b) = site.node.op else { return None };
    let condition = unary_of(site, condition, UnaryOp::Not)?;
    Some(Becomes::Op(Op::Select(condition, b, a)))
}
