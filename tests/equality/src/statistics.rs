//! What random graphs are made of, counted, and what they must be made of: the lists come from the table of operations, so a new
//! operation is missing until the generator draws it.

use dlc_abi::ElemType;
use dlc_ir::graph::ops::{OpInfo, elem_name, word};
use dlc_ir::graph::{
    BinaryOp, Combine, Compare, Contract, Fill, Graph, InputRole, Op, OrderKind, OutputKind, Stage,
    UnaryOp,
};
use std::collections::BTreeMap;

/// Element types that are computed with.
const COMPUTED: [ElemType; 5] =
    [ElemType::F32, ElemType::F64, ElemType::I32, ElemType::I64, ElemType::Bool];

/// How many graphs have each feature.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    graphs: BTreeMap<String, u64>,
}

impl Statistics {
    /// Counts the features of a graph in its frozen form, with those of the form it was drawn in that freezing removes.
    pub fn add(&mut self, drawn: &Graph, frozen: &Graph) {
        let mut found = BTreeMap::new();
        let mut is_there = |feature: String| {
            found.insert(feature, 1);
        };
        is_there(format!("{} shards", frozen.shards));
        for node in drawn.nodes.values() {
            if let Op::Contract(contract) = &node.op
                && contract.normal_form().is_none()
            {
                is_there("affine left side".to_owned());
            }
        }
        for node in frozen.nodes.values() {
            is_there(of_elem(word_of(&node.op), computed_in(frozen, &node.op, node.elem)));
            is_there(format!("stage {}", node.stage.name()));
            match &node.op {
                Op::Input { role, .. } => is_there(format!("{} leaf", role.name())),
                Op::View { fill, .. } => is_there(format!("view {}", fill_name(fill))),
                Op::Contract(contract) => of_contract(frozen, contract, &mut is_there),
                Op::Const(_)
                | Op::Iota { .. }
                | Op::Extent(_)
                | Op::Random { .. }
                | Op::Unary(..)
                | Op::Binary(..)
                | Op::Compare(..)
                | Op::Select(..)
                | Op::Fma(..)
                | Op::Convert(_)
                | Op::Reshape(_)
                | Op::Gather(_)
                | Op::Exchange(_) => {}
                Op::Recur { reverse, .. } => {
                    is_there(format!("recur {}", direction_name(*reverse)));
                }
            }
        }
        for output in &frozen.outputs {
            is_there(match output.kind {
                OutputKind::Result(_) => "result".to_owned(),
                OutputKind::Assign(_) => "assign".to_owned(),
                OutputKind::Carry(_) => "carry".to_owned(),
            });
        }
        self.merge(Statistics { graphs: found });
    }

    /// Counts something about a graph that does not stand in it.
    pub fn note(&mut self, feature: &str) {
        *self.graphs.entry(feature.to_owned()).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: Statistics) {
        for (feature, count) in other.graphs {
            *self.graphs.entry(feature).or_default() += count;
        }
    }

    /// Features that must occur and occur in fewer graphs than `least`, with their counts.
    pub fn rare(&self, least: u64) -> Vec<(String, u64)> {
        let count = |feature: &String| self.graphs.get(feature).copied().unwrap_or(0);
        let all = required().into_iter().map(|feature| (count(&feature), feature));
        all.filter(|(count, _)| *count < least).map(|(count, feature)| (feature, count)).collect()
    }
}

impl std::fmt::Display for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (feature, count) in &self.graphs {
            writeln!(f, "{count:6} {feature}")?;
        }
        Ok(())
    }
}

fn of_elem(name: &str, elem: ElemType) -> String {
    format!("{name} {}", elem_name(elem))
}

/// The element type that an operation computes with: that of its operands where the result has another.
fn computed_in(graph: &Graph, op: &Op, result: ElemType) -> ElemType {
    match op {
        Op::Compare(_, a, _) => graph.nodes[*a].elem,
        _ => result,
    }
}

/// The operation's word. A new variant does not compile until it stands here and in [`required`].
fn word_of(op: &Op) -> &'static str {
    match op {
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        // Graphs are drawn whole: exchanges come of cutting one into parts, which has tests of its own.
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => op.info().name,
    }
}

fn direction_name(reverse: bool) -> &'static str {
    if reverse { "reverse" } else { "forward" }
}

fn fill_name(fill: &Fill) -> &'static str {
    match fill {
        Fill::InRange => "in range",
        Fill::Value(_) => "filled outside",
        Fill::Skip => "skipping outside",
    }
}

fn order_name(kind: OrderKind) -> &'static str {
    match kind {
        OrderKind::Chain => "chain",
        OrderKind::Lanes => "lanes",
    }
}

