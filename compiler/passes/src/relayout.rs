//! Gives the operands of products the memory order that vector code wants: padding made real, the lanes' axis innermost, and long rows cut
//! into panels.
//! Input law:  none; works on any phase whose reduction has two factors.
//! Output law: the loads of such a phase that are plain loads have no fill but `skip`, and stride 0 or 1 along the axis of the lanes.
//! Why: a product reads each element many times, so one copy pays; the copy is blocked 16 x 16 and costs about 2 % of a product with 128 rows.
//! Cost: O(phases); copies the operand once a step, for all products that want it in the same order.
//!
//! A panel holds four vectors of every row, row after row, so that a register tile reads consecutive memory whatever the rows' length.
//!
//! ```text
//! before:  dx[i0, i1] = sum[i2] dy[i0, i2] * w[i1, i2]
//! after:   w'[i0, i1] = w[i1, i0];  dx[i0, i1] = sum[i2] dy[i0, i2] * w'[i2, i1]
//! ```

use dlc_abi::{BufferRole, Dim};
use dlc_ir::affine::Affine;
use dlc_ir::entity::IndexVec;
use dlc_ir::graph::{Fill, OrderKind};
use dlc_ir::layout::Layout;
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{Buffer, BufferId, Expr, ExprId, Node, Phase, Program, Schedule, Step, Store};

/// Rows that are a multiple of so many bytes apart share few sets of the cache.
const CROWDED_BYTES: i64 = 512;
/// The caches' period: what lies a multiple of it apart competes for the same places.
const PAGE_BYTES: i64 = 4096;
/// Rows from which on they do not all fit into these places.
const PAGE_ROWS: i64 = 8;
/// Elements between the rows of a copy that keep them apart.
const ROW_GAP: i64 = 16;
/// How often every element must be read for a copy to pay.
const PANEL_READS: i64 = 64;

/// Inserts a copy before each product that needs one.
pub fn run(mut program: Program, target: &TargetDesc) -> Program {
    let Program { segments, buffers, max_batch, .. } = &mut program;
    for segment in segments {
        let mut phases: Vec<Phase> = Vec::with_capacity(segment.phases.len());
        let all = std::mem::take(&mut segment.phases);
        let written: Vec<(Step, BufferId)> = all
            .iter()
            .filter_map(|phase| Some((phase.step?, phase)))
            .flat_map(|(step, phase)| phase.writes().map(move |buffer| (step, buffer)))
            .map(|(step, buffer)| (step, owner(buffers, buffer)))
            .collect();
        for mut phase in all {
            for factor in product_loads(&phase) {
                // What a loop writes it reads in place: a copy would have to be made in every step.
                let in_loop = match (&phase.exprs[factor].expr, phase.step) {
                    (Expr::Load { buffer, .. }, Some(step)) => {
                        written.contains(&(step, owner(buffers, *buffer)))
                    }
                    _ => false,
                };
                if in_loop {
                    continue;
                }
                if let Some(copy) = copy_of(&mut phase, buffers, *max_batch, factor, target) {
                    if let Some(known) = known_copy(&phases, buffers, &copy) {
                        if let Expr::Load { buffer, .. } = &mut phase.exprs[factor].expr {
                            *buffer = known;
                        }
                        continue;
                    }
                    let first = phases
                        .iter()
                        .position(|other: &Phase| other.step.is_some() && other.step == phase.step);
                    phases.insert(first.unwrap_or(phases.len()), copy);
                }
            }
            phases.push(phase);
        }
        segment.phases = phases;
    }
    program
}

