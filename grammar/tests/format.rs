//! Formatting: the same tree, stable, comments kept, and the layout itself on examples.
use dlc_grammar::ast::eq_ignoring_spans;
use dlc_grammar::{FileId, format, parse, std_files};

/// Formats and checks the invariants; gives the text.
fn formatted(text: &str) -> String {
    let file = FileId(0);
    let before = parse(file, text);
    let out = format(file, text).unwrap_or_else(|d| panic!("{d:#?}\n{text}"));
    let after = parse(file, &out);
    assert!(after.is_ok(), "{:#?}\n{out}", after.diagnostics);
    assert!(eq_ignoring_spans(&before.file, &after.file), "not the same tree\n{text}\n-->\n{out}");
    assert_eq!(format(file, &out).expect("it was just read"), out, "not stable");
    let comments = |list: &[dlc_grammar::lex::Comment]| {
        let mut texts: Vec<String> = list.iter().map(|c| c.text.clone()).collect();
        texts.sort();
        texts
    };
    assert_eq!(
        comments(&before.comments),
        comments(&after.comments),
        "comments differ\n{text}\n-->\n{out}"
    );
    out
}

#[test]
fn tmp() {
    for (name, text) in std_files() {
        std::fs::write(format!("/tmp/gfmt_{name}"), formatted(text)).unwrap();
    }
    std::fs::write("/tmp/gfmt_draft_std.dl", formatted(include_str!("data/draft_std.dl"))).unwrap();
    std::fs::write("/tmp/gfmt_draft_models.dl", formatted(include_str!("data/draft_models.dl")))
        .unwrap();
}
