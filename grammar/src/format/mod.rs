//! The formatter: one way to write a program.
//!
//! The layout follows from the tree, the width, and a few choices of the writer that carry meaning and are kept: empty
//! lines (at most one), whether a block stands on one line, where the lines of a pipe begin, whether `else` begins a
//! line, and whether `*` and `/` stand tight. Everything else has one form. Comments are not in the tree; they are put
//! where they stood among statements, list elements and stages of a pipe, and before the statement otherwise.
//!
//! **Invariants**, each a property test: the formatted text means the same tree; formatting it again changes nothing; no
//! comment is lost.
mod doc;
mod expr;
mod item;
mod stmt;

use crate::ast::Doc as DocLine;
use crate::diagnostic::Diagnostic;
use crate::lex::Comment;
use crate::parse::{Parsed, parse};
use crate::span::{FileId, Span};
use doc::{Doc, render, text};

/// The longest line the formatter writes where it has a choice, in characters.
pub const WIDTH: usize = 120;

/// Formats a file. A text that cannot be read is not changed: its diagnostics are returned instead.
pub fn format(file: FileId, text: &str) -> Result<String, Vec<Diagnostic>> {
    // What is kept of the writer's choices is read off the text, so a line that had to be broken may look like a choice
    // the next time. Formatting until nothing changes makes the result stable; two rounds are the rule.
    let mut text = once(file, text)?;
    for _ in 0..8 {
        let again = once(file, &text)?;
        if again == text {
            break;
        }
        text = again;
    }
    Ok(text)
}

fn once(file: FileId, text: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(file, text);
    if !parsed.is_ok() {
        return Err(parsed.diagnostics);
    }
    let Parsed { file, comments, .. } = parsed;
    let mut printer = Printer { text, comments: &comments, next: 0 };
    let doc = printer.file(&file);
    let out = render(&doc, WIDTH);
    let out = out.trim_matches('\n');
    Ok(if out.is_empty() { String::new() } else { format!("{out}\n") })
}

/// Makes layouts of the tree, and hands out the comments in order as it passes them.
struct Printer<'t> {
    text: &'t str,
    comments: &'t [Comment],
    /// The first comment that has no place yet.
    next: usize,
}

/// One line of a list of lines: a statement, an item or a comment.
struct Line {
    doc: Doc,
    /// Where it stood, for the empty lines round it.
    span: Span,
    /// Whether it is or has a comment, after which the line must end.
    commented: bool,
}

