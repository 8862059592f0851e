//! Expressions, after precedence has been applied.
use super::{Block, Ident, Index, Label, Path, StrLit, Type};
use crate::span::Span;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// Which.
    pub kind: ExprKind,
    /// The whole.
    pub span: Span,
}

impl Expr {
    /// The expression without brackets round it.
    pub fn unparen(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The name, if the expression is a name, in brackets or not.
    pub fn as_name(&self) -> Option<&Ident> {
        match &self.unparen().kind {
            ExprKind::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// What an expression is. Precedence, from the loosest: pipe; `or`; `and`; `not`; comparisons and `is`; `+ -`; reducers;
/// `* / @ div mod`; unary minus; `^` (from the right); calls, accesses, fields, `as`.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `1`, `0.5`, `1e-3`
    Number(Number),
    /// `"conv_*.w"`
    Str(StrLit),
    /// `true`, `false`
    Bool(bool),
    /// `none`: no value was given.
    None,
    /// `skip`: the term of the reduction is left out.
    Skip,
    /// A name; also the name of a reducer that is called as a function, `sum(x)`, `max(a, b)`.
    Name(Ident),
    /// Brackets round one expression, kept because they say what the writer meant.
    Paren(Box<Expr>),
    /// `(a, b)`, `(s..)`
    Tuple(Vec<Elem>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `-x`, `not x`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary {
        /// Which.
        op: BinaryOp,
        /// Where the operator stands.
        op_span: Span,
        /// Left.
        lhs: Box<Expr>,
        /// Right.
        rhs: Box<Expr>,
    },
    /// `label is i32[b..]`, `mask is none`
    Is(Box<Expr>, IsPattern),
    /// `sum[k] x[k] * w[k]`
    Reduce {
        /// Which.
        op: Reducer,
        /// Where its name stands.
        op_span: Span,
        /// The indices it runs over, at least one.
        indices: Vec<Index>,
        /// The term.
        body: Box<Expr>,
    },
    /// `f(x, n = 2)`
    Call(Box<Expr>, Vec<Arg>),
    /// `x[n, i else 0]`
    Access {
        /// What is read.
        base: Box<Expr>,
        /// Where, one for each axis or pack of axes.
        subs: Vec<Sub>,
        /// What stands for places outside.
        fallback: Option<Fallback>,
    },
    /// `r.h`, `kernel.0`
    Field(Box<Expr>, FieldName),
    /// `x as name`
    Labelled(Box<Expr>, Label),
    /// `if a { b } else { c }`
    If(If),
    /// `with training = false { .. }`
    With(With),
    /// `x |> conv(32) |> relu`
    Pipe(Box<Expr>, Vec<Stage>),
    /// Text that was reported.
    Bad,
}

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// As written, so that the nearest value of any type can be taken.
    pub text: String,
    /// Its value.
    pub value: NumberValue,
}

/// The value of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberValue {
    /// Without point and exponent.
    Int(i64),
    /// With point or exponent; always finite.
    Real(f64),
}

/// An element of a tuple or of the arguments in brackets: `a`, `s..`
#[derive(Debug, Clone, PartialEq)]
pub struct Elem {
    /// The value.
    pub value: Expr,
    /// Whether `..` follows: once for each axis of the packs in it.
    pub pack: bool,
    /// The whole.
    pub span: Span,
}

/// A prefix operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// An infix operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`: of reals.
    Div,
    /// `div`: of integers, rounded down.
    IntDiv,
    /// `mod`: what `div` leaves, never negative for a positive divisor.
    Mod,
    /// `@`: matrix product.
    MatMul,
    /// `^`
    Pow,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `and`
    And,
    /// `or`
    Or,
}

impl BinaryOp {
    /// All operators.
    pub const ALL: [BinaryOp; 16] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::IntDiv,
        BinaryOp::Mod,
        BinaryOp::MatMul,
        BinaryOp::Pow,
        BinaryOp::Eq,
        BinaryOp::Ne,
        BinaryOp::Lt,
        BinaryOp::Le,
        BinaryOp::Gt,
        BinaryOp::Ge,
        BinaryOp::And,
        BinaryOp::Or,
    ];

