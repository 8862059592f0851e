//! Rules for contractions: reading through views, dropping axes and factors that do nothing.

use super::views::read_through;
use super::{Becomes, Rule, Site, When, guards, same_literal};
use crate::gatherise::as_view;
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{BinaryOp, Combine, Contract, Fill, Literal, NodeId, Op, Read, range};

pub(super) const RULES: &[Rule] = &[
    // contract .. (view x)[..] = contract .. x[..]; the terms and their order stay
    Rule { name: "read_through_view", when: When::Always, apply: reads_through_views },
    // guards that are proven, and guards that a read's range implies
    Rule { name: "tidy_guards", when: When::Always, apply: tidy_guards },
    // sum of a * 1 = sum of a: fma(a, 1, acc) and acc + a round alike
    Rule { name: "factor_one", when: When::Always, apply: factor_one },
    // a reduction axis of one element goes; what is left has another innermost axis, hence other chunks
    Rule { name: "unit_axis", when: When::BeforeFreeze, apply: unit_axis },
    // a contraction without reduction is a view, or a product of views; 0 + -0 is +0, so a sum of one term is not that term
    Rule { name: "no_reduction", when: When::BeforeFreeze, apply: no_reduction },
    // sum over r of a(o, r) * b(o) = (sum over r of a(o, r)) * b(o)
    Rule { name: "hoist_factor", when: When::BeforeFreeze, apply: hoist_factor },
    // sum of (a * view b)[..] = sum of a[..] * (view b)[..]: no tensor of products, and its view is read through next
    Rule { name: "product_into_sum", when: When::BeforeFreeze, apply: product_into_sum },
    // an output axis that is contiguous in an operand comes last, so that vectors of it are loaded and stored whole
    Rule { name: "lanes_last", when: When::BeforeFreeze, apply: lanes_last },
    // a reduction axis that is contiguous in the operands comes last, so that runs are long and walk memory in order
    Rule { name: "run_last", when: When::BeforeFreeze, apply: run_last },
];

fn contract<'a>(site: &'a Site<'_>) -> Option<&'a Contract> {
    match &site.node.op {
        Op::Contract(contract) => Some(contract),
        _ => None,
    }
}

/// Number of output axes, of a contraction in normal form that has something to reduce.
fn reduction_from(contract: &Contract) -> Option<usize> {
    contract.normal_form().filter(|&n_out| n_out < contract.space.len())
}

fn reads_through_views(site: &mut Site<'_>) -> Option<Becomes> {
    let mut contract = contract(site)?.clone();
    let nodes = &site.graph.nodes;
    let known = range::effective_guards(nodes, &contract);
    let (at, through) = contract.reads.iter().enumerate().find_map(|(at, read)| {
        // What a read itself skips is no knowledge about its own subscripts.
        let mut without = contract.clone();
        without.reads.remove(at);
        let known = if read.fill == Fill::Skip {
            range::effective_guards(nodes, &without)
        } else {
            known.clone()
        };
        Some((at, read_through(nodes, &contract.space, &known, read)?))
    })?;
    contract.reads[at] = through.read;
    contract.guards.extend(through.guards);
    Some(Becomes::Op(Op::Contract(contract)))
}

fn tidy_guards(site: &mut Site<'_>) -> Option<Becomes> {
    let before = contract(site)?;
    let mut after = before.clone();
    guards::tidy(&site.graph.nodes, &before.space, &mut after);
    (after != *before).then_some(Becomes::Op(Op::Contract(after)))
}

fn factor_one(site: &mut Site<'_>) -> Option<Becomes> {
    let mut contract = contract(site)?.clone();
    if contract.reads.len() < 2 {
        return None;
    }
    let one = |literal: Literal| match literal {
        Literal::Float(_) => same_literal(literal, Literal::Float(1.0)),
        Literal::Int(value) => value == 1,
        Literal::Bool(_) => false,
    };
    let at = contract.reads.iter().position(|read| {
        read.fill == Fill::InRange && site.constant(read.value).is_some_and(one)
    })?;
    contract.reads.remove(at);
    Some(Becomes::Op(Op::Contract(contract)))
}

