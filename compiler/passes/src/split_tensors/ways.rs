//! How an operation is computed of which only a slice is wanted, or whose operands are slices.
//!
//! Every operation computes over a *space*: the axes of its result, and for a contraction those that it reduces as well. Cutting the space
//! along one axis cuts the result, or makes it a partial one; operands are then needed in slices where they are read at that very axis,
//! and whole where they are read otherwise.

use dlc_abi::{AxisCut, Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::range::element_count;
use dlc_ir::graph::{Combine, Contract, Graph, Node, NodeId, Op, OrderKind};
use std::ops::Range;

/// What a rank has of a tensor: a slice, or all of it.
pub(super) type Form = Option<AxisCut>;

/// How a node is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Where its space is cut.
    pub space: Form,
    /// What it needs of each operand.
    pub operands: Vec<Form>,
}

/// What computing a node gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// The result, or its slice.
    Result(Form),
    /// Of a reduction what the terms of the slice give.
    Partial,
}

impl Way {
    /// All of the node, from all of its operands.
    pub fn whole(node: &Node) -> Way {
        Way { space: None, operands: vec![None; node.op.operands().len()] }
    }

    pub fn gives(&self, node: &Node) -> Gives {
        match self.space {
            Some(cut) if cut.axis >= node.shape.len() => Gives::Partial,
            space => Gives::Result(space),
        }
    }

    /// A slice of the node; `None` where it cannot be computed alone.
    pub fn cut(graph: &Graph, node: &Node, cut: AxisCut) -> Option<Way> {
        let operands = match &node.op {
            Op::Const(_) => Vec::new(),
            Op::Iota { axis } => {
                let exact = match node.elem {
                    ElemType::F32 | ElemType::F64 | ElemType::I32 | ElemType::I64 => true,
                    ElemType::Bf16
                    | ElemType::F16
                    | ElemType::I8
                    | ElemType::U8
                    | ElemType::Bool => false,
                };
                // The first index is added to it.
                let small = node.shape[cut.axis].as_fixed().is_some_and(|n| n <= 1 << 24);
                if *axis == cut.axis && !(exact && small) {
                    return None;
                }
                Vec::new()
            }
            Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_) => vec![Some(cut); node.op.operands().len()],
            Op::View { operand, subs, .. } => {
                vec![read_form(graph, *operand, subs, &node.shape, cut)]
            }
            Op::Reshape(operand) => {
                vec![Some(reshaped(&node.shape, &graph.nodes[*operand].shape, cut)?)]
            }
            Op::Contract(contract) => {
                if cut.axis >= contract.out.len() && !falls_on_chunks(contract, cut) {
                    return None;
                }
                let form = |read: &dlc_ir::graph::Read| {
                    read_form(graph, read.value, &read.subs, &contract.space, cut)
                };
                contract.reads.iter().map(form).collect()
            }
            Op::Gather(gather) => {
                let form = |value, subs| read_form(graph, value, subs, &node.shape, cut);
                let operand = form(gather.operand, &gather.subs);
                let operand = operand.filter(|operand| operand.axis != gather.axis);
                vec![operand, form(gather.index, &gather.index_subs)]
            }
            // Numbers drawn follow from their places in the whole.
            Op::Input { .. }
            | Op::Extent(_)
            | Op::Random { .. }
            | Op::Recur { .. }
            | Op::Exchange(_) => return None,
        };
        Some(Way { space: Some(cut), operands })
    }
}

