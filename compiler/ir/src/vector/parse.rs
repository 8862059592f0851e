//! Reads the text of vector IR back; [`super::print`](super::print_function) shows its form.
//!
//! Lines are independent: `//` starts a comment, empty lines are skipped. Values keep the numbers they have in the
//! text. The parser checks form only; what the text says is checked by [`super::verify()`].

use super::data::*;
use super::ops::Named;
use crate::entity::{EntityRef, IndexVec};

/// A text that is not vector IR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What was expected and found.
    pub message: String,
}

/// Reads a module.
///
/// # Errors
/// The first line that is not in the form that the printer writes.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    let mut parser =
        Parser { lines: Vec::new(), next: 0, module: Module::default(), types: Vec::new() };
    for (i, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        if !code.is_empty() {
            parser.lines.push((i + 1, code));
        }
    }
    while parser.next < parser.lines.len() {
        let line = parser.lines[parser.next].0;
        let function =
            parser.function().map_err(|message| ParseError { line: parser.line(line), message })?;
        parser.module.functions.push(function);
    }
    Ok(parser.module)
}

type Parsed<T> = Result<T, String>;

struct Parser<'t> {
    /// Lines with code, with their numbers.
    lines: Vec<(usize, &'t str)>,
    /// The line to read next.
    next: usize,
    module: Module,
    /// Types of the open function's values, by their numbers.
    types: Vec<Option<Type>>,
}

/// Reads one line from left to right.
struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("expected `{token}` before `{}`", self.rest))
        }
    }

    /// The longest run of characters that are not in `ends`.
    fn word(&mut self, what: &str, ends: &[char]) -> Parsed<&'t str> {
        self.skip_space();
        let end = self.rest.find(|c: char| c.is_whitespace() || ends.contains(&c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(format!("expected {what} before `{}`", self.rest));
        }
        self.rest = rest;
        Ok(word)
    }

    fn token(&mut self, what: &str) -> Parsed<&'t str> {
        self.word(what, &[',', ':', '(', ')', '[', ']', '*'])
    }

    fn val(&mut self) -> Parsed<Val> {
        let word = self.token("a value")?;
        let number = word.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
        // Beyond this no text has a definition for every number.
        let number = number.filter(|&number| number < 1 << 24);
        number
            .map(|n| Val::from_index(n as usize))
            .ok_or(format!("expected a value, found `{word}`"))
    }

    fn vals(&mut self) -> Parsed<Vec<Val>> {
        let mut vals = vec![self.val()?];
        while self.eat(",") {
            vals.push(self.val()?);
        }
        Ok(vals)
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Parsed<T> {
        let word = self.token(what)?;
        word.parse().map_err(|_| format!("expected {what}, found `{word}`"))
    }

    fn ty(&mut self) -> Parsed<Type> {
        let word = self.token("a type")?;
        parse_type(word).ok_or(format!("expected a type, found `{word}`"))
    }

    fn addr(&mut self) -> Parsed<Addr> {
        self.expect("[")?;
        let mut addr = Addr::at(self.val()?);
        while !self.eat("]") {
            let negative = self.eat("-");
            if !negative {
                self.expect("+")?;
            }
            self.skip_space();
            if self.rest.starts_with('v') {
                let index = self.val()?;
                self.expect("*")?;
                addr.index = Some((index, self.number("a scale")?));
            } else {
                let disp: i64 = self.number("a displacement")?;
                let disp = if negative { -disp } else { disp };
                addr.disp =
                    i32::try_from(disp).map_err(|_| format!("{disp} does not fit 32 bits"))?;
            }
        }
        Ok(addr)
    }

    fn mask(&mut self) -> Parsed<Option<Val>> {
        if self.eat("mask ") { self.val().map(Some) } else { Ok(None) }
    }

    fn end(&mut self) -> Parsed<()> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(format!("unexpected `{}`", self.rest)) }
    }
}

fn parse_type(word: &str) -> Option<Type> {
    if word == "int" {
        return Some(Type::Int);
    }
    let (elem, lanes) = word.split_once('x')?;
    let lanes = lanes.parse().ok()?;
    match elem {
        "m32" => Some(Type::Mask { bits: 32, lanes }),
        "m64" => Some(Type::Mask { bits: 64, lanes }),
        elem => Some(Type::Vec { elem: Elem::from_name(elem)?, lanes }),
    }
}

fn named<T: Named>(name: &str, what: &str) -> Parsed<T> {
    T::from_name(name).ok_or(format!("expected {what}, found `{name}`"))
}

