//! Functions, blocks, loops, calls and barriers.

use cranelift_codegen::Context;
use cranelift_codegen::ir::{
    self as clif, AbiParam, BlockArg, ExtFuncData, ExternalName, FuncRef, InstBuilder,
    MemFlagsData, Signature, SourceLoc, StackSlot, StackSlotData, StackSlotKind, UserExternalName,
    UserFuncName, Value, condcodes::IntCC, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use dlc_abi::{STATUS_CANCELLED, StepContext};
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::vector::{Block, Elem, FuncId, Function, FunctionKind, Loop, Stmt, Type, Val};

/// Fills a Cranelift context with one function, whose values all fit 128-bit registers.
pub(super) fn translate(context: &mut Context, isa: &dyn TargetIsa, function: &Function) {
    context.func.name = UserFuncName::default();
    context.func.signature = signature(isa, function.kind);
    let mut builder_context = FunctionBuilderContext::new();
    let builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let mut lowering = Lowering {
        b: builder,
        isa,
        is_x86: super::is_x86(isa),
        has_fma: super::has_fma(isa),
        types: &function.types,
        values: vec![Value::from_u32(u32::MAX - 1); function.types.len()],
        context: None,
        part: None,
        cancelled: None,
        callees: Vec::new(),
        args_slot: None,
        zero_slot: None,
        sink_slot: None,
    };
    lowering.function(function);
    lowering.b.seal_all_blocks();
    lowering.b.finalize(isa.frontend_config());
}

fn signature(isa: &dyn TargetIsa, kind: FunctionKind) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.push(AbiParam::new(types::I64));
    match kind {
        FunctionKind::Kernel | FunctionKind::Phase => {}
        FunctionKind::Segment => {
            signature.params.push(AbiParam::new(types::I64));
            signature.params.push(AbiParam::new(types::I64));
            signature.returns.push(AbiParam::new(types::I32));
        }
    }
    signature
}

/// State of one function's translation.
pub(super) struct Lowering<'a> {
    pub(super) b: FunctionBuilder<'a>,
    isa: &'a dyn TargetIsa,
    pub(super) is_x86: bool,
    pub(super) has_fma: bool,
    pub(super) types: &'a IndexVec<Val, Type>,
    /// The Cranelift value of each value; defined before use because verified functions are.
    values: Vec<Value>,
    /// The context's address, in segments.
    context: Option<Value>,
    /// The part's number, in segments.
    part: Option<Value>,
    /// The block that returns [`STATUS_CANCELLED`], once a barrier needs it.
    cancelled: Option<clif::Block>,
    /// Functions called so far.
    callees: Vec<(FuncId, FuncRef)>,
    /// Where arguments of calls are written.
    args_slot: Option<StackSlot>,
    /// Zeros, where masked-off lanes load from.
    pub(super) zero_slot: Option<StackSlot>,
    /// Where masked-off lanes are stored.
    pub(super) sink_slot: Option<StackSlot>,
}

/// Memory that belongs to the generated code itself or to its caller, aligned.
pub(super) fn own() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// The type of the register that holds a value.
pub(super) fn register_type(ty: Type) -> clif::Type {
    match ty {
        Type::Int => types::I64,
        Type::Vec { elem: Elem::F32, .. } => types::F32X4,
        Type::Vec { elem: Elem::F64, .. } => types::F64X2,
        Type::Vec { elem: Elem::I32, .. } | Type::Mask { bits: 32, .. } => types::I32X4,
        Type::Vec { elem: Elem::I64, .. } | Type::Mask { .. } => types::I64X2,
    }
}

