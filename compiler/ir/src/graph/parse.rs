//! Reads the text form of a graph.
//!
//! The grammar is that of [`super::print`]. Nodes may carry any distinct numbers; they are numbered anew by position, so
//! hand-written tests need not count. Empty lines and lines that begin with `;` are skipped. The parser checks names and
//! numbers; the laws are the verifier's.

use super::data::{
    BinaryOp, Combine, Compare, Congruence, Contract, Exchange, Fill, Gather, Graph, Guard,
    InputRole, Literal, Node, NodeId, Op, Order, OrderKind, Origin, Output, OutputKind, Read,
    Stage, UnaryOp,
};
use super::lex::{Cursor, Token};
use super::ops::{elem_from_name, word};
use super::print::class_name;
use crate::affine::Affine;
use crate::entity::EntityRef;
use crate::layout::{Layout, PhysicalAxis};
use dlc_abi::{Among, Dim, ExchangeKind, NumericsClass};
use rustc_hash::FxHashMap;
use std::fmt;

/// Text that is not a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

pub(crate) type Parsed<T> = Result<T, ParseError>;

/// Reads one graph.
///
/// # Errors
/// At the first place that does not fit the grammar, that names an unknown node, or that defines one twice.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut parser =
        Parser { graph: Graph::new(""), numbers: FxHashMap::default(), stage: Stage::Forward };
    let mut state = State::Header;
    let mut n_lines = 0;
    for (at, line) in text.lines().enumerate() {
        n_lines = at + 1;
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with(';') {
            continue;
        }
        let mut cursor = Cursor::new(line, at + 1)?;
        match state {
            State::Header => {
                parser.header(&mut cursor)?;
                state = State::Body;
            }
            State::Body if cursor.eat("}") => state = State::End,
            State::Body => parser.line(&mut cursor)?,
            State::End => return Err(cursor.error("nothing after the closing brace")),
        }
        cursor.finish()?;
    }
    match state {
        State::End => Ok(parser.graph),
        State::Header | State::Body => Err(ParseError {
            line: n_lines + 1,
            column: 1,
            message: "expected a graph up to its closing brace".to_string(),
        }),
    }
}

#[derive(Clone, Copy)]
enum State {
    Header,
    Body,
    End,
}

/// Between whom an exchange takes place: replicas, where it does not say `among stages`.
pub(crate) fn among(c: &mut Cursor) -> Parsed<Among> {
    if !c.eat("among") {
        return Ok(Among::Replicas);
    }
    c.one_of("partners of an exchange", &Among::ALL, |among| among.name())
}

/// `shards 4` or `shards 2 of 4`.
pub(crate) fn shards(c: &mut Cursor) -> Parsed<(u32, Option<u32>)> {
    c.expect("shards")?;
    let shards = c.unsigned()?;
    let whole = if c.eat("of") { Some(c.unsigned()?) } else { None };
    Ok((shards, whole))
}

struct Parser {
    graph: Graph,
    /// Numbers in the text to nodes.
    numbers: FxHashMap<u32, NodeId>,
    stage: Stage,
}

impl Parser {
    fn header(&mut self, c: &mut Cursor) -> Parsed<()> {
        c.expect("graph")?;
        self.graph.name = c.string()?;
        (self.graph.shards, self.graph.window_of) = shards(c)?;
        c.expect("class")?;
        let classes = [NumericsClass::Fused, NumericsClass::Unfused];
        self.graph.class = c.one_of("a numerics class", &classes, |class| class_name(*class))?;
        self.graph.frozen = c.eat("frozen");
        c.expect("{")
    }

    fn line(&mut self, c: &mut Cursor) -> Parsed<()> {
        if c.eat("stage") {
            self.stage = c.one_of("a stage", &Stage::ALL, |stage| stage.name())?;
            return Ok(());
        }
        if c.eat("result") {
            let kind = OutputKind::Result(c.string()?);
            let value = self.known(c)?;
            self.graph.outputs.push(Output { kind, value });
            return Ok(());
        }
        if c.eat("assign") {
            let kind = OutputKind::Assign(self.known(c)?);
            let value = self.known(c)?;
            self.graph.outputs.push(Output { kind, value });
            return Ok(());
        }
        if c.eat("carry") {
            let kind = OutputKind::Carry(self.known(c)?);
            let value = self.known(c)?;
            self.graph.outputs.push(Output { kind, value });
            return Ok(());
        }
        self.node(c)
    }

