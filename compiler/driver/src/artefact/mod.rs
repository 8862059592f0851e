//! Artefacts made ahead of time: a static library with its C header and Rust module, which need no runtime.
//!
//! [`plan`] lays out the caller's memory and puts the programs into one module; `header` and `rust` write the texts;
//! `dlc_codegen::object` makes the code. Nothing here touches a file.

mod archive;
mod cpu;
mod header;
mod names;
mod plan;
mod rust;
mod texts;

use crate::error::DriverError;
use crate::model::{Elaborated, Failure, ModelGraphs, batch_of};
use dlc_codegen::compile_object;

pub use cpu::{Cpu, check_system};
pub use plan::{FirstState, Plan};
pub use texts::{Text, text};

/// What an artefact is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtefactOptions {
    /// The most examples in a batch; by default what the text says.
    pub batch: Option<usize>,
    /// For which processors; it decides the numerics class.
    pub cpu: Cpu,
    /// With the programs of training: first values, training step, evaluation.
    pub train: bool,
    /// Put the first state into the object file.
    pub embed: bool,
}

/// A compiled artefact, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// What its files and symbols begin with.
    pub name: String,
    /// The relocatable object file.
    pub object: Vec<u8>,
    /// The object file in a static library.
    pub archive: Vec<u8>,
    /// The C header.
    pub header: String,
    /// The Rust module.
    pub rust: String,
}

/// Compiles an artefact from the model's graphs, frozen in the class of its processors. `first` holds the weights that go with it,
/// and first values of the optimizer's state.
///
/// # Errors
/// When the batch is out of range, the model cannot be trained though that was asked for, or something below fails.
pub fn compile(
    elaborated: &Elaborated,
    graphs: &ModelGraphs,
    options: &ArtefactOptions,
    first: &FirstState<'_>,
) -> Result<Artefact, Failure> {
    let plan = plan(elaborated, graphs, options, first)?;
    let backend = options.cpu.backend()?;
    let object =
        compile_object(&plan.module, &plan.interface, options.cpu.level(), backend.as_ref())
            .map_err(DriverError::from)?;
    let name = plan.interface.prefix.clone();
    let archive = archive::archive(&format!("{name}.o"), &object)?;
    let (header, rust) = (header::text(&plan), rust::text(&plan));
    Ok(Artefact { name, object, archive, header, rust })
}

/// Everything about an artefact but its machine code.
///
/// # Errors
/// As [`compile`].
pub fn plan(
    elaborated: &Elaborated,
    graphs: &ModelGraphs,
    options: &ArtefactOptions,
    first: &FirstState<'_>,
) -> Result<Plan, Failure> {
    let batch = batch_of(elaborated, options.batch)?;
    if options.train && graphs.train.is_none() {
        let model = elaborated.program.name.clone();
        return Err(DriverError::NotTrained { model }.into());
    }
    let target = options.cpu.backend()?.target();
    Ok(Plan::new(&elaborated.program.name, graphs, batch, &target, options, first)?)
}
