//! The tables of what files declare, and the search for names in them.

use crate::diagnostics;
use dlc_grammar::ast::{self, ItemKind};
use dlc_grammar::{Diagnostic, FileId, Sources};
use dlc_ir::graph::{Graph, NodeId};
use indexmap::IndexMap;
use std::path::Path;
use std::sync::Arc;

/// A declaration and whether it belongs to the standard library.
#[derive(Debug, Clone)]
pub(crate) struct DeclRef {
    /// Its text.
    pub decl: Arc<ast::Decl>,
    /// Whether names inside it are looked up in the standard library only.
    pub std: bool,
}

/// Appends the gradients of the sum of a node's elements with respect to others, in their order.
pub type Gradients = fn(&mut Graph, NodeId, &[NodeId]) -> Vec<NodeId>;

/// All declarations of a compilation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declarations {
    /// Of the user's files, by name; those of a file that is used as `blocks` by `blocks.name`.
    user: IndexMap<String, DeclRef>,
    /// Of files that are used under a name: what their own text means by the names of their items.
    own: IndexMap<FileId, IndexMap<String, DeclRef>>,
    /// The names under which files are used.
    modules: Vec<String>,
    /// Of the standard library, by name.
    std: IndexMap<String, DeclRef>,
    /// `train` blocks by the name of the model.
    pub trains: IndexMap<String, Arc<ast::Train>>,
    /// `parallel` blocks by the name of the model.
    pub parallels: IndexMap<String, Arc<ast::Parallel>>,
    /// Names that text which could not be read would have declared.
    faulty: Vec<String>,
    /// Whether some item could not be read at all.
    unread: bool,
    /// Numbers of the standard library's files.
    std_files: Vec<FileId>,
    /// The file that was asked for.
    pub main_file: FileId,
    /// What `gradient(..)` calls; the front end itself does not differentiate.
    pub gradients: Option<Gradients>,
    /// Its text.
    pub main_text: String,
}

impl Declarations {
    /// Collects the items of all files. Names of the user hide those of the standard library, but not from the library itself.
    pub(crate) fn collect(
        sources: &Sources,
        main: &ast::File,
        library: &[ast::File],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut table = Declarations {
            std_files: sources.iter().filter(|(_, file)| file.std).map(|(id, _)| id).collect(),
            main_file: main.span.file,
            main_text: sources
                .get(main.span.file)
                .map(|file| file.text.clone())
                .unwrap_or_default(),
            ..Default::default()
        };
        let files: Vec<&ast::File> = std::iter::once(main).chain(library).collect();
        let uses = uses(sources, &files);
        for file in files {
            let id = file.span.file;
            let here = uses.iter().filter(|used| used.file == id);
            let mut aliases: Vec<&str> = here.filter_map(|used| used.alias.as_deref()).collect();
            aliases.sort_unstable();
            aliases.dedup();
            let plain = aliases.is_empty()
                || uses.iter().any(|used| used.file == id && used.alias.is_none());
            table.modules.extend(aliases.iter().map(|alias| (*alias).to_string()));
            for item in &file.items {
                if let ItemKind::Decl(decl) = &item.kind
                    && !table.is_std(id)
                {
                    table.add_aliased(decl, &aliases);
                }
                if plain || !matches!(item.kind, ItemKind::Decl(_)) {
                    let std = table.is_std(id);
                    table.add(item, std, diagnostics);
                }
            }
        }
        table
    }

    /// Adds an item of a file that is used under names.
    fn add_aliased(&mut self, decl: &ast::Decl, aliases: &[&str]) {
        let declared = DeclRef { decl: Arc::new(decl.clone()), std: false };
        let name = &decl.name.name;
        for alias in aliases {
            self.user.entry(format!("{alias}.{name}")).or_insert_with(|| declared.clone());
        }
        if !aliases.is_empty() {
            let own = self.own.entry(decl.name.span.file).or_default();
            own.entry(name.clone()).or_insert(declared);
        }
    }

