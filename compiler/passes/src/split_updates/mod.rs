//! Makes the graph of a replica that updates a piece of each parameter out of one in which every replica updates all of it.
//! Input law:  the graph is frozen and was cut by `split_batch`.
//! Output law: so is the new one. States that are cut are leaves of their own, with the elements of a piece; all replicas have the same
//!             exchanges in the same order, and what they compute together is, bit by bit, what each of them computed before.
//! Why: after an all-to-all each replica has the sum of a piece of every gradient. Where the new value of a parameter follows from the
//!      gradient element by element, the piece is enough for a piece of the update, and new parameters are gathered in place of gradients:
//!      the same bytes, a share of the work, and a share of the optimizer's state.
//! Cost: O(nodes). Method: Rajbhandari et al. 2020 (arXiv 1910.02054), its first two stages, and the sharded update of Xu et al. 2020
//!       (arXiv 2004.13336).
//!
//! ```text
//! before:  %3 = all_to_all ..  %4 = add %3[0, ..], %3[1, ..]  %5 = all_gather %4  %6 = reshape %5    %7 = fma %6, %1, %2    assign %0 %7
//! after:   %3 = all_to_all ..  %4 = add %3[0, ..], %3[1, ..]  %5 = fma %4, %1[own], %2[own]  %6 = all_gather %5  %7 = reshape %6    assign %0 %7
//! ```
//!
//! # Pieces
//! A tensor is cut in its row-major order into as many equal pieces as there are replicas; zeros fill up the last one, so that the programs of
//! all replicas differ in the place of their pieces alone. What an update needs whole that is there in pieces only, such as a direction whose
//! norm is taken, is gathered, and what follows from that alone is computed whole again.

mod cones;

use crate::pass::{PassCx, PassError};
use crate::split_batch::{self, Part, Reduce, SplitError};
use cones::{Cones, elements};
use dlc_abi::{Among, Dim, ExchangeKind, slice_name};
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{
    Exchange, Fill, Graph, GraphBuilder, Node, NodeId, Op, Output, OutputKind, Stage,
    number_literal,
};
use dlc_ir::layout::Layout;

/// A parameter or state that replicas update in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateLeaf {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<i64>,
    /// Whether each replica keeps its piece alone. Parameters are kept whole: the next step reads them.
    pub is_cut: bool,
}

/// What replicas update in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateMap {
    /// How many replicas there are.
    pub replicas: u32,
    /// Parameters and states, in the order in which the step assigns them.
    pub leaves: Vec<UpdateLeaf>,
}

impl UpdateMap {
    /// Chooses what is updated in pieces, for the frozen graph of a training step: each parameter with what its new value follows from, where
    /// a replica sends no more than it would if all replicas updated all of it. Leaves that `read_elsewhere` tells of stay whole.
    ///
    /// # Errors
    /// When the step cannot be cut into so many parts.
    pub fn choose(
        graph: Graph,
        replicas: u32,
        read_elsewhere: impl Fn(&str) -> bool,
    ) -> Result<UpdateMap, SplitError> {
        let part = Part { parts: replicas, number: 0, reduce: Reduce::Ordered };
        let graph = split_batch::run(graph, part, &PassCx::default())?;
        Ok(UpdateMap { replicas, leaves: cones::worthwhile(&graph, replicas, read_elsewhere) })
    }

    /// The entry of a parameter or state.
    pub fn leaf(&self, name: &str) -> Option<&UpdateLeaf> {
        self.leaves.iter().find(|leaf| leaf.name == name)
    }

    /// The entry of a state of which each replica keeps a piece.
    pub fn cut_leaf(&self, name: &str) -> Option<&UpdateLeaf> {
        self.leaf(name).filter(|leaf| leaf.is_cut)
    }
}

/// Elements of a piece of so many.
pub fn piece_of(elements: i64, replicas: u32) -> i64 {
    let replicas = i64::from(replicas);
    (elements + replicas - 1) / replicas
}

/// The graph of a replica, of a step or of first values.
///
/// # Errors
/// When the graph is not frozen, or there is no such replica.
pub fn run(graph: &Graph, map: &UpdateMap, replica: u32, cx: &PassCx) -> Result<Graph, PassError> {
    if !graph.frozen || replica >= map.replicas {
        let found = "the graph is not frozen, or there is no such replica";
        return Err(PassError::bug("split_updates", found));
    }
    let cones = Cones::of(graph, map.replicas, &|name| map.leaf(name).map(|leaf| leaf.is_cut));
    let n = graph.nodes.len();
    let new = Graph { nodes: Default::default(), outputs: Vec::new(), ..graph.clone() };
    let (whole, own) = (vec![None; n], vec![None; n]);
    let mut cut = Cut { old: graph, cones: &cones, map, replica, new, whole, own };
    for (id, node) in graph.nodes.iter() {
        cut.place(id, node);
    }
    for output in &graph.outputs {
        cut.output(output);
    }
    cx.count("pieces", cut.own.iter().flatten().count() as u64);
    let mut new = cut.new;
    // Replicas have the same exchanges whatever is removed, but ranks that have other parts of the model wait for all that were there.
    let is_kept = |node: &Node| match &node.op {
        Op::Exchange(exchange) => exchange.among != Among::Replicas,
        _ => false,
    };
    let kept = new.nodes.iter().filter(|(_, node)| is_kept(node));
    let mut kept: Vec<NodeId> = kept.map(|(id, _)| id).collect();
    new.prune_keeping(kept.iter_mut().collect());
    Ok(new)
}

