//! Calls: matching arguments with formals, running the body, and handing out results.

use super::leaf::dims;
use super::scope::NameLevel;
use super::shape::{Role, is_literal};
use super::{Applied, Elaborator, Frame, TotalMode};
use crate::declarations::{DeclRef, nearest};
use crate::diagnostics;
use crate::value::{
    Callable, Choice, Eval, Given, Record, Reported, SharedLayer, Target, Tensor, Value,
};
use dlc_grammar::Span;
use dlc_grammar::ast::{
    self, Arg, Body, CompType, Decl, DeclKind, Expr, ExprKind, Formal, Ident, Label, TypeKind,
};
use std::sync::Arc;

/// The name of a formal that takes numbers before softmax or sigmoid. It is a word of the language like `lr` of optimizers.
const LOGITS: &str = "logits";

/// The name of a result that holds what softmax or sigmoid gives.
const PROBABILITY: &str = "probability";

/// Where the value of a formal comes from.
#[derive(Clone)]
enum Source<'a> {
    /// Text of the caller.
    Text(&'a Expr),
    /// A value with its text.
    Value(Value, Span),
}

impl Elaborator {
    /// `f(x, n = 2)`
    pub(crate) fn eval_call(
        &mut self,
        callee: &Expr,
        args: &[Arg],
        label: Option<&Label>,
        span: Span,
    ) -> Eval<Value> {
        let value = self.eval_callee(callee)?;
        self.apply_value(&value, callee.unparen().span, None, args, label, span)
    }

    /// What stands in front of brackets.
    pub(crate) fn eval_callee(&mut self, callee: &Expr) -> Eval<Value> {
        match callee.as_name() {
            Some(name) => self.lookup_callee(name),
            None => self.eval(callee),
        }
    }

    /// What a name means in front of brackets or in a pipe.
    pub(crate) fn lookup_callee(&mut self, name: &Ident) -> Eval<Value> {
        match self.frame().get(&name.name).map(|binding| &binding.value) {
            Some(Value::Callable(_) | Value::Shared(_)) => self.lookup(name),
            // A size or tensor of the same name does not hide a function.
            Some(_) => match self.callable(&name.name) {
                Some(callable) => Ok(Value::Callable(Arc::new(callable))),
                None => self.lookup(name),
            },
            None => self.lookup(name),
        }
    }

    /// Calls a value; `piped` goes before the other arguments.
    pub(crate) fn apply_value(
        &mut self,
        value: &Value,
        callee: Span,
        piped: Option<(Value, Span)>,
        args: &[Arg],
        label: Option<&Label>,
        span: Span,
    ) -> Eval<Value> {
        match value {
            Value::Callable(callable) => {
                let callable = Arc::clone(callable);
                self.apply(&callable, piped, args, label, span)
            }
            Value::Shared(shared) => {
                let shared = Arc::clone(shared);
                self.apply_shared(&shared, piped, args, span)
            }
            Value::Bad => Err(Reported::already()),
            other => Err(self.report(diagnostics::not_callable(other.noun(), callee))),
        }
    }

    /// A use of a shared layer: the same names, and so the same parameters, each time.
    fn apply_shared(
        &mut self,
        shared: &SharedLayer,
        piped: Option<(Value, Span)>,
        args: &[Arg],
        span: Span,
    ) -> Eval<Value> {
        let Target::Decl(decl) = &shared.callable.target else {
            return Err(Reported::already());
        };
        let decl = decl.clone();
        self.sharing += 1;
        let result =
            self.call_decl(&decl, &shared.callable.given, piped, args, Some(&shared.path), span);
        self.sharing -= 1;
        result
    }

