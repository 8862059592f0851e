//! Chooses for every phase the axis of the lanes, the register tile and the work units.
//! Input law:  every bit is decided; nothing chosen here changes one.
//! Output law: every phase has a schedule whose units cover its space once.
//! Why: the best tile depends on the registers, the number of lanes and the extents; a cost model over a few candidates finds it.
//! Cost: at most 20 candidates a phase.
//! Source: register tiles of the batch-reduce product, Georganas et al., arXiv 1906.06440.

use crate::access::{Walk, max_extent};
use crate::relayout::lane_axis;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Combine, Fill, OrderKind, UnaryOp};
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{Expr, Phase, Program, Schedule, Selection, UnitAxis};

/// A phase cheaper than this runs on one part: sharing it costs a barrier of about the same length.
const SERIAL_CYCLES: f64 = 15_000.0;
/// A unit should be worth at least this much, so that its driver's bookkeeping is small against it.
const UNIT_CYCLES: f64 = 8_000.0;
/// More units than this give no better balance between parts.
const MAX_UNITS: i64 = 256;
/// The same for units whose tiles take their terms block by block: such a unit reads its operands once, so few large ones are better.
const BLOCKED_UNIT_CYCLES: f64 = 150_000.0;
/// More blocked units than this give no better balance between parts.
const MAX_BLOCKED_UNITS: i64 = 32;
/// Accumulators that a unit may keep in scratch, in bytes.
const AREA_BYTES: i64 = 64 * 1024;
/// Tiles of a phase from which on blocks pay for loading and storing their accumulators.
const BLOCKED_TILES: i64 = 64;
/// Bounds of a block: fewer terms cost more for the accumulators than they save, more are no better.
const BLOCK_TERMS: (i64, i64) = (64, 256);
/// Latency of a fused multiply-add, and how many start in a cycle.
const FMA_LATENCY: f64 = 4.0;
const FMA_PER_CYCLE: f64 = 2.0;
const LOADS_PER_CYCLE: f64 = 2.0;

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
    if let Some(selection) = phase.selection() {
        let sorted = Sorted::of(phase, &facts, &selection, lanes);
        if sorted.cycles() < cycles {
            return sorted.schedule(&facts, lanes);
        }
    }
    schedule.serial = cycles < SERIAL_CYCLES;
    // A shard is a unit, or several.
    schedule.units = facts.of_shard.map(|axis| UnitAxis { axis, tile: 1 }).into_iter().collect();
    schedule.units.extend(match schedule.block {
        Some(_) => blocked_units(phase, &facts, &schedule, lanes, cycles),
        None => {
            let wanted = ((cycles / UNIT_CYCLES) as i64).clamp(1, MAX_UNITS) / facts.shards;
            let axes: Vec<usize> = facts.axes_within_shards(phase).collect();
            units(&facts, &schedule, lanes, &axes, wanted)
        }
    });
    schedule
}

/// Rough cycles of a phase on one core.
pub fn cycles(program: &Program, phase: &Phase, target: &TargetDesc) -> f64 {
    Facts::of(program, phase).cycles(phase, lanes(program, phase, target))
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
    /// Columns of the panels that some access walks.
    panel: Option<i64>,
    /// The axis that numbers shards, and how many there are; one if the phase is no sum of single shards.
    of_shard: Option<usize>,
    shards: i64,
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
            panel: None,
            of_shard: phase.reduction.as_ref().and_then(|reduction| reduction.of_shard),
            shards: 1,
            term_ops: 0.0,
            point_ops: phase.stores.len() as f64,
        };
        if phase.step.is_some() {
            // One step runs at a time.
            facts.extents[0] = 1;
        }
        facts.shards = facts.of_shard.map_or(1, |axis| facts.extents[axis]);
        facts.panel = facts.stores.iter().find_map(|walk| walk.panel).map(|panel| panel.width);
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
                facts.panel = facts.panel.or(walk.panel.map(|panel| panel.width));
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

    /// Terms of a sum.
    fn reduce(&self, phase: &Phase) -> i64 {
        let all: i64 = self.extents[phase.n_space..].iter().product();
        (all + self.shards - 1) / self.shards
    }

    /// The space axes but for the one that numbers shards and the one of a loop's steps.
    fn axes_within_shards(&self, phase: &Phase) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let of_shard = self.of_shard;
        let first = usize::from(phase.step.is_some());
        (first..phase.n_space).filter(move |&axis| Some(axis) != of_shard)
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

