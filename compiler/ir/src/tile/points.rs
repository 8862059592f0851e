//! Evaluates a phase at one point of its space: the expressions, and the reduction in its frozen order.

use super::data::{BufferId, Expr, ExprId, Phase, Program, Reduction};
use super::interpret::{Memory, TileError, at_point};
use crate::graph::philox::uniform_24;
use crate::graph::{BinaryOp, Combine, Compare, Fill, Literal, OrderKind, UnaryOp};
use crate::math::{self, UnaryMath};
use crate::scalar;
use dlc_abi::{Dim, ElemType, NumericsClass};
use rustc_hash::FxHashMap;

/// Indices along the axes.
pub(super) type Point = Vec<i64>;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scalar {
    F32(f32),
    F64(f64),
    I32(i32),
    I64(i64),
    Bool(bool),
}

impl Scalar {
    fn from_bits(elem: ElemType, bits: u64) -> Scalar {
        match elem {
            ElemType::F32 | ElemType::Bf16 | ElemType::F16 => {
                Scalar::F32(f32::from_bits(bits as u32))
            }
            ElemType::F64 => Scalar::F64(f64::from_bits(bits)),
            ElemType::I32 | ElemType::U8 | ElemType::I8 => Scalar::I32(bits as i32),
            ElemType::I64 => Scalar::I64(bits as i64),
            ElemType::Bool => Scalar::Bool(bits != 0),
        }
    }

    fn bits(self) -> u64 {
        match self {
            Scalar::F32(x) => u64::from(x.to_bits()),
            Scalar::F64(x) => x.to_bits(),
            Scalar::I32(n) => i64::from(n) as u64,
            Scalar::I64(n) => n as u64,
            Scalar::Bool(b) => u64::from(b),
        }
    }

    fn of_int(elem: ElemType, n: i64) -> Scalar {
        match elem {
            ElemType::F32 | ElemType::Bf16 | ElemType::F16 => Scalar::F32(n as f32),
            ElemType::F64 => Scalar::F64(n as f64),
            ElemType::I32 | ElemType::U8 | ElemType::I8 => Scalar::I32(n as i32),
            ElemType::I64 => Scalar::I64(n),
            ElemType::Bool => Scalar::Bool(n != 0),
        }
    }

    fn of_float(elem: ElemType, x: f64) -> Scalar {
        match elem {
            ElemType::F32 | ElemType::Bf16 | ElemType::F16 => Scalar::F32(x as f32),
            ElemType::F64 => Scalar::F64(x),
            ElemType::Bool => Scalar::Bool(x != 0.0),
            ElemType::I32 | ElemType::U8 | ElemType::I8 | ElemType::I64 => {
                Scalar::of_int(elem, x as i64)
            }
        }
    }

    fn of_literal(elem: ElemType, literal: Literal) -> Scalar {
        match literal {
            Literal::Float(x) => Scalar::of_float(elem, x),
            Literal::Int(n) => Scalar::of_int(elem, n),
            Literal::Bool(b) => Scalar::of_int(elem, i64::from(b)),
        }
    }

    fn converted(self, elem: ElemType) -> Scalar {
        match self {
            Scalar::F32(x) => Scalar::of_float(elem, f64::from(x)),
            Scalar::F64(x) => Scalar::of_float(elem, x),
            Scalar::I32(n) => Scalar::of_int(elem, i64::from(n)),
            Scalar::I64(n) => Scalar::of_int(elem, n),
            Scalar::Bool(b) => Scalar::of_int(elem, i64::from(b)),
        }
    }

    fn is_nan(self) -> bool {
        match self {
            Scalar::F32(x) => x.is_nan(),
            Scalar::F64(x) => x.is_nan(),
            Scalar::I32(_) | Scalar::I64(_) | Scalar::Bool(_) => false,
        }
    }

    fn less(self, other: Scalar) -> bool {
        match (self, other) {
            (Scalar::F32(a), Scalar::F32(b)) => a < b,
            (Scalar::F64(a), Scalar::F64(b)) => a < b,
            (Scalar::I32(a), Scalar::I32(b)) => a < b,
            (Scalar::I64(a), Scalar::I64(b)) => a < b,
            (Scalar::Bool(a), Scalar::Bool(b)) => !a & b,
            _ => mixed(),
        }
    }
}

fn mixed() -> ! {
    unreachable!("the verifier lets no operation mix element types")
}

