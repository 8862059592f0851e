//! Expressions and types.
use super::Printer;
use super::doc::{Doc, cat, text};
use crate::ast::*;
use crate::span::Span;

/// `a, b, c`
pub(super) fn commas(docs: Vec<Doc>) -> Doc {
    let mut parts = Vec::new();
    for (i, doc) in docs.into_iter().enumerate() {
        if i > 0 {
            parts.push(text(", "));
        }
        parts.push(doc);
    }
    Doc::Cat(parts)
}

fn dots(pack: bool) -> Doc {
    text(if pack { ".." } else { "" })
}

/// Operators of one chain: those that group from the left with each other.
fn same_chain(a: BinaryOp, b: BinaryOp) -> bool {
    use BinaryOp::{Add, And, Div, IntDiv, MatMul, Mod, Mul, Or, Sub};
    let level = |op| match op {
        Add | Sub => 1,
        Mul | Div | IntDiv | Mod | MatMul => 2,
        And => 3,
        Or => 4,
        _ => 0,
    };
    level(a) == level(b) && level(a) > 0
}

impl<'t> Printer<'t> {
    pub(super) fn expr(&mut self, expr: &'t Expr) -> Doc {
        match &expr.kind {
            ExprKind::Number(number) => text(number.text.as_str()),
            ExprKind::Str(string) => quoted(string),
            ExprKind::Bool(value) => text(if *value { "true" } else { "false" }),
            ExprKind::None => text("none"),
            ExprKind::Skip => text("skip"),
            ExprKind::Name(name) => text(name.name.as_str()),
            ExprKind::Paren(inner) => cat([text("("), self.expr(inner).align(), text(")")]),
            ExprKind::Tuple(elems) => self.list(
                "(",
                elems,
                ")",
                expr.span,
                |elem| elem.span,
                |p, elem| cat([p.expr(&elem.value), dots(elem.pack)]),
            ),
            ExprKind::List(elems) => {
                self.list("[", elems, "]", expr.span, |elem| elem.span, |p, elem| p.expr(elem))
            }
            ExprKind::Unary(UnaryOp::Neg, operand) => cat([text("-"), self.expr(operand)]),
            ExprKind::Unary(UnaryOp::Not, operand) => cat([text("not "), self.expr(operand)]),
            ExprKind::Binary { .. } => self.binary(expr),
            ExprKind::Is(value, pattern) => {
                let value = self.expr(value);
                let pattern = match pattern {
                    IsPattern::None(_) => text("none"),
                    IsPattern::Type(ty) => self.ty(ty),
                };
                cat([value, text(" is "), pattern])
            }
            ExprKind::Reduce { op, indices, body, .. } => {
                let indices = self.indices(indices);
                let head = cat([text(op.word()), indices]);
                let body = self.expr(body);
                cat([head, cat([Doc::Sep(" "), body]).nest()]).group()
            }
            ExprKind::Call(callee, args) => {
                let callee_doc = self.expr(callee);
                let bounds = Span { start: callee.span.end, ..expr.span };
                cat([callee_doc, self.args(args, bounds)])
            }
            ExprKind::Access { base, subs, fallback } => self.access(base, subs, fallback.as_ref()),
            ExprKind::Field(base, FieldName::Name(name)) => {
                cat([self.expr(base), text("."), text(name.name.as_str())])
            }
            ExprKind::Field(base, FieldName::Index(index, _)) => {
                cat([self.expr(base), text(format!(".{index}"))])
            }
            ExprKind::Labelled(base, name) => cat([self.expr(base), label(Some(name))]),
            ExprKind::If(if_) => self.if_(if_, true),
            ExprKind::With(with) => {
                let mut bindings = Vec::new();
                for (path, value) in &with.bindings {
                    bindings.push(cat([text(path.text()), text(" = "), self.expr(value)]));
                }
                cat([text("with "), commas(bindings), text(" "), self.block(&with.body)])
            }
            ExprKind::Pipe(value, stages) => self.pipe(value, stages),
            // Texts with errors are not formatted.
            ExprKind::Bad => text(&self.text[expr.span.range()]),
        }
    }

