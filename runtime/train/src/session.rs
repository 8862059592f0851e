//! The programs of a model with their parameters and threads.

use dlc_abi::Manifest;
use dlc_comm::{Communicator, Traffic};
use dlc_data::{BatchConfig, Batches, Dataset};
use dlc_exec::{
    Access, FreeList, Gang, GangConfig, Memory, MemoryLayout, Persistent, Program, Workspace,
};
use std::ops::Range;
use std::sync::Arc;

use crate::binding::Binding;
use crate::error::TrainError;
use crate::metrics::{Report, Sums};
use crate::prepared::{Clock, Fill, InputDesc, Prepared, data_inputs, outputs};
use crate::ranks::{RankPlan, Ranks};
use crate::tensor::{Tensor, TensorRef};

/// The compiled programs of one model.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The model's name.
    pub model: String,
    /// Stands for the meaning of all programs, whatever the target they were compiled for: checkpoints are refused by models
    /// with another one.
    pub fingerprint: u64,
    /// Draws the first values of all parameters and states.
    pub init: Program,
    /// From a batch to its loss and new parameters; results `loss`, perhaps `lr`, and `metric.<name>.<total>`.
    pub train: Option<Program>,
    /// From a batch to its loss and metric totals.
    pub eval: Option<Program>,
    /// From metric totals to metrics.
    pub finish: Option<Program>,
    /// From a batch to the model's results.
    pub predict: Program,
}

impl Programs {
    fn all(&self) -> impl Iterator<Item = &Program> {
        let optional = [&self.train, &self.eval, &self.finish].into_iter().flatten();
        std::iter::once(&self.init).chain(optional).chain(std::iter::once(&self.predict))
    }

    /// The programs that a rank has the parameters for.
    fn on_rank(&self, ranks: Option<&Ranks>) -> impl Iterator<Item = &Program> {
        let n = self.all().count();
        let is_whole = ranks.is_none_or(Ranks::is_whole);
        self.all().take(if is_whole { n } else { n - 1 })
    }
}

/// What a step of training gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// The mean loss of the batch, before the update.
    pub loss: f32,
    /// The learning rate of the update, if the model states one.
    pub lr: Option<f32>,
}

/// A model in memory: it trains, judges and predicts.
#[derive(Debug)]
pub struct Session {
    programs: Programs,
    pub(crate) gang: Gang,
    pub(crate) memory: Memory,
    pub(crate) train: Option<Prepared>,
    has_lr: bool,
    eval: Option<Prepared>,
    pub(crate) finish: Option<Prepared>,
    predict: FreeList<Prepared>,
    predict_inputs: Vec<InputDesc>,
    predict_results: Vec<InputDesc>,
    pub(crate) ranks: Option<Ranks>,
    seed: u32,
    step: u64,
    steps_planned: u64,
}

impl Session {
    /// A session whose steps run on up to `threads` threads, the caller's among them. Parameters and states are zero until
    /// [`Session::init`] or weights are loaded.
    ///
    /// # Errors
    /// When the programs do not fit together, or threads or memory cannot be had.
    pub fn new(programs: Programs, threads: usize) -> Result<Self, TrainError> {
        Self::with_ranks(programs, threads, None)
    }

    /// A session that is one of several ranks: `programs.train` and `programs.eval` are those of its part of a batch and its stage of the
    /// model, as `plan` says. All ranks make the same calls in the same order, and each takes only its own examples of a batch.
    ///
    /// A rank has the parameters and states, or slices of them, that `programs.init` draws. Rank 0 can save all of them, as they were when a
    /// run or an epoch ended.
    ///
    /// # Errors
    /// As [`Session::new`], and when the programs were made for another number of ranks.
    pub fn of_rank(
        programs: Programs,
        threads: usize,
        comm: Box<dyn Communicator>,
        plan: RankPlan,
    ) -> Result<Self, TrainError> {
        Self::with_ranks(programs, threads, Some(Ranks::new(comm, plan, threads)?))
    }

