//! Calls of other functions, barriers, and what segments take and return.

use super::*;
use crate::wide::machine::Callee;
use dlc_abi::{STATUS_CANCELLED, StepContext};
use dlc_ir::vector::FuncId;

/// Bytes of a slot of the frame.
const SLOT_BYTES: usize = 64;

impl Selector<'_> {
    /// Makes room for the arguments of calls at the start of the frame. A function that calls has a frame in any case: it keeps the stack
    /// aligned.
    pub(super) fn reserve_arguments(&mut self, function: &Function) {
        if let Some(words) = most_arguments(&function.body) {
            for _ in 0..(8 * words).div_ceil(SLOT_BYTES).max(1) {
                self.code.slot();
            }
        }
    }

    /// The arguments of a segment: its context, the part and the number of parts.
    pub(super) fn segment_params(&mut self) {
        let regs: Vec<VReg> =
            self.function.params.iter().map(|_| self.code.reg(Class::Gpr, Width::X)).collect();
        for (&param, &reg) in self.function.params.iter().zip(&regs) {
            self.bind(param, reg);
        }
        self.code.steps.push(Step::Arguments(regs));
    }

    /// Ends a segment with the status that its parts noted in the error slot.
    pub(super) fn return_status(&mut self) {
        self.flush();
        let context = self.gpr(self.function.params[0]);
        let field = |base, disp| Mem { base: Base::Reg(base), index: None, disp };
        let slot =
            self.load(Op::LoadGpr, Width::X, Class::Gpr, field(context, StepContext::OFFSET_ERROR));
        let status = self.load(Op::LoadGpr, Width::X, Class::Gpr, field(slot, 0));
        self.code.steps.push(Step::Return(status));
    }

    /// Arguments travel through memory, so that all functions that are called have the same signature.
    pub(super) fn call(&mut self, function: FuncId, args: &[Val]) {
        for (index, &arg) in args.iter().enumerate() {
            let reg = self.gpr(arg);
            let mem = Mem { base: Base::Slot(0), index: None, disp: 8 * index as i32 };
            self.store_reg(Op::StoreGpr, Width::X, mem, reg, None);
        }
        self.flush();
        self.code.steps.push(Step::Call(Callee::Function(function)));
    }

    /// Waits for the other parts, and leaves the segment if it is told to: at once rather than by a branch to the end, since barriers stand
    /// in loops and liveness wants branches nested in them.
    pub(super) fn barrier(&mut self) {
        self.flush();
        let [context, part] = [0, 1].map(|at| self.gpr(self.function.params[at]));
        let mem = Mem { base: Base::Reg(context), index: None, disp: StepContext::OFFSET_BARRIER };
        let address = self.load(Op::LoadGpr, Width::X, Class::Gpr, mem);
        self.code.steps.push(Step::Call(Callee::Address(address, [context, part])));
        let status = self.code.reg(Class::Gpr, Width::X);
        self.code.steps.push(Step::Returned(status));
        self.use2(Op::Test, status, status);
        let go_on = self.label();
        self.code.steps.push(Step::Branch(Cond::Equal, go_on));
        let cancelled = self.int_reg(i64::from(STATUS_CANCELLED));
        self.code.steps.push(Step::Return(cancelled));
        self.code.steps.push(Step::Place(go_on));
    }
}

/// Words of the longest list of arguments, if something is called; a barrier is called with none in memory.
fn most_arguments(block: &Block) -> Option<usize> {
    let in_stmt = |stmt: &Stmt| match stmt {
        Stmt::Call { args, .. } => Some(args.len()),
        Stmt::Barrier => Some(0),
        Stmt::Loop(inner) => most_arguments(&inner.body),
        Stmt::If { then, .. } => most_arguments(then),
        Stmt::Let(..) | Stmt::Store { .. } | Stmt::IntStore { .. } | Stmt::Transpose { .. } => None,
    };
    block.stmts.iter().filter_map(in_stmt).max()
}
