//! `if`: on values known when the program is compiled it chooses text, on tensors it chooses elements.

use super::Elaborator;
use super::tensor::{Kind, common};
use crate::diagnostics;
use crate::value::{Cell, Eval, Extent, Number, Reported, Tensor, Term, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{Block, If, StmtKind};
use dlc_ir::graph::NodeId;
use std::sync::Arc;

/// A part of the arms of an `if`.
struct Rest<'a> {
    arms: &'a [dlc_grammar::ast::IfArm],
    otherwise: Option<&'a Block>,
}

impl Elaborator {
    /// An `if`, as an expression or a statement; `None` where the taken text has no value.
    pub(crate) fn eval_if(&mut self, choice: &If, span: Span) -> Eval<Option<Value>> {
        self.eval_arms(Rest { arms: &choice.arms, otherwise: choice.otherwise.as_ref() }, span)
    }

    fn eval_arms(&mut self, rest: Rest<'_>, span: Span) -> Eval<Option<Value>> {
        let Some((arm, more)) = rest.arms.split_first() else {
            return match rest.otherwise {
                Some(block) => self.exec_block(block),
                None => Ok(None),
            };
        };
        // Names that a test with `is` binds are known in the block it guards.
        self.frame_mut().scopes.push(Default::default());
        let outcome = self.eval(&arm.condition).and_then(|condition| {
            let condition = condition.first();
            match &condition {
                Value::Bool(true) => self.exec_block(&arm.body).map(Ok),
                Value::Bool(false) => Ok(Err(None)),
                _ => Ok(Err(Some(condition))),
            }
        });
        self.frame_mut().scopes.pop();
        let condition = match outcome? {
            Ok(value) => return Ok(value),
            Err(None) => {
                return self.eval_arms(Rest { arms: more, otherwise: rest.otherwise }, span);
            }
            Err(Some(condition)) => condition,
        };
        if self.kind(&condition) != Some(Kind::Elem(ElemType::Bool)) {
            return Err(
                self.report(diagnostics::condition_type(condition.noun(), arm.condition.span))
            );
        }
        let blocks = std::iter::once(&arm.body).chain(rest.otherwise);
        for block in blocks {
            if let Some(stmt) = block.stmts.iter().find(|stmt| !is_pure(&stmt.kind)) {
                let span = stmt.span;
                return Err(self.report(diagnostics::not_supported(
                    "a statement with an effect under a condition that is only known when the program runs",
                    span,
                )));
            }
        }
        let then = self.exec_block(&arm.body)?;
        let otherwise = self.eval_arms(Rest { arms: more, otherwise: rest.otherwise }, span)?;
        let (Some(then), Some(otherwise)) = (then, otherwise) else {
            return Err(self.report(diagnostics::if_without_else(span)));
        };
        self.select(condition, then.first(), otherwise.first(), span).map(Some)
    }

    /// `condition ? a : b`, element by element.
    pub(crate) fn select(
        &mut self,
        condition: Value,
        a: Value,
        b: Value,
        span: Span,
    ) -> Eval<Value> {
        let cells = [&condition, &a, &b].into_iter().any(|value| matches!(value, Value::Cell(_)));
        if cells || matches!(a, Value::Skip) || matches!(b, Value::Skip) {
            return self.select_cells(condition, a, b, span);
        }
        let elem = self.branch_elem(&a, &b, span)?;
        let condition = self.as_tensor(&condition, ElemType::Bool, "if", span)?;
        let a = self.branch(&a, elem, span)?;
        let b = self.branch(&b, elem, span)?;
        let tensors: Vec<&Tensor> =
            std::iter::once(&condition).chain(a.as_ref().ok()).chain(b.as_ref().ok()).collect();
        let shape = self.common_shape(&tensors, "if", span)?;
        let nc = self.broadcast(&condition, &shape);
        let (na, nb) = (self.spread_branch(&a, elem, &shape), self.spread_branch(&b, elem, &shape));
        let node = self.build().select(nc, na, nb);
        Ok(Value::Tensor(Tensor { node, shape }))
    }

