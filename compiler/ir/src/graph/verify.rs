//! The laws of a whole graph, all checked at once.
//!
//! Laws of single nodes are in [`super::infer`]; here are those of definitions, names, stages, layouts and outputs, and
//! those that hold once a graph is frozen. A graph that verifies can be printed, interpreted and lowered without a
//! further check of its form.

use super::data::{Graph, InputRole, Node, NodeId, Op, OutputKind};
use super::infer::{self, Problem, shape_text};
use super::loops::{Loops, broken_step};
use super::ops::elem_name;
use crate::layout::{Layout, PhysicalAxis};
use dlc_abi::{Dim, ElemType, WINDOW_INPUT};
use rustc_hash::FxHashMap;
use std::fmt;

/// A law that a graph breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyError {
    /// The graph's name.
    pub graph: String,
    /// The guilty node; `None` for laws of the graph and its outputs.
    pub node: Option<NodeId>,
    /// The node's name in the source; may be empty.
    pub name: String,
    /// The law in a few words.
    pub law: &'static str,
    /// What breaks it.
    pub detail: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph `{}`", self.graph)?;
        if let Some(node) = self.node {
            write!(f, ", {node}")?;
        }
        if !self.name.is_empty() {
            write!(f, " ({})", self.name)?;
        }
        write!(f, ": broken law: {}", self.law)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for VerifyError {}

impl Graph {
    /// Checks all laws.
    ///
    /// # Errors
    /// Every broken law, in the order of the nodes.
    pub fn verify(&self) -> Result<(), Vec<VerifyError>> {
        let mut verifier = Verifier { graph: self, errors: Vec::new() };
        verifier.header();
        for (id, node) in self.nodes.iter() {
            verifier.node(id, node);
        }
        verifier.inputs();
        verifier.outputs();
        if verifier.errors.is_empty() {
            verifier.loops();
        }
        if verifier.errors.is_empty() { Ok(()) } else { Err(verifier.errors) }
    }
}

struct Verifier<'a> {
    graph: &'a Graph,
    errors: Vec<VerifyError>,
}

