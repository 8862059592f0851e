//! Whole messages for wrong programs, as a person sees them. Each snapshot holds the program and everything said about it.
use dlc_grammar::parse::EXPLANATIONS;
use dlc_grammar::{FileId, Sources, parse, render_terminal};

fn said(text: &str) -> String {
    let mut sources = Sources::new();
    let id = sources.add("net.dl", text);
    let parsed = parse(id, text);
    assert!(!parsed.diagnostics.is_empty(), "nothing is said about {text:?}");
    render_terminal(&parsed.diagnostics, &sources, false)
}

/// A name for the snapshot and a wrong program.
const WRONG: &[(&str, &str)] = &[
    // Items.
    ("item_unknown", "class net(x) { x }\nlayer g(x) = x\n"),
    ("item_misspelt", "modle net(x) { x }\n"),
    ("item_statement_outside", "let a = 3\n"),
    ("item_without_name", "layer (x) { x }\n"),
    ("item_without_body", "fn twice(x)\n\nfn thrice(x) = 3 * x\n"),
    ("item_formals_missing", "layer f x { x }\n"),
    ("item_comma_missing", "layer f(x: f32[n, c] units: int) { x }\n"),
    ("item_result_missing", "model f(x: f32[n]) -> { x }\n"),
    ("item_twice_on_a_line", "fn a(x) = x fn b(x) = x\n"),
    ("use_without_quotes", "use blocks\n"),
    ("where_empty", "layer f(x) where { x }\n"),
    ("doc_at_the_end", "fn a(x) = x\n\n/// Nothing follows.\n"),
    // Characters and brackets.
    ("brace_never_closed", "layer f(x) {\n    if x > 0 {\n        x\n}\n\nlayer g(x) = x\n"),
    ("paren_never_closed", "layer f(x) {\n    let a = g(x\n    a\n}\n"),
    ("bracket_mismatched", "layer f(x) {\n    let a = x[1, 2)\n    a\n}\n"),
    ("brace_too_many", "layer f(x) { x }\n}\n"),
    ("string_without_end", "use \"blocks.dl\n"),
    ("foreign_and", "fn f(x) = if x > 0 && x < 1 { x } else { 0 }\n"),
    ("foreign_characters", "fn f(x) {\n    let a = x × 2\n    let b = x % 2\n    a − b\n}\n"),
    ("comment_with_hash", "# a comment\nfn f(x) = x\n"),
    // Statements.
    ("let_without_name", "layer f(x) {\n    let = 3\n}\n"),
    ("let_without_equals", "layer f(x) {\n    let a 3\n    a\n}\n"),
    ("let_without_value", "layer f(x) {\n    let a =\n}\n"),
    ("keyword_as_name", "layer f(x) {\n    let in = 3\n    in\n}\n"),
    ("param_without_colon", "layer f(x) {\n    param w f32[2] ~ zeros\n}\n"),
    ("param_without_start", "layer f(x) {\n    param w: f32[2]\n    w\n}\n"),
    ("two_values_on_a_line", "layer f(x) {\n    x y\n}\n"),
    ("return", "layer f(x) {\n    return x\n}\n"),
    ("while", "layer f(x) {\n    while x > 0 { x }\n}\n"),
    ("scan_without_range", "layer f(x) {\n    scan t carry h = 0 { h }\n}\n"),
    ("doc_behind_a_statement", "layer f(x) {\n    let a = 3 /// three\n    a\n}\n"),
    ("doc_before_the_brace", "layer f(x) {\n    x\n    /// the end\n}\n"),
    (
        "several_at_once",
        "layer f(x) {\n    let a 3\n    let b = 4\n    param c\n    b\n}\n\nmodle g(x) = x\n\ntrain f {\n    epoch = 3\n    batch 64\n}\n",
    ),
    // Left sides and index notation.
    ("assign_to_a_call", "layer f(x) {\n    g(x) = 3\n}\n"),
    ("assign_to_a_sum", "layer f(x) {\n    a + b = 3\n}\n"),
    ("else_on_the_left", "layer f(x) -> y: f32[n] {\n    y[i else 0] = x[i]\n}\n"),
    ("in_on_the_right", "layer f(x) -> y: f32[n] {\n    y[i] = x[i in 3] + x[(i, j in 2)]\n}\n"),
    ("range_without_a_name", "layer f(x) -> y: f32[n] {\n    y[2*i in n] = x[i]\n}\n"),
    ("slice_on_the_left", "layer f(x) -> y: f32[n] {\n    y[0:3] = x\n}\n"),
    ("each_without_assignment", "layer f(x) {\n    each[i] x[i]\n}\n"),
    ("reducer_in_round_brackets", "layer f(x) -> y: f32[n] {\n    y[i] = sum(k) x[i, k]\n}\n"),
    ("reducer_without_index", "layer f(x) {\n    sum[] x\n}\n"),
    ("reducer_without_term", "layer f(x) -> y: f32[n] {\n    y[i] = sum[k]\n}\n"),
    ("access_without_comma", "fn f(x) = x[1 2]\n"),
    // Expressions and types.
    ("comparison_chained", "fn f(x) = if 0 < x < 1 { x } else { 0 }\n"),
    ("assignment_as_condition", "layer f(x) {\n    if x = 0 { 1 } else { x }\n}\n"),
    ("else_without_block", "layer f(x) {\n    if x > 0 { 1 } else 2\n}\n"),
    ("power_with_asterisks", "layer f(x) {\n    x ** 2\n}\n"),
    ("operator_twice", "layer f(x) {\n    let a = x * / 2\n    a\n}\n"),
    ("product_without_operator", "layer f(x) {\n    let a = 3x\n    a\n}\n"),
    ("number_too_large", "fn f(x) = x + 99999999999999999999 + 1e999\n"),
    ("pipe_into_nothing", "layer f(x) {\n    x |> relu |>\n}\n"),
    ("argument_without_value", "layer f(x) {\n    x |> conv(3, kernel = )\n}\n"),
    ("type_unknown", "layer f(x: float, n: int) { x }\n"),
    ("type_missing", "layer f(x: ) { x }\n"),
    ("is_a_choice", "fn f(x) = if x is same | valid { 0 } else { 1 }\n"),
    // Training.
    ("setting_unknown", "train m {\n    batch_size = 64\n    lr = 0.1\n}\n"),
    ("setting_without_equals", "train m {\n    batch 64\n}\n"),
    ("on_without_pattern", "train m {\n    optimizer = adam() on\n}\n"),
    ("parallel_without_number", "parallel m {\n    data\n}\n"),
];

