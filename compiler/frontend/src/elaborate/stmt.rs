//! Statements and blocks.

use super::shape::Role;
use super::{Elaborator, TotalMode};
use crate::diagnostics;
use crate::value::{Eval, Extent, Number, Reported, Target, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{
    Assign, AssignOp, BinaryOp, Block, Carry, DeclKind, DefineOp, Each, Expr, ExprKind, For, Let,
    LetValue, PatternKind, Penalty, RangeKind, Stmt, StmtKind, Total, TypeKind, Yield,
};
use dlc_ir::graph::InputRole;
use std::sync::Arc;

impl Elaborator {
    /// A block in a scope of its own; its value if its last statement is an expression.
    pub(crate) fn exec_block(&mut self, block: &Block) -> Eval<Option<Value>> {
        self.enter(block.span)?;
        let value = self.scoped(|this| this.exec_stmts(block));
        self.leave();
        value
    }

    /// The statements of a block in the present scope. A faulty statement does not keep the next from being read.
    pub(crate) fn exec_stmts(&mut self, block: &Block) -> Eval<Option<Value>> {
        let mut value = None;
        let mut failed = None;
        for stmt in &block.stmts {
            if self.exhausted {
                return Err(Reported::already());
            }
            value = match self.exec(stmt) {
                Ok(value) => value,
                Err(reported) => {
                    self.mark_faulty(stmt);
                    failed = Some(reported);
                    None
                }
            };
        }
        // A named result that a faulty statement should have assigned is faulty itself; the rest may still be used.
        match failed {
            Some(reported) => Err(reported),
            None => Ok(value),
        }
    }

    /// What a faulty statement would have named is faulty, so that its uses are passed over.
    fn mark_faulty(&mut self, stmt: &Stmt) {
        let mut names: Vec<&str> = Vec::new();
        match &stmt.kind {
            StmtKind::Let(Let { pattern, .. }) => match &pattern.kind {
                PatternKind::Name(name)
                | PatternKind::Pack(name)
                | PatternKind::Indexed(name, _) => {
                    names.push(&name.name);
                }
                PatternKind::Tuple(parts) => {
                    names.extend(parts.iter().map(|part| part.name.as_str()))
                }
            },
            StmtKind::Param(param) => names.push(&param.name.name),
            StmtKind::State(state) => names.push(&state.name.name),
            StmtKind::Shared(shared) => names.push(&shared.name.name),
            StmtKind::Total(total) => names.push(&total.name.name),
            StmtKind::Yield(yielded) => names.push(&yielded.name.name),
            StmtKind::For(repeat) => {
                names.extend(repeat.carries.iter().map(|c| c.name.name.as_str()))
            }
            StmtKind::Scan(scan) => {
                names.extend(scan.carries.iter().map(|carry| carry.name.name.as_str()));
                for stmt in &scan.body.stmts {
                    if let StmtKind::Yield(yielded) = &stmt.kind {
                        names.push(&yielded.name.name);
                    }
                }
            }
            StmtKind::Assign(assign) => {
                names.extend(assign.target.single().map(|name| name.name.as_str()));
            }
            StmtKind::Penalty(_) | StmtKind::Expr(_) | StmtKind::Bad => {}
        }
        for name in names {
            match self.frame_mut().get_mut(name) {
                Some(binding) => binding.value = Value::Bad,
                None => self.bind(name, Value::Bad, None),
            }
        }
    }

    fn exec(&mut self, stmt: &Stmt) -> Eval<Option<Value>> {
        self.span = stmt.span;
        match &stmt.kind {
            StmtKind::Let(binding) => self.exec_let(binding, stmt.span).map(|()| None),
            StmtKind::Param(param) => self.exec_param(param, stmt.span).map(|()| None),
            StmtKind::State(state) => self.exec_state(state, stmt.span).map(|()| None),
            StmtKind::Shared(shared) => self.exec_shared(shared).map(|()| None),
            StmtKind::Total(total) => self.exec_total(total, stmt.span).map(|()| None),
            StmtKind::Penalty(penalty) => self.exec_penalty(penalty, stmt.span).map(|()| None),
            StmtKind::Yield(yielded) => self.exec_yield(yielded, stmt.span).map(|()| None),
            StmtKind::Scan(scan) => self.exec_scan(scan, stmt.span).map(|()| None),
            StmtKind::For(repeat) => self.exec_for(repeat, stmt.span).map(|()| None),
            StmtKind::Assign(assign) => self.exec_assign(assign).map(|()| None),
            StmtKind::Expr(Expr { kind: ExprKind::If(choice), span }) => {
                self.enter(*span)?;
                let value = self.eval_if(choice, *span);
                self.leave();
                value
            }
            StmtKind::Expr(Expr { kind: ExprKind::With(with), span }) => {
                self.enter(*span)?;
                let value = self.eval_with(with);
                self.leave();
                value
            }
            StmtKind::Expr(expr) => self.eval(expr).map(Some),
            StmtKind::Bad => Err(Reported::already()),
        }
    }

    /// A `let` of a train block; a faulty one leaves faulty names.
    pub(crate) fn exec_train_let(&mut self, binding: &Let, span: Span) -> Eval<()> {
        let outcome = self.exec_let(binding, span);
        if outcome.is_err() {
            let kind = StmtKind::Let(binding.clone());
            self.mark_faulty(&Stmt { docs: Vec::new(), kind, span });
        }
        outcome
    }

    fn exec_let(&mut self, binding: &Let, span: Span) -> Eval<()> {
        if let Some(each) = &binding.each {
            return self.exec_let_each(binding, each);
        }
        let value = match &binding.value {
            LetValue::Draw(call) => {
                return match &binding.pattern.kind {
                    PatternKind::Name(name) => self.exec_draw(name, binding.ty.as_ref(), call),
                    _ => Err(self.report(diagnostics::draw_pattern(binding.pattern.span))),
                };
            }
            LetValue::Define(DefineOp::Set, value) => value,
            LetValue::Define(DefineOp::Add, _) => {
                return Err(self.report(diagnostics::not_supported("`let .. += ..`", span)));
            }
        };
        match &binding.pattern.kind {
            PatternKind::Name(name) => {
                let outer = self.binding_label.take();
                self.binding_label = self.only_layer(value).map(|at| (at, name.name.clone()));
                self.name_nodes(&name.name);
                let result = self.eval(value);
                self.binding_label = outer;
                let mut result = result?;
                if let Some(ty) = &binding.ty {
                    let role = Role {
                        what: format!("`{}`", name.name),
                        span: value.span,
                        declared: ty.span,
                    };
                    result = self.coerce(result.first(), ty, &[], &role)?;
                }
                let result = self.settled(result);
                self.bind(&name.name, result, Some(value.span));
            }
            PatternKind::Pack(name) => {
                let parts = self.eval_pack(value)?;
                self.bind(&name.name, Value::Pack(parts), Some(value.span));
            }
            PatternKind::Indexed(name, head) => {
                self.name_nodes(&name.name);
                let (elem, declared) = self.let_type(binding)?;
                let tensor = self.indexed(head, &declared, elem, value)?;
                self.bind(&name.name, Value::Tensor(tensor), Some(head.span));
            }
            PatternKind::Tuple(names) => {
                let result = self.eval(value)?;
                let parts = match &result {
                    Value::Record(record) => {
                        record.fields.iter().map(|(_, value)| value.clone()).collect()
                    }
                    other => other.parts().map(<[Value]>::to_vec).unwrap_or_default(),
                };
                if parts.len() != names.len() {
                    let diagnostic = diagnostics::tuple_length(
                        binding.pattern.span,
                        names.len(),
                        value.span,
                        parts.len(),
                        result.noun(),
                    );
                    return Err(self.report(diagnostic));
                }
                for (name, part) in names.iter().zip(parts) {
                    self.bind(&name.name, part, Some(value.span));
                }
            }
        }
        Ok(())
    }

    /// `let each[b, r] inbox[pick[b, r], r]: f32[n, m] += x[b]`
    fn exec_let_each(&mut self, binding: &Let, each: &Each) -> Eval<()> {
        let (PatternKind::Indexed(name, head), LetValue::Define(DefineOp::Add, value)) =
            (&binding.pattern.kind, &binding.value)
        else {
            return Err(self.each_needs_add(each));
        };
        self.name_nodes(&name.name);
        let (elem, declared) = self.let_type(binding)?;
        if declared.is_empty() && binding.ty.is_none() {
            return Err(self.report(diagnostics::needs_tensor_type(binding.pattern.span)));
        }
        let tensor = self.written(each, head, &declared, elem, value)?;
        self.bind(&name.name, Value::Tensor(tensor), Some(head.span));
        Ok(())
    }

    /// Nodes to come belong to the value of this name.
    pub(crate) fn name_nodes(&mut self, name: &str) {
        // First values are named after what they are for.
        if self.frame().kind() == Some(DeclKind::Init) {
            return;
        }
        self.origin = Arc::from(self.level().join(name));
    }

    /// The element type and the extents that the type of an indexed `let` states.
    fn let_type(&mut self, binding: &Let) -> Eval<(Option<ElemType>, Vec<Option<Extent>>)> {
        match binding.ty.as_ref().map(|ty| &ty.kind) {
            None => Ok((None, Vec::new())),
            Some(TypeKind::Tensor { dtype, shape }) => {
                let extents = match shape {
                    Some(shape) => self.shape_of_type(shape)?.into_iter().map(Some).collect(),
                    None => Vec::new(),
                };
                Ok((super::shape::elem_of(*dtype), extents))
            }
            Some(_) => {
                let span = binding.pattern.span;
                Err(self.report(diagnostics::needs_tensor_type(span)))
            }
        }
    }

    /// The place of the only layer that an expression applies, which then takes the name of the binding.
    fn only_layer(&mut self, expr: &Expr) -> Option<Span> {
        let is_layer = |this: &Self, name: &str| match this.frame().get(name).map(|b| &b.value) {
            Some(Value::Callable(callable)) => is_layer_target(&callable.target),
            Some(Value::Shared(_)) => false,
            _ => this.callable(name).is_some_and(|callable| is_layer_target(&callable.target)),
        };
        match &expr.unparen().kind {
            ExprKind::Call(callee, _) => {
                let name = callee.as_name()?;
                is_layer(self, &name.name).then_some(expr.unparen().span)
            }
            ExprKind::Pipe(_, stages) => {
                let layers: Vec<Span> = stages
                    .iter()
                    .filter(|stage| is_layer(self, &stage.path.text()))
                    .map(|stage| stage.span)
                    .collect();
                match layers[..] {
                    [only] => Some(only),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn exec_assign(&mut self, assign: &Assign) -> Eval<()> {
        let Some(name) = assign.target.single() else {
            return Err(self.report(diagnostics::not_assignable(
                &assign.target.text(),
                assign.target.span,
                None,
            )));
        };
        let Some(binding) = self.frame().get(&name.name).cloned() else {
            let names: Vec<String> =
                self.frame().scopes.iter().flat_map(|scope| scope.keys().cloned()).collect();
            let suggestion =
                crate::declarations::nearest(&name.name, names.iter().map(String::as_str));
            return Err(self.report(diagnostics::not_assignable(&name.name, name.span, suggestion)));
        };
        self.name_nodes(&name.name);
        let mut value = match (&assign.head, &assign.each) {
            (None, None) => {
                let value = self.eval(&assign.value)?;
                self.settled(value)
            }
            (None, Some(each)) => return Err(self.each_needs_add(each)),
            (Some(head), each) => {
                let declared = self.frame().results.get(&name.name).cloned().unwrap_or_default();
                let declared = match &binding.value {
                    Value::Tensor(tensor) if declared.is_empty() => {
                        tensor.shape.iter().copied().map(Some).collect()
                    }
                    _ => declared,
                };
                let elem = self.result_elem(&name.name);
                Value::Tensor(match each {
                    None => self.indexed(head, &declared, elem, &assign.value)?,
                    Some(each) if assign.op == AssignOp::Add => {
                        self.written(each, head, &declared, elem, &assign.value)?
                    }
                    Some(each) => return Err(self.each_needs_add(each)),
                })
            }
        };
        let op = match assign.op {
            AssignOp::Set => None,
            // What had no value yet counts as zero.
            AssignOp::Add if assign.each.is_some() && matches!(binding.value, Value::Unset) => None,
            AssignOp::Add => Some(BinaryOp::Add),
            AssignOp::Sub => Some(BinaryOp::Sub),
            AssignOp::Mul => Some(BinaryOp::Mul),
        };
        if let Some(op) = op {
            let before = self.lookup(name)?;
            let before = before.first();
            value = self.binary(op, before.clone(), value, assign.value.span)?;
            if let (Value::Tensor(before), Value::Tensor(after)) = (&before, &value)
                && !Self::same_shape(before, after)
            {
                let what = format!("`{}`", name.name);
                let (a, b) = (after.shape.clone(), before.shape.clone());
                return Err(self.report(diagnostics::value_shape(
                    &what,
                    assign.value.span,
                    &a,
                    &b,
                )));
            }
        }
        if let (Some(state), Value::Tensor(before)) = (&binding.state, &binding.value) {
            if self.scanning.is_some() {
                let place = "outside of a `scan`";
                return Err(self.report(diagnostics::misplaced("state", place, name.span)));
            }
            let role = Role {
                what: format!("state `{}`", name.name),
                span: assign.value.span,
                declared: binding.from.unwrap_or(name.span),
            };
            let elem = self.elem(before.node);
            let tensor = self.fill(value.first(), elem, &before.shape, &role)?;
            // The value leaves the block that the name is known in: it is kept, and later uses in this step see it.
            if let Some(state) = self.states.get_mut(state) {
                state.current = tensor.clone();
            }
            value = Value::Tensor(tensor);
        }
        if let Some(binding) = self.frame_mut().get_mut(&name.name) {
            binding.value = value;
        }
        Ok(())
    }

    /// The element type that a result is declared with.
    fn result_elem(&self, name: &str) -> Option<ElemType> {
        let decl = &self.frame().decl.as_ref()?.decl;
        let result = decl
            .results
            .iter()
            .find(|result| result.name.as_ref().is_some_and(|own| own.name == name))?;
        match &result.ty.kind {
            TypeKind::Tensor { dtype, .. } => {
                // Only numbers that have no type of their own take the declared one; others are checked with the result.
                super::shape::elem_of(*dtype).filter(|elem| super::tensor::is_float(*elem))
            }
            _ => None,
        }
    }

    fn exec_penalty(&mut self, penalty: &Penalty, span: Span) -> Eval<()> {
        if !matches!(self.frame().kind(), Some(DeclKind::Layer | DeclKind::Model)) {
            return Err(self.report(diagnostics::misplaced("penalty", "a layer or a model", span)));
        }
        self.name_nodes(&penalty.name.name);
        let value = self.eval(&penalty.value)?.first();
        let tensor = self.as_tensor(&value, ElemType::F32, "penalty", penalty.value.span)?;
        self.penalties.push(tensor);
        Ok(())
    }

    fn exec_total(&mut self, total: &Total, span: Span) -> Eval<()> {
        if self.frame().kind() != Some(DeclKind::Metric) || self.totals == TotalMode::Outside {
            return Err(self.report(diagnostics::misplaced("total", "a metric", span)));
        }
        let name = format!("{}.{}", self.total_prefix, total.name.name);
        self.origin = Arc::from(name.as_str());
        let mut tensor = match (&total.head, &total.each) {
            (Some(head), Some(each)) if total.op == DefineOp::Add => {
                let declared = self.total_extents(total)?;
                self.written(each, head, &declared, Some(ElemType::F32), &total.value)?
            }
            (_, Some(each)) => return Err(self.each_needs_add(each)),
            (_, None) if total.op == DefineOp::Add => {
                return Err(self.report(diagnostics::not_supported("`total .. += ..`", span)));
            }
            (Some(head), None) => self.indexed(head, &[], Some(ElemType::F32), &total.value)?,
            (None, None) => {
                let value = self.eval(&total.value)?.first();
                self.as_tensor(&value, ElemType::F32, "total", total.value.span)?
            }
        };
        let dims = super::leaf::dims(&tensor.shape);
        if let Some(extent) = tensor.shape.iter().find(|extent| extent.dim.as_fixed().is_none()) {
            let diagnostic = diagnostics::total_with_batch(&total.name, *extent);
            return Err(self.report(diagnostic));
        }
        match self.totals {
            TotalMode::Batch => self.graph.result(name, tensor.node),
            TotalMode::Finish | TotalMode::Outside => {
                tensor.node = self.leaf(&name, InputRole::Data, ElemType::F32, &dims);
            }
        }
        self.bind(&total.name.name, Value::Tensor(tensor), Some(total.name.span));
        Ok(())
    }

    /// The extents that the type of a total states.
    fn total_extents(&mut self, total: &Total) -> Eval<Vec<Option<Extent>>> {
        match total.ty.as_ref().map(|ty| &ty.kind) {
            Some(TypeKind::Tensor { shape: Some(shape), .. }) => {
                Ok(self.shape_of_type(shape)?.into_iter().map(Some).collect())
            }
            _ => Err(self.report(diagnostics::needs_tensor_type(total.name.span))),
        }
    }

    fn exec_yield(&mut self, yielded: &Yield, span: Span) -> Eval<()> {
        if let Some(head) = &yielded.head {
            return self.yield_slice(yielded, head);
        }
        if self.yields.is_empty() {
            return Err(self.report(diagnostics::misplaced("yield", "a loop", span)));
        }
        let value = self.eval(&yielded.value)?;
        let value = self.settled(value.first());
        if let Some(lists) = self.yields.last_mut() {
            lists.entry(yielded.name.name.clone()).or_default().push(value);
        }
        Ok(())
    }

    /// `for i in 4 carry h = x { .. }`: the text is repeated; carried names and lists of yields stay known after it.
    fn exec_for(&mut self, repeat: &For, span: Span) -> Eval<()> {
        let turns = self.turns(repeat)?;
        for carry in &repeat.carries {
            let value = self.first_carry(carry)?;
            self.bind(&carry.name.name, value, Some(carry.span));
        }
        self.yields.push(Default::default());
        self.level_mut().loops.push(0);
        let mut outcome = Ok(());
        for (turn, value) in turns.into_iter().enumerate() {
            if let Some(number) = self.level_mut().loops.last_mut() {
                *number = i64::try_from(turn).unwrap_or(i64::MAX);
            }
            outcome = self.turn(repeat, value, span);
            if outcome.is_err() {
                break;
            }
        }
        self.level_mut().loops.pop();
        let lists = self.yields.pop().unwrap_or_default();
        for (name, values) in lists {
            self.bind(&name, Value::List(values), Some(span));
        }
        outcome
    }

    fn turn(&mut self, repeat: &For, value: Value, span: Span) -> Eval<()> {
        self.enter(span)?;
        let outcome = self.scoped(|this| {
            match (&repeat.names[..], repeat.tuple) {
                ([name], false) => this.bind(&name.name, value, Some(name.span)),
                (names, _) => {
                    let parts = value.parts().map(<[Value]>::to_vec).unwrap_or_default();
                    if parts.len() != names.len() {
                        let at = names.first().map_or(span, |name| name.span);
                        let diagnostic = diagnostics::tuple_length(
                            at,
                            names.len(),
                            repeat.range.span,
                            parts.len(),
                            value.noun(),
                        );
                        return Err(this.report(diagnostic));
                    }
                    for (name, part) in names.iter().zip(parts) {
                        this.bind(&name.name, part, Some(name.span));
                    }
                }
            }
            this.exec_stmts(&repeat.body)?;
            for carry in &repeat.carries {
                this.hand_on(&carry.name.name);
            }
            Ok(())
        });
        self.leave();
        outcome
    }

    /// A turn hands on what a carried name stands for at its end, also where the body gave the name a value of its own, as a loop
    /// within it does that carries the same name.
    pub(crate) fn hand_on(&mut self, name: &str) {
        let Some((own, outer)) = self.frame_mut().scopes.split_last_mut() else { return };
        if let Some(binding) = own.get(name)
            && let Some(carried) = outer.iter_mut().rev().find_map(|scope| scope.get_mut(name))
        {
            carried.value = binding.value.clone();
        }
    }

    pub(crate) fn first_carry(&mut self, carry: &Carry) -> Eval<Value> {
        let value = self.eval(&carry.value)?;
        let value = self.settled(value.first());
        match &carry.ty {
            None => Ok(value),
            Some(ty) => {
                let role = Role {
                    what: format!("`{}`", carry.name.name),
                    span: carry.value.span,
                    declared: ty.span,
                };
                self.coerce(value, ty, &[], &role)
            }
        }
    }

    /// What the loop's name stands for in each turn.
    fn turns(&mut self, repeat: &For) -> Eval<Vec<Value>> {
        let limit = self.limits.turns;
        let span = repeat.range.span;
        let (from, to) =
            match &repeat.range.kind {
                RangeKind::Over { pack: true, value } => return self.eval_pack(value),
                RangeKind::Over { value, pack: false } => {
                    let over = self.eval(value)?.first();
                    match &over {
                        Value::Params(tensors) => {
                            return Ok(tensors.iter().cloned().map(Value::Tensor).collect());
                        }
                        Value::Number(Number::Int(_)) => {}
                        other => {
                            return match other.parts() {
                                Some(parts) => Ok(parts.to_vec()),
                                None => Err(self
                                    .report(diagnostics::not_repeatable(other.noun(), value.span))),
                            };
                        }
                    }
                    (0, self.int_value(&over, "the turns of a loop", value.span)?)
                }
                RangeKind::Between { from, to } => {
                    let (a, b) = (self.eval(from)?, self.eval(to)?);
                    (
                        self.int_value(&a, "the start of a loop", from.span)?,
                        self.int_value(&b, "the end of a loop", to.span)?,
                    )
                }
            };
        if to.saturating_sub(from) > limit {
            return Err(self.report(diagnostics::too_many_turns(
                span,
                to.saturating_sub(from),
                limit,
            )));
        }
        Ok((from..to).map(Value::int).collect())
    }
}

fn is_layer_target(target: &Target) -> bool {
    matches!(target, Target::Decl(decl) if decl.decl.kind == DeclKind::Layer)
}
