//! What each of several ranks runs of a model: its part of each batch, and its stage of the model.

use crate::error::DriverError;
use crate::lower;
use crate::model::{Elaborated, Failure, batch_of, freeze, joint_of};
use dlc_abi::{Among, BufferRole, Grid, PipelineOrder, Place};
use dlc_frontend::ModelProgram;
use dlc_ir::graph::Graph;
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::Program;
use dlc_passes::pass::PassCx;
use dlc_passes::split_batch::{self, Block, Part};
use dlc_passes::split_stages::{self, StageMap};

/// One of the ranks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankOf {
    /// All ranks.
    pub grid: Grid,
    /// Which of them, from 0.
    pub rank: u32,
}

impl RankOf {
    /// One of `ranks` ranks of a model, which has the stages that its text says.
    ///
    /// # Errors
    /// When the ranks cannot be shared out to the stages, or there is no such rank.
    pub fn of(program: &ModelProgram, ranks: u32, rank: u32) -> Result<Self, DriverError> {
        let stages = program.settings.grid().stages;
        let grid = program.settings.grid_of(ranks).ok_or(DriverError::Ranks { ranks, stages })?;
        if rank >= ranks {
            return Err(DriverError::NoRank { rank, ranks });
        }
        Ok(RankOf { grid, rank })
    }

    /// Where the rank stands.
    pub fn place(self) -> Place {
        self.grid.place(self.rank)
    }

    /// Its part of each batch.
    fn part(self) -> Part {
        Part { parts: self.grid.replicas, number: self.place().replica }
    }

    /// The shards of its part; `None` when there are too few.
    pub fn block(self, shards: u32) -> Option<Block> {
        self.part().block(shards)
    }
}

/// Which stage has which parameter; `None` for a model that is not cut.
pub fn stage_map(program: &ModelProgram) -> Option<StageMap> {
    let pipeline = program.settings.pipeline.as_ref()?;
    let mut stage = 0;
    let params = program.params.iter().map(|param| {
        stage += u32::from(pipeline.starts.iter().any(|start| start.param == param.name));
        (param.name.clone(), stage)
    });
    Some(StageMap { stages: pipeline.stages(), params: params.collect() })
}

/// All parameters and states with the stage that trains them. Those without one are trained by all.
pub fn leaf_stages(program: &ModelProgram, map: &StageMap) -> Vec<(String, Option<u32>)> {
    let params = program.params.iter().map(|param| &param.name);
    let states = program.states.iter().map(|state| &state.name);
    params.chain(states).map(|name| (name.clone(), map.stage_of(name))).collect()
}

/// The graph of a rank, out of the frozen graph of a step, and the most examples that it works on at once.
///
/// # Errors
/// When there are too few shards, or examples or micro-batches that depend on one another.
pub fn cut(
    frozen: Graph,
    rank: RankOf,
    program: &ModelProgram,
    batch: i64,
) -> Result<(Graph, i64), DriverError> {
    let (shards, part, cx) = (frozen.shards, rank.part(), PassCx::default());
    let (graph, pieces) = match (&program.settings.pipeline, stage_map(program)) {
        (Some(pipeline), Some(map)) => {
            let pieces = pipeline.micro_batches;
            let graph = split_batch::micro_batches(frozen, part, pieces, &cx)?;
            (split_stages::run(graph, &map, rank.place().stage, &cx)?, pieces)
        }
        _ => (split_batch::run(frozen, part, &cx)?, 1),
    };
    let block = rank.block(shards).expect("the pass has cut the shards");
    let piece = Block { count: block.count / pieces, ..block };
    Ok((graph, split_batch::largest_part(batch, shards, piece)))
}

/// The graph of first values as a rank needs it: rank 0, which saves what all have trained, has all of them, the others what they train.
pub fn first_values(frozen: Graph, rank: RankOf, program: &ModelProgram) -> Graph {
    match stage_map(program) {
        Some(map) if rank.rank > 0 => split_stages::first_values(frozen, &map, rank.place().stage),
        _ => frozen,
    }
}

