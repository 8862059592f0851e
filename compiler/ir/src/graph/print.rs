//! The text form of a graph: stable, line-oriented, read back by [`super::parse`].
//!
//! ```text
//! graph "mlp.eval" shards 4 class fused frozen {
//! stage forward
//!   %0: f32[batch, 64] = input data "image"
//!   %1: f32[64, 10] = input param "dense_1.w"
//!   %2: f32[batch, 10] = contract sum [i0 < batch, i1 < 10, i2 < 64] %0[i0, i2] * %1[i2, i1] order chain(run 64, runs 4)  ; dense_1.y
//!   %3: f32[] = contract sum [i0 < batch, i1 < 10] %2[i0, i1] order lanes(run 16, runs 256, shard i0)
//!   result "loss" %3
//! }
//! ```
//! Nodes are numbered by position. A line `stage` opens the nodes of a stage; what follows `;` is the node's name in the source.
//! Layouts are printed where they are not row-major.

use super::data::{
    Contract, Fill, Gather, Graph, Literal, Node, Op, Order, OrderKind, OutputKind, Read,
};
use super::infer::{dim_text, shape_text};
use super::ops::elem_name;
use crate::affine::Affine;
use crate::layout::{Layout, PhysicalAxis};
use dlc_abi::{Among, NumericsClass};
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "graph \"{}\" {} class {}",
            escape(&self.name),
            shards_text(self.shards, self.window_of),
            class_name(self.class)
        )?;
        writeln!(f, "{} {{", if self.frozen { " frozen" } else { "" })?;
        let mut stage = None;
        for (id, node) in self.nodes.iter() {
            if stage != Some(node.stage) {
                writeln!(f, "stage {}", node.stage.name())?;
                stage = Some(node.stage);
            }
            writeln!(f, "  {id}: {}", node_text(node))?;
        }
        for output in &self.outputs {
            match &output.kind {
                OutputKind::Result(name) => {
                    writeln!(f, "  result \"{}\" {}", escape(name), output.value)?;
                }
                OutputKind::Assign(leaf) => writeln!(f, "  assign {leaf} {}", output.value)?,
                OutputKind::Carry(recur) => writeln!(f, "  carry {recur} {}", output.value)?,
            }
        }
        writeln!(f, "}}")
    }
}

/// Between whom an exchange takes place, unless between replicas.
pub(crate) fn among_text(among: Among) -> String {
    match among {
        Among::Replicas => String::new(),
        Among::MicroBatches | Among::Stages | Among::Slices => format!(" among {}", among.name()),
    }
}

/// `shards 4`, or of a part of a batch `shards 2 of 4`.
pub(crate) fn shards_text(shards: u32, window_of: Option<u32>) -> String {
    let of = window_of.map(|whole| format!(" of {whole}")).unwrap_or_default();
    format!("shards {shards}{of}")
}

/// The word of a numerics class in the text form.
pub(crate) fn class_name(class: NumericsClass) -> &'static str {
    match class {
        NumericsClass::Fused => "fused",
        NumericsClass::Unfused => "unfused",
    }
}

/// A name that survives in a line: backslashes, quotes, control characters and blanks at the ends are escaped.
pub(crate) fn escape(name: &str) -> String {
    let last = name.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(name.len());
    for (at, c) in name.chars().enumerate() {
        let at_end = at == 0 || at == last;
        match c {
            '\\' | '"' => text.extend(['\\', c]),
            c if c.is_control() || (at_end && c.is_whitespace()) => {
                text.extend(c.escape_unicode());
            }
            c => text.push(c),
        }
    }
    text
}

fn node_text(node: &Node) -> String {
    let mut text =
        format!("{}{} = {}", elem_name(node.elem), shape_text(&node.shape), op_text(node));
    if node.layout != Layout::row_major(node.shape.len()) {
        text += &layout_text(&node.layout);
    }
    if !node.origin.name.is_empty() {
        text += &format!("  ; {}", escape(&node.origin.name));
    }
    text
}

