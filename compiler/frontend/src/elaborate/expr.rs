//! Expressions.

use super::Elaborator;
use super::walk::pack_names;
use crate::diagnostics;
use crate::value::{Choice, Eval, Number, Reported, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::{
    BinaryOp, Elem, Expr, ExprKind, FieldName, IsPattern, Label, NumberValue, Stage, UnaryOp, With,
};

impl Elaborator {
    /// The value of an expression.
    pub(crate) fn eval(&mut self, expr: &Expr) -> Eval<Value> {
        self.enter(expr.span)?;
        let value = self.eval_kind(expr);
        self.leave();
        value
    }

    fn eval_kind(&mut self, expr: &Expr) -> Eval<Value> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Number(number) => match number.value {
                NumberValue::Int(value) if super::number::in_bounds(value) => Ok(Value::int(value)),
                NumberValue::Int(_) => Err(self.report(diagnostics::overflow(span))),
                NumberValue::Real(value) => Ok(Value::real(value)),
            },
            ExprKind::Str(text) => Ok(Value::Str(text.text.clone())),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::None => Ok(Value::None),
            ExprKind::Skip => Ok(Value::Skip),
            ExprKind::Name(name) => self.lookup(name),
            ExprKind::Paren(inner) => self.eval(inner),
            ExprKind::Tuple(elems) => self.elements(elems).map(Value::Tuple),
            ExprKind::List(items) => {
                let items: Eval<Vec<Value>> = items.iter().map(|item| self.eval(item)).collect();
                items.map(Value::List)
            }
            ExprKind::Unary(UnaryOp::Neg, inner) => {
                let value = self.eval(inner)?;
                self.span = span;
                self.negated(value, span)
            }
            ExprKind::Unary(UnaryOp::Not, inner) => {
                let value = self.eval(inner)?;
                self.span = span;
                self.logical_not(value, span)
            }
            ExprKind::Binary { op, op_span, lhs, rhs } => {
                self.eval_binary(*op, *op_span, lhs, rhs, span)
            }
            ExprKind::Is(inner, pattern) => self.eval_is(inner, pattern),
            ExprKind::Reduce { op, indices, body, .. } => self.reduce(*op, indices, body, span),
            ExprKind::Call(callee, args) => self.eval_call(callee, args, None, span),
            ExprKind::Access { base, subs, fallback } => {
                self.access(base, subs, fallback.as_ref(), span)
            }
            ExprKind::Field(base, name) => self.eval_field(base, name),
            ExprKind::Labelled(inner, label) => self.eval_labelled(inner, label),
            ExprKind::If(choice) => match self.eval_if(choice, span)? {
                Some(value) => Ok(value),
                None => Err(self.report(diagnostics::if_without_value(span))),
            },
            ExprKind::With(with) => match self.eval_with(with)? {
                Some(value) => Ok(value),
                None => Err(self.report(diagnostics::if_without_value(span))),
            },
            ExprKind::Pipe(first, stages) => self.eval_pipe(first, stages),
            ExprKind::Bad => Err(Reported::already()),
        }
    }

    fn elements(&mut self, elems: &[Elem]) -> Eval<Vec<Value>> {
        let mut values = Vec::new();
        for elem in elems {
            if elem.pack {
                values.extend(self.eval_pack(&elem.value)?);
            } else {
                values.push(self.eval(&elem.value)?);
            }
        }
        Ok(values)
    }

    fn eval_binary(
        &mut self,
        op: BinaryOp,
        at: Span,
        lhs: &Expr,
        rhs: &Expr,
        span: Span,
    ) -> Eval<Value> {
        if matches!(op, BinaryOp::And | BinaryOp::Or) {
            // A side known when the program is compiled may decide alone; then the other is not even looked at.
            let decides = op == BinaryOp::Or;
            let a = self.eval(lhs)?.first();
            return match a {
                Value::Bool(known) if known == decides => Ok(Value::Bool(known)),
                Value::Bool(_) => {
                    let b = self.eval(rhs)?.first();
                    match self.kind(&b) {
                        Some(super::tensor::Kind::Elem(dlc_abi::ElemType::Bool)) => Ok(b),
                        _ => Err(self.report(diagnostics::wrong_operand(op.text(), b.noun(), at))),
                    }
                }
                a => {
                    let b = self.eval(rhs)?.first();
                    match b {
                        Value::Bool(known) if known == decides => Ok(Value::Bool(known)),
                        Value::Bool(_) => Ok(a),
                        b => {
                            self.span = span;
                            self.binary(op, a, b, at)
                        }
                    }
                }
            };
        }
        if matches!(op, BinaryOp::Eq | BinaryOp::Ne)
            && let Some((a, b)) = self.choice_words(lhs, rhs)?
        {
            return Ok(Value::Bool((a == b) == (op == BinaryOp::Eq)));
        }
        let a = self.eval(lhs);
        let b = self.eval(rhs);
        let (a, b) = (a?, b?);
        self.span = span;
        self.binary(op, a, b, at)
    }

    /// `padding == same`: a choice against a word of its list.
    fn choice_words(&mut self, lhs: &Expr, rhs: &Expr) -> Eval<Option<(String, String)>> {
        for (choice, word) in [(lhs, rhs), (rhs, lhs)] {
            let (Some(choice), Some(word)) = (choice.as_name(), word.as_name()) else {
                return Ok(None);
            };
            let value = self.frame().get(&choice.name).map(|binding| binding.value.clone());
            let Some(Value::Choice(Choice { word: chosen, options })) = value else { continue };
            if self.frame().get(&word.name).is_some() {
                continue;
            }
            if !options.contains(&word.name) {
                return Err(self.report(diagnostics::not_an_option(word, &choice.name, &options)));
            }
            return Ok(Some((chosen, word.name.clone())));
        }
        Ok(None)
    }

    fn eval_is(&mut self, inner: &Expr, pattern: &IsPattern) -> Eval<Value> {
        let value = self.eval(inner)?;
        match pattern {
            IsPattern::None(_) => Ok(Value::Bool(matches!(value, Value::None))),
            IsPattern::Type(ty) => self.is_of_type(&value.first(), ty).map(Value::Bool),
        }
    }

    fn eval_field(&mut self, base: &Expr, name: &FieldName) -> Eval<Value> {
        if let (Some(module), FieldName::Name(item)) = (base.as_name(), name)
            && self.is_module(module)
        {
            return self.in_module(format!("{}.{}", module.name, item.name), item.span);
        }
        let value = self.eval(base)?;
        match name {
            FieldName::Index(at, span) => match value.parts() {
                Some(parts) => match parts.get(*at as usize) {
                    Some(part) => Ok(part.clone()),
                    None => Err(self.report(diagnostics::no_such_element(
                        *span,
                        i64::from(*at),
                        parts.len(),
                    ))),
                },
                None => Err(self.report(diagnostics::no_field(
                    value.noun(),
                    &at.to_string(),
                    *span,
                    &[],
                ))),
            },
            FieldName::Name(field) => {
                if let Some(part) = self.quiet_field(&value, &field.name) {
                    return Ok(part);
                }
                let known: Vec<String> = match &value {
                    Value::Record(record) => {
                        record.fields.iter().map(|(name, _)| name.clone()).collect()
                    }
                    Value::Shared(shared) => {
                        let prefix = format!("{}.", shared.path);
                        self.params
                            .keys()
                            .filter_map(|name| name.strip_prefix(&prefix))
                            .map(str::to_string)
                            .collect()
                    }
                    _ => Vec::new(),
                };
                if matches!(value, Value::Shared(_)) && known.is_empty() {
                    return Err(self.report(diagnostics::shared_not_used(field)));
                }
                Err(self.report(diagnostics::no_field(
                    value.noun(),
                    &field.name,
                    field.span,
                    &known,
                )))
            }
        }
    }

    fn eval_labelled(&mut self, inner: &Expr, label: &Label) -> Eval<Value> {
        match &inner.unparen().kind {
            ExprKind::Call(callee, args) => self.eval_call(callee, args, Some(label), inner.span),
            _ => Err(self.report(diagnostics::misplaced_label(label))),
        }
    }

    fn eval_pipe(&mut self, first: &Expr, stages: &[Stage]) -> Eval<Value> {
        let mut value = self.eval(first)?;
        let mut from = first.span;
        for stage in stages {
            let (callee, part) = match stage.path.parts.as_slice() {
                // `x |> lstm.h`: a result of a layer without arguments.
                [name, part] if !self.is_module(name) => (self.lookup_callee(name)?, Some(part)),
                _ => (self.lookup_path(&stage.path)?, None),
            };
            let args = stage.args.as_deref().unwrap_or_default();
            let piped = Some((value.first(), from));
            let label = stage.label.as_ref();
            value = self.apply_value(&callee, stage.path.span, piped, args, label, stage.span)?;
            if let Some(field) = stage.field.as_ref().or(part) {
                value = match self.quiet_field(&value, &field.name) {
                    Some(part) => part,
                    None => {
                        let known: Vec<String> = match &value {
                            Value::Record(record) => {
                                record.fields.iter().map(|(name, _)| name.clone()).collect()
                            }
                            _ => Vec::new(),
                        };
                        let noun = value.noun();
                        return Err(self.report(diagnostics::no_field(
                            noun,
                            &field.name,
                            field.span,
                            &known,
                        )));
                    }
                };
            }
            from = stage.span;
        }
        Ok(value)
    }

    /// `with training = false { .. }`
    pub(crate) fn eval_with(&mut self, with: &With) -> Eval<Option<Value>> {
        let before = self.training;
        let mut now = before;
        for (path, value) in &with.bindings {
            if path.text() != "training" {
                return Err(self.report(diagnostics::not_supported(
                    "`with` for other than `training`",
                    path.span,
                )));
            }
            now = match self.eval(value)?.first() {
                Value::Bool(value) => value,
                other => {
                    return Err(self.report(diagnostics::condition_type(other.noun(), value.span)));
                }
            };
        }
        self.training = now;
        let value = self.exec_block(&with.body);
        self.training = before;
        value
    }

    /// `expr..`: the expression once for each axis of the packs in it.
    pub(crate) fn eval_pack(&mut self, expr: &Expr) -> Eval<Vec<Value>> {
        let mut packs: Vec<(String, Vec<Value>)> = Vec::new();
        for name in pack_names(expr) {
            if packs.iter().any(|(known, _)| *known == name) {
                continue;
            }
            match self.frame().get(&name).map(|binding| &binding.value) {
                Some(Value::Pack(parts)) => packs.push((name, parts.clone())),
                Some(Value::Bad) => return Err(Reported::already()),
                _ => {}
            }
        }
        let Some((first, parts)) = packs.first() else {
            // A call may give the parts, as in `f(x)..`.
            let value = self.eval(expr)?.first();
            return match value.parts() {
                Some(parts) => Ok(parts.to_vec()),
                None => Err(self.report(diagnostics::nothing_to_repeat(expr.span))),
            };
        };
        let (first, count) = (first.clone(), parts.len());
        if let Some((other, parts)) = packs.iter().find(|(_, parts)| parts.len() != count) {
            let diagnostic =
                diagnostics::packs_differ(expr.span, (&first, count), (other, parts.len()));
            return Err(self.report(diagnostic));
        }
        if expr.as_name().is_some() {
            return Ok(packs.remove(0).1);
        }
        let mut values = Vec::new();
        for turn in 0..count {
            let value = self.scoped(|this| {
                for (name, parts) in &packs {
                    let from = this.frame().get(name).and_then(|binding| binding.from);
                    this.bind(name, parts[turn].clone(), from);
                }
                this.eval(expr)
            })?;
            values.push(value.first());
        }
        Ok(values)
    }

    /// A fixed integer in a setting; reports anything else.
    pub(crate) fn eval_int(&mut self, expr: &Expr, what: &str) -> Eval<i64> {
        let value = self.eval(expr)?.first();
        match &value {
            Value::Number(Number::Int(_)) => self.int_value(&value, what, expr.span),
            _ => self.int_value(&value, what, expr.span),
        }
    }
}
