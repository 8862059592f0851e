//! Contractions in exactly their frozen order.
//!
//! The outputs along one axis (the *line*) are computed together: every term of the reduction is taken by the whole line
//! before the next, so each output still sees its own terms in order. See the orders in the documentation of
//! [`crate::graph`].

use super::walk::{Owner, Piece, Place, Walk, each_point, strides};
use super::{InterpretError, literal_value};
use crate::graph::elementwise::{Number, Value, with_number};
use crate::graph::{Combine, Contract, Fill, Order, OrderKind};
use dlc_abi::{Dim, NumericsClass};
use std::marker::PhantomData;

/// What a contraction needs to know beside itself.
pub(super) struct Setting<'a> {
    pub batch: i64,
    /// Where shards are cut, in examples: from 0 to the batch.
    pub cuts: &'a [i64],
    pub class: NumericsClass,
    /// Shape of the result.
    pub shape: Vec<i64>,
    /// Shapes of the operands.
    pub shapes: Vec<Vec<i64>>,
    /// Elements of the operands.
    pub values: Vec<&'a Value>,
}

/// How terms meet, for one combine and number type.
trait Fold<T> {
    /// What is carried from term to term.
    type Acc: Copy;
    /// Before the first term.
    fn start() -> Self::Acc;
    /// Takes the term `a * b`, or `a` alone where there is one read; `index` is its place in the reduction space.
    fn step(acc: Self::Acc, a: T, b: T, index: i64) -> Self::Acc;
    /// Joins two sums, the older first.
    fn merge(older: Self::Acc, newer: Self::Acc) -> Self::Acc;
}

/// `acc + a`.
struct SumOne;
/// `a * b + acc` with one rounding.
struct SumFused;
/// `acc + a * b` with two roundings.
struct SumUnfused;
/// The greatest term; of products where `PRODUCT`.
struct Max<const PRODUCT: bool>;
/// The least term; of products where `PRODUCT`.
struct Min<const PRODUCT: bool>;
/// The index of the greatest term.
struct ArgMax;
/// The index of the least term.
struct ArgMin;

macro_rules! sum_fold {
    ($name:ident, $acc:ident, $a:ident, $b:ident => $step:expr) => {
        impl<T: Number> Fold<T> for $name {
            type Acc = T;
            fn start() -> T {
                T::ZERO
            }
            #[inline(always)]
            fn step($acc: T, $a: T, $b: T, _: i64) -> T {
                $step
            }
            fn merge(older: T, newer: T) -> T {
                older.add(newer)
            }
        }
    };
}

sum_fold!(SumOne, acc, a, _b => acc.add(a));
sum_fold!(SumFused, acc, a, b => T::fma(a, b, acc));
sum_fold!(SumUnfused, acc, a, b => acc.add(a.mul(b)));

impl<T: Number, const PRODUCT: bool> Fold<T> for Max<PRODUCT> {
    type Acc = T;
    fn start() -> T {
        T::LOWEST
    }
    #[inline(always)]
    fn step(acc: T, a: T, b: T, _: i64) -> T {
        <Self as Fold<T>>::merge(acc, if PRODUCT { a.mul(b) } else { a })
    }
    #[inline(always)]
    fn merge(older: T, newer: T) -> T {
        if newer > older || newer.is_nan() { newer } else { older }
    }
}

impl<T: Number, const PRODUCT: bool> Fold<T> for Min<PRODUCT> {
    type Acc = T;
    fn start() -> T {
        T::HIGHEST
    }
    #[inline(always)]
    fn step(acc: T, a: T, b: T, _: i64) -> T {
        <Self as Fold<T>>::merge(acc, if PRODUCT { a.mul(b) } else { a })
    }
    #[inline(always)]
    fn merge(older: T, newer: T) -> T {
        if newer < older || newer.is_nan() { newer } else { older }
    }
}

/// The better of two places: NaN is best, then what `better` says, then the smaller index.
fn better_place<T: Number>(older: (T, i64), newer: (T, i64), better: bool) -> (T, i64) {
    let wins = match (older.0.is_nan(), newer.0.is_nan()) {
        (true, true) => newer.1 < older.1,
        (true, false) => false,
        (false, true) => true,
        (false, false) => better || (newer.0 == older.0 && newer.1 < older.1),
    };
    if wins { newer } else { older }
}

