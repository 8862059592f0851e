//! Turns scheduled phases into vector code: a kernel for each phase, a driver that cuts its work into units, and a driver for each segment.
//! Input law:  every phase has a schedule, every temporary a place in the arena.
//! Output law: a module whose kernels are vector code without calls and whose drivers are scalar code; the manifest that a runtime needs to
//!             run it. Equal kernels are one function.
//! Why: drivers stay small and are compiled by any back end; kernels take addresses as arguments, so equal layers share code.
//! Cost: O(statements emitted).

mod blocked;
mod bounds;
mod driver;
mod eval;
mod kernel;
mod reduce;
mod sorted;
mod stack;
mod sweep;

use crate::access::Walk;
use crate::pass::PassError;
use dlc_abi::{BufferDesc, BufferRole, ExchangeDesc, Manifest, NUMERICS_VERSION, SegmentDesc};
use dlc_ir::entity::EntityRef;
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{BufferId, Phase, Program};
use dlc_ir::vector::{FuncId, Function, Module};

/// Phases from which on a second thread is worth starting: about half a millisecond of work.
const MIN_PHASES_FOR_THREADS: usize = 12;

/// A program in vector form, with what a runtime must know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorProgram {
    /// Kernels, phases and segments.
    pub module: Module,
    /// Buffers and segments.
    pub manifest: Manifest,
    /// Whether some segment writes a parameter or state.
    pub updates: bool,
}

/// Vectorises a program for a target.
pub fn run(program: &Program, target: &TargetDesc) -> Result<VectorProgram, PassError> {
    let slots = Slots::of(program);
    let mut module = Module::default();
    let mut scratch_bytes = 0;
    let mut segments = Vec::new();
    let mut kernels = kernels(program, target, &slots).into_iter();
    for segment in &program.segments {
        let mut calls = Vec::new();
        for phase in &segment.phases {
            let kernel = kernels.next().expect("there is a kernel for every phase")?;
            scratch_bytes = scratch_bytes.max(kernel.scratch_bytes);
            let function = intern(&mut module, kernel.function.clone());
            let driver = driver::phase(program, phase, &kernel, function);
            let phase_function = intern(&mut module, driver.function);
            calls.push(driver::PhaseCall {
                function: phase_function,
                phase,
                buffers: driver.buffers,
            });
        }
        let parallel = segment.phases.iter().any(|phase| !phase.schedule.serial);
        let name = symbol(&segment.name);
        module.functions.push(driver::segment(&name, &calls, &slots));
        segments.push(SegmentDesc { symbol: name, kind: segment.kind, parallel });
    }
    let manifest = Manifest {
        name: program.name.clone(),
        numerics: NUMERICS_VERSION,
        class: program.class,
        max_batch: program.max_batch,
        shards: program.shards,
        window_of: program.window_of,
        buffers: slots.descriptions(program),
        segments,
        exchanges: program
            .exchanges
            .iter()
            .map(|exchange| ExchangeDesc {
                kind: exchange.kind,
                among: exchange.among,
                from: slots.slot(exchange.from),
                to: slots.slot(exchange.to),
                after: exchange.after,
                before: exchange.before,
            })
            .collect(),
        tables: Vec::new(),
        arena_bytes: program.arena_bytes.next_multiple_of(64),
        scratch_bytes: scratch_bytes.next_multiple_of(64),
    };
    let updates = program
        .segments
        .iter()
        .flat_map(|segment| &segment.phases)
        .flat_map(|phase| phase.writes())
        .any(|buffer| {
            matches!(
                program.buffers[program.memory_of(buffer)].role,
                BufferRole::Param | BufferRole::State
            )
        });
    Ok(VectorProgram { module, manifest, updates })
}

/// The kernels of all phases in order, built on two threads when there are several.
fn kernels(
    program: &Program,
    target: &TargetDesc,
    slots: &Slots,
) -> Vec<Result<kernel::Kernel, PassError>> {
    let phases: Vec<&Phase> = program.segments.iter().flat_map(|segment| &segment.phases).collect();
    let build = |phases: &[&Phase]| -> Vec<Result<kernel::Kernel, PassError>> {
        phases.iter().map(|phase| kernel::build(program, phase, target, slots)).collect()
    };
    if phases.len() < MIN_PHASES_FOR_THREADS {
        return build(&phases);
    }
    let (first, second) = phases.split_at(phases.len() / 2);
    let (mut all, second) = rayon::join(|| build(first), || build(second));
    all.extend(second);
    all
}

/// The function of the same content, or the new one.
fn intern(module: &mut Module, function: Function) -> FuncId {
    let known = module.functions.iter().find(|(_, known)| {
        known.kind == function.kind
            && known.params == function.params
            && known.types == function.types
            && known.body == function.body
    });
    if let Some((id, _)) = known {
        return id;
    }
    let is_taken = |name: &str| module.functions.values().any(|other| other.name == name);
    // Names of buffers may have a number already.
    let base = function.name.split('#').next().unwrap_or(&function.name).to_owned();
    let mut name = function.name.clone();
    let mut count = 1;
    while is_taken(&name) {
        count += 1;
        name = format!("{base}#{count}");
    }
    module.functions.push(Function { name, ..function })
}

/// A name that a function may have, after a name of the source: blanks and punctuation that the text of vector code uses become `_`.
fn symbol(name: &str) -> String {
    let taken = |c: char| c.is_whitespace() || "(){},\"'`".contains(c);
    name.replace(taken, "_")
}

/// Places in the table of buffer addresses: one for every buffer with memory of its own.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Slot of each buffer's memory.
    slot_of: Vec<usize>,
    /// Buffers in order of their slots.
    owners: Vec<BufferId>,
}

impl Slots {
    fn of(program: &Program) -> Slots {
        let owners: Vec<BufferId> =
            program.buffers.keys().filter(|&id| program.memory_of(id) == id).collect();
        let slot_of = program
            .buffers
            .keys()
            .map(|id| {
                let memory = program.memory_of(id);
                owners.iter().position(|&owner| owner == memory).expect("every memory has an owner")
            })
            .collect();
        Slots { slot_of, owners }
    }

    /// Index of a buffer's memory in the table of addresses and in the manifest.
    pub(crate) fn slot(&self, buffer: BufferId) -> usize {
        self.slot_of[buffer.index()]
    }

    fn descriptions(&self, program: &Program) -> Vec<BufferDesc> {
        self.owners
            .iter()
            .map(|&id| {
                let buffer = &program.buffers[id];
                BufferDesc {
                    name: buffer.name.clone(),
                    role: buffer.role,
                    elem: buffer.elem,
                    shape: buffer.shape.clone(),
                    bytes: buffer.bytes(program.max_batch),
                    arena_offset: match buffer.role {
                        BufferRole::Temporary => buffer.arena_offset,
                        BufferRole::Input
                        | BufferRole::Param
                        | BufferRole::State
                        | BufferRole::Output
                        | BufferRole::Table
                        | BufferRole::Message => None,
                    },
                    table: None,
                }
            })
            .collect()
    }
}

/// The walk of an access; buffers with blocked layouts do not reach this pass.
fn walk_of(
    program: &Program,
    buffer: BufferId,
    subs: &[dlc_ir::affine::Affine],
) -> Result<Walk, PassError> {
    Walk::of(&program.buffers, program.max_batch, buffer, subs).ok_or_else(|| {
        PassError::bug(
            "vectorize",
            format!("{} has a blocked layout", program.buffers[buffer].name),
        )
    })
}