/// The buffer of an earlier copy of the same elements in the same order, if what was copied is still there. The new one is then left for
/// `memory_plan` to drop.
fn known_copy(
    phases: &[Phase],
    buffers: &IndexVec<BufferId, Buffer>,
    copy: &Phase,
) -> Option<BufferId> {
    let source = owner(buffers, copy.reads().next()?);
    let place = |phase: &Phase| {
        let buffer = phase.stores.first()?.buffer;
        let Buffer { role, elem, shape, layout, .. } = &buffers[buffer];
        Some((*role, *elem, shape.clone(), layout.clone()))
    };
    let is_same = |known: &Phase| {
        known.reduction.is_none()
            && known.step.is_none()
            && known.stores.len() == 1
            && known.stores[0].subs == copy.stores[0].subs
            && known.stores[0].value == copy.stores[0].value
            && known.axes == copy.axes
            && known.exprs == copy.exprs
            && place(known) == place(copy)
    };
    let at = phases.iter().rposition(is_same)?;
    let known = phases[at].stores[0].buffer;
    let is_gone = |phase: &Phase| {
        phase.writes().any(|written| [source, known].contains(&owner(buffers, written)))
    };
    (!phases[at + 1..].iter().any(is_gone)).then_some(known)
}

fn owner(buffers: &IndexVec<BufferId, Buffer>, buffer: BufferId) -> BufferId {
    let mut owner = buffer;
    while let Some(alias) = buffers[owner].alias_of {
        owner = alias;
    }
    owner
}

/// The plain loads among the factors of a product.
fn product_loads(phase: &Phase) -> Vec<ExprId> {
    let Some(reduction) = &phase.reduction else { return Vec::new() };
    if reduction.factors.len() != 2 {
        return Vec::new();
    }
    let is_load = |id: &ExprId| matches!(phase.exprs[*id].expr, Expr::Load { .. });
    let mut loads: Vec<ExprId> = reduction.factors.iter().copied().filter(is_load).collect();
    loads.dedup();
    loads
}

/// The axis whose iterations are the lanes of a product's vectors.
pub fn lane_axis(phase: &Phase) -> Option<usize> {
    match &phase.reduction {
        Some(reduction) if reduction.order.kind == OrderKind::Lanes => {
            phase.axes.len().checked_sub(1)
        }
        _ => phase.inner_axis(),
    }
}

/// Replaces the load by one of a copy in a better order, and returns the phase that makes the copy.
fn copy_of(
    phase: &mut Phase,
    buffers: &mut IndexVec<BufferId, Buffer>,
    max_batch: i64,
    load: ExprId,
    target: &TargetDesc,
) -> Option<Phase> {
    let Expr::Load { buffer, subs, fill } = phase.exprs[load].expr.clone() else { return None };
    // Which terms exist is asked of the copy, so it has the shape of what it copies.
    let skips = fill == Fill::Skip;
    let lanes = lane_axis(phase)?;
    let innermost = subs.iter().rposition(|sub| sub.coefficient(lanes) != 0);
    let wanted_last = match innermost {
        Some(at) if !has_unit_stride(&buffers[buffer], max_batch, &subs, lanes) => Some(at),
        _ => None,
    };
    let crowded = is_crowded(phase, &buffers[buffer], max_batch, &subs);
    let aliased = !skips && is_aliased(phase, &buffers[buffer], max_batch, &subs);
    let padded = !skips && fill != Fill::InRange;
    if wanted_last.is_none() && !padded && !crowded && !aliased {
        return None;
    }
    let windows: Option<Vec<(i64, Dim)>> = subs
        .iter()
        .zip(&buffers[buffer].shape)
        .map(|(sub, extent)| if skips { Some((0, *extent)) } else { window(phase, sub, *extent) })
        .collect();
    let windows = windows?;
    let order = order_of_walk(&subs, wanted_last);
    let shape: Vec<Dim> = order.iter().map(|&axis| windows[axis].1).collect();
    let new_subs: Vec<Affine> =
        order.iter().map(|&axis| subs[axis].minus(&Affine::constant(windows[axis].0))).collect();
    // Four vectors wide, so that any register tile of one, two or four lies in one panel.
    let width = 4 * target.lanes(buffers[buffer].elem.size().max(4)) as i64;
    let in_columns = new_subs.last().and_then(Affine::as_axis) == Some(lanes)
        && phase.reduction.as_ref().is_some_and(|it| it.order.kind == OrderKind::Chain)
        && shape.last().and_then(|extent| extent.as_fixed()).is_some_and(|extent| extent > width);
    if crowded && !in_columns && wanted_last.is_none() && !padded {
        return None;
    }
    let mut room = shape.clone();
    if let Some(last) = room.last_mut().filter(|_| aliased) {
        last.constant += ROW_GAP;
    }
    let layout = match in_columns {
        true => Layout::panel(shape.len(), width),
        false => Layout::row_major(shape.len()),
    };
    let name = unique_name(buffers, format!("{} for {}", buffers[buffer].name, phase.name));
    let copy = buffers.push(Buffer {
        name,
        role: BufferRole::Temporary,
        elem: buffers[buffer].elem,
        layout,
        shape: room,
        alias_of: None,
        arena_offset: None,
    });
    let (fill, own_fill) = if skips { (Fill::InRange, fill) } else { (fill, Fill::InRange) };
    phase.exprs[load].expr = Expr::Load { buffer: copy, subs: new_subs, fill: own_fill };

    let mut from_subs = vec![Affine::constant(0); subs.len()];
    for (at, &axis) in order.iter().enumerate() {
        from_subs[axis] = Affine::new([(at, 1)], windows[axis].0);
    }
    let mut exprs = IndexVec::new();
    let elem = buffers[buffer].elem;
    let value = exprs.push(Node { expr: Expr::Load { buffer, subs: from_subs, fill }, elem });
    Some(Phase {
        name: format!("copy {}", buffers[copy].name),
        n_space: shape.len(),
        exprs,
        reduction: None,
        stores: vec![Store { buffer: copy, subs: Affine::identity(shape.len()), value }],
        axes: shape,
        schedule: Schedule::default(),
        step: None,
        barrier_before: false,
    })
}

