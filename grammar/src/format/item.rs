//! Items and the blocks of `train` and `parallel`.
use super::doc::{Doc, cat, render, text};
use super::expr::{commas, quoted};
use super::{Printer, WIDTH, doc_line};
use crate::ast::*;
use crate::span::Span;

impl<'t> Printer<'t> {
    pub(super) fn file(&mut self, file: &'t File) -> Doc {
        let end = self.text.len() as u32 + 1;
        let lines =
            self.lines(&file.items, end, |i| &i.docs, |i| i.span, |p, _, item| p.item(item));
        self.stack(lines)
    }

    fn item(&mut self, item: &'t Item) -> Doc {
        match &item.kind {
            ItemKind::Use(use_) => {
                let alias =
                    use_.alias.as_ref().map_or(String::new(), |name| format!(" as {}", name.name));
                cat([text("use "), quoted(&use_.path), text(alias)])
            }
            ItemKind::Decl(decl) => self.decl(decl, item.span),
            ItemKind::Train(train) => {
                let bounds = Span { end: train.body.span.start, ..item.span };
                let formals = self.formals(&train.formals, bounds);
                cat([
                    text(format!("train {}", train.name.name)),
                    formals,
                    text(" "),
                    self.train_block(&train.body),
                ])
            }
            ItemKind::Parallel(parallel) => {
                let head = text(format!("parallel {} ", parallel.name.name));
                cat([head, self.parallel_block(&parallel.body)])
            }
            // Texts with errors are not formatted.
            ItemKind::Bad(_) => text(&self.text[item.span.range()]),
        }
    }

    /// The head of a declaration, then its body. Heads of several lines set the brace of the body apart.
    fn decl(&mut self, decl: &'t Decl, span: Span) -> Doc {
        let head = text(format!("{} {}", decl.kind.word(), decl.name.name));
        let after = decl.results.first().map(|result| result.span.start);
        let after = after.or(decl.wheres.first().map(|clause| clause.span.start));
        let body_start = match &decl.body {
            Body::Block(block) => block.span.start,
            Body::Expr(expr) => expr.span.start,
        };
        let bounds = Span { end: after.unwrap_or(body_start), ..span };
        let formals = self.formals(&decl.formals, bounds);
        let mut results = Vec::new();
        for result in &decl.results {
            let name =
                result.name.as_ref().map_or(String::new(), |name| format!("{}: ", name.name));
            results.push(cat([text(name), self.ty(&result.ty)]));
        }
        let signature = |line: Doc| {
            if results.is_empty() {
                return cat([head.clone(), formals.clone()]);
            }
            let arrow = cat([line, text("-> "), commas(results.clone())]);
            cat([head.clone(), formals.clone(), arrow.nest().group()])
        };
        let mut wheres = Vec::new();
        for clause in &decl.wheres {
            wheres.push(self.where_(clause));
        }
        // Items stand at the left margin, so how the head falls on lines can be seen by laying it out by itself.
        let room = WIDTH - " {".len();
        let lines = |doc: &Doc| render(doc, room).lines().count();
        let short = |doc: &Doc| lines(doc) == 1 && render(doc, room).chars().count() <= room;
        let flat = signature(Doc::Sep(" "));
        let mut apart = lines(&flat) > 1;
        // Where only the brace has no room, the results move, so that no brace stands alone below a single line.
        let moved = apart && render(&flat, WIDTH).lines().count() == 1;
        let mut signature = if moved { signature(Doc::Hard) } else { flat };
        if !wheres.is_empty() {
            let inline = cat([signature.clone(), text(" where "), commas(wheres.clone())]);
            if wheres.len() == 1 && short(&inline) {
                signature = inline;
            } else {
                let mut clauses = vec![Doc::Hard, text("where ")];
                let last = wheres.len() - 1;
                let mut list = Vec::new();
                for (i, clause) in wheres.into_iter().enumerate() {
                    list.push(clause);
                    if i < last {
                        list.extend([text(","), Doc::Hard]);
                    }
                }
                clauses.push(Doc::Cat(list).align());
                signature = cat([signature, Doc::Cat(clauses)]);
                apart = true;
            }
        }
        match &decl.body {
            Body::Block(block) => {
                let between = if apart { Doc::Hard } else { text(" ") };
                cat([signature, between, self.block(block)])
            }
            Body::Expr(expr) => {
                let value = match &expr.kind {
                    ExprKind::If(if_) => self.if_(if_, false),
                    _ => self.expr(expr),
                };
                // Where the value takes several lines anyway, the writer says whether it begins on the first.
                let equals = self.text[..expr.span.start as usize].trim_end().len() as u32;
                let kept = self.line_ends(equals, expr.span.start) > 0;
                let value = match (value.breaks(), kept) {
                    (true, true) => cat([Doc::Hard, value]).nest(),
                    (true, false) => cat([text(" "), value]),
                    (false, _) => cat([Doc::Sep(" "), value]).nest().group(),
                };
                cat([signature, text(" ="), value])
            }
        }
    }