    /// As written.
    pub fn text(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::IntDiv => "div",
            BinaryOp::Mod => "mod",
            BinaryOp::MatMul => "@",
            BinaryOp::Pow => "^",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
        }
    }
}

/// How a reducer joins its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reducer {
    /// Their sum.
    Sum,
    /// Their sum over their number.
    Mean,
    /// Their product.
    Prod,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Whether one holds.
    Any,
    /// Whether all hold.
    All,
    /// The index of the first largest.
    Argmax,
    /// The index of the first smallest.
    Argmin,
}

impl Reducer {
    /// All reducers.
    pub const ALL: [Reducer; 9] = [
        Reducer::Sum,
        Reducer::Mean,
        Reducer::Prod,
        Reducer::Max,
        Reducer::Min,
        Reducer::Any,
        Reducer::All,
        Reducer::Argmax,
        Reducer::Argmin,
    ];

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            Reducer::Sum => "sum",
            Reducer::Mean => "mean",
            Reducer::Prod => "prod",
            Reducer::Max => "max",
            Reducer::Min => "min",
            Reducer::Any => "any",
            Reducer::All => "all",
            Reducer::Argmax => "argmax",
            Reducer::Argmin => "argmin",
        }
    }
}

/// What `is` asks.
#[derive(Debug, Clone, PartialEq)]
pub enum IsPattern {
    /// `is none`
    None(Span),
    /// `is i32[b..]`
    Type(Type),
}

/// One argument: `x`, `kernel = 3`, `r..`
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    /// The formal it is for; where absent, its place decides.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
    /// Whether `..` follows: one argument for each axis of the packs in it.
    pub pack: bool,
    /// The whole.
    pub span: Span,
}

/// One place of an access.
#[derive(Debug, Clone, PartialEq)]
pub struct Sub {
    /// Which form.
    pub kind: SubKind,
    /// The whole.
    pub span: Span,
}

/// The forms of a subscript.
#[derive(Debug, Clone, PartialEq)]
pub enum SubKind {
    /// `..`: the axes without a name.
    Dots,
    /// `:`, `a:b`, `a:`, `:b`: part of an axis, which stays.
    Slice {
        /// The first; 0 where absent.
        from: Option<Expr>,
        /// One after the last; the extent where absent.
        to: Option<Expr>,
    },
    /// `(g, v)`, `(i..)`: one axis by several indices, the last running fastest.
    Group(Vec<Sub>),
    /// `i*stride + u`, `s..`: a place.
    At {
        /// The place.
        value: Expr,
        /// Whether `..` follows: once for each axis of the packs in it.
        pack: bool,
    },
}

/// What an access gives for places outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Fallback {
    /// `else 0`
    Value(Box<Expr>),
    /// `else skip`: the term of the reduction round it is left out.
    Skip(Span),
}

/// What follows the dot.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldName {
    /// `.table`
    Name(Ident),
    /// `.0`
    Index(u32, Span),
}

/// `if a { .. } else if b { .. } else { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct If {
    /// At least one, in order.
    pub arms: Vec<IfArm>,
    /// `else { .. }`
    pub otherwise: Option<Block>,
}

/// One condition with its block.
#[derive(Debug, Clone, PartialEq)]
pub struct IfArm {
    /// What must hold.
    pub condition: Expr,
    /// What is taken then.
    pub body: Block,
}

/// `with training = false { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct With {
    /// At least one: what has which value within the block.
    pub bindings: Vec<(Path, Expr)>,
    /// The block.
    pub body: Block,
}

/// One stage of a pipe: `conv(32, kernel = 3)`, `lstm(64).h as top`
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What is called, with the value so far before the other arguments.
    pub path: Path,
    /// The other arguments; `None` where no brackets were written.
    pub args: Option<Vec<Arg>>,
    /// `.h`: which result goes on; the first where absent.
    pub field: Option<Ident>,
    /// `as name`
    pub label: Option<Label>,
    /// The whole.
    pub span: Span,
}
