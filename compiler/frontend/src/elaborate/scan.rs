//! `scan t in time carry h = .. { .. yield y[:, t, :] = h }`: a loop that runs with the model.
//!
//! The body is elaborated once, for one step: the step's number and what is carried are stand-ins, slices of the tensors that hold them
//! for all steps. Then [`Stepped`] builds everything that depends on them with the steps as a first axis. No text is repeated, so the
//! time to compile does not depend on the number of steps.

use super::shape::Role;
use super::{Binding, Elaborator};
use crate::diagnostics;
use crate::value::{Eval, Extent, Reported, Tensor, Value};
use dlc_abi::{Dim, ElemType};
use dlc_grammar::Span;
use dlc_grammar::ast::{BinderKind, Head, RangeKind, Scan, Yield};
use dlc_ir::affine::Affine;
use dlc_ir::graph::stepped::Stepped;
use dlc_ir::graph::{Fill, NodeId};
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// The loop whose body is being elaborated.
#[derive(Debug, Clone)]
pub(crate) struct Scanning {
    /// The name of its index.
    index: String,
    /// The first number of the index.
    first: i64,
    /// What one step yields, by name.
    yields: IndexMap<String, Yielded>,
}

/// A slice of a result.
#[derive(Debug, Clone)]
struct Yielded {
    slice: Tensor,
    /// The axis of the result that counts the steps.
    axis: usize,
    span: Span,
}

/// A value carried from step to step.
struct Carried {
    name: String,
    /// All steps.
    recur: NodeId,
    /// One step.
    stand_in: Tensor,
    span: Span,
}

impl Elaborator {
    /// Runs the body once and repeats what it made.
    pub(crate) fn exec_scan(&mut self, scan: &Scan, span: Span) -> Eval<()> {
        if self.scanning.is_some() {
            return Err(self.report(diagnostics::not_supported("a `scan` within a `scan`", span)));
        }
        let (first, steps) = self.scan_range(scan)?;
        let from = self.graph.nodes.len();
        let mut carried = Vec::new();
        let mut known = BTreeMap::default();
        for carry in &scan.carries {
            let value = self.first_carry(carry)?;
            self.name_nodes(&carry.name.name);
            let init = self.as_tensor_or_scalar(value, "`carry`", carry.value.span)?;
            let mut build = self.build();
            let recur = build.recur(init.node, steps, false);
            let node = build.select_index(recur, 0, 0);
            let stand_in = Tensor { node, shape: init.shape };
            known.insert(node, recur);
            let name = carry.name.name.clone();
            self.bind(&name, Value::Tensor(stand_in.clone()), Some(carry.span));
            carried.push(Carried { name, recur, stand_in, span: carry.span });
        }
        let index = self.scan_index(first, steps, &mut known);
        let yields = IndexMap::new();
        self.scanning = Some(Scanning { index: scan.index.name.clone(), first, yields });
        let penalties = self.penalties.len();
        let outcome = self.scoped(|this| {
            let value = Value::Tensor(Tensor { node: index, shape: Vec::new() });
            this.bind(&scan.index.name, value, Some(scan.index.span));
            this.exec_stmts(&scan.body)?;
            scan.carries.iter().for_each(|carry| this.hand_on(&carry.name.name));
            Ok(())
        });
        let scanning = self.scanning.take();
        outcome?;
        if self.penalties.len() > penalties {
            return Err(self.report(diagnostics::misplaced(
                "penalty",
                "outside of a `scan`",
                span,
            )));
        }
        let nexts: Eval<Vec<Tensor>> =
            carried.iter().map(|carried| self.next_value(carried, scan.body.span)).collect();
        let nexts = nexts?;
        let mut body = Stepped::new(steps, (index, first), known);
        if body.build(&mut self.graph, from).is_err() {
            return Err(self.report(diagnostics::not_supported("a `scan` within a `scan`", span)));
        }
        for (carried, next) in carried.iter().zip(nexts) {
            let all = body.all_steps(&mut self.graph, next.node);
            self.graph.carry(carried.recur, all);
            let node = self.build().select_index(all, 0, steps - 1);
            let value = Value::Tensor(Tensor { node, shape: next.shape });
            if let Some(binding) = self.frame_mut().get_mut(&carried.name) {
                binding.value = value;
            }
        }
        for (name, yielded) in scanning.map(|scanning| scanning.yields).unwrap_or_default() {
            let all = body.all_steps(&mut self.graph, yielded.slice.node);
            self.bind_yield(&name, &yielded, all, steps);
        }
        Ok(())
    }

    /// The first number of the index, and the number of steps.
    fn scan_range(&mut self, scan: &Scan) -> Eval<(i64, i64)> {
        let range = &scan.range;
        let (from, to) = match &range.kind {
            RangeKind::Over { value, .. } => {
                let over = self.eval(value)?.first();
                (0, self.int_value(&over, "the steps of a loop", value.span)?)
            }
            RangeKind::Between { from, to } => {
                let (a, b) = (self.eval(from)?, self.eval(to)?);
                (
                    self.int_value(&a, "the start of a loop", from.span)?,
                    self.int_value(&b, "the end of a loop", to.span)?,
                )
            }
        };
        let steps = to.saturating_sub(from);
        if steps < 2 {
            return Err(self.report(diagnostics::too_few_steps(range.span, steps)));
        }
        let extent = Extent { dim: Dim::fixed(steps), from: Some(range.span) };
        self.check_size(&[extent], range.span)?;
        Ok((from, steps))
    }

