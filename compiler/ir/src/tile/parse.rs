//! Reads the text form of a tile program.
//!
//! The grammar is that of [`super::print`]. Buffers and expressions are numbered by position and must carry those numbers; references to
//! buffers are checked by the verifier alone, so that a wrong program can be written down. Empty lines and lines that begin with `;` are
//! skipped.

use super::data::{
    Buffer, BufferId, Exchange, Expr, ExprId, Node, Phase, Program, Reduction, Schedule, Segment,
    Step, Store, UnitAxis,
};
use super::print::{exchange_name, kind_name, role_name};
use crate::affine::Affine;
use crate::entity::{EntityRef, IndexVec};
use crate::graph::lex::{Cursor, Token};
use crate::graph::ops::{elem_from_name, word};
use crate::graph::parse::{
    ParseError, Parsed, affine, among, condition, dim, fill, layout, literal, order, shards,
};
use crate::graph::print::class_name;
use crate::graph::{BinaryOp, Combine, Compare, UnaryOp};
use crate::layout::Layout;
use dlc_abi::{BufferRole, Dim, ElemType, ExchangeKind, NumericsClass, SegmentKind};

/// Reads one program.
///
/// # Errors
/// At the first place that does not fit the grammar.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    let mut program = None;
    let mut closed = false;
    let mut n_lines = 0;
    for (at, line) in text.lines().enumerate() {
        n_lines = at + 1;
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with(';') {
            continue;
        }
        let mut cursor = Cursor::new(line, at + 1)?;
        match &mut program {
            None => program = Some(header(&mut cursor)?),
            Some(_) if closed => return Err(cursor.error("nothing after the closing brace")),
            Some(_) if cursor.eat("}") => closed = true,
            Some(program) => body_line(program, &mut cursor)?,
        }
        cursor.finish()?;
    }
    match program {
        Some(program) if closed => Ok(program),
        _ => Err(ParseError {
            line: n_lines + 1,
            column: 1,
            message: "expected a program up to its closing brace".to_owned(),
        }),
    }
}

fn header(c: &mut Cursor) -> Parsed<Program> {
    c.expect("program")?;
    let name = c.string()?;
    let (shards, window_of) = shards(c)?;
    c.expect("class")?;
    let classes = [NumericsClass::Fused, NumericsClass::Unfused];
    let class = c.one_of("a numerics class", &classes, |class| class_name(*class))?;
    c.expect("batch")?;
    let max_batch = c.signed(1)?;
    c.expect("arena")?;
    let arena_bytes = bytes(c)?;
    c.expect("{")?;
    Ok(Program {
        name,
        shards,
        window_of,
        class,
        max_batch,
        buffers: IndexVec::new(),
        segments: Vec::new(),
        exchanges: Vec::new(),
        arena_bytes,
    })
}

/// A buffer, a segment's head, a phase's head, or a line of the last phase.
fn body_line(program: &mut Program, c: &mut Cursor) -> Parsed<()> {
    if let Some(number) = numbered(c, 'b') {
        if !program.segments.is_empty() {
            return Err(c.error("buffers stand before the segments"));
        }
        in_order(c, number, program.buffers.len())?;
        let buffer = buffer(c)?;
        program.buffers.push(buffer);
        return Ok(());
    }
    if c.eat("exchange") {
        if !program.segments.is_empty() {
            return Err(c.error("exchanges stand before the segments"));
        }
        program.exchanges.push(exchange(c)?);
        return Ok(());
    }
    if c.eat("segment") {
        let kinds = [
            SegmentKind::Forward,
            SegmentKind::Backward,
            SegmentKind::Weights,
            SegmentKind::Update,
        ];
        let name = c.string()?;
        let kind = c.one_of("a kind of segment", &kinds, |kind| kind_name(*kind))?;
        program.segments.push(Segment { name, kind, phases: Vec::new() });
        return Ok(());
    }
    if c.eat("phase") {
        let phase = phase_head(c)?;
        let Some(segment) = program.segments.last_mut() else {
            return Err(c.error("a phase stands in a segment"));
        };
        segment.phases.push(phase);
        return Ok(());
    }
    let phase = program.segments.last_mut().and_then(|segment| segment.phases.last_mut());
    let Some(phase) = phase else {
        return Err(c.error("expected a buffer, `segment`, `phase` or `}`"));
    };
    phase_line(phase, c)
}

