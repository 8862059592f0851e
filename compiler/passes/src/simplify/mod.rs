//! Makes a graph smaller: rewrite rules, common values, and what no output needs.
//!
//! Input law:  none; write-form contractions are simplified as well.
//! Output law: no rule of the tables applies; no two nodes compute the same; every node but leaves is needed by an output. Idempotent.
//!             In a frozen graph only rules apply that change no bit of any result (save the payload of NaN).
//! Why: gradients of layers are written without looking at their surroundings; most of what they leave is views of views, products with
//!      one, and sums over one element.
//! Cost: O(nodes) a sweep, and as many sweeps as rules enable each other, in practice two or three.
//! Source: the rules follow from IEEE 754 and from composing affine maps; value numbering is as old as compilers (Cocke 1970).
//!
//! ```text
//! before:  %2 = view %0[i1, i0]    %3 = view %2[i1, i0]    %4 = mul %3, 1    %5 = add %4, %4
//! after:   %1 = add %0, %0
//! ```

pub(crate) mod guards;

mod algebra;
mod contraction;
mod fold;
mod shape;
mod views;

use crate::pass::{PassCx, PassError};
use crate::rebuild::rebuild;
use dlc_abi::{Dim, ElemType};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Combine, Fill, Graph, Literal, Node, NodeId, Op, Read, number_literal};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};

/// When a rule may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// It changes no bit, so after the freeze too.
    Always,
    /// It changes rounding, the sign of a zero or the order of terms, so only before the freeze.
    BeforeFreeze,
}

/// What a node becomes.
#[derive(Debug)]
pub(crate) enum Becomes {
    /// Another node that has the same value.
    Node(NodeId),
    /// Another operation with the same element type and shape.
    Op(Op),
}

/// A rewrite rule. The result is never more work than the node.
pub(crate) struct Rule {
    /// Its name in reports and in bisections.
    pub name: &'static str,
    /// When it may be applied.
    pub when: When,
    /// The rule: `None` where it does not fit.
    pub apply: fn(&mut Site<'_>) -> Option<Becomes>,
}

/// A node about to be appended, and the graph so far.
pub(crate) struct Site<'a> {
    graph: &'a mut Graph,
    node: &'a Node,
    uses: &'a [usize],
}

impl Site<'_> {
    fn op(&self, id: NodeId) -> &Op {
        &self.graph.nodes[id].op
    }

    fn shape(&self, id: NodeId) -> &[Dim] {
        &self.graph.nodes[id].shape
    }

    fn elem(&self, id: NodeId) -> ElemType {
        self.graph.nodes[id].elem
    }

    /// The value of a constant node.
    fn constant(&self, id: NodeId) -> Option<Literal> {
        match self.op(id) {
            Op::Const(literal) => Some(*literal),
            _ => None,
        }
    }

    /// Whether the node under consideration is the only user.
    fn is_only_user_of(&self, id: NodeId) -> bool {
        self.uses.get(id.index()) == Some(&1)
    }

    /// Appends a node with the stage and origin of the one under consideration.
    fn push(&mut self, op: Op, elem: ElemType, shape: Vec<Dim>) -> NodeId {
        self.graph.push(op, elem, shape, self.node.stage, self.node.origin.clone())
    }

    /// A constant of the node's type and shape.
    fn number(&self, value: f64) -> Op {
        Op::Const(number_literal(value, self.node.elem))
    }
}

/// All rules, in the order in which they are tried.
fn rules() -> impl Iterator<Item = &'static Rule> {
    [fold::RULES, algebra::RULES, shape::RULES, contraction::RULES].into_iter().flatten()
}

/// Names of all rules; the tests show for each where it applies and where it does not.
pub fn rule_names() -> Vec<&'static str> {
    rules().map(|rule| rule.name).collect()
}

/// Simplifies until nothing changes.
pub fn run(mut graph: Graph, cx: &PassCx) -> Result<Graph, PassError> {
    // Every rule makes the graph smaller or moves work towards leaves, so the sweeps end; the bound only turns a fault into an error.
    for _ in 0..64 {
        let (swept, changed) = sweep(graph, cx)?;
        graph = swept;
        graph.prune();
        if !changed {
            return Ok(graph);
        }
    }
    Err(PassError::bug("simplify", format!("its rules undo each other in\n{graph}")))
}

/// One walk over all nodes; whether a rule was applied or a common value found.
fn sweep(graph: Graph, cx: &PassCx) -> Result<(Graph, bool), PassError> {
    let old_uses = graph.use_counts();
    let mut uses = vec![0; graph.nodes.len()];
    let mut known: FxHashMap<u64, Vec<NodeId>> = FxHashMap::default();
    let mut changed = false;
    let mut at = 0;
    let graph = rebuild(graph, |graph, node| {
        let before = graph.nodes.len();
        let id = rewrite(graph, node, &uses, cx, &mut changed);
        let id =
            if id.index() >= before { share(graph, id, &mut known, cx, &mut changed) } else { id };
        // Helpers that rules made have users that are not counted; they are never taken for nodes of one user.
        uses.resize(graph.nodes.len().max(uses.len()), 0);
        uses[id.index()] += old_uses[at];
        at += 1;
        Ok::<NodeId, PassError>(id)
    })?;
    Ok((graph, changed))
}

