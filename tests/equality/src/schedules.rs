//! Schedules drawn at random: any of them gives the same bits.

use dlc_harness::rng::Rng;
use dlc_ir::graph::{Combine, OrderKind};
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{Phase, Program, Schedule, Selection, UnitAxis};
use dlc_passes::{schedule, shard_sums};

/// Cuts all sums by shards or leaves them whole, then draws units for every phase, and a register tile and blocks for every sum.
pub fn at_random(mut program: Program, target: &TargetDesc, seed: u64) -> Program {
    let mut rng = Rng::new(seed ^ 0x5CED_71E5);
    if rng.one_in(2) {
        program = schedule::run(shard_sums::everywhere(program), target);
    }
    let max_batch = program.max_batch;
    for phase in program.segments.iter_mut().flat_map(|segment| &mut segment.phases) {
        let in_panels = phase
            .reads()
            .chain(phase.writes())
            .any(|buffer| program.buffers[buffer].layout.panel_width().is_some());
        phase.schedule = drawn(&mut rng, phase, max_batch, in_panels);
    }
    program
}

fn drawn(rng: &mut Rng, phase: &Phase, max_batch: i64, in_panels: bool) -> Schedule {
    let mut schedule = phase.schedule.clone();
    schedule.serial = rng.one_in(4);
    schedule.units.clear();
    if let Some(selection) = phase.selection() {
        sort_at_random(rng, phase, &selection, &mut schedule);
    }
    let first = usize::from(phase.step.is_some());
    for axis in first..phase.n_space {
        let extent = phase.axes[axis].at(max_batch);
        // Units hold whole panels.
        let may_cut = !in_panels || schedule.lane_axis != Some(axis);
        if may_cut && extent > 1 && rng.one_in(2) {
            schedule.units.push(UnitAxis { axis, tile: rng.in_range(1, extent) });
        }
    }
    if schedule.sorted_axis.is_some() {
        return schedule;
    }
    let chained = phase.reduction.as_ref().filter(|reduction| {
        reduction.order.kind == OrderKind::Chain
            && matches!(reduction.combine, Combine::Sum | Combine::Max | Combine::Min)
    });
    let (Some(reduction), Some(lane_axis)) = (chained, schedule.lane_axis) else {
        return schedule;
    };
    schedule.vectors = if in_panels { 1 << rng.below(3) } else { 1 + rng.below(4) };
    schedule.row_axis = match rng.below(phase.n_space + 1) {
        axis if (first..phase.n_space).contains(&axis)
            && axis != lane_axis
            && reduction.of_shard != Some(axis) =>
        {
            Some(axis)
        }
        _ => None,
    };
    schedule.rows = if schedule.row_axis.is_some() { 1 + rng.below(6) } else { 1 };
    let has_run = phase.axes.len() > phase.n_space;
    let may_block = reduction.combine == Combine::Sum && has_run;
    schedule.block = (may_block && !rng.one_in(3)).then(|| rng.in_range(1, 40));
    schedule
}

/// Sorts the terms by their index in every second case, whatever the schedule did.
fn sort_at_random(rng: &mut Rng, phase: &Phase, selection: &Selection, schedule: &mut Schedule) {
    let plain = Schedule { serial: schedule.serial, ..Schedule::default() };
    if rng.one_in(2) {
        let lane_axis = phase.inner_axis();
        *schedule = Schedule { lane_axis, ..plain };
        return;
    }
    let lane_axis = phase.inner_axis().filter(|&axis| phase.may_be_lanes(selection, axis));
    let vectors = if lane_axis.is_some() { 1 + rng.below(4) } else { 1 };
    *schedule = Schedule { lane_axis, vectors, sorted_axis: Some(selection.axis), ..plain };
}
