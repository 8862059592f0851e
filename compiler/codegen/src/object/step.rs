//! The entries of a program: one part of one segment, and the whole step.
//!
//! A part checks everything that compiled code relies on, sets the floating-point environment, lays out the step context
//! on its own stack and enters the segment. Then all parts meet, look at each other's error slots, and so all return the
//! same status. They meet once more after an error and at the end of a step, so that nobody begins anew, and clears its
//! slot, while another still looks.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Type, Value, types};
use cranelift_module::FuncId;
use cranelift_object::ObjectModule;
use dlc_abi::{STATUS_BAD_INDEX, STATUS_OK, StepContext};

use super::Ids;
use super::glue::{self, Glue, signature};
use super::interface::{
    ALIGNMENT, CONTEXT_BYTES, Clock, Entry, Interface, MAX_PARTS, Slot, StateUse, Status, offset,
};
use crate::backend::CodegenError;

/// The control word that compiled code needs: see the floating-point environment of the runtime.
const FLOAT_CONTROL: i64 = 0x1F80;

/// Byte offset of `StepContext::barrier_data`.
const OFFSET_BARRIER_DATA: i32 = StepContext::OFFSET_BARRIER + 8;
/// Bytes of a step context, rounded up.
const STEP_CONTEXT_BYTES: u64 = ALIGNMENT;

/// Byte offsets of an error slot's fields.
mod slot_offset {
    pub const STATUS: i32 = 0;
    pub const BUFFER: i32 = 8;
    pub const ELEMENT: i32 = 16;
    pub const VALUE: i32 = 24;
}

/// Byte offsets in the description of a bad index that the caller gets: which pointer of the context, element, value.
mod error_offset {
    pub const POINTER: i32 = 0;
    pub const ELEMENT: i32 = 8;
    pub const VALUE: i32 = 16;
}

/// Defines how compiled code reaches the caller's barrier: `(StepContext, part) -> i32`. Code that runs alone has nobody to
/// wait for.
pub(super) fn barrier(module: &mut ObjectModule, ids: &Ids) -> Result<(), CodegenError> {
    let signature = signature(module, &[types::I64, types::I64], &[types::I32]);
    glue::define(module, ids.barrier, signature, |g, params| {
        let context = g.load(types::I64, params[0], OFFSET_BARRIER_DATA);
        let alone = g.b.ins().icmp_imm_s(IntCC::Equal, context, 0);
        g.fail_if(alone, Status::Ok);
        let part = g.b.ins().ireduce(types::I32, params[1]);
        let status = meet(g, context, part);
        g.leave_with(status);
    })
}

/// Calls the barrier of a context.
fn meet(g: &mut Glue<'_, '_>, context: Value, part: Value) -> Value {
    let signature = signature(g.module, &[types::I64, types::I32], &[types::I32]);
    let signature = g.b.import_signature(signature);
    let function = g.load(types::I64, context, offset::BARRIER);
    let data = g.load(types::I64, context, offset::BARRIER_DATA);
    let call = g.b.ins().call_indirect(signature, function, &[data, part]);
    g.b.inst_results(call)[0]
}

/// Defines `<symbol>(context) -> status`: all segments, one after the other, as one part.
pub(super) fn whole(
    module: &mut ObjectModule,
    entry: &Entry,
    whole: FuncId,
    part: FuncId,
) -> Result<(), CodegenError> {
    let signature = signature(module, &[types::I64], &[types::I32]);
    glue::define(module, whole, signature, |g, params| {
        let (none, one) = (g.int(types::I32, 0), g.int(types::I32, 1));
        for segment in 0..entry.segments.len() {
            let segment = g.int(types::I32, segment as i64);
            let status =
                g.call(part, &[segment, none, one, params[0]]).expect("a part returns a status");
            let go_on = g.b.create_block();
            let leave = g.b.create_block();
            g.b.ins().brif(status, leave, &[], go_on, &[]);
            g.b.switch_to_block(leave);
            g.leave_with(status);
            g.b.switch_to_block(go_on);
        }
        g.leave(Status::Ok);
    })
}

/// What the code of a part has at hand.
struct Part<'a> {
    interface: &'a Interface,
    entry: &'a Entry,
    segment: Value,
    /// Its number, 32 bits wide.
    part: Value,
    /// Of how many, 32 bits wide.
    parts: Value,
    /// Whether there are several.
    several: Value,
    context: Value,
    state: Value,
    workspace: Value,
    /// Addresses that the pointers of the context hold.
    pointers: Vec<Option<Value>>,
    batch: Value,
    /// Bytes of the workspace before the first part's.
    first_part: Value,
}

