//! A steady step allocates nothing: neither the caller nor the gang's threads.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use dlc_abi::{BARRIER_OK, BufferRole, Dim, ElemType, STATUS_OK, SegmentKind, StepContext};
use dlc_exec::{
    Access, FreeList, Gang, Memory, MemoryLayout, Persistent, Workspace, WorkspaceOptions,
};
use support::{ManifestBuilder, at, meet, share};

/// Counts what all threads of the process allocate.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// `w[i] += x[n, i]` over the batch, in two phases.
unsafe extern "C" fn add(context: *const StepContext, part: i64, parts: i64) -> i32 {
    // SAFETY: indices lie inside x [batch, 32] and w [32].
    unsafe {
        for phase in 0..2 {
            for i in share(32, part, parts) {
                for n in 0..(*context).batch as usize {
                    if n % 2 == phase {
                        *at::<f32>(context, 1, i) += *at::<f32>(context, 0, n * 32 + i);
                    }
                }
            }
            let status = meet(context, part);
            if status != BARRIER_OK {
                return status;
            }
        }
    }
    STATUS_OK
}

/// There is no test harness around it: its threads would be counted too.
fn main() {
    let program = ManifestBuilder::new("add", 8)
        .buffer("x", BufferRole::Input, ElemType::F32, &[Dim::batch(), Dim::fixed(32)])
        .buffer("w", BufferRole::Param, ElemType::F32, &[Dim::fixed(32)])
        .segment("add", SegmentKind::Forward, true)
        .segment("again", SegmentKind::Update, false)
        .program(Access::Write, &[add, add]);
    let layout = MemoryLayout::of(&[program.manifest()]).expect("one program agrees with itself");
    let mut memory = Memory::new(&layout).expect("little memory");
    let workspaces = FreeList::new();
    let mut step = |gang: &Gang, batch: usize| {
        let options = WorkspaceOptions { parts: 4, ..WorkspaceOptions::default() };
        let mut workspace =
            workspaces.take(|| Workspace::new(&program, &layout, options)).expect("little memory");
        workspace.input_mut::<f32>("x", batch).expect("x is an input").fill(0.25);
        let persistent = Persistent::Exclusive(&mut memory);
        workspace.run(persistent, batch, gang, program.all_segments()).expect("the step runs");
    };
    // The first steps make the workspace and wait for the threads to start. All gangs live to the end: a thread
    // that ends still allocates, at a time that nobody can tell.
    let gangs = [1, 2, 4].map(|threads| Gang::new(threads).expect("the system has threads"));
    for gang in &gangs {
        for _ in 0..20 {
            step(gang, 8);
        }
    }
    for gang in &gangs {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for i in 0..200 {
            step(gang, 1 + i % 8);
        }
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(after - before, 0, "with {} threads", gang.threads());
    }
    // 20 steps of 8 rows and 25 rounds of 1 to 8 rows, each row added twice, for each number of threads.
    let rows = 3 * (20 * 8 + 25 * 36) * 2;
    assert_eq!(
        memory.read::<f32>("w"),
        Ok(&[rows as f32 * 0.25; 32][..]),
        "the steps did their work"
    );
    println!("a steady step allocates nothing: ok");
}
