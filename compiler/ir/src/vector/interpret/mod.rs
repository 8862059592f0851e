//! Runs vector IR on checked memory, statement by statement.
//!
//! Kernels and phases are called with their arguments, segments with a context in memory laid out as
//! [`dlc_abi::StepContext`]. A segment's parts run one after another from barrier to barrier, in an order drawn from a
//! seed, so that an answer which depends on the order shows; with [`SegmentOptions::check_races`] a byte that one
//! part writes and another reads or writes without a barrier between is an error, whether or not it changed the answer.
//!
//! Kernels can be handed to a [`KernelRunner`], which puts compiled or emulated machine code in the interpreter's place.

mod code;
mod lanes;
mod run;

use dlc_abi::StepContext;

use self::code::{Code, Frame, Step, flatten, nth_statement};
use self::run::{Stop, run};
use super::data::*;
use super::memory::{Memory, RegionId};
use super::print::statement_text;
use super::verify::{VerifyError, verify};
use crate::entity::IndexVec;

pub use self::run::Fault;

/// A run that had to stop.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{function}: {fault} in `{statement}`")]
pub struct InterpretError {
    /// Name of the function.
    pub function: String,
    /// The statement's first line, with values numbered as in the function's data.
    pub statement: String,
    /// What happened.
    pub fault: Fault,
}

/// Runs kernels in the interpreter's place.
pub trait KernelRunner {
    /// Runs one call of a kernel of the module.
    ///
    /// # Errors
    /// A message for the reader, if the kernel could not be run.
    fn run(
        &mut self,
        module: &Module,
        func: FuncId,
        args: &[i64],
        memory: &mut Memory,
    ) -> Result<(), String>;
}

/// How a segment is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Number of parts, at least 1 and at most 65,000.
    pub parts: usize,
    /// Decides the order in which parts run between barriers.
    pub seed: u64,
    /// Whether accesses of different parts to one byte are checked. Kernels then run in the interpreter even if there
    /// is a [`KernelRunner`], whose accesses cannot be seen.
    pub check_races: bool,
}

/// Runs functions of one module.
pub struct Interpreter<'m> {
    module: &'m Module,
    code: IndexVec<FuncId, Code>,
    /// Registers of each function. Calls do not recurse, so one set is enough.
    frames: IndexVec<FuncId, Frame>,
    runner: Option<&'m mut dyn KernelRunner>,
}

impl<'m> Interpreter<'m> {
    /// Prepares a module.
    ///
    /// # Errors
    /// The module's broken laws; a run relies on them.
    pub fn new(module: &'m Module) -> Result<Self, Vec<VerifyError>> {
        verify(module)?;
        let code: IndexVec<FuncId, Code> = module.functions.values().map(flatten).collect();
        let frames = code.values().map(|code| code.frame.clone()).collect();
        Ok(Interpreter { module, code, frames, runner: None })
    }

    /// From now on kernels are run by `runner`.
    pub fn with_runner(mut self, runner: &'m mut dyn KernelRunner) -> Self {
        self.runner = Some(runner);
        self
    }

    /// Runs a kernel or a phase.
    ///
    /// # Errors
    /// The first forbidden operation.
    ///
    /// # Panics
    /// If the function is a segment, or the number of arguments is wrong.
    pub fn run(
        &mut self,
        func: FuncId,
        args: &[i64],
        memory: &mut Memory,
    ) -> Result<(), InterpretError> {
        let function = &self.module.functions[func];
        assert_ne!(function.kind, FunctionKind::Segment, "a segment is run in parts");
        assert_eq!(function.params.len(), args.len(), "one argument for each parameter");
        self.call(func, args, memory, true)
    }

    /// Runs all parts of a segment and returns its status, one of the `STATUS_` values of [`dlc_abi`].
    ///
    /// # Errors
    /// The first forbidden operation or race.
    ///
    /// # Panics
    /// If the function is not a segment or there are no parts.
    pub fn run_segment(
        &mut self,
        func: FuncId,
        context: i64,
        memory: &mut Memory,
        options: SegmentOptions,
    ) -> Result<i32, InterpretError> {
        let kind = self.module.functions[func].kind;
        assert_eq!(kind, FunctionKind::Segment, "only segments have parts");
        assert!((1..=65_000).contains(&options.parts), "between 1 and 65,000 parts");
        if options.check_races {
            memory.start_race_check();
        }
        let result = self.segment(func, context, memory, options);
        memory.end_race_check();
        result?;
        let status = status(context, memory);
        status.map_err(|fault| self.error(func, 0, fault))
    }

    fn segment(
        &mut self,
        func: FuncId,
        context: i64,
        memory: &mut Memory,
        options: SegmentOptions,
    ) -> Result<(), InterpretError> {
        let code = &self.code[func];
        let mut frames = vec![code.frame.clone(); options.parts];
        for (part, frame) in frames.iter_mut().enumerate() {
            let args = [context, part as i64, options.parts as i64];
            for (&slot, arg) in code.params.iter().zip(args) {
                frame.ints[slot] = arg;
            }
        }
        let mut order: Vec<usize> = (0..options.parts).collect();
        let mut random = options.seed;
        let mut at = 0;
        loop {
            shuffle(&mut order, &mut random);
            let mut stop = Stop::End;
            for &part in &order {
                memory.set_part(part);
                let mut frame = std::mem::take(&mut frames[part]);
                let result = self.stretch(func, &mut frame, memory, at, !options.check_races);
                frames[part] = frame;
                // Barriers stand under no condition, so all parts stop at the same one.
                stop = result?;
            }
            memory.pass_barrier();
            match stop {
                Stop::Barrier(next) => at = next,
                Stop::End | Stop::Call(_) => return Ok(()),
            }
        }
    }