    fn add(&mut self, item: &ast::Item, std: bool, diagnostics: &mut Vec<Diagnostic>) {
        match &item.kind {
            ItemKind::Decl(decl) => {
                let table = if std { &mut self.std } else { &mut self.user };
                if let Some(first) = table.get(&decl.name.name) {
                    diagnostics.push(diagnostics::duplicate_item(
                        &decl.name,
                        first.decl.name.span,
                        decl.kind,
                    ));
                } else {
                    let decl = DeclRef { decl: Arc::new(decl.clone()), std };
                    table.insert(decl.decl.name.name.clone(), decl);
                }
            }
            ItemKind::Train(train) => {
                if let Some(first) = self.trains.get(&train.name.name) {
                    diagnostics.push(diagnostics::duplicate_train(&train.name, first.name.span));
                } else {
                    self.trains.insert(train.name.name.clone(), Arc::new(train.clone()));
                }
            }
            // Files are read by whoever loads the text.
            ItemKind::Use(_) => {}
            ItemKind::Parallel(parallel) => {
                let name = &parallel.name;
                match self.parallels.get(&name.name) {
                    Some(first) => {
                        diagnostics.push(diagnostics::duplicate_parallel(name, first.name.span));
                    }
                    None => {
                        self.parallels.insert(name.name.clone(), Arc::new(parallel.clone()));
                    }
                }
            }
            ItemKind::Bad(name) => {
                self.unread = true;
                self.faulty.extend(name.iter().map(|name| name.name.clone()));
            }
        }
    }

    /// Whether a file belongs to the standard library.
    pub(crate) fn is_std(&self, file: FileId) -> bool {
        self.std_files.contains(&file)
    }

    /// The declaration that a name means in a file of the library (`std`) or of the user. The names of its own file go first.
    pub(crate) fn get(&self, name: &str, std: bool, file: FileId) -> Option<&DeclRef> {
        let own = || self.own.get(&file).and_then(|own| own.get(name));
        let of_user = if std { None } else { own().or_else(|| self.user.get(name)) };
        of_user.or_else(|| self.std.get(name))
    }

    /// Whether a file is used under this name.
    pub(crate) fn is_module(&self, name: &str) -> bool {
        self.modules.iter().any(|module| module == name)
    }

    /// Whether a name would be declared if its text could be read.
    pub(crate) fn is_faulty(&self, name: &str) -> bool {
        self.faulty.iter().any(|faulty| faulty == name)
    }

    /// Whether some item could not be read.
    pub(crate) fn has_faulty(&self) -> bool {
        self.unread || !self.faulty.is_empty()
    }

    /// All declared names that the text may use, those of the user first.
    pub(crate) fn names(&self, std: bool) -> impl Iterator<Item = &str> {
        let of_user = self.user.keys().filter(move |_| !std);
        of_user.chain(self.std.keys()).map(String::as_str)
    }

    /// What the file that was asked for declares.
    pub(crate) fn of_main(&self) -> impl Iterator<Item = &DeclRef> {
        self.user.values().filter(|decl| decl.decl.name.span.file == self.main_file)
    }

    /// The user's models in the order of the text.
    pub(crate) fn models(&self) -> impl Iterator<Item = &DeclRef> {
        let unqualified = self.user.iter().filter(|(name, _)| !name.contains('.'));
        unqualified.map(|(_, decl)| decl).filter(|decl| decl.decl.kind == ast::DeclKind::Model)
    }
}

/// That a file is used, under a name or without.
struct Used {
    file: FileId,
    alias: Option<String>,
}

/// Which files are used, and as what. Whoever loads a text names each file after the path by which it is used; where the same file
/// is reached by two paths, its last part decides.
fn uses(sources: &Sources, files: &[&ast::File]) -> Vec<Used> {
    let mut uses = Vec::new();
    for file in files {
        for item in &file.items {
            let ItemKind::Use(used) = &item.kind else { continue };
            let folder = sources
                .get(file.span.file)
                .and_then(|file| Path::new(&file.name).parent())
                .unwrap_or(Path::new(""));
            let wanted = folder.join(&used.path.text);
            let known = |fits: &dyn Fn(&Path) -> bool| {
                sources.iter().find(|(_, file)| !file.std && fits(Path::new(&file.name)))
            };
            let found = known(&|path| path == wanted)
                .or_else(|| known(&|path| path.file_name() == wanted.file_name()));
            if let Some((id, _)) = found {
                let alias = used.alias.as_ref().map(|alias| alias.name.clone());
                uses.push(Used { file: id, alias });
            }
        }
    }
    uses
}

/// The name nearest to `name` among `known`, if it is near enough to be what was meant.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    let limit = match name.chars().count() {
        0..=1 => return None,
        2..=3 => 1,
        4..=6 => 2,
        _ => 3,
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in known.filter(|candidate| *candidate != name) {
        let distance = edit_distance(name, candidate);
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_string())
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_within_reason() {
        let known = ["dense", "conv", "relu", "max_pool"];
        assert_eq!(nearest("dnese", known.into_iter()).as_deref(), Some("dense"));
        assert_eq!(nearest("maxpool", known.into_iter()).as_deref(), Some("max_pool"));
        assert_eq!(nearest("attention", known.into_iter()), None);
        assert_eq!(nearest("x", known.into_iter()), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        assert_eq!(edit_distance("nodes", "ndoes"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
