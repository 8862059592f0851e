//! Emits scalar expressions as vector code for the rows and vectors of a tile.

use super::bounds::Bound;
use super::kernel::{Emitter, Env, Param, Tile};
use crate::pass::PassError;
use dlc_abi::{ElemType, STATUS_BAD_INDEX, STATUS_OK};
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{BinaryOp, Compare as GraphCompare, Fill, Literal, UnaryOp};
use dlc_ir::math::{self, UnaryMath};
use dlc_ir::tile::{BufferId, Expr, ExprId};
use dlc_ir::vector::{
    Addr, Compare, Elem, Inst, IntOp, IntWidth, MaskOp, ShiftOp, Stmt, Storage, Type, Val,
    VecBinary, VecUnary,
};
use rustc_hash::FxHashMap;

/// Values already emitted, by expression, row and vector.
pub(super) type Cache = FxHashMap<(ExprId, usize, usize), Val>;

/// The place of one vector of a tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub row: usize,
    pub vector: usize,
}

/// How a buffer's elements are loaded and stored.
pub(super) fn storage_of(elem: ElemType) -> Storage {
    match elem {
        ElemType::F32 => Storage::F32,
        ElemType::F64 => Storage::F64,
        ElemType::I32 => Storage::I32,
        ElemType::I64 => Storage::I64,
        ElemType::U8 | ElemType::Bool => Storage::U8,
        ElemType::I8 => Storage::I8,
        ElemType::Bf16 => Storage::Bf16,
        ElemType::F16 => Storage::F16,
    }
}

