//! The data of graph IR.

use crate::affine::Affine;
use crate::entity;
use crate::entity::{EntityRef, IndexVec};
use crate::layout::Layout;
use dlc_abi::{Among, Dim, ElemType, ExchangeKind, NumericsClass};
use dlc_grammar::Span;

entity!(
    /// A node of a graph, and its result.
    NodeId, "%"
);

/// A constant of any element type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Literal {
    /// For float elements; rounded to the element type.
    Float(f64),
    /// For integer elements; wraps to the element type.
    Int(i64),
    /// For truth values.
    Bool(bool),
}

/// Where a leaf's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputRole {
    /// Given with each step: examples, labels, the learning rate.
    Data,
    /// A trained parameter.
    Param,
    /// Kept from step to step but not trained.
    State,
}

/// Which part of a step a node belongs to; segments are cut between stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From inputs to the loss.
    Forward,
    /// From the loss to gradients.
    Backward,
    /// From gradients to new parameters.
    Update,
}

/// Functions of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// e^x.
    Exp,
    /// Natural logarithm.
    Log,
    /// log(1 + x), accurate near zero.
    Log1p,
    /// Square root, correctly rounded.
    Sqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function.
    Erf,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// Sine, argument in radians.
    Sin,
    /// Cosine, argument in radians.
    Cos,
    /// The integer below.
    Floor,
    /// Logical negation of a truth value.
    Not,
}

/// Functions of two elements of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient; of integers rounded towards minus infinity.
    Div,
    /// Remainder with the sign of the divisor; integers only.
    Rem,
    /// `a < b ? a : b`.
    Min,
    /// `a > b ? a : b`.
    Max,
    /// Both; truth values only.
    And,
    /// Either; truth values only.
    Or,
}

/// Comparisons; the result is a truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal, or unordered.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

/// How the terms of a contraction meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Combine {
    /// Sum from +0.
    Sum,
    /// The greatest, from minus infinity; keeps NaN.
    Max,
    /// The least, from plus infinity; keeps NaN.
    Min,
    /// The flattened reduction index (`i32`, over the reduction axes in canonical order) of the first greatest term;
    /// a NaN counts as greatest. One read only.
    ArgMax,
    /// Likewise of the first least term.
    ArgMin,
}

/// What a read gives where its subscripts leave the operand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// It never does: proven from the extents.
    InRange,
    /// This value.
    Value(Literal),
    /// The term does not exist. In contractions only.
    Skip,
}

/// One operand of a contraction.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The tensor read.
    pub value: NodeId,
    /// One subscript for each of its axes, over the contraction's axes.
    pub subs: Vec<Affine>,
    /// What lies outside.
    pub fill: Fill,
}

/// A term exists only where `0 <= expr < extent`.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// Over the contraction's axes.
    pub expr: Affine,
    /// Exclusive upper bound.
    pub extent: Dim,
}

/// A term exists only where `expr` is a multiple of `modulus`.
#[derive(Debug, Clone, PartialEq)]
pub struct Congruence {
    /// Over the contraction's axes.
    pub expr: Affine,
    /// Greater than one.
    pub modulus: i64,
}

/// Which of the two frozen orders a reduction follows within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderKind {
    /// One chain an output, terms in lexicographic order, cut into chunks that meet in a binary tree.
    Chain,
    /// Sixteen chains by the innermost index modulo 16, folded 8, 4, 2, 1 after the tree.
    Lanes,
}

/// The frozen order of a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order {
    /// Chain or lanes.
    pub kind: OrderKind,
    /// The contraction axis (among the reduction axes) that is first cut into the graph's shards, because it contains the batch.
    pub shard_axis: Option<usize>,
    /// Terms of the innermost axis (a lane's terms for `Lanes`) after which a run is cut.
    pub run_cut: i64,
    /// Whole runs of the innermost axis in a chunk; 1 when runs are cut.
    pub runs_per_chunk: i64,
}

/// `out[W·i] = combine over i in space of a[A·i] * b[B·i]`.
///
/// In *normal form* the left side is the identity on the first axes (the *output axes*, as many as the result has) and the rest
/// are the *reduction axes* in canonical order. Autodiff also makes affine left sides (`dx[i*s + u] += ..`), which the pass
/// `gatherise` brings to normal form. Elements of the result that no term reaches are the combine's start value.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// Extents of the axes.
    pub space: Vec<Dim>,
    /// The left side: one subscript for each axis of the result.
    pub out: Vec<Affine>,
    /// One or two operands; two are multiplied.
    pub reads: Vec<Read>,
    /// How terms meet.
    pub combine: Combine,
    /// Which terms exist.
    pub guards: Vec<Guard>,
    /// Which terms exist.
    pub congruences: Vec<Congruence>,
    /// Set by `freeze`.
    pub order: Option<Order>,
}

