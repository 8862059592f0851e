//! Making a new graph out of an old one, node by node: the loop that all graph passes share.

use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Graph, Node, NodeId, OutputKind};

/// Walks the nodes in order. `place` gets the new graph and each node with its operands renumbered; it appends what it likes and returns
/// the node that stands for the old one. Outputs follow.
///
/// A leaf must stay a leaf where it is assigned to, and a recurrence a recurrence.
pub(crate) fn rebuild<E>(
    old: Graph,
    mut place: impl FnMut(&mut Graph, Node) -> Result<NodeId, E>,
) -> Result<Graph, E> {
    let mut new = Graph { nodes: Default::default(), outputs: Vec::new(), ..old };
    let mut stands_for: Vec<NodeId> = Vec::with_capacity(old.nodes.len());
    for mut node in old.nodes.into_values() {
        node.op = node.op.map_operands(|operand| stands_for[operand.index()]);
        stands_for.push(place(&mut new, node)?);
    }
    for mut output in old.outputs {
        output.value = stands_for[output.value.index()];
        if let OutputKind::Assign(of) | OutputKind::Carry(of) = &mut output.kind {
            *of = stands_for[of.index()];
        }
        new.outputs.push(output);
    }
    Ok(new)
}
