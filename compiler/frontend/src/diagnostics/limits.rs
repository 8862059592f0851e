//! What the compiler does not do, or not yet.

use super::Explanation;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0350",
        title: "not supported yet",
        text: "The text has a meaning in the language, but this version of the compiler cannot translate it.\n\nWrong:\n    scan t in 8 { scan s in 8 { .. } }\nRight:\n    scan t in 8 { for s in 8 { .. } }  // the inner loop is repeated when the program is compiled\n",
    },
    Explanation {
        code: "E0351",
        title: "the program grows without end",
        text: "Layers and functions are inlined, so text that calls itself never ends unless an `if` on sizes stops it.\n\nWrong:\n    fn f(n: int) = f(n + 1)\nRight:\n    fn f(n: int) -> int = if n == 0 { 0 } else { f(n - 1) }\n",
    },
    Explanation {
        code: "E0372",
        title: "a loop of fewer than two steps",
        text: "A `scan` carries a value from step to step, so there are at least two of them.\n\nWrong:\n    scan t in 1 carry h = x { h = h * 2 }\nRight:\n    scan t in 8 carry h = x { h = h * 2 }\n",
    },
    Explanation {
        code: "E0373",
        title: "where the slice of a step goes",
        text: "A `yield` in a `scan` gives one slice of a tensor; the loop's index stands once, at the axis of the steps, and the other places are the slice's own.\n\nWrong:\n    scan t in 8 carry h = x { h = h * 2; yield y[:, :] = h }\nRight:\n    scan t in 8 carry h = x { h = h * 2; yield y[:, t, :] = h }\n",
    },
    Explanation {
        code: "E0352",
        title: "too large",
        text: "A tensor or a loop is larger than any machine could hold; most likely a size is wrong.\n\nWrong:\n    x |> dense(1000000000000)\nRight:\n    x |> dense(1000)\n",
    },
];

/// E0350.
pub(crate) fn not_supported(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0350", format!("{what} is not supported yet"), span)
}

/// E0351.
pub(crate) fn too_deep(span: Span, limit: usize) -> Diagnostic {
    Diagnostic::error("E0351", "calls and expressions are nested too deeply", span)
        .label(format!("more than {limit} levels"))
        .note("text that calls itself needs an `if` that ends it")
}

/// E0351.
pub(crate) fn too_much_work(span: Span, steps: u64, nodes: usize) -> Diagnostic {
    Diagnostic::error("E0351", "the program is too large", span).label(format!(
        "more than {steps} steps or {nodes} operations when the text is written out"
    ))
}

/// E0352.
pub(crate) fn tensor_too_large(span: Span, limit: i64) -> Diagnostic {
    Diagnostic::error("E0352", "a tensor is too large", span)
        .label(format!("more than {limit} elements an example"))
}

/// E0372.
pub(crate) fn too_few_steps(span: Span, steps: i64) -> Diagnostic {
    Diagnostic::error("E0372", "a `scan` has at least two steps", span)
        .label(format!("{steps} here"))
        .help("`for` repeats any number of times")
}

/// E0373.
pub(crate) fn yield_place(index: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0373", format!("one place of what is yielded is the step `{index}`"), span)
        .label("the others are those of the slice")
        .help(format!("write it as in `yield y[:, {index}, :] = ..`"))
}

/// E0352.
pub(crate) fn too_many_turns(span: Span, turns: i64, limit: i64) -> Diagnostic {
    Diagnostic::error(
        "E0352",
        format!("a loop of {turns} turns is written out {turns} times"),
        span,
    )
    .label(format!("at most {limit}"))
    .help("`scan` runs with the model")
}
