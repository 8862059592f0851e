//! Shapes that disagree.

use super::{Explanation, also_new, count_words, shape_words, size_words};
use crate::value::Extent;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0312",
        title: "an axis has the wrong extent",
        text: "The type of an argument or result says which extent an axis has; a name of a size is bound where it first appears and must be the same wherever it appears again.\n\nWrong:\n    fn dot(a: f32[n], b: f32[n]) = sum[i] a[i] * b[i]      // called with f32[3] and f32[4]\nRight:\n    dot(a, b)                                               // with two tensors of equal length\n",
    },
    Explanation {
        code: "E0313",
        title: "wrong number of axes",
        text: "A tensor has another number of axes than its type says.\n\nWrong:\n    image |> conv(8, kernel = 3)       // with image: f32[batch, 64]\nRight:\n    image |> conv(8, kernel = 3)       // with image: f32[batch, 8, 8, 1]\n",
    },
    Explanation {
        code: "E0314",
        title: "operands do not line up",
        text: "Element by element, shapes are lined up from their last axes, and axes that meet must be equal; a tensor with fewer axes is repeated along the others.\n\nWrong:\n    x + b                              // f32[batch, 10] and f32[batch]\nRight:\n    y[n, k] = x[n, k] + b[n]\n",
    },
    Explanation {
        code: "E0315",
        title: "a matrix product does not fit",
        text: "In `a @ b` the last axis of `a` meets the last but one of `b`; axes before these must be equal.\n\nWrong:\n    x @ w                              // f32[batch, 64] and f32[10, 64]\nRight:\n    x @ w                              // f32[batch, 64] and f32[64, 10]\n",
    },
    Explanation {
        code: "E0316",
        title: "an axis has no elements",
        text: "Every axis has at least one element for every batch. A window that is larger than the image it moves over leaves none.\n\nWrong:\n    x |> max_pool(9)                   // of f32[batch, 8, 8, 1]\nRight:\n    x |> max_pool(2)\n",
    },
];

fn extent_words(shape: &[Extent], at: usize) -> String {
    shape.get(at).map_or("nothing".to_string(), |extent| size_words(extent.dim))
}

/// E0312: an axis of a value against its type.
pub(crate) fn shape_mismatch(
    what: &str,
    span: Span,
    shape: &[Extent],
    at: usize,
    wanted: Extent,
    declared: Span,
) -> Diagnostic {
    let (has, wants) = (extent_words(shape, at), size_words(wanted.dim));
    let headline = format!("{what} should have {wants} along axis {}, but has {has}", at + 1);
    let diagnostic =
        Diagnostic::error("E0312", headline, span).label(format!("this is {}", shape_words(shape)));
    let diagnostic = also_new(diagnostic, Some(declared), format!("{wants} wanted here"));
    let diagnostic = also_new(diagnostic, wanted.from, format!("{wants} comes from here"));
    also_new(
        diagnostic,
        shape.get(at).and_then(|extent| extent.from),
        format!("{has} comes from here"),
    )
}

/// E0312: a value against the shape of what it is assigned to.
pub(crate) fn value_shape(
    what: &str,
    span: Span,
    shape: &[Extent],
    wanted: &[Extent],
) -> Diagnostic {
    let headline =
        format!("{what} is {}, but the value is {}", shape_words(wanted), shape_words(shape));
    let clash = shape.iter().zip(wanted).find(|(a, b)| a.dim != b.dim);
    let diagnostic =
        Diagnostic::error("E0312", headline, span).label(format!("this is {}", shape_words(shape)));
    match clash {
        Some((has, wants)) => {
            let diagnostic =
                also_new(diagnostic, has.from, format!("{} comes from here", size_words(has.dim)));
            also_new(diagnostic, wants.from, format!("{} comes from here", size_words(wants.dim)))
        }
        None => diagnostic,
    }
}