fn exchange(c: &mut Cursor) -> Parsed<Exchange> {
    let kinds = [ExchangeKind::AllGather, ExchangeKind::AllToAll, ExchangeKind::AllReduce];
    let kind = c.one_of("a kind of exchange", &kinds, |kind| exchange_name(*kind))?;
    let among = among(c)?;
    let from = buffer_ref(c)?;
    c.expect("to")?;
    let to = buffer_ref(c)?;
    c.expect("after")?;
    let after = c.unsigned()? as usize;
    c.expect("before")?;
    let before = c.unsigned()? as usize;
    Ok(Exchange { kind, among, from, to, after, before })
}

fn buffer(c: &mut Cursor) -> Parsed<Buffer> {
    c.expect("=")?;
    let roles = [
        BufferRole::Input,
        BufferRole::Param,
        BufferRole::State,
        BufferRole::Output,
        BufferRole::Temporary,
        BufferRole::Table,
        BufferRole::Message,
    ];
    let role = c.one_of("a role", &roles, |role| role_name(*role))?;
    let elem = elem(c)?;
    let shape = c.list(dim)?;
    let layout = if c.eat("layout") { layout(c)? } else { Layout::row_major(shape.len()) };
    let alias_of = if c.eat("of") { Some(buffer_ref(c)?) } else { None };
    let arena_offset = if c.eat("at") { Some(bytes(c)?) } else { None };
    Ok(Buffer { name: c.string()?, role, elem, shape, layout, alias_of, arena_offset })
}

fn phase_head(c: &mut Cursor) -> Parsed<Phase> {
    let name = c.string()?;
    c.expect("[")?;
    let mut axes = Vec::new();
    while c.peek_axis().is_some() {
        axes.push(axis_extent(c, axes.len())?);
        if !c.eat(",") {
            break;
        }
    }
    let n_space = axes.len();
    if c.eat("|") {
        while c.peek_axis().is_some() {
            axes.push(axis_extent(c, axes.len())?);
            if !c.eat(",") {
                break;
            }
        }
    }
    c.expect("]")?;
    let barrier_before = c.eat("barrier");
    let step = if c.eat("step") {
        let number = c.unsigned()? as usize;
        Some(Step { number, reverse: c.eat("reverse") })
    } else {
        None
    };
    Ok(Phase {
        name,
        axes,
        n_space,
        exprs: IndexVec::new(),
        reduction: None,
        stores: Vec::new(),
        schedule: schedule(c)?,
        step,
        barrier_before,
    })
}

/// `i2 < 64`.
fn axis_extent(c: &mut Cursor, number: usize) -> Parsed<Dim> {
    if c.axis()? != number {
        return Err(c.error_before(&format!("expected i{number}")));
    }
    c.expect("<")?;
    dim(c)
}

fn schedule(c: &mut Cursor) -> Parsed<Schedule> {
    let mut schedule = Schedule::default();
    if c.eat("units") {
        schedule.units = c.bracketed("(", ")", |c| {
            let axis = c.axis()?;
            c.expect("/")?;
            Ok(UnitAxis { axis, tile: c.signed(1)? })
        })?;
    }
    if c.eat("lanes") {
        (schedule.lane_axis, schedule.vectors) = axis_times(c)?;
    }
    if c.eat("rows") {
        (schedule.row_axis, schedule.rows) = axis_times(c)?;
    }
    if c.eat("block") {
        schedule.block = Some(c.signed(1)?);
    }
    if c.eat("sorted") {
        schedule.sorted_axis = Some(c.axis()?);
    }
    schedule.serial = c.eat("serial");
    Ok(schedule)
}

/// `i1 x 2` or `none x 2`.
fn axis_times(c: &mut Cursor) -> Parsed<(Option<usize>, usize)> {
    let axis = if c.eat("none") { None } else { Some(c.axis()?) };
    c.expect("x")?;
    Ok((axis, c.unsigned()? as usize))
}

fn phase_line(phase: &mut Phase, c: &mut Cursor) -> Parsed<()> {
    if c.eat("reduce") {
        if phase.reduction.is_some() {
            return Err(c.error_before("a phase has one reduction"));
        }
        phase.reduction = Some(reduction(c)?);
        return Ok(());
    }
    if c.eat("store") {
        let buffer = buffer_ref(c)?;
        let subs = c.list(affine)?;
        phase.stores.push(Store { buffer, subs, value: expr_ref(c)? });
        return Ok(());
    }
    let Some(number) = numbered(c, 'e') else {
        return Err(c.error("expected an expression, `reduce` or `store`"));
    };
    in_order(c, number, phase.exprs.len())?;
    c.expect(":")?;
    let elem = elem(c)?;
    c.expect("=")?;
    let expr = expr(c)?;
    phase.exprs.push(Node { expr, elem });
    Ok(())
}

