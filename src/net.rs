//! A network in memory.

use dlc_data::{Dataset, Splits};
use dlc_driver::JitStats;
use dlc_driver::model::{Flops, Timings};
use dlc_train::{
    Control, Event, FitConfig, FitReport, Report, RunState, Session, StepResult, TensorRef, fit,
};
use std::path::Path;

use crate::error::Error;
use crate::view::{Array, Results, View};

/// Inputs on the stack up to this number, so that a step allocates nothing.
const FEW_INPUTS: usize = 8;

/// A compiled network with its parameters and threads.
#[derive(Debug)]
pub struct Net {
    session: Session,
    batch: usize,
    flops: Flops,
    timings: Timings,
    code: Vec<JitStats>,
}

impl Net {
    pub(crate) fn new(
        session: Session,
        batch: usize,
        flops: Flops,
        timings: Timings,
        code: Vec<JitStats>,
    ) -> Self {
        Net { session, batch, flops, timings, code }
    }

    /// Trains on one batch, given by name: the model's inputs and those of its `train` block. Returns the mean loss of the
    /// batch before the update.
    ///
    /// # Errors
    /// When an input is missing or of another type or shape, the batch is too large, or a label is out of range.
    pub fn train_step(&mut self, inputs: &[(&str, View<'_>)]) -> Result<f32, Error> {
        Ok(self.train_step_full(inputs)?.loss)
    }

    /// As [`Net::train_step`]; also tells the learning rate.
    ///
    /// # Errors
    /// As [`Net::train_step`].
    pub fn train_step_full(&mut self, inputs: &[(&str, View<'_>)]) -> Result<StepResult, Error> {
        with_tensors(inputs, |tensors| Ok(self.session.train_step(tensors)?))
    }

    /// The model's results for any number of examples. May be called from many threads at once.
    ///
    /// # Errors
    /// When an input is missing or of another type or shape.
    pub fn predict(&self, inputs: &[(&str, View<'_>)]) -> Result<Results, Error> {
        with_tensors(inputs, |tensors| Ok(Results::new(self.session.predict(tensors)?)))
    }

    /// The mean loss and the metrics of a data set.
    ///
    /// # Errors
    /// When the data do not fit the model, or it has no `train` block.
    pub fn evaluate(&mut self, dataset: &Dataset) -> Result<Report, Error> {
        Ok(self.session.evaluate(dataset, self.batch)?)
    }

    /// Trains on a data set; the observer sees every step and may stop the run. See [`dlc_train::fit`].
    ///
    /// # Errors
    /// When the data do not fit the model, it has no `train` block, or a step fails.
    pub fn fit(
        &mut self,
        splits: &Splits,
        config: &FitConfig,
        observer: &mut dyn FnMut(&Session, Event<'_>) -> Control,
    ) -> Result<FitReport, Error> {
        Ok(fit(&mut self.session, splits, config, observer)?)
    }

    /// Draws all parameters anew.
    ///
    /// # Errors
    /// When the program does not run.
    pub fn init(&mut self, seed: u32) -> Result<(), Error> {
        Ok(self.session.init(seed)?)
    }

    /// Names and shapes of all weights, in the order of the text.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.session.weights().map(|entry| (entry.name.as_str(), &entry.shape[..]))
    }

    /// A weight by name, such as `dense_1.w`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn weight(&self, name: &str) -> Result<Array, Error> {
        Ok(self.session.weight(name)?.into())
    }

    /// Sets a weight by name.
    ///
    /// # Errors
    /// When there is none of that name, or its type or shape differs.
    pub fn set_weight(&mut self, name: &str, value: View<'_>) -> Result<(), Error> {
        Ok(self.session.set_weight(name, value.tensor())?)
    }

    /// Writes all weights to a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.session.save_weights(path.as_ref())?)
    }

    /// Reads all weights from a safetensors file.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or is for another model; nothing is changed then.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.session.load_weights(path.as_ref())?)
    }

    /// Writes everything that a run needs to go on as if it had not stopped.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_checkpoint(&self, path: impl AsRef<Path>, run: &RunState) -> Result<(), Error> {
        Ok(self.session.save_checkpoint(path.as_ref(), run)?)
    }

    /// Goes back to a checkpoint of the same model.
    ///
    /// # Errors
    /// When it cannot be read, is torn, or was made by another program.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<RunState, Error> {
        Ok(self.session.load_checkpoint(path.as_ref())?)
    }

    /// The most examples in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Floating-point operations of a whole batch.
    pub fn flops(&self) -> Flops {
        self.flops
    }

    /// What compiling took.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// Sizes of the machine code of each program.
    pub fn code(&self) -> &[JitStats] {
        &self.code
    }

    /// The layer below: programs, buffers, threads.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// As [`Net::session`], to be changed: steps on plain slices, without views.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// Views as the runtime takes them.
fn with_tensors<R>(
    inputs: &[(&str, View<'_>)],
    run: impl FnOnce(&[(&str, TensorRef<'_>)]) -> R,
) -> R {
    if inputs.len() > FEW_INPUTS {
        let tensors: Vec<_> = inputs.iter().map(|(name, view)| (*name, view.tensor())).collect();
        return run(&tensors);
    }
    let mut tensors = [("", TensorRef::f32(&[], &[])); FEW_INPUTS];
    for (tensor, (name, view)) in tensors.iter_mut().zip(inputs) {
        *tensor = (*name, view.tensor());
    }
    run(&tensors[..inputs.len()])
}
