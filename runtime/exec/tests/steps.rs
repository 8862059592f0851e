//! Whole steps of small programs whose segments are written in Rust.

mod support;

use std::sync::Arc;

use dlc_abi::{
    BARRIER_OK, BufferRole, Dim, ElemType, ErrorSlot, Manifest, STATUS_BAD_INDEX, STATUS_CANCELLED,
    STATUS_OK, SegmentFn, SegmentKind, StepContext,
};
use dlc_exec::{
    Access, BufferError, Fill, FreeList, Gang, LayoutError, Memory, MemoryLayout, Persistent,
    Placement, Program, ProgramError, StepError, Workspace, WorkspaceError, WorkspaceOptions,
};
use support::{ManifestBuilder, at, meet, share};

const FEATURES: usize = 5;
const MAX_BATCH: usize = 16;

const X: usize = 0;
const LABEL: usize = 1;
const W: usize = 2;
const STEPS: usize = 3;
const SQUARES: usize = 4;
const TOTAL: usize = 5;
const OFFSETS: usize = 6;

/// `total[f] = sum over the batch of x[n, f]^2 * w[f]`, by way of a temporary and a barrier: parts share the rows in the
/// first phase and the columns in the second. Offsets come from a table; each part also uses its scratch.
unsafe extern "C" fn forward(context: *const StepContext, part: i64, parts: i64) -> i32 {
    // SAFETY: every index is inside the shapes of `builder` below.
    unsafe {
        let batch = (*context).batch as usize;
        let scratch = (*context)
            .scratch
            .add(part as usize * (*context).scratch_stride as usize)
            .cast::<f32>();
        for n in share(batch, part, parts) {
            let label = *at::<i32>(context, LABEL, n);
            if !(0..10).contains(&label) {
                *(*context).error = ErrorSlot {
                    status: i64::from(STATUS_BAD_INDEX),
                    buffer: LABEL as i64,
                    element: n as i64,
                    value: i64::from(label),
                };
                return STATUS_BAD_INDEX;
            }
            for f in 0..FEATURES {
                let x = *at::<f32>(context, X, n * FEATURES + f);
                scratch.add(f).write(x * x);
            }
            for f in 0..FEATURES {
                let offset = *at::<i32>(context, OFFSETS, f) as usize;
                *at::<f32>(context, SQUARES, n * FEATURES + offset) = *scratch.add(f);
            }
        }
        if meet(context, part) != BARRIER_OK {
            return STATUS_CANCELLED;
        }
        for f in share(FEATURES, part, parts) {
            let mut sum = 0.0_f32;
            for n in 0..batch {
                let square = *at::<f32>(context, SQUARES, n * FEATURES + f);
                sum = square.mul_add(*at::<f32>(context, W, f), sum);
            }
            *at::<f32>(context, TOTAL, f) = sum;
        }
    }
    STATUS_OK
}

/// `w -= total`, `steps += 1`. Not parallel: it must run once, whatever the team.
unsafe extern "C" fn update(context: *const StepContext, part: i64, parts: i64) -> i32 {
    if (part, parts) != (0, 1) {
        return 99;
    }
    // SAFETY: every index is inside the shapes of `builder` below.
    unsafe {
        // Alone there is nobody to wait for.
        if meet(context, part) != BARRIER_OK {
            return 98;
        }
        for f in 0..FEATURES {
            *at::<f32>(context, W, f) -= *at::<f32>(context, TOTAL, f);
        }
        *at::<i64>(context, STEPS, 0) += 1;
    }
    STATUS_OK
}

fn builder(name: &str) -> ManifestBuilder {
    let features = Dim::fixed(FEATURES as i64);
    ManifestBuilder::new(name, MAX_BATCH as i64)
        .buffer("x", BufferRole::Input, ElemType::F32, &[Dim::batch(), features])
        .buffer("label", BufferRole::Input, ElemType::I32, &[Dim::batch()])
        .buffer("w", BufferRole::Param, ElemType::F32, &[features])
        .buffer("steps", BufferRole::State, ElemType::I64, &[])
        .buffer("squares", BufferRole::Temporary, ElemType::F32, &[Dim::batch(), features])
        .buffer("total", BufferRole::Output, ElemType::F32, &[features])
        .table("offsets", &[0, 1, 2, 3, 4])
        .scratch(64)
}

