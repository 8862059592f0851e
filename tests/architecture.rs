//! The layout of the workspace is what its documents say: which crate may import which, and a paragraph for each.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates by folder, with the crates of this workspace that each may import; lower layers first.
const LAYERS: &[(&str, &[&str])] = &[
    ("grammar", &[]),
    ("runtime/abi", &[]),
    ("compiler/ir", &["dlc-grammar", "dlc-abi"]),
    ("compiler/frontend", &["dlc-grammar", "dlc-ir", "dlc-abi"]),
    ("compiler/passes", &["dlc-ir", "dlc-abi"]),
    ("compiler/codegen", &["dlc-ir", "dlc-abi"]),
    (
        "compiler/driver",
        &["dlc-grammar", "dlc-ir", "dlc-frontend", "dlc-passes", "dlc-codegen", "dlc-abi"],
    ),
    // It runs a model's initialisers, so it stands above the runtime as well.
    ("compiler/build", &["dlc-grammar", "dlc-driver", "dlc-exec", "dlc-train"]),
    ("runtime/exec", &["dlc-abi"]),
    ("runtime/comm", &[]),
    ("runtime/data", &["dlc-abi", "dlc-exec"]),
    ("runtime/train", &["dlc-abi", "dlc-exec", "dlc-comm", "dlc-data"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl Into<PathBuf>) -> String {
    let path = root().join(path.into());
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Folders of the workspace's crates.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    list.split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

/// What a crate imports of this workspace, apart from its tests.
fn imports(member: &str) -> Vec<String> {
    let manifest = read(format!("{member}/Cargo.toml"));
    let Some((_, rest)) = manifest.split_once("\n[dependencies]\n") else { return Vec::new() };
    let section = rest.split("\n[").next().unwrap_or(rest);
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("dlc-")).map(str::to_owned).collect()
}

#[test]
fn crates_import_lower_layers_only() {
    let members = members();
    for (folder, _) in LAYERS {
        assert!(members.iter().any(|member| member == folder), "`{folder}` is no member any more");
    }
    for member in members.iter().filter(|member| !member.starts_with("tests/")) {
        let layer = LAYERS.iter().find(|(folder, _)| folder == member);
        let (_, allowed) = layer.unwrap_or_else(|| panic!("`{member}` has no place in the layers"));
        for import in imports(member) {
            assert!(allowed.contains(&import.as_str()), "`{member}` may not import `{import}`");
        }
    }
}

#[test]
fn every_crate_has_a_paragraph() {
    let documents = read("compiler/ARCHITECTURE.md") + &read("runtime/ARCHITECTURE.md");
    for member in members() {
        let heading = format!("### `{member}`");
        assert!(documents.contains(&heading), "`{member}` has no paragraph in an ARCHITECTURE.md");
    }
}

/// The names that the standard library declares.
fn library_names() -> Vec<String> {
    let kinds = ["layer", "fn", "loss", "metric", "optimizer", "schedule", "init"];
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("grammar/std")).expect("the library is there") {
        for line in read(entry.expect("readable").path()).lines() {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            if words.next().is_some_and(|kind| kinds.contains(&kind)) {
                names.extend(words.next().map(str::to_owned));
            }
        }
    }
    names
}

/// The string literals of a source file, its tests left out.
fn literals(source: &str) -> Vec<&str> {
    let source = source.split("#[cfg(test)]").next().unwrap_or(source);
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    // Between an odd quotation mark and the next lies a literal; those of one line are enough, since names hold no line ends.
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// All source files below a folder.
fn sources(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(sources(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A layer is known by its text alone: no literal of the compiler is the name of an item of the library, or begins with one as the
/// names of its parameters do.
#[test]
fn the_compiler_knows_nothing_of_the_library_by_name() {
    let mut names = library_names();
    // Graph IR has an operation that changes a shape as the library's function does, and the text of tile IR a word for the rows of a tile.
    names.retain(|name| name != "reshape" && name != "rows");
    for known in ["dense", "mse", "adam", "accuracy", "cosine", "glorot_uniform", "relu"] {
        assert!(names.iter().any(|name| name == known), "`{known}` was not found in the library");
    }
    let crates = LAYERS.iter().map(|(folder, _)| *folder);
    for folder in crates.filter(|folder| folder.starts_with("compiler/") || *folder == "grammar") {
        for path in sources(root().join(folder).join("src")) {
            let source = read(&path);
            for literal in literals(&source).iter().filter(|literal| !literal.ends_with(".dl")) {
                let subject = literal.split(['.', '(', '/']).next().unwrap_or(literal);
                let own = names.iter().any(|name| name == subject);
                assert!(!own, "{} speaks of `{literal}`", path.display());
            }
        }
    }
}
