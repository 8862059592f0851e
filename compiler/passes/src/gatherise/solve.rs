//! The change of variables: from `out[W i]` over axes `i` to `out[h]` over `h` and what is left of `i`.
//!
//! For one axis of the result, `h = s*i + d*u + .. + c` is solved by the cheapest of these steps, repeated until `h` is an axis:
//!
//! * **direct**: `h = i`;
//! * **eliminate** an axis with coefficient 1 or -1: `i = h - d*u - c`, with the guard that `i` is in its range;
//! * **peel** a residue: where all coefficients but that of `u` are multiples of `s`, and `d = 1 mod s` (or -1, after walking `u` backwards),
//!   `h - c = s*q + r` and `u = s*v + r` have the same residue `r`; what is left is `q = i + d*v + (d - 1)/s * r`. The result is
//!   computed as `[.., q, r, ..]`, and reshaped and cut afterwards. Without a `u`, only `r = 0` has terms: padding fills the rest;
//! * **spread**: as peel, but for any other `u`: a new axis `w` is to be `(d*u - r) / s`, by a guard `d*u - r - s*w = 0`;
//! * **equate**: `h` is a new axis and the guard says `h = W i`. Always right; every `h` looks at every `i`.

use crate::pass::PassError;
use dlc_abi::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::entity::IndexVec;
use dlc_ir::graph::{Combine, Congruence, Contract, Guard, Node, NodeId, Read, range};

/// What has become of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Still to be summed over, or solved for.
    Open,
    /// An axis of the result.
    Out,
    /// Expressed by others; occurs nowhere.
    Gone,
}

/// A residue split off an axis of the result: index `h` is `modulus * q + residue - start`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peel {
    pub modulus: i64,
    /// Residues from this on have no terms.
    pub with_terms: i64,
    pub start: i64,
    /// Extent of `q`.
    pub count: Dim,
    /// Extent of `h`.
    pub extent: Dim,
    /// Axis of the residue.
    residue: usize,
}

/// One axis of the result on its way to an axis of the space.
#[derive(Debug, Clone)]
pub(super) struct ResultAxis {
    /// What it still has to equal.
    sub: Affine,
    /// Its extent, after the peels.
    pub extent: Dim,
    /// The axis it has become.
    axis: usize,
    /// Residues split off, first one first.
    pub peels: Vec<Peel>,
    /// The only index with terms, if there is only one; the axis then has extent 1 before it is padded.
    pub place: Option<i64>,
}

/// A contraction during the change of variables. Axes are never renumbered before [`Form::renumbered`].
#[derive(Debug)]
pub(super) struct Form {
    space: Vec<Dim>,
    state: Vec<State>,
    pub result: Vec<ResultAxis>,
    contract: Contract,
}

enum Step {
    Eliminate(usize),
    Peel { along: Option<usize>, modulus: i64 },
    Spread(usize),
    Equate,
}

impl Form {
    pub fn new(mut contract: Contract, shape: &[Dim]) -> Self {
        // Only indices of the result are solved for, so that a write stays within the result need not be said.
        let within = |guard: &Guard| {
            let mut targets = contract.out.iter().zip(shape);
            targets.any(|(sub, extent)| *sub == guard.expr && *extent == guard.extent)
        };
        let kept = contract.guards.iter().filter(|guard| !within(guard)).cloned().collect();
        contract.guards = kept;
        let result = contract
            .out
            .iter()
            .zip(shape)
            .map(|(sub, &extent)| ResultAxis {
                sub: sub.clone(),
                extent,
                axis: usize::MAX,
                peels: Vec::new(),
                place: None,
            })
            .collect();
        Form {
            space: contract.space.clone(),
            state: vec![State::Open; contract.space.len()],
            result,
            contract,
        }
    }

    /// Makes every axis of the result an axis of the space. Axes that already are one go first, so that no other axis takes them.
    pub fn solve_left_side(&mut self) {
        for at in 0..self.result.len() {
            if let Some(axis) = self.direct(at) {
                self.finish(at, axis);
            }
        }
        for at in 0..self.result.len() {
            while self.result[at].axis == usize::MAX {
                self.step(at);
            }
        }
    }