/// Defines `<symbol>_part(segment, part, parts, context) -> status`.
pub(super) fn part(
    module: &mut ObjectModule,
    ids: &Ids,
    interface: &Interface,
    entry: &Entry,
    id: FuncId,
) -> Result<(), CodegenError> {
    let params = [types::I32, types::I32, types::I32, types::I64];
    let signature = signature(module, &params, &[types::I32]);
    glue::define(module, id, signature, |g, params| {
        let part = checked(g, ids, interface, entry, params);
        part.run(g, ids);
    })
}

/// All checks.
fn checked<'a>(
    g: &mut Glue<'_, '_>,
    ids: &Ids,
    interface: &'a Interface,
    entry: &'a Entry,
    params: &[Value],
) -> Part<'a> {
    let [segment, part, parts, context] = *params else { unreachable!("as the signature says") };
    g.fail_if_null(context);
    let zero = g.word(0);
    let state = match entry.state {
        StateUse::None => zero,
        StateUse::Needs(bytes) => {
            let state = checked_state(g, context, bytes);
            let (found, tag) = (g.load(types::I64, state, 0), g.word(interface.tag));
            g.fail_unless_equal(found, tag, Status::Weights);
            state
        }
        StateUse::Draws => {
            checked_processor(g, ids);
            checked_state(g, context, interface.state_bytes)
        }
    };
    let batch = match entry.max_batch {
        None => g.word(1),
        Some(max) => {
            let batch = g.load(types::I64, context, offset::BATCH);
            // No examples wrap around to more than any limit.
            let below = g.b.ins().iadd_imm_s(batch, -1);
            let beyond = g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, below, max as i64);
            g.fail_if(beyond, Status::Batch);
            batch
        }
    };
    let several = g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, parts, 1);
    let barrier = g.load(types::I64, context, offset::BARRIER);
    let lacks_barrier = g.b.ins().icmp_imm_s(IntCC::Equal, barrier, 0);
    let n_segments = entry.segments.len() as i64;
    for wrong in [
        g.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, part, parts),
        g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, parts, i64::from(MAX_PARTS)),
        g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, segment, n_segments),
        g.b.ins().band(several, lacks_barrier),
    ] {
        g.fail_if(wrong, Status::Part);
    }
    let workspace = g.load(types::I64, context, offset::WORKSPACE);
    g.fail_unless_buffer(workspace);
    let wide_parts = g.b.ins().uextend(types::I64, parts);
    let of_parts = g.b.ins().imul_imm_s(wide_parts, entry.part_bytes() as i64);
    let needed = g.plus(of_parts, entry.shared_bytes);
    let given = g.load(types::I64, context, offset::WORKSPACE_BYTES);
    g.fail_if_small(given, needed);
    let pointers = checked_pointers(g, entry, context);
    let first_part = g.plus(workspace, entry.shared_bytes);
    Part {
        interface,
        entry,
        segment,
        part,
        parts,
        several,
        context,
        state,
        workspace,
        pointers,
        batch,
        first_part,
    }
}

fn checked_state(g: &mut Glue<'_, '_>, context: Value, needed: u64) -> Value {
    let state = g.load(types::I64, context, offset::STATE);
    g.fail_unless_buffer(state);
    let (given, needed) = (g.load(types::I64, context, offset::STATE_BYTES), g.word(needed));
    g.fail_if_small(given, needed);
    state
}

/// Fails on a processor that cannot run the compiled code.
pub(super) fn checked_processor(g: &mut Glue<'_, '_>, ids: &Ids) {
    let fits = g.call(ids.processor, &[]).expect("it returns a truth value");
    let lacks = g.b.ins().icmp_imm_s(IntCC::Equal, fits, 0);
    g.fail_if(lacks, Status::Processor);
}

