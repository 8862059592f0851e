//! What each of several ranks runs of a model: its part of each batch, and its stage of the model.

use crate::error::DriverError;
use crate::lower;
use crate::model::{Elaborated, Failure, batch_of, freeze, joint_of};
use dlc_abi::{Among, BufferRole, ExchangeKind, Grid, PipelineOrder, Place};
use dlc_frontend::ModelProgram;
use dlc_ir::graph::Graph;
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::Program;
use dlc_passes::pass::PassCx;
pub use dlc_passes::split_batch::Reduce;
use dlc_passes::split_batch::{self, Block, Part};
use dlc_passes::split_stages::{self, StageMap};
use dlc_passes::split_tensors::{self, TensorLayer, TensorRequest};
pub use dlc_passes::split_tensors::{TensorLeaf, TensorMap};
use dlc_passes::split_updates;
pub use dlc_passes::split_updates::{UpdateLeaf, UpdateMap, piece_of};

/// One of the ranks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankOf {
    /// All ranks.
    pub grid: Grid,
    /// Which of them, from 0.
    pub rank: u32,
    /// How the sums of replicas meet.
    pub reduce: Reduce,
}

impl RankOf {
    /// One of `ranks` ranks of a model, which has the stages that its text says.
    ///
    /// # Errors
    /// When the ranks cannot be shared out to the stages, or there is no such rank.
    pub fn of(program: &ModelProgram, ranks: u32, rank: u32) -> Result<Self, DriverError> {
        let each = program.settings.grid().ranks_of_model();
        let grid = program.settings.grid_of(ranks).ok_or(DriverError::Ranks { ranks, each })?;
        if rank >= ranks {
            return Err(DriverError::NoRank { rank, ranks });
        }
        Ok(RankOf { grid, rank, reduce: Reduce::Ordered })
    }

    /// Where the rank stands.
    pub fn place(self) -> Place {
        self.grid.place(self.rank)
    }

    /// Its part of each batch.
    fn part(self) -> Part {
        Part { parts: self.grid.replicas, number: self.place().replica, reduce: self.reduce }
    }

    /// The shards of its part; `None` when there are too few.
    pub fn block(self, shards: u32) -> Option<Block> {
        self.part().block(shards)
    }
}

/// Where a model is cut between ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Into stages: which has which parameter.
    pub stages: Option<StageMap>,
    /// Into slices: which parameters and states, and along which axes.
    pub tensors: Option<TensorMap>,
    /// Into replicas: which parameters they update in pieces, and of which states each keeps a piece alone. Replicas whose tensors are cut
    /// into slices update all of their slices.
    pub updates: Option<UpdateMap>,
}

impl Spread {
    /// As the text says, for batches of `batch` examples, on the ranks of which this is one.
    ///
    /// # Errors
    /// When a layer cannot be cut into so many slices, or a batch into so many parts.
    pub fn of(elaborated: &Elaborated, batch: i64, rank: RankOf) -> Result<Self, Failure> {
        let program = &elaborated.program;
        let mut spread = Spread { stages: stage_map(program), tensors: None, updates: None };
        let grid = rank.grid;
        // What a transport adds up all replicas have whole.
        if grid.slices == 1
            && grid.replicas > 1
            && rank.reduce == Reduce::Ordered
            && let Some(joint) = joint_of(elaborated)?
        {
            let others = [&program.predict, &program.eval, &program.finish];
            let read_elsewhere =
                |name: &str| others.iter().any(|other| other.input(name).is_some());
            let map = UpdateMap::choose(freeze(joint, false)?, grid.replicas, read_elsewhere);
            spread.updates = Some(map.map_err(DriverError::from)?);
        }
        if let Some(settings) = &program.settings.tensor
            && let Some(joint) = joint_of(elaborated)?
        {
            let layers = settings.layers.iter().map(|layer| TensorLayer {
                params: layer.params.clone(),
                largest: layer.largest.clone(),
                must: settings.named,
            });
            let request = TensorRequest { slices: settings.slices, layers: layers.collect() };
            let map = TensorMap::choose(&freeze(joint, false)?, &request, batch);
            spread.tensors = Some(map.map_err(DriverError::from)?);
        }
        Ok(spread)
    }