/// E0313.
pub(crate) fn rank_mismatch(
    what: &str,
    span: Span,
    shape: &[Extent],
    declared: Span,
) -> Diagnostic {
    let has = count_words(shape.len(), "axis", "axes");
    let diagnostic =
        Diagnostic::error("E0313", format!("{what} has {has}, which does not fit its type"), span)
            .label(format!("this is {}", shape_words(shape)));
    also_new(diagnostic, Some(declared), "the shape it should have")
}

/// E0313: an initializer is for other shapes.
pub(crate) fn init_shape(name: &str, span: Span, shape: &[Extent], declared: Span) -> Diagnostic {
    Diagnostic::error(
        "E0313",
        format!("`{name}` cannot fill a tensor {}", shape_words(shape)),
        span,
    )
    .label(format!("asked for {}", shape_words(shape)))
    .also(declared, "the shapes it is for")
}

/// E0314.
pub(crate) fn broadcast_mismatch(
    what: &str,
    span: Span,
    a: &[Extent],
    b: &[Extent],
    from_end: usize,
) -> Diagnostic {
    let (left, right) = (shape_words(a), shape_words(b));
    let diagnostic =
        Diagnostic::error("E0314", format!("`{what}` cannot line up {left} with {right}"), span);
    let at =
        |shape: &[Extent]| shape.len().checked_sub(from_end).and_then(|at| shape.get(at).copied());
    let (Some(has), Some(other)) = (at(a), at(b)) else { return diagnostic };
    let (x, y) = (size_words(has.dim), size_words(other.dim));
    let diagnostic = diagnostic.label(format!("{x} on the left meets {y} on the right"));
    let diagnostic = also_new(diagnostic, has.from, format!("{x} comes from here"));
    also_new(diagnostic, other.from, format!("{y} comes from here")).note(
        "axes are lined up from the last; name them with index notation to line them up otherwise",
    )
}

/// E0314.
pub(crate) fn concat_mismatch(span: Span, a: &[Extent], b: &[Extent]) -> Diagnostic {
    let (left, right) = (shape_words(a), shape_words(b));
    Diagnostic::error("E0314", format!("`concat` cannot put {left} beside {right}"), span)
        .label("all axes but the one along which they are joined must be equal")
}

/// E0314.
pub(crate) fn no_such_axis(span: Span, axis: i64, shape: &[Extent]) -> Diagnostic {
    Diagnostic::error("E0314", format!("there is no axis {axis}"), span)
        .label(format!("the tensor is {}", shape_words(shape)))
        .note("axes are counted from 0, or from the end: -1 is the last")
}

/// E0315.
pub(crate) fn matmul_mismatch(span: Span, a: &[Extent], b: &[Extent]) -> Diagnostic {
    let inner_a = a.last().copied();
    let inner_b = if b.len() > 1 { b.get(b.len() - 2) } else { b.first() }.copied();
    let headline = format!("`@` cannot multiply {} with {}", shape_words(a), shape_words(b));
    let diagnostic = Diagnostic::error("E0315", headline, span);
    let (Some(x), Some(y)) = (inner_a, inner_b) else { return diagnostic };
    if x.dim == y.dim {
        return diagnostic.label("the axes before the last two must be equal");
    }
    let (left, right) = (size_words(x.dim), size_words(y.dim));
    let diagnostic = diagnostic.label(format!("rows of {left} meet columns of {right}"));
    let diagnostic = also_new(diagnostic, x.from, format!("{left} comes from here"));
    also_new(diagnostic, y.from, format!("{right} comes from here"))
}

/// E0316.
pub(crate) fn empty_axis(span: Span, extent: Extent) -> Diagnostic {
    let size = size_words(extent.dim);
    let diagnostic =
        Diagnostic::error("E0316", format!("an axis cannot have {size} elements"), span)
            .label("every axis has at least one element, whatever the batch");
    also_new(diagnostic, extent.from, format!("{size} comes from here"))
}