    fn direct(&self, at: usize) -> Option<usize> {
        let result = &self.result[at];
        let axis = result.sub.as_axis()?;
        (self.state[axis] == State::Open && self.space[axis] == result.extent).then_some(axis)
    }

    fn finish(&mut self, at: usize, axis: usize) {
        self.state[axis] = State::Out;
        self.result[at].axis = axis;
    }

    fn new_axis(&mut self, extent: Dim, state: State) -> usize {
        self.space.push(extent);
        self.state.push(state);
        self.space.len() - 1
    }

    /// A term exists only where `0 <= expr < extent`.
    fn guard(&mut self, expr: Affine, extent: Dim) {
        if !range::in_range(&self.space, &[], &expr, extent) {
            self.contract.guards.push(Guard { expr, extent });
        }
    }

    /// Replaces an axis everywhere. `by` may contain the axis itself.
    fn substitute(&mut self, axis: usize, by: Affine) {
        let mut map = Affine::identity(self.space.len());
        map[axis] = by;
        let apply = |expr: &mut Affine| *expr = expr.substitute(&map);
        let contract = &mut self.contract;
        contract.reads.iter_mut().flat_map(|read: &mut Read| &mut read.subs).for_each(apply);
        contract.guards.iter_mut().for_each(|guard| apply(&mut guard.expr));
        contract.congruences.iter_mut().for_each(|congruence| apply(&mut congruence.expr));
        self.result.iter_mut().for_each(|result| apply(&mut result.sub));
    }

    fn open_terms(&self, sub: &Affine) -> Vec<(usize, i64)> {
        let is_open = |term: &&(usize, i64)| self.state[term.0] == State::Open;
        sub.terms().iter().filter(is_open).copied().collect()
    }

    fn step(&mut self, at: usize) {
        if let Some(axis) = self.direct(at) {
            return self.finish(at, axis);
        }
        let (sub, extent) = (self.result[at].sub.clone(), self.result[at].extent);
        let place = sub.as_constant().filter(|_| self.result[at].peels.is_empty());
        if let Some(index) = place {
            let axis = self.new_axis(Dim::fixed(1), State::Out);
            self.result[at].place = Some(index);
            return self.finish(at, axis);
        }
        match self.plan(at) {
            Step::Eliminate(axis) => {
                let sign = sub.coefficient(axis);
                let out = self.new_axis(extent, State::Out);
                let rest = sub.minus(&Affine::new([(axis, sign)], 0));
                let value = Affine::axis(out).minus(&rest).times(sign);
                self.substitute(axis, value.clone());
                self.state[axis] = State::Gone;
                self.guard(value, self.space[axis]);
                self.finish(at, out);
            }
            Step::Peel { along, modulus } => self.peel(at, along, modulus),
            Step::Spread(axis) => self.spread(at, axis),
            Step::Equate => {
                let out = self.new_axis(extent, State::Out);
                self.guard(Affine::axis(out).minus(&sub), Dim::fixed(1));
                self.finish(at, out);
            }
        }
    }

    /// Splits `h - c` into `modulus * q + residue`; `u` has the same residue.
    fn peel(&mut self, at: usize, along: Option<usize>, modulus: i64) {
        let mut taps = 1;
        if let Some(u) = along {
            taps = self.fixed_extent(u);
            if self.result[at].sub.coefficient(u).rem_euclid(modulus) != 1 {
                self.substitute(u, Affine::new([(u, -1)], taps - 1));
            }
        }
        let with_terms = taps.min(modulus);
        let offset = self.result[at].sub.offset();
        let residue = self.split_residue(at, modulus, with_terms, offset);
        let mut left = self.result[at].sub.clone();
        left = left.minus(&Affine::constant(offset));
        if let Some(u) = along {
            let runs = taps.div_euclid(modulus) + i64::from(taps % modulus != 0);
            let value = if runs == 1 {
                Affine::axis(residue)
            } else {
                let v = self.new_axis(Dim::fixed(runs), State::Open);
                Affine::new([(v, modulus), (residue, 1)], 0)
            };
            self.substitute(u, value.clone());
            self.state[u] = State::Gone;
            self.guard(value, Dim::fixed(taps));
            left = self.result[at].sub.minus(&Affine::new([(residue, 1)], offset));
        }
        self.set_quotient(at, &left, modulus, offset);
    }