/// `out[o] = operand[subs(o), with subscript `axis` replaced by index[index_subs(o)]]`.
///
/// An index outside the axis is an error that the step reports; the value read is then that of the nearest valid index.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// The tensor read.
    pub operand: NodeId,
    /// One subscript for each of its axes, over the result's axes; the one at `axis` is ignored and must be 0.
    pub subs: Vec<Affine>,
    /// Which axis the index selects along.
    pub axis: usize,
    /// `i32` tensor of indices.
    pub index: NodeId,
    /// One subscript for each axis of the index, over the result's axes; in range.
    pub index_subs: Vec<Affine>,
}

/// A value that the parts of a batch give to one another. Every part runs a graph of its own, and an exchange happens in all of them at
/// once. The result has a first axis with an element for each part.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Who gets what.
    pub kind: ExchangeKind,
    /// What this part gives.
    pub operand: NodeId,
    /// How many parts there are.
    pub parts: u32,
    /// Between whom.
    pub among: Among,
    /// It takes place after at least so many others. Graphs that differ from rank to rank agree by it on the order of their exchanges.
    pub round: u32,
}

/// The operations.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A leaf with a name, unique among the graph's leaves.
    Input {
        /// Name; parameters are named `layer.param`.
        name: String,
        /// Where its value comes from.
        role: InputRole,
    },
    /// One value in every element.
    Const(Literal),
    /// The index along an axis, as the node's element type.
    Iota {
        /// The axis.
        axis: usize,
    },
    /// The value of an extent as a scalar of the node's element type; it follows the actual batch.
    Extent(Dim),
    /// Uniform numbers in [0, 1) with 24 bits from Philox4x32-10. Element e in row-major order is word `(e / 16) mod 4` of the block with
    /// counter `[(e / 64) * 16 + e mod 16, 0, step, draw]` and key `[seed, 0]`, its top 24 bits times 2^-24. Elements are numbered from
    /// `first`.
    Random {
        /// `i32` scalar: the run's seed.
        seed: NodeId,
        /// `i32` scalar: the step's number.
        step: NodeId,
        /// Distinguishes the draws of a program.
        draw: u32,
        /// `i32` scalar: the number of the first element, where that is not 0.
        first: Option<NodeId>,
    },
    /// A function of one element.
    Unary(UnaryOp, NodeId),
    /// A function of two elements.
    Binary(BinaryOp, NodeId, NodeId),
    /// A comparison of two elements.
    Compare(Compare, NodeId, NodeId),
    /// `condition ? a : b`; all of the result's shape.
    Select(NodeId, NodeId, NodeId),
    /// `a * b + c` rounded once; made by `freeze`.
    Fma(NodeId, NodeId, NodeId),
    /// To the node's element type: integers to floats round to nearest even, floats to integers truncate, truth values become 0 and 1.
    Convert(NodeId),
    /// `out[o] = operand[subs(o)]`, or the fill outside: broadcast, transpose, slice, pad, flip, stride.
    View {
        /// The tensor read.
        operand: NodeId,
        /// One subscript for each of its axes, over the result's axes.
        subs: Vec<Affine>,
        /// `InRange` or a value.
        fill: Fill,
    },
    /// The same elements in row-major order under another shape.
    Reshape(NodeId),
    /// A contraction or reduction.
    Contract(Contract),
    /// Reads by data-dependent index.
    Gather(Gather),
    /// A value that the parts of a batch give to one another.
    Exchange(Exchange),
    /// A value carried along its first axis, the steps: slice 0 is `init`, slice t is slice t - 1 of the value that the graph's
    /// [`OutputKind::Carry`] names, a later node. In reverse the last slice is `init` and slice t is slice t + 1 of that value.
    Recur {
        /// The first slice in the order of the steps.
        init: NodeId,
        /// Whether the last step comes first.
        reverse: bool,
    },
}

impl Op {
    /// The nodes it reads, in order.
    pub fn operands(&self) -> Vec<NodeId> {
        match self {
            Op::Input { .. } | Op::Const(_) | Op::Iota { .. } | Op::Extent(_) => Vec::new(),
            Op::Random { seed, step, first, .. } => {
                [Some(*seed), Some(*step), *first].into_iter().flatten().collect()
            }
            Op::Unary(_, a) | Op::Convert(a) | Op::Reshape(a) => vec![*a],
            Op::View { operand, .. } => vec![*operand],
            Op::Recur { init, .. } => vec![*init],
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => vec![*a, *b],
            Op::Select(a, b, c) | Op::Fma(a, b, c) => vec![*a, *b, *c],
            Op::Contract(contract) => contract.reads.iter().map(|read| read.value).collect(),
            Op::Gather(gather) => vec![gather.operand, gather.index],
            Op::Exchange(exchange) => vec![exchange.operand],
        }
    }

