//! When in a step the phase of each node runs: the parts of the step, and the rounds of what is exchanged.

use crate::pass::PassError;
use dlc_abi::{Among, Wire};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::loops::{Loops, Unit};
use dlc_ir::graph::{Graph, NodeId, Op, OutputKind, Stage};

/// The place of a phase in a step. Segments are cut where it changes.
///
/// What a micro-batch does comes before what all of them together do, and in the order of the parts of a step, so that all of its forward
/// part is done when the backward part begins; of that, what an earlier stage of the model waits for comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct When {
    /// Whether it needs what all micro-batches together know.
    pub all: bool,
    /// For the work on a micro-batch, its part of the step, and whether no other stage of the model waits for it.
    pub micro: Option<(Stage, bool)>,
    /// Whether it belongs to the update, which nothing else waits for: it comes when all sums of other stages are on their way.
    pub update: bool,
    /// The longest chain of exchanges that lead to it: what parts of a batch exchange is there only after all that is given was computed.
    pub round: usize,
    /// Part of the step.
    pub stage: Stage,
}

/// The place of each node in the step. All members of a loop have one.
pub(super) fn places(graph: &Graph, loops: &Loops) -> Result<Vec<When>, PassError> {
    let between = |op: &Op, these: &[Among]| matches!(op, Op::Exchange(exchange) if these.contains(&exchange.among));
    let beyond = [Among::MicroBatches, Among::Stages];
    let has_micro_batches = graph.nodes.values().any(|node| between(&node.op, &beyond));
    let awaited = awaited(graph);
    let mut places: Vec<Option<When>> = vec![None; graph.nodes.len()];
    for unit in &loops.order {
        let one;
        let members: &[NodeId] = match unit {
            Unit::Node(id) => {
                one = [*id];
                &one
            }
            Unit::Loop(number) => &loops.loops[*number].members,
        };
        let needs = |id: &NodeId| {
            let operands = graph.nodes[*id].op.operands();
            operands.into_iter().chain(loops.next_of(*id)).collect::<Vec<_>>()
        };
        // Members have no places yet, so these are what the loop needs of others.
        let before: Vec<When> =
            members.iter().flat_map(needs).filter_map(|id| places[id.index()]).collect();
        let mut round = before.iter().map(|when| when.round).max().unwrap_or(0);
        let mut all = before.iter().any(|when| when.all);
        for id in members {
            let Op::Exchange(exchange) = &graph.nodes[*id].op else { continue };
            if matches!(unit, Unit::Loop(_)) {
                let message = "an exchange between parts within a loop".to_string();
                return Err(PassError::Unsupported { name: graph.name.clone(), message });
            }
            round = round.max(exchange.round as usize) + 1;
            all |= between(&graph.nodes[*id].op, &beyond);
        }
        let awaited = members.iter().any(|id| awaited[id.index()]);
        for id in members {
            let stage = graph.nodes[*id].stage;
            let late = stage == Stage::Backward && !awaited;
            let micro = (has_micro_batches && !all).then_some((stage, late));
            let update = stage == Stage::Update;
            places[id.index()] = Some(When { all, micro, update, round, stage });
        }
    }
    Ok(places.into_iter().map(|place| place.expect("the order has every node")).collect())
}

/// Which nodes another stage of the model waits for, because they are sent to it or lead to what is.
fn awaited(graph: &Graph) -> Vec<bool> {
    let mut awaited = vec![false; graph.nodes.len()];
    for output in &graph.outputs {
        if let OutputKind::Result(name) = &output.kind {
            awaited[output.value.index()] |= Wire::of_given(name).is_some();
        }
    }
    for index in (0..graph.nodes.len()).rev() {
        if awaited[index] {
            for operand in graph.nodes[NodeId::from_index(index)].op.operands() {
                awaited[operand.index()] = true;
            }
        }
    }
    awaited
}