    /// As `peel`, with a new axis for the quotient of all terms that are not multiples of the modulus.
    fn spread(&mut self, at: usize, axis: usize) {
        let sub = self.result[at].sub.clone();
        let modulus = sub.coefficient(axis).abs();
        let offset = sub.offset();
        let residue = self.split_residue(at, modulus, modulus, offset);
        let (multiples, others) = split_multiples(&sub, modulus);
        let (low, high) = self.fixed_range(&others);
        let (first, last) = (low.div_euclid(modulus), high.div_euclid(modulus));
        let w = self.new_axis(Dim::fixed(last - first + 1), State::Open);
        let quotient = Affine::new([(w, 1)], first);
        let same = others.minus(&Affine::axis(residue)).minus(&quotient.times(modulus));
        self.guard(same, Dim::fixed(1));
        self.set_quotient(at, &multiples.plus(&quotient.times(modulus)), modulus, offset);
    }

    /// Notes that index `h` of the result is `modulus * q + residue - start` and makes the residue's axis.
    fn split_residue(&mut self, at: usize, modulus: i64, with_terms: i64, offset: i64) -> usize {
        let residue = self.new_axis(Dim::fixed(with_terms), State::Out);
        let extent = self.result[at].extent;
        let first = (-offset).div_euclid(modulus);
        let last = Dim {
            batch_factor: extent.batch_factor / modulus,
            constant: (extent.constant - 1 - offset).div_euclid(modulus),
        };
        let count = Dim { constant: last.constant - first + 1, ..last };
        let start = -(offset + modulus * first);
        self.result[at].peels.push(Peel { modulus, with_terms, start, count, extent, residue });
        residue
    }

    /// What is left to solve: `q = left / modulus`, counted from the first `q` that the result needs.
    fn set_quotient(&mut self, at: usize, left: &Affine, modulus: i64, offset: i64) {
        let first = (-offset).div_euclid(modulus);
        let result = &mut self.result[at];
        result.sub = exact_quotient(left, modulus).minus(&Affine::constant(first));
        result.extent = result.peels.last().expect("the residue was split before").count;
    }

    fn fixed_extent(&self, axis: usize) -> i64 {
        self.space[axis].as_fixed().expect("the plan peels fixed axes only")
    }

    fn fixed_range(&self, expr: &Affine) -> (i64, i64) {
        let extents: Vec<i64> = self.space.iter().map(|dim| dim.as_fixed().unwrap_or(1)).collect();
        expr.range(&extents)
    }

    /// The cheapest step, by the number of terms that each element of the result will look at.
    fn plan(&self, at: usize) -> Step {
        let result = &self.result[at];
        let open = self.open_terms(&result.sub);
        let terms: Vec<Term> = open.iter().map(|&(axis, by)| self.term(axis, by)).collect();
        let all: u128 = terms.iter().map(|term| term.extent).product();
        let splits = |modulus: i64| {
            let solved = result.sub.terms().iter().filter(|term| self.state[term.0] != State::Open);
            result.extent.batch_factor % modulus == 0
                && solved.into_iter().all(|term| term.1 % modulus == 0)
        };
        let mut best = (all, Step::Equate);
        let mut offer = |cost: u128, step: Step| {
            // An equation costs a comparison for each term, so it loses a tie; otherwise the earlier, simpler step wins.
            let tie = cost == best.0 && matches!(best.1, Step::Equate);
            if cost < best.0 || tie {
                best = (cost, step);
            }
        };
        for (term, &(axis, by)) in terms.iter().zip(&open) {
            if by.abs() == 1 {
                offer(all / term.extent, Step::Eliminate(axis));
            }
        }
        let common = gcd(&terms);
        if common > 1 && splits(common) {
            offer(
                terms_left(&divided(&terms, common)),
                Step::Peel { along: None, modulus: common },
            );
        }
        for (index, &(axis, _)) in open.iter().enumerate() {
            if let Some((modulus, left)) = peeled(&terms, index)
                && splits(modulus)
                && self.space[axis].as_fixed().is_some()
            {
                offer(terms_left(&left), Step::Peel { along: Some(axis), modulus });
            }
        }
        for (term, &(axis, by)) in terms.iter().zip(&open) {
            let modulus = by.abs();
            let (_, others) = split_multiples(&result.sub, modulus.max(2));
            let fixed = others.terms().iter().all(|other| self.space[other.0].as_fixed().is_some());
            if modulus > 1 && splits(modulus) && fixed && !others.terms().is_empty() {
                let (low, high) = self.fixed_range(&others);
                let width = high.div_euclid(modulus) - low.div_euclid(modulus) + 1;
                offer(all / term.extent * width as u128, Step::Spread(axis));
            }
        }
        best.1
    }

