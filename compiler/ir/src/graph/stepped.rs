//! From one step of a loop to all of them: nodes that were built for a single step get the steps as a first axis.
//!
//! A front end builds the body of a loop once, reading stand-ins for the step's number and for what is carried. Here every node that
//! depends on a stand-in is built again with one axis more, in front. What depends on none stays as it is: it is the same in all steps.

use super::data::{BinaryOp, Contract, Gather, Graph, Literal, NodeId, Op, Read};
use super::range;
use crate::affine::Affine;
use crate::entity::EntityRef;
use dlc_abi::Dim;
use std::collections::BTreeMap;

/// The body of a loop.
#[derive(Debug)]
pub struct Stepped {
    /// Number of steps.
    pub steps: i64,
    /// The stand-in of the step's number, a scalar `i32`, and the number of the first step.
    pub index: (NodeId, i64),
    /// For nodes of one step, stand-ins included, the node of all steps.
    of: BTreeMap<NodeId, NodeId>,
}

impl Stepped {
    /// A body with its stand-ins and what they stand for.
    pub fn new(steps: i64, index: (NodeId, i64), known: BTreeMap<NodeId, NodeId>) -> Self {
        Stepped { steps, index, of: known }
    }

    /// Builds the nodes from `from` on for all steps.
    ///
    /// # Errors
    /// The node at which a loop stands in the body.
    pub fn build(&mut self, graph: &mut Graph, from: usize) -> Result<(), NodeId> {
        let end = graph.nodes.len();
        for at in from..end {
            let id = NodeId::from_index(at);
            let node = &graph.nodes[id];
            let varies = node.op.operands().iter().any(|operand| self.of.contains_key(operand));
            // Numbers are drawn anew in each step.
            let varies = varies || matches!(node.op, Op::Random { .. });
            if self.of.contains_key(&id) || !varies {
                continue;
            }
            let (elem, mut shape) = (node.elem, node.shape.clone());
            let op = self.op(graph, id)?;
            shape.insert(0, Dim::fixed(self.steps));
            let (stage, origin) = (graph.nodes[id].stage, graph.nodes[id].origin.clone());
            let all = graph.build(stage, origin).node(op, elem, shape);
            self.of.insert(id, all);
        }
        Ok(())
    }

    /// The node of all steps of a node of one: the same in each of them where it does not depend on the step.
    pub fn all_steps(&mut self, graph: &mut Graph, id: NodeId) -> NodeId {
        if let Some(&known) = self.of.get(&id) {
            return known;
        }
        let node = &graph.nodes[id];
        let mut shape = node.shape.clone();
        let subs = (1..=shape.len()).map(Affine::axis).collect();
        shape.insert(0, Dim::fixed(self.steps));
        let (stage, origin) = (node.stage, node.origin.clone());
        graph.build(stage, origin).view(id, subs, super::data::Fill::InRange, shape)
    }

    /// Subscripts of an operand: with the step in front where the operand has steps.
    fn read(&self, id: NodeId, subs: &[Affine]) -> (NodeId, Vec<Affine>) {
        let moved = subs.iter().map(shifted);
        match self.of.get(&id) {
            Some(&all) => (all, std::iter::once(Affine::axis(0)).chain(moved).collect()),
            None => (id, moved.collect()),
        }
    }

    fn op(&mut self, graph: &mut Graph, id: NodeId) -> Result<Op, NodeId> {
        let node = graph.nodes[id].clone();
        Ok(match node.op {
            Op::View { operand, subs, fill } => {
                let (operand, subs) = self.read(operand, &subs);
                Op::View { operand, subs, fill }
            }
            Op::Contract(contract) => Op::Contract(self.contract(contract)),
            Op::Gather(gather) => self.gather(graph, gather, &node.shape),
            Op::Recur { .. } => return Err(id),
            Op::Random { .. } => node.op,
            Op::Exchange(_) => return Err(id),
            Op::Reshape(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_)
            | Op::Input { .. }
            | Op::Const(_)
            | Op::Iota { .. }
            | Op::Extent(_) => node.op.map_operands(|operand| self.all_steps(graph, operand)),
        })
    }

    fn contract(&self, contract: Contract) -> Contract {
        let mut space = vec![Dim::fixed(self.steps)];
        space.extend(&contract.space);
        let out = std::iter::once(Affine::axis(0)).chain(contract.out.iter().map(shifted));
        let reads = contract.reads.iter().map(|read| {
            let (value, subs) = self.read(read.value, &read.subs);
            Read { value, subs, fill: read.fill }
        });
        let (out, reads) = (out.collect(), reads.collect());
        let mut all = Contract { space, out, reads, ..contract };
        all.guards.iter_mut().for_each(|guard| guard.expr = shifted(&guard.expr));
        all.congruences.iter_mut().for_each(|it| it.expr = shifted(&it.expr));
        all
    }

    /// A read at an affine function of the step is a view; any other index is one for each step.
    fn gather(&self, graph: &Graph, gather: Gather, shape: &[Dim]) -> Op {
        let (operand, mut subs) = self.read(gather.operand, &gather.subs);
        let axis = gather.axis + usize::from(operand != gather.operand);
        let mut space = vec![Dim::fixed(self.steps)];
        space.extend(shape);
        if let Some(at) = self.affine(graph, gather.index)
            && range::in_range(&space, &[], &at, graph.nodes[operand].shape[axis])
        {
            subs[axis] = at;
            return Op::View { operand, subs, fill: super::data::Fill::InRange };
        }
        let (index, index_subs) = self.read(gather.index, &gather.index_subs);
        Op::Gather(Gather { operand, subs, axis, index, index_subs })
    }

    /// A scalar as an affine function of the step, which is axis 0.
    fn affine(&self, graph: &Graph, id: NodeId) -> Option<Affine> {
        if id == self.index.0 {
            return Some(Affine::new([(0, 1)], self.index.1));
        }
        let node = &graph.nodes[id];
        match node.op {
            Op::Const(Literal::Int(value)) => Some(Affine::constant(value)),
            Op::Binary(op, a, b) => {
                let (a, b) = (self.affine(graph, a)?, self.affine(graph, b)?);
                match op {
                    BinaryOp::Add => Some(a.plus(&b)),
                    BinaryOp::Sub => Some(a.minus(&b)),
                    BinaryOp::Mul => match (a.as_constant(), b.as_constant()) {
                        (Some(factor), _) => Some(b.times(factor)),
                        (_, Some(factor)) => Some(a.times(factor)),
                        (None, None) => None,
                    },
                    BinaryOp::Div
                    | BinaryOp::Rem
                    | BinaryOp::Min
                    | BinaryOp::Max
                    | BinaryOp::And
                    | BinaryOp::Or => None,
                }
            }
            _ => None,
        }
    }
}

/// The same function when an axis is put in front.
fn shifted(sub: &Affine) -> Affine {
    sub.renumber(|axis| axis + 1)
}
