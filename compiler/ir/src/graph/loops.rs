//! Loops: which nodes must run step by step, because a value is carried from one step to the next.
//!
//! A recurrence ([`Op::Recur`]) and the value that is carried ([`OutputKind::Carry`]) make cycles: the nodes on such a cycle are the
//! members of a loop, and all others are whole tensors before or after it. Nothing is stored about loops; they are found here.
//! Every member has the steps as its first axis and reads other members only at its own step, so one step of all members is a graph
//! of its own: see [`step_of`].

use super::data::{Graph, NodeId, Op, OutputKind};
use crate::affine::Affine;
use crate::entity::EntityRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// Its nodes in ascending order: operands before their users, but for what is carried.
    pub members: Vec<NodeId>,
    /// Number of steps.
    pub steps: i64,
    /// Whether the last step runs first.
    pub reverse: bool,
}

/// What is evaluated at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A whole tensor.
    Node(NodeId),
    /// All steps of a loop.
    Loop(usize),
}

/// The loops of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loops {
    /// The loops, by their first members.
    pub loops: Vec<Loop>,
    /// The loop that each node belongs to.
    member_of: Vec<Option<usize>>,
    /// The carried value of each recurrence.
    next: Vec<Option<NodeId>>,
    /// Everything in an order in which it can be evaluated; that of the nodes where there is no loop.
    pub order: Vec<Unit>,
}

impl Loops {
    /// The loops of a graph. A graph that breaks laws may give any loops.
    pub fn of(graph: &Graph) -> Loops {
        let n = graph.nodes.len();
        let mut next = vec![None; n];
        for output in &graph.outputs {
            if let OutputKind::Carry(recur) = output.kind {
                next[recur.index()] = Some(output.value);
            }
        }
        if next.iter().all(Option::is_none) {
            let order = graph.nodes.keys().map(Unit::Node).collect();
            return Loops { loops: Vec::new(), member_of: vec![None; n], next, order };
        }
        let needs: Vec<Vec<usize>> = graph
            .nodes
            .iter()
            .map(|(id, node)| {
                let carried = next[id.index()];
                node.op.operands().into_iter().chain(carried).map(EntityRef::index).collect()
            })
            .collect();
        let component = components(&needs);
        let mut members: Vec<Vec<NodeId>> = vec![Vec::new(); n];
        for (at, &component) in component.iter().enumerate() {
            members[component].push(NodeId::from_index(at));
        }
        let mut loops = Vec::new();
        let mut member_of = vec![None; n];
        for at in 0..n {
            let id = NodeId::from_index(at);
            let own = &members[component[at]];
            let cyclic = own.len() > 1 || next[at] == Some(id);
            if own[0] != id || !cyclic {
                continue;
            }
            for member in own {
                member_of[member.index()] = Some(loops.len());
            }
            let first = own.iter().find_map(|&id| match graph.nodes[id].op {
                Op::Recur { reverse, .. } => Some((id, reverse)),
                _ => None,
            });
            let (recur, reverse) = first.unwrap_or((id, false));
            let steps = graph.nodes[recur].shape.first().and_then(|dim| dim.as_fixed());
            loops.push(Loop { members: own.clone(), steps: steps.unwrap_or(1), reverse });
        }
        let order = order_of(&needs, &component, &member_of);
        Loops { loops, member_of, next, order }
    }

    /// The loop that a node belongs to.
    pub fn loop_of(&self, node: NodeId) -> Option<usize> {
        self.member_of[node.index()]
    }

    /// The recurrences that carry a value.
    pub fn carriers_of(&self, value: NodeId) -> Vec<NodeId> {
        let carries = |&at: &usize| self.next[at] == Some(value);
        match self.loops.is_empty() && self.next.iter().all(Option::is_none) {
            true => Vec::new(),
            false => (0..self.next.len()).filter(carries).map(NodeId::from_index).collect(),
        }
    }

    /// The value whose steps a recurrence carries on.
    pub fn next_of(&self, recur: NodeId) -> Option<NodeId> {
        self.next[recur.index()]
    }
}

