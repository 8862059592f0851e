//! Which stage computes each value, and what travels between stages.

use super::StageMap;
use crate::split_batch::SplitError;
use dlc_abi::{Among, WINDOW_INPUT};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Graph, InputRole, Node, NodeId, Op, OutputKind, Stage};
use std::collections::{BTreeSet, VecDeque};

/// How often a step computes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Varies {
    /// Once: it follows from parameters alone.
    No,
    /// For each micro-batch.
    ByMicroBatch,
    /// Once: it follows from all micro-batches together.
    WithAll,
}

/// The decision for every node.
pub(super) struct Places {
    /// How often it is computed.
    pub varies: Vec<Varies>,
    /// The stage that computes it for others; `None` for what every stage can compute by itself.
    pub home: Vec<Option<u32>>,
    /// Nodes and the stages that compute them.
    pub computed: BTreeSet<(usize, u32)>,
    /// Nodes that go to another stage with each micro-batch, and that stage.
    pub wires: BTreeSet<(usize, u32)>,
    /// Nodes that go to all stages once a step.
    pub shared: BTreeSet<usize>,
    /// The round of each exchange, the same for all stages.
    pub rounds: Vec<u32>,
    /// The round of an exchange of each value.
    pub rounds_after: Vec<u32>,
}

/// How often each value is computed.
pub(super) fn varies(graph: &Graph) -> Vec<Varies> {
    let mut varies: Vec<Varies> = Vec::with_capacity(graph.nodes.len());
    for node in graph.nodes.values() {
        let operands = node.op.operands();
        let any = |kind: Varies| operands.iter().any(|operand| varies[operand.index()] == kind);
        let own = match &node.op {
            Op::Exchange(exchange)
                if matches!(exchange.among, Among::MicroBatches | Among::Stages) =>
            {
                Varies::WithAll
            }
            Op::Input { name, .. } if name.as_str() == WINDOW_INPUT => Varies::ByMicroBatch,
            _ if any(Varies::WithAll) => Varies::WithAll,
            _ if any(Varies::ByMicroBatch) || has_batch(node) => Varies::ByMicroBatch,
            _ => Varies::No,
        };
        varies.push(own);
    }
    varies
}

fn has_batch(node: &Node) -> bool {
    node.shape.iter().any(|dim| dim.batch_factor != 0)
}

impl Places {
    pub fn of(graph: &Graph, map: &StageMap) -> Result<Places, SplitError> {
        let n = graph.nodes.len();
        let varies = varies(graph);
        for (id, node) in graph.nodes.iter() {
            if varies[id.index()] == Varies::WithAll && has_batch(node) {
                let name = node.origin.name.clone();
                return Err(SplitError::WholeBatch { name, node: id });
            }
        }
        let mut places = Places {
            varies,
            home: vec![None; n],
            computed: BTreeSet::new(),
            wires: BTreeSet::new(),
            shared: BTreeSet::new(),
            rounds: vec![0; n],
            rounds_after: vec![0; n],
        };
        places.forward(graph, map)?;
        places.backward(graph, map)?;
        places.with_all(graph);
        places.demand_outputs(graph, map)?;
        places.number_rounds(graph);
        Ok(places)
    }

    /// Homes of leaves, and of the forward part: a value is where the last of its parameters is.
    fn forward(&mut self, graph: &Graph, map: &StageMap) -> Result<(), SplitError> {
        for (id, node) in graph.nodes.iter() {
            let at = id.index();
            if let Op::Input { name, role: InputRole::Param | InputRole::State } = &node.op {
                self.home[at] = map.stage_of(name);
            } else if self.varies[at] == Varies::No
                || (self.varies[at] == Varies::ByMicroBatch && node.stage == Stage::Forward)
            {
                self.home[at] = self.homes(node).max();
            }
        }
        for (id, node) in graph.nodes.iter() {
            let at = id.index();
            if let (Varies::ByMicroBatch, Stage::Forward, Some(home)) =
                (self.varies[at], node.stage, self.home[at])
            {
                self.demand(graph, id, home, true)?;
            }
        }
        Ok(())
    }