fn train_program() -> Program {
    builder("demo.train")
        .segment("forward", SegmentKind::Forward, true)
        .segment("update", SegmentKind::Update, false)
        .program(Access::Write, &[forward, update])
}

fn predict_program() -> Program {
    builder("demo.predict")
        .segment("forward", SegmentKind::Forward, true)
        .program(Access::Read, &[forward])
}

fn layout_of(programs: &[&Program]) -> Arc<MemoryLayout> {
    let manifests: Vec<&Manifest> = programs.iter().map(|p| p.manifest().as_ref()).collect();
    MemoryLayout::of(&manifests).expect("the programs agree")
}

fn options(parts: usize, placement: Placement) -> WorkspaceOptions {
    WorkspaceOptions { parts, placement, fill: Fill::Ones }
}

fn placements() -> &'static [Placement] {
    if cfg!(unix) {
        &[Placement::Heap, Placement::Guarded, Placement::GuardedApart]
    } else {
        &[Placement::Heap]
    }
}

fn example(n: usize) -> [f32; FEATURES] {
    std::array::from_fn(|f| (n * 7 + f * 3) as f32 * 0.01 - 0.3)
}

fn fill_batch(workspace: &mut Workspace, batch: usize) {
    let x: Vec<f32> = (0..batch).flat_map(example).collect();
    workspace.set_input("x", batch, &x).expect("x is an input");
    let labels: Vec<i32> = (0..batch as i32).map(|n| n % 10).collect();
    workspace.set_input("label", batch, &labels).expect("label is an input");
}

/// The same arithmetic by plain loops.
fn expected_total(w: &[f32], batch: usize) -> Vec<f32> {
    (0..FEATURES)
        .map(|f| {
            (0..batch).fold(0.0_f32, |sum, n| {
                let x = example(n)[f];
                (x * x).mul_add(w[f], sum)
            })
        })
        .collect()
}

const W0: [f32; FEATURES] = [0.5, -1.0, 2.0, 0.25, 3.0];

#[test]
fn buffers_arrive_where_the_manifest_says() {
    let train = train_program();
    let layout = layout_of(&[&train]);
    for &placement in placements() {
        for threads in [1, 2, 3] {
            let gang = Gang::new(threads).expect("the system has threads");
            let mut memory =
                Memory::with_placement(&layout, placement, Fill::Zero).expect("little memory");
            memory.set("w", &W0).expect("w is a parameter");
            let mut workspace = Workspace::new(&train, &layout, options(threads, placement))
                .expect("little memory");
            let mut w = W0.to_vec();
            for (step, batch) in [MAX_BATCH, 3, 1, 0, 7].into_iter().enumerate() {
                fill_batch(&mut workspace, batch);
                workspace
                    .run(Persistent::Exclusive(&mut memory), batch, &gang, train.all_segments())
                    .expect("the step runs");
                let total = expected_total(&w, batch);
                assert_eq!(workspace.output::<f32>("total", batch), Ok(&total[..]));
                for (w, total) in w.iter_mut().zip(&total) {
                    *w -= total;
                }
                assert_eq!(memory.read::<f32>("w"), Ok(&w[..]));
                assert_eq!(memory.read::<i64>("steps"), Ok(&[step as i64 + 1][..]));
            }
        }
    }
}

#[test]
fn a_range_of_segments_can_run_alone() {
    let train = train_program();
    let layout = layout_of(&[&train]);
    let gang = Gang::new(2).expect("the system has threads");
    let mut memory = Memory::new(&layout).expect("little memory");
    memory.set("w", &W0).expect("w is a parameter");
    let mut workspace =
        Workspace::new(&train, &layout, options(2, Placement::Heap)).expect("little memory");
    fill_batch(&mut workspace, 4);
    assert_eq!(train.forward_segments(), 0..1);
    let persistent = Persistent::Exclusive(&mut memory);
    workspace.run(persistent, 4, &gang, train.forward_segments()).expect("the forward pass runs");
    assert_eq!(memory.read::<f32>("w"), Ok(&W0[..]), "nothing was updated");
    workspace.run(Persistent::Exclusive(&mut memory), 4, &gang, 1..2).expect("the update runs");
    assert_ne!(memory.read::<f32>("w"), Ok(&W0[..]));
}