    /// The cut of a parameter or state into slices, and its extents.
    pub fn leaf(&self, name: &str) -> Option<&TensorLeaf> {
        self.tensors.as_ref()?.leaves.iter().find(|leaf| leaf.name == name)
    }

    /// The entry of a state of which each replica keeps a piece.
    pub fn cut_update(&self, name: &str) -> Option<&UpdateLeaf> {
        self.updates.as_ref()?.cut_leaf(name)
    }

    /// The stage that trains a parameter or state; `None` where all do.
    pub fn stage_of(&self, name: &str) -> Option<u32> {
        self.stages.as_ref()?.stage_of(name)
    }
}

/// Which stage has which parameter; `None` for a model without stages.
fn stage_map(program: &ModelProgram) -> Option<StageMap> {
    let pipeline = program.settings.pipeline.as_ref()?;
    let mut stage = 0;
    let params = program.params.iter().map(|param| {
        stage += u32::from(pipeline.starts.iter().any(|start| start.param == param.name));
        (param.name.clone(), stage)
    });
    Some(StageMap { stages: pipeline.stages(), params: params.collect() })
}

/// The graph of a rank, out of the frozen graph of a step, and the most examples that it works on at once.
///
/// # Errors
/// When there are too few shards, or examples or micro-batches that depend on one another.
pub fn cut(
    mut frozen: Graph,
    rank: RankOf,
    program: &ModelProgram,
    spread: &Spread,
    batch: i64,
) -> Result<(Graph, i64), DriverError> {
    let (shards, part, place) = (frozen.shards, rank.part(), rank.place());
    let cx = PassCx::default();
    if let Some(map) = &spread.tensors {
        frozen = split_tensors::run(&frozen, map, place.slice, batch, &cx)?;
    }
    let (mut graph, pieces) = match (&program.settings.pipeline, &spread.stages) {
        (Some(pipeline), Some(map)) => {
            let pieces = pipeline.micro_batches;
            let graph = split_batch::micro_batches(frozen, part, pieces, &cx)?;
            (split_stages::run(graph, map, place.stage, &cx)?, pieces)
        }
        _ => (split_batch::run(frozen, part, &cx)?, 1),
    };
    if let Some(map) = &spread.updates {
        graph = split_updates::run(&graph, map, place.replica, &cx)?;
    }
    let block = rank.block(shards).expect("the pass has cut the shards");
    let piece = Block { count: block.count / pieces, ..block };
    Ok((graph, split_batch::largest_part(batch, shards, piece)))
}

/// The graph of first values as a rank needs it: where several ranks have a model together, rank 0, which saves what all have trained, has
/// all of them; otherwise a rank has what it trains.
///
/// # Errors
/// When there is no such slice.
pub fn first_values(
    mut frozen: Graph,
    rank: RankOf,
    spread: &Spread,
    batch: i64,
) -> Result<Graph, DriverError> {
    if rank.rank == 0 && rank.grid.ranks_of_model() > 1 {
        return Ok(frozen);
    }
    let place = rank.place();
    if let Some(map) = &spread.tensors {
        frozen = split_tensors::run(&frozen, map, place.slice, batch, &PassCx::default())?;
    }
    if let Some(map) = &spread.stages {
        frozen = split_stages::first_values(frozen, map, place.stage);
    }
    if let Some(map) = &spread.updates {
        frozen = split_updates::run(&frozen, map, place.replica, &PassCx::default())?;
    }
    Ok(frozen)
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

/// How a model is spread over ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct RankSummaries {
    /// Where it is cut.
    pub spread: Spread,
    /// What each rank has; empty for a model without training.
    pub ranks: Vec<RankSummary>,
}

