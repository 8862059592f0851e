//! What a text is put through: a law that does not hold is a panic, which the fuzzer reports with the text.
#![forbid(unsafe_code)]

mod data;

pub use data::data;
use dlc_frontend::{ElaborateOptions, ModelProgram};
use dlc_grammar::{
    Diagnostic, Sources, ast, format, parse, render_concise, render_json, render_terminal,
};
use std::sync::OnceLock;

/// Diagnostics that are rendered whole; of texts with hundreds of faults the others are like them.
const RENDERED: usize = 4;

/// Parses a text and shows what is said about it. A right text is formatted, and what was formatted stays as it is.
pub fn read(text: &str) {
    let mut sources = Sources::new();
    let id = sources.add("fuzzed.dl", text);
    let parsed = parse(id, text);
    show(&parsed.diagnostics, &sources);
    if let Ok(formatted) = format(id, text) {
        let again = format(id, &formatted).expect("formatted text parses");
        assert_eq!(formatted, again, "the formatter is stable");
    }
}

fn show(diagnostics: &[Diagnostic], sources: &Sources) {
    let few = &diagnostics[..diagnostics.len().min(RENDERED)];
    render_terminal(few, sources, false);
    render_concise(few, sources);
    render_json(few, sources);
}

/// Parses and elaborates all models of a text. There is a program with sound graphs, or something is said.
pub fn elaborate(text: &str) {
    static LIBRARY: OnceLock<(Sources, Vec<ast::File>)> = OnceLock::new();
    let (sources, library) = LIBRARY.get_or_init(|| {
        let mut sources = Sources::new();
        let files = sources.add_std();
        let read = |&id| parse(id, &sources.get(id).expect("just added").text).file;
        let library = files.iter().map(read).collect();
        (sources, library)
    });
    let mut sources = sources.clone();
    let id = sources.add("fuzzed.dl", text);
    let parsed = parse(id, text);
    let (front_end, mut diagnostics) = dlc_frontend::load(&sources, &parsed.file, library);
    diagnostics.extend(parsed.diagnostics);
    for model in front_end.models() {
        let (program, said) =
            front_end.elaborate(&ElaborateOptions { model: Some(model), lint: true });
        diagnostics.extend(said);
        match program {
            Some(program) => verify(&program),
            // What the parser has reported is not said again.
            None => assert!(!diagnostics.is_empty(), "no program, and nothing is said about it"),
        }
    }
    show(&diagnostics, &sources);
}

fn verify(program: &ModelProgram) {
    let train = program.train.iter().map(|train| &train.graph);
    let graphs = [&program.predict, &program.eval, &program.finish, &program.init];
    for graph in graphs.into_iter().chain(train) {
        if let Err(errors) = graph.verify() {
            panic!("{errors:?}\n{graph}");
        }
    }
}
