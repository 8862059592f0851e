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
