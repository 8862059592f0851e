//! What holds for every text: reading it does not panic, and what is read is formatted without a change of meaning.
mod common;

use common::formatted;
use dlc_grammar::ast::{BinaryOp, CompType, DeclKind, Dtype, Reducer, SettingKey};
use dlc_grammar::{Sources, parse, render_terminal, std_files};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Reads a text, good or bad, and checks what is said about it.
fn read(text: &str) -> Result<(), TestCaseError> {
    let mut sources = Sources::new();
    let id = sources.add("soup.dl", text);
    let parsed = parse(id, text);
    for d in &parsed.diagnostics {
        let range = d.primary.span.range();
        prop_assert!(text.get(range.clone()).is_some(), "{range:?} is no part of {text:?}");
        prop_assert!(!d.headline.contains("something else"), "{} for {text:?}", d.headline);
    }
    let few = &parsed.diagnostics[..parsed.diagnostics.len().min(8)];
    render_terminal(few, &sources, false);
    Ok(())
}

fn vocabulary() -> Vec<String> {
    let mut words: Vec<String> = "let param state shared total penalty yield scan for carry in if else each with where is as and \
        or not div mod true false none skip per step times on at data pipeline tensor train parallel use len x y n k b.. \
        ( ) [ ] { } , ; : . .. -> |> + - * / @ ^ = == != < <= > >= += -= *= ~ | 1 2.5 1e-3 7x \"a\" \"open /// // # && é \\"
        .split_whitespace()
        .map(str::to_string)
        .collect();
    words.extend(DeclKind::ALL.iter().map(|kind| kind.word().to_string()));
    words.extend(SettingKey::ALL.iter().map(|key| key.word().to_string()));
    words.extend(Reducer::ALL.iter().map(|op| op.word().to_string()));
    words.extend(BinaryOp::ALL.iter().map(|op| op.text().to_string()));
    words.extend(Dtype::ALL.iter().map(|ty| ty.word().to_string()));
    words.extend(CompType::ALL.iter().map(|ty| ty.word().to_string()));
    words.extend(["\n", "\n", "\n", "\r\n", "layer f(x) {\n", "}\n"].map(str::to_string));
    words
}

fn files() -> Vec<&'static str> {
    let mut files: Vec<&'static str> = std_files().iter().map(|(_, text)| *text).collect();
    files.push(include_str!("data/draft_models.dl"));
    files
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vocabulary()), 0..60)
        .prop_map(|words| words.join(" "))
}

/// A file of the standard library with some stretches removed, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let files = files();
    let change =
        (any::<prop::sample::Index>(), 0..12usize, 0..3u8, prop::sample::select(vocabulary()));
    (prop::sample::select(files), prop::collection::vec(change, 1..5)).prop_map(
        |(text, changes)| {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, len, how, word) in changes {
                let at = at.index(chars.len() + 1);
                let to = (at + len).min(chars.len());
                let piece: Vec<char> = chars[at..to].to_vec();
                let new: Vec<char> = match how {
                    0 => Vec::new(),
                    1 => [piece.clone(), piece].concat(),
                    _ => word.chars().collect(),
                };
                chars.splice(at..to, new);
            }
            chars.into_iter().collect()
        },
    )
}

/// A file of the standard library with comments behind some lines and between some.
fn commented() -> impl Strategy<Value = String> {
    let files = files();
    prop::sample::select(files).prop_flat_map(|text| {
        let lines: Vec<&'static str> = text.lines().collect();
        prop::collection::vec(0..8u8, lines.len()).prop_map(move |how| {
            let mut out = String::new();
            for (i, (line, how)) in lines.iter().zip(how).enumerate() {
                let doc = line.trim_start().starts_with("///");
                match how {
                    0 if !doc => out.push_str(&format!("{line} // behind {i}\n")),
                    1 => out.push_str(&format!("  // between {i}\n{line}\n")),
                    2 => out.push_str(&format!("\n\n{line}\n")),
                    _ => out.push_str(&format!("{line}\n")),
                }
            }
            out
        })
    })
}

/// Expressions, from names up.
fn expr() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("x"),
        Just("long_name_of_a_value"),
        Just("12"),
        Just("1e-3"),
        Just("true"),
        Just("none"),
        Just("skip"),
        Just("\"w.*\""),
        Just("r.h"),
        Just("k.0"),
    ]
    .prop_map(str::to_string)
    .boxed();
    leaf.prop_recursive(5, 48, 4, |inner| {
        let ops: Vec<&'static str> =
            ["+", "-", "*", "/", "@", "^", "div", "mod", "and", "or"].to_vec();
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            (inner.clone(), prop::sample::select(ops), inner.clone())
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            pair.clone().prop_map(|(a, b)| format!("{a}*{b}")),
            pair.clone().prop_map(|(a, b)| format!("(({a}) < ({b}))")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("not {a}")),
            inner.clone().prop_map(|a| format!("({a}) is f32[a.., n]")),
            inner.clone().prop_map(|a| format!("sum[i, u.. in s..] {a}")),
            pair.clone().prop_map(|(a, b)| format!("f({a}, name = {b}, s..)")),
            pair.clone()
                .prop_map(|(a, b)| format!("x[{a}, ({b}).., (i, j), {a} : {b}, : else {b}]")),
            pair.clone().prop_map(|(a, b)| format!("({a}, {b},\n  // c\n  s..)")),
            pair.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("if {a} {{ {b} }} else {{ {c} }}")),
            pair.clone().prop_map(|(a, b)| format!(
                "(if {a} {{\n{b} // d\n}} else if y {{ 1 }}\nelse {{ 2 }})"
            )),
            pair.clone().prop_map(|(a, b)| format!("({a} |> g({b}) as name |> h(1).c)")),
            pair.prop_map(|(a, b)| format!("(with t = {a} {{ let q = {b}; q }})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_soup_of_words_is_read_without_panic(text in soup()) {
        read(&text)?;
    }

    #[test]
    fn any_characters_are_read_without_panic(text in "(?s).{0,80}") {
        read(&text)?;
    }

    #[test]
    fn expressions_keep_their_meaning(a in expr(), b in expr()) {
        formatted(&format!("fn f(x) {{\n    let y = {a}\n    {b}\n}}\nfn g(x) = {a}\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_changed_library_is_read_without_panic(text in mutated()) {
        read(&text)?;
    }

    #[test]
    fn comments_anywhere_are_kept(text in commented()) {
        formatted(&text);
    }
}
