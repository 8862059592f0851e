//! Joins neighbouring space axes that every access walks as one, so that lanes run over long rows and work units are easy to cut.
//! Input law:  buffers are row-major.
//! Output law: no two neighbouring space axes could still be joined; every element is computed as before.
//! Why: `relu` over [batch, 24, 24, 20] is one loop over batch * 11520 elements, without a tail for every 20.
//! Cost: O(axes * expressions).
//!
//! ```text
//! before:  space [batch, 24, 24, 20]  load x[i0, i1, i2, i3]
//! after:   space [11520*batch]        load x'[i0], x' being x under another shape
//! ```

use dlc_abi::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::entity::IndexVec;
use dlc_ir::graph::Fill;
use dlc_ir::layout::Layout;
use dlc_ir::tile::{Buffer, BufferId, Expr, Phase, Program};

/// Joins axes in every phase.
pub fn run(mut program: Program) -> Program {
    let Program { segments, buffers, .. } = &mut program;
    for phase in segments.iter_mut().flat_map(|segment| &mut segment.phases) {
        // The steps of a loop stay an axis of their own.
        let mut axis = usize::from(phase.step.is_some());
        while axis + 1 < phase.n_space {
            match joined_extent(phase, buffers, axis) {
                Some(extent) => join(phase, buffers, axis, extent),
                None => axis += 1,
            }
        }
    }
    program
}

/// Extent of `axis` and the one after it as one, if every access allows it.
fn joined_extent(phase: &Phase, buffers: &IndexVec<BufferId, Buffer>, axis: usize) -> Option<Dim> {
    let inner = phase.axes[axis + 1].as_fixed()?;
    let outer = phase.axes[axis];
    let extent = Dim { batch_factor: outer.batch_factor * inner, constant: outer.constant * inner };
    // A joined axis that mixes the batch with a rest has no fixed stride further in.
    if extent.batch_factor != 0 && extent.constant != 0 {
        return None;
    }
    let mentions = |sub: &Affine| sub.coefficient(axis) != 0 || sub.coefficient(axis + 1) != 0;
    let access = |buffer: BufferId, subs: &[Affine], fill: Fill| {
        if !subs.iter().any(mentions) {
            return true;
        }
        let buffer = &buffers[buffer];
        fill == Fill::InRange
            && buffer.layout.is_row_major()
            && subs.iter().position(mentions).is_some_and(|at| {
                at + 1 < subs.len()
                    && subs[at].as_axis() == Some(axis)
                    && subs[at + 1].as_axis() == Some(axis + 1)
                    && buffer.shape[at] == outer
                    && buffer.shape[at + 1].as_fixed() == Some(inner)
                    && !subs[at + 2..].iter().any(mentions)
            })
    };
    let exprs_agree = phase.exprs.values().all(|node| match &node.expr {
        Expr::Load { buffer, subs, fill } => access(*buffer, subs, *fill),
        Expr::Gather { buffer, subs, axis, .. } => {
            // The gathered axis must keep its place among the subscripts.
            !subs.iter().any(mentions)
                || (*axis > 0
                    && access(*buffer, subs, Fill::InRange)
                    && gathers_elsewhere(subs, *axis, &mentions))
        }
        Expr::Index(index) => is_joined(index, axis, inner),
        Expr::Random { .. }
        | Expr::Const(_)
        | Expr::Extent(_)
        | Expr::Reduced
        | Expr::Unary(..)
        | Expr::Binary(..)
        | Expr::Compare(..)
        | Expr::Select(..)
        | Expr::Fma(..)
        | Expr::Convert(_) => true,
    });
    let guards_agree = phase
        .reduction
        .iter()
        .flat_map(|reduction| &reduction.guards)
        .all(|guard| is_joined(&guard.expr, axis, inner));
    let stores_agree =
        phase.stores.iter().all(|store| access(store.buffer, &store.subs, Fill::InRange));
    (exprs_agree && guards_agree && stores_agree).then_some(extent)
}

