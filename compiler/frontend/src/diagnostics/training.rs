//! Models and their training.

use super::{Explanation, alternatives, suggest};
use crate::value::Extent;
use dlc_grammar::ast::{Ident, Setting, SettingKey};
use dlc_grammar::{Diagnostic, Span};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0343",
        title: "there is no such model",
        text: "A file to train or run declares a model; where there are several, one is named.\n\nWrong:\n    train lenett(label: i32[batch]) { .. }\nRight:\n    train lenet(label: i32[batch]) { .. }\n",
    },
    Explanation {
        code: "E0344",
        title: "an input of a model has an open size",
        text: "The sizes of a model's inputs are numbers, but for the batch: one name, the same in all inputs.\n\nWrong:\n    model m(x: f32[batch, width]) -> ..\nRight:\n    model m(x: f32[batch, 64]) -> ..\n",
    },
    Explanation {
        code: "E0345",
        title: "a setting of training",
        text: "`batch`, `epochs`, `steps` and `shards` are positive integers; `shards` is a power of two. A block needs a loss and an optimizer, and each setting stands once.\n\nWrong:\n    batch = 0\nRight:\n    batch = 32\n",
    },
    Explanation {
        code: "E0346",
        title: "a value of a metric depends on one batch",
        text: "The value of a metric is computed from totals, which are added up over all batches.\n\nWrong:\n    metric m(y: f32[b]) -> f32 { total s = sum[i] y[i]; s / b }\nRight:\n    metric m(y: f32[b]) -> f32 { total s = sum[i] y[i]; total n = sum[i in b] 1; s / n }\n",
    },
    Explanation {
        code: "E0347",
        title: "a parameter without an optimizer",
        text: "Every parameter that is trained has exactly one optimizer: the first whose patterns fit it, or the one without patterns.\n\nWrong:\n    optimizer = sgd(lr = 0.1) on \"dense_1.*\"     // and nothing for dense_2\nRight:\n    optimizer = sgd(lr = 0.1) on \"dense_1.*\"\n    optimizer = adam(lr = 0.001)\n",
    },
    Explanation {
        code: "E0348",
        title: "not what this setting takes",
        text: "A loss is a number for each example, an optimizer or a schedule is a call of a declaration of that kind.\n\nWrong:\n    optimizer = relu\nRight:\n    optimizer = adam(lr = 0.001)\n",
    },
];

/// E0343.
pub(crate) fn no_model(span: Span) -> Diagnostic {
    Diagnostic::error("E0343", "this file declares no model", span)
        .help("declare one: `model name(x: f32[batch, 4]) -> y: f32[batch, 3] { .. }`")
}

/// E0343.
pub(crate) fn unknown_model(
    name: &str,
    span: Span,
    known: &[String],
    near: Option<String>,
) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0343", format!("there is no model `{name}`"), span);
    let diagnostic = match known.is_empty() {
        true => diagnostic,
        false => diagnostic.note(format!("the models here are {}", alternatives(known))),
    };
    suggest(diagnostic, span, near)
}

/// E0343.
pub(crate) fn several_models(span: Span, known: &[String]) -> Diagnostic {
    Diagnostic::error("E0343", "this file declares several models", span)
        .note(format!("choose {}", alternatives(known)))
}

/// E0344.
pub(crate) fn open_size(name: &Ident, batch: &str) -> Diagnostic {
    Diagnostic::error(
        "E0344",
        format!("size `{}` of a model's input is open", name.name),
        name.span,
    )
    .label("write a number")
    .note(format!("`{batch}` is the batch, the one size that is chosen when the program runs"))
}

/// E0344.
pub(crate) fn input_type(name: &Ident, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0344",
        format!("input `{}` needs an element type and a shape", name.name),
        span,
    )
    .help(format!("write it as in `{}: f32[batch, 28, 28, 1]`", name.name))
}

/// E0344.
pub(crate) fn input_name_taken(name: &Ident) -> Diagnostic {
    Diagnostic::error("E0344", format!("an input cannot be called `{}`", name.name), name.span)
        .label("the name is taken by another input or by the step counter")
}