/// Applies a function to two numbers of one type.
macro_rules! numbers {
    ($a:expr, $b:expr, $x:ident, $y:ident, $float:expr, $int:expr) => {
        match ($a, $b) {
            (Scalar::F32($x), Scalar::F32($y)) => Scalar::F32($float),
            (Scalar::F64($x), Scalar::F64($y)) => Scalar::F64($float),
            (Scalar::I32($x), Scalar::I32($y)) => Scalar::I32($int),
            (Scalar::I64($x), Scalar::I64($y)) => Scalar::I64($int),
            _ => mixed(),
        }
    };
}

fn add(a: Scalar, b: Scalar) -> Scalar {
    numbers!(a, b, x, y, x + y, x.wrapping_add(y))
}

fn mul(a: Scalar, b: Scalar) -> Scalar {
    numbers!(a, b, x, y, x * y, x.wrapping_mul(y))
}

fn binary(op: BinaryOp, a: Scalar, b: Scalar) -> Scalar {
    match op {
        BinaryOp::Add => add(a, b),
        BinaryOp::Sub => numbers!(a, b, x, y, x - y, x.wrapping_sub(y)),
        BinaryOp::Mul => mul(a, b),
        BinaryOp::Div => numbers!(a, b, x, y, x / y, {
            let quotient = x.wrapping_div(y);
            if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { quotient - 1 } else { quotient }
        }),
        BinaryOp::Rem => numbers!(a, b, x, y, x % y, {
            let rest = x.wrapping_rem(y);
            if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
        }),
        BinaryOp::Min => {
            if a.less(b) {
                a
            } else {
                b
            }
        }
        BinaryOp::Max => {
            if b.less(a) {
                a
            } else {
                b
            }
        }
        BinaryOp::And => Scalar::Bool(matches!((a, b), (Scalar::Bool(true), Scalar::Bool(true)))),
        BinaryOp::Or => Scalar::Bool(!matches!((a, b), (Scalar::Bool(false), Scalar::Bool(false)))),
    }
}

fn compare(op: Compare, a: Scalar, b: Scalar) -> bool {
    match op {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        Compare::Lt => a.less(b),
        Compare::Le => a.less(b) || a == b,
    }
}

fn fma(a: Scalar, b: Scalar, c: Scalar) -> Scalar {
    match (a, b, c) {
        (Scalar::F32(a), Scalar::F32(b), Scalar::F32(c)) => Scalar::F32(scalar::fma_f32(a, b, c)),
        (Scalar::F64(a), Scalar::F64(b), Scalar::F64(c)) => Scalar::F64(scalar::fma_f64(a, b, c)),
        _ => add(mul(a, b), c),
    }
}

fn unary(op: UnaryOp, a: Scalar) -> Scalar {
    let function = match op {
        UnaryOp::Not => return Scalar::Bool(a == Scalar::Bool(false)),
        UnaryOp::Neg => return numbers!(a, a, x, _y, -x, x.wrapping_neg()),
        UnaryOp::Abs => return numbers!(a, a, x, _y, x.abs(), x.wrapping_abs()),
        UnaryOp::Sqrt => return numbers!(a, a, x, _y, x.sqrt(), x),
        UnaryOp::Floor => return numbers!(a, a, x, _y, x.floor(), x),
        UnaryOp::Exp => UnaryMath::Exp,
        UnaryOp::Log => UnaryMath::Log,
        UnaryOp::Log1p => UnaryMath::Log1p,
        UnaryOp::Tanh => UnaryMath::Tanh,
        UnaryOp::Erf => UnaryMath::Erf,
        UnaryOp::Sigmoid => UnaryMath::Sigmoid,
        UnaryOp::Sin => UnaryMath::Sin,
        UnaryOp::Cos => UnaryMath::Cos,
    };
    match a {
        Scalar::F32(x) => Scalar::F32(math::eval_f32(function, x)),
        Scalar::F64(x) => Scalar::F64(math::eval_f64(function, x)),
        Scalar::I32(_) | Scalar::I64(_) | Scalar::Bool(_) => mixed(),
    }
}

/// Values of expressions at one point.
type Known = FxHashMap<ExprId, Scalar>;

/// Runs one phase.
pub(super) struct Evaluator<'a> {
    pub program: &'a Program,
    pub phase: &'a Phase,
    pub batch: i64,
}

