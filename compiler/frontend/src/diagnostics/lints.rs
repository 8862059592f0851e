//! What is right and likely not meant.

use super::Explanation;
use dlc_grammar::ast::{DeclKind, Ident, Reducer};
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "W0301",
        title: "a name that is never used",
        text: "An input, an argument, a parameter or what `let` binds has no use, so what it was meant for is missing or it can go. A parameter without a use is saved with the weights and never changes. A name that begins with `_` says that this is meant.\n\nWrong:\n    let h = x |> dense(64)\n    y = x |> dense(10)\nRight:\n    let h = x |> dense(64)\n    y = h |> dense(10)\n",
    },
    Explanation {
        code: "W0302",
        title: "a state that is never read",
        text: "A state keeps a value from step to step. One that nothing reads but its own next value is kept for nothing.\n\nWrong:\n    state seen: f32[c] = 0\n    seen = 0.9 * seen + mu\nRight:\n    state seen: f32[c] = 0\n    seen = 0.9 * seen + mu\n    y = x - seen\n",
    },
    Explanation {
        code: "W0303",
        title: "a declaration that is never used",
        text: "The file declares a model, and neither it nor its training makes use of this layer or function.\n\nWrong:\n    layer block(x: f32[.., k]) -> f32[.., k] { .. }\n    model m(x: f32[batch, 4]) -> y: f32[batch, 4] { y = x |> dense(4) }\nRight:\n    model m(x: f32[batch, 4]) -> y: f32[batch, 4] { y = x |> block }\n",
    },
    Explanation {
        code: "W0304",
        title: "the largest of one element",
        text: "An axis that always has one element is left here, and the largest of one element is that element; softmax over one class is always 1.\n\nWrong:\n    p = x |> dense(1) |> softmax\nRight:\n    p = x |> dense(1) |> sigmoid\n",
    },
    Explanation {
        code: "W0305",
        title: "probabilities where logits are expected",
        text: "An argument called `logits` takes numbers before softmax or sigmoid, which the loss itself applies. Applied twice, gradients become small and training slow. A function says by the name of its result, `probability`, what it gives.\n\nWrong:\n    p = x |> dense(10) |> softmax\n    loss = softmax_cross_entropy(p, label)\nRight:\n    logits = x |> dense(10)\n    loss = softmax_cross_entropy(logits, label)\n",
    },
    Explanation {
        code: "W0306",
        title: "a learning rate of zero",
        text: "With a rate of zero no parameter changes.\n\nWrong:\n    optimizer = sgd(lr = 0)\nRight:\n    optimizer = sgd(lr = 0.1)\n",
    },
    Explanation {
        code: "W0307",
        title: "no loss depends on a parameter",
        text: "A parameter is trained by its gradient. Where no loss depends on it, the gradient is zero and the parameter stays as it was drawn.\n\nWrong:\n    model m(x: f32[batch, 4]) -> y: f32[batch, 4], z: f32[batch, 2] { y = x |> dense(4); z = x |> dense(2) }\n    train m(target: f32[batch, 4]) { loss = mse(y, target); optimizer = adam }\nRight:\n    train m(target: f32[batch, 4], other: f32[batch, 2]) { loss = mse(y, target) + mse(z, other); optimizer = adam }\n",
    },
];

/// W0301.
pub(crate) fn unused_name(what: &str, name: &str, span: Span) -> Diagnostic {
    let headline = match what {
        "`let`" => format!("`{name}` is never used"),
        what => format!("{what} `{name}` is never used"),
    };
    Diagnostic::warning("W0301", headline, span).help(format!("call it `_{name}` if that is meant"))
}

/// W0302.
pub(crate) fn dead_state(name: &str, span: Span) -> Diagnostic {
    Diagnostic::warning("W0302", format!("state `{name}` is never read"), span)
        .label("nothing but its own next value depends on it")
}

/// W0303.
pub(crate) fn unused_item(name: &Ident, kind: DeclKind) -> Diagnostic {
    Diagnostic::warning(
        "W0303",
        format!("{} `{}` is never used", kind.word(), name.name),
        name.span,
    )
    .help(format!("call it `_{}` if that is meant", name.name))
}

/// W0304.
pub(crate) fn of_one_element(op: Reducer, span: Span) -> Diagnostic {
    Diagnostic::warning("W0304", format!("`{}` of one element", op.word()), span)
        .label("the axis has one element only")
}

/// W0305.
pub(crate) fn not_logits(decl: &str, span: Span, formal: Span) -> Diagnostic {
    Diagnostic::warning("W0305", format!("`{decl}` is given probabilities for logits"), span)
        .label("these are probabilities already")
        .also(formal, "numbers before softmax or sigmoid are expected here")
        .help("leave the last activation out, and apply it to predictions where they are used")
}

/// W0306.
pub(crate) fn rate_of_zero(span: Span) -> Diagnostic {
    Diagnostic::warning("W0306", "the learning rate is zero", span).label("no parameter changes")
}

/// W0307.
pub(crate) fn without_loss(name: &str, span: Span, declared: Span) -> Diagnostic {
    Diagnostic::warning("W0307", format!("no loss depends on `{name}`"), span)
        .label("training leaves it as it is")
        .also(declared, "declared here")
        .help(format!("say so by `freeze \"{name}\"`, or add a loss of what it computes"))
}
