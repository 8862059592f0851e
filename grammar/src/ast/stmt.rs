//! Statements, blocks, and the index notation of left sides.
use super::{Arg, Doc, Expr, ExprKind, Ident, Label, Path, Type};
use crate::span::Span;

/// `{ .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// In order.
    pub stmts: Vec<Stmt>,
    /// With its braces.
    pub span: Span,
}

impl Block {
    /// The value of the block: its last statement, where that is an expression.
    pub fn value(&self) -> Option<&Expr> {
        match self.stmts.last().map(|stmt| &stmt.kind) {
            Some(StmtKind::Expr(expr)) => Some(expr),
            _ => None,
        }
    }

    /// Whether some statement directly in the block could not be read, so that nothing should be concluded from what is missing.
    pub fn has_bad(&self) -> bool {
        self.stmts.iter().any(|stmt| {
            matches!(&stmt.kind, StmtKind::Bad)
                || matches!(&stmt.kind, StmtKind::Expr(e) if e.kind == ExprKind::Bad)
        })
    }
}

/// A statement with its documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    /// Documentation lines before it.
    pub docs: Vec<Doc>,
    /// Which.
    pub kind: StmtKind,
    /// Without the documentation.
    pub span: Span,
}

/// What a statement is.
#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    /// `let h = ..`
    Let(Let),
    /// `param w: f32[k, units] ~ glorot_uniform`
    Param(Param),
    /// `state moving_mean: f32[c] = 0`
    State(State),
    /// `shared words = embedding(65, 128)`
    Shared(Shared),
    /// `total seen = sum[b..] 1`
    Total(Total),
    /// `penalty balance = ..`
    Penalty(Penalty),
    /// `yield y[:, t, :] = h`
    Yield(Yield),
    /// `scan t in time carry h = 0 { .. }`
    Scan(Scan),
    /// `for i in 4 carry h = x { .. }`
    For(For),
    /// `y[n, f] = ..`, `param -= ..`
    Assign(Assign),
    /// An expression; the value of the block if it is the last statement.
    Expr(Expr),
    /// Text that was reported.
    Bad,
}

/// `let h = ..`, `let mu[c] = ..`, `let (a, b) = ..`, `let keep: f32[n] ~ bernoulli(0.5)`
#[derive(Debug, Clone, PartialEq)]
pub struct Let {
    /// `each[..]`: the indices that run over, where the left side only writes.
    pub each: Option<Each>,
    /// What is bound.
    pub pattern: Pattern,
    /// The type, if stated.
    pub ty: Option<Type>,
    /// The value.
    pub value: LetValue,
}

/// The right side of `let`.
#[derive(Debug, Clone, PartialEq)]
pub enum LetValue {
    /// `= expression` or `+= expression`
    Define(DefineOp, Expr),
    /// `~ bernoulli(0.5)`: a random value.
    Draw(Call),
}

/// How a definition writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefineOp {
    /// `=`
    Set,
    /// `+=`: terms that fall on one place add up, from zero.
    Add,
}

/// What `let` binds.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// Which form.
    pub kind: PatternKind,
    /// The whole.
    pub span: Span,
}

/// The forms of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub enum PatternKind {
    /// `h`
    Name(Ident),
    /// `o..`: a pack of sizes.
    Pack(Ident),
    /// `mu[c]`: a tensor by index.
    Indexed(Ident, Head),
    /// `(i, f, g, o)`
    Tuple(Vec<Ident>),
}

/// The indices on a left side: `[n, i.., (g in groups, f)]`
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// One for each axis or pack of axes.
    pub binders: Vec<Binder>,
    /// With its brackets.
    pub span: Span,
}

/// One place of a left side.
#[derive(Debug, Clone, PartialEq)]
pub struct Binder {
    /// Which form.
    pub kind: BinderKind,
    /// The whole.
    pub span: Span,
}

/// The forms of a binder.
#[derive(Debug, Clone, PartialEq)]
pub enum BinderKind {
    /// `..`: the axes without a name.
    Dots,
    /// `:`: the whole axis, taken from a right side that has it too.
    All,
    /// `i`, `i..`, `i in n`, `i.. in s..`: binds `i`, or writes at `i` where it is bound already (by `each`, `scan` or `for`).
    Index(Index),
    /// `(g in groups, f)`: one axis from several indices, the last running fastest.
    Group(Vec<Binder>),
    /// `(i*stride + u).., label[b], 0`: writes at a computed place.
    At {
        /// The place.
        value: Expr,
        /// Whether `..` follows: once for each axis of the packs in it.
        pack: bool,
    },
}

