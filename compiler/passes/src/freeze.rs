//! Decides every bit: the order of every reduction, and which products round together with a sum.
//!
//! Input law:  every contraction is in normal form without congruences; no node is without use.
//! Output law: `frozen`; every contraction has an order. From here on no pass may change a bit of any result. Idempotent.
//! Why: what decides rounding is read off shapes and the program alone, so instruction set, threads, hosts and memory cannot.
//! Cost: O(nodes). Source: chunks of 256 terms bound the rounding error of long sums (Blanchard, Higham and Mary 2020, blocked
//!       summation).
//!
//! ```text
//! before:  %2 = contract sum [i0 < batch, i1 < 10, i2 < 64] %0[i0, i2] * %1[i2, i1]    %4 = mul %2, %3    %5 = add %4, %2
//! after:   %2 = contract .. order chain(run 64, runs 4)                                %5 = fma %2, %3, %2
//! ```
//!
//! # Orders
//! *Lanes* are for reductions along the unit-stride last axis of all operands, where a chain would be a dependent sum over the lanes of a
//! vector: reductions of one operand, and of two operands where the result has fewer than four elements per row of either. All others
//! are *chains*. The rules see shapes only; an extent that contains the batch counts as long, whatever the batch.
//!
//! # Products
//! In the class `Fused`, where a float sum or difference has an operand that is a product with no other use, the two become one
//! [`Op::Fma`]: `a*b + c`, `c + a*b`, `a*b - c` as `fma(a, b, -c)`, `c - a*b` as `fma(-a, b, c)`. Of two such products the left one is taken.
//! The class `Unfused` keeps both.
//!
//! # Terms outside an operand
//! A gradient's sum of products that skips outside an operand takes zero terms there instead, so that kernels need no mask: the sum is the
//! same but for the sign of an underflowed zero, and for NaN where the other factor is not finite. Where a quarter of the terms or more
//! do not exist the skips stay, because computing zeros would cost more than asking. Skips of the forward part stay, because the
//! program asked for them.

use crate::pass::{PassCx, PassError};
use crate::rebuild::rebuild;
use dlc_abi::{Dim, ElemType, NumericsClass};
use dlc_ir::affine::Affine;
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::graph::{
    BinaryOp, Combine, Contract, Fill, Graph, Literal, Node, NodeId, Op, Order, OrderKind, Read,
    Stage, range,
};

/// Terms of a chunk: a run of this length or longer is cut, shorter runs share a chunk until it has as many.
pub(crate) const CHUNK: i64 = 256;
/// Chains side by side under [`OrderKind::Lanes`].
const LANES: i64 = 16;
/// Skipped terms become zero terms where at least this share of the terms exists.
const MOST: f64 = 0.75;
/// Points of a subscript's axes up to which those inside are counted.
const COUNTED: i64 = 1 << 20;
/// A contraction of two operands with fewer results than this along one of them is a sum of rows.
const FEW: i64 = 4;

/// Freezes the graph.
pub fn run(graph: Graph, cx: &PassCx) -> Result<Graph, PassError> {
    if graph.frozen {
        return Ok(graph);
    }
    let mut graph = match graph.class {
        NumericsClass::Fused => fuse_products(graph, cx),
        NumericsClass::Unfused => graph,
    };
    graph.prune();
    let ids: Vec<NodeId> = graph.nodes.keys().collect();
    for id in ids {
        let node = &graph.nodes[id];
        let Op::Contract(contract) = &node.op else { continue };
        let mut contract = contract.clone();
        if contract.normal_form().is_none() || !contract.congruences.is_empty() {
            return Err(PassError::bug(
                "freeze",
                format!("{id} is not in normal form in\n{graph}"),
            ));
        }
        if node.stage == Stage::Backward {
            take_zero_terms(&graph.nodes, &mut contract, node.elem);
        }
        contract.order = Some(order_of(&graph.nodes, &contract));
        let mut node = node.clone();
        node.op = Op::Contract(contract);
        graph.nodes[id] = node;
        cx.count("orders", 1);
    }
    graph.frozen = true;
    Ok(graph)
}

