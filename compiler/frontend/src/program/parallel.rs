//! The `parallel` block: how a model is spread over ranks. It changes no value.

use super::train::TrainSettings;
use crate::declarations::nearest;
use crate::diagnostics;
use crate::elaborate::Elaborator;
use dlc_abi::{Grid, PipelineOrder};
use dlc_grammar::Span;
use dlc_grammar::ast::{
    Expr, ExprKind, Ident, Parallel, ParallelBlock, ParallelStmt, ParallelStmtKind, Path,
};

/// How a model is cut into stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineSettings {
    /// The layers with which the stages after the first begin, and the first parameter of each.
    pub starts: Vec<StageStart>,
    /// Pieces of a replica's part of each batch.
    pub micro_batches: u32,
    /// In which order a stage works them off.
    pub order: PipelineOrder,
}

/// Where a stage begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageStart {
    /// The layer.
    pub layer: String,
    /// The first of its parameters; all parameters from it on, in the order of the text, belong to this stage or later ones.
    pub param: String,
}

/// How layers are cut into slices, of which each rank of a stage has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSettings {
    /// Into how many.
    pub slices: u32,
    /// The layers.
    pub layers: Vec<SlicedLayer>,
    /// Whether the text names them; otherwise those are cut with which a step costs less.
    pub named: bool,
}

/// A layer that is cut into slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicedLayer {
    /// Its parameters.
    pub params: Vec<String>,
    /// The one with most elements, the first of several.
    pub largest: String,
}

impl PipelineSettings {
    /// How many stages there are.
    pub fn stages(&self) -> u32 {
        u32::try_from(self.starts.len()).map_or(u32::MAX, |later| later + 1)
    }
}

impl TrainSettings {
    /// The ranks that the text asks for.
    pub fn grid(&self) -> Grid {
        let stages = self.pipeline.as_ref().map_or(1, PipelineSettings::stages);
        let slices = self.tensor.as_ref().map_or(1, |tensor| tensor.slices);
        Grid { replicas: self.replicas, stages, slices }
    }

    /// The ranks of the text's model where there are `ranks` of them in all; `None` when they are no multiple of those that have a model
    /// together.
    pub fn grid_of(&self, ranks: u32) -> Option<Grid> {
        let grid = self.grid();
        let each = grid.ranks_of_model();
        let fits = ranks > 0 && ranks.is_multiple_of(each);
        fits.then(|| Grid { replicas: ranks / each, ..grid })
    }

    /// Shards that every replica has of each batch at least.
    fn shards_each(&self) -> u32 {
        self.shards / self.replicas.next_power_of_two()
    }
}

/// Reads a block into the settings, which have `shards` already.
pub(super) fn settings(
    elaborator: &mut Elaborator,
    parallel: &Parallel,
    settings: &mut TrainSettings,
) {
    let mut seen: Vec<(&str, Span)> = Vec::new();
    for stmt in &parallel.body.stmts {
        let word = match &stmt.kind {
            ParallelStmtKind::Data { .. } => "data",
            ParallelStmtKind::Pipeline { .. } => "pipeline",
            ParallelStmtKind::Tensor { .. } => "tensor",
            ParallelStmtKind::Option { name, .. } => {
                let known = ["data", "pipeline", "tensor"].map(str::to_owned);
                elaborator.report(diagnostics::unknown_option(name, "parallel", &known, None));
                continue;
            }
            ParallelStmtKind::Bad => continue,
        };
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == word) {
            let first = *first;
            elaborator.report(diagnostics::spread_twice(word, stmt.span, first));
            continue;
        }
        seen.push((word, stmt.span));
        if let ParallelStmtKind::Data { count, body } = &stmt.kind {
            replicas(elaborator, count, body.as_ref(), settings);
        }
    }
    // The pieces of a batch are shared out to replicas first, wherever the line stands.
    for stmt in &parallel.body.stmts {
        match &stmt.kind {
            ParallelStmtKind::Pipeline { count, at, body } if settings.pipeline.is_none() => {
                settings.pipeline = pipeline(elaborator, stmt, count, at, body.as_ref(), settings);
            }
            ParallelStmtKind::Tensor { count, on } if settings.tensor.is_none() => {
                settings.tensor = tensor(elaborator, count, on);
            }
            ParallelStmtKind::Pipeline { .. }
            | ParallelStmtKind::Tensor { .. }
            | ParallelStmtKind::Data { .. }
            | ParallelStmtKind::Option { .. }
            | ParallelStmtKind::Bad => {}
        }
    }
}

