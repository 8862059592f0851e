//! Wrong programs with the whole of what is said about them.
//!
//! `tests/ui/*.txt` hold cases: a line `=== what is wrong`, the program, a line `---`, and the rendered diagnostics. Run with
//! `DLC_BLESS=1` to rewrite the latter, and review the change.

mod support;

use dlc_grammar::diagnostic::render_terminal;
use support::{elaborate, expect_file};

fn check(file: &str) -> usize {
    let path = format!("{}/tests/ui/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the cases are there");
    let mut out = String::new();
    let mut count = 0;
    for case in text.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a case has a title");
        let program = rest.split("\n---\n").next().expect("split gives a first part").trim_end();
        let (_, diagnostics, sources) = elaborate(&format!("{program}\n"), None);
        let wrong = diagnostics.iter().any(|diagnostic| diagnostic.is_error());
        assert!(wrong, "{file}: {title}: this is a right program");
        let shown = render_terminal(&diagnostics, &sources, false);
        out.push_str(&format!("=== {title}\n{program}\n---\n{}\n\n", shown.trim_end()));
        count += 1;
    }
    expect_file(&format!("ui/{file}"), &out);
    count
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
    let count: usize = files.iter().map(|file| check(file)).sum();
    assert!(count >= 300, "{count} cases");
}
