//! Removes nodes that no output needs. Leaves stay where they are the signature of a program.

use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Graph, NodeId, Op, OutputKind};

/// Removes unused nodes.
pub(super) fn prune(graph: &mut Graph) {
    prune_keeping(graph, Vec::new());
}

/// Removes unused nodes and unused leaves.
pub(super) fn prune_all(graph: &mut Graph) {
    sweep(graph, Vec::new(), false);
}

/// Removes unused nodes but keeps those in `kept`, which take their new numbers.
pub(super) fn prune_keeping(graph: &mut Graph, kept: Vec<&mut NodeId>) {
    sweep(graph, kept, true);
}

fn sweep(graph: &mut Graph, kept: Vec<&mut NodeId>, keep_leaves: bool) {
    let mut used = vec![false; graph.nodes.len()];
    for output in &graph.outputs {
        used[output.value.index()] = true;
        if let OutputKind::Assign(leaf) = output.kind {
            used[leaf.index()] = true;
        }
    }
    for node in &kept {
        used[node.index()] = true;
    }
    for (id, node) in graph.nodes.iter().rev() {
        if keep_leaves && matches!(node.op, Op::Input { .. }) {
            used[id.index()] = true;
        }
        if used[id.index()] {
            for operand in node.op.operands() {
                used[operand.index()] = true;
            }
        }
    }
    let mut new: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
    let old = std::mem::take(&mut graph.nodes);
    // An unused node has no place; nothing that is used refers to it.
    let place = |new: &[Option<NodeId>], id: NodeId| {
        new[id.index()].expect("operands of used nodes are used and come before them")
    };
    for (id, node) in old.iter() {
        if used[id.index()] {
            let mut node = node.clone();
            node.op = node.op.map_operands(|operand| place(&new, operand));
            new[id.index()] = Some(graph.nodes.push(node));
        }
    }
    for output in &mut graph.outputs {
        output.value = place(&new, output.value);
        if let OutputKind::Assign(leaf) = &mut output.kind {
            *leaf = place(&new, *leaf);
        }
    }
    for node in kept {
        *node = place(&new, *node);
    }
}