/// A sum whose terms are sorted by the index that selects them.
struct Sorted {
    selection: Selection,
    lane_axis: Option<usize>,
    vectors: usize,
    /// Axes along which the index changes: at each of their places the terms are sorted anew.
    listed: Vec<usize>,
    /// Rough cycles to look at the terms once, on behalf of one unit, and to add each term and finish each place.
    look: f64,
    work: f64,
}

impl Sorted {
    /// Rough cycles to look whether a term is a unit's, to append it to a list and find it again, and to visit a place.
    const LOOK_CYCLES: f64 = 3.0;
    const TERM_CYCLES: f64 = 40.0;
    const PLACE_CYCLES: f64 = 10.0;

    fn of(phase: &Phase, facts: &Facts, selection: &Selection, lanes: usize) -> Sorted {
        let lane_axis = phase.inner_axis().filter(|&axis| phase.may_be_lanes(selection, axis));
        let across = lane_axis.map_or(1, |axis| facts.extents[axis]);
        let n_vectors = lane_axis.map_or(1, |_| (across as usize).div_ceil(lanes).max(1));
        let first = usize::from(phase.step.is_some());
        let is_listed =
            |axis: &usize| *axis != selection.axis && !phase.may_be_lanes(selection, *axis);
        let listed: Vec<usize> = (first..phase.n_space).filter(is_listed).collect();
        let n_lists: i64 = listed.iter().map(|&axis| facts.extents[axis]).product();
        let terms = facts.reduce(phase) as f64;
        let rows = facts.space(phase) as f64 / across.max(1) as f64;
        let places = facts.extents[selection.axis].max(1) as f64;
        // Each term belongs to one place of the axis.
        let added = terms * rows / places;
        let per_term = Self::TERM_CYCLES + n_vectors as f64 * (1.0 + facts.term_ops);
        let per_place = Self::PLACE_CYCLES + n_vectors as f64 * (1.0 + facts.point_ops);
        Sorted {
            selection: *selection,
            lane_axis,
            vectors: n_vectors.min(4),
            listed,
            look: n_lists as f64 * terms * Self::LOOK_CYCLES,
            work: added * per_term + rows * per_place,
        }
    }

    fn cycles(&self) -> f64 {
        self.look + self.work
    }