#[test]
fn concurrent_steps_do_not_disturb_each_other() {
    let (train, predict) = (train_program(), predict_program());
    let layout = layout_of(&[&train, &predict]);
    let mut memory = Memory::new(&layout).expect("little memory");
    memory.set("w", &W0).expect("w is a parameter");
    let gang = Gang::new(2).expect("the system has threads");
    let workspaces: FreeList<Workspace> = FreeList::new();
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (memory, gang, workspaces) = (&memory, &gang, &workspaces);
            let (predict, layout) = (&predict, &layout);
            scope.spawn(move || {
                for run in 0..400 {
                    let batch = (caller * 5 + run) % MAX_BATCH + 1;
                    let mut workspace = workspaces
                        .take(|| Workspace::new(predict, layout, options(2, Placement::Heap)))
                        .expect("little memory");
                    fill_batch(&mut workspace, batch);
                    workspace
                        .run(Persistent::Shared(memory), batch, gang, 0..1)
                        .expect("the prediction runs");
                    assert_eq!(
                        workspace.output::<f32>("total", batch),
                        Ok(&expected_total(&W0, batch)[..])
                    );
                }
            });
        }
    });
    assert!((1..=3).contains(&workspaces.n_idle()));
}

#[test]
fn a_prediction_inside_a_foreign_pool_runs() {
    use rayon::prelude::*;
    let predict = predict_program();
    let layout = layout_of(&[&predict]);
    let mut memory = Memory::new(&layout).expect("little memory");
    memory.set("w", &W0).expect("w is a parameter");
    let gang = Gang::new(2).expect("the system has threads");
    let workspaces: FreeList<Workspace> = FreeList::new();
    (0..200_usize).into_par_iter().for_each(|i| {
        let batch = i % MAX_BATCH + 1;
        let mut workspace = workspaces
            .take(|| Workspace::new(&predict, &layout, options(2, Placement::Heap)))
            .expect("little memory");
        fill_batch(&mut workspace, batch);
        workspace
            .run(Persistent::Shared(&memory), batch, &gang, 0..1)
            .expect("the prediction runs");
        assert_eq!(workspace.output::<f32>("total", batch), Ok(&expected_total(&W0, batch)[..]));
    });
}

/// Many phases: each part adds its neighbour's last value, read across the barrier.
unsafe extern "C" fn ring(context: *const StepContext, part: i64, parts: i64) -> i32 {
    // SAFETY: buffer 0 holds 2 x 16 values, and no more than 8 parts run.
    unsafe {
        let (p, n) = (part as usize, parts as usize);
        let cell = |phase: usize, part: usize| at::<i64>(context, 0, (phase % 2) * 16 + part);
        *cell(0, p) = part + 1;
        for phase in 1..=200 {
            if meet(context, part) != BARRIER_OK {
                return STATUS_CANCELLED;
            }
            *cell(phase, p) = *cell(phase - 1, (p + 1) % n);
        }
    }
    STATUS_OK
}

#[test]
fn compiled_code_meets_at_the_barrier() {
    let program = ManifestBuilder::new("ring", 1)
        .buffer("cells", BufferRole::Output, ElemType::I64, &[Dim::fixed(32)])
        .segment("ring", SegmentKind::Forward, true)
        .program(Access::Read, &[ring]);
    let layout = layout_of(&[&program]);
    let memory = Memory::new(&layout).expect("no memory at all");
    for threads in 1..=8 {
        let gang = Gang::new(threads).expect("the system has threads");
        let mut workspace = Workspace::new(&program, &layout, options(threads, Placement::Heap))
            .expect("little memory");
        for _ in 0..20 {
            workspace.run(Persistent::Shared(&memory), 1, &gang, 0..1).expect("the ring runs");
            let cells = workspace.output::<i64>("cells", 1).expect("an output");
            // After 200 phases part p holds what part (p + 200) mod n began with.
            let expected: Vec<i64> =
                (0..threads).map(|p| ((p + 200) % threads) as i64 + 1).collect();
            assert_eq!(cells[..threads], expected);
        }
    }
}

