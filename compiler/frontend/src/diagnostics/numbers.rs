//! Arithmetic on sizes that has no result.

use super::Explanation;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0323",
        title: "arithmetic without a result",
        text: "A number known when the program is compiled lies outside of -2^53 to 2^53, is divided by zero, or a function has no real value there.\n\nWrong:\n    let k = 10 div (3 - 3)\nRight:\n    let k = 10 div 3\n",
    },
    Explanation {
        code: "E0324",
        title: "a size depends on the batch",
        text: "The batch is chosen when the program runs. Sizes may be multiples of it plus a constant, and nothing else: it cannot be divided, multiplied with itself or compared with a fixed number.\n\nWrong:\n    let half = batch div 2\nRight:\n    let twice = batch * 2\n",
    },
];

/// E0323.
pub(crate) fn overflow(span: Span) -> Diagnostic {
    Diagnostic::error("E0323", "this number is too large", span)
        .label("integers lie between -2^53 and 2^53")
}

/// E0323.
pub(crate) fn zero_divisor(span: Span) -> Diagnostic {
    Diagnostic::error("E0323", "a division by zero", span).label("the right side is 0")
}

/// E0323.
pub(crate) fn no_real_value(name: &str, argument: f64, span: Span) -> Diagnostic {
    Diagnostic::error("E0323", format!("`{name}` has no real value at {argument}"), span)
}

/// E0324.
pub(crate) fn batch_dependent(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(
        "E0324",
        format!("{what} depends on the batch in a way that a size cannot"),
        span,
    )
    .label("only multiples of the batch plus a constant are sizes")
}