    /// Every unit looks at all terms, so there are fewer of them the more terms there are.
    fn schedule(self, facts: &Facts, lanes: usize) -> Schedule {
        let mut schedule = Schedule {
            lane_axis: self.lane_axis,
            vectors: self.vectors,
            sorted_axis: Some(self.selection.axis),
            serial: self.cycles() < SERIAL_CYCLES,
            ..Schedule::default()
        };
        let n_lists: i64 = self.listed.iter().map(|&axis| facts.extents[axis]).product();
        let per_unit = UNIT_CYCLES.max(4.0 * self.look / n_lists.max(1) as f64);
        let wanted = ((self.work / per_unit) as i64).clamp(1, MAX_UNITS);
        let mut axes = self.listed;
        axes.push(self.selection.axis);
        schedule.units = units(facts, &schedule, lanes, &axes, wanted);
        schedule
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
    let row_axis = facts.axes_within_shards(phase).next_back();
    let rows = row_axis.map_or(1, |axis| facts.extents[axis].clamp(1, 4) as usize);
    Schedule { lane_axis: lane_axis(phase), vectors: 1, row_axis, rows, ..Schedule::default() }
}

/// Lanes along the last space axis, rows along the axis that reuses the lanes' operand best.
fn chain_order(phase: &Phase, facts: &Facts, lanes: usize, target: &TargetDesc) -> Schedule {
    let Some(lane_axis) = facts.axes_within_shards(phase).next_back() else {
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
            && Some(axis) != facts.of_shard
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
        // Register tiles divide panels.
        let fits = |vectors: &usize| {
            facts.panel.is_none_or(|width| width as usize % (vectors * lanes) == 0)
        };
        for vectors in (1..=n_vectors.min(4)).filter(fits) {
            for rows in 1..=(accumulators / vectors).min(row_extent).max(1) {
                let cycles =
                    others * tile_cycles(rows, vectors, row_extent, n_vectors, rows * vectors);
                if cycles < best.0 * 0.99 {
                    best = (cycles, row_axis, rows, vectors);
                }
            }
        }
    }
    let (_, row_axis, rows, vectors) = best;
    let tiles = facts.space(phase) / (rows * vectors * lanes) as i64;
    let may_block = facts.factors.len() == 2
        && phase.reduction.as_ref().is_some_and(|reduction| reduction.combine == Combine::Sum)
        && phase.axes.len() > phase.n_space
        && tiles >= BLOCKED_TILES;
    let block = streamed.block(vectors).filter(|_| may_block);
    Schedule { lane_axis: Some(lane_axis), vectors, row_axis, rows, block, ..Schedule::default() }
}

/// What one tile reads of the lanes' operand.
struct Streamed {
    /// Terms of the whole sum.
    terms: i64,
    /// Bytes of a vector, or 0 if no factor lies along the lanes.
    vector: i64,
    /// What the first-level cache holds of it beside other things.
    near: i64,
    /// Whether what a term reads starts at a cache line.
    aligned: bool,
}

impl Streamed {
    fn of(phase: &Phase, facts: &Facts, lane_axis: usize, target: &TargetDesc) -> Streamed {
        let on_lanes = facts.factors.iter().find(|walk| walk.stride(lane_axis) != 0);
        let innermost = phase.axes.len() - 1;
        Streamed {
            terms: facts.reduce(phase),
            vector: if on_lanes.is_some() { target.vector_bytes as i64 } else { 0 },
            near: target.l1_bytes as i64 / 2,
            aligned: on_lanes.is_some_and(|walk| walk.stride(innermost) * 4 % 64 == 0),
        }
    }

    /// Bytes of the cache lines that a term of so many vectors touches, about.
    fn per_term(&self, vectors: usize) -> i64 {
        if self.vector == 0 {
            return 0;
        }
        let bytes = vectors as i64 * self.vector;
        if self.aligned { (bytes as u64).next_multiple_of(64) as i64 } else { bytes + 32 }
    }

    /// How many terms a tile of so many vectors should take at once, if not all.
    fn block(&self, vectors: usize) -> Option<i64> {
        let per_term = self.per_term(vectors);
        if self.terms * per_term <= self.near {
            return None;
        }
        let block = (self.near / per_term).clamp(BLOCK_TERMS.0, BLOCK_TERMS.1);
        (block < self.terms).then_some(block)
    }
}

/// Rows of a tile of `vectors` vectors where the axis of the rows has so many: those of the schedule, or more if the tile has fewer vectors.
pub fn rows_of(schedule: &Schedule, vectors: usize, extent: i64) -> i64 {
    let rows = schedule.rows.max(1) as i64;
    if vectors >= schedule.vectors || rows == 1 {
        return rows;
    }
    rest_rows(schedule.rows * schedule.vectors, vectors, extent.max(1) as usize) as i64
}

/// The best number of rows beside so many vectors.
fn rest_rows(accumulators: usize, vectors: usize, extent: usize) -> usize {
    let cost = |rows: usize| {
        (extent / rows) as f64 * cycles_of(rows, vectors) + cycles_of(extent % rows, vectors)
    };
    let most = (accumulators / vectors).clamp(1, extent);
    (1..=most).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1)
}

/// Cycles per term of one tile.
fn cycles_of(rows: usize, vectors: usize) -> f64 {
    if rows == 0 || vectors == 0 {
        return 0.0;
    }
    let fma = (rows * vectors) as f64 / FMA_PER_CYCLE;
    let loads = (rows + vectors) as f64 / LOADS_PER_CYCLE;
    // Two cycles or so of a loop's bookkeeping hide behind the arithmetic only in larger tiles.
    fma.max(loads).max(FMA_LATENCY) + 0.5
}

