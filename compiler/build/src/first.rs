//! First weights: drawn by the model's own initialisers, which run in this process, or read from a file.

use dlc_driver::artefact::FirstState;
use dlc_driver::model::ModelGraphs;
use dlc_driver::{Target, lower};
use dlc_exec::Program;
use dlc_train::{Programs, Session, TrainError, is_weight};

use crate::error::Error;

/// The state that a model has before its first step.
#[derive(Debug)]
pub(crate) struct First {
    weights: Vec<u8>,
    others: Vec<(String, Vec<u8>)>,
}

impl First {
    /// Draws the state from `seed` with the model's frozen graphs, then takes the weights of `file`, if there is one.
    pub(crate) fn of(
        model: &str,
        graphs: &ModelGraphs,
        seed: u32,
        file: Option<&[u8]>,
    ) -> Result<Self, Error> {
        // Values do not depend on the batch nor on the instructions, so the smallest batch and this machine's will do.
        let load = |graph| -> Result<Program, Error> {
            let compiled = lower::compile(graph, 1, Target::best())?;
            Ok(Program::load(compiled.program).map_err(TrainError::from)?)
        };
        let programs = Programs {
            model: model.to_owned(),
            fingerprint: graphs.fingerprint(),
            init: load(&graphs.init)?,
            train: None,
            eval: None,
            finish: None,
            predict: load(&graphs.predict)?,
        };
        let mut session = Session::new(programs, 1)?;
        session.init(seed)?;
        if let Some(file) = file {
            session.import_weights(file)?;
        }
        let memory = session.memory();
        let others = memory
            .layout()
            .entries()
            .iter()
            .enumerate()
            .filter(|(_, entry)| !is_weight(entry))
            .filter_map(|(index, entry)| {
                Some((entry.name.clone(), memory.entry_bytes(index)?.to_vec()))
            })
            .collect();
        Ok(First { weights: session.export_weights(), others })
    }

    /// The weights as a file.
    pub(crate) fn weights(&self) -> &[u8] {
        &self.weights
    }

    /// As the compiler takes it.
    pub(crate) fn state(&self) -> FirstState<'_> {
        FirstState { weights: &self.weights, others: self.others.clone() }
    }
}
