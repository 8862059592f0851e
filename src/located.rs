//! Errors at run time with the text that they stem from.

use dlc_abi::LoadedProgram;
use dlc_data::{BatchConfig, Batches, Splits};
use dlc_driver::model::CompileOptions;
use dlc_driver::probe::{Probe, Reach};
use dlc_exec::{Program, StepError};
use dlc_frontend::{DataInput, at_run_time};
use dlc_grammar::Diagnostic;
use dlc_train::{Control, Data, Event, FitConfig, RunState, Session, TrainError, fit};

use crate::error::Error;
use crate::model::Model;
use crate::net::Net;

impl Model {
    /// What an error at run time says of this model's text; `None` where it stems from no place in it.
    pub fn locate(&self, error: &Error) -> Option<Diagnostic> {
        let Error::Run(error) = error else { return None };
        let differs = |input: &str| {
            Some(at_run_time::data_differ(self.input(input)?, error.to_string(), None))
        };
        match error {
            TrainError::Step(StepError::BadIndex { buffer, value, example, .. }) => {
                Some(at_run_time::not_an_index(self.input(buffer)?, *value, *example))
            }
            TrainError::NoColumn { input, columns, .. } => {
                let headline = format!("no column of the data serves as input `{input}`");
                let columns = format!("the columns are {}", columns.join(", "));
                Some(at_run_time::data_differ(self.input(input)?, headline, Some(columns)))
            }
            TrainError::Column { input, .. } => differs(input),
            TrainError::Input { name, .. } | TrainError::InputLength { name, .. } => differs(name),
            TrainError::BatchMismatch { name, first, .. } => {
                Some(differs(name)?.also(self.input(first)?.span, "the input before it"))
            }
            _ => None,
        }
    }

    fn input(&self, name: &str) -> Option<&DataInput> {
        self.elaborated().program.inputs.iter().find(|input| input.name == name)
    }

    /// Where a loss that is no number came from; `None` where nothing is found. Steps give the same bits each time, so the run is gone
    /// through again, and the step is looked into.
    ///
    /// `fresh` makes the network that the run began with, `config` is that of the run, and `step` the number of the step in it, from 1.
    ///
    /// # Errors
    /// When the network cannot be made or run again.
    pub fn find_not_a_number<E: From<Error>>(
        &self,
        mut fresh: impl FnMut() -> Result<Net, E>,
        compile: &CompileOptions,
        splits: &Splits,
        config: &FitConfig,
        step: u64,
    ) -> Result<Option<Diagnostic>, E> {
        let mut at = step;
        for reach in [Reach::Forward, Reach::Step] {
            let mut net = fresh()?;
            let before = run_up_to(net.session_mut(), splits, config, at)?;
            let probe = Probe::new(self.elaborated(), compile, reach).map_err(Error::from)?;
            let Some((probe, program)) = probe else { return Ok(None) };
            let counts = counts(program, net.session(), splits, &before)?;
            let count =
                |name: &str| counts.iter().find(|(known, _)| known == name).map(|one| one.1);
            let Some(found) = probe.first(count) else { return Ok(None) };
            if found.is_kept() && reach == Reach::Forward && at > 1 {
                // The update of the step before has made it so.
                at -= 1;
                continue;
            }
            let found = at_run_time::NotANumber {
                step,
                node: found.node,
                elements: found.elements,
                infinite: found.infinite,
                in_update: reach == Reach::Step,
            };
            let inputs = &self.elaborated().program.inputs;
            return Ok(Some(at_run_time::loss_not_a_number(&found, inputs)));
        }
        Ok(None)
    }
}

/// Does the steps of a run before one; where it stands then.
fn run_up_to(
    session: &mut Session,
    splits: &Splits,
    config: &FitConfig,
    step: u64,
) -> Result<RunState, Error> {
    let config = FitConfig { validate: false, log_every: 0, ..*config };
    let report = fit(session, splits, &config, &mut |_, event| {
        let done = match event {
            Event::Start(start) => start.done,
            Event::Step(event) => event.step,
            Event::Log(_) | Event::Epoch(_) => 0,
        };
        if done + 1 >= step { Control::Stop } else { Control::Continue }
    })?;
    Ok(report.run)
}

/// What a probe counts in the step that follows.
fn counts(
    program: LoadedProgram,
    session: &Session,
    splits: &Splits,
    run: &RunState,
) -> Result<Vec<(String, f64)>, Error> {
    let config = BatchConfig {
        n_examples: run.n_examples,
        batch: run.batch,
        seed: u64::from(session.seed()),
        shuffle: run.shuffle,
    };
    let mut batches = Batches::resume(config, run.position).map_err(TrainError::from)?;
    let examples = batches.next_batch().examples;
    let program = Program::load(program).map_err(TrainError::from)?;
    let results = session.run_aside(&program, &splits.train, examples)?;
    let first = |(name, tensor): (String, dlc_train::Tensor)| match tensor.data {
        Data::F32(values) => values.first().map(|&count| (name, f64::from(count))),
        _ => None,
    };
    Ok(results.into_iter().filter_map(first).collect())
}