/// What each of `ranks` ranks has.
///
/// # Errors
/// When the model cannot be trained on so many.
pub fn rank_summaries(
    elaborated: &Elaborated,
    batch: Option<usize>,
    ranks: u32,
    target: &TargetDesc,
) -> Result<RankSummaries, Failure> {
    let batch = batch_of(elaborated, batch)?;
    let program = &elaborated.program;
    let spread = Spread::of(elaborated, batch, RankOf::of(program, ranks, 0)?)?;
    let Some(joint) = joint_of(elaborated)? else {
        return Ok(RankSummaries { spread, ranks: Vec::new() });
    };
    let train = freeze(joint, false)?;
    let summary = |number: u32| -> Result<RankSummary, Failure> {
        let rank = RankOf::of(program, ranks, number)?;
        let shards = train.shards;
        let (graph, piece) = cut(train.clone(), rank, program, &spread, batch)?;
        let block = rank.block(shards).expect("the pass has cut the shards");
        let tile = lower::to_tile(&graph, piece, target)?;
        Ok(summary_of(rank, program, &spread, &graph, &tile, (block, shards), (batch, piece)))
    };
    let ranks = (0..ranks).map(summary).collect::<Result<_, _>>()?;
    Ok(RankSummaries { spread, ranks })
}

fn summary_of(
    rank: RankOf,
    program: &ModelProgram,
    spread: &Spread,
    graph: &Graph,
    tile: &Program,
    (block, shards): (Block, u32),
    (batch, piece): (i64, i64),
) -> RankSummary {
    let place = rank.place();
    let is_own = |name: &str| spread.stage_of(name).is_none_or(|stage| stage == place.stage);
    let elements = |name: &str, shape: &[dlc_abi::Dim]| {
        let whole = shape.iter().map(|dim| dim.at(1)).product::<i64>();
        if spread.cut_update(name).is_some() {
            return piece_of(whole, rank.grid.replicas);
        }
        spread.leaf(name).map_or(whole, |TensorLeaf { shape, cut, .. }| {
            let range = cut.range(shape[cut.axis], place.slice);
            whole / shape[cut.axis] * (range.end - range.start)
        })
    };
    let own = || program.params.iter().filter(|param| is_own(&param.name));
    let states = program.states.iter().filter(|state| is_own(&state.name));
    let sizes = own()
        .map(|param| elements(&param.name, &param.shape) as u64 * param.elem.size() as u64)
        .chain(
            states
                .map(|state| elements(&state.name, &state.shape) as u64 * state.elem.size() as u64),
        );
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
    let (messages, bytes) = exchanged(tile, u64::from(pieces), piece);
    RankSummary {
        place,
        shards: (block.first, block.count, shards),
        examples,
        params: own()
            .filter(|param| !param.frozen)
            .map(|param| elements(&param.name, &param.shape))
            .sum(),
        bytes_kept: sizes.sum(),
        bytes_step: u64::from(live) * (workspace + tile.arena_bytes),
        live,
        messages: messages + wires.messages * u64::from(pieces),
        bytes: bytes + wires.bytes_per_example * examples as u64,
    }
}

/// Messages and bytes of the exchanges of a program that is run on so many pieces of up to `piece` examples. Those of replicas that are
/// due together make one message.
fn exchanged(tile: &Program, pieces: u64, piece: i64) -> (u64, u64) {
    let (mut messages, mut bytes) = (0, 0);
    let mut places = Vec::new();
    let between_all = tile.exchanges.iter().filter(|exchange| exchange.among != Among::Slices);
    let first = between_all.map(|exchange| exchange.before).min().unwrap_or(0);
    // What a library sends for a sum of its own is not known.
    for exchange in tile.exchanges.iter().filter(|one| one.kind != ExchangeKind::AllReduce) {
        let to = &tile.buffers[exchange.to];
        let others = to.shape[0].constant as u64 - 1;
        let row: i64 = to.shape[1..].iter().map(|dim| dim.at(piece)).product();
        let times = match exchange.among {
            Among::MicroBatches => continue,
            // What is exchanged in the work on a micro-batch is so for each.
            Among::Slices if exchange.before <= first => pieces,
            Among::Slices | Among::Stages => 1,
            Among::Replicas => u64::from(!places.contains(&(exchange.after, exchange.before))),
        };
        if exchange.among == Among::Replicas {
            places.push((exchange.after, exchange.before));
        }
        messages += others * times;
        bytes += others * times.max(1) * row as u64 * to.elem.size() as u64;
    }
    (messages, bytes)
}
