//! The syntax tree: what was written, with a span on every node, before any name is looked up.
//!
//! The tree is plain data with public fields. In one view (`?` optional, `*` a list):
//!
//! ```text
//! File      items*
//! Item      docs* kind: Use | Decl | Train | Parallel | Bad
//! Decl      kind name formals* results* wheres* body: Block | Expr
//! Formal    docs* name ty? default?
//! Where     Define { target: Name | Pack | Len, value } | Require { condition, message? }
//! Train     name formals* body: TrainStmt* = Step | Let | Setting | Bad
//! Setting   key name? value: Expr | Call | Globs, on*
//! Parallel  name body: Data | Pipeline | Tensor | Option | Bad
//! Block     stmts*
//! Stmt      docs* kind: Let | Param | State | Shared | Total | Penalty | Yield | Scan | For | Assign | Expr | Bad
//! Head      binders* = Dots | All | Index { name pack range? } | Group | At { value pack }     left sides: `y[n, i.., (g, f)]`
//! Expr      Number | Str | Bool | None | Skip | Name | Paren | Tuple | List | Unary | Binary | Is | Reduce
//!           | Call | Access { base subs* fallback? } | Field | Labelled | If | With | Pipe | Bad
//! Sub       Dots | Slice { from? to? } | Group | At { value pack }                               reads: `x[n, (i*2).., (g, v)]`
//! Type      Tensor { dtype shape? } | Comp { comp per? } | Choice | Tuple
//! Dim       Dots | At { value pack }                                                         shapes: `f32[n, s.., c]`
//! ```
//!
//! **Invariant:** in `File`s that parsed without an error no `Bad` node occurs. A `Bad` node stands for text that was
//! reported already; later stages pass over it silently and do not report what follows from its absence.
mod expr;
mod item;
mod spans;
mod stmt;
mod ty;

pub use expr::*;
pub use item::*;
pub use spans::{EachSpan, eq_ignoring_spans};
pub use stmt::*;
pub use ty::*;

use crate::span::Span;

/// A name.
#[derive(Debug, Clone, PartialEq)]
pub struct Ident {
    /// The name as written.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

/// Names joined by dots: `words.table`.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// At least one name.
    pub parts: Vec<Ident>,
    /// From the first name to the last.
    pub span: Span,
}

impl Path {
    /// The only name, if the path has no dots.
    pub fn single(&self) -> Option<&Ident> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The path as text, with dots.
    pub fn text(&self) -> String {
        let names: Vec<&str> = self.parts.iter().map(|part| part.name.as_str()).collect();
        names.join(".")
    }
}

/// A string literal. There are no escapes: the text is what stands between the quotation marks.
#[derive(Debug, Clone, PartialEq)]
pub struct StrLit {
    /// The text without its quotation marks.
    pub text: String,
    /// With the quotation marks.
    pub span: Span,
}

/// One documentation line, `/// text`.
#[derive(Debug, Clone, PartialEq)]
pub struct Doc {
    /// The line without `///`, without one space after it, and without white space at its end.
    pub text: String,
    /// The whole line from `///` on.
    pub span: Span,
}

/// A name for the parameters of a layer: `as shortcut`, `as "block_1/conv"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The name.
    pub text: String,
    /// Whether it was written in quotation marks.
    pub quoted: bool,
    /// The name alone, without `as`.
    pub span: Span,
}
