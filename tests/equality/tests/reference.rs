//! Training gives the same bits everywhere, today and tomorrow: parameters and optimizer state after some steps are hashed and compared
//! with the table in `hashes.toml`, for the interpreter, every target and several numbers of threads.
//!
//! `DLC_REWRITE_HASHES=1 cargo test --release -p dlc-equality-tests --test reference -- --test-threads=1` writes the table anew, from the interpreter.
//! `DLC_EMULATE_LENET=1` runs all steps of LeNet in the emulator, where by default there are ten.
//! A change of the table is a change of every model that was ever trained: it needs a new `NUMERICS_VERSION`.

use dlc_driver::Target;
use dlc_driver::model::{ModelGraphs, elaborate_file};
use dlc_equality_tests::trajectory::{Place, Plan, hashes};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Steps after which parameters are hashed.
const MARKS: [i32; 4] = [0, 1, 10, 100];

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hashes.toml")
}

fn graphs(model: &str) -> ModelGraphs {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(format!("{model}.dl"));
    let elaborated = elaborate_file(&path, None).unwrap_or_else(|error| panic!("{error:?}"));
    ModelGraphs::freeze(&elaborated, true).unwrap_or_else(|error| panic!("{error}"))
}

/// The table's lines for a model.
fn section(model: &str, plan: Plan, hashes: &[u128]) -> String {
    let mut text = format!(
        "[{model}]\nbatch = {}\nseed = {}\nsteps = {}\n",
        plan.batch, plan.seed, plan.steps
    );
    for (mark, hash) in MARKS.iter().zip(hashes) {
        let _ = writeln!(text, "after_{mark} = \"{hash:032x}\"");
    }
    text
}

/// The lines of a section, from its head to the next empty line.
fn find<'a>(table: &'a str, model: &str) -> Option<&'a str> {
    let start = table.find(&format!("[{model}]\n"))?;
    let rest = &table[start..];
    Some(&rest[..rest.find("\n\n").map_or(rest.len(), |end| end + 1)])
}

/// Puts a section in place of the one of its model, or behind all others.
fn rewrite(model: &str, section: &str) {
    let table = std::fs::read_to_string(table_path()).unwrap_or_default();
    let table = match find(&table, model) {
        Some(old) => table.replace(old, section),
        None => format!("{table}\n{section}"),
    };
    std::fs::write(table_path(), table).expect("the table can be written");
}

/// Compares the table with what the places give, after the first `marks`.
fn check(model: &str, plan: Plan, marks: &[i32], places: &[Place]) {
    let graphs = graphs(model);
    for &place in places {
        let start = std::time::Instant::now();
        let found = hashes(&graphs, plan, marks, place)
            .unwrap_or_else(|message| panic!("{model}, {place}: {message}"));
        println!("{model}, {place}: {:.1} s", start.elapsed().as_secs_f64());
        let found = section(model, plan, &found);
        if place == Place::Interpreter && std::env::var_os("DLC_REWRITE_HASHES").is_some() {
            rewrite(model, &found);
        }
        let table = std::fs::read_to_string(table_path()).expect("the table is there");
        let expected = find(&table, model).unwrap_or_else(|| panic!("the table lacks {model}"));
        assert!(expected.starts_with(&found), "{model}, {place}:\n{found}expected:\n{expected}");
    }
}

/// Every target that this machine runs, with every number of threads.
fn native() -> Vec<Place> {
    let here = Target::ALL.into_iter().filter(|target| target.runs_here());
    here.flat_map(|target| [1, 2, 3, 4, 8].map(|threads| Place::Native(target, threads))).collect()
}

/// The targets whose code this machine cannot run, in the emulator.
fn emulated() -> Vec<Place> {
    let elsewhere = Target::ALL.into_iter().filter(|target| !target.runs_here());
    elsewhere
        .filter(|&target| target != Target::V128)
        .map(|target| Place::Emulated(target, 2))
        .collect()
}

const DIGITS_MLP: Plan = Plan { seed: 1, batch: 32, steps: 100 };
const LENET: Plan = Plan { seed: 1, batch: 16, steps: 100 };

#[test]
fn digits_mlp_trains_to_the_bits_of_the_table() {
    check("digits_mlp", DIGITS_MLP, &MARKS, &[&[Place::Interpreter], &native()[..]].concat());
}

#[test]
fn digits_mlp_trains_to_the_bits_of_the_table_in_the_emulator() {
    check("digits_mlp", DIGITS_MLP, &MARKS, &emulated());
}

#[test]
fn lenet_trains_to_the_bits_of_the_table() {
    check("lenet", LENET, &MARKS, &[&[Place::Interpreter], &native()[..]].concat());
}

/// All hundred steps take minutes here; a machine with the instructions runs them in the test above, at once.
#[test]
fn lenet_trains_to_the_bits_of_the_table_in_the_emulator() {
    let whole = std::env::var_os("DLC_EMULATE_LENET").is_some();
    check("lenet", LENET, if whole { &MARKS } else { &MARKS[..3] }, &emulated());
}