/// Cycles per term to cover `row_extent` rows and `n_vectors` vectors by tiles and their remainders.
fn tile_cycles(
    rows: usize,
    vectors: usize,
    row_extent: usize,
    n_vectors: usize,
    accumulators: usize,
) -> f64 {
    let (vector_tiles, vector_rest) = (n_vectors / vectors, n_vectors % vectors);
    let down = |rows: usize, vectors: usize| {
        (row_extent / rows) as f64 * cycles_of(rows, vectors)
            + cycles_of(row_extent % rows, vectors)
    };
    let rest = match vector_rest {
        0 => 0.0,
        _ if rows == 1 => down(1, vector_rest),
        _ => down(rest_rows(accumulators, vector_rest, row_extent), vector_rest),
    };
    vector_tiles as f64 * down(rows, vectors) + rest
}

/// Element-wise work: lanes along the last axis; a transposing copy takes its rows along the axis that is contiguous in the source.
fn elementwise(phase: &Phase, facts: &Facts, lanes: usize) -> Schedule {
    let Some(lane_axis) = phase.inner_axis() else {
        return Schedule { lane_axis: None, vectors: 1, rows: 1, ..Schedule::default() };
    };
    let first = usize::from(phase.step.is_some());
    let contiguous_stores = facts.stores.iter().all(|walk| walk.stride(lane_axis) == 1);
    let strided = facts.loads.iter().find(|walk| !matches!(walk.stride(lane_axis), 0 | 1));
    let row_axis = match strided {
        Some(walk) if contiguous_stores => (first..lane_axis).find(|&axis| walk.stride(axis) == 1),
        _ => None,
    };
    let rows = if row_axis.is_some() { lanes } else { 1 };
    Schedule { lane_axis: Some(lane_axis), vectors: 1, row_axis, rows, ..Schedule::default() }
}

/// Cuts axes, the first first, until there are enough units to share.
fn units(
    facts: &Facts,
    schedule: &Schedule,
    lanes: usize,
    axes: &[usize],
    wanted: i64,
) -> Vec<UnitAxis> {
    let mut units: Vec<UnitAxis> = Vec::new();
    let mut count = 1;
    for &axis in axes {
        // To the nearest number: a third more units are no worse than a quarter fewer.
        let pieces = (wanted + count / 2) / count;
        if pieces <= 1 {
            break;
        }
        let extent = facts.extents[axis];
        let grain = if Some(axis) == schedule.lane_axis {
            facts.panel.unwrap_or((schedule.vectors * lanes) as i64)
        } else if Some(axis) == schedule.row_axis {
            schedule.rows as i64
        } else {
            1
        };
        let tile = ((extent + pieces - 1) / pieces + grain - 1) / grain * grain;
        if tile < extent {
            units.push(UnitAxis { axis, tile });
            count *= (extent + tile - 1) / tile;
        }
    }
    units
}

/// Units that are about square, so that they read little for what they compute, and whose accumulators stay near.
fn blocked_units(
    phase: &Phase,
    facts: &Facts,
    schedule: &Schedule,
    lanes: usize,
    cycles: f64,
) -> Vec<UnitAxis> {
    let lane_axis = schedule.lane_axis.expect("blocks are for vectors along the space");
    let columns = facts.extents[lane_axis];
    let rows = facts.space(phase) / facts.shards / columns.max(1);
    let area = (rows * columns * 4 + AREA_BYTES - 1) / AREA_BYTES;
    let wanted = ((cycles / BLOCKED_UNIT_CYCLES) as i64).clamp(1, MAX_BLOCKED_UNITS);
    let wanted = (wanted / facts.shards).max(area);
    let grain = facts.panel.unwrap_or((schedule.vectors * lanes) as i64);
    let others = facts.axes_within_shards(phase).filter(|&axis| axis != lane_axis);
    // Units that differ in the place of a window read almost the same; so windows are cut last.
    let (windows, plain): (Vec<usize>, Vec<usize>) = others.partition(|&axis| slides(phase, axis));
    let others = [plain, windows].concat();
    let candidates = (1..=((columns + grain - 1) / grain).min(wanted)).map(|pieces| {
        let width = ((columns + pieces - 1) / pieces + grain - 1) / grain * grain;
        let across = (columns + width - 1) / width;
        let down = ((wanted + across - 1) / across).min(rows);
        let height = (rows + down - 1) / down;
        // Rows of windows overlap, so that cutting them costs less than it seems.
        (across * down * (5 * width.min(columns) + 4 * height), width, down)
    });
    let (_, width, down) = candidates.min().unwrap_or((0, columns, 1));
    let mut cut = units(facts, schedule, lanes, &others, down);
    if width < columns {
        cut.push(UnitAxis { axis: lane_axis, tile: width });
    }
    cut
}

