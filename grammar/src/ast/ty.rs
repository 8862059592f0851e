//! Types and shapes.
use super::{Expr, Ident};
use crate::span::Span;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    /// Which.
    pub kind: TypeKind,
    /// The whole.
    pub span: Span,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeKind {
    /// `f32[n, s.., c]`; without a shape a number known when the program runs, `f32`.
    Tensor {
        /// The type of its elements.
        dtype: Dtype,
        /// Its axes.
        shape: Option<Shape>,
    },
    /// `int`, `real`, `bool`, `int per s`: a value known when the program is compiled.
    Comp {
        /// Which.
        comp: CompType,
        /// `per s`: one for each axis of the pack `s`; a single one is repeated.
        per: Option<Ident>,
    },
    /// `same | valid | causal`: one of these words.
    Choice(Vec<Ident>),
    /// `(f32[n], f32[n])`
    Tuple(Vec<Type>),
}

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 32-bit integers.
    I32,
    /// Bytes.
    U8,
    /// Truth values.
    Bool,
    /// Any of them.
    Any,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Dtype; 6] =
        [Dtype::F32, Dtype::F64, Dtype::I32, Dtype::U8, Dtype::Bool, Dtype::Any];

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::I32 => "i32",
            Dtype::U8 => "u8",
            Dtype::Bool => "bool",
            Dtype::Any => "any",
        }
    }
}

/// The type of a value known when the program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompType {
    /// An integer.
    Int,
    /// A real number.
    Real,
    /// A truth value.
    Bool,
    /// A layer.
    Layer,
    /// A function.
    Fn,
    /// An initializer.
    Init,
    /// A set of parameters.
    Params,
    /// A string.
    Str,
}

impl CompType {
    /// All of them.
    pub const ALL: [CompType; 8] = [
        CompType::Int,
        CompType::Real,
        CompType::Bool,
        CompType::Layer,
        CompType::Fn,
        CompType::Init,
        CompType::Params,
        CompType::Str,
    ];

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            CompType::Int => "int",
            CompType::Real => "real",
            CompType::Bool => "bool",
            CompType::Layer => "layer",
            CompType::Fn => "fn",
            CompType::Init => "init",
            CompType::Params => "params",
            CompType::Str => "string",
        }
    }
}

/// The axes of a tensor: `[n, s.., c div groups]`
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// One for each axis or pack of axes.
    pub dims: Vec<Dim>,
    /// With its brackets.
    pub span: Span,
}

/// One place of a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Dim {
    /// Which form.
    pub kind: DimKind,
    /// The whole.
    pub span: Span,
}

/// The forms of a place in a shape.
#[derive(Debug, Clone, PartialEq)]
pub enum DimKind {
    /// `..`: any axes, without a name.
    Dots,
    /// `n`, `2*n`, `s..`: an extent; a name that is not known yet is bound here.
    At {
        /// The extent.
        value: Expr,
        /// Whether `..` follows: one axis for each of the packs in it.
        pack: bool,
    },
}