    fn node(&mut self, c: &mut Cursor) -> Parsed<()> {
        let Token::Node(number) = c.peek() else {
            return Err(c.error("expected a node, `stage`, `result`, `assign`, `carry` or `}`"));
        };
        if self.numbers.contains_key(&number) {
            return Err(c.error(&format!("%{number} is defined twice")));
        }
        c.next();
        c.expect(":")?;
        let elem_word = c.ident()?;
        let Some(elem) = elem_from_name(&elem_word) else {
            return Err(c.error_before("expected an element type"));
        };
        let shape = c.list(dim)?;
        c.expect("=")?;
        let op = self.op(c, shape.len())?;
        let layout = if c.eat("layout") { layout(c)? } else { Layout::row_major(shape.len()) };
        let origin = Origin { name: c.comment()?, span: None };
        let node = Node { op, elem, shape, layout, stage: self.stage, origin };
        let id = self.graph.nodes.push(node);
        self.numbers.insert(number, id);
        Ok(())
    }

    /// A node that has been defined.
    fn known(&self, c: &mut Cursor) -> Parsed<NodeId> {
        let Token::Node(number) = c.peek() else { return Err(c.error("expected a node")) };
        let Some(&id) = self.numbers.get(&number) else {
            return Err(c.error(&format!("%{number} is not defined above")));
        };
        c.next();
        Ok(id)
    }

    fn known_after_comma(&self, c: &mut Cursor) -> Parsed<NodeId> {
        c.expect(",")?;
        self.known(c)
    }

    fn op(&self, c: &mut Cursor, rank: usize) -> Parsed<Op> {
        let name = c.ident()?;
        if let Some(op) = UnaryOp::ALL.into_iter().find(|op| op.info().name == name) {
            return Ok(Op::Unary(op, self.known(c)?));
        }
        if let Some(op) = BinaryOp::ALL.into_iter().find(|op| op.info().name == name) {
            return Ok(Op::Binary(op, self.known(c)?, self.known_after_comma(c)?));
        }
        if let Some(op) = Compare::ALL.into_iter().find(|op| op.info().name == name) {
            return Ok(Op::Compare(op, self.known(c)?, self.known_after_comma(c)?));
        }
        match name.as_str() {
            word::INPUT => {
                let role = c.one_of("a role", &InputRole::ALL, |role| role.name())?;
                Ok(Op::Input { name: c.string()?, role })
            }
            word::CONST => Ok(Op::Const(literal(c)?)),
            word::IOTA => Ok(Op::Iota { axis: c.axis()? }),
            word::EXTENT => Ok(Op::Extent(dim(c)?)),
            word::RANDOM => {
                let (seed, step) = (self.known(c)?, self.known_after_comma(c)?);
                c.expect(",")?;
                c.expect("draw")?;
                let draw = c.unsigned()?;
                let first = if c.eat("from") { Some(self.known(c)?) } else { None };
                Ok(Op::Random { seed, step, draw, first })
            }
            word::SELECT => Ok(Op::Select(
                self.known(c)?,
                self.known_after_comma(c)?,
                self.known_after_comma(c)?,
            )),
            word::FMA => {
                Ok(Op::Fma(self.known(c)?, self.known_after_comma(c)?, self.known_after_comma(c)?))
            }
            word::CONVERT => Ok(Op::Convert(self.known(c)?)),
            word::RESHAPE => Ok(Op::Reshape(self.known(c)?)),
            word::VIEW => {
                let operand = self.known(c)?;
                Ok(Op::View { operand, subs: c.list(affine)?, fill: fill(c)? })
            }
            word::CONTRACT => Ok(Op::Contract(self.contract(c, rank)?)),
            word::GATHER => Ok(Op::Gather(self.gather(c)?)),
            word::ALL_GATHER => self.exchange(c, ExchangeKind::AllGather),
            word::ALL_TO_ALL => self.exchange(c, ExchangeKind::AllToAll),
            word::ALL_REDUCE => self.exchange(c, ExchangeKind::AllReduce),
            word::RECUR => Ok(Op::Recur { init: self.known(c)?, reverse: c.eat("reverse") }),
            _ => Err(c.error_before("unknown operation")),
        }
    }

