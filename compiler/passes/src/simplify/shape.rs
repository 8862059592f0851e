//! Rules for views, reshapes, conversions and other operations that compute nothing.

use super::views::read_through;
use super::{Becomes, Rule, Site, When, same_literal};
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Fill, Literal, Op, Read};

pub(super) const RULES: &[Rule] = &[
    // view x[i0, i1, ..] of the same shape = x
    Rule { name: "view_identity", when: When::Always, apply: view_identity },
    // view (const v) = const v, where nothing else can fill
    Rule { name: "view_of_const", when: When::Always, apply: view_of_const },
    // view (iota a)[.., i3 at a, ..] = iota i3
    Rule { name: "view_of_iota", when: When::Always, apply: view_of_iota },
    // view (view x) = view x
    Rule { name: "view_of_view", when: When::Always, apply: view_of_view },
    // reshape of the same shape = x
    Rule { name: "reshape_identity", when: When::Always, apply: reshape_identity },
    // reshape (reshape x) = reshape x
    Rule { name: "reshape_of_reshape", when: When::Always, apply: reshape_of_reshape },
    // reshape (const v) = const v
    Rule { name: "reshape_of_const", when: When::Always, apply: reshape_of_const },
    // reshape [n, 1, m] to [n, m] = view x[i0, 0, i1]: subscripts compose, reshapes do not
    Rule { name: "reshape_of_unit_axes", when: When::Always, apply: reshape_of_unit_axes },
    // convert to the same type = x
    Rule { name: "convert_identity", when: When::Always, apply: convert_identity },
    // extent 10 = const 10
    Rule { name: "extent_fixed", when: When::Always, apply: extent_fixed },
    // iota along one element = const 0
    Rule { name: "iota_of_one", when: When::Always, apply: iota_of_one },
];

fn view_identity(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::View { operand, subs, .. } = &site.node.op else { return None };
    let same =
        site.shape(*operand) == site.node.shape && *subs == Affine::identity(site.node.shape.len());
    same.then_some(Becomes::Node(*operand))
}

fn view_of_const(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::View { operand, fill, .. } = &site.node.op else { return None };
    let value = site.constant(*operand)?;
    let only = match fill {
        Fill::InRange => true,
        Fill::Value(outside) => same_literal(value, *outside),
        Fill::Skip => false,
    };
    only.then_some(Becomes::Op(Op::Const(value)))
}

fn view_of_iota(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::View { operand, subs, fill: Fill::InRange } = &site.node.op else { return None };
    let Op::Iota { axis } = site.op(*operand) else { return None };
    subs[*axis].as_axis().map(|axis| Becomes::Op(Op::Iota { axis }))
}

fn view_of_view(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::View { operand, subs, fill } = &site.node.op else { return None };
    let read = Read { value: *operand, subs: subs.clone(), fill: *fill };
    let through = read_through(&site.graph.nodes, &site.node.shape, &[], &read)?;
    let Read { value, subs, fill } = through.read;
    // A view cannot skip: where the proof was lost the two views stay.
    (fill != Fill::Skip).then_some(Becomes::Op(Op::View { operand: value, subs, fill }))
}

fn reshape_identity(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Reshape(operand) = site.node.op else { return None };
    (site.shape(operand) == site.node.shape).then_some(Becomes::Node(operand))
}

fn reshape_of_reshape(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Reshape(operand) = site.node.op else { return None };
    let Op::Reshape(inner) = site.op(operand) else { return None };
    Some(Becomes::Op(Op::Reshape(*inner)))
}

fn reshape_of_const(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Reshape(operand) = site.node.op else { return None };
    Some(Becomes::Op(Op::Const(site.constant(operand)?)))
}

fn reshape_of_unit_axes(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Reshape(operand) = site.node.op else { return None };
    let one = Dim::fixed(1);
    let mut targets = (0..site.node.shape.len()).filter(|&axis| site.node.shape[axis] != one);
    let mut subs = Vec::new();
    for &extent in site.shape(operand) {
        if extent == one {
            subs.push(Affine::constant(0));
            continue;
        }
        let axis = targets.next()?;
        if site.node.shape[axis] != extent {
            return None;
        }
        subs.push(Affine::axis(axis));
    }
    Some(Becomes::Op(Op::View { operand, subs, fill: Fill::InRange }))
}

fn convert_identity(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Convert(operand) = site.node.op else { return None };
    (site.elem(operand) == site.node.elem).then_some(Becomes::Node(operand))
}

fn extent_fixed(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Extent(dim) = site.node.op else { return None };
    let value = dim.as_fixed()?;
    let literal = match site.node.elem {
        ElemType::F32 | ElemType::F64 | ElemType::Bf16 | ElemType::F16 => {
            Literal::Float(value as f64)
        }
        ElemType::I32 | ElemType::I64 | ElemType::U8 | ElemType::I8 => Literal::Int(value),
        ElemType::Bool => return None,
    };
    Some(Becomes::Op(Op::Const(literal)))
}

fn iota_of_one(site: &mut Site<'_>) -> Option<Becomes> {
    let Op::Iota { axis } = site.node.op else { return None };
    (site.node.shape[axis] == Dim::fixed(1)).then(|| Becomes::Op(site.number(0.0)))
}