impl Lowering<'_> {
    pub(super) fn val(&self, val: Val) -> Value {
        self.values[val.index()]
    }

    pub(super) fn define(&mut self, val: Val, value: Value) {
        self.values[val.index()] = value;
    }

    pub(super) fn iconst(&mut self, value: i64) -> Value {
        self.b.ins().iconst(types::I64, value)
    }

    fn function(&mut self, function: &Function) {
        // One location for all instructions marks where code ends and constants begin.
        self.b.set_srcloc(SourceLoc::new(1));
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        let params = self.b.block_params(entry).to_vec();
        match function.kind {
            FunctionKind::Kernel | FunctionKind::Phase => {
                // Nobody writes the arguments while the callee runs, so each is loaded where it is first needed.
                let flags = own().with_readonly().with_can_move();
                for (index, &param) in function.params.iter().enumerate() {
                    let offset = 8 * i32::try_from(index).expect("few parameters");
                    let value = self.b.ins().load(types::I64, flags, params[0], offset);
                    self.define(param, value);
                }
                self.block(&function.body);
                self.b.ins().return_(&[]);
            }
            FunctionKind::Segment => {
                for (&param, &value) in function.params.iter().zip(&params) {
                    self.define(param, value);
                }
                (self.context, self.part) = (Some(params[0]), Some(params[1]));
                self.block(&function.body);
                self.return_status(params[0]);
            }
        }
    }

    /// Ends a segment with the status that its parts noted in the error slot.
    fn return_status(&mut self, context: Value) {
        let slot = self.b.ins().load(types::I64, own(), context, StepContext::OFFSET_ERROR);
        let status = self.b.ins().load(types::I64, own(), slot, 0);
        let status = self.b.ins().ireduce(types::I32, status);
        self.b.ins().return_(&[status]);
        if let Some(cancelled) = self.cancelled {
            self.b.switch_to_block(cancelled);
            let status = self.b.ins().iconst(types::I32, i64::from(STATUS_CANCELLED));
            self.b.ins().return_(&[status]);
        }
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(val, inst) => {
                let value = self.inst(self.types[*val], inst);
                self.define(*val, value);
            }
            Stmt::Store { storage, addr, value, mask } => {
                self.store(*storage, addr, *value, *mask);
            }
            Stmt::IntStore { width, addr, value } => self.int_store(*width, addr, *value),
            Stmt::Transpose { inputs, results } => self.transpose(inputs, results),
            Stmt::Loop(inner) => self.for_loop(inner),
            Stmt::If { cond, then } => {
                let cond = self.condition(*cond);
                let (then_block, done) = (self.b.create_block(), self.b.create_block());
                self.b.ins().brif(cond, then_block, [], done, []);
                self.b.switch_to_block(then_block);
                self.block(then);
                self.b.ins().jump(done, []);
                self.b.switch_to_block(done);
            }
            Stmt::Call { func, args } => self.call(*func, args),
            Stmt::Barrier => self.barrier(),
        }
    }

    /// An Int as the condition of a branch: the comparison itself, where it is one.
    fn condition(&mut self, cond: Val) -> Value {
        let value = self.val(cond);
        match self.definition(value) {
            Some(clif::InstructionData::Unary { opcode: clif::Opcode::Uextend, arg }) => arg,
            _ => value,
        }
    }

    fn definition(&self, value: Value) -> Option<clif::InstructionData> {
        let dfg = &self.b.func.dfg;
        dfg.value_def(value).inst().map(|inst| dfg.insts[inst])
    }

    fn is_positive_constant(&self, value: Value) -> bool {
        match self.definition(value) {
            Some(clif::InstructionData::UnaryImm { opcode: clif::Opcode::Iconst, imm }) => {
                imm.bits() > 0
            }
            _ => false,
        }
    }

    /// The test stands at the end of the body, with a guard before it where the loop may run zero times.
    fn for_loop(&mut self, inner: &Loop) {
        let trip = self.val(inner.trip);
        let init: Vec<BlockArg> =
            inner.carried.iter().map(|carried| self.val(carried.init).into()).collect();
        let (body, done) = (self.b.create_block(), self.b.create_block());
        let iv = self.b.append_block_param(body, types::I64);
        self.define(inner.iv, iv);
        for carried in &inner.carried {
            let ty = register_type(self.types[carried.param]);
            let param = self.b.append_block_param(body, ty);
            self.define(carried.param, param);
        }
        let zero = self.iconst(0);
        let first: Vec<BlockArg> =
            std::iter::once(zero.into()).chain(init.iter().copied()).collect();
        if self.is_positive_constant(trip) {
            self.b.ins().jump(body, &first);
        } else {
            let enter = self.b.ins().icmp(IntCC::SignedGreaterThan, trip, zero);
            self.b.ins().brif(enter, body, &first, done, &init);
        }

        self.b.switch_to_block(body);
        self.block(&inner.body);
        let one = self.iconst(1);
        let next_iv = self.b.ins().iadd(iv, one);
        let again = self.b.ins().icmp(IntCC::SignedLessThan, next_iv, trip);
        let next: Vec<BlockArg> =
            inner.carried.iter().map(|carried| self.val(carried.next).into()).collect();
        let round: Vec<BlockArg> =
            std::iter::once(next_iv.into()).chain(next.iter().copied()).collect();
        self.b.ins().brif(again, body, &round, done, &next);

        for carried in &inner.carried {
            let ty = register_type(self.types[carried.result]);
            let result = self.b.append_block_param(done, ty);
            self.define(carried.result, result);
        }
        self.b.switch_to_block(done);
    }

    /// A stack slot of at least `bytes`, shared by all users that pass the same `slot`.
    pub(super) fn slot(&mut self, slot: Option<StackSlot>, bytes: u32) -> StackSlot {
        match slot {
            Some(slot) => {
                let data = &mut self.b.func.sized_stack_slots[slot];
                data.size = data.size.max(bytes);
                slot
            }
            None => {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
                self.b.create_sized_stack_slot(data)
            }
        }
    }

    /// Arguments travel through memory, so that every kernel has the same signature.
    fn call(&mut self, func: FuncId, args: &[Val]) {
        let bytes = 8 * u32::try_from(args.len()).expect("few arguments");
        let slot = self.slot(self.args_slot, bytes.max(8));
        self.args_slot = Some(slot);
        let base = self.b.ins().stack_addr(types::I64, slot, 0);
        for (index, &arg) in args.iter().enumerate() {
            let value = self.val(arg);
            self.b.ins().store(own(), value, base, 8 * index as i32);
        }
        let callee = self.callee(func);
        self.b.ins().call(callee, &[base]);
    }

    fn callee(&mut self, func: FuncId) -> FuncRef {
        if let Some(&(_, callee)) = self.callees.iter().find(|(id, _)| *id == func) {
            return callee;
        }
        let name = UserExternalName { namespace: 0, index: func.index() as u32 };
        let name = ExternalName::user(self.b.func.declare_imported_user_function(name));
        // Only kernels and phases are called, and both are called alike.
        let signature = signature(self.isa, FunctionKind::Phase);
        let signature = self.b.import_signature(signature);
        let data = ExtFuncData { name, signature, colocated: true, patchable: false };
        let callee = self.b.import_function(data);
        self.callees.push((func, callee));
        callee
    }

    fn barrier(&mut self) {
        let context = self.context.expect("barriers stand in segments only");
        let part = self.part.expect("barriers stand in segments only");
        let mut signature = Signature::new(self.isa.default_call_conv());
        signature.params = vec![AbiParam::new(types::I64); 2];
        signature.returns = vec![AbiParam::new(types::I32)];
        let signature = self.b.import_signature(signature);
        let function = self.b.ins().load(types::I64, own(), context, StepContext::OFFSET_BARRIER);
        let call = self.b.ins().call_indirect(signature, function, &[context, part]);
        let status = self.b.inst_results(call)[0];
        let cancelled = match self.cancelled {
            Some(block) => block,
            None => self.b.create_block(),
        };
        self.cancelled = Some(cancelled);
        let go_on = self.b.create_block();
        self.b.ins().brif(status, cancelled, [], go_on, []);
        self.b.switch_to_block(go_on);
    }
}
