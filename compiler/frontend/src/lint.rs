//! Warnings about text that is right and likely not meant: names that nothing uses.
//!
//! A name counts as used where its word stands a second time in the declaration, whatever it means there. So a warning is never wrong,
//! though a name that a second one hides may go unnoticed. Names that begin with `_` are left alone, and so are files that are used.

use crate::declarations::{DeclRef, Declarations};
use crate::diagnostics;
use dlc_grammar::ast::{Block, Body, Decl, DeclKind, ExprKind, If, Stmt, StmtKind, Train};
use dlc_grammar::{Diagnostic, FileId, Span};
use std::ops::Range;

/// All warnings about a file's names.
pub(crate) fn unused(decls: &Declarations) -> Vec<Diagnostic> {
    let text = Text::of(&decls.main_text, decls.main_file);
    let mut found = Vec::new();
    for DeclRef { decl, .. } in decls.of_main() {
        found.extend(text.of_decl(decl));
    }
    for train in decls.trains.values().filter(|train| train.name.span.file == text.file) {
        found.extend(text.of_train(train));
    }
    if decls.models().next().is_some() {
        let own = decls.of_main().filter(|decl| decl.decl.kind != DeclKind::Model);
        for DeclRef { decl, .. } in own {
            let inside = range_of(decl);
            let name = &decl.name.name;
            let elsewhere =
                text.words.iter().any(|word| word.text == name && !inside.contains(&word.at));
            if !elsewhere && !name.starts_with('_') {
                found.push(diagnostics::unused_item(&decl.name, decl.kind));
            }
        }
    }
    found
}

/// The bytes of a declaration from its name on.
fn range_of(decl: &Decl) -> Range<usize> {
    let end = match &decl.body {
        Body::Block(block) => block.span.end,
        Body::Expr(expr) => expr.span.end,
    };
    decl.name.span.start as usize..end as usize
}

/// A word of a text.
struct Word<'t> {
    text: &'t str,
    at: usize,
    /// Whether a dot stands before it.
    part: bool,
}

/// The words of a file, without comments and strings.
struct Text<'t> {
    whole: &'t str,
    file: FileId,
    words: Vec<Word<'t>>,
}

