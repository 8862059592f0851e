//! A quick look over the text before it is parsed: comments, and what can only be said of single characters.
//!
//! Three things are better known here than from a failed rule of the grammar: which bracket was never closed, which
//! string has no end, and which character belongs to another language. The look also measures how deep expressions
//! nest, so that neither the parser nor any later stage that walks the tree can run out of stack.
use crate::diagnostic::{Applicability, Diagnostic};
use crate::span::{FileId, Span};

/// Brackets within brackets.
pub const MAX_NESTING: usize = 64;
/// Operators, calls and brackets on the longest path from a statement down to a name, as an estimate from above.
pub const MAX_DEPTH: usize = 600;

/// What one bracket, or one `if` without brackets of its own, counts towards [`MAX_DEPTH`]: statement, block, expression.
const BRACKET_DEPTH: usize = 4;

/// A comment, `// ..` to the end of its line. Documentation lines are not comments but part of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// From `//` to the end of the line, without blanks at its end.
    pub span: Span,
    /// The text of the span.
    pub text: String,
    /// Whether nothing but blanks stands before it on its line.
    pub own_line: bool,
}

/// What the look found.
pub(crate) struct Scan {
    pub comments: Vec<Comment>,
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the text nests deeper than may be parsed.
    pub too_deep: bool,
}

/// A token, as far as error messages and the look need to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Word,
    Number,
    /// A string; `false` if it has no end on its line.
    Str(bool),
    Comment,
    Doc,
    Newline,
    Punct,
    /// A character that the language does not use.
    Foreign,
    End,
}

/// A token and where it stands, in bytes of the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

/// The longest first, so that `<=` is not read as `<`.
const PUNCTUATION: [&str; 35] = [
    "..", "->", "|>", "+=", "-=", "*=", "==", "!=", "<=", ">=", "+", "-", "*", "/", "@", "^", "<",
    ">", "=", "~", ".", ",", ":", ";", "|", "(", ")", "[", "]", "{", "}", "!", "&", "%", "#",
];

/// The token at `at` or after the blanks there.
pub(crate) fn token(text: &str, at: usize) -> Token {
    let rest = &text[at..];
    let blank = |c: char| c == ' ' || c == '\t' || c == '\r' || c == '\u{feff}';
    let start = at + (rest.len() - rest.trim_start_matches(blank).len());
    let rest = &text[start..];
    let line = || rest.find('\n').unwrap_or(rest.len());
    let while_ = |f: fn(char) -> bool| rest.find(|c| !f(c)).unwrap_or(rest.len());
    let (kind, len) = match rest.chars().next() {
        None => (TokenKind::End, 0),
        Some('\n') => (TokenKind::Newline, 1),
        Some('"') => match rest[1..].find(['"', '\n']) {
            Some(end) if rest[1 + end..].starts_with('"') => (TokenKind::Str(true), end + 2),
            _ => (TokenKind::Str(false), line()),
        },
        Some(c) if c.is_ascii_alphabetic() || c == '_' => {
            (TokenKind::Word, while_(|c| c.is_ascii_alphanumeric() || c == '_'))
        }
        Some(c) if c.is_ascii_digit() => (TokenKind::Number, number_len(rest)),
        Some(_) if rest.starts_with("///") && !rest.starts_with("////") => (TokenKind::Doc, line()),
        Some(_) if rest.starts_with("//") => (TokenKind::Comment, line()),
        Some(c) => match PUNCTUATION.iter().find(|p| rest.starts_with(**p)) {
            Some(p) if !matches!(*p, "!" | "&" | "%" | "#") => (TokenKind::Punct, p.len()),
            _ => (TokenKind::Foreign, c.len_utf8()),
        },
    };
    Token { kind, start, end: start + len }
}

fn number_len(rest: &str) -> usize {
    let digits = |s: &str| {
        s.len() - s.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len()
    };
    let mut len = digits(rest);
    let fraction = rest[len..].strip_prefix('.');
    if let Some(fraction) = fraction
        && fraction.starts_with(|c: char| c.is_ascii_digit())
    {
        len += 1 + digits(fraction);
    }
    let signed = rest[len..].strip_prefix(['+', '-']);
    if rest[..len].ends_with(['e', 'E'])
        && let Some(exponent) = signed
        && exponent.starts_with(|c: char| c.is_ascii_digit())
    {
        len += 1 + digits(exponent);
    }
    len
}

/// One open bracket and how deep the expression within it goes.
struct Level {
    open: usize,
    bracket: char,
    /// Operators since the last separator.
    operators: usize,
    /// The deepest bracket since the last separator.
    inner: usize,
    /// The deepest of the elements before the last separator.
    deepest: usize,
}

impl Level {
    fn new(open: usize, bracket: char) -> Level {
        Level { open, bracket, operators: 0, inner: 0, deepest: 0 }
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.operators + self.inner)
    }

    fn separate(&mut self) {
        self.deepest = self.depth();
        self.operators = 0;
        self.inner = 0;
    }
}

struct Scanner<'t> {
    file: FileId,
    text: &'t str,
    /// The first level is the file itself.
    levels: Vec<Level>,
    out: Scan,
}