/// The operand's axes in the order in which the product's loops walk them, but for the last one, along which it is contiguous: what is read
/// term after term lies side by side. Rows of a sequence that stand step by step would else be a whole batch of rows apart, which in
/// powers of two want the same places in the caches. The place in a window is walked by the inner one of its two loops.
fn order_of_walk(subs: &[Affine], wanted_last: Option<usize>) -> Vec<usize> {
    let last = wanted_last.or(subs.len().checked_sub(1));
    let mut order: Vec<usize> = (0..subs.len()).filter(|&axis| Some(axis) != last).collect();
    order.sort_by_key(|&axis| subs[axis].terms().last().map(|&(of_phase, _)| of_phase));
    order.extend(last);
    order
}

/// Whether the rows that a product reads along its lanes are so far apart that they crowd into a few sets of the cache, and it reads them
/// often enough for a copy in panels to pay.
fn is_crowded(phase: &Phase, buffer: &Buffer, max_batch: i64, subs: &[Affine]) -> bool {
    let Some(strides) = buffer.strides(max_batch) else { return false };
    let stride = |axis: usize| -> i64 {
        subs.iter().zip(&strides).map(|(sub, stride)| sub.coefficient(axis) * stride).sum()
    };
    let extent = |axis: usize| phase.axes[axis].at(max_batch);
    let (Some(lanes), Some(innermost)) = (lane_axis(phase), phase.axes.len().checked_sub(1)) else {
        return false;
    };
    let reads: i64 = (0..phase.n_space).filter(|&axis| stride(axis) == 0).map(extent).product();
    let bytes = stride(innermost) * buffer.elem.size() as i64;
    stride(lanes) == 1 && reads >= PANEL_READS && bytes != 0 && bytes % CROWDED_BYTES == 0
}