    fn read(&self, c: &mut Cursor) -> Parsed<Read> {
        let value = self.known(c)?;
        Ok(Read { value, subs: c.list(affine)?, fill: fill(c)? })
    }

    fn contract(&self, c: &mut Cursor, rank: usize) -> Parsed<Contract> {
        let combine = c.one_of("a combine", &Combine::ALL, |combine| combine.name())?;
        let mut axis = 0;
        let space = c.list(|c| {
            if c.axis()? != axis {
                return Err(c.error_before(&format!("expected i{axis}")));
            }
            axis += 1;
            c.expect("<")?;
            dim(c)
        })?;
        let out = if c.eat("into") { c.list(affine)? } else { Affine::identity(rank) };
        let mut reads = vec![self.read(c)?];
        while c.eat("*") {
            reads.push(self.read(c)?);
        }
        let (mut guards, mut congruences) = (Vec::new(), Vec::new());
        if c.eat("where") {
            loop {
                condition(c, &mut guards, &mut congruences)?;
                if !c.eat(",") {
                    break;
                }
            }
        }
        let order = if c.eat("order") { Some(order(c)?) } else { None };
        Ok(Contract { space, out, reads, combine, guards, congruences, order })
    }

    fn exchange(&self, c: &mut Cursor, kind: ExchangeKind) -> Parsed<Op> {
        let operand = self.known(c)?;
        c.expect("parts")?;
        let parts = c.unsigned()?;
        let among = among(c)?;
        let round = if c.eat("round") { c.unsigned()? } else { 0 };
        Ok(Op::Exchange(Exchange { kind, operand, parts, among, round }))
    }

    fn gather(&self, c: &mut Cursor) -> Parsed<Gather> {
        let operand = self.known(c)?;
        let mut selected = None;
        let mut at = 0;
        let subs = c.list(|c| {
            at += 1;
            if !matches!(c.peek(), Token::Node(_)) {
                return affine(c);
            }
            if selected.is_some() {
                return Err(c.error("only one axis is selected by an index"));
            }
            let index = self.known(c)?;
            selected = Some((at - 1, index, c.list(affine)?));
            Ok(Affine::constant(0))
        })?;
        let Some((axis, index, index_subs)) = selected else {
            return Err(c.error_before("expected an index among the subscripts"));
        };
        Ok(Gather { operand, subs, axis, index, index_subs })
    }
}

/// `2*batch + 3`, `batch`, `10`.
pub(crate) fn dim(c: &mut Cursor) -> Parsed<Dim> {
    let mut dim = Dim::fixed(0);
    c.sum(|c, sign| {
        if c.eat("batch") {
            dim.batch_factor = c.add(dim.batch_factor, sign)?;
            return Ok(());
        }
        let value = c.signed(sign)?;
        if c.eat("*") {
            c.expect("batch")?;
            dim.batch_factor = c.add(dim.batch_factor, value)?;
        } else {
            dim.constant = c.add(dim.constant, value)?;
        }
        Ok(())
    })?;
    Ok(dim)
}

/// `2*i0 + i3 - 1`.
pub(crate) fn affine(c: &mut Cursor) -> Parsed<Affine> {
    let (mut terms, mut constant) = (Vec::<(usize, i64)>::new(), 0i64);
    c.sum(|c, sign| {
        let coefficient = if c.peek_axis().is_some() {
            sign
        } else {
            let value = c.signed(sign)?;
            if !c.eat("*") {
                constant = c.add(constant, value)?;
                return Ok(());
            }
            value
        };
        let axis = c.axis()?;
        if terms.iter().any(|term| term.0 == axis) {
            return Err(c.error_before("an axis occurs twice"));
        }
        terms.push((axis, coefficient));
        Ok(())
    })?;
    Ok(Affine::new(terms, constant))
}

