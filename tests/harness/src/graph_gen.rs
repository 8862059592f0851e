//! Random typed graphs that verify: maps, views, contractions, windows, gathers, reshapes, choices, with a symbolic batch.
//!
//! Programs are drawn from a seed alone. Extents are small, so that the interpreter answers at once, and unequal, so that
//! mistaken axes show. With [`Config::smooth`] values stay bounded and no operation is near a pole, as gradient checks need.

mod recurrences;
mod sums;
mod types;

use crate::rng::Rng;
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{
    BinaryOp, Combine, Compare, Contract, Fill, Gather, Graph, GraphBuilder, Guard, InputRole,
    Literal, NodeId, Op, Order, OrderKind, Origin, Read, Stage, UnaryOp,
};

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Fewest and most steps; a step makes one to four nodes.
    pub steps: (usize, usize),
    /// Whether everything ends in one f32 scalar, the result `loss`. Otherwise unread values are results of their own.
    pub loss: bool,
    /// Whether derivatives exist and values stay near one.
    pub smooth: bool,
    /// Whether sums may have affine left sides, which frozen graphs must not have.
    pub affine_writes: bool,
    /// Whether integers, truth values and double precision are computed with, sums may have several chunks, and windows two axes.
    pub everything: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            steps: (2, 8),
            loss: false,
            smooth: false,
            affine_writes: false,
            everything: false,
        }
    }
}

/// A random program.
#[derive(Debug, Clone)]
pub struct Program {
    /// It verifies, and is not frozen.
    pub graph: Graph,
    /// The scalar, if [`Config::loss`] asked for it.
    pub loss: Option<NodeId>,
    /// A ragged batch to run it with, 1 to 7.
    pub batch: i64,
}

/// Indices in data of type `i32` are below this; gathers select along axes of at least this extent.
pub const INDEX_LIMIT: i64 = 3;

const LARGEST_BATCH: i64 = 7;
const LARGEST_TENSOR: i64 = 3000;
const LARGEST_SPACE: i64 = 30_000;

/// Draws a program.
pub fn program(rng: &mut Rng, config: Config) -> Program {
    let mut graph = Graph::new("random");
    graph.shards = rng.pick(&[1, 2, 4, 8]);
    let batch = rng.in_range(1, LARGEST_BATCH);
    let mut maker = Maker {
        b: graph.build(Stage::Forward, Origin::default()),
        rng,
        config,
        n_params: 0,
        n_draws: 0,
    };
    maker.leaves();
    if config.everything {
        maker.typed_leaves();
    }
    let steps = maker.rng.in_range(config.steps.0 as i64, config.steps.1 as i64);
    for step in 0..steps {
        maker.b.origin = Origin { name: format!("step_{step}.y"), span: None };
        maker.step();
    }
    maker.b.origin = Origin::default();
    let loss = config.loss.then(|| maker.loss());
    match loss {
        Some(loss) => graph.result("loss", loss),
        None => {
            let unread = graph.use_counts();
            let ids: Vec<NodeId> = graph.nodes.keys().collect();
            for (at, id) in ids.into_iter().enumerate().filter(|(at, _)| unread[*at] == 0) {
                graph.result(format!("y{at}"), id);
            }
        }
    }
    assign_state(&mut graph, rng);
    Program { graph, loss, batch }
}

/// Gives the state, if there is one, a value of its shape.
fn assign_state(graph: &mut Graph, rng: &mut Rng) {
    let Some(state) = graph.input("state") else { return };
    let like = graph.nodes[state].clone();
    let fits: Vec<NodeId> = graph
        .nodes
        .iter()
        .filter(|(_, node)| node.elem == like.elem && node.shape == like.shape)
        .map(|(id, _)| id)
        .collect();
    let value = rng.pick(&fits);
    let mut b = graph.build(Stage::Forward, Origin { name: "state.new".into(), span: None });
    let half = b.number_like(0.5, value);
    let new = b.add(value, half);
    graph.assign(state, new);
}

