//! The operations of graph IR, declared once: name, operands, element types, algebra and formula.
//!
//! Printer, parser, verifier and the reference manual take their words from here; the shape rules are in
//! [`super::infer`].

use super::data::{BinaryOp, Combine, Compare, InputRole, Op, Stage, UnaryOp};
use dlc_abi::{ElemType, ExchangeKind};

/// Which element types an operation computes with.
///
/// `u8`, `i8`, `bf16` and `f16` are storage: they are moved and converted, never computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeClass {
    /// Every element type.
    Any,
    /// `f32 f64 i32 i64`.
    Number,
    /// `f32 f64`.
    Float,
    /// `i32 i64`.
    Integer,
    /// `bool`.
    Truth,
}

impl TypeClass {
    /// Whether the class holds an element type.
    pub fn holds(self, elem: ElemType) -> bool {
        match self {
            TypeClass::Any => true,
            TypeClass::Number => TypeClass::Float.holds(elem) || TypeClass::Integer.holds(elem),
            TypeClass::Float => matches!(elem, ElemType::F32 | ElemType::F64),
            TypeClass::Integer => matches!(elem, ElemType::I32 | ElemType::I64),
            TypeClass::Truth => elem == ElemType::Bool,
        }
    }

    /// The class in words, for messages.
    pub fn words(self) -> &'static str {
        match self {
            TypeClass::Any => "any type",
            TypeClass::Number => "f32, f64, i32 or i64",
            TypeClass::Float => "f32 or f64",
            TypeClass::Integer => "i32 or i64",
            TypeClass::Truth => "bool",
        }
    }
}

/// Laws that passes may use. All hold bit for bit on integers; on floats associativity and linearity hold up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Algebra {
    /// Operands may be exchanged. `min` and `max` are not commutative: they choose the second operand when neither wins.
    pub commutative: bool,
    /// Grouping does not matter.
    pub associative: bool,
    /// Linear in all float operands together.
    pub linear: bool,
}

/// The declaration of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpInfo {
    /// Its word in the text form.
    pub name: &'static str,
    /// Names of its operands, in order.
    pub operands: &'static [&'static str],
    /// Element types of its operands.
    pub types: TypeClass,
    /// Laws.
    pub algebra: Algebra,
    /// What it computes, element by element.
    pub formula: &'static str,
}

const PLAIN: Algebra = Algebra { commutative: false, associative: false, linear: false };
const LINEAR: Algebra = Algebra { commutative: false, associative: false, linear: true };
const GROUP: Algebra = Algebra { commutative: true, associative: true, linear: true };
const MONOID: Algebra = Algebra { commutative: true, associative: true, linear: false };
const CHOICE: Algebra = Algebra { commutative: false, associative: true, linear: false };

const fn info(
    name: &'static str,
    operands: &'static [&'static str],
    types: TypeClass,
    algebra: Algebra,
    formula: &'static str,
) -> OpInfo {
    OpInfo { name, operands, types, algebra, formula }
}

const X: &[&str] = &["x"];
const AB: &[&str] = &["a", "b"];

impl UnaryOp {
    /// All of them, in the order of the declaration.
    pub const ALL: [UnaryOp; 13] = [
        UnaryOp::Neg,
        UnaryOp::Abs,
        UnaryOp::Exp,
        UnaryOp::Log,
        UnaryOp::Log1p,
        UnaryOp::Sqrt,
        UnaryOp::Tanh,
        UnaryOp::Erf,
        UnaryOp::Sigmoid,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Floor,
        UnaryOp::Not,
    ];

    /// Its declaration.
    pub fn info(self) -> OpInfo {
        use TypeClass::{Float, Number, Truth};
        match self {
            UnaryOp::Neg => info("neg", X, Number, LINEAR, "-x"),
            UnaryOp::Abs => info("abs", X, Number, PLAIN, "|x|"),
            UnaryOp::Exp => info("exp", X, Float, PLAIN, "e^x"),
            UnaryOp::Log => info("log", X, Float, PLAIN, "ln x"),
            UnaryOp::Log1p => info("log1p", X, Float, PLAIN, "ln(1 + x)"),
            UnaryOp::Sqrt => info("sqrt", X, Float, PLAIN, "x^(1/2), correctly rounded"),
            UnaryOp::Tanh => info("tanh", X, Float, PLAIN, "tanh x"),
            UnaryOp::Erf => info("erf", X, Float, PLAIN, "2/sqrt(pi) * integral of e^-t^2, 0 to x"),
            UnaryOp::Sigmoid => info("sigmoid", X, Float, PLAIN, "1 / (1 + e^-x)"),
            UnaryOp::Sin => info("sin", X, Float, PLAIN, "sin x"),
            UnaryOp::Cos => info("cos", X, Float, PLAIN, "cos x"),
            UnaryOp::Floor => info("floor", X, Float, PLAIN, "the greatest integer <= x"),
            UnaryOp::Not => info("not", X, Truth, PLAIN, "not x"),
        }
    }
}

