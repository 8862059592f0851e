//! Gives every shard of a long sum over the batch a phase point of its own, and adds the shards' sums in a phase behind it.
//! Input law:  phases are as `fuse` makes them; schedules are not chosen yet.
//! Output law: the same values are written; the sums of shards meet in the order that one phase would have met them in.
//! Why: the gradient of a kernel is a small tensor and each of its elements a sum over all places of all examples. Cut by its elements, every
//!      work unit reads the whole batch again; cut by shards, each reads its part once. And a sum of few elements has units for several
//!      parts at all.
//! Cost: O(expressions of the phases that are cut).
//!
//! ```text
//! before:  w' [9, 32 | batch]        sum x * dy, over 4 shards;  w' = w - lr * sum
//! after:   s  [4, 9, 32 | batch]     sum x * dy of shard i0
//!          w' [9, 32]                w - lr * ((s[0] + s[1]) + (s[2] + s[3]))
//! ```

use crate::fuse::merge::renumber;
use crate::schedule::{self, terms};
use dlc_abi::{BufferRole, Dim};
use dlc_ir::affine::Affine;
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::graph::{BinaryOp, Combine, Fill, Guard};
use dlc_ir::layout::Layout;
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{Buffer, BufferId, Expr, ExprId, Node, Phase, Program, Schedule, Store};

/// A sum cheaper than this is not worth a second phase and the wait between the two.
const LEAST_CYCLES: f64 = 120_000.0;
/// What is read must be so many times what the sums of all shards take, written and read.
const READS_PER_SUMS: i64 = 2;

/// Cuts the sums where it pays.
pub fn run(program: Program, target: &TargetDesc) -> Program {
    where_it(program, |program, phase| pays(program, phase, target))
}

/// Cuts every sum that can be cut; no choice here changes a bit, which tests make use of.
pub fn everywhere(program: Program) -> Program {
    where_it(program, |_, _| true)
}

fn where_it(mut program: Program, wanted: impl Fn(&Program, &Phase) -> bool) -> Program {
    if program.shards < 2 {
        return program;
    }
    for segment in 0..program.segments.len() {
        let phases = std::mem::take(&mut program.segments[segment].phases);
        let mut cut = Vec::with_capacity(phases.len());
        for phase in phases {
            if can_be_cut(&phase) && wanted(&program, &phase) {
                cut.extend(cut_sum(&mut program, &phase));
            } else {
                cut.push(phase);
            }
        }
        program.segments[segment].phases = cut;
    }
    program
}

/// Sums whose terms may be sorted by an index have all shards in hand at once.
fn can_be_cut(phase: &Phase) -> bool {
    phase.step.is_none()
        && phase.selection().is_none()
        && phase.reduction.as_ref().is_some_and(|reduction| {
            reduction.combine == Combine::Sum
                && reduction.order.shard_axis.is_some()
                && reduction.of_shard.is_none()
        })
}

/// Whether the sum is long, and the sums of all shards are small against what is read.
fn pays(program: &Program, phase: &Phase, target: &TargetDesc) -> bool {
    let is_term = terms(phase);
    let bytes = |buffer: BufferId| {
        let buffer = &program.buffers[buffer];
        let elements: i64 = buffer.shape.iter().map(|dim| dim.at(program.max_batch)).product();
        elements * buffer.elem.size() as i64
    };
    let read: i64 = phase
        .exprs
        .iter()
        .filter(|(id, _)| is_term[id.index()])
        .map(|(_, node)| match &node.expr {
            Expr::Load { buffer, .. } => bytes(*buffer),
            _ => 0,
        })
        .sum();
    let points: i64 = phase.space().iter().map(|dim| dim.at(program.max_batch)).product();
    let sums = 2 * 4 * points * i64::from(program.shards);
    READS_PER_SUMS * sums <= read && schedule::cycles(program, phase, target) >= LEAST_CYCLES
}

/// The phase that sums each shard's terms, and the one that adds these sums and goes on with the total.
fn cut_sum(program: &mut Program, phase: &Phase) -> [Phase; 2] {
    let shards = i64::from(program.shards);
    let reduction = phase.reduction.as_ref().expect("asked for by the caller");
    let elem = phase.exprs[reduction.factors[0]].elem;
    let shape: Vec<Dim> =
        std::iter::once(Dim::fixed(shards)).chain(phase.space().iter().copied()).collect();
    let buffer = program.buffers.push(Buffer {
        name: format!("shards of {} {}", phase.name, program.buffers.len()),
        role: BufferRole::Temporary,
        elem,
        layout: Layout::row_major(shape.len()),
        shape,
        alias_of: None,
        arena_offset: None,
    });
    [sums(phase, buffer, shards), total(phase, buffer, shards)]
}

