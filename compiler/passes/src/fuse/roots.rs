//! Which values get a buffer, and which are computed inside the phases that use them.

use dlc_abi::Dim;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::loops::Loops;
use dlc_ir::graph::{BinaryOp, Contract, Fill, Graph, NodeId, Op, Read, UnaryOp};

/// Values computed by more operations than this are stored rather than computed again for a second user.
const CHEAP: u32 = 4;

/// The decision for every node.
#[derive(Debug)]
pub struct Roots {
    /// Whether the node's value lies in a buffer.
    stored: Vec<bool>,
    /// The contraction whose result the node's own phase has at hand, for nodes that are computed in place.
    anchor: Vec<Option<NodeId>>,
}

impl Roots {
    /// Whether the node's value lies in a buffer (leaves and reshapes of buffers included).
    pub fn is_stored(&self, node: NodeId) -> bool {
        self.stored[node.index()]
    }

    /// The contraction that the phase of this node is built round.
    pub fn anchor(&self, node: NodeId) -> Option<NodeId> {
        self.anchor[node.index()]
    }
}

/// Decides in one sweep over the nodes, operands first, and looks ahead only through use counts and the kinds of users.
pub fn choose(graph: &Graph, loops: &Loops) -> Roots {
    let uses = graph.use_counts();
    let n = graph.nodes.len();
    let mut roots = Roots { stored: vec![false; n], anchor: vec![None; n] };
    let mut cost = vec![0u32; n];
    let mut demanded = demanded_by_users(graph);
    for (id, node) in graph.nodes.iter() {
        let at = id.index();
        for operand in node.op.operands() {
            // A product outside a loop is not computed step by step, nor one inside again outside.
            let crosses = loops.loop_of(id) != loops.loop_of(operand);
            let crosses = crosses && roots.anchor(operand).is_some() && !roots.is_stored(operand);
            if crosses || must_be_stored(graph, &roots, &cost, id, operand) {
                store(&mut roots, &mut cost, operand);
            }
        }
        match &node.op {
            Op::Input { .. } | Op::Reshape(_) | Op::Recur { .. } => roots.stored[at] = true,
            Op::Contract(_) => {
                roots.anchor[at] = Some(id);
                // A contraction with one element-wise user of its shape becomes part of that user's phase.
                if !fits_into_user(graph, loops, id, uses[at]) {
                    demanded[at] = true;
                }
            }
            Op::Const(_) | Op::Iota { .. } | Op::Extent(_) => {}
            Op::Exchange(_) => roots.stored[at] = true,
            Op::Random { .. }
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_)
            | Op::View { .. }
            | Op::Gather(_) => {
                cost[at] = own_cost(&node.op)
                    + node
                        .op
                        .operands()
                        .iter()
                        .map(|operand| inline_cost(&roots, &cost, *operand))
                        .sum::<u32>();
                roots.anchor[at] = choose_anchor(graph, &mut roots, &mut cost, &node.op);
                let anchored = roots.anchor[at].is_some();
                if uses[at] > 1 && (anchored || cost[at] > CHEAP) {
                    demanded[at] = true;
                }
            }
        }
        if demanded[at] {
            store(&mut roots, &mut cost, id);
        }
    }
    roots
}

fn store(roots: &mut Roots, cost: &mut [u32], id: NodeId) {
    roots.stored[id.index()] = true;
    cost[id.index()] = 0;
}

/// Cost of an operand inside its user: nothing if it is loaded.
fn inline_cost(roots: &Roots, cost: &[u32], operand: NodeId) -> u32 {
    if roots.is_stored(operand) { 0 } else { cost[operand.index()] }
}