#[test]
fn a_bad_label_is_named_and_the_next_step_runs() {
    let train = train_program();
    let layout = layout_of(&[&train]);
    for threads in [1, 2, 4] {
        let gang = Gang::new(threads).expect("the system has threads");
        let mut memory = Memory::new(&layout).expect("little memory");
        memory.set("w", &W0).expect("w is a parameter");
        let mut workspace = Workspace::new(&train, &layout, options(threads, Placement::Heap))
            .expect("little memory");
        for bad in [0, 5, 11] {
            fill_batch(&mut workspace, 12);
            workspace.input_mut::<i32>("label", 12).expect("an input")[bad] = -3;
            let persistent = Persistent::Exclusive(&mut memory);
            let error = workspace
                .run(persistent, 12, &gang, train.all_segments())
                .expect_err("the label is out of range");
            assert_eq!(
                error.to_string(),
                format!(
                    "`demo.train`: `label` holds the index -3, which is out of range, in example {bad} of the batch"
                )
            );
            assert_eq!(memory.read::<f32>("w"), Ok(&W0[..]), "nothing was updated");
        }
        fill_batch(&mut workspace, 12);
        workspace
            .run(Persistent::Exclusive(&mut memory), 12, &gang, train.all_segments())
            .expect("the slot was cleared");
    }
}

/// Notes a bad index in row 2 of a table of tokens, clamps it and runs on.
unsafe extern "C" fn noting(context: *const StepContext, _part: i64, _parts: i64) -> i32 {
    // SAFETY: the slot belongs to this part.
    unsafe {
        *(*context).error = ErrorSlot {
            status: i64::from(STATUS_BAD_INDEX),
            buffer: 0,
            element: 14,
            value: 1 << 40,
        };
    }
    STATUS_OK
}

/// Says that it ran.
unsafe extern "C" fn ran(context: *const StepContext, _part: i64, _parts: i64) -> i32 {
    // SAFETY: buffer 1 has one element, and this segment is not parallel.
    unsafe { *at::<i64>(context, 1, 0) = 1 };
    STATUS_OK
}

#[test]
fn a_noted_bad_index_stops_the_step_even_when_the_segment_goes_on() {
    let program = ManifestBuilder::new("notes", 4)
        .buffer("tokens", BufferRole::Input, ElemType::I64, &[Dim::batch(), Dim::fixed(6)])
        .buffer("ran", BufferRole::Output, ElemType::I64, &[])
        .segment("noting", SegmentKind::Forward, true)
        .segment("ran", SegmentKind::Update, false)
        .program(Access::Read, &[noting, ran]);
    let layout = layout_of(&[&program]);
    let memory = Memory::new(&layout).expect("no memory at all");
    for threads in [1, 3] {
        let gang = Gang::new(threads).expect("the system has threads");
        let mut workspace = Workspace::new(
            &program,
            &layout,
            WorkspaceOptions { parts: threads, ..Default::default() },
        )
        .expect("little memory");
        let error = workspace
            .run(Persistent::Shared(&memory), 4, &gang, 0..2)
            .expect_err("an index was noted");
        assert_eq!(
            error,
            StepError::BadIndex {
                program: "notes".into(),
                buffer: "tokens".into(),
                element: 14,
                example: Some(2),
                value: 1 << 40
            }
        );
        assert_eq!(
            error.to_string(),
            "`notes`: `tokens` holds the index 1099511627776, which is out of range, at element 14, \
             in example 2 of the batch"
        );
        assert_eq!(workspace.output::<i64>("ran", 4), Ok(&[0][..]));
    }
}

unsafe extern "C" fn odd_status(context: *const StepContext, part: i64, parts: i64) -> i32 {
    if part == parts - 1 {
        return 42;
    }
    // SAFETY: the context is live.
    unsafe { meet(context, part) }
}

/// The last part skips a phase.
unsafe extern "C" fn uneven(context: *const StepContext, part: i64, parts: i64) -> i32 {
    for _ in 0..if part == parts - 1 { 2 } else { 3 } {
        // SAFETY: the context is live.
        if unsafe { meet(context, part) } != BARRIER_OK {
            return STATUS_CANCELLED;
        }
    }
    STATUS_OK
}

#[test]
fn defects_of_compiled_code_end_the_step_and_not_the_process() {
    let gang = Gang::new(3).expect("the system has threads");
    let run = |function: SegmentFn| {
        let program = ManifestBuilder::new("odd", 1)
            .segment("odd", SegmentKind::Forward, true)
            .program(Access::Read, &[function]);
        let layout = layout_of(&[&program]);
        let memory = Memory::new(&layout).expect("no memory at all");
        Workspace::new(&program, &layout, options(3, Placement::Heap))
            .expect("little memory")
            .run(Persistent::Shared(&memory), 1, &gang, 0..1)
            .expect_err("the segment fails")
            .to_string()
    };
    assert_eq!(run(odd_status), "`odd` ended with the unknown status 42");
    assert_eq!(run(uneven), "`odd` was cancelled: its parts did not meet at the same barriers");
}