impl Verifier<'_> {
    fn fail(&mut self, node: Option<NodeId>, law: &'static str, detail: String) {
        let name = node.map(|id| self.graph.nodes[id].origin.name.clone()).unwrap_or_default();
        let graph = self.graph.name.clone();
        self.errors.push(VerifyError { graph, node, name, law, detail });
    }

    fn header(&mut self) {
        let shards = self.graph.shards;
        if !shards.is_power_of_two() {
            self.fail(None, "the number of shards is a power of two", shards.to_string());
        }
        if let Some(whole) = self.graph.window_of {
            let fits = whole.is_power_of_two() && shards <= whole;
            if !fits {
                let detail = format!("{shards} of {whole}");
                self.fail(None, "a part is a block of the batch's shards", detail);
            }
            let leaf = self.graph.input(WINDOW_INPUT).map(|leaf| &self.graph.nodes[leaf]);
            if !leaf.is_some_and(|leaf| leaf.elem == ElemType::I32 && leaf.shape == [Dim::fixed(3)])
            {
                let detail = format!("`{WINDOW_INPUT}` is no i32[3]");
                self.fail(None, "a part knows its place in the batch", detail);
            }
        }
    }

    fn node(&mut self, id: NodeId, node: &Node) {
        let late: Vec<NodeId> =
            node.op.operands().into_iter().filter(|operand| *operand >= id).collect();
        for &operand in &late {
            self.fail(Some(id), "operands stand before their users", operand.to_string());
        }
        if !late.is_empty() {
            return;
        }
        for operand in node.op.operands() {
            let stage = self.graph.nodes[operand].stage;
            if stage > node.stage {
                let detail = format!("{operand} is of the stage {}", stage.name());
                self.fail(Some(id), "operands are of the same or an earlier stage", detail);
            }
        }
        for Problem { law, detail } in
            infer::check(&self.graph.nodes, &node.op, node.elem, &node.shape)
        {
            self.fail(Some(id), law, detail);
        }
        if let Err(detail) = check_layout(&node.layout, node.shape.len()) {
            self.fail(Some(id), "layouts place every axis once", detail);
        }
        if self.graph.frozen {
            self.frozen(id, node);
        }
    }

    /// After `freeze`: every contraction is in normal form with an order and without congruences.
    fn frozen(&mut self, id: NodeId, node: &Node) {
        let Op::Contract(contract) = &node.op else { return };
        if contract.normal_form().is_none() {
            self.fail(Some(id), "frozen contractions are in normal form", String::new());
        }
        if contract.order.is_none() {
            self.fail(Some(id), "frozen contractions have an order", String::new());
        }
        if !contract.congruences.is_empty() {
            self.fail(Some(id), "frozen contractions have no congruences", String::new());
        }
    }

    fn inputs(&mut self) {
        let mut seen: FxHashMap<&str, NodeId> = FxHashMap::default();
        for (id, node) in self.graph.nodes.iter() {
            if let Op::Input { name, .. } = &node.op
                && let Some(first) = seen.insert(name, id)
            {
                self.fail(
                    Some(id),
                    "names of leaves are unique",
                    format!("`{name}` is {first} too"),
                );
            }
        }
    }

    fn outputs(&mut self) {
        let graph = self.graph;
        let mut results: FxHashMap<&str, ()> = FxHashMap::default();
        let mut assigned: FxHashMap<NodeId, ()> = FxHashMap::default();
        let mut carried: FxHashMap<NodeId, ()> = FxHashMap::default();
        for output in &graph.outputs {
            let value = output.value;
            if graph.nodes.get(value).is_none() {
                self.fail(None, "outputs are nodes", value.to_string());
                continue;
            }
            match &output.kind {
                OutputKind::Result(name) => {
                    if results.insert(name, ()).is_some() {
                        self.fail(None, "names of results are unique", format!("`{name}`"));
                    }
                }
                OutputKind::Assign(leaf) => {
                    if assigned.insert(*leaf, ()).is_some() {
                        self.fail(None, "leaves are assigned once", leaf.to_string());
                    }
                    match graph.nodes.get(*leaf) {
                        Some(to) if is_kept(&to.op) => {
                            self.fits("assigned values fit their leaf", value, *leaf);
                        }
                        _ => self.fail(
                            None,
                            "parameters and state are assigned",
                            format!("{leaf} is neither"),
                        ),
                    }
                }
                OutputKind::Carry(recur) => {
                    if carried.insert(*recur, ()).is_some() {
                        self.fail(None, "a recurrence carries one value", recur.to_string());
                    }
                    match graph.nodes.get(*recur) {
                        Some(Node { op: Op::Recur { .. }, stage, .. }) => {
                            self.fits("carried values fit their recurrence", value, *recur);
                            let same = graph.nodes[value].stage == *stage;
                            if !same {
                                let detail = format!("{value} of {recur}");
                                self.fail(None, "a loop is of one stage", detail);
                            }
                        }
                        _ => self.fail(None, "recurrences carry", format!("{recur} is none")),
                    }
                }
            }
        }
    }
}

impl Verifier<'_> {
    fn fits(&mut self, law: &'static str, value: NodeId, target: NodeId) {
        let (node, to) = (&self.graph.nodes[value], &self.graph.nodes[target]);
        if to.elem != node.elem || to.shape != node.shape {
            let detail = format!(
                "{value} is {}{}, {target} is {}{}",
                elem_name(node.elem),
                shape_text(&node.shape),
                elem_name(to.elem),
                shape_text(&to.shape)
            );
            self.fail(None, law, detail);
        }
    }

    /// Every recurrence carries a value, and loops keep to their steps.
    fn loops(&mut self) {
        let graph = self.graph;
        let loops = Loops::of(graph);
        for (id, node) in graph.nodes.iter() {
            if matches!(node.op, Op::Recur { .. }) && loops.next_of(id).is_none() {
                self.fail(Some(id), "a recurrence carries one value", "it carries none".into());
            }
            if let Some(detail) = broken_step(graph, &loops, id) {
                self.fail(Some(id), "loops run step by step", detail);
            }
        }
    }
}

