//! What each slice has of every value of a graph, given what it has of the parameters.
//!
//! Two walks. Forwards every node is computed in the way that costs least with what its operands come as: a cut is handed on from
//! parameters to what follows from them, until a value is needed whole. Backwards every node learns what its users want of it, and what
//! would be whole is computed in slices where that is all anyone wants.

use super::TensorMap;
use super::ways::{Form, Gives, Way, space_of};
use dlc_abi::AxisCut;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Graph, InputRole, Node, NodeId, Op, OutputKind};

/// Operations that take as long as sending a byte to another rank.
const OPERATIONS_PER_BYTE: i64 = 16;
/// Bytes that take as long to send as a message takes to be on its way.
const BYTES_PER_MESSAGE: i64 = 4096;

/// What the users of a node want of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub whole: bool,
    pub cuts: Vec<AxisCut>,
}

impl Wanted {
    fn add(&mut self, form: Form) {
        match form {
            None => self.whole = true,
            Some(cut) if !self.cuts.contains(&cut) => self.cuts.push(cut),
            Some(_) => {}
        }
    }

    pub fn nothing(&self) -> bool {
        !self.whole && self.cuts.is_empty()
    }
}

/// The decision for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub way: Way,
    /// What there is of it once it was computed and partial results have met.
    pub has: Form,
    pub wanted: Wanted,
}

/// The decision for every node of a graph.
pub(super) struct Plan {
    pub nodes: Vec<Placed>,
    /// What a step costs a rank, in bytes sent; work counts as bytes that could be sent meanwhile.
    pub cost: i64,
}

/// Sizes that costs follow from.
#[derive(Clone, Copy)]
struct Costs<'a> {
    graph: &'a Graph,
    slices: i64,
    batch: i64,
}

impl Plan {
    /// The plan of a graph for batches of `batch` examples.
    pub fn of(graph: &Graph, map: &TensorMap, batch: i64) -> Plan {
        let costs = Costs { graph, slices: i64::from(map.slices), batch };
        let mut nodes = forwards(costs, map);
        backwards(costs, map, &mut nodes);
        let cost = graph.nodes.iter().map(|(id, node)| costs.of(id, node, &nodes[id.index()]));
        let cost = cost.sum();
        Plan { nodes, cost }
    }
}

fn forwards(costs: Costs<'_>, map: &TensorMap) -> Vec<Placed> {
    let graph = costs.graph;
    let mut nodes: Vec<Placed> = Vec::with_capacity(graph.nodes.len());
    let mut gathered = vec![false; graph.nodes.len()];
    for node in graph.nodes.values() {
        let operands = node.op.operands();
        let mut spaces: Vec<Form> = Vec::new();
        for (at, operand) in operands.iter().enumerate() {
            let has = nodes[operand.index()].has;
            let space = has.and_then(|cut| space_of(graph, node, at, cut));
            if space.is_some() && !spaces.contains(&space) {
                spaces.push(space);
            }
        }
        let cut = spaces.into_iter().flatten().filter_map(|cut| Way::cut(graph, node, cut));
        let ways = cut.chain([Way::whole(node)]);
        let cost = |way: &Way| {
            let brought = operands.iter().zip(&way.operands).map(|(operand, form)| {
                let at = operand.index();
                if gathered[at] { 0 } else { costs.change(*operand, nodes[at].has, *form) }
            });
            brought.sum::<i64>() + costs.join(node, way, None) + costs.work(node, way)
        };
        // Of ways that cost the same the first is taken, which leaves most in slices.
        let way = ways.min_by_key(cost).expect("a node can be computed whole");
        for (operand, form) in operands.iter().zip(&way.operands) {
            gathered[operand.index()] |= form.is_none() && nodes[operand.index()].has.is_some();
        }
        let has = match (way.gives(node), &node.op) {
            (_, Op::Input { name, role: InputRole::Param | InputRole::State }) => map.cut_of(name),
            (Gives::Result(form), _) => form,
            (Gives::Partial, _) => None,
        };
        nodes.push(Placed { way, has, wanted: Wanted::default() });
    }
    nodes
}