fn unit_axis(site: &mut Site<'_>) -> Option<Becomes> {
    let mut contract = contract(site)?.clone();
    let n_out = reduction_from(&contract)?;
    let one = Dim::fixed(1);
    let gone = (n_out..contract.space.len()).find(|&axis| contract.space[axis] == one)?;
    contract.space.remove(gone);
    let by: Vec<Affine> = (0..=contract.space.len())
        .map(|axis| match axis.cmp(&gone) {
            std::cmp::Ordering::Less => Affine::axis(axis),
            std::cmp::Ordering::Equal => Affine::constant(0),
            std::cmp::Ordering::Greater => Affine::axis(axis - 1),
        })
        .collect();
    contract.reads.iter_mut().flat_map(|read| &mut read.subs).for_each(|s| *s = s.substitute(&by));
    contract.guards.iter_mut().for_each(|guard| guard.expr = guard.expr.substitute(&by));
    contract.congruences.iter_mut().for_each(|c| c.expr = c.expr.substitute(&by));
    Some(Becomes::Op(Op::Contract(contract)))
}

fn no_reduction(site: &mut Site<'_>) -> Option<Becomes> {
    let contract = contract(site)?.clone();
    let n_out = contract.normal_form()?;
    if n_out < contract.space.len() {
        return None;
    }
    let (stage, origin) = (site.node.stage, site.node.origin.clone());
    let mut g = site.graph.build(stage, origin);
    if contract.reads.len() == 1 {
        return as_view(&mut g, &contract).map(Becomes::Node);
    }
    let all_exist = contract.guards.is_empty()
        && contract.congruences.is_empty()
        && contract.reads.iter().all(|read| read.fill != Fill::Skip);
    if !all_exist {
        return None;
    }
    let factors: Vec<NodeId> = contract
        .reads
        .iter()
        .map(|read| g.view(read.value, read.subs.clone(), read.fill, contract.space.clone()))
        .collect();
    Some(Becomes::Op(Op::Binary(BinaryOp::Mul, factors[0], factors[1])))
}

fn hoist_factor(site: &mut Site<'_>) -> Option<Becomes> {
    let mut contract = contract(site)?.clone();
    let n_out = reduction_from(&contract)?;
    if contract.combine != Combine::Sum || contract.reads.len() < 2 {
        return None;
    }
    let at = contract.reads.iter().position(|read| {
        let fixed = read.subs.iter().flat_map(Affine::terms).all(|term| term.0 < n_out);
        // Where the factor is only in range for some terms it stays: a view could not skip.
        let shape = site.shape(read.value);
        let mut in_range = read.subs.iter().zip(shape);
        let always = in_range.all(|(sub, &e)| range::in_range(&contract.space, &[], sub, e));
        fixed && (always || matches!(read.fill, Fill::Value(_)))
    })?;
    let factor = contract.reads.remove(at);
    let (elem, shape) = (site.node.elem, site.node.shape.clone());
    let sum = site.push(Op::Contract(contract), elem, shape.clone());
    let Read { value, subs, fill } = factor;
    let factor = site.push(Op::View { operand: value, subs, fill }, elem, shape);
    Some(Becomes::Op(Op::Binary(BinaryOp::Mul, sum, factor)))
}

