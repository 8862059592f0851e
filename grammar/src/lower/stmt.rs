//! Statements, left sides and loops.
use super::expr::is_group;
use super::{Lower, Parts};
use crate::ast::*;
use crate::diagnostic::Diagnostic;
use crate::parse::{Piece, Rule};
use crate::span::Span;
use pest::iterators::Pair;

impl Lower<'_> {
    pub(super) fn block(&mut self, pair: Pair<'_, Rule>) -> Block {
        let span = self.span(&pair);
        let mut stmts = Vec::new();
        for stmt in Parts::of(pair).pairs {
            stmts.extend(self.stmt(stmt));
        }
        Block { stmts, span }
    }

    /// A statement; nothing for documentation that documents nothing, which is only reported.
    fn stmt(&mut self, pair: Pair<'_, Rule>) -> Option<Stmt> {
        let mut parts = Parts::of(pair);
        let docs = self.docs(&mut parts);
        let form = parts.next()?;
        let span = self.span(&form);
        let kind = match form.as_rule() {
            Rule::let_ => StmtKind::Let(self.let_(form)),
            Rule::param => StmtKind::Param(self.param(form)),
            Rule::state => StmtKind::State(self.state(form)),
            Rule::shared => StmtKind::Shared(self.shared(form)),
            Rule::total => StmtKind::Total(self.total(form)),
            Rule::penalty => StmtKind::Penalty(self.penalty(form)),
            Rule::yield_ => StmtKind::Yield(self.yield_(form)),
            Rule::scan => StmtKind::Scan(self.scan(form)),
            Rule::for_ => StmtKind::For(self.for_(form)),
            Rule::effect => self.effect(form),
            Rule::stray_doc => {
                self.stray_doc(span);
                return None;
            }
            _ => {
                self.bad(Piece::Stmt, span);
                StmtKind::Bad
            }
        };
        Some(Stmt { docs, kind, span })
    }

    pub(super) fn stray_doc(&mut self, span: Span) {
        let d = Diagnostic::error("E0112", "this documentation documents nothing", span)
            .label("`///` stands on the lines before what it documents")
            .help("write `//` for a comment");
        self.report(d);
    }

    pub(super) fn let_(&mut self, pair: Pair<'_, Rule>) -> Let {
        let mut parts = Parts::of(pair);
        let each = parts.take(Rule::each).map(|each| self.each(each));
        let pattern = self.pattern(parts.need(Rule::pattern));
        let ty = parts.take(Rule::type_).map(|ty| self.ty(ty));
        let value = match parts.take(Rule::define) {
            Some(op) => LetValue::Define(define_op(&op), self.expr(parts.need(Rule::expr))),
            None => LetValue::Draw(self.call(parts.need(Rule::call))),
        };
        Let { each, pattern, ty, value }
    }

    fn each(&mut self, pair: Pair<'_, Rule>) -> Each {
        let span = self.span(&pair);
        let indices = self.indices(Parts::of(pair).need(Rule::indices));
        Each { indices, span }
    }

    pub(super) fn indices(&mut self, pair: Pair<'_, Rule>) -> Vec<Index> {
        Parts::of(pair).pairs.map(|index| self.index(index)).collect()
    }

    fn index(&mut self, pair: Pair<'_, Rule>) -> Index {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let name = self.ident(&parts.need(Rule::ident));
        let pack = parts.has(Rule::dots);
        let range = parts.take(Rule::in_range).map(|range| self.in_range(range));
        Index { name, pack, range, span }
    }

    fn in_range(&mut self, pair: Pair<'_, Rule>) -> Range {
        self.range(Parts::of(pair).need(Rule::range))
    }

    fn range(&mut self, pair: Pair<'_, Rule>) -> Range {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let value = self.expr(parts.need(Rule::expr));
        let kind = match parts.take(Rule::expr) {
            Some(to) => RangeKind::Between { from: value, to: self.expr(to) },
            None => RangeKind::Over { value, pack: parts.has(Rule::dots) },
        };
        Range { kind, span }
    }

    fn pattern(&mut self, pair: Pair<'_, Rule>) -> Pattern {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let kind = match parts.take(Rule::names) {
            Some(names) => PatternKind::Tuple(self.names(names)),
            None => {
                let name = self.ident(&parts.need(Rule::ident));
                match parts.take(Rule::access) {
                    Some(access) => PatternKind::Indexed(name, self.head(access)),
                    None if parts.has(Rule::dots) => PatternKind::Pack(name),
                    None => PatternKind::Name(name),
                }
            }
        };
        Pattern { kind, span }
    }

    fn names(&mut self, pair: Pair<'_, Rule>) -> Vec<Ident> {
        Parts::of(pair).pairs.map(|name| self.ident(&name)).collect()
    }

    /// An access that stands on a left side.
    fn head(&mut self, pair: Pair<'_, Rule>) -> Head {
        let span = self.span(&pair);
        let mut binders = Vec::new();
        for part in Parts::of(pair).pairs {
            if part.as_rule() == Rule::fallback {
                let d = Diagnostic::error(
                    "E0114",
                    "`else` cannot stand on the left side",
                    self.span(&part),
                )
                .label("it gives the value of a read outside the tensor")
                .note("a write outside the tensor is dropped");
                self.report(d);
            } else {
                binders.push(self.binder(part));
            }
        }
        Head { binders, span }
    }

    /// A `sub` or `elem` node as a place of a left side.
    fn binder(&mut self, pair: Pair<'_, Rule>) -> Binder {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let kind = match parts.take(Rule::inner) {
            Some(inner) => self.binder_kind(inner, &mut parts, span),
            None => match parts.take(Rule::slice_to) {
                Some(slice) => self.whole_axis(slice),
                None => BinderKind::Dots,
            },
        };
        Binder { kind, span }
    }

    fn whole_axis(&mut self, slice: Pair<'_, Rule>) -> BinderKind {
        let span = self.span(&slice);
        if Parts::of(slice).peek().is_some() {
            self.part_of_axis(span);
        }
        BinderKind::All
    }

    fn part_of_axis(&mut self, span: Span) {
        let d = Diagnostic::error("E0114", "the left side cannot take part of an axis", span)
            .label("only a whole axis, `:`, can stand here")
            .help("write with an index: `y[i + 2, ..] = ..` after `each[i in n]`");
        self.report(d);
    }

    fn binder_kind(
        &mut self,
        inner: Pair<'_, Rule>,
        parts: &mut Parts<'_>,
        span: Span,
    ) -> BinderKind {
        let mut alone = inner.clone().into_inner();
        let name =
            alone.next().filter(|first| first.as_rule() == Rule::ident && alone.next().is_none());
        if let Some(slice) = parts.take(Rule::slice_to) {
            self.part_of_axis(span);
            drop(slice);
            return BinderKind::All;
        }
        if let Some(name) = name {
            let name = self.ident(&name);
            let pack = parts.has(Rule::dots);
            let range = parts.take(Rule::in_range).map(|range| self.in_range(range));
            return BinderKind::Index(Index { name, pack, range, span });
        }
        if parts.peek().is_none() && is_group(&inner) {
            let tuple = Parts::of(inner).need(Rule::tuple);
            return BinderKind::Group(
                Parts::of(tuple).pairs.map(|elem| self.binder(elem)).collect(),
            );
        }
        let value = self.expr(inner);
        let pack = parts.has(Rule::dots);
        if let Some(range) = parts.take(Rule::in_range) {
            let d =
                Diagnostic::error("E0114", "only a name can run over a range", self.span(&range))
                    .label("the range of what?")
                    .also(value.span, "this is not the name of an index");
            self.report(d);
        }
        BinderKind::At { value, pack }
    }

    fn param(&mut self, pair: Pair<'_, Rule>) -> Param {
        let mut parts = Parts::of(pair);
        Param {
            name: self.ident(&parts.need(Rule::ident)),
            ty: self.ty(parts.need(Rule::type_)),
            init: self.call(parts.need(Rule::call)),
        }
    }

    fn state(&mut self, pair: Pair<'_, Rule>) -> State {
        let mut parts = Parts::of(pair);
        State {
            name: self.ident(&parts.need(Rule::ident)),
            ty: parts.take(Rule::type_).map(|ty| self.ty(ty)),
            value: self.expr(parts.need(Rule::expr)),
        }
    }

    fn shared(&mut self, pair: Pair<'_, Rule>) -> Shared {
        let mut parts = Parts::of(pair);
        Shared {
            name: self.ident(&parts.need(Rule::ident)),
            value: self.call(parts.need(Rule::call)),
        }
    }

    fn total(&mut self, pair: Pair<'_, Rule>) -> Total {
        let mut parts = Parts::of(pair);
        Total {
            each: parts.take(Rule::each).map(|each| self.each(each)),
            name: self.ident(&parts.need(Rule::ident)),
            head: parts.take(Rule::access).map(|access| self.head(access)),
            ty: parts.take(Rule::type_).map(|ty| self.ty(ty)),
            op: define_op(&parts.need(Rule::define)),
            value: self.expr(parts.need(Rule::expr)),
        }
    }

    fn penalty(&mut self, pair: Pair<'_, Rule>) -> Penalty {
        let mut parts = Parts::of(pair);
        Penalty {
            name: self.ident(&parts.need(Rule::ident)),
            value: self.expr(parts.need(Rule::expr)),
        }
    }

    fn yield_(&mut self, pair: Pair<'_, Rule>) -> Yield {
        let mut parts = Parts::of(pair);
        Yield {
            name: self.ident(&parts.need(Rule::ident)),
            head: parts.take(Rule::access).map(|access| self.head(access)),
            value: self.expr(parts.need(Rule::expr)),
        }
    }

    fn scan(&mut self, pair: Pair<'_, Rule>) -> Scan {
        let mut parts = Parts::of(pair);
        Scan {
            index: self.ident(&parts.need(Rule::ident)),
            range: self.range(parts.need(Rule::range)),
            carries: self.carries(&mut parts),
            body: self.block(parts.need(Rule::block)),
        }
    }

    fn for_(&mut self, pair: Pair<'_, Rule>) -> For {
        let mut parts = Parts::of(pair);
        let tuple = parts.take(Rule::names).map(|names| self.names(names));
        For {
            tuple: tuple.is_some(),
            names: tuple.unwrap_or_else(|| vec![self.ident(&parts.need(Rule::ident))]),
            range: self.range(parts.need(Rule::range)),
            carries: self.carries(&mut parts),
            body: self.block(parts.need(Rule::block)),
        }
    }

    fn carries(&mut self, parts: &mut Parts<'_>) -> Vec<Carry> {
        let Some(carries) = parts.take(Rule::carries) else {
            return Vec::new();
        };
        Parts::of(carries).pairs.map(|carry| self.carry(carry)).collect()
    }

    fn carry(&mut self, pair: Pair<'_, Rule>) -> Carry {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        Carry {
            name: self.ident(&parts.need(Rule::ident)),
            ty: parts.take(Rule::type_).map(|ty| self.ty(ty)),
            value: self.expr(parts.need(Rule::expr)),
            span,
        }
    }

    /// A value or an assignment, told apart by the operator.
    fn effect(&mut self, pair: Pair<'_, Rule>) -> StmtKind {
        let mut parts = Parts::of(pair);
        let each = parts.take(Rule::each).map(|each| self.each(each));
        let first = parts.need(Rule::expr);
        let Some(op) = parts.take(Rule::assign_op) else {
            if let Some(each) = each {
                let d = Diagnostic::error("E0113", "`each` needs an assignment", each.span)
                    .label("says for which indices something is written")
                    .help("write to a place after it: `each[i] y[i + 1] += x[i]`");
                self.report(d);
            }
            return StmtKind::Expr(self.expr(first));
        };
        let target = self.target(first, &op);
        let op = match op.as_str().trim_end() {
            "+=" => AssignOp::Add,
            "-=" => AssignOp::Sub,
            "*=" => AssignOp::Mul,
            _ => AssignOp::Set,
        };
        let value = self.expr(parts.need(Rule::expr));
        match target {
            Some((target, head)) => StmtKind::Assign(Assign { each, target, head, op, value }),
            None => StmtKind::Bad,
        }
    }

    /// The left side of an assignment: names with dots, then perhaps indices.
    fn target(
        &mut self,
        pair: Pair<'_, Rule>,
        op: &Pair<'_, Rule>,
    ) -> Option<(Path, Option<Head>)> {
        let whole = self.span(&pair);
        let mut run = Parts::of(pair);
        let mut target = run.take(Rule::ident).map(|name| {
            let name = self.ident(&name);
            Path { span: name.span, parts: vec![name] }
        });
        while let (Some(path), Some(field)) = (&mut target, run.take(Rule::field)) {
            match self.field_name(field) {
                Some(name) => {
                    path.span = path.span.to(name.span);
                    path.parts.push(name);
                }
                None => target = None,
            }
        }
        let head = run.take(Rule::access).map(|access| self.head(access));
        match target {
            Some(path) if run.peek().is_none() => Some((path, head)),
            _ => {
                let op = op.as_str().trim_end();
                let d = Diagnostic::error(
                    "E0113",
                    format!("nothing can be written to the left of this `{op}`"),
                    whole,
                )
                .label("neither a name nor a name with indices")
                .help(
                    "write a name, `y`, a place, `y[i, j]`, or `let` for a new name; `==` compares",
                );
                self.report(d);
                None
            }
        }
    }

    fn field_name(&mut self, pair: Pair<'_, Rule>) -> Option<Ident> {
        Parts::of(pair).take(Rule::ident).map(|name| self.ident(&name))
    }
}

fn define_op(pair: &Pair<'_, Rule>) -> DefineOp {
    match pair.as_str().trim_end() {
        "+=" => DefineOp::Add,
        _ => DefineOp::Set,
    }
}
