//! Formatting: the same tree, stable, comments kept, and the layout itself on examples.
mod common;

use common::formatted;
use dlc_grammar::{FileId, format, std_files};

#[test]
fn the_standard_library_is_formatted() {
    for (name, text) in std_files() {
        assert_eq!(formatted(text), *text, "std/{name}");
    }
}

#[test]
fn the_drafts_keep_their_meaning() {
    insta::assert_snapshot!("draft_std", formatted(include_str!("data/draft_std.dl")));
    insta::assert_snapshot!("draft_models", formatted(include_str!("data/draft_models.dl")));
}

#[test]
fn a_text_with_errors_is_left_alone() {
    let said = format(FileId(0), "layer f(x) { let = 3 }\n").unwrap_err();
    assert_eq!(said[0].code.0, "E0110");
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("\n\n  // alone\n\n"), "// alone\n");
}

/// What stands on the left is written as on the right.
const LAYOUTS: &[(&str, &str)] = &[
    // Blanks, separators, empty lines.
    ("fn  f( x ,y:int=3 )=x+y", "fn f(x, y: int = 3) = x + y\n"),
    ("fn f(x) { let a=x;a }", "fn f(x) { let a = x; a }\n"),
    ("fn f(x) {let a=x;\n a}", "fn f(x) {\n    let a = x\n    a\n}\n"),
    ("\n\nfn f(x) = x\n\n\n\nfn g(x) = x\n\n", "fn f(x) = x\n\nfn g(x) = x\n"),
    ("fn f(x)\n{\n\n  x\n\n}", "fn f(x) {\n    x\n}\n"),
    ("init zeros() -> f32[s..] = 0", "init zeros -> f32[s..] = 0\n"),
    ("/// Doc.\r\nfn f(x) { // c\r\n  x\r\n}\r\n", "/// Doc.\nfn f(x) {\n    // c\n    x\n}\n"),
    // Operators.
    ("fn f(x) = 2*x+1-x ^ 2/ 3", "fn f(x) = 2*x + 1 - x^2 / 3\n"),
    ("fn f(x) = - x * not y", "fn f(x) = -x * not y\n"),
    ("fn f(x) = (x\n + 1)", "fn f(x) = (x + 1)\n"),
    (
        "fn f(x) = x[1 : n,(g,v),i*2+1 :, : ,.. else 0]",
        "fn f(x) = x[1:n, (g, v), i*2 + 1 :, :, .. else 0]\n",
    ),
    ("fn f(x) = sum [ k in n ] x[k]", "fn f(x) = sum[k in n] x[k]\n"),
    // Pipes keep the lines on which they were begun.
    ("fn f(x) = x|>a|>b(3).h as c", "fn f(x) = x |> a |> b(3).h as c\n"),
    ("fn f(x) { x |> a |> b\n |> c }", "fn f(x) {\n    x |> a |> b\n        |> c\n}\n"),
    // `else` keeps its line unless the block before it ends one.
    ("fn f(x) {\nif a { b }\nelse { c }\n}", "fn f(x) {\n    if a { b }\n    else { c }\n}\n"),
    (
        "fn f(x) {\nif a {\nb }\nelse { c }\n}",
        "fn f(x) {\n    if a {\n        b\n    } else { c }\n}\n",
    ),
    (
        "fn f(x) {\nlet y = if a { b }\nelse { c }\n}",
        "fn f(x) {\n    let y = if a { b }\n        else { c }\n}\n",
    ),
    // Comments.
    (
        "fn f(x) = x // behind\n// alone\nfn g(x) = x",
        "fn f(x) = x  // behind\n// alone\nfn g(x) = x\n",
    ),
    (
        "fn f(x) { // first\nx // second\n// third\n}",
        "fn f(x) {\n    // first\n    x  // second\n    // third\n}\n",
    ),
    ("fn f(x) = x + // why\n 1", "// why\nfn f(x) = x + 1\n"),
    (
        "fn f(x) = g(x, // one\n 2, // two\n // three\n)",
        "fn f(x) = g(\n    x,  // one\n    2,  // two\n    // three\n)\n",
    ),
    (
        "fn f(x) {\nx // one\n|> a // two\n|> b\n}",
        "fn f(x) {\n    x  // one\n        |> a  // two\n        |> b\n}\n",
    ),
    (
        "layer f(\n/// The input.\nx: f32[n], n: int) = x",
        "layer f(\n    /// The input.\n    x: f32[n],\n    n: int,\n) = x\n",
    ),
    // Settings stand in columns, run by run.
    (
        "train m {\nloss=l\nloss kl = k\nmetric accuracy(l)\n\nfreeze \"a\",\"b\"\nbatch = 4 on \"w\"\nshards = 4\n}",
        "train m {\n    loss    = l\n    loss kl = k\n    metric  accuracy(l)\n\n    freeze \"a\", \"b\"\n    batch  = 4 on \"w\"\n    shards = 4\n}\n",
    ),
    ("parallel m {\ndata 4{a=1;b=2}\n}", "parallel m {\n    data 4 { a = 1; b = 2 }\n}\n"),
    // Long heads.
    (
        "fn f(x: f32[n, s.., c], y: f32[n, s.., c], size: int per s, stride: int per s = 2) -> y: f32[n, o.., c], z: f32[n, s.., c] { x }",
        "fn f(x: f32[n, s.., c], y: f32[n, s.., c], size: int per s, stride: int per s = 2)\n    -> y: f32[n, o.., c], z: f32[n, s.., c]\n{ x }\n",
    ),
    ("fn f(x)\nwhere n > 0 \"no\" { x }", "fn f(x) where n > 0 \"no\" { x }\n"),
    (
        "fn f(x) where n > 0, len( r.. )=3 { x }",
        "fn f(x)\nwhere n > 0,\n      len(r..) = 3\n{ x }\n",
    ),
];

#[test]
fn layouts() {
    for (before, after) in LAYOUTS {
        assert_eq!(formatted(before), *after, "from {before:?}");
    }
}