/// What one of several ranks has and does.
#[derive(Debug, Clone, PartialEq)]
pub struct RankSummary {
    /// Where it stands.
    pub place: Place,
    /// Its shards: the first, how many, and how many the batch has.
    pub shards: (u32, u32, u32),
    /// The most examples of a batch that it works on, in all.
    pub examples: i64,
    /// Numbers in the parameters that it trains.
    pub params: i64,
    /// Bytes of parameters and states that it trains.
    pub bytes_kept: u64,
    /// Bytes of what a step needs beside, those of all micro-batches under way included.
    pub bytes_step: u64,
    /// Micro-batches under way at once.
    pub live: u32,
    /// Messages that it sends in a training step.
    pub messages: u64,
    /// Bytes of tensors in them.
    pub bytes: u64,
}

/// What each of `ranks` ranks has; empty for a model without training.
///
/// # Errors
/// When the model cannot be trained on so many.
pub fn rank_summaries(
    elaborated: &Elaborated,
    batch: Option<usize>,
    ranks: u32,
    target: &TargetDesc,
) -> Result<Vec<RankSummary>, Failure> {
    let batch = batch_of(elaborated, batch)?;
    let program = &elaborated.program;
    let Some(joint) = joint_of(elaborated)? else { return Ok(Vec::new()) };
    let train = freeze(joint, false)?;
    let summary = |number: u32| -> Result<RankSummary, Failure> {
        let rank = RankOf::of(program, ranks, number)?;
        let shards = train.shards;
        let (graph, piece) = cut(train.clone(), rank, program, batch)?;
        let block = rank.block(shards).expect("the pass has cut the shards");
        let tile = lower::to_tile(&graph, piece, target)?;
        Ok(summary_of(rank, program, &graph, &tile, (block, shards), batch))
    };
    (0..ranks).map(summary).collect()
}

fn summary_of(
    rank: RankOf,
    program: &ModelProgram,
    graph: &Graph,
    tile: &Program,
    (block, shards): (Block, u32),
    batch: i64,
) -> RankSummary {
    let place = rank.place();
    let map = stage_map(program);
    let is_own = |name: &str| {
        map.as_ref().and_then(|map| map.stage_of(name)).is_none_or(|stage| stage == place.stage)
    };
    let elements = |shape: &[dlc_abi::Dim]| shape.iter().map(|dim| dim.at(1)).product::<i64>();
    let own = || program.params.iter().filter(|param| is_own(&param.name));
    let states = program.states.iter().filter(|state| is_own(&state.name));
    let sizes = own()
        .map(|param| elements(&param.shape) as u64 * param.elem.size() as u64)
        .chain(states.map(|state| elements(&state.shape) as u64 * state.elem.size() as u64));
    let (order, pieces) = match &program.settings.pipeline {
        Some(pipeline) => (pipeline.order, pipeline.micro_batches),
        None => (PipelineOrder::Gpipe, 1),
    };
    let live = order.live(rank.grid.stages, place.stage, pieces);
    let workspace: u64 = tile
        .buffers
        .values()
        .filter(|buffer| {
            buffer.alias_of.is_none()
                && matches!(
                    buffer.role,
                    BufferRole::Input | BufferRole::Output | BufferRole::Message
                )
        })
        .map(|buffer| buffer.bytes(tile.max_batch))
        .sum();
    let examples = split_batch::largest_part(batch, shards, block);
    let wires = split_stages::traffic(graph);
    let (messages, bytes) = exchanged(tile);
    RankSummary {
        place,
        shards: (block.first, block.count, shards),
        examples,
        params: own().filter(|param| !param.frozen).map(|param| elements(&param.shape)).sum(),
        bytes_kept: sizes.sum(),
        bytes_step: u64::from(live) * (workspace + tile.arena_bytes),
        live,
        messages: messages + wires.messages * u64::from(pieces),
        bytes: bytes + wires.bytes_per_example * examples as u64,
    }
}

/// Messages and bytes of the exchanges of a program. Those of replicas that are due together make one message.
fn exchanged(tile: &Program) -> (u64, u64) {
    let (mut messages, mut bytes) = (0, 0);
    let mut places = Vec::new();
    for exchange in &tile.exchanges {
        let to = &tile.buffers[exchange.to];
        let others = to.shape[0].constant as u64 - 1;
        let row: i64 = to.shape[1..].iter().map(|dim| dim.constant).product();
        let alone = match exchange.among {
            Among::MicroBatches => continue,
            Among::Stages => true,
            Among::Replicas => !places.contains(&(exchange.after, exchange.before)),
        };
        if exchange.among == Among::Replicas {
            places.push((exchange.after, exchange.before));
        }
        messages += if alone { others } else { 0 };
        bytes += others * row as u64 * to.elem.size() as u64;
    }
    (messages, bytes)
}
