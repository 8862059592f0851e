//! Subscripts that do not fit what they read.

use super::{Explanation, also_new, count_words, shape_words, size_words};
use crate::value::Extent;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0331",
        title: "a subscript leaves its axis",
        text: "Subscripts are proven to stay within their axes for every batch. Where they may leave, `else` says what stands outside.\n\nWrong:\n    y[i in 10] = x[i + 1]              // with x: f32[10]\nRight:\n    y[i in 10] = x[i + 1 else 0]\n",
    },
    Explanation {
        code: "E0332",
        title: "wrong number of subscripts",
        text: "An access has one subscript for each axis; a pack or `..` stands for several.\n\nWrong:\n    x[n]                               // with x: f32[batch, 10]\nRight:\n    x[n, k]\n",
    },
    Explanation {
        code: "E0333",
        title: "a subscript is no integer",
        text: "Places are integers: indices, sizes, or tensors of type i32.\n\nWrong:\n    x[0.5]\nRight:\n    x[0]\n",
    },
    Explanation {
        code: "E0334",
        title: "a group of something else than indices",
        text: "`(g, v)` joins indices, the last running fastest; all but the first need an extent, so they must be plain indices or packs of them.\n\nWrong:\n    x[(g, v + 1)]\nRight:\n    x[(g, v)]\n",
    },
];

/// E0331.
pub(crate) fn index_out_of_range(
    span: Span,
    range: Option<(i64, i64)>,
    extent: Extent,
    indices: &[(String, Option<Extent>)],
) -> Diagnostic {
    let size = size_words(extent.dim);
    let headline = match range {
        Some((low, high)) if low == high => {
            format!("this subscript is {low}, but the axis has {size}")
        }
        Some((low, high)) => {
            format!("this subscript runs from {low} to {high}, but the axis has {size}")
        }
        None => format!("this subscript is not proven to stay within the axis of {size}"),
    };
    let mut diagnostic =
        Diagnostic::error("E0331", headline, span).label(format!("must lie in 0..{size}"));
    diagnostic = also_new(diagnostic, extent.from, format!("{size} comes from here"));
    for (name, extent) in indices {
        if let Some(extent) = extent {
            diagnostic = diagnostic.note(format!("`{name}` runs over {}", size_words(extent.dim)));
        }
    }
    diagnostic.help(
        "say what stands outside: `else 0`, or `else skip` to leave the term out of a reducer",
    )
}

/// E0331.
pub(crate) fn part_out_of_range(span: Span, from: i64, to: i64, extent: Extent) -> Diagnostic {
    let size = size_words(extent.dim);
    let diagnostic =
        Diagnostic::error("E0331", format!("`{from}:{to}` is no part of an axis of {size}"), span)
            .label(format!("must lie in 0..{size} and hold at least one place"));
    also_new(diagnostic, extent.from, format!("{size} comes from here"))
}

/// E0332.
pub(crate) fn subscript_count(
    span: Span,
    wanted: usize,
    given: usize,
    shape: &[Extent],
) -> Diagnostic {
    let given = count_words(given, "subscript", "subscripts");
    let has = count_words(wanted, "axis", "axes");
    let diagnostic = Diagnostic::error("E0332", format!("{given} for {has}"), span);
    if shape.is_empty() {
        return diagnostic;
    }
    diagnostic.label(format!("the tensor is {}", shape_words(shape)))
}

/// E0333.
pub(crate) fn subscript_type(noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0333", format!("a subscript is an integer, but this is {noun}"), span)
}

/// E0334.
pub(crate) fn group_member(span: Span) -> Diagnostic {
    Diagnostic::error("E0334", "a group joins plain indices", span)
        .label("this is none, so its extent is not known")
}
