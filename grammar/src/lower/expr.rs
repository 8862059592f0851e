//! Expressions: precedence, accesses, calls.
use super::{Lower, Parts};
use crate::ast::*;
use crate::diagnostic::{Applicability, Diagnostic};
use crate::parse::Rule;
use crate::span::Span;
use pest::iterators::Pair;

/// How tightly operators bind, from the loosest. A reducer stands between sums and products: it reaches to the end of
/// the product that follows it and is itself one term of a sum, so `mean[j] x[j]^2 + e` is a mean, plus `e`.
mod power {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const NOT: u8 = 3;
    pub const COMPARE: u8 = 4;
    pub const SUM: u8 = 5;
    pub const REDUCE: u8 = 6;
    pub const PRODUCT: u8 = 7;
    pub const NEG: u8 = 8;
    pub const POW: u8 = 9;
}

fn binding(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => power::OR,
        BinaryOp::And => power::AND,
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
            power::COMPARE
        }
        BinaryOp::Add | BinaryOp::Sub => power::SUM,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::IntDiv | BinaryOp::Mod | BinaryOp::MatMul => {
            power::PRODUCT
        }
        BinaryOp::Pow => power::POW,
    }
}

fn joined(a: Span, b: Span, kind: ExprKind) -> Expr {
    Expr { kind, span: a.to(b) }
}

