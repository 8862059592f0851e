//! A program with a workspace, its inputs checked and sorted into those that callers give and those that the session fills.

use dlc_abi::{BufferRole, Dim, ElemType, WINDOW_INPUT, Wire};
use dlc_exec::{Gang, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions};
use std::ops::Range;
use std::sync::Arc;

use crate::error::TrainError;
use crate::exchanges::Exchanges;
use crate::micro::MicroBatches;
use crate::ranks::Ranks;
use crate::tensor::{Data, Tensor, TensorRef, Values};

/// Inputs that the session fills by itself where a program has them, all i32 scalars: the number of the step from 1, the
/// planned number of steps, the seed.
pub const RESERVED_INPUTS: [&str; 3] = ["step", "steps", "seed"];

/// An input that a caller gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputDesc {
    /// Its name in the text of the model.
    pub name: String,
    /// Its element type.
    pub elem: ElemType,
    /// Its shape.
    pub shape: Vec<Dim>,
}

/// Values of the inputs that the session fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub step: i32,
    pub steps: i32,
    pub seed: i32,
}

/// A program ready to run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub workspace: Workspace,
    pub inputs: Vec<InputDesc>,
    /// Which of [`RESERVED_INPUTS`] the program has.
    reserved: [bool; 3],
    exchanges: Exchanges,
    /// Those in the middle of the work on a micro-batch.
    inner: Exchanges,
    /// Segments before which exchanges begin or end.
    stops: Vec<usize>,
    micro: Option<MicroBatches>,
}

/// Puts some of a batch's examples into the inputs of a workspace.
pub(crate) type Fill<'a> =
    dyn FnMut(&[InputDesc], &mut Workspace, Range<usize>) -> Result<(), TrainError> + 'a;

/// Fills the inputs that the session fills.
fn set_clock(
    workspace: &mut Workspace,
    reserved: [bool; 3],
    batch: usize,
    clock: Clock,
) -> Result<(), TrainError> {
    let values = [clock.step, clock.steps, clock.seed];
    for ((name, present), value) in RESERVED_INPUTS.iter().zip(reserved).zip(values) {
        if present {
            workspace.set_input(name, batch, &[value])?;
        }
    }
    Ok(())
}

/// Inputs that callers give to a program.
pub(crate) fn data_inputs(program: &Program) -> Vec<InputDesc> {
    let buffers = program.manifest().buffers.iter();
    buffers
        .filter(|desc| {
            desc.role == BufferRole::Input
                && desc.name != WINDOW_INPUT
                && Wire::of_taken(&desc.name).is_none()
                && !RESERVED_INPUTS.contains(&desc.name.as_str())
        })
        .map(|desc| InputDesc {
            name: desc.name.clone(),
            elem: desc.elem,
            shape: desc.shape.clone(),
        })
        .collect()
}

/// Outputs of a program in its order, as inputs are described.
pub(crate) fn outputs(program: &Program) -> Vec<InputDesc> {
    let buffers = program.manifest().buffers.iter();
    buffers
        .filter(|desc| desc.role == BufferRole::Output && Wire::of_given(&desc.name).is_none())
        .map(|desc| InputDesc {
            name: desc.name.clone(),
            elem: desc.elem,
            shape: desc.shape.clone(),
        })
        .collect()
}

impl Prepared {
    pub fn new(
        program: &Program,
        layout: &Arc<MemoryLayout>,
        threads: usize,
        ranks: Option<&Ranks>,
    ) -> Result<Self, TrainError> {
        let options = WorkspaceOptions { parts: threads, ..WorkspaceOptions::default() };
        let workspace = Workspace::new(program, layout, options)?;
        let manifest = program.manifest();
        let mut reserved = [false; 3];
        for (name, found) in RESERVED_INPUTS.iter().zip(&mut reserved) {
            let desc = manifest
                .buffers
                .iter()
                .find(|desc| desc.role == BufferRole::Input && desc.name == *name);
            if let Some(desc) = desc {
                if desc.elem != ElemType::I32 || !desc.shape.is_empty() {
                    return Err(TrainError::Contract {
                        program: manifest.name.clone(),
                        problem: format!("`{name}` is no i32 scalar"),
                    });
                }
                *found = true;
            }
        }
        let is_part = manifest.window_of.is_some();
        if is_part != ranks.is_some() {
            let problem =
                if is_part { "it is of one of several ranks" } else { "it is of no rank" };
            return Err(TrainError::Contract {
                program: manifest.name.clone(),
                problem: problem.to_owned(),
            });
        }
        let ((inner, exchanges), micro) = match ranks {
            Some(ranks) => {
                let micro = MicroBatches::of(program, layout, options, ranks)?;
                let end = micro.as_ref().map_or(0, MicroBatches::end);
                (Exchanges::of(manifest, ranks, end)?, micro)
            }
            None => (Default::default(), None),
        };
        let inputs = data_inputs(program);
        let stops = exchanges.stops();
        Ok(Prepared { workspace, inputs, reserved, exchanges, inner, stops, micro })
    }