    /// Homes of the backward part: as late a stage as possible, which is one that has all that is needed of the forward part, but a
    /// gradient is where its parameter is.
    fn backward(&mut self, graph: &Graph, map: &StageMap) -> Result<(), SplitError> {
        let wanted = gradients(graph, map);
        for (id, node) in graph.nodes.iter() {
            let at = id.index();
            if self.varies[at] != Varies::ByMicroBatch || node.stage == Stage::Forward {
                continue;
            }
            let operands = node.op.operands();
            let is_forward = |operand: &NodeId| graph.nodes[*operand].stage == Stage::Forward;
            let later = operands.iter().filter(|operand| !is_forward(operand));
            let latest = later.filter_map(|operand| self.home[operand.index()]).min();
            let Some(latest) = latest.or_else(|| self.homes(node).max()) else { continue };
            let has_all = |stage: u32| {
                operands
                    .iter()
                    .filter(|operand| is_forward(operand))
                    .all(|operand| self.is_present(graph, *operand, stage))
            };
            let home = (0..=latest).rev().find(|&stage| has_all(stage)).unwrap_or(latest);
            let home = wanted[at].map_or(home, |wanted| wanted.min(home));
            self.home[at] = Some(home);
            self.demand(graph, id, home, true)?;
        }
        Ok(())
    }

    /// Homes of what follows from all micro-batches: where the largest operand is, broadcast values not counted.
    fn with_all(&mut self, graph: &Graph) {
        let mut weight = vec![0_i64; graph.nodes.len()];
        for (id, node) in graph.nodes.iter() {
            let at = id.index();
            let elements: i64 = node.shape.iter().map(|dim| dim.at(1)).product();
            weight[at] = match &node.op {
                Op::View { operand, .. } => elements.min(weight[operand.index()]),
                _ => elements,
            };
            if self.varies[at] == Varies::WithAll {
                let operands = node.op.operands();
                let homes = operands.iter().filter_map(|operand| {
                    let operand = operand.index();
                    Some((weight[operand], self.home[operand]?))
                });
                self.home[at] = homes.max().map(|(_, home)| home);
            }
        }
    }