#[test]
fn arguments_that_do_not_fit_are_refused_before_the_jump() {
    let (train, predict) = (train_program(), predict_program());
    let layout = layout_of(&[&train, &predict]);
    let other_layout = layout_of(&[&train]);
    let gang = Gang::new(1).expect("one thread");
    let mut memory = Memory::new(&layout).expect("little memory");
    let other = Memory::new(&other_layout).expect("little memory");
    let mut training =
        Workspace::new(&train, &layout, WorkspaceOptions::default()).expect("little memory");
    let mut predicting =
        Workspace::new(&predict, &layout, WorkspaceOptions::default()).expect("little memory");
    let mut message = |persistent: Persistent<'_>, batch, segments| {
        training.run(persistent, batch, &gang, segments).expect_err("does not fit").to_string()
    };
    assert_eq!(
        message(Persistent::Shared(&memory), 1, 0..2),
        "`demo.train` writes parameters, so it needs its memory for itself alone"
    );
    assert_eq!(
        message(Persistent::Exclusive(&mut memory), 17, 0..2),
        "`demo.train` was compiled for batches up to 16, not 17"
    );
    assert_eq!(
        message(Persistent::Exclusive(&mut memory), 1, 1..3),
        "`demo.train` has 2 segments, so 1..3 is no range of them"
    );
    let error =
        predicting.run(Persistent::Shared(&other), 1, &gang, 0..1).expect_err("another layout");
    assert_eq!(
        error.to_string(),
        "the memory given to `demo.predict` has another layout than its workspace"
    );
    let stranger = ManifestBuilder::new("stranger", 1)
        .buffer("v", BufferRole::Param, ElemType::F32, &[])
        .program(Access::Read, &[]);
    let error = Workspace::new(&stranger, &layout, WorkspaceOptions::default())
        .expect_err("not in the layout");
    assert_eq!(error, WorkspaceError::Layout { program: "stranger".into(), name: "v".into() });
}

#[test]
fn views_are_typed_named_and_sized() {
    let train = train_program();
    let layout = layout_of(&[&train]);
    let mut memory = Memory::new(&layout).expect("little memory");
    let mut workspace =
        Workspace::new(&train, &layout, WorkspaceOptions::default()).expect("little memory");
    let text = |result: Result<(), BufferError>| result.expect_err("refused").to_string();
    assert_eq!(text(workspace.set_input("y", 1, &[0.0_f32])), "there is no buffer `y`");
    assert_eq!(text(workspace.set_input("x", 1, &[0_i32; 5])), "`x` holds F32, not i32");
    assert_eq!(
        text(workspace.set_input("x", 2, &[0.0_f32; 5])),
        "`x` has 10 elements, 5 were given"
    );
    assert_eq!(
        text(workspace.set_input("x", 17, &[0.0_f32; 5])),
        "a batch of 17 is outside 0 to 16"
    );
    assert_eq!(
        text(workspace.set_input("offsets", 1, &[0_i32; 5])),
        "`offsets` cannot be reached through a workspace in this way: it is of the kind Table"
    );
    assert_eq!(
        text(workspace.output::<f32>("w", 1).map(|_| ())),
        "`w` cannot be reached through a workspace in this way: it is of the kind Param"
    );
    assert_eq!(workspace.output::<i32>("offsets", 1), Ok(&[0, 1, 2, 3, 4][..]));
    assert_eq!(workspace.output::<f32>("squares", 2).map(<[f32]>::len), Ok(10));
    assert_eq!(text(memory.set("w", &[0.0_f32; 4])), "`w` has 5 elements, 4 were given");
    assert_eq!(text(memory.set("x", &[0.0_f32])), "there is no buffer `x`");
    assert_eq!(text(memory.set("steps", &[0_i32])), "`steps` holds I64, not i32");
    memory.entry_bytes_mut(1).expect("the state")[0] = 5;
    assert_eq!(memory.read::<i64>("steps"), Ok(&[5][..]));
    assert_eq!(memory.entry_bytes(0).map(<[u8]>::len), Some(20));
    assert_eq!(memory.entry_bytes(2), None);
}