impl<'t> Parser<'t> {
    /// The number of the line that was read last, or `first` if none was.
    fn line(&self, first: usize) -> usize {
        let last = self.next.checked_sub(1).and_then(|last| self.lines.get(last));
        last.map_or(first, |line| line.0)
    }

    fn take(&mut self) -> Parsed<Cursor<'t>> {
        let line = self.lines.get(self.next).ok_or("the text ends inside a block")?;
        self.next += 1;
        Ok(Cursor { rest: line.1 })
    }

    fn define(&mut self, val: Val, ty: Type) -> Parsed<()> {
        if val.index() >= self.types.len() {
            self.types.resize(val.index() + 1, None);
        }
        if self.types[val.index()].replace(ty).is_some() {
            return Err(format!("{val} is defined twice"));
        }
        Ok(())
    }

    fn function(&mut self) -> Parsed<Function> {
        self.types.clear();
        let mut cursor = self.take()?;
        let kind = named(cursor.token("a kind of function")?, "`kernel`, `phase` or `segment`")?;
        let name = cursor.word("a name", &['('])?.to_owned();
        cursor.expect("(")?;
        let mut params = Vec::new();
        if !cursor.eat(")") {
            params = cursor.vals()?;
            cursor.expect(")")?;
        }
        cursor.expect("{")?;
        cursor.end()?;
        for &param in &params {
            self.define(param, Type::Int)?;
        }
        let (body, next) = self.block()?;
        if next.is_some() {
            return Err("`next` outside a loop".to_owned());
        }
        let mut types = IndexVec::new();
        for (i, ty) in self.types.iter().enumerate() {
            types.push(ty.ok_or(format!("v{i} has no definition in {name}"))?);
        }
        Ok(Function { name, kind, params, types, body })
    }

    /// Statements up to the closing brace, and the values of a `next` line before it.
    fn block(&mut self) -> Parsed<(Block, Option<Vec<Val>>)> {
        let mut block = Block::default();
        loop {
            let mut cursor = self.take()?;
            if cursor.eat("}") {
                cursor.end()?;
                return Ok((block, None));
            }
            if cursor.eat("next ") {
                let next = cursor.vals()?;
                cursor.end()?;
                let mut close = self.take()?;
                close.expect("}")?;
                close.end()?;
                return Ok((block, Some(next)));
            }
            block.stmts.push(self.stmt(cursor)?);
        }
    }

    fn stmt(&mut self, mut cursor: Cursor<'t>) -> Parsed<Stmt> {
        if cursor.rest.starts_with('v')
            && cursor.rest[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            return self.definition(cursor);
        }
        let word = cursor.token("a statement")?;
        let (op, suffix) = word.split_once('.').unwrap_or((word, ""));
        let stmt = match op {
            "store" => {
                let storage = named(suffix, "a storage type")?;
                let addr = cursor.addr()?;
                cursor.expect(",")?;
                Stmt::Store { storage, addr, value: cursor.val()?, mask: cursor.mask()? }
            }
            "istore" => {
                let width = named(suffix, "a width")?;
                let addr = cursor.addr()?;
                cursor.expect(",")?;
                Stmt::IntStore { width, addr, value: cursor.val()? }
            }
            "loop" => return self.loop_stmt(cursor),
            "if" => {
                let cond = cursor.val()?;
                cursor.expect("{")?;
                cursor.end()?;
                return match self.block()? {
                    (then, None) => Ok(Stmt::If { cond, then }),
                    (_, Some(_)) => Err("`next` outside a loop".to_owned()),
                };
            }
            "call" => {
                let name = cursor.word("a function's name", &['('])?;
                let callee = self.module.functions.iter().find(|entry| entry.1.name == name);
                let func = callee.ok_or(format!("no function {name} stands before its call"))?.0;
                cursor.expect("(")?;
                let mut args = Vec::new();
                if !cursor.eat(")") {
                    args = cursor.vals()?;
                    cursor.expect(")")?;
                }
                Stmt::Call { func, args }
            }
            "barrier" => Stmt::Barrier,
            _ => return Err(format!("expected a statement, found `{word}`")),
        };
        cursor.end()?;
        Ok(stmt)
    }

    fn loop_stmt(&mut self, mut cursor: Cursor<'t>) -> Parsed<Stmt> {
        let iv = cursor.val()?;
        cursor.expect("in")?;
        cursor.expect("0..")?;
        let trip = cursor.val()?;
        self.define(iv, Type::Int)?;
        // The values for the next iteration stand at the end of the body and are filled in there.
        let mut carried = Vec::new();
        if cursor.eat("carry ") {
            loop {
                let param = cursor.val()?;
                cursor.expect(":")?;
                let ty = cursor.ty()?;
                cursor.expect("=")?;
                let init = cursor.val()?;
                cursor.expect("->")?;
                let result = cursor.val()?;
                self.define(param, ty)?;
                self.define(result, ty)?;
                carried.push(Carried { init, param, next: param, result });
                if !cursor.eat(",") {
                    break;
                }
            }
        }
        cursor.expect("{")?;
        cursor.end()?;
        let (body, next) = self.block()?;
        let next = next.unwrap_or_default();
        if next.len() != carried.len() {
            return Err(format!("{} values for {} carried ones", next.len(), carried.len()));
        }
        for (carried, next) in carried.iter_mut().zip(next) {
            carried.next = next;
        }
        Ok(Stmt::Loop(Box::new(Loop { iv, trip, carried, body })))
    }

    fn definition(&mut self, mut cursor: Cursor<'t>) -> Parsed<Stmt> {
        let mut results = Vec::new();
        loop {
            let val = cursor.val()?;
            cursor.expect(":")?;
            let ty = cursor.ty()?;
            self.define(val, ty)?;
            results.push((val, ty));
            if !cursor.eat(",") {
                break;
            }
        }
        cursor.expect("=")?;
        if cursor.eat("transpose ") {
            let inputs = cursor.vals()?;
            cursor.end()?;
            let results = results.into_iter().map(|result| result.0).collect();
            return Ok(Stmt::Transpose { inputs, results });
        }
        let [(val, ty)] = results[..] else {
            return Err("only `transpose` has several results".to_owned());
        };
        let inst = inst(&mut cursor, ty)?;
        cursor.end()?;
        Ok(Stmt::Let(val, inst))
    }
}

