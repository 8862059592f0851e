//! What an expression can stand for while a program is elaborated.
//!
//! Values known when the program is compiled (sizes, numbers, words, layers) live here and nowhere else; tensors are nodes of the
//! graph; a [`Cell`] is one element of a tensor expression inside index notation, as a function of the index axes it uses.

use crate::declarations::DeclRef;
use dlc_grammar::Span;
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Fill, NodeId};
use std::sync::Arc;

/// Proof that a diagnostic was issued, so that what depends on the faulty text can be passed over silently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported(());

impl Reported {
    /// Only [`crate::elaborate::Elaborator::report`] and values that are faulty already may claim this.
    pub(crate) fn already() -> Self {
        Reported(())
    }
}

/// The outcome of evaluating a piece of text.
pub(crate) type Eval<T> = Result<T, Reported>;

/// A size and the text that fixed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// How many.
    pub dim: Dim,
    /// Where that was written; `None` for sizes that follow from no text.
    pub from: Option<Span>,
}

impl Extent {
    /// A size without a place in the text.
    pub(crate) fn of(dim: Dim) -> Self {
        Extent { dim, from: None }
    }
}

/// A tensor: a node, with the origin of each of its extents.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    /// The node.
    pub node: NodeId,
    /// Its shape.
    pub shape: Vec<Extent>,
}

impl Tensor {
    /// The extents without their origins.
    pub(crate) fn dims(&self) -> Vec<Dim> {
        self.shape.iter().map(|extent| extent.dim).collect()
    }

    /// Number of axes.
    pub(crate) fn rank(&self) -> usize {
        self.shape.len()
    }
}

/// A number known when the program is compiled, but for the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// A size or another integer.
    Int(Dim),
    /// A real number.
    Real(f64),
}

impl Number {
    /// A fixed integer.
    pub(crate) fn int(value: i64) -> Self {
        Number::Int(Dim::fixed(value))
    }

    /// Its value, where the batch does not matter.
    pub(crate) fn as_f64(self) -> Option<f64> {
        match self {
            Number::Int(dim) => dim.as_fixed().map(|value| value as f64),
            Number::Real(value) => Some(value),
        }
    }
}

/// One element of a tensor expression, not yet computed. Subscripts are affine in the elaborator's index axes.
///
/// Reads and products stay as they are until something needs them, so that a sum over a product of two reads becomes one
/// contraction and no operand of it is ever laid out over all axes.
#[derive(Debug, Clone)]
pub(crate) enum Term {
    /// A number.
    Number(Number),
    /// An integer by index.
    Index(Affine),
    /// An element of a tensor.
    Read(CellRead),
    /// A product.
    Mul(Arc<Term>, Arc<Term>),
    /// A quotient of floats.
    Div(Arc<Term>, Arc<Term>),
}

/// An element of a tensor, by affine subscripts.
#[derive(Debug, Clone)]
pub(crate) struct CellRead {
    /// The tensor.
    pub node: NodeId,
    /// One for each of its axes.
    pub subs: Vec<Affine>,
    /// What lies outside.
    pub fill: Fill,
}

/// A term with the condition under which it exists (`skip` where it does not).
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// The value.
    pub term: Term,
    /// A truth value; `None` where the term always exists or its own [`Fill::Skip`] says when.
    pub exists: Option<Arc<Term>>,
}

impl Cell {
    /// A term that always exists.
    pub(crate) fn always(term: Term) -> Self {
        Cell { term, exists: None }
    }
}

/// One word of a closed list.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// The word.
    pub word: String,
    /// The list.
    pub options: Arc<[String]>,
}

/// A layer or function, possibly with some arguments given.
#[derive(Debug, Clone)]
pub(crate) struct Callable {
    /// What is called.
    pub target: Target,
    /// The arguments given so far.
    pub given: Vec<Given>,
    /// The name its parameters go by, if one was given.
    pub label: Option<String>,
}

/// What can be called.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A declaration.
    Decl(DeclRef),
    /// A function of the language itself.
    Builtin(String),
}

/// An argument that has its value.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// The formal, where it was named.
    pub name: Option<String>,
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub span: Span,
}

/// A layer with one set of parameters for all its uses.
#[derive(Debug, Clone)]
pub(crate) struct SharedLayer {
    /// The layer with its arguments.
    pub callable: Callable,
    /// The full name its parameters begin with.
    pub path: String,
}

/// Several results; the first is the value where one value is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Names and values, in order of declaration.
    pub fields: Vec<(String, Value)>,
}

/// What an expression stands for.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A number.
    Number(Number),
    /// A truth value.
    Bool(bool),
    /// A string.
    Str(String),
    /// One word of a closed list.
    Choice(Choice),
    /// `none`.
    None,
    /// `skip`.
    Skip,
    /// `(a, b)`.
    Tuple(Vec<Value>),
    /// `[a, b]`, or what a `for` yields.
    List(Vec<Value>),
    /// One value for each axis of a pack.
    Pack(Vec<Value>),
    /// A tensor.
    Tensor(Tensor),
    /// An element by index.
    Cell(Cell),
    /// Several results.
    Record(Arc<Record>),
    /// A layer or function.
    Callable(Arc<Callable>),
    /// A layer whose uses share their parameters.
    Shared(Arc<SharedLayer>),
    /// Parameters chosen by pattern: their values.
    Params(Vec<Tensor>),
    /// Declared as a result and not assigned yet.
    Unset,
    /// Faulty, and reported.
    Bad,
}

impl Value {
    /// A fixed integer.
    pub(crate) fn int(value: i64) -> Self {
        Value::Number(Number::int(value))
    }

    /// A size.
    pub(crate) fn dim(dim: Dim) -> Self {
        Value::Number(Number::Int(dim))
    }

    /// A real number.
    pub(crate) fn real(value: f64) -> Self {
        Value::Number(Number::Real(value))
    }

    /// The value where one value is wanted: the first of several results.
    pub(crate) fn first(self) -> Value {
        match self {
            Value::Record(record) => match record.fields.first() {
                Some((_, value)) => value.clone(),
                None => Value::None,
            },
            other => other,
        }
    }

    /// The parts of a tuple, list or pack.
    pub(crate) fn parts(&self) -> Option<&[Value]> {
        match self {
            Value::Tuple(parts) | Value::List(parts) | Value::Pack(parts) => Some(parts),
            _ => None,
        }
    }

    /// What it is, for messages, with an article.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Value::Number(Number::Int(_)) => "an integer",
            Value::Number(Number::Real(_)) => "a real number",
            Value::Bool(_) => "a truth value",
            Value::Str(_) => "a string",
            Value::Choice(_) => "a choice",
            Value::None => "`none`",
            Value::Skip => "`skip`",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Pack(_) => "a pack",
            Value::Tensor(_) => "a tensor",
            Value::Cell(_) => "an element by index",
            Value::Record(_) => "several results",
            Value::Callable(_) => "a function",
            Value::Shared(_) => "a shared layer",
            Value::Params(_) => "a set of parameters",
            Value::Unset => "a result without a value",
            Value::Bad => "a faulty value",
        }
    }
}
