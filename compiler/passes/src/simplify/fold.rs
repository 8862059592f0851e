//! Arithmetic of constants, done by the functions of the graph interpreter, so with the same bits.

use super::{Becomes, Rule, Site, When};
use dlc_abi::ElemType;
use dlc_ir::graph::{Literal, Op, fold_constant};

pub(super) const RULES: &[Rule] = &[
    // An element-wise operation on constants is a constant.
    Rule { name: "fold_const", when: When::Always, apply: fold_const },
];

fn fold_const(site: &mut Site<'_>) -> Option<Becomes> {
    match site.node.op {
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_) => {}
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
    }
    let operands: Vec<(ElemType, Literal)> = site
        .node
        .op
        .operands()
        .into_iter()
        .map(|id| Some((site.elem(id), site.constant(id)?)))
        .collect::<Option<_>>()?;
    // What has no value (a division of integers by zero) stays as it is, for the step to report.
    let literal = fold_constant(&site.node.op, site.node.elem, &operands)?;
    Some(Becomes::Op(Op::Const(literal)))
}