/// An operation with a result of type `ty`.
fn inst(cursor: &mut Cursor, ty: Type) -> Parsed<Inst> {
    let word = cursor.token("an operation")?;
    let (op, suffix) = word.split_once('.').unwrap_or((word, ""));
    let elem = match ty {
        Type::Vec { elem, .. } => Ok(elem),
        Type::Int | Type::Mask { .. } => {
            Err(format!("`{op}` has a vector as its result, not {ty}"))
        }
    };
    let inst = match op {
        "iconst" => Inst::IntConst(cursor.number("an integer")?),
        "ictz" => Inst::IntTrailingZeros(cursor.val()?),
        "iload" => Inst::IntLoad(named(suffix, "a width")?, cursor.addr()?),
        "int_from_lane" => Inst::IntFromLane(cursor.val()?),
        "const" => Inst::Const { ty, bits: constant(cursor.token("a constant")?, elem?)? },
        "iota" => Inst::Iota { ty },
        "splat" => Inst::Splat { ty, value: cursor.val()? },
        "splat_lane" => Inst::SplatLane { ty, value: cursor.val()? },
        "load" => {
            let storage = named(suffix, "a storage type")?;
            Inst::Load { ty, storage, addr: cursor.addr()?, mask: cursor.mask()? }
        }
        "broadcast" => {
            Inst::Broadcast { ty, storage: named(suffix, "a storage type")?, addr: cursor.addr()? }
        }
        "gather" => {
            let storage = named(suffix, "a storage type")?;
            let addr = cursor.addr()?;
            cursor.expect(",")?;
            Inst::Gather { ty, storage, addr, index: cursor.val()?, mask: cursor.mask()? }
        }
        "fma" | "fnma" => {
            let [a, b, c] = operands(cursor)?;
            Inst::Fma { a, b, c, negate: op == "fnma" }
        }
        "compare" => {
            let [a, b] = operands(cursor)?;
            Inst::Compare(named(suffix, "a comparison")?, a, b)
        }
        "mask" => {
            let [a, b] = operands(cursor)?;
            Inst::Mask(named(suffix, "an operation of masks")?, a, b)
        }
        "mask_not" => Inst::MaskNot(cursor.val()?),
        "mask_first" => Inst::MaskFirst { ty, count: cursor.val()? },
        "mask_bits" => Inst::MaskBits(cursor.val()?),
        "mask_resize" => Inst::MaskResize { ty, mask: cursor.val()? },
        "select" => {
            let [mask, a, b] = operands(cursor)?;
            Inst::Select { mask, a, b }
        }
        "convert" => Inst::Convert(elem?, cursor.val()?),
        "bitcast" => Inst::Bitcast(elem?, cursor.val()?),
        "scale_pow2" => {
            let [p, n] = operands(cursor)?;
            Inst::ScalePow2 { p, n }
        }
        "fold" => Inst::Fold(named(suffix, "a fold")?, cursor.val()?),
        "lane" => {
            let vector = cursor.val()?;
            cursor.expect(",")?;
            Inst::Lane(vector, cursor.number("a lane")?)
        }
        _ => return simple_inst(cursor, word),
    };
    Ok(inst)
}

