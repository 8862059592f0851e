//! Running a step: the checks before the jump into compiled code, the jump, and what comes back.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;

use dlc_abi::{
    BARRIER_OK, Dim, ErrorSlot, Manifest, STATUS_BAD_INDEX, STATUS_CANCELLED, STATUS_OK,
    SegmentDesc, SegmentFn, StepContext,
};

use crate::barrier::{Barrier, barrier_entry};
use crate::gang::{Gang, Team};
use crate::memory::ALIGNMENT;
use crate::persistent::Persistent;
use crate::program::Access;
use crate::workspace::Buffers;

/// Why a step did not run, or did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The batch is larger than the program's buffers.
    #[error("`{program}` was compiled for batches up to {max_batch}, not {batch}")]
    Batch {
        /// The program.
        program: String,
        /// The batch given.
        batch: usize,
        /// The program's limit.
        max_batch: i64,
    },
    /// The program has no such segments.
    #[error("`{program}` has {n_segments} segments, so {start}..{end} is no range of them")]
    Segments {
        /// The program.
        program: String,
        /// First segment asked for.
        start: usize,
        /// One past the last segment asked for.
        end: usize,
        /// How many there are.
        n_segments: usize,
    },
    /// The memory was made for other programs.
    #[error("the memory given to `{program}` has another layout than its workspace")]
    Layout {
        /// The program.
        program: String,
    },
    /// The program writes parameters or states, but the memory was shared with it.
    #[error("`{program}` writes parameters, so it needs its memory for itself alone")]
    Shared {
        /// The program.
        program: String,
    },
    /// A buffer is not where compiled code needs it. A defect of this crate.
    #[error("buffer `{buffer}` of `{program}` is misplaced")]
    Misplaced {
        /// The program.
        program: String,
        /// The buffer.
        buffer: String,
    },
    /// An index read from a buffer, such as a label, is outside its range.
    #[error("{}", bad_index_message(program, buffer, *element, *example, *value))]
    BadIndex {
        /// The program.
        program: String,
        /// The buffer that holds it.
        buffer: String,
        /// Its element in row-major order.
        element: u64,
        /// The example of the batch that it belongs to, where the buffer has one row for each.
        example: Option<u64>,
        /// The value found.
        value: i64,
    },
    /// Parts of the program disagreed about its phases. A defect of the compiler.
    #[error("`{program}` was cancelled: its parts did not meet at the same barriers")]
    Cancelled {
        /// The program.
        program: String,
    },
    /// The program returned a status that this runtime does not know.
    #[error("`{program}` ended with the unknown status {status}")]
    Status {
        /// The program.
        program: String,
        /// What it returned.
        status: i32,
    },
}

fn bad_index_message(
    program: &str,
    buffer: &str,
    element: u64,
    example: Option<u64>,
    value: i64,
) -> String {
    match example {
        Some(example) if example != element => format!(
            "`{program}`: `{buffer}` holds the index {value}, which is out of range, at element {element}, \
             in example {example} of the batch"
        ),
        Some(example) => format!(
            "`{program}`: `{buffer}` holds the index {value}, which is out of range, in example {example} of the batch"
        ),
        None => format!(
            "`{program}`: `{buffer}` holds the index {value}, which is out of range, at element {element}"
        ),
    }
}

/// The memory of a workspace that contexts point into; made once, filled anew for every step.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Address of each buffer, in the manifest's order.
    addresses: Vec<*mut u8>,
    /// One for each part, and one more for segments that part 0 runs alone.
    contexts: Vec<StepContext>,
    /// One for each part, so that no two parts ever write the same slot.
    errors: Vec<UnsafeCell<ErrorSlot>>,
}

