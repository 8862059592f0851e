//! Compiles text with the standard library and runs graphs by the interpreter.
#![allow(dead_code, reason = "every test file uses a part of it")]

use dlc_frontend::{ElaborateOptions, ModelProgram, load};
use dlc_grammar::diagnostic::render_terminal;
use dlc_grammar::{Diagnostic, FileId, Sources, ast, parse};
use dlc_ir::graph::{Data, Graph, Outputs, Tensor, interpret};
use indexmap::IndexMap;
use std::sync::OnceLock;

/// Parses and elaborates a text; diagnostics of both.
pub fn elaborate(
    text: &str,
    model: Option<&str>,
) -> (Option<ModelProgram>, Vec<Diagnostic>, Sources) {
    elaborate_files(text, &[], model)
}

/// Parses and elaborates a text with the files that it uses, given by path and text.
pub fn elaborate_files(
    text: &str,
    used: &[(&str, &str)],
    model: Option<&str>,
) -> (Option<ModelProgram>, Vec<Diagnostic>, Sources) {
    let mut sources = Sources::new();
    let main = sources.add("main.dl", text);
    let mut diagnostics = Vec::new();
    let mut library = Vec::new();
    for (path, text) in used {
        let id = sources.add(*path, *text);
        let parsed = parse(id, text);
        diagnostics.extend(parsed.diagnostics);
        library.push(parsed.file);
    }
    library.extend(add_library(&mut sources));
    let parsed = parse(main, text);
    diagnostics.extend(parsed.diagnostics);
    let (frontend, more) = load(&sources, &parsed.file, &library);
    diagnostics.extend(more);
    let options = ElaborateOptions { model: model.map(str::to_string), lint: false };
    let frontend = frontend.with_gradients(dlc_passes::autodiff::gradients);
    let (program, more) = frontend.elaborate(&options);
    diagnostics.extend(more);
    (program, diagnostics, sources)
}

/// Parses and elaborates a right text with all that it is warned of. A text without a model is looked at alone.
pub fn lint(text: &str) -> (Option<ModelProgram>, Vec<Diagnostic>, Sources) {
    let mut sources = Sources::new();
    let main = sources.add("main.dl", text);
    let library = add_library(&mut sources);
    let parsed = parse(main, text);
    let (frontend, mut diagnostics) = load(&sources, &parsed.file, &library);
    diagnostics.extend(parsed.diagnostics);
    if frontend.models().is_empty() {
        diagnostics.extend(frontend.lint());
        return (None, diagnostics, sources);
    }
    let frontend = frontend.with_gradients(dlc_passes::autodiff::gradients);
    let (program, more) = frontend.elaborate(&ElaborateOptions { model: None, lint: true });
    diagnostics.extend(more);
    (program, diagnostics, sources)
}

/// The standard library behind the files that are there. Behind one file its files have the same numbers each time, so they are read
/// once.
fn add_library(sources: &mut Sources) -> Vec<ast::File> {
    static BEHIND_ONE: OnceLock<Vec<ast::File>> = OnceLock::new();
    let files = sources.add_std();
    let read_all = || read_library(sources, &files);
    match files.first() {
        Some(FileId(1)) => BEHIND_ONE.get_or_init(read_all).clone(),
        _ => read_all(),
    }
}

fn read_library(sources: &Sources, files: &[FileId]) -> Vec<ast::File> {
    let read = |&id: &FileId| {
        let parsed = parse(id, &sources.get(id).expect("just added").text);
        assert!(parsed.is_ok(), "the standard library parses: {:?}", parsed.diagnostics);
        parsed.file
    };
    files.iter().map(read).collect()
}

/// A program without any diagnostic.
pub fn compile(text: &str) -> ModelProgram {
    let (program, diagnostics, sources) = elaborate(text, None);
    assert!(diagnostics.is_empty(), "{}", render_terminal(&diagnostics, &sources, false));
    let program = program.expect("no diagnostic, so there is a program");
    for graph in graphs(&program) {
        graph.verify().unwrap_or_else(|errors| panic!("{}: {errors:?}\n{graph}", graph.name));
    }
    program
}

/// All graphs of a program.
pub fn graphs(program: &ModelProgram) -> Vec<&Graph> {
    let mut graphs = vec![&program.predict, &program.eval, &program.finish, &program.init];
    graphs.extend(program.train.iter().map(|train| &train.graph));
    graphs
}

/// Runs a graph.
pub fn run(graph: &Graph, inputs: &[(&str, Tensor)], batch: i64) -> Outputs {
    let inputs: IndexMap<String, Tensor> =
        inputs.iter().map(|(name, tensor)| ((*name).to_string(), tensor.clone())).collect();
    match interpret(graph, &inputs, batch) {
        Ok(outputs) => outputs,
        Err(error) => panic!("{error}\n{graph}"),
    }
}

/// The floats of a tensor.
pub fn floats(tensor: &Tensor) -> Vec<f64> {
    tensor.to_f64()
}

/// Numbers in [-1, 1) that look random and are the same in every run.
pub fn numbers(count: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32) / 8_388_608.0 - 1.0
        })
        .collect()
}

/// A tensor of such numbers.
pub fn tensor(shape: &[i64], salt: u64) -> Tensor {
    let count: i64 = shape.iter().product();
    Tensor::f32(shape, numbers(count as usize, salt))
}

/// Checks two lists of numbers to a relative and absolute tolerance.
#[track_caller]
pub fn close(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{found:?} against {wanted:?}");
    for (at, (a, b)) in found.iter().zip(wanted).enumerate() {
        let near = (a - b).abs() <= tolerance * (1.0 + b.abs());
        assert!(near, "element {at}: {a} against {b}\n{found:?}\n{wanted:?}");
    }
}

/// Runs a model of one input `x` on numbers; its parameters are given by name.
pub fn predict(text: &str, x: &Tensor, params: &[(&str, Tensor)], batch: i64) -> Outputs {
    let program = compile(text);
    let mut inputs = vec![("x", x.clone())];
    inputs.extend(params.iter().cloned());
    run(&program.predict, &inputs, batch)
}

/// The integers of a tensor.
pub fn ints(tensor: &Tensor) -> Vec<i32> {
    match &tensor.data {
        Data::I32(values) => values.clone(),
        other => panic!("no i32: {other:?}"),
    }
}

/// Compares text with a file, or rewrites the file where `DLC_BLESS` is set.
pub fn expect_file(path: &str, text: &str) {
    let full = format!("{}/tests/{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("DLC_BLESS").is_some() {
        std::fs::write(&full, text).expect("the test folder is writable");
        return;
    }
    let known = std::fs::read_to_string(&full).unwrap_or_default();
    assert!(known == text, "{path} differs; run with DLC_BLESS=1 and review the change:\n{text}");
}
