//! Reverse-mode differentiation on graph IR: the result is ordinary graph IR, in the stage `Backward`.
//!
//! Input law:  the graph is not frozen; operands stand before their users.
//! Output law: nodes are only appended; every new contraction may have an affine left side, which `gatherise` brings to normal form.
//! Why: the adjoint of reading `x[A i]` is writing to `dx[A i]`, so one rule serves every layer that is made of contractions.
//! Cost: a constant number of new nodes for each node between `wrt` and the outputs.
//! Source: Griewank and Walther, "Evaluating Derivatives", 2nd edition, chapter 3 (reverse mode).
//!
//! ```text
//! before:  %2 = mul %0, %0    %3 = exp %2
//! after:   %4 = const 1    %5 = mul %4, %3    %6 = mul %5, %0    %7 = mul %5, %0    %8 = add %6, %7
//! ```
//!
//! The rules are one table in `rules`; this file decides which nodes they are applied to and adds up what they give.
//! Kinks: `|x|` and `relu` have slope 0 or that of the operand taken; see the table.

mod rules;

use dlc_abi::ElemType;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Graph, NodeId, Op, Origin, OutputKind, Stage, number_literal};
use indexmap::IndexMap;

/// Gradients of the sum of all elements of `loss` (for a scalar: of the loss itself) with respect to nodes `wrt`, in their order.
///
/// Each has the shape and element type of its node (`f32` for storage floats); nodes that `loss` does not depend on, and nodes that
/// are not floats, get zeros.
/// The result may be differentiated again.
///
/// # Panics
/// When the graph is frozen, or `loss` is not of a float type.
pub fn gradients(graph: &mut Graph, loss: NodeId, wrt: &[NodeId]) -> Vec<NodeId> {
    let origin = derivative_origin(&graph.nodes[loss].origin);
    let (elem, shape) = (cotangent_type(graph.nodes[loss].elem), graph.nodes[loss].shape.clone());
    let one = number_literal(1.0, elem);
    let seed = graph.build(Stage::Backward, origin).constant(one, elem, shape);
    pullback(graph, &[(loss, seed)], wrt)
}

/// The transposed derivative: for pairs of an output and its cotangent (of the output's type and shape), the sum of
/// `Jᵀ cotangent` with respect to nodes `wrt`, in their order.
///
/// # Panics
/// When the graph is frozen, or an output is not of a float type.
pub fn pullback(graph: &mut Graph, outputs: &[(NodeId, NodeId)], wrt: &[NodeId]) -> Vec<NodeId> {
    assert!(!graph.frozen, "differentiation comes before the freeze, which decides every bit");
    let targets: Vec<NodeId> = outputs.iter().map(|&(output, _)| output).collect();
    let active = active_nodes(graph, wrt, &targets);
    let end = active.iter().rposition(|&active| active).map_or(0, |last| last + 1);
    let mut cotangents = Cotangents { of: vec![None; graph.nodes.len()] };
    let recurrences = open_recurrences(graph, &active, &mut cotangents);
    for &(output, cotangent) in outputs {
        assert!(is_float(graph.nodes[output].elem), "only floats have derivatives");
        cotangents.add(graph, output, cotangent);
    }
    for index in (0..end).rev() {
        let id = NodeId::from_index(index);
        let Some(cotangent) = cotangents.of[index] else { continue };
        if !active[index] {
            continue;
        }
        if let Some(&back) = recurrences.get(&id) {
            graph.carry(back, cotangent);
        }
        for (operand, part) in rules::pull(graph, id, cotangent, &|node| active[node.index()]) {
            cotangents.add(graph, operand, part);
        }
    }
    // What a loop computes and does not carry on has no cotangent.
    for (recur, back) in recurrences {
        if cotangents.of[recur.index()].is_none() {
            let zero = zeros(graph, recur);
            graph.carry(back, zero);
        }
    }
    wrt.iter()
        .map(|&node| cotangents.of[node.index()].unwrap_or_else(|| zeros(graph, node)))
        .collect()
}

/// The origin of a node that stems from the derivative of another.
fn derivative_origin(origin: &Origin) -> Origin {
    let name = if origin.name.is_empty() { String::new() } else { format!("d({})", origin.name) };
    Origin { name, span: origin.span }
}

fn is_float(elem: ElemType) -> bool {
    matches!(elem, ElemType::F32 | ElemType::F64 | ElemType::Bf16 | ElemType::F16)
}

