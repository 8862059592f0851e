//! Chooses for every phase the axis of the lanes, the register tile and the work units.
//! Input law:  every bit is decided; nothing chosen here changes one.
//! Output law: every phase has a schedule whose units cover its space once.
//! Why: the best tile depends on the registers, the number of lanes and the extents; a cost model over a few candidates finds it.
//! Cost: at most 20 candidates a phase.
//! Source: register tiles of the batch-reduce product, Georganas et al., arXiv 1906.06440.

use crate::access::{Walk, max_extent};
use crate::relayout::lane_axis;
use dlc_ir::graph::{Combine, Fill, OrderKind, UnaryOp};
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{Expr, Phase, Program, Schedule, UnitAxis};

/// A phase cheaper than this runs on one part: sharing it costs a barrier of about the same length.
const SERIAL_CYCLES: f64 = 15_000.0;
/// A unit should be worth at least this much, so that its driver's bookkeeping is small against it.
const UNIT_CYCLES: f64 = 8_000.0;
/// More units than this give no better balance between parts.
const MAX_UNITS: i64 = 256;
/// Latency of a fused multiply-add, and how many start in a cycle.
const FMA_LATENCY: f64 = 4.0;
const FMA_PER_CYCLE: f64 = 2.0;
const LOADS_PER_CYCLE: f64 = 2.0;
/// What the second-level cache delivers beside other work.
const FAR_BYTES_PER_CYCLE: f64 = 20.0;

/// Schedules every phase.
pub fn run(mut program: Program, target: &TargetDesc) -> Program {
    let schedules: Vec<Vec<Schedule>> = program
        .segments
        .iter()
        .map(|segment| {
            segment.phases.iter().map(|phase| schedule(&program, phase, target)).collect()
        })
        .collect();
    for (segment, schedules) in program.segments.iter_mut().zip(schedules) {
        for (phase, schedule) in segment.phases.iter_mut().zip(schedules) {
            phase.schedule = schedule;
        }
    }
    program
}

/// Lanes of a vector in a phase: as many as fit with the widest element that it handles.
pub fn lanes(program: &Program, phase: &Phase, target: &TargetDesc) -> usize {
    let widest = phase
        .exprs
        .values()
        .map(|node| node.elem)
        .chain(phase.writes().map(|buffer| program.buffers[buffer].elem))
        .map(|elem| elem.size().max(4))
        .max()
        .unwrap_or(4);
    target.lanes(widest)
}

fn schedule(program: &Program, phase: &Phase, target: &TargetDesc) -> Schedule {
    let lanes = lanes(program, phase, target);
    let facts = Facts::of(program, phase);
    let mut schedule = match &phase.reduction {
        Some(reduction)
            if reduction.order.kind == OrderKind::Lanes && !is_arg(reduction.combine) =>
        {
            lanes_order(phase, &facts)
        }
        Some(_) => chain_order(phase, &facts, lanes, target),
        None => elementwise(phase, &facts, lanes),
    };
    let cycles = facts.cycles(phase, lanes);
    schedule.serial = cycles < SERIAL_CYCLES;
    schedule.units = units(phase, &facts, &schedule, lanes, cycles);
    schedule
}

fn is_arg(combine: Combine) -> bool {
    matches!(combine, Combine::ArgMax | Combine::ArgMin)
}

/// What the choice depends on.
struct Facts {
    /// Extents at the maximum batch.
    extents: Vec<i64>,
    /// Walks of the factors' plain loads.
    factors: Vec<Walk>,
    /// Walks of all loads outside the factors.
    loads: Vec<Walk>,
    /// Walks of the stores.
    stores: Vec<Walk>,
    /// Rough vector operations for each term and for each point.
    term_ops: f64,
    point_ops: f64,
}

impl Facts {
    fn of(program: &Program, phase: &Phase) -> Facts {
        let walk = |buffer, subs: &[_]| Walk::of(&program.buffers, program.max_batch, buffer, subs);
        let factor_ids = phase.reduction.as_ref().map_or(&[][..], |reduction| &reduction.factors);
        let mut facts = Facts {
            extents: (0..phase.axes.len())
                .map(|axis| max_extent(phase, axis, program.max_batch))
                .collect(),
            factors: Vec::new(),
            loads: Vec::new(),
            stores: phase
                .stores
                .iter()
                .filter_map(|store| walk(store.buffer, &store.subs))
                .collect(),
            term_ops: 0.0,
            point_ops: phase.stores.len() as f64,
        };
        let is_term = terms(phase);
        for (id, node) in phase.exprs.iter() {
            let ops = cost(&node.expr);
            if is_term[dlc_ir::entity::EntityRef::index(id)] {
                facts.term_ops += ops;
            } else {
                facts.point_ops += ops;
            }
            if let Expr::Load { buffer, subs, .. } = &node.expr
                && let Some(walk) = walk(*buffer, subs)
            {
                if factor_ids.contains(&id) {
                    facts.factors.push(walk)
                } else {
                    facts.loads.push(walk)
                }
            }
        }
        facts
    }