/// Looks over a text from some place to its end.
pub(crate) fn scan(file: FileId, text: &str, start: usize) -> Scan {
    let mut scanner = Scanner {
        file,
        text,
        levels: vec![Level::new(0, ' ')],
        out: Scan { comments: Vec::new(), diagnostics: Vec::new(), too_deep: false },
    };
    scanner.run(start);
    scanner.out
}

impl Scanner<'_> {
    fn run(&mut self, start: usize) {
        let mut at = start;
        // Whether the last token lets the next line go on with the same expression.
        let mut open_ended = false;
        let mut after_else = false;
        while !self.out.too_deep {
            let token = token(self.text, at);
            let word = &self.text[token.start..token.end];
            match token.kind {
                TokenKind::End => break,
                TokenKind::Newline => {
                    if !open_ended && matches!(self.top().bracket, '{' | ' ') {
                        self.top().separate();
                    }
                }
                TokenKind::Comment => self.comment(token),
                TokenKind::Str(false) => self.open_string(token),
                TokenKind::Foreign => self.foreign(token),
                TokenKind::Punct => self.punctuation(token),
                TokenKind::Word if matches!(word, "if" | "with") => {
                    self.count(if after_else { 1 } else { BRACKET_DEPTH * 2 }, token);
                }
                TokenKind::Word if OPERATOR_WORDS.contains(&word) => self.count(1, token),
                TokenKind::Word | TokenKind::Number | TokenKind::Str(true) | TokenKind::Doc => {}
            }
            if !matches!(token.kind, TokenKind::Newline | TokenKind::Comment) {
                open_ended = token.kind == TokenKind::Punct
                    && !matches!(word, ")" | "]" | "}" | "..")
                    || token.kind == TokenKind::Word && OPERATOR_WORDS.contains(&word);
                after_else = word == "else";
            }
            at = token.end;
        }
        // Of a text that is not going to be parsed, the reason is said and nothing else.
        if self.out.too_deep {
            self.out.diagnostics.drain(..self.out.diagnostics.len() - 1);
            return;
        }
        while self.levels.len() > 1 {
            self.pop_unclosed();
        }
    }

    fn top(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the level of the file is never taken off")
    }

    fn span(&self, token: Token) -> Span {
        Span::new(self.file, token.start, token.end)
    }

    fn comment(&mut self, token: Token) {
        let text = self.text[token.start..token.end].trim_end();
        let line = self.text[..token.start].rfind('\n').map_or(0, |at| at + 1);
        self.out.comments.push(Comment {
            span: Span::new(self.file, token.start, token.start + text.len()),
            text: text.to_string(),
            own_line: self.text[line..token.start].trim().is_empty(),
        });
    }

    /// Counts operators towards the depth, and says so once when they are too many.
    fn count(&mut self, operators: usize, token: Token) {
        self.top().operators += operators;
        if self.top().depth() > MAX_DEPTH && !self.out.too_deep {
            self.out.too_deep = true;
            let d = Diagnostic::error("E0105", "this expression is too long", self.span(token))
                .label("too many operators, calls and brackets up to here")
                .help("give parts of it names with `let`");
            self.out.diagnostics.push(d);
        }
    }

    fn punctuation(&mut self, token: Token) {
        let text = &self.text[token.start..token.end];
        match text {
            "(" | "[" | "{" => {
                self.count(1, token);
                let bracket = text.chars().next().expect("a bracket is one character");
                self.levels.push(Level::new(token.start, bracket));
                if self.levels.len() - 1 > MAX_NESTING && !self.out.too_deep {
                    self.out.too_deep = true;
                    let d =
                        Diagnostic::error("E0105", "brackets nest too deeply", self.span(token))
                            .label(format!("more than {MAX_NESTING} are open here"))
                            .help("give parts of it names with `let`, or make them functions");
                    self.out.diagnostics.push(d);
                }
            }
            ")" | "]" | "}" => self.close(token, text),
            "," | ";" | "|>" => self.top().separate(),
            _ => self.count(1, token),
        }
    }

    fn close(&mut self, token: Token, text: &str) {
        let wanted = match text {
            ")" => '(',
            "]" => '[',
            _ => '{',
        };
        // A round or square bracket never closes one outside its block: what is open within the block is nearer.
        let block = self.levels.iter().rposition(|level| level.bracket == '{');
        let from = if wanted == '{' { 0 } else { block.unwrap_or(0) };
        if !self.levels[from..].iter().any(|level| level.bracket == wanted) {
            self.stray(token, text, wanted);
            return;
        }
        while self.top().bracket != wanted {
            self.pop_unclosed();
        }
        self.pop();
    }

    /// A closing bracket without its open one: it either stands for the right one or is too many.
    fn stray(&mut self, token: Token, text: &str, wanted: char) {
        let span = self.span(token);
        let d = match self.top().bracket {
            open @ ('(' | '[') => {
                let level = self.pop();
                let open_span = Span::new(self.file, level.open, level.open + 1);
                let right = if open == '(' { ")" } else { "]" };
                Diagnostic::error(
                    "E0103",
                    format!("this `{open}` is closed by `{text}`"),
                    open_span,
                )
                .label("opened here")
                .also(span, format!("expected `{right}`"))
                .fix(
                    format!("write `{right}`"),
                    span,
                    right,
                    Applicability::Unsafe,
                )
            }
            _ => Diagnostic::error("E0104", format!("this `{text}` closes nothing"), span)
                .label(format!("there is no open `{wanted}` before it")),
        };
        self.out.diagnostics.push(d);
    }

    fn pop(&mut self) -> Level {
        let level = self.levels.pop().expect("only called while a bracket is open");
        let depth = level.depth() + BRACKET_DEPTH;
        let top = self.top();
        top.inner = top.inner.max(depth);
        level
    }

    fn pop_unclosed(&mut self) {
        let level = self.pop();
        let span = Span::new(self.file, level.open, level.open + 1);
        let d =
            Diagnostic::error("E0103", format!("this `{}` is never closed", level.bracket), span)
                .label("opened here");
        self.out.diagnostics.push(d);
    }

    fn open_string(&mut self, token: Token) {
        let d = Diagnostic::error("E0102", "this string has no end", self.span(token))
            .label("a string ends on the line where it begins, with `\"`");
        self.out.diagnostics.push(d);
    }

    fn foreign(&mut self, token: Token) {
        let rest = &self.text[token.start..];
        let (len, instead) = match FOREIGN.iter().find(|(wrong, _)| rest.starts_with(wrong)) {
            Some((wrong, instead)) => (wrong.len(), Some(*instead)),
            None => (token.end - token.start, None),
        };
        // The second character of `&&` was reported with the first.
        let before = self.text[..token.start].chars().next_back();
        if rest.starts_with('&') && before == Some('&') {
            return;
        }
        let span = Span::new(self.file, token.start, token.start + len);
        let wrong = rest[..len].escape_debug();
        let mut d =
            Diagnostic::error("E0101", format!("`{wrong}` has no meaning in this language"), span);
        if let Some(instead) = instead {
            d = d.fix(format!("write `{instead}`"), span, instead, Applicability::Unsafe);
        }
        self.out.diagnostics.push(d);
    }
}

