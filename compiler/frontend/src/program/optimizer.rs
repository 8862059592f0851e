//! The update of parameters: optimizers, chains of them, and the schedule.

use super::train::{TrainPlan, settings_of};
use super::turns::Turn;
use crate::declarations::{DeclRef, Declarations};
use crate::diagnostics;
use crate::elaborate::{Elaborator, Frame, NameLevel, ParamLeaf, Role, StateLeaf};
use crate::glob;
use crate::value::{Eval, Reported, Target, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::ast::{
    self, BinaryOp, DeclKind, Expr, ExprKind, Setting, SettingKey, SettingValue,
};
use dlc_grammar::{Diagnostic, Span};
use dlc_ir::graph::{Graph, NodeId, Stage};
use indexmap::IndexMap;
use std::sync::Arc;

/// The name of the formal that the schedule's factor multiplies. It is a word of the language like `param` and `grad`.
const LEARNING_RATE: &str = "lr";

/// One optimizer of a chain, with the text of its arguments.
#[derive(Clone)]
pub(super) struct Link<'a> {
    decl: DeclRef,
    args: &'a [ast::Arg],
    span: Span,
    /// Its learning rate times the schedule's factor, once computed.
    rate: Option<Value>,
}

/// The update of some parameters.
pub(super) struct Rule<'a> {
    chain: Vec<Link<'a>>,
    /// Patterns; empty for all.
    on: &'a [ast::StrLit],
}

impl Rule<'_> {
    /// Whether it is for a parameter of this name.
    fn fits(&self, name: &str) -> bool {
        self.on.is_empty() || self.on.iter().any(|pattern| glob::matches(&pattern.text, name))
    }
}

/// A parameter on its way through a chain of optimizers.
struct Member {
    name: String,
    leaf: NodeId,
    param: Tensor,
    grad: Tensor,
}

/// What `across` knows while the text of an optimizer runs for one parameter.
pub(crate) struct Across {
    /// The sums that are known, by the number of the call.
    sums: Vec<NodeId>,
    /// Calls met so far.
    calls: usize,
    /// What this parameter adds to the first sum that is not known.
    term: Option<NodeId>,
}

/// What updates leave behind besides the graph.
pub(super) struct Applied {
    /// The state that the optimizers keep.
    pub states: IndexMap<String, StateLeaf>,
    pub warnings: Vec<Diagnostic>,
}

/// Appends all updates to a graph.
pub(super) fn apply(
    decls: &Arc<Declarations>,
    plan: &TrainPlan,
    leaves: &IndexMap<String, ParamLeaf>,
    graph: &mut Graph,
    grads: &[NodeId],
) -> Result<Applied, Vec<Diagnostic>> {
    let mut elaborator = Elaborator::new(Arc::clone(decls), graph.name.clone(), true);
    std::mem::swap(&mut elaborator.graph, graph);
    elaborator.stage = Stage::Update;
    for (name, leaf) in leaves {
        let mut leaf = leaf.clone();
        if let Some(node) = elaborator.graph.input(name) {
            leaf.tensor.node = node;
            elaborator.params.insert(name.clone(), leaf);
        }
    }
    let mut frame = Frame::new(None, plan.train.name.span);
    for (name, binding) in &plan.names {
        frame.bind(name, binding.clone());
    }
    elaborator.frames.push(frame);
    // Faults are among the diagnostics.
    let _ = elaborator.updates(plan, grads);
    elaborator.frames.pop();
    std::mem::swap(&mut elaborator.graph, graph);
    let failed = elaborator.failed();
    let Elaborator { diagnostics, states, .. } = elaborator;
    if failed { Err(diagnostics) } else { Ok(Applied { states, warnings: diagnostics }) }
}

impl Elaborator {
    fn updates(&mut self, plan: &TrainPlan, grads: &[NodeId]) -> Eval<()> {
        let span = plan.train.name.span;
        let mut updated: IndexMap<String, (NodeId, Tensor)> = IndexMap::new();
        let mut rate: Option<Tensor> = None;
        let mut grads = grads.iter().copied();
        for (at, turn) in plan.turns.iter().enumerate() {
            let own: Vec<NodeId> = grads.by_ref().take(turn.params.len()).collect();
            let states = self.states.len();
            let come = self.has_come(&plan.turns, at, span)?;
            self.count_turn(&plan.turns, at, span)?;
            let (members, found) = self.update_in_turn(&plan.train, turn, &own)?;
            self.own_steps = None;
            for Member { name, leaf, param, .. } in members {
                let whole = Tensor { node: leaf, shape: param.shape.clone() };
                let before = updated.get(&name).map_or(whole, |(_, before)| before.clone());
                let after = self.in_turn(come, &param, &before);
                updated.insert(name, (leaf, after));
            }
            for state in states..self.states.len() {
                let (current, leaf) =
                    (self.states[state].current.clone(), self.states[state].leaf.clone());
                self.states[state].current = self.in_turn(come, &current, &leaf);
            }
            if let Some(found) = found {
                let found = self.as_tensor(&found, ElemType::F32, LEARNING_RATE, span)?;
                rate = Some(match rate {
                    None => found,
                    Some(before) => self.in_turn(come, &found, &before),
                });
            }
        }
        for (leaf, param) in updated.values() {
            self.graph.assign(*leaf, param.node);
        }
        let states: Vec<StateLeaf> = self.states.values().cloned().collect();
        for state in states {
            self.graph.assign(state.leaf.node, state.current.node);
        }
        if let Some(rate) = rate {
            self.graph.result(LEARNING_RATE, rate.node);
        }
        Ok(())
    }

