//! Everything the front end can say to the user, one family of faults a file.
//!
//! A constructor takes what is known about the fault and gives the whole message, so that the code that finds a fault holds no
//! prose. Each code has an [`Explanation`] with a wrong and a right program, for `dlc explain`. Codes never change their meaning.

mod arguments;
mod indices;
mod limits;
mod lints;
mod names;
mod numbers;
mod parallel;
mod parameters;
mod results;
pub mod running;
mod shapes;
mod subscripts;
mod training;
mod types;

pub(crate) use arguments::*;
pub(crate) use indices::*;
pub(crate) use limits::*;
pub(crate) use lints::*;
pub(crate) use names::*;
pub(crate) use numbers::*;
pub(crate) use parallel::*;
pub(crate) use parameters::*;
pub(crate) use results::*;
pub(crate) use shapes::*;
pub(crate) use subscripts::*;
pub(crate) use training::*;
pub(crate) use types::*;

use crate::value::{Extent, Number, Value};
use dlc_grammar::{Diagnostic, Span};
use dlc_ir::Dim;
use dlc_ir::graph::infer::dim_text;

pub use dlc_grammar::diagnostic::Explanation;

/// All explanations of the front end, in order of their codes.
pub fn explanations() -> Vec<Explanation> {
    let mut all: Vec<Explanation> = [
        names::EXPLANATIONS,
        arguments::EXPLANATIONS,
        shapes::EXPLANATIONS,
        types::EXPLANATIONS,
        numbers::EXPLANATIONS,
        indices::EXPLANATIONS,
        subscripts::EXPLANATIONS,
        results::EXPLANATIONS,
        parameters::EXPLANATIONS,
        training::EXPLANATIONS,
        parallel::EXPLANATIONS,
        limits::EXPLANATIONS,
        lints::EXPLANATIONS,
        running::EXPLANATIONS,
    ]
    .concat();
    all.sort_by_key(|explanation| explanation.code);
    all
}

/// A shape in words: `[batch, 28, 28]`.
pub(crate) fn shape_words(shape: &[Extent]) -> String {
    let dims: Vec<String> = shape.iter().map(|extent| dim_text(extent.dim)).collect();
    format!("[{}]", dims.join(", "))
}

/// A size in words.
pub(crate) fn size_words(dim: Dim) -> String {
    dim_text(dim)
}

/// A value in words, where it is short enough to be shown.
pub(crate) fn value_words(value: &Value) -> Option<String> {
    match value {
        Value::Number(Number::Int(dim)) => Some(dim_text(*dim)),
        Value::Number(Number::Real(real)) => Some(real.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Choice(choice) => Some(format!("`{}`", choice.word)),
        Value::Pack(parts) => {
            let parts: Option<Vec<String>> = parts.iter().map(value_words).collect();
            parts.map(|parts| format!("({})", parts.join(", ")))
        }
        _ => None,
    }
}

/// A count with its noun: `1 axis`, `3 axes`.
pub(crate) fn count_words(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// Adds a place unless something is said about it already.
pub(crate) fn also_new(
    diagnostic: Diagnostic,
    span: Option<Span>,
    text: impl Into<String>,
) -> Diagnostic {
    match span {
        Some(span)
            if span != diagnostic.primary.span
                && !diagnostic.secondary.iter().any(|labelled| labelled.span == span) =>
        {
            diagnostic.also(span, text)
        }
        _ => diagnostic,
    }
}

/// Adds `did you mean` with a replacement, if there is a near name.
pub(crate) fn suggest(diagnostic: Diagnostic, span: Span, near: Option<String>) -> Diagnostic {
    use dlc_grammar::diagnostic::Applicability;
    match near {
        Some(near) => {
            let text = format!("there is a similar name: `{near}`");
            diagnostic.fix(text, span, near, Applicability::Unsafe)
        }
        None => diagnostic,
    }
}

/// Words in a list: `a`, `b` or `c`.
pub(crate) fn alternatives(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_once_with_two_programs() {
        let all = explanations();
        for pair in all.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} comes twice", pair[1].code);
        }
        for explanation in all {
            let family = ["E03", "E04", "W03", "W04"]
                .iter()
                .any(|family| explanation.code.starts_with(family));
            assert!(family, "{}", explanation.code);
            assert!(explanation.text.contains("Wrong:"), "{}", explanation.code);
            assert!(explanation.text.contains("Right:"), "{}", explanation.code);
        }
    }

    #[test]
    fn every_code_in_use_is_explained() {
        let sources = [
            include_str!("names.rs"),
            include_str!("arguments.rs"),
            include_str!("shapes.rs"),
            include_str!("types.rs"),
            include_str!("numbers.rs"),
            include_str!("indices.rs"),
            include_str!("subscripts.rs"),
            include_str!("results.rs"),
            include_str!("parameters.rs"),
            include_str!("training.rs"),
            include_str!("limits.rs"),
            include_str!("lints.rs"),
            include_str!("running.rs"),
        ];
        let known = explanations();
        for source in sources {
            let codes =
                ["(\"E0", "(\"W0"].into_iter().flat_map(|start| source.match_indices(start));
            for (at, _) in codes {
                let code = &source[at + 2..at + 7];
                assert!(known.iter().any(|one| one.code == code), "{code} has no explanation");
            }
        }
    }
}
