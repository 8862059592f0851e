//! Reading through a view: the one place where subscripts and fills are composed.

use super::same_literal;
use dlc_abi::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::entity::IndexVec;
use dlc_ir::graph::{Fill, Guard, Node, NodeId, Op, Read, range};

type Nodes = IndexVec<NodeId, Node>;

/// A read of a view as a read of the view's operand.
#[derive(Debug)]
pub(super) struct Through {
    /// The read of the operand. `Fill::Skip` where the only proof that it is in range was that of the view.
    pub read: Read,
    /// Guards that stand for the ends of the view, where the read skipped there.
    pub guards: Vec<Guard>,
}

/// Composes a read with the view that it reads; `None` where no fill says the same. `space` and `known` are the reader's axes and guards.
pub(super) fn read_through(
    nodes: &Nodes,
    space: &[Dim],
    known: &[Guard],
    read: &Read,
) -> Option<Through> {
    let view = &nodes[read.value];
    let Op::View { operand, subs, fill } = &view.op else { return None };
    let composed: Vec<Affine> = subs.iter().map(|sub| sub.substitute(&read.subs)).collect();
    let leaves: Vec<usize> = (0..view.shape.len())
        .filter(|&axis| !range::in_range(space, known, &read.subs[axis], view.shape[axis]))
        .collect();
    let mut guards = Vec::new();
    let fill = match (read.fill, *fill) {
        (Fill::InRange, inner) => inner,
        (Fill::Value(_), inner) if leaves.is_empty() => inner,
        (Fill::Skip, inner) => {
            guards.extend(
                leaves
                    .iter()
                    .map(|&axis| Guard { expr: read.subs[axis].clone(), extent: view.shape[axis] }),
            );
            inner
        }
        // Outside the view the outer value holds, so outside the view must be outside the operand.
        (Fill::Value(outer), inner) => {
            let same = match inner {
                Fill::InRange => true,
                Fill::Value(inner) => same_literal(outer, inner),
                Fill::Skip => false,
            };
            let shape = &nodes[*operand].shape;
            if !same || !leaves.iter().all(|&axis| has_same_ends(view, axis, subs, shape)) {
                return None;
            }
            Fill::Value(outer)
        }
    };
    let proven = || {
        let shape = &nodes[*operand].shape;
        let mut known = known.to_vec();
        known.extend_from_slice(&guards);
        composed.iter().zip(shape).all(|(sub, &extent)| range::in_range(space, &known, sub, extent))
    };
    let fill = if fill == Fill::InRange && !proven() { Fill::Skip } else { fill };
    Some(Through { read: Read { value: *operand, subs: composed, fill }, guards })
}

/// Whether the view maps this axis, whole, to an axis of its operand: then an index leaves the one exactly when it leaves the other.
fn has_same_ends(view: &Node, axis: usize, subs: &[Affine], operand_shape: &[Dim]) -> bool {
    let extent = view.shape[axis];
    subs.iter().zip(operand_shape).any(|(sub, &operand_extent)| {
        let forwards = *sub == Affine::axis(axis);
        let backwards =
            extent.as_fixed().is_some_and(|extent| *sub == Affine::new([(axis, -1)], extent - 1));
        operand_extent == extent && (forwards || backwards)
    })
}