impl<T: Number> Fold<T> for ArgMax {
    type Acc = (T, i64);
    fn start() -> (T, i64) {
        (T::LOWEST, 0)
    }
    fn step(acc: (T, i64), a: T, _: T, index: i64) -> (T, i64) {
        <Self as Fold<T>>::merge(acc, (a, index))
    }
    fn merge(older: (T, i64), newer: (T, i64)) -> (T, i64) {
        better_place(older, newer, newer.0 > older.0)
    }
}

impl<T: Number> Fold<T> for ArgMin {
    type Acc = (T, i64);
    fn start() -> (T, i64) {
        (T::HIGHEST, 0)
    }
    fn step(acc: (T, i64), a: T, _: T, index: i64) -> (T, i64) {
        <Self as Fold<T>>::merge(acc, (a, index))
    }
    fn merge(older: (T, i64), newer: (T, i64)) -> (T, i64) {
        better_place(older, newer, newer.0 < older.0)
    }
}

/// Evaluates a contraction.
pub(super) fn contract(contract: &Contract, setting: &Setting) -> Result<Value, InterpretError> {
    with_number!(setting.values[0], T => typed::<T>(contract, setting))
}

fn typed<T: Number>(contract: &Contract, setting: &Setting) -> Result<Value, InterpretError> {
    let two = contract.reads.len() == 2;
    let fused = setting.class == NumericsClass::Fused;
    match contract.combine {
        Combine::Sum if !two => whole::<T, SumOne>(contract, setting).map(T::wrap),
        Combine::Sum if fused => whole::<T, SumFused>(contract, setting).map(T::wrap),
        Combine::Sum => whole::<T, SumUnfused>(contract, setting).map(T::wrap),
        Combine::Max if two => whole::<T, Max<true>>(contract, setting).map(T::wrap),
        Combine::Max => whole::<T, Max<false>>(contract, setting).map(T::wrap),
        Combine::Min if two => whole::<T, Min<true>>(contract, setting).map(T::wrap),
        Combine::Min => whole::<T, Min<false>>(contract, setting).map(T::wrap),
        Combine::ArgMax => whole::<T, ArgMax>(contract, setting).map(places),
        Combine::ArgMin => whole::<T, ArgMin>(contract, setting).map(places),
    }
}

fn places<T>(found: Vec<(T, i64)>) -> Value {
    Value::I32(found.into_iter().map(|(_, index)| index as i32).collect())
}

fn whole<T: Number, F: Fold<T>>(
    contract: &Contract,
    setting: &Setting,
) -> Result<Vec<F::Acc>, InterpretError> {
    let evaluation = Evaluation::<T, F>::new(contract, setting);
    match contract.normal_form() {
        Some(n_out) => evaluation.ordered(contract, n_out),
        None => evaluation.scattered(),
    }
}

struct Evaluation<'a, T, F: Fold<T>> {
    walk: Walk,
    dims: &'a [Dim],
    extents: Vec<i64>,
    /// Elements of the operands; a missing second one is a single element.
    data: [&'a [T]; 2],
    n_reads: usize,
    fills: [T; 2],
    shape: Vec<i64>,
    setting: &'a Setting<'a>,
    fold: PhantomData<F>,
}

/// The elements that a read gives along a piece of a line.
enum Operand<'s, T> {
    /// The same for all.
    One(T),
    /// Side by side.
    Slice(&'s [T]),
}

/// Copies of operands that do not lie side by side.
struct Scratch<T> {
    operands: [Vec<T>; 2],
}

impl<'a, T: Number, F: Fold<T>> Evaluation<'a, T, F> {
    fn new(contract: &'a Contract, setting: &'a Setting<'a>) -> Self {
        let batch = setting.batch;
        let extents: Vec<i64> = contract.space.iter().map(|dim: &Dim| dim.at(batch)).collect();
        let mut walk = Walk::new(extents.clone());
        let mut data: [&[T]; 2] = [&[]; 2];
        let mut fills = [T::ZERO; 2];
        for (at, read) in contract.reads.iter().enumerate() {
            let owner = match read.fill {
                Fill::InRange | Fill::Skip => Owner::Term,
                Fill::Value(_) => Owner::Read(at),
            };
            walk.tensor(&setting.shapes[at], &read.subs, owner);
            data[at] = T::slice(setting.values[at]);
            if let Fill::Value(literal) = read.fill {
                fills[at] = T::slice(&literal_value(literal, setting.values[at], 1))[0];
            }
        }
        walk.tensor(&setting.shape, &contract.out, Owner::Term);
        for guard in &contract.guards {
            walk.guard(guard, batch);
        }
        for congruence in &contract.congruences {
            walk.congruence(congruence);
        }
        Evaluation {
            walk,
            dims: &contract.space,
            extents,
            data,
            n_reads: contract.reads.len(),
            fills,
            shape: setting.shape.clone(),
            setting,
            fold: PhantomData,
        }
    }