/// The order of a contraction in normal form, from its shape alone.
pub fn order_of(nodes: &IndexVec<NodeId, Node>, contract: &Contract) -> Order {
    let n_out = contract.out.len();
    let reduced = n_out..contract.space.len();
    let shard_axis = reduced.clone().find(|&axis| contract.space[axis].batch_factor > 0);
    let kind = match reduced.clone().next_back() {
        Some(inner) if is_row_sum(nodes, contract, inner) => OrderKind::Lanes,
        Some(_) | None => OrderKind::Chain,
    };
    let run = match reduced.clone().next_back() {
        None => Some(1),
        // A run that follows the batch is cut like a long one, so that its chunks do not depend on the batch.
        Some(inner) => contract.space[inner].as_fixed(),
    };
    let run = run.map(|run| match kind {
        OrderKind::Chain => run,
        OrderKind::Lanes => (run + LANES - 1) / LANES,
    });
    let (run_cut, runs_per_chunk) = match run {
        Some(run) if run < CHUNK => (run.max(1), (CHUNK + run - 1) / run.max(1)),
        Some(_) | None => (CHUNK, 1),
    };
    Order { kind, shard_axis, run_cut, runs_per_chunk }
}

/// Whether the terms of the innermost axis lie side by side in every operand and there are too few results to fill a vector otherwise.
fn is_row_sum(nodes: &IndexVec<NodeId, Node>, contract: &Contract, inner: usize) -> bool {
    let along_rows = contract.reads.iter().all(|read| is_unit_stride(nodes, read, inner));
    along_rows && (contract.reads.len() == 1 || has_few_results(contract))
}

/// Whether neighbours along the axis are neighbours in row-major memory, and no other axis moves along the same axis of the operand.
fn is_unit_stride(nodes: &IndexVec<NodeId, Node>, read: &Read, axis: usize) -> bool {
    let shape = &nodes[read.value].shape;
    let Some(at) = read.subs.iter().rposition(|sub| sub.coefficient(axis) != 0) else {
        return false;
    };
    let alone = read.subs.iter().filter(|sub| sub.coefficient(axis) != 0).count() == 1;
    alone
        && read.subs[at].terms() == [(axis, 1)]
        && shape[at + 1..].iter().all(|&extent| extent == Dim::fixed(1))
}

/// Whether one of two operands has fewer than [`FEW`] results of its own for each of the other's.
fn has_few_results(contract: &Contract) -> bool {
    let n_out = contract.out.len();
    let occurs = |read: &Read, axis: usize| read.subs.iter().any(|sub| sub.coefficient(axis) != 0);
    let (a, b) = (&contract.reads[0], &contract.reads[1]);
    let mut own = [1i64; 2];
    for axis in 0..n_out {
        let side = match (occurs(a, axis), occurs(b, axis)) {
            (true, false) => 0,
            (false, true) => 1,
            (true, true) | (false, false) => continue,
        };
        let extent = contract.space[axis].as_fixed().unwrap_or(FEW);
        own[side] = own[side].saturating_mul(extent);
    }
    own.iter().any(|&own| own < FEW)
}

/// Turns skipped terms of a sum of products into zero terms.
fn take_zero_terms(nodes: &IndexVec<NodeId, Node>, contract: &mut Contract, elem: ElemType) {
    let float = matches!(elem, ElemType::F32 | ElemType::F64);
    let skips = contract.reads.iter().any(|read| read.fill == Fill::Skip);
    if contract.combine != Combine::Sum || !float || contract.reads.len() < 2 || !skips {
        return;
    }
    let skipping = contract.reads.iter().filter(|read| read.fill == Fill::Skip);
    let existing: f64 = skipping.map(|read| inside_share(nodes, contract, read)).product();
    if existing < MOST {
        return;
    }
    for read in &mut contract.reads {
        // A read may have been in range only because the other one skipped.
        let proven =
            read.subs.iter().zip(&nodes[read.value].shape).all(|(sub, &extent)| {
                range::in_range(&contract.space, &contract.guards, sub, extent)
            });
        if read.fill == Fill::Skip || (read.fill == Fill::InRange && !proven) {
            read.fill = Fill::Value(Literal::Float(0.0));
        }
    }
}