/// Float nodes whose value depends on one of `wrt`, and on which one of `targets` depends.
fn active_nodes(graph: &Graph, wrt: &[NodeId], targets: &[NodeId]) -> Vec<bool> {
    let carries = carries(graph);
    let mut active = vec![false; graph.nodes.len()];
    for node in wrt {
        active[node.index()] = true;
    }
    loop {
        for (id, node) in graph.nodes.iter() {
            active[id.index()] |= node.op.operands().iter().any(|operand| active[operand.index()]);
            // An integer or truth value has no derivative, so nothing flows through it.
            active[id.index()] &= is_float(node.elem);
        }
        let more: Vec<NodeId> = carries
            .iter()
            .filter(|(recur, value)| active[value.index()] && !active[recur.index()])
            .map(|&(recur, _)| recur)
            .collect();
        if more.is_empty() {
            break;
        }
        more.iter().for_each(|recur| active[recur.index()] = true);
    }
    let mut reached = vec![false; graph.nodes.len()];
    for target in targets {
        reached[target.index()] = true;
    }
    loop {
        for (id, node) in graph.nodes.iter().rev() {
            if reached[id.index()] {
                node.op.operands().iter().for_each(|operand| reached[operand.index()] = true);
            }
        }
        let more: Vec<NodeId> = carries
            .iter()
            .filter(|(recur, value)| reached[recur.index()] && !reached[value.index()])
            .map(|&(_, value)| value)
            .collect();
        if more.is_empty() {
            break;
        }
        more.iter().for_each(|value| reached[value.index()] = true);
    }
    active.iter_mut().zip(reached).for_each(|(active, reached)| *active &= reached);
    active
}

/// Recurrences with the values that they carry.
fn carries(graph: &Graph) -> Vec<(NodeId, NodeId)> {
    let carry = |output: &dlc_ir::graph::Output| match output.kind {
        OutputKind::Carry(recur) => Some((recur, output.value)),
        OutputKind::Result(_) | OutputKind::Assign(_) => None,
    };
    graph.outputs.iter().filter_map(carry).collect()
}

/// For each recurrence `h`, with `h[t + 1] = y[t]`, the recurrence in the other direction that makes `dy[t] += dh[t + 1]`. It carries the
/// cotangent of `h`, which is known once all users of `h` are done.
fn open_recurrences(
    graph: &mut Graph,
    active: &[bool],
    cotangents: &mut Cotangents,
) -> IndexMap<NodeId, NodeId> {
    let mut opened = IndexMap::new();
    for (recur, value) in carries(graph) {
        let Op::Recur { reverse, .. } = graph.nodes[recur].op else { continue };
        if !active[recur.index()] || !active[value.index()] {
            continue;
        }
        let node = graph.nodes[recur].clone();
        let elem = cotangent_type(node.elem);
        let steps = node.shape[0].as_fixed().expect("a recurrence has fixed steps");
        let mut g = graph.build(Stage::Backward, derivative_origin(&node.origin));
        let end = g.constant(number_literal(0.0, elem), elem, node.shape[1..].to_vec());
        let back = g.recur(end, steps, !reverse);
        cotangents.add(graph, value, back);
        opened.insert(recur, back);
    }
    opened
}

fn zeros(graph: &mut Graph, like: NodeId) -> NodeId {
    let origin = derivative_origin(&graph.nodes[like].origin);
    let (elem, shape) = (cotangent_type(graph.nodes[like].elem), graph.nodes[like].shape.clone());
    graph.build(Stage::Backward, origin).constant(number_literal(0.0, elem), elem, shape)
}

/// The element type of a node's cotangent: storage floats are computed with in single precision.
fn cotangent_type(elem: ElemType) -> ElemType {
    match elem {
        ElemType::Bf16 | ElemType::F16 => ElemType::F32,
        ElemType::F32
        | ElemType::F64
        | ElemType::I32
        | ElemType::I64
        | ElemType::U8
        | ElemType::Bool
        | ElemType::I8 => elem,
    }
}

/// What has been found so far of the cotangent of each node.
struct Cotangents {
    of: Vec<Option<NodeId>>,
}

impl Cotangents {
    /// Adds a part. Parts meet in the order in which users of the node stand in the graph, last user first.
    fn add(&mut self, graph: &mut Graph, node: NodeId, part: NodeId) {
        let known = &mut self.of[node.index()];
        *known = Some(match *known {
            None => part,
            Some(sum) => {
                let origin = derivative_origin(&graph.nodes[node].origin);
                graph.build(Stage::Backward, origin).add(sum, part)
            }
        });
    }
}
