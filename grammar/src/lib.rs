//! The surface of the language: grammar, syntax tree, formatter, diagnostics and the standard library's text.
//!
//! - [`span`]: byte ranges and the table of files.
//! - [`ast`]: the syntax tree; its module documentation lists the nodes.
//! - [`diagnostic`]: what is said to the user, and its renderers.
//!
//! Parsing never fails: what cannot be read becomes a diagnostic and a `Bad` node, and reading goes on after it.
#![forbid(unsafe_code)]
pub mod ast;
pub mod diagnostic;
pub mod span;

pub use diagnostic::{Diagnostic, Severity};
pub use span::{FileId, Sources, Span};

/// The files of the standard library: name and text.
pub fn std_files() -> &'static [(&'static str, &'static str)] {
    &[]
}
