//! Which values can be computed in pieces: what new values of parameters and states follow from, element by element.

use super::{UpdateLeaf, piece_of};
use crate::split_batch::WHOLE;
use dlc_abi::{Among, Dim, ExchangeKind};
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Fill, Graph, InputRole, Node, NodeId, Op, OutputKind, Stage};

/// The cones that end in new values of some leaves, and what else follows from them element by element. They begin with sums over the
/// batch and with states that are cut; everything else is there whole.
pub(super) struct Cones {
    inside: Vec<bool>,
    /// Of a sum over the batch, the piece of it that a replica has before it is gathered.
    sums: Vec<Option<NodeId>>,
    /// Values inside that something outside needs whole, or another value for its own whole.
    demanded: Vec<bool>,
    /// Values that can be computed from what is there whole.
    follows: Vec<bool>,
}

/// Elements of a value that does not depend on the batch.
pub(super) fn elements(node: &Node) -> i64 {
    node.shape.iter().map(|dim| dim.constant).product()
}

/// Whether an element of the result follows from the same element of each operand, in row-major order.
fn is_pointwise(node: &Node) -> bool {
    if node.shape.iter().any(|dim| dim.batch_factor != 0) {
        return false;
    }
    match node.op {
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::Reshape(_) => true,
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::View { .. }
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => false,
    }
}

/// The piece of a value that was gathered from the pieces of all replicas, as `split_batch` leaves sums over the batch.
fn gathered_piece(graph: &Graph, id: NodeId, replicas: u32) -> Option<NodeId> {
    let piece = Dim::fixed(piece_of(elements(&graph.nodes[id]), replicas));
    let mut at = id;
    loop {
        at = match &graph.nodes[at].op {
            Op::Reshape(operand) => *operand,
            // The first elements, without those that fill up the last piece.
            Op::View { operand, subs, fill: Fill::InRange } if *subs == Affine::identity(1) => {
                *operand
            }
            Op::Exchange(exchange) => {
                let own = &graph.nodes[exchange.operand];
                let fits = exchange.kind == ExchangeKind::AllGather
                    && exchange.among == Among::Replicas
                    && own.shape == [piece];
                return fits.then_some(exchange.operand);
            }
            _ => return None,
        };
    }
}

impl Cones {
    /// The cones of the leaves of which `is_cut` tells whether they are kept in pieces.
    pub fn of(graph: &Graph, replicas: u32, is_cut: &dyn Fn(&str) -> Option<bool>) -> Cones {
        let n = graph.nodes.len();
        let leaf_is_cut = |id: NodeId| match &graph.nodes[id].op {
            Op::Input { name, .. } => is_cut(name),
            _ => None,
        };
        let mut cones = Cones {
            inside: vec![false; n],
            sums: vec![None; n],
            demanded: vec![false; n],
            follows: vec![true; n],
        };
        let mut open = Vec::new();
        for id in graph.nodes.keys() {
            cones.inside[id.index()] = leaf_is_cut(id) == Some(true);
        }
        for output in &graph.outputs {
            if let OutputKind::Assign(leaf) = output.kind
                && leaf_is_cut(leaf).is_some()
            {
                open.push(output.value);
            }
        }
        while let Some(id) = open.pop() {
            let op = &graph.nodes[id].op;
            if cones.inside[id.index()] {
                continue;
            }
            if let Some(piece) = gathered_piece(graph, id, replicas) {
                cones.sums[id.index()] = Some(piece);
                cones.inside[id.index()] = true;
            } else if is_pointwise(&graph.nodes[id]) {
                cones.inside[id.index()] = true;
                open.extend(op.operands());
            }
        }
        cones.widen(graph);
        cones.demand(graph);
        cones
    }

    /// Takes in what follows element by element from two values that are there in pieces: if it is needed whole, it alone is gathered and not
    /// both of them.
    fn widen(&mut self, graph: &Graph) {
        let mut in_pieces = vec![false; graph.nodes.len()];
        for (id, node) in graph.nodes.iter() {
            let at = id.index();
            let mut operands = node.op.operands();
            operands.retain(|operand| in_pieces[operand.index()]);
            operands.sort_unstable();
            operands.dedup();
            let joins = operands.len() > 1 && node.stage == Stage::Update && is_pointwise(node);
            self.inside[at] |= joins;
            let is_source = self.sums[at].is_some() || matches!(node.op, Op::Input { .. });
            in_pieces[at] = self.inside[at] && (is_source || !operands.is_empty());
        }
    }

