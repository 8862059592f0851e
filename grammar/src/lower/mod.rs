//! From the parser's nodes to the syntax tree.
//!
//! What the grammar leaves open on purpose is decided here: precedence, left side or read, which words are settings
//! and types. What is wrong becomes a diagnostic, and the tree goes on with the nearest thing that makes sense or `Bad`.
mod expr;
mod item;
mod stmt;
mod ty;

use crate::ast::*;
use crate::diagnostic::Diagnostic;
use crate::lex::Comment;
use crate::parse::Rule;
use crate::span::{FileId, Span};
use pest::iterators::Pair;

/// What lowering carries along.
pub(crate) struct Lower<'t> {
    pub file: FileId,
    pub text: &'t str,
    /// Where the parser's text begins in it.
    pub base: usize,
    /// In order; for cutting them off the end of spans.
    pub comments: &'t [Comment],
    /// Where the look over the text has found something, in order.
    pub lexical: &'t [Span],
    pub diagnostics: Vec<Diagnostic>,
}

/// The children of a node, without punctuation and keywords, which only the grammar needs.
pub(crate) struct Parts<'i> {
    pairs: std::iter::Peekable<std::vec::IntoIter<Pair<'i, Rule>>>,
}

impl<'i> Parts<'i> {
    fn of(pair: Pair<'i, Rule>) -> Parts<'i> {
        let pairs: Vec<_> = pair.into_inner().filter(|part| !is_scaffold(part.as_rule())).collect();
        Parts { pairs: pairs.into_iter().peekable() }
    }

    fn peek(&mut self) -> Option<Rule> {
        self.pairs.peek().map(Pair::as_rule)
    }

    fn next(&mut self) -> Option<Pair<'i, Rule>> {
        self.pairs.next()
    }

    /// The next child, if it is a `rule`.
    fn take(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        self.pairs.next_if(|pair| pair.as_rule() == rule)
    }

    /// Whether the next child is a `rule`, which is then passed.
    fn has(&mut self, rule: Rule) -> bool {
        self.take(rule).is_some()
    }

    /// The next child, which the grammar says is a `rule`.
    fn need(&mut self, rule: Rule) -> Pair<'i, Rule> {
        self.take(rule).expect("the grammar has this child here")
    }
}

fn is_scaffold(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::comma
            | Rule::colon
            | Rule::equals
            | Rule::tilde
            | Rule::arrow
            | Rule::pipe
            | Rule::r_paren
            | Rule::r_square
            | Rule::r_brace
            | Rule::stmt_end
            | Rule::k_as
            | Rule::k_at
            | Rule::k_carry
            | Rule::k_data
            | Rule::k_each
            | Rule::k_else
            | Rule::k_for
            | Rule::k_if
            | Rule::k_in
            | Rule::k_is
            | Rule::k_let
            | Rule::k_on
            | Rule::k_parallel
            | Rule::k_param
            | Rule::k_penalty
            | Rule::k_per
            | Rule::k_pipeline
            | Rule::k_scan
            | Rule::k_shared
            | Rule::k_state
            | Rule::k_step
            | Rule::k_tensor
            | Rule::k_times
            | Rule::k_total
            | Rule::k_train
            | Rule::k_use
            | Rule::k_where
            | Rule::k_with
            | Rule::k_yield
    )
}

impl Lower<'_> {
    /// Where a node stands. The parser counts blanks and comments after it as part of it; they are cut off.
    pub fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        let (start, mut end) = (self.base + span.start(), self.base + span.end());
        loop {
            end = start + self.text[start..end].trim_end().len();
            let next = self.comments.partition_point(|c| c.span.start < end as u32);
            match next.checked_sub(1).map(|at| &self.comments[at]) {
                Some(last)
                    if last.span.end as usize >= end && last.span.start as usize >= start =>
                {
                    end = last.span.start as usize;
                }
                _ => break,
            }
        }
        Span::new(self.file, start, end)
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn ident(&self, pair: &Pair<'_, Rule>) -> Ident {
        Ident { name: pair.as_str().trim_end().to_string(), span: self.span(pair) }
    }

    fn path(&self, pair: Pair<'_, Rule>) -> Path {
        let span = self.span(&pair);
        let parts = pair.into_inner().map(|part| self.ident(&part)).collect();
        Path { parts, span }
    }

    fn string(&self, pair: &Pair<'_, Rule>) -> StrLit {
        StrLit { text: pair.as_str().trim_matches('"').to_string(), span: self.span(pair) }
    }

    fn docs(&self, parts: &mut Parts<'_>) -> Vec<Doc> {
        let mut docs = Vec::new();
        while let Some(pair) = parts.take(Rule::doc) {
            let text = pair.as_str().trim_start_matches('/');
            let text = text.strip_prefix(' ').unwrap_or(text);
            docs.push(Doc { text: text.trim_end().to_string(), span: self.span(&pair) });
        }
        docs
    }

    fn label(&self, parts: &mut Parts<'_>) -> Option<Label> {
        let name = parts.take(Rule::as_)?;
        let name = Parts::of(name).next().expect("`as` is followed by a name");
        let quoted = name.as_rule() == Rule::string;
        Some(Label {
            text: name.as_str().trim_end().trim_matches('"').to_string(),
            quoted,
            span: self.span(&name),
        })
    }

    fn call(&mut self, pair: Pair<'_, Rule>) -> Call {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let path = self.path(parts.need(Rule::path));
        let args = parts.take(Rule::args).map(|args| self.args(args));
        let label = self.label(&mut parts);
        Call { path, args, label, span }
    }
}