/// The share of the terms for which the read is inside its operand, each subscript for itself.
fn inside_share(nodes: &IndexVec<NodeId, Node>, contract: &Contract, read: &Read) -> f64 {
    let shape = &nodes[read.value].shape;
    let shares = read.subs.iter().zip(shape).map(|(sub, extent)| {
        let axes: Option<Vec<i64>> =
            sub.terms().iter().map(|&(axis, _)| contract.space[axis].as_fixed()).collect();
        match (axes, extent.as_fixed()) {
            (Some(extents), Some(extent)) if extents.iter().product::<i64>() <= COUNTED => {
                subscript_share(sub, &extents, extent)
            }
            // What follows the batch is its own axis and stays inside; long axes have few ends.
            _ => 1.0,
        }
    });
    shares.product()
}

/// The share of the points of a subscript's axes at which it lies in `0..extent`, its values counted axis by axis.
fn subscript_share(sub: &Affine, extents: &[i64], extent: i64) -> f64 {
    let mut counts = std::collections::BTreeMap::from([(sub.offset(), 1.0)]);
    for (&(_, coefficient), &axis_extent) in sub.terms().iter().zip(extents) {
        let mut next = std::collections::BTreeMap::new();
        for (value, count) in counts {
            for at in 0..axis_extent {
                *next.entry(value + coefficient * at).or_insert(0.0) += count;
            }
        }
        counts = next;
    }
    let all: f64 = counts.values().sum();
    let inside: f64 = counts.range(0..extent).map(|(_, count)| count).sum();
    if all > 0.0 { inside / all } else { 1.0 }
}

/// Turns products that are used once, by a sum, into fused multiply-adds. The products are left without use.
fn fuse_products(graph: Graph, cx: &PassCx) -> Graph {
    let uses = graph.use_counts();
    let old: Vec<(Op, usize)> =
        graph.nodes.iter().map(|(id, node)| (node.op.clone(), uses[id.index()])).collect();
    let single_product = |id: NodeId| match old[id.index()] {
        (Op::Binary(BinaryOp::Mul, a, b), 1) => Some((a, b)),
        _ => None,
    };
    // What each old node is in the new graph, for factors of products.
    let mut stands_for: Vec<NodeId> = Vec::with_capacity(old.len());
    let fused = rebuild(graph, |graph, node| {
        let at = stands_for.len();
        let float = matches!(node.elem, ElemType::F32 | ElemType::F64);
        let found = match old[at].0 {
            Op::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), x, y) if float => single_product(x)
                .map(|product| (op, true, product, y))
                .or_else(|| single_product(y).map(|product| (op, false, product, x))),
            _ => None,
        };
        let id = match found {
            Some((op, product_first, (a, b), c)) => {
                cx.count("fused_products", 1);
                let to = |id: NodeId| stands_for[id.index()];
                let (a, b, c) = (to(a), to(b), to(c));
                let mut g = graph.build(node.stage, node.origin.clone());
                match (op, product_first) {
                    (BinaryOp::Sub, true) => {
                        let c = g.neg(c);
                        g.fma(a, b, c)
                    }
                    (BinaryOp::Sub, false) => {
                        let a = g.neg(a);
                        g.fma(a, b, c)
                    }
                    _ => g.fma(a, b, c),
                }
            }
            None => graph.nodes.push(node),
        };
        stands_for.push(id);
        Ok::<NodeId, PassError>(id)
    });
    fused.expect("fusing products cannot fail")
}