    fn space(&self, phase: &Phase) -> i64 {
        self.extents[..phase.n_space].iter().product()
    }

    fn reduce(&self, phase: &Phase) -> i64 {
        self.extents[phase.n_space..].iter().product()
    }

    /// Rough cycles of the whole phase on one core.
    fn cycles(&self, phase: &Phase, lanes: usize) -> f64 {
        let points = self.space(phase) as f64 / lanes as f64;
        let terms = if phase.reduction.is_some() {
            self.reduce(phase) as f64 * (1.0 + self.term_ops * 0.5)
        } else {
            0.0
        };
        points * (terms * 0.5 + self.point_ops)
    }
}

/// Which expressions are evaluated for every term of the reduction.
pub fn terms(phase: &Phase) -> Vec<bool> {
    use dlc_ir::entity::EntityRef;
    let mut is_term = vec![false; phase.exprs.len()];
    if let Some(reduction) = &phase.reduction {
        for factor in &reduction.factors {
            is_term[factor.index()] = true;
        }
    }
    for (id, node) in phase.exprs.iter().rev() {
        if is_term[id.index()] {
            for operand in node.expr.operands() {
                is_term[operand.index()] = true;
            }
        }
    }
    is_term
}

fn cost(expr: &Expr) -> f64 {
    match expr {
        Expr::Const(_) | Expr::Index(_) | Expr::Extent(_) | Expr::Reduced => 0.0,
        Expr::Load { .. } => 1.0,
        Expr::Gather { .. } => 16.0,
        Expr::Random { .. } => 60.0,
        Expr::Unary(op, _) => match op {
            UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Not => 1.0,
            UnaryOp::Sqrt => 9.0,
            UnaryOp::Exp
            | UnaryOp::Log
            | UnaryOp::Log1p
            | UnaryOp::Tanh
            | UnaryOp::Erf
            | UnaryOp::Sigmoid
            | UnaryOp::Sin
            | UnaryOp::Cos => 15.0,
        },
        Expr::Binary(dlc_ir::graph::BinaryOp::Div | dlc_ir::graph::BinaryOp::Rem, ..) => 5.0,
        Expr::Binary(..)
        | Expr::Compare(..)
        | Expr::Select(..)
        | Expr::Fma(..)
        | Expr::Convert(_) => 1.0,
    }
}

/// Lanes along the innermost reduction axis; a few rows at once hide the latency of the chains.
fn lanes_order(phase: &Phase, facts: &Facts) -> Schedule {
    let row_axis = phase.n_space.checked_sub(1);
    let rows = row_axis.map_or(1, |axis| facts.extents[axis].clamp(1, 4) as usize);
    Schedule { lane_axis: lane_axis(phase), vectors: 1, row_axis, rows, ..Schedule::default() }
}

/// Lanes along the last space axis, rows along the axis that reuses the lanes' operand best.
fn chain_order(phase: &Phase, facts: &Facts, lanes: usize, target: &TargetDesc) -> Schedule {
    let Some(lane_axis) = phase.n_space.checked_sub(1) else {
        return Schedule { lane_axis: None, vectors: 1, rows: 1, ..Schedule::default() };
    };
    // Rows pay only where some factor stays the same from row to row, and where all of them have the same terms.
    let decides = |axis: usize| {
        let skips = phase.exprs.values().any(|node| {
            matches!(&node.expr, Expr::Load { subs, fill: Fill::Skip, .. }
                if subs.iter().any(|sub| sub.coefficient(axis) != 0 && sub.as_axis().is_none()))
        });
        let guards = phase.reduction.iter().flat_map(|reduction| &reduction.guards);
        skips || guards.into_iter().any(|guard| guard.expr.coefficient(axis) != 0)
    };
    let reuse = |axis: usize| {
        facts.factors.len() == 2
            && !decides(axis)
            && facts.factors.iter().any(|walk| walk.stride(axis) == 0)
            && facts.extents[axis] > 1
    };
    let accumulators = match (target.vector_registers, target.vector_bytes) {
        (0..=16, 16) => 8,
        (0..=16, _) => 12,
        _ => 24,
    };
    let n_vectors = (facts.extents[lane_axis] as usize).div_ceil(lanes).max(1);
    let streamed = Streamed::of(phase, facts, lane_axis, target);
    let mut best = (f64::INFINITY, None, 1, 1);
    // Inner axes first: their rows lie closer together.
    let row_axes = (0..lane_axis).rev().filter(|&axis| reuse(axis)).map(Some);
    for row_axis in std::iter::once(None).chain(row_axes) {
        let row_extent = row_axis.map_or(1, |axis| facts.extents[axis] as usize);
        let all_rows: i64 = (0..lane_axis).map(|axis| facts.extents[axis]).product();
        let others = all_rows as f64 / row_extent.max(1) as f64;
        for vectors in 1..=n_vectors.min(4) {
            for rows in 1..=(accumulators / vectors).min(row_extent).max(1) {
                let cycles = others * tile_cycles(rows, vectors, row_extent, n_vectors, &streamed);
                if cycles < best.0 * 0.98 {
                    best = (cycles, row_axis, rows, vectors);
                }
            }
        }
    }
    let (_, row_axis, rows, vectors) = best;
    Schedule { lane_axis: Some(lane_axis), vectors, row_axis, rows, ..Schedule::default() }
}