    /// Calls a layer or function.
    pub(crate) fn apply(
        &mut self,
        callable: &Callable,
        piped: Option<(Value, Span)>,
        args: &[Arg],
        label: Option<&Label>,
        span: Span,
    ) -> Eval<Value> {
        match &callable.target {
            Target::Builtin(callee) => {
                let mut values: Vec<(Value, Span)> = piped.into_iter().collect();
                let mut axis = None;
                for arg in args {
                    if let Some(name) = &arg.name {
                        if !super::builtin::takes_axis(callee, &name.name) || axis.is_some() {
                            return Err(self.report(diagnostics::builtin_named_argument(name)));
                        }
                        axis = Some((self.eval_int(&arg.value, "`axis`")?, arg.value.span));
                        continue;
                    }
                    if arg.pack {
                        let parts = self.eval_pack(&arg.value)?;
                        values.extend(parts.into_iter().map(|part| (part, arg.span)));
                    } else {
                        values.push((self.eval(&arg.value)?, arg.span));
                    }
                }
                self.span = span;
                self.call_builtin(callee, values, axis, span)
            }
            Target::Decl(decl) => {
                let decl = decl.clone();
                let given = callable.given.clone();
                match decl.decl.kind {
                    DeclKind::Layer => {
                        let own = callable.label.clone();
                        let label = label
                            .map(|label| (label.text.as_str(), label.span))
                            .or(own.as_deref().map(|label| (label, span)));
                        let binding = match &self.binding_label {
                            Some((at, name)) if *at == span => Some(name.clone()),
                            _ => None,
                        };
                        let name = self.layer_name(&decl.decl.name.name, label, binding.as_deref());
                        let path = self.level().join(&name);
                        self.call_decl(&decl, &given, piped, args, Some(&path), span)
                    }
                    DeclKind::Metric if self.totals == TotalMode::Outside => {
                        let name = &decl.decl.name.name;
                        Err(self.report(diagnostics::not_a_function(name, DeclKind::Metric, span)))
                    }
                    DeclKind::Fn | DeclKind::Loss | DeclKind::Metric | DeclKind::Schedule => {
                        self.call_decl(&decl, &given, piped, args, None, span)
                    }
                    DeclKind::Model | DeclKind::Optimizer | DeclKind::Init => {
                        let (name, kind) = (&decl.decl.name, decl.decl.kind);
                        Err(self.report(diagnostics::not_a_function(&name.name, kind, span)))
                    }
                }
            }
        }
    }

    /// Runs a declaration. `path` is the full name of a layer; functions leave names as they are.
    pub(crate) fn call_decl(
        &mut self,
        decl: &DeclRef,
        given: &[Given],
        piped: Option<(Value, Span)>,
        args: &[Arg],
        path: Option<&str>,
        span: Span,
    ) -> Eval<Value> {
        self.enter(span)?;
        let given = self.collect_args(&decl.decl, given, piped, args);
        let result = given.and_then(|given| self.run_call(decl, given, path, span));
        self.leave();
        result
    }

    fn run_call(
        &mut self,
        decl: &DeclRef,
        given: Vec<Given>,
        path: Option<&str>,
        span: Span,
    ) -> Eval<Value> {
        let (params, nodes) = (self.params.len(), self.graph.nodes.len());
        let depth = self.levels.len() - 1;
        let visible = path.is_some() || (depth == 0 && self.frames.len() == 1);
        let origin = Arc::clone(&self.origin);
        let label = self.binding_label.take();
        let yields = std::mem::take(&mut self.yields);
        self.frames.push(Frame::new(Some(decl.clone()), span));
        if let Some(path) = path {
            self.levels.push(NameLevel::new(path.to_string()));
        }
        let result = self
            .bind_formals(&decl.decl, given, span)
            .and_then(|()| self.run_body(&decl.decl))
            .and_then(|value| self.results(&decl.decl, value, span));
        if path.is_some() {
            self.levels.pop();
        }
        self.frames.pop();
        self.origin = origin;
        self.binding_label = label;
        self.yields = yields;
        let value = result?;
        if visible {
            let shape = match value.clone().first() {
                Value::Tensor(tensor) => Some(tensor.dims()),
                _ => None,
            };
            let kind = decl.decl.name.name.clone();
            let name = path.map_or(kind.clone(), str::to_string);
            let params = params..self.params.len();
            let nodes = nodes..self.graph.nodes.len();
            self.applied.push(Applied { name, kind, depth, shape, params, nodes });
        }
        Ok(value)
    }

    /// The body's value; `None` where it has none.
    pub(crate) fn run_body(&mut self, decl: &Decl) -> Eval<Option<Value>> {
        match &decl.body {
            Body::Expr(expr) => self.eval(expr).map(Some),
            Body::Block(block) => self.exec_stmts(block),
        }
    }