/// Gives every contraction a random order that the laws allow and marks the graph frozen. Every contraction must be in normal form
/// without congruences.
pub fn freeze_at_random(rng: &mut Rng, graph: &mut Graph) {
    for node in graph.nodes.values_mut() {
        let Op::Contract(contract) = &mut node.op else { continue };
        let n_out = contract.normal_form().expect("only normal forms are frozen");
        let reduction = n_out..contract.space.len();
        let batched: Vec<usize> =
            reduction.clone().filter(|&axis| contract.space[axis].batch_factor > 0).collect();
        let shard_axis =
            if batched.is_empty() || rng.one_in(4) { None } else { Some(rng.pick(&batched)) };
        let lanes = !reduction.is_empty() && rng.one_in(2);
        let kind = if lanes { OrderKind::Lanes } else { OrderKind::Chain };
        let inner = reduction.last().and_then(|axis| contract.space[axis].as_fixed());
        let (run_cut, runs_per_chunk) = match inner {
            Some(run) if rng.one_in(2) => (run, rng.in_range(1, 5)),
            _ => (rng.in_range(1, 5), 1),
        };
        contract.order = Some(Order { kind, shard_axis, run_cut, runs_per_chunk });
    }
    graph.frozen = true;
}

struct Maker<'a> {
    b: GraphBuilder<'a>,
    rng: &'a mut Rng,
    config: Config,
    n_params: usize,
    n_draws: u32,
}

fn count(shape: &[Dim]) -> i64 {
    shape.iter().map(|dim| dim.at(LARGEST_BATCH)).product()
}

/// The shape and the subscripts of one element along `axis` for each example: of the example's own row where the first axis
/// is the batch, and of every row otherwise.
fn one_of_each_example(from: &[Dim], axis: usize) -> (Vec<Dim>, Vec<Affine>) {
    let mut shape = vec![Dim::batch()];
    let mut subs = Vec::new();
    for (at, &dim) in from.iter().enumerate() {
        if at == axis {
            subs.push(Affine::constant(0));
        } else if at == 0 && dim == Dim::batch() {
            subs.push(Affine::axis(0));
        } else {
            subs.push(Affine::axis(shape.len()));
            shape.push(dim);
        }
    }
    (shape, subs)
}

fn fixed(extent: i64) -> Dim {
    Dim::fixed(extent)
}

