//! What the entries of an object file are built with: Cranelift's builder, checks that return a status, and calls.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, ExternalName, InstBuilder, MemFlagsData, Signature, StackSlotData,
    StackSlotKind, Type, Value, types,
};
use cranelift_codegen::{Context, FinalizedRelocTarget, ir};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataId, FuncId, Module as _};
use cranelift_object::ObjectModule;

use super::interface::{ALIGNMENT, Status};
use crate::backend::CodegenError;

/// Memory of the caller or of the code itself; whether it is aligned is not known.
pub(super) fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// A signature of words and 32-bit numbers.
pub(super) fn signature(module: &ObjectModule, params: &[Type], returns: &[Type]) -> Signature {
    let mut signature = module.make_signature();
    signature.params.extend(params.iter().map(|&ty| AbiParam::new(ty)));
    signature.returns.extend(returns.iter().map(|&ty| AbiParam::new(ty)));
    signature
}

/// Builds one entry.
pub(super) struct Glue<'a, 'm> {
    pub b: FunctionBuilder<'a>,
    pub module: &'m mut ObjectModule,
    /// Returns the status it is given.
    exit: Block,
}

/// Defines a function of the module; `build` ends every block it opens. Nothing outside the module may be called.
pub(super) fn define(
    module: &mut ObjectModule,
    id: FuncId,
    signature: Signature,
    build: impl FnOnce(&mut Glue<'_, '_>, &[Value]),
) -> Result<(), CodegenError> {
    let returned = signature.returns.first().map(|returned| returned.value_type);
    let mut context = Context::new();
    context.func = ir::Function::with_name_signature(ir::UserFuncName::default(), signature);
    let mut builder_context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    let exit = b.create_block();
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let mut glue = Glue { b, module, exit };
    build(&mut glue, &params);
    let Glue { mut b, module, exit } = glue;
    b.switch_to_block(exit);
    if let Some(ty) = returned {
        let status = b.append_block_param(exit, ty);
        b.ins().return_(&[status]);
    } else {
        b.ins().return_(&[]);
    }
    b.seal_all_blocks();
    b.finalize(module.isa().frontend_config());
    module.define_function(id, &mut context).map_err(|error| super::broken(&error))?;
    let code = context.compiled_code().expect("compiled just above");
    let is_ours = |target: &FinalizedRelocTarget| match target {
        FinalizedRelocTarget::ExternalName(ExternalName::User(_))
        | FinalizedRelocTarget::Func(_) => true,
        FinalizedRelocTarget::ExternalName(_) => false,
    };
    match code.buffer.relocs().iter().find(|relocation| !is_ours(&relocation.target)) {
        Some(relocation) => Err(super::broken(&format!("a call of {:?}", relocation.target))),
        None => Ok(()),
    }
}

/// As [`define`], for a function that computes a value.
pub(super) fn define_value(
    module: &mut ObjectModule,
    id: FuncId,
    signature: Signature,
    build: impl FnOnce(&mut Glue<'_, '_>, &[Value]) -> Value,
) -> Result<(), CodegenError> {
    define(module, id, signature, |glue, params| {
        let value = build(glue, params);
        glue.leave_with(value);
    })
}

impl Glue<'_, '_> {
    pub fn int(&mut self, ty: Type, value: i64) -> Value {
        self.b.ins().iconst(ty, value)
    }

    pub fn word(&mut self, value: u64) -> Value {
        self.b.ins().iconst(types::I64, value as i64)
    }

    pub fn load(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        self.b.ins().load(ty, flags(), base, offset)
    }

    pub fn store(&mut self, value: Value, base: Value, offset: i32) {
        self.b.ins().store(flags(), value, base, offset);
    }

    pub fn plus(&mut self, base: Value, offset: u64) -> Value {
        if offset == 0 { base } else { self.b.ins().iadd_imm_s(base, offset as i64) }
    }

    /// Ends the function with a status.
    pub fn leave(&mut self, status: Status) {
        let code = self.int(types::I32, i64::from(status.code()));
        self.leave_with(code);
    }

    /// Ends the function with a status that is a value.
    pub fn leave_with(&mut self, status: Value) {
        self.b.ins().jump(self.exit, &[BlockArg::Value(status)]);
    }

    /// Ends the function with a number.
    pub fn leave_number(&mut self, number: i64) {
        let number = self.int(types::I32, number);
        self.leave_with(number);
    }

    /// Ends the function with a value where a condition holds, and goes on elsewhere.
    pub fn leave_with_if(&mut self, condition: Value, value: Value) {
        let go_on = self.b.create_block();
        self.b.ins().brif(condition, self.exit, &[BlockArg::Value(value)], go_on, &[]);
        self.b.switch_to_block(go_on);
    }

    /// Ends the function with a number where a condition holds, and goes on elsewhere.
    pub fn leave_if(&mut self, condition: Value, number: i64) {
        let number = self.int(types::I32, number);
        self.leave_with_if(condition, number);
    }