    fn with_ranks(
        programs: Programs,
        threads: usize,
        ranks: Option<Ranks>,
    ) -> Result<Self, TrainError> {
        let processes_on_host = ranks.as_ref().map_or(1, Ranks::sharers);
        let gang = Gang::with_config(GangConfig { threads, processes_on_host })?;
        let manifests: Vec<&Manifest> =
            programs.on_rank(ranks.as_ref()).map(|program| program.manifest().as_ref()).collect();
        let layout = MemoryLayout::of(&manifests)?;
        let memory = Memory::new(&layout)?;
        let prepare = |program: &Option<Program>, ranks: Option<&Ranks>| {
            program
                .as_ref()
                .map(|program| Prepared::new(program, &layout, threads, ranks))
                .transpose()
        };
        let train = prepare(&programs.train, ranks.as_ref())?;
        let eval = prepare(&programs.eval, ranks.as_ref())?;
        let finish = prepare(&programs.finish, None)?;
        for program in
            [&programs.eval, &programs.finish].into_iter().flatten().chain([&programs.predict])
        {
            if program.access() == Access::Write {
                return Err(TrainError::Contract {
                    program: program.manifest().name.clone(),
                    problem: "it changes parameters or states, but only training may".to_owned(),
                });
            }
        }
        for program in [&programs.train, &programs.eval].into_iter().flatten() {
            if !outputs(program)
                .iter()
                .any(|output| output.name == "loss" && output.shape.is_empty())
            {
                return Err(TrainError::Contract {
                    program: program.manifest().name.clone(),
                    problem: "it has no scalar `loss`".to_owned(),
                });
            }
        }
        let has_lr = programs
            .train
            .as_ref()
            .is_some_and(|train| outputs(train).iter().any(|output| output.name == "lr"));
        Ok(Session {
            gang,
            memory,
            train,
            has_lr,
            eval,
            finish,
            predict: FreeList::new(),
            predict_inputs: data_inputs(&programs.predict),
            predict_results: outputs(&programs.predict),
            programs,
            ranks,
            seed: 0,
            step: 0,
            steps_planned: 0,
        })
    }

    /// Gives all parameters and states their first values, drawn from `seed`, and begins to count steps anew.
    ///
    /// # Errors
    /// When the program does not run.
    pub fn init(&mut self, seed: u32) -> Result<(), TrainError> {
        (self.seed, self.step) = (seed, 0);
        let mut init =
            Prepared::new(&self.programs.init, self.memory.layout(), self.gang.threads(), None)?;
        let clock = self.clock(0);
        init.run(Persistent::Exclusive(&mut self.memory), 1, &self.gang, clock)?;
        self.scatter();
        Ok(())
    }

    /// Fills slices that this rank trains from the whole, where it has both.
    pub(crate) fn scatter(&mut self) {
        if let Some(ranks) = &self.ranks {
            ranks.scatter(&mut self.memory);
        }
    }