impl Maker<'_> {
    fn leaves(&mut self) {
        let (data, f32) = (InputRole::Data, ElemType::F32);
        for at in 0..self.rng.in_range(1, 2) {
            let mut shape = vec![Dim::batch()];
            for _ in 0..self.rng.in_range(1, 3) {
                shape.push(fixed(self.rng.in_range(2, 6)));
            }
            self.b.input(format!("x{at}"), data, f32, shape);
        }
        let (rows, columns) = (self.rng.in_range(2, 6), self.rng.in_range(2, 5));
        self.param(vec![fixed(rows), fixed(columns)]);
        self.b.input("label", data, ElemType::I32, vec![Dim::batch()]);
        if self.rng.one_in(3) {
            let bytes = self.b.input("bytes", data, ElemType::U8, vec![Dim::batch(), fixed(4)]);
            let number = self.b.convert(bytes, f32);
            let scale = self.b.number_like(1.0 / 255.0, number);
            self.b.mul(number, scale);
        }
    }

    fn param(&mut self, shape: Vec<Dim>) -> NodeId {
        self.n_params += 1;
        let name = format!("layer_{}.w", self.n_params);
        self.b.input(name, InputRole::Param, ElemType::F32, shape)
    }

    /// A value of a type that fits, the newer the likelier.
    fn any(&mut self, elem: ElemType, fits: impl Fn(&[Dim]) -> bool) -> Option<NodeId> {
        let found: Vec<NodeId> = self
            .b
            .graph
            .nodes
            .iter()
            .filter(|(_, node)| node.elem == elem && fits(&node.shape))
            .map(|(id, _)| id)
            .collect();
        let n = found.len();
        let at = self.rng.below(n.max(1)).max(self.rng.below(n.max(1)));
        found.get(at).copied()
    }

    fn float(&mut self) -> NodeId {
        self.any(ElemType::F32, |_| true).expect("the leaves hold floats")
    }

    fn step(&mut self) {
        let kinds = if self.config.everything { 21 } else { 15 };
        match self.rng.below(kinds) {
            0 | 1 => self.unary(),
            2 | 3 => self.binary(),
            4 | 5 => self.view(),
            6 => self.reduce(),
            7 | 8 => self.product(),
            9 => self.window(),
            10 => self.gather(),
            11 => self.reshape(),
            12 => self.choice(),
            13 => self.types(),
            14 => self.recurrence(),
            15 | 16 => self.integers(),
            17 => self.truths(),
            18 => self.doubles(),
            19 => self.long_sum(),
            _ => self.window_2d(),
        };
    }

    fn unary(&mut self) -> NodeId {
        let x = self.float();
        let bounded = |maker: &mut Self| {
            let inner = maker.rng.pick(&[UnaryOp::Tanh, UnaryOp::Sin, UnaryOp::Erf]);
            maker.b.unary(inner, x)
        };
        let free = [
            UnaryOp::Neg,
            UnaryOp::Tanh,
            UnaryOp::Erf,
            UnaryOp::Sigmoid,
            UnaryOp::Sin,
            UnaryOp::Cos,
            UnaryOp::Abs,
        ];
        let op = self.rng.pick(&UnaryOp::ALL);
        match op {
            UnaryOp::Exp | UnaryOp::Log1p => {
                let inner = bounded(self);
                let half = self.b.number_like(0.5, inner);
                let inner = self.b.mul(inner, half);
                self.b.unary(op, inner)
            }
            UnaryOp::Log | UnaryOp::Sqrt => {
                let square = self.b.mul(x, x);
                let one = self.b.number_like(0.75, square);
                let above = self.b.add(square, one);
                self.b.unary(op, above)
            }
            UnaryOp::Floor if self.config.smooth => self.b.unary(UnaryOp::Neg, x),
            UnaryOp::Not => {
                let free = self.rng.pick(&free);
                self.b.unary(free, x)
            }
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Tanh
            | UnaryOp::Erf
            | UnaryOp::Sigmoid
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Floor => self.b.unary(op, x),
        }
    }

    /// Another value of the shape of `x`: an old one, a broadcast, or a constant.
    fn partner(&mut self, x: NodeId) -> NodeId {
        let shape = self.b.shape(x).to_vec();
        if self.rng.one_in(2)
            && let Some(same) = self.any(ElemType::F32, |other| other == shape)
            && same != x
        {
            return same;
        }
        let broadcasts = |other: &[Dim]| {
            other.len() <= shape.len()
                && other.iter().rev().zip(shape.iter().rev()).all(|(a, b)| a == b)
        };
        if self.rng.one_in(2)
            && let Some(small) = self.any(ElemType::F32, broadcasts)
            && small != x
        {
            return self.b.broadcast_to(small, &shape);
        }
        if let Some(last) = shape.last().and_then(|dim| dim.as_fixed())
            && self.rng.one_in(2)
        {
            let bias = self.param(vec![fixed(last)]);
            return self.b.broadcast_to(bias, &shape);
        }
        let value = self.rng.unit() * 3.0 - 1.5;
        self.b.number_like(value, x)
    }

    fn binary(&mut self) -> NodeId {
        let x = self.float();
        let y = self.partner(x);
        let (x, y) = if self.rng.one_in(2) { (x, y) } else { (y, x) };
        match self.rng.below(7) {
            0 => self.b.add(x, y),
            1 => self.b.sub(x, y),
            2 | 3 => self.b.mul(x, y),
            4 => self.b.binary(BinaryOp::Max, x, y),
            5 => self.b.binary(BinaryOp::Min, x, y),
            _ => {
                let square = self.b.mul(y, y);
                let one = self.b.number_like(0.5, square);
                let below = self.b.add(square, one);
                self.b.div(x, below)
            }
        }
    }

    /// Permutes, flips, strides, slices, pads, repeats.
    fn view(&mut self) -> NodeId {
        let x = self.float();
        let from = self.b.shape(x).to_vec();
        let mut shape: Vec<Dim> = Vec::new();
        let mut subs = vec![Affine::constant(0); from.len()];
        let mut fill = Fill::InRange;
        let mut order: Vec<usize> = (0..from.len()).collect();
        for at in 0..order.len() {
            order.swap(at, self.rng.below(at + 1));
        }
        for axis in order {
            if shape.len() < 4 && self.rng.one_in(8) {
                shape.push(fixed(self.rng.in_range(2, 3)));
            }
            let here = shape.len();
            let Some(extent) = from[axis].as_fixed() else {
                subs[axis] = Affine::axis(here);
                shape.push(from[axis]);
                continue;
            };
            let (extent, sub) = match self.rng.below(8) {
                0 => (extent, Affine::new([(here, -1)], extent - 1)),
                1 => ((extent + 1) / 2, Affine::new([(here, 2)], 0)),
                2 if extent > 1 => (extent - 1, Affine::new([(here, 1)], 1)),
                3 => {
                    let value = Literal::Float(self.rng.unit() - 0.5);
                    fill = Fill::Value(value);
                    (extent + 2, Affine::new([(here, 1)], -1))
                }
                4 if from.len() > 1 => {
                    subs[axis] = Affine::constant(self.rng.in_range(0, extent - 1));
                    continue;
                }
                _ => (extent, Affine::axis(here)),
            };
            subs[axis] = sub;
            shape.push(fixed(extent));
        }
        if count(&shape) > LARGEST_TENSOR {
            return x;
        }
        self.b.view(x, subs, fill, shape)
    }

    fn reduce(&mut self) -> NodeId {
        let x = self.float();
        let rank = self.b.shape(x).len();
        let axes: Vec<usize> = (0..rank).filter(|_| self.rng.one_in(2)).collect();
        let combine = match self.rng.below(6) {
            0..=2 => Combine::Sum,
            3 => Combine::Max,
            4 => Combine::Min,
            _ if self.config.smooth => Combine::Sum,
            _ => self.rng.pick(&[Combine::ArgMax, Combine::ArgMin]),
        };
        let y = self.b.reduce(combine, x, &axes);
        self.damped(y, combine)
    }

    /// Sums are scaled down now and then, so that long programs stay finite.
    fn damped(&mut self, y: NodeId, combine: Combine) -> NodeId {
        if combine != Combine::Sum || !(self.config.smooth || self.rng.one_in(2)) {
            return y;
        }
        let scale = self.b.number_like(0.25, y);
        self.b.mul(y, scale)
    }

    /// A product of two tensors, summed over some axes.
    fn product(&mut self) -> NodeId {
        let a = self.float();
        let b = if self.rng.one_in(3) {
            let shape: Vec<Dim> =
                self.b.shape(a).iter().copied().filter(|dim| dim.as_fixed().is_some()).collect();
            let mut shape: Vec<Dim> = shape.into_iter().rev().take(2).collect();
            shape.push(fixed(self.rng.in_range(2, 5)));
            self.param(shape)
        } else {
            self.float()
        };
        let mut space: Vec<Dim> = Vec::new();
        let mut used: Vec<[bool; 2]> = Vec::new();
        let mut places: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
        for (side, value) in [a, b].into_iter().enumerate() {
            for &dim in &self.b.graph.nodes[value].shape.clone() {
                let open: Vec<usize> =
                    (0..space.len()).filter(|&at| space[at] == dim && !used[at][side]).collect();
                let at = if open.is_empty() || self.rng.one_in(4) {
                    space.push(dim);
                    used.push([false; 2]);
                    space.len() - 1
                } else {
                    self.rng.pick(&open)
                };
                used[at][side] = true;
                places[side].push(at);
            }
        }
        // Axes of both operands are summed, mostly; the others remain, mostly.
        let out: Vec<bool> = used
            .iter()
            .map(
                |used| if *used == [true, true] { self.rng.one_in(3) } else { !self.rng.one_in(5) },
            )
            .collect();
        let mut order: Vec<usize> = (0..space.len()).filter(|&at| out[at]).collect();
        let n_out = order.len();
        order.extend((0..space.len()).filter(|&at| !out[at]));
        let extents: Vec<Dim> = order.iter().map(|&at| space[at]).collect();
        if count(&extents) > LARGEST_SPACE || count(&extents[..n_out]) > LARGEST_TENSOR {
            return self.unary();
        }
        let place = |at: usize| order.iter().position(|&axis| axis == at).expect("all are placed");
        let reads = [a, b]
            .iter()
            .zip(&places)
            .map(|(&value, places)| {
                let axes: Vec<usize> = places.iter().map(|&at| place(at)).collect();
                Read::axes(value, &axes)
            })
            .collect();
        let extreme = match self.config.everything {
            true => self.rng.pick(&[Combine::Max, Combine::Min]),
            false => Combine::Max,
        };
        let combine = if self.rng.one_in(8) { extreme } else { Combine::Sum };
        let y = self.b.contract(Contract::normal(combine, extents, n_out, reads));
        self.damped(y, combine)
    }

    /// A convolution along the last fixed axis, padded by a fill, by skipping or by a guard.
    fn window(&mut self) -> NodeId {
        let x = self.float();
        let from = self.b.shape(x).to_vec();
        let Some(axis) = (0..from.len()).rev().find(|&at| from[at].as_fixed().is_some()) else {
            return self.unary();
        };
        let extent = from[axis].as_fixed().expect("the axis was chosen fixed");
        let (taps, filters) = (self.rng.in_range(2, 3), self.rng.in_range(2, 4));
        let (stride, before) = (self.rng.in_range(1, 2), self.rng.in_range(0, 1));
        let n_out = from.len() + 1;
        let mut space = from.clone();
        space[axis] = fixed((extent + stride - 1) / stride);
        space.extend([fixed(filters), fixed(taps)]);
        if count(&space) > LARGEST_SPACE || count(&space[..n_out]) > LARGEST_TENSOR || n_out > 5 {
            return self.unary();
        }
        let k = self.param(vec![fixed(taps), fixed(filters)]);
        if self.config.affine_writes && self.rng.one_in(2) {
            return self.transposed(x, k, axis, stride);
        }
        let sub = Affine::new([(axis, stride), (n_out, 1)], -before);
        let mut subs = Affine::identity(from.len());
        subs[axis] = sub.clone();
        let (fill, guards) = match self.rng.below(3) {
            0 => (Fill::Value(Literal::Float(0.0)), Vec::new()),
            1 => (Fill::Skip, Vec::new()),
            _ => (Fill::InRange, vec![Guard { expr: sub, extent: from[axis] }]),
        };
        let reads = vec![Read { value: x, subs, fill }, Read::axes(k, &[n_out, n_out - 1])];
        let mut contract = Contract::normal(Combine::Sum, space, n_out, reads);
        contract.guards = guards;
        self.b.contract(contract)
    }

    /// `y[.., i*stride + u, .., f] += x[.., i, ..] * k[u, f]`.
    fn transposed(&mut self, x: NodeId, k: NodeId, axis: usize, stride: i64) -> NodeId {
        let from = self.b.shape(x).to_vec();
        let kernel = self.b.shape(k).to_vec();
        let extent = from[axis].as_fixed().expect("the axis was chosen fixed");
        let taps = kernel[0].as_fixed().expect("kernels are fixed");
        let rank = from.len();
        let mut shape = from.clone();
        shape[axis] = fixed((extent - 1) * stride + taps);
        shape.push(kernel[1]);
        let mut space = from.clone();
        space.extend([kernel[1], kernel[0]]);
        let mut out = Affine::identity(rank + 1);
        out[axis] = Affine::new([(axis, stride), (rank + 1, 1)], 0);
        let own: Vec<usize> = (0..rank).collect();
        let reads = vec![Read::axes(x, &own), Read::axes(k, &[rank + 1, rank])];
        let contract = Contract { out, ..Contract::normal(Combine::Sum, space, 0, reads) };
        self.b.contract_into(contract, shape)
    }

    /// Selects by the labels along an axis.
    fn gather(&mut self) -> NodeId {
        let wide = |dim: &Dim| dim.as_fixed().is_some_and(|extent| extent >= INDEX_LIMIT);
        let Some(x) = self.any(ElemType::F32, |shape| shape.iter().any(wide)) else {
            return self.unary();
        };
        let from = self.b.shape(x).to_vec();
        let axes: Vec<usize> = (0..from.len()).filter(|&axis| wide(&from[axis])).collect();
        let axis = self.rng.pick(&axes);
        let label = self.b.graph.input("label").expect("every program has labels");
        if axis == 0 {
            if count(&from) * LARGEST_BATCH > LARGEST_TENSOR {
                return self.unary();
            }
            return self.b.take_rows(x, label);
        }
        let (shape, subs) = one_of_each_example(&from, axis);
        if count(&shape) > LARGEST_TENSOR {
            return self.unary();
        }
        let index_subs = vec![Affine::axis(0)];
        self.b.gather(Gather { operand: x, subs, axis, index: label, index_subs }, shape)
    }

    /// Merges two neighbouring axes, or flattens all but the first.
    fn reshape(&mut self) -> NodeId {
        let x = self.float();
        let from = self.b.shape(x).to_vec();
        if from.len() < 2 {
            let mut shape = from;
            shape.insert(0, fixed(1));
            return self.b.reshape(x, shape);
        }
        let at = self.rng.below(from.len() - 1);
        let (Some(inner), outer) = (from[at + 1].as_fixed(), from[at]) else { return self.unary() };
        let merged =
            Dim { batch_factor: outer.batch_factor * inner, constant: outer.constant * inner };
        let mut shape = from;
        shape.splice(at..at + 2, [merged]);
        self.b.reshape(x, shape)
    }

    fn choice(&mut self) -> NodeId {
        let x = self.float();
        let (y, z) = (self.partner(x), self.partner(x));
        let op = self.rng.pick(&Compare::ALL);
        let condition = self.b.compare(op, x, y);
        let condition =
            if self.rng.one_in(4) { self.b.unary(UnaryOp::Not, condition) } else { condition };
        self.b.select(condition, x, z)
    }

    /// Other element types, random numbers, extents.
    fn types(&mut self) -> NodeId {
        let x = self.float();
        let shape = self.b.shape(x).to_vec();
        match self.rng.below(5) {
            0 => {
                let wide = self.b.convert(x, ElemType::F64);
                let y = self.b.unary(UnaryOp::Tanh, wide);
                self.b.convert(y, ElemType::F32)
            }
            1 if !shape.is_empty() => {
                let elem = self.rng.pick(&[ElemType::I32, ElemType::I64]);
                let iota = self.b.iota(self.rng.below(shape.len()), elem, shape);
                let three = self.b.number_like(3.0, iota);
                let op = self.rng.pick(&[BinaryOp::Rem, BinaryOp::Div, BinaryOp::Mul]);
                let small = self.b.binary(op, iota, three);
                let small = self.b.sub(small, three);
                let y = self.b.convert(small, ElemType::F32);
                self.b.mul(x, y)
            }
            2 => {
                let seed = self.scalar_leaf("seed");
                let step = self.scalar_leaf("step");
                self.n_draws += 1;
                let u = self.b.random(seed, step, self.n_draws, ElemType::F32, shape);
                let keep = self.b.number_like(0.7, u);
                let mask = self.b.compare(Compare::Lt, u, keep);
                let mask = self.b.convert(mask, ElemType::F32);
                self.b.mul(x, mask)
            }
            3 => {
                let n = self.b.extent(Dim::batch(), ElemType::F32);
                let n = self.b.broadcast_to(n, &shape);
                self.b.div(x, n)
            }
            _ => {
                let y = self.partner(x);
                let (a, b) = (self.b.compare(Compare::Lt, x, y), self.b.compare(Compare::Le, y, x));
                let op = self.rng.pick(&[BinaryOp::And, BinaryOp::Or]);
                let both = self.b.binary(op, a, b);
                let number = self.b.convert(both, ElemType::F32);
                self.b.add(number, x)
            }
        }
    }

    fn scalar_leaf(&mut self, name: &str) -> NodeId {
        match self.b.graph.input(name) {
            Some(leaf) => leaf,
            None => self.b.input(name, InputRole::Data, ElemType::I32, Vec::new()),
        }
    }

    /// The sum of the means of all floats that nobody reads.
    fn loss(&mut self) -> NodeId {
        let unread = self.b.graph.use_counts();
        let open: Vec<NodeId> = self
            .b
            .graph
            .nodes
            .iter()
            .zip(unread)
            .filter(|((_, node), readers)| *readers == 0 && node.elem == ElemType::F32)
            .map(|((id, _), _)| id)
            .collect();
        let mut loss = None;
        for id in open {
            let bounded = self.b.unary(UnaryOp::Tanh, id);
            let sum = self.b.sum_all(bounded);
            loss = Some(match loss {
                None => sum,
                Some(so_far) => self.b.add(so_far, sum),
            });
        }
        let loss = match loss {
            Some(loss) => loss,
            None => {
                let x = self.float();
                self.b.sum_all(x)
            }
        };
        let n = self.b.extent(Dim::batch(), ElemType::F32);
        self.b.div(loss, n)
    }
}