    /// The update of one turn: its parameters with their new values, and the learning rate if an optimizer has one.
    fn update_in_turn(
        &mut self,
        train: &ast::Train,
        turn: &Turn,
        grads: &[NodeId],
    ) -> Eval<(Vec<Member>, Option<Value>)> {
        let factor = self.schedule(train, turn)?;
        let mut rules = Vec::new();
        for setting in turn.settings(train, SettingKey::Optimizer) {
            rules.push(self.rule(setting)?);
        }
        let mut constraints = Vec::new();
        for setting in turn.settings(train, SettingKey::Constraint) {
            constraints.push(self.rule(setting)?);
        }
        self.check_patterns(&rules)?;
        self.check_patterns(&constraints)?;
        let mut members = self.members(&turn.params, grads)?;
        let chosen = self.choose_rules(&rules, &turn.params, train)?;
        for (at, rule) in rules.iter_mut().enumerate() {
            let own: Vec<usize> =
                (0..members.len()).filter(|&member| chosen[member] == at).collect();
            for link in &mut rule.chain {
                self.run_link(link, &mut members, &own, factor.as_ref())?;
            }
        }
        for rule in &mut constraints {
            let own: Vec<usize> =
                (0..members.len()).filter(|&member| rule.fits(&members[member].name)).collect();
            for link in &mut rule.chain {
                self.run_link(link, &mut members, &own, None)?;
            }
        }
        let rate = rules.iter().flat_map(|rule| &rule.chain).find_map(|link| link.rate.clone());
        Ok((members, rate))
    }

    /// The trained parameters with their gradients.
    fn members(&mut self, trained: &[String], grads: &[NodeId]) -> Eval<Vec<Member>> {
        let mut members = Vec::new();
        for (name, &grad) in trained.iter().zip(grads) {
            let Some(param) = self.params.get(name).map(|leaf| leaf.tensor.clone()) else {
                return Err(Reported::already());
            };
            let grad = Tensor { node: grad, shape: param.shape.clone() };
            members.push(Member { name: name.clone(), leaf: param.node, param, grad });
        }
        Ok(members)
    }

    /// Which rule updates each parameter: the first whose patterns fit, else the first without patterns.
    fn choose_rules(
        &mut self,
        rules: &[Rule<'_>],
        trained: &[String],
        train: &ast::Train,
    ) -> Eval<Vec<usize>> {
        let mut chosen = Vec::new();
        for name in trained {
            let named = |rule: &Rule<'_>| !rule.on.is_empty() && rule.fits(name);
            let rule = rules
                .iter()
                .position(named)
                .or_else(|| rules.iter().position(|rule| rule.on.is_empty()));
            match rule {
                Some(rule) => chosen.push(rule),
                None => {
                    let declared = self.params.get(name).map(|leaf| leaf.span);
                    let at = settings_of(train)
                        .find(|setting| setting.key == SettingKey::Optimizer)
                        .map_or(train.name.span, |setting| setting.key_span);
                    return Err(self.report(diagnostics::no_optimizer_for(name, at, declared)));
                }
            }
        }
        Ok(chosen)
    }

    /// The factor of the learning rate in this step.
    pub(super) fn schedule(&mut self, train: &ast::Train, turn: &Turn) -> Eval<Option<Value>> {
        let Some(setting) = turn.settings(train, SettingKey::Schedule).next() else {
            return Ok(None);
        };
        self.origin = Arc::from("schedule");
        // A sum or product of schedules is one as well: `linear_warmup(100) * cosine()`.
        if let SettingValue::Expr(expr) = &setting.value
            && call_parts(expr).is_none()
        {
            let value = self.eval(expr)?.first();
            let scalar = match &value {
                Value::Number(_) => true,
                Value::Tensor(tensor) => tensor.rank() == 0,
                _ => false,
            };
            if !scalar {
                let noun = value.noun();
                return Err(self.report(diagnostics::not_for_setting(
                    SettingKey::Schedule,
                    noun,
                    expr.span,
                )));
            }
            return Ok(Some(value));
        }
        let (callee, args, span) = self.call_of(setting)?;
        let is_schedule = matches!(&callee, Value::Callable(callable)
            if matches!(&callable.target, Target::Decl(decl) if decl.decl.kind == DeclKind::Schedule));
        if !is_schedule {
            return Err(self.report(diagnostics::not_for_setting(
                SettingKey::Schedule,
                callee.noun(),
                span,
            )));
        }
        let factor = self.apply_value(&callee, span, None, args, None, span)?.first();
        Ok(Some(factor))
    }

    /// The call that a setting names.
    fn call_of<'a>(&mut self, setting: &'a Setting) -> Eval<(Value, &'a [ast::Arg], Span)> {
        match &setting.value {
            SettingValue::Expr(expr) => {
                if let Some((callee, args)) = call_parts(expr) {
                    return Ok((self.eval_callee(callee)?, args, expr.span));
                }
            }
            SettingValue::Call(call) => {
                let callee = self.lookup_path(&call.path)?;
                return Ok((callee, call.args.as_deref().unwrap_or_default(), call.span));
            }
            SettingValue::Globs(_) => {}
        }
        Err(self.report(diagnostics::setting_form(setting.key, setting.key_span)))
    }

