//! What loops carry: a recurrence and the value it carries share one buffer, with a slice more than there are steps.
//!
//! The buffer holds the beginning in its first slice (in reverse: the last) and what step t gives one slice further on, so nothing is
//! copied from step to step. Whoever reads either of the two is given the place of the slice in that buffer. Readers that would notice
//! the additional slice, because they ask what lies outside or want the tensor as a whole, read a copy that is made here.

use super::roots::stays_inside;
use crate::pass::PassError;
use crate::rebuild::rebuild;
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Fill, Graph, Node, NodeId, Op, OutputKind};
use rustc_hash::FxHashMap;

/// Whether the graph has recurrences.
pub fn is_needed(graph: &Graph) -> bool {
    graph.outputs.iter().any(|output| matches!(output.kind, OutputKind::Carry(_)))
}

/// Gives a copy of a recurrence or of what it carries to those readers that want one.
pub fn detach(graph: Graph) -> Result<Graph, PassError> {
    let mut carried = vec![false; graph.nodes.len()];
    for output in &graph.outputs {
        if let OutputKind::Carry(recur) = output.kind {
            carried[recur.index()] = true;
            carried[output.value.index()] = true;
        }
    }
    let mut wanted = vec![false; graph.nodes.len()];
    for node in graph.nodes.values() {
        for (operand, copy) in reads(&graph, node) {
            wanted[operand.index()] |= copy && carried[operand.index()];
        }
    }
    for output in &graph.outputs {
        let handed_out = !matches!(output.kind, OutputKind::Carry(_));
        wanted[output.value.index()] |= handed_out && carried[output.value.index()];
    }
    let mut copies: FxHashMap<NodeId, NodeId> = FxHashMap::default();
    let mut at = 0;
    let mut graph = rebuild(graph, |graph, mut node| {
        let copied: Vec<(NodeId, bool)> = reads(graph, &node);
        let mut reads = copied.into_iter();
        node.op = node.op.map_operands(|operand| match reads.next() {
            Some((_, true)) => copies.get(&operand).copied().unwrap_or(operand),
            Some((_, false)) | None => operand,
        });
        let subs = Affine::identity(node.shape.len());
        let (elem, shape, stage) = (node.elem, node.shape.clone(), node.stage);
        let origin = node.origin.clone();
        let id = graph.nodes.push(node);
        if wanted[at] {
            let op = Op::View { operand: id, subs, fill: Fill::InRange };
            copies.insert(id, graph.push(op, elem, shape, stage, origin));
        }
        at += 1;
        Ok::<_, PassError>(id)
    })?;
    for output in &mut graph.outputs {
        if !matches!(output.kind, OutputKind::Carry(_)) {
            output.value = copies.get(&output.value).copied().unwrap_or(output.value);
        }
    }
    Ok(graph)
}

/// The operands of a node in order, and whether it reads them as wholes or asks what lies outside.
fn reads(graph: &Graph, node: &Node) -> Vec<(NodeId, bool)> {
    match &node.op {
        Op::View { operand, fill, .. } => vec![(*operand, *fill != Fill::InRange)],
        Op::Contract(contract) => contract
            .reads
            .iter()
            .map(|read| {
                let inside = stays_inside(contract, read, &graph.nodes[read.value].shape);
                (read.value, read.fill != Fill::InRange || !inside)
            })
            .collect(),
        Op::Gather(gather) => vec![(gather.operand, gather.axis == 0), (gather.index, false)],
        Op::Reshape(operand) => vec![(*operand, true)],
        Op::Exchange(exchange) => vec![(exchange.operand, true)],
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Recur { .. } => node.op.operands().into_iter().map(|id| (id, false)).collect(),
    }
}