    /// Ends the function with 0 where a condition does not hold.
    pub fn need(&mut self, condition: Value) {
        let lacks = self.b.ins().icmp_imm_s(IntCC::Equal, condition, 0);
        self.leave_if(lacks, 0);
    }

    /// Ends a function that returns nothing.
    pub fn leave_silently(&mut self) {
        self.b.ins().jump(self.exit, &[]);
    }

    /// Ends the function with a status where a condition holds, and goes on elsewhere.
    pub fn fail_if(&mut self, condition: Value, status: Status) {
        self.leave_if(condition, i64::from(status.code()));
    }

    pub fn fail_unless_equal(&mut self, a: Value, b: Value, status: Status) {
        let differ = self.b.ins().icmp(IntCC::NotEqual, a, b);
        self.fail_if(differ, status);
    }

    pub fn fail_if_null(&mut self, pointer: Value) {
        let is_null = self.b.ins().icmp_imm_s(IntCC::Equal, pointer, 0);
        self.fail_if(is_null, Status::Null);
    }

    /// Fails unless `pointer` is the address of a buffer that compiled code may touch.
    pub fn fail_unless_buffer(&mut self, pointer: Value) {
        self.fail_if_null(pointer);
        let low = self.b.ins().band_imm_s(pointer, ALIGNMENT as i64 - 1);
        self.fail_if(low, Status::Misaligned);
    }

    /// Fails when `bytes` are fewer than `needed`.
    pub fn fail_if_small(&mut self, bytes: Value, needed: Value) {
        let is_small = self.b.ins().icmp(IntCC::UnsignedLessThan, bytes, needed);
        self.fail_if(is_small, Status::TooSmall);
    }

    /// Runs `then` where a condition holds.
    pub fn when(&mut self, condition: Value, then: impl FnOnce(&mut Self)) {
        let (yes, done) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, yes, &[], done, &[]);
        self.b.switch_to_block(yes);
        then(self);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }

    /// Calls a function of the module.
    pub fn call(&mut self, callee: FuncId, args: &[Value]) -> Option<Value> {
        let callee = self.module.declare_func_in_func(callee, self.b.func);
        let call = self.b.ins().call(callee, args);
        self.b.inst_results(call).first().copied()
    }

    /// As [`Glue::call`], of a function that returns a value.
    pub fn value(&mut self, callee: FuncId, args: &[Value]) -> Value {
        self.call(callee, args).expect("the function returns a value")
    }

    /// The address of a function of the module.
    pub fn address_of(&mut self, function: FuncId) -> Value {
        let function = self.module.declare_func_in_func(function, self.b.func);
        self.b.ins().func_addr(types::I64, function)
    }

    /// The address of data of the module.
    pub fn data(&mut self, data: DataId) -> Value {
        let data = self.module.declare_data_in_func(data, self.b.func);
        self.b.ins().symbol_value(types::I64, data)
    }

    /// The address of `bytes` of the function's own memory, on a boundary of [`ALIGNMENT`].
    pub fn stack(&mut self, bytes: u64) -> Value {
        let bytes = u32::try_from(bytes + ALIGNMENT).expect("a frame holds addresses of buffers");
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(
            StackSlotKind::ExplicitSlot,
            bytes,
            4,
        ));
        let base = self.b.ins().stack_addr(types::I64, slot, 0);
        let above = self.b.ins().iadd_imm_s(base, ALIGNMENT as i64 - 1);
        self.b.ins().band_imm_s(above, -(ALIGNMENT as i64))
    }

    /// Repeats `body`, which alone can end the function.
    pub fn forever(&mut self, body: impl FnOnce(&mut Self)) {
        let head = self.b.create_block();
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        body(self);
        self.b.ins().jump(head, &[]);
    }

    /// Repeats `body` with numbers from `start` in steps of `step` while they are less than `end`, unsigned, carrying a
    /// value; returns the number and the value at the end.
    pub fn count(
        &mut self,
        (start, end, step): (Value, Value, i64),
        carried: Value,
        body: impl FnOnce(&mut Self, Value, Value) -> Value,
    ) -> (Value, Value) {
        let ty = self.b.func.dfg.value_type(carried);
        let (head, inside, done) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let number = self.b.append_block_param(head, types::I64);
        let value = self.b.append_block_param(head, ty);
        self.b.ins().jump(head, &[BlockArg::Value(start), BlockArg::Value(carried)]);
        self.b.switch_to_block(head);
        let again = self.b.ins().icmp(IntCC::UnsignedLessThan, number, end);
        self.b.ins().brif(again, inside, &[], done, &[]);
        self.b.switch_to_block(inside);
        let next_value = body(self, number, value);
        let next = self.b.ins().iadd_imm_s(number, step);
        self.b.ins().jump(head, &[BlockArg::Value(next), BlockArg::Value(next_value)]);
        self.b.switch_to_block(done);
        (number, value)
    }
}