/// An index with the range it runs over: `k`, `u.. in size..`, `t in 1:time`
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Its name.
    pub name: Ident,
    /// Whether `..` follows the name: a pack of indices.
    pub pack: bool,
    /// The range; where absent, the accesses tell.
    pub range: Option<Range>,
    /// The whole.
    pub span: Span,
}

/// What an index or a loop runs over.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Which form.
    pub kind: RangeKind,
    /// The whole.
    pub span: Span,
}

/// The forms of a range.
#[derive(Debug, Clone, PartialEq)]
pub enum RangeKind {
    /// `n`: from 0 to n-1, or the elements of a list. `size..` (`pack`): one extent for each axis.
    Over {
        /// The extent or the list.
        value: Expr,
        /// Whether `..` follows.
        pack: bool,
    },
    /// `1:time`: from the first up to, not including, the second.
    Between {
        /// The first.
        from: Expr,
        /// One after the last.
        to: Expr,
    },
}

/// `each[n, i.., u..]`
#[derive(Debug, Clone, PartialEq)]
pub struct Each {
    /// At least one.
    pub indices: Vec<Index>,
    /// From `each` to the bracket.
    pub span: Span,
}

/// `glorot_uniform`, `normal(0, 0.02)`, `embedding(65, 128) as words`
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub path: Path,
    /// Its arguments; `None` where no brackets were written, which means the same as none given.
    pub args: Option<Vec<Arg>>,
    /// `as name`
    pub label: Option<Label>,
    /// The whole.
    pub span: Span,
}

/// `param w: f32[k, units] ~ glorot_uniform`
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: Type,
    /// Its initial value.
    pub init: Call,
}

/// `state moving_mean: f32[c] = 0`: kept from one run to the next, saved, not trained.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Its name.
    pub name: Ident,
    /// Its type; where absent, that of the parameter an optimizer updates.
    pub ty: Option<Type>,
    /// Its first value.
    pub value: Expr,
}

/// `shared words = embedding(65, 128)`: one set of parameters, used many times.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// Its name.
    pub name: Ident,
    /// The layer.
    pub value: Call,
}

/// `total seen = sum[b..] 1`: a sum over all batches of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    /// `each[..]`
    pub each: Option<Each>,
    /// Its name.
    pub name: Ident,
    /// Its indices.
    pub head: Option<Head>,
    /// Its type.
    pub ty: Option<Type>,
    /// `=` or `+=`
    pub op: DefineOp,
    /// What a batch adds.
    pub value: Expr,
}

/// `penalty balance = ..`: adds to the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalty {
    /// Its name.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
}

/// `yield y[:, t, :] = h`: one slice of a result of a loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Yield {
    /// The result.
    pub name: Ident,
    /// Where the slice goes; where absent, the loop makes a list.
    pub head: Option<Head>,
    /// The slice.
    pub value: Expr,
}

/// `scan t in time carry h = 0 { .. }`: a loop that runs with the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// The loop's index.
    pub index: Ident,
    /// What it runs over.
    pub range: Range,
    /// What goes from one turn to the next.
    pub carries: Vec<Carry>,
    /// The body.
    pub body: Block,
}

/// `for i in 4 carry h = x { .. }`: text repeated at compile time.
#[derive(Debug, Clone, PartialEq)]
pub struct For {
    /// One name, or several for the parts of each element.
    pub names: Vec<Ident>,
    /// Whether the names stand in brackets.
    pub tuple: bool,
    /// What it runs over.
    pub range: Range,
    /// What goes from one turn to the next.
    pub carries: Vec<Carry>,
    /// The body.
    pub body: Block,
}

/// `h: f32[batch, units] = 0`
#[derive(Debug, Clone, PartialEq)]
pub struct Carry {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: Option<Type>,
    /// Its value before the first turn.
    pub value: Expr,
    /// The whole.
    pub span: Span,
}

/// `y[n, f] = ..`, `each[n, u..] y[n, (i + u)..] += ..`, `param -= ..`
#[derive(Debug, Clone, PartialEq)]
pub struct Assign {
    /// `each[..]`
    pub each: Option<Each>,
    /// What is written.
    pub target: Path,
    /// Where it is written.
    pub head: Option<Head>,
    /// How.
    pub op: AssignOp,
    /// The value.
    pub value: Expr,
}

/// How an assignment writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssignOp {
    /// `=`
    Set,
    /// `+=`
    Add,
    /// `-=`
    Sub,
    /// `*=`
    Mul,
}

impl AssignOp {
    /// As written.
    pub fn text(self) -> &'static str {
        match self {
            AssignOp::Set => "=",
            AssignOp::Add => "+=",
            AssignOp::Sub => "-=",
            AssignOp::Mul => "*=",
        }
    }
}