    pub(super) fn rule<'a>(&mut self, setting: &'a Setting) -> Eval<Rule<'a>> {
        let mut chain = Vec::new();
        if let SettingValue::Expr(expr) = &setting.value
            && let ExprKind::Pipe(first, stages) = &expr.unparen().kind
        {
            let Some((callee, args)) = call_parts(first) else {
                return Err(self.report(diagnostics::setting_form(setting.key, first.span)));
            };
            let callee = self.eval_callee(callee)?;
            chain.push(self.link(setting, &callee, args, first.span)?);
            for stage in stages {
                let callee = self.lookup_path(&stage.path)?;
                let args = stage.args.as_deref().unwrap_or_default();
                chain.push(self.link(setting, &callee, args, stage.span)?);
            }
        } else {
            let (callee, args, span) = self.call_of(setting)?;
            chain.push(self.link(setting, &callee, args, span)?);
        }
        Ok(Rule { chain, on: &setting.on })
    }

    /// Evaluates the arguments of a rule's optimizers, where there are no parameters to run their text on.
    pub(super) fn arguments_of(&mut self, rule: &Rule<'_>) -> Eval<()> {
        for link in &rule.chain {
            let given = self.collect_args(&link.decl.decl, &[], None, link.args)?;
            self.frames.push(Frame::new(Some(link.decl.clone()), link.span));
            let outcome = self.bind_formals(&link.decl.decl, given, link.span);
            self.frames.pop();
            outcome?;
        }
        Ok(())
    }

    fn link<'a>(
        &mut self,
        setting: &Setting,
        callee: &Value,
        args: &'a [ast::Arg],
        span: Span,
    ) -> Eval<Link<'a>> {
        let noun = match callee {
            Value::Callable(callable) => match &callable.target {
                Target::Decl(decl) if decl.decl.kind == DeclKind::Optimizer => {
                    return Ok(Link { decl: decl.clone(), args, span, rate: None });
                }
                Target::Decl(decl) => format!("a {}", decl.decl.kind.word()),
                Target::Builtin(_) => "a function".to_string(),
            },
            other => other.noun().to_string(),
        };
        Err(self.report(diagnostics::not_for_setting(setting.key, &noun, span)))
    }

    /// Every pattern fits some parameter.
    fn check_patterns(&mut self, rules: &[Rule<'_>]) -> Eval<()> {
        let names: Vec<String> = self.params.keys().cloned().collect();
        for pattern in rules.iter().flat_map(|rule| rule.on) {
            if !names.iter().any(|name| glob::matches(&pattern.text, name)) {
                return Err(self.report(diagnostics::pattern_without_match(pattern, &names)));
            }
        }
        Ok(())
    }

    /// One optimizer of a chain on all of its parameters.
    ///
    /// What `across` adds up depends on all of them, so the text runs until every such sum is known: a run that meets an unknown sum
    /// only gathers what is added, and what else it computed is left for the passes to remove.
    fn run_link(
        &mut self,
        link: &mut Link<'_>,
        members: &mut [Member],
        own: &[usize],
        factor: Option<&Value>,
    ) -> Eval<()> {
        let mut sums = Vec::new();
        loop {
            let states = self.states.clone();
            let mut terms = Vec::new();
            let mut changed = Vec::new();
            let said = self.diagnostics.len();
            for &at in own {
                self.across = Some(Across { sums: sums.clone(), calls: 0, term: None });
                let outcome = self.run_member(link, &members[at], factor);
                let across = self.across.take();
                match (outcome, across.and_then(|across| across.term)) {
                    (_, Some(term)) => terms.push(term),
                    (Ok(outcome), None) => changed.push((at, outcome)),
                    (Err(reported), None) => return Err(reported),
                }
                if self.diagnostics.len() > said && self.failed() {
                    return Err(Reported::already());
                }
            }
            let Some((&first, rest)) = terms.split_first() else {
                for (at, (param, grad)) in changed {
                    members[at].param = param;
                    members[at].grad = grad;
                }
                return Ok(());
            };
            let mut sum = first;
            for &term in rest {
                sum = self.build().add(sum, term);
            }
            sums.push(sum);
            self.states = states;
        }
    }

    /// One optimizer on one parameter: its body changes `param`, `grad` and its state.
    fn run_member(
        &mut self,
        link: &mut Link<'_>,
        member: &Member,
        factor: Option<&Value>,
    ) -> Eval<(Tensor, Tensor)> {
        let decl = link.decl.clone();
        self.enter(link.span)?;
        self.updated.clone_from(&member.name);
        self.levels.push(NameLevel::new(member.name.clone()));
        let outcome = self.collect_args(&decl.decl, &[], None, link.args).and_then(|given| {
            self.frames.push(Frame::new(Some(decl.clone()), link.span));
            self.bind("param", Value::Tensor(member.param.clone()), None);
            self.bind("grad", Value::Tensor(member.grad.clone()), None);
            let outcome = self.run_optimizer(&decl, given, link, factor, &member.param);
            self.frames.pop();
            outcome
        });
        self.levels.pop();
        self.leave();
        outcome
    }

    /// `across(x)`: the sum of a number over all parameters that the optimizer is for.
    pub(crate) fn sum_across(&mut self, value: Value, span: Span) -> Eval<Value> {
        let optimizer = self.frame().kind() == Some(DeclKind::Optimizer);
        if self.across.is_none() || !optimizer {
            return Err(self.report(diagnostics::misplaced("across", "an optimizer", span)));
        }
        let tensor = self.as_tensor_or_scalar(value, "across", span)?;
        if tensor.rank() > 0 {
            return Err(self.report(diagnostics::across_tensor(&tensor.shape, span)));
        }
        let node = self.convert(tensor.node, ElemType::F32);
        let Some(across) = &mut self.across else { return Err(Reported::already()) };
        let call = across.calls;
        across.calls += 1;
        match across.sums.get(call) {
            Some(&node) => Ok(Value::Tensor(Tensor { node, shape: Vec::new() })),
            None => {
                across.term.get_or_insert(node);
                Err(Reported::already())
            }
        }
    }

    fn run_optimizer(
        &mut self,
        decl: &DeclRef,
        given: Vec<crate::value::Given>,
        link: &mut Link<'_>,
        factor: Option<&Value>,
        param: &Tensor,
    ) -> Eval<(Tensor, Tensor)> {
        self.bind_formals(&decl.decl, given, link.span)?;
        self.set_rate(link, factor)?;
        self.run_body(&decl.decl)?;
        let elem = self.elem(param.node);
        let mut changed = Vec::new();
        for name in ["param", "grad"] {
            let value = self.frame().get(name).map(|binding| binding.value.clone());
            let role = Role {
                what: format!("`{name}`"),
                span: decl.decl.name.span,
                declared: decl.decl.name.span,
            };
            let value = value.unwrap_or(Value::Bad).first();
            changed.push(self.fill(value, elem, &param.shape, &role)?);
        }
        match <[Tensor; 2]>::try_from(changed) {
            Ok([param, grad]) => Ok((param, grad)),
            Err(_) => Err(Reported::already()),
        }
    }

    /// The learning rate of an optimizer is what its text gives times the schedule's factor.
    fn set_rate(&mut self, link: &mut Link<'_>, factor: Option<&Value>) -> Eval<()> {
        let Some(binding) = self.frame().get(LEARNING_RATE).cloned() else { return Ok(()) };
        let rate = match (&link.rate, factor) {
            (Some(rate), _) => rate.clone(),
            (None, None) => binding.value,
            (None, Some(factor)) => {
                self.binary(BinaryOp::Mul, binding.value, factor.clone(), link.span)?
            }
        };
        if let Value::Number(number) = &rate
            && number.as_f64() == Some(0.0)
        {
            self.diagnostics.push(diagnostics::rate_of_zero(link.span));
        }
        link.rate = Some(rate.clone());
        self.bind(LEARNING_RATE, rate, binding.from);
        Ok(())
    }
}

/// What is called and its arguments, of a call or of a name alone.
fn call_parts(expr: &Expr) -> Option<(&Expr, &[ast::Arg])> {
    let expr = expr.unparen();
    match &expr.kind {
        ExprKind::Call(callee, args) => Some((callee, args)),
        ExprKind::Name(_) | ExprKind::Field(..) => Some((expr, &[])),
        _ => None,
    }
}
