//! What all commands have in common when they print.

use dlc::Metric;
use dlc_grammar::{Diagnostic, Sources, render_terminal};
use serde_json::{Map, Value};
use std::io::{ErrorKind, IsTerminal, Write};

/// Writes a line of a result to standard output.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Writes text that ends its own lines to standard output.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Whether an error says that nobody reads standard output any more.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// Writes diagnostics to standard error, coloured on a terminal.
pub(super) fn diagnostics(diagnostics: &[Diagnostic], sources: &Sources) {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", render_terminal(diagnostics, sources, color));
}

/// The most elements of a metric on a line; of more, the shape is shown and JSON has them all.
const MOST_ELEMENTS: usize = 12;

/// A metric for people: four decimals, or the elements of a vector.
pub(super) fn metric(metric: &Metric) -> String {
    match metric.scalar() {
        Some(value) => format!("{} {value:.4}", metric.name),
        None if metric.values.len() > MOST_ELEMENTS => {
            let shape: Vec<String> = metric.shape.iter().map(usize::to_string).collect();
            format!("{} [{} values]", metric.name, shape.join(" x "))
        }
        None => format!("{} {:.4?}", metric.name, metric.values),
    }
}

/// Loss and metrics on one line.
pub(super) fn report(loss: f64, metrics: &[Metric]) -> String {
    let metrics = metrics.iter().map(|m| format!("  {}", metric(m)));
    format!("loss {loss:.4}{}", metrics.collect::<String>())
}

/// Adds loss and metrics to a JSON object, under their names after a prefix.
pub(super) fn add_report(
    object: &mut Map<String, Value>,
    prefix: &str,
    loss: f64,
    metrics: &[Metric],
) {
    object.insert(format!("{prefix}loss"), loss.into());
    for metric in metrics {
        let value = match metric.scalar() {
            Some(value) => value.into(),
            None => metric.values.clone().into(),
        };
        object.insert(format!("{prefix}{}", metric.name), value);
    }
}
