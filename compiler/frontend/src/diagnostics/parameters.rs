//! Parameters, state and their names.

use super::{Explanation, shape_words, size_words};
use crate::value::Extent;
use dlc_grammar::ast::{Ident, StrLit};
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0339",
        title: "a parameter is declared twice",
        text: "Parameters and state are known by their names, which are distinct within a layer.\n\nWrong:\n    param w: f32[k] ~ zeros\n    param w: f32[k] ~ ones\nRight:\n    param w: f32[k] ~ zeros\n    param v: f32[k] ~ ones\n",
    },
    Explanation {
        code: "E0340",
        title: "a parameter has no fixed shape",
        text: "Parameters and state are the same for every batch, and all uses of a shared layer need the same shapes.\n\nWrong:\n    param w: f32[batch, 10] ~ zeros\nRight:\n    param w: f32[10] ~ zeros\n",
    },
    Explanation {
        code: "E0341",
        title: "a state needs a type",
        text: "In a layer a state has no parameter to take its shape from.\n\nWrong:\n    state mean = 0\nRight:\n    state mean: f32[c] = 0\n",
    },
    Explanation {
        code: "E0342",
        title: "a pattern fits no parameter",
        text: "`*` stands for any letters. `dlc summary` prints the names of all parameters.\n\nWrong:\n    freeze \"stem.*\"                    // in a model without a layer `stem`\nRight:\n    freeze \"conv_1.*\"\n",
    },
];

/// E0339.
pub(crate) fn duplicate_param(name: &Ident, first: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "E0339",
        format!("`{}` is declared twice in this layer", name.name),
        name.span,
    )
    .label("its name is taken");
    super::also_new(diagnostic, Some(first), "first declared here")
}

/// E0340.
pub(crate) fn param_with_batch(name: &Ident, span: Span, extent: Extent) -> Diagnostic {
    let size = size_words(extent.dim);
    Diagnostic::error(
        "E0340",
        format!("the shape of parameter `{}` depends on the batch", name.name),
        span,
    )
    .label(format!("the extent of an axis is {size}"))
}

/// E0340.
pub(crate) fn state_with_batch(name: &Ident, span: Span, extent: Extent) -> Diagnostic {
    let size = size_words(extent.dim);
    Diagnostic::error("E0340", format!("state `{}` depends on the batch", name.name), span)
        .label(format!("the extent of an axis is {size}; a state outlives its batch"))
}

/// E0340.
pub(crate) fn total_with_batch(name: &Ident, extent: Extent) -> Diagnostic {
    let size = size_words(extent.dim);
    Diagnostic::error("E0340", format!("total `{}` depends on the batch", name.name), name.span)
        .label(format!("the extent of an axis is {size}; totals add up over batches of any size"))
}

/// E0340.
pub(crate) fn shared_shape(name: &str, span: Span, first: &[Extent], now: &[Extent]) -> Diagnostic {
    let headline = format!(
        "`{name}` is {} in one use and {} in another",
        shape_words(first),
        shape_words(now)
    );
    Diagnostic::error("E0340", headline, span).label("shared by all uses of the layer")
}

/// E0341.
pub(crate) fn state_without_type(name: &Ident) -> Diagnostic {
    Diagnostic::error("E0341", format!("state `{}` needs a type", name.name), name.span)
        .help(format!("say it: `state {}: f32[..] = 0`", name.name))
}

/// E0342.
pub(crate) fn pattern_without_match(pattern: &StrLit, names: &[String]) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("E0342", format!("no parameter fits \"{}\"", pattern.text), pattern.span);
    if names.is_empty() {
        return diagnostic.note("the model has no parameters");
    }
    let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
    let more = if names.len() > 8 { ", .." } else { "" };
    diagnostic.note(format!("the parameters are {}{more}", shown.join(", ")))
}