impl Evaluator<'_> {
    /// Evaluates everything at a point of the space, then stores.
    pub(super) fn run(&self, memory: &mut Memory<'_>, point: &Point) -> Result<(), TileError> {
        let reduced = match &self.phase.reduction {
            Some(reduction) => Some(self.reduce(memory, reduction, point)?),
            None => None,
        };
        let mut known = Known::default();
        let mut values = Vec::new();
        for store in &self.phase.stores {
            values.push(self.eval(memory, store.value, point, reduced, &mut known)?);
        }
        for (store, value) in self.phase.stores.iter().zip(values) {
            let place = self.place(memory, store.buffer, &at_point(&store.subs, point))?;
            memory.write(self.phase, place, value.bits())?;
        }
        Ok(())
    }

    fn place(
        &self,
        memory: &Memory<'_>,
        buffer: BufferId,
        subs: &[i64],
    ) -> Result<(BufferId, usize), TileError> {
        memory.place(buffer, subs, self.batch).ok_or_else(|| TileError::OutOfRange {
            phase: self.phase.name.clone(),
            buffer: self.program.buffers[buffer].name.clone(),
            index: subs.to_vec(),
        })
    }

    fn inside(&self, buffer: BufferId, subs: &[i64]) -> bool {
        let shape = &self.program.buffers[buffer].shape;
        subs.iter().zip(shape).all(|(&sub, dim)| (0..dim.at(self.batch)).contains(&sub))
    }

    fn eval(
        &self,
        memory: &mut Memory<'_>,
        id: ExprId,
        point: &[i64],
        reduced: Option<Scalar>,
        known: &mut Known,
    ) -> Result<Scalar, TileError> {
        if let Some(&value) = known.get(&id) {
            return Ok(value);
        }
        let node = &self.phase.exprs[id];
        let elem = node.elem;
        let mut operand =
            |memory: &mut Memory<'_>, id| self.eval(memory, id, point, reduced, known);
        let value = match &node.expr {
            Expr::Const(literal) => Scalar::of_literal(elem, *literal),
            Expr::Index(index) => Scalar::of_int(elem, index.eval(point)),
            Expr::Extent(dim) => Scalar::of_int(elem, dim.at(self.batch)),
            Expr::Load { buffer, subs, fill } => {
                let subs = at_point(subs, point);
                match fill {
                    Fill::Value(literal) if !self.inside(*buffer, &subs) => {
                        Scalar::of_literal(elem, *literal)
                    }
                    Fill::Value(_) | Fill::InRange | Fill::Skip => {
                        let place = self.place(memory, *buffer, &subs)?;
                        Scalar::from_bits(elem, memory.read(self.phase, place)?)
                    }
                }
            }
            Expr::Gather { buffer, subs, axis, index } => {
                let Scalar::I32(wanted) = operand(memory, *index)? else { mixed() };
                let mut subs = at_point(subs, point);
                let extent = self.program.buffers[*buffer].shape[*axis].at(self.batch);
                subs[*axis] = i64::from(wanted).clamp(0, (extent - 1).max(0));
                let place = self.place(memory, *buffer, &subs)?;
                Scalar::from_bits(elem, memory.read(self.phase, place)?)
            }
            Expr::Random { seed, step, draw, element } => {
                let (seed, step) = (operand(memory, *seed)?, operand(memory, *step)?);
                let element = operand(memory, *element)?;
                let (Scalar::I32(seed), Scalar::I32(step), Scalar::I32(element)) =
                    (seed, step, element)
                else {
                    mixed()
                };
                let bits = uniform_24(element as u64, seed as u32, step as u32, *draw);
                Scalar::of_float(elem, f64::from(bits) / 16_777_216.0)
            }
            Expr::Reduced => {
                reduced.expect("the verifier allows this only where there is a reduction")
            }
            Expr::Unary(op, a) => unary(*op, operand(memory, *a)?),
            Expr::Binary(op, a, b) => binary(*op, operand(memory, *a)?, operand(memory, *b)?),
            Expr::Compare(op, a, b) => {
                Scalar::Bool(compare(*op, operand(memory, *a)?, operand(memory, *b)?))
            }
            Expr::Select(c, a, b) => {
                let (c, a, b) = (operand(memory, *c)?, operand(memory, *a)?, operand(memory, *b)?);
                if c == Scalar::Bool(true) { a } else { b }
            }
            Expr::Fma(a, b, c) => {
                fma(operand(memory, *a)?, operand(memory, *b)?, operand(memory, *c)?)
            }
            Expr::Convert(a) => operand(memory, *a)?.converted(elem),
        };
        known.insert(id, value);
        Ok(value)
    }

    /// The combined terms at a point of the space.
    fn reduce(
        &self,
        memory: &mut Memory<'_>,
        reduction: &Reduction,
        point: &Point,
    ) -> Result<Scalar, TileError> {
        let elem = self.phase.exprs[reduction.factors[0]].elem;
        let n_space = self.phase.n_space;
        let whole: Vec<(i64, i64)> =
            self.phase.axes[n_space..].iter().map(|dim: &Dim| (0, dim.at(self.batch))).collect();
        if matches!(reduction.combine, Combine::ArgMax | Combine::ArgMin) {
            return self.arg(memory, reduction, point, &whole);
        }
        let shards = match reduction.order.shard_axis {
            Some(_) => i64::from(self.program.shards),
            None => 1,
        };
        let place = memory.window();
        let mut tree = Tree::new(reduction.combine);
        let own = reduction.of_shard.map(|axis| point[axis]);
        for shard in (0..shards).filter(|&shard| own.is_none_or(|own| own == shard)) {
            let mut ranges = whole.clone();
            if let Some(axis) = reduction.order.shard_axis {
                // Shards are cut between examples; what is beyond multiples of the batch belongs to the last.
                let dim = self.phase.axes[axis];
                let examples = |shard: i64| match place {
                    None => self.batch * shard / shards,
                    Some(([whole, before, shards_before], of)) => {
                        whole * (shards_before + shard) / of - before
                    }
                };
                let cut = |shard: i64| dim.batch_factor * examples(shard);
                let end = if shard + 1 == shards { dim.at(self.batch) } else { cut(shard + 1) };
                ranges[axis - n_space] = (cut(shard), end);
            }
            let sum = match reduction.order.kind {
                OrderKind::Chain => self.chain(memory, reduction, point, &ranges, None)?,
                OrderKind::Lanes => {
                    let mut lanes = Vec::new();
                    for lane in 0..16 {
                        lanes.push(self.chain(memory, reduction, point, &ranges, Some(lane))?);
                    }
                    folded(reduction.combine, lanes)
                }
            };
            tree.push(sum);
        }
        Ok(tree.total(start(reduction.combine, elem)))
    }

    /// The chunks of one chain (of one lane), met in the tree.
    fn chain(
        &self,
        memory: &mut Memory<'_>,
        reduction: &Reduction,
        point: &Point,
        ranges: &[(i64, i64)],
        lane: Option<i64>,
    ) -> Result<Scalar, TileError> {
        let elem = self.phase.exprs[reduction.factors[0]].elem;
        let zero = start(reduction.combine, elem);
        let mut tree = Tree::new(reduction.combine);
        let Some((&(first, end), outer)) = ranges.split_last() else {
            return self.step(memory, reduction, point, zero);
        };
        let step = if lane.is_some() { 16 } else { 1 };
        // Terms of a chain in a run: for a lane as many as the longest lane has.
        let run = (end - first + step - 1) / step;
        let (mut sum, mut runs) = (zero, 0);
        for mut outer in lexicographic(point, outer) {
            outer.push(0);
            for term in 0..run {
                let index = first + term * step + lane.unwrap_or(0);
                if index < end {
                    *outer.last_mut().expect("pushed above") = index;
                    sum = self.step(memory, reduction, &outer, sum)?;
                }
                let piece_ends = (term + 1) % reduction.order.run_cut == 0 || term + 1 == run;
                if reduction.order.runs_per_chunk == 1 && piece_ends {
                    tree.push(std::mem::replace(&mut sum, zero));
                }
            }
            runs += 1;
            if reduction.order.runs_per_chunk > 1 && runs == reduction.order.runs_per_chunk {
                tree.push(std::mem::replace(&mut sum, zero));
                runs = 0;
            }
        }
        if runs > 0 && reduction.order.runs_per_chunk > 1 {
            tree.push(sum);
        }
        Ok(tree.total(zero))
    }

    /// One more term, if it exists.
    fn step(
        &self,
        memory: &mut Memory<'_>,
        reduction: &Reduction,
        point: &[i64],
        sum: Scalar,
    ) -> Result<Scalar, TileError> {
        if !self.exists(reduction, point) {
            return Ok(sum);
        }
        let mut known = Known::default();
        let a = self.eval(memory, reduction.factors[0], point, None, &mut known)?;
        let b = match reduction.factors.get(1) {
            Some(&factor) => Some(self.eval(memory, factor, point, None, &mut known)?),
            None => None,
        };
        Ok(match (reduction.combine, b) {
            (Combine::Sum, None) => add(sum, a),
            (Combine::Sum, Some(b)) => match self.program.class {
                NumericsClass::Fused => fma(a, b, sum),
                NumericsClass::Unfused => add(sum, mul(a, b)),
            },
            (combine, b) => best(combine, sum, b.map_or(a, |b| mul(a, b))),
        })
    }

    fn exists(&self, reduction: &Reduction, point: &[i64]) -> bool {
        let guarded = reduction
            .guards
            .iter()
            .all(|guard| (0..guard.extent.at(self.batch)).contains(&guard.expr.eval(point)));
        guarded
            && self.phase.exprs.values().all(|node| match &node.expr {
                Expr::Load { buffer, subs, fill: Fill::Skip } => {
                    self.inside(*buffer, &at_point(subs, point))
                }
                _ => true,
            })
    }

    /// The number of the first best term.
    fn arg(
        &self,
        memory: &mut Memory<'_>,
        reduction: &Reduction,
        point: &Point,
        ranges: &[(i64, i64)],
    ) -> Result<Scalar, TileError> {
        let elem = self.phase.exprs[reduction.factors[0]].elem;
        let mut held = start(reduction.combine, elem);
        let mut found = 0;
        for (number, place) in lexicographic(point, ranges).into_iter().enumerate() {
            if !self.exists(reduction, &place) {
                continue;
            }
            let x = self.eval(memory, reduction.factors[0], &place, None, &mut Known::default())?;
            let better = match reduction.combine {
                Combine::ArgMin | Combine::Min => x.less(held),
                Combine::ArgMax | Combine::Max | Combine::Sum => held.less(x),
            };
            if !held.is_nan() && (better || x.is_nan()) {
                held = x;
                found = number as i32;
            }
        }
        Ok(Scalar::I32(found))
    }
}