impl Emitter<'_> {
    /// The type of vectors of an element type; masks for truth values.
    pub(super) fn vec_type(&self, elem: ElemType, lanes: usize) -> Type {
        match elem {
            ElemType::Bool => Type::Mask { bits: self.mask_bits, lanes: lanes as u8 },
            other => Type::Vec { elem: storage_of(other).elem(), lanes: lanes as u8 },
        }
    }

    /// The mask of the lanes that exist, if not all do.
    fn existing(&self, tile: &Tile, at: At) -> Option<Val> {
        if at.vector + 1 == tile.vectors { tile.tail } else { None }
    }

    /// A mask fit for elements of `bits` bits.
    pub(super) fn mask_for(&mut self, mask: Val, bits: u8) -> Val {
        match self.fb.ty(mask) {
            Type::Mask { bits: have, lanes } if have != bits => {
                self.fb.inst(Inst::MaskResize { ty: Type::Mask { bits, lanes }, mask })
            }
            _ => mask,
        }
    }

    /// The value of an expression at a place of the tile.
    pub(super) fn eval(
        &mut self,
        env: &Env,
        tile: &Tile,
        id: ExprId,
        at: At,
        cache: &mut Cache,
    ) -> Result<Val, PassError> {
        let row = if self.on_rows[id.index()] { at.row } else { 0 };
        let vector =
            if tile.lane_axis.is_some() && self.on_lanes[id.index()] { at.vector } else { 0 };
        let key = (id, row, vector);
        if let Some(&known) = cache.get(&key) {
            return Ok(known);
        }
        let value = self.emit(env, tile, id, at, cache)?;
        cache.insert(key, value);
        Ok(value)
    }

    fn emit(
        &mut self,
        env: &Env,
        tile: &Tile,
        id: ExprId,
        at: At,
        cache: &mut Cache,
    ) -> Result<Val, PassError> {
        let node = self.expr(id).clone();
        let ty = self.vec_type(node.elem, tile.lanes);
        Ok(match &node.expr {
            Expr::Const(literal) => self.literal(*literal, ty),
            Expr::Index(index) => {
                let index = self.index_lanes(env, tile, index, at);
                self.i32_as(index, node.elem, ty)
            }
            Expr::Extent(dim) => {
                let value = self.extent(*dim);
                let lanes = tile.lanes as u8;
                let value =
                    self.fb.inst(Inst::Splat { ty: Type::Vec { elem: Elem::I32, lanes }, value });
                self.i32_as(value, node.elem, ty)
            }
            Expr::Load { buffer, subs, fill } => {
                self.load(env, tile, id, at, *buffer, subs, *fill, ty)
            }
            Expr::Gather { buffer, axis, index, .. } => {
                self.gather(env, tile, id, at, (*buffer, *axis, *index), ty, cache)?
            }
            Expr::Random { seed, step, draw, element } => {
                let seed = self.eval(env, tile, *seed, at, cache)?;
                let step = self.eval(env, tile, *step, at, cache)?;
                let element = self.eval(env, tile, *element, at, cache)?;
                self.random(seed, step, *draw, element, ty)
            }
            Expr::Reduced => {
                return Err(PassError::bug(
                    "vectorize",
                    "the result of a reduction is read before it exists",
                ));
            }
            Expr::Unary(op, a) => {
                let a = self.eval(env, tile, *a, at, cache)?;
                self.unary(*op, a)
            }
            Expr::Binary(op, a, b) => {
                let a = self.eval(env, tile, *a, at, cache)?;
                let b = self.eval(env, tile, *b, at, cache)?;
                self.graph_binary(*op, a, b)
            }
            Expr::Compare(op, a, b) => {
                let a = self.eval(env, tile, *a, at, cache)?;
                let b = self.eval(env, tile, *b, at, cache)?;
                self.compare(*op, a, b)
            }
            Expr::Select(c, a, b) => {
                let c = self.eval(env, tile, *c, at, cache)?;
                let a = self.eval(env, tile, *a, at, cache)?;
                let b = self.eval(env, tile, *b, at, cache)?;
                self.select(c, a, b)
            }
            Expr::Fma(a, b, c) => {
                let a = self.eval(env, tile, *a, at, cache)?;
                let b = self.eval(env, tile, *b, at, cache)?;
                let c = self.eval(env, tile, *c, at, cache)?;
                self.fb.inst(Inst::Fma { a, b, c, negate: false })
            }
            Expr::Convert(a) => {
                let from = self.expr(*a).elem;
                let value = self.eval(env, tile, *a, at, cache)?;
                self.convert(value, from, node.elem, ty)
            }
        })
    }

    /// A constant in every lane.
    pub(super) fn literal(&mut self, literal: Literal, ty: Type) -> Val {
        match ty {
            Type::Mask { lanes, .. } => {
                let holds = matches!(literal, Literal::Bool(true))
                    || matches!(literal, Literal::Int(n) if n != 0)
                    || matches!(literal, Literal::Float(x) if x != 0.0);
                let count = self.fb.int(if holds { i64::from(lanes) } else { 0 });
                self.fb.inst(Inst::MaskFirst { ty, count })
            }
            Type::Vec { elem, .. } if elem.is_float() => {
                let value = match literal {
                    Literal::Float(x) => x,
                    Literal::Int(n) => n as f64,
                    Literal::Bool(b) => f64::from(u8::from(b)),
                };
                self.fb.float(ty, value)
            }
            Type::Vec { .. } | Type::Int => {
                let value = match literal {
                    Literal::Float(x) => x as i64,
                    Literal::Int(n) => n,
                    Literal::Bool(b) => i64::from(b),
                };
                self.fb.int_lanes(ty, value)
            }
        }
    }

    /// `i32` lanes as another element type.
    fn i32_as(&mut self, value: Val, elem: ElemType, ty: Type) -> Val {
        self.convert(value, ElemType::I32, elem, ty)
    }

    #[allow(clippy::too_many_arguments, reason = "one access has this many facts")]
    fn load(
        &mut self,
        env: &Env,
        tile: &Tile,
        id: ExprId,
        at: At,
        buffer: BufferId,
        subs: &[Affine],
        fill: Fill,
        ty: Type,
    ) -> Val {
        let bounds =
            if fill == Fill::InRange { Vec::new() } else { self.open_bounds(buffer, subs) };
        let bounds: Vec<Bound> =
            bounds.into_iter().filter(|bound| !self.run_bounds.contains(bound)).collect();
        let inside = self.in_range(env, tile, &bounds, at);
        let elem = self.elem_of(buffer);
        let storage = storage_of(elem);
        let register = Type::Vec { elem: storage.elem(), lanes: tile.lanes as u8 };
        let loaded = self.load_lanes(env, tile, id, at, storage, register, inside);
        let value = if elem == ElemType::Bool { self.nonzero(loaded) } else { loaded };
        match (fill, inside) {
            (Fill::Value(literal), Some(inside)) if !is_positive_zero(literal) => {
                let outside = self.literal(literal, ty);
                self.select(inside, value, outside)
            }
            _ => value,
        }
    }

    /// Lanes from memory, zero where `inside` does not hold.
    fn load_lanes(
        &mut self,
        env: &Env,
        tile: &Tile,
        id: ExprId,
        at: At,
        storage: Storage,
        ty: Type,
        inside: Option<Val>,
    ) -> Val {
        let (stream, constant) = self.loads[id.index()].expect("every load has a stream");
        let stride = tile.lane_axis.map_or(0, |axis| self.streams[stream].stride(axis));
        let addr = self.place(env, tile, stream, constant, at);
        let bits = storage.elem().bits();
        if stride == 0 && tile.lanes > 1 {
            return match inside {
                None => self.fb.inst(Inst::Broadcast { ty, storage, addr }),
                Some(mask) => {
                    let mask = Some(self.mask_for(mask, bits));
                    let index_ty = Type::Vec { elem: Elem::I32, lanes: tile.lanes as u8 };
                    let index = self.fb.int_lanes(index_ty, 0);
                    self.fb.inst(Inst::Gather { ty, storage, addr, index, mask })
                }
            };
        }
        let mask = match (inside, self.existing(tile, at)) {
            (None, None) => None,
            (Some(mask), None) | (None, Some(mask)) => Some(mask),
            (Some(a), Some(b)) => Some(self.fb.inst(Inst::Mask(MaskOp::And, a, b))),
        };
        let mask = mask.map(|mask| self.mask_for(mask, bits));
        if stride == 1 || tile.lanes == 1 {
            return self.fb.inst(Inst::Load { ty, storage, addr, mask });
        }
        let index = self.scaled_iota(tile.lanes, stride);
        self.fb.inst(Inst::Gather { ty, storage, addr, index, mask })
    }

    /// Address of lane 0 of an access at a place of the tile.
    pub(super) fn place(
        &mut self,
        env: &Env,
        tile: &Tile,
        stream: usize,
        constant: i64,
        at: At,
    ) -> Addr {
        let row = self.phase.schedule.row_axis.map_or(0, |axis| self.byte_stride(stream, axis))
            * at.row as i64;
        let vector = tile.lane_axis.map_or(0, |axis| self.byte_stride(stream, axis));
        let vector = vector * (at.vector * tile.lanes) as i64;
        self.addr(env, stream, constant, row + vector)
    }

    fn gather(
        &mut self,
        env: &Env,
        tile: &Tile,
        id: ExprId,
        at: At,
        (buffer, axis, index): (BufferId, usize, ExprId),
        ty: Type,
        cache: &mut Cache,
    ) -> Result<Val, PassError> {
        let lanes_ty = Type::Vec { elem: Elem::I32, lanes: tile.lanes as u8 };
        let wanted = self.eval(env, tile, index, at, cache)?;
        let extent = self.program.buffers[buffer].shape[axis];
        let extent = self.extent(extent);
        self.check_index(env, tile, index, at, wanted, extent)?;
        let last = self.fb.iadd_const(extent, -1);
        let last = self.fb.inst(Inst::Splat { ty: lanes_ty, value: last });
        let zero = self.fb.int_lanes(lanes_ty, 0);
        let index = self.fb.binary(VecBinary::Min, wanted, last);
        let index = self.fb.binary(VecBinary::Max, index, zero);
        let strides = self.program.buffers[buffer].strides(self.program.max_batch);
        let strides =
            strides.ok_or_else(|| PassError::bug("vectorize", "a gather from a blocked layout"))?;
        let stride = self.fb.int_lanes(lanes_ty, strides[axis]);
        let mut offset = self.fb.binary(VecBinary::Mul, index, stride);
        let (stream, constant) = self.loads[id.index()].expect("every gather has a stream");
        let along = tile.lane_axis.map_or(0, |axis| self.streams[stream].stride(axis));
        if along != 0 {
            let iota = self.scaled_iota(tile.lanes, along);
            offset = self.fb.binary(VecBinary::Add, offset, iota);
        }
        let elem = self.elem_of(buffer);
        let storage = storage_of(elem);
        let addr = self.place(env, tile, stream, constant, at);
        let existing = self.existing(tile, at);
        let mask = existing.map(|mask| self.mask_for(mask, storage.elem().bits()));
        let register = Type::Vec { elem: storage.elem(), lanes: tile.lanes as u8 };
        let value = self.fb.inst(Inst::Gather { ty: register, storage, addr, index: offset, mask });
        Ok(if matches!(ty, Type::Mask { .. }) { self.nonzero(value) } else { value })
    }

    /// Notes in the error slot the first lane whose index is outside `0..extent`.
    fn check_index(
        &mut self,
        env: &Env,
        tile: &Tile,
        index: ExprId,
        at: At,
        wanted: Val,
        extent: Val,
    ) -> Result<(), PassError> {
        let Expr::Load { buffer, .. } = self.expr(index).expr else {
            return Err(PassError::bug("vectorize", "a gather whose index is not a load"));
        };
        let ty = self.fb.ty(wanted);
        let zero = self.fb.int_lanes(ty, 0);
        let extent = self.fb.inst(Inst::Splat { ty, value: extent });
        let low = self.fb.inst(Inst::Compare(Compare::Lt, wanted, zero));
        let high = self.fb.inst(Inst::Compare(Compare::Le, extent, wanted));
        let mut bad = self.fb.inst(Inst::Mask(MaskOp::Or, low, high));
        if let Some(existing) = self.existing(tile, at) {
            let existing = self.mask_for(existing, 32);
            bad = self.fb.inst(Inst::Mask(MaskOp::And, bad, existing));
        }
        let bad = self.fb.inst(Inst::MaskBits(bad));
        let (stream, constant) = self.loads[index.index()].expect("every load has a stream");
        let memory = self.program.memory_of(buffer);
        let base = self.param(Param::Base(memory));
        let slot = self.param(Param::Error);
        let buffer_slot = self.slots.slot(buffer) as i64;
        self.fb.open_if();
        let lane = self.fb.inst(Inst::IntTrailingZeros(bad));
        let stride = tile.lane_axis.map_or(0, |axis| self.byte_stride(stream, axis));
        let addr = self.place(env, tile, stream, constant, at);
        let along = self.fb.imul_const(lane, stride);
        let first = self.fb.iadd_const(addr.base, i64::from(addr.disp));
        let address = self.fb.iadd(first, along);
        let value = self.fb.inst(Inst::IntLoad(IntWidth::I32, Addr::at(address)));
        let bytes = self.fb.int_op(IntOp::Sub, address, base);
        let four = self.fb.int(4);
        let element = self.fb.int_op(IntOp::Div, bytes, four);
        self.note_index(slot, buffer_slot, element, value);
        self.fb.close_if(bad);
        Ok(())
    }

    /// Keeps of all findings the one in the first buffer, and there at the first element: what is reported does not depend on how
    /// the work was divided.
    fn note_index(&mut self, slot: Val, buffer: i64, element: Val, value: Val) {
        /// Bits of a buffer's element; an arena is smaller.
        const ELEMENT_BITS: i64 = 40;
        let field = |emitter: &mut Self, at: i32| {
            let addr = Addr::offset(slot, 8 * at);
            emitter.fb.inst(Inst::IntLoad(IntWidth::I64, addr))
        };
        let bits = self.fb.int(ELEMENT_BITS);
        let buffer = self.fb.int(buffer);
        let key = self.fb.int_op(IntOp::Shl, buffer, bits);
        let key = self.fb.int_op(IntOp::Add, key, element);
        let (noted_status, noted_buffer) = (field(self, 0), field(self, 1));
        let noted_element = field(self, 2);
        let noted = self.fb.int_op(IntOp::Shl, noted_buffer, bits);
        let noted = self.fb.int_op(IntOp::Add, noted, noted_element);
        let earlier = self.fb.int_op(IntOp::Less, key, noted);
        let ok = self.fb.int(i64::from(STATUS_OK));
        let none = self.fb.int_op(IntOp::Equal, noted_status, ok);
        let keep = self.fb.int_op(IntOp::Max, earlier, none);
        self.fb.open_if();
        for (at, value) in [buffer, element, value].into_iter().enumerate() {
            let addr = Addr::offset(slot, 8 + 8 * at as i32);
            self.fb.push(Stmt::IntStore { width: IntWidth::I64, addr, value });
        }
        // The status comes last: whoever sees it sees a finding.
        let status = self.fb.int(i64::from(STATUS_BAD_INDEX));
        self.fb.push(Stmt::IntStore { width: IntWidth::I64, addr: Addr::at(slot), value: status });
        self.fb.close_if(keep);
    }

    /// Philox4x32-10 as the graph's `Random` defines it.
    fn random(&mut self, seed: Val, step: Val, draw: u32, element: Val, ty: Type) -> Val {
        let lanes_ty = self.fb.ty(element);
        let constant = |emitter: &mut Self, value: u32| {
            emitter.fb.int_lanes(lanes_ty, i64::from(value as i32))
        };
        let fifteen = constant(self, 15);
        let three = constant(self, 3);
        let block = self.fb.inst(Inst::Shift(ShiftOp::RightArithmetic, element, 6));
        let block = self.fb.inst(Inst::Shift(ShiftOp::Left, block, 4));
        let lane = self.fb.binary(VecBinary::And, element, fifteen);
        let counter = self.fb.binary(VecBinary::Add, block, lane);
        let word = self.fb.inst(Inst::Shift(ShiftOp::RightArithmetic, element, 4));
        let word = self.fb.binary(VecBinary::And, word, three);
        let zero = constant(self, 0);
        let draw = constant(self, draw);
        let mut c = [counter, zero, step, draw];
        let mut key = [seed, zero];
        let factors = [constant(self, 0xD251_1F53), constant(self, 0xCD9E_8D57)];
        let bumps = [constant(self, 0x9E37_79B9), constant(self, 0xBB67_AE85)];
        for round in 0..10 {
            if round > 0 {
                key = [
                    self.fb.binary(VecBinary::Add, key[0], bumps[0]),
                    self.fb.binary(VecBinary::Add, key[1], bumps[1]),
                ];
            }
            let high0 = self.fb.binary(VecBinary::MulHighUnsigned, factors[0], c[0]);
            let low0 = self.fb.binary(VecBinary::Mul, factors[0], c[0]);
            let high1 = self.fb.binary(VecBinary::MulHighUnsigned, factors[1], c[2]);
            let low1 = self.fb.binary(VecBinary::Mul, factors[1], c[2]);
            let x0 = self.fb.binary(VecBinary::Xor, high1, c[1]);
            let x2 = self.fb.binary(VecBinary::Xor, high0, c[3]);
            c = [
                self.fb.binary(VecBinary::Xor, x0, key[0]),
                low1,
                self.fb.binary(VecBinary::Xor, x2, key[1]),
                low0,
            ];
        }
        let mut bits = c[0];
        for (number, candidate) in c.into_iter().enumerate().skip(1) {
            let number = constant(self, number as u32);
            let is_it = self.fb.inst(Inst::Compare(Compare::Eq, word, number));
            bits = self.fb.inst(Inst::Select { mask: is_it, a: candidate, b: bits });
        }
        let top = self.fb.inst(Inst::Shift(ShiftOp::RightLogical, bits, 8));
        let Type::Vec { elem, .. } = ty else { unreachable!("uniform numbers are floats") };
        let top = self.fb.inst(Inst::Convert(elem, top));
        let scale = self.fb.float(ty, 1.0 / 16_777_216.0);
        self.fb.binary(VecBinary::Mul, top, scale)
    }

    /// Where integer lanes are not zero.
    fn nonzero(&mut self, value: Val) -> Val {
        let ty = self.fb.ty(value);
        let zero = self.fb.int_lanes(ty, 0);
        let mask = self.fb.inst(Inst::Compare(Compare::Ne, value, zero));
        self.mask_for(mask, self.mask_bits)
    }

    fn unary(&mut self, op: UnaryOp, a: Val) -> Val {
        let function = match op {
            UnaryOp::Not => return self.fb.inst(Inst::MaskNot(a)),
            UnaryOp::Neg => return self.fb.inst(Inst::Unary(VecUnary::Neg, a)),
            UnaryOp::Abs => return self.fb.inst(Inst::Unary(VecUnary::Abs, a)),
            UnaryOp::Sqrt => return self.fb.inst(Inst::Unary(VecUnary::Sqrt, a)),
            UnaryOp::Floor => return self.fb.inst(Inst::Unary(VecUnary::Floor, a)),
            UnaryOp::Exp => UnaryMath::Exp,
            UnaryOp::Log => UnaryMath::Log,
            UnaryOp::Log1p => UnaryMath::Log1p,
            UnaryOp::Tanh => UnaryMath::Tanh,
            UnaryOp::Erf => UnaryMath::Erf,
            UnaryOp::Sigmoid => UnaryMath::Sigmoid,
            UnaryOp::Sin => UnaryMath::Sin,
            UnaryOp::Cos => UnaryMath::Cos,
        };
        math::emit(&mut self.fb, function, a)
    }

    fn graph_binary(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        let is_float = matches!(self.fb.ty(a), Type::Vec { elem, .. } if elem.is_float());
        match op {
            BinaryOp::Add => self.fb.binary(VecBinary::Add, a, b),
            BinaryOp::Sub => self.fb.binary(VecBinary::Sub, a, b),
            BinaryOp::Mul => self.fb.binary(VecBinary::Mul, a, b),
            BinaryOp::Div if is_float => self.fb.binary(VecBinary::Div, a, b),
            BinaryOp::Div => self.floor_div(a, b),
            BinaryOp::Rem => {
                let quotient = self.floor_div(a, b);
                let whole = self.fb.binary(VecBinary::Mul, quotient, b);
                self.fb.binary(VecBinary::Sub, a, whole)
            }
            BinaryOp::Min => self.fb.binary(VecBinary::Min, a, b),
            BinaryOp::Max => self.fb.binary(VecBinary::Max, a, b),
            BinaryOp::And => self.fb.inst(Inst::Mask(MaskOp::And, a, b)),
            BinaryOp::Or => self.fb.inst(Inst::Mask(MaskOp::Or, a, b)),
        }
    }

    /// `floor(a / b)` of integer lanes.
    fn floor_div(&mut self, a: Val, b: Val) -> Val {
        match self.fb.ty(a) {
            Type::Vec { elem: Elem::I64, lanes } => self.floor_div_i64(a, b, lanes),
            _ => self.floor_div_i32(a, b),
        }
    }

    /// The quotient of two 32-bit integers in double precision is never rounded across an integer: it is at least 2^-31 away from the next
    /// one and its rounding error is below 2^-21 of that.
    fn floor_div_i32(&mut self, a: Val, b: Val) -> Val {
        let a = self.fb.inst(Inst::Convert(Elem::F64, a));
        let b = self.fb.inst(Inst::Convert(Elem::F64, b));
        let quotient = self.fb.binary(VecBinary::Div, a, b);
        let quotient = self.fb.inst(Inst::Unary(VecUnary::Floor, quotient));
        self.fb.inst(Inst::Convert(Elem::I32, quotient))
    }

    /// No target divides 64-bit lanes, so each lane goes through a scalar division of magnitudes.
    fn floor_div_i64(&mut self, a: Val, b: Val, lanes: u8) -> Val {
        let ty = self.fb.ty(a);
        let iota = self.fb.inst(Inst::Iota { ty });
        let mut result = self.fb.int_lanes(ty, 0);
        for lane in 0..lanes {
            let [(a, a_negative), (b, b_negative)] = [a, b].map(|value| {
                let value = if lanes == 1 { value } else { self.fb.inst(Inst::Lane(value, lane)) };
                let value = self.fb.inst(Inst::IntFromLane(value));
                self.magnitude(value)
            });
            // Lanes that do not exist may hold a zero, which must not be divided by.
            let one = self.fb.int(1);
            let b = self.fb.int_op(IntOp::Max, b, one);
            let quotient = self.fb.int_op(IntOp::Div, a, b);
            let whole = self.fb.int_op(IntOp::Mul, quotient, b);
            let rest = self.fb.int_op(IntOp::Sub, a, whole);
            let exact = self.fb.int_op(IntOp::Min, rest, one);
            // With different signs: -(quotient + (rest > 0)); otherwise the quotient.
            let same = self.fb.int_op(IntOp::Equal, a_negative, b_negative);
            let differ = self.fb.int_op(IntOp::Sub, one, same);
            let up = self.fb.int_op(IntOp::Mul, differ, exact);
            let quotient = self.fb.iadd(quotient, up);
            let twice = self.fb.imul_const(differ, 2);
            let sign = self.fb.int_op(IntOp::Sub, one, twice);
            let value = self.fb.int_op(IntOp::Mul, quotient, sign);
            let value = self.fb.inst(Inst::Splat { ty, value });
            let number = self.fb.int_lanes(ty, i64::from(lane));
            let here = self.fb.inst(Inst::Compare(Compare::Eq, iota, number));
            result = self.fb.inst(Inst::Select { mask: here, a: value, b: result });
        }
        result
    }

    /// The absolute value of an Int, and 1 if it was negative.
    fn magnitude(&mut self, value: Val) -> (Val, Val) {
        let zero = self.fb.int(0);
        let negative = self.fb.int_op(IntOp::Less, value, zero);
        let opposite = self.fb.int_op(IntOp::Sub, zero, value);
        (self.fb.int_op(IntOp::Max, value, opposite), negative)
    }

    fn compare(&mut self, op: GraphCompare, a: Val, b: Val) -> Val {
        if let Type::Mask { .. } = self.fb.ty(a) {
            let differ = self.fb.inst(Inst::Mask(MaskOp::Xor, a, b));
            return match op {
                GraphCompare::Ne => differ,
                GraphCompare::Eq => self.fb.inst(Inst::MaskNot(differ)),
                GraphCompare::Lt => self.fb.inst(Inst::Mask(MaskOp::AndNot, b, a)),
                GraphCompare::Le => {
                    let greater = self.fb.inst(Inst::Mask(MaskOp::AndNot, a, b));
                    self.fb.inst(Inst::MaskNot(greater))
                }
            };
        }
        let op = match op {
            GraphCompare::Eq => Compare::Eq,
            GraphCompare::Ne => Compare::Ne,
            GraphCompare::Lt => Compare::Lt,
            GraphCompare::Le => Compare::Le,
        };
        let mask = self.fb.inst(Inst::Compare(op, a, b));
        self.mask_for(mask, self.mask_bits)
    }

    /// `mask ? a : b`, for vectors and for masks.
    pub(super) fn select(&mut self, mask: Val, a: Val, b: Val) -> Val {
        match self.fb.ty(a) {
            Type::Vec { elem, .. } => {
                let mask = self.mask_for(mask, elem.bits());
                self.fb.inst(Inst::Select { mask, a, b })
            }
            Type::Mask { .. } | Type::Int => {
                let taken = self.fb.inst(Inst::Mask(MaskOp::And, mask, a));
                let other = self.fb.inst(Inst::Mask(MaskOp::AndNot, b, mask));
                self.fb.inst(Inst::Mask(MaskOp::Or, taken, other))
            }
        }
    }

    fn convert(&mut self, value: Val, from: ElemType, to: ElemType, ty: Type) -> Val {
        match (from, to) {
            (ElemType::Bool, ElemType::Bool) => value,
            (ElemType::Bool, _) => {
                let one = self.literal(Literal::Int(1), ty);
                let zero = self.literal(Literal::Int(0), ty);
                self.select(value, one, zero)
            }
            (_, ElemType::Bool) => {
                let register = self.fb.ty(value);
                let zero = self.literal(Literal::Int(0), register);
                let mask = self.fb.inst(Inst::Compare(Compare::Ne, value, zero));
                self.mask_for(mask, self.mask_bits)
            }
            _ => {
                let (Type::Vec { elem: have, .. }, Type::Vec { elem: want, .. }) =
                    (self.fb.ty(value), ty)
                else {
                    unreachable!("truth values are handled above")
                };
                if have == want { value } else { self.fb.inst(Inst::Convert(want, value)) }
            }
        }
    }

    /// Writes the values of all stores at every place of the tile, row by row. `reduced` holds the reduction's results.
    pub(super) fn store_tile(
        &mut self,
        env: &Env,
        tile: &Tile,
        mut cache: Cache,
    ) -> Result<(), PassError> {
        for row in 0..tile.rows {
            for vector in 0..tile.vectors {
                let at = At { row, vector };
                // All loads of a point come before its stores.
                let mut values = Vec::new();
                for store in &self.phase.stores {
                    values.push(self.eval(env, tile, store.value, at, &mut cache)?);
                }
                for (number, value) in values.into_iter().enumerate() {
                    self.store(env, tile, number, at, value);
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, env: &Env, tile: &Tile, number: usize, at: At, value: Val) {
        let (stream, constant) = self.stores[number];
        let elem = self.elem_of(self.phase.stores[number].buffer);
        let storage = storage_of(elem);
        let register = Type::Vec { elem: storage.elem(), lanes: tile.lanes as u8 };
        let value = match self.fb.ty(value) {
            Type::Mask { .. } => self.convert(value, ElemType::Bool, ElemType::I32, register),
            Type::Vec { .. } | Type::Int => value,
        };
        let addr = self.place(env, tile, stream, constant, at);
        let stride = tile.lane_axis.map_or(1, |axis| self.streams[stream].stride(axis));
        let existing = self.existing(tile, at);
        if stride == 1 || tile.lanes == 1 {
            let mask = existing.map(|mask| self.mask_for(mask, storage.elem().bits()));
            self.fb.store(storage, addr, value, mask);
            return;
        }
        let bits = existing.map(|mask| self.fb.inst(Inst::MaskBits(mask)));
        for lane in 0..tile.lanes {
            let one = self.fb.inst(Inst::Lane(value, lane as u8));
            let bytes = lane as i64 * stride * storage.bytes();
            let base = self.fb.iadd_const(addr.base, bytes + i64::from(addr.disp));
            match bits {
                None => self.fb.store(storage, Addr::at(base), one, None),
                Some(bits) => {
                    let bit = self.fb.int(1 << lane);
                    let holds = self.fb.int_op(IntOp::And, bits, bit);
                    self.fb.open_if();
                    self.fb.store(storage, Addr::at(base), one, None);
                    self.fb.close_if(holds);
                }
            }
        }
    }

    /// Loads whose lanes are strided but whose rows are contiguous, as rows of vectors that are then transposed.
    pub(super) fn transposed_loads(&mut self, env: &Env, tile: &Tile, cache: &mut Cache) {
        let (Some(row_axis), Some(lane_axis)) = (self.phase.schedule.row_axis, tile.lane_axis)
        else {
            return;
        };
        if self.phase.reduction.is_some()
            || tile.rows != tile.lanes
            || tile.vectors != 1
            || tile.tail.is_some()
        {
            return;
        }
        for (id, node) in self.phase.exprs.iter() {
            let Expr::Load { buffer, fill: Fill::InRange, .. } = &node.expr else { continue };
            let (stream, constant) = self.loads[id.index()].expect("every load has a stream");
            let walk = &self.streams[stream];
            if node.elem == ElemType::Bool
                || walk.stride(row_axis) != 1
                || matches!(walk.stride(lane_axis), 0 | 1)
            {
                continue;
            }
            let storage = storage_of(self.elem_of(*buffer));
            let ty = Type::Vec { elem: storage.elem(), lanes: tile.lanes as u8 };
            let stride = self.byte_stride(stream, lane_axis);
            let inputs = (0..tile.lanes)
                .map(|lane| {
                    let addr = self.addr(env, stream, constant, lane as i64 * stride);
                    self.fb.inst(Inst::Load { ty, storage, addr, mask: None })
                })
                .collect();
            for (row, value) in self.fb.transpose(inputs).into_iter().enumerate() {
                cache.insert((id, row, 0), value);
            }
        }
    }
}

fn is_positive_zero(literal: Literal) -> bool {
    match literal {
        Literal::Float(x) => x.to_bits() == 0,
        Literal::Int(n) => n == 0,
        Literal::Bool(b) => !b,
    }
}
