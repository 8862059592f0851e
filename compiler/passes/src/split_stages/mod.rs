//! Makes the graph that one stage of a pipeline runs, for each micro-batch of its part, out of the graph of the part.
//! Input law:  the graph is frozen and was cut into micro-batches by `split_batch`.
//! Output law: so is the new one. It computes what parameters of the stage need; what other stages compute comes in through leaves and
//!             exchanges, and what they need goes out through results and exchanges. All stages have the same exchanges between stages in
//!             the same order, and what they compute together is, bit by bit, what the graph of the part computes.
//! Why: a layer is where its parameters are. All else follows from who needs what: no list of layers, gradients or optimizers is asked for.
//! Cost: O(nodes * stages).
//!
//! ```text
//! before:  %2 = .. @a.w ..    %3 = .. %2 .. @b.w ..    %4 = .. d(%3) .. @b.w ..    %5 = .. d(%2) ..
//! stage 0: %2 = .. @a.w ..    result "@to 1 2" %2    %4 = input data "@from 1 4"    %5 = .. d(%2) ..
//! stage 1: %2 = input data "@from 0 2"    %3 = .. %2 .. @b.w ..    %4 = .. d(%3) .. @b.w ..    result "@to 0 4" %4
//! ```
//!
//! # Places
//! `places` gives every value a home. Values of a micro-batch flow forward through the stages and, in the backward part, back again, so
//! that one message for each direction and micro-batch suffices. What is known of all micro-batches together, such as gradients and the
//! loss, is needed once a step, and goes from any stage to any other through an exchange. What follows from examples alone, such as masks
//! and numbers drawn, is computed wherever it is needed.

mod places;

use crate::pass::{PassCx, PassError};
use crate::split_batch::{SplitError, without_loops};
use dlc_abi::{Among, ExchangeKind, WINDOW_INPUT, Wire, name_of_sliced};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{
    Exchange, Graph, InputRole, Node, NodeId, Op, Output, OutputKind, Stage, number_literal,
};
use places::{Places, Varies};

/// Which stage has which parameter, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageMap {
    /// How many stages there are.
    pub stages: u32,
    /// All parameters in the order of the text, with their stages.
    pub params: Vec<(String, u32)>,
}

impl StageMap {
    /// The stage of a parameter or state: a state is where the parameter or the layer is that its name begins with.
    pub fn stage_of(&self, leaf: &str) -> Option<u32> {
        let whole = name_of_sliced(leaf).unwrap_or(leaf);
        let owner = whole.split('/').next().unwrap_or(whole);
        let layer = owner.rsplit_once('.').map(|(layer, _)| layer);
        let of_layer = |name: &str| {
            layer.is_some_and(|layer| {
                name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let exact = self.params.iter().find(|(name, _)| name == owner);
        exact.or_else(|| self.params.iter().find(|(name, _)| of_layer(name))).map(|(_, at)| *at)
    }
}

/// What a stage sends of each micro-batch and each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTraffic {
    /// Messages of a micro-batch to other stages.
    pub messages: u64,
    /// Bytes in them for each example.
    pub bytes_per_example: u64,
}

/// What the graph of a stage sends to other stages while it works off a micro-batch.
pub fn traffic(graph: &Graph) -> StageTraffic {
    let mut traffic = StageTraffic::default();
    let mut peers = Vec::new();
    for output in &graph.outputs {
        let OutputKind::Result(name) = &output.kind else { continue };
        let Some(wire) = Wire::of_given(name) else { continue };
        let node = &graph.nodes[output.value];
        let elements: i64 = node.shape.iter().map(|dim| dim.at(1)).product();
        traffic.bytes_per_example += elements as u64 * node.elem.size() as u64;
        if !peers.contains(&wire.peer) {
            peers.push(wire.peer);
        }
    }
    traffic.messages = peers.len() as u64;
    traffic
}

/// The graph of a stage.
///
/// # Errors
/// When a value of one micro-batch depends on other micro-batches, or flows against the pipeline.
pub fn run(graph: Graph, map: &StageMap, stage: u32, cx: &PassCx) -> Result<Graph, SplitError> {
    if !graph.frozen || graph.window_of.is_none() || stage >= map.stages {
        let found = "the graph is not that of a micro-batch, or there is no such stage";
        return Err(PassError::bug("split_stages", found).into());
    }
    without_loops(&graph)?;
    let places = Places::of(&graph, map)?;
    let mut cut = Cut::new(&graph, &places, stage, map.stages);
    for (id, node) in graph.nodes.iter() {
        cut.place(id, node);
    }
    cut.outputs(map);
    cx.count("wires", places.wires.len() as u64);
    let mut new = cut.new;
    once_a_step(&mut new);
    Ok(new)
}

/// What a stage needs of the graph that gives parameters and states their first values.
pub fn first_values(mut graph: Graph, map: &StageMap, stage: u32) -> Graph {
    let nodes = &graph.nodes;
    graph.outputs.retain(|output| match &output.kind {
        OutputKind::Result(_) | OutputKind::Carry(_) => true,
        OutputKind::Assign(leaf) => match &nodes[*leaf].op {
            Op::Input { name, .. } => map.stage_of(name).is_none_or(|own| own == stage),
            _ => true,
        },
    });
    graph.prune_all();
    graph
}

/// The graph of a stage on its way.
struct Cut<'a> {
    old: &'a Graph,
    places: &'a Places,
    stage: u32,
    stages: u32,
    new: Graph,
    /// The value as it was computed here, or came with a micro-batch.
    own: Vec<Option<NodeId>>,
    /// The value as all stages got it through an exchange.
    shared: Vec<Option<NodeId>>,
}

impl<'a> Cut<'a> {
    fn new(old: &'a Graph, places: &'a Places, stage: u32, stages: u32) -> Self {
        let new = Graph { nodes: Default::default(), outputs: Vec::new(), ..old.clone() };
        let none = vec![None; old.nodes.len()];
        Cut { old, places, stage, stages, new, own: none.clone(), shared: none }
    }