/// Whether an axis is a place in windows that overlap: some load adds it to another axis.
fn slides(phase: &Phase, axis: usize) -> bool {
    let adds = |sub: &Affine| sub.coefficient(axis) != 0 && sub.as_axis().is_none();
    phase.exprs.values().any(|node| match &node.expr {
        Expr::Load { subs, .. } => subs.iter().any(adds),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_that_divide_the_rows_win_over_larger_ones_with_a_rest() {
        // 8 rows and 3 vectors: two tiles of 4 x 3 beat one of 6 x 2 with its remainders.
        assert!(tile_cycles(4, 3, 8, 3, 12) < tile_cycles(6, 2, 8, 3, 12));
        // Many rows: 6 x 2 is at the arithmetic bound.
        assert!(tile_cycles(6, 2, 600, 8, 12) < tile_cycles(2, 2, 600, 8, 12));
        // One vector that is left over takes as many rows as there are accumulators.
        assert_eq!(rest_rows(12, 1, 8), 8);
    }

    /// The gradient of a table of so many rows, read at 64 places of each of up to 32 examples.
    fn table_gradient(rows: i64) -> Schedule {
        let text = format!(
            "program \"p\" shards 4 class fused batch 32 arena 0 {{\n  b0 = input i32[batch, 64] \"index\"\n  \
             b1 = input f32[batch, 64, 48] \"dy\"\n  b2 = output f32[{rows}, 48] \"dx\"\nsegment \"s\" backward\n  \
             phase \"dx\" [i0 < {rows}, i1 < 48 | i2 < batch, i3 < 64]\n    e0: i32 = load b0[i2, i3]\n    \
             e1: i32 = index i0\n    e2: bool = eq e0, e1\n    e3: f32 = load b1[i2, i3, i1]\n    \
             e4: f32 = const 0.0\n    e5: f32 = select e2, e3, e4\n    \
             reduce sum e5 order chain(run 64, runs 4, shard i2)\n    e6: f32 = reduced\n    store b2[i0, i1] e6\n}}\n"
        );
        let program = dlc_ir::tile::parse(&text).expect("the text is a program");
        run(program, &TargetDesc::typical(dlc_ir::target::Isa::Avx2)).segments[0].phases[0]
            .schedule
            .clone()
    }

    #[test]
    fn terms_of_a_table_are_sorted_and_those_of_a_few_rows_tried() {
        let large = table_gradient(30_000);
        assert_eq!((large.sorted_axis, large.lane_axis), (Some(0), Some(1)));
        // Each unit looks at all 2,048 terms, so that a small table is cut into few units.
        assert!(large.units[0].tile > 300, "{large:?}");
        assert!(table_gradient(400).units.len() <= 1);
        assert_eq!(table_gradient(2).sorted_axis, None);
    }

    #[test]
    fn long_sums_go_by_blocks_that_stay_near() {
        let streamed = |terms| Streamed { terms, vector: 32, near: 16 * 1024, aligned: false };
        assert_eq!(streamed(100).block(3), None);
        assert_eq!(streamed(500).block(3), Some(128));
        assert_eq!(streamed(100_000).block(1), Some(256));
    }
}