/// Outputs are stored whatever they cost.
fn demanded_by_users(graph: &Graph) -> Vec<bool> {
    let mut demanded = vec![false; graph.nodes.len()];
    for output in &graph.outputs {
        demanded[output.value.index()] = true;
    }
    for node in graph.nodes.values() {
        match &node.op {
            Op::Reshape(operand) => demanded[operand.index()] = true,
            Op::Exchange(exchange) => demanded[exchange.operand.index()] = true,
            Op::Gather(gather) => {
                demanded[gather.operand.index()] = true;
                demanded[gather.index.index()] = true;
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
            | Op::View { .. }
            | Op::Recur { .. }
            | Op::Contract(_) => {}
        }
    }
    demanded
}

/// Whether the user `id` can only read `operand` from memory.
fn must_be_stored(graph: &Graph, roots: &Roots, cost: &[u32], id: NodeId, operand: NodeId) -> bool {
    if roots.is_stored(operand) {
        return false;
    }
    let anchored = roots.anchor(operand).is_some();
    let shape = &graph.nodes[operand].shape;
    match &graph.nodes[id].op {
        Op::View { fill, .. } => anchored || *fill != Fill::InRange,
        Op::Contract(contract) => contract.reads.iter().any(|read| {
            read.value == operand
                && (anchored
                    // What lies outside is not the value: only a load knows the difference.
                    || read.fill != Fill::InRange
                    || !stays_inside(contract, read, shape)
                    || (inline_cost(roots, cost, operand) > 0 && !reads_once(contract, read)))
        }),
        Op::Reshape(_) | Op::Gather(_) | Op::Exchange(_) => true,
        Op::Recur { .. } => anchored,
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
        | Op::Convert(_) => false,
    }
}

/// Whether the subscripts of a read stay inside the operand for every point of the space, whatever the guards say. Extents are affine in the
/// batch, so what holds at two batch sizes holds between them.
pub fn stays_inside(contract: &Contract, read: &Read, shape: &[Dim]) -> bool {
    [1, 1 << 20].into_iter().all(|batch| {
        let extents: Vec<i64> = contract.space.iter().map(|dim| dim.at(batch).max(1)).collect();
        read.subs.iter().zip(shape).all(|(sub, dim)| {
            let (low, high) = sub.range(&extents);
            low >= 0 && high < dim.at(batch)
        })
    })
}

/// Whether every element of the operand is read at most once, so that computing it inside the loop repeats nothing.
fn reads_once(contract: &Contract, read: &Read) -> bool {
    let mut seen = vec![false; contract.space.len()];
    for sub in &read.subs {
        match sub.terms() {
            [] => {}
            [(axis, _)] => seen[*axis] = true,
            _ => return false,
        }
    }
    seen.iter().zip(&contract.space).all(|(seen, extent)| *seen || extent.as_fixed() == Some(1))
}

/// Whether a contraction's only user is element-wise work of the same shape.
fn fits_into_user(graph: &Graph, loops: &Loops, id: NodeId, uses: usize) -> bool {
    if uses != 1 {
        return false;
    }
    let user = graph.nodes.iter().find(|(_, node)| node.op.operands().contains(&id));
    user.is_some_and(|(at, user)| {
        is_elementwise(&user.op)
            && user.shape == graph.nodes[id].shape
            && loops.loop_of(at) == loops.loop_of(id)
    })
}

fn is_elementwise(op: &Op) -> bool {
    match op {
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_) => true,
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => false,
    }
}

/// A phase has one anchor. Where two contractions meet in an operation, the one with more factors stays and the others are stored.
fn choose_anchor(graph: &Graph, roots: &mut Roots, cost: &mut [u32], op: &Op) -> Option<NodeId> {
    if !is_elementwise(op) {
        return None;
    }
    let factors = |anchor: NodeId| match &graph.nodes[anchor].op {
        Op::Contract(contract) => contract.reads.len(),
        _ => 0,
    };
    let mut best: Option<(NodeId, NodeId)> = None;
    for operand in op.operands() {
        if roots.is_stored(operand) {
            continue;
        }
        let Some(anchor) = roots.anchor(operand) else { continue };
        match best {
            None => best = Some((operand, anchor)),
            Some((_, kept)) if kept == anchor => {}
            Some((kept_operand, kept)) => {
                if factors(anchor) > factors(kept) {
                    store(roots, cost, kept_operand);
                    best = Some((operand, anchor));
                } else {
                    store(roots, cost, operand);
                }
            }
        }
    }
    best.map(|(_, anchor)| anchor)
}

/// Rough number of vector operations.
fn own_cost(op: &Op) -> u32 {
    match op {
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => 0,
        Op::Random { .. } => 60,
        Op::Unary(op, _) => match op {
            UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Not => 1,
            UnaryOp::Sqrt => 9,
            UnaryOp::Exp
            | UnaryOp::Log
            | UnaryOp::Log1p
            | UnaryOp::Tanh
            | UnaryOp::Erf
            | UnaryOp::Sigmoid
            | UnaryOp::Sin
            | UnaryOp::Cos => 15,
        },
        Op::Binary(op, ..) => match op {
            BinaryOp::Div | BinaryOp::Rem => 5,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or => 1,
        },
        Op::Compare(..) | Op::Select(..) | Op::Fma(..) | Op::Convert(_) => 1,
        Op::Gather(_) => 8,
        Op::Contract(_) => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_ir::affine::Affine;

    #[test]
    fn a_window_that_overlaps_reads_more_than_once() {
        let fixed = dlc_ir::Dim::fixed;
        let contract = |sub: Affine| Contract {
            space: vec![fixed(4), fixed(3)],
            out: vec![Affine::axis(0)],
            reads: vec![Read {
                value: NodeId::from_index(0),
                subs: vec![sub],
                fill: Fill::InRange,
            }],
            combine: dlc_ir::graph::Combine::Max,
            guards: vec![],
            congruences: vec![],
            order: None,
        };
        let overlapping = contract(Affine::new([(0, 2), (1, 1)], 0));
        assert!(!reads_once(&overlapping, &overlapping.reads[0]));
        let broadcast = contract(Affine::axis(0));
        assert!(!reads_once(&broadcast, &broadcast.reads[0]));
    }
}
