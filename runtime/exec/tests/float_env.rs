//! A step computes with the default floating-point environment on every thread, and its caller gets its own back.
#![cfg(target_arch = "x86_64")]

mod support;

use std::arch::asm;
use std::sync::Arc;

use dlc_abi::{BufferRole, Dim, ElemType, STATUS_OK, SegmentKind, StepContext};
use dlc_exec::{
    Access, Gang, Memory, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions,
};
use support::{ManifestBuilder, at};

/// Exceptions masked, round to nearest, denormals kept.
const DEFAULT: u32 = 0x1F80;
/// Exceptions masked, round towards zero, denormals flushed and taken for zero.
const FOREIGN: u32 = DEFAULT | 0x6000 | 0x8040;
/// Exceptions that arithmetic has noted; they are no part of the environment.
const NOTED: u32 = 0x3F;

fn control() -> u32 {
    let mut control = 0_u32;
    // SAFETY: `stmxcsr` stores four bytes to a live local of four bytes.
    unsafe { asm!("stmxcsr [{}]", in(reg) &mut control, options(nostack, preserves_flags)) };
    control & !NOTED
}

fn set_control(control: u32) {
    // SAFETY: `ldmxcsr` reads four bytes from a live local, and no reserved bit is set in the values of this file.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &control, options(nostack)) };
}

/// Stores the control word of each part's thread.
unsafe extern "C" fn step(context: *const StepContext, part: i64, _parts: i64) -> i32 {
    // SAFETY: buffer 0 has an element for each part.
    unsafe { *at::<i64>(context, 0, part as usize) = i64::from(control()) };
    STATUS_OK
}

fn program() -> (Program, Arc<MemoryLayout>) {
    let program = ManifestBuilder::new("environment", 1)
        .buffer("control", BufferRole::Output, ElemType::I64, &[Dim::fixed(4)])
        .segment("step", SegmentKind::Forward, true)
        .program(Access::Read, &[step]);
    let layout = MemoryLayout::of(&[program.manifest()]).expect("no parameters, no disagreement");
    (program, layout)
}

#[test]
fn steps_have_the_default_environment_and_callers_keep_theirs() {
    let (program, layout) = program();
    for threads in 1..=4 {
        // A thread of its own: the test harness must not run on with another rounding.
        let run = || {
            let gang = Gang::new(threads).expect("the system has threads");
            let memory = Memory::new(&layout).expect("no memory at all");
            let options = WorkspaceOptions { parts: threads, ..Default::default() };
            let mut workspace = Workspace::new(&program, &layout, options).expect("little memory");
            set_control(FOREIGN);
            let run = workspace.run(Persistent::Shared(&memory), 1, &gang, 0..1);
            let after = control();
            set_control(DEFAULT);
            run.expect("a sound step");
            assert_eq!(after, FOREIGN, "{threads} threads");
            let found = workspace.output::<i64>("control", 1).expect("an output");
            assert_eq!(found[..threads], vec![i64::from(DEFAULT); threads], "{threads} threads");
        };
        std::thread::scope(|scope| scope.spawn(run).join().expect("control words are as expected"));
    }
}
