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
    let spans = loop_spans(program);
    for (at, phase) in phases.enumerate() {
        for buffer in phase.reads().chain(phase.writes()) {
            let memory = program.memory_of(buffer);
            // What a loop touches it may need in every step.
            let (first, last) = spans[at];
            let life = lifetimes[memory.index()].get_or_insert(Lifetime { first, last });
            life.last = last;
        }
    }
    lifetimes
}

/// For each phase the first and last phase of its loop; itself where it is in none.
fn loop_spans(program: &Program) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    for segment in &program.segments {
        let base = spans.len();
        for (at, phase) in segment.phases.iter().enumerate() {
            let same = |other: &Phase| phase.step.is_some() && other.step == phase.step;
            let first = segment.phases.iter().position(same).unwrap_or(at);
            let last = segment.phases.iter().rposition(same).unwrap_or(at);
            spans.push((base + first, base + last));
        }
    }
    spans
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
        let mut since = Touched::default();
        let mut at = 0;
        while at < segment.phases.len() {
            let step = segment.phases[at].step;
            let own = segment.phases[at..].iter().take_while(|phase| phase.step == step).count();
            let end = at + if step.is_some() { own } else { 1 };
            for phase in &mut segment.phases[at..end] {
                phase.barrier_before = false;
            }
            // A second walk over a loop meets what the steps before have touched.
            for _ in 0..if step.is_some() { 2 } else { 1 } {
                for phase in &mut segment.phases[at..end] {
                    phase.barrier_before |= since.meets(phase, &range);
                    if phase.barrier_before {
                        since = Touched::default();
                    }
                    since.add(phase, &range);
                }
            }
            at = end;
        }
    }
}

/// Memory touched since the last barrier, each range with whether the phase is one of a loop and runs on the first part alone.
#[derive(Debug, Default)]
struct Touched {
    reads: Vec<(Range, bool)>,
    writes: Vec<(Range, bool)>,
}

/// Whether a phase is run by the first part in a loop: such phases follow each other without a barrier, which counts in every step.
fn alone(phase: &Phase) -> bool {
    phase.step.is_some() && phase.schedule.serial
}

impl Touched {
    fn add(&mut self, phase: &Phase, range: &impl Fn(BufferId) -> Range) {
        let alone = alone(phase);
        self.reads.extend(phase.reads().map(|buffer| (range(buffer), alone)));
        self.writes.extend(phase.writes().map(|buffer| (range(buffer), alone)));
    }

    fn meets(&self, phase: &Phase, range: &impl Fn(BufferId) -> Range) -> bool {
        let alone = alone(phase);
        let hits = |buffer: BufferId, earlier: &[(Range, bool)]| {
            let own = range(buffer);
            earlier.iter().any(|(other, serial)| !(alone && *serial) && own.overlaps(other))
        };
        phase.reads().any(|buffer| hits(buffer, &self.writes))
            || phase.writes().any(|buffer| hits(buffer, &self.writes) || hits(buffer, &self.reads))
    }
}