    fn term(&self, axis: usize, coefficient: i64) -> Term {
        // Any batch will do to compare costs: an axis that grows with it is long.
        Term { coefficient, extent: self.space[axis].at(64).max(1) as u128 }
    }

    /// Replaces congruences by an axis for the quotient.
    pub fn drop_congruences(&mut self, name: &str) -> Result<(), PassError> {
        for Congruence { expr, modulus } in std::mem::take(&mut self.contract.congruences) {
            if expr.offset() % modulus == 0 && expr.terms().iter().all(|term| term.1 % modulus == 0)
            {
                continue;
            }
            if self.contract.combine.is_arg() {
                return Err(unsupported(name, "an argmax under a congruence"));
            }
            let (first, extent) = quotient_range(&expr, &self.space, modulus)
                .ok_or_else(|| unsupported(name, "a congruence that goes down with the batch"))?;
            let w = self.new_axis(extent, State::Open);
            let multiple = Affine::new([(w, modulus)], modulus * first);
            self.guard(expr.minus(&multiple), Dim::fixed(1));
        }
        Ok(())
    }

    /// The contraction in normal form, axes of the result first.
    pub fn renumbered(&self) -> Contract {
        let mut order: Vec<usize> = self.out_axes();
        let n_out = order.len();
        order.extend(self.reduction_order());
        let mut place = vec![usize::MAX; self.space.len()];
        for (at, &axis) in order.iter().enumerate() {
            place[axis] = at;
        }
        let to = |expr: &Affine| expr.renumber(|axis| place[axis]);
        let mut contract = self.contract.clone();
        contract.reads.iter_mut().flat_map(|read| &mut read.subs).for_each(|sub| *sub = to(sub));
        contract.guards.iter_mut().for_each(|guard| guard.expr = to(&guard.expr));
        contract.space = order.iter().map(|&axis| self.space[axis]).collect();
        contract.out = Affine::identity(n_out);
        contract
    }

    pub fn combine(&self) -> Combine {
        self.contract.combine
    }

    /// For each axis of the result its quotient and then its residues, the last one split off first.
    fn out_axes(&self) -> Vec<usize> {
        let mut axes = Vec::new();
        for result in &self.result {
            axes.push(result.axis);
            axes.extend(result.peels.iter().rev().map(|peel| peel.residue));
        }
        axes
    }

    /// Axes that are left to sum over, in canonical order.
    fn reduction_order(&self) -> Vec<usize> {
        let open = (0..self.space.len()).filter(|&axis| self.state[axis] == State::Open);
        let mut axes: Vec<usize> = open.collect();
        if self.contract.combine.is_arg() {
            // The result numbers the terms, so their order is part of its meaning.
            return axes;
        }
        let distance = |axis: usize| {
            let reads = self.contract.reads.iter();
            reads
                .filter_map(|read| {
                    let last = read.subs.iter().rposition(|sub| sub.coefficient(axis) != 0)?;
                    Some(read.subs.len() - 1 - last)
                })
                .min()
                .unwrap_or(usize::MAX)
        };
        axes.sort_by_key(|&axis| (self.space[axis].batch_factor == 0, usize::MAX - distance(axis)));
        axes
    }

