//! Joins a phase of element-wise work to the earlier phase whose values it reads at the same point, so that a value stored for a second
//! reader need not be loaded again: the moments and the parameter of an optimizer become one pass.

use super::build::{Draft, StagedPhase};
use dlc_abi::BufferRole;
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::graph::Fill;
use dlc_ir::tile::{BufferId, Expr, ExprId, Node, Phase};

/// Joins phases until nothing changes. A phase moves up to its producer only if everything else it reads is already written there.
pub fn run(draft: &mut Draft) {
    let mut at = 1;
    while at < draft.phases.len() {
        match producer(draft, at) {
            Some(earlier) => {
                let StagedPhase { phase, .. } = draft.phases.remove(at);
                join(&mut draft.phases[earlier].phase, &phase);
            }
            None => at += 1,
        }
    }
}

/// The earlier phase that `draft.phases[at]` can join.
fn producer(draft: &Draft, at: usize) -> Option<usize> {
    let StagedPhase { when, phase } = &draft.phases[at];
    if phase.reduction.is_some() {
        return None;
    }
    let reads: Vec<BufferId> = phase.reads().map(|buffer| owner(draft, buffer)).collect();
    let latest = (0..at).rev().find(|&earlier| {
        draft.phases[earlier].phase.writes().any(|written| reads.contains(&owner(draft, written)))
    })?;
    let candidate = &draft.phases[latest];
    let same_space = candidate.when == *when
        && candidate.phase.step == phase.step
        && candidate.phase.space() == phase.space();
    (same_space && reads_at_the_same_point(draft, phase, &candidate.phase)).then_some(latest)
}

fn owner(draft: &Draft, buffer: BufferId) -> BufferId {
    let mut owner = buffer;
    while let Some(alias) = draft.buffers[owner].alias_of {
        owner = alias;
    }
    owner
}

/// Whether what `phase` reads of the values of `candidate` it reads just where they are computed.
fn reads_at_the_same_point(draft: &Draft, phase: &Phase, candidate: &Phase) -> bool {
    phase.exprs.values().all(|node| match &node.expr {
        Expr::Load { buffer, subs, fill } => {
            let written =
                candidate.writes().any(|written| owner(draft, written) == owner(draft, *buffer));
            let same_place = *fill == Fill::InRange
                && candidate
                    .stores
                    .iter()
                    .any(|store| store.buffer == *buffer && store.subs == *subs);
            !written || same_place
        }
        Expr::Gather { buffer, index, .. } => {
            let is_written = |buffer: BufferId| {
                candidate.writes().any(|written| owner(draft, written) == owner(draft, buffer))
            };
            // An index is loaded, so that it is checked as data: joined, it would be a value instead.
            let index_is_written = match &phase.exprs[*index].expr {
                Expr::Load { buffer, .. } => is_written(*buffer),
                _ => false,
            };
            !is_written(*buffer) && !index_is_written
        }
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

/// Appends the expressions and stores of `phase` to `into`; loads of what `into` stores become the stored value itself.
fn join(into: &mut Phase, phase: &Phase) {
    let mut new_id: Vec<ExprId> = Vec::with_capacity(phase.exprs.len());
    for node in phase.exprs.values() {
        let stored = match &node.expr {
            Expr::Load { buffer, .. } => {
                into.stores.iter().find(|store| store.buffer == *buffer).map(|store| store.value)
            }
            _ => None,
        };
        new_id.push(match stored {
            Some(value) => value,
            None => {
                let node =
                    Node { expr: renumber(&node.expr, |id| new_id[id.index()]), elem: node.elem };
                find_or_push(&mut into.exprs, node)
            }
        });
    }
    for store in &phase.stores {
        let mut store = store.clone();
        store.value = new_id[store.value.index()];
        into.stores.push(store);
    }
}

/// Loads of the same element are shared; all loads of a point precede its stores, so that is sound.
fn find_or_push(exprs: &mut IndexVec<ExprId, Node>, node: Node) -> ExprId {
    let known = exprs.iter().find(|(_, known)| **known == node).map(|(id, _)| id);
    known.unwrap_or_else(|| exprs.push(node))
}

/// The same expression on other operands.
pub fn renumber(expr: &Expr, to: impl Fn(ExprId) -> ExprId) -> Expr {
    match expr {
        Expr::Const(_) | Expr::Index(_) | Expr::Extent(_) | Expr::Load { .. } | Expr::Reduced => {
            expr.clone()
        }
        Expr::Gather { buffer, subs, axis, index } => {
            Expr::Gather { buffer: *buffer, subs: subs.clone(), axis: *axis, index: to(*index) }
        }
        Expr::Random { seed, step, draw, element } => {
            Expr::Random { seed: to(*seed), step: to(*step), draw: *draw, element: to(*element) }
        }
        Expr::Unary(op, a) => Expr::Unary(*op, to(*a)),
        Expr::Binary(op, a, b) => Expr::Binary(*op, to(*a), to(*b)),
        Expr::Compare(op, a, b) => Expr::Compare(*op, to(*a), to(*b)),
        Expr::Select(c, a, b) => Expr::Select(to(*c), to(*a), to(*b)),
        Expr::Fma(a, b, c) => Expr::Fma(to(*a), to(*b), to(*c)),
        Expr::Convert(a) => Expr::Convert(to(*a)),
    }
}

/// Removes stores to temporaries that nothing reads any more.
pub fn drop_unread_stores(draft: &mut Draft) {
    let read: Vec<BufferId> = draft
        .phases
        .iter()
        .flat_map(|staged| staged.phase.reads())
        .map(|buffer| owner(draft, buffer))
        .collect();
    let needed = |buffer: BufferId| {
        draft.buffers[buffer].role != BufferRole::Temporary || read.contains(&buffer)
    };
    for staged in &mut draft.phases {
        staged.phase.stores.retain(|store| needed(store.buffer));
    }
    draft.phases.retain(|staged| !staged.phase.stores.is_empty());
}
