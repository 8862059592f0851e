//! What several tests ask of a text.
use dlc_grammar::ast::eq_ignoring_spans;
use dlc_grammar::lex::Comment;
use dlc_grammar::{FileId, format, parse};

/// Formats a text without errors and checks that it means the same, is stable, and has lost no comment.
pub fn formatted(text: &str) -> String {
    let file = FileId(0);
    let before = parse(file, text);
    let out = format(file, text).unwrap_or_else(|said| panic!("{}\n{text}", said[0].headline));
    let after = parse(file, &out);
    assert!(after.is_ok(), "{:#?}\n{text}\n-->\n{out}", after.diagnostics);
    assert!(eq_ignoring_spans(&before.file, &after.file), "another tree\n{text}\n-->\n{out}");
    let again = format(file, &out).expect("it was just read");
    assert_eq!(again, out, "not stable");
    assert_eq!(comments(&before.comments), comments(&after.comments), "{text}\n-->\n{out}");
    out
}

fn comments(list: &[Comment]) -> Vec<&str> {
    let mut texts: Vec<&str> = list.iter().map(|c| c.text.as_str()).collect();
    texts.sort();
    texts
}
