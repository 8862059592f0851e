//! Names: frames of calls, scopes of blocks, and the names under which parameters are known.

use super::Elaborator;
use crate::declarations::{DeclRef, nearest};
use crate::diagnostics;
use crate::value::{Callable, Eval, Extent, Number, Reported, Target, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::ast::{DeclKind, Ident, Path, Reducer};
use dlc_grammar::{FileId, Span};
use dlc_ir::graph::InputRole;
use indexmap::IndexMap;
use std::sync::Arc;

/// What a name stands for, and the text that decided it.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// The value.
    pub value: Value,
    /// Where the value comes from: for a size the text that fixed it.
    pub from: Option<Span>,
    /// The full name of the state it holds, if it is one.
    pub state: Option<String>,
}

impl Binding {
    pub(crate) fn new(value: Value, from: Option<Span>) -> Self {
        Binding { value, from, state: None }
    }
}

/// The names of one block.
pub(crate) type Scope = IndexMap<String, Binding>;

/// One call: what it was of and what its names stand for.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// What was called; `None` for the text of a `train` block.
    pub decl: Option<DeclRef>,
    /// Where it was called.
    pub call: Span,
    /// Its scopes, the outermost first.
    pub scopes: Vec<Scope>,
    /// Shapes of results as far as they are known before the body runs.
    pub results: IndexMap<String, Vec<Option<Extent>>>,
}

impl Frame {
    pub(crate) fn new(decl: Option<DeclRef>, call: Span) -> Self {
        Frame { decl, call, scopes: vec![Scope::new()], results: IndexMap::new() }
    }

    /// The kind of declaration whose text runs.
    pub(crate) fn kind(&self) -> Option<DeclKind> {
        self.decl.as_ref().map(|decl| decl.decl.kind)
    }

    /// Whether the text belongs to the standard library.
    pub(crate) fn std(&self) -> bool {
        self.decl.as_ref().is_some_and(|decl| decl.std)
    }

    /// The file whose text runs.
    pub(crate) fn file(&self) -> FileId {
        self.decl.as_ref().map_or(self.call.file, |decl| decl.decl.name.span.file)
    }

    /// What is called, for messages.
    pub(crate) fn title(&self) -> &str {
        self.decl.as_ref().map_or("train", |decl| &decl.decl.name.name)
    }

    /// The binding of a name, innermost first.
    pub(crate) fn get(&self, name: &str) -> Option<&Binding> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    /// The binding of a name, to change it.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Binding> {
        self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name))
    }

    /// The binding under which the sizes of a name were known before index notation gave the name another meaning.
    pub(crate) fn size(&self, name: &str) -> Option<&Binding> {
        self.scopes.iter().rev().filter_map(|scope| scope.get(name)).find(|binding| match &binding
            .value
        {
            Value::Number(Number::Int(_)) => true,
            Value::Pack(parts) => {
                parts.iter().all(|part| matches!(part, Value::Number(Number::Int(_))))
            }
            _ => false,
        })
    }

    /// Gives a name a meaning in the innermost scope.
    pub(crate) fn bind(&mut self, name: &str, binding: Binding) {
        self.scopes
            .last_mut()
            .expect("a frame is made with one scope and every pushed scope is popped")
            .insert(name.to_string(), binding);
    }
}

/// The names given to layers within one layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameLevel {
    /// The full name of the layer, empty for the model.
    pub path: String,
    /// How many layers of each kind have no other name.
    numbered: IndexMap<String, u32>,
    /// Names in use, with the label that made each.
    taken: IndexMap<String, Span>,
    /// The turns of the loops we are in.
    pub loops: Vec<i64>,
}

impl NameLevel {
    pub(crate) fn new(path: String) -> Self {
        NameLevel { path, ..Default::default() }
    }

    /// Takes a name, with a number behind it where the name alone is taken.
    fn free_name(&mut self, wanted: &str, span: Span) -> String {
        let mut name = wanted.to_string();
        let mut number = 2;
        while self.taken.contains_key(&name) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        self.taken.insert(name.clone(), span);
        name
    }

    /// `path.name`, or the name alone at the top.
    pub(crate) fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }
}

impl Elaborator {
    /// The frame of the text being evaluated.
    pub(crate) fn frame(&self) -> &Frame {
        self.frames.last().expect("text is only evaluated within a frame")
    }

    /// The frame of the text being evaluated, to change it.
    pub(crate) fn frame_mut(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("text is only evaluated within a frame")
    }

    /// The level of layer names we are at.
    pub(crate) fn level(&self) -> &NameLevel {
        self.levels.last().expect("the outermost level is never popped")
    }

    /// The level of layer names we are at, to change it.
    pub(crate) fn level_mut(&mut self) -> &mut NameLevel {
        self.levels.last_mut().expect("the outermost level is never popped")
    }

