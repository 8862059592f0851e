//! Lets new values of parameters and state take effect: in place where every reader of the old value comes earlier, otherwise through
//! a temporary that is copied at the end of the step.

use super::build::{Assign, Draft, StagedPhase, copy_phase};
use dlc_abi::BufferRole;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Fill, Stage};
use dlc_ir::tile::{Buffer, BufferId, Expr, Phase};
use rustc_hash::FxHashMap;

/// Carries out the draft's assignments.
pub fn in_place(draft: &mut Draft) {
    let mut assigns = std::mem::take(&mut draft.assigns);
    for assign in &mut assigns {
        keep_old_value(draft, assign);
    }
    let mut copies = Vec::new();
    // Where values now lie that took the place of a leaf: a second leaf of the same value copies from the first.
    let mut moved: FxHashMap<BufferId, BufferId> = FxHashMap::default();
    for mut assign in assigns {
        assign.value = moved.get(&assign.value).copied().unwrap_or(assign.value);
        if can_write_in_place(draft, assign) {
            replace(draft, assign.value, assign.target);
            moved.insert(assign.value, assign.target);
        } else if assign.value != assign.target {
            let phase = copy_phase(&draft.buffers, assign.value, assign.target);
            copies.push(StagedPhase { when: assign.when, phase });
        }
    }
    // Copies come last of all, when no phase needs an old value any more.
    let last = draft.phases.iter().map(|staged| staged.when).max();
    for mut copy in copies {
        copy.when = last.unwrap_or(copy.when).max(copy.when);
        draft.phases.push(copy);
    }
}

/// A leaf that becomes the old value of another is set aside before anything is written.
fn keep_old_value(draft: &mut Draft, assign: &mut Assign) {
    let old = &draft.buffers[assign.value];
    if !matches!(old.role, BufferRole::Param | BufferRole::State) || assign.value == assign.target {
        return;
    }
    let name = format!("~old {} for {}", old.name, draft.buffers[assign.target].name);
    let kept = Buffer { name, role: BufferRole::Temporary, ..old.clone() };
    let kept = draft.buffers.push(kept);
    let phase = copy_phase(&draft.buffers, assign.value, kept);
    let when = draft.phases.first().map_or(assign.when, |first| first.when);
    draft.phases.insert(0, StagedPhase { when, phase });
    assign.value = kept;
}

fn can_write_in_place(draft: &Draft, Assign { value, target, when }: Assign) -> bool {
    // What each micro-batch computes, it computes several times, from the old value.
    if when.micro.is_some() && when.stage != Stage::Update {
        return false;
    }
    let buffer = &draft.buffers[value];
    if buffer.role != BufferRole::Temporary || buffer.alias_of.is_some() || is_aliased(draft, value)
    {
        return false;
    }
    if is_aliased(draft, target) || buffer.layout != draft.buffers[target].layout {
        return false;
    }
    let Some(writer) =
        draft.phases.iter().position(|staged| staged.phase.writes().any(|b| b == value))
    else {
        return false;
    };
    // Another value may not have been put there already.
    let taken = draft.phases.iter().any(|staged| staged.phase.writes().any(|b| b == target));
    let later_reader =
        draft.phases[writer + 1..].iter().any(|staged| staged.phase.reads().any(|b| b == target));
    // A phase of a loop runs again, after phases that stand before it.
    let repeats = draft.phases[writer].phase.step.is_some();
    !taken
        && !later_reader
        && !repeats
        && reads_only_its_own_point(&draft.phases[writer].phase, target)
}

fn is_aliased(draft: &Draft, buffer: BufferId) -> bool {
    draft.buffers.values().any(|other| other.alias_of == Some(buffer))
}

/// Whether each point of the phase reads of `target` only the element that it writes. A reduction reads elements of other points.
fn reads_only_its_own_point(phase: &Phase, target: BufferId) -> bool {
    phase.exprs.values().all(|node| match &node.expr {
        Expr::Load { buffer, subs, fill } => {
            *buffer != target
                || (*subs == Affine::identity(phase.n_space)
                    && *fill == Fill::InRange
                    && phase.reduction.is_none())
        }
        Expr::Gather { buffer, .. } => *buffer != target,
        Expr::Const(_)
        | Expr::Index(_)
        | Expr::Extent(_)
        | Expr::Random { .. }
        | Expr::Reduced
        | Expr::Unary(..)
        | Expr::Binary(..)
        | Expr::Compare(..)
        | Expr::Select(..)
        | Expr::Fma(..)
        | Expr::Convert(_) => true,
    })
}

fn replace(draft: &mut Draft, from: BufferId, to: BufferId) {
    for staged in &mut draft.phases {
        for store in &mut staged.phase.stores {
            if store.buffer == from {
                store.buffer = to;
            }
        }
        for node in staged.phase.exprs.values_mut() {
            match &mut node.expr {
                Expr::Load { buffer, .. } | Expr::Gather { buffer, .. } if *buffer == from => {
                    *buffer = to
                }
                _ => {}
            }
        }
    }
}
