//! Tokens of one line of the text form, and a cursor over them.

use super::parse::ParseError;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A word, or an axis like `i3`.
    Ident(String),
    /// `%7`.
    Node(u32),
    /// Digits only.
    Int(u64),
    /// With a point or an exponent.
    Float(f64),
    /// Between quotes, unescaped.
    Str(String),
    /// A sign of one or two characters.
    Sign(&'static str),
    /// What follows `;`, unescaped.
    Comment(String),
    /// After the last token.
    End,
}

const SIGNS: [&str; 17] =
    ["<=", "<", "[", "]", "(", ")", "{", "}", ",", ":", "=", "*", "+", "-", "/", "%", "|"];

/// A place in the tokens of a line.
pub(crate) struct Cursor {
    line: usize,
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Cursor {
    /// Cuts a line into tokens.
    pub(crate) fn new(text: &str, line: usize) -> Result<Cursor, ParseError> {
        let chars: Vec<char> = text.chars().collect();
        let mut lexer = Lexer { chars: &chars, at: 0, line };
        let mut tokens = Vec::new();
        loop {
            while lexer.peek().is_some_and(char::is_whitespace) {
                lexer.at += 1;
            }
            let column = lexer.at + 1;
            let token = lexer.token()?;
            let end = token == Token::End;
            tokens.push((column, token));
            if end {
                return Ok(Cursor { line, tokens, at: 0 });
            }
        }
    }

    /// The token here.
    pub(crate) fn peek(&self) -> Token {
        self.tokens[self.at].1.clone()
    }

    /// Goes on; stays at the end of the line.
    pub(crate) fn next(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn error_at(&self, at: usize, message: &str) -> ParseError {
        ParseError { line: self.line, column: self.tokens[at].0, message: message.to_string() }
    }

    /// An error at the token here.
    pub(crate) fn error(&self, message: &str) -> ParseError {
        self.error_at(self.at, message)
    }

    /// An error at the token just read.
    pub(crate) fn error_before(&self, message: &str) -> ParseError {
        self.error_at(self.at.saturating_sub(1), message)
    }

    /// Whether a word or sign stands here; goes past it if so.
    pub(crate) fn eat(&mut self, text: &str) -> bool {
        let here = match &self.tokens[self.at].1 {
            Token::Ident(word) => word == text,
            Token::Sign(sign) => *sign == text,
            _ => false,
        };
        if here {
            self.next();
        }
        here
    }

    /// Goes past a word or sign that must stand here.
    pub(crate) fn expect(&mut self, text: &str) -> Result<(), ParseError> {
        if self.eat(text) { Ok(()) } else { Err(self.error(&format!("expected `{text}`"))) }
    }

    /// The end of the line.
    pub(crate) fn finish(&self) -> Result<(), ParseError> {
        match self.tokens[self.at].1 {
            Token::End | Token::Comment(_) => Ok(()),
            _ => Err(self.error("expected the end of the line")),
        }
    }

    /// The comment here, or nothing.
    pub(crate) fn comment(&mut self) -> Result<String, ParseError> {
        let Token::Comment(text) = self.peek() else { return Ok(String::new()) };
        self.next();
        Ok(text)
    }

    /// A word.
    pub(crate) fn ident(&mut self) -> Result<String, ParseError> {
        let Token::Ident(word) = self.peek() else { return Err(self.error("expected a word")) };
        self.next();
        Ok(word)
    }

    /// A string.
    pub(crate) fn string(&mut self) -> Result<String, ParseError> {
        let Token::Str(text) = self.peek() else { return Err(self.error("expected a string")) };
        self.next();
        Ok(text)
    }

    /// Whether an axis stands here. Types like `i32` look the same and stand elsewhere.
    pub(crate) fn peek_axis(&self) -> Option<usize> {
        match &self.tokens[self.at].1 {
            Token::Ident(word) => word.strip_prefix('i')?.parse().ok(),
            _ => None,
        }
    }

    /// An axis.
    pub(crate) fn axis(&mut self) -> Result<usize, ParseError> {
        let Some(axis) = self.peek_axis() else { return Err(self.error("expected an axis")) };
        self.next();
        Ok(axis)
    }

    /// A number times a sign of 1 or -1; a minus may also stand here.
    pub(crate) fn signed(&mut self, sign: i64) -> Result<i64, ParseError> {
        let negative = self.eat("-") != (sign < 0);
        let Token::Int(magnitude) = self.peek() else {
            return Err(self.error("expected an integer"));
        };
        let wide = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        let Ok(value) = i64::try_from(wide) else {
            return Err(self.error("the number is too large"));
        };
        self.next();
        Ok(value)
    }

    /// A number without sign that fits 32 bits.
    pub(crate) fn unsigned(&mut self) -> Result<u32, ParseError> {
        let Token::Int(value) = self.peek() else { return Err(self.error("expected an integer")) };
        let Ok(value) = u32::try_from(value) else {
            return Err(self.error("the number is too large"));
        };
        self.next();
        Ok(value)
    }

    /// The sum of two numbers, if it fits.
    pub(crate) fn add(&self, a: i64, b: i64) -> Result<i64, ParseError> {
        a.checked_add(b).ok_or_else(|| self.error_before("the number is too large"))
    }

    /// One of a table by its name.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        what: &str,
        table: &[T],
        name: impl Fn(&T) -> &'static str,
    ) -> Result<T, ParseError> {
        if let Token::Ident(word) = self.peek()
            && let Some(found) = table.iter().find(|entry| name(entry) == word)
        {
            self.next();
            return Ok(*found);
        }
        let names: Vec<&str> = table.iter().map(name).collect();
        Err(self.error(&format!("expected {what}: {}", names.join(", "))))
    }

    /// Items between brackets with commas.
    pub(crate) fn list<T>(
        &mut self,
        item: impl FnMut(&mut Cursor) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        self.bracketed("[", "]", item)
    }

    /// Items between two signs with commas.
    pub(crate) fn bracketed<T>(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Cursor) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        self.expect(open)?;
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(close) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    /// Terms joined by `+` and `-`; `term` gets the sign.
    pub(crate) fn sum(
        &mut self,
        mut term: impl FnMut(&mut Cursor, i64) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        let mut sign = if self.eat("-") { -1 } else { 1 };
        loop {
            term(self, sign)?;
            sign = if self.eat("+") {
                1
            } else if self.eat("-") {
                -1
            } else {
                return Ok(());
            };
        }
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, column: at + 1, message: message.into() }
    }

    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&holds) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(Token::End) };
        if first == ';' {
            self.at += 1;
            let rest: String = self.chars[self.at..].iter().collect();
            self.at = self.chars.len();
            return Ok(Token::Comment(self.unescape(rest.trim(), start)?));
        }
        if first == '"' {
            return self.string();
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '%' {
            self.at += 1;
            let digits = self.take_while(|c| c.is_ascii_digit());
            return digits
                .parse()
                .map(Token::Node)
                .map_err(|_| self.error(start, "expected `%` and a number"));
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            return Ok(Token::Ident(word));
        }
        for sign in SIGNS {
            let length = sign.chars().count();
            let here = self.chars[self.at..].iter().take(length);
            if here.copied().eq(sign.chars()) {
                self.at += length;
                return Ok(Token::Sign(sign));
            }
        }
        Err(self.error(start, format!("unexpected character `{first}`")))
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let mut text = self.take_while(|c| c.is_ascii_digit());
        let mut float = false;
        if self.peek() == Some('.') {
            float = true;
            self.at += 1;
            text.push('.');
            text += &self.take_while(|c| c.is_ascii_digit());
        }
        if self.peek() == Some('e') {
            float = true;
            self.at += 1;
            text.push('e');
            if self.peek() == Some('-') {
                self.at += 1;
                text.push('-');
            }
            text += &self.take_while(|c| c.is_ascii_digit());
        }
        if float {
            return text
                .parse()
                .map(Token::Float)
                .map_err(|_| self.error(start, "expected a number"));
        }
        text.parse().map(Token::Int).map_err(|_| self.error(start, "the number is too large"))
    }

    fn string(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        self.at += 1;
        let mut raw = String::new();
        loop {
            match self.peek() {
                None => return Err(self.error(start, "the string has no end")),
                Some('"') => break,
                Some('\\') => {
                    raw.push('\\');
                    self.at += 1;
                    raw.extend(self.peek());
                    self.at += 1;
                }
                Some(c) => {
                    raw.push(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(Token::Str(self.unescape(&raw, start)?))
    }

    /// Undoes `print::escape`.
    fn unescape(&self, text: &str, start: usize) -> Result<String, ParseError> {
        let bad = || self.error(start, "expected an escape like `\\\\` or `\\u{20}`");
        let mut plain = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                plain.push(c);
                continue;
            }
            match chars.next() {
                Some(c @ ('\\' | '"')) => plain.push(c),
                Some('u') => {
                    let rest = chars.as_str();
                    let inner = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                    let Some((digits, after)) = inner else { return Err(bad()) };
                    let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                    plain.push(code.ok_or_else(bad)?);
                    chars = after.chars();
                }
                _ => return Err(bad()),
            }
        }
        Ok(plain)
    }
}
