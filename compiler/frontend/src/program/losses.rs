//! The losses of a `train` block: one sum for each of the updates that take turns.

use super::turns::{settings_in, steps};
use crate::diagnostics;
use crate::elaborate::{Elaborator, TotalMode};
use crate::value::{Cell, Eval, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{self, Reducer, Setting, SettingKey, SettingValue, TrainStmtKind};
use std::sync::Arc;

impl Elaborator {
    /// Lets, losses and metrics of the block; the sum of the losses, for each turn.
    pub(super) fn block(&mut self, train: &ast::Train) -> Eval<Vec<Tensor>> {
        let turns = steps(train).next().is_some();
        // Only metrics have totals.
        let totals = std::mem::replace(&mut self.totals, TotalMode::Outside);
        let mut sum: Option<Tensor> = None;
        let mut losses = Vec::new();
        let mut failed = None;
        let mut names: Vec<String> = Vec::new();
        for stmt in &train.body.stmts {
            let outcome = match &stmt.kind {
                TrainStmtKind::Step(step) => self.step_losses(step).map(|loss| losses.push(loss)),
                TrainStmtKind::Setting(setting) => match setting.key {
                    SettingKey::Loss | SettingKey::Optimizer if turns => {
                        Err(self.report(diagnostics::beside_steps(setting)))
                    }
                    SettingKey::Loss => self.add_loss(setting, &mut sum),
                    SettingKey::Metric => {
                        self.totals = totals.clone();
                        let outcome = self.metric(setting, &mut names).map(|_| ());
                        self.totals = TotalMode::Outside;
                        outcome
                    }
                    SettingKey::Weight => {
                        let what = format!("`{}`", setting.key.word());
                        Err(self.report(diagnostics::not_supported(&what, setting.key_span)))
                    }
                    _ => Ok(()),
                },
                TrainStmtKind::Let(binding) => self.exec_train_let(binding, stmt.span),
                TrainStmtKind::Bad => Err(crate::value::Reported::already()),
            };
            if let Err(reported) = outcome {
                failed = Some(reported);
            }
        }
        if !turns && let Err(reported) = self.check_needed(&train.body.stmts, &train.name) {
            failed = Some(reported);
        }
        losses.extend(sum);
        match failed {
            Some(reported) => Err(reported),
            None if losses.is_empty() => Err(crate::value::Reported::already()),
            None => Ok(losses),
        }
    }

    /// The sum of the losses of a turn.
    fn step_losses(&mut self, step: &ast::Step) -> Eval<Tensor> {
        self.scoped(|this| {
            let mut sum = None;
            let mut failed = None;
            for stmt in &step.body.stmts {
                let outcome = match &stmt.kind {
                    TrainStmtKind::Let(binding) => this.exec_train_let(binding, stmt.span),
                    TrainStmtKind::Setting(setting) => match setting.key {
                        SettingKey::Loss => this.add_loss(setting, &mut sum),
                        SettingKey::Optimizer | SettingKey::Schedule | SettingKey::Constraint => {
                            Ok(())
                        }
                        _ => Err(this.report(diagnostics::within_step(setting))),
                    },
                    TrainStmtKind::Step(inner) => {
                        let place = "the block itself";
                        Err(this.report(diagnostics::misplaced("step", place, inner.name.span)))
                    }
                    TrainStmtKind::Bad => Err(crate::value::Reported::already()),
                };
                if let Err(reported) = outcome {
                    failed = Some(reported);
                }
            }
            if let Err(reported) = this.check_needed(&step.body.stmts, &step.name) {
                failed = Some(reported);
            }
            match (failed, sum) {
                (None, Some(sum)) => Ok(sum),
                (Some(reported), _) => Err(reported),
                (None, None) => Err(crate::value::Reported::already()),
            }
        })
    }

    fn add_loss(&mut self, setting: &Setting, sum: &mut Option<Tensor>) -> Eval<()> {
        let loss = self.loss(setting)?;
        *sum = Some(match sum.take() {
            None => loss,
            Some(before) => self.added(&before, &loss),
        });
        Ok(())
    }

    fn added(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let node = self.build().add(a.node, b.node);
        Tensor { node, shape: Vec::new() }
    }

    /// Every update has a loss and an optimizer.
    fn check_needed(&mut self, stmts: &[ast::TrainStmt], name: &ast::Ident) -> Eval<()> {
        let needed = [
            (SettingKey::Loss, "add one: `loss = softmax_cross_entropy(logits, label)`"),
            (SettingKey::Optimizer, "add one: `optimizer = adam(lr = 0.001)`"),
        ];
        let unread = stmts.iter().any(|stmt| matches!(stmt.kind, TrainStmtKind::Bad));
        let mut outcome = Ok(());
        for (key, help) in needed {
            if !unread && !settings_in(stmts).any(|setting| setting.key == key) {
                outcome = Err(self.report(diagnostics::missing_setting(key, name, help)));
            }
        }
        outcome
    }

    /// The loss that is shown: in training that of the turn, otherwise the sum over all turns.
    pub(super) fn shown_loss(&mut self, train: &ast::Train, losses: &[Tensor]) -> Eval<Tensor> {
        let Some((first, rest)) = losses.split_first() else {
            return Err(crate::value::Reported::already());
        };
        if rest.is_empty() || !self.training {
            return Ok(rest.iter().fold(first.clone(), |sum, loss| self.added(&sum, loss)));
        }
        let turns = self.turns_of(train, &[])?;
        let mut shown = first.clone();
        for (at, loss) in losses.iter().enumerate().skip(1) {
            let come = self.has_come(&turns, at, train.name.span)?;
            shown = self.in_turn(come, loss, &shown);
        }
        Ok(shown)
    }

    /// A loss: the mean over all of its elements.
    fn loss(&mut self, setting: &Setting) -> Eval<Tensor> {
        let SettingValue::Expr(expr) = &setting.value else {
            return Err(self.report(diagnostics::setting_form(setting.key, setting.key_span)));
        };
        self.origin = Arc::from("loss");
        let value = self.eval(expr)?.first();
        let tensor = match &value {
            Value::Tensor(tensor) if self.elem(tensor.node) == ElemType::F32 => tensor.clone(),
            Value::Tensor(_) | Value::Number(_) => {
                self.as_tensor(&value, ElemType::F32, "loss", expr.span)?
            }
            other => {
                let noun = other.noun();
                return Err(self.report(diagnostics::not_for_setting(
                    SettingKey::Loss,
                    noun,
                    expr.span,
                )));
            }
        };
        self.span = expr.span;
        self.origin = Arc::from("loss");
        self.mean_of(&tensor, expr.span)
    }

    /// The mean of all elements, a scalar.
    fn mean_of(&mut self, tensor: &Tensor, span: Span) -> Eval<Tensor> {
        if tensor.rank() == 0 {
            return Ok(tensor.clone());
        }
        let axes: Vec<usize> =
            tensor.shape.iter().map(|extent| self.new_axis("", Some(*extent))).collect();
        let cell = Cell::always(self.dense(tensor.node, &axes));
        let mean = self.reduce_cell(Reducer::Mean, cell, &axes, span)?;
        self.as_tensor(&mean, ElemType::F32, "loss", span)
    }

    /// The losses, each with what `penalty` adds to it in training.
    pub(super) fn with_penalties(&mut self, mut losses: Vec<Tensor>) -> Vec<Tensor> {
        if !self.training {
            return losses;
        }
        for penalty in std::mem::take(&mut self.penalties) {
            let span = self.span;
            if let Ok(mean) = self.mean_of(&penalty, span) {
                for loss in &mut losses {
                    *loss = self.added(loss, &mean);
                }
            }
        }
        losses
    }
}
