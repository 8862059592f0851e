//! Faults that show when a model runs, with the text that they stem from. Whoever runs it knows the facts; the words are here.

use super::Explanation;
use crate::program::DataInput;
use dlc_grammar::Diagnostic;
use dlc_ir::graph::{Node, Op};

/// What the codes of this file mean.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0401",
        title: "an index that is out of range",
        text: "A value of the data is used as an index, as the class of a label is, but the axis ends before it. Classes count from 0.\n\nWrong:\n    logits = x |> dense(10)      // and labels from 1 to 10\nRight:\n    logits = x |> dense(11)      // or labels from 0 to 9\n",
    },
    Explanation {
        code: "E0402",
        title: "data that an input does not take",
        text: "Each input takes a column of the data of its name, type and shape; a column of another name where it is the only one of its kind.\n\nWrong:\n    model m(image: f32[batch, 28, 28]) -> ..      // for data of shape [batch, 28, 28, 1]\nRight:\n    model m(image: f32[batch, 28, 28, 1]) -> ..\n",
    },
    Explanation {
        code: "W0403",
        title: "the loss is no number",
        text: "A calculation gave NaN, such as the logarithm of a negative number, 0 / 0, or infinity minus infinity; with it the loss, and after the update every parameter that it depends on.\n\nWrong:\n    loss = -mean(log(p))\nRight:\n    loss = -mean(log(max(p, 1e-7)))\n",
    },
];

/// E0401: `input` holds `value` for an example of a batch.
pub fn not_an_index(input: &DataInput, value: i64, example: Option<u64>) -> Diagnostic {
    let headline = format!("`{}` holds {value}, which is out of range", input.name);
    let diagnostic = match input.index {
        Some(used) => Diagnostic::error("E0401", headline, used.span)
            .label(format!("used here as an index along an axis of {}", used.extent))
            .also(input.span, format!("values from 0 to {}", used.extent - 1)),
        None => Diagnostic::error("E0401", headline, input.span),
    };
    match example {
        Some(example) => {
            diagnostic.note(format!("in example {example} of the batch, counted from 0"))
        }
        None => diagnostic,
    }
}

/// E0402: what is said of the data and an input.
pub fn data_differ(input: &DataInput, headline: String, found: Option<String>) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0402", headline, input.span).label("the input");
    match found {
        Some(found) => diagnostic.note(found),
        None => diagnostic,
    }
}

/// Where a loss that is no number came from.
#[derive(Debug, Clone, PartialEq)]
pub struct NotANumber<'a> {
    /// The step whose loss it is, from 1.
    pub step: u64,
    /// The first operation that gave it.
    pub node: &'a Node,
    /// In how many of its elements.
    pub elements: f64,
    /// The operation that gave the first infinite number among those it was computed from.
    pub infinite: Option<&'a Node>,
    /// Whether it is a part of the update: a gradient, or a new parameter.
    pub in_update: bool,
}

/// W0403.
pub fn loss_not_a_number(found: &NotANumber<'_>, inputs: &[DataInput]) -> Diagnostic {
    let headline = format!("the loss of step {} is no number", found.step);
    let input = match &found.node.op {
        Op::Input { name, .. } => inputs.iter().find(|input| input.name == *name),
        _ => None,
    };
    let count = match found.elements {
        1.0 => "one element".to_string(),
        elements => format!("{elements} elements"),
    };
    if let Some(input) = input {
        return Diagnostic::warning("W0403", headline, input.span)
            .label(format!("the data of this input hold NaN in {count} of the batch"));
    }
    let what = doing(found.node);
    let stage = if found.in_update { " in the update of the step before" } else { "" };
    let mut diagnostic =
        Diagnostic::warning("W0403", headline, found.node.origin.span.unwrap_or_default())
            .label(format!("{what} gives NaN in {count}{stage}"));
    if !found.node.origin.name.is_empty() {
        diagnostic = diagnostic.note(format!("it is part of `{}`", found.node.origin.name));
    }
    match found.infinite {
        None => diagnostic,
        Some(node) => {
            let text = format!("{} has become infinite", doing(node));
            match node.origin.span {
                Some(span) if span != diagnostic.primary.span => diagnostic.also(span, text),
                _ => diagnostic.note(format!("before it {text}")),
            }
        }
    }
}

/// An operation in words.
fn doing(node: &Node) -> String {
    match &node.op {
        Op::Input { name, .. } => format!("`{name}`"),
        Op::Contract(_) => "a sum".to_string(),
        op => {
            let info = op.info();
            format!("`{}`, {},", info.name, info.formula)
        }
    }
}
