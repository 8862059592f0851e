//! Programs that look into a step: for every value of a graph, how many of its elements are no number (NaN) and how many are infinite.
//!
//! Steps are the same bit by bit when they are run again, so nothing is watched while a model trains: whoever meets a loss that is no
//! number goes back to the step before and asks a probe where it came from.

use crate::lower;
use crate::model::{CompileOptions, Elaborated, Failure, batch_of, freeze, joint_graph};
use dlc_abi::{ElemType, LoadedProgram};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Compare, Graph, InputRole, Node, NodeId, Op, UnaryOp};

/// How far a probe looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// From the inputs to the loss.
    Forward,
    /// To the gradients and the new parameters as well.
    Step,
}

/// A graph that is watched.
#[derive(Debug)]
pub struct Probe {
    graph: Graph,
}

/// The first operation of a step that gave what is no number.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<'p> {
    /// The node.
    pub node: &'p Node,
    /// How many of its elements are no number.
    pub elements: f64,
    /// The operation that gave the first infinite number among those it was computed from.
    pub infinite: Option<&'p Node>,
}

impl Found<'_> {
    /// Whether it is a parameter or a state, and so comes from the step before.
    pub fn is_kept(&self) -> bool {
        matches!(&self.node.op, Op::Input { role: InputRole::Param | InputRole::State, .. })
    }
}

impl Probe {
    /// The probe of a model's training with its program, whose results are `nan.<n>` and `inf.<n>`, numbers of elements; `None` where the
    /// model is not trained.
    ///
    /// # Errors
    /// When something below the front end fails.
    pub fn new(
        elaborated: &Elaborated,
        options: &CompileOptions,
        reach: Reach,
    ) -> Result<Option<(Probe, LoadedProgram)>, Failure> {
        let batch = batch_of(elaborated, options.batch)?;
        let graph = match reach {
            Reach::Forward => elaborated.program.train.as_ref().map(|train| train.graph.clone()),
            Reach::Step => joint_graph(&elaborated.program).map_err(|diagnostics| {
                Failure::Diagnostics { sources: Box::new(elaborated.sources.clone()), diagnostics }
            })?,
        };
        let Some(graph) = graph else { return Ok(None) };
        let mut watched = watched(&graph);
        watched.class = options.class;
        let frozen = freeze(watched, options.verify)?;
        let compiled = lower::compile(&frozen, batch, options.target)?;
        Ok(Some((Probe { graph }, compiled.program)))
    }

    /// Reads what the program counted. `count` gives the number under a result's name.
    pub fn first(&self, count: impl Fn(&str) -> Option<f64>) -> Option<Found<'_>> {
        let of = |kind: &str, id: NodeId| count(&result(kind, id)).unwrap_or(0.0);
        let clean = |kind: &str, node: &Node| {
            node.op.operands().into_iter().all(|from| of(kind, from) == 0.0)
        };
        let first = |kind: &str| {
            let mut nodes = self.graph.nodes.iter();
            nodes.find(|(id, node)| of(kind, *id) > 0.0 && clean(kind, node))
        };
        let (id, node) = first("nan")?;
        // Masks are made with infinities on purpose: only one that leads to this node tells something.
        let leads = node.op.operands().into_iter().any(|from| of("inf", from) > 0.0);
        let infinite = if leads { self.first_infinite(id, &of) } else { None };
        Some(Found { node, elements: of("nan", id), infinite })
    }

    /// The operation that made the first infinite number on the way to a node.
    fn first_infinite(&self, to: NodeId, of: &impl Fn(&str, NodeId) -> f64) -> Option<&Node> {
        let mut at = to;
        loop {
            let mut operands = self.graph.nodes[at].op.operands().into_iter();
            match operands.find(|&from| of("inf", from) > 0.0) {
                Some(from) => at = from,
                None => return (at != to).then(|| &self.graph.nodes[at]),
            }
        }
    }
}

fn result(kind: &str, id: NodeId) -> String {
    format!("{kind}.{}", id.index())
}

/// The graph with counts for results in place of its own, and without assignments.
fn watched(graph: &Graph) -> Graph {
    let mut watched = graph.clone();
    watched.outputs.clear();
    for (id, node) in graph.nodes.iter() {
        let is_float = matches!(node.elem, ElemType::F32 | ElemType::F64);
        if !is_float || matches!(node.op, Op::Const(_)) {
            continue;
        }
        let mut build = watched.build(node.stage, node.origin.clone());
        let size = build.unary(UnaryOp::Abs, id);
        let infinity = build.float(f64::INFINITY, node.elem);
        let infinity = build.broadcast_to(infinity, &node.shape);
        let flags = [
            ("nan", build.compare(Compare::Ne, id, id)),
            ("inf", build.compare(Compare::Eq, size, infinity)),
        ];
        let counts = flags.map(|(kind, flag)| {
            let ones = build.convert(flag, ElemType::F32);
            (kind, if node.shape.is_empty() { ones } else { build.sum_all(ones) })
        });
        for (kind, count) in counts {
            watched.result(result(kind, id), count);
        }
    }
    watched
}
