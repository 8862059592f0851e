//! Instruction selection: from statements of vector IR to machine steps.
//!
//! One walk in order, after a backward count of uses that also finds dead operations, sums that live only in addresses
//! and comparisons that feed one branch. Loads with a single use wait for it, so that they can become its memory
//! operand; they are emitted at the latest before the next store, loop or branch, so no load passes a store. Constants
//! are operands in memory, or are made where they are used.

mod analyse;
mod calls;
mod convert;
mod lanes;
mod memory;
mod narrow;
mod operand;
mod scalar;
mod shuffle;

use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::vector::{
    Addr, Block, Carried, Elem, Function, FunctionKind, Inst, IntOp, Loop, Stmt, Storage, Type, Val,
};

use super::machine::{Base, Class, Code, Cond, Label, LoopId, Mem, Step, VReg, Width};
use super::table::Op;
use analyse::Facts;

/// What a value is bound to.
#[derive(Debug, Clone)]
pub(super) enum Binding {
    /// Not yet defined, or dead.
    Unset,
    /// A register.
    Reg(VReg),
    /// A scalar constant.
    Int(i64),
    /// A constant in all lanes.
    Const {
        /// Bits of the element.
        bits: u64,
        /// Bytes of the element.
        bytes: i64,
        /// Register width.
        width: Width,
    },
    /// A load that waits for its only use.
    Load {
        /// Type of the result.
        ty: Type,
        /// Address in IR.
        addr: Addr,
        /// One element for all lanes.
        is_broadcast: bool,
    },
    /// A word in memory that nobody writes meanwhile, loaded anew for each use.
    Word(Mem),
    /// A comparison that waits for its branch.
    Compare(IntOp, Val, Val),
    /// `base + disp`, which lives in addresses only.
    Sum {
        /// Int value.
        base: Val,
        /// Bytes.
        disp: i32,
    },
}

/// A register or memory as the last operand of an instruction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rm {
    /// A register.
    Reg(VReg),
    /// Memory of the operand's width.
    Mem(Mem),
    /// One element in memory for all lanes.
    Broadcast(Mem),
}

/// State of the walk.
pub(super) struct Selector<'a> {
    function: &'a Function,
    /// AVX-512 instead of AVX2.
    evex: bool,
    facts: Facts,
    code: Code,
    bindings: IndexVec<Val, Binding>,
    /// Loads that wait, in order.
    waiting: Vec<Val>,
    /// The innermost open loop, by number; 0 is the function.
    current_loop: u32,
    n_loops_seen: u32,
    has_divide: bool,
}

/// Selects instructions for a function. The flag says whether the code divides, which takes two fixed registers.
pub(super) fn select(function: &Function, evex: bool) -> Result<(Code, bool), String> {
    let facts = analyse::analyse(function, evex);
    let bindings = function.types.values().map(|_| Binding::Unset).collect();
    let mut selector = Selector {
        function,
        evex,
        facts,
        code: Code::default(),
        bindings,
        waiting: Vec::new(),
        current_loop: 0,
        n_loops_seen: 0,
        has_divide: false,
    };
    selector.reserve_arguments(function);
    match function.kind {
        FunctionKind::Kernel | FunctionKind::Phase => {
            selector.params();
            selector.block(&function.body)?;
        }
        FunctionKind::Segment => {
            selector.segment_params();
            selector.block(&function.body)?;
            selector.return_status();
        }
    }
    Ok((selector.code, selector.has_divide))
}

