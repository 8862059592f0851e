//! The worked drafts of the language and the standard library parse without a word.
use dlc_grammar::ast::ItemKind;
use dlc_grammar::{FileId, parse, std_files};

/// Parses and expects silence; gives the number of items.
fn items(name: &str, text: &str) -> usize {
    let parsed = parse(FileId(0), text);
    let said: Vec<_> = parsed
        .diagnostics
        .iter()
        .map(|d| format!("{}: {} at {:?}", d.code, d.headline, &text[d.primary.span.range()]))
        .collect();
    assert!(said.is_empty(), "{name}: {said:#?}");
    parsed.file.items.len()
}

#[test]
fn the_drafts_parse() {
    // Counted by hand: lines that begin an item.
    let std = include_str!("data/draft_std.dl");
    assert_eq!(items("std", std), first_words(std));
    let models = include_str!("data/draft_models.dl");
    assert_eq!(items("models", models), first_words(models));
}

#[test]
fn the_standard_library_parses_and_is_documented() {
    for (name, text) in std_files() {
        assert_eq!(items(name, text), first_words(text), "{name}");
        for item in parse(FileId(0), text).file.items {
            let ItemKind::Decl(decl) = &item.kind else {
                panic!("{name} holds something that is no declaration")
            };
            assert!(!item.docs.is_empty(), "{name}: {} has no documentation", decl.name.name);
        }
    }
}

fn first_words(text: &str) -> usize {
    let words = [
        "use",
        "train",
        "parallel",
        "model",
        "layer",
        "fn",
        "loss",
        "metric",
        "optimizer",
        "schedule",
        "init",
    ];
    text.lines().filter(|line| words.contains(&line.split(' ').next().unwrap_or(""))).count()
}