    /// Simplifies guards and axes: what is proven goes, a guard that is the range of a read becomes that read's own, and
    /// axes of one element disappear.
    pub fn tidy(&mut self, nodes: &IndexVec<NodeId, Node>) {
        for axis in 0..self.space.len() {
            let one = self.space[axis] == Dim::fixed(1);
            if one && self.state[axis] == State::Open {
                self.substitute(axis, Affine::constant(0));
                self.state[axis] = State::Gone;
            }
        }
        crate::simplify::guards::tidy(nodes, &self.space, &mut self.contract);
    }
}

fn unsupported(name: &str, message: &str) -> PassError {
    PassError::Unsupported { name: name.to_string(), message: message.to_string() }
}

/// First value and number of values of `expr / modulus` over a box; more is harmless.
fn quotient_range(expr: &Affine, space: &[Dim], modulus: i64) -> Option<(i64, Dim)> {
    let mut low = expr.offset();
    let mut high = Dim::fixed(expr.offset());
    for &(axis, by) in expr.terms() {
        let extent = space[axis];
        if by > 0 {
            high.batch_factor += by * extent.batch_factor;
            high.constant += by * (extent.constant - 1);
        } else if extent.batch_factor == 0 {
            low += by * (extent.constant - 1);
        } else {
            return None;
        }
    }
    let up = |value: i64| value.div_euclid(modulus) + i64::from(value.rem_euclid(modulus) != 0);
    let first = low.div_euclid(modulus);
    let extent =
        Dim { batch_factor: up(high.batch_factor), constant: up(high.constant) - first + 1 };
    Some((first, extent))
}

/// The terms whose coefficients are multiples of the modulus, and the others; without the constant.
fn split_multiples(sub: &Affine, modulus: i64) -> (Affine, Affine) {
    let (multiples, others): (Vec<_>, Vec<_>) =
        sub.terms().iter().copied().partition(|term| term.1 % modulus == 0);
    (Affine::new(multiples, 0), Affine::new(others, 0))
}

fn exact_quotient(expr: &Affine, by: i64) -> Affine {
    debug_assert!(expr.offset() % by == 0 && expr.terms().iter().all(|term| term.1 % by == 0));
    Affine::new(expr.terms().iter().map(|&(axis, factor)| (axis, factor / by)), expr.offset() / by)
}

/// A term of a subscript as the plan sees it.
#[derive(Debug, Clone, Copy)]
struct Term {
    coefficient: i64,
    extent: u128,
}

fn gcd(terms: &[Term]) -> i64 {
    terms.iter().fold(0, |a, term| {
        let (mut a, mut b) = (a, term.coefficient.abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

fn divided(terms: &[Term], by: i64) -> Vec<Term> {
    terms.iter().map(|term| Term { coefficient: term.coefficient / by, ..*term }).collect()
}

/// The modulus by which a residue can be split off along one term, and the terms of the quotient.
fn peeled(terms: &[Term], along: usize) -> Option<(i64, Vec<Term>)> {
    let mut others = terms.to_vec();
    let Term { coefficient, extent } = others.remove(along);
    let modulus = gcd(&others);
    if modulus < 2 {
        return None;
    }
    let same = coefficient.rem_euclid(modulus);
    if same != 1 && same != modulus - 1 {
        return None;
    }
    let mut left = divided(&others, modulus);
    let runs = extent.div_ceil(modulus as u128);
    if runs > 1 {
        left.push(Term { coefficient, extent: runs });
    }
    Some((modulus, left))
}

/// How many terms an element of the result looks at when a subscript of these terms is solved by elimination and peeling.
fn terms_left(terms: &[Term]) -> u128 {
    let all: u128 = terms.iter().map(|term| term.extent).product();
    let mut best = all;
    for term in terms {
        if term.coefficient.abs() == 1 {
            best = best.min(all / term.extent);
        }
    }
    let common = gcd(terms);
    if common > 1 {
        best = best.min(terms_left(&divided(terms, common)));
    }
    for along in 0..terms.len() {
        if let Some((_, left)) = peeled(terms, along) {
            best = best.min(terms_left(&left));
        }
    }
    best
}