/// Where the space of a node is cut if its operand number `at` is; `None` where no cut of the space takes it as it is.
pub(super) fn space_of(graph: &Graph, node: &Node, at: usize, cut: AxisCut) -> Form {
    let read = |value: NodeId, subs: &[Affine], space: &[Dim]| -> Form {
        let axis = subs[cut.axis].as_axis()?;
        let same = space[axis] == graph.nodes[value].shape[cut.axis];
        same.then_some(AxisCut { axis, ..cut })
    };
    match &node.op {
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_) => Some(cut),
        Op::View { operand, subs, .. } => read(*operand, subs, &node.shape),
        Op::Reshape(operand) => reshaped(&graph.nodes[*operand].shape, &node.shape, cut),
        Op::Contract(contract) => {
            let found = &contract.reads[at];
            read(found.value, &found.subs, &contract.space)
        }
        Op::Gather(gather) => match at {
            0 if cut.axis == gather.axis => None,
            0 => read(gather.operand, &gather.subs, &node.shape),
            _ => read(gather.index, &gather.index_subs, &node.shape),
        },
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Recur { .. }
        | Op::Exchange(_) => None,
    }
}

/// The slice that a read needs of its operand where the space is cut: `None` for all of it.
fn read_form(graph: &Graph, value: NodeId, subs: &[Affine], space: &[Dim], cut: AxisCut) -> Form {
    let shape = &graph.nodes[value].shape;
    let at_axis =
        |at: &usize| subs[*at].as_axis() == Some(cut.axis) && shape[*at] == space[cut.axis];
    let axis = (0..subs.len()).find(at_axis)?;
    Some(AxisCut { axis, ..cut })
}

/// The cut of a tensor as one of the same elements in another shape; `None` where its slices are none along an axis there.
fn reshaped(from: &[Dim], to: &[Dim], cut: AxisCut) -> Form {
    let before = element_count(&from[..cut.axis])?;
    let starts = |axis: &usize| {
        element_count(&to[..*axis]).as_ref() == Some(&before)
            && to[*axis].as_fixed().is_some_and(|extent| extent > 1)
    };
    let axis = (0..to.len()).find(starts)?;
    let after = |shape: &[Dim]| -> Option<i64> {
        shape.iter().map(|dim| dim.as_fixed()).product::<Option<i64>>()
    };
    let (run, own) = (after(&from[cut.axis + 1..])?, after(&to[axis + 1..])?);
    let elements = cut.block * run;
    let extent = from[cut.axis].as_fixed()? * run;
    // The last slice must end where the axis does.
    let fits = elements % own == 0 && to[axis].as_fixed()? * own == extent;
    fits.then_some(AxisCut { axis, block: elements / own })
}

/// Whether the slices of a reduced axis are subtrees of the frozen order: blocks of a power of two of chunks, so that partial results
/// meet in the same tree as the chunks themselves.
pub(super) fn falls_on_chunks(contract: &Contract, cut: AxisCut) -> bool {
    let Some(order) = contract.order.filter(|order| order.kind == OrderKind::Chain) else {
        return false;
    };
    let n_out = contract.out.len();
    let fixed = |axes: Range<usize>| -> Option<i64> {
        contract.space[axes].iter().map(|dim| dim.as_fixed()).product()
    };
    // Terms of a slice stand side by side in the order only if no axis runs outside the one that is cut.
    if order.shard_axis.is_some() || fixed(n_out..cut.axis) != Some(1) {
        return false;
    }
    match contract.combine {
        Combine::Max | Combine::Min => return true,
        Combine::ArgMax | Combine::ArgMin => return false,
        Combine::Sum => {}
    }
    let last = contract.space.len() - 1;
    let exact = |terms: i64, chunk: i64| (terms % chunk == 0).then_some(terms / chunk);
    let chunks = if cut.axis == last {
        exact(cut.block, order.run_cut)
    } else {
        let (between, run) = (fixed(cut.axis + 1..last), contract.space[last].as_fixed());
        between.zip(run).and_then(|(between, run)| {
            let runs = cut.block * between;
            match order.runs_per_chunk {
                1 => Some(runs * ((run + order.run_cut - 1) / order.run_cut)),
                per_chunk => exact(runs, per_chunk),
            }
        })
    };
    chunks.is_some_and(|chunks| u64::try_from(chunks).is_ok_and(u64::is_power_of_two))
}

