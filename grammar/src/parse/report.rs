//! From a piece that could not be read to a sentence about it.
use super::expected::{Expected, expected, listed};
use super::{Dl, Rule};
use crate::ast::{DeclKind, Reducer};
use crate::diagnostic::{Applicability, Diagnostic};
use crate::lex::{self, TokenKind};
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

/// The place where reading stopped.
struct Stop<'t> {
    piece: Span,
    /// The first word of the piece and where it stands; empty where the piece begins with something else.
    first: (&'t str, Span),
    /// What stands at the place.
    found: (TokenKind, &'t str, Span),
    expected: Expected,
}

impl Lower<'_> {
    /// Reports a piece that could not be read, unless the look over the text has already said why.
    pub fn bad(&mut self, piece: Piece, span: Span) {
        let next = self.lexical.partition_point(|said| *said < span);
        if self.lexical.get(next).is_some_and(|said| span.contains(*said)) {
            return;
        }
        let stop = self.stop(piece, span);
        let d = self
            .wrong_item(piece, &stop)
            .or_else(|| self.habit(&stop))
            .or_else(|| self.wrong_token(&stop))
            .unwrap_or_else(|| self.unexpected(&stop));
        self.report(d);
    }

    /// Reads the piece again by itself, to see how far that goes.
    fn stop(&self, piece: Piece, span: Span) -> Stop<'_> {
        let probe = match piece {
            Piece::Item => Rule::item_probe,
            Piece::Stmt => Rule::stmt_probe,
            Piece::TrainStmt => Rule::tstmt_probe,
            Piece::ParallelStmt => Rule::pstmt_probe,
        };
        let (at, rules) = match Dl::parse(probe, &self.text[span.range()]) {
            Err(error) => {
                let at = match error.location {
                    InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
                };
                match error.variant {
                    ErrorVariant::ParsingError { positives, .. } => (at, positives),
                    ErrorVariant::CustomError { .. } => (at, Vec::new()),
                }
            }
            // The piece is whole, but something follows it on its line.
            Ok(_) => (span.len(), vec![Rule::probe_end]),
        };
        let word = |token: lex::Token| {
            let found = Span::new(self.file, token.start, token.end);
            (token.kind, &self.text[token.start..token.end], found)
        };
        let first = word(lex::token(self.text, span.start as usize));
        let first = if first.0 == TokenKind::Word { first.1 } else { "" };
        let mut found = word(lex::token(self.text, span.start as usize + at));
        if matches!(found.0, TokenKind::Newline | TokenKind::Comment | TokenKind::End) {
            // What is missing is missing after the last thing on the line.
            let end = self.text[..found.2.start as usize].trim_end().len();
            found.2 = Span::point(self.file, end);
        }
        let first_span =
            Span::new(self.file, span.start as usize, span.start as usize + first.len());
        Stop {
            piece: span,
            first: (first, first_span),
            found,
            expected: expected(&rules, piece != Piece::Item),
        }
    }

    /// An item whose first word begins none.
    fn wrong_item(&self, piece: Piece, stop: &Stop<'_>) -> Option<Diagnostic> {
        if piece != Piece::Item || stop.found.2.start > stop.piece.start {
            return None;
        }
        let (kind, text, span) = stop.found;
        let headline = format!("expected an item, found {}", describe(kind, text));
        let mut words: Vec<&str> = DeclKind::ALL.iter().map(|kind| kind.word()).collect();
        words.extend(["train", "parallel", "use"]);
        let listed: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let mut d = Diagnostic::error("E0111", headline, span)
            .label("an item cannot begin like this")
            .note(format!("items begin with {}", listed.join(", ")));
        let meant = match text {
            "def" | "func" | "function" | "fun" => Some("fn"),
            "class" | "network" | "net" | "module" => Some("model"),
            "import" | "include" => Some("use"),
            _ => nearest(text, &words),
        };
        if let Some(meant) = meant.filter(|_| kind == TokenKind::Word) {
            d = d.fix(format!("did you mean `{meant}`?"), span, meant, Applicability::Unsafe);
        } else if matches!(text, "let" | "param" | "state" | "for" | "scan" | "if" | "yield") {
            d = d.help("statements stand within the braces of an item");
        }
        Some(d)
    }

    /// Statements that begin with a word of another language.
    fn habit(&self, stop: &Stop<'_>) -> Option<Diagnostic> {
        let (word, span) = stop.first;
        let after = lex::token(self.text, span.end as usize);
        let with_blank = Span::new(self.file, span.start as usize, after.start);
        if stop.found.2.start as usize != after.start {
            return None;
        }
        let d = Diagnostic::error("E0110", format!("there is no `{word}` in this language"), span);
        match word {
            "return" => Some(
                d.label("not needed")
                    .note("the last expression of a block is its value; named results are assigned: `y = ..`")
                    .fix("leave it out", with_blank, "", Applicability::Unsafe),
            ),
            "var" | "const" | "val" | "mut" => {
                Some(d.fix("write `let`", span, "let", Applicability::Unsafe))
            }
            "while" | "loop" => Some(
                d.help("`scan t in time carry h = .. { .. }` loops when the program runs, `for i in n { .. }` repeats text"),
            ),
            "elif" | "elseif" | "elsif" => Some(d.fix("write `else if`", span, "else if", Applicability::Safe)),
            _ => None,
        }
    }

    /// A token that gives away what is wrong, whatever was expected.
    fn wrong_token(&self, stop: &Stop<'_>) -> Option<Diagnostic> {
        let (kind, text, span) = stop.found;
        let before = self.text[..span.start as usize].trim_end();
        let at = |len: usize| Span::new(self.file, span.start as usize, span.start as usize + len);
        if kind == TokenKind::Doc {
            let d = Diagnostic::error("E0112", "documentation cannot stand here", span)
                .label("`///` stands on the lines before what it documents");
            return Some(d.fix("write `//` for a comment", at(3), "//", Applicability::Safe));
        }
        if kind == TokenKind::Word && stop.expected.name_only && is_keyword(text) {
            let headline = format!("`{text}` is a word of the language and cannot be a name");
            let d = Diagnostic::error("E0119", headline, span).label("choose another name");
            return Some(d.fix(
                format!("for example `{text}_`"),
                span,
                format!("{text}_"),
                Applicability::Unsafe,
            ));
        }
        if kind == TokenKind::Number && text.contains(|c: char| c.is_ascii_alphabetic() || c == '_')
        {
            return Some(self.malformed_number(text, span));
        }
        let asterisks = text == "*"
            && (before.ends_with('*') || self.text[span.end as usize..].starts_with('*'));
        if asterisks {
            let start = if before.ends_with('*') { before.len() - 1 } else { span.start as usize };
            let both = Span::new(self.file, start, start + 2);
            if &self.text[both.range()] == "**" {
                return Some(Diagnostic::error("E0110", "`**` is no operator", both).fix(
                    "write `^` for a power",
                    both,
                    "^",
                    Applicability::Safe,
                ));
            }
        }
        if text == "=" && stop.expected.after_value {
            return Some(
                Diagnostic::error("E0110", "`=` is no comparison", span)
                    .label("this would assign, which no expression does")
                    .also(stop.first.1, format!("while reading this `{}`", stop.first.0))
                    .fix("write `==` to compare", span, "==", Applicability::Unsafe),
            );
        }
        self.round_reducer(stop, before)
    }

    fn malformed_number(&self, text: &str, span: Span) -> Diagnostic {
        let digits =
            text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let d = Diagnostic::error("E0110", format!("`{text}` is no number"), span);
        let d = d.label("letters cannot follow the digits of a number");
        let place = Span::point(self.file, span.start as usize + digits);
        d.fix("write `*` for a product", place, "*", Applicability::Unsafe)
    }

    /// `sum(k) x[k]`: round brackets where a reducer has square ones.
    fn round_reducer(&self, stop: &Stop<'_>, before: &str) -> Option<Diagnostic> {
        if !stop.expected.after_value || !before.ends_with(')') {
            return None;
        }
        let open = before.rfind('(')?;
        let word = before[..open].trim_end();
        let start = word.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        let reducer = Reducer::ALL.iter().find(|reducer| reducer.word() == &word[start..])?;
        let brackets = Span::new(self.file, open, before.len());
        let indices = &before[open + 1..before.len() - 1];
        let headline = format!("the indices of `{}` stand in square brackets", reducer.word());
        Some(
            Diagnostic::error("E0110", headline, brackets)
                .label("round brackets call a function")
                .also(stop.found.2, "so nothing can follow here")
                .fix(
                    format!("write `{}[{indices}]`", reducer.word()),
                    brackets,
                    format!("[{indices}]"),
                    Applicability::Safe,
                ),
        )
    }

    /// The general case: what was hoped for and what is there.
    fn unexpected(&self, stop: &Stop<'_>) -> Diagnostic {
        let (kind, text, span) = stop.found;
        let expected = listed(&stop.expected.words);
        let headline = format!("expected {expected}, found {}", describe(kind, text));
        let mut d = Diagnostic::error("E0110", headline, span);
        d = d.label(match kind {
            TokenKind::Newline | TokenKind::Comment | TokenKind::End => {
                format!("{expected} is missing here")
            }
            _ => "not expected here".to_string(),
        });
        let (word, word_span) = stop.first;
        if let Some(form) = form(word) {
            if word_span != span {
                d = d.also(word_span, format!("while reading this `{word}`"));
            }
            d = d.note(format!("the form is `{form}`"));
        }
        let can_follow = matches!(kind, TokenKind::Word | TokenKind::Number | TokenKind::Str(_))
            && !is_keyword(text);
        if stop.expected.comma && can_follow {
            let end = self.text[..span.start as usize].trim_end().len();
            let place = Span::point(self.file, end);
            d = d.fix("a comma may be missing", place, ",", Applicability::Unsafe);
        }
        d
    }
}

