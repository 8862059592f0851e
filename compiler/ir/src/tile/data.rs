//! The data of tile IR.

use crate::affine::Affine;
use crate::entity;
use crate::entity::IndexVec;
use crate::graph::{BinaryOp, Combine, Compare, Fill, Guard, Literal, Order, UnaryOp};
use crate::layout::Layout;
use dlc_abi::{
    Among, BufferRole, Dim, ElemType, ExchangeKind, NumericsClass, SegmentKind, WINDOW_INPUT,
};

entity!(
    /// A buffer of a program.
    BufferId, "b"
);
entity!(
    /// A scalar expression of a phase.
    ExprId, "e"
);

/// A piece of memory that holds one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// Name, unique in the program.
    pub name: String,
    /// Who owns the memory.
    pub role: BufferRole,
    /// Element type.
    pub elem: ElemType,
    /// Logical shape.
    pub shape: Vec<Dim>,
    /// Where elements lie.
    pub layout: Layout,
    /// The buffer whose memory this is, under another shape; both are row-major.
    pub alias_of: Option<BufferId>,
    /// Byte offset in the arena; set by `memory_plan` for temporaries.
    pub arena_offset: Option<u64>,
}

/// A scalar expression, evaluated at a point of the phase's axes.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A constant.
    Const(Literal),
    /// An affine function of the axes, as an integer or float.
    Index(Affine),
    /// The value of an extent.
    Extent(Dim),
    /// An element of a buffer, or the fill where a subscript is outside its shape.
    Load {
        /// The buffer.
        buffer: BufferId,
        /// One subscript an axis, over the phase's axes.
        subs: Vec<Affine>,
        /// What lies outside. `Skip` drops the term of the reduction.
        fill: Fill,
    },
    /// An element selected by an index: subscript `axis` is the value of `index`, which loads an `i32`.
    Gather {
        /// The buffer.
        buffer: BufferId,
        /// One subscript an axis; the one at `axis` is 0.
        subs: Vec<Affine>,
        /// Which axis the index selects along.
        axis: usize,
        /// A `Load` of an `i32` buffer.
        index: ExprId,
    },
    /// A uniform number in [0, 1); see [`crate::graph::Op::Random`].
    Random {
        /// `i32`: the run's seed.
        seed: ExprId,
        /// `i32`: the step's number.
        step: ExprId,
        /// Distinguishes the draws of a program.
        draw: u32,
        /// `i32`: the element's number in row-major order.
        element: ExprId,
    },
    /// The result of the phase's reduction at this point of the space.
    Reduced,
    /// A function of one value.
    Unary(UnaryOp, ExprId),
    /// A function of two values.
    Binary(BinaryOp, ExprId, ExprId),
    /// A comparison.
    Compare(Compare, ExprId, ExprId),
    /// `condition ? a : b`.
    Select(ExprId, ExprId, ExprId),
    /// `a * b + c`, rounded once.
    Fma(ExprId, ExprId, ExprId),
    /// To the node's element type.
    Convert(ExprId),
}

impl Expr {
    /// The expressions it reads, in order.
    pub fn operands(&self) -> Vec<ExprId> {
        match self {
            Expr::Const(_)
            | Expr::Index(_)
            | Expr::Extent(_)
            | Expr::Load { .. }
            | Expr::Reduced => Vec::new(),
            Expr::Gather { index, .. } => vec![*index],
            Expr::Random { seed, step, element, .. } => vec![*seed, *step, *element],
            Expr::Unary(_, a) | Expr::Convert(a) => vec![*a],
            Expr::Binary(_, a, b) | Expr::Compare(_, a, b) => vec![*a, *b],
            Expr::Select(a, b, c) | Expr::Fma(a, b, c) => vec![*a, *b, *c],
        }
    }
}

/// An expression with its element type.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The expression.
    pub expr: Expr,
    /// Element type of its value.
    pub elem: ElemType,
}