    fn where_(&mut self, clause: &'t Where) -> Doc {
        match &clause.kind {
            WhereKind::Define { target, value } => {
                let target = match target {
                    WhereTarget::Name(name) => name.name.clone(),
                    WhereTarget::Pack(name) => format!("{}..", name.name),
                    WhereTarget::Len(name) => format!("len({}..)", name.name),
                };
                cat([text(format!("{target} = ")), self.expr(value)])
            }
            WhereKind::Require { condition, message } => {
                let condition = self.expr(condition);
                match message {
                    Some(message) => cat([condition, text(" "), quoted(message)]),
                    None => condition,
                }
            }
        }
    }

    /// Formals in brackets; with documentation, one on a line.
    fn formals(&mut self, formals: &'t [Formal], bounds: Span) -> Doc {
        if formals.is_empty() {
            return Doc::nil();
        }
        if formals.iter().all(|formal| formal.docs.is_empty()) {
            let end = formals.last().map_or(bounds.end, |last| last.span.end);
            let close = self.text[end as usize..bounds.end as usize].find(')').unwrap_or(0) as u32;
            let bounds = Span { start: formals[0].span.start, end: end + close, ..bounds };
            return self.list("(", formals, ")", bounds, |f| f.span, |p, formal| p.formal(formal));
        }
        let mut parts = Vec::new();
        for formal in formals {
            let start = formal.docs.first().map_or(formal.span.start, |doc| doc.span.start);
            for comment in self.take_before(start) {
                parts.extend([Doc::Hard, text(comment.text.as_str())]);
            }
            for doc in &formal.docs {
                parts.extend([Doc::Hard, doc_line(doc)]);
            }
            parts.extend([Doc::Hard, self.formal(formal), text(",")]);
            if let Some(comment) = self.take_behind(formal.span.end, &[',']) {
                parts.push(Doc::Comment(comment.text.clone()));
            }
        }
        cat([text("("), Doc::Cat(parts).nest(), Doc::Hard, text(")")])
    }

    fn formal(&mut self, formal: &'t Formal) -> Doc {
        let head = cat([text(formal.name.name.as_str()), self.of_type(formal.ty.as_ref())]);
        match &formal.default {
            Some(default) => cat([head, text(" = "), self.expr(default)]),
            None => head,
        }
    }

    fn train_block(&mut self, block: &'t TrainBlock) -> Doc {
        let widths = self.setting_widths(&block.stmts);
        let lines = self.lines(
            &block.stmts,
            block.span.end,
            |s| &s.docs,
            |s| s.span,
            |p, i, stmt| p.train_stmt(stmt, widths[i]),
        );
        self.braces(lines, block.span)
    }