    /// What is needed whole, and what of it follows from other values that are.
    fn demand(&mut self, graph: &Graph) {
        for (id, node) in graph.nodes.iter() {
            // A sum is asked for in pieces whatever it was gathered for.
            if !self.inside[id.index()] || self.sums[id.index()].is_some() {
                for operand in node.op.operands() {
                    self.demanded[operand.index()] = true;
                }
            }
        }
        for output in &graph.outputs {
            let in_pieces = match output.kind {
                OutputKind::Assign(leaf) => self.inside[leaf.index()],
                OutputKind::Result(_) | OutputKind::Carry(_) => false,
            };
            self.demanded[output.value.index()] |= !in_pieces;
        }
        for (id, node) in graph.nodes.iter().filter(|(id, _)| self.inside[id.index()]) {
            let at = id.index();
            let is_source = self.sums[at].is_some() || node.op.operands().is_empty();
            let is_whole = |operand: &NodeId| {
                let operand = operand.index();
                self.follows[operand] || self.demanded[operand]
            };
            self.follows[at] = !is_source && node.op.operands().iter().all(is_whole);
        }
    }

    pub fn is_inside(&self, id: NodeId) -> bool {
        self.inside[id.index()]
    }

    /// Of a sum over the batch, the piece that this replica has before it is gathered.
    pub fn sum(&self, id: NodeId) -> Option<NodeId> {
        self.sums[id.index()]
    }

    /// Whether a value is brought together from pieces, which costs an exchange.
    pub fn is_gathered(&self, id: NodeId) -> bool {
        let at = id.index();
        self.inside[at] && self.demanded[at] && !self.follows[at]
    }

    /// Whether a value can be computed whole. Of a sum over the batch this is how it is gathered.
    pub fn is_computed_whole(&self, id: NodeId) -> bool {
        self.follows[id.index()] || (self.sum(id).is_some() && self.demanded[id.index()])
    }
}

/// The leaves that are updated in pieces without sending more than before: those that follow from the same gradients stand or fall
/// together.
pub(super) fn worthwhile(
    graph: &Graph,
    replicas: u32,
    read_elsewhere: impl Fn(&str) -> bool,
) -> Vec<UpdateLeaf> {
    let leaf_of = |leaf: NodeId| -> Option<UpdateLeaf> {
        let node = &graph.nodes[leaf];
        let Op::Input { name, role } = &node.op else { return None };
        let shape: Vec<i64> = node.shape.iter().map(|dim| dim.constant).collect();
        let is_cut = *role == InputRole::State;
        let is_candidate = elements(node) >= WHOLE && !(is_cut && read_elsewhere(name));
        is_candidate.then(|| UpdateLeaf { name: name.clone(), shape, is_cut })
    };
    let assigned = || {
        graph.outputs.iter().filter_map(|output| match output.kind {
            OutputKind::Assign(leaf) => Some((leaf, output.value)),
            OutputKind::Result(_) | OutputKind::Carry(_) => None,
        })
    };
    let mut leaves: Vec<(NodeId, NodeId, UpdateLeaf)> = assigned()
        .filter_map(|(leaf, value)| leaf_of(leaf).map(|found| (leaf, value, found)))
        .collect();
    let is_cut = |name: &str| {
        leaves.iter().find(|(_, _, leaf)| leaf.name == name).map(|(_, _, leaf)| leaf.is_cut)
    };
    let cones = Cones::of(graph, replicas, &is_cut);
    let mut families = Families { parent: (0..graph.nodes.len()).collect() };
    for (id, node) in graph.nodes.iter() {
        if cones.is_inside(id) && cones.sum(id).is_none() {
            for operand in node.op.operands().into_iter().filter(|at| cones.is_inside(*at)) {
                families.join(id, operand);
            }
        }
    }
    for (leaf, value, _) in
        leaves.iter().filter(|(leaf, value, _)| cones.is_inside(*leaf) && cones.is_inside(*value))
    {
        families.join(*leaf, *value);
    }
    // Exchanges of a whole tensor: before, one for each gradient.
    let mut extra = vec![0_i64; graph.nodes.len()];
    for id in graph.nodes.keys().filter(|id| cones.is_inside(*id)) {
        let family = families.of(id);
        extra[family] += i64::from(cones.is_gathered(id)) - i64::from(cones.sum(id).is_some());
    }
    leaves.retain(|(_, value, _)| cones.is_inside(*value) && extra[families.of(*value)] <= 0);
    leaves.into_iter().map(|(_, _, leaf)| leaf).collect()
}

/// Sets of values that are connected.
struct Families {
    parent: Vec<usize>,
}

impl Families {
    fn of(&mut self, id: NodeId) -> usize {
        let mut at = id.index();
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn join(&mut self, a: NodeId, b: NodeId) {
        let (a, b) = (self.of(a), self.of(b));
        self.parent[a] = b;
    }
}
