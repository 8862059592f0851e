//! The pages of the manual about the standard library are written from its documentation.
//!
//! Run with `DLC_BLESS=1` to rewrite them, and review the change.

use dlc_grammar::ast::{Body, Decl, DeclKind, Formal, Item, ItemKind};
use dlc_grammar::{FileId, Span, parse, std_files};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// An item with its file.
struct Entry {
    file: &'static str,
    text: &'static str,
    item: Item,
    decl: Decl,
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (at, (file, text)) in std_files().iter().enumerate() {
        let parsed = parse(FileId(at as u32), text);
        assert!(parsed.is_ok(), "{file}: {:?}", parsed.diagnostics);
        for item in parsed.file.items {
            if let ItemKind::Decl(decl) = item.kind.clone() {
                entries.push(Entry { file, text, item, decl });
            }
        }
    }
    entries
}

impl Entry {
    fn slice(&self, span: Span) -> &'static str {
        &self.text[span.range()]
    }

    /// The head of the declaration: all before its body.
    fn head(&self) -> &'static str {
        let body = match &self.decl.body {
            Body::Block(block) => block.span.start,
            Body::Expr(expr) => expr.span.start,
        };
        let head = &self.text[self.item.span.start as usize..body as usize];
        head.trim_end().trim_end_matches('=').trim_end()
    }

    fn docs(&self) -> Vec<&str> {
        self.item.docs.iter().map(|doc| doc.text.as_str()).collect()
    }

    /// The first sentence of the documentation.
    fn summary(&self) -> String {
        let whole = self.docs().join(" ");
        let end = whole.find(". ").map_or(whole.len(), |at| at + 1);
        whole[..end].to_string()
    }

    fn argument(&self, formal: &Formal) -> String {
        let ty = formal.ty.as_ref().map_or("number or tensor", |ty| self.slice(ty.span));
        let default = formal.default.as_ref().map_or("", |default| self.slice(default.span));
        let code = |text: &str| match text {
            "" => String::new(),
            text => format!("`{}`", text.replace('|', "\\|")),
        };
        format!("| `{}` | {} | {} |\n", formal.name.name, code(ty), code(default))
    }

    fn page(&self) -> String {
        let Entry { decl, .. } = self;
        let mut page =
            format!("# `{}`\n\nA {} of `std/{}`.\n\n", decl.name.name, decl.kind.word(), self.file);
        let _ = write!(page, "```\n{}\n```\n\n", self.head());
        for line in self.docs() {
            let _ = writeln!(page, "{line}  ");
        }
        if !decl.formals.is_empty() {
            page.push_str("\n| argument | type | default |\n| --- | --- | --- |\n");
            for formal in &decl.formals {
                page.push_str(&self.argument(formal));
            }
        }
        let source = self.slice(self.item.span).trim_end();
        let _ = write!(page, "\n## Source\n\n```\n{source}\n```\n");
        page
    }
}

/// All pages by their paths below `manual/std`.
fn pages() -> BTreeMap<String, String> {
    let entries = entries();
    let mut pages = BTreeMap::new();
    let mut index = String::from(
        "# The standard library\n\nOne page for each item, with its formula, shapes, defaults and source. Tensors are channels last; in shapes `..` stands \
         for any number of axes.\n",
    );
    for kind in DeclKind::ALL {
        let of_kind: Vec<&Entry> = entries.iter().filter(|entry| entry.decl.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = write!(index, "\n## `{}`\n\n| name | |\n| --- | --- |\n", kind.word());
        for entry in of_kind {
            let name = &entry.decl.name.name;
            let summary = entry.summary().replace('|', "\\|");
            let _ = writeln!(index, "| [`{name}`]({name}.md) | {summary} |");
            let before = pages.insert(format!("{name}.md"), entry.page());
            assert!(before.is_none(), "two items are called `{name}`");
        }
    }
    pages.insert("README.md".to_string(), index);
    pages
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manual/std")
}

#[test]
fn pages_are_those_of_the_text() {
    let pages = pages();
    let folder = folder();
    if std::env::var_os("DLC_BLESS").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the manual can be written");
        for (name, page) in &pages {
            std::fs::write(folder.join(name), page).expect("the manual can be written");
        }
        return;
    }
    for (name, page) in &pages {
        let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == *page, "manual/std/{name} is not that of the text; run with DLC_BLESS=1");
    }
    let written = std::fs::read_dir(&folder).expect("the pages are there").count();
    assert_eq!(written, pages.len(), "there are pages of items that are gone");
}

/// Each item says what it does, and what it is called elsewhere or where it comes from, unless it only serves others.
#[test]
fn every_item_is_documented() {
    for entry in entries() {
        let name = &entry.decl.name.name;
        assert!(!entry.docs().is_empty(), "`{name}` of {} is not documented", entry.file);
        assert!(entry.summary().ends_with(['.', ':', '`', ')']), "`{name}`: {}", entry.summary());
    }
}