impl Lower<'_> {
    /// An `expr` or `inner` node.
    pub(super) fn expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let mut run = Parts::of(pair);
        let value = self.binary(&mut run, 0);
        let mut stages = Vec::new();
        while let Some(stage) = run.take(Rule::stage) {
            stages.push(self.stage(stage));
        }
        match stages.last() {
            None => value,
            Some(last) => joined(value.span, last.span, ExprKind::Pipe(Box::new(value), stages)),
        }
    }

    /// Precedence climbing over the flat run: the longest expression whose operators bind at least as tightly as `min`.
    fn binary(&mut self, run: &mut Parts<'_>, min: u8) -> Expr {
        let mut lhs = self.prefixed(run);
        loop {
            match run.peek() {
                Some(Rule::infix) => {
                    let text = run.pairs.peek().map_or("", |pair| pair.as_str().trim_end());
                    let op = BinaryOp::ALL.into_iter().find(|op| op.text() == text);
                    let op = op.expect("the grammar and the tree list the same operators");
                    if binding(op) < min {
                        break;
                    }
                    let op_span = self.span(&run.need(Rule::infix));
                    // Powers group from the right, everything else from the left.
                    let next = binding(op) + u8::from(op != BinaryOp::Pow);
                    let rhs = self.binary(run, next);
                    self.check_chain(&lhs, op, op_span);
                    let span = (lhs.span, rhs.span);
                    let (lhs_, rhs) = (Box::new(lhs), Box::new(rhs));
                    let kind = ExprKind::Binary { op, op_span, lhs: lhs_, rhs };
                    lhs = joined(span.0, span.1, kind);
                }
                Some(Rule::is_test) if power::COMPARE >= min => {
                    let test = run.need(Rule::is_test);
                    let end = self.span(&test);
                    let pattern = self.is_pattern(test);
                    lhs = joined(lhs.span, end, ExprKind::Is(Box::new(lhs), pattern));
                }
                _ => break,
            }
        }
        lhs
    }

    /// `a < b < c` reads like mathematics but would compare a truth value with `c`.
    fn check_chain(&mut self, lhs: &Expr, op: BinaryOp, op_span: Span) {
        let ExprKind::Binary { op: first, op_span: first_span, rhs: middle, .. } = &lhs.kind else {
            return;
        };
        if binding(op) == power::COMPARE && binding(*first) == power::COMPARE {
            let middle = self.text[middle.span.range()].to_string();
            let d = Diagnostic::error("E0115", "comparisons cannot be chained", op_span)
                .label("a second comparison")
                .also(*first_span, "the first one gives true or false")
                .fix(
                    format!(
                        "compare twice: `.. {} {middle} and {middle} {} ..`",
                        first.text(),
                        op.text()
                    ),
                    Span::point(self.file, op_span.start as usize),
                    format!("and {middle} "),
                    Applicability::Safe,
                );
            self.report(d);
        }
    }

    fn prefixed(&mut self, run: &mut Parts<'_>) -> Expr {
        let Some(first) = run.next() else {
            // The grammar begins every run with an operand.
            return Expr { kind: ExprKind::Bad, span: Span::point(self.file, 0) };
        };
        let start = self.span(&first);
        let unary =
            |op, operand: Expr| joined(start, operand.span, ExprKind::Unary(op, Box::new(operand)));
        match first.as_rule() {
            Rule::neg => unary(UnaryOp::Neg, self.binary(run, power::NEG)),
            Rule::k_not => unary(UnaryOp::Not, self.binary(run, power::NOT)),
            Rule::reduce => {
                let mut parts = Parts::of(first);
                let word = parts.need(Rule::reducer);
                let op = Reducer::ALL.into_iter().find(|op| op.word() == word.as_str().trim_end());
                let indices = self.indices(parts.need(Rule::indices));
                // The term begins with whatever binds more tightly than a sum; see `power`.
                let body = self.binary(run, power::REDUCE);
                let span = body.span;
                let kind = ExprKind::Reduce {
                    op: op.expect("the grammar and the tree list the same reducers"),
                    op_span: self.span(&word),
                    indices,
                    body: Box::new(body),
                };
                joined(start, span, kind)
            }
            _ => self.postfixed(first, run),
        }
    }

    fn postfixed(&mut self, primary: Pair<'_, Rule>, run: &mut Parts<'_>) -> Expr {
        let mut expr = self.primary(primary);
        while let Some(Rule::args | Rule::access | Rule::field | Rule::as_) = run.peek() {
            if let Some(rule @ Rule::as_) = run.peek() {
                let end = run.pairs.peek().map_or(expr.span, |pair| self.span(pair));
                debug_assert_eq!(rule, Rule::as_);
                let label = self.label(run).expect("the next child is `as`");
                expr = joined(expr.span, end, ExprKind::Labelled(Box::new(expr), label));
                continue;
            }
            let pair = run.next().expect("the child was just looked at");
            let end = self.span(&pair);
            let start = expr.span;
            let base = Box::new(expr);
            let kind = match pair.as_rule() {
                Rule::args => ExprKind::Call(base, self.args(pair)),
                Rule::access => {
                    let (subs, fallback) = self.access(pair);
                    ExprKind::Access { base, subs, fallback }
                }
                _ => ExprKind::Field(base, self.field(pair)),
            };
            expr = joined(start, end, kind);
        }
        expr
    }

    fn field(&mut self, pair: Pair<'_, Rule>) -> FieldName {
        let name = Parts::of(pair).next().expect("a dot is followed by a name or a number");
        if name.as_rule() == Rule::ident {
            return FieldName::Name(self.ident(&name));
        }
        let span = self.span(&name);
        let number = name.as_str().trim_end().parse().unwrap_or_else(|_| {
            self.report(
                Diagnostic::error("E0116", "this number is too large", span)
                    .label("no value has so many parts"),
            );
            0
        });
        FieldName::Index(number, span)
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => self.number(&pair),
            Rule::string => ExprKind::Str(self.string(&pair)),
            Rule::k_true => ExprKind::Bool(true),
            Rule::k_false => ExprKind::Bool(false),
            Rule::k_none => ExprKind::None,
            Rule::k_skip => ExprKind::Skip,
            Rule::ident => ExprKind::Name(self.ident(&pair)),
            Rule::if_ => self.if_(pair),
            Rule::with_ => self.with(pair),
            Rule::tuple => self.tuple(pair),
            Rule::list => {
                ExprKind::List(Parts::of(pair).pairs.map(|part| self.expr(part)).collect())
            }
            _ => ExprKind::Bad,
        };
        Expr { kind, span }
    }

    fn number(&mut self, pair: &Pair<'_, Rule>) -> ExprKind {
        let text = pair.as_str().trim_end().to_string();
        let plain = text.replace('_', "");
        let value = if plain.contains(['.', 'e', 'E']) {
            plain.parse().ok().filter(|x: &f64| x.is_finite()).map(NumberValue::Real)
        } else {
            plain.parse().ok().map(NumberValue::Int)
        };
        let value = value.unwrap_or_else(|| {
            let d = Diagnostic::error("E0116", "this number is too large", self.span(pair)).label(
                if plain.contains(['.', 'e', 'E']) {
                    "beyond the largest 64-bit real; write `inf` for infinity"
                } else {
                    "beyond the largest 64-bit integer; write it with a point for a real number"
                },
            );
            self.report(d);
            NumberValue::Int(0)
        });
        ExprKind::Number(Number { text, value })
    }

    fn tuple(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut elems: Vec<Elem> = Parts::of(pair).pairs.map(|elem| self.elem(elem)).collect();
        match elems.as_slice() {
            [only] if !only.pack => ExprKind::Paren(Box::new(elems.remove(0).value)),
            _ => ExprKind::Tuple(elems),
        }
    }

    fn elem(&mut self, pair: Pair<'_, Rule>) -> Elem {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let value = self.expr(parts.need(Rule::inner));
        let pack = parts.has(Rule::dots);
        self.no_range(&mut parts);
        Elem { value, pack, span }
    }

    /// `in` states the range of an index where the index is introduced, which a read does not do.
    fn no_range(&mut self, parts: &mut Parts<'_>) {
        if let Some(range) = parts.take(Rule::in_range) {
            let d = Diagnostic::error("E0114", "`in` cannot stand in a read", self.span(&range))
                .label("a read uses indices, it does not introduce them")
                .help("state the range on the left side, or in the brackets of the reducer: `sum[k in n]`");
            self.report(d);
        }
    }

    pub(super) fn args(&mut self, pair: Pair<'_, Rule>) -> Vec<Arg> {
        Parts::of(pair).pairs.map(|arg| self.arg(arg)).collect()
    }

    fn arg(&mut self, pair: Pair<'_, Rule>) -> Arg {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let name = parts.take(Rule::arg_name);
        let name = name.map(|name| self.ident(&Parts::of(name).need(Rule::ident)));
        let value = self.expr(parts.need(Rule::inner));
        let pack = parts.has(Rule::dots);
        Arg { name, value, pack, span }
    }

    fn access(&mut self, pair: Pair<'_, Rule>) -> (Vec<Sub>, Option<Fallback>) {
        let mut parts = Parts::of(pair);
        let mut subs = Vec::new();
        while let Some(sub) = parts.take(Rule::sub) {
            subs.push(self.sub(sub));
        }
        let fallback = parts.take(Rule::fallback).map(|fallback| {
            let value = self.expr(Parts::of(fallback).need(Rule::inner));
            match value.kind {
                ExprKind::Skip => Fallback::Skip(value.span),
                _ => Fallback::Value(Box::new(value)),
            }
        });
        (subs, fallback)
    }

    fn sub(&mut self, pair: Pair<'_, Rule>) -> Sub {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let kind = match parts.next() {
            Some(first) if first.as_rule() == Rule::inner => {
                if let Some(to) = parts.take(Rule::slice_to) {
                    SubKind::Slice { from: Some(self.expr(first)), to: self.slice_to(to) }
                } else if parts.peek().is_none() && is_group(&first) {
                    self.group(first)
                } else {
                    let value = self.expr(first);
                    let pack = parts.has(Rule::dots);
                    self.no_range(&mut parts);
                    SubKind::At { value, pack }
                }
            }
            Some(first) if first.as_rule() == Rule::slice_to => {
                SubKind::Slice { from: None, to: self.slice_to(first) }
            }
            _ => SubKind::Dots,
        };
        Sub { kind, span }
    }

    fn slice_to(&mut self, pair: Pair<'_, Rule>) -> Option<Expr> {
        Parts::of(pair).take(Rule::inner).map(|to| self.expr(to))
    }

    /// The tuple of an `inner` node that `is_group`, as subscripts.
    fn group(&mut self, inner: Pair<'_, Rule>) -> SubKind {
        let tuple = Parts::of(inner).need(Rule::tuple);
        SubKind::Group(Parts::of(tuple).pairs.map(|elem| self.group_elem(elem)).collect())
    }

    fn group_elem(&mut self, elem: Pair<'_, Rule>) -> Sub {
        let span = self.span(&elem);
        let mut parts = Parts::of(elem);
        let inner = parts.need(Rule::inner);
        if parts.peek().is_none() && is_group(&inner) {
            return Sub { kind: self.group(inner), span };
        }
        let value = self.expr(inner);
        let pack = parts.has(Rule::dots);
        self.no_range(&mut parts);
        Sub { kind: SubKind::At { value, pack }, span }
    }

    fn is_pattern(&mut self, test: Pair<'_, Rule>) -> IsPattern {
        let pattern = Parts::of(test).next().expect("`is` is followed by what it asks");
        if pattern.as_rule() == Rule::k_none {
            return IsPattern::None(self.span(&pattern));
        }
        let ty = self.ty(pattern);
        if let TypeKind::Choice(words) = &ty.kind
            && words.len() > 1
        {
            let d = Diagnostic::error("E0118", "`is` cannot ask for a choice", ty.span)
                .label("a list of words is no type of values")
                .help("compare with one word: `padding == same`");
            self.report(d);
        }
        IsPattern::Type(ty)
    }

    fn if_(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut parts = Parts::of(pair);
        let mut arms = Vec::new();
        while let Some(condition) = parts.take(Rule::expr) {
            let condition = self.expr(condition);
            let body = self.block(parts.need(Rule::block));
            arms.push(IfArm { condition, body });
        }
        let otherwise = parts.take(Rule::block).map(|block| self.block(block));
        ExprKind::If(If { arms, otherwise })
    }

    fn with(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut parts = Parts::of(pair);
        let mut bindings = Vec::new();
        while let Some(path) = parts.take(Rule::path) {
            let path = self.path(path);
            let value = self.expr(parts.need(Rule::expr));
            bindings.push((path, value));
        }
        let body = self.block(parts.need(Rule::block));
        ExprKind::With(With { bindings, body })
    }

    fn stage(&mut self, pair: Pair<'_, Rule>) -> Stage {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let path = self.path(parts.need(Rule::path));
        let args = parts.take(Rule::args).map(|args| self.args(args));
        let field = parts.take(Rule::stage_field);
        let field = field.map(|field| self.ident(&Parts::of(field).need(Rule::ident)));
        let label = self.label(&mut parts);
        Stage { path, args, field, label, span }
    }
}

/// Whether an `inner` node is nothing but a tuple of several elements, or of one with `..` or `in` after it.
pub(super) fn is_group(inner: &Pair<'_, Rule>) -> bool {
    let mut children = inner.clone().into_inner();
    let (Some(tuple), None) = (children.next(), children.next()) else {
        return false;
    };
    if tuple.as_rule() != Rule::tuple {
        return false;
    }
    let elems: Vec<_> = Parts::of(tuple).pairs.collect();
    match elems.as_slice() {
        [only] => Parts::of(only.clone()).pairs.count() > 1,
        _ => true,
    }
}
