//! The most floating-point operations a second that this machine does, measured.

use anyhow::Context;
use dlc::Target;
use dlc_driver::peak;
use dlc_exec::{Gang, Memory, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions};
use std::time::{Duration, Instant};

/// How long to measure: enough for the clock to settle, short enough not to be noticed.
const MEASURE: Duration = Duration::from_millis(100);
/// At least so many runs, however busy the machine is.
const LEAST_RUNS: usize = 100;

/// Billions of single-precision operations a second in fused multiply-adds on registers, the best of several runs: what other
/// processes take away is no property of the machine.
pub(super) fn measure(target: Target, threads: usize) -> anyhow::Result<f64> {
    let threads = threads.min(peak::MAX_PARTS);
    let peak = peak::compile(target).map_err(dlc::Error::from)?;
    let program = Program::load(peak.program).context("the program that measures the peak")?;
    let layout = MemoryLayout::of(&[program.manifest()])?;
    let memory = Memory::new(&layout)?;
    let gang = Gang::new(threads)?;
    let options = WorkspaceOptions { parts: threads, ..WorkspaceOptions::default() };
    let mut workspace = Workspace::new(&program, &layout, options)?;
    let mut best = Duration::MAX;
    let begin = Instant::now();
    for run in 0.. {
        if run >= LEAST_RUNS && begin.elapsed() >= MEASURE {
            break;
        }
        let start = Instant::now();
        workspace.run(Persistent::Shared(&memory), 1, &gang, program.all_segments())?;
        best = best.min(start.elapsed());
    }
    Ok(peak.flops_per_part * threads as f64 / best.as_secs_f64() / 1e9)
}