    /// For each statement, the width to which the left sides of its run of settings are filled up. A run ends at an
    /// empty line, a comment, and anything that is no setting.
    fn setting_widths(&self, stmts: &[TrainStmt]) -> Vec<usize> {
        let mut widths = vec![0; stmts.len()];
        let mut from = 0;
        for i in 0..stmts.len() {
            let joined = i > 0
                && matches!(stmts[i - 1].kind, TrainStmtKind::Setting(_))
                && stmts[i].docs.is_empty()
                && self.line_ends(stmts[i - 1].span.end, stmts[i].span.start) == 1
                && !self.own_line_comment(stmts[i - 1].span.end, stmts[i].span.start);
            if !joined {
                from = i;
            }
            if let TrainStmtKind::Setting(setting) = &stmts[i].kind {
                let width = left(setting).chars().count().max(widths[from]);
                widths[from..=i].fill(width);
            }
        }
        widths
    }

    fn own_line_comment(&self, from: u32, to: u32) -> bool {
        self.comments.iter().any(|c| c.own_line && from <= c.span.start && c.span.start < to)
    }

    fn train_stmt(&mut self, stmt: &'t TrainStmt, width: usize) -> Doc {
        match &stmt.kind {
            TrainStmtKind::Step(step) => {
                let times = match &step.times {
                    Some(times) => cat([text(" times "), self.expr(times)]),
                    None => Doc::nil(),
                };
                cat([
                    text(format!("step {}", step.name.name)),
                    times,
                    text(" "),
                    self.train_block(&step.body),
                ])
            }
            TrainStmtKind::Let(let_) => self.let_(let_),
            TrainStmtKind::Setting(setting) => self.setting(setting, width),
            // Texts with errors are not formatted.
            TrainStmtKind::Bad => text(&self.text[stmt.span.range()]),
        }
    }

    fn setting(&mut self, setting: &'t Setting, width: usize) -> Doc {
        let left = left(setting);
        let left = text(format!("{left:width$}"));
        let globs = |list: &[StrLit]| commas(list.iter().map(quoted).collect());
        let value = match &setting.value {
            SettingValue::Expr(value) => cat([text(" = "), self.expr(value)]),
            SettingValue::Call(call) => cat([text(" "), self.call(call)]),
            SettingValue::Globs(list) => cat([text(" "), globs(list)]),
        };
        let on = if setting.on.is_empty() {
            Doc::nil()
        } else {
            cat([text(" on "), globs(&setting.on)])
        };
        cat([left, value, on])
    }

    fn parallel_block(&mut self, block: &'t ParallelBlock) -> Doc {
        let lines = self.lines(
            &block.stmts,
            block.span.end,
            |s| &s.docs,
            |s| s.span,
            |p, _, stmt| p.parallel_stmt(stmt),
        );
        self.braces(lines, block.span)
    }

    fn parallel_stmt(&mut self, stmt: &'t ParallelStmt) -> Doc {
        let paths = |word: &str, paths: &[Path]| {
            let names: Vec<String> = paths.iter().map(Path::text).collect();
            text(if names.is_empty() {
                String::new()
            } else {
                format!(" {word} {}", names.join(", "))
            })
        };
        match &stmt.kind {
            ParallelStmtKind::Data { count, body } => {
                let count = self.expr(count);
                cat([text("data "), count, self.parallel_body(body.as_ref())])
            }
            ParallelStmtKind::Pipeline { count, at, body } => {
                let count = self.expr(count);
                cat([text("pipeline "), count, paths("at", at), self.parallel_body(body.as_ref())])
            }
            ParallelStmtKind::Tensor { count, on } => {
                cat([text("tensor "), self.expr(count), paths("on", on)])
            }
            ParallelStmtKind::Option { name, value } => {
                cat([text(format!("{} = ", name.name)), self.expr(value)])
            }
            // Texts with errors are not formatted.
            ParallelStmtKind::Bad => text(&self.text[stmt.span.range()]),
        }
    }

    fn parallel_body(&mut self, body: Option<&'t ParallelBlock>) -> Doc {
        match body {
            Some(block) => cat([text(" "), self.parallel_block(block)]),
            None => Doc::nil(),
        }
    }
}

/// What stands before the value of a setting.
fn left(setting: &Setting) -> String {
    match &setting.name {
        Some(name) => format!("{} {}", setting.key.word(), name.name),
        None => setting.key.word().to_string(),
    }
}
