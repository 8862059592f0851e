//! Loops: step after step, each step a graph of its own.

use super::{InterpretError, Machine, Site};
use crate::entity::EntityRef;
use crate::graph::data::NodeId;
use crate::graph::elementwise::Value;
use crate::graph::loops::{Loop, Loops, StepLeaf, step_of};

impl Machine<'_> {
    /// Runs all steps of a loop and leaves the values of its members behind.
    pub(super) fn run_loop(&mut self, loops: &Loops, number: usize) -> Result<(), InterpretError> {
        let Loop { members, steps, reverse } = &loops.loops[number];
        let mut slices: Vec<Vec<Value>> = vec![Vec::new(); members.len()];
        let place = |id: NodeId| members.binary_search(&id).expect("members are in order");
        for turn in 0..*steps {
            let step = if *reverse { steps - 1 - turn } else { turn };
            let (graph, leaves, nodes) = step_of(self.graph, loops, number, step);
            let mut machine = Machine::new(&graph, self.batch, self.dual)?;
            machine.keep.fill(true);
            for (leaf, of) in leaves {
                machine.values[leaf] = Some(match of {
                    StepLeaf::Outer(id) => self.value(id).clone(),
                    StepLeaf::Carried(recur) => self.carried(loops, recur, &slices, &place).clone(),
                });
            }
            machine.run_filled().map_err(|error| original(error, members, &nodes))?;
            for (at, (&member, node)) in members.iter().zip(&nodes).enumerate() {
                let value = match node {
                    Some(node) => machine.value(*node).clone(),
                    None => self.carried(loops, member, &slices, &place).clone(),
                };
                slices[at].push(value);
            }
        }
        for (&member, mut slices) in members.iter().zip(slices) {
            if *reverse {
                slices.reverse();
            }
            self.values[member] = Some(Value::joined(&slices));
        }
        Ok(())
    }

    /// What a recurrence carries into the step that comes after those done.
    fn carried<'v>(
        &'v self,
        loops: &Loops,
        recur: NodeId,
        slices: &'v [Vec<Value>],
        place: &impl Fn(NodeId) -> usize,
    ) -> &'v Value {
        let next = loops.next_of(recur).expect("the verifier asks for it");
        let init = self.graph.nodes[recur].op.operands()[0];
        let own = place(recur);
        // A recurrence that comes later in the same step has as many slices as steps are done, an earlier one already has one more.
        let done = slices[own].len();
        let in_loop = loops.loop_of(next) == loops.loop_of(recur);
        debug_assert!(in_loop, "what a member carries is a member");
        match done.checked_sub(1) {
            None => self.value(init),
            Some(last) => &slices[place(next)][last],
        }
    }

    /// Runs all nodes that have no value yet; there are no loops among them.
    fn run_filled(&mut self) -> Result<(), InterpretError> {
        let graph = self.graph;
        for (id, node) in graph.nodes.iter() {
            if self.values[id].is_none() {
                self.values[id] = Some(self.node(id, node)?);
            }
        }
        Ok(())
    }

    /// A recurrence whose carried value does not depend on it: that value, one step later.
    pub(super) fn shifted(&self, init: NodeId, next: NodeId, reverse: bool) -> Value {
        let (first, whole) = (self.value(init), self.value(next));
        let slice = first.len();
        if reverse {
            Value::joined(&[whole.part(slice, whole.len()), first.clone()])
        } else {
            Value::joined(&[first.clone(), whole.part(0, whole.len() - slice)])
        }
    }
}

/// An error at a node of a step's graph, at the node that it stands for.
fn original(
    mut error: InterpretError,
    members: &[NodeId],
    nodes: &[Option<NodeId>],
) -> InterpretError {
    let at = |site: &mut Site| {
        let member = nodes.iter().position(|node| *node == Some(site.node));
        site.node = member.map_or(NodeId::from_index(0), |member| members[member]);
    };
    match &mut error {
        InterpretError::Unsupported { site, .. }
        | InterpretError::Alone { site }
        | InterpretError::BadIndex { site, .. }
        | InterpretError::DivisionByZero { site, .. }
        | InterpretError::BadConversion { site, .. } => at(site),
        InterpretError::Invalid(_)
        | InterpretError::Batch(_)
        | InterpretError::MissingInput { .. }
        | InterpretError::InputType { .. } => {}
    }
    error
}
