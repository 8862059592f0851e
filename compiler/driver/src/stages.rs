//! The text of a program at every stage between source and machine code.

use crate::backend::Target;
use crate::lower;
use crate::model::{Elaborated, Failure, batch_of, freeze, joint_graph};
use crate::ranks::{self, RankOf, Spread};
use dlc_codegen::listing;
use dlc_frontend::ModelProgram;
use dlc_ir::graph::Graph;
use std::fmt::Write as _;

/// A stage whose text can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The graph as the front end leaves it; of training the forward part.
    Graph,
    /// With gradients and update.
    Autodiff,
    /// With the order of every sum.
    Frozen,
    /// Scheduled phases over placed buffers.
    Tile,
    /// Vector code.
    Vector,
    /// Machine code.
    Asm,
}

/// Which of a model's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// First values.
    Init,
    /// A training step.
    Train,
    /// Loss and totals of metrics.
    Eval,
    /// Metrics from totals.
    Finish,
    /// Inference.
    Predict,
}

/// The text of one program of a model at a stage; `None` when the model has no such program. With a `rank`, training and evaluation are
/// what that rank runs of them, cut after the freeze.
///
/// # Errors
/// When something on the way to the stage fails.
pub fn text(
    elaborated: &Elaborated,
    part: Part,
    stage: Stage,
    batch: Option<usize>,
    target: Target,
    rank: Option<RankOf>,
) -> Result<Option<String>, Failure> {
    let program = &elaborated.program;
    let has_train = program.train.is_some();
    let graph = match part {
        Part::Init => Some(program.init.clone()),
        Part::Train if stage == Stage::Graph => {
            program.train.as_ref().map(|train| train.graph.clone())
        }
        Part::Train => joint_graph(program).map_err(|diagnostics| Failure::Diagnostics {
            sources: Box::new(elaborated.sources.clone()),
            diagnostics,
        })?,
        Part::Eval => has_train.then(|| program.eval.clone()),
        Part::Finish => has_train.then(|| program.finish.clone()),
        Part::Predict => Some(program.predict.clone()),
    };
    let Some(graph) = graph else { return Ok(None) };
    let batch = batch_of(elaborated, batch)?;
    let rank = rank.filter(|_| matches!(part, Part::Train | Part::Eval));
    let rank = rank.map(|rank| Ok::<_, Failure>((rank, Spread::of(elaborated, batch, rank)?)));
    graph_text(program, graph, stage, batch, target, rank.transpose()?).map(Some)
}

fn graph_text(
    program: &ModelProgram,
    graph: Graph,
    stage: Stage,
    mut batch: i64,
    target: Target,
    rank: Option<(RankOf, Spread)>,
) -> Result<String, Failure> {
    if matches!(stage, Stage::Graph | Stage::Autodiff) {
        return Ok(graph.to_string());
    }
    let mut frozen = freeze(graph, false)?;
    if let Some((rank, spread)) = rank {
        (frozen, batch) = ranks::cut(frozen, rank, program, &spread, batch)?;
    }
    if stage == Stage::Frozen {
        return Ok(frozen.to_string());
    }
    let backend = target.backend()?;
    let desc = backend.target();
    if stage == Stage::Tile {
        return Ok(lower::to_tile(&frozen, batch, &desc)?.to_string());
    }
    let vector = lower::to_vector(&frozen, batch, &desc)?;
    if stage == Stage::Vector {
        return Ok(vector.module.to_string());
    }
    let mut text = String::new();
    for function in vector.module.functions.values() {
        let compiled =
            backend.compile(&vector.module, function).map_err(crate::error::DriverError::from)?;
        let _ = writeln!(text, "{}: ; {}", function.name, backend.name());
        for line in listing(&compiled.bytes) {
            let _ = writeln!(text, "  {:5x}  {}", line.offset, line.text);
        }
    }
    Ok(text)
}
