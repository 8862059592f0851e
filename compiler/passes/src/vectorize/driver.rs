//! Drivers: scalar code that cuts a phase's space into units, and that runs a segment's phases in order.

use super::Slots;
use super::kernel::{Kernel, Param};
use dlc_abi::{Dim, StepContext};
use dlc_ir::tile::{BufferId, Phase, Program};
use dlc_ir::vector::{
    Addr, FuncId, Function, FunctionBuilder, FunctionKind, Inst, IntOp, IntWidth, Stmt, Val,
};

/// A phase's driver.
#[derive(Debug)]
pub(super) struct PhaseDriver {
    /// Parameters: part, parts, batch, scratch, error slot, in a loop the step, then the addresses of `buffers`.
    pub function: Function,
    /// Memories whose addresses it takes, in order.
    pub buffers: Vec<BufferId>,
}

/// A call of a phase in a segment.
#[derive(Debug)]
pub(super) struct PhaseCall<'a> {
    pub function: FuncId,
    pub phase: &'a Phase,
    pub buffers: Vec<BufferId>,
}

const PART: usize = 0;
const PARTS: usize = 1;
const BATCH: usize = 2;
const SCRATCH: usize = 3;
const ERROR: usize = 4;
/// In phases of loops.
const STEP: usize = 5;

/// The first parameter that is an address of a buffer.
fn first_buffer(phase: &Phase) -> usize {
    ERROR + 1 + usize::from(phase.step.is_some())
}

/// Builds the driver of a phase: units `part * n / parts .. (part + 1) * n / parts`, one kernel call each.
pub(super) fn phase(
    program: &Program,
    phase: &Phase,
    kernel: &Kernel,
    function: FuncId,
) -> PhaseDriver {
    let mut buffers: Vec<BufferId> = Vec::new();
    let memories = kernel.params.iter().filter_map(|param| match param {
        Param::Stream(stream) => Some(program.memory_of(kernel.streams[*stream].buffer)),
        Param::Base(buffer) => Some(*buffer),
        Param::Origin(_) | Param::Count(_) | Param::Batch | Param::Scratch | Param::Error => None,
    });
    for memory in memories {
        if !buffers.contains(&memory) {
            buffers.push(memory);
        }
    }
    let mut fb = FunctionBuilder::new(
        super::symbol(&phase.name),
        FunctionKind::Phase,
        first_buffer(phase) + buffers.len(),
    );
    let units = &phase.schedule.units;
    let counts: Vec<Val> = units
        .iter()
        .map(|unit| {
            let extent = extent(&mut fb, phase.axes[unit.axis]);
            let rounded = fb.iadd_const(extent, unit.tile - 1);
            divided(&mut fb, rounded, unit.tile)
        })
        .collect();
    let mut total = fb.int(1);
    for &count in &counts {
        total = fb.int_op(IntOp::Mul, total, count);
    }
    let (part, parts) = (fb.param(PART), fb.param(PARTS));
    let low = bound(&mut fb, total, part, parts);
    let next = fb.iadd_const(part, 1);
    let high = bound(&mut fb, total, next, parts);
    let trip = fb.int_op(IntOp::Sub, high, low);
    let open = fb.open_loop(trip, &[]);
    let mut number = fb.iadd(low, open.iv);
    // The last unit axis runs fastest.
    let mut coordinates = vec![number; units.len()];
    for at in (0..units.len()).rev() {
        if at == 0 {
            coordinates[0] = number;
        } else {
            coordinates[at] = fb.int_op(IntOp::Rem, number, counts[at]);
            number = fb.int_op(IntOp::Div, number, counts[at]);
        }
    }
    let step = phase.step.map(|_| fb.param(STEP));
    let cuts: Vec<Val> =
        units.iter().zip(&coordinates).map(|(unit, &at)| fb.imul_const(at, unit.tile)).collect();
    let origins: Vec<Val> = step.into_iter().chain(cuts).collect();
    let args = kernel_args(program, phase, kernel, &buffers, &origins, &mut fb);
    fb.push(Stmt::Call { func: function, args });
    fb.close_loop(open, Vec::new());
    PhaseDriver { function: fb.finish(), buffers }
}