const OPERATOR_WORDS: [&str; 17] = [
    "and", "or", "not", "div", "mod", "is", "as", "in", "sum", "mean", "prod", "max", "min", "any",
    "all", "argmax", "argmin",
];

/// What people write out of habit or copy from papers, and what it is called here.
const FOREIGN: [(&str, &str); 15] = [
    ("&&", "and"),
    ("&", "and"),
    ("!", "not"),
    ("%", "mod"),
    ("#", "//"),
    ("'", "\""),
    ("×", "*"),
    ("·", "*"),
    ("÷", "/"),
    ("−", "-"),
    ("≤", "<="),
    ("≥", ">="),
    ("≠", "!="),
    ("→", "->"),
    ("…", ".."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(&'static str, usize)> {
        let found = scan(FileId(0), text, 0).diagnostics;
        found.iter().map(|d| (d.code.0, d.primary.span.start as usize)).collect()
    }

    #[test]
    fn the_bracket_that_was_never_closed_is_named() {
        assert_eq!(codes("{ f(x }"), [("E0103", 3)]);
        assert_eq!(codes("{ f(x) "), [("E0103", 0)]);
        assert_eq!(codes("f(x)) }"), [("E0104", 4), ("E0104", 6)]);
        assert_eq!(codes("( \")\" // )\n)"), []);
    }

    #[test]
    fn depth_counts_the_longest_path_and_not_the_length_of_the_file() {
        let line = "let a = b + c * d\n".repeat(2000);
        assert!(!scan(FileId(0), &line, 0).too_deep);
        let pipe = "x |> f(1)\n".repeat(2000);
        assert!(!scan(FileId(0), &pipe, 0).too_deep);
        let sum = "a + ".repeat(MAX_DEPTH + 1);
        assert!(scan(FileId(0), &sum, 0).too_deep);
        let lines = "a +\n".repeat(MAX_DEPTH + 1);
        assert!(scan(FileId(0), &lines, 0).too_deep);
        let brackets = "(".repeat(MAX_NESTING + 1);
        assert!(scan(FileId(0), &brackets, 0).too_deep);
        assert!(scan(FileId(0), &"if ".repeat(100), 0).too_deep);
        assert!(!scan(FileId(0), &"if a { b } else ".repeat(100), 0).too_deep);
    }

    #[test]
    fn comments_know_whether_they_have_a_line_to_themselves() {
        let comments = scan(FileId(0), "a // b  \n  // c\n/// d\n", 0).comments;
        let seen: Vec<_> = comments.iter().map(|c| (c.text.as_str(), c.own_line)).collect();
        assert_eq!(seen, [("// b", false), ("// c", true)]);
    }

    #[test]
    fn numbers_are_whole_tokens() {
        for number in ["1", "1_000", "2.5", "1e-3", "1.5E+10", "7x"] {
            let text = format!("{number}..");
            assert_eq!(token(&text, 0).end, number.len(), "{number}");
        }
    }
}
