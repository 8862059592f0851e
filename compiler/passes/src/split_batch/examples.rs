//! Whether every value of a graph belongs to one example, or to all of them together.
//!
//! A tensor has at most one axis with the batch, and each operation must take example n of its operands to example n of its result. The one
//! exception is a reduction over the batch, whose parts meet in the tree.

use super::SplitError;
use dlc_abi::{Among, Dim};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Contract, Gather, Graph, Node, NodeId, Op};

/// Checks a graph.
///
/// # Errors
/// At the first node that mixes examples.
pub(super) fn check(graph: &Graph) -> Result<(), SplitError> {
    for (id, node) in graph.nodes.iter() {
        problem(graph, node).map_or(Ok(()), |problem| {
            let name = node.origin.name.clone();
            Err(SplitError::Mixed { name, node: id, problem })
        })?;
    }
    Ok(())
}

fn problem(graph: &Graph, node: &Node) -> Option<&'static str> {
    let Ok(axis) = batch_axis(&node.shape) else {
        return Some("its shape has the batch more than once, or more than multiples of it");
    };
    match &node.op {
        Op::Input { .. } | Op::Const(_) | Op::Iota { .. } | Op::Extent(_) => None,
        // Element-wise operations have operands of one shape.
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_) => None,
        Op::Random { .. } => {
            let leading = axis.is_none_or(|axis| elements(&node.shape[..axis]) == 1);
            (!leading).then_some("it draws random numbers and the batch is not its first axis")
        }
        Op::View { operand, subs, .. } => read(graph, *operand, subs, &node.shape, axis),
        Op::Reshape(operand) => reshape(&graph.nodes[*operand].shape, &node.shape),
        Op::Contract(contract) => contraction(graph, contract),
        Op::Gather(gather) => gathered(graph, gather, &node.shape, axis),
        // Slices give to one another what they have of the same examples.
        Op::Exchange(exchange) => {
            (exchange.among != Among::Slices).then_some("it is a part already")
        }
        Op::Recur { .. } => None,
    }
}

/// The axis with the batch. `Err` when there are several, or one that is not a multiple of the batch.
fn batch_axis(shape: &[Dim]) -> Result<Option<usize>, ()> {
    let mut axes = (0..shape.len()).filter(|&axis| shape[axis].batch_factor != 0);
    let found = axes.next();
    let plain = found.is_none_or(|axis| shape[axis].constant == 0 && shape[axis].batch_factor > 0);
    if axes.next().is_none() && plain { Ok(found) } else { Err(()) }
}

fn elements(shape: &[Dim]) -> i64 {
    shape.iter().map(|dim| dim.constant).product()
}

const ELSEWHERE: &str = "it reads an example at the place of another one";

/// A read of `operand` at subscripts over `space`, whose axis `axis` counts examples.
fn read(
    graph: &Graph,
    operand: NodeId,
    subs: &[Affine],
    space: &[Dim],
    axis: Option<usize>,
) -> Option<&'static str> {
    let shape = &graph.nodes[operand].shape;
    let Ok(own) = batch_axis(shape) else { return Some(ELSEWHERE) };
    for (at, sub) in subs.iter().enumerate() {
        let along = axis.map_or(0, |axis| sub.coefficient(axis));
        if Some(at) != own {
            // An index along the batch may not choose anything else: it counts from the part's first example.
            if along != 0 {
                return Some(ELSEWHERE);
            }
            continue;
        }
        let Some(axis) = axis else { return Some(ELSEWHERE) };
        if along * space[axis].batch_factor != shape[at].batch_factor {
            return Some(ELSEWHERE);
        }
        // What is left stays within the example.
        let extents: Vec<i64> = space.iter().map(|dim| dim.constant.max(1)).collect();
        let (low, high) = sub.minus(&Affine::axis(axis).times(along)).range(&extents);
        if low < 0 || high >= along {
            return Some(ELSEWHERE);
        }
    }
    None
}