/// Whether neighbours of the operand that a product reads for its rows are pages apart, so that all of them want the same few places in
/// the caches, and they are read often enough for a copy with gaps between its rows to pay.
fn is_aliased(phase: &Phase, buffer: &Buffer, max_batch: i64, subs: &[Affine]) -> bool {
    let (Some(strides), Some(lanes)) = (buffer.strides(max_batch), lane_axis(phase)) else {
        return false;
    };
    let stride = |axis: usize| -> i64 {
        subs.iter().zip(&strides).map(|(sub, stride)| sub.coefficient(axis) * stride).sum()
    };
    let extent = |axis: usize| phase.axes[axis].at(max_batch);
    let on_pages = |axis: usize| {
        let bytes = stride(axis) * buffer.elem.size() as i64;
        bytes != 0 && bytes % PAGE_BYTES == 0 && extent(axis) >= PAGE_ROWS
    };
    let reads: i64 = (0..phase.n_space).filter(|&axis| stride(axis) == 0).map(extent).product();
    let has_columns = buffer.shape.last().is_some_and(|last| last.as_fixed().is_some());
    let is_row_operand = stride(lanes) == 0 && lanes < phase.n_space;
    is_row_operand && has_columns && reads >= PANEL_READS && (0..phase.axes.len()).any(on_pages)
}

/// The name, with a number behind it if it is taken.
fn unique_name(buffers: &IndexVec<BufferId, Buffer>, wanted: String) -> String {
    let taken = |name: &str| buffers.values().any(|buffer| buffer.name == name);
    let numbered = (2..).map(|number| format!("{wanted}#{number}"));
    let name = std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken(name));
    name.expect("there are more numbers than buffers")
}

fn has_unit_stride(buffer: &Buffer, max_batch: i64, subs: &[Affine], axis: usize) -> bool {
    let Some(strides) = buffer.strides(max_batch) else { return false };
    let stride: i64 =
        subs.iter().zip(strides).map(|(sub, stride)| sub.coefficient(axis) * stride).sum();
    stride == 1
}

/// First index and extent of what a subscript reaches, the indices outside the buffer included. A subscript that follows the batch must be
/// the batch axis itself.
fn window(phase: &Phase, sub: &Affine, extent: Dim) -> Option<(i64, Dim)> {
    let follows_batch = sub.terms().iter().any(|(axis, _)| phase.axes[*axis].as_fixed().is_none());
    if follows_batch {
        let axis = sub.as_axis()?;
        return (phase.axes[axis] == extent).then_some((0, extent));
    }
    let extents: Vec<i64> = phase.axes.iter().map(|dim| dim.as_fixed().unwrap_or(1)).collect();
    let (low, high) = sub.range(&extents);
    Some((low, Dim::fixed(high - low + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lies_as_it_is_walked() {
        // x[step, example, column] for the lanes along i1, the sum over examples i2 and then steps i3.
        let subs = [Affine::axis(3), Affine::axis(2), Affine::axis(1)];
        assert_eq!(order_of_walk(&subs, None), [1, 0, 2]);
        assert_eq!(order_of_walk(&subs, Some(1)), [2, 0, 1]);
        // Windows stay as they are: [n, h + u, w + v, c].
        let window = |a, b| Affine::new([(a, 1), (b, 1)], 0);
        let subs = [Affine::axis(0), window(1, 4), window(2, 5), Affine::axis(6)];
        assert_eq!(order_of_walk(&subs, None), [0, 1, 2, 3]);
        // Also those of a kernel's gradient, a sum over n, h and w: i3, i4 and i5 for the taps i0, i1 and the channel i2.
        let subs = [Affine::axis(3), window(0, 4), window(1, 5), Affine::axis(2)];
        assert_eq!(order_of_walk(&subs, None), [0, 1, 2, 3]);
    }

    #[test]
    fn a_window_covers_the_padding_on_both_sides() {
        let phase = Phase {
            name: String::new(),
            axes: vec![Dim::batch(), Dim::fixed(8), Dim::fixed(3)],
            n_space: 2,
            exprs: IndexVec::new(),
            reduction: None,
            stores: vec![],
            schedule: Schedule::default(),
            step: None,
            barrier_before: false,
        };
        let sub = Affine::new([(1, 1), (2, 1)], -1);
        assert_eq!(window(&phase, &sub, Dim::fixed(8)), Some((-1, Dim::fixed(10))));
        assert_eq!(window(&phase, &Affine::axis(0), Dim::batch()), Some((0, Dim::batch())));
        assert_eq!(window(&phase, &Affine::new([(0, 2)], 0), Dim::batch()), None);
    }
}