impl Selector<'_> {
    fn ty(&self, val: Val) -> Type {
        self.function.types[val]
    }

    /// Lanes of a vector or mask.
    fn lanes(&self, val: Val) -> u8 {
        match self.ty(val) {
            Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => lanes,
            Type::Int => 1,
        }
    }

    /// Element type of a vector.
    fn elem(&self, val: Val) -> Elem {
        match self.ty(val) {
            Type::Vec { elem, .. } => elem,
            Type::Mask { bits: 32, .. } => Elem::I32,
            Type::Mask { .. } | Type::Int => Elem::I64,
        }
    }

    /// Register width of a value.
    fn width(&self, val: Val) -> Width {
        width_of(self.ty(val))
    }

    /// A new register for values of a type.
    fn reg_for(&mut self, ty: Type) -> VReg {
        match ty {
            Type::Int => self.code.reg(Class::Gpr, Width::X),
            Type::Mask { .. } if self.evex => self.code.reg(Class::Mask, Width::X),
            Type::Mask { .. } | Type::Vec { .. } => self.code.reg(Class::Vec, width_of(ty)),
        }
    }

    fn bind(&mut self, val: Val, reg: VReg) {
        self.bindings[val] = Binding::Reg(reg);
    }

    fn is_dead(&self, val: Val) -> bool {
        self.facts.uses[val] == 0
    }

    /// Loads parameters from the argument array, whose address arrives in rdi: the first register made takes the first of the allocator's
    /// order, which is rdi. A phase loads each where it is used, since it has few registers that calls leave alone, and nobody writes the
    /// arguments while it runs.
    fn params(&mut self) {
        let is_kernel = self.function.kind == FunctionKind::Kernel;
        let args = self.code.reg(Class::Gpr, Width::X);
        self.code.regs[args.index()].unspillable = is_kernel;
        self.code.steps.push(Step::Arguments(vec![args]));
        for (index, &param) in self.function.params.iter().enumerate() {
            if self.is_dead(param) {
                continue;
            }
            let mem = Mem { base: Base::Reg(args), index: None, disp: index as i32 * 8 };
            if !is_kernel {
                self.bindings[param] = Binding::Word(mem);
                continue;
            }
            let reg = self.code.reg(Class::Gpr, Width::X);
            self.load_into(Op::LoadGpr, Width::X, reg, mem);
            self.bind(param, reg);
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        for stmt in &block.stmts {
            self.stmt(stmt)?;
        }
        Ok(())
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), String> {
        match stmt {
            Stmt::Let(val, inst) => {
                self.facts.loop_of[*val] = self.current_loop;
                if !self.is_dead(*val) && !self.facts.deferred[val.index()] {
                    self.define(*val, inst)?;
                }
                Ok(())
            }
            Stmt::Store { storage, addr, value, mask } => {
                self.store(*storage, *addr, *value, *mask)
            }
            Stmt::IntStore { width, addr, value } => {
                self.int_store(*width, *addr, *value);
                Ok(())
            }
            Stmt::Transpose { inputs, results } => {
                for &result in results {
                    self.facts.loop_of[result] = self.current_loop;
                }
                self.transpose(inputs, results)
            }
            Stmt::Loop(body) => self.run_loop(body),
            Stmt::If { cond, then } => self.branch(*cond, then),
            Stmt::Call { func, args } => {
                self.call(*func, args);
                Ok(())
            }
            Stmt::Barrier => {
                self.barrier();
                Ok(())
            }
        }
    }

    /// Emits or binds one operation.
    fn define(&mut self, val: Val, inst: &Inst) -> Result<(), String> {
        if let Some(root) = self.facts.alias[val.index()] {
            self.alias(val, root);
            return Ok(());
        }
        match inst {
            Inst::IntConst(value) => self.bindings[val] = Binding::Int(*value),
            Inst::Const { ty, bits } => {
                let bytes = elem_bytes(*ty);
                let bits = if bytes == 4 { bits & 0xffff_ffff } else { *bits };
                self.bindings[val] = Binding::Const { bits, bytes, width: width_of(*ty) };
            }
            Inst::Int(op, a, b) => self.int(val, *op, *a, *b)?,
            Inst::IntTrailingZeros(a) => self.trailing_zeros(val, *a),
            Inst::IntLoad(width, addr) => self.int_load(val, *width, *addr),
            Inst::IntFromLane(a) => self.int_from_lane(val, *a),
            Inst::Iota { ty } => self.iota(val, *ty),
            Inst::Splat { ty, value } => self.splat(val, *ty, *value),
            Inst::SplatLane { ty, value } => self.splat_lane(val, *ty, *value),
            Inst::Load { ty, storage, addr, mask } => {
                self.load_vec(val, *ty, *storage, *addr, *mask)?
            }
            Inst::Broadcast { ty, storage, addr } => self.broadcast(val, *ty, *storage, *addr),
            Inst::Gather { ty, storage, addr, index, mask } => {
                self.gather(val, *ty, *storage, *addr, *index, *mask)?;
            }
            Inst::Unary(op, a) => self.unary(val, *op, *a),
            Inst::Binary(op, a, b) => self.binary(val, *op, *a, *b)?,
            Inst::Shift(op, a, by) => self.shift(val, *op, *a, *by),
            Inst::Fma { a, b, c, negate } => self.fma(val, *a, *b, *c, *negate),
            Inst::Compare(op, a, b) => self.compare(val, *op, *a, *b),
            Inst::Mask(op, a, b) => self.mask_op(val, *op, *a, *b),
            Inst::MaskNot(a) => self.mask_not(val, *a),
            Inst::MaskFirst { ty, count } => self.mask_first(val, *ty, *count),
            Inst::MaskBits(a) => self.mask_bits(val, *a),
            Inst::MaskResize { ty, mask } => self.mask_resize(val, *ty, *mask)?,
            Inst::Select { mask, a, b } => self.select(val, *mask, *a, *b),
            Inst::Convert(elem, a) => self.convert(val, *elem, *a)?,
            Inst::Bitcast(..) => return Err("a bitcast that is no alias".to_owned()),
            Inst::ScalePow2 { p, n } => self.scale_pow2(val, *p, *n),
            Inst::Fold(op, a) => self.fold(val, *op, *a)?,
            Inst::Lane(a, lane) => self.lane(val, *a, *lane),
        }
        Ok(())
    }

    /// Binds a value to what another is bound to.
    fn alias(&mut self, val: Val, root: Val) {
        if matches!(self.bindings[root], Binding::Load { .. }) {
            self.force(root);
        }
        let mut binding = self.bindings[root].clone();
        if let Binding::Const { width, .. } = &mut binding {
            *width = width_of(self.function.types[val]);
        }
        self.bindings[val] = binding;
    }

    // Control flow.

    fn run_loop(&mut self, body: &Loop) -> Result<(), String> {
        self.flush();
        let trip = match self.bindings[body.trip] {
            Binding::Int(trip) => Some(trip),
            _ => None,
        };
        if let Some(..=0) = trip {
            self.take(body.trip);
            for carried in &body.carried {
                self.take(carried.init);
                self.facts.loop_of[carried.result] = self.current_loop;
                self.bindings[carried.result] = self.bindings[carried.init].clone();
            }
            return Ok(());
        }
        let params: Vec<VReg> =
            body.carried.iter().map(|carried| self.reg_for(self.ty(carried.init))).collect();
        let mut moves = Vec::new();
        for (carried, &param) in body.carried.iter().zip(&params) {
            self.init(carried, param, &mut moves);
        }
        let counter = self.code.reg(Class::Gpr, Width::X);
        let is_iv_used = !self.is_dead(body.iv);
        let limit = if trip.is_none() { Some(self.gpr(body.trip)) } else { None };
        match (is_iv_used, trip, limit) {
            (true, ..) => self.int_into(counter, 0),
            (false, Some(trip), _) => self.int_into(counter, trip),
            (false, None, limit) => {
                moves.push((counter, limit.expect("a trip count is constant or in a register")))
            }
        }
        self.push_moves(moves);
        let end = self.label();
        if let Some(limit) = limit {
            let tested = if is_iv_used { limit } else { counter };
            self.use2(Op::Test, tested, tested);
            self.code.steps.push(Step::Branch(Cond::LessEqual, end));
        }
        let id = LoopId(self.code.n_loops);
        self.code.n_loops += 1;
        self.code.steps.push(Step::LoopHead(id));
        let outer = self.current_loop;
        self.n_loops_seen += 1;
        self.current_loop = self.n_loops_seen;
        self.facts.loop_of[body.iv] = self.current_loop;
        self.bind(body.iv, counter);
        for (carried, &param) in body.carried.iter().zip(&params) {
            self.facts.loop_of[carried.param] = self.current_loop;
            self.bind(carried.param, param);
        }
        self.block(&body.body)?;
        self.next_values(body, &params)?;
        if is_iv_used {
            self.acc_imm(Op::AddImm, counter, 1);
            match (trip, limit) {
                (Some(trip), _) if i32::try_from(trip).is_ok() => {
                    self.use_imm(Op::CmpImm, counter, trip)
                }
                (Some(trip), _) => {
                    let limit = self.int_reg(trip);
                    self.use2(Op::Cmp, counter, limit);
                }
                (None, limit) => {
                    self.use2(
                        Op::Cmp,
                        counter,
                        limit.expect("a trip count is constant or in a register"),
                    );
                }
            }
            self.code.steps.push(Step::LoopEnd(id, Cond::Less));
        } else {
            self.acc_imm(Op::SubImm, counter, 1);
            self.code.steps.push(Step::LoopEnd(id, Cond::NotEqual));
        }
        if limit.is_some() {
            self.code.steps.push(Step::Place(end));
        }
        self.current_loop = outer;
        for (carried, &param) in body.carried.iter().zip(&params) {
            self.facts.loop_of[carried.result] = self.current_loop;
            self.bind(carried.result, param);
        }
        Ok(())
    }

    /// Sets a carried value before the first iteration: constants straight in their register.
    fn init(&mut self, carried: &Carried, param: VReg, moves: &mut Vec<(VReg, VReg)>) {
        match self.bindings[carried.init] {
            Binding::Int(value) => {
                self.take(carried.init);
                self.int_into(param, value);
            }
            Binding::Const { bits, bytes, width } => {
                self.take(carried.init);
                self.const_into(param, bits, bytes, width);
            }
            _ => {
                let init = self.any(carried.init);
                moves.push((param, init));
            }
        }
    }

    /// Sets carried values at the end of the body. Sums with the old value that nothing else reads come last, so that
    /// they can happen in place.
    fn next_values(&mut self, body: &Loop, params: &[VReg]) -> Result<(), String> {
        let mut moves = Vec::new();
        for (carried, &param) in body.carried.iter().zip(params) {
            if !self.facts.deferred[carried.next.index()] {
                let next = self.any(carried.next);
                moves.push((param, next));
            }
        }
        self.flush();
        for (carried, &param) in body.carried.iter().zip(params) {
            if self.facts.deferred[carried.next.index()] {
                let inst = body.body.stmts.iter().find_map(|stmt| match stmt {
                    Stmt::Let(val, inst) if *val == carried.next => Some(inst),
                    _ => None,
                });
                let inst = inst.ok_or("a deferred value without a definition")?;
                self.define(carried.next, inst)?;
                let next = self.any(carried.next);
                moves.push((param, next));
            }
        }
        self.push_moves(moves);
        Ok(())
    }

    fn branch(&mut self, cond: Val, then: &Block) -> Result<(), String> {
        self.flush();
        if let Binding::Int(value) = self.bindings[cond] {
            self.take(cond);
            return if value == 0 { Ok(()) } else { self.block(then) };
        }
        let end = self.label();
        let skip = self.condition(cond).opposite();
        self.code.steps.push(Step::Branch(skip, end));
        self.block(then)?;
        self.flush();
        self.code.steps.push(Step::Place(end));
        Ok(())
    }

    fn label(&mut self) -> Label {
        self.code.n_labels += 1;
        Label(self.code.n_labels - 1)
    }

    fn push_moves(&mut self, moves: Vec<(VReg, VReg)>) {
        if !moves.is_empty() {
            self.code.steps.push(Step::Moves(moves));
        }
    }
}

/// Bytes of the elements of a vector, or those a mask selects.
fn elem_bytes(ty: Type) -> i64 {
    match ty {
        Type::Vec { elem, .. } => elem.bytes(),
        Type::Mask { bits, .. } => i64::from(bits) / 8,
        Type::Int => 8,
    }
}

/// Register width of a type.
fn width_of(ty: Type) -> Width {
    match ty {
        Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => {
            Width::of_bytes(elem_bytes(ty) * i64::from(lanes))
        }
        Type::Int => Width::X,
    }
}

/// Bytes of all lanes of a type.
fn total_bytes(ty: Type) -> i64 {
    match ty {
        Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => elem_bytes(ty) * i64::from(lanes),
        Type::Int => 8,
    }
}
