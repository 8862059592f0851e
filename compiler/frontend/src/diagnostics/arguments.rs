//! Arguments that do not fit their formals.

use super::{Explanation, alternatives, count_words, suggest};
use dlc_grammar::ast::{Decl, Formal, Ident};
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0307",
        title: "too many arguments",
        text: "A call gives at most one value for each formal. In a pipe the piped value is the first of them.\n\nWrong:\n    x |> relu(2)\nRight:\n    x |> relu\n",
    },
    Explanation {
        code: "E0308",
        title: "missing argument",
        text: "A formal without a default needs a value in every call.\n\nWrong:\n    x |> dense\nRight:\n    x |> dense(64)\n",
    },
    Explanation {
        code: "E0309",
        title: "unknown argument",
        text: "The call names a formal that the declaration does not have.\n\nWrong:\n    x |> dense(64, use_bias = false)\nRight:\n    x |> dense(64, bias = false)\n",
    },
    Explanation {
        code: "E0310",
        title: "argument given twice",
        text: "A formal takes one value, by place or by name.\n\nWrong:\n    x |> dense(64, units = 32)\nRight:\n    x |> dense(64)\n",
    },
];

fn signature(decl: &Decl) -> String {
    let names: Vec<String> = decl
        .formals
        .iter()
        .map(|formal| match formal.default {
            Some(_) => format!("{} = ..", formal.name.name),
            None => formal.name.name.clone(),
        })
        .collect();
    format!("{}({})", decl.name.name, names.join(", "))
}

/// E0307.
pub(crate) fn too_many_arguments(decl: &Decl, span: Span) -> Diagnostic {
    let takes = count_words(decl.formals.len(), "argument", "arguments");
    Diagnostic::error("E0307", format!("`{}` takes {takes} at most", decl.name.name), span)
        .label("one too many")
        .also(decl.name.span, "declared here")
        .note(format!("it is `{}`, and a piped value counts as the first", signature(decl)))
}

/// E0308.
pub(crate) fn missing_argument(decl: &Decl, formal: &Formal, call: Span) -> Diagnostic {
    let name = &formal.name.name;
    Diagnostic::error("E0308", format!("`{}` needs `{name}`", decl.name.name), call)
        .label(format!("no value for `{name}`"))
        .also(formal.span, "it has no default")
}

/// E0309.
pub(crate) fn unknown_argument(decl: &Decl, name: &Ident, near: Option<String>) -> Diagnostic {
    let known: Vec<String> = decl.formals.iter().map(|formal| formal.name.name.clone()).collect();
    let diagnostic = Diagnostic::error(
        "E0309",
        format!("`{}` has no argument `{}`", decl.name.name, name.name),
        name.span,
    )
    .label("no formal has this name");
    if near.is_some() {
        return suggest(diagnostic, name.span, near);
    }
    match known.is_empty() {
        true => diagnostic.note("it takes no arguments"),
        false => diagnostic.note(format!("it takes {}", alternatives(&known))),
    }
}

/// E0310.
pub(crate) fn argument_twice(decl: &Decl, formal: &Formal, span: Span) -> Diagnostic {
    let name = &formal.name.name;
    Diagnostic::error("E0310", format!("`{name}` of `{}` is given twice", decl.name.name), span)
        .label("it has a value already")
        .also(formal.span, "the formal")
}

/// E0308, or E0307 where there are too many.
pub(crate) fn builtin_arguments(name: &str, span: Span, takes: usize, given: usize) -> Diagnostic {
    let code = if given > takes { "E0307" } else { "E0308" };
    let takes = count_words(takes, "argument", "arguments");
    Diagnostic::error(code, format!("`{name}` takes {takes}, but {given} are given"), span)
}

/// E0309.
pub(crate) fn builtin_named_argument(name: &Ident) -> Diagnostic {
    Diagnostic::error("E0309", "functions of the language take their arguments by place", name.span)
        .label("leave the name out")
}