    /// Matches arguments with formals and evaluates them in the caller's frame.
    pub(crate) fn collect_args(
        &mut self,
        decl: &Decl,
        given: &[Given],
        piped: Option<(Value, Span)>,
        args: &[Arg],
    ) -> Eval<Vec<Given>> {
        let mut sources: Vec<Option<Source<'_>>> = vec![None; decl.formals.len()];
        let mut failed = None;
        if let Some((value, at)) = piped
            && let Err(reported) =
                self.place_arg(decl, None, Source::Value(value, at), at, &mut sources)
        {
            failed = Some(reported);
        }
        // What was given when the layer was passed on keeps its formals, unless this use names them.
        let mut passed_on = vec![false; decl.formals.len()];
        for one in given {
            let at =
                decl.formals.iter().position(|formal| one.name.as_ref() == Some(&formal.name.name));
            if let Some(at) = at.filter(|&at| sources[at].is_none()) {
                sources[at] = Some(Source::Value(one.value.clone(), one.span));
                passed_on[at] = true;
            }
        }
        let mut positional: Vec<(Source<'_>, Span)> = Vec::new();
        for arg in args.iter().filter(|arg| arg.name.is_none()) {
            if arg.pack {
                for part in self.eval_pack(&arg.value)? {
                    positional.push((Source::Value(part, arg.span), arg.span));
                }
            } else {
                positional.push((Source::Text(&arg.value), arg.span));
            }
        }
        for (source, at) in positional {
            if let Err(reported) = self.place_arg(decl, None, source, at, &mut sources) {
                failed = Some(reported);
                break;
            }
        }
        for arg in args {
            let Some(name) = &arg.name else { continue };
            let at = decl.formals.iter().position(|formal| formal.name.name == name.name);
            if let Some(at) = at.filter(|&at| passed_on[at]) {
                sources[at] = None;
                passed_on[at] = false;
            }
            let source = Source::Text(&arg.value);
            if let Err(reported) = self.place_arg(decl, Some(name), source, arg.span, &mut sources)
            {
                failed = Some(reported);
            }
        }
        let mut collected = Vec::new();
        for (formal, source) in decl.formals.iter().zip(sources) {
            let value = match source {
                None => continue,
                Some(Source::Value(value, at)) => Ok((value, at)),
                Some(Source::Text(text)) => {
                    self.eval_arg(text, formal).map(|value| (value, text.span))
                }
            };
            match value {
                Ok((value, span)) => {
                    let name = Some(formal.name.name.clone());
                    collected.push(Given { name, value, span });
                }
                Err(reported) => failed = Some(reported),
            }
        }
        match failed {
            Some(reported) => Err(reported),
            None => Ok(collected),
        }
    }

    /// Puts an argument to its formal.
    fn place_arg<'a>(
        &mut self,
        decl: &Decl,
        name: Option<&Ident>,
        source: Source<'a>,
        at: Span,
        sources: &mut [Option<Source<'a>>],
    ) -> Eval<()> {
        let place = match name {
            None => match sources.iter().position(Option::is_none) {
                Some(place) => place,
                None => return Err(self.report(diagnostics::too_many_arguments(decl, at))),
            },
            Some(name) => {
                let formals = || decl.formals.iter().map(|formal| formal.name.name.as_str());
                match formals().position(|formal| formal == name.name) {
                    Some(place) => place,
                    None => {
                        let suggestion = nearest(&name.name, formals());
                        return Err(
                            self.report(diagnostics::unknown_argument(decl, name, suggestion))
                        );
                    }
                }
            }
        };
        if sources[place].is_some() {
            let formal = &decl.formals[place];
            return Err(self.report(diagnostics::argument_twice(decl, formal, at)));
        }
        sources[place] = Some(source);
        Ok(())
    }

    /// An argument: words of a choice and layers passed on are understood by the formal's type.
    fn eval_arg(&mut self, text: &Expr, formal: &Formal) -> Eval<Value> {
        match formal.ty.as_ref().map(|ty| &ty.kind) {
            Some(TypeKind::Choice(words)) => {
                if let Some(name) = text.as_name()
                    && self.frame().get(&name.name).is_none()
                {
                    if !words.iter().any(|word| word.name == name.name) {
                        return Err(
                            self.report(diagnostics::unknown_choice(&name.name, words, text.span))
                        );
                    }
                    let options = words.iter().map(|word| word.name.clone()).collect();
                    return Ok(Value::Choice(Choice { word: name.name.clone(), options }));
                }
            }
            Some(TypeKind::Comp {
                comp: CompType::Layer | CompType::Fn | CompType::Init, ..
            }) => {
                return self.eval_callable(text);
            }
            Some(TypeKind::Comp { comp: CompType::Params, .. }) => {
                if let ExprKind::Str(pattern) = &text.unparen().kind {
                    return self.params_like(pattern);
                }
            }
            _ => {}
        }
        self.eval(text)
    }

    /// The parameters whose names fit a pattern.
    pub(crate) fn params_like(&mut self, pattern: &ast::StrLit) -> Eval<Value> {
        let chosen: Vec<Tensor> = self
            .params
            .iter()
            .filter(|(name, _)| crate::glob::matches(&pattern.text, name))
            .map(|(_, param)| param.tensor.clone())
            .collect();
        if self.params_unknown {
            return Err(Reported::already());
        }
        if chosen.is_empty() {
            let names: Vec<String> = self.params.keys().cloned().collect();
            return Err(self.report(diagnostics::pattern_without_match(pattern, &names)));
        }
        Ok(Value::Params(chosen))
    }

    /// A layer or function that is passed on: `relu`, or `conv(64, kernel = 3)` without its input.
    pub(crate) fn eval_callable(&mut self, text: &Expr) -> Eval<Value> {
        match &text.unparen().kind {
            ExprKind::Call(callee, args) => {
                let value = match (callee.as_name(), &callee.unparen().kind) {
                    (Some(name), _) => self.lookup_callee(name)?,
                    (None, ExprKind::Field(module, _))
                        if module.as_name().is_some_and(|module| self.is_module(module)) =>
                    {
                        self.eval(callee)?
                    }
                    _ => return self.eval(text),
                };
                match value {
                    Value::Callable(callable) => {
                        let mut callable = (*callable).clone();
                        callable.given.extend(self.partial_args(&callable, args)?);
                        Ok(Value::Callable(Arc::new(callable)))
                    }
                    other => Err(self.report(diagnostics::not_callable(other.noun(), callee.span))),
                }
            }
            ExprKind::Labelled(inner, label) => match self.eval_callable(inner)? {
                Value::Callable(callable) => {
                    let label = Some(label.text.clone());
                    Ok(Value::Callable(Arc::new(Callable { label, ..(*callable).clone() })))
                }
                other => Ok(other),
            },
            ExprKind::Name(name) => self.lookup_callee(name),
            _ => self.eval(text),
        }
    }

    /// The arguments of a layer that is passed on without its input: places count from its second formal. An initializer
    /// has no input, so its places count from the first.
    pub(crate) fn partial_args(&mut self, callable: &Callable, args: &[Arg]) -> Eval<Vec<Given>> {
        let Target::Decl(decl) = &callable.target else {
            return match args.first() {
                None => Ok(Vec::new()),
                Some(arg) => {
                    let diagnostic = diagnostics::not_supported(
                        "arguments of a function of the language here",
                        arg.span,
                    );
                    Err(self.report(diagnostic))
                }
            };
        };
        let decl = Arc::clone(&decl.decl);
        let skipped = usize::from(decl.kind != DeclKind::Init);
        let mut given = Vec::new();
        for (place, arg) in args.iter().enumerate() {
            let formal = match &arg.name {
                Some(name) => {
                    let formals = || decl.formals.iter().map(|formal| formal.name.name.as_str());
                    match decl.formals.iter().find(|formal| formal.name.name == name.name) {
                        Some(formal) => formal,
                        None => {
                            let suggestion = nearest(&name.name, formals());
                            return Err(
                                self.report(diagnostics::unknown_argument(&decl, name, suggestion))
                            );
                        }
                    }
                }
                None => match decl.formals.get(place + skipped) {
                    Some(formal) => formal,
                    None => {
                        return Err(self.report(diagnostics::too_many_arguments(&decl, arg.span)));
                    }
                },
            };
            let value = self.eval_arg(&arg.value, formal)?;
            given.push(Given { name: Some(formal.name.name.clone()), value, span: arg.value.span });
        }
        Ok(given)
    }

    /// Gives the formals of the new frame their values, then the sizes of `where`.
    pub(crate) fn bind_formals(
        &mut self,
        decl: &Arc<Decl>,
        given: Vec<Given>,
        span: Span,
    ) -> Eval<()> {
        // What is known without any size comes first: numbers of axes are computed from it.
        for formal in &decl.formals {
            let named = given.iter().find(|given| given.name.as_deref() == Some(&formal.name.name));
            match (named, &formal.default) {
                (Some(given), _) => {
                    self.bind(&formal.name.name, given.value.clone(), Some(given.span))
                }
                (None, Some(default)) if is_literal(default) => {
                    let value = self.eval(default)?;
                    self.bind(&formal.name.name, value, Some(default.span));
                }
                (None, _) => {}
            }
        }
        let lengths = self.stated_lengths(decl)?;
        let mut failed = None;
        for formal in &decl.formals {
            if let Err(reported) = self.bind_formal(decl, formal, &given, &lengths, span) {
                self.bind(&formal.name.name, Value::Bad, None);
                self.mark_sizes(formal);
                failed = Some(reported);
            }
        }
        if let Some(reported) = failed {
            return Err(reported);
        }
        self.run_wheres(decl, span)?;
        self.declare_results(decl);
        Ok(())
    }

    /// Sizes that a faulty argument should have bound are faulty as well.
    fn mark_sizes(&mut self, formal: &Formal) {
        let Some(TypeKind::Tensor { shape: Some(shape), .. }) =
            formal.ty.as_ref().map(|ty| &ty.kind)
        else {
            return;
        };
        for dim in &shape.dims {
            if let ast::DimKind::At { value, .. } = &dim.kind
                && let Some(name) = value.as_name()
                && self.frame().get(&name.name).is_none()
            {
                self.bind(&name.name, Value::Bad, None);
            }
        }
    }

    fn bind_formal(
        &mut self,
        decl: &Decl,
        formal: &Formal,
        given: &[Given],
        lengths: &[(String, usize)],
        call: Span,
    ) -> Eval<()> {
        let given = given.iter().find(|given| given.name.as_deref() == Some(&formal.name.name));
        let (value, at) = match (given, &formal.default) {
            (Some(given), _) => (given.value.clone(), given.span),
            (None, Some(default)) => (self.eval_arg(default, formal)?, default.span),
            (None, None) => {
                return Err(self.report(diagnostics::missing_argument(decl, formal, call)));
            }
        };
        let optional = formal.default.as_ref().is_some_and(|d| matches!(d.kind, ExprKind::None));
        let value = match &formal.ty {
            _ if matches!(value, Value::None) && optional => value,
            None => {
                let value = value.first();
                self.settled(value)
            }
            Some(ty) => {
                let role = Role {
                    what: format!("argument `{}` of `{}`", formal.name.name, decl.name.name),
                    span: at,
                    declared: ty.span,
                };
                let value = value.first();
                let value = self.settled(value);
                self.coerce(value, ty, lengths, &role)?
            }
        };
        if decl.kind == DeclKind::Loss && formal.name.name == LOGITS {
            self.check_logits(&value, decl, formal, at, call);
        }
        self.bind(&formal.name.name, value, Some(at));
        Ok(())
    }

    /// Warns where probabilities are given for logits: what a function says by the name of its result, or what is known to be between
    /// 0 and 1 by the operation that made it.
    fn check_logits(&mut self, value: &Value, decl: &Decl, formal: &Formal, at: Span, call: Span) {
        let Value::Tensor(tensor) = value else { return };
        let squashed = matches!(
            self.graph.nodes[tensor.node].op,
            dlc_ir::graph::Op::Unary(dlc_ir::graph::UnaryOp::Sigmoid, _)
        );
        if squashed || self.probabilities.contains(&tensor.node) {
            let at = if self.decls.is_std(at.file) { call } else { at };
            let name = &decl.name.name;
            self.diagnostics.push(diagnostics::not_logits(name, at, formal.name.span));
        }
    }

    /// Named results can be assigned; their shapes help to find the ranges of indices.
    fn declare_results(&mut self, decl: &Decl) {
        for result in &decl.results {
            let Some(name) = &result.name else { continue };
            if let TypeKind::Tensor { shape: Some(shape), .. } = &result.ty.kind {
                let extents = self.known_extents(shape);
                self.frame_mut().results.insert(name.name.clone(), extents);
            }
            self.bind(&name.name, Value::Unset, Some(name.span));
        }
    }

    /// The results as declared, or the body's value.
    pub(crate) fn results(&mut self, decl: &Decl, value: Option<Value>, span: Span) -> Eval<Value> {
        if decl.results.is_empty() {
            return match value {
                Some(value) => Ok(value),
                None => Err(self.report(diagnostics::no_value(decl.name.span, &decl.name.name))),
            };
        }
        let mut fields = Vec::new();
        let mut failed = None;
        let mut unnamed = value;
        for result in &decl.results {
            let found =
                match &result.name {
                    Some(name) => {
                        match self.frame().get(&name.name).map(|binding| binding.value.clone()) {
                            Some(Value::Unset) | None => Err(self
                                .report(diagnostics::result_not_assigned(name, &decl.name.name))),
                            Some(Value::Bad) => Err(Reported::already()),
                            Some(value) => Ok(value),
                        }
                    }
                    None => match unnamed.take() {
                        Some(value) => Ok(value),
                        None => {
                            Err(self.report(diagnostics::no_value(decl.name.span, &decl.name.name)))
                        }
                    },
                };
            let name =
                result.name.as_ref().map_or(decl.name.name.clone(), |name| name.name.clone());
            let what = match &result.name {
                Some(name) => format!("result `{}` of `{}`", name.name, decl.name.name),
                None => format!("the result of `{}`", decl.name.name),
            };
            let at = match (&result.name, &decl.body) {
                (None, Body::Expr(expr)) => expr.span,
                (None, Body::Block(block)) => block.value().map_or(span, |value| value.span),
                (Some(name), _) => name.span,
            };
            let role = Role { what, span: at, declared: result.ty.span };
            match found.and_then(|value| self.coerce(value.first(), &result.ty, &[], &role)) {
                Ok(value) => {
                    if let (PROBABILITY, Value::Tensor(tensor)) = (name.as_str(), &value) {
                        self.probabilities.insert(tensor.node);
                    }
                    fields.push((name, value));
                }
                Err(reported) => failed = Some(reported),
            }
        }
        if let Some(reported) = failed {
            return Err(reported);
        }
        match fields.len() {
            1 => Ok(fields.pop().map_or(Value::None, |(_, value)| value)),
            _ => Ok(Value::Record(Arc::new(Record { fields }))),
        }
    }

    /// `shared words = embedding(65, 128)`
    pub(crate) fn exec_shared(&mut self, shared: &ast::Shared) -> Eval<()> {
        let call = &shared.value;
        let value = self.lookup_path(&call.path)?;
        let Value::Callable(callable) = &value else {
            return Err(self.report(diagnostics::not_callable(value.noun(), call.path.span)));
        };
        let layer =
            matches!(&callable.target, Target::Decl(decl) if decl.decl.kind == DeclKind::Layer);
        if !layer {
            return Err(self.report(diagnostics::shared_layer_only(&call.path)));
        }
        let mut callable = (**callable).clone();
        callable
            .given
            .extend(self.partial_args(&callable, call.args.as_deref().unwrap_or_default())?);
        let label = call.label.as_ref().map_or(&shared.name.name, |label| &label.text);
        let own = self.layer_name(label, Some((label, shared.name.span)), None);
        let path = self.level().join(&own);
        let value = Value::Shared(Arc::new(SharedLayer { callable, path }));
        self.bind(&shared.name.name, value, Some(shared.name.span));
        Ok(())
    }

    /// A part of a value without a report: a named result, or a parameter of a shared layer.
    pub(crate) fn quiet_field(&self, value: &Value, field: &str) -> Option<Value> {
        match value {
            Value::Record(record) => {
                record.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.clone())
            }
            Value::Shared(shared) => {
                let name = format!("{}.{field}", shared.path);
                self.params.get(&name).map(|param| Value::Tensor(param.tensor.clone()))
            }
            _ => None,
        }
    }

    /// Whether tensors have equal shapes; for callers that compare before they combine.
    pub(crate) fn same_shape(a: &Tensor, b: &Tensor) -> bool {
        dims(&a.shape) == dims(&b.shape)
    }
}