pub(crate) fn literal(c: &mut Cursor) -> Parsed<Literal> {
    for (text, value) in [("true", true), ("false", false)] {
        if c.eat(text) {
            return Ok(Literal::Bool(value));
        }
    }
    let negative = c.eat("-");
    for (text, value) in [("inf", f64::INFINITY), ("NaN", f64::NAN)] {
        if c.eat(text) {
            return Ok(Literal::Float(if negative { -value } else { value }));
        }
    }
    if let Token::Float(value) = c.peek() {
        c.next();
        return Ok(Literal::Float(if negative { -value } else { value }));
    }
    Ok(Literal::Int(c.signed(if negative { -1 } else { 1 })?))
}

pub(crate) fn fill(c: &mut Cursor) -> Parsed<Fill> {
    if c.eat("skip") {
        Ok(Fill::Skip)
    } else if c.eat("else") {
        Ok(Fill::Value(literal(c)?))
    } else {
        Ok(Fill::InRange)
    }
}

/// `0 <= i0 - 1 < 10` or `i0 + i1 mod 2 = 0`. A leading `0 <=` marks a guard.
pub(crate) fn condition(
    c: &mut Cursor,
    guards: &mut Vec<Guard>,
    congruences: &mut Vec<Congruence>,
) -> Parsed<()> {
    let expr = affine(c)?;
    if c.eat("<=") {
        if expr.as_constant() != Some(0) {
            return Err(c.error_before("expected `0 <=`"));
        }
        let expr = affine(c)?;
        c.expect("<")?;
        guards.push(Guard { expr, extent: dim(c)? });
        return Ok(());
    }
    c.expect("mod")?;
    let modulus = c.signed(1)?;
    c.expect("=")?;
    if c.signed(1)? != 0 {
        return Err(c.error_before("expected `= 0`"));
    }
    congruences.push(Congruence { expr, modulus });
    Ok(())
}

pub(crate) fn order(c: &mut Cursor) -> Parsed<Order> {
    let kinds = [OrderKind::Chain, OrderKind::Lanes];
    let kind = c.one_of("an order", &kinds, |kind| match kind {
        OrderKind::Chain => "chain",
        OrderKind::Lanes => "lanes",
    })?;
    c.expect("(")?;
    c.expect("run")?;
    let run_cut = c.signed(1)?;
    c.expect(",")?;
    c.expect("runs")?;
    let runs_per_chunk = c.signed(1)?;
    let mut shard_axis = None;
    if c.eat(",") {
        c.expect("shard")?;
        shard_axis = Some(c.axis()?);
    }
    c.expect(")")?;
    Ok(Order { kind, shard_axis, run_cut, runs_per_chunk })
}

pub(crate) fn layout(c: &mut Cursor) -> Parsed<Layout> {
    let axes = c.bracketed("(", ")", |c| {
        let axis = c.axis()?;
        if c.eat("/") {
            Ok(PhysicalAxis::Block(axis, c.signed(1)?))
        } else if c.eat("mod") {
            Ok(PhysicalAxis::Within(axis, c.signed(1)?))
        } else {
            Ok(PhysicalAxis::Whole(axis))
        }
    })?;
    Ok(Layout { axes })
}

impl Graph {
    /// The graph without the places in the source, which the text form does not hold.
    pub fn without_spans(mut self) -> Graph {
        for node in self.nodes.values_mut() {
            node.origin.span = None;
        }
        self
    }

