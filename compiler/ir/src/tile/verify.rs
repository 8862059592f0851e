//! The laws of tile IR, all checked at once.

use super::data::{Buffer, BufferId, Exchange, Expr, ExprId, Node, Phase, Program};
use crate::affine::Affine;
use crate::entity::EntityRef;
use crate::graph::range::element_count;
use crate::graph::{Combine, Fill, OrderKind};
use dlc_abi::{BufferRole, ElemType, ExchangeKind};
use std::collections::BTreeSet;
use std::fmt;

/// A law that a program breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLaw {
    /// Where: a buffer, or a phase with an expression or store.
    pub place: String,
    /// What must hold.
    pub law: String,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.law)
    }
}

impl Program {
    /// Checks all laws.
    ///
    /// # Errors
    /// Every broken law, in order of the text.
    pub fn verify(&self) -> Result<(), Vec<BrokenLaw>> {
        let mut checker = Checker { program: self, broken: Vec::new(), place: String::new() };
        checker.buffers();
        if !checker.broken.is_empty() {
            // Chains of aliases may not end, so nothing further can be said.
            return Err(checker.broken);
        }
        checker.exchanges();
        checker.definitions();
        for segment in &self.segments {
            for phase in &segment.phases {
                checker.phase(phase);
            }
            checker.loops(&segment.phases);
        }
        if checker.broken.is_empty() { Ok(()) } else { Err(checker.broken) }
    }
}

struct Checker<'a> {
    program: &'a Program,
    broken: Vec<BrokenLaw>,
    place: String,
}

