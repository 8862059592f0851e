//! Removes nodes that no output needs. Leaves stay where they are the signature of a program.

use super::data::{Graph, NodeId, Op, OutputKind};
use crate::entity::EntityRef;

impl Graph {
    /// Removes unused nodes.
    pub fn prune(&mut self) {
        self.prune_keeping(Vec::new());
    }

    /// Removes unused nodes and unused leaves.
    pub fn prune_all(&mut self) {
        sweep(self, Vec::new(), false);
    }

    /// Removes unused nodes but keeps those in `kept`, which take their new numbers.
    pub fn prune_keeping(&mut self, kept: Vec<&mut NodeId>) {
        sweep(self, kept, true);
    }
}

fn sweep(graph: &mut Graph, kept: Vec<&mut NodeId>, keep_leaves: bool) {
    let mut is_kept = vec![false; graph.nodes.len()];
    kept.iter().for_each(|node| is_kept[node.index()] = true);
    let used = graph.needed(|id, node| {
        is_kept[id.index()] || (keep_leaves && matches!(node.op, Op::Input { .. }))
    });
    graph.outputs.retain(|output| match output.kind {
        OutputKind::Carry(recur) => used[recur.index()],
        OutputKind::Result(_) | OutputKind::Assign(_) => true,
    });
    let mut new: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
    let old = std::mem::take(&mut graph.nodes);
    // An unused node has no place; nothing that is used refers to it.
    let place = |new: &[Option<NodeId>], id: NodeId| {
        new[id.index()].expect("operands of used nodes are used and come before them")
    };
    for (at, mut node) in old.into_values().enumerate() {
        if used[at] {
            node.op = node.op.map_operands(|operand| place(&new, operand));
            new[at] = Some(graph.nodes.push(node));
        }
    }
    for output in &mut graph.outputs {
        output.value = place(&new, output.value);
        if let OutputKind::Assign(of) | OutputKind::Carry(of) = &mut output.kind {
            *of = place(&new, *of);
        }
    }
    for node in kept {
        *node = place(&new, *node);
    }
}
