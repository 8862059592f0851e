//! Updates that take turns: `step critic times 5 { .. }`.
//!
//! A training step is one program, so it computes every turn's update and keeps the one whose turn it is, which follows from the
//! number of the step. Within a turn `step` and `steps` count its own updates, so that what depends on them, such as a correction
//! for moments that start from zero, does not see the others.

use super::train::settings_of;
use crate::diagnostics;
use crate::elaborate::Elaborator;
use crate::glob;
use crate::value::{Eval, Reported, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{self, BinaryOp, Setting, SettingKey, Step, TrainStmt, TrainStmtKind};
use dlc_ir::graph::{InputRole, NodeId};

/// One of the updates that take turns, or the only one.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// Where its `step` stands in the block; `None` for the only update of a block without.
    at: Option<usize>,
    /// How often it runs before the next.
    times: i64,
    /// The parameters that it updates.
    pub params: Vec<String>,
}

impl Turn {
    /// Its settings. What the block itself says of schedules and constraints holds for every turn.
    pub(super) fn settings<'t>(
        &self,
        train: &'t ast::Train,
        key: SettingKey,
    ) -> impl Iterator<Item = &'t Setting> {
        let own = self.at.and_then(|at| step_at(train, at)).map(|step| &step.body.stmts[..]);
        let outer = settings_of(train).filter(move |setting| setting.key == key);
        settings_in(own.unwrap_or_default()).filter(move |setting| setting.key == key).chain(outer)
    }
}

/// The settings among some statements.
pub(super) fn settings_in(stmts: &[TrainStmt]) -> impl Iterator<Item = &Setting> {
    stmts.iter().filter_map(|stmt| match &stmt.kind {
        TrainStmtKind::Setting(setting) => Some(setting),
        TrainStmtKind::Step(_) | TrainStmtKind::Let(_) | TrainStmtKind::Bad => None,
    })
}

/// The steps of a block with their places.
pub(super) fn steps(train: &ast::Train) -> impl Iterator<Item = (usize, &Step)> {
    train.body.stmts.iter().enumerate().filter_map(|(at, stmt)| match &stmt.kind {
        TrainStmtKind::Step(step) => Some((at, step)),
        TrainStmtKind::Setting(_) | TrainStmtKind::Let(_) | TrainStmtKind::Bad => None,
    })
}

fn step_at(train: &ast::Train, at: usize) -> Option<&Step> {
    match &train.body.stmts.get(at)?.kind {
        TrainStmtKind::Step(step) => Some(step),
        TrainStmtKind::Setting(_) | TrainStmtKind::Let(_) | TrainStmtKind::Bad => None,
    }
}

/// A turn among all.
#[derive(Clone, Copy)]
struct Place {
    /// Updates of the turns before it.
    before: i64,
    times: i64,
    /// Updates of all turns.
    total: i64,
}

impl Place {
    fn of(turns: &[Turn], at: usize) -> Self {
        Place {
            before: turns[..at].iter().map(|turn| turn.times).sum(),
            times: turns[at].times,
            total: turns.iter().map(|turn| turn.times).sum(),
        }
    }
}

impl Elaborator {
    /// The turns of a block, with the parameters that each updates. Where there are several, each parameter has its turn.
    pub(super) fn turns_of(&mut self, train: &ast::Train, trained: &[String]) -> Eval<Vec<Turn>> {
        let mut turns = Vec::new();
        let mut seen: Vec<(String, Span)> = Vec::new();
        for (at, step) in steps(train) {
            if let Some((_, first)) = seen.iter().find(|(name, _)| *name == step.name.name) {
                let first = *first;
                return Err(self.report(diagnostics::step_twice(&step.name, first)));
            }
            seen.push((step.name.name.clone(), step.name.span));
            let times = match &step.times {
                None => 1,
                Some(times) => {
                    let value = self.eval_int(times, "`times`")?;
                    if !(1..=1_000_000).contains(&value) {
                        let diagnostic = diagnostics::step_times(value, times.span);
                        return Err(self.report(diagnostic));
                    }
                    value
                }
            };
            let mut patterns = Vec::new();
            let mut all = false;
            let stmts = &step.body.stmts;
            for setting in settings_in(stmts).filter(|s| s.key == SettingKey::Optimizer) {
                all |= setting.on.is_empty();
                patterns.extend(&setting.on);
            }
            let fits = |name: &&String| {
                all || patterns.iter().any(|pattern| glob::matches(&pattern.text, name))
            };
            let params = trained.iter().filter(fits).cloned().collect();
            turns.push(Turn { at: Some(at), times, params });
        }
        if turns.is_empty() {
            return Ok(vec![Turn { at: None, times: 1, params: trained.to_vec() }]);
        }
        let left = trained.iter().find(|name| !turns.iter().any(|turn| turn.params.contains(name)));
        match left {
            None => Ok(turns),
            Some(name) => {
                let declared = self.params.get(name).map(|leaf| leaf.span);
                Err(self.report(diagnostics::no_optimizer_for(name, train.name.span, declared)))
            }
        }
    }

