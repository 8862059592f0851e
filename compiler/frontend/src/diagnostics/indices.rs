//! Index notation: ranges, packs and indices out of place.

use super::{Explanation, also_new, shape_words, size_words};
use crate::value::Extent;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0325",
        title: "an index has two ranges",
        text: "An index that stands alone at an axis runs over the whole axis, so all axes where it stands must be equal. State its range with `in` where it should run over a part.\n\nWrong:\n    s = sum[i] a[i] * b[i]             // f32[3] and f32[4]\nRight:\n    s = sum[i in 3] a[i] * b[i]\n",
    },
    Explanation {
        code: "E0326",
        title: "an index has no range",
        text: "The range of an index follows from an axis at which it stands alone, from the type of the left side, or from a size of the same name.\n\nWrong:\n    let y[i] = x[i + 1]\nRight:\n    let y[i in 9] = x[i + 1]           // with x: f32[10]\n",
    },
    Explanation {
        code: "E0327",
        title: "a whole tensor within index notation",
        text: "Where elements are calculated with, every tensor needs its indices.\n\nWrong:\n    y[n, k] = x[n, k] + b\nRight:\n    y[n, k] = x[n, k] + b[k]\n",
    },
    Explanation {
        code: "E0328",
        title: "an index that the left side does not have",
        text: "An index is bound by the left side or by a reducer.\n\nWrong:\n    y[n] = x[n, k]\nRight:\n    y[n] = sum[k] x[n, k]\n",
    },
    Explanation {
        code: "E0371",
        title: "`each` without `+=`",
        text: "Several points of `each` may reach the same element, so they can only be added up, from zero, into a tensor of a declared shape.\n\nWrong:\n    let each[b] count[label[b]]: f32[k] = 1\nRight:\n    let each[b] count[label[b]]: f32[k] += 1\n",
    },
    Explanation {
        code: "E0375",
        title: "an index that is introduced twice",
        text: "A left side gives every element, so each of its places has an index of its own; so has each axis of a reducer. A diagonal is read with one index at two places, and written by choosing.\n\nWrong:\n    y[i, i] = x[i]\nRight:\n    y[i, j] = if i == j { x[i] } else { 0 }\n",
    },
    Explanation {
        code: "E0329",
        title: "`skip` outside of a reducer",
        text: "`skip` leaves a term of a sum, mean, maximum or minimum out. Elsewhere a value is needed.\n\nWrong:\n    y[i] = x[i + 1 else skip]\nRight:\n    y[i] = x[i + 1 else 0]\n",
    },
    Explanation {
        code: "E0330",
        title: "a pack that does not fit",
        text: "`expr..` stands once for each axis of the packs in it, which must have equally many axes; in a shape at most one pack may be open.\n\nWrong:\n    x |> conv(8, kernel = (3, 3, 3))   // on two axes\nRight:\n    x |> conv(8, kernel = (3, 3))\n",
    },
];

/// E0325.
pub(crate) fn index_range_conflict(
    name: &str,
    span: Span,
    known: Extent,
    found: Extent,
) -> Diagnostic {
    let (first, second) = (size_words(known.dim), size_words(found.dim));
    let shown = if name == ".." { "the axes `..`".to_string() } else { format!("index `{name}`") };
    let diagnostic = Diagnostic::error(
        "E0325",
        format!("{shown} runs over {first}, but this axis has {second}"),
        span,
    )
    .label(format!("this axis has {second}"));
    let diagnostic = also_new(diagnostic, known.from, format!("{first} comes from here"));
    also_new(diagnostic, found.from, format!("{second} comes from here"))
}

/// E0326.
pub(crate) fn index_range_unknown(name: &str, span: Span) -> Diagnostic {
    let shown = if name == ".." { "the axes `..`".to_string() } else { format!("index `{name}`") };
    Diagnostic::error("E0326", format!("nothing says what {shown} runs over"), span)
        .label("it stands alone at no axis")
        .help(format!("state its range: `{name} in n`"))
}

/// E0375.
pub(crate) fn index_twice(name: &str, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0375", format!("index `{name}` is introduced twice"), span)
        .label("every place has an index of its own")
        .also(first, format!("`{name}` is introduced here"))
}

/// E0327.
pub(crate) fn needs_index(shape: &[Extent], span: Span) -> Diagnostic {
    Diagnostic::error("E0327", "a whole tensor stands within index notation", span)
        .label(format!("this is a tensor {} without indices", shape_words(shape)))
        .help("give it indices, or compute it with `let` before")
}

/// E0328.
pub(crate) fn stray_index(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0328",
        format!("the right side depends on index `{name}`, which the left side lacks"),
        span,
    )
    .help(format!("reduce it, as in `sum[{name}] ..`, or add it to the left side"))
}

/// E0371.
pub(crate) fn each_adds(span: Span) -> Diagnostic {
    Diagnostic::error("E0371", "`each` goes with `+=` into elements", span)
        .label("every point of these indices adds its term")
        .help("write it as in `each[i] y[at[i]] += x[i]`")
}

/// E0329.
pub(crate) fn skip_outside(span: Span) -> Diagnostic {
    Diagnostic::error("E0329", "`skip` leaves a place without a value", span)
        .label("only a reducer can leave terms out")
}

/// E0330.
pub(crate) fn nothing_to_repeat(span: Span) -> Diagnostic {
    Diagnostic::error("E0330", "there is no pack to repeat here", span)
        .label("`..` wants a pack, such as the `s` of `f32[n, s.., c]`")
}

/// E0330.
pub(crate) fn packs_differ(span: Span, a: (&str, usize), b: (&str, usize)) -> Diagnostic {
    let headline = format!("pack `{}` has {} axes, but `{}` has {}", a.0, a.1, b.0, b.1);
    Diagnostic::error("E0330", headline, span).label("these are repeated together")
}

/// E0330.
pub(crate) fn pack_length(
    what: &str,
    span: Span,
    given: usize,
    wanted: usize,
    pack: &str,
) -> Diagnostic {
    Diagnostic::error(
        "E0330",
        format!("{what} needs one value for each of the {wanted} axes of `{pack}`"),
        span,
    )
    .label(format!("{given} given"))
    .help("a single value is used for all of them")
}

/// E0330.
pub(crate) fn pack_range(span: Span) -> Diagnostic {
    Diagnostic::error("E0330", "a single index cannot run over a pack", span)
        .help("make the index a pack as well: `u.. in size..`")
}

/// E0330.
pub(crate) fn two_open_packs(span: Span) -> Diagnostic {
    Diagnostic::error("E0330", "it is open how the axes are shared between two packs", span)
        .help("say how many axes one of them has: `where len(a..) = 1`")
}

/// E0330.
pub(crate) fn unbound_dots(span: Span) -> Diagnostic {
    Diagnostic::error("E0330", "`..` stands for no axes known here", span)
        .label("no argument's type has bound them")
}

/// E0330.
pub(crate) fn negative_length(span: Span, length: i64) -> Diagnostic {
    Diagnostic::error("E0330", format!("a pack cannot have {length} axes"), span)
}