    pub fn max_batch(&self) -> usize {
        self.workspace.program().manifest().max_batch as usize
    }

    /// Runs the whole program of a rank on its part of a batch of `batch` examples, and exchanges values with the other ranks.
    pub fn run_part(
        &mut self,
        mut memory: Persistent<'_>,
        batch: usize,
        gang: &Gang,
        clock: Clock,
        ranks: &mut Ranks,
        fill: &mut Fill<'_>,
    ) -> Result<(), TrainError> {
        let Prepared { workspace, inputs, reserved, exchanges, inner, stops, micro } = self;
        let (own, mut next) = match micro {
            None => {
                let piece = ranks.block();
                let examples = piece.examples(batch);
                let own = examples.len();
                fill(inputs, workspace, examples)?;
                set_clock(workspace, *reserved, own, clock)?;
                workspace.set_input(WINDOW_INPUT, own, &ranks.window(batch, piece)?)?;
                (own, 0)
            }
            Some(micro) => {
                let mut fill = |workspace: &mut Workspace, examples: Range<usize>| {
                    set_clock(workspace, *reserved, examples.len(), clock)?;
                    fill(inputs, workspace, examples)
                };
                micro.run(workspace, &mut memory, batch, gang, ranks, inner, &mut fill)?;
                (micro.examples_of_main(batch, ranks), micro.end())
            }
        };
        for &stop in &*stops {
            // Segment by segment, so that what is under way moves along between any two.
            while next < stop {
                workspace.run(memory.again(), own, gang, next..next + 1)?;
                next += 1;
                if next < stop {
                    ranks.progress()?;
                }
            }
            exchanges.stop_before(stop, workspace, own, ranks)?;
        }
        let end = workspace.program().all_segments().end;
        workspace.run(memory, own, gang, next..end)?;
        ranks.agree()
    }

    fn name(&self) -> String {
        self.workspace.program().manifest().name.clone()
    }

    /// Runs the whole program. Allocates nothing.
    pub fn run(
        &mut self,
        memory: Persistent<'_>,
        batch: usize,
        gang: &Gang,
        clock: Clock,
    ) -> Result<(), TrainError> {
        set_clock(&mut self.workspace, self.reserved, batch, clock)?;
        let segments = self.workspace.program().all_segments();
        self.workspace.run(memory, batch, gang, segments)?;
        Ok(())
    }

