//! Training gives the same bits everywhere, today and tomorrow: parameters and optimizer state after some steps are hashed and compared
//! with the table in `hashes.toml`, for the interpreter, every target and several numbers of threads, and for static libraries in a C
//! program with several numbers of parts.
//!
//! `DLC_REWRITE_HASHES=1 cargo test --release -p dlc-equality-tests --test reference -- --test-threads=1` writes the table anew, from the interpreter.
//! `DLC_EMULATE_LENET=1` runs all steps of LeNet in the emulator, where by default there are ten.
//! A change of the table is a change of every model that was ever trained: it needs a new `NUMERICS_VERSION`.

use dlc_abi::NumericsClass;
use dlc_driver::Target;
use dlc_driver::artefact::Cpu;
use dlc_driver::model::{ModelGraphs, elaborate_file};
use dlc_equality_tests::artefact::{self, Artefact};
use dlc_equality_tests::trajectory::{Place, Plan, hashes};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Steps after which parameters are hashed.
const MARKS: [i32; 4] = [0, 1, 10, 100];

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hashes.toml")
}

fn file_of(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(format!("{model}.dl"))
}

/// The graphs of a model in the class of a section of the table: `lenet` or `lenet_unfused`.
fn graphs(section: &str) -> ModelGraphs {
    let (model, class) = model_of(section);
    let elaborated =
        elaborate_file(&file_of(model), None).unwrap_or_else(|error| panic!("{error:?}"));
    ModelGraphs::freeze_in(&elaborated, class, true).unwrap_or_else(|error| panic!("{error}"))
}

fn model_of(section: &str) -> (&str, NumericsClass) {
    match section.strip_suffix("_unfused") {
        Some(model) => (model, NumericsClass::Unfused),
        None => (section, NumericsClass::Fused),
    }
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
        agrees(model, &found, &place.to_string());
    }
}

/// Fails unless the table's section of a model begins with these lines.
fn agrees(model: &str, found: &str, place: &str) {
    let table = std::fs::read_to_string(table_path()).expect("the table is there");
    let expected = find(&table, model).unwrap_or_else(|| panic!("the table lacks {model}"));
    assert!(expected.starts_with(found), "{model}, {place}:\n{found}expected:\n{expected}");
}

/// Compares the table with what a static library for a processor gives for several numbers of parts.
fn check_artefact(section_name: &str, plan: Plan, cpu: Cpu) {
    if !artefact::can_run() {
        eprintln!("skipped: there is no C compiler");
        return;
    }
    let graphs = graphs(section_name);
    let train = graphs.train.as_ref().expect("the examples can be trained");
    let file = file_of(model_of(section_name).0);
    let artefact = Artefact::build(&file, cpu, train, plan, &MARKS).unwrap();
    for parts in [1, 2, 4] {
        let place = format!("artefact for {}, {parts} parts", cpu.name());
        let found = artefact.hashes(parts).unwrap_or_else(|message| panic!("{place}: {message}"));
        agrees(section_name, &section(section_name, plan, &found), &place);
    }
}

/// The level of this processor, if it has fused multiply-add.
fn fused_level() -> Option<Cpu> {
    let level = Cpu::from_name("native").ok().filter(|cpu| cpu.class() == NumericsClass::Fused);
    if level.is_none() {
        eprintln!("skipped: this processor has no fused multiply-add");
    }
    level
}

/// Every target that this machine runs, with every number of threads.
fn native() -> Vec<Place> {
    let here = Target::ALL.into_iter().filter(|target| target.runs_here());
    here.flat_map(|target| [1, 2, 3, 4, 8].map(|threads| Place::Native(target, threads))).collect()
}

fn is_alone(place: &Place) -> bool {
    matches!(place, Place::Native(_, 1))
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
const CHAR_LSTM: Plan = Plan { seed: 1, batch: 5, steps: 100 };

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

#[test]
fn digits_mlp_trains_to_the_bits_of_the_table_ahead_of_time() {
    if let Some(cpu) = fused_level() {
        check_artefact("digits_mlp", DIGITS_MLP, cpu);
    }
}

#[test]
fn lenet_trains_to_the_bits_of_the_table_ahead_of_time() {
    if let Some(cpu) = fused_level() {
        check_artefact("lenet", LENET, cpu);
    }
}

/// Every target of this machine without the class's own instructions, and with them.
fn unfused() -> Vec<Place> {
    let fused = Target::ALL.into_iter().filter(|target| target.runs_here());
    [1, 3]
        .map(Place::WithoutFma)
        .into_iter()
        .chain(fused.map(|target| Place::Native(target, 2)))
        .collect()
}

#[test]
fn digits_mlp_trains_to_the_bits_of_the_table_without_fused_products() {
    let places = [&[Place::Interpreter], &unfused()[..]].concat();
    check("digits_mlp_unfused", DIGITS_MLP, &MARKS, &places);
    check_artefact("digits_mlp_unfused", DIGITS_MLP, Cpu::V2);
}

#[test]
fn lenet_trains_to_the_bits_of_the_table_without_fused_products() {
    // The interpreter takes a minute for all steps; it has done so where the table was written.
    let rewrites = std::env::var_os("DLC_REWRITE_HASHES").is_some();
    let marks = if rewrites { &MARKS } else { &MARKS[..3] };
    check("lenet_unfused", LENET, marks, &[Place::Interpreter]);
    check("lenet_unfused", LENET, &MARKS, &unfused());
    check_artefact("lenet_unfused", LENET, Cpu::V2);
}

#[test]
fn char_lstm_trains_to_the_bits_of_the_table() {
    // The interpreter takes a minute for all steps; it has done so where the table was written.
    let rewrites = std::env::var_os("DLC_REWRITE_HASHES").is_some();
    let marks = if rewrites { &MARKS } else { &MARKS[..3] };
    check("char_lstm", CHAR_LSTM, marks, &[Place::Interpreter]);
    // Threads meet several times in each step of a loop, which takes long where they share their processors with other tests.
    let (alone, together) = native().into_iter().partition::<Vec<_>, _>(is_alone);
    check("char_lstm", CHAR_LSTM, &MARKS, &alone);
    check("char_lstm", CHAR_LSTM, &MARKS[..3], &together);
    if let Some(cpu) = fused_level() {
        check_artefact("char_lstm", CHAR_LSTM, cpu);
    }
}

#[test]
fn char_lstm_trains_to_the_bits_of_the_table_without_fused_products() {
    let rewrites = std::env::var_os("DLC_REWRITE_HASHES").is_some();
    let marks = if rewrites { &MARKS } else { &MARKS[..2] };
    check("char_lstm_unfused", CHAR_LSTM, marks, &[Place::Interpreter]);
    check("char_lstm_unfused", CHAR_LSTM, &MARKS[..3], &unfused());
    check_artefact("char_lstm_unfused", CHAR_LSTM, Cpu::V2);
}

/// All hundred steps take minutes here; a machine with the instructions runs them in the test above, at once.
#[test]
fn lenet_trains_to_the_bits_of_the_table_in_the_emulator() {
    let whole = std::env::var_os("DLC_EMULATE_LENET").is_some();
    check("lenet", LENET, if whole { &MARKS } else { &MARKS[..3] }, &emulated());
}