/// The operation and shape of the slice `range` of a node whose space is cut as `way` says.
pub(super) fn narrowed(node: &Node, way: &Way, range: Range<i64>) -> (Op, Vec<Dim>) {
    let (mut op, mut shape) = (node.op.clone(), node.shape.clone());
    let Some(cut) = way.space else { return (op, shape) };
    let extent = Dim::fixed(range.end - range.start);
    if let Some(own) = shape.get_mut(cut.axis) {
        *own = extent;
    }
    let moved = |sub: &Affine| sub.plus(&Affine::constant(sub.coefficient(cut.axis) * range.start));
    // The axis of a slice counts from the slice's start.
    let read = |subs: &mut [Affine], form: Form| {
        for (at, sub) in subs.iter_mut().enumerate() {
            if form.is_none_or(|form| form.axis != at) {
                *sub = moved(sub);
            }
        }
    };
    match &mut op {
        Op::View { subs, .. } => read(subs, way.operands[0]),
        Op::Contract(contract) => {
            contract.space[cut.axis] = extent;
            for (found, form) in contract.reads.iter_mut().zip(&way.operands) {
                read(&mut found.subs, *form);
            }
            for guard in &mut contract.guards {
                guard.expr = moved(&guard.expr);
            }
        }
        Op::Gather(gather) => {
            read(&mut gather.subs, way.operands[0]);
            read(&mut gather.index_subs, way.operands[1]);
        }
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::Reshape(_)
        | Op::Recur { .. }
        | Op::Exchange(_) => {}
    }
    (op, shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_ir::graph::parse;

    /// Whether a sum over `space` in an order can be cut.
    fn falls(space: &str, order: &str, axis: usize, block: i64) -> bool {
        let text = format!(
            "graph \"g\" shards 4 class fused frozen {{\n\
             %0: f32[8, 1000] = input param \"w\"\n\
             %1: f32[] = contract sum [{space}] %0[i0, i1] order {order}\n}}\n"
        );
        let graph = parse(&text).expect("a graph");
        let found = graph.nodes.values().find_map(|node| match &node.op {
            Op::Contract(contract) => Some(contract),
            _ => None,
        });
        falls_on_chunks(found.expect("it has a sum"), AxisCut { axis, block })
    }

    #[test]
    fn sums_are_cut_where_blocks_are_subtrees() {
        let long = "i0 < 1, i1 < 1000";
        assert!(falls(long, "chain(run 256, runs 1)", 1, 256));
        assert!(falls(long, "chain(run 256, runs 1)", 1, 512));
        assert!(!falls(long, "chain(run 256, runs 1)", 1, 768), "three chunks are no subtree");
        assert!(!falls(long, "chain(run 256, runs 1)", 1, 500), "it would cut a chunk");
        assert!(!falls(long, "lanes(run 63, runs 5)", 1, 256), "lanes meet after their chunks");
        let rows = "i0 < 8, i1 < 100";
        assert!(falls(rows, "chain(run 100, runs 3)", 0, 6), "two chunks of three runs");
        assert!(!falls(rows, "chain(run 100, runs 3)", 0, 4));
        assert!(!falls(rows, "chain(run 100, runs 3)", 1, 50), "its terms do not stand together");
    }

    #[test]
    fn cuts_go_through_a_reshape_where_slices_stay_slices() {
        let shape = |extents: &[i64]| -> Vec<Dim> {
            std::iter::once(Dim::batch()).chain(extents.iter().map(|&n| Dim::fixed(n))).collect()
        };
        let cut = |axis, block| AxisCut { axis, block };
        let (flat, cube) = (shape(&[48]), shape(&[4, 4, 3]));
        assert_eq!(reshaped(&flat, &cube, cut(1, 24)), Some(cut(1, 2)));
        assert_eq!(reshaped(&cube, &flat, cut(1, 2)), Some(cut(1, 24)));
        assert_eq!(reshaped(&flat, &cube, cut(1, 16)), None, "no whole rows");
        assert_eq!(reshaped(&cube, &flat, cut(3, 2)), None, "the slices are scattered");
    }
}
