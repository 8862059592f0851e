//! From a piece that could not be read to a sentence about it.
use super::{Dl, Rule};
use crate::diagnostic::{Applicability, Diagnostic};
use crate::lex::{self, Token, TokenKind};
use crate::lower::Lower;
use crate::span::Span;
use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

/// What kind of piece could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Item,
    Stmt,
    TrainStmt,
    ParallelStmt,
}

impl Lower<'_> {
    /// Reports a piece that could not be read, unless the look over the text has already said why.
    pub fn bad(&mut self, piece: Piece, span: Span) {
        if self.diagnostics.iter().any(|d| span.contains(d.primary.span)) {
            return;
        }
        let probe = match piece {
            Piece::Item => Rule::item_probe,
            Piece::Stmt => Rule::stmt_probe,
            Piece::TrainStmt => Rule::tstmt_probe,
            Piece::ParallelStmt => Rule::pstmt_probe,
        };
        let text = &self.text[span.range()];
            "{:?} {:?}",
            probe,
            Dl::parse(probe, text).err().map(|e| (e.location, e.variant))
        );
        let d = Diagnostic::error("E0110", "bad", span);
        self.report(d);
    }
}

/// The known word that is likely meant, if one is near: at most a third of its letters wrong, missing or swapped.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|k| (distance(word, k), *k)).min_by_key(|(d, _)| *d);
    best.filter(|(d, k)| *d <= k.len().max(3) / 3).map(|(_, k)| k)
}

/// Edit distance with swaps of neighbours, over the characters of two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