/// The value before the first term.
fn start(combine: Combine, elem: ElemType) -> Scalar {
    match combine {
        Combine::Sum => Scalar::of_int(elem, 0),
        Combine::Max | Combine::ArgMax => match elem {
            ElemType::F32 | ElemType::F64 => Scalar::of_float(elem, f64::NEG_INFINITY),
            _ => Scalar::of_int(elem, i64::from(i32::MIN)),
        },
        Combine::Min | Combine::ArgMin => match elem {
            ElemType::F32 | ElemType::F64 => Scalar::of_float(elem, f64::INFINITY),
            _ => Scalar::of_int(elem, i64::from(i32::MAX)),
        },
    }
}

/// `newer` if it is better than `older`, or NaN.
fn best(combine: Combine, older: Scalar, newer: Scalar) -> Scalar {
    let better = match combine {
        Combine::Min | Combine::ArgMin => newer.less(older),
        Combine::Max | Combine::ArgMax | Combine::Sum => older.less(newer),
    };
    if better || newer.is_nan() { newer } else { older }
}

fn meet(combine: Combine, older: Scalar, newer: Scalar) -> Scalar {
    match combine {
        Combine::Sum => add(older, newer),
        Combine::Max | Combine::Min | Combine::ArgMax | Combine::ArgMin => {
            best(combine, older, newer)
        }
    }
}