fn reshape(from: &[Dim], to: &[Dim]) -> Option<&'static str> {
    let before = |shape: &[Dim]| match batch_axis(shape) {
        Ok(Some(axis)) => Some(elements(&shape[..axis])),
        Ok(None) | Err(()) => None,
    };
    let same = match (batch_axis(from), batch_axis(to)) {
        (Ok(None), Ok(None)) => true,
        _ => before(from).is_some() && before(from) == before(to),
    };
    (!same).then_some("it lays out examples anew")
}

fn contraction(graph: &Graph, contract: &Contract) -> Option<&'static str> {
    let Ok(axis) = batch_axis(&contract.space) else {
        return Some("it combines each example with each other one");
    };
    let inner = axis.is_some_and(|axis| axis > contract.out.len());
    if inner && contract.combine.is_arg() {
        return Some("it is the place of an extreme over the batch and, outside it, other axes");
    }
    let guarded = contract.guards.iter().any(|guard| {
        guard.extent.batch_factor != 0 || axis.is_some_and(|axis| guard.expr.coefficient(axis) != 0)
    });
    if guarded {
        return Some("it treats some examples differently");
    }
    contract.reads.iter().find_map(|r| read(graph, r.value, &r.subs, &contract.space, axis))
}

fn gathered(
    graph: &Graph,
    gather: &Gather,
    space: &[Dim],
    axis: Option<usize>,
) -> Option<&'static str> {
    if batch_axis(&graph.nodes[gather.operand].shape) == Ok(Some(gather.axis)) {
        return Some("an index selects among examples");
    }
    read(graph, gather.operand, &gather.subs, space, axis)
        .or_else(|| read(graph, gather.index, &gather.index_subs, space, axis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_ir::graph::parse;

    fn found(body: &str) -> Option<&'static str> {
        let text = format!(
            "graph \"g\" shards 4 class fused frozen {{\n\
             %0: f32[batch, 6] = input data \"x\"\n%1: f32[6] = input param \"w\"\n{body}\n}}\n"
        );
        let graph = parse(&text).expect("a graph");
        graph.verify().expect("lawful");
        match check(&graph) {
            Ok(()) => None,
            Err(SplitError::Mixed { problem, .. }) => Some(problem),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_stays_within_examples_can_be_cut() {
        for body in [
            "%2: f32[batch, 6] = view %1[i1]\n%3: f32[batch, 6] = add %0, %2",
            "%2: f32[2*batch, 3] = reshape %0\n%3: f32[batch, 6] = reshape %2",
            "%2: f32[2*batch, 3] = reshape %0\n%3: f32[batch, 3] = view %2[2*i0 + 1, i1]",
            "%2: f32[2*batch, 3] = reshape %0\n%3: f32[batch, 2, 3] = view %2[2*i0 + i1, i2]",
            "%2: f32[6] = contract sum [i0 < 6, i1 < batch] %0[i1, i0] order chain(run 256, runs 1, shard i1)",
            "%2: i32[6] = contract argmax [i0 < 6, i1 < batch] %0[i1, i0] order chain(run 256, runs 1, shard i1)",
            "%2: f32[] = extent batch\n%3: f32[batch] = iota i0",
        ] {
            assert_eq!(found(body), None, "{body}");
        }
    }

    #[test]
    fn what_reads_other_examples_cannot() {
        for body in [
            "%2: f32[6] = view %0[0, i0]",
            "%2: f32[batch, 6] = view %0[i0 - 1, i1] else 0.0",
            "%2: f32[6, batch] = reshape %0",
            "%2: f32[batch, batch] = contract sum [i0 < batch, i1 < batch, i2 < 6] %0[i0, i2] * %0[i1, i2] order chain(run 6, runs 43)",
            "%2: i32[] = contract argmax [i0 < 6, i1 < batch] %0[i1, i0] order chain(run 256, runs 1, shard i1)",
        ] {
            assert!(found(body).is_some(), "{body}");
        }
    }
}