    /// Trains on one batch: examples of the model's inputs and of what `train` adds to them, such as labels. Allocates nothing. A rank of
    /// several trains by [`crate::fit`] alone.
    ///
    /// # Errors
    /// When an input is missing or of another type or shape, the batch is larger than the programs were compiled for, or an
    /// index such as a label is outside its range; the parameters are then as before.
    pub fn train_step(
        &mut self,
        inputs: &[(&str, TensorRef<'_>)],
    ) -> Result<StepResult, TrainError> {
        let train = self.train.as_mut().ok_or_else(|| no_program(&self.programs, "be trained"))?;
        if self.ranks.is_some() {
            return Err(TrainError::Contract {
                program: self.programs.model.clone(),
                problem: "a rank of several is given examples of a whole batch".to_owned(),
            });
        }
        let batch = train.batch_of(inputs)?;
        train.set_inputs(inputs, batch, 0, batch)?;
        self.step_on(batch, &mut |_, _, _| Ok(()))
    }

    /// Which examples of a batch this session works on: all, or those of its rank.
    pub fn part_of(&self, batch: usize) -> Range<usize> {
        self.ranks.as_ref().map_or(0..batch, |ranks| ranks.block().examples(batch))
    }

    /// The most examples of a batch that this session works on at once.
    pub(crate) fn largest_piece(&self, batch: usize) -> usize {
        let Some(ranks) = &self.ranks else { return batch };
        let pieces = ranks.pipeline().map_or(1, |pipeline| pipeline.micro_batches);
        let sizes = (0..pieces).map(|micro| ranks.piece(micro).examples(batch).len());
        sizes.max().unwrap_or(batch)
    }

    /// What this rank has sent to others so far; nothing when it is alone.
    pub fn traffic(&self) -> Traffic {
        self.ranks.as_ref().map(Ranks::traffic).unwrap_or_default()
    }

    /// Whether the run stops, where `wish` says what this rank wants. Alone it gets its way; of several ranks all stop after the same
    /// step, the one in which they learn of the wish.
    pub(crate) fn agree_to_stop(&mut self, wish: bool) -> bool {
        self.ranks.as_mut().map_or(wish, |ranks| ranks.agree_to_stop(wish))
    }

    /// Which rank this is, from 0.
    pub fn rank(&self) -> usize {
        self.ranks.as_ref().map_or(0, Ranks::rank)
    }

    /// Which batch the results of a step are of: for ranks, whose parts of the batch differ, none.
    pub(crate) fn result_batch(&self, batch: usize) -> usize {
        if self.ranks.is_some() { 0 } else { batch }
    }

    /// Whether this session has all parameters and states of the model.
    pub(crate) fn is_whole(&self) -> bool {
        self.ranks.as_ref().is_none_or(Ranks::is_whole)
    }

    /// Brings what other ranks have trained to the one that saves it. All ranks do this together.
    pub(crate) fn gather(&mut self) -> Result<(), TrainError> {
        match &mut self.ranks {
            Some(ranks) => ranks.gather(&mut self.memory),
            None => Ok(()),
        }
    }

    /// Trains on a batch of `batch` examples; `fill` puts those that are asked for into a workspace.
    pub(crate) fn step_on(
        &mut self,
        batch: usize,
        fill: &mut Fill<'_>,
    ) -> Result<StepResult, TrainError> {
        let shown = self.result_batch(batch);
        let clock = self.clock(self.step + 1);
        if clock.step == i32::MAX {
            return Err(TrainError::Range {
                name: "step".to_owned(),
                value: (self.step + 1).to_string(),
            });
        }
        let train = self.train.as_mut().ok_or_else(|| no_program(&self.programs, "be trained"))?;
        if let Some(ranks) = &mut self.ranks {
            ranks.forget();
        }
        let memory = Persistent::Exclusive(&mut self.memory);
        match &mut self.ranks {
            None => {
                fill(&train.inputs, &mut train.workspace, 0..batch)?;
                train.run(memory, batch, &self.gang, clock)?;
            }
            Some(ranks) => train.run_part(memory, batch, &self.gang, clock, ranks, fill)?,
        }
        self.step += 1;
        let loss = train.workspace.output::<f32>("loss", shown)?[0];
        let lr = match self.has_lr {
            true => Some(train.workspace.output::<f32>("lr", shown)?[0]),
            false => None,
        };
        Ok(StepResult { loss, lr })
    }

    /// The mean loss and the metrics of a data set, in its order, by batches of up to `batch` examples.
    ///
    /// # Errors
    /// When the model has no `train` block, the data do not fit its inputs, or a step fails.
    pub fn evaluate(&mut self, dataset: &Dataset, batch: usize) -> Result<Report, TrainError> {
        let clock = self.clock(self.step);
        let eval = self.eval.as_mut().ok_or_else(|| no_program(&self.programs, "be evaluated"))?;
        let binding = Binding::new(&eval.inputs, dataset)?;
        let batch = batch.min(self.programs.predict.manifest().max_batch as usize);
        let n_examples = dataset.n_examples();
        let mut batches = Batches::new(BatchConfig { n_examples, batch, seed: 0, shuffle: false })?;
        let mut sums = Sums::of(eval.workspace.program())?;
        for _ in 0..batches.n_batches() {
            let examples = batches.next_batch().examples;
            let n = examples.len();
            let mut fill = |inputs: &[InputDesc], workspace: &mut Workspace, own: Range<usize>| {
                binding.fill(inputs, workspace, dataset, &examples[own])
            };
            let memory = Persistent::Shared(&self.memory);
            let shown = match &mut self.ranks {
                None => {
                    fill(&eval.inputs, &mut eval.workspace, 0..n)?;
                    eval.run(memory, n, &self.gang, clock)?;
                    n
                }
                Some(ranks) => {
                    eval.run_part(memory, n, &self.gang, clock, ranks, &mut fill)?;
                    0
                }
            };
            let loss = eval.workspace.output::<f32>("loss", shown)?[0];
            sums.add(&eval.workspace, loss, shown, n)?;
        }
        sums.report(self.finish.as_mut(), &self.memory, &self.gang, clock)
    }

    /// The results of the model for any number of examples, by name. May be called from several threads at once: one has the
    /// session's threads, the others run alone, with the same bits.
    ///
    /// # Errors
    /// When an input is missing or of another type or shape, or there are more examples than the program takes at once and
    /// its results cannot be put together from batches.
    pub fn predict(
        &self,
        inputs: &[(&str, TensorRef<'_>)],
    ) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut predict = self.predict.take(|| self.new_predict())?;
        let total = predict.batch_of(inputs)?;
        let max = predict.max_batch();
        self.check_rows(&predict, total, max)?;
        let mut results = Vec::new();
        let mut start = 0;
        loop {
            let batch = (total - start).min(max);
            predict.set_inputs(inputs, total, start, batch)?;
            self.predict_batch(&mut predict, batch, &mut results)?;
            start += batch;
            if start == total {
                return Ok(results);
            }
        }
    }

    /// The results of the model for all examples of a data set, in its order.
    ///
    /// # Errors
    /// When the data do not fit the model's inputs, or its results cannot be put together from batches.
    pub fn predict_on(&self, dataset: &Dataset) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut predict = self.predict.take(|| self.new_predict())?;
        let binding = Binding::new(&predict.inputs, dataset)?;
        let (total, max) = (dataset.n_examples(), predict.max_batch());
        self.check_rows(&predict, total, max)?;
        let config = BatchConfig { n_examples: total, batch: max, seed: 0, shuffle: false };
        let mut batches = Batches::new(config)?;
        let mut results = Vec::new();
        for _ in 0..batches.n_batches() {
            let examples = batches.next_batch().examples;
            let Prepared { workspace, inputs, .. } = &mut *predict;
            binding.fill(inputs, workspace, dataset, examples)?;
            self.predict_batch(&mut predict, examples.len(), &mut results)?;
        }
        Ok(results)
    }

    /// Runs another program of the model on examples of a data set, on parameters and states as they are and with the clock of the step to
    /// come; its results by name. For programs that look into a step.
    ///
    /// # Errors
    /// When the program changes parameters, the data do not fit its inputs, or it does not run.
    pub fn run_aside(
        &self,
        program: &Program,
        dataset: &Dataset,
        examples: &[u32],
    ) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut aside = Prepared::new(program, self.memory.layout(), self.gang.threads(), None)?;
        let Prepared { workspace, inputs, .. } = &mut aside;
        Binding::new(inputs, dataset)?.fill(inputs, workspace, dataset, examples)?;
        let memory = Persistent::Shared(&self.memory);
        aside.run(memory, examples.len(), &self.gang, self.clock(self.step + 1))?;
        let result = |desc: InputDesc| {
            let value = aside.output(&desc, examples.len())?;
            Ok((desc.name, value))
        };
        outputs(program).into_iter().map(result).collect()
    }

    fn new_predict(&self) -> Result<Prepared, TrainError> {
        Prepared::new(&self.programs.predict, self.memory.layout(), self.gang.threads(), None)
    }

    fn check_rows(&self, predict: &Prepared, total: usize, max: usize) -> Result<(), TrainError> {
        if total > max && predict.not_by_rows().is_some() {
            let program = self.programs.predict.manifest().name.clone();
            return Err(TrainError::TooManyExamples { program, found: total, max });
        }
        Ok(())
    }

    /// Predicts for the batch that lies in the workspace, and appends to the results so far.
    fn predict_batch(
        &self,
        predict: &mut Prepared,
        batch: usize,
        results: &mut Vec<(String, Tensor)>,
    ) -> Result<(), TrainError> {
        predict.run(Persistent::Shared(&self.memory), batch, &self.gang, self.clock(self.step))?;
        for (index, desc) in self.predict_results.iter().enumerate() {
            let part = predict.output(desc, batch)?;
            match results.get_mut(index) {
                None => results.push((desc.name.clone(), part)),
                Some((_, whole)) => {
                    whole.shape[0] += part.shape[0];
                    whole.data.append(part.data);
                }
            }
        }
        Ok(())
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.programs.model
    }

    /// The programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What [`Session::predict`] takes, in the order of the text.
    pub fn predict_inputs(&self) -> &[InputDesc] {
        &self.predict_inputs
    }

    /// What [`Session::predict`] gives, in the order of the text.
    pub fn predict_results(&self) -> &[InputDesc] {
        &self.predict_results
    }

    /// What [`Session::train_step`] takes; nothing when the model cannot be trained.
    pub fn train_inputs(&self) -> &[InputDesc] {
        self.train.as_ref().map_or(&[], |train| &train.inputs)
    }

    /// The most examples that a step takes at once.
    pub fn max_batch(&self) -> usize {
        self.programs.predict.manifest().max_batch as usize
    }

    /// Threads of a step.
    pub fn threads(&self) -> usize {
        self.gang.threads()
    }

    /// The seed of the present parameters.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Steps of training done since the parameters were drawn.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How many steps training is planned to take in all, for schedules; 0 when nobody knows.
    pub fn steps_planned(&self) -> u64 {
        self.steps_planned
    }

    /// Plans the number of steps that schedules refer to.
    pub fn plan_steps(&mut self, steps: u64) {
        self.steps_planned = steps;
    }

    /// Parameters and states as they lie in memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Sets what a checkpoint remembers of the past.
    pub(crate) fn restore_clock(&mut self, seed: u32, step: u64, steps_planned: u64) {
        (self.seed, self.step, self.steps_planned) = (seed, step, steps_planned);
    }

    /// What reserved inputs hold in step number `step`. Counts beyond the range of i32 stay at its end.
    pub(crate) fn clock(&self, step: u64) -> Clock {
        let clamp = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
        // The key of the random generator is the seed's bits.
        let seed = self.seed.cast_signed();
        Clock { step: clamp(step), steps: clamp(self.steps_planned), seed }
    }

    /// Reports sums of training steps.
    pub(crate) fn report(&mut self, sums: &Sums) -> Result<Report, TrainError> {
        let clock = self.clock(self.step);
        sums.report(self.finish.as_mut(), &self.memory, &self.gang, clock)
    }

    pub(crate) fn no_program(&self, what: &'static str) -> TrainError {
        no_program(&self.programs, what)
    }
}

fn no_program(programs: &Programs, what: &'static str) -> TrainError {
    TrainError::NoProgram { model: programs.model.clone(), what }
}

// `predict(&self)` from many threads rests on this.
const _: fn() = || {
    fn shared<T: Sync + Send>() {}
    shared::<Arc<Session>>();
};