fn reduction(c: &mut Cursor) -> Parsed<Reduction> {
    let combine = c.one_of("a combine", &Combine::ALL, |combine| combine.name())?;
    let mut factors = vec![expr_ref(c)?];
    while c.eat("*") {
        factors.push(expr_ref(c)?);
    }
    let (mut guards, mut congruences) = (Vec::new(), Vec::new());
    if c.eat("where") {
        loop {
            condition(c, &mut guards, &mut congruences)?;
            if !congruences.is_empty() {
                return Err(c.error_before("phases have guards, not congruences"));
            }
            if !c.eat(",") {
                break;
            }
        }
    }
    c.expect("order")?;
    let order = order(c)?;
    let of_shard = if c.eat("of") {
        c.expect("shard")?;
        Some(c.axis()?)
    } else {
        None
    };
    Ok(Reduction { combine, factors, guards, order, of_shard })
}

fn expr(c: &mut Cursor) -> Parsed<Expr> {
    let name = c.ident()?;
    if let Some(op) = UnaryOp::ALL.into_iter().find(|op| op.info().name == name) {
        return Ok(Expr::Unary(op, expr_ref(c)?));
    }
    if let Some(op) = BinaryOp::ALL.into_iter().find(|op| op.info().name == name) {
        return Ok(Expr::Binary(op, expr_ref(c)?, after_comma(c)?));
    }
    if let Some(op) = Compare::ALL.into_iter().find(|op| op.info().name == name) {
        return Ok(Expr::Compare(op, expr_ref(c)?, after_comma(c)?));
    }
    match name.as_str() {
        word::CONST => Ok(Expr::Const(literal(c)?)),
        "index" => Ok(Expr::Index(affine(c)?)),
        word::EXTENT => Ok(Expr::Extent(dim(c)?)),
        "load" => Ok(Expr::Load { buffer: buffer_ref(c)?, subs: c.list(affine)?, fill: fill(c)? }),
        word::GATHER => gather(c),
        word::RANDOM => {
            let (seed, step) = (expr_ref(c)?, after_comma(c)?);
            c.expect(",")?;
            c.expect("draw")?;
            let draw = c.unsigned()?;
            c.expect(",")?;
            c.expect("element")?;
            Ok(Expr::Random { seed, step, draw, element: expr_ref(c)? })
        }
        "reduced" => Ok(Expr::Reduced),
        word::SELECT => Ok(Expr::Select(expr_ref(c)?, after_comma(c)?, after_comma(c)?)),
        word::FMA => Ok(Expr::Fma(expr_ref(c)?, after_comma(c)?, after_comma(c)?)),
        word::CONVERT => Ok(Expr::Convert(expr_ref(c)?)),
        _ => Err(c.error_before("unknown expression")),
    }
}

/// `gather b2[i0, e3, i1]`: the index stands where it selects.
fn gather(c: &mut Cursor) -> Parsed<Expr> {
    let buffer = buffer_ref(c)?;
    let mut selected = None;
    let mut at = 0;
    let subs = c.list(|c| {
        at += 1;
        let Some(number) = numbered(c, 'e') else { return affine(c) };
        if selected.is_some() {
            return Err(c.error("only one axis is selected by an index"));
        }
        c.next();
        selected = Some((at - 1, ExprId::from_index(number)));
        Ok(Affine::constant(0))
    })?;
    let Some((axis, index)) = selected else {
        return Err(c.error_before("expected an index among the subscripts"));
    };
    Ok(Expr::Gather { buffer, subs, axis, index })
}

/// The number of a word like `b3` or `e3` that stands here.
fn numbered(c: &Cursor, letter: char) -> Option<usize> {
    let Token::Ident(word) = c.peek() else { return None };
    word.strip_prefix(letter)?.parse::<u32>().ok().map(|number| number as usize)
}

fn buffer_ref(c: &mut Cursor) -> Parsed<BufferId> {
    let Some(number) = numbered(c, 'b') else { return Err(c.error("expected a buffer")) };
    c.next();
    Ok(BufferId::from_index(number))
}

fn expr_ref(c: &mut Cursor) -> Parsed<ExprId> {
    let Some(number) = numbered(c, 'e') else { return Err(c.error("expected an expression")) };
    c.next();
    Ok(ExprId::from_index(number))
}

fn after_comma(c: &mut Cursor) -> Parsed<ExprId> {
    c.expect(",")?;
    expr_ref(c)
}

/// Goes past a definition's number, which must be the next one.
fn in_order(c: &mut Cursor, number: usize, next: usize) -> Parsed<()> {
    if number != next {
        return Err(c.error(&format!("expected number {next}")));
    }
    c.next();
    Ok(())
}

fn elem(c: &mut Cursor) -> Parsed<ElemType> {
    let word = c.ident()?;
    elem_from_name(&word).ok_or_else(|| c.error_before("expected an element type"))
}

