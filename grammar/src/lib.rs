//! The surface of the language: grammar, syntax tree, formatter, diagnostics and the standard library's text.
//!
//! - [`span`]: byte ranges and the table of files.
//! - [`ast`]: the syntax tree; its module documentation lists the nodes.
//! - [`parse()`]: text to tree and diagnostics.
//! - [`diagnostic`]: what is said to the user, and its renderers.
//! - [`format()`]: one way to write a program.
//!
//! Parsing never fails: what cannot be read becomes a diagnostic and a `Bad` node, and reading goes on after it.
#![forbid(unsafe_code)]
pub mod ast;
pub mod diagnostic;
pub mod format;
pub mod lex;
mod library;
mod lower;
pub mod parse;
pub mod span;

pub use diagnostic::{Diagnostic, Severity, render_concise, render_json, render_terminal};
pub use format::format;
pub use library::std_used;
pub use parse::{Parsed, parse, parse_part};
pub use span::{FileId, Sources, Span};

/// The files of the standard library, written in the language: name and text.
///
/// The compiler reads them before any file of the user and knows none of their items by name.
pub fn std_files() -> &'static [(&'static str, &'static str)] {
    &[
        ("shapes.dl", include_str!("../std/shapes.dl")),
        ("initializers.dl", include_str!("../std/initializers.dl")),
        ("activations.dl", include_str!("../std/activations.dl")),
        ("layers.dl", include_str!("../std/layers.dl")),
        ("transposed.dl", include_str!("../std/transposed.dl")),
        ("embedding.dl", include_str!("../std/embedding.dl")),
        ("recurrent.dl", include_str!("../std/recurrent.dl")),
        ("conv.dl", include_str!("../std/conv.dl")),
        ("norm.dl", include_str!("../std/norm.dl")),
        ("attention.dl", include_str!("../std/attention.dl")),
        ("pool.dl", include_str!("../std/pool.dl")),
        ("losses.dl", include_str!("../std/losses.dl")),
        ("metrics.dl", include_str!("../std/metrics.dl")),
        ("optimizers.dl", include_str!("../std/optimizers.dl")),
        ("schedules.dl", include_str!("../std/schedules.dl")),
    ]
}