    /// The same operation on other nodes.
    pub fn map_operands(mut self, mut to: impl FnMut(NodeId) -> NodeId) -> Op {
        match &mut self {
            Op::Input { .. } | Op::Const(_) | Op::Iota { .. } | Op::Extent(_) => {}
            Op::Random { seed, step, first, .. } => {
                *seed = to(*seed);
                *step = to(*step);
                *first = first.map(&mut to);
            }
            Op::Unary(_, a) | Op::Convert(a) | Op::Reshape(a) => *a = to(*a),
            Op::View { operand, .. } => *operand = to(*operand),
            Op::Recur { init, .. } => *init = to(*init),
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
                *a = to(*a);
                *b = to(*b);
            }
            Op::Select(a, b, c) | Op::Fma(a, b, c) => {
                *a = to(*a);
                *b = to(*b);
                *c = to(*c);
            }
            Op::Contract(contract) => {
                for read in &mut contract.reads {
                    read.value = to(read.value);
                }
            }
            Op::Gather(gather) => {
                gather.operand = to(gather.operand);
                gather.index = to(gather.index);
            }
            Op::Exchange(exchange) => exchange.operand = to(exchange.operand),
        }
        self
    }
}

/// Where a node comes from, for names in dumps and for messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The name in the source, or of the layer, e.g. `dense_1.y`; may be empty.
    pub name: String,
    /// The source text; `None` for nodes that no text stands for.
    pub span: Option<Span>,
}

/// A node: an operation and the tensor it makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Element type of the result.
    pub elem: ElemType,
    /// Logical shape of the result; empty for a scalar.
    pub shape: Vec<Dim>,
    /// Where the result's elements lie.
    pub layout: Layout,
    /// Part of the step.
    pub stage: Stage,
    /// Where it comes from.
    pub origin: Origin,
}

/// What becomes of a value at the end of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputKind {
    /// It is handed out under this name.
    Result(String),
    /// It becomes the new value of this parameter or state leaf.
    Assign(NodeId),
    /// This recurrence carries it from step to step.
    Carry(NodeId),
}

/// An effect of the graph, or what a recurrence carries on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What becomes of it.
    pub kind: OutputKind,
    /// The value.
    pub value: NodeId,
}

/// A program over tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Its name, e.g. `lenet.train`.
    pub name: String,
    /// Into how many shards sums over the batch are cut; a power of two.
    pub shards: u32,
    /// For a graph that works on a part of the batch, an aligned block of its shards: into how many shards the whole batch is cut. `shards`
    /// and every extent then speak of the part, whose place the leaf [`dlc_abi::WINDOW_INPUT`] tells.
    pub window_of: Option<u32>,
    /// Rounding family.
    pub class: NumericsClass,
    /// Whether `freeze` has run: every bit is decided.
    pub frozen: bool,
    /// The nodes; operands stand before their users.
    pub nodes: IndexVec<NodeId, Node>,
    /// The effects, in order.
    pub outputs: Vec<Output>,
}

impl Graph {
    /// An empty graph with four shards.
    pub fn new(name: impl Into<String>) -> Self {
        Graph {
            name: name.into(),
            shards: 4,
            window_of: None,
            class: NumericsClass::Fused,
            frozen: false,
            nodes: IndexVec::new(),
            outputs: Vec::new(),
        }
    }

    /// Appends a node in row-major layout.
    pub fn push(
        &mut self,
        op: Op,
        elem: ElemType,
        shape: Vec<Dim>,
        stage: Stage,
        origin: Origin,
    ) -> NodeId {
        let layout = Layout::row_major(shape.len());
        self.nodes.push(Node { op, elem, shape, layout, stage, origin })
    }

    /// How many outputs and nodes read each node.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.nodes.len()];
        for node in self.nodes.values() {
            for operand in node.op.operands() {
                counts[operand.index()] += 1;
            }
        }
        for output in &self.outputs {
            counts[output.value.index()] += 1;
        }
        counts
    }

    /// Which nodes the outputs need, and those that are kept anyway with what they need. What a recurrence carries is needed if it is.
    pub fn needed(&self, keep: impl Fn(NodeId, &Node) -> bool) -> Vec<bool> {
        let mut needed: Vec<bool> = self.nodes.iter().map(|(id, node)| keep(id, node)).collect();
        let mut carries = Vec::new();
        for output in &self.outputs {
            match output.kind {
                OutputKind::Carry(recur) => carries.push((recur, output.value)),
                OutputKind::Result(_) => needed[output.value.index()] = true,
                OutputKind::Assign(leaf) => {
                    needed[output.value.index()] = true;
                    needed[leaf.index()] = true;
                }
            }
        }
        loop {
            for (id, node) in self.nodes.iter().rev() {
                if needed[id.index()] {
                    node.op.operands().iter().for_each(|operand| needed[operand.index()] = true);
                }
            }
            let mut more = false;
            for &(recur, value) in &carries {
                more |= needed[recur.index()] && !needed[value.index()];
                needed[value.index()] |= needed[recur.index()];
            }
            if !more {
                return needed;
            }
        }
    }

    /// The leaf of that name.
    pub fn input(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().find_map(|(id, node)| match &node.op {
            Op::Input { name: input, .. } if input == name => Some(id),
            _ => None,
        })
    }
}

impl Contract {
    /// Number of output axes if the contraction is in normal form.
    pub fn normal_form(&self) -> Option<usize> {
        let identity = self.out.iter().enumerate().all(|(at, sub)| sub.as_axis() == Some(at));
        identity.then_some(self.out.len())
    }
}