#[test]
fn programs_of_one_model_must_agree_about_their_parameters() {
    let narrow = ManifestBuilder::new("a", 1)
        .buffer("w", BufferRole::Param, ElemType::F32, &[Dim::fixed(3)])
        .manifest;
    let wide = ManifestBuilder::new("b", 1)
        .buffer("w", BufferRole::Param, ElemType::F32, &[Dim::fixed(4)])
        .manifest;
    let state = ManifestBuilder::new("c", 1)
        .buffer("w", BufferRole::State, ElemType::F32, &[Dim::fixed(3)])
        .manifest;
    let message =
        |second| MemoryLayout::of(&[&narrow, second]).expect_err("they disagree").to_string();
    assert_eq!(message(&wide), "`w` is F32[3] as Param in `a`, but F32[4] as Param in `b`");
    assert_eq!(message(&state), "`w` is F32[3] as Param in `a`, but F32[3] as State in `c`");
    let growing = ManifestBuilder::new("d", 8)
        .buffer("h", BufferRole::State, ElemType::F32, &[Dim::batch()])
        .manifest;
    assert!(matches!(
        MemoryLayout::of(&[&growing]),
        Err(LayoutError::Shape { name, .. }) if name == "h"
    ));
}

#[test]
fn a_manifest_is_checked_before_it_is_believed() {
    let message = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = builder("demo").manifest;
        change(&mut manifest);
        // SAFETY: there are no functions that could do anything wrong.
        unsafe { Program::new(Arc::new(manifest), Vec::new(), Access::Read, Arc::new(())) }
            .map(|_| ())
            .map_err(|error: ProgramError| error.to_string())
    };
    assert_eq!(message(&|_| {}), Ok(()));
    type Change<'a> = &'a dyn Fn(&mut Manifest);
    let cases: &[(Change<'_>, &str)] = &[
        (&|m| m.numerics = 7, "`demo` was compiled for numerics 7, this runtime is for 1"),
        (&|m| m.max_batch = 0, "`demo`: max_batch is 0, expected 1 to 2147483647"),
        (&|m| m.shards = 3, "`demo`: shards is 3, expected a power of two"),
        (
            &|m| m.arena_bytes += 1,
            "`demo`: arena_bytes is 321, expected a multiple of 64 that can be allocated",
        ),
        (
            &|m| m.scratch_bytes = 32,
            "`demo`: scratch_bytes is 32, expected a multiple of 64 that can be allocated",
        ),
        (&|m| m.buffers[1].name = "x".into(), "`demo`: buffer `x` has a name that another one has"),
        (
            &|m| m.buffers[0].bytes = 100,
            "`demo`: buffer `x` needs a size that is a multiple of 64 and can be allocated",
        ),
        (
            &|m| m.buffers[0].bytes = 256,
            "`demo`: buffer `x` is larger than its bytes at the largest batch",
        ),
        (&|m| m.max_batch = 17, "`demo`: buffer `x` is larger than its bytes at the largest batch"),
        (
            &|m| m.buffers[0].shape[1].constant = i64::MAX,
            "`demo`: buffer `x` is larger than its bytes at the largest batch",
        ),
        (&|m| m.buffers[0].shape[1].constant = -1, "`demo`: buffer `x` has a negative extent"),
        (
            &|m| m.buffers[SQUARES].arena_offset = None,
            "`demo`: buffer `squares` is temporary but has no place in the arena",
        ),
        (
            &|m| m.buffers[SQUARES].arena_offset = Some(4),
            "`demo`: buffer `squares` has an arena offset that is no multiple of 64",
        ),
        (
            &|m| m.buffers[SQUARES].arena_offset = Some(64),
            "`demo`: buffer `squares` reaches beyond the arena",
        ),
        (
            &|m| m.buffers[OFFSETS].table = Some(1),
            "`demo`: buffer `offsets` names no table of the program",
        ),
        (&|m| m.tables[0] = vec![0; 17], "`demo`: buffer `offsets` is smaller than its table"),
        (&|m| m.buffers[X].table = Some(0), "`demo`: buffer `x` has a table but is none"),
        (
            &|m| m.segments = train_program().manifest().segments.clone(),
            "`demo` describes 2 segments but has 0 functions",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(message(change), Err((*expected).to_owned()));
    }
}