    fn place(&mut self, id: NodeId, node: &Node) {
        let (places, at) = (self.places, id.index());
        let is_window = matches!(&node.op, Op::Input { name, .. } if name.as_str() == WINDOW_INPUT);
        if is_window || places.computed.contains(&(at, self.stage)) {
            let varies = places.varies[at];
            let mut op = node.op.clone().map_operands(|operand| self.value(operand, varies));
            if let Op::Exchange(exchange) = &mut op {
                exchange.round = places.rounds[at];
            }
            self.own[at] = Some(self.new.nodes.push(Node { op, ..node.clone() }));
        } else if places.wires.contains(&(at, self.stage)) {
            let home = places.home[at].expect("what travels has a home");
            let wire = Wire { peer: home, number: at as u32 };
            let op = Op::Input { name: wire.taken(), role: InputRole::Data };
            self.own[at] = Some(self.new.nodes.push(Node { op, ..node.clone() }));
        }
        if places.shared.contains(&at) {
            self.share(id, node);
        }
    }

    /// All stages exchange a value that one of them knows; what the others give does not matter.
    fn share(&mut self, id: NodeId, node: &Node) {
        let at = id.index();
        let home = self.places.home[at].expect("what travels has a home");
        let origin = node.origin.clone();
        let own = match self.own[at].filter(|_| home == self.stage) {
            Some(own) => own,
            None => {
                let mut g = self.new.build(Stage::Update, origin.clone());
                g.constant(number_literal(0.0, node.elem), node.elem, node.shape.clone())
            }
        };
        let exchange = Exchange {
            kind: ExchangeKind::AllGather,
            operand: own,
            parts: self.stages,
            among: Among::Stages,
            round: self.places.rounds_after[at],
        };
        let mut g = self.new.build(Stage::Update, origin);
        let all = g.exchange(exchange);
        self.shared[at] = Some(g.select_index(all, 0, i64::from(home)));
    }

    /// The value of an old node, for a user that varies between micro-batches or not.
    fn value(&self, operand: NodeId, user: Varies) -> NodeId {
        let at = operand.index();
        let here = self.places.computed.contains(&(at, self.stage));
        let own = self.own[at].filter(|_| here || user == Varies::ByMicroBatch);
        own.or(self.shared[at]).or(self.own[at]).expect("what a stage needs was brought to it")
    }

    fn outputs(&mut self, map: &StageMap) {
        for output in &self.old.outputs {
            let value = match &output.kind {
                OutputKind::Carry(_) => continue,
                OutputKind::Result(_) => self.value(output.value, Varies::No),
                OutputKind::Assign(leaf) => {
                    let Op::Input { name, .. } = &self.old.nodes[*leaf].op else { continue };
                    if map.stage_of(name).is_some_and(|stage| stage != self.stage) {
                        continue;
                    }
                    self.value(output.value, Varies::No)
                }
            };
            let kind = match &output.kind {
                OutputKind::Carry(_) => continue,
                OutputKind::Result(name) => OutputKind::Result(name.clone()),
                OutputKind::Assign(leaf) => OutputKind::Assign(
                    self.own[leaf.index()].expect("a stage has the leaves that it assigns"),
                ),
            };
            self.new.outputs.push(Output { kind, value });
        }
        for &(at, peer) in &self.places.wires {
            if self.places.home[at] == Some(self.stage) {
                let value = self.own[at].expect("what a stage gives it computes");
                let name = Wire { peer, number: at as u32 }.given();
                self.new.outputs.push(Output { kind: OutputKind::Result(name), value });
            }
        }
    }
}

/// Puts what no micro-batch needs into the update: it is computed once a step, also where new values of states follow from it.
fn once_a_step(graph: &mut Graph) {
    let varies = places::varies(graph);
    let mut needed = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter() {
        for operand in node.op.operands() {
            needed[operand.index()] |= varies[id.index()] == Varies::ByMicroBatch;
        }
    }
    for output in &graph.outputs {
        if let OutputKind::Result(name) = &output.kind {
            needed[output.value.index()] |= Wire::of_given(name).is_some();
        }
    }
    // What a micro-batch's values need of others, these need as well.
    for index in (0..graph.nodes.len()).rev() {
        if needed[index] {
            for operand in graph.nodes[NodeId::from_index(index)].op.operands() {
                needed[operand.index()] = true;
            }
        }
    }
    for index in 0..graph.nodes.len() {
        if varies[index] != Varies::ByMicroBatch && !needed[index] {
            graph.nodes[NodeId::from_index(index)].stage = Stage::Update;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_where_their_layers_are() {
        let params = [("a.w", 0), ("a.b", 0), ("ab.w", 1), ("norm.scale", 1), ("c.w", 2)];
        let params = params.map(|(name, stage)| (name.to_owned(), stage)).to_vec();
        let map = StageMap { stages: 3, params };
        assert_eq!(map.stage_of("a.b"), Some(0));
        assert_eq!(map.stage_of("ab.w/m"), Some(1));
        assert_eq!(map.stage_of("norm.moving_mean"), Some(1));
        assert_eq!(map.stage_of("elsewhere"), None);
    }
}