fn op_text(node: &Node) -> String {
    let name = node.op.info().name;
    match &node.op {
        Op::Input { name: leaf, role } => {
            format!("{name} {} \"{}\"", role.name(), escape(leaf))
        }
        Op::Const(literal) => format!("{name} {}", literal_text(*literal)),
        Op::Iota { axis } => format!("{name} i{axis}"),
        Op::Extent(dim) => format!("{name} {}", dim_text(*dim)),
        Op::Random { seed, step, draw, first } => {
            let first = first.map(|first| format!(" from {first}")).unwrap_or_default();
            format!("{name} {seed}, {step}, draw {draw}{first}")
        }
        Op::Unary(_, a) | Op::Convert(a) | Op::Reshape(a) => format!("{name} {a}"),
        Op::Binary(_, a, b) | Op::Compare(_, a, b) => format!("{name} {a}, {b}"),
        Op::Select(a, b, c) | Op::Fma(a, b, c) => format!("{name} {a}, {b}, {c}"),
        Op::View { operand, subs, fill } => {
            format!("{name} {operand}{}{}", subs_text(subs), fill_text(*fill))
        }
        Op::Contract(contract) => format!("{name} {}", contract_text(contract, node)),
        Op::Gather(gather) => format!("{name} {}", gather_text(gather)),
        Op::Exchange(exchange) => {
            let among = among_text(exchange.among);
            let round = match exchange.round {
                0 => String::new(),
                round => format!(" round {round}"),
            };
            format!("{name} {} parts {}{among}{round}", exchange.operand, exchange.parts)
        }
        Op::Recur { init, reverse } => {
            format!("{name} {init}{}", if *reverse { " reverse" } else { "" })
        }
    }
}

/// A literal: floats always show a point, an exponent, `inf` or `NaN`.
pub(crate) fn literal_text(literal: Literal) -> String {
    match literal {
        Literal::Float(value) => format!("{value:?}"),
        Literal::Int(value) => value.to_string(),
        Literal::Bool(value) => value.to_string(),
    }
}

pub(crate) fn fill_text(fill: Fill) -> String {
    match fill {
        Fill::InRange => String::new(),
        Fill::Value(literal) => format!(" else {}", literal_text(literal)),
        Fill::Skip => " skip".to_string(),
    }
}

pub(crate) fn subs_text(subs: &[Affine]) -> String {
    let subs: Vec<String> = subs.iter().map(Affine::to_string).collect();
    format!("[{}]", subs.join(", "))
}

fn read_text(read: &Read) -> String {
    format!("{}{}{}", read.value, subs_text(&read.subs), fill_text(read.fill))
}

fn contract_text(contract: &Contract, node: &Node) -> String {
    let space: Vec<String> = contract
        .space
        .iter()
        .enumerate()
        .map(|(axis, &dim)| format!("i{axis} < {}", dim_text(dim)))
        .collect();
    let mut text = format!("{} [{}]", contract.combine.name(), space.join(", "));
    if contract.out != Affine::identity(node.shape.len()) {
        text += &format!(" into {}", subs_text(&contract.out));
    }
    let reads: Vec<String> = contract.reads.iter().map(read_text).collect();
    text += &format!(" {}", reads.join(" * "));
    let guards = contract
        .guards
        .iter()
        .map(|guard| format!("0 <= {} < {}", guard.expr, dim_text(guard.extent)));
    let congruences = contract
        .congruences
        .iter()
        .map(|congruence| format!("{} mod {} = 0", congruence.expr, congruence.modulus));
    let conditions: Vec<String> = guards.chain(congruences).collect();
    if !conditions.is_empty() {
        text += &format!(" where {}", conditions.join(", "));
    }
    if let Some(order) = &contract.order {
        text += &order_text(order);
    }
    text
}

pub(crate) fn order_text(order: &Order) -> String {
    let kind = match order.kind {
        OrderKind::Chain => "chain",
        OrderKind::Lanes => "lanes",
    };
    let shard = order.shard_axis.map(|axis| format!(", shard i{axis}")).unwrap_or_default();
    format!(" order {kind}(run {}, runs {}{shard})", order.run_cut, order.runs_per_chunk)
}

/// The index stands where it selects: `%0[%1[i0], i1]`.
fn gather_text(gather: &Gather) -> String {
    let subs: Vec<String> = gather
        .subs
        .iter()
        .enumerate()
        .map(|(axis, sub)| {
            if axis == gather.axis {
                format!("{}{}", gather.index, subs_text(&gather.index_subs))
            } else {
                sub.to_string()
            }
        })
        .collect();
    format!("{}[{}]", gather.operand, subs.join(", "))
}

pub(crate) fn layout_text(layout: &Layout) -> String {
    let axes: Vec<String> = layout
        .axes
        .iter()
        .map(|axis| match axis {
            PhysicalAxis::Whole(axis) => format!("i{axis}"),
            PhysicalAxis::Block(axis, size) => format!("i{axis} / {size}"),
            PhysicalAxis::Within(axis, size) => format!("i{axis} mod {size}"),
        })
        .collect();
    format!(" layout ({})", axes.join(", "))
}