fn product_into_sum(site: &mut Site<'_>) -> Option<Becomes> {
    let mut contract = contract(site)?.clone();
    let [read] = contract.reads.as_slice() else { return None };
    if contract.combine != Combine::Sum || !site.is_only_user_of(read.value) {
        return None;
    }
    let zero = match read.fill {
        Fill::InRange | Fill::Skip => true,
        Fill::Value(value) => same_literal(value, Literal::Float(0.0)),
    };
    let Op::Binary(BinaryOp::Mul, a, b) = *site.op(read.value) else { return None };
    let float = matches!(site.node.elem, ElemType::F32 | ElemType::F64);
    let is_view = |id: NodeId| matches!(site.op(id), Op::View { .. });
    if !zero || !float || !(is_view(a) || is_view(b)) {
        return None;
    }
    let (first, second) = (Read { value: a, ..read.clone() }, Read { value: b, ..read.clone() });
    contract.reads = vec![first, second];
    Some(Becomes::Op(Op::Contract(contract)))
}

/// In how many reads an axis walks the operand's last axis one by one.
fn contiguous_reads(contract: &Contract, axis: usize) -> usize {
    let last = |read: &&Read| read.subs.last().is_some_and(|sub| sub.coefficient(axis) == 1);
    contract.reads.iter().filter(last).count()
}

/// The contraction with its axes in another order: axis `order[k]` becomes axis k.
fn reordered(contract: &Contract, order: &[usize]) -> Contract {
    let mut by = vec![Affine::constant(0); order.len()];
    for (at, &axis) in order.iter().enumerate() {
        by[axis] = Affine::axis(at);
    }
    let mut after = contract.clone();
    after.space = order.iter().map(|&axis| contract.space[axis]).collect();
    after
        .reads
        .iter_mut()
        .flat_map(|read| &mut read.subs)
        .for_each(|sub| *sub = sub.substitute(&by));
    after.guards.iter_mut().for_each(|guard| guard.expr = guard.expr.substitute(&by));
    after.congruences.iter_mut().for_each(|c| c.expr = c.expr.substitute(&by));
    after
}

fn lanes_last(site: &mut Site<'_>) -> Option<Becomes> {
    let contract = contract(site)?.clone();
    let n_out = reduction_from(&contract)?;
    let at_end = n_out.checked_sub(1)?;
    if contiguous_reads(&contract, at_end) > 0 {
        return None;
    }
    // Of several the one of the last read: of a product that is usually the weights.
    let found = contract.reads.iter().rev().find_map(|read| {
        (0..n_out).find(|&axis| read.subs.last().is_some_and(|sub| sub.coefficient(axis) == 1))
    })?;
    // The others stand in the order in which the operands walk them.
    let mut order: Vec<usize> = Vec::with_capacity(contract.space.len());
    let walked = contract.reads.iter().flat_map(|read| &read.subs).flat_map(|sub| sub.terms());
    for axis in walked.map(|(axis, _)| *axis).chain(0..n_out) {
        if axis < n_out && axis != found && !order.contains(&axis) {
            order.push(axis);
        }
    }
    order.push(found);
    let subs = order.iter().map(|&axis| Affine::axis(axis)).collect();
    order.extend(n_out..contract.space.len());
    let after = reordered(&contract, &order);
    let (elem, shape) = (site.node.elem, after.space[..n_out].to_vec());
    let operand = site.push(Op::Contract(after), elem, shape);
    Some(Becomes::Op(Op::View { operand, subs, fill: Fill::InRange }))
}

fn run_last(site: &mut Site<'_>) -> Option<Becomes> {
    let contract = contract(site)?;
    // The number that an arg-reduction gives counts terms in the order of its axes.
    if matches!(contract.combine, Combine::ArgMax | Combine::ArgMin) {
        return None;
    }
    let n_out = reduction_from(contract)?;
    let reduction = n_out..contract.space.len();
    let best = reduction.clone().max_by_key(|&axis| (contiguous_reads(contract, axis), axis))?;
    let innermost = contract.space.len() - 1;
    if contiguous_reads(contract, best) <= contiguous_reads(contract, innermost) {
        return None;
    }
    let mut order: Vec<usize> = (0..contract.space.len()).filter(|&axis| axis != best).collect();
    order.push(best);
    Some(Becomes::Op(Op::Contract(reordered(contract, &order))))
}
