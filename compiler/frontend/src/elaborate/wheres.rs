//! The `where` clauses of declarations: numbers of axes, derived sizes and requirements.

use super::Elaborator;
use crate::diagnostics;
use crate::value::{Eval, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::{self, Decl, Expr, WhereKind, WhereTarget};

impl Elaborator {
    /// `where len(r..) = axes`: the numbers of axes that are stated.
    pub(super) fn stated_lengths(&mut self, decl: &Decl) -> Eval<Vec<(String, usize)>> {
        let mut lengths = Vec::new();
        for clause in &decl.wheres {
            if let WhereKind::Define { target: WhereTarget::Len(pack), value } = &clause.kind {
                let length = self.eval(value)?.first();
                let length = self.int_value(&length, "a number of axes", value.span)?;
                let Ok(length) = usize::try_from(length) else {
                    return Err(self.report(diagnostics::negative_length(value.span, length)));
                };
                lengths.push((pack.name.clone(), length));
            }
        }
        Ok(lengths)
    }

    /// Derived sizes and requirements.
    pub(super) fn run_wheres(&mut self, decl: &Decl, span: Span) -> Eval<()> {
        let mut failed = None;
        for clause in &decl.wheres {
            // What a requirement forbids is not calculated with.
            if let (Some(_), WhereKind::Define { target, .. }) = (failed, &clause.kind) {
                if let WhereTarget::Name(name) | WhereTarget::Pack(name) = target {
                    self.bind(&name.name, Value::Bad, None);
                }
                continue;
            }
            let outcome = match &clause.kind {
                WhereKind::Define { target: WhereTarget::Len(_), .. } => Ok(()),
                WhereKind::Define { target: WhereTarget::Name(name), value } => self
                    .eval(value)
                    .map(|size| self.bind(&name.name, size.first(), Some(value.span))),
                WhereKind::Define { target: WhereTarget::Pack(name), value } => {
                    self.eval_pack(value).map(|sizes| {
                        self.bind(&name.name, Value::Pack(sizes), Some(value.span));
                    })
                }
                WhereKind::Require { condition, message } => {
                    self.require(decl, condition, message.as_ref(), span)
                }
            };
            if let Err(reported) = outcome {
                if let WhereKind::Define {
                    target: WhereTarget::Name(name) | WhereTarget::Pack(name),
                    ..
                } = &clause.kind
                {
                    self.bind(&name.name, Value::Bad, None);
                }
                failed = Some(reported);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn require(
        &mut self,
        decl: &Decl,
        condition: &Expr,
        message: Option<&ast::StrLit>,
        call: Span,
    ) -> Eval<()> {
        let value = self.eval(condition)?.first();
        match value {
            Value::Bool(true) => Ok(()),
            Value::Bool(false) => {
                let facts = self.facts(condition);
                Err(self.report(diagnostics::requirement(
                    &decl.name.name,
                    message.map(|message| message.text.as_str()),
                    call,
                    condition.span,
                    &facts,
                )))
            }
            other => Err(self.report(diagnostics::condition_type(other.noun(), condition.span))),
        }
    }

    /// The values of the names in a condition, for the message.
    fn facts(&mut self, condition: &Expr) -> Vec<String> {
        let mut facts = Vec::new();
        for name in super::walk::pack_names(condition) {
            if let Some(binding) = self.frame().get(&name)
                && let Some(text) = diagnostics::value_words(&binding.value)
            {
                let fact = format!("`{name}` is {text}");
                if !facts.contains(&fact) {
                    facts.push(fact);
                }
            }
        }
        facts
    }
}