// SAFETY: outside a step nobody follows the pointers, and each step sets them anew. Within a step, parts only read addresses
// and contexts, and each writes the error slot of its own. Checked by `concurrent_steps_do_not_disturb_each_other`.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    pub(crate) fn new(n_buffers: usize, parts: usize) -> Self {
        Frame {
            addresses: Vec::with_capacity(n_buffers),
            contexts: Vec::with_capacity(parts + 1),
            errors: (0..parts).map(|_| UnsafeCell::default()).collect(),
        }
    }

    /// Notes of the parts that found something wrong, first in the program's order of buffers and elements.
    fn first_error(&mut self) -> Option<ErrorSlot> {
        self.errors
            .iter_mut()
            .map(|slot| *slot.get_mut())
            .filter(|slot| slot.status != i64::from(STATUS_OK))
            .min_by_key(|slot| (slot.buffer, slot.element))
    }
}

/// See [`crate::Workspace::run`]. The memory is taken by mutable reference, so that an exclusive one stays exclusive until
/// all parts have returned.
pub(crate) fn run(
    frame: &mut Frame,
    workspace: &Buffers,
    persistent: &mut Persistent<'_>,
    batch: usize,
    gang: &Gang,
    segments: Range<usize>,
) -> Result<(), StepError> {
    let program = workspace.program();
    let manifest = program.manifest();
    let batch = check(frame, workspace, persistent, batch, &segments)?;
    let descs = &manifest.segments[segments.clone()];
    let functions = &program.functions()[segments];
    let mut team = if descs.iter().any(|segment| segment.parallel) {
        gang.enter(workspace.parts())
    } else {
        Team::alone()
    };
    let barrier = team.barrier();
    fill_contexts(frame, workspace, batch, team.parts(), barrier);
    let status = {
        let frame = &*frame;
        team.run(&|part, parts| run_part(frame, descs, functions, barrier, part, parts))
    };
    drop(team);
    outcome(status, frame, manifest)
}

/// Checks everything a jump into compiled code relies on, and notes the addresses of all buffers: one address for each
/// buffer of the manifest, aligned, with at least the bytes described there. That buffers do not overlap follows from
/// their ownership: each is an allocation of its own, except temporaries, whose places in the arena the program
/// was checked for when it was made.
fn check(
    frame: &mut Frame,
    workspace: &Buffers,
    persistent: &Persistent<'_>,
    batch: usize,
    segments: &Range<usize>,
) -> Result<i64, StepError> {
    let program = workspace.program();
    let manifest = program.manifest();
    let name = || manifest.name.clone();
    let n_segments = program.functions().len();
    if segments.start > segments.end || segments.end > n_segments {
        return Err(StepError::Segments {
            program: name(),
            start: segments.start,
            end: segments.end,
            n_segments,
        });
    }
    let Some(valid_batch) = i64::try_from(batch).ok().filter(|&batch| batch <= manifest.max_batch)
    else {
        return Err(StepError::Batch { program: name(), batch, max_batch: manifest.max_batch });
    };
    if !Arc::ptr_eq(workspace.layout(), persistent.memory().layout()) {
        return Err(StepError::Layout { program: name() });
    }
    if program.access() == Access::Write && !persistent.is_exclusive() {
        return Err(StepError::Shared { program: name() });
    }
    frame.addresses.clear();
    for (desc, (address, bytes)) in manifest.buffers.iter().zip(workspace.addresses(persistent)) {
        if !(address as usize).is_multiple_of(ALIGNMENT) || (bytes as u64) < desc.bytes {
            return Err(StepError::Misplaced { program: name(), buffer: desc.name.clone() });
        }
        frame.addresses.push(address);
    }
    Ok(valid_batch)
}