impl BinaryOp {
    /// All of them, in the order of the declaration.
    pub const ALL: [BinaryOp; 9] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Rem,
        BinaryOp::Min,
        BinaryOp::Max,
        BinaryOp::And,
        BinaryOp::Or,
    ];

    /// Its declaration.
    pub fn info(self) -> OpInfo {
        use TypeClass::{Integer, Number, Truth};
        match self {
            BinaryOp::Add => info("add", AB, Number, GROUP, "a + b"),
            BinaryOp::Sub => info("sub", AB, Number, LINEAR, "a - b"),
            BinaryOp::Mul => info("mul", AB, Number, MONOID, "a * b"),
            BinaryOp::Div => {
                info("div", AB, Number, PLAIN, "a / b; integers towards minus infinity")
            }
            BinaryOp::Rem => info("rem", AB, Integer, PLAIN, "a - b * floor(a / b)"),
            BinaryOp::Min => info("min", AB, Number, CHOICE, "a < b ? a : b"),
            BinaryOp::Max => info("max", AB, Number, CHOICE, "a > b ? a : b"),
            BinaryOp::And => info("and", AB, Truth, MONOID, "a and b"),
            BinaryOp::Or => info("or", AB, Truth, MONOID, "a or b"),
        }
    }
}

impl Compare {
    /// All of them, in the order of the declaration.
    pub const ALL: [Compare; 4] = [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le];

    /// Its declaration.
    pub fn info(self) -> OpInfo {
        let equality = Algebra { commutative: true, ..PLAIN };
        match self {
            Compare::Eq => info("eq", AB, TypeClass::Number, equality, "a = b"),
            Compare::Ne => info("ne", AB, TypeClass::Number, equality, "a != b or unordered"),
            Compare::Lt => info("lt", AB, TypeClass::Number, PLAIN, "a < b"),
            Compare::Le => info("le", AB, TypeClass::Number, PLAIN, "a <= b"),
        }
    }
}

impl Combine {
    /// All of them, in the order of the declaration.
    pub const ALL: [Combine; 5] =
        [Combine::Sum, Combine::Max, Combine::Min, Combine::ArgMax, Combine::ArgMin];

    /// Its word in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Combine::Sum => "sum",
            Combine::Max => "max",
            Combine::Min => "min",
            Combine::ArgMax => "argmax",
            Combine::ArgMin => "argmin",
        }
    }

    /// Whether the result is the place of a term and not its value.
    pub fn is_arg(self) -> bool {
        matches!(self, Combine::ArgMax | Combine::ArgMin)
    }
}

impl InputRole {
    /// All of them.
    pub const ALL: [InputRole; 3] = [InputRole::Data, InputRole::Param, InputRole::State];

    /// Its word in the text form.
    pub fn name(self) -> &'static str {
        match self {
            InputRole::Data => "data",
            InputRole::Param => "param",
            InputRole::State => "state",
        }
    }
}

impl Stage {
    /// All of them, in order of execution.
    pub const ALL: [Stage; 3] = [Stage::Forward, Stage::Backward, Stage::Update];

    /// Its word in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Forward => "forward",
            Stage::Backward => "backward",
            Stage::Update => "update",
        }
    }
}

/// Names of the operations that are not families of element-wise functions, for the parser.
pub mod word {
    /// [`super::Op::Input`].
    pub const INPUT: &str = "input";
    /// [`super::Op::Const`].
    pub const CONST: &str = "const";
    /// [`super::Op::Iota`].
    pub const IOTA: &str = "iota";
    /// [`super::Op::Extent`].
    pub const EXTENT: &str = "extent";
    /// [`super::Op::Random`].
    pub const RANDOM: &str = "random";
    /// [`super::Op::Select`].
    pub const SELECT: &str = "select";
    /// [`super::Op::Fma`].
    pub const FMA: &str = "fma";
    /// [`super::Op::Convert`].
    pub const CONVERT: &str = "convert";
    /// [`super::Op::View`].
    pub const VIEW: &str = "view";
    /// [`super::Op::Reshape`].
    pub const RESHAPE: &str = "reshape";
    /// [`super::Op::Contract`].
    pub const CONTRACT: &str = "contract";
    /// [`super::Op::Gather`].
    pub const GATHER: &str = "gather";
    /// [`super::Op::Exchange`] with [`super::ExchangeKind::AllGather`].
    pub const ALL_GATHER: &str = "all_gather";
    /// [`super::Op::Exchange`] with [`super::ExchangeKind::AllToAll`].
    pub const ALL_TO_ALL: &str = "all_to_all";
    /// [`super::Op::Exchange`] with [`super::ExchangeKind::AllReduce`].
    pub const ALL_REDUCE: &str = "all_reduce";
    /// [`super::Op::Recur`].
    pub const RECUR: &str = "recur";
}