    /// The elements that a read gives along a piece.
    fn operand<'s>(
        &'s self,
        read: usize,
        place: &Place,
        axis: Option<usize>,
        piece: Piece,
        scratch: &'s mut Vec<T>,
    ) -> Operand<'s, T> {
        if !piece.inside[read] {
            return Operand::One(self.fills[read]);
        }
        let n = (piece.end - piece.start) as usize;
        let stride = self.walk.stride(read, axis);
        let first = (place.offsets[read] + piece.start * stride) as usize;
        let data = self.data[read];
        match stride {
            0 => Operand::One(data[first]),
            1 => Operand::Slice(&data[first..first + n]),
            _ => {
                scratch.clear();
                let mut at = first as i64;
                scratch.extend((0..n).map(|_| {
                    let element = data[at as usize];
                    at += stride;
                    element
                }));
                Operand::Slice(scratch)
            }
        }
    }

    /// Takes one term for all outputs of a line.
    fn take(
        &self,
        place: &Place,
        axis: Option<usize>,
        index: i64,
        acc: &mut [F::Acc],
        scratch: &mut Scratch<T>,
    ) {
        let n = acc.len() as i64;
        let [first, second] = &mut scratch.operands;
        self.walk.pieces(place, axis, n, |piece| {
            let a = self.operand(0, place, axis, piece, first);
            let b = match self.n_reads {
                1 => Operand::One(T::ZERO),
                _ => self.operand(1, place, axis, piece, second),
            };
            let line = acc[piece.start as usize..piece.end as usize].iter_mut();
            match (a, b) {
                (Operand::One(a), Operand::One(b)) => {
                    line.for_each(|acc| *acc = F::step(*acc, a, b, index));
                }
                (Operand::One(a), Operand::Slice(b)) => {
                    line.zip(b).for_each(|(acc, &b)| *acc = F::step(*acc, a, b, index));
                }
                (Operand::Slice(a), Operand::One(b)) => {
                    line.zip(a).for_each(|(acc, &a)| *acc = F::step(*acc, a, b, index));
                }
                (Operand::Slice(a), Operand::Slice(b)) => {
                    line.zip(a.iter().zip(b))
                        .for_each(|(acc, (&a, &b))| *acc = F::step(*acc, a, b, index));
                }
            }
        });
    }

    /// The output axis to compute together: long, and with operands that lie side by side along it.
    fn line_axis(&self, n_out: usize) -> Option<usize> {
        let worth = |axis: usize| {
            let strided = (0..self.n_reads)
                .filter(|&read| self.walk.stride(read, Some(axis)).unsigned_abs() > 1)
                .count();
            // Beyond this length the price of a term is spread thin enough.
            self.extents[axis].min(64) * 2 / (2 + strided as i64)
        };
        (0..n_out).max_by_key(|&axis| (worth(axis), axis))
    }

    /// Normal form: line by line, each in its order.
    fn ordered(self, contract: &Contract, n_out: usize) -> Result<Vec<F::Acc>, InterpretError> {
        let n: i64 = self.shape.iter().product();
        let mut out = vec![F::start(); n as usize];
        let axis = self.line_axis(n_out);
        let line = axis.map_or(1, |axis| self.extents[axis]);
        let order = contract.order.unwrap_or(OPEN_ORDER);
        let out_strides = strides(&self.shape);
        let stride = axis.map_or(0, |axis| out_strides[axis]);
        let mut high = self.extents[..n_out].to_vec();
        if let Some(axis) = axis {
            high[axis] = 1;
        }
        let mut reduction = Reduction::new(&self, &order, n_out, axis, line);
        each_point(&vec![0; n_out], &high, |outer| {
            let results = reduction.line(outer)?;
            let first: i64 = outer.iter().zip(&out_strides).map(|(at, stride)| at * stride).sum();
            for (at, result) in results.into_iter().enumerate() {
                out[(first + at as i64 * stride) as usize] = result;
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// An affine left side: terms in the order of the space, each added where it belongs.
    fn scattered(self) -> Result<Vec<F::Acc>, InterpretError> {
        let n: i64 = self.shape.iter().product();
        let mut out = vec![F::start(); n as usize];
        let rank = self.extents.len();
        let axis = rank.checked_sub(1);
        let line = axis.map_or(1, |axis| self.extents[axis]);
        let mut high = self.extents.clone();
        if let Some(axis) = axis {
            high[axis] = 1;
        }
        let written = self.n_reads;
        let stride = self.walk.stride(written, axis);
        let mut place = Place::default();
        let [mut first, mut second] = [Vec::new(), Vec::new()];
        each_point(&vec![0; rank], &high, |point| {
            self.walk.go(point, &mut place);
            self.walk.pieces(&place, axis, line, |piece| {
                let a = self.operand(0, &place, axis, piece, &mut first);
                let b = match self.n_reads {
                    1 => Operand::One(T::ZERO),
                    _ => self.operand(1, &place, axis, piece, &mut second),
                };
                let at = |operand: &Operand<T>, n: usize| match operand {
                    Operand::One(element) => *element,
                    Operand::Slice(elements) => elements[n],
                };
                let first = place.offsets[written] + piece.start * stride;
                for n in 0..(piece.end - piece.start) as usize {
                    let target = &mut out[(first + n as i64 * stride) as usize];
                    *target = F::step(*target, at(&a, n), at(&b, n), 0);
                }
            });
            Ok(())
        })?;
        Ok(out)
    }
}

/// Before `freeze` any order may be taken; this one keeps long sums accurate.
const OPEN_ORDER: Order =
    Order { kind: OrderKind::Chain, shard_axis: None, run_cut: 256, runs_per_chunk: 1 };

/// Sums that meet in a left-complete binary tree, by a binary counter.
struct Tree<A> {
    stack: Vec<Vec<A>>,
    count: u64,
}

impl<A: Copy> Tree<A> {
    fn new() -> Self {
        Tree { stack: Vec::new(), count: 0 }
    }

    fn push(&mut self, mut newest: Vec<A>, merge: impl Fn(A, A) -> A + Copy) {
        for _ in 0..self.count.trailing_ones() {
            let older = self.stack.pop().expect("every one bit of the count has its sum");
            join(older, &mut newest, merge);
        }
        self.stack.push(newest);
        self.count += 1;
    }

    /// Folds what is left from the newest down.
    fn finish(mut self, merge: impl Fn(A, A) -> A + Copy) -> Option<Vec<A>> {
        let mut newest = self.stack.pop()?;
        while let Some(older) = self.stack.pop() {
            join(older, &mut newest, merge);
        }
        Some(newest)
    }
}

/// `newest = older + newest`, element by element.
fn join<A: Copy>(older: Vec<A>, newest: &mut [A], merge: impl Fn(A, A) -> A) {
    for (newer, older) in newest.iter_mut().zip(older) {
        *newer = merge(older, *newer);
    }
}

/// The reduction of one line of outputs after the other.
struct Reduction<'e, 'a, T, F: Fold<T>> {
    evaluation: &'e Evaluation<'a, T, F>,
    order: &'e Order,
    n_out: usize,
    axis: Option<usize>,
    /// Outputs of a line.
    line: usize,
    /// Chains of an output: 1 or 16.
    lanes: usize,
    place: Place,
    scratch: Scratch<T>,
}

impl<'e, 'a, T: Number, F: Fold<T>> Reduction<'e, 'a, T, F> {
    fn new(
        evaluation: &'e Evaluation<'a, T, F>,
        order: &'e Order,
        n_out: usize,
        axis: Option<usize>,
        line: i64,
    ) -> Self {
        let lanes = match order.kind {
            OrderKind::Chain => 1,
            OrderKind::Lanes => 16,
        };
        Reduction {
            evaluation,
            order,
            n_out,
            axis,
            line: line as usize,
            lanes,
            place: Place::default(),
            scratch: Scratch { operands: [Vec::new(), Vec::new()] },
        }
    }

    /// All shards of the line that begins at a point of the output axes.
    fn line(&mut self, outer: &[i64]) -> Result<Vec<F::Acc>, InterpretError> {
        let Some(axis) = self.order.shard_axis else {
            let extents = self.evaluation.extents[self.n_out..].to_vec();
            return self.shard(outer, &vec![0; extents.len()], &extents);
        };
        let setting = self.evaluation.setting;
        let mut tree = Tree::new();
        for shard in 0..setting.cuts.len() - 1 {
            let (from, to) = shard_range(self.evaluation.dims[axis], setting.cuts, shard);
            let mut low = vec![0; self.evaluation.extents.len() - self.n_out];
            let mut high = self.evaluation.extents[self.n_out..].to_vec();
            (low[axis - self.n_out], high[axis - self.n_out]) = (from, to);
            tree.push(self.shard(outer, &low, &high)?, F::merge);
        }
        Ok(tree.finish(F::merge).expect("there is at least one shard"))
    }

    /// One shard: the chunks of a box of the reduction space, then the fold of the lanes.
    fn shard(
        &mut self,
        outer: &[i64],
        low: &[i64],
        high: &[i64],
    ) -> Result<Vec<F::Acc>, InterpretError> {
        let fresh = vec![F::start(); self.lanes * self.line];
        let mut chunk = fresh.clone();
        let mut tree = Tree::new();
        let mut runs_in_chunk = 0;
        let n_runs_axes = low.len().saturating_sub(1);
        let n_terms = low.last().zip(high.last()).map_or(1, |(low, high)| high - low);
        let mut point = outer.to_vec();
        point.extend(low);
        each_point(&low[..n_runs_axes], &high[..n_runs_axes], |run| {
            if n_terms == 0 {
                // A shard without examples: no runs, and so no chunks.
                return Ok(());
            }
            point[self.n_out..self.n_out + n_runs_axes].copy_from_slice(run);
            self.evaluation.walk.go(&point, &mut self.place);
            let first_index = self.flat_index(&point);
            for at in 0..n_terms {
                let lane = at as usize % self.lanes;
                let in_lane = at / self.lanes as i64;
                if at > 0 && lane == 0 && in_lane % self.order.run_cut == 0 {
                    tree.push(std::mem::replace(&mut chunk, fresh.clone()), F::merge);
                    runs_in_chunk = 0;
                }
                let acc = &mut chunk[lane * self.line..(lane + 1) * self.line];
                let index = first_index + at;
                self.evaluation.take(&self.place, self.axis, index, acc, &mut self.scratch);
                if !low.is_empty() {
                    self.evaluation.walk.step(point.len() - 1, &mut self.place);
                }
            }
            runs_in_chunk += 1;
            if runs_in_chunk >= self.order.runs_per_chunk {
                tree.push(std::mem::replace(&mut chunk, fresh.clone()), F::merge);
                runs_in_chunk = 0;
            }
            Ok(())
        })?;
        if runs_in_chunk > 0 {
            tree.push(chunk, F::merge);
        }
        let mut sums = tree.finish(F::merge).unwrap_or(fresh);
        let mut lanes = self.lanes;
        while lanes > 1 {
            lanes /= 2;
            let (low, high) = sums.split_at_mut(lanes * self.line);
            for (lane, &other) in low.iter_mut().zip(high.iter()) {
                *lane = F::merge(*lane, other);
            }
            sums.truncate(lanes * self.line);
        }
        Ok(sums)
    }

    /// The place of a point in the whole reduction space, in row-major order.
    fn flat_index(&self, point: &[i64]) -> i64 {
        let extents = &self.evaluation.extents[self.n_out..];
        extents.iter().zip(&point[self.n_out..]).fold(0, |flat, (extent, at)| flat * extent + at)
    }
}

/// The part of an axis that belongs to a shard. An axis of `a*batch + b` is cut at `a` times the cut between examples; the last
/// shard also has the `b` elements at the end.
fn shard_range(axis: Dim, cuts: &[i64], shard: usize) -> (i64, i64) {
    let cut = |s: usize| axis.batch_factor * cuts[s];
    let rest = if shard + 2 == cuts.len() { axis.constant } else { 0 };
    (cut(shard), cut(shard + 1) + rest)
}
