//! Places temporaries in one arena by their lifetimes, and puts barriers where a phase depends on an earlier one.
//! Input law:  phases are in their final order.
//! Output law: temporaries that live at the same time do not overlap; between two phases of which one writes memory that the other reads or
//!             writes, there is a barrier. Buffers that no phase touches are gone, but for inputs, parameters and state.
//! Why: memory stays near the largest set of live tensors, and a barrier costs about as much as a small phase.
//! Cost: O(phases * buffers).

use dlc_abi::BufferRole;
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::tile::{BufferId, Expr, Phase, Program};

/// First and last phase, in order of execution, that touch a buffer's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime {
    first: usize,
    last: usize,
}

/// Plans memory and barriers.
pub fn run(mut program: Program) -> Program {
    prune(&mut program);
    place(&mut program);
    barriers(&mut program);
    program
}

/// Drops buffers that nothing touches, and renumbers the others.
fn prune(program: &mut Program) {
    let mut keep: Vec<bool> = program
        .buffers
        .values()
        .map(|buffer| buffer.role != BufferRole::Temporary && buffer.alias_of.is_none())
        .collect();
    for phase in program.segments.iter().flat_map(|segment| &segment.phases) {
        for buffer in phase.reads().chain(phase.writes()) {
            keep[buffer.index()] = true;
            keep[program.memory_of(buffer).index()] = true;
        }
    }
    let mut new_id: Vec<Option<BufferId>> = vec![None; keep.len()];
    let mut buffers = IndexVec::new();
    for (id, buffer) in program.buffers.iter().filter(|(id, _)| keep[id.index()]) {
        let mut buffer = buffer.clone();
        // Chains of aliases are cut short: what is between may be gone.
        buffer.alias_of = buffer.alias_of.map(|_| program.memory_of(id));
        new_id[id.index()] = Some(buffers.push(buffer));
    }
    let to =
        |id: BufferId| new_id[id.index()].expect("every touched buffer and its memory are kept");
    for buffer in buffers.values_mut() {
        buffer.alias_of = buffer.alias_of.map(to);
    }
    for phase in program.segments.iter_mut().flat_map(|segment| &mut segment.phases) {
        for store in &mut phase.stores {
            store.buffer = to(store.buffer);
        }
        for node in phase.exprs.values_mut() {
            if let Expr::Load { buffer, .. } | Expr::Gather { buffer, .. } = &mut node.expr {
                *buffer = to(*buffer);
            }
        }
    }
    for exchange in &mut program.exchanges {
        exchange.from = to(exchange.from);
        exchange.to = to(exchange.to);
    }
    program.buffers = buffers;
}

/// First fit in order of size: large tensors get the low addresses, small ones fill the holes.
fn place(program: &mut Program) {
    let lifetimes = lifetimes(program);
    let mut order: Vec<BufferId> = program
        .buffers
        .iter()
        .filter(|(id, buffer)| {
            buffer.role == BufferRole::Temporary
                && buffer.alias_of.is_none()
                && lifetimes[id.index()].is_some()
        })
        .map(|(id, _)| id)
        .collect();
    let bytes = |program: &Program, id: BufferId| program.buffers[id].bytes(program.max_batch);
    order.sort_by_key(|&id| (std::cmp::Reverse(bytes(program, id)), id));
    let mut placed: Vec<(BufferId, u64)> = Vec::new();
    for id in order {
        let life = lifetimes[id.index()].expect("filtered above");
        let mut taken: Vec<(u64, u64)> = placed
            .iter()
            .filter(|(other, _)| {
                let other = lifetimes[other.index()].expect("only used buffers are placed");
                life.first <= other.last && other.first <= life.last
            })
            .map(|&(other, offset)| (offset, offset + bytes(program, other)))
            .collect();
        taken.sort_unstable();
        let size = bytes(program, id);
        let mut offset = 0;
        for (start, end) in taken {
            if offset + size <= start {
                break;
            }
            offset = offset.max(end);
        }
        placed.push((id, offset));
        program.buffers[id].arena_offset = Some(offset);
        program.arena_bytes = program.arena_bytes.max(offset + size);
    }
}

fn lifetimes(program: &Program) -> Vec<Option<Lifetime>> {
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; program.buffers.len()];
    let phases = program.segments.iter().flat_map(|segment| &segment.phases);
    for (at, phase) in phases.enumerate() {
        for buffer in phase.reads().chain(phase.writes()) {
            let memory = program.memory_of(buffer);
            let life = lifetimes[memory.index()].get_or_insert(Lifetime { first: at, last: at });
            life.last = at;
        }
    }
    lifetimes
}

/// A range of memory: of the arena, or of a buffer with memory of its own.
#[derive(Debug, Clone, Copy)]
struct Range {
    arena: bool,
    buffer: BufferId,
    start: u64,
    end: u64,
}

impl Range {
    fn of(program: &Program, buffer: BufferId) -> Range {
        let memory = program.memory_of(buffer);
        let bytes = program.buffers[memory].bytes(program.max_batch);
        match program.buffers[memory].arena_offset {
            Some(offset) => {
                Range { arena: true, buffer: memory, start: offset, end: offset + bytes }
            }
            None => Range { arena: false, buffer: memory, start: 0, end: bytes },
        }
    }

    fn overlaps(&self, other: &Range) -> bool {
        let same_memory =
            if self.arena && other.arena { true } else { self.buffer == other.buffer };
        same_memory && self.start < other.end && other.start < self.end
    }
}

fn barriers(program: &mut Program) {
    let ranges: Vec<Range> =
        program.buffers.keys().map(|buffer| Range::of(program, buffer)).collect();
    let range = |buffer: BufferId| ranges[buffer.index()];
    for segment in &mut program.segments {
        let mut reads: Vec<Range> = Vec::new();
        let mut writes: Vec<Range> = Vec::new();
        for phase in &mut segment.phases {
            phase.barrier_before = depends(phase, &range, &reads, &writes);
            if phase.barrier_before {
                reads.clear();
                writes.clear();
            }
            reads.extend(phase.reads().map(range));
            writes.extend(phase.writes().map(range));
        }
    }
}

fn depends(
    phase: &Phase,
    range: &impl Fn(BufferId) -> Range,
    reads: &[Range],
    writes: &[Range],
) -> bool {
    let hits = |buffer: BufferId, earlier: &[Range]| {
        earlier.iter().any(|other| range(buffer).overlaps(other))
    };
    phase.reads().any(|buffer| hits(buffer, writes))
        || phase.writes().any(|buffer| hits(buffer, writes) || hits(buffer, reads))
}
