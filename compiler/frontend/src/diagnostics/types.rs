//! Values of the wrong kind.

use super::{Explanation, also_new, alternatives};
use dlc_grammar::ast::Ident;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0374",
        title: "the gradient of several numbers",
        text: "A gradient says how one number changes with each element of a tensor.\n\nWrong:\n    let g = gradient(x |> critic, x)\nRight:\n    let g = gradient(sum(x |> critic), x)\n",
    },
    Explanation {
        code: "E0317",
        title: "wrong type",
        text: "A value is of another kind than its type says: a number where a tensor is wanted, a real where an integer is.\n\nWrong:\n    x |> dense(0.5)\nRight:\n    x |> dense(64)\n",
    },
    Explanation {
        code: "E0318",
        title: "wrong element type",
        text: "Integers and truth values become floats where floats are wanted; floats never become integers by themselves.\n\nWrong:\n    accuracy(logits, logits)\nRight:\n    accuracy(logits, label)            // with label: i32[batch]\n",
    },
    Explanation {
        code: "E0319",
        title: "an operator does not take this",
        text: "Arithmetic wants numbers and tensors, `and`, `or` and `not` want truth values, `div` and `mod` want integers.\n\nWrong:\n    x + relu\nRight:\n    x + relu(x)\n",
    },
    Explanation {
        code: "E0320",
        title: "unknown choice",
        text: "The formal takes one word of a closed list.\n\nWrong:\n    x |> conv(8, kernel = 3, padding = zero)\nRight:\n    x |> conv(8, kernel = 3, padding = same)\n",
    },
    Explanation {
        code: "E0321",
        title: "a condition is no truth value",
        text: "`if`, `where` and `with training = ..` want a truth value.\n\nWrong:\n    if rate { x } else { y }\nRight:\n    if rate > 0 { x } else { y }\n",
    },
    Explanation {
        code: "E0322",
        title: "not known when the program is compiled",
        text: "Sizes, counts of a loop and settings must be numbers that the text decides.\n\nWrong:\n    batch = image\nRight:\n    batch = 64\n",
    },
];

/// E0317.
pub(crate) fn wrong_type(
    what: &str,
    span: Span,
    found: &str,
    wanted: &str,
    declared: Span,
) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("E0317", format!("{what} should be {wanted}, but is {found}"), span)
            .label(format!("this is {found}"));
    also_new(diagnostic, Some(declared), "its type")
}

/// E0317.
pub(crate) fn not_a_tensor(noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0317", format!("{noun} has no axes to index"), span)
        .label(format!("this is {noun}"))
}

/// E0317.
pub(crate) fn not_repeatable(noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0317", format!("a loop cannot run over {noun}"), span)
        .label("wants a number of turns, a list or a pattern of parameters")
}

/// E0317.
pub(crate) fn tuple_length(
    at: Span,
    names: usize,
    value: Span,
    parts: usize,
    noun: &str,
) -> Diagnostic {
    let has = if parts == 0 { noun.to_string() } else { format!("{noun} of {parts}") };
    Diagnostic::error("E0317", format!("{names} names for {has}"), at)
        .label(format!("{names} names"))
        .also(value, format!("this is {has}"))
}

/// E0374.
pub(crate) fn gradient_of(span: Span, shape: &[crate::value::Extent]) -> Diagnostic {
    let shape = super::shape_words(shape);
    Diagnostic::error("E0374", "`gradient` is that of one number", span)
        .label(format!("this is {shape}"))
        .help("add its elements up: `gradient(sum(..), ..)`")
}

/// E0317.
pub(crate) fn needs_tensor_type(span: Span) -> Diagnostic {
    Diagnostic::error("E0317", "a tensor needs an element type and a shape", span)
        .label("write it as in `f32[n, 10]`")
}

/// E0317.
pub(crate) fn draw_without_type(name: &Ident) -> Diagnostic {
    Diagnostic::error("E0317", format!("`{}` needs a shape to be drawn in", name.name), name.span)
        .help(format!("say it: `let {}: f32[n] ~ ..`", name.name))
}

/// E0317.
pub(crate) fn draw_pattern(span: Span) -> Diagnostic {
    Diagnostic::error("E0317", "a random value is bound to one name", span)
}

/// E0317.
pub(crate) fn not_a_distribution(name: &Ident, noun: &str) -> Diagnostic {
    Diagnostic::error(
        "E0317",
        format!("`{}` is {noun}, and values cannot be drawn from it", name.name),
        name.span,
    )
    .label("wants an initializer or `random`")
}

/// E0318.
pub(crate) fn element_type(
    what: &str,
    span: Span,
    found: &str,
    wanted: &str,
    declared: Span,
) -> Diagnostic {
    let headline = format!("{what} should have elements of type {wanted}, but has {found}");
    let diagnostic =
        Diagnostic::error("E0318", headline, span).label(format!("elements of {found}"));
    also_new(diagnostic, Some(declared), "its type")
}

/// E0318.
pub(crate) fn fallback_type(elem: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0318",
        format!("`else` gives a real number, but the tensor holds {elem}"),
        span,
    )
}

/// E0318.
pub(crate) fn random_type(elem: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0318", format!("random numbers are floats, but {elem} is wanted"), span)
}

/// E0319.
pub(crate) fn wrong_operand(what: &str, noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0319", format!("`{what}` does not take {noun}"), span)
}

/// E0319.
pub(crate) fn not_a_number(what: &str, noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0319",
        format!("`{what}` wants a number or tensor, but this is {noun}"),
        span,
    )
}

/// E0320.
pub(crate) fn unknown_choice(word: &str, words: &[Ident], span: Span) -> Diagnostic {
    let known: Vec<String> = words.iter().map(|word| word.name.clone()).collect();
    let diagnostic = Diagnostic::error("E0320", format!("`{word}` is none of the choices"), span)
        .label(format!("wants {}", alternatives(&known)));
    match words.first() {
        Some(first) => diagnostic.also(first.span, "the choices"),
        None => diagnostic,
    }
}

/// E0320.
pub(crate) fn not_an_option(word: &Ident, name: &str, options: &[String]) -> Diagnostic {
    Diagnostic::error("E0320", format!("`{name}` is never `{}`", word.name), word.span)
        .label(format!("it is {}", alternatives(options)))
}

/// E0321.
pub(crate) fn condition_type(noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0321", format!("a condition is a truth value, but this is {noun}"), span)
}

/// E0322.
pub(crate) fn needs_constant(what: &str, wanted: &str, noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0322",
        format!("{what} must be {wanted} known when the program is compiled"),
        span,
    )
    .label(format!("this is {noun}"))
}