/// Strongly connected components, each numbered by the node at which it was closed (Tarjan 1972), without recursion.
fn components(needs: &[Vec<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let n = needs.len();
    let (mut found, mut low, mut component) = (vec![NONE; n], vec![0; n], vec![NONE; n]);
    let mut open: Vec<usize> = Vec::new();
    let mut counter = 0;
    for root in 0..n {
        if found[root] != NONE {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some(&mut (at, ref mut edge)) = path.last_mut() {
            if *edge == 0 {
                found[at] = counter;
                low[at] = counter;
                counter += 1;
                open.push(at);
            }
            if let Some(&to) = needs[at].get(*edge) {
                *edge += 1;
                if found[to] == NONE {
                    path.push((to, 0));
                } else if component[to] == NONE {
                    low[at] = low[at].min(found[to]);
                }
                // A node without operands is visited with edge 0 once only, since it is closed below.
                continue;
            }
            path.pop();
            if let Some(&(above, _)) = path.last() {
                low[above] = low[above].min(low[at]);
            }
            if low[at] == found[at] {
                while let Some(member) = open.pop() {
                    component[member] = at;
                    if member == at {
                        break;
                    }
                }
            }
        }
    }
    component
}

/// Components in an order in which each follows what it needs, the one with the smallest node first where there is a choice.
fn order_of(needs: &[Vec<usize>], component: &[usize], member_of: &[Option<usize>]) -> Vec<Unit> {
    let n = needs.len();
    let mut first = vec![usize::MAX; n];
    let mut waits = vec![0usize; n];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); n];
    for at in 0..n {
        let own = component[at];
        first[own] = first[own].min(at);
        for &to in &needs[at] {
            if component[to] != own {
                waits[own] += 1;
                users[component[to]].push(own);
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..n)
        .filter(|&at| component[at] == at && waits[at] == 0)
        .map(|at| Reverse(first[at]))
        .collect();
    let mut order = Vec::new();
    while let Some(Reverse(at)) = ready.pop() {
        order.push(match member_of[at] {
            Some(number) => Unit::Loop(number),
            None => Unit::Node(NodeId::from_index(at)),
        });
        for user in std::mem::take(&mut users[component[at]]) {
            waits[user] -= 1;
            if waits[user] == 0 {
                ready.push(Reverse(first[user]));
            }
        }
    }
    order
}

/// Where a member breaks the law that it reads other members at its own step only; `None` where it does not.
pub(super) fn broken_step(graph: &Graph, loops: &Loops, id: NodeId) -> Option<String> {
    let own = loops.loop_of(id)?;
    let Loop { steps, reverse, .. } = loops.loops[own];
    let member = |id: NodeId| loops.loop_of(id) == Some(own);
    let node = &graph.nodes[id];
    if node.shape.first().and_then(|dim| dim.as_fixed()) != Some(steps) {
        return Some("its first axis is not that of the steps".into());
    }
    let at_step = |subs: &[Affine]| {
        let rest = subs.get(1..).unwrap_or_default();
        subs.first().and_then(Affine::as_axis) == Some(0)
            && rest.iter().all(|sub| sub.coefficient(0) == 0)
    };
    let sound = match &node.op {
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_) => true,
        Op::View { subs, .. } => at_step(subs),
        Op::Reshape(a) => graph.nodes[*a].shape.first() == node.shape.first(),
        Op::Contract(contract) => {
            at_step(&contract.out)
                && contract.reads.iter().all(|read| !member(read.value) || at_step(&read.subs))
        }
        Op::Gather(gather) => {
            (!member(gather.operand) || (gather.axis != 0 && at_step(&gather.subs)))
                && (!member(gather.index) || at_step(&gather.index_subs))
        }
        Op::Recur { init, reverse: own } => !member(*init) && *own == reverse,
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Exchange(_) => false,
    };
    (!sound).then(|| "a member reads another at its own step, in the loop's direction".into())
}

/// What a leaf of a step's graph stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepLeaf {
    /// A whole tensor from outside the loop.
    Outer(NodeId),
    /// What a recurrence carries into the step.
    Carried(NodeId),
}

/// One step of a loop as a graph: its leaves with what they stand for, and the node of each member in order, `None` for recurrences.
pub fn step_of(
    graph: &Graph,
    loops: &Loops,
    number: usize,
    step: i64,
) -> (Graph, Vec<(NodeId, StepLeaf)>, Vec<Option<NodeId>>) {
    let mut slicer = Slicer {
        graph,
        loops,
        number,
        step,
        out: Graph { shards: graph.shards, class: graph.class, ..Graph::new(graph.name.clone()) },
        leaves: Vec::new(),
        slice: vec![None; graph.nodes.len()],
        whole: vec![None; graph.nodes.len()],
    };
    let members = &loops.loops[number].members;
    let nodes = members.iter().map(|&member| slicer.member(member)).collect();
    (slicer.out, slicer.leaves, nodes)
}

struct Slicer<'a> {
    graph: &'a Graph,
    loops: &'a Loops,
    number: usize,
    step: i64,
    out: Graph,
    leaves: Vec<(NodeId, StepLeaf)>,
    /// The node that is a tensor of the graph at the step.
    slice: Vec<Option<NodeId>>,
    /// The leaf that is a whole tensor of the graph.
    whole: Vec<Option<NodeId>>,
}

