//! Statements and blocks.
use super::Printer;
use super::doc::{Doc, cat, text};
use super::expr::commas;
use crate::ast::*;
use crate::span::Span;

impl<'t> Printer<'t> {
    pub(super) fn on_one_line(&self, span: Span) -> bool {
        self.line_ends(span.start, span.end) == 0
    }

    pub(super) fn block(&mut self, block: &'t Block) -> Doc {
        let lines = self.lines(
            &block.stmts,
            block.span.end,
            |s| &s.docs,
            |s| s.span,
            |p, _, stmt| p.stmt(stmt),
        );
        self.braces(lines, block.span)
    }

    /// Lines in braces: on one line where they were and fit, otherwise each on its own.
    pub(super) fn braces(&mut self, lines: Vec<super::Line>, span: Span) -> Doc {
        if lines.is_empty() {
            return text("{}");
        }
        if !self.on_one_line(span) || lines.iter().any(|line| line.commented) {
            let stack = self.stack(lines);
            return cat([text("{"), cat([Doc::Hard, stack]).nest(), Doc::Hard, text("}")]);
        }
        let mut parts = vec![Doc::Sep(" ")];
        for (i, line) in lines.into_iter().enumerate() {
            if i > 0 {
                parts.push(Doc::Sep("; "));
            }
            parts.push(line.doc);
        }
        cat([text("{"), Doc::Cat(parts).nest(), Doc::Sep(" "), text("}")]).group()
    }

    fn stmt(&mut self, stmt: &'t Stmt) -> Doc {
        match &stmt.kind {
            StmtKind::Let(let_) => self.let_(let_),
            StmtKind::Param(param) => {
                let head = self.typed("param ", &param.name, None, Some(&param.ty));
                cat([head, text(" ~ "), self.call(&param.init)])
            }
            StmtKind::State(state) => {
                let head = self.typed("state ", &state.name, None, state.ty.as_ref());
                cat([head, text(" = "), self.expr(&state.value)])
            }
            StmtKind::Shared(shared) => {
                let head = text(format!("shared {} = ", shared.name.name));
                cat([head, self.call(&shared.value)])
            }
            StmtKind::Total(total) => {
                let each = self.each(total.each.as_ref());
                let head = self.typed("", &total.name, total.head.as_ref(), total.ty.as_ref());
                cat([text("total "), each, head, text(define(total.op)), self.expr(&total.value)])
            }
            StmtKind::Penalty(penalty) => {
                cat([text(format!("penalty {} = ", penalty.name.name)), self.expr(&penalty.value)])
            }
            StmtKind::Yield(yield_) => {
                let head = self.typed("yield ", &yield_.name, yield_.head.as_ref(), None);
                cat([head, text(" = "), self.expr(&yield_.value)])
            }
            StmtKind::Scan(scan) => {
                let range = self.range(&scan.range);
                let carries = self.carries(&scan.carries);
                let head = text(format!("scan {} in ", scan.index.name));
                cat([head, range, carries, text(" "), self.block(&scan.body)])
            }
            StmtKind::For(for_) => {
                let names =
                    if for_.tuple { tuple(&for_.names) } else { text(for_.names[0].name.as_str()) };
                let range = self.range(&for_.range);
                let carries = self.carries(&for_.carries);
                cat([
                    text("for "),
                    names,
                    text(" in "),
                    range,
                    carries,
                    text(" "),
                    self.block(&for_.body),
                ])
            }
            StmtKind::Assign(assign) => {
                let each = self.each(assign.each.as_ref());
                let head = self.head(assign.head.as_ref());
                let op = text(format!(" {} ", assign.op.text()));
                cat([each, text(assign.target.text()), head, op, self.expr(&assign.value)])
            }
            StmtKind::Expr(expr) => match &expr.kind {
                ExprKind::If(if_) => self.if_(if_, false),
                _ => self.expr(expr),
            },
            // Texts with errors are not formatted.
            StmtKind::Bad => text(&self.text[stmt.span.range()]),
        }
    }

    pub(super) fn let_(&mut self, let_: &'t Let) -> Doc {
        let each = self.each(let_.each.as_ref());
        let pattern = match &let_.pattern.kind {
            PatternKind::Name(name) => text(name.name.as_str()),
            PatternKind::Pack(name) => text(format!("{}..", name.name)),
            PatternKind::Indexed(name, head) => {
                cat([text(name.name.as_str()), self.head(Some(head))])
            }
            PatternKind::Tuple(names) => tuple(names),
        };
        let ty = self.of_type(let_.ty.as_ref());
        let value = match &let_.value {
            LetValue::Define(op, value) => cat([text(define(*op)), self.expr(value)]),
            LetValue::Draw(call) => cat([text(" ~ "), self.call(call)]),
        };
        cat([text("let "), each, pattern, ty, value])
    }

    fn typed(
        &mut self,
        word: &str,
        name: &Ident,
        head: Option<&'t Head>,
        ty: Option<&'t Type>,
    ) -> Doc {
        cat([text(format!("{word}{}", name.name)), self.head(head), self.of_type(ty)])
    }

    pub(super) fn of_type(&mut self, ty: Option<&'t Type>) -> Doc {
        match ty {
            Some(ty) => cat([text(": "), self.ty(ty)]),
            None => Doc::nil(),
        }
    }

    fn each(&mut self, each: Option<&'t Each>) -> Doc {
        match each {
            Some(each) => cat([text("each"), self.indices(&each.indices), text(" ")]),
            None => Doc::nil(),
        }
    }

    fn carries(&mut self, carries: &'t [Carry]) -> Doc {
        if carries.is_empty() {
            return Doc::nil();
        }
        let mut docs = Vec::new();
        for carry in carries {
            let head = self.typed("", &carry.name, None, carry.ty.as_ref());
            docs.push(cat([head, text(" = "), self.expr(&carry.value)]));
        }
        let last = docs.pop().unwrap_or_else(Doc::nil);
        let mut pieces: Vec<Doc> = docs.into_iter().map(|doc| cat([doc, text(",")])).collect();
        pieces.push(last);
        cat([text(" carry "), Doc::Fill(pieces).nest()])
    }

    fn head(&mut self, head: Option<&'t Head>) -> Doc {
        let Some(head) = head else {
            return Doc::nil();
        };
        let docs = head.binders.iter().map(|binder| self.binder(binder)).collect();
        cat([text("["), commas(docs), text("]")])
    }

    fn binder(&mut self, binder: &'t Binder) -> Doc {
        match &binder.kind {
            BinderKind::Dots => text(".."),
            BinderKind::All => text(":"),
            BinderKind::Index(index) => self.index(index),
            BinderKind::Group(binders) => {
                let docs = binders.iter().map(|binder| self.binder(binder)).collect();
                cat([text("("), commas(docs), text(")")])
            }
            BinderKind::At { value, pack } => {
                cat([self.expr(value), text(if *pack { ".." } else { "" })])
            }
        }
    }
}

fn define(op: DefineOp) -> &'static str {
    match op {
        DefineOp::Set => " = ",
        DefineOp::Add => " += ",
    }
}

fn tuple(names: &[Ident]) -> Doc {
    let names: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    text(format!("({})", names.join(", ")))
}