/// Whether a leaf lives from step to step.
fn is_kept(op: &Op) -> bool {
    matches!(op, Op::Input { role: InputRole::Param | InputRole::State, .. })
}

/// Every logical axis occurs once whole, or once as block and once within with the same size.
fn check_layout(layout: &Layout, rank: usize) -> Result<(), String> {
    let mut whole = vec![0usize; rank];
    let mut block: Vec<Vec<i64>> = vec![Vec::new(); rank];
    let mut within: Vec<Vec<i64>> = vec![Vec::new(); rank];
    for physical in &layout.axes {
        let (PhysicalAxis::Whole(axis)
        | PhysicalAxis::Block(axis, _)
        | PhysicalAxis::Within(axis, _)) = *physical;
        if axis >= rank {
            return Err(format!("i{axis} of rank {rank}"));
        }
        match *physical {
            PhysicalAxis::Whole(_) => whole[axis] += 1,
            PhysicalAxis::Block(_, size) => block[axis].push(size),
            PhysicalAxis::Within(_, size) => within[axis].push(size),
        }
    }
    for axis in 0..rank {
        let plain = whole[axis] == 1 && block[axis].is_empty() && within[axis].is_empty();
        let blocked = whole[axis] == 0
            && block[axis].len() == 1
            && block[axis] == within[axis]
            && block[axis][0] >= 1;
        if !plain && !blocked {
            return Err(format!("i{axis}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Affine;
    use crate::entity::EntityRef;
    use crate::graph::{
        BinaryOp, Combine, Congruence, Contract, Fill, Guard, Literal, Order, OrderKind, Origin,
        Output, Read, Stage,
    };

    /// A small program with one of everything the laws speak of.
    fn sample() -> Graph {
        let mut graph = Graph::new("sample");
        let mut b = graph.build(Stage::Forward, Origin { name: "dense".into(), span: None });
        let x = b.input(
            "x",
            InputRole::Data,
            ElemType::F32,
            vec![Dim::batch(), Dim::fixed(6), Dim::fixed(4)],
        );
        let w = b.input("w", InputRole::Param, ElemType::F32, vec![Dim::fixed(3), Dim::fixed(4)]);
        let window = Affine::new([(1, 1), (2, 1)], -1);
        let mut conv = Contract::normal(
            Combine::Sum,
            vec![Dim::batch(), Dim::fixed(6), Dim::fixed(3), Dim::fixed(4)],
            2,
            vec![
                Read {
                    value: x,
                    subs: vec![Affine::axis(0), window, Affine::axis(3)],
                    fill: Fill::Value(Literal::Float(0.0)),
                },
                Read::axes(w, &[2, 3]),
            ],
        );
        conv.order = Some(Order {
            kind: OrderKind::Chain,
            shard_axis: None,
            run_cut: 4,
            runs_per_chunk: 64,
        });
        let y = b.contract(conv);
        let z = b.binary(BinaryOp::Max, y, y);
        let loss = b.sum_all(z);
        let Op::Contract(sum) = &mut graph.nodes[loss].op else { panic!("a sum") };
        sum.order = Some(Order {
            kind: OrderKind::Lanes,
            shard_axis: Some(0),
            run_cut: 16,
            runs_per_chunk: 256,
        });
        graph.result("loss", loss);
        graph.assign(w, w);
        graph.frozen = true;
        graph
    }

    fn node(graph: &Graph, at: usize) -> NodeId {
        graph.nodes.keys().nth(at).expect("the node exists")
    }

    fn contract(graph: &mut Graph, at: usize) -> &mut Contract {
        let id = node(graph, at);
        match &mut graph.nodes[id].op {
            Op::Contract(contract) => contract,
            _ => panic!("node {at} is a contraction"),
        }
    }

    #[test]
    fn a_sound_graph_verifies() {
        assert_eq!(sample().verify(), Ok(()));
    }

    /// Breaks the sample and expects exactly these laws at this node.
    fn broken(change: impl FnOnce(&mut Graph), at: Option<usize>, laws: &[&str]) {
        let mut graph = sample();
        change(&mut graph);
        let errors = graph.verify().expect_err("the change breaks a law");
        let found: Vec<&str> = errors.iter().map(|error| error.law).collect();
        assert_eq!(found, laws, "{errors:?}");
        let guilty = errors.iter().find_map(|error| error.node).map(EntityRef::index);
        assert_eq!(guilty, at);
    }

    #[test]
    fn each_law_is_named_with_its_node() {
        broken(|g| g.shards = 3, None, &["the number of shards is a power of two"]);
        broken(
            |g| {
                let late = node(g, 4);
                contract(g, 2).reads[1].value = late;
            },
            Some(2),
            &["operands stand before their users"],
        );
        broken(|g| contract(g, 2).order = None, Some(2), &["frozen contractions have an order"]);
        broken(
            |g| contract(g, 2).reads[0].fill = Fill::InRange,
            Some(2),
            &["subscripts stay in range"],
        );
        broken(
            |g| contract(g, 2).reads[0].fill = Fill::Value(Literal::Int(0)),
            Some(2),
            &["literals fit their element type"],
        );
        broken(
            |g| contract(g, 2).space[3] = Dim::fixed(5),
            Some(2),
            &["subscripts stay in range", "chunks of several runs hold whole runs"],
        );
        broken(
            |g| {
                let congruence = Congruence { expr: Affine::axis(0), modulus: 1 };
                contract(g, 2).congruences.push(congruence);
            },
            Some(2),
            &["moduli are greater than one", "frozen contractions have no congruences"],
        );
        broken(
            |g| contract(g, 4).combine = Combine::ArgMax,
            Some(4),
            &["element type of the result"],
        );
        broken(
            |g| {
                if let Some(order) = &mut contract(g, 2).order {
                    order.shard_axis = Some(0);
                }
            },
            Some(2),
            &["shards cut a reduction axis with the batch"],
        );
        broken(
            |g| {
                let id = node(g, 3);
                g.nodes[id].shape = vec![Dim::batch(), Dim::fixed(5)];
            },
            Some(3),
            &[
                "shape of the result",
                "operands have the result's shape",
                "operands have the result's shape",
                "subscripts stay in range",
            ],
        );
        broken(
            |g| {
                let id = node(g, 2);
                g.nodes[id].stage = Stage::Update;
            },
            Some(3),
            &[
                "operands are of the same or an earlier stage",
                "operands are of the same or an earlier stage",
            ],
        );
        broken(
            |g| {
                let id = node(g, 1);
                g.nodes[id].layout =
                    Layout { axes: vec![PhysicalAxis::Whole(0), PhysicalAxis::Block(1, 2)] };
            },
            Some(1),
            &["layouts place every axis once"],
        );
        broken(
            |g| {
                let id = node(g, 1);
                g.nodes[id].op = Op::Input { name: "x".into(), role: InputRole::Param };
            },
            Some(1),
            &["names of leaves are unique"],
        );
        broken(
            |g| {
                let (leaf, value) = (node(g, 0), node(g, 0));
                g.outputs.push(Output { kind: OutputKind::Assign(leaf), value });
            },
            None,
            &["parameters and state are assigned"],
        );
        broken(
            |g| {
                let again = g.outputs[0].clone();
                g.outputs.push(again);
            },
            None,
            &["names of results are unique"],
        );
    }

    #[test]
    fn guards_make_reads_provable() {
        let mut graph = sample();
        let window = Affine::new([(1, 1), (2, 1)], -1);
        let conv = contract(&mut graph, 2);
        conv.reads[0].fill = Fill::InRange;
        conv.guards.push(Guard { expr: window, extent: Dim::fixed(6) });
        assert_eq!(graph.verify(), Ok(()));
        contract(&mut graph, 2).guards[0].extent = Dim::fixed(7);
        assert!(graph.verify().is_err());
    }
}