impl<'t> Printer<'t> {
    /// The comments without a place that begin before `at`.
    fn take_before(&mut self, at: u32) -> &'t [Comment] {
        let from = self.next;
        while self.comments.get(self.next).is_some_and(|c| c.span.start < at) {
            self.next += 1;
        }
        &self.comments[from..self.next]
    }

    /// The comment behind what ends at `end`, on the same line and with nothing but `between` before it.
    fn take_behind(&mut self, end: u32, between: &[char]) -> Option<&'t Comment> {
        let comment = self.comments.get(self.next)?;
        let gap = self.text.get(end as usize..comment.span.start as usize)?;
        let plain = gap.chars().all(|c| c == ' ' || c == '\t' || c == '\r' || between.contains(&c));
        plain.then(|| {
            self.next += 1;
            comment
        })
    }

    /// Whether comments without a place stand between two places.
    fn comments_within(&self, from: u32, to: u32) -> bool {
        let rest = &self.comments[self.next..];
        let first = rest.partition_point(|c| c.span.start < from);
        rest.get(first).is_some_and(|c| c.span.start < to)
    }

    fn line_ends(&self, from: u32, to: u32) -> usize {
        self.text.get(from as usize..to as usize).map_or(0, |gap| gap.matches('\n').count())
    }

    /// Lines for the nodes of a block that ends at `end`, with the comments between them.
    fn lines<T>(
        &mut self,
        nodes: &'t [T],
        end: u32,
        docs: impl Fn(&T) -> &[DocLine],
        span: impl Fn(&T) -> Span,
        mut print: impl FnMut(&mut Printer<'t>, usize, &'t T) -> Doc,
    ) -> Vec<Line> {
        let mut lines = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let node_span = span(node);
            let start = docs(node).first().map_or(node_span.start, |doc| doc.span.start);
            self.comment_lines(start, &mut lines);
            // Comments between the documentation and the node, and those within it that found no place, go before it.
            let before = self.take_before(node_span.start);
            let mut hoisted: Vec<&Comment> = before.iter().collect();
            let body = print(self, i, node);
            hoisted.extend(self.take_before(node_span.end));
            let mut parts = Vec::new();
            let mut commented = !hoisted.is_empty();
            for comment in hoisted {
                parts.extend([text(comment.text.as_str()), Doc::Hard]);
            }
            for doc in docs(node) {
                parts.extend([doc_line(doc), Doc::Hard]);
            }
            parts.push(body);
            if let Some(comment) = self.take_behind(node_span.end, &[';']) {
                parts.push(Doc::Comment(comment.text.clone()));
                commented = true;
            }
            let span = Span { start, ..node_span };
            lines.push(Line { doc: Doc::Cat(parts), span, commented });
        }
        self.comment_lines(end, &mut lines);
        lines
    }

    fn comment_lines(&mut self, before: u32, lines: &mut Vec<Line>) {
        for comment in self.take_before(before) {
            lines.push(Line {
                doc: text(comment.text.as_str()),
                span: comment.span,
                commented: true,
            });
        }
    }

    /// The lines one under the other, with the empty lines that stood between them.
    fn stack(&self, lines: Vec<Line>) -> Doc {
        let mut parts = Vec::new();
        let mut last: Option<Span> = None;
        for line in lines {
            if let Some(last) = last {
                let empty = self.line_ends(last.end, line.span.start) > 1;
                parts.push(if empty { Doc::Blank } else { Doc::Hard });
            }
            last = Some(line.span);
            parts.push(line.doc);
        }
        Doc::Cat(parts)
    }

    /// Elements with commas: as many on a line as fit, or, with comments between them, one on a line.
    fn list<T>(
        &mut self,
        open: &str,
        elements: &'t [T],
        close: &str,
        bounds: Span,
        span: impl Fn(&T) -> Span,
        mut print: impl FnMut(&mut Printer<'t>, &'t T) -> Doc,
    ) -> Doc {
        let mut from = bounds.start;
        let mut commented = false;
        for element in elements {
            commented |= self.comments_within(from, span(element).start);
            from = span(element).end;
        }
        commented |= self.comments_within(from, bounds.end);
        if !commented {
            let last = elements.len().saturating_sub(1);
            let mut pieces = Vec::new();
            for (i, element) in elements.iter().enumerate() {
                let comma = if i < last { "," } else { "" };
                pieces.push(doc::cat([print(self, element), text(comma)]));
            }
            return doc::cat([text(open), Doc::Fill(pieces).align(), text(close)]);
        }
        let mut parts = Vec::new();
        for element in elements {
            for comment in self.take_before(span(element).start) {
                parts.extend([Doc::Hard, text(comment.text.as_str())]);
            }
            parts.extend([Doc::Hard, print(self, element), text(",")]);
            if let Some(comment) = self.take_behind(span(element).end, &[',']) {
                parts.push(Doc::Comment(comment.text.clone()));
            }
        }
        for comment in self.take_before(bounds.end) {
            parts.extend([Doc::Hard, text(comment.text.as_str())]);
        }
        doc::cat([text(open), Doc::Cat(parts).nest(), Doc::Hard, text(close)])
    }
}

fn doc_line(doc: &DocLine) -> Doc {
    text(if doc.text.is_empty() { "///".to_string() } else { format!("/// {}", doc.text) })
}