impl<'t> Text<'t> {
    fn of(whole: &'t str, file: FileId) -> Self {
        let bytes = whole.as_bytes();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut words = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &whole.as_bytes()[at..];
            at += match rest {
                [b'/', b'/', ..] => rest.iter().take_while(|&&byte| byte != b'\n').count(),
                [b'"', text @ ..] => {
                    2 + text.iter().take_while(|&&byte| byte != b'"' && byte != b'\n').count()
                }
                [first, ..] if is_word(*first) => {
                    let len = rest.iter().take_while(|&&byte| is_word(byte)).count();
                    let part = at > 0 && bytes[at - 1] == b'.' && (at < 2 || bytes[at - 2] != b'.');
                    words.push(Word { text: &whole[at..at + len], at, part });
                    len
                }
                _ => 1,
            };
        }
        Text { whole, file, words }
    }

    fn within(&self, range: &Range<usize>) -> impl Iterator<Item = &Word<'t>> {
        let range = range.clone();
        self.words.iter().filter(move |word| range.contains(&word.at))
    }

    /// Whether a name stands in a range only once, where it is declared.
    fn is_unused(&self, name: &str, range: &Range<usize>) -> bool {
        !name.starts_with('_') && self.within(range).filter(|word| word.text == name).count() == 1
    }

    fn span(&self, word: &Word<'_>) -> Span {
        Span::new(self.file, word.at, word.at + word.text.len())
    }

    fn of_decl(&self, decl: &Decl) -> Vec<Diagnostic> {
        let range = range_of(decl);
        let mut found = Vec::new();
        for formal in &decl.formals {
            if self.is_unused(&formal.name.name, &range) {
                let what = if decl.kind == DeclKind::Model { "input" } else { "argument" };
                found.push(diagnostics::unused_name(what, &formal.name.name, formal.name.span));
            }
        }
        found.extend(self.unused_lets(&range));
        for (word, name) in self.declared(&range) {
            match word.text {
                "param" => {
                    // A parameter of a shared layer may be reached from outside, by its name behind a dot.
                    let reached = self.words.iter().any(|word| word.part && word.text == name.text);
                    if self.is_unused(name.text, &range) && !reached {
                        let span = self.span(name);
                        found.push(diagnostics::unused_name("parameter", name.text, span));
                    }
                }
                _ if !name.text.starts_with('_') => {
                    if let Body::Block(block) = &decl.body
                        && self.is_dead(name, block, &range)
                    {
                        found.push(diagnostics::dead_state(name.text, self.span(name)));
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn of_train(&self, train: &Train) -> Vec<Diagnostic> {
        let range = train.name.span.start as usize..train.body.span.end as usize;
        let mut found = self.unused_lets(&range);
        for formal in &train.formals {
            if self.is_unused(&formal.name.name, &range) {
                found.push(diagnostics::unused_name("input", &formal.name.name, formal.name.span));
            }
        }
        found
    }

    /// `param w:` and `state v`, each as the word and the name.
    fn declared(&self, range: &Range<usize>) -> Vec<(&Word<'t>, &Word<'t>)> {
        let words: Vec<&Word<'t>> = self.within(range).collect();
        let pairs = words.windows(2).filter(|pair| {
            let between = &self.whole[pair[0].at + pair[0].text.len()..pair[1].at];
            let behind = self.whole[pair[1].at + pair[1].text.len()..].trim_start();
            let typed = behind.starts_with(':');
            let plain = behind.starts_with('=') && !behind.starts_with("==");
            let joined = !between.is_empty() && between.trim().is_empty();
            joined
                && match pair[0].text {
                    "param" => typed,
                    "state" => typed || plain,
                    _ => false,
                }
        });
        pairs.map(|pair| (pair[0], pair[1])).collect()
    }

    /// Names that `let` binds and nothing reads.
    fn unused_lets(&self, range: &Range<usize>) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for word in self.within(range).filter(|word| word.text == "let" && !word.part) {
            let behind = word.at + word.text.len();
            let rest = &self.whole[behind..range.end];
            let open = rest.len() - rest.trim_start().len();
            let names = match rest[open..].strip_prefix('(') {
                Some(tuple) => behind..behind + open + 1 + tuple.find(')').unwrap_or(0),
                None => behind..behind + open + 1,
            };
            for name in self.within(&names).filter(|name| name.text != "each") {
                if self.is_unused(name.text, range) {
                    found.push(diagnostics::unused_name("`let`", name.text, self.span(name)));
                }
            }
        }
        found
    }

    /// Whether a state is read nowhere but to compute itself.
    fn is_dead(&self, name: &Word<'_>, block: &Block, range: &Range<usize>) -> bool {
        let mut own = Vec::new();
        assignments(&block.stmts, name.text, &mut own);
        self.within(range)
            .filter(|word| word.text == name.text && word.at != name.at)
            .all(|word| own.iter().any(|span| span.range().contains(&word.at)))
    }
}

/// The assignments to a name, in blocks within each other.
fn assignments(stmts: &[Stmt], name: &str, found: &mut Vec<Span>) {
    for stmt in stmts {
        match &stmt.kind {
            StmtKind::Assign(assign)
                if assign.target.single().is_some_and(|target| target.name == name) =>
            {
                found.push(stmt.span);
            }
            StmtKind::For(repeat) => assignments(&repeat.body.stmts, name, found),
            StmtKind::Scan(scan) => assignments(&scan.body.stmts, name, found),
            StmtKind::Expr(expr) => match &expr.kind {
                ExprKind::If(If { arms, otherwise }) => {
                    let blocks = arms.iter().map(|arm| &arm.body).chain(otherwise);
                    blocks.for_each(|block| assignments(&block.stmts, name, found));
                }
                ExprKind::With(with) => assignments(&with.body.stmts, name, found),
                _ => {}
            },
            _ => {}
        }
    }
}
