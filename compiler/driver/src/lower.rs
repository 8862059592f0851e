//! From a frozen graph to machine code.

use crate::backend::Target;
use crate::error::DriverError;
use dlc_abi::LoadedProgram;
use dlc_codegen::JitCode;
use dlc_ir::graph::Graph;
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::Program;
use dlc_passes::vectorize::VectorProgram;
use dlc_passes::{collapse, fuse, memory_plan, relayout, schedule, shard_sums, vectorize};
use std::sync::Arc;

/// A program ready to be loaded by a runtime, with its code for statistics.
#[derive(Debug)]
pub struct Compiled {
    /// What the runtime takes.
    pub program: LoadedProgram,
    /// The code.
    pub code: Arc<JitCode>,
}

/// Cuts a frozen graph into scheduled phases over placed buffers.
pub fn to_tile(graph: &Graph, max_batch: i64, target: &TargetDesc) -> Result<Program, DriverError> {
    to_tile_with(graph, max_batch, target, |program| program)
}

/// Does the same, with the schedules changed before memory is planned: no schedule changes a bit, which tests make use of.
pub fn to_tile_with(
    graph: &Graph,
    max_batch: i64,
    target: &TargetDesc,
    reschedule: impl FnOnce(Program) -> Program,
) -> Result<Program, DriverError> {
    let program = fuse::run(graph, max_batch)?;
    let program = relayout::run(program, target);
    let program = collapse::run(program);
    let program = shard_sums::run(program, target);
    let program = reschedule(schedule::run(program, target));
    Ok(memory_plan::run(program))
}

/// Vectorises a frozen graph for a target.
pub fn to_vector(
    graph: &Graph,
    max_batch: i64,
    target: &TargetDesc,
) -> Result<VectorProgram, DriverError> {
    Ok(vectorize::run(&to_tile(graph, max_batch, target)?, target)?)
}

/// Compiles a frozen graph into executable memory.
pub fn compile(graph: &Graph, max_batch: i64, target: Target) -> Result<Compiled, DriverError> {
    let backend = target.backend()?;
    let vector = to_vector(graph, max_batch, &backend.target())?;
    let manifest = Arc::new(vector.manifest);
    let (program, code) =
        dlc_codegen::load(&vector.module, manifest, vector.updates, backend.as_ref())?;
    Ok(Compiled { program, code })
}
