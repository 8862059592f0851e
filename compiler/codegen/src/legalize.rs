//! Splits vectors that are wider than a register, so that back ends see native widths only.
//!
//! Input law:  any verified function.
//! Output law: every vector and every mask, counted in bytes of its elements, fits a register; meaning is unchanged.
//!
//! Values of one lane count form a family: operations connect only members of one family, except those that pick
//! lanes out or spread one lane. A family is split by its widest element, so that lane `i` of an `f64` vector and of the
//! `f32` vector converted from it lie in parts of the same number. Narrower elements then fill half a register.
//!
//! A value that is the same in every part (a constant, a broadcast, and what is computed from such values alone) is
//! kept once, which saves registers where they are short: a row of a 16-lane product needs one broadcast, not four.
//!
//! before (16-byte registers):  `v2 = add v0, v1` of `f32x16`     after: four times `add` of `f32x4`
//! Cost: O(operations in the result).

use std::borrow::Cow;

use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::vector::{
    Addr, Block, Compare, FoldOp, Function, FunctionBuilder, Inst, IntOp, Loop, MaskOp, Stmt,
    Storage, Type, Val, VecBinary,
};

/// Splits what does not fit registers of `register_bytes` (16, 32 or 64). A function that fits is returned as it is.
pub fn legalize(function: &Function, register_bytes: usize) -> Cow<'_, Function> {
    let limits = Limits::of(function, register_bytes);
    if function.types.values().all(|&ty| limits.n_parts(ty) == 1) {
        return Cow::Borrowed(function);
    }
    let mut builder =
        FunctionBuilder::new(function.name.clone(), function.kind, function.params.len());
    let mut splitter = Splitter {
        types: &function.types,
        limits,
        spans: vec![(0, 0); function.types.len()],
        parts: Vec::new(),
    };
    for (index, &param) in function.params.iter().enumerate() {
        splitter.define(param, &[builder.param(index)]);
    }
    splitter.block(&mut builder, &function.body);
    Cow::Owned(builder.finish())
}

/// The most lanes a part may have, for each family.
struct Limits {
    /// Indexed by the binary logarithm of the family's lanes.
    part_lanes: [u8; 5],
}

impl Limits {
    fn of(function: &Function, register_bytes: usize) -> Self {
        let mut widest = [4usize; 5];
        for &ty in function.types.values() {
            let (bytes, lanes) = match ty {
                Type::Int => continue,
                Type::Vec { elem, lanes } => (usize::from(elem.bits()) / 8, lanes),
                Type::Mask { bits, lanes } => (usize::from(bits) / 8, lanes),
            };
            let family = &mut widest[lanes.trailing_zeros() as usize];
            *family = bytes.max(*family);
        }
        let part_lanes =
            std::array::from_fn(|log| (register_bytes / widest[log]).min(1 << log) as u8);
        Limits { part_lanes }
    }

    fn part_lanes(&self, lanes: u8) -> u8 {
        self.part_lanes[lanes.trailing_zeros() as usize]
    }

    fn n_parts(&self, ty: Type) -> usize {
        match ty {
            Type::Int => 1,
            Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => {
                usize::from(lanes / self.part_lanes(lanes))
            }
        }
    }

    fn part_type(&self, ty: Type) -> Type {
        match ty {
            Type::Int => Type::Int,
            Type::Vec { elem, lanes } => Type::Vec { elem, lanes: self.part_lanes(lanes) },
            Type::Mask { bits, lanes } => Type::Mask { bits, lanes: self.part_lanes(lanes) },
        }
    }
}

/// State of the pass: which new values stand for an old one.
struct Splitter<'a> {
    types: &'a IndexVec<Val, Type>,
    limits: Limits,
    /// For each old value where its parts start in `parts` and how many there are: one for a value that is the same in
    /// every part.
    spans: Vec<(u32, u8)>,
    parts: Vec<Val>,
}