fn describe(kind: TokenKind, text: &str) -> String {
    match kind {
        TokenKind::Newline | TokenKind::Comment => "the end of the line".to_string(),
        TokenKind::End => "the end of the file".to_string(),
        TokenKind::Str(_) => "a string".to_string(),
        TokenKind::Word if is_keyword(text) => format!("the word `{text}`"),
        _ => format!("`{}`", text.escape_debug()),
    }
}

fn is_keyword(word: &str) -> bool {
    Dl::parse(Rule::keyword, word).is_ok()
}

/// How what begins with a word is written.
fn form(word: &str) -> Option<&'static str> {
    Some(match word {
        "let" => "let h = value` or `let y[i, j] = value` or `let u: f32[n] ~ distribution",
        "param" => "param w: f32[n, m] ~ glorot_uniform",
        "state" => "state m: f32[n] = 0",
        "shared" => "shared words = embedding(65, 128)",
        "total" => "total seen = sum[b] 1",
        "penalty" => "penalty name = value",
        "yield" => "yield y[:, t, :] = h",
        "scan" => "scan t in time carry h = 0 { .. }",
        "for" => "for i in 4 carry h = x { .. }",
        "if" => "if condition { .. } else { .. }",
        "with" => "with training = false { .. }",
        "each" => "each[i, u] y[i + u] += value",
        "step" => "step name times 5 { .. }",
        "use" => "use \"blocks.dl\" as blocks",
        "train" => "train model(label: i32[batch]) { .. }",
        "parallel" => "parallel model { .. }",
        "model" => "model name(image: f32[batch, 28, 28, 1]) -> logits: f32[batch, 10] { .. }",
        "layer" => "layer name(x: f32[.., k], units: int) -> y: f32[.., units] { .. }",
        "fn" => "fn name(x) = value` or `fn name(x: f32[n]) -> y: f32[n] { .. }",
        "loss" => {
            "loss name(y: f32[b, k], target: f32[b, k]) -> e: f32[b] { .. }` or, in `train`, `loss = value"
        }
        "metric" => {
            "metric name(y: f32[b, k], label: i32[b]) -> f32 { .. }` or, in `train`, `metric name(y, label)"
        }
        "optimizer" => {
            "optimizer name(lr: f32 = 0.01) { .. }` or, in `train`, `optimizer = adam(lr = 1e-3)"
        }
        "schedule" => {
            "schedule name(every: f32) -> f32 = value` or, in `train`, `schedule = cosine(warmup = 200)"
        }
        "init" => "init name -> f32[s..] { .. }",
        "freeze" => "freeze \"stem.*\", \"conv_1.*\"",
        "batch" | "epochs" | "steps" | "shards" | "seed" => "batch = 64",
        _ => return None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_several_bytes_may_stand_before_round_brackets() {
        for text in
            ["fn f(k) = é(k) x\n", "fn f(k) = k * \u{feff}(k - 1) dd\n", "fn f(k) = ésum(k) x\n"]
        {
            let parsed = crate::parse(crate::FileId(0), text);
            assert!(!parsed.diagnostics.is_empty(), "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["batch", "epochs", "loss"];
        assert_eq!(nearest("epoch", &known), Some("epochs"));
        assert_eq!(nearest("bacth", &known), Some("batch"));
        assert_eq!(nearest("rate", &known), None);
    }

    #[test]
    fn every_keyword_of_the_grammar_is_known() {
        for word in ["let", "in", "else", "yield", "and"] {
            assert!(is_keyword(word), "{word}");
        }
        for word in ["letter", "loss", "param", "step"] {
            assert!(!is_keyword(word), "{word}");
        }
    }
}