/// E0345.
pub(crate) fn setting_value(key: SettingKey, value: i64, wanted: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0345", format!("`{}` must be {wanted}, but is {value}", key.word()), span)
}

/// E0345.
pub(crate) fn setting_form(key: SettingKey, span: Span) -> Diagnostic {
    Diagnostic::error("E0345", format!("`{}` takes another form of value", key.word()), span)
}

/// E0345.
pub(crate) fn beside_steps(setting: &Setting) -> Diagnostic {
    let word = setting.key.word();
    Diagnostic::error(
        "E0345",
        format!("`{word}` stands beside steps that take turns"),
        setting.key_span,
    )
    .label("in none of the steps")
    .help(format!("say in which step this {word} counts"))
}

/// E0345.
pub(crate) fn within_step(setting: &Setting) -> Diagnostic {
    let headline = format!("`{}` holds for the whole training", setting.key.word());
    Diagnostic::error("E0345", headline, setting.key_span)
        .label("within one step")
        .help("move it out of the step")
}

/// E0345.
pub(crate) fn step_twice(name: &Ident, first: Span) -> Diagnostic {
    Diagnostic::error("E0345", format!("two steps are called `{}`", name.name), name.span)
        .also(first, "the first is here")
}

/// E0345.
pub(crate) fn step_times(value: i64, span: Span) -> Diagnostic {
    Diagnostic::error("E0345", format!("a step cannot be repeated {value} times"), span)
        .label("from 1 to 1000000")
}

/// E0345.
pub(crate) fn setting_twice(key: SettingKey, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0345", format!("`{}` is set twice", key.word()), span)
        .label("a second value")
        .also(first, "first set here")
}

/// E0345.
pub(crate) fn missing_setting(key: SettingKey, model: &Ident, help: &str) -> Diagnostic {
    Diagnostic::error(
        "E0345",
        format!("training of `{}` needs `{}`", model.name, key.word()),
        model.span,
    )
    .label("this block does not set it")
    .help(help.to_string())
}

/// E0345.
pub(crate) fn name_taken(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0345", format!("two losses or metrics are called `{name}`"), span)
        .help("give one of them another name")
}

/// E0345.
pub(crate) fn replicas(given: i64, shards: u32, span: Span) -> Diagnostic {
    let headline =
        format!("`data` is a number from 1 to the {shards} shards of a batch, not {given}");
    Diagnostic::error("E0345", headline, span)
        .note("batches are cut only where their `shards` are, so that results do not depend on it")
        .help("set `shards` in the `train` block to a power of two that is large enough")
}

/// E0346.
pub(crate) fn metric_of_batch(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0346",
        format!("the value of metric `{name}` depends on more than its totals"),
        span,
    )
    .label("computed once, after all batches")
}

/// E0347.
pub(crate) fn no_optimizer_for(name: &str, span: Span, declared: Option<Span>) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0347", format!("no optimizer updates `{name}`"), span)
        .label("no pattern here fits it");
    super::also_new(diagnostic, declared, "the parameter")
        .help("add an optimizer without `on`, or freeze the parameter")
}

/// E0348.
pub(crate) fn across_tensor(shape: &[Extent], span: Span) -> Diagnostic {
    Diagnostic::error("E0348", "`across` adds up one number of each parameter", span)
        .label(format!("this is {}", super::shape_words(shape)))
        .help("make it a number first, as in `across(sum(grad^2))`")
}

/// E0348.
pub(crate) fn not_for_setting(key: SettingKey, noun: &str, span: Span) -> Diagnostic {
    let wanted = match key {
        SettingKey::Loss => "a tensor of numbers, one for each example",
        SettingKey::Optimizer | SettingKey::Constraint => {
            "a call of an optimizer, or several joined by `|>`"
        }
        SettingKey::Schedule => "a call of a schedule",
        _ => "something else",
    };
    Diagnostic::error("E0348", format!("`{}` is {wanted}, but this is {noun}", key.word()), span)
}
