//! How a model is spread over ranks.

use super::{Explanation, alternatives, count_words, suggest};
use dlc_grammar::ast::Ident;
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[Explanation {
    code: "E0349",
    title: "a model cannot be spread like this",
    text: "`data` says how many replicas share each batch. `pipeline` cuts the model into stages, each beginning with a layer that has parameters, in the order of the text; batches go through it in micro-batches, and those of all replicas together are no more than the `shards` of a batch. `tensor` cuts the weights of layers into slices, each along one of its axes.\n\nWrong:\n    train m(..) { shards = 4 .. }\n    parallel m { data 2; pipeline 2 at dense_2 { microbatches = 4 } }\nRight:\n    train m(..) { shards = 8 .. }\n    parallel m { data 2  pipeline 2 at dense_2 { microbatches = 4 } }\n",
}];

/// E0349.
pub(crate) fn spread_twice(word: &str, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0349", format!("`{word}` stands twice"), span)
        .label("a second time")
        .also(first, "the first is here")
}

/// E0349.
pub(crate) fn unknown_option(
    name: &Ident,
    of: &str,
    known: &[String],
    near: Option<String>,
) -> Diagnostic {
    let headline = format!("`{of}` has no option `{}`", name.name);
    let diagnostic = Diagnostic::error("E0349", headline, name.span)
        .note(format!("it takes {}", alternatives(known)));
    suggest(diagnostic, name.span, near)
}

/// E0349.
pub(crate) fn option_expected(span: Span) -> Diagnostic {
    Diagnostic::error("E0349", "this is no option of `pipeline`", span)
        .note("it takes `microbatches` or `schedule`")
}

/// E0349.
pub(crate) fn stages(stages: i64, layers: usize, count: Span, whole: Span) -> Diagnostic {
    if stages < 2 {
        return Diagnostic::error("E0349", "a pipeline has at least 2 stages", count)
            .label(format!("this is {stages}"));
    }
    let named = count_words(layers, "layer is", "layers are");
    let headline = format!("a pipeline of {stages} stages is cut at {} layers", stages - 1);
    Diagnostic::error("E0349", headline, whole)
        .label(format!("{named} named"))
        .note("each stage but the first begins with a layer that is named after `at`")
}

/// E0349.
pub(crate) fn unknown_layer(
    layer: &str,
    span: Span,
    known: &[String],
    near: Option<String>,
) -> Diagnostic {
    let headline = format!("no layer with parameters is called `{layer}`");
    let mut diagnostic = Diagnostic::error("E0349", headline, span);
    if !known.is_empty() {
        diagnostic = diagnostic.note(format!("those of the model are {}", alternatives(known)));
    }
    suggest(diagnostic, span, near)
}

/// E0349.
pub(crate) fn empty_stage(layer: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0349", "the first stage would have no parameters", span)
        .label(format!("`{layer}` is the first layer that has some"))
        .help("begin the second stage with a later layer")
}

/// E0349.
pub(crate) fn stage_order(layer: &str, span: Span, (before, first): (&str, Span)) -> Diagnostic {
    let headline = format!("`{layer}` does not come after `{before}` in the model");
    Diagnostic::error("E0349", headline, span)
        .label("the stage that begins with it cannot follow")
        .also(first, "the stage that begins with this")
        .note("stages follow one another as layers do in the text of the model")
}

/// E0349.
pub(crate) fn micro_batches(given: i64, replicas: u32, shards: u32, span: Span) -> Diagnostic {
    let each = shards / replicas.next_power_of_two();
    let headline = match replicas {
        1 => format!("{given} micro-batches cannot share the {shards} shards of a batch"),
        _ => format!(
            "{given} micro-batches cannot share the {each} shards that each of {replicas} replicas has of a batch"
        ),
    };
    let diagnostic = Diagnostic::error("E0349", headline, span)
        .note("batches are cut only where their `shards` are, so that results do not depend on it");
    match u32::try_from(given).ok().filter(|given| given.is_power_of_two()) {
        Some(given) if given > each => {
            let wanted = u64::from(given) * u64::from(replicas.next_power_of_two());
            diagnostic.help(format!("set `shards = {wanted}` in the `train` block"))
        }
        _ => diagnostic.help("give a power of two that divides the shards"),
    }
}

/// E0349.
pub(crate) fn slices(given: i64, span: Span) -> Diagnostic {
    Diagnostic::error("E0349", "layers are cut into 2 to 64 slices", span)
        .label(format!("this is {given}"))
}

/// E0349.
pub(crate) fn no_axis(
    param: &str,
    shape: &[i64],
    slices: u32,
    span: Span,
    count: Span,
) -> Diagnostic {
    let extents: Vec<String> = shape.iter().map(i64::to_string).collect();
    let headline = format!("`{param}` has no axis that {slices} slices can share");
    Diagnostic::error("E0349", headline, span)
        .label(format!("its largest weight has the shape [{}]", extents.join(", ")))
        .also(count, "so many slices are asked for")
        .note("a weight is cut along one axis in blocks of one size, of which the last may be smaller but not empty")
}

/// E0349.
pub(crate) fn pipeline_order(span: Span, known: &[String]) -> Diagnostic {
    Diagnostic::error("E0349", "there is no such order of micro-batches", span)
        .note(format!("there are {}", alternatives(known)))
}
