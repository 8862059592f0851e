//! The parser: text to syntax tree and diagnostics. It never fails.
//!
//! The text is looked over once ([`crate::lex`]), matched against `dl.pest`, and lowered. The grammar matches every
//! text: an item or a statement that cannot be read matches a `bad_` rule, and is read again by itself with a probe
//! rule to find out how far it was understood and what would have been read there.
mod codes;
mod expected;
mod report;

use crate::ast::File;
use crate::diagnostic::{Diagnostic, sort_and_dedup};
use crate::lex::{self, Comment};
use crate::lower::Lower;
use crate::span::{FileId, Span};
use pest::Parser;
use std::ops::Range;

pub use codes::EXPLANATIONS;
pub(crate) use report::{Piece, nearest};

/// Bytes a file may have. Spans are 32-bit numbers, and no program written or generated comes near.
pub const MAX_FILE_SIZE: usize = 16 << 20;

mod generated {
    #![allow(missing_docs, reason = "the derive makes one public variant per rule of the grammar")]
    /// The parser that is derived from the grammar.
    #[derive(pest_derive::Parser)]
    #[grammar = "dl.pest"]
    pub(crate) struct Dl;
}
pub(crate) use generated::{Dl, Rule};

/// What parsing a file gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The tree, with `Bad` nodes where something was reported.
    pub file: File,
    /// All comments, in order; the tree does not hold them.
    pub comments: Vec<Comment>,
    /// What was wrong, in order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether nothing was wrong.
    pub fn is_ok(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads a file. Every text gives a tree; what could not be read is said in the diagnostics.
///
/// Time and memory are linear in the length of the text but for the repetition that bad pieces cost.
pub fn parse(file: FileId, text: &str) -> Parsed {
    parse_part(file, text, 0..text.len())
}

/// Reads a part of a file that consists of whole items, as if nothing else stood there. Spans are those of the whole file.
pub fn parse_part(file: FileId, text: &str, part: Range<usize>) -> Parsed {
    let text = &text[..part.end];
    let span = Span::new(file, part.start, part.end);
    let nothing = |comments, diagnostics| Parsed {
        file: File { items: Vec::new(), span },
        comments,
        diagnostics,
    };
    if text.len() > MAX_FILE_SIZE {
        let d = Diagnostic::error("E0106", "this file is too large", Span::point(file, 0))
            .label(format!("{} bytes; the most is {MAX_FILE_SIZE}", text.len()));
        return nothing(Vec::new(), vec![d]);
    }
    let scan = lex::scan(file, text, part.start);
    if scan.too_deep {
        return nothing(scan.comments, scan.diagnostics);
    }
    let pairs = match Dl::parse(Rule::file, &text[part.start..]) {
        Ok(pairs) => pairs,
        Err(_) => {
            // Every text matches `file`; only a limit of the parser itself could stop it, below the limits of the look.
            let d = Diagnostic::error(
                "E0105",
                "this file nests too deeply to be read",
                Span::point(file, 0),
            )
            .help("give parts of long expressions names with `let`");
            return nothing(scan.comments, vec![d]);
        }
    };
    let mut lexical: Vec<Span> = scan.diagnostics.iter().map(|d| d.primary.span).collect();
    lexical.sort();
    let mut lower = Lower {
        file,
        text,
        base: part.start,
        comments: &scan.comments,
        lexical: &lexical,
        diagnostics: scan.diagnostics.clone(),
    };
    let mut items = Vec::new();
    for pair in pairs {
        items.extend(lower.items(pair));
    }
    let mut diagnostics = lower.diagnostics;
    sort_and_dedup(&mut diagnostics);
    Parsed { file: File { items, span }, comments: scan.comments, diagnostics }
}