    /// Checks named inputs against the program and tells how many examples they hold; 1 when none depends on the batch.
    /// Allocates nothing when it succeeds.
    pub fn batch_of(&self, given: &[(&str, TensorRef<'_>)]) -> Result<usize, TrainError> {
        for (name, _) in given {
            if !self.inputs.iter().any(|input| input.name == *name) {
                return Err(TrainError::UnknownInput {
                    program: self.name(),
                    name: (*name).to_owned(),
                    known: self.inputs.iter().map(|input| input.name.clone()).collect(),
                });
            }
        }
        let mut batch: Option<(usize, &str)> = None;
        for input in &self.inputs {
            let tensor = self.find(given, &input.name)?;
            let Some(found) = examples_of(input, tensor)? else { continue };
            match batch {
                Some((expected, first)) if expected != found => {
                    return Err(TrainError::BatchMismatch {
                        first: first.to_owned(),
                        expected,
                        name: input.name.clone(),
                        found,
                    });
                }
                _ => batch = Some((found, &input.name)),
            }
        }
        Ok(batch.map_or(1, |(batch, _)| batch))
    }

    /// Copies examples `start..start + batch` of the inputs, of which there are `total`, into the workspace. The inputs were
    /// checked by [`Prepared::batch_of`].
    pub fn set_inputs(
        &mut self,
        given: &[(&str, TensorRef<'_>)],
        total: usize,
        start: usize,
        batch: usize,
    ) -> Result<(), TrainError> {
        if batch > self.max_batch() {
            let max_batch = self.max_batch() as i64;
            return Err(
                dlc_exec::StepError::Batch { program: self.name(), batch, max_batch }.into()
            );
        }
        for index in 0..self.inputs.len() {
            let tensor = self.find(given, &self.inputs[index].name)?;
            let input = &self.inputs[index];
            let values = if grows(&input.shape) && (start, batch) != (0, total) {
                let row = tensor.values.len() / total.max(1);
                tensor.values.slice(start * row, (start + batch) * row)
            } else {
                tensor.values
            };
            match values {
                Values::F32(values) => self.workspace.set_input(&input.name, batch, values)?,
                Values::F64(values) => self.workspace.set_input(&input.name, batch, values)?,
                Values::I32(values) => self.workspace.set_input(&input.name, batch, values)?,
                Values::I64(values) => self.workspace.set_input(&input.name, batch, values)?,
                Values::U8(values) => self.workspace.set_input(&input.name, batch, values)?,
            }
        }
        Ok(())
    }

    fn find<'g, 't>(
        &self,
        given: &'g [(&str, TensorRef<'t>)],
        name: &str,
    ) -> Result<&'g TensorRef<'t>, TrainError> {
        let found = given.iter().find(|(given, _)| *given == name);
        found
            .map(|(_, tensor)| tensor)
            .ok_or_else(|| TrainError::MissingInput { program: self.name(), name: name.to_owned() })
    }

    /// Why examples cannot be cut into several batches, if so: the inputs and outputs whose rows are not their examples.
    pub fn not_by_rows(&self) -> Option<String> {
        let outputs = outputs(self.workspace.program());
        let by_rows = |desc: &&InputDesc| !grows_by_rows(&desc.shape);
        let input = self.inputs.iter().find(|desc| grows(&desc.shape) && by_rows(desc));
        input.or(outputs.iter().find(by_rows)).map(|desc| desc.name.clone())
    }

    /// A copy of an output.
    pub fn output(&self, desc: &InputDesc, batch: usize) -> Result<Tensor, TrainError> {
        let shape = desc.shape.iter().map(|dim| dim.at(batch as i64) as usize).collect();
        let (workspace, name) = (&self.workspace, &desc.name);
        let data = match desc.elem {
            ElemType::F32 => Data::F32(workspace.output::<f32>(name, batch)?.to_vec()),
            ElemType::F64 => Data::F64(workspace.output::<f64>(name, batch)?.to_vec()),
            ElemType::I32 => Data::I32(workspace.output::<i32>(name, batch)?.to_vec()),
            ElemType::I64 => Data::I64(workspace.output::<i64>(name, batch)?.to_vec()),
            ElemType::U8 | ElemType::Bool => {
                Data::U8(workspace.output::<u8>(name, batch)?.to_vec())
            }
            ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
                return Err(TrainError::Contract {
                    program: self.name(),
                    problem: format!("result `{name}` has a storage type"),
                });
            }
        };
        Ok(Tensor { shape, data })
    }
}

fn grows(shape: &[Dim]) -> bool {
    shape.iter().any(|dim| dim.batch_factor != 0)
}

/// Whether the first axis, and it alone, counts examples, so that rows of several batches can stand one after the other.
fn grows_by_rows(shape: &[Dim]) -> bool {
    match shape.split_first() {
        Some((first, rest)) => first.batch_factor > 0 && first.constant == 0 && !grows(rest),
        None => false,
    }
}

/// How many examples a tensor holds for an input; `None` when the input does not depend on the batch.
fn examples_of(input: &InputDesc, tensor: &TensorRef<'_>) -> Result<Option<usize>, TrainError> {
    let mismatch = || TrainError::Input {
        name: input.name.clone(),
        elem: input.elem,
        shape: input.shape.clone(),
        found_elem: tensor.values.elem(),
        found_shape: tensor.shape.to_vec(),
    };
    // Truth values lie in memory as bytes 0 and 1.
    let same_elem = tensor.values.elem() == input.elem
        || (tensor.values.elem() == ElemType::U8 && input.elem == ElemType::Bool);
    if !same_elem || tensor.shape.len() != input.shape.len() {
        return Err(mismatch());
    }
    let mut batch = None;
    for (dim, &extent) in input.shape.iter().zip(tensor.shape) {
        let extent = i64::try_from(extent).map_err(|_| mismatch())?;
        if dim.batch_factor > 0 && batch.is_none() {
            batch = Some((extent - dim.constant).div_euclid(dim.batch_factor));
        }
        if dim.at(batch.unwrap_or(0)) != extent {
            return Err(mismatch());
        }
    }
    let expected = tensor.shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent));
    if expected != Some(tensor.values.len()) {
        return Err(TrainError::InputLength {
            name: input.name.clone(),
            shape: tensor.shape.to_vec(),
            expected: expected.unwrap_or(usize::MAX),
            found: tensor.values.len(),
        });
    }
    match batch {
        None => Ok(None),
        Some(batch) => usize::try_from(batch).map(Some).map_err(|_| mismatch()),
    }
}