fn replicas(
    elaborator: &mut Elaborator,
    count: &Expr,
    body: Option<&ParallelBlock>,
    settings: &mut TrainSettings,
) {
    for stmt in body.into_iter().flat_map(|body| &body.stmts) {
        elaborator.report(diagnostics::not_supported("an option of `data`", stmt.span));
    }
    let Ok(given) = elaborator.eval_int(count, "the number of replicas") else { return };
    let shards = settings.shards;
    match u32::try_from(given).ok().filter(|n| (1..=shards).contains(n)) {
        Some(replicas) => settings.replicas = replicas,
        None => {
            elaborator.report(diagnostics::replicas(given, shards, count.span));
        }
    }
}

/// The cut into stages; `None` after an error.
fn pipeline(
    elaborator: &mut Elaborator,
    stmt: &ParallelStmt,
    count: &Expr,
    at: &[Path],
    body: Option<&ParallelBlock>,
    settings: &TrainSettings,
) -> Option<PipelineSettings> {
    let stages = elaborator.eval_int(count, "the number of stages").ok()?;
    if stages < 2 || stages - 1 != at.len() as i64 {
        elaborator.report(diagnostics::stages(stages, at.len(), count.span, stmt.span));
        return None;
    }
    let starts = starts(elaborator, at)?;
    let each = settings.shards_each();
    let (mut micro_batches, mut order) = (each, PipelineOrder::OneForwardOneBackward);
    let mut sound = true;
    for stmt in body.into_iter().flat_map(|body| &body.stmts) {
        let ParallelStmtKind::Option { name, value } = &stmt.kind else {
            if stmt.kind != ParallelStmtKind::Bad {
                elaborator.report(diagnostics::option_expected(stmt.span));
            }
            sound = false;
            continue;
        };
        match name.name.as_str() {
            "microbatches" => {
                let given = elaborator.eval_int(value, "the number of micro-batches").ok()?;
                let fitting = u32::try_from(given).ok();
                match fitting.filter(|&n| n > 0 && each.is_multiple_of(n)) {
                    Some(n) => micro_batches = n,
                    None => {
                        let (replicas, shards) = (settings.replicas, settings.shards);
                        let report =
                            diagnostics::micro_batches(given, replicas, shards, value.span);
                        elaborator.report(report);
                        sound = false;
                    }
                }
            }
            "schedule" => match order_of(value) {
                Some(found) => order = found,
                None => {
                    let known = PipelineOrder::ALL.map(|order| order.name().to_owned());
                    elaborator.report(diagnostics::pipeline_order(value.span, &known));
                    sound = false;
                }
            },
            _ => {
                sound = false;
                unknown_option(elaborator, name);
            }
        }
    }
    sound.then_some(PipelineSettings { starts, micro_batches, order })
}

fn unknown_option(elaborator: &mut Elaborator, name: &Ident) {
    let known = ["microbatches", "schedule"].map(str::to_owned);
    let near = nearest(&name.name, known.iter().map(String::as_str));
    elaborator.report(diagnostics::unknown_option(name, "pipeline", &known, near));
}

fn order_of(value: &Expr) -> Option<PipelineOrder> {
    let ExprKind::Name(name) = &value.kind else { return None };
    PipelineOrder::ALL.into_iter().find(|order| order.name() == name.name)
}

/// The layers at which stages begin, with their first parameters; `None` after an error.
fn starts(elaborator: &mut Elaborator, at: &[Path]) -> Option<Vec<StageStart>> {
    let params: Vec<String> = elaborator.params.keys().cloned().collect();
    let mut starts: Vec<StageStart> = Vec::new();
    let mut last: Option<(usize, Span)> = None;
    for path in at {
        let parts: Vec<&str> = path.parts.iter().map(|part| part.name.as_str()).collect();
        let layer = parts.join(".");
        let first = params_of(elaborator, &params, &layer, path.span)?[0];
        match last {
            None if first == 0 => {
                elaborator.report(diagnostics::empty_stage(&layer, path.span));
                return None;
            }
            Some((before, span)) if first <= before => {
                let last = starts.last().expect("one stage was begun");
                let report = diagnostics::stage_order(&layer, path.span, (&last.layer, span));
                elaborator.report(report);
                return None;
            }
            _ => last = Some((first, path.span)),
        }
        starts.push(StageStart { layer, param: params[first].clone() });
    }
    Some(starts)
}

