//! The text of a network, checked and ready to be compiled.

use dlc_abi::NumericsClass;
use dlc_comm::Communicator;
use dlc_driver::Target;
use dlc_driver::model::{
    CompileOptions, Elaborated, ModelPrograms, compile_model, elaborate_file, elaborate_text,
};
pub use dlc_driver::ranks::Reduce;
use dlc_driver::ranks::{RankOf, Spread};
use dlc_exec::{Program, available_threads};
use dlc_train::{
    CutBetween, LeafCut, LeafPlan, Pipeline, Programs, RankPlan, Session, ShardBlock, TrainError,
};
use std::path::Path;

use crate::error::Error;
use crate::net::Net;

/// The text of a network that was read, typed and shaped without an error.
#[derive(Debug, Clone)]
pub struct Model {
    elaborated: Elaborated,
}

/// How a model is compiled and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most examples in a batch; any smaller batch runs too, with the same code. 0 for what the text says.
    pub batch: usize,
    /// Threads of a step. The bits of results do not depend on it.
    pub threads: usize,
    /// Decides first values, the order of examples, and dropout.
    pub seed: u32,
    /// For which instructions. The bits of results do not depend on it.
    pub target: Target,
    /// How products round that are terms of sums. Results of one class are not those of the other; checkpoints belong to one.
    pub class: NumericsClass,
    /// Check every law of the compiler after every pass, in release builds too.
    pub verify: bool,
    /// How the gradients of several ranks meet.
    pub reduce: Reduce,
}

impl Default for Options {
    /// The batch of the text, all threads this process may use, seed 0, the widest instructions of this processor.
    fn default() -> Self {
        Options {
            batch: 0,
            threads: available_threads(),
            seed: 0,
            target: Target::best(),
            class: NumericsClass::Fused,
            verify: false,
            reduce: Reduce::Ordered,
        }
    }
}

impl Model {
    /// Reads a file, and the files it uses. It must declare one model.
    ///
    /// # Errors
    /// When it cannot be read, or its text is wrong; the message then says where and why.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Model, Error> {
        Self::open(path.as_ref(), None)
    }

    /// As [`Model::from_file`], for one of several models by name.
    ///
    /// # Errors
    /// As [`Model::from_file`], and when there is no model of that name.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Model, Error> {
        Ok(Model { elaborated: elaborate_file(path, name)? })
    }

    /// Takes the text itself. Files it uses are looked for in the present folder.
    ///
    /// # Errors
    /// As [`Model::from_file`].
    pub fn from_text(text: &str) -> Result<Model, Error> {
        Ok(Model { elaborated: elaborate_text("<text>", text, None, None)? })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.elaborated.program.name
    }

    /// What the front end knows about it: inputs, results, parameters, settings, layers.
    pub fn elaborated(&self) -> &Elaborated {
        &self.elaborated
    }

    /// Compiles it to machine code and draws its first parameters.
    ///
    /// # Errors
    /// When the options do not fit the model or this machine.
    pub fn compile(&self, options: &Options) -> Result<Net, Error> {
        self.compile_with(options, None)
    }

    /// As [`Model::compile`], for one of several ranks: threads of this process ([`crate::comm::threads`]) or processes. Each batch is cut
    /// between them where the program's `shards` are cut, and the model where its text says, and training gives the bits of one process. All ranks make the same calls of
    /// [`Net::fit`] and [`Net::evaluate`] in the same order.
    ///
    /// # Errors
    /// As [`Model::compile`], and when the program has fewer shards than there are ranks, or lets examples of a batch depend on one another.
    pub fn compile_rank(
        &self,
        options: &Options,
        comm: Box<dyn Communicator>,
    ) -> Result<Net, Error> {
        self.compile_with(options, Some(comm))
    }

    fn compile_with(
        &self,
        options: &Options,
        comm: Option<Box<dyn Communicator>>,
    ) -> Result<Net, Error> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let rank = comm.as_ref().map(|comm| {
            if options.reduce == Reduce::Fast && !comm.adds() {
                return Err(Error::from(TrainError::from(dlc_comm::CommError::NoSums)));
            }
            let rank =
                RankOf::of(&self.elaborated.program, count(comm.ranks()), count(comm.rank()))?;
            Ok(RankOf { reduce: options.reduce, ..rank })
        });
        let rank = rank.transpose()?;
        let compile = CompileOptions {
            batch: (options.batch > 0).then_some(options.batch),
            target: options.target,
            class: options.class,
            verify: options.verify,
            rank,
        };
        let compiled = compile_model(&self.elaborated, &compile)?;
        let plan =
            rank.zip(compiled.spread.as_ref()).and_then(|(rank, spread)| self.plan(rank, spread));
        let ModelPrograms { fingerprint, flops, timings, batch, .. } = compiled;
        let code = [Some(&compiled.init), compiled.train.as_ref(), compiled.eval.as_ref()]
            .into_iter()
            .chain([compiled.finish.as_ref(), Some(&compiled.predict)])
            .flatten()
            .map(|compiled| compiled.code.stats())
            .collect();
        let load = |compiled: dlc_driver::lower::Compiled| {
            Program::load(compiled.program).map_err(TrainError::from)
        };
        let programs = Programs {
            model: self.name().to_owned(),
            fingerprint,
            init: load(compiled.init)?,
            train: compiled.train.map(load).transpose()?,
            eval: compiled.eval.map(load).transpose()?,
            finish: compiled.finish.map(load).transpose()?,
            predict: load(compiled.predict)?,
        };
        let mut session = match (comm, plan) {
            (Some(comm), Some(plan)) => Session::of_rank(programs, options.threads, comm, plan)?,
            _ => Session::new(programs, options.threads)?,
        };
        session.init(options.seed)?;
        Ok(Net::new(session, batch, flops, timings, code))
    }
}

impl Model {
    /// What a rank does of a run; `None` when the model is not trained.
    fn plan(&self, rank: RankOf, spread: &Spread) -> Option<RankPlan> {
        let program = &self.elaborated.program;
        let shards = program.train.as_ref()?.graph.shards;
        let block = rank.block(shards)?;
        let block = ShardBlock { first: block.first, count: block.count, of: shards };
        let pipeline = program.settings.pipeline.as_ref().map(|settings| Pipeline {
            order: settings.order,
            micro_batches: settings.micro_batches,
        });
        let params = program.params.iter().map(|param| &param.name);
        let states = program.states.iter().map(|state| &state.name);
        let leaf = |name: &String| {
            let cut_of = |shape: &[i64], between: CutBetween| {
                let shape = shape.iter().map(|&extent| extent as usize).collect();
                LeafCut { shape, between }
            };
            let slice = spread.leaf(name);
            let slice = slice.map(|leaf| cut_of(&leaf.shape, CutBetween::Slices(leaf.cut)));
            let replicas = CutBetween::Replicas(rank.grid.replicas);
            let piece = || spread.cut_update(name).map(|leaf| cut_of(&leaf.shape, replicas));
            let cut = slice.or_else(piece);
            LeafPlan { name: name.clone(), stage: spread.stage_of(name), cut }
        };
        let leaves = params.chain(states).map(leaf).collect();
        Some(RankPlan { grid: rank.grid, block, pipeline, leaves })
    }
}

impl From<Elaborated> for Model {
    fn from(elaborated: Elaborated) -> Self {
        Model { elaborated }
    }
}
