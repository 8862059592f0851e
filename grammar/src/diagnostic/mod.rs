//! What is said to the user: one model for all stages, and how it is shown.
//!
//! A [`Diagnostic`] is data. It is made where the fault is found, carried in lists, and shown by one of the renderers:
//! [`render_terminal`] for people, [`render_concise`] for editors and `grep`, [`render_json`] for programs.
mod render;

pub use render::{render_concise, render_json, render_terminal};

use crate::span::Span;
use serde::Serialize;

/// The number of a diagnostic: `E0312` for errors, `W0101` for warnings. It never changes its meaning.
///
/// E01xx belong to this crate; E02xx and beyond to the stages after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Code(pub &'static str);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// What a code means, at length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The code, such as `E0312`.
    pub code: &'static str,
    /// The fault in a few words.
    pub title: &'static str,
    /// Why it is one, with a wrong and a right program.
    pub text: &'static str,
}

/// How grave it is. The order is from the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// There is no program.
    Error,
    /// There is a program, and likely not the one that was meant.
    Warning,
}

/// A place and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Labelled {
    /// Where.
    pub span: Span,
    /// What is said; may be empty.
    pub text: String,
}

/// Whether an edit can be made without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Applicability {
    /// The program means what it meant, or what was plainly meant.
    Safe,
    /// The program may mean something else.
    Unsafe,
}

/// A replacement of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// What is replaced; an empty span inserts.
    pub span: Span,
    /// By what.
    pub replacement: String,
    /// Whether it needs to be asked.
    pub applicability: Applicability,
}

/// What the user may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Help {
    /// In words.
    pub text: String,
    /// As an edit, where one can be given.
    pub edit: Option<Edit>,
}

/// One thing that is said to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its number.
    pub code: Code,
    /// How grave it is.
    pub severity: Severity,
    /// One line in the user's words, without a full stop.
    pub headline: String,
    /// What is: the place of the fault.
    pub primary: Labelled,
    /// Where it comes from, such as the two declarations that disagree.
    pub secondary: Vec<Labelled>,
    /// Facts that help to understand it.
    pub notes: Vec<String>,
    /// What to do.
    pub helps: Vec<Help>,
}

impl Diagnostic {
    /// An error at `span`, with nothing said beside the place.
    pub fn error(code: &'static str, headline: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic {
            code: Code(code),
            severity: Severity::Error,
            headline: headline.into(),
            primary: Labelled { span, text: String::new() },
            secondary: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
        }
    }

    /// A warning at `span`, with nothing said beside the place.
    pub fn warning(code: &'static str, headline: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, headline, span) }
    }

    /// Says `text` beside the primary place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.primary.text = text.into();
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.secondary.push(Labelled { span, text: text.into() });
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Adds help in words.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.helps.push(Help { text: text.into(), edit: None });
        self
    }

    /// Adds help with an edit.
    #[must_use]
    pub fn fix(
        mut self,
        text: impl Into<String>,
        span: Span,
        replacement: impl Into<String>,
        applicability: Applicability,
    ) -> Diagnostic {
        self.helps.push(Help {
            text: text.into(),
            edit: Some(Edit { span, replacement: replacement.into(), applicability }),
        });
        self
    }

    /// Whether there is no program because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Sorts by place, then gravity, then code and headline, and drops what is said twice about one place.
pub fn sort_and_dedup(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.primary.span, d.severity, d.code);
        key(a).cmp(&key(b)).then_with(|| a.headline.cmp(&b.headline))
    });
    diagnostics.dedup_by(|later, earlier| {
        later.code == earlier.code
            && later.primary.span == earlier.primary.span
            && later.headline == earlier.headline
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{FileId, Sources};

    fn at(start: usize, end: usize) -> Span {
        Span::new(FileId(0), start, end)
    }

    #[test]
    fn diagnostics_are_sorted_by_place_and_said_once() {
        let mut list = vec![
            Diagnostic::error("E0110", "b", at(9, 10)),
            Diagnostic::warning("W0101", "a", at(2, 3)),
            Diagnostic::error("E0110", "a", at(2, 3)).label("first"),
            Diagnostic::error("E0110", "a", at(2, 3)).label("again"),
        ];
        sort_and_dedup(&mut list);
        let seen: Vec<_> = list.iter().map(|d| (d.code.0, d.primary.span.start)).collect();
        assert_eq!(seen, [("E0110", 2), ("W0101", 2), ("E0110", 9)]);
        assert_eq!(list[0].primary.text, "first");
    }

    fn example() -> (Diagnostic, Sources) {
        let mut sources = Sources::new();
        sources.add("mlp.dl", "layer f(x) {\n    let y = dense(h, w1)\n}\n");
        sources.add("other.dl", "é\nparam w1: f32[20, 8]\n");
        let d = Diagnostic::error("E0312", "`dense` needs 19 rows, but `w1` has 20", at(34, 36))
            .label("rows must equal the last dimension of `h`")
            .also(Span::new(FileId(1), 13, 23), "20 rows declared here")
            .note("shapes are part of types")
            .help("in words alone")
            .fix("change it", at(34, 36), "w2", Applicability::Unsafe);
        (d, sources)
    }

    #[test]
    fn one_line_says_where_and_what() {
        let (d, sources) = example();
        assert_eq!(
            render_concise(&[d], &sources),
            "mlp.dl:2:22: error[E0312]: `dense` needs 19 rows, but `w1` has 20\n"
        );
    }

    #[test]
    fn the_terminal_shows_both_files_and_the_edit() {
        let (d, sources) = example();
        insta::assert_snapshot!(render_terminal(&[d], &sources, false));
    }

    #[test]
    fn json_holds_everything() {
        let (d, sources) = example();
        let json = serde_json::to_string_pretty(&render_json(&[d], &sources)).unwrap();
        insta::assert_snapshot!(json);
    }

    #[test]
    fn places_that_do_not_fit_are_shown_as_well_as_can_be() {
        let (d, mut sources) = example();
        let short = sources.add("short.dl", "é");
        let inside = Diagnostic {
            primary: Labelled { span: Span::new(short, 1, 99), text: "x".into() },
            ..d
        };
        assert!(
            render_terminal(std::slice::from_ref(&inside), &sources, true).contains("short.dl")
        );
        let nowhere = render_terminal(&[inside], &Sources::new(), false);
        assert!(nowhere.contains("error[E0312]"), "{nowhere}");
    }
}