#[test]
fn messages() {
    for (name, text) in WRONG {
        insta::with_settings!({ description => *text, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(*name, said(text));
        });
    }
}

#[test]
fn every_code_has_a_message_here() {
    let mut seen: Vec<&str> = Vec::new();
    for (_, text) in WRONG {
        seen.extend(parse(FileId(0), text).diagnostics.iter().map(|d| d.code.0));
    }
    // These two are about depth and size and have a test of their own below.
    seen.extend(["E0105", "E0106"]);
    seen.sort();
    seen.dedup();
    let listed: Vec<&str> = EXPLANATIONS.iter().map(|one| one.code).collect();
    assert_eq!(seen, listed);
}

#[test]
fn wrong_programs_of_explanations_are_wrong_and_right_ones_right() {
    for one in EXPLANATIONS {
        let Some((_, programs)) = one.text.split_once("\nWrong:\n") else {
            assert!(["E0105", "E0106"].contains(&one.code), "{} has no programs", one.code);
            continue;
        };
        let (wrong, right) = programs.split_once("Right:\n").expect("a right program follows");
        let codes = |text: &str| -> Vec<&str> {
            let text: String = text.lines().map(|line| format!("{}\n", &line[4..])).collect();
            parse(FileId(0), &text).diagnostics.iter().map(|d| d.code.0).collect()
        };
        assert!(codes(wrong).contains(&one.code), "{}: {:?}", one.code, codes(wrong));
        assert!(codes(right).is_empty(), "{}: {:?}", one.code, codes(right));
    }
}

#[test]
fn depth_and_size_are_limited() {
    let nested = format!("fn f(x) = {}x{}\n", "(".repeat(3000), ")".repeat(3000));
    assert!(said(&nested).contains("brackets nest too deeply"));
    let open = format!("fn f(x) = {}", "[".repeat(100_000));
    assert!(said(&open).contains("brackets nest too deeply"));
    let long = format!("fn f(x) = {}x\n", "x + ".repeat(100_000));
    assert!(said(&long).contains("this expression is too long"));
    let minus = format!("fn f(x) = {}x\n", "-".repeat(100_000));
    assert!(said(&minus).contains("this expression is too long"));
    let ifs = format!("fn f(x) = {}x\n", "if ".repeat(100_000));
    assert!(said(&ifs).contains("this expression is too long"));
    let large = "// a comment\n".repeat(2_000_000);
    assert!(said(&large).contains("this file is too large"));
}

#[test]
fn what_is_just_within_the_limits_is_read() {
    let nested = format!("fn f(x) = {}x{}\n", "(".repeat(64), ")".repeat(64));
    let power = format!("fn f(x) = {}x\n", "x ^ ".repeat(590));
    let blocks = format!("fn f(x) {}{{ x }}{}\n", "{ if a ".repeat(31), "}".repeat(31));
    let accesses = format!("fn f(x) = {}0{}\n", "x[".repeat(60), "]".repeat(60));
    let elses = format!("fn f(x) = {} {{ 0 }}\n", "if x { 1 } else ".repeat(200));
    for text in [nested, power, blocks, accesses, elses] {
        let mut sources = Sources::new();
        let id = sources.add("net.dl", text.as_str());
        let said = render_terminal(&parse(id, &text).diagnostics, &sources, false);
        assert!(said.is_empty(), "{said}");
    }
}