/// A size or offset.
fn bytes(c: &mut Cursor) -> Parsed<u64> {
    let Token::Int(value) = c.peek() else { return Err(c.error("expected a number of bytes")) };
    c.next();
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: &str = r#"program "all \"of\" it" shards 8 of 16 class unfused batch 64 arena 1024 {
  b0 = input f32[batch, 2*batch + 3, 4] "x"
  b1 = param f32[4, 70] layout (i1 / 64, i0, i1 mod 64) "layer.w"
  b2 = input i32[batch] "label"
  b3 = temporary f32[batch, 8] at 64 "y"
  b4 = temporary f32[8*batch] of b3 "flat"
  b5 = output f64[] "loss"
  b6 = state i64[3] "n"
  b7 = table u8[4] ""
  b8 = message f32[2, 3] "@given"
exchange all_to_all b8 to b8 after 0 before 1
segment "all.forward" forward
  phase "y" [i0 < batch, i1 < 8 | i2 < 2*batch + 3] units(i0/8, i1/4) lanes i1 x 2 rows i0 x 4
    e0: f32 = load b0[i0, -i2 + 5, 2*i1 - 1] skip
    e1: f32 = load b1[i1, 0] else -0.0
    reduce sum e0 * e1 where 0 <= i0 - i1 < batch, 0 <= i2 < 3 order chain(run 256, runs 1, shard i2) of shard i1
    e2: f32 = reduced
    e3: i32 = load b2[i0]
    e4: f32 = gather b1[e3, i1]
    e5: f32 = random e3, e3, draw 7, element e3
    e6: f32 = sigmoid e5
    e7: f32 = max e6, e4
    e8: bool = lt e6, e7
    e9: f32 = select e8, e7, e2
    e10: f32 = fma e9, e7, e2
    e11: f32 = convert e8
    e12: f32 = const -1e-10
    e13: bool = const true
    e14: f64 = const -inf
    e15: i64 = index i0 + 3*i1 - 2
    e16: f32 = extent batch - 1
    store b3[i0, i1] e10
    store b3[i0, i1] e11
segment "all.update" update
  phase "loss" [ | i0 < 3] barrier serial
    e0: i64 = load b6[i0]
    e1: f64 = const 1.0
    reduce argmax e0 order lanes(run 3, runs 5)
    store b5[] e1
  phase "none" [] lanes none x 3 rows none x 0 block 8 sorted i1 serial
}
"#;

    #[test]
    fn text_round_trips() {
        let program = parse(EVERYTHING).expect("the text is a program");
        assert_eq!(program.to_string(), EVERYTHING);
        assert_eq!(program.buffers.len(), 9);
        assert_eq!(program.exchanges.len(), 1);
        assert_eq!(program.segments[0].phases[0].n_space, 2);
        assert_eq!(program.segments[1].phases[0].n_space, 0);
        assert_eq!(parse(&program.to_string()).as_ref(), Ok(&program));
    }

    #[test]
    fn errors_name_the_place() {
        let fails = |wrong: &str, right: &str| {
            assert!(EVERYTHING.contains(right), "{right}");
            let text = EVERYTHING.replacen(right, wrong, 1);
            let error = parse(&text).expect_err("the text is wrong");
            let line = text.lines().nth(error.line - 1).unwrap_or("").to_owned();
            assert!(error.line > text.lines().count() || line.contains(wrong), "{error}: {line}");
            error.message
        };
        assert_eq!(fails("  b2 = input f32", "  b1 = param f32"), "expected number 1");
        assert_eq!(fails("e2: f32 = load", "e1: f32 = load"), "expected number 1");
        assert_eq!(fails("g32[batch, 2", "f32[batch, 2"), "expected an element type");
        assert_eq!(fails("i2 < 8 |", "i1 < 8 |"), "expected i1");
        assert_eq!(fails("sigmoyd", "sigmoid"), "unknown expression");
        assert_eq!(fails("[e3, e3]", "[e3, i1]"), "only one axis is selected by an index");
        assert_eq!(fails("[i0, i1]", "[e3, i1]"), "expected an index among the subscripts");
        assert_eq!(fails("i2 mod 3 = 0", "0 <= i2 < 3"), "phases have guards, not congruences");
        assert_eq!(fails("", "}\n"), "expected a program up to its closing brace");
        assert_eq!(fails("units[", "units("), "expected `(`");
        let early =
            parse("program \"p\" shards 1 class fused batch 1 arena 0 {\nphase \"y\" []\n}\n");
        assert_eq!(early.expect_err("no segment").message, "a phase stands in a segment");
    }
}