    fn homes<'a>(&'a self, node: &Node) -> impl Iterator<Item = u32> + 'a {
        node.op.operands().into_iter().filter_map(|operand| self.home[operand.index()])
    }

    /// Whether a stage has a value of the forward part without asking for it.
    fn is_present(&self, graph: &Graph, id: NodeId, stage: u32) -> bool {
        let at = id.index();
        match self.home[at] {
            None => true,
            Some(_) if self.computed.contains(&(at, stage)) => true,
            Some(_) if self.wires.contains(&(at, stage)) => true,
            Some(home) if home == stage => true,
            Some(_) => {
                moves_only(graph, id).is_some_and(|from| self.is_present(graph, from, stage))
            }
        }
    }

    /// Brings a value to a stage, for a user that varies between micro-batches or not.
    fn demand(
        &mut self,
        graph: &Graph,
        id: NodeId,
        stage: u32,
        micro: bool,
    ) -> Result<(), SplitError> {
        let mut open = vec![(id, stage, micro)];
        while let Some((id, stage, micro)) = open.pop() {
            let (at, node) = (id.index(), &graph.nodes[id]);
            let from = self.home[at].filter(|&home| home != stage);
            let here = from.is_none() || moves_only(graph, id).is_some();
            if here {
                if self.computed.insert((at, stage)) {
                    let micro = self.varies[at] == Varies::ByMicroBatch;
                    let operands = node.op.operands();
                    open.extend(operands.into_iter().map(|operand| (operand, stage, micro)));
                }
                continue;
            }
            let from = from.expect("it is computed elsewhere");
            let new = match (micro, self.varies[at]) {
                (true, Varies::No | Varies::ByMicroBatch) => {
                    if node.stage != Stage::Forward && from < stage {
                        let name = node.origin.name.clone();
                        return Err(SplitError::Backwards { name, node: id });
                    }
                    self.wires.insert((at, stage))
                }
                (false, Varies::No | Varies::WithAll) => self.shared.insert(at),
                (true, Varies::WithAll) | (false, Varies::ByMicroBatch) => {
                    let name = node.origin.name.clone();
                    return Err(SplitError::WholeBatch { name, node: id });
                }
            };
            if new {
                open.push((id, from, self.varies[at] == Varies::ByMicroBatch));
            }
        }
        Ok(())
    }

    fn demand_outputs(&mut self, graph: &Graph, map: &StageMap) -> Result<(), SplitError> {
        for output in &graph.outputs {
            let only = match &output.kind {
                OutputKind::Result(_) | OutputKind::Carry(_) => None,
                OutputKind::Assign(leaf) => match &graph.nodes[*leaf].op {
                    Op::Input { name, .. } => map.stage_of(name),
                    _ => None,
                },
            };
            for stage in (0..map.stages).filter(|&stage| only.is_none_or(|only| only == stage)) {
                if let OutputKind::Assign(leaf) = &output.kind {
                    self.computed.insert((leaf.index(), stage));
                }
                self.demand(graph, output.value, stage, false)?;
            }
        }
        Ok(())
    }

    /// Rounds of exchanges as they would be in a graph of all stages, so that all ranks make them in one order.
    fn number_rounds(&mut self, graph: &Graph) {
        let mut after = vec![0_u32; graph.nodes.len()];
        for (id, node) in graph.nodes.iter() {
            let at = id.index();
            let operands = node.op.operands();
            let round = operands.iter().map(|operand| after[operand.index()]).max().unwrap_or(0);
            self.rounds[at] = round;
            after[at] = round + u32::from(matches!(node.op, Op::Exchange(_)));
            self.rounds_after[at] = after[at];
            after[at] += u32::from(self.shared.contains(&at));
        }
    }
}

/// The operand of a node that only moves elements, and no fewer than it has: whoever has the one can as well have the other.
fn moves_only(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let elements =
        |id: NodeId| -> i64 { graph.nodes[id].shape.iter().map(|dim| dim.at(64)).product() };
    let operand = match &graph.nodes[id].op {
        Op::View { operand, .. } | Op::Reshape(operand) => *operand,
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
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Recur { .. }
        | Op::Exchange(_) => return None,
    };
    (elements(operand) <= elements(id)).then_some(operand)
}

/// For each value that micro-batches exchange, the stage of the parameter whose new value follows most directly from it.
fn gradients(graph: &Graph, map: &StageMap) -> Vec<Option<u32>> {
    let n = graph.nodes.len();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); n];
    for (id, node) in graph.nodes.iter() {
        for operand in node.op.operands() {
            users[operand.index()].push(id.index());
        }
    }
    let mut assigned: Vec<Option<u32>> = vec![None; n];
    for output in &graph.outputs {
        if let OutputKind::Assign(leaf) = &output.kind
            && let Op::Input { name, .. } = &graph.nodes[*leaf].op
        {
            assigned[output.value.index()] = map.stage_of(name);
        }
    }
    let mut wanted = vec![None; n];
    for (id, node) in graph.nodes.iter() {
        let Op::Exchange(exchange) = &node.op else { continue };
        if exchange.among != Among::MicroBatches {
            continue;
        }
        let mut seen = vec![false; n];
        let mut open = VecDeque::from([id.index()]);
        while let Some(at) = open.pop_front() {
            if let Some(stage) = assigned[at] {
                wanted[exchange.operand.index()] = Some(stage);
                break;
            }
            for &user in &users[at] {
                if !std::mem::replace(&mut seen[user], true) {
                    open.push_back(user);
                }
            }
        }
    }
    wanted
}