impl Splitter<'_> {
    fn define(&mut self, old: Val, parts: &[Val]) {
        let start = u32::try_from(self.parts.len()).expect("fewer than 2^32 parts");
        self.spans[old.index()] = (start, parts.len() as u8);
        self.parts.extend_from_slice(parts);
    }

    /// Part `part` of a value.
    fn part(&self, old: Val, part: usize) -> Val {
        let (start, len) = self.spans[old.index()];
        let offset = if len == 1 { 0 } else { part };
        self.parts[start as usize + offset]
    }

    /// The only part of a scalar or one-lane value.
    fn one(&self, old: Val) -> Val {
        self.part(old, 0)
    }

    fn lanes(&self, old: Val) -> u8 {
        match self.types[old] {
            Type::Int => 1,
            Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => lanes,
        }
    }

    fn block(&mut self, b: &mut FunctionBuilder, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(b, stmt);
        }
    }

    fn stmt(&mut self, b: &mut FunctionBuilder, stmt: &Stmt) {
        match stmt {
            Stmt::Let(val, inst) => self.inst(b, *val, inst),
            Stmt::Store { storage, addr, value, mask } => {
                let ty = self.types[*value];
                for part in 0..self.limits.n_parts(ty) {
                    let addr = self.part_addr(b, addr, *storage, ty, part);
                    let mask = mask.map(|mask| self.part(mask, part));
                    b.store(*storage, addr, self.part(*value, part), mask);
                }
            }
            Stmt::IntStore { width, addr, value } => {
                let (addr, value) = (self.addr(addr), self.one(*value));
                b.push(Stmt::IntStore { width: *width, addr, value });
            }
            Stmt::Transpose { inputs, results } => self.transpose(b, inputs, results),
            Stmt::Loop(old) => self.for_loop(b, old),
            Stmt::If { cond, then } => {
                let cond = self.one(*cond);
                b.if_nonzero(cond, |b| self.block(b, then));
            }
            Stmt::Call { func, args } => {
                let args = args.iter().map(|&arg| self.one(arg)).collect();
                b.push(Stmt::Call { func: *func, args });
            }
            Stmt::Barrier => b.push(Stmt::Barrier),
        }
    }

    /// Carries every part separately: what is uniform before the loop need not stay so.
    fn for_loop(&mut self, b: &mut FunctionBuilder, old: &Loop) {
        let mut init = Vec::new();
        for carried in &old.carried {
            for part in 0..self.limits.n_parts(self.types[carried.init]) {
                init.push(self.part(carried.init, part));
            }
        }
        let trip = self.one(old.trip);
        let results = b.for_loop(trip, &init, |b, iv, params| {
            self.define(old.iv, &[iv]);
            let mut at = 0;
            for carried in &old.carried {
                let n = self.limits.n_parts(self.types[carried.param]);
                self.define(carried.param, &params[at..at + n]);
                at += n;
            }
            self.block(b, &old.body);
            let mut next = Vec::with_capacity(params.len());
            for carried in &old.carried {
                for part in 0..self.limits.n_parts(self.types[carried.param]) {
                    next.push(self.part(carried.next, part));
                }
            }
            next
        });
        let mut at = 0;
        for carried in &old.carried {
            let n = self.limits.n_parts(self.types[carried.result]);
            self.define(carried.result, &results[at..at + n]);
            at += n;
        }
    }

    /// Transposes block by block: the block of rows `q` and columns `p` lands in rows `p` and columns `q`.
    fn transpose(&mut self, b: &mut FunctionBuilder, inputs: &[Val], results: &[Val]) {
        let lanes = usize::from(self.limits.part_lanes(self.lanes(inputs[0])));
        let n_parts = inputs.len() / lanes;
        let mut columns = vec![Vec::with_capacity(n_parts); inputs.len()];
        for p in 0..n_parts {
            for q in 0..n_parts {
                let rows = &inputs[q * lanes..(q + 1) * lanes];
                let rows: Vec<Val> = rows.iter().map(|&row| self.part(row, p)).collect();
                // A block of one lane is its own transpose.
                let block = if lanes == 1 { rows } else { b.transpose(rows) };
                for (r, column) in block.into_iter().enumerate() {
                    columns[p * lanes + r].push(column);
                }
            }
        }
        for (&result, parts) in results.iter().zip(&columns) {
            self.define(result, parts);
        }
    }

    fn addr(&self, addr: &Addr) -> Addr {
        Addr {
            base: self.one(addr.base),
            index: addr.index.map(|(index, scale)| (self.one(index), scale)),
            disp: addr.disp,
        }
    }

    /// Where part `part` of a vector of type `ty` lies.
    fn part_addr(
        &self,
        b: &mut FunctionBuilder,
        addr: &Addr,
        storage: Storage,
        ty: Type,
        part: usize,
    ) -> Addr {
        let mut addr = self.addr(addr);
        let lanes = match self.limits.part_type(ty) {
            Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => i32::from(lanes),
            Type::Int => 1,
        };
        let step = part as i32 * lanes * storage.bytes() as i32;
        match addr.disp.checked_add(step) {
            Some(disp) => addr.disp = disp,
            None => addr.base = b.iadd_const(addr.base, i64::from(step)),
        }
        addr
    }

    fn inst(&mut self, b: &mut FunctionBuilder, result: Val, inst: &Inst) {
        let ty = self.types[result];
        let n_parts = self.limits.n_parts(ty);
        match inst {
            Inst::MaskBits(mask) => {
                let bits = self.mask_bits(b, *mask);
                self.define(result, &[bits]);
            }
            Inst::Fold(op, value) => {
                let folded = self.fold(b, *op, *value);
                self.define(result, &[folded]);
            }
            Inst::Lane(value, lane) => {
                let lanes = self.limits.part_lanes(self.lanes(*value));
                let part = self.part(*value, usize::from(lane / lanes));
                let lane = b.inst(Inst::Lane(part, lane % lanes));
                self.define(result, &[lane]);
            }
            Inst::Iota { .. } if n_parts > 1 => {
                let ty = self.limits.part_type(ty);
                let Type::Vec { lanes, .. } = ty else { unreachable!("an iota is a vector") };
                let first = b.inst(Inst::Iota { ty });
                let mut parts = vec![first];
                for part in 1..n_parts {
                    let step = b.int_lanes(ty, part as i64 * i64::from(lanes));
                    parts.push(b.binary(VecBinary::Add, first, step));
                }
                self.define(result, &parts);
            }
            Inst::MaskFirst { count, .. } if n_parts > 1 => {
                let ty = self.limits.part_type(ty);
                let Type::Mask { lanes, .. } = ty else { unreachable!("mask.first is a mask") };
                // Clamped first, so that the subtraction below cannot wrap.
                let zero = b.int(0);
                let count = b.int_op(IntOp::Max, self.one(*count), zero);
                let parts: Vec<Val> = (0..n_parts)
                    .map(|part| {
                        let count = b.iadd_const(count, -(part as i64 * i64::from(lanes)));
                        b.inst(Inst::MaskFirst { ty, count })
                    })
                    .collect();
                self.define(result, &parts);
            }
            _ => {
                let mut insts: Vec<Inst> =
                    (0..n_parts).map(|part| self.part_of_inst(b, inst, part)).collect();
                if insts.iter().all(|inst| *inst == insts[0]) {
                    insts.truncate(1);
                }
                let parts: Vec<Val> = insts.into_iter().map(|inst| b.inst(inst)).collect();
                self.define(result, &parts);
            }
        }
    }

    /// The operation on part `part` of its operands.
    fn part_of_inst(&self, b: &mut FunctionBuilder, inst: &Inst, part: usize) -> Inst {
        let v = |val: &Val| self.part(*val, part);
        let t = |ty: &Type| self.limits.part_type(*ty);
        match inst {
            Inst::IntConst(value) => Inst::IntConst(*value),
            Inst::Int(op, x, y) => Inst::Int(*op, v(x), v(y)),
            Inst::IntTrailingZeros(x) => Inst::IntTrailingZeros(v(x)),
            Inst::IntLoad(width, addr) => Inst::IntLoad(*width, self.addr(addr)),
            Inst::IntFromLane(x) => Inst::IntFromLane(v(x)),
            Inst::Const { ty, bits } => Inst::Const { ty: t(ty), bits: *bits },
            Inst::Iota { ty } => Inst::Iota { ty: t(ty) },
            Inst::Splat { ty, value } => Inst::Splat { ty: t(ty), value: v(value) },
            Inst::SplatLane { ty, value } => Inst::SplatLane { ty: t(ty), value: v(value) },
            Inst::Load { ty, storage, addr, mask } => Inst::Load {
                ty: t(ty),
                storage: *storage,
                addr: self.part_addr(b, addr, *storage, *ty, part),
                mask: mask.as_ref().map(v),
            },
            Inst::Broadcast { ty, storage, addr } => {
                Inst::Broadcast { ty: t(ty), storage: *storage, addr: self.addr(addr) }
            }
            Inst::Gather { ty, storage, addr, index, mask } => Inst::Gather {
                ty: t(ty),
                storage: *storage,
                addr: self.addr(addr),
                index: v(index),
                mask: mask.as_ref().map(v),
            },
            Inst::Unary(op, x) => Inst::Unary(*op, v(x)),
            Inst::Binary(op, x, y) => Inst::Binary(*op, v(x), v(y)),
            Inst::Shift(op, x, by) => Inst::Shift(*op, v(x), *by),
            Inst::Fma { a, b, c, negate } => {
                Inst::Fma { a: v(a), b: v(b), c: v(c), negate: *negate }
            }
            Inst::Compare(op, x, y) => Inst::Compare(*op, v(x), v(y)),
            Inst::Mask(op, x, y) => Inst::Mask(*op, v(x), v(y)),
            Inst::MaskNot(x) => Inst::MaskNot(v(x)),
            Inst::MaskFirst { ty, count } => Inst::MaskFirst { ty: t(ty), count: v(count) },
            Inst::MaskBits(x) => Inst::MaskBits(v(x)),
            Inst::MaskResize { ty, mask } => Inst::MaskResize { ty: t(ty), mask: v(mask) },
            Inst::Select { mask, a, b } => Inst::Select { mask: v(mask), a: v(a), b: v(b) },
            Inst::Convert(elem, x) => Inst::Convert(*elem, v(x)),
            Inst::Bitcast(elem, x) => Inst::Bitcast(*elem, v(x)),
            Inst::ScalePow2 { p, n } => Inst::ScalePow2 { p: v(p), n: v(n) },
            Inst::Fold(op, x) => Inst::Fold(*op, v(x)),
            Inst::Lane(x, lane) => Inst::Lane(v(x), *lane),
        }
    }

    fn mask_bits(&self, b: &mut FunctionBuilder, mask: Val) -> Val {
        let lanes = i64::from(self.limits.part_lanes(self.lanes(mask)));
        let mut all = None;
        for part in 0..self.limits.n_parts(self.types[mask]) {
            let mut bits = b.inst(Inst::MaskBits(self.part(mask, part)));
            if part > 0 {
                let shift = b.int(part as i64 * lanes);
                bits = b.int_op(IntOp::Shl, bits, shift);
            }
            // The bits are disjoint, so a sum is their union.
            all = Some(match all {
                None => bits,
                Some(all) => b.iadd(all, bits),
            });
        }
        all.expect("a mask has at least one part")
    }

    /// Folds part `i` with part `i + n/2` until one is left: exactly lane `i` with lane `i + 8`, and so on.
    fn fold(&self, b: &mut FunctionBuilder, op: FoldOp, value: Val) -> Val {
        let n_parts = self.limits.n_parts(self.types[value]);
        let mut parts: Vec<Val> = (0..n_parts).map(|part| self.part(value, part)).collect();
        while parts.len() > 1 {
            let half = parts.len() / 2;
            let upper = parts.split_off(half);
            for (low, high) in parts.iter_mut().zip(upper) {
                *low = fold_pair(b, op, *low, high);
            }
        }
        match b.ty(parts[0]) {
            Type::Vec { lanes: 1, .. } => parts[0],
            _ => b.inst(Inst::Fold(op, parts[0])),
        }
    }
}

