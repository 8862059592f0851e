//! Guards of contractions: proven ones go, and those that say what a read says become that read's own range.

use dlc_abi::Dim;
use dlc_ir::entity::IndexVec;
use dlc_ir::graph::{Contract, Fill, Guard, Node, NodeId, Read, range};

/// Tidies guards and fills without changing which terms exist. `space` are the axes that the expressions speak of.
///
/// * a guard that the box proves is dropped, and of equal guards the second;
/// * a guard equal to the range of a read's subscript is dropped and the read skips outside, if that is the read's only way out;
/// * a read that is proven in range by a dropped guard only, skips.
pub(crate) fn tidy(nodes: &IndexVec<NodeId, Node>, space: &[Dim], contract: &mut Contract) {
    let mut kept: Vec<Guard> = Vec::new();
    for guard in std::mem::take(&mut contract.guards) {
        let proven = range::in_range(space, &[], &guard.expr, guard.extent);
        if proven || kept.contains(&guard) {
            continue;
        }
        match contract.reads.iter_mut().find(|read| can_take(nodes, space, read, &guard)) {
            Some(read) => read.fill = Fill::Skip,
            None => kept.push(guard),
        }
    }
    contract.guards = kept;
    // The fill of a read that is in range never shows, so a plain read says the same with less.
    let guards = range::effective_guards(nodes, contract);
    for read in &mut contract.reads {
        let shape = &nodes[read.value].shape;
        let in_range = |guards: &[Guard]| {
            read.subs
                .iter()
                .zip(shape)
                .all(|(sub, &extent)| range::in_range(space, guards, sub, extent))
        };
        if in_range(&[]) {
            read.fill = Fill::InRange;
        } else if read.fill == Fill::InRange && !in_range(&guards) {
            read.fill = Fill::Skip;
        }
    }
}

/// Whether a read that skips outside its operand excludes exactly the terms that it excludes now together with the guard.
fn can_take(nodes: &IndexVec<NodeId, Node>, space: &[Dim], read: &Read, guard: &Guard) -> bool {
    let shape = &nodes[read.value].shape;
    let mut same = false;
    let mut others_in_range = true;
    for (sub, &extent) in read.subs.iter().zip(shape) {
        if *sub == guard.expr && extent == guard.extent {
            same = true;
        } else {
            others_in_range &= range::in_range(space, &[], sub, extent);
        }
    }
    match read.fill {
        // Where the read is in range nothing is excluded besides the guard; where it skips, it skips already.
        Fill::InRange | Fill::Skip => same,
        Fill::Value(_) => same && others_in_range,
    }
}
