//! How diagnostics are shown: to people, in one line, and to programs.
use super::{Applicability, Diagnostic, Edit, Labelled, Severity};
use crate::span::{FileId, LineColumn, Sources, Span};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde::Serialize;

/// For people: each diagnostic with the lines it speaks of, in the order given, with a blank line between.
///
/// `color` decides whether terminal escapes are used. Places in files that `sources` does not hold are left out.
pub fn render_terminal(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&groups(diagnostic, sources)));
        out.push('\n');
    }
    out
}

fn groups<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(diagnostic.headline.as_str())
        .id(diagnostic.code.0)
        .elements(snippets(diagnostic, sources));
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let mut groups = Vec::new();
    for help in &diagnostic.helps {
        // Whether an edit can be made unasked is for tools; whoever reads it sees what it does.
        match help.edit.as_ref().and_then(|edit| patch(edit, sources)) {
            Some(patch) => {
                groups.push(Level::HELP.secondary_title(help.text.as_str()).element(patch));
            }
            None => group = group.element(Level::HELP.message(help.text.as_str())),
        }
    }
    groups.insert(0, group);
    groups
}

/// One snippet a file, the file of the primary place first, then in order of their numbers.
fn snippets<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
) -> Vec<Snippet<'a, Annotation<'a>>> {
    let mut files: Vec<FileId> = diagnostic.secondary.iter().map(|l| l.span.file).collect();
    files.sort();
    files.dedup();
    files.retain(|file| *file != diagnostic.primary.span.file);
    files.insert(0, diagnostic.primary.span.file);
    let mut snippets = Vec::new();
    for id in files {
        let Some(file) = sources.get(id) else {
            continue;
        };
        let mut snippet = Snippet::source(file.text.as_str()).path(file.name.as_str());
        let primary = std::iter::once((AnnotationKind::Primary, &diagnostic.primary));
        let secondary = diagnostic.secondary.iter().map(|label| (AnnotationKind::Context, label));
        for (kind, label) in primary.chain(secondary) {
            if label.span.file == id {
                let mut annotation = kind.span(fitted(label.span, &file.text));
                if !label.text.is_empty() {
                    annotation = annotation.label(label.text.as_str());
                }
                snippet = snippet.annotation(annotation);
            }
        }
        snippets.push(snippet);
    }
    snippets
}

fn patch<'a>(edit: &'a Edit, sources: &'a Sources) -> Option<Snippet<'a, Patch<'a>>> {
    let file = sources.get(edit.span.file)?;
    let patch = Patch::new(fitted(edit.span, &file.text), edit.replacement.as_str());
    Some(Snippet::source(file.text.as_str()).path(file.name.as_str()).patch(patch))
}

/// The range of a span, made to fit the text: spans may come from another version of a file.
fn fitted(span: Span, text: &str) -> std::ops::Range<usize> {
    let fit = |at: u32| {
        let mut at = (at as usize).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    fit(span.start)..fit(span.end)
}

/// For editors and `grep`: `file:line:column: error[E0110]: headline`, one line each.
pub fn render_concise(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let span = diagnostic.primary.span;
        let name = sources.get(span.file).map_or("?", |file| file.name.as_str());
        let LineColumn { line, column } = sources.line_column(span);
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        out.push_str(&format!(
            "{name}:{line}:{column}: {severity}[{}]: {}\n",
            diagnostic.code, diagnostic.headline
        ));
    }
    out
}

#[derive(Serialize)]
struct JsonPlace<'a> {
    file: &'a str,
    /// Bytes from the start of the file.
    start: u32,
    end: u32,
    from: LineColumn,
    to: LineColumn,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonHelp<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    edit: Option<JsonEdit<'a>>,
}

#[derive(Serialize)]
struct JsonEdit<'a> {
    place: JsonPlace<'a>,
    replacement: &'a str,
    applicability: Applicability,
}

#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    code: &'a str,
    severity: Severity,
    headline: &'a str,
    primary: JsonPlace<'a>,
    secondary: Vec<JsonPlace<'a>>,
    notes: &'a [String],
    helps: Vec<JsonHelp<'a>>,
}

/// For programs: a list with one object for each diagnostic.
///
/// Keys: `code`, `severity` (`error` or `warning`), `headline`, `primary` and `secondary` places, `notes`, `helps`. A
/// place has `file`, `start` and `end` in bytes, `from` and `to` as `line` and `column` from 1, and its `text`. A help
/// has `text` and perhaps an `edit` with `place`, `replacement` and `applicability` (`safe` or `unsafe`).
pub fn render_json(diagnostics: &[Diagnostic], sources: &Sources) -> serde_json::Value {
    let list: Vec<JsonDiagnostic<'_>> = diagnostics
        .iter()
        .map(|d| JsonDiagnostic {
            code: d.code.0,
            severity: d.severity,
            headline: &d.headline,
            primary: labelled(&d.primary, sources),
            secondary: d.secondary.iter().map(|l| labelled(l, sources)).collect(),
            notes: &d.notes,
            helps: d
                .helps
                .iter()
                .map(|help| JsonHelp {
                    text: &help.text,
                    edit: help.edit.as_ref().map(|edit| JsonEdit {
                        place: json_place(edit.span, None, sources),
                        replacement: &edit.replacement,
                        applicability: edit.applicability,
                    }),
                })
                .collect(),
        })
        .collect();
    serde_json::to_value(list).expect("strings, numbers and lists can always be written as JSON")
}

fn labelled<'a>(label: &'a Labelled, sources: &'a Sources) -> JsonPlace<'a> {
    json_place(label.span, Some(&label.text), sources)
}

fn json_place<'a>(span: Span, text: Option<&'a str>, sources: &'a Sources) -> JsonPlace<'a> {
    let end = Span { start: span.end, ..span };
    JsonPlace {
        file: sources.get(span.file).map_or("?", |file| file.name.as_str()),
        start: span.start,
        end: span.end,
        from: sources.line_column(span),
        to: sources.line_column(end),
        text,
    }
}
