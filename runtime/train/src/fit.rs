//! Training on a data set, epoch after epoch.

use dlc_data::{BatchConfig, BatchError, Batches, Dataset, Position, Prefetch, Splits};
use std::time::{Duration, Instant};

use crate::binding::Binding;
use crate::checkpoint::RunState;
use crate::error::TrainError;
use crate::metrics::{Metric, Report, Sums};
use crate::session::{Session, StepResult};

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many times through the data.
    Epochs(u64),
    /// So many batches.
    Steps(u64),
}

/// How a session is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitConfig {
    /// Examples in a batch, at most what the programs were compiled for.
    pub batch: usize,
    /// How long the run is, counted from its beginning also when it is resumed.
    pub length: Length,
    /// Whether to shuffle the examples in each epoch, by the session's seed.
    pub shuffle: bool,
    /// Steps between two [`Event::Log`]; 0 for none.
    pub log_every: u64,
    /// Whether to judge by the test split, if there is one, after each epoch.
    pub validate: bool,
    /// The batch to begin with; the default is the first one.
    pub start: Position,
}

/// What the caller wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop before the next step.
    Stop,
}

/// What happens during a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// Training begins.
    Start(StartEvent),
    /// A step is done.
    Step(StepEvent),
    /// [`FitConfig::log_every`] steps are done.
    Log(&'a LogEvent),
    /// An epoch, or the run, is done.
    Epoch(&'a EpochEvent),
}

/// The size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartEvent {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps done before, by the run that is resumed.
    pub done: u64,
    /// Epochs of the whole run; the last one may be cut short.
    pub epochs: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEvent {
    /// Its number in the run, from 1.
    pub step: u64,
    /// Its epoch, from 1.
    pub epoch: u64,
    /// Examples in its batch.
    pub examples: usize,
    /// What it gave.
    pub result: StepResult,
    /// What a checkpoint taken now has to remember.
    pub run: RunState,
}

/// Some steps together.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEvent {
    /// The number of the last one in the run, from 1.
    pub step: u64,
    /// Its epoch, from 1.
    pub epoch: u64,
    /// The mean loss of the examples since the last log.
    pub loss: f64,
    /// The metrics of the examples since the last log.
    pub metrics: Vec<Metric>,
    /// The learning rate of the last step, if the model states one.
    pub lr: Option<f32>,
    /// Examples a second since the last log, validation not counted.
    pub samples_per_s: f64,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochEvent {
    /// Its number, from 1.
    pub epoch: u64,
    /// The number of the last step in the run.
    pub step: u64,
    /// Loss and metrics of its steps, as they were while the parameters changed. After a resumption in the middle of the
    /// epoch: of the steps since then.
    pub train: Report,
    /// Loss and metrics of the test split with the parameters of its end.
    pub validation: Option<Report>,
    /// Time spent in its steps.
    pub train_time: Duration,
    /// What a checkpoint taken now has to remember.
    pub run: RunState,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// Steps of the run that are done, those before a resumption included.
    pub steps: u64,
    /// Whole epochs that are done.
    pub epochs: u64,
    /// Whether the caller stopped it.
    pub stopped: bool,
    /// Loss and metrics of the last epoch, or of its part that was done.
    pub train: Option<Report>,
    /// The last validation.
    pub validation: Option<Report>,
    /// What a checkpoint has to remember.
    pub run: RunState,
}

/// Trains a session. The observer is told about every step and may stop the run after each; it sees the session, so it may
/// save weights or a checkpoint.
///
/// The order of examples depends on the session's seed and the epoch alone. A run that is stopped and later resumed from a
/// checkpoint, with the same data and configuration, gives the same bits.
///
/// # Errors
/// When the model has no `train` block, the data do not fit its inputs, the batch is larger than the programs were compiled
/// for, or a step fails.
pub fn fit(
    session: &mut Session,
    splits: &Splits,
    config: &FitConfig,
    observer: &mut dyn FnMut(&Session, Event<'_>) -> Control,
) -> Result<FitReport, TrainError> {
    let mut run = Run::new(session, &splits.train, config)?;
    let validation = splits.test.as_ref().filter(|_| config.validate);
    session.plan_steps(session.step() - run.done + run.steps);
    let wish = observer(
        session,
        Event::Start(StartEvent {
            steps: run.steps,
            done: run.done,
            epochs: run.steps.div_ceil(run.batches.n_batches()),
            steps_per_epoch: run.batches.n_batches(),
        }),
    ) == Control::Stop;
    let mut stopped = session.agree_to_stop(wish);
    let mut report = FitReport {
        steps: run.done,
        epochs: config.start.epoch,
        stopped: false,
        train: None,
        validation: None,
        run: run.state(),
    };
    while run.done < run.steps && !stopped {
        let (event, ends_epoch) = run.step(session, &splits.train)?;
        let mut wish = observer(session, Event::Step(event)) == Control::Stop;
        if config.log_every > 0
            && (run.done.is_multiple_of(config.log_every) || run.done == run.steps)
        {
            let log = run.log(session, event)?;
            wish |= observer(session, Event::Log(&log)) == Control::Stop;
        }
        if ends_epoch || run.done == run.steps {
            report.epochs += u64::from(ends_epoch);
            session.gather()?;
            let epoch = run.end_epoch(session, event, validation)?;
            wish |= observer(session, Event::Epoch(&epoch)) == Control::Stop;
            report.train = Some(epoch.train);
            report.validation = epoch.validation.or(report.validation);
        }
        stopped = session.agree_to_stop(wish);
    }
    session.gather()?;
    if run.epoch_sums.examples() > 0 {
        report.train = Some(session.report(&run.epoch_sums)?);
    }
    // A wish to stop that comes with the last step changes nothing.
    report.stopped = stopped && run.done < run.steps;
    report.steps = run.done;
    report.run = run.state();
    Ok(report)
}

/// A run on its way.
struct Run {
    batches: Batches,
    binding: Binding,
    /// Reads the batches before they are asked for, where that may take long.
    ahead: Option<Prefetch>,
    /// Steps in all.
    steps: u64,
    /// Steps done.
    done: u64,
    epoch_sums: Sums,
    log_sums: Sums,
    epoch_time: Duration,
    log_time: Duration,
}

impl Run {
    fn new(session: &Session, dataset: &Dataset, config: &FitConfig) -> Result<Self, TrainError> {
        let train = session.train.as_ref().ok_or_else(|| session.no_program("be trained"))?;
        if session.largest_piece(config.batch) > train.max_batch() {
            return Err(TrainError::TooManyExamples {
                program: train.workspace.program().manifest().name.clone(),
                found: config.batch,
                max: train.max_batch(),
            });
        }
        let batches = Batches::resume(
            BatchConfig {
                n_examples: dataset.n_examples(),
                batch: config.batch,
                seed: u64::from(session.seed()),
                shuffle: config.shuffle,
            },
            config.start,
        )?;
        let per_epoch = batches.n_batches();
        let steps_of = |epochs: u64| {
            let too_long = TrainError::TooLong { epochs, steps: per_epoch };
            epochs.checked_mul(per_epoch).ok_or(too_long)
        };
        let steps = match config.length {
            Length::Epochs(epochs) => steps_of(epochs)?,
            Length::Steps(steps) => steps,
        };
        let start = config.start;
        let done = steps_of(start.epoch)?.saturating_add(start.batch);
        if done > session.step() {
            let position = config.start.batch;
            return Err(BatchError::Position { batch: position, n_batches: per_epoch }.into());
        }
        let sums = Sums::of(train.workspace.program())?;
        let binding = Binding::new(&train.inputs, dataset)?;
        // Ranks fetch the parts of a batch that are theirs, when they come to them.
        let ahead = match dataset.is_slow() && session.ranks.is_none() {
            true => Some(Prefetch::start(
                dataset.clone(),
                &binding.columns(&train.inputs),
                batches.clone(),
                steps.saturating_sub(done),
            )?),
            false => None,
        };
        Ok(Run {
            binding,
            ahead,
            batches,
            steps,
            done,
            epoch_sums: sums.clone(),
            log_sums: sums,
            epoch_time: Duration::ZERO,
            log_time: Duration::ZERO,
        })
    }

    fn state(&self) -> RunState {
        let config = self.batches.config();
        RunState {
            batch: config.batch,
            n_examples: config.n_examples,
            shuffle: config.shuffle,
            position: self.batches.position(),
            steps: self.steps,
        }
    }

    /// One step; also tells whether it ends its epoch. Allocates nothing.
    fn step(
        &mut self,
        session: &mut Session,
        dataset: &Dataset,
    ) -> Result<(StepEvent, bool), TrainError> {
        let start = Instant::now();
        let epoch = self.batches.position().epoch + 1;
        let (result, examples, ends_epoch) = match &mut self.ahead {
            Some(ahead) => {
                let (examples, ends_epoch) = self.batches.skip();
                let result = ahead.next(|slot| {
                    session.step_on(examples, &mut |inputs, workspace, _| {
                        Binding::copy(inputs, workspace, slot)
                    })
                })?;
                (result, examples, ends_epoch)
            }
            None => {
                let batch = self.batches.next_batch();
                let (binding, all) = (&self.binding, batch.examples);
                let result = session.step_on(all.len(), &mut |inputs, workspace, own| {
                    binding.fill(inputs, workspace, dataset, &all[own])
                })?;
                (result, all.len(), batch.ends_epoch)
            }
        };
        let shown = session.result_batch(examples);
        let train = session.train.as_ref().expect("`Run::new` has found the program");
        for sums in [&mut self.epoch_sums, &mut self.log_sums] {
            sums.add(&train.workspace, result.loss, shown, examples)?;
        }
        self.done += 1;
        let time = start.elapsed();
        self.epoch_time += time;
        self.log_time += time;
        let event = StepEvent { step: self.done, epoch, examples, result, run: self.state() };
        Ok((event, ends_epoch))
    }

    fn log(&mut self, session: &mut Session, last: StepEvent) -> Result<LogEvent, TrainError> {
        let Report { loss, examples, metrics } = session.report(&self.log_sums)?;
        let samples_per_s = examples as f64 / self.log_time.as_secs_f64().max(1e-9);
        self.log_sums.clear();
        self.log_time = Duration::ZERO;
        let StepEvent { step, epoch, result, .. } = last;
        Ok(LogEvent { step, epoch, loss, metrics, lr: result.lr, samples_per_s })
    }

    fn end_epoch(
        &mut self,
        session: &mut Session,
        last: StepEvent,
        validation: Option<&Dataset>,
    ) -> Result<EpochEvent, TrainError> {
        let train = session.report(&self.epoch_sums)?;
        let batch = self.batches.config().batch;
        let validation = validation.map(|dataset| session.evaluate(dataset, batch)).transpose()?;
        let train_time = std::mem::take(&mut self.epoch_time);
        self.epoch_sums.clear();
        let StepEvent { epoch, step, run, .. } = last;
        Ok(EpochEvent { epoch, step, train, validation, train_time, run })
    }
}
