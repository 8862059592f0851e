//! The text form of a tile program: stable, line-oriented, read back by [`super::parse`].
//!
//! ```text
//! program "dense" shards 4 class fused batch 64 arena 16384 {
//!   b0 = input f32[batch, 64] "x"
//!   b3 = output f32[batch, 10] "y"
//! segment "dense.forward" forward
//!   phase "y" [i0 < batch, i1 < 10 | i2 < 64] barrier units(i0/8) lanes i1 x 2 rows i0 x 4
//!     e0: f32 = load b0[i0, i2]
//!     e1: f32 = load b1[i2, i1]
//!     reduce sum e0 * e1 order chain(run 256, runs 1)
//!     e2: f32 = reduced
//!     store b3[i0, i1] e2
//! }
//! ```
//! Buffers and the expressions of a phase are numbered by position. Reduction axes stand behind the bar. What a schedule does not say is
//! one lane, one row and no units. `step 0` before the schedule marks a phase of a loop.

use super::data::{Buffer, Expr, Node, Phase, Program, Reduction, Schedule, Step};
use crate::affine::Affine;
use crate::graph::Guard;
use crate::graph::infer::{dim_text, shape_text};
use crate::graph::ops::{elem_name, word};
use crate::graph::print::{
    among_text, class_name, escape, fill_text, layout_text, literal_text, order_text, shards_text,
    subs_text,
};
use crate::layout::Layout;
use dlc_abi::{BufferRole, ExchangeKind, SegmentKind};
use std::fmt;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "program \"{}\" {} class {} batch {} arena {} {{",
            escape(&self.name),
            shards_text(self.shards, self.window_of),
            class_name(self.class),
            self.max_batch,
            self.arena_bytes
        )?;
        for (id, buffer) in self.buffers.iter() {
            writeln!(f, "  {id} = {}", buffer_text(buffer))?;
        }
        for exchange in &self.exchanges {
            writeln!(
                f,
                "exchange {}{} {} to {} after {} before {}",
                exchange_name(exchange.kind),
                among_text(exchange.among),
                exchange.from,
                exchange.to,
                exchange.after,
                exchange.before
            )?;
        }
        for segment in &self.segments {
            writeln!(f, "segment \"{}\" {}", escape(&segment.name), kind_name(segment.kind))?;
            for phase in &segment.phases {
                write_phase(f, phase)?;
            }
        }
        writeln!(f, "}}")
    }
}

pub(super) fn kind_name(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Forward => "forward",
        SegmentKind::Backward => "backward",
        SegmentKind::Weights => "weights",
        SegmentKind::Update => "update",
    }
}

pub(super) fn exchange_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::AllGather => word::ALL_GATHER,
        ExchangeKind::AllToAll => word::ALL_TO_ALL,
        ExchangeKind::AllReduce => word::ALL_REDUCE,
    }
}

pub(super) fn role_name(role: BufferRole) -> &'static str {
    match role {
        BufferRole::Input => "input",
        BufferRole::Param => "param",
        BufferRole::State => "state",
        BufferRole::Output => "output",
        BufferRole::Temporary => "temporary",
        BufferRole::Table => "table",
        BufferRole::Message => "message",
    }
}

fn buffer_text(buffer: &Buffer) -> String {
    let mut text = format!(
        "{} {}{}",
        role_name(buffer.role),
        elem_name(buffer.elem),
        shape_text(&buffer.shape)
    );
    if buffer.layout != Layout::row_major(buffer.shape.len()) {
        text += &layout_text(&buffer.layout);
    }
    if let Some(alias) = buffer.alias_of {
        text += &format!(" of {alias}");
    }
    if let Some(offset) = buffer.arena_offset {
        text += &format!(" at {offset}");
    }
    format!("{text} \"{}\"", escape(&buffer.name))
}