fn backwards(costs: Costs<'_>, map: &TensorMap, nodes: &mut [Placed]) {
    let graph = costs.graph;
    for output in &graph.outputs {
        let form = match &output.kind {
            OutputKind::Result(_) | OutputKind::Carry(_) => None,
            OutputKind::Assign(leaf) => match &graph.nodes[*leaf].op {
                Op::Input { name, .. } => map.cut_of(name),
                _ => None,
            },
        };
        nodes[output.value.index()].wanted.add(form);
    }
    for index in (0..graph.nodes.len()).rev() {
        let node = &graph.nodes[NodeId::from_index(index)];
        let placed = &mut nodes[index];
        if placed.wanted.nothing() {
            continue;
        }
        if let (None, false, [cut]) = (placed.has, placed.wanted.whole, &placed.wanted.cuts[..]) {
            let cut = *cut;
            match placed.way.gives(node) {
                Gives::Partial => placed.has = Some(cut),
                Gives::Result(_) => {
                    if let Some(way) = Way::cut(graph, node, cut) {
                        (placed.way, placed.has) = (way, Some(cut));
                    }
                }
            }
        }
        let way = placed.way.clone();
        for (operand, form) in node.op.operands().into_iter().zip(way.operands) {
            nodes[operand.index()].wanted.add(form);
        }
    }
}

impl Costs<'_> {
    fn bytes(&self, node: &Node) -> i64 {
        let elements: i64 = node.shape.iter().map(|dim| dim.at(self.batch)).product();
        elements * node.elem.size() as i64
    }

    /// The share of a cut axis that the largest slice has.
    fn largest(&self, extent: i64, cut: AxisCut, whole: i64) -> i64 {
        whole / extent.max(1) * cut.block
    }

    /// Bytes that every rank sends so that all have `to` of what they have `from` of.
    fn change(&self, id: NodeId, from: Form, to: Form) -> i64 {
        let node = &self.graph.nodes[id];
        let (others, bytes) = (self.slices - 1, self.bytes(node));
        match (from, to) {
            (None, _) => 0,
            (Some(from), Some(to)) if from == to => 0,
            (Some(_), None) => others * (BYTES_PER_MESSAGE + bytes / self.slices),
            (Some(_), Some(_)) => {
                others * (BYTES_PER_MESSAGE + bytes / (self.slices * self.slices))
            }
        }
    }

    /// Bytes that every rank sends so that partial results meet.
    fn join(&self, node: &Node, way: &Way, has: Form) -> i64 {
        let (others, bytes) = (self.slices - 1, self.bytes(node));
        match (way.gives(node), has) {
            (Gives::Result(_), _) => 0,
            (Gives::Partial, None) => others * (BYTES_PER_MESSAGE + bytes),
            (Gives::Partial, Some(_)) => others * (BYTES_PER_MESSAGE + bytes / self.slices),
        }
    }

    /// Work of the rank that has most of it, as bytes.
    fn work(&self, node: &Node, way: &Way) -> i64 {
        let (space, factors) = match &node.op {
            Op::Contract(contract) => (&contract.space, contract.reads.len() as i64),
            Op::Input { .. } | Op::Const(_) | Op::Iota { .. } | Op::Extent(_) => return 0,
            // These only move elements, mostly while others read them.
            Op::View { .. } | Op::Reshape(_) | Op::Recur { .. } | Op::Exchange(_) => return 0,
            Op::Random { .. }
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_)
            | Op::Gather(_) => (&node.shape, 1),
        };
        let points: i64 = space.iter().map(|dim| dim.at(self.batch)).product();
        let operations = points * factors;
        let own = match way.space {
            Some(cut) => self.largest(space[cut.axis].at(self.batch), cut, operations),
            None => operations,
        };
        own / OPERATIONS_PER_BYTE
    }

    /// All that a node costs.
    fn of(&self, id: NodeId, node: &Node, placed: &Placed) -> i64 {
        let Placed { way, has, wanted } = placed;
        if wanted.nothing() {
            return 0;
        }
        let mut cost = self.join(node, way, *has) + self.work(node, way);
        if wanted.whole {
            return cost + self.change(id, *has, None);
        }
        for cut in &wanted.cuts {
            cost += self.change(id, *has, Some(*cut));
        }
        cost
    }
}
