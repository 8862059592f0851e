//! Training steps of a model in one place or another, and a hash of what they leave behind.

use crate::everywhere::{Leaves, without_fma};
use crate::machine::Loaded;
use crate::vector::{self, Emulated};
use dlc_abi::{Dim, ElemType};
use dlc_codegen::Backend;
use dlc_driver::model::ModelGraphs;
use dlc_driver::{Target, lower};
use dlc_exec::{Gang, Placement};
use dlc_harness::reference;
use dlc_harness::rng::Rng;
use dlc_ir::graph::{self, Data, Graph, InputRole, Op, Outputs, Tensor};
use dlc_passes::vectorize::VectorProgram;
use std::fmt;
use std::sync::Arc;

/// Where steps are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The interpreter of frozen graphs.
    Interpreter,
    /// Machine code of a target on this machine, with a number of threads.
    Native(Target, usize),
    /// Machine code for processors without fused multiply-add on this machine, with a number of threads.
    WithoutFma(usize),
    /// Machine code of a target's kernels in the emulator, with a number of parts.
    Emulated(Target, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Interpreter => write!(f, "interpreter"),
            Place::Native(target, threads) => write!(f, "{}, {threads} threads", target.name()),
            Place::WithoutFma(threads) => write!(f, "v128 without fma, {threads} threads"),
            Place::Emulated(target, parts) => {
                write!(f, "{} emulated, {parts} parts", target.name())
            }
        }
    }
}

/// How a model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Seed of the first values and of the examples.
    pub seed: i32,
    /// Examples in each batch.
    pub batch: i64,
    /// Planned number of steps, for schedules.
    pub steps: i32,
}

/// A program ready to run in one place.
enum Runner<'a> {
    Interpreter(&'a Graph),
    Native(Loaded, Gang),
    Emulated(Box<VectorProgram>, Emulated, usize),
}

impl Runner<'_> {
    fn new(graph: &Graph, max_batch: i64, place: Place) -> Result<Runner<'_>, String> {
        let vector = |backend: &dyn Backend| -> Result<VectorProgram, String> {
            lower::to_vector(graph, max_batch, &backend.target()).map_err(|error| error.to_string())
        };
        let native = |backend: &dyn Backend, threads: usize| {
            let vector = vector(backend)?;
            let manifest = Arc::new(vector.manifest);
            let (program, _) = dlc_codegen::load(&vector.module, manifest, vector.updates, backend)
                .map_err(|error| error.to_string())?;
            let gang = Gang::new(threads).map_err(|error| error.to_string())?;
            Ok(Runner::Native(Loaded::new(program)?, gang))
        };
        let backend = |target: Target| target.backend().map_err(|error| error.to_string());
        match place {
            Place::Interpreter => Ok(Runner::Interpreter(graph)),
            Place::Native(target, threads) => native(backend(target)?.as_ref(), threads),
            Place::WithoutFma(threads) => {
                native(&without_fma().map_err(|error| error.to_string())?, threads)
            }
            Place::Emulated(target, parts) => {
                let backend = backend(target)?;
                let vector = vector(backend.as_ref())?;
                let kernels = Emulated::new(&vector.module, backend.as_ref())?;
                Ok(Runner::Emulated(Box::new(vector), kernels, parts))
            }
        }
    }

    fn run(&mut self, leaves: &Leaves, batch: i64) -> Result<Outputs, String> {
        match self {
            Runner::Interpreter(graph) => {
                graph::interpret(graph, leaves, batch).map_err(|error| error.to_string())
            }
            Runner::Native(loaded, gang) => loaded.run(gang, Placement::Heap, leaves, batch),
            Runner::Emulated(program, kernels, parts) => {
                vector::run(program, Some(kernels), leaves, batch, *parts, 1)
            }
        }
    }
}

/// Trains a model in a place for `marks.last()` steps, and gives the hash of its parameters after each of the ascending `marks`, where 0
/// is after the first values were drawn.
///
/// # Errors
/// When something on the way fails.
pub fn hashes(
    graphs: &ModelGraphs,
    plan: Plan,
    marks: &[i32],
    place: Place,
) -> Result<Vec<u128>, String> {
    let train = graphs.train.as_ref().ok_or("the model has no training")?;
    let scalar = |value: i32| Tensor::i32(&[], vec![value]);
    let mut leaves = Leaves::new();
    leaves.insert("seed".to_owned(), scalar(plan.seed));
    leaves.insert("steps".to_owned(), scalar(plan.steps));
    leaves.insert("step".to_owned(), scalar(0));
    for (name, elem, shape) in
        leaves_of(&graphs.init, InputRole::Param).chain(leaves_of(&graphs.init, InputRole::State))
    {
        // Every one of them is assigned; what it holds before must not matter.
        let shape: Vec<i64> = shape.iter().map(|dim| dim.at(1)).collect();
        let count = shape.iter().product::<i64>() as usize;
        let before = match elem {
            ElemType::F32 => Data::F32(vec![f32::NAN; count]),
            ElemType::I32 => Data::I32(vec![-1; count]),
            other => return Err(format!("`{name}` is of {other:?}")),
        };
        leaves.insert(name.to_owned(), Tensor::new(shape, before));
    }
    let mut found = Vec::new();
    let first = Runner::new(&graphs.init, 1, place)?.run(&leaves, 1)?;
    leaves.extend(first.assigns);
    let mut runner = Runner::new(train, plan.batch, place)?;
    let mut rng = Rng::new(plan.seed as u64);
    let last = marks.last().copied().unwrap_or(0);
    for step in 0..=last {
        if step > 0 {
            leaves.insert("step".to_owned(), scalar(step));
            examples(&mut rng, train, plan.batch, &mut leaves);
            leaves.extend(runner.run(&leaves, plan.batch)?.assigns);
        }
        if marks.contains(&step) {
            found.push(hash(train, &leaves));
        }
    }
    Ok(found)
}

/// Leaves of a role, in order.
pub(crate) fn leaves_of(
    graph: &Graph,
    wanted: InputRole,
) -> impl Iterator<Item = (&str, ElemType, &[Dim])> {
    graph.nodes.values().filter_map(move |node| match &node.op {
        Op::Input { name, role } if *role == wanted => {
            Some((name.as_str(), node.elem, &node.shape[..]))
        }
        _ => None,
    })
}

/// Draws a batch: floats in [0, 1) with 24 bits, whole numbers below 10.
pub(crate) fn examples(rng: &mut Rng, graph: &Graph, batch: i64, leaves: &mut Leaves) {
    for (name, elem, shape) in leaves_of(graph, InputRole::Data) {
        if ["seed", "step", "steps"].contains(&name) {
            continue;
        }
        let shape: Vec<i64> = shape.iter().map(|dim| dim.at(batch)).collect();
        let count = shape.iter().product::<i64>() as usize;
        let data = match elem {
            ElemType::I32 => Data::I32(reference::labels(rng, count)),
            _ => Data::F32(reference::floats(rng, count)),
        };
        leaves.insert(name.to_owned(), Tensor::new(shape, data));
    }
}

/// The hash of all parameters and states of f32, in the order in which the training graph reads them.
pub(crate) fn hash(graph: &Graph, leaves: &Leaves) -> u128 {
    let persistent = leaves_of(graph, InputRole::Param).chain(leaves_of(graph, InputRole::State));
    reference::hash(persistent.filter_map(|(name, _, _)| match &leaves[name].data {
        Data::F32(values) => Some((name, &values[..])),
        _ => None,
    }))
}
