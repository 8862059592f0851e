//! Wrong programs with the whole of what is said about them.
//!
//! `tests/ui/*.txt` hold cases: a line `=== what is wrong`, the program, a line `---`, and the rendered diagnostics. Run with
//! `DLC_BLESS=1` to rewrite the latter, and review the change.

mod support;

use dlc_frontend::ModelProgram;
use dlc_grammar::diagnostic::render_terminal;
use dlc_grammar::{Diagnostic, Sources};
use support::{elaborate, expect_file, lint};

/// A text that was put together with what is said about it.
type Tried = (Option<ModelProgram>, Vec<Diagnostic>, Sources);

/// Compares a file of cases, and counts them. `fits` tells whether what is said is of the kind that the file is about.
fn check(file: &str, run: fn(&str) -> Tried, fits: fn(&Diagnostic) -> bool) -> usize {
    let path = format!("{}/tests/ui/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the cases are there");
    let mut out = String::new();
    let mut count = 0;
    for case in text.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a case has a title");
        let program = rest.split("\n---\n").next().expect("split gives a first part").trim_end();
        let (_, diagnostics, sources) = run(&format!("{program}\n"));
        assert!(diagnostics.iter().any(fits), "{file}: {title}: this is a right program");
        let shown = render_terminal(&diagnostics, &sources, false);
        out.push_str(&format!("=== {title}\n{program}\n---\n{}\n\n", shown.trim_end()));
        count += 1;
    }
    expect_file(&format!("ui/{file}"), &out);
    count
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    let count = check("warnings.txt", lint, |diagnostic| !diagnostic.is_error());
    assert!(count >= 15, "{count} cases");
}

/// Blocks marked `dl` are whole files.
#[test]
fn examples_of_the_manual_are_right() {
    let mut count = 0;
    for page in ["tour.md", "language.md"] {
        let path = format!("{}/../../manual/{page}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("the page is there");
        for block in text.split("```dl\n").skip(1) {
            let program = block.split("```").next().expect("split gives a first part");
            let (made, diagnostics, sources) = lint(program);
            let shown = render_terminal(&diagnostics, &sources, false);
            assert!(diagnostics.is_empty(), "{page}:\n{shown}");
            let made = made.expect("nothing is said, so there is a program");
            assert_eq!(made.train.is_some(), program.contains("\ntrain "), "{page}:\n{program}");
            count += 1;
        }
    }
    assert!(count >= 8, "{count} examples");
}

/// The library itself, the examples and the models of the tests are warned of nothing.
#[test]
fn examples_are_warned_of_nothing() {
    let mut count = 0;
    for folder in ["examples", "tests/models"] {
        let path = format!("{}/../../{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(&path).expect("the models are there") {
            let path = entry.expect("readable").path();
            if path.extension().is_none_or(|extension| extension != "dl") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            let (_, mut diagnostics, sources) = lint(&text);
            // Labels come with the data of a model that makes no use of them.
            diagnostics.retain(|found| found.headline != "input `label` is never used");
            let shown = render_terminal(&diagnostics, &sources, false);
            assert!(diagnostics.is_empty(), "{}:\n{shown}", path.display());
            count += 1;
        }
    }
    assert!(count >= 8, "{count} models");
}

#[test]
fn wrong_programs_are_explained() {
    let files = [
        "arguments.txt",
        "indices.txt",
        "library.txt",
        "limits.txt",
        "names.txt",
        "parallel.txt",
        "shapes.txt",
        "training.txt",
        "types.txt",
    ];
    let count: usize = files
        .iter()
        .map(|file| check(file, |text| elaborate(text, None), Diagnostic::is_error))
        .sum();
    assert!(count >= 300, "{count} cases");
}