/// The context's pointers. One may be null only if it is for a scalar result.
fn checked_pointers(g: &mut Glue<'_, '_>, entry: &Entry, context: Value) -> Vec<Option<Value>> {
    let mut pointers = Vec::new();
    for slot in &entry.slots {
        let (index, needs) = match *slot {
            Slot::Pointer(index) => (index, Some(true)),
            Slot::ScalarIn(index, _) => (index, Some(false)),
            Slot::ScalarOut(index, ..) => (index, None),
            Slot::State(_) | Slot::Workspace(_) | Slot::Table(_) | Slot::Clock(_) => continue,
        };
        let pointer = g.load(types::I64, context, CONTEXT_BYTES + 8 * index as i32);
        match needs {
            Some(true) => g.fail_unless_buffer(pointer),
            Some(false) => g.fail_if_null(pointer),
            None => {}
        }
        if pointers.len() <= index {
            pointers.resize(index + 1, None);
        }
        pointers[index] = Some(pointer);
    }
    pointers
}

impl Part<'_> {
    fn pointer(&self, index: usize) -> Value {
        self.pointers[index].expect("loaded with the checks")
    }

    /// Everything after the checks.
    fn run(&self, g: &mut Glue<'_, '_>, ids: &Ids) {
        if self.entry.state == StateUse::Draws {
            let bytes = g.word(self.interface.state_bytes);
            let first = g.b.ins().icmp_imm_s(IntCC::Equal, self.segment, 0);
            let state = self.state;
            g.when(first, |g| {
                g.call(ids.zero, &[state, bytes]);
            });
        }
        let n_scalars = self
            .entry
            .slots
            .iter()
            .filter(|slot| matches!(slot, Slot::ScalarIn(..) | Slot::Clock(_)))
            .count() as u64;
        let scalars_at = STEP_CONTEXT_BYTES + ALIGNMENT;
        let table_at = scalars_at + ALIGNMENT * n_scalars;
        let frame = g.stack(table_at + 8 * self.entry.slots.len() as u64);
        let control = g.plus(frame, STEP_CONTEXT_BYTES);
        let wanted = g.plus(control, 4);
        g.call(ids.control_store, &[control]);
        let default = g.int(types::I32, FLOAT_CONTROL);
        g.store(default, wanted, 0);
        g.call(ids.control_load, &[wanted]);

        let table = g.plus(frame, table_at);
        let scalars = g.plus(frame, scalars_at);
        self.fill_table(g, ids, table, scalars);
        let own = self.slot_of(g, self.part);
        let zero = g.word(0);
        for field in 0..4 {
            g.store(zero, own, 8 * field);
        }
        self.fill_context(g, ids, frame, table, own);

        // From here on the only way out is the block that gives the caller its control word back.
        let done = g.b.create_block();
        let outcome = g.b.append_block_param(done, types::I32);
        let status = self.enter(g, ids, frame);
        self.settle(g, status, done);
        g.b.switch_to_block(done);
        g.call(ids.control_load, &[control]);
        g.leave_with(outcome);
    }

    /// The address of a part's error slot.
    fn slot_of(&self, g: &mut Glue<'_, '_>, part: Value) -> Value {
        let part = g.b.ins().uextend(types::I64, part);
        let bytes = g.b.ins().imul_imm_s(part, self.entry.part_bytes() as i64);
        g.b.ins().iadd(self.first_part, bytes)
    }

    /// Addresses of all buffers; scalars that the caller gives are copied beside them.
    fn fill_table(&self, g: &mut Glue<'_, '_>, ids: &Ids, table: Value, scalars: Value) {
        let mut n_scalars = 0;
        for (index, slot) in self.entry.slots.iter().enumerate() {
            let mut next_scalar = |g: &mut Glue<'_, '_>| {
                let at = g.plus(scalars, ALIGNMENT * n_scalars);
                n_scalars += 1;
                at
            };
            let address = match *slot {
                Slot::State(at) => g.plus(self.state, at),
                Slot::Workspace(at) | Slot::ScalarOut(_, at, _) => g.plus(self.workspace, at),
                Slot::Table(table) => g.data(ids.tables[table]),
                Slot::Pointer(pointer) => self.pointer(pointer),
                Slot::ScalarIn(pointer, bytes) => {
                    let at = next_scalar(g);
                    let value = g.load(int_type(bytes), self.pointer(pointer), 0);
                    g.store(value, at, 0);
                    at
                }
                Slot::Clock(clock) => {
                    let at = next_scalar(g);
                    let field = match clock {
                        Clock::Step => 0,
                        Clock::Steps => 4,
                        Clock::Seed => 8,
                    };
                    let value = g.load(types::I32, self.context, offset::CLOCK + field);
                    g.store(value, at, 0);
                    at
                }
            };
            g.store(address, table, 8 * index as i32);
        }
    }

    fn fill_context(
        &self,
        g: &mut Glue<'_, '_>,
        ids: &Ids,
        frame: Value,
        table: Value,
        own: Value,
    ) {
        let barrier = g.address_of(ids.barrier);
        // The scratch of part p begins p strides behind that of part 0, which lies behind its error slot.
        let scratch = g.plus(self.first_part, ALIGNMENT);
        let stride = g.word(self.entry.part_bytes());
        for (value, at) in [
            (table, StepContext::OFFSET_BUFFERS),
            (self.batch, StepContext::OFFSET_BATCH),
            (barrier, StepContext::OFFSET_BARRIER),
            (scratch, StepContext::OFFSET_SCRATCH),
            (stride, StepContext::OFFSET_SCRATCH_STRIDE),
            (own, StepContext::OFFSET_ERROR),
        ] {
            g.store(value, frame, at);
        }
    }

    /// Enters the segment; returns what it returned.
    fn enter(&self, g: &mut Glue<'_, '_>, ids: &Ids, frame: Value) -> Value {
        let joined = g.b.create_block();
        let status = g.b.append_block_param(joined, types::I32);
        let (part, parts) =
            (g.b.ins().uextend(types::I64, self.part), g.b.ins().uextend(types::I64, self.parts));
        let (nobody, one) = (g.word(0), g.word(1));
        let team = g.b.ins().select(self.several, self.context, nobody);
        let ok = g.int(types::I32, i64::from(STATUS_OK));
        for (index, segment) in self.entry.segments.iter().enumerate() {
            let (here, elsewhere) = (g.b.create_block(), g.b.create_block());
            let is_this = g.b.ins().icmp_imm_s(IntCC::Equal, self.segment, index as i64);
            g.b.ins().brif(is_this, here, &[], elsewhere, &[]);
            g.b.switch_to_block(here);
            let function = ids.functions[&segment.function];
            if segment.parallel {
                g.store(team, frame, OFFSET_BARRIER_DATA);
                let status = g.call(function, &[frame, part, parts]).expect("segments return");
                g.b.ins().jump(joined, &[BlockArg::Value(status)]);
            } else {
                // Too short for company: part 0 runs it, with nobody to wait for.
                let alone = g.b.create_block();
                g.b.ins().brif(part, joined, &[BlockArg::Value(ok)], alone, &[]);
                g.b.switch_to_block(alone);
                g.store(nobody, frame, OFFSET_BARRIER_DATA);
                let status = g.call(function, &[frame, nobody, one]).expect("segments return");
                g.b.ins().jump(joined, &[BlockArg::Value(status)]);
            }
            g.b.switch_to_block(elsewhere);
        }
        // The checks have made sure that the segment is one of these.
        g.b.ins().jump(joined, &[BlockArg::Value(ok)]);
        g.b.switch_to_block(joined);
        status
    }

    /// Meets the other parts and ends in `done` with the status of all.
    fn settle(&self, g: &mut Glue<'_, '_>, status: Value, done: Block) {
        let finish = |g: &mut Glue<'_, '_>, status: Status| {
            let code = g.int(types::I32, i64::from(status.code()));
            g.b.ins().jump(done, &[BlockArg::Value(code)]);
        };
        let cancelled = g.b.create_block();
        let ran = g.b.create_block();
        let is_bad_index = i64::from(STATUS_BAD_INDEX);
        let stopped = g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, status, is_bad_index);
        g.b.ins().brif(stopped, cancelled, &[], ran, &[]);
        g.b.switch_to_block(ran);
        self.meet_others(g, cancelled);
        let worst = self.worst_slot(g);
        let (failed, fine) = (g.b.create_block(), g.b.create_block());
        g.b.ins().brif(worst, failed, &[], fine, &[]);

        g.b.switch_to_block(failed);
        let is_first = g.b.ins().icmp_imm_s(IntCC::Equal, self.part, 0);
        g.when(is_first, |g| self.describe(g, worst));
        self.meet_others(g, cancelled);
        finish(g, Status::Index);

        g.b.switch_to_block(fine);
        let last = self.entry.segments.len() as i64 - 1;
        let is_last = g.b.ins().icmp_imm_s(IntCC::Equal, self.segment, last);
        let (end, more) = (g.b.create_block(), g.b.create_block());
        g.b.ins().brif(is_last, end, &[], more, &[]);
        g.b.switch_to_block(end);
        let is_first = g.b.ins().icmp_imm_s(IntCC::Equal, self.part, 0);
        g.when(is_first, |g| self.deliver(g));
        self.meet_others(g, cancelled);
        g.b.ins().jump(more, &[]);
        g.b.switch_to_block(more);
        finish(g, Status::Ok);

        g.b.switch_to_block(cancelled);
        finish(g, Status::Cancelled);
    }

    fn meet_others(&self, g: &mut Glue<'_, '_>, cancelled: Block) {
        let (wait, go_on) = (g.b.create_block(), g.b.create_block());
        g.b.ins().brif(self.several, wait, &[], go_on, &[]);
        g.b.switch_to_block(wait);
        let refused = meet(g, self.context, self.part);
        g.b.ins().brif(refused, cancelled, &[], go_on, &[]);
        g.b.switch_to_block(go_on);
    }

    /// The address of the error slot that comes first in the program's order of buffers and elements; 0 when nobody noted
    /// anything. It is the same for any number of parts.
    fn worst_slot(&self, g: &mut Glue<'_, '_>) -> Value {
        let (zero, n) = (g.word(0), g.b.ins().uextend(types::I64, self.parts));
        let (_, worst) = g.count((zero, n, 1), zero, |g, part, worst| {
            let bytes = g.b.ins().imul_imm_s(part, self.entry.part_bytes() as i64);
            let slot = g.b.ins().iadd(self.first_part, bytes);
            let status = g.load(types::I64, slot, slot_offset::STATUS);
            let noted = g.b.ins().icmp_imm_s(IntCC::NotEqual, status, 0);
            let first = g.b.ins().icmp_imm_s(IntCC::Equal, worst, 0);
            let other = g.b.ins().select(first, slot, worst);
            let field = |g: &mut Glue<'_, '_>, at: i32| {
                (g.load(types::I64, slot, at), g.load(types::I64, other, at))
            };
            let (buffer, other_buffer) = field(g, slot_offset::BUFFER);
            let (element, other_element) = field(g, slot_offset::ELEMENT);
            let less = g.b.ins().icmp(IntCC::SignedLessThan, buffer, other_buffer);
            let same = g.b.ins().icmp(IntCC::Equal, buffer, other_buffer);
            let earlier = g.b.ins().icmp(IntCC::SignedLessThan, element, other_element);
            let earlier = g.b.ins().band(same, earlier);
            let before = g.b.ins().bor(less, earlier);
            let before = g.b.ins().bor(before, first);
            let better = g.b.ins().band(noted, before);
            g.b.ins().select(better, slot, worst)
        });
        worst
    }

    /// Tells the caller, if it wants to know, which of its pointers held a bad index.
    fn describe(&self, g: &mut Glue<'_, '_>, slot: Value) {
        let error = g.load(types::I64, self.context, offset::ERROR);
        let buffer = g.load(types::I64, slot, slot_offset::BUFFER);
        g.when(error, |g| {
            // An index that the program itself computed is in no buffer of the caller.
            let mut pointer = g.int(types::I64, -1);
            for (index, known) in self.entry.slots.iter().enumerate() {
                if let Slot::Pointer(number) | Slot::ScalarIn(number, _) = *known {
                    let is_this = g.b.ins().icmp_imm_s(IntCC::Equal, buffer, index as i64);
                    let number = g.word(number as u64);
                    pointer = g.b.ins().select(is_this, number, pointer);
                }
            }
            g.store(pointer, error, error_offset::POINTER);
            let element = g.load(types::I64, slot, slot_offset::ELEMENT);
            g.store(element, error, error_offset::ELEMENT);
            let value = g.load(types::I64, slot, slot_offset::VALUE);
            g.store(value, error, error_offset::VALUE);
        });
    }

    /// At the end of a step: scalar results go to the caller, and a state that was drawn gets its tag.
    fn deliver(&self, g: &mut Glue<'_, '_>) {
        for slot in &self.entry.slots {
            if let Slot::ScalarOut(pointer, at, bytes) = *slot {
                let target = self.pointer(pointer);
                let source = g.plus(self.workspace, at);
                g.when(target, |g| {
                    let value = g.load(int_type(bytes), source, 0);
                    g.store(value, target, 0);
                });
            }
        }
        if self.entry.state == StateUse::Draws {
            let tag = g.word(self.interface.tag);
            g.store(tag, self.state, 0);
        }
    }
}

/// The integer type of so many bytes, for copying.
fn int_type(bytes: u64) -> Type {
    match bytes {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}