fn kernel_args(
    program: &Program,
    phase: &Phase,
    kernel: &Kernel,
    buffers: &[BufferId],
    origins: &[Val],
    fb: &mut FunctionBuilder,
) -> Vec<Val> {
    let units = phase.unit_axes();
    let address = |fb: &FunctionBuilder, memory: BufferId| {
        let at =
            buffers.iter().position(|&known| known == memory).expect("every memory is a parameter");
        fb.param(first_buffer(phase) + at)
    };
    let mut args = Vec::with_capacity(kernel.params.len());
    for param in &kernel.params {
        args.push(match *param {
            Param::Stream(stream) => {
                let walk = &kernel.streams[stream];
                let elem_bytes = program.buffers[walk.buffer].elem.size() as i64;
                let mut at = address(fb, program.memory_of(walk.buffer));
                for (unit, &origin) in units.iter().zip(origins) {
                    let stride = walk.panel_stride(unit.axis) * elem_bytes;
                    if stride != 0 {
                        let bytes = fb.imul_const(origin, stride);
                        at = fb.iadd(at, bytes);
                    }
                }
                at
            }
            Param::Base(memory) => address(fb, memory),
            Param::Origin(axis) => match units.iter().position(|unit| unit.axis == axis) {
                Some(at) => origins[at],
                None => fb.int(0),
            },
            Param::Count(axis) => {
                let whole = extent(fb, phase.axes[axis]);
                match units.iter().position(|unit| unit.axis == axis) {
                    Some(at) => {
                        let left = fb.int_op(IntOp::Sub, whole, origins[at]);
                        let tile = fb.int(units[at].tile);
                        fb.int_op(IntOp::Min, left, tile)
                    }
                    None => whole,
                }
            }
            Param::Batch => fb.param(BATCH),
            Param::Scratch => fb.param(SCRATCH),
            Param::Error => fb.param(ERROR),
        });
    }
    args
}

/// `floor(total * part / parts)`.
fn bound(fb: &mut FunctionBuilder, total: Val, part: Val, parts: Val) -> Val {
    let product = fb.int_op(IntOp::Mul, total, part);
    fb.int_op(IntOp::Div, product, parts)
}

fn extent(fb: &mut FunctionBuilder, dim: Dim) -> Val {
    if dim.batch_factor == 0 {
        return fb.int(dim.constant);
    }
    let batch = fb.param(BATCH);
    let scaled = fb.imul_const(batch, dim.batch_factor);
    fb.iadd_const(scaled, dim.constant)
}

fn divided(fb: &mut FunctionBuilder, n: Val, by: i64) -> Val {
    if by == 1 {
        return n;
    }
    let by = fb.int(by);
    fb.int_op(IntOp::Div, n, by)
}

/// Builds the driver of a segment.
pub(super) fn segment(name: &str, calls: &[PhaseCall<'_>], slots: &Slots) -> Function {
    let mut fb = FunctionBuilder::new(name, FunctionKind::Segment, 3);
    let (context, part, parts) = (fb.param(0), fb.param(1), fb.param(2));
    let field = |fb: &mut FunctionBuilder, offset: i32| {
        fb.inst(Inst::IntLoad(IntWidth::I64, Addr::offset(context, offset)))
    };
    let table = field(&mut fb, StepContext::OFFSET_BUFFERS);
    let batch = field(&mut fb, StepContext::OFFSET_BATCH);
    let error = field(&mut fb, StepContext::OFFSET_ERROR);
    let scratch = field(&mut fb, StepContext::OFFSET_SCRATCH);
    let stride = field(&mut fb, StepContext::OFFSET_SCRATCH_STRIDE);
    let own = fb.int_op(IntOp::Mul, part, stride);
    let scratch = fb.iadd(scratch, own);
    let zero = fb.int(0);
    let one = fb.int(1);
    let is_first = fb.int_op(IntOp::Equal, part, zero);
    let run = |fb: &mut FunctionBuilder, call: &PhaseCall<'_>, step: Option<Val>| {
        if call.phase.barrier_before {
            fb.push(Stmt::Barrier);
        }
        let serial = call.phase.schedule.serial;
        if serial {
            fb.open_if();
        }
        let mut args = if serial { vec![zero, one] } else { vec![part, parts] };
        args.extend([batch, scratch, error]);
        args.extend(step);
        for &buffer in &call.buffers {
            let offset = 8 * slots.slot(buffer) as i32;
            args.push(fb.inst(Inst::IntLoad(IntWidth::I64, Addr::offset(table, offset))));
        }
        fb.push(Stmt::Call { func: call.function, args });
        if serial {
            fb.close_if(is_first);
        }
    };
    let mut rest = calls;
    while let Some(first) = rest.first() {
        let Some(step) = first.phase.step else {
            run(&mut fb, first, None);
            rest = &rest[1..];
            continue;
        };
        let n_own = rest.iter().take_while(|call| call.phase.step == Some(step)).count();
        let (own, later) = rest.split_at(n_own);
        rest = later;
        let trip = extent(&mut fb, first.phase.axes[0]);
        let last = fb.iadd_const(trip, -1);
        let open = fb.open_loop(trip, &[]);
        let at = if step.reverse { fb.int_op(IntOp::Sub, last, open.iv) } else { open.iv };
        for call in own {
            run(&mut fb, call, Some(at));
        }
        fb.close_loop(open, Vec::new());
    }
    fb.finish()
}