fn gathers_elsewhere(
    subs: &[Affine],
    gathered: usize,
    mentions: &impl Fn(&Affine) -> bool,
) -> bool {
    subs.iter().position(mentions).is_none_or(|at| gathered != at && gathered != at + 1)
}

/// Whether the two axes occur as `inner * axis + (axis + 1)`, times a factor.
fn is_joined(affine: &Affine, axis: usize, inner: i64) -> bool {
    affine.coefficient(axis) == inner * affine.coefficient(axis + 1)
}

fn join(phase: &mut Phase, buffers: &mut IndexVec<BufferId, Buffer>, axis: usize, extent: Dim) {
    let renumber = |sub: &Affine| {
        // The joined axis takes the inner one's coefficient; later axes move down.
        let terms = sub
            .terms()
            .iter()
            .filter(|(at, _)| *at != axis)
            .map(|&(at, coefficient)| (if at > axis { at - 1 } else { at }, coefficient));
        Affine::new(terms, sub.offset())
    };
    let mut reshape =
        |buffer: &mut BufferId, subs: &mut Vec<Affine>, gathered: Option<&mut usize>| {
            let at = subs.iter().position(|sub| sub.coefficient(axis) != 0);
            if let Some(at) = at {
                *buffer = joined_buffer(buffers, *buffer, at);
                subs.remove(at);
                if let Some(gathered) = gathered
                    && *gathered > at
                {
                    *gathered -= 1;
                }
            }
            for sub in subs.iter_mut() {
                *sub = renumber(sub);
            }
        };
    for node in phase.exprs.values_mut() {
        match &mut node.expr {
            Expr::Load { buffer, subs, .. } => reshape(buffer, subs, None),
            Expr::Gather { buffer, subs, axis, .. } => reshape(buffer, subs, Some(axis)),
            Expr::Index(index) => *index = renumber(index),
            Expr::Random { .. }
            | Expr::Const(_)
            | Expr::Extent(_)
            | Expr::Reduced
            | Expr::Unary(..)
            | Expr::Binary(..)
            | Expr::Compare(..)
            | Expr::Select(..)
            | Expr::Fma(..)
            | Expr::Convert(_) => {}
        }
    }
    for store in &mut phase.stores {
        reshape(&mut store.buffer, &mut store.subs, None);
    }
    if let Some(reduction) = &mut phase.reduction {
        for guard in &mut reduction.guards {
            guard.expr = renumber(&guard.expr);
        }
        reduction.order.shard_axis = reduction.order.shard_axis.map(|shard_axis| shard_axis - 1);
    }
    phase.axes[axis] = extent;
    phase.axes.remove(axis + 1);
    phase.n_space -= 1;
}

/// The same memory with axes `at` and `at + 1` as one.
fn joined_buffer(
    buffers: &mut IndexVec<BufferId, Buffer>,
    buffer: BufferId,
    at: usize,
) -> BufferId {
    let memory = buffers[buffer].alias_of.unwrap_or(buffer);
    let mut shape = buffers[buffer].shape.clone();
    let inner = shape.remove(at + 1).as_fixed().expect("checked by joined_extent");
    shape[at] =
        Dim { batch_factor: shape[at].batch_factor * inner, constant: shape[at].constant * inner };
    let known = buffers.iter().find(|(id, other)| {
        (*id == memory || other.alias_of == Some(memory))
            && other.shape == shape
            && other.layout.is_row_major()
    });
    if let Some((id, _)) = known {
        return id;
    }
    let layout = Layout::row_major(shape.len());
    let name = format!("{} as {}", buffers[memory].name, shape_text(&shape));
    let alias = Buffer { name, shape, layout, alias_of: Some(memory), ..buffers[memory].clone() };
    buffers.push(alias)
}

fn shape_text(shape: &[Dim]) -> String {
    let extents: Vec<String> = shape
        .iter()
        .map(|dim| match (dim.batch_factor, dim.constant) {
            (0, constant) => constant.to_string(),
            (factor, 0) => format!("{factor}*batch"),
            (factor, constant) => format!("{factor}*batch+{constant}"),
        })
        .collect();
    format!("[{}]", extents.join(", "))
}