    /// Runs something within a scope of its own.
    pub(crate) fn scoped<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.frame_mut().scopes.push(Scope::new());
        let result = run(self);
        self.frame_mut().scopes.pop();
        result
    }

    /// Gives a name a meaning in the innermost scope.
    pub(crate) fn bind(&mut self, name: &str, value: Value, from: Option<Span>) {
        self.frame_mut().bind(name, Binding::new(value, from));
    }

    /// What a name stands for.
    pub(crate) fn lookup(&mut self, ident: &Ident) -> Eval<Value> {
        if let Some(binding) = self.frame().get(&ident.name) {
            return match &binding.value {
                Value::Bad => Err(Reported::already()),
                Value::Unset => Err(self.report(diagnostics::used_before_assigned(ident))),
                value => Ok(value.clone()),
            };
        }
        if let Some(value) = self.ambient(&ident.name) {
            return Ok(value);
        }
        match self.callable(&ident.name) {
            Some(callable) => Ok(Value::Callable(Arc::new(callable))),
            None => Err(self.unknown_name(ident)),
        }
    }

    /// Names that need no declaration.
    fn ambient(&mut self, name: &str) -> Option<Value> {
        match name {
            "training" => Some(Value::Bool(self.training)),
            "pi" => Some(Value::real(std::f64::consts::PI)),
            "inf" => Some(Value::real(f64::INFINITY)),
            "step" | "steps" if self.knows_steps() => {
                if let Some((step, steps)) = &self.own_steps {
                    return Some(if name == "step" { step.clone() } else { steps.clone() });
                }
                let node = self.leaf(name, InputRole::Data, ElemType::I32, &[]);
                Some(Value::Tensor(Tensor { node, shape: Vec::new() }))
            }
            _ => None,
        }
    }

    /// Whether the text may ask for the number of the step.
    fn knows_steps(&self) -> bool {
        matches!(self.frame().kind(), None | Some(DeclKind::Optimizer | DeclKind::Schedule))
    }

    /// The declaration or function of the language that a name means.
    pub(crate) fn callable(&self, name: &str) -> Option<Callable> {
        let target = match self.decls.get(name, self.frame().std(), self.frame().file()) {
            Some(decl) => Target::Decl(decl.clone()),
            None if super::builtin::is_builtin(name) => Target::Builtin(name.to_string()),
            None => return None,
        };
        Some(Callable { target, given: Vec::new(), label: None })
    }

    /// What a path means in front of brackets, in a pipe or in a setting: a name, or an item of a file that is used under a name.
    pub(crate) fn lookup_path(&mut self, path: &Path) -> Eval<Value> {
        match path.parts.as_slice() {
            [name] => self.lookup_callee(name),
            [module, ..] if self.is_module(module) => self.in_module(path.text(), path.span),
            _ => Err(self.report(diagnostics::not_supported("a name with dots here", path.span))),
        }
    }

    /// Whether a name stands for a file.
    pub(crate) fn is_module(&self, name: &Ident) -> bool {
        self.decls.is_module(&name.name) && self.frame().get(&name.name).is_none()
    }

    /// An item of a file that is used under a name: `blocks.bottleneck`.
    pub(crate) fn in_module(&mut self, name: String, span: Span) -> Eval<Value> {
        match self.callable(&name) {
            Some(callable) => Ok(Value::Callable(Arc::new(callable))),
            None => Err(self.unknown_name(&Ident { name, span })),
        }
    }

    /// Reports a name that nothing declares.
    pub(crate) fn unknown_name(&mut self, ident: &Ident) -> Reported {
        if self.decls.is_faulty(&ident.name) {
            return Reported::already();
        }
        let frame = self.frame();
        let mut known: Vec<String> = Vec::new();
        known.extend(frame.scopes.iter().rev().flat_map(|scope| scope.keys().cloned()));
        known.extend(self.decls.names(frame.std()).map(str::to_string));
        known.extend(super::builtin::names().map(str::to_string));
        known.extend(Reducer::ALL.iter().map(|reducer| reducer.word().to_string()));
        let suggestion = nearest(&ident.name, known.iter().map(String::as_str));
        self.report(diagnostics::unknown_name(ident, suggestion))
    }

    /// The name of a layer within its surroundings: its label, or its kind and number.
    pub(crate) fn layer_name(
        &mut self,
        kind: &str,
        label: Option<(&str, Span)>,
        binding: Option<&str>,
    ) -> String {
        let level = self.level_mut();
        let turns: String = level.loops.iter().map(|turn| format!("_{}", turn + 1)).collect();
        let mut clash = None;
        let name = match (label, binding) {
            (Some((label, span)), _) => {
                let wanted = format!("{label}{turns}");
                if let Some(&first) = level.taken.get(&wanted) {
                    clash = Some((wanted.clone(), first, span));
                }
                level.free_name(&wanted, span)
            }
            (None, Some(binding)) => level.free_name(&format!("{binding}{turns}"), Span::default()),
            (None, None) => loop {
                let number = level.numbered.entry(kind.to_string()).or_insert(0);
                *number += 1;
                let name = format!("{kind}_{number}");
                if !level.taken.contains_key(&name) {
                    level.taken.insert(name.clone(), Span::default());
                    break name;
                }
            },
        };
        if let Some((label, first, span)) = clash {
            self.report(diagnostics::duplicate_label(&label, span, first));
        }
        name
    }
}