impl Op {
    /// The operation's declaration.
    pub fn info(&self) -> OpInfo {
        use TypeClass::{Any, Float, Number};
        match self {
            Op::Input { .. } => info(word::INPUT, &[], Any, PLAIN, "the leaf's value"),
            Op::Const(_) => info(word::CONST, &[], Any, PLAIN, "one value"),
            Op::Iota { .. } => info(word::IOTA, &[], Number, PLAIN, "the index along an axis"),
            Op::Extent(_) => info(word::EXTENT, &[], Number, PLAIN, "an extent as a number"),
            Op::Random { .. } => {
                info(word::RANDOM, &["seed", "step"], Any, PLAIN, "uniform in [0, 1), 24 bits")
            }
            Op::Unary(op, _) => op.info(),
            Op::Binary(op, _, _) => op.info(),
            Op::Compare(op, _, _) => op.info(),
            Op::Select(..) => {
                info(word::SELECT, &["condition", "a", "b"], Any, PLAIN, "condition ? a : b")
            }
            Op::Fma(..) => {
                info(word::FMA, &["a", "b", "c"], Float, PLAIN, "a * b + c, rounded once")
            }
            Op::Convert(_) => info(word::CONVERT, X, Any, LINEAR, "x in another element type"),
            Op::View { .. } => info(word::VIEW, X, Any, LINEAR, "x[subs(o)], or the fill outside"),
            Op::Reshape(_) => info(word::RESHAPE, X, Any, LINEAR, "x in row-major order"),
            Op::Contract(_) => info(
                word::CONTRACT,
                AB,
                Number,
                PLAIN,
                "out[W i] = combine over i of a[A i] * b[B i]",
            ),
            Op::Recur { .. } => {
                info(word::RECUR, &["init"], Any, PLAIN, "init, then the carried value a step on")
            }
            Op::Gather(_) => {
                info(word::GATHER, &["x", "index"], Any, PLAIN, "x[.., index[subs(o)], ..]")
            }
            Op::Exchange(exchange) => match exchange.kind {
                ExchangeKind::AllGather => {
                    info(word::ALL_GATHER, X, Any, LINEAR, "out[q] = x of part q")
                }
                ExchangeKind::AllToAll => {
                    info(word::ALL_TO_ALL, X, Any, LINEAR, "out[q] = x[this part] of part q")
                }
                ExchangeKind::AllReduce => info(
                    word::ALL_REDUCE,
                    X,
                    Float,
                    LINEAR,
                    "the sum of x of all parts, in any order",
                ),
            },
        }
    }
}

/// The word of an element type in the text form.
pub fn elem_name(elem: ElemType) -> &'static str {
    match elem {
        ElemType::F32 => "f32",
        ElemType::F64 => "f64",
        ElemType::I32 => "i32",
        ElemType::I64 => "i64",
        ElemType::U8 => "u8",
        ElemType::Bool => "bool",
        ElemType::Bf16 => "bf16",
        ElemType::F16 => "f16",
        ElemType::I8 => "i8",
    }
}

/// The element type of that name.
pub fn elem_from_name(name: &str) -> Option<ElemType> {
    const ALL: [ElemType; 9] = [
        ElemType::F32,
        ElemType::F64,
        ElemType::I32,
        ElemType::I64,
        ElemType::U8,
        ElemType::Bool,
        ElemType::Bf16,
        ElemType::F16,
        ElemType::I8,
    ];
    ALL.into_iter().find(|&elem| elem_name(elem) == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_of_operations_are_distinct() {
        let mut names: Vec<&str> = UnaryOp::ALL.iter().map(|op| op.info().name).collect();
        names.extend(BinaryOp::ALL.iter().map(|op| op.info().name));
        names.extend(Compare::ALL.iter().map(|op| op.info().name));
        names.extend([word::INPUT, word::CONST, word::IOTA, word::EXTENT, word::RANDOM]);
        names.extend([word::SELECT, word::FMA, word::CONVERT, word::VIEW, word::RESHAPE]);
        names.extend([
            word::CONTRACT,
            word::GATHER,
            word::ALL_GATHER,
            word::ALL_TO_ALL,
            word::ALL_REDUCE,
        ]);
        names.extend([word::RECUR]);
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len());
    }

    /// Variants of an enum of `data.rs` that is written as `rustfmt` writes it.
    fn variants(name: &str) -> Vec<&'static str> {
        let source = include_str!("data.rs");
        let (_, rest) = source.split_once(&format!("pub enum {name} {{\n")).expect("the enum");
        let (body, _) = rest.split_once("\n}\n").expect("the enum ends");
        let starts = body.lines().filter_map(|line| line.strip_prefix("    "));
        let named = starts.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        named
            .map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(line))
            .collect()
    }

    /// A small set is what keeps every pass small. What is given rather than computed, a leaf, is no operation; of the three families
    /// of element-wise functions every member is one.
    #[test]
    fn there_are_fewer_than_40_operations() {
        let members = UnaryOp::ALL.len() + BinaryOp::ALL.len() + Compare::ALL.len();
        let families = ["Unary", "Binary", "Compare"];
        let leaves = ["Input", "Const"];
        let all = variants("Op");
        assert!(families.iter().chain(&leaves).all(|name| all.contains(name)), "{all:?}");
        let single = all.len() - families.len() - leaves.len();
        assert!(members + single < 40, "{members} element-wise functions and {single} others");
    }
}
