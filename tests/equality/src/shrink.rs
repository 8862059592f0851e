//! Makes a failing graph small: fewer outputs, outputs moved up to operands, nodes turned into leaves or passed over, everything unread
//! dropped.

use dlc_ir::entity::IndexVec;
use dlc_ir::graph::{Graph, InputRole, NodeId, Op, Output, OutputKind};

/// Candidates tried before the search ends with the best so far.
const MAX_TRIES: usize = 600;

/// A graph that fails as the given one does and is no larger; `fails` says whether a candidate does.
pub fn shrink(graph: &Graph, fails: &dyn Fn(&Graph) -> bool) -> Graph {
    let mut search = Search { best: graph.clone(), fails, tries: 0 };
    loop {
        let before = size(&search.best);
        search.outputs();
        search.moved_up();
        search.nodes(as_leaf);
        search.nodes(passed_over);
        if size(&search.best) == before || search.tries >= MAX_TRIES {
            return search.best;
        }
    }
}

fn size(graph: &Graph) -> (usize, usize) {
    let inner = graph.nodes.values().filter(|node| !matches!(node.op, Op::Input { .. })).count();
    (inner + graph.outputs.len(), graph.nodes.len())
}

struct Search<'a> {
    best: Graph,
    fails: &'a dyn Fn(&Graph) -> bool,
    tries: usize,
}

impl Search<'_> {
    /// Takes a candidate if it is smaller, lawful and fails.
    fn offer(&mut self, candidate: &Graph) -> bool {
        let candidate = pruned(candidate);
        if self.tries >= MAX_TRIES || size(&candidate) >= size(&self.best) {
            return false;
        }
        self.tries += 1;
        let taken = candidate.verify().is_ok() && (self.fails)(&candidate);
        if taken {
            self.best = candidate;
        }
        taken
    }

    /// One output alone, else as few as possible.
    fn outputs(&mut self) {
        for output in self.best.outputs.clone() {
            if self.best.outputs.len() > 1 {
                let mut candidate = self.best.clone();
                candidate.outputs = vec![output];
                self.offer(&candidate);
            }
        }
        let mut at = 0;
        while at < self.best.outputs.len() && self.best.outputs.len() > 1 {
            let mut candidate = self.best.clone();
            candidate.outputs.remove(at);
            if !self.offer(&candidate) {
                at += 1;
            }
        }
    }

    /// Hands out an operand in place of a result: a result may have any type and shape, so the node between the two can go.
    fn moved_up(&mut self) {
        let mut at = 0;
        while at < self.best.outputs.len() {
            let output = self.best.outputs[at].clone();
            let operands = match output.kind {
                OutputKind::Result(_) => self.best.nodes[output.value].op.operands(),
                OutputKind::Assign(_) | OutputKind::Carry(_) => Vec::new(),
            };
            let taken = operands.into_iter().any(|operand| {
                let mut candidate = self.best.clone();
                candidate.outputs[at].value = operand;
                self.offer(&candidate)
            });
            if !taken {
                at += 1;
            }
        }
    }

    /// Changes node after node, the last first.
    fn nodes(&mut self, change: fn(&mut Graph, NodeId) -> bool) {
        let mut left = self.best.nodes.len();
        while left > 0 {
            left -= 1;
            let Some(id) = self.best.node_at(left) else { continue };
            let mut candidate = self.best.clone();
            if change(&mut candidate, id) {
                self.offer(&candidate);
            }
        }
    }
}

/// Turns a node into a data leaf.
fn as_leaf(graph: &mut Graph, id: NodeId) -> bool {
    let changes = !matches!(graph.nodes[id].op, Op::Input { .. });
    let name = format!("{}_{id}", "leaf").replace('%', "");
    if changes && graph.input(&name).is_none() {
        graph.nodes[id].op = Op::Input { name, role: InputRole::Data };
        return true;
    }
    false
}

/// Lets users of a node read an operand of its type and shape.
fn passed_over(graph: &mut Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    let like = node.op.operands().into_iter().find(|&operand| {
        let operand = &graph.nodes[operand];
        operand.elem == node.elem && operand.shape == node.shape
    });
    let Some(operand) = like else { return false };
    let to = |node: NodeId| if node == id { operand } else { node };
    for node in graph.nodes.values_mut() {
        node.op = node.op.clone().map_operands(to);
    }
    for output in &mut graph.outputs {
        output.value = to(output.value);
    }
    true
}

/// The graph without nodes that no output needs.
fn pruned(graph: &Graph) -> Graph {
    let needed = graph.needed(|_, _| false);
    let position = |id: NodeId| dlc_ir::entity::EntityRef::index(id);
    let mut to: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
    let mut nodes = IndexVec::new();
    for (id, node) in graph.nodes.iter().filter(|(id, _)| needed[position(*id)]) {
        let mut node = node.clone();
        node.op =
            node.op.map_operands(|operand| to[position(operand)].expect("operands come first"));
        to[position(id)] = Some(nodes.push(node));
    }
    let kept = |id: NodeId| to[position(id)].expect("outputs are needed");
    let outputs = graph.outputs.iter().filter(|output| match output.kind {
        OutputKind::Carry(recur) => needed[position(recur)],
        OutputKind::Assign(_) | OutputKind::Result(_) => true,
    });
    let outputs = outputs.map(|output| Output {
        kind: match &output.kind {
            OutputKind::Assign(leaf) => OutputKind::Assign(kept(*leaf)),
            OutputKind::Carry(recur) => OutputKind::Carry(kept(*recur)),
            OutputKind::Result(name) => OutputKind::Result(name.clone()),
        },
        value: kept(output.value),
    });
    let outputs = outputs.collect();
    Graph { nodes, outputs, ..graph.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_ir::graph::{UnaryOp, parse};

    /// A search for graphs with a hyperbolic tangent finds it and a leaf.
    #[test]
    fn what_does_not_matter_goes() {
        let graph = parse(
            "graph \"g\" shards 4 class fused {\nstage forward\n\
             %0: f32[batch, 4] = input data \"x\"\n\
             %1: f32[batch, 4] = exp %0\n%2: f32[batch, 4] = tanh %1\n\
             %3: f32[batch, 4] = neg %2\n%4: f32[batch] = contract sum [i0 < batch, i1 < 4] %3[i0, i1]\n\
             result \"a\" %1\nresult \"b\" %4\n}\n",
        )
        .expect("a graph");
        let has_tanh = |graph: &Graph| {
            graph.nodes.values().any(|node| matches!(node.op, Op::Unary(UnaryOp::Tanh, _)))
        };
        let small = shrink(&graph, &has_tanh);
        assert_eq!(small.nodes.len(), 2, "{small}");
        assert_eq!(small.outputs.len(), 1, "{small}");
        assert!(has_tanh(&small) && small.verify().is_ok(), "{small}");
    }
}