fn write_phase(f: &mut fmt::Formatter<'_>, phase: &Phase) -> fmt::Result {
    let axis = |at: usize| format!("i{at} < {}", dim_text(phase.axes[at]));
    let space: Vec<String> = (0..phase.n_space.min(phase.axes.len())).map(axis).collect();
    let mut axes = space.join(", ");
    if phase.reduction.is_some() || phase.axes.len() > phase.n_space {
        let reduced: Vec<String> = (phase.n_space..phase.axes.len()).map(axis).collect();
        axes += &format!(" | {}", reduced.join(", "));
    }
    let barrier = if phase.barrier_before { " barrier" } else { "" };
    let step = match phase.step {
        None => String::new(),
        Some(Step { number, reverse: false }) => format!(" step {number}"),
        Some(Step { number, reverse: true }) => format!(" step {number} reverse"),
    };
    writeln!(
        f,
        "  phase \"{}\" [{axes}]{barrier}{step}{}",
        escape(&phase.name),
        schedule_text(&phase.schedule)
    )?;
    // The reduction stands where its result is first read.
    let mut reduction = phase.reduction.as_ref().map(reduction_text);
    for (id, node) in phase.exprs.iter() {
        if node.expr == Expr::Reduced
            && let Some(text) = reduction.take()
        {
            writeln!(f, "    {text}")?;
        }
        writeln!(f, "    {id}: {} = {}", elem_name(node.elem), expr_text(node))?;
    }
    if let Some(text) = reduction {
        writeln!(f, "    {text}")?;
    }
    for store in &phase.stores {
        writeln!(f, "    store {}{} {}", store.buffer, subs_text(&store.subs), store.value)?;
    }
    Ok(())
}

fn reduction_text(reduction: &Reduction) -> String {
    let factors: Vec<String> = reduction.factors.iter().map(ToString::to_string).collect();
    let guards: Vec<String> = reduction.guards.iter().map(guard_text).collect();
    let guards =
        if guards.is_empty() { String::new() } else { format!(" where {}", guards.join(", ")) };
    let combine = reduction.combine.name();
    let shard = reduction.of_shard.map_or(String::new(), |axis| format!(" of shard i{axis}"));
    let order = order_text(&reduction.order);
    format!("reduce {combine} {}{guards}{order}{shard}", factors.join(" * "))
}

fn guard_text(guard: &Guard) -> String {
    format!("0 <= {} < {}", guard.expr, dim_text(guard.extent))
}

fn schedule_text(schedule: &Schedule) -> String {
    let mut text = String::new();
    if !schedule.units.is_empty() {
        let units: Vec<String> =
            schedule.units.iter().map(|unit| format!("i{}/{}", unit.axis, unit.tile)).collect();
        text += &format!(" units({})", units.join(", "));
    }
    for (word, axis, count) in [
        ("lanes", schedule.lane_axis, schedule.vectors),
        ("rows", schedule.row_axis, schedule.rows),
    ] {
        match axis {
            Some(axis) => text += &format!(" {word} i{axis} x {count}"),
            None if count != 1 => text += &format!(" {word} none x {count}"),
            None => {}
        }
    }
    if let Some(block) = schedule.block {
        text += &format!(" block {block}");
    }
    if let Some(axis) = schedule.sorted_axis {
        text += &format!(" sorted i{axis}");
    }
    if schedule.serial {
        text += " serial";
    }
    text
}

fn expr_text(node: &Node) -> String {
    match &node.expr {
        Expr::Const(literal) => format!("const {}", literal_text(*literal)),
        Expr::Index(index) => format!("index {index}"),
        Expr::Extent(dim) => format!("extent {}", dim_text(*dim)),
        Expr::Load { buffer, subs, fill } => {
            format!("load {buffer}{}{}", subs_text(subs), fill_text(*fill))
        }
        Expr::Gather { buffer, subs, axis, index } => {
            let subs: Vec<String> = subs
                .iter()
                .enumerate()
                .map(
                    |(at, sub): (usize, &Affine)| {
                        if at == *axis { index.to_string() } else { sub.to_string() }
                    },
                )
                .collect();
            format!("gather {buffer}[{}]", subs.join(", "))
        }
        Expr::Random { seed, step, draw, element } => {
            format!("random {seed}, {step}, draw {draw}, element {element}")
        }
        Expr::Reduced => "reduced".to_owned(),
        Expr::Unary(op, a) => format!("{} {a}", op.info().name),
        Expr::Binary(op, a, b) => format!("{} {a}, {b}", op.info().name),
        Expr::Compare(op, a, b) => format!("{} {a}, {b}", op.info().name),
        Expr::Select(c, a, b) => format!("select {c}, {a}, {b}"),
        Expr::Fma(a, b, c) => format!("fma {a}, {b}, {c}"),
        Expr::Convert(a) => format!("convert {a}"),
    }
}