    /// Whether a turn has come, as a truth value of this step; `None` where there is one only.
    pub(super) fn has_come(
        &mut self,
        turns: &[Turn],
        at: usize,
        span: Span,
    ) -> Eval<Option<NodeId>> {
        if turns.len() < 2 {
            return Ok(None);
        }
        let place = Place::of(turns, at);
        let done = self.steps_done(span)?;
        let within = self.binary(BinaryOp::Mod, done, Value::int(place.total), span)?;
        let begun = self.binary(BinaryOp::Ge, within.clone(), Value::int(place.before), span)?;
        let end = Value::int(place.before + place.times);
        let going = self.binary(BinaryOp::Lt, within, end, span)?;
        match self.binary(BinaryOp::And, begun, going, span)? {
            Value::Tensor(tensor) => Ok(Some(tensor.node)),
            _ => Err(Reported::already()),
        }
    }

    /// Makes `step` and `steps` count the updates of a turn.
    pub(super) fn count_turn(&mut self, turns: &[Turn], at: usize, span: Span) -> Eval<()> {
        self.own_steps = None;
        if turns.len() < 2 {
            return Ok(());
        }
        let place = Place::of(turns, at);
        let done = self.steps_done(span)?;
        let before = self.updates_within(place, done, span)?;
        let number = self.binary(BinaryOp::Add, before, Value::int(1), span)?;
        let all = self.counter("steps");
        let count = self.updates_within(place, all, span)?;
        self.own_steps = Some((number, count));
        Ok(())
    }

    /// How many of the first `count` steps are updates of a turn.
    fn updates_within(&mut self, place: Place, count: Value, span: Span) -> Eval<Value> {
        let total = Value::int(place.total);
        let rounds = self.binary(BinaryOp::IntDiv, count.clone(), total.clone(), span)?;
        let whole = self.binary(BinaryOp::Mul, rounds, Value::int(place.times), span)?;
        let rest = self.binary(BinaryOp::Mod, count, total, span)?;
        let mut own = self.binary(BinaryOp::Sub, rest, Value::int(place.before), span)?;
        for (op, limit) in
            [(dlc_ir::graph::BinaryOp::Max, 0), (dlc_ir::graph::BinaryOp::Min, place.times)]
        {
            own = self.extreme(op, own, Value::int(limit), "step", span)?;
        }
        self.binary(BinaryOp::Add, whole, own, span)
    }

    /// Steps before this one.
    fn steps_done(&mut self, span: Span) -> Eval<Value> {
        let step = self.counter("step");
        self.binary(BinaryOp::Sub, step, Value::int(1), span)
    }

    fn counter(&mut self, name: &str) -> Value {
        let node = self.leaf(name, InputRole::Data, ElemType::I32, &[]);
        Value::Tensor(Tensor { node, shape: Vec::new() })
    }

    /// A value where a turn has come, else another.
    pub(super) fn in_turn(
        &mut self,
        come: Option<NodeId>,
        then: &Tensor,
        otherwise: &Tensor,
    ) -> Tensor {
        let Some(come) = come else { return then.clone() };
        let dims = then.dims();
        let come = self.spread(come, &dims);
        let node = self.build().select(come, then.node, otherwise.node);
        Tensor { node, shape: then.shape.clone() }
    }
}