/// Lane i meets lane i + 8, then + 4, + 2, + 1.
fn folded(combine: Combine, mut lanes: Vec<Scalar>) -> Scalar {
    while lanes.len() > 1 {
        let upper = lanes.split_off(lanes.len() / 2);
        for (lane, &other) in lanes.iter_mut().zip(&upper) {
            *lane = meet(combine, *lane, other);
        }
    }
    lanes[0]
}

/// The binary counter in which partial results meet.
struct Tree {
    combine: Combine,
    held: Vec<Scalar>,
    pushed: u64,
}

impl Tree {
    fn new(combine: Combine) -> Tree {
        Tree { combine, held: Vec::new(), pushed: 0 }
    }

    fn push(&mut self, mut newest: Scalar) {
        for _ in 0..self.pushed.trailing_ones() {
            let older = self.held.pop().expect("one for each bit of the counter");
            newest = meet(self.combine, older, newest);
        }
        self.held.push(newest);
        self.pushed += 1;
    }

    fn total(mut self, empty: Scalar) -> Scalar {
        let Some(mut newest) = self.held.pop() else { return empty };
        while let Some(older) = self.held.pop() {
            newest = meet(self.combine, older, newest);
        }
        newest
    }
}

/// The point followed by every combination of indices in the ranges.
fn lexicographic(point: &[i64], ranges: &[(i64, i64)]) -> Vec<Point> {
    ranges.iter().fold(vec![point.to_vec()], |points, &(low, high)| {
        points
            .into_iter()
            .flat_map(|point| {
                (low..high).map(move |index| {
                    let mut point = point.clone();
                    point.push(index);
                    point
                })
            })
            .collect()
    })
}
