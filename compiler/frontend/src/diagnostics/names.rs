//! Names that mean nothing, or not what the text needs.

use super::{Explanation, also_new, alternatives, suggest};
use dlc_grammar::ast::{DeclKind, Ident, Path};
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0301",
        title: "unknown name",
        text: "Nothing of this name is declared in this file, in a file it uses, or in the standard library, and no size, index or `let` is called so.\n\nWrong:\n    logits = image |> flaten |> dense(10)\nRight:\n    logits = image |> flatten |> dense(10)\n",
    },
    Explanation {
        code: "E0302",
        title: "declared twice",
        text: "A file declares every name once. A name of the standard library may be declared again; the file then uses its own.\n\nWrong:\n    fn twice(x) = 2 * x\n    fn twice(x) = x + x\nRight:\n    fn twice(x) = 2 * x\n",
    },
    Explanation {
        code: "E0303",
        title: "not a function",
        text: "Only layers, functions, losses and metrics can be called. Models, optimizers and initializers have places of their own.\n\nWrong:\n    y = x |> adam(lr = 0.1)\nRight:\n    y = x |> dense(10)\n",
    },
    Explanation {
        code: "E0304",
        title: "used before it has a value",
        text: "A result is known by its name only after it has been assigned.\n\nWrong:\n    y = y + 1\nRight:\n    y = x + 1\n",
    },
    Explanation {
        code: "E0305",
        title: "nothing to assign",
        text: "An assignment changes a result, a state or a name that `let` or `carry` has bound. New names are bound by `let`.\n\nWrong:\n    h = x |> dense(10)\nRight:\n    let h = x |> dense(10)\n",
    },
    Explanation {
        code: "E0306",
        title: "no such part",
        text: "A dot leads to a named result, to a parameter of a shared layer, or to a part of a tuple by its number.\n\nWrong:\n    let r = ids |> embedding(100, 8)\n    r.msk\nRight:\n    let r = ids |> embedding(100, 8)\n    r.mask\n",
    },
];

/// E0301.
pub(crate) fn unknown_name(ident: &Ident, near: Option<String>) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("E0301", format!("unknown name `{}`", ident.name), ident.span)
            .label("nothing of this name is known here");
    suggest(diagnostic, ident.span, near)
}

/// E0302.
pub(crate) fn duplicate_item(name: &Ident, first: Span, kind: DeclKind) -> Diagnostic {
    Diagnostic::error("E0302", format!("`{}` is declared twice", name.name), name.span)
        .label(format!("this {} has a name that is taken", kind.word()))
        .also(first, "first declared here")
}

/// E0302.
pub(crate) fn duplicate_train(name: &Ident, first: Span) -> Diagnostic {
    Diagnostic::error("E0302", format!("`{}` has two `train` blocks", name.name), name.span)
        .label("a second block for the same model")
        .also(first, "the first is here")
}

/// E0302.
pub(crate) fn duplicate_parallel(name: &Ident, first: Span) -> Diagnostic {
    Diagnostic::error("E0302", format!("`{}` has two `parallel` blocks", name.name), name.span)
        .label("a second block for the same model")
        .also(first, "the first is here")
}

/// E0303.
pub(crate) fn not_callable(noun: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0303", format!("{noun} cannot be called"), span)
        .label(format!("this is {noun}, not a layer or function"))
}

/// E0303.
pub(crate) fn not_a_function(name: &str, kind: DeclKind, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "E0303",
        format!("`{name}` is of kind `{}` and cannot be called here", kind.word()),
        span,
    );
    match kind {
        DeclKind::Init => diagnostic.help(format!("draw from it: `let x: f32[n] ~ {name}`")),
        DeclKind::Optimizer => {
            diagnostic.help(format!("name it in a `train` block: `optimizer = {name}(..)`"))
        }
        DeclKind::Metric => {
            diagnostic.help(format!("name it in a `train` block: `metric {name}(..)`"))
        }
        _ => diagnostic,
    }
}

/// E0304.
pub(crate) fn used_before_assigned(ident: &Ident) -> Diagnostic {
    Diagnostic::error(
        "E0304",
        format!("`{}` is used before it has a value", ident.name),
        ident.span,
    )
    .label("no value has been assigned yet")
}

/// E0305.
pub(crate) fn not_assignable(name: &str, span: Span, near: Option<String>) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0305", format!("there is no `{name}` to assign"), span)
        .label("neither a result nor a name bound before");
    if near.is_some() {
        return suggest(diagnostic, span, near);
    }
    diagnostic.help(format!("bind a new name with `let {name} = ..`"))
}

/// E0306.
pub(crate) fn no_field(noun: &str, field: &str, span: Span, known: &[String]) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("E0306", format!("there is no part `{field}` in {noun}"), span);
    if known.is_empty() {
        return diagnostic.label("there is nothing of this name in it");
    }
    diagnostic.label(format!("its parts are {}", alternatives(known)))
}

/// E0306.
pub(crate) fn no_such_element(span: Span, at: i64, len: usize) -> Diagnostic {
    Diagnostic::error("E0306", format!("there is no element {at} among {len}"), span)
        .label("elements are counted from 0")
}

/// E0306.
pub(crate) fn shared_not_used(field: &Ident) -> Diagnostic {
    Diagnostic::error(
        "E0306",
        format!("`{}` does not exist before the shared layer is used", field.name),
        field.span,
    )
    .label("its parameters are made by its first use")
    .help("apply the layer to a tensor before naming its parts")
}

/// E0303.
pub(crate) fn shared_layer_only(name: &Path) -> Diagnostic {
    Diagnostic::error(
        "E0303",
        format!("`{}` is no layer, so it has nothing to share", name.text()),
        name.span,
    )
    .label("`shared` wants a layer")
}

/// E0302.
pub(crate) fn duplicate_label(name: &str, span: Span, first: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0302", format!("two layers are called `{name}`"), span)
        .label("parameters are found by this name");
    also_new(diagnostic, Some(first).filter(|first| !first.is_empty()), "first given here")
}