fn fill_contexts(
    frame: &mut Frame,
    workspace: &Buffers,
    batch: i64,
    parts: usize,
    barrier: Option<&Barrier>,
) {
    let scratch_stride = workspace.program().manifest().scratch_bytes as i64;
    let barrier_data: *const Barrier = barrier.map_or(std::ptr::null(), std::ptr::from_ref);
    frame.contexts.clear();
    for slot in &mut frame.errors {
        *slot.get_mut() = ErrorSlot::default();
    }
    // The last context is for segments that part 0 runs alone: they have nobody to wait for.
    for part in 0..=parts {
        let alone = part == parts;
        frame.contexts.push(StepContext {
            buffers: frame.addresses.as_ptr(),
            batch,
            barrier: barrier_entry,
            barrier_data: if alone { std::ptr::null_mut() } else { barrier_data.cast_mut().cast() },
            scratch: workspace.scratch().address(),
            scratch_stride,
            error: frame.errors[if alone { 0 } else { part }].get(),
        });
    }
}

/// All segments of a step, as one part sees them. Between segments all parts meet.
fn run_part(
    frame: &Frame,
    descs: &[SegmentDesc],
    functions: &[SegmentFn],
    barrier: Option<&Barrier>,
    part: usize,
    parts: usize,
) -> i32 {
    for (index, (desc, &function)) in descs.iter().zip(functions).enumerate() {
        if index > 0
            && let Some(barrier) = barrier
            && barrier.wait(part) != BARRIER_OK
        {
            return STATUS_CANCELLED;
        }
        let status = if desc.parallel || parts == 1 {
            call(function, &frame.contexts[part], part, parts)
        } else if part == 0 {
            call(function, &frame.contexts[parts], 0, 1)
        } else {
            STATUS_OK
        };
        if status != STATUS_OK {
            return status;
        }
    }
    STATUS_OK
}

/// The jump. A note in the error slot counts as a failure even when the segment ran on to its end: no later segment may
/// work with an index that was clamped.
fn call(function: SegmentFn, context: &StepContext, part: usize, parts: usize) -> i32 {
    // SAFETY: whoever made the program vouched for the function under the conditions of `Program::new`. They hold: `check`
    // has matched addresses, sizes, alignment and batch against the manifest; `fill_contexts` gave each part its scratch, its
    // error slot and the barrier of the team that runs it; `Workspace::run` borrows the workspace exclusively, and the memory
    // exclusively when the program writes it, until all parts have returned. Checked by
    // `buffers_arrive_where_the_manifest_says`, `compiled_code_meets_at_the_barrier` and
    // `concurrent_steps_do_not_disturb_each_other`.
    let status = unsafe { function(context, part as i64, parts as i64) };
    // SAFETY: the slot belongs to this part, whose call has just returned. Checked by
    // `a_noted_bad_index_stops_the_step_even_when_the_segment_goes_on`.
    let noted = unsafe { (*context.error).status };
    if status == STATUS_OK && noted != i64::from(STATUS_OK) {
        return STATUS_BAD_INDEX;
    }
    status
}

fn outcome(status: i32, frame: &mut Frame, manifest: &Manifest) -> Result<(), StepError> {
    let program = || manifest.name.clone();
    match status {
        STATUS_OK => Ok(()),
        STATUS_BAD_INDEX => {
            let slot = frame.first_error().unwrap_or_default();
            let desc =
                usize::try_from(slot.buffer).ok().and_then(|buffer| manifest.buffers.get(buffer));
            let per_example = desc
                .filter(|desc| desc.shape.first() == Some(&Dim::batch()))
                .and_then(|desc| {
                    desc.shape[1..].iter().map(|dim| dim.as_fixed()).product::<Option<i64>>()
                })
                .filter(|&elements| elements > 0);
            Err(StepError::BadIndex {
                program: program(),
                buffer: desc
                    .map_or_else(|| format!("buffer {}", slot.buffer), |desc| desc.name.clone()),
                element: slot.element.max(0) as u64,
                example: per_example.map(|elements| (slot.element.max(0) / elements) as u64),
                value: slot.value,
            })
        }
        STATUS_CANCELLED => Err(StepError::Cancelled { program: program() }),
        status => Err(StepError::Status { program: program(), status }),
    }
}