/// Operations that are named by a table.
fn simple_inst(cursor: &mut Cursor, op: &str) -> Parsed<Inst> {
    if let Some(op) = IntOp::from_name(op) {
        let [a, b] = operands(cursor)?;
        Ok(Inst::Int(op, a, b))
    } else if let Some(op) = VecUnary::from_name(op) {
        Ok(Inst::Unary(op, cursor.val()?))
    } else if let Some(op) = VecBinary::from_name(op) {
        let [a, b] = operands(cursor)?;
        Ok(Inst::Binary(op, a, b))
    } else if let Some(op) = ShiftOp::from_name(op) {
        let a = cursor.val()?;
        cursor.expect(",")?;
        Ok(Inst::Shift(op, a, cursor.number("a number of bits")?))
    } else {
        Err(format!("no operation is named `{op}`"))
    }
}

fn operands<const N: usize>(cursor: &mut Cursor) -> Parsed<[Val; N]> {
    let vals = cursor.vals()?;
    <[Val; N]>::try_from(vals)
        .map_err(|vals| format!("expected {N} operands, found {}", vals.len()))
}

fn constant(word: &str, elem: Elem) -> Parsed<u64> {
    let bits = if let Some(digits) = word.strip_prefix("0x") {
        u64::from_str_radix(digits, 16).ok()
    } else {
        match elem {
            Elem::F32 => word.parse::<f32>().ok().map(|value| u64::from(value.to_bits())),
            Elem::F64 => word.parse::<f64>().ok().map(f64::to_bits),
            Elem::I32 => word.parse::<i32>().ok().map(|value| u64::from(value as u32)),
            Elem::I64 => word.parse::<i64>().ok().map(|value| value as u64),
        }
    };
    bits.ok_or(format!("expected a constant of {}, found `{word}`", elem.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of every statement and operation, so that a change of the text shows here.
    const EVERYTHING: &str = include_str!("everything.txt");

    #[test]
    fn every_operation_prints_as_it_was_read() {
        let module = parse(EVERYTHING).expect("the text is in the printer's form");
        assert_eq!(module.to_string(), EVERYTHING);
        super::super::verify(&module).expect("the text obeys the laws");
    }

    #[test]
    fn numbers_become_dense_in_the_order_of_definition() {
        let module =
            parse("kernel k(v7) {\n v3: int = iconst 1 // one\n\n v0: int = iadd v3, v7\n}\n");
        assert_eq!(
            module.map_err(|error| error.message),
            Err("v1 has no definition in k".to_owned())
        );
        let module =
            parse("kernel k(v2) {\n v0: int = iconst 1 // one\n\n v1: int = iadd v0, v2\n}\n");
        let text = module.expect("well-formed").to_string();
        assert_eq!(text, "kernel k(v0) {\n  v1: int = iconst 1\n  v2: int = iadd v1, v0\n}\n");
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("kernel k() {\n", 1, "the text ends inside a block"),
            ("kernel k() {\n  v0: int = iconst x\n}\n", 2, "expected an integer, found `x`"),
            ("kernel k() {\n  v0: f32y4 = iota\n}\n", 2, "expected a type, found `f32y4`"),
            ("kernel k() {\n  call f()\n}\n", 2, "no function f stands before its call"),
            ("kernel k(v0) {\n  v0: int = iconst 1\n}\n", 2, "v0 is defined twice"),
            ("kernel k(v0) {\n  v1: int = frob v0\n}\n", 2, "no operation is named `frob`"),
            ("kernel k(v0) {\n  next v0\n}\n", 3, "`next` outside a loop"),
            ("module m\n", 1, "expected `kernel`, `phase` or `segment`, found `module`"),
        ];
        for (text, line, message) in cases {
            let error = parse(text).expect_err("a wrong text");
            assert_eq!((error.line, error.message.as_str()), (line, message), "{text}");
        }
    }
}