    /// A chain of operators of one level, broken after operators.
    fn binary(&mut self, expr: &'t Expr) -> Doc {
        let mut links = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary { op, op_span, lhs, rhs } = &first.kind {
            if links
                .last()
                .is_some_and(|(last, _, _): &(BinaryOp, Span, &Expr)| !same_chain(*last, *op))
            {
                break;
            }
            links.push((*op, *op_span, rhs));
            first = lhs;
        }
        let mut pieces = Vec::new();
        let mut piece = vec![self.expr(first)];
        for (op, op_span, rhs) in links.into_iter().rev() {
            let tight = op == BinaryOp::Pow || self.stands_tight(op, op_span);
            if tight {
                piece.push(text(op.text()));
            } else {
                piece.push(text(format!(" {}", op.text())));
                pieces.push(Doc::Cat(std::mem::take(&mut piece)));
            }
            piece.push(self.expr(rhs));
        }
        pieces.push(Doc::Cat(piece));
        Doc::Fill(pieces).nest()
    }

    /// `2*i + 1`: a product written without blanks says that it is one thing.
    fn stands_tight(&self, op: BinaryOp, span: Span) -> bool {
        let before = self.text[..span.start as usize].chars().next_back();
        let after = self.text[span.end as usize..].chars().next();
        let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        matches!(op, BinaryOp::Mul | BinaryOp::Div) && !blank(before) && !blank(after)
    }

    pub(super) fn args(&mut self, args: &'t [Arg], bounds: Span) -> Doc {
        self.list(
            "(",
            args,
            ")",
            bounds,
            |arg| arg.span,
            |p, arg| {
                let name = match &arg.name {
                    Some(name) => format!("{} = ", name.name),
                    None => String::new(),
                };
                cat([text(name), p.expr(&arg.value), dots(arg.pack)])
            },
        )
    }

    pub(super) fn index(&mut self, index: &'t Index) -> Doc {
        let name = cat([text(index.name.name.as_str()), dots(index.pack)]);
        match &index.range {
            Some(range) => cat([name, text(" in "), self.range(range)]),
            None => name,
        }
    }

    pub(super) fn indices(&mut self, indices: &'t [Index]) -> Doc {
        let docs = indices.iter().map(|index| self.index(index)).collect();
        cat([text("["), commas(docs), text("]")])
    }

    pub(super) fn range(&mut self, range: &'t Range) -> Doc {
        match &range.kind {
            RangeKind::Over { value, pack } => cat([self.expr(value), dots(*pack)]),
            RangeKind::Between { from, to } => self.slice(Some(from), Some(to)),
        }
    }

    /// `a:b` between names and numbers, `a + 1 : b` otherwise.
    fn slice(&mut self, from: Option<&'t Expr>, to: Option<&'t Expr>) -> Doc {
        let plain = |expr: &Expr| matches!(expr.kind, ExprKind::Name(_) | ExprKind::Number(_));
        let tight = from.is_none_or(plain) && to.is_none_or(plain);
        let mut parts = Vec::new();
        if let Some(from) = from {
            parts.push(self.expr(from));
        }
        parts.push(text(match (tight, from, to) {
            (false, Some(_), Some(_)) => " : ",
            (false, Some(_), None) => " :",
            (false, None, Some(_)) => ": ",
            _ => ":",
        }));
        if let Some(to) = to {
            parts.push(self.expr(to));
        }
        Doc::Cat(parts)
    }

    fn access(&mut self, base: &'t Expr, subs: &'t [Sub], fallback: Option<&'t Fallback>) -> Doc {
        let base = self.expr(base);
        let mut pieces: Vec<Doc> = Vec::new();
        for (i, sub) in subs.iter().enumerate() {
            let comma = if i + 1 < subs.len() { "," } else { "" };
            pieces.push(cat([self.sub(sub), text(comma)]));
        }
        match fallback {
            Some(Fallback::Value(value)) => pieces.push(cat([text("else "), self.expr(value)])),
            Some(Fallback::Skip(_)) => pieces.push(text("else skip")),
            None => {}
        }
        cat([base, text("["), Doc::Fill(pieces).align(), text("]")])
    }

    fn sub(&mut self, sub: &'t Sub) -> Doc {
        match &sub.kind {
            SubKind::Dots => text(".."),
            SubKind::Slice { from, to } => self.slice(from.as_ref(), to.as_ref()),
            SubKind::Group(subs) => {
                let docs = subs.iter().map(|sub| self.sub(sub)).collect();
                cat([text("("), commas(docs), text(")")])
            }
            SubKind::At { value, pack } => cat([self.expr(value), dots(*pack)]),
        }
    }

    /// `else` may begin a line; `deeper` says that such lines continue a statement and are indented.
    pub(super) fn if_(&mut self, if_: &'t If, deeper: bool) -> Doc {
        let mut parts = Vec::new();
        let mut last: Option<&Block> = None;
        for arm in &if_.arms {
            if let Some(last) = last {
                parts.push(self.before_else(last, arm.condition.span.start, deeper));
                parts.push(text("else "));
            }
            parts.extend([
                text("if "),
                self.expr(&arm.condition),
                text(" "),
                self.block(&arm.body),
            ]);
            last = Some(&arm.body);
        }
        if let (Some(block), Some(last)) = (&if_.otherwise, last) {
            parts.push(self.before_else(last, block.span.start, deeper));
            parts.extend([text("else "), self.block(block)]);
        }
        Doc::Cat(parts).group()
    }