/// How terms are combined over the reduction axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduction {
    /// How terms meet.
    pub combine: Combine,
    /// The one or two factors of a term.
    pub factors: Vec<ExprId>,
    /// Which terms exist, besides those that `Fill::Skip` drops.
    pub guards: Vec<Guard>,
    /// The frozen order; axes are numbered as in the phase.
    pub order: Order,
    /// The space axis whose index is the number of a shard, if only that shard's terms are summed. The others' sums stand beside it, and
    /// another phase adds them.
    pub of_shard: Option<usize>,
}

/// Writes a value to an element.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// The buffer.
    pub buffer: BufferId,
    /// One subscript an axis, over the space axes; different points write different elements.
    pub subs: Vec<Affine>,
    /// What is written.
    pub value: ExprId,
}

/// An axis cut into work units of `tile` iterations, the last one possibly shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnitAxis {
    /// A space axis.
    pub axis: usize,
    /// Iterations of a unit along it.
    pub tile: i64,
}

/// How a phase is cut and vectorised. Plain data beside the algorithm; no choice here changes a bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Axes cut into work units, outermost first; the others run whole inside a unit.
    pub units: Vec<UnitAxis>,
    /// The axis whose iterations are the lanes of vectors: a space axis, or the innermost reduction axis under
    /// [`crate::graph::OrderKind::Lanes`]. `None`: one lane.
    pub lane_axis: Option<usize>,
    /// Vectors of lanes in a register tile.
    pub vectors: usize,
    /// The space axis whose iterations are the rows of a register tile.
    pub row_axis: Option<usize>,
    /// Rows in a register tile.
    pub rows: usize,
    /// Terms of a sum that all tiles of a unit take before any takes the next, their accumulators kept in scratch meanwhile: whole runs
    /// of the innermost axis, or pieces of a run where chunks are. `None`: every tile takes all its terms at once.
    pub block: Option<i64>,
    /// The axis of the phase's [`super::Selection`] if its terms are sorted by their index first, so that each is visited at its own place
    /// alone. `None`: every term is tried at every place.
    pub sorted_axis: Option<usize>,
    /// Whether one part runs the whole phase, because it is too short to share.
    pub serial: bool,
}

impl Default for Schedule {
    /// One point after the other: no units, no lanes, no rows.
    fn default() -> Self {
        Schedule {
            units: Vec::new(),
            lane_axis: None,
            vectors: 1,
            row_axis: None,
            rows: 1,
            block: None,
            sorted_axis: None,
            serial: false,
        }
    }
}

/// Marks a phase of a loop: the first space axis counts the steps, and the phase runs for one of them at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Which loop of the segment; its phases stand side by side and are repeated together.
    pub number: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
}

/// One scheduled loop nest.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// A name after the source.
    pub name: String,
    /// Extents of all axes: the space axes, then the reduction axes in canonical order.
    pub axes: Vec<Dim>,
    /// How many of them are space axes.
    pub n_space: usize,
    /// Expressions; operands stand before their users.
    pub exprs: IndexVec<ExprId, Node>,
    /// The reduction, if any.
    pub reduction: Option<Reduction>,
    /// What is written at each point of the space.
    pub stores: Vec<Store>,
    /// How it is cut.
    pub schedule: Schedule,
    /// The loop that it is a part of.
    pub step: Option<Step>,
    /// Whether all parts must have finished the phases before.
    pub barrier_before: bool,
}

/// Values that the parts of a batch give to one another between two segments. See [`crate::graph::Exchange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Who gets what.
    pub kind: ExchangeKind,
    /// Between whom.
    pub among: Among,
    /// What this part gives, a [`BufferRole::Message`].
    pub from: BufferId,
    /// What it gets, a [`BufferRole::Message`] with a row for each part.
    pub to: BufferId,
    /// The segment after which what is given is complete.
    pub after: usize,
    /// The first segment that needs what is taken; at most the number of segments.
    pub before: usize,
}

