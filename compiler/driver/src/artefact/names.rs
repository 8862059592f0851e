//! Names of the language as C and Rust take them.

use std::collections::BTreeSet;

/// Words that C, C++ or Rust keep for themselves, as far as a name of the language could be one.
const TAKEN: &[&str] = &[
    "abstract",
    "alignas",
    "alignof",
    "and",
    "as",
    "asm",
    "async",
    "auto",
    "await",
    "become",
    "bool",
    "box",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "concept",
    "const",
    "constexpr",
    "continue",
    "crate",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dyn",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "final",
    "float",
    "fn",
    "for",
    "friend",
    "gen",
    "goto",
    "if",
    "impl",
    "in",
    "inline",
    "int",
    "let",
    "long",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "nullptr",
    "operator",
    "or",
    "override",
    "priv",
    "private",
    "protected",
    "pub",
    "public",
    "ref",
    "register",
    "requires",
    "restrict",
    "return",
    "self",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "super",
    "switch",
    "template",
    "this",
    "throw",
    "trait",
    "true",
    "try",
    "type",
    "typedef",
    "typeid",
    "typename",
    "union",
    "unsafe",
    "unsigned",
    "unsized",
    "use",
    "using",
    "virtual",
    "void",
    "volatile",
    "where",
    "while",
    "xor",
    "yield",
];

/// A name as an identifier: letters, digits and underscores, none that a language keeps.
pub(super) fn identifier(name: &str) -> String {
    let mut text: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) || text.is_empty() {
        text.insert(0, '_');
    }
    if TAKEN.contains(&text.as_str()) {
        text.push('_');
    }
    text
}

/// An identifier that no other of the same place has.
pub(super) fn unique(name: &str, known: &mut BTreeSet<String>) -> String {
    let mut text = identifier(name);
    while !known.insert(text.clone()) {
        text.push('_');
    }
    text
}

/// Words of a name with capitals, as types of Rust are written: `train_step` becomes `TrainStep`.
pub(super) fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut chars = word.chars();
            match chars.next() {
                Some(first) => first.to_ascii_uppercase().to_string() + chars.as_str(),
                None => String::new(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_differ() {
        assert_eq!(identifier("metric.accuracy.correct"), "metric_accuracy_correct");
        assert_eq!(identifier("int"), "int_");
        assert_eq!(identifier("2x"), "_2x");
        let mut known = BTreeSet::new();
        assert_eq!(unique("a.b", &mut known), "a_b");
        assert_eq!(unique("a_b", &mut known), "a_b_");
        assert_eq!(camel("train_step"), "TrainStep");
    }
}
