//! Results and requirements of declarations.

use super::Explanation;
use dlc_grammar::ast::{Ident, Label};
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0335",
        title: "a result is never assigned",
        text: "A named result takes its value by assignment in the body.\n\nWrong:\n    fn twice(x) -> y: f32[n] { 2 * x }\nRight:\n    fn twice(x: f32[n]) -> y: f32[n] { y = 2 * x }\n",
    },
    Explanation {
        code: "E0336",
        title: "there is no value",
        text: "The last statement of a body or of a branch must be an expression where a value is wanted.\n\nWrong:\n    fn f(x) { let y = 2 * x }\nRight:\n    fn f(x) { 2 * x }\n",
    },
    Explanation {
        code: "E0337",
        title: "a requirement does not hold",
        text: "A declaration may state in `where` what its sizes must satisfy.\n\nWrong:\n    x |> conv(10, kernel = 3, groups = 4)\nRight:\n    x |> conv(12, kernel = 3, groups = 4)\n",
    },
    Explanation {
        code: "E0338",
        title: "out of place",
        text: "Some statements have a meaning in some declarations only: `param` and `penalty` in layers and models, `total` in metrics, `yield` in loops.\n\nWrong:\n    fn f(x: f32[n, k]) { param w: f32[k] ~ zeros }\nRight:\n    layer f(x: f32[n, k]) { param w: f32[k] ~ zeros; x * w }\n",
    },
];

/// E0335.
pub(crate) fn result_not_assigned(name: &Ident, of: &str) -> Diagnostic {
    Diagnostic::error(
        "E0335",
        format!("`{of}` never assigns its result `{}`", name.name),
        name.span,
    )
    .label("declared here")
    .help(format!("assign it: `{} = ..`", name.name))
}

/// E0336.
pub(crate) fn no_value(span: Span, name: &str) -> Diagnostic {
    Diagnostic::error("E0336", format!("`{name}` gives no value"), span)
        .label("its last statement is no expression")
}

/// E0336.
pub(crate) fn if_without_value(span: Span) -> Diagnostic {
    Diagnostic::error("E0336", "this block gives no value", span).label("a value is wanted here")
}

/// E0336.
pub(crate) fn if_without_else(span: Span) -> Diagnostic {
    Diagnostic::error("E0336", "a choice between elements needs a value in both branches", span)
        .help("add `else { .. }`, and end both blocks with an expression")
}

/// E0337.
pub(crate) fn requirement(
    name: &str,
    message: Option<&str>,
    call: Span,
    condition: Span,
    facts: &[String],
) -> Diagnostic {
    let headline = match message {
        Some(message) => format!("`{name}`: {message}"),
        None => format!("a requirement of `{name}` does not hold"),
    };
    let diagnostic = Diagnostic::error("E0337", headline, call)
        .label("in this use")
        .also(condition, "this must hold");
    if facts.is_empty() { diagnostic } else { diagnostic.note(facts.join(", ")) }
}

/// E0338.
pub(crate) fn misplaced(what: &str, place: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0338", format!("`{what}` has no meaning here"), span)
        .label(format!("its place is {place}"))
}

/// E0338.
pub(crate) fn misplaced_label(label: &Label) -> Diagnostic {
    Diagnostic::error("E0338", format!("`as {}` stands behind no call", label.text), label.span)
        .label("names the parameters of a layer")
}