/// A separately callable list of phases.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its function's name.
    pub name: String,
    /// What it does in a step.
    pub kind: SegmentKind,
    /// The phases in order.
    pub phases: Vec<Phase>,
}

/// A program over buffers.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Into how many shards sums over the batch are cut.
    pub shards: u32,
    /// For a part of a batch, into how many shards the whole batch is cut; see [`crate::graph::Graph::window_of`].
    pub window_of: Option<u32>,
    /// Rounding family.
    pub class: NumericsClass,
    /// Largest batch; strides come from it.
    pub max_batch: i64,
    /// The buffers.
    pub buffers: IndexVec<BufferId, Buffer>,
    /// The segments in order.
    pub segments: Vec<Segment>,
    /// What parts of a batch give to one another, in order.
    pub exchanges: Vec<Exchange>,
    /// Bytes of the arena; set by `memory_plan`.
    pub arena_bytes: u64,
}

impl Buffer {
    /// Bytes of memory at the maximum batch, rounded up to 64.
    pub fn bytes(&self, max_batch: i64) -> u64 {
        let elements = self.layout.elements(&self.shape, max_batch).max(1) as u64;
        (elements * self.elem.size() as u64).next_multiple_of(64)
    }

    /// Elements between neighbours along each logical axis, for a layout without blocks.
    pub fn strides(&self, max_batch: i64) -> Option<Vec<i64>> {
        let extents = self.layout.physical_extents(&self.shape, max_batch);
        let mut strides = vec![0; self.shape.len()];
        let mut stride = 1;
        for (axis, extent) in self.layout.axes.iter().zip(extents).rev() {
            match axis {
                crate::layout::PhysicalAxis::Whole(axis) => strides[*axis] = stride,
                crate::layout::PhysicalAxis::Block(..)
                | crate::layout::PhysicalAxis::Within(..) => return None,
            }
            stride *= extent;
        }
        Some(strides)
    }
}

impl Program {
    /// The buffer that tells a part of a batch its place.
    pub fn window(&self) -> Option<BufferId> {
        let named = |buffer: &Buffer| buffer.name == WINDOW_INPUT;
        self.buffers.iter().find(|(_, buffer)| named(buffer)).map(|(id, _)| id)
    }

    /// The buffer that owns the memory of `buffer`.
    pub fn memory_of(&self, buffer: BufferId) -> BufferId {
        let mut owner = buffer;
        while let Some(alias) = self.buffers[owner].alias_of {
            owner = alias;
        }
        owner
    }
}

impl Phase {
    /// The axes cut into units, that of the steps of a loop before the schedule's own: a unit is within one step.
    pub fn unit_axes(&self) -> Vec<UnitAxis> {
        let step = self.step.map(|_| UnitAxis { axis: 0, tile: 1 });
        step.into_iter().chain(self.schedule.units.iter().copied()).collect()
    }

    /// The last axis of the space that runs inside a unit, for lanes.
    pub fn inner_axis(&self) -> Option<usize> {
        self.n_space.checked_sub(1).filter(|&axis| axis > 0 || self.step.is_none())
    }

    /// Extents of the space axes.
    pub fn space(&self) -> &[Dim] {
        &self.axes[..self.n_space]
    }

    /// Buffers that it reads, with repetitions.
    pub fn reads(&self) -> impl Iterator<Item = BufferId> + '_ {
        self.exprs.values().filter_map(|node| match &node.expr {
            Expr::Load { buffer, .. } | Expr::Gather { buffer, .. } => Some(*buffer),
            Expr::Const(_)
            | Expr::Index(_)
            | Expr::Extent(_)
            | Expr::Random { .. }
            | Expr::Reduced
            | Expr::Unary(..)
            | Expr::Binary(..)
            | Expr::Compare(..)
            | Expr::Select(..)
            | Expr::Fma(..)
            | Expr::Convert(_) => None,
        })
    }

    /// Buffers that it writes.
    pub fn writes(&self) -> impl Iterator<Item = BufferId> + '_ {
        self.stores.iter().map(|store| store.buffer)
    }
}