    fn before_else(&self, last: &Block, next: u32, deeper: bool) -> Doc {
        if !self.on_one_line(last.span) {
            return text(" ");
        }
        let word =
            self.text[last.span.end as usize..next as usize].find("else").unwrap_or(0) as u32;
        let line = if self.line_ends(last.span.end, last.span.end + word) > 0 {
            Doc::Hard
        } else {
            Doc::Sep(" ")
        };
        if deeper { line.nest() } else { line }
    }

    fn pipe(&mut self, value: &'t Expr, stages: &'t [Stage]) -> Doc {
        let mut ends = vec![value.span.end];
        ends.extend(stages.iter().map(|stage| stage.span.end));
        let mut kept = false;
        for (stage, end) in stages.iter().zip(&ends) {
            kept |= self.line_ends(*end, stage.span.start) > 0
                || self.comments_within(*end, stage.span.start);
        }
        let mut parts = vec![self.expr(value)];
        for (stage, end) in stages.iter().zip(&ends) {
            let begins_line = self.line_ends(*end, stage.span.start) > 0;
            let behind = self.take_behind(*end, &[]);
            let own_line = self.take_before(stage.span.start);
            let commented = behind.is_some() || !own_line.is_empty();
            parts.extend(behind.map(|comment| Doc::Comment(comment.text.clone())));
            for comment in own_line {
                parts.push(cat([Doc::Hard, text(comment.text.as_str())]).nest());
            }
            parts.push(match (begins_line || commented, kept) {
                (true, _) => Doc::Hard.nest(),
                (false, true) => Doc::Sep(" ").nest().group(),
                (false, false) => Doc::Sep(" ").nest(),
            });
            parts.push(self.stage(stage).nest());
        }
        let doc = Doc::Cat(parts);
        if kept { doc } else { doc.group() }
    }

    fn stage(&mut self, stage: &'t Stage) -> Doc {
        let mut parts = vec![text(format!("|> {}", stage.path.text()))];
        if let Some(args) = &stage.args {
            let bounds = Span { start: stage.path.span.end, ..stage.span };
            parts.push(self.args(args, bounds));
        }
        if let Some(field) = &stage.field {
            parts.push(text(format!(".{}", field.name)));
        }
        parts.push(label(stage.label.as_ref()));
        Doc::Cat(parts)
    }

    pub(super) fn call(&mut self, call: &'t Call) -> Doc {
        let mut parts = vec![text(call.path.text())];
        if let Some(args) = &call.args {
            let bounds = Span { start: call.path.span.end, ..call.span };
            parts.push(self.args(args, bounds));
        }
        parts.push(label(call.label.as_ref()));
        Doc::Cat(parts)
    }

    pub(super) fn ty(&mut self, ty: &'t Type) -> Doc {
        match &ty.kind {
            TypeKind::Tensor { dtype, shape: None } => text(dtype.word()),
            TypeKind::Tensor { dtype, shape: Some(shape) } => {
                let mut docs = Vec::new();
                for dim in &shape.dims {
                    docs.push(match &dim.kind {
                        DimKind::Dots => text(".."),
                        DimKind::At { value, pack } => cat([self.expr(value), dots(*pack)]),
                    });
                }
                cat([text(dtype.word()), text("["), commas(docs), text("]")])
            }
            TypeKind::Comp { comp, per: None } => text(comp.word()),
            TypeKind::Comp { comp, per: Some(pack) } => {
                text(format!("{} per {}", comp.word(), pack.name))
            }
            TypeKind::Choice(words) => {
                let words: Vec<&str> = words.iter().map(|word| word.name.as_str()).collect();
                text(words.join(" | "))
            }
            TypeKind::Tuple(types) => {
                let docs = types.iter().map(|ty| self.ty(ty)).collect();
                cat([text("("), commas(docs), text(")")])
            }
        }
    }
}

pub(super) fn quoted(string: &StrLit) -> Doc {
    text(format!("\"{}\"", string.text))
}

pub(super) fn label(label: Option<&Label>) -> Doc {
    match label {
        None => Doc::nil(),
        Some(label) if label.quoted => text(format!(" as \"{}\"", label.text)),
        Some(label) => text(format!(" as {}", label.text)),
    }
}