impl Checker<'_> {
    fn require(&mut self, holds: bool, law: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(BrokenLaw { place: self.place.clone(), law: law() });
        }
    }

    fn buffers(&mut self) {
        let mut names = BTreeSet::new();
        for (id, buffer) in self.program.buffers.iter() {
            self.place = format!("buffer {id}");
            let alias = buffer.alias_of;
            if alias.is_none() {
                self.require(names.insert(&buffer.name), || {
                    format!("the name \"{}\" is taken", buffer.name)
                });
            }
            if let Some(of) = alias {
                let owner = self.program.buffers.get(of).filter(|_| of.index() < id.index());
                self.require(owner.is_some(), || format!("{of} does not exist before it"));
                let Some(owner) = owner else { continue };
                let elements = |buffer: &Buffer, batch| {
                    buffer.shape.iter().map(|dim| dim.at(batch)).product::<i64>()
                };
                // Two products of affine extents are equal if they agree at more points than they have factors of the batch.
                let agree = (0..6).all(|batch| elements(buffer, batch) == elements(owner, batch));
                self.require(agree, || format!("has another number of elements than {of}"));
                let plain = buffer.layout.is_row_major() && owner.layout.is_row_major();
                self.require(plain && buffer.elem == owner.elem, || {
                    "an alias is row-major and of one element type".into()
                });
            }
            if let Some(offset) = buffer.arena_offset {
                self.require(alias.is_none(), || "an alias has no place of its own".into());
                let end = offset + buffer.bytes(self.program.max_batch);
                self.require(offset % 64 == 0 && end <= self.program.arena_bytes, || {
                    "lies outside the arena".into()
                });
                self.require(buffer.role == BufferRole::Temporary, || {
                    "only temporaries lie in the arena".into()
                });
            }
        }
    }

    /// Exchanges name messages with a row for each part, and lie between the segment that gives and the one that takes.
    fn exchanges(&mut self) {
        let program = self.program;
        for (at, exchange) in program.exchanges.iter().enumerate() {
            self.place = format!("exchange {at}");
            let is_message = |id: BufferId| {
                program.buffers.get(id).is_some_and(|buffer| {
                    buffer.role == BufferRole::Message
                        && buffer.alias_of.is_none()
                        && buffer.layout.is_row_major()
                })
            };
            self.require(is_message(exchange.from) && is_message(exchange.to), || {
                "its buffers are row-major messages".into()
            });
            let elements = |id: BufferId, row: usize| {
                let buffer = program.buffers.get(id)?;
                element_count(buffer.shape.get(row..)?)
            };
            let row = usize::from(exchange.kind == ExchangeKind::AllGather);
            let fits = elements(exchange.from, 0).is_some()
                && elements(exchange.from, 0) == elements(exchange.to, row);
            self.require(fits, || "what is given has not the elements that are taken".into());
            let ordered =
                exchange.after < exchange.before && exchange.before <= program.segments.len();
            self.require(ordered, || "it ends after it begins, within the segments".into());
            self.span(exchange);
        }
    }

    /// No segment writes what is given after it went out, or reads what is taken before it came in.
    fn span(&mut self, exchange: &Exchange) {
        let known = |id: &BufferId| self.program.buffers.get(*id).is_some();
        let touches = |buffers: &mut dyn Iterator<Item = BufferId>, message: BufferId| {
            buffers.filter(known).any(|buffer| self.program.memory_of(buffer) == message)
        };
        let (mut late, mut early) = (false, false);
        for (at, segment) in self.program.segments.iter().enumerate() {
            for phase in &segment.phases {
                late |= at > exchange.after && touches(&mut phase.writes(), exchange.from);
                early |= at < exchange.before && touches(&mut phase.reads(), exchange.to);
            }
        }
        self.require(!late, || "what is given is written after it went out".into());
        self.require(!early, || "what is taken is read before it came in".into());
    }

    /// Every read of a temporary or output follows a write of its memory.
    fn definitions(&mut self) {
        let mut written: BTreeSet<usize> = self
            .program
            .buffers
            .iter()
            .filter(|(_, buffer)| {
                !matches!(buffer.role, BufferRole::Temporary | BufferRole::Output)
            })
            .map(|(id, _)| id.index())
            .collect();
        for phase in self.program.segments.iter().flat_map(|segment| &segment.phases) {
            self.place = format!("phase \"{}\"", phase.name);
            for buffer in phase.reads() {
                if self.program.buffers.get(buffer).is_none() {
                    continue;
                }
                let memory = self.program.memory_of(buffer);
                self.require(written.contains(&memory.index()), || {
                    format!("{buffer} is read before it is written")
                });
            }
            let known = |buffer: &BufferId| self.program.buffers.get(*buffer).is_some();
            let writes = phase.writes().filter(known);
            written.extend(writes.map(|buffer| self.program.memory_of(buffer).index()));
        }
    }

    fn phase(&mut self, phase: &Phase) {
        let name = format!("phase \"{}\"", phase.name);
        self.place = name.clone();
        if phase.n_space > phase.axes.len() {
            self.require(false, || "has more space axes than axes".into());
            return;
        }
        let reduced = phase.axes.len() - phase.n_space;
        self.require(phase.reduction.is_some() || reduced == 0, || {
            "has reduction axes but no reduction".into()
        });
        for (id, node) in phase.exprs.iter() {
            self.place = format!("{name}, {id}");
            self.expr(phase, id, node);
        }
        self.place = name.clone();
        self.reduction(phase);
        self.require(!phase.stores.is_empty(), || "stores nothing".into());
        for store in &phase.stores {
            self.place = format!("{name}, store to {}", store.buffer);
            self.access(phase, store.buffer, &store.subs, Fill::InRange);
            let memory = self
                .program
                .buffers
                .get(store.buffer)
                .map(|_| self.program.memory_of(store.buffer));
            let role = memory.map(|memory| self.program.buffers[memory].role);
            let taken = self.program.exchanges.iter().any(|exchange| Some(exchange.to) == memory);
            self.require(!taken, || "what an exchange takes is not written".into());
            self.require(!matches!(role, Some(BufferRole::Input | BufferRole::Table)), || {
                "inputs and tables are not written".into()
            });
            let over_space = store
                .subs
                .iter()
                .all(|sub| sub.terms().iter().all(|(axis, _)| *axis < phase.n_space));
            self.require(over_space, || "a store's subscripts are over the space axes".into());
            self.require(self.is_injective(phase, &store.subs), || {
                "different points must write different elements".into()
            });
            let value = phase.exprs.get(store.value);
            let target = self.program.buffers.get(store.buffer);
            let fits = value.zip(target).is_some_and(|(value, target)| value.elem == target.elem);
            self.require(fits, || "the value has another element type than the buffer".into());
        }
        self.place = name;
        self.schedule(phase);
    }

    /// Phases of a loop stand side by side and have the same steps.
    fn loops(&mut self, phases: &[Phase]) {
        let mut closed = BTreeSet::new();
        let mut before: Option<&Phase> = None;
        for phase in phases {
            self.place = format!("phase \"{}\"", phase.name);
            let last = before.replace(phase).filter(|last| last.step != phase.step);
            if let Some(step) = last.and_then(|last| last.step) {
                closed.insert(step.number);
            }
            let Some(step) = phase.step else { continue };
            self.require(!closed.contains(&step.number), || {
                format!("loop {} goes on after its end", step.number)
            });
            let fixed = phase.n_space > 0 && phase.axes[0].as_fixed().is_some_and(|n| n >= 1);
            self.require(fixed, || "a loop has fixed steps".into());
            let of_loop = phases.iter().filter(|other| other.step == Some(step));
            let same = of_loop.into_iter().all(|other| other.axes.first() == phase.axes.first());
            self.require(same, || "phases of a loop have the same steps".into());
            let schedule = &phase.schedule;
            let cut = schedule.units.iter().any(|unit| unit.axis == 0);
            let walked = schedule.lane_axis == Some(0) || schedule.row_axis == Some(0);
            self.require(!cut && !walked, || "steps are not cut, nor lanes or rows".into());
        }
    }

    /// Whether every space axis can be told from the subscripts: each axis longer than one occurs, and in each subscript the steps of an
    /// axis are longer than what all axes of smaller steps reach together. This is more than injectivity, which no pass needs.
    fn is_injective(&self, phase: &Phase, subs: &[Affine]) -> bool {
        let extent = |axis: usize| phase.axes[axis].at(self.program.max_batch);
        let told = (0..phase.n_space)
            .all(|axis| extent(axis) == 1 || subs.iter().any(|sub| sub.coefficient(axis) != 0));
        told && subs.iter().all(|sub| {
            let mut terms: Vec<(i64, i64)> = sub
                .terms()
                .iter()
                .filter(|(axis, _)| *axis < phase.axes.len())
                .map(|&(axis, coefficient)| (coefficient.abs(), extent(axis)))
                .collect();
            terms.sort_unstable();
            let mut reach = 0;
            terms.into_iter().all(|(step, extent)| {
                let longer = step > reach || extent == 1;
                reach += step * (extent - 1);
                longer
            })
        })
    }

    fn expr(&mut self, phase: &Phase, id: ExprId, node: &Node) {
        let operands = node.expr.operands();
        for operand in &operands {
            self.require(operand.index() < id.index(), || {
                format!("{operand} stands after its user")
            });
        }
        if operands.iter().any(|operand| operand.index() >= id.index()) {
            return;
        }
        let elem = |id: ExprId| phase.exprs[id].elem;
        let same = |ids: &[ExprId]| ids.windows(2).all(|pair| elem(pair[0]) == elem(pair[1]));
        match &node.expr {
            Expr::Const(_) | Expr::Extent(_) | Expr::Convert(_) => {}
            Expr::Random { .. } => {
                let fits = operands.iter().all(|&operand| elem(operand) == ElemType::I32);
                self.require(fits, || "seed, step and element are i32".into());
            }
            Expr::Index(index) => {
                let known = index.terms().iter().all(|(axis, _)| *axis < phase.axes.len());
                self.require(known, || "names an axis that the phase lacks".into());
            }
            Expr::Load { buffer, subs, fill } => {
                self.access(phase, *buffer, subs, *fill);
                let fits = self
                    .program
                    .buffers
                    .get(*buffer)
                    .is_some_and(|buffer| buffer.elem == node.elem);
                self.require(fits, || "has another element type than the buffer".into());
            }
            Expr::Gather { buffer, subs, axis, index } => {
                self.access(phase, *buffer, subs, Fill::InRange);
                let plain = matches!(phase.exprs[*index].expr, Expr::Load { .. })
                    && elem(*index) == ElemType::I32;
                self.require(plain, || "the index of a gather is a load of i32".into());
                let zero = subs.get(*axis).is_some_and(|sub| sub.as_constant() == Some(0));
                self.require(zero, || "the gathered axis has no subscript of its own".into());
            }
            Expr::Reduced => {
                self.require(phase.reduction.is_some(), || "there is no reduction".into());
            }
            Expr::Unary(..) => {
                self.require(elem(operands[0]) == node.elem, || "changes the element type".into())
            }
            Expr::Binary(..) | Expr::Fma(..) => {
                let fits = same(&operands) && elem(operands[0]) == node.elem;
                self.require(fits, || "operands and result have one element type".into());
            }
            Expr::Compare(..) => {
                let fits = same(&operands) && node.elem == ElemType::Bool;
                self.require(fits, || "compares one element type and gives a truth value".into());
            }
            Expr::Select(..) => {
                let fits = elem(operands[0]) == ElemType::Bool
                    && same(&operands[1..])
                    && elem(operands[1]) == node.elem;
                self.require(fits, || "selects between values of its type by a truth value".into());
            }
        }
    }

    fn access(&mut self, phase: &Phase, buffer: BufferId, subs: &[Affine], fill: Fill) {
        let Some(data) = self.program.buffers.get(buffer) else {
            self.require(false, || format!("{buffer} does not exist"));
            return;
        };
        self.require(subs.len() == data.shape.len(), || {
            format!("{buffer} has {} axes", data.shape.len())
        });
        let known =
            subs.iter().all(|sub| sub.terms().iter().all(|(axis, _)| *axis < phase.axes.len()));
        self.require(known, || "names an axis that the phase lacks".into());
        if !known || fill != Fill::InRange {
            return;
        }
        // Extents are affine in the batch, so what holds at two batch sizes holds between them.
        for batch in [1, self.program.max_batch] {
            let extents: Vec<i64> = phase.axes.iter().map(|dim| dim.at(batch)).collect();
            if extents.iter().any(|&extent| extent < 1) {
                continue;
            }
            for (sub, dim) in subs.iter().zip(&data.shape) {
                let (low, high) = sub.range(&extents);
                self.require(low >= 0 && high < dim.at(batch), || {
                    format!(
                        "{sub} reaches {low} to {high} of {} in {buffer} at batch {batch}",
                        dim.at(batch)
                    )
                });
            }
        }
    }

    fn reduction(&mut self, phase: &Phase) {
        let Some(reduction) = &phase.reduction else { return };
        let n_factors = reduction.factors.len();
        let is_arg = matches!(reduction.combine, Combine::ArgMax | Combine::ArgMin);
        let allowed = if is_arg { n_factors == 1 } else { (1..=2).contains(&n_factors) };
        self.require(allowed, || format!("{n_factors} factors"));
        let known = reduction.factors.iter().all(|&factor| phase.exprs.get(factor).is_some());
        self.require(known, || "a factor that does not exist".into());
        if known {
            let types = reduction.factors.iter().map(|&factor| phase.exprs[factor].elem);
            let one_type = types.clone().zip(types.skip(1)).all(|(a, b)| a == b);
            self.require(one_type, || "factors have one element type".into());
            self.require(!reads_reduced(phase, &reduction.factors), || {
                "a factor does not read what is reduced".into()
            });
        }
        let axes_known = reduction
            .guards
            .iter()
            .all(|guard| guard.expr.terms().iter().all(|(axis, _)| *axis < phase.axes.len()));
        self.require(axes_known, || "a guard names an axis that the phase lacks".into());
        let order = &reduction.order;
        self.require(order.run_cut >= 1 && order.runs_per_chunk >= 1, || {
            "chunks of no terms".into()
        });
        if let Some(axis) = order.shard_axis {
            let inside = (phase.n_space..phase.axes.len()).contains(&axis);
            self.require(inside, || format!("the sharded axis i{axis} is no reduction axis"));
        }
        if let Some(axis) = reduction.of_shard {
            let shards = Some(i64::from(self.program.shards));
            let numbers = axis < phase.n_space && phase.axes[axis].as_fixed() == shards;
            let sharded = order.shard_axis.is_some() && reduction.combine == Combine::Sum;
            self.require(numbers && sharded, || format!("i{axis} does not number its shards"));
            let schedule = &phase.schedule;
            let walked = [schedule.lane_axis, schedule.row_axis].contains(&Some(axis));
            self.require(!walked, || "neither lanes nor rows run from shard to shard".into());
        }
        let has_run = phase.axes.len() > phase.n_space;
        self.require(has_run || order.kind == OrderKind::Chain, || {
            "lanes without a reduction axis".into()
        });
    }

    fn schedule(&mut self, phase: &Phase) {
        let schedule = &phase.schedule;
        let mut cut = BTreeSet::new();
        for unit in &schedule.units {
            let fits = unit.axis < phase.n_space && unit.tile >= 1 && cut.insert(unit.axis);
            self.require(fits, || format!("units of {} along i{}", unit.tile, unit.axis));
        }
        if let Some(axis) = schedule.lane_axis {
            let last_reduced = axis + 1 == phase.axes.len() && phase.reduction.is_some();
            self.require(axis < phase.n_space || last_reduced, || format!("lanes along i{axis}"));
        }
        if let Some(axis) = schedule.row_axis {
            let fits = axis < phase.n_space && schedule.lane_axis != Some(axis);
            self.require(fits, || format!("rows along i{axis}"));
        }
        if let Some(block) = schedule.block {
            let is_chained_sum = phase.reduction.as_ref().is_some_and(|reduction| {
                reduction.combine == Combine::Sum && reduction.order.kind == OrderKind::Chain
            });
            let has_run = phase.axes.len() > phase.n_space;
            self.require(block >= 1 && is_chained_sum && has_run, || {
                format!("blocks of {block} terms")
            });
        }
        // What a selection is can be asked of a phase that keeps the laws so far.
        if let Some(axis) = schedule.sorted_axis.filter(|_| self.broken.is_empty()) {
            let fits = phase.selection().is_some_and(|selection| {
                let lanes_fit =
                    schedule.lane_axis.is_none_or(|lanes| phase.may_be_lanes(&selection, lanes));
                selection.axis == axis && lanes_fit
            });
            let alone = schedule.row_axis.is_none() && schedule.block.is_none();
            self.require(fits && alone, || format!("terms sorted along i{axis}"));
        }
    }
}

/// Whether the result of the reduction is among the operands of some expressions, however deep. Operands stand before their users.
fn reads_reduced(phase: &Phase, from: &[ExprId]) -> bool {
    let mut wanted = vec![false; phase.exprs.len()];
    from.iter().for_each(|id| wanted[id.index()] = true);
    for (id, node) in phase.exprs.iter().rev() {
        if !wanted[id.index()] {
            continue;
        }
        if node.expr == Expr::Reduced {
            return true;
        }
        let operands = node.expr.operands().into_iter();
        operands
            .filter(|operand| operand.index() < id.index())
            .for_each(|operand| wanted[operand.index()] = true);
    }
    false
}