impl Slicer<'_> {
    fn is_member(&self, id: NodeId) -> bool {
        self.loops.loop_of(id) == Some(self.number)
    }

    fn leaf(&mut self, of: StepLeaf, shape: Vec<dlc_abi::Dim>, elem: dlc_abi::ElemType) -> NodeId {
        use super::data::{InputRole, Origin, Stage};
        let op = Op::Input { name: format!("leaf {}", self.leaves.len()), role: InputRole::Data };
        let leaf = self.out.push(op, elem, shape, Stage::Forward, Origin::default());
        self.leaves.push((leaf, of));
        leaf
    }

    fn whole(&mut self, id: NodeId) -> NodeId {
        if let Some(known) = self.whole[id.index()] {
            return known;
        }
        let node = &self.graph.nodes[id];
        let leaf = self.leaf(StepLeaf::Outer(id), node.shape.clone(), node.elem);
        self.whole[id.index()] = Some(leaf);
        leaf
    }

    /// A tensor with the steps as first axis, at the step.
    fn at_step(&mut self, id: NodeId) -> NodeId {
        if let Some(known) = self.slice[id.index()] {
            return known;
        }
        let (elem, shape) = (self.graph.nodes[id].elem, self.graph.nodes[id].shape[1..].to_vec());
        let whole = self.whole(id);
        let mut subs = vec![Affine::constant(self.step)];
        subs.extend(Affine::identity(shape.len()));
        let op = Op::View { operand: whole, subs, fill: super::data::Fill::InRange };
        let stage = super::data::Stage::Forward;
        let slice = self.out.push(op, elem, shape, stage, super::data::Origin::default());
        self.slice[id.index()] = Some(slice);
        slice
    }

    /// Expressions over the axes of a member, at the step.
    fn fixed(&self, subs: &[Affine], n_axes: usize) -> Vec<Affine> {
        let mut by = vec![Affine::constant(self.step)];
        by.extend(Affine::identity(n_axes.saturating_sub(1)));
        subs.iter().map(|sub| sub.substitute(&by)).collect()
    }

    /// An operand that is read by subscripts, and these at the step: a member without its first axis, anything else whole.
    fn read(&mut self, id: NodeId, subs: &[Affine], n_axes: usize) -> (NodeId, Vec<Affine>) {
        if self.is_member(id) {
            (self.at_step(id), self.fixed(&subs[1..], n_axes))
        } else {
            (self.whole(id), self.fixed(subs, n_axes))
        }
    }

    fn member(&mut self, id: NodeId) -> Option<NodeId> {
        let node = self.graph.nodes[id].clone();
        let rank = node.shape.len();
        let op = match node.op {
            Op::Recur { .. } => {
                let leaf = self.leaf(StepLeaf::Carried(id), node.shape[1..].to_vec(), node.elem);
                self.slice[id.index()] = Some(leaf);
                return None;
            }
            Op::View { operand, ref subs, fill } => {
                let (operand, subs) = self.read(operand, subs, rank);
                Op::View { operand, subs, fill }
            }
            Op::Contract(mut contract) => {
                let n_axes = contract.space.len();
                for read in &mut contract.reads {
                    (read.value, read.subs) = self.read(read.value, &read.subs, n_axes);
                }
                for guard in &mut contract.guards {
                    guard.expr = self.fixed(std::slice::from_ref(&guard.expr), n_axes).remove(0);
                }
                for congruence in &mut contract.congruences {
                    let expr = std::slice::from_ref(&congruence.expr);
                    congruence.expr = self.fixed(expr, n_axes).remove(0);
                }
                contract.out = self.fixed(&contract.out[1..], n_axes);
                contract.space.remove(0);
                if let Some(order) = &mut contract.order {
                    order.shard_axis = order.shard_axis.map(|axis| axis - 1);
                }
                Op::Contract(contract)
            }
            Op::Gather(mut gather) => {
                let in_loop = self.is_member(gather.operand);
                let (operand, mut subs) = self.read(gather.operand, &gather.subs, rank);
                gather.operand = operand;
                gather.axis -= usize::from(in_loop);
                subs[gather.axis] = Affine::constant(0);
                gather.subs = subs;
                (gather.index, gather.index_subs) =
                    self.read(gather.index, &gather.index_subs, rank);
                Op::Gather(gather)
            }
            Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_)
            | Op::Reshape(_)
            | Op::Input { .. }
            | Op::Const(_)
            | Op::Iota { .. }
            | Op::Extent(_)
            | Op::Exchange(_)
            | Op::Random { .. } => node.op.map_operands(|operand| self.at_step(operand)),
        };
        let shape = node.shape[1..].to_vec();
        let slice = self.out.push(op, node.elem, shape, super::data::Stage::Forward, node.origin);
        self.slice[id.index()] = Some(slice);
        Some(slice)
    }
}