    /// Calls a function with its own registers.
    fn call(
        &mut self,
        func: FuncId,
        args: &[i64],
        memory: &mut Memory,
        use_runner: bool,
    ) -> Result<(), InterpretError> {
        let is_kernel = self.module.functions[func].kind == FunctionKind::Kernel;
        if let (true, true, Some(runner)) = (is_kernel, use_runner, &mut self.runner) {
            let result = runner.run(self.module, func, args, memory);
            return result.map_err(|message| self.error(func, 0, Fault::Runner(message)));
        }
        let mut frame = std::mem::take(&mut self.frames[func]);
        for (&slot, &arg) in self.code[func].params.iter().zip(args) {
            frame.ints[slot] = arg;
        }
        let result = self.stretch(func, &mut frame, memory, 0, use_runner);
        self.frames[func] = frame;
        result.map(|_| ())
    }

    /// Runs to the next barrier or the end, through all calls.
    fn stretch(
        &mut self,
        func: FuncId,
        frame: &mut Frame,
        memory: &mut Memory,
        start: usize,
        use_runner: bool,
    ) -> Result<Stop, InterpretError> {
        let mut at = start;
        loop {
            let stop = run(&self.code[func], frame, memory, at);
            match stop.map_err(|(at, fault)| self.error(func, at, fault))? {
                Stop::Call(after) => {
                    at = after;
                    let Step::Call { func: callee, args } = &self.code[func].steps[after - 1]
                    else {
                        unreachable!("a run stops for calls after a call")
                    };
                    let args: Vec<i64> = args.iter().map(|&slot| frame.ints[slot]).collect();
                    self.call(*callee, &args, memory, use_runner)?;
                }
                stop @ (Stop::End | Stop::Barrier(_)) => return Ok(stop),
            }
        }
    }

    fn error(&self, func: FuncId, at: usize, fault: Fault) -> InterpretError {
        let function = &self.module.functions[func];
        let number = self.code[func].statements.get(at).copied();
        let stmt = number.and_then(|mut number| nth_statement(&function.body, &mut number));
        let statement = stmt.map(|stmt| statement_text(self.module, function, &stmt));
        InterpretError {
            function: function.name.clone(),
            statement: statement.unwrap_or_default(),
            fault,
        }
    }
}

/// The status that a finished segment returns: what was noted in the context's error slot.
fn status(context: i64, memory: &mut Memory) -> Result<i32, Fault> {
    let slot = memory.read_i64(context + i64::from(StepContext::OFFSET_ERROR))?;
    // The status is the first field.
    Ok(memory.read_i64(slot)? as i32)
}

/// A random order (Fisher and Yates), drawn from splitmix64.
fn shuffle(order: &mut [usize], state: &mut u64) {
    for i in (1..order.len()).rev() {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        order.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
    }
}

/// A context in interpreted memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextRegions {
    /// Address of the context, the first argument of a segment.
    pub context: i64,
    /// The table of buffer addresses.
    pub buffers: RegionId,
    /// Scratch of all parts.
    pub scratch: RegionId,
    /// The error slot, all zero.
    pub error: RegionId,
}

/// Lays a context out in memory as [`StepContext`] says, with a table of buffers, scratch and an error slot of its own.
/// The barrier is left zero: the interpreter keeps the parts apart itself.
pub fn lay_out_context(
    memory: &mut Memory,
    buffers: &[i64],
    batch: i64,
    scratch_bytes: usize,
    parts: usize,
) -> ContextRegions {
    let table: Vec<u8> = buffers.iter().flat_map(|address| address.to_le_bytes()).collect();
    let buffers = memory.add("buffer table", &table);
    let scratch = memory.add_zeros("scratch", scratch_bytes * parts);
    let error = memory.add_zeros("error slot", size_of::<dlc_abi::ErrorSlot>());
    memory.allow_races(error);
    let mut bytes = vec![0; size_of::<StepContext>()];
    let mut put = |offset: i32, value: i64| {
        bytes[offset as usize..offset as usize + 8].copy_from_slice(&value.to_le_bytes());
    };
    put(StepContext::OFFSET_BUFFERS, memory.base(buffers));
    put(StepContext::OFFSET_BATCH, batch);
    put(StepContext::OFFSET_SCRATCH, memory.base(scratch));
    put(StepContext::OFFSET_SCRATCH_STRIDE, scratch_bytes as i64);
    put(StepContext::OFFSET_ERROR, memory.base(error));
    let context = memory.add("context", &bytes);
    ContextRegions { context: memory.base(context), buffers, scratch, error }
}

#[cfg(test)]
mod tests;