/// Applies rules to a node until none fits, and appends what is left.
fn rewrite(
    graph: &mut Graph,
    mut node: Node,
    uses: &[usize],
    cx: &PassCx,
    changed: &mut bool,
) -> NodeId {
    let frozen = graph.frozen;
    'again: loop {
        for rule in rules().filter(|rule| rule.when == When::Always || !frozen) {
            let found = (rule.apply)(&mut Site { graph, node: &node, uses });
            let Some(becomes) = found else { continue };
            if !cx.may_rewrite(rule.name) {
                continue;
            }
            *changed = true;
            match becomes {
                Becomes::Node(id) => return id,
                Becomes::Op(op) => node.op = op,
            }
            continue 'again;
        }
        return graph.nodes.push(node);
    }
}

/// The first node that computes the same as a new one. A value of a later stage cannot stand for one of an earlier stage.
fn share(
    graph: &mut Graph,
    id: NodeId,
    known: &mut FxHashMap<u64, Vec<NodeId>>,
    cx: &PassCx,
    changed: &mut bool,
) -> NodeId {
    let node = &graph.nodes[id];
    // Recurrences with the same beginning may carry different values.
    if matches!(node.op, Op::Input { .. } | Op::Recur { .. }) {
        return id;
    }
    let candidates = known.entry(value_hash(node)).or_default();
    let Some(same) = candidates.iter_mut().find(|first| same_value(&graph.nodes[**first], node))
    else {
        candidates.push(id);
        return id;
    };
    if graph.nodes[*same].stage > node.stage {
        *same = id;
        return id;
    }
    if !cx.may_rewrite("common_value") {
        return id;
    }
    *changed = true;
    *same
}

/// A number that nodes with the same value share. Subscripts are left out: operands and extents tell most nodes apart.
fn value_hash(node: &Node) -> u64 {
    let mut hasher = FxHasher::default();
    std::mem::discriminant(&node.op).hash(&mut hasher);
    node.op.operands().hash(&mut hasher);
    node.elem.hash(&mut hasher);
    node.shape.hash(&mut hasher);
    match &node.op {
        Op::Const(Literal::Float(value)) if !value.is_nan() => value.to_bits().hash(&mut hasher),
        Op::Const(Literal::Int(value)) => value.hash(&mut hasher),
        Op::Unary(op, _) => op.hash(&mut hasher),
        Op::Binary(op, ..) => op.hash(&mut hasher),
        Op::Const(_)
        | Op::Input { .. }
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => {}
    }
    hasher.finish()
}

/// Whether two nodes have the same value, bit by bit; NaNs are alike in constants, and told apart in fills, where they are not met.
fn same_value(a: &Node, b: &Node) -> bool {
    let same_op = match (&a.op, &b.op) {
        (Op::Const(a), Op::Const(b)) => same_literal(*a, *b),
        // Comparing takes zeros of both signs for equal.
        (a, b) => a == b && fills(a).zip(fills(b)).all(|(a, b)| same_literal(a, b)),
    };
    same_op && a.elem == b.elem && a.shape == b.shape && a.layout == b.layout
}

/// The values that reads of an operation give outside their operands.
fn fills(op: &Op) -> impl Iterator<Item = Literal> {
    let (one, reads): (_, &[Read]) = match op {
        Op::View { fill, .. } => (Some(fill), &[]),
        Op::Contract(contract) => (None, &contract.reads),
        Op::Const(_)
        | Op::Input { .. }
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
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => (None, &[]),
    };
    one.into_iter().chain(reads.iter().map(|read| &read.fill)).filter_map(|fill| match fill {
        Fill::Value(literal) => Some(*literal),
        Fill::InRange | Fill::Skip => None,
    })
}

/// What a reduction of no terms gives; `None` where that is a place and not a value.
pub(crate) fn start_value(combine: Combine, elem: ElemType) -> Option<Literal> {
    let least = combine == Combine::Max;
    match combine {
        Combine::Sum => Some(number_literal(0.0, elem)),
        Combine::Max | Combine::Min => Some(match elem {
            ElemType::F32 | ElemType::F64 | ElemType::Bf16 | ElemType::F16 => {
                Literal::Float(if least { f64::NEG_INFINITY } else { f64::INFINITY })
            }
            ElemType::I32 => Literal::Int(i64::from(if least { i32::MIN } else { i32::MAX })),
            ElemType::I64 => Literal::Int(if least { i64::MIN } else { i64::MAX }),
            ElemType::I8 => Literal::Int(i64::from(if least { i8::MIN } else { i8::MAX })),
            ElemType::U8 => Literal::Int(i64::from(if least { u8::MIN } else { u8::MAX })),
            ElemType::Bool => Literal::Bool(!least),
        }),
        Combine::ArgMax | Combine::ArgMin => None,
    }
}

/// Whether two literals are the same bits; NaNs are alike.
pub(crate) fn same_literal(a: Literal, b: Literal) -> bool {
    match (a, b) {
        (Literal::Float(a), Literal::Float(b)) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        (Literal::Int(a), Literal::Int(b)) => a == b,
        (Literal::Bool(a), Literal::Bool(b)) => a == b,
        _ => false,
    }
}