    /// The node at a position; for tests and tools that read numbers.
    pub fn node_at(&self, position: usize) -> Option<NodeId> {
        (position < self.nodes.len()).then(|| NodeId::from_index(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: &str = r#"graph "all \"of\" it" shards 8 class unfused {
stage forward
  %0: f32[batch, 2*batch + 3, 4] = input data "x"  ; input\u{20}
  %1: i32[] = input data "seed"
  %2: i32[batch] = input data "label"
  %3: f32[4, 70] = input param "w" layout (i1 / 64, i0, i1 mod 64)  ; dense \"1\".w
  %4: f32[] = const -1e-10
  %5: f64[3] = const -inf
  %6: i64[3] = const -9223372036854775808
  %7: bool[] = const true
  %8: i32[batch, 4] = iota i1
  %9: f32[] = extent batch - 1
  %10: f32[batch] = random %1, %1, draw 7
  %11: f32[batch] = sigmoid %10
  %12: f32[batch] = max %10, %11
  %13: bool[batch] = lt %10, %11
  %14: f32[batch] = select %13, %10, %11
  %15: f32[batch] = fma %10, %11, %12
  %16: f32[batch] = convert %13
  %17: f32[5] = view %4[]
  %18: f32[batch, 6] = view %0[i0, 0, -2*i1 + 5] else -0.0
  %19: f32[2*batch, 2] = reshape %18
  %20: f32[batch, 70] = gather %3[%2[i0], i1]
  %21: f32[7, batch, 70] = recur %20
  %22: f32[7, batch, 70] = recur %20 reverse
stage update
  %23: f32[batch, 4] = contract argmax [i0 < batch, i1 < 4, i2 < 3] %0[i0, i1 + i2 - 1, i1] skip
  %24: f32[8] = contract sum [i0 < 3, i1 < 2] into [2*i0 + i1] %5[i0] * %5[i1] else 1.5 where 0 <= i0 - i1 < batch, i0 + i1 - 1 mod 2 = 0 order lanes(run 3, runs 5, shard i1)
  result "a b" %24
  assign %3 %3
  carry %21 %22
}
"#;

    #[test]
    fn text_round_trips() {
        let graph = parse(EVERYTHING).expect("the text is a graph");
        assert_eq!(graph.to_string(), EVERYTHING);
        assert_eq!(parse(&graph.to_string()).as_ref(), Ok(&graph));
    }

    #[test]
    fn any_distinct_numbers_are_renumbered() {
        let text = "graph \"g\" shards 1 class fused {\n; a comment\n\n%7: f32[] = const 1.0\n%3: f32[] = exp %7\nresult \"y\" %3\n}\n";
        let graph = parse(text).expect("the text is a graph");
        assert!(graph.to_string().contains("  %1: f32[] = exp %0\n"));
    }

    #[test]
    fn errors_name_the_place() {
        let fails = |line: &str| {
            let text = format!(
                "graph \"g\" shards 1 class fused {{\n%0: f32[2] = const 1.0\n{line}\n}}\n"
            );
            let error = parse(&text).expect_err("the line is wrong");
            assert_eq!(error.line, 3, "{error}");
            (error.column, error.message)
        };
        assert_eq!(fails("%1: f32[2] = exp %5"), (18, "%5 is not defined above".to_string()));
        assert_eq!(fails("%0: f32[2] = exp %0"), (1, "%0 is defined twice".to_string()));
        assert_eq!(fails("%1: f32[2] = expo %0").1, "unknown operation");
        assert_eq!(fails("%1: g32[2] = exp %0"), (5, "expected an element type".to_string()));
        assert_eq!(fails("%1: f32[2] = add %0 %0"), (21, "expected `,`".to_string()));
        assert_eq!(fails("%1: f32[2] = exp %0 %0").1, "expected the end of the line");
        assert_eq!(fails("%1: f32[99999999999999999999] = exp %0").1, "the number is too large");
        assert_eq!(fails("result \"a %0").1, "the string has no end");
        assert_eq!(fails("%1: f32[2] = exp ?").1, "unexpected character `?`");
        let open = parse("graph \"g\" shards 1 class fused {\n").expect_err("no end");
        assert_eq!(open.to_string(), "2:1: expected a graph up to its closing brace");
    }
}