/// One step of a fold, lane by lane: the words of [`FoldOp`] as operations.
fn fold_pair(b: &mut FunctionBuilder, op: FoldOp, low: Val, high: Val) -> Val {
    let wins = match op {
        FoldOp::Add => return b.binary(VecBinary::Add, low, high),
        FoldOp::Max => b.inst(Inst::Compare(Compare::Lt, low, high)),
        FoldOp::Min => b.inst(Inst::Compare(Compare::Lt, high, low)),
    };
    let wins = match b.ty(high) {
        Type::Vec { elem, .. } if elem.is_float() => {
            let is_nan = b.inst(Inst::Compare(Compare::Ne, high, high));
            b.inst(Inst::Mask(MaskOp::Or, wins, is_nan))
        }
        _ => wins,
    };
    b.inst(Inst::Select { mask: wins, a: high, b: low })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_ir::vector::{Elem, FunctionKind};

    const F32X16: Type = Type::Vec { elem: Elem::F32, lanes: 16 };

    fn builder(n_params: usize) -> FunctionBuilder {
        FunctionBuilder::new("k", FunctionKind::Kernel, n_params)
    }

    /// A load from the first parameter plus `disp`.
    fn load(b: &mut FunctionBuilder, disp: i32) -> Val {
        let addr = Addr::offset(b.param(0), disp);
        b.inst(Inst::Load { ty: F32X16, storage: Storage::F32, addr, mask: None })
    }

    /// The operations of a function without loops.
    fn insts(function: &Function) -> Vec<&Inst> {
        let stmts = function.body.stmts.iter();
        stmts
            .filter_map(|stmt| if let Stmt::Let(_, inst) = stmt { Some(inst) } else { None })
            .collect()
    }

    fn stores(function: &Function) -> Vec<Addr> {
        let stmts = function.body.stmts.iter();
        stmts
            .filter_map(|stmt| if let Stmt::Store { addr, .. } = stmt { Some(*addr) } else { None })
            .collect()
    }

    /// 16 lanes of `f64` widened from `f32` and back.
    fn mixed() -> Function {
        let mut b = builder(2);
        let x = load(&mut b, 0);
        let wide = b.inst(Inst::Convert(Elem::F64, x));
        let wide = b.binary(VecBinary::Mul, wide, wide);
        let narrow = b.inst(Inst::Convert(Elem::F32, wide));
        let sum = b.inst(Inst::Fold(FoldOp::Add, narrow));
        b.store(Storage::F32, Addr::at(b.param(1)), narrow, None);
        b.store(Storage::F32, Addr::offset(b.param(1), 64), sum, None);
        b.finish()
    }

    #[test]
    fn every_part_fits_a_register_and_lanes_keep_their_part() {
        let function = mixed();
        for (register_bytes, part_lanes) in [(16, 2), (32, 4), (64, 8)] {
            let legal = legalize(&function, register_bytes);
            for &ty in legal.types.values() {
                if let Type::Vec { elem, lanes } = ty {
                    assert!(lanes == part_lanes || lanes == 1, "{lanes} lanes of {register_bytes}");
                    assert!(usize::from(lanes) * elem.bytes() as usize <= register_bytes);
                }
            }
            // The parts of the vector, and the folded lane.
            assert_eq!(stores(&legal).len(), 16 / usize::from(part_lanes) + 1);
        }
    }

    #[test]
    fn a_function_that_fits_is_returned_as_it_is() {
        let mut b = builder(1);
        let x = load(&mut b, 0);
        b.store(Storage::F32, Addr::at(b.param(0)), x, None);
        let function = b.finish();
        assert!(matches!(legalize(&function, 64), Cow::Borrowed(_)));
        assert!(matches!(legalize(&function, 32), Cow::Owned(_)));
    }

    #[test]
    fn what_is_the_same_in_every_part_is_computed_once() {
        let mut b = builder(2);
        let x = load(&mut b, 0);
        let addr = Addr::at(b.param(1));
        let weight = b.inst(Inst::Broadcast { ty: F32X16, storage: Storage::F32, addr });
        let two = b.float(F32X16, 2.0);
        let twice = b.binary(VecBinary::Mul, weight, two);
        let product = b.binary(VecBinary::Mul, x, twice);
        b.store(Storage::F32, Addr::at(b.param(0)), product, None);
        let function = b.finish();
        let legal = legalize(&function, 16);
        let count = |want: fn(&Inst) -> bool| insts(&legal).into_iter().filter(|i| want(i)).count();
        assert_eq!(count(|inst| matches!(inst, Inst::Broadcast { .. })), 1);
        assert_eq!(count(|inst| matches!(inst, Inst::Const { .. })), 1);
        // One product of uniform values, and one for each part of x.
        assert_eq!(count(|inst| matches!(inst, Inst::Binary(VecBinary::Mul, ..))), 1 + 4);
    }

    #[test]
    fn displacements_that_do_not_fit_move_into_the_base() {
        let mut b = builder(1);
        let x = load(&mut b, i32::MAX - 20);
        b.store(Storage::F32, Addr::at(b.param(0)), x, None);
        let function = b.finish();
        let legal = legalize(&function, 16);
        let displacements: Vec<i32> = insts(&legal)
            .into_iter()
            .filter_map(
                |inst| if let Inst::Load { addr, .. } = inst { Some(addr.disp) } else { None },
            )
            .collect();
        // Relative to the base plus 0, 0, 32 and 48.
        assert_eq!(displacements, [i32::MAX - 20, i32::MAX - 4, i32::MAX - 20, i32::MAX - 20]);
        let sums: Vec<&Inst> = insts(&legal)
            .into_iter()
            .filter(|inst| matches!(inst, Inst::IntConst(32 | 48) | Inst::Int(IntOp::Add, ..)))
            .collect();
        assert_eq!(sums.len(), 4);
        assert_eq!(
            stores(&legal).iter().map(|addr| addr.disp).collect::<Vec<_>>(),
            [0, 16, 32, 48]
        );
    }
}