/// The terms, with the number of the shard as a new first axis.
fn sums(phase: &Phase, buffer: BufferId, shards: i64) -> Phase {
    let later = |affine: &Affine| affine.renumber(|axis| axis + 1);
    let is_term = terms(phase);
    let mut exprs = IndexVec::new();
    let mut new_id: Vec<Option<ExprId>> = vec![None; phase.exprs.len()];
    for (id, node) in phase.exprs.iter().filter(|(id, _)| is_term[id.index()]) {
        let known = |id: ExprId| new_id[id.index()].expect("operands of terms are terms");
        let expr = moved(renumber(&node.expr, known), &later);
        new_id[id.index()] = Some(exprs.push(Node { expr, elem: node.elem }));
    }
    let mut reduction = phase.reduction.clone().expect("asked for by the caller");
    let elem = phase.exprs[reduction.factors[0]].elem;
    for factor in &mut reduction.factors {
        *factor = new_id[factor.index()].expect("factors are terms");
    }
    for guard in &mut reduction.guards {
        *guard = Guard { expr: later(&guard.expr), ..guard.clone() };
    }
    reduction.order.shard_axis = reduction.order.shard_axis.map(|axis| axis + 1);
    reduction.of_shard = Some(0);
    let value = exprs.push(Node { expr: Expr::Reduced, elem });
    let n_space = phase.n_space + 1;
    Phase {
        name: format!("shards of {}", phase.name),
        axes: std::iter::once(Dim::fixed(shards)).chain(phase.axes.iter().copied()).collect(),
        n_space,
        exprs,
        reduction: Some(reduction),
        stores: vec![Store { buffer, subs: Affine::identity(n_space), value }],
        schedule: Schedule::default(),
        step: None,
        barrier_before: false,
    }
}

/// What is done with the result, which is now the total of the shards' sums.
fn total(phase: &Phase, buffer: BufferId, shards: i64) -> Phase {
    let elem = phase.exprs[phase.reduction.as_ref().expect("asked for").factors[0]].elem;
    let mut exprs = IndexVec::new();
    let own = Affine::identity(phase.n_space);
    let total = tree(shards, |node| {
        let expr = match node {
            TreeNode::Leaf(shard) => {
                let subs = [vec![Affine::constant(shard)], own.clone()].concat();
                Expr::Load { buffer, subs, fill: Fill::InRange }
            }
            TreeNode::Sum(older, newer) => Expr::Binary(BinaryOp::Add, older, newer),
        };
        exprs.push(Node { expr, elem })
    });
    let wanted = epilogue(phase);
    let mut new_id: Vec<Option<ExprId>> = vec![None; phase.exprs.len()];
    for (id, node) in phase.exprs.iter().filter(|(id, _)| wanted[id.index()]) {
        let known = |id: ExprId| new_id[id.index()].expect("operands come first");
        new_id[id.index()] = Some(match &node.expr {
            Expr::Reduced => total,
            expr => exprs.push(Node { expr: renumber(expr, known), elem: node.elem }),
        });
    }
    let stores = phase.stores.iter().map(|store| Store {
        value: new_id[store.value.index()].expect("what is stored is wanted"),
        ..store.clone()
    });
    Phase {
        name: phase.name.clone(),
        axes: phase.space().to_vec(),
        n_space: phase.n_space,
        stores: stores.collect(),
        exprs,
        reduction: None,
        schedule: Schedule::default(),
        step: None,
        barrier_before: false,
    }
}

/// Which expressions lead to what is stored.
fn epilogue(phase: &Phase) -> Vec<bool> {
    let mut wanted = vec![false; phase.exprs.len()];
    phase.stores.iter().for_each(|store| wanted[store.value.index()] = true);
    for (id, node) in phase.exprs.iter().rev() {
        if wanted[id.index()] {
            node.expr.operands().into_iter().for_each(|id| wanted[id.index()] = true);
        }
    }
    wanted
}

enum TreeNode {
    Leaf(i64),
    Sum(ExprId, ExprId),
}

/// The total of so many sums, in the order of the binary counter in which a sum over all shards meets them.
fn tree(shards: i64, mut push: impl FnMut(TreeNode) -> ExprId) -> ExprId {
    let mut stack: Vec<ExprId> = Vec::new();
    for shard in 0..shards {
        let mut newer = push(TreeNode::Leaf(shard));
        for _ in 0..(shard + 1).trailing_zeros() {
            let older = stack.pop().expect("a counter has a sum for each of its bits");
            newer = push(TreeNode::Sum(older, newer));
        }
        stack.push(newer);
    }
    let newest = stack.pop().expect("there are shards");
    stack.into_iter().rev().fold(newest, |newer, older| push(TreeNode::Sum(older, newer)))
}

/// The expression at other axes.
fn moved(expr: Expr, to: &impl Fn(&Affine) -> Affine) -> Expr {
    let all = |subs: Vec<Affine>| subs.iter().map(to).collect();
    match expr {
        Expr::Index(index) => Expr::Index(to(&index)),
        Expr::Load { buffer, subs, fill } => Expr::Load { buffer, subs: all(subs), fill },
        Expr::Gather { buffer, subs, axis, index } => {
            Expr::Gather { buffer, subs: all(subs), axis, index }
        }
        Expr::Const(_)
        | Expr::Extent(_)
        | Expr::Reduced
        | Expr::Random { .. }
        | Expr::Unary(..)
        | Expr::Binary(..)
        | Expr::Compare(..)
        | Expr::Select(..)
        | Expr::Fma(..)
        | Expr::Convert(_) => expr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shards: i64) -> String {
        let mut names: Vec<String> = Vec::new();
        let total = tree(shards, |node| {
            names.push(match node {
                TreeNode::Leaf(shard) => shard.to_string(),
                TreeNode::Sum(a, b) => format!("({}+{})", names[a.index()], names[b.index()]),
            });
            ExprId::from_index(names.len() - 1)
        });
        names[total.index()].clone()
    }

    #[test]
    fn shards_meet_as_in_a_binary_counter() {
        assert_eq!(text(2), "(0+1)");
        assert_eq!(text(4), "((0+1)+(2+3))");
        assert_eq!(text(7), "(((0+1)+(2+3))+((4+5)+6))");
    }
}
