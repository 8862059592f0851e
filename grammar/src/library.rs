//! The part of the standard library that a program uses.
//!
//! Parsing the whole library takes longer than parsing a model, and a model uses a few of its items. Which ones is found without
//! parsing: an item begins with its kind at the start of a line, its name is the second word, and it may use every item whose
//! name occurs anywhere in its text. That is more than it does use, never less.

use crate::ast::DeclKind;
use crate::lex::{Token, TokenKind, token};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// An item of the library.
struct Item {
    file: usize,
    /// Its text, with the documentation before it.
    range: Range<usize>,
}

/// The items that `texts` use, directly or through other items: for each of the library's files, in the order of
/// [`crate::std_files`], their places.
///
/// What is left out is also missing where the nearest name is looked for, so whoever has something to say about a text should
/// read the whole library first.
pub fn std_used<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Vec<Range<usize>>> {
    let files = crate::std_files();
    let items: BTreeMap<&str, Item> =
        files.iter().enumerate().flat_map(|(file, (_, text))| items(file, text)).collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut places: Vec<Vec<Range<usize>>> = vec![Vec::new(); files.len()];
    let mut pending: Vec<&str> = texts.into_iter().collect();
    while let Some(text) = pending.pop() {
        for word in words(text) {
            if let Some((name, item)) = items.get_key_value(word)
                && used.insert(*name)
            {
                pending.push(&files[item.file].1[item.range.clone()]);
                places[item.file].push(item.range.clone());
            }
        }
    }
    for places in &mut places {
        places.sort_by_key(|place| place.start);
    }
    places
}

/// The items of a file by name, each with the lines before it that belong to no other.
fn items(file: usize, text: &'static str) -> Vec<(&'static str, Item)> {
    let mut found: Vec<(&'static str, Item)> = Vec::new();
    // Where documentation begins that is followed by an item.
    let mut docs: Option<usize> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let word = first_word(line);
        let starts_item = DeclKind::ALL.iter().any(|kind| word == Some(kind.word()));
        if line.starts_with("///") {
            docs.get_or_insert(at);
        } else if starts_item {
            let start = docs.take().unwrap_or(at);
            let name = words(line).nth(1).unwrap_or(line);
            found.push((name, Item { file, range: start..text.len() }));
        } else {
            docs = None;
        }
        at += line.len();
    }
    for index in 1..found.len() {
        found[index - 1].1.range.end = found[index].1.range.start;
    }
    found
}

/// The word that a line begins with.
fn first_word(line: &str) -> Option<&str> {
    line.starts_with(|first: char| first.is_ascii_alphabetic()).then(|| words(line).next())?
}

/// The words of a text, but for those of comments.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let Token { kind, start, end } = token(text, at);
            at = end;
            match kind {
                TokenKind::End => return None,
                TokenKind::Word => return Some(&text[start..end]),
                TokenKind::Number
                | TokenKind::Str(_)
                | TokenKind::Comment
                | TokenKind::Doc
                | TokenKind::Newline
                | TokenKind::Punct
                | TokenKind::Foreign => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::ItemKind;
    use crate::{FileId, parse, parse_part};

    /// Declarations of the library that are read when some text is compiled.
    fn left(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (file, (places, (_, whole))) in
            std_used([text]).into_iter().zip(crate::std_files()).enumerate()
        {
            for place in places {
                let parsed = parse_part(FileId(file as u32), whole, place);
                assert!(parsed.is_ok(), "{:?}", parsed.diagnostics);
                names.extend(parsed.file.items.into_iter().filter_map(|item| match item.kind {
                    ItemKind::Decl(decl) => Some(decl.name.name),
                    ItemKind::Use(_)
                    | ItemKind::Train(_)
                    | ItemKind::Parallel(_)
                    | ItemKind::Bad(_) => None,
                }));
            }
        }
        names
    }

    #[test]
    fn every_item_of_the_library_is_known_by_its_name() {
        let known: BTreeSet<&str> = crate::std_files()
            .iter()
            .enumerate()
            .flat_map(|(file, (_, text))| items(file, text))
            .map(|(name, _)| name)
            .collect();
        for (_, text) in crate::std_files() {
            let parsed = parse(FileId(0), text);
            for item in &parsed.file.items {
                let ItemKind::Decl(decl) = &item.kind else { panic!("{item:?}") };
                assert!(known.contains(decl.name.name.as_str()), "{}", decl.name.name);
            }
        }
    }

    #[test]
    fn what_is_used_stays_with_what_it_uses_in_its_place() {
        assert_eq!(left("model nothing()"), Vec::<String>::new());
        let names = left("x |> dense(3)");
        assert!(names.iter().any(|name| name == "dense"), "{names:?}");
        assert!(names.iter().any(|name| name == "glorot_uniform"), "{names:?}");
        assert!(!names.iter().any(|name| name == "adam"), "{names:?}");
        // A part of a file is read as the same part of the whole is, places included.
        for (places, (_, text)) in std_used(["dense"]).into_iter().zip(crate::std_files()) {
            let whole = parse(FileId(0), text).file.items;
            for place in places {
                for item in parse_part(FileId(0), text, place).file.items {
                    assert!(whole.contains(&item), "{item:?}");
                }
            }
        }
    }
}