    /// A branch as a tensor, or the number it is, which is made directly in the shape of the others.
    fn branch(
        &mut self,
        value: &Value,
        elem: ElemType,
        span: Span,
    ) -> Eval<Result<Tensor, Number>> {
        match value {
            Value::Number(number) => Ok(Err(*number)),
            value => self.as_tensor(value, elem, "if", span).map(Ok),
        }
    }

    fn spread_branch(
        &mut self,
        branch: &Result<Tensor, Number>,
        elem: ElemType,
        shape: &[Extent],
    ) -> NodeId {
        match branch {
            Ok(tensor) => self.broadcast(tensor, shape),
            Err(number) => self.number_node(*number, elem, &super::leaf::dims(shape)),
        }
    }

    /// The element type of the two branches.
    fn branch_elem(&mut self, a: &Value, b: &Value, span: Span) -> Eval<ElemType> {
        match (self.kind(a), self.kind(b)) {
            (Some(Kind::Elem(ElemType::Bool)), Some(Kind::Elem(ElemType::Bool))) => {
                Ok(ElemType::Bool)
            }
            (Some(a), Some(b)) => Ok(common(a, b)),
            (ka, _) => {
                let wrong = if ka.is_none() { a } else { b };
                if matches!(wrong, Value::Bad) {
                    return Err(Reported::already());
                }
                Err(self.report(diagnostics::wrong_operand("if", wrong.noun(), span)))
            }
        }
    }

    fn select_cells(&mut self, condition: Value, a: Value, b: Value, span: Span) -> Eval<Value> {
        let condition = self.as_cell(&condition, "if", span)?;
        let condition = self.explicit(condition);
        let holds = Arc::new(condition.term);
        let skips = |value: &Value| matches!(value, Value::Skip);
        let (kept, wanted) = match (skips(&a), skips(&b)) {
            (true, true) => return Ok(Value::Skip),
            (false, true) => (a, Arc::clone(&holds)),
            (true, false) => (b, Arc::new(self.negate(&holds))),
            (false, false) => {
                let elem = self.branch_elem(&a, &b, span)?;
                let (a, b) = (self.as_cell(&a, "if", span)?, self.as_cell(&b, "if", span)?);
                let (a, b) = (self.explicit(a), self.explicit(b));
                let term = self.cell_select(&holds, &a.term, &b.term, elem);
                let exists = self.branch_exists(&holds, a.exists, b.exists);
                let exists = self.both(condition.exists, exists);
                return Ok(self.cell_value(Cell { term, exists }));
            }
        };
        let kept = self.as_cell(&kept, "if", span)?;
        let kept = self.explicit(kept);
        let exists = self.both(kept.exists, Some(wanted));
        let exists = self.both(condition.exists, exists);
        Ok(Value::Cell(Cell { term: kept.term, exists }))
    }

    /// When the chosen branch exists.
    fn branch_exists(
        &mut self,
        holds: &Term,
        a: Option<Arc<Term>>,
        b: Option<Arc<Term>>,
    ) -> Option<Arc<Term>> {
        if a.is_none() && b.is_none() {
            return None;
        }
        let always =
            self.build().constant(dlc_ir::graph::Literal::Bool(true), ElemType::Bool, Vec::new());
        let always = Arc::new(self.dense(always, &[]));
        let (a, b) = (a.unwrap_or(Arc::clone(&always)), b.unwrap_or(always));
        Some(Arc::new(self.cell_select(holds, &a, &b, ElemType::Bool)))
    }
}

/// Whether a statement only names and computes values, so that it may run in both branches.
fn is_pure(stmt: &StmtKind) -> bool {
    matches!(stmt, StmtKind::Let(_) | StmtKind::Expr(_) | StmtKind::Bad)
}