/// Combine and element type, order, chunks and accesses of a contraction.
fn of_contract(graph: &Graph, contract: &Contract, is_there: &mut impl FnMut(String)) {
    let n_out = contract.out.len();
    let elem = graph.nodes[contract.reads[0].value].elem;
    is_there(combined(contract.combine, contract.reads.len(), elem));
    if !contract.guards.is_empty() {
        is_there("guard".to_owned());
    }
    for read in &contract.reads {
        is_there(format!("read {}", fill_name(&read.fill)));
        for sub in &read.subs {
            let steps = |reduced: bool| {
                let of_kind = move |&&(axis, _): &&(usize, i64)| (axis >= n_out) == reduced;
                sub.terms().iter().filter(of_kind).map(|&(_, step)| step)
            };
            let is_window = steps(false).count() > 0 && steps(true).count() > 0;
            for (is, name) in [
                (is_window, "window"),
                (is_window && steps(false).any(|step| step > 1), "window with a stride"),
                (is_window && steps(true).any(|step| step > 1), "window with a dilation"),
                (is_window && sub.offset() < 0, "window with padding"),
                (sub.terms().iter().any(|&(_, step)| step < 0), "backward access"),
            ] {
                if is {
                    is_there(name.to_owned());
                }
            }
        }
    }
    let Some(order) = &contract.order else { return };
    let Some(inner) = (n_out..contract.space.len()).next_back() else { return };
    let kind = order_name(order.kind);
    is_there(format!("{kind} {}", if order.shard_axis.is_some() { "in shards" } else { "whole" }));
    // Judged at a batch of one, so that what follows holds at every batch.
    let lanes = if order.kind == OrderKind::Lanes { 16 } else { 1 };
    let run = contract.space[inner].at(1);
    let runs: i64 = contract.space[n_out..inner].iter().map(|dim| dim.at(1)).product();
    if run > order.run_cut * lanes {
        is_there(format!("{kind} with runs of several chunks"));
    }
    if order.runs_per_chunk > 1 && runs > order.runs_per_chunk {
        is_there(format!("{kind} with chunks of several runs"));
    }
}

fn combined(combine: Combine, n_reads: usize, elem: ElemType) -> String {
    format!("{} of {n_reads} {}", combine.name(), elem_name(elem))
}

/// Everything that must occur.
fn required() -> Vec<String> {
    let mut all = Vec::new();
    let mut of_types = |info: OpInfo| {
        let types = COMPUTED.into_iter().filter(|&elem| info.types.holds(elem));
        all.extend(types.map(|elem| of_elem(info.name, elem)));
    };
    UnaryOp::ALL.into_iter().for_each(|op| of_types(op.info()));
    BinaryOp::ALL.into_iter().for_each(|op| of_types(op.info()));
    Compare::ALL.into_iter().for_each(|op| of_types(op.info()));
    for name in [word::SELECT, word::CONVERT, word::VIEW, word::GATHER, word::INPUT, word::CONST] {
        all.extend(COMPUTED.map(|elem| of_elem(name, elem)));
    }
    all.push(of_elem(word::INPUT, ElemType::U8));
    all.push(of_elem(word::RECUR, ElemType::F32));
    for name in [word::IOTA, word::EXTENT, word::RANDOM, word::FMA, word::RESHAPE, word::CONTRACT] {
        all.extend([ElemType::F32, ElemType::F64].map(|elem| of_elem(name, elem)));
    }
    all.extend([word::IOTA, word::CONTRACT].map(|name| of_elem(name, ElemType::I32)));
    all.extend([word::IOTA, word::CONTRACT].map(|name| of_elem(name, ElemType::I64)));
    for combine in Combine::ALL {
        for n_reads in 1..=if combine.is_arg() { 1 } else { 2 } {
            let numbers = COMPUTED.into_iter().filter(|&elem| elem != ElemType::Bool);
            all.extend(numbers.map(|elem| combined(combine, n_reads, elem)));
        }
    }
    for kind in [OrderKind::Chain, OrderKind::Lanes] {
        for feature in
            ["whole", "in shards", "with runs of several chunks", "with chunks of several runs"]
        {
            all.push(format!("{} {feature}", order_name(kind)));
        }
    }
    for fill in [Fill::InRange, Fill::Skip, Fill::Value(dlc_ir::graph::Literal::Int(0))] {
        all.push(format!("read {}", fill_name(&fill)));
        if fill != Fill::Skip {
            all.push(format!("view {}", fill_name(&fill)));
        }
    }
    all.extend(InputRole::ALL.map(|role| format!("{} leaf", role.name())));
    all.extend(Stage::ALL.map(|stage| format!("stage {}", stage.name())));
    all.extend([1, 2, 4, 8].map(|shards| format!("{shards} shards")));
    let others = [
        "affine left side",
        "guard",
        "window",
        "window with a stride",
        "window with a dilation",
        "window with padding",
        "backward access",
        "result",
        "assign",
        "carry",
        "recur forward",
        "recur reverse",
        "double precision",
        "products apart from sums",
        "batch below the largest",
        "wild numbers",
    ];
    all.extend(others.map(str::to_owned));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::everywhere::frozen;
    use dlc_ir::graph::parse;

    #[test]
    fn a_sum_of_rows_is_seen_for_what_it_is() {
        let graph = parse(
            "graph \"g\" shards 4 class fused {\nstage forward\n\
             %0: f64[batch, 5000] = input data \"x\"\n\
             %1: f64[5] = input param \"k\"\n\
             %2: f64[batch, 2499] = contract sum [i0 < batch, i1 < 2499, i2 < 5] %0[i0, 2*i1 + i2 - 1] skip * %1[i2]\n\
             %3: f64[] = contract sum [i0 < batch, i1 < 5000] %0[i0, i1]\n\
             result \"a\" %2\nresult \"b\" %3\n}\n",
        )
        .expect("a graph");
        let mut statistics = Statistics::default();
        statistics.add(&graph, &frozen(&graph).expect("lawful"));
        let text = statistics.to_string();
        for feature in [
            "sum of 2 f64",
            "sum of 1 f64",
            "window with a stride",
            "window with padding",
            "read skipping outside",
            "lanes in shards",
            "lanes with runs of several chunks",
            "chain whole",
        ] {
            assert!(text.contains(&format!("     1 {feature}\n")), "{feature}\n{text}");
        }
        assert!(!text.contains("dilation"), "{text}");
        assert!(statistics.rare(1).iter().any(|(feature, _)| feature == "neg i64"));
    }
}