/// The places of a layer's parameters among all; `None` after an error.
fn params_of(
    elaborator: &mut Elaborator,
    params: &[String],
    layer: &str,
    span: Span,
) -> Option<Vec<usize>> {
    let is_of = |name: &String| name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'));
    let found: Vec<usize> = (0..params.len()).filter(|&at| is_of(&params[at])).collect();
    if found.is_empty() {
        let layers = layers_of(params);
        let near = nearest(layer, layers.iter().map(String::as_str));
        elaborator.report(diagnostics::unknown_layer(layer, span, &layers, near));
        return None;
    }
    Some(found)
}

/// The cut into slices; `None` after an error.
fn tensor(elaborator: &mut Elaborator, count: &Expr, on: &[Path]) -> Option<TensorSettings> {
    let given = elaborator.eval_int(count, "the number of slices").ok()?;
    let Some(slices) = u32::try_from(given).ok().filter(|slices| (2..=64).contains(slices)) else {
        elaborator.report(diagnostics::slices(given, count.span));
        return None;
    };
    let params: Vec<String> = elaborator.params.keys().cloned().collect();
    let named = !on.is_empty();
    let mut layers = Vec::new();
    let mut sound = true;
    if named {
        let mut seen: Vec<(String, Span)> = Vec::new();
        for path in on {
            let parts: Vec<&str> = path.parts.iter().map(|part| part.name.as_str()).collect();
            let layer = parts.join(".");
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == layer) {
                let first = *first;
                elaborator.report(diagnostics::spread_twice(&layer, path.span, first));
                sound = false;
                continue;
            }
            let own = params_of(elaborator, &params, &layer, path.span)?;
            let sliced = sliced_layer(elaborator, own.iter().map(|&at| &params[at]));
            let shape = extents(elaborator, &sliced.largest);
            if !shape.iter().any(|&extent| can_be_shared(extent, given)) {
                let report =
                    diagnostics::no_axis(&sliced.largest, &shape, slices, path.span, count.span);
                elaborator.report(report);
                sound = false;
            }
            layers.push(sliced);
            seen.push((layer, path.span));
        }
    } else {
        for layer in layers_of(&params) {
            let prefix = format!("{layer}.");
            let own = params.iter().filter(|name| name.starts_with(&prefix));
            layers.push(sliced_layer(elaborator, own));
        }
    }
    sound.then_some(TensorSettings { slices, layers, named })
}

fn sliced_layer<'a>(
    elaborator: &Elaborator,
    params: impl Iterator<Item = &'a String>,
) -> SlicedLayer {
    let params: Vec<String> = params.cloned().collect();
    let elements = |name: &&String| extents(elaborator, name).iter().product::<i64>();
    // Of several with most elements the first: `max_by_key` takes the last.
    let largest = params.iter().rev().max_by_key(elements).cloned().unwrap_or_default();
    SlicedLayer { params, largest }
}

fn extents(elaborator: &Elaborator, param: &str) -> Vec<i64> {
    let node = elaborator.params[param].tensor.node;
    elaborator.graph.nodes[node].shape.iter().map(|dim| dim.at(1)).collect()
}

/// Whether an axis has something for each of so many slices of equal blocks, of which the last has what is left.
fn can_be_shared(extent: i64, slices: i64) -> bool {
    let block = (extent + slices - 1) / slices;
    extent > 0 && (slices - 1) * block < extent
}

/// The layers that the model's own text applies and that have parameters, in order.
fn layers_of(params: &[String]) -> Vec<String> {
    let mut layers: Vec<String> = Vec::new();
    for param in params {
        if let Some((layer, _)) = param.split_once('.')
            && layers.last().is_none_or(|last| last != layer)
        {
            layers.push(layer.to_owned());
        }
    }
    layers
}