/// The graph of a replica on its way.
struct Cut<'a> {
    old: &'a Graph,
    cones: &'a Cones,
    map: &'a UpdateMap,
    replica: u32,
    new: Graph,
    /// What stands for each old node, where it is here whole.
    whole: Vec<Option<NodeId>>,
    /// This replica's piece of it, where that was asked for.
    own: Vec<Option<NodeId>>,
}

impl Cut<'_> {
    fn place(&mut self, id: NodeId, node: &Node) {
        let at = id.index();
        if let (Op::Input { name, role }, true) = (&node.op, self.cones.is_inside(id)) {
            let op = Op::Input { name: slice_name(name), role: *role };
            self.own[at] = Some(self.push(node, op, self.piece(node)));
        } else if let Some(piece) = self.cones.sum(id) {
            self.own[at] = self.whole[piece.index()];
        } else if self.cones.is_inside(id) {
            let own = match &node.op {
                Op::Reshape(operand) => self.own(*operand),
                op => {
                    let op = op.clone().map_operands(|operand| self.own(operand));
                    self.push(node, op, self.piece(node))
                }
            };
            self.own[at] = Some(own);
        }
        if self.cones.is_computed_whole(id) {
            let op = node.op.clone();
            let op = op.map_operands(|operand| self.whole(operand));
            self.whole[at] = Some(self.new.nodes.push(Node { op, ..node.clone() }));
        } else if self.cones.is_gathered(id) {
            let own = self.own[at].expect("what is not computed whole is computed in pieces");
            self.whole[at] = Some(self.gathered(node, own));
        }
    }

    fn output(&mut self, output: &Output) {
        let kind = match &output.kind {
            OutputKind::Assign(leaf) if self.cones.is_inside(*leaf) => {
                let leaf = self.own[leaf.index()].expect("leaves inside are cut");
                let value = self.own(output.value);
                self.new.outputs.push(Output { kind: OutputKind::Assign(leaf), value });
                return;
            }
            OutputKind::Assign(leaf) => OutputKind::Assign(self.whole(*leaf)),
            OutputKind::Carry(recur) => OutputKind::Carry(self.whole(*recur)),
            OutputKind::Result(name) => OutputKind::Result(name.clone()),
        };
        let value = self.whole(output.value);
        self.new.outputs.push(Output { kind, value });
    }

    fn whole(&self, old: NodeId) -> NodeId {
        self.whole[old.index()].expect("what is needed whole was brought together")
    }

    /// This replica's piece of a value; of one that is here whole it is taken where it is read.
    fn own(&mut self, old: NodeId) -> NodeId {
        if let Some(own) = self.own[old.index()] {
            return own;
        }
        let node = &self.old.nodes[old];
        let shape = self.piece(node);
        let own = match &node.op {
            Op::Const(value) => self.push(node, Op::Const(*value), shape),
            Op::View { operand, subs, fill: Fill::InRange }
                if subs.iter().all(|sub| sub.as_constant().is_some()) =>
            {
                let (operand, subs) = (self.whole(*operand), subs.clone());
                self.push(node, Op::View { operand, subs, fill: Fill::InRange }, shape)
            }
            _ => {
                let (n, piece) = (elements(node), shape[0].constant);
                let (whole, first) = (self.whole(old), i64::from(self.replica) * piece);
                let replicas = i64::from(self.map.replicas);
                let mut g = self.build(node);
                let flat = g.reshape(whole, vec![Dim::fixed(n)]);
                let fill = match n == piece * replicas {
                    true => Fill::InRange,
                    false => Fill::Value(number_literal(0.0, g.elem(flat))),
                };
                g.view(flat, vec![Affine::new([(0, 1)], first)], fill, shape)
            }
        };
        self.own[old.index()] = Some(own);
        own
    }

    /// All of a value of which each replica has a piece.
    fn gathered(&mut self, node: &Node, own: NodeId) -> NodeId {
        let (n, parts) = (elements(node), self.map.replicas);
        let padded = self.piece(node)[0].constant * i64::from(parts);
        let mut g = self.build(node);
        let (kind, among) = (ExchangeKind::AllGather, Among::Replicas);
        let all = g.exchange(Exchange { kind, operand: own, parts, among, round: 0 });
        let flat = g.reshape(all, vec![Dim::fixed(padded)]);
        let flat = g.resized(flat, 0, n);
        g.reshape(flat, node.shape.clone())
    }

    /// The shape of a piece of a value.
    fn piece(&self, node: &Node) -> Vec<Dim> {
        vec![Dim::fixed(piece_of(elements(node), self.map.replicas))]
    }

    fn push(&mut self, node: &Node, op: Op, shape: Vec<Dim>) -> NodeId {
        let layout = Layout::row_major(shape.len());
        self.new.nodes.push(Node { op, shape, layout, ..node.clone() })
    }

    /// Whatever is cut or brought together, it is for the update.
    fn build(&mut self, node: &Node) -> GraphBuilder<'_> {
        self.new.build(Stage::Update, node.origin.clone())
    }
}