    /// The stand-in of the step's number.
    fn scan_index(
        &mut self,
        first: i64,
        steps: i64,
        known: &mut BTreeMap<NodeId, NodeId>,
    ) -> NodeId {
        let mut build = self.build();
        let mut numbers = build.iota(0, ElemType::I32, vec![Dim::fixed(steps)]);
        if first != 0 {
            let offset = build.number_like(first as f64, numbers);
            numbers = build.add(numbers, offset);
        }
        let index = build.select_index(numbers, 0, 0);
        known.insert(index, numbers);
        index
    }

    /// What a name holds at the end of the body, as what is carried on.
    fn next_value(&mut self, carried: &Carried, body: Span) -> Eval<Tensor> {
        let binding = self.frame().get(&carried.name).cloned();
        let Some(Binding { value, .. }) = binding else { return Err(Reported::already()) };
        if matches!(value, Value::Bad) {
            return Err(Reported::already());
        }
        let elem = self.elem(carried.stand_in.node);
        let role = Role { what: format!("`{}`", carried.name), span: body, declared: carried.span };
        self.fill(value.first(), elem, &carried.stand_in.shape, &role)
    }

    /// `yield y[:, t, :] = h`
    pub(crate) fn yield_slice(&mut self, yielded: &Yield, head: &Head) -> Eval<()> {
        let Some(scanning) = self.scanning.clone() else {
            return Err(self.report(diagnostics::misplaced("yield", "a `scan`", head.span)));
        };
        if scanning.first != 0 {
            return Err(self.report(diagnostics::not_supported(
                "`yield` in a `scan` that does not begin at 0",
                head.span,
            )));
        }
        let is_step = |kind: &BinderKind| {
            matches!(kind, BinderKind::Index(index)
                if index.name.name == scanning.index && !index.pack && index.range.is_none())
        };
        let mut steps = (0..head.binders.len()).filter(|&at| is_step(&head.binders[at].kind));
        let (Some(at), None) = (steps.next(), steps.next()) else {
            return Err(self.report(diagnostics::yield_place(&scanning.index, head.span)));
        };
        let mut rest = head.clone();
        rest.binders.remove(at);
        self.name_nodes(&yielded.name.name);
        let whole =
            rest.binders.iter().all(|it| matches!(it.kind, BinderKind::All | BinderKind::Dots));
        let slice = if whole {
            let value = self.eval(&yielded.value)?.first();
            self.as_tensor_or_scalar(value, "`yield`", yielded.value.span)?
        } else {
            let mut declared =
                self.frame().results.get(&yielded.name.name).cloned().unwrap_or_default();
            // Without packs each place is an axis.
            if declared.len() == head.binders.len() {
                declared.remove(at);
            } else {
                declared.clear();
            }
            self.indexed(&rest, &declared, None, &yielded.value)?
        };
        let axis = self.yield_axis(head, at, slice.rank())?;
        let slice = Yielded { slice, axis, span: yielded.name.span };
        if let Some(scanning) = &mut self.scanning {
            scanning.yields.insert(yielded.name.name.clone(), slice);
        }
        Ok(())
    }

    /// Which axis of the result counts the steps: places before it are one axis each, but for packs.
    fn yield_axis(&mut self, head: &Head, at: usize, rank: usize) -> Eval<usize> {
        let is_pack = |kind: &BinderKind| match kind {
            BinderKind::Dots => true,
            BinderKind::Index(index) => index.pack,
            BinderKind::All | BinderKind::Group(_) | BinderKind::At { .. } => false,
        };
        let packs_before = head.binders[..at].iter().any(|it| is_pack(&it.kind));
        let packs_after = head.binders[at + 1..].iter().any(|it| is_pack(&it.kind));
        let behind = head.binders.len() - at - 1;
        let axis = match (packs_before, packs_after) {
            (false, false) => (behind + at == rank).then_some(at),
            (false, true) => (at <= rank).then_some(at),
            (true, false) => rank.checked_sub(behind),
            (true, true) => None,
        };
        match axis {
            Some(axis) => Ok(axis),
            None => {
                let name =
                    self.scanning.as_ref().map_or("t", |scanning| &scanning.index).to_owned();
                Err(self.report(diagnostics::yield_place(&name, head.span)))
            }
        }
    }

    /// Gives a result the slices of all steps.
    fn bind_yield(&mut self, name: &str, yielded: &Yielded, all: NodeId, steps: i64) {
        let Yielded { slice, axis, span } = yielded;
        let mut shape = slice.shape.clone();
        shape.insert(*axis, Extent { dim: Dim::fixed(steps), from: Some(*span) });
        let node = if *axis == 0 {
            all
        } else {
            let mut subs = vec![Affine::axis(*axis)];
            subs.extend((0..shape.len()).filter(|at| at != axis).map(Affine::axis));
            let dims = shape.iter().map(|extent| extent.dim).collect();
            self.name_nodes(name);
            self.build().view(all, subs, Fill::InRange, dims)
        };
        let value = Value::Tensor(Tensor { node, shape });
        match self.frame_mut().get_mut(name) {
            Some(binding) if matches!(binding.value, Value::Unset) => binding.value = value,
            _ => self.bind(name, value, Some(*span)),
        }
    }
}
