//! The text of an artefact's programs at every stage.

use super::{ArtefactOptions, FirstState, plan};
use crate::error::DriverError;
use crate::lower;
use crate::model::{Elaborated, Failure, ModelGraphs, batch_of};
use dlc_codegen::listing;
use std::fmt::Write as _;

/// A stage whose text can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Frozen graphs.
    Graph,
    /// Scheduled phases.
    Tile,
    /// Vector code.
    Vector,
    /// The same in the code that Cranelift is given, 128 bits wide; wide code does not pass through it.
    Clif,
    /// Machine code of all functions of the module.
    Asm,
}

impl Text {
    const ALL: [Text; 5] = [Text::Graph, Text::Tile, Text::Vector, Text::Clif, Text::Asm];

    /// Its name in options and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Text::Graph => "graph",
            Text::Tile => "tile",
            Text::Vector => "vector",
            Text::Clif => "clif",
            Text::Asm => "asm",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Text> {
        Text::ALL.into_iter().find(|text| text.name() == name)
    }
}

/// The text of all programs of an artefact at a stage.
///
/// # Errors
/// As [`super::compile`].
pub fn text(
    elaborated: &Elaborated,
    graphs: &ModelGraphs,
    options: &ArtefactOptions,
    first: &FirstState<'_>,
    stage: Text,
) -> Result<String, Failure> {
    let mut text = String::new();
    if let Text::Graph | Text::Tile = stage {
        let batch = batch_of(elaborated, options.batch)?;
        let target = options.cpu.backend()?.target();
        for (_, _, _, graph) in plan::chosen(graphs, options.train) {
            let program = match stage {
                Text::Graph => graph.to_string(),
                _ => lower::to_tile(graph, batch, &target)?.to_string(),
            };
            let _ = writeln!(text, "{program}");
        }
        return Ok(text);
    }
    let module = super::plan(elaborated, graphs, options, first)?.module;
    if stage == Text::Vector {
        return Ok(module.to_string());
    }
    if stage == Text::Clif {
        let clif = options.cpu.cranelift()?;
        for function in module.functions.values() {
            let _ = writeln!(text, "; {}\n{}", function.name, clif.clif(function));
        }
        return Ok(text);
    }
    let backend = options.cpu.backend()?;
    for function in module.functions.values() {
        let compiled = backend.compile(&module, function).map_err(DriverError::from)?;
        let _ = writeln!(text, "{}: ; {}", function.name, backend.name());
        for line in listing(&compiled.bytes) {
            let _ = writeln!(text, "  {:5x}  {}", line.offset, line.text);
        }
    }
    Ok(text)
}