/// Bytes that a term takes from beyond the first-level cache.
struct Streamed {
    /// For each vector of lanes: the lanes' operand, if what one tile reads of it does not stay in the first-level cache.
    per_vector: f64,
}

impl Streamed {
    fn of(phase: &Phase, facts: &Facts, lane_axis: usize, target: &TargetDesc) -> Streamed {
        let terms = facts.reduce(phase) as usize;
        let vector = target.vector_bytes;
        let on_lanes = facts.factors.iter().filter(|walk| walk.stride(lane_axis) != 0).count();
        let stays = terms * vector * 2 <= target.l1_bytes / 2;
        Streamed { per_vector: if stays { 0.0 } else { (on_lanes * vector) as f64 } }
    }
}

/// Cycles per term to cover `row_extent` rows and `n_vectors` vectors by tiles and their remainders.
fn tile_cycles(
    rows: usize,
    vectors: usize,
    row_extent: usize,
    n_vectors: usize,
    streamed: &Streamed,
) -> f64 {
    let tile = |rows: usize, vectors: usize| {
        if rows == 0 || vectors == 0 {
            return 0.0;
        }
        let fma = (rows * vectors) as f64 / FMA_PER_CYCLE;
        let loads = (rows + vectors) as f64 / LOADS_PER_CYCLE;
        // Two cycles or so of a loop's bookkeeping hide behind the arithmetic only in larger tiles.
        let far = vectors as f64 * streamed.per_vector / FAR_BYTES_PER_CYCLE;
        fma.max(loads).max(FMA_LATENCY).max(far) + 0.25
    };
    let (row_tiles, row_rest) = (row_extent / rows, row_extent % rows);
    let (vector_tiles, vector_rest) = (n_vectors / vectors, n_vectors % vectors);
    let across = |rows: usize| vector_tiles as f64 * tile(rows, vectors) + tile(rows, vector_rest);
    row_tiles as f64 * across(rows) + across(row_rest)
}

/// Element-wise work: lanes along the last axis; a transposing copy takes its rows along the axis that is contiguous in the source.
fn elementwise(phase: &Phase, facts: &Facts, lanes: usize) -> Schedule {
    let Some(lane_axis) = phase.n_space.checked_sub(1) else {
        return Schedule { lane_axis: None, vectors: 1, rows: 1, ..Schedule::default() };
    };
    let contiguous_stores = facts.stores.iter().all(|walk| walk.stride(lane_axis) == 1);
    let strided = facts.loads.iter().find(|walk| !matches!(walk.stride(lane_axis), 0 | 1));
    let row_axis = match strided {
        Some(walk) if contiguous_stores => (0..lane_axis).find(|&axis| walk.stride(axis) == 1),
        _ => None,
    };
    let rows = if row_axis.is_some() { lanes } else { 1 };
    Schedule { lane_axis: Some(lane_axis), vectors: 1, row_axis, rows, ..Schedule::default() }
}

/// Cuts outer axes, then rows and lanes, until there are enough units to share or they become too small.
fn units(
    phase: &Phase,
    facts: &Facts,
    schedule: &Schedule,
    lanes: usize,
    cycles: f64,
) -> Vec<UnitAxis> {
    let wanted = ((cycles / UNIT_CYCLES) as i64).clamp(1, MAX_UNITS);
    let mut units: Vec<UnitAxis> = Vec::new();
    let mut count = 1;
    for axis in 0..phase.n_space {
        if count >= wanted {
            break;
        }
        let extent = facts.extents[axis];
        let grain = if Some(axis) == schedule.lane_axis {
            (schedule.vectors * lanes) as i64
        } else if Some(axis) == schedule.row_axis {
            schedule.rows as i64
        } else {
            1
        };
        let pieces = (wanted + count - 1) / count;
        let tile = ((extent + pieces - 1) / pieces + grain - 1) / grain * grain;
        if tile < extent {
            units.push(UnitAxis { axis, tile });
            count *= (extent + tile - 1) / tile;
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_that_divide_the_rows_win_over_larger_ones_with_a_rest() {
        // 8 rows and 3 vectors: two tiles of 4 x 3 beat one of 6 x 2 with its remainders.
        let near = Streamed { per_vector: 0.0 };
        assert!(tile_cycles(4, 3, 8, 3, &near) < tile_cycles(6, 2, 8, 3, &near));
        // Many rows: 6 x 2 is at the arithmetic bound.
        assert!(tile_cycles(6, 2, 600, 8, &near) < tile_cycles(2, 2, 600, 8, &near));
        // When the lanes' operand streams from afar, tall tiles win over wide ones.
        let far = Streamed { per_vector: 32.0 };
        assert!(tile_cycles(6, 2, 600, 8, &far) < tile_cycles(3, 4, 600, 8, &far));
    }
}
