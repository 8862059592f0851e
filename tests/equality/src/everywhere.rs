//! A graph through every stage and onto every machine, compared bit by bit with the graph interpreter.

use crate::machine::Loaded;
use crate::schedules;
use crate::vector::{self, Emulated};
use dlc_codegen::object::Level;
use dlc_codegen::{Backend, CodegenError, CraneliftBackend, CraneliftOptions};
use dlc_driver::{Target, lower};
use dlc_exec::{Gang, Placement};
use dlc_ir::graph::{self, Graph, Outputs, Tensor};
use dlc_ir::tile;
use dlc_passes::pass::{PassCx, PassManager, PassOptions};
use dlc_passes::pipeline::TO_FROZEN;
use dlc_passes::vectorize::{self, VectorProgram};
use indexmap::IndexMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Values of leaves for a batch.
pub type Leaves = IndexMap<String, Tensor>;

/// How a graph's code is run for one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The target it is compiled for.
    pub target: Target,
    /// Whether 128-bit code is made for processors without fused multiply-add. They refuse double precision.
    pub lacks_fma: bool,
    /// Whether phases run in the tile interpreter, under its race check.
    pub tile: bool,
    /// Number of parts for which its vector code runs in the interpreter, under its race check; 0 for not at all.
    pub vector_parts: usize,
    /// Whether the machine code of AVX kernels runs in the emulator, whether or not this machine has the instructions.
    pub emulated: bool,
    /// Numbers of threads with which the machine code runs, where this machine runs it.
    pub threads: &'static [usize],
    /// Whether every buffer of the machine code lies between guard pages.
    pub guarded: bool,
    /// Whether graph and vector code are printed and read back. Tile programs always are.
    pub texts: bool,
    /// Seed of schedules drawn at random in place of those that the compiler chooses.
    pub schedules: Option<u64>,
}

impl Check {
    /// Everything that can be checked for a target.
    pub fn full(target: Target) -> Check {
        Check {
            target,
            lacks_fma: false,
            tile: true,
            vector_parts: 3,
            emulated: target != Target::V128,
            threads: &[1, 2, 3, 4],
            guarded: true,
            texts: true,
            schedules: None,
        }
    }
}

/// The first thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Something refused, failed or panicked on the way.
    #[error("{place}: {message}")]
    Failure {
        /// The stage.
        place: String,
        /// What it said.
        message: String,
    },
    /// Other bits than those of the graph interpreter.
    #[error("{place}: element {element} of `{output}` is {found:#x}, expected {expected:#x}")]
    Bits {
        /// The stage.
        place: String,
        /// The result, parameter or state.
        output: String,
        /// The element in row-major order.
        element: usize,
        /// Its bits.
        found: u64,
        /// What the graph interpreter has.
        expected: u64,
    },
}

impl Difference {
    fn failure(place: impl Into<String>, message: impl ToString) -> Difference {
        Difference::Failure { place: place.into(), message: message.to_string() }
    }

    /// Where it happened, without numbers: what two failures of one cause have in common.
    pub fn kind(&self) -> String {
        match self {
            Difference::Failure { place, message } => {
                let words = message.split_whitespace();
                let plain = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
                let first: Vec<&str> = plain.take(6).collect();
                format!("failure in {}: {}", stage(place), first.join(" "))
            }
            Difference::Bits { place, .. } => format!("bits in {}", stage(place)),
        }
    }
}

/// The place without the batch.
fn stage(place: &str) -> &str {
    place.split(" at batch").next().unwrap_or(place)
}

/// Gangs and back ends, made once for many graphs.
pub struct Machines {
    gangs: Vec<Gang>,
    backends: Vec<(Target, Box<dyn Backend>)>,
    without_fma: CraneliftBackend,
}

/// How often what was run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs in the tile interpreter.
    pub tile: usize,
    /// Runs in the vector interpreter.
    pub vector: usize,
    /// Runs in the emulator.
    pub emulated: usize,
    /// Runs as machine code on this machine.
    pub native: usize,
}

impl Counts {
    /// Adds another's counts.
    pub fn add(&mut self, other: Counts) {
        self.tile += other.tile;
        self.vector += other.vector;
        self.emulated += other.emulated;
        self.native += other.native;
    }
}

/// The back end for 128-bit vectors without fused multiply-add, as level x86-64-v2 has it.
///
/// # Errors
/// When Cranelift does not know this machine.
pub fn without_fma() -> Result<CraneliftBackend, CodegenError> {
    let options = CraneliftOptions::for_objects(Level::V2);
    CraneliftBackend::new(CraneliftOptions { position_independent: false, ..options })
}

/// The frozen form of a graph, with every pass verified and idempotent passes run twice.
///
/// # Errors
/// What the pass said.
pub fn frozen(graph: &Graph) -> Result<Graph, Difference> {
    let options = PassOptions { verify: true, ..PassOptions::default() };
    let graph = PassManager::new(options)
        .run(graph.clone(), TO_FROZEN, &PassCx::default())
        .map_err(|error| Difference::failure("passes", error))?;
    graph.verify().map_err(|broken| Difference::failure("passes", &broken[0]))?;
    Ok(graph)
}

impl Machines {
    /// Gangs of one to `threads` threads, and the back ends of all targets.
    ///
    /// # Panics
    /// When threads cannot be had or Cranelift does not know this machine.
    pub fn new(threads: usize) -> Machines {
        let gangs = (1..=threads).map(|n| Gang::new(n).expect("threads can be had")).collect();
        let backends = Target::ALL
            .map(|target| (target, target.backend().expect("Cranelift knows this machine")));
        let without_fma = without_fma().expect("Cranelift knows this machine");
        Machines { gangs, backends: backends.into(), without_fma }
    }

    /// The name and the back end of what a check is about.
    fn machine(&self, check: &Check) -> (&'static str, &dyn Backend) {
        if check.lacks_fma {
            return ("v128 without fma", &self.without_fma);
        }
        let found = self.backends.iter().find(|(known, _)| *known == check.target);
        (check.target.name(), found.expect("there is a back end for every target").1.as_ref())
    }

    /// Compares a graph, frozen or not, with the graph interpreter in the given ways, for each of the batches. `leaves` gives a batch's
    /// values.
    ///
    /// # Errors
    /// The first difference, or the first stage that failed.
    pub fn everywhere(
        &self,
        graph: &Graph,
        max_batch: i64,
        batches: &[i64],
        leaves: &dyn Fn(&Graph, i64) -> Leaves,
        checks: &[Check],
    ) -> Result<Counts, Difference> {
        let result =
            catch_unwind(AssertUnwindSafe(|| self.run(graph, max_batch, batches, leaves, checks)));
        result.unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(Difference::failure("panic", message.unwrap_or_default()))
        })
    }

    fn run(
        &self,
        graph: &Graph,
        max_batch: i64,
        batches: &[i64],
        leaves: &dyn Fn(&Graph, i64) -> Leaves,
        checks: &[Check],
    ) -> Result<Counts, Difference> {
        let graph = if graph.frozen { graph.clone() } else { frozen(graph)? };
        let mut cases = Vec::new();
        for &batch in batches {
            let leaves = leaves(&graph, batch);
            let expected = graph::interpret(&graph, &leaves, batch)
                .map_err(|error| Difference::failure("graph interpreter", error))?;
            cases.push(Case { batch, leaves, expected });
        }
        if checks.iter().any(|check| check.texts) {
            let text = graph.to_string();
            let read = graph::parse(&text)
                .map_err(|error| Difference::failure("graph text", format!("{error}\n{text}")))?;
            if read != graph.clone().without_spans() || read.to_string() != text {
                return Err(Difference::failure("graph text", "it reads back as another graph"));
            }
        }
        let mut counts = Counts::default();
        for check in checks {
            self.check(&graph, max_batch, &cases, check, &mut counts)?;
        }
        Ok(counts)
    }

    fn check(
        &self,
        graph: &Graph,
        max_batch: i64,
        cases: &[Case],
        check: &Check,
        counts: &mut Counts,
    ) -> Result<(), Difference> {
        let (name, backend) = self.machine(check);
        let desc = backend.target();
        let place = format!("{name} tile");
        let reschedule = |program| match check.schedules {
            Some(seed) => schedules::at_random(program, &desc, seed),
            None => program,
        };
        let program = lower::to_tile_with(graph, max_batch, &desc, reschedule)
            .map_err(|error| Difference::failure(&place, error))?;
        program.verify().map_err(|broken| Difference::failure(&place, &broken[0]))?;
        let text = program.to_string();
        let read = tile::parse(&text)
            .map_err(|error| Difference::failure(&place, format!("{error}\n{text}")))?;
        if read != program && read.to_string() != text {
            return Err(Difference::failure(&place, "the text reads back as another program"));
        }
        if check.tile {
            for case in cases {
                let place = format!("{name} tile interpreter at batch {}", case.batch);
                let found = tile::interpret(&program, &case.leaves, case.batch, case.batch as u64)
                    .map_err(|error| Difference::failure(&place, error))?;
                let found = Outputs { results: found.results, assigns: found.leaves };
                case.compare(&place, &found)?;
                counts.tile += 1;
            }
        }
        let vector = vectorize::run(&program, &desc)
            .map_err(|error| Difference::failure(format!("{name} vectorize"), error))?;
        if check.texts {
            reads_back(&vector.module, &format!("{name} vector"))?;
        }
        if check.vector_parts > 0 {
            for case in cases {
                let place = format!("{name} vector interpreter at batch {}", case.batch);
                let (parts, seed) = (check.vector_parts, case.batch as u64);
                let found = vector::run(&vector, None, &case.leaves, case.batch, parts, seed)
                    .map_err(|message| Difference::failure(&place, message))?;
                case.compare(&place, &found)?;
                counts.vector += 1;
            }
        }
        if check.emulated {
            emulate(&vector, backend, cases, name, counts)?;
        }
        if !check.threads.is_empty() && backend.runs_here() {
            self.native(&vector, cases, check, counts)?;
        }
        Ok(())
    }

    fn native(
        &self,
        vector: &VectorProgram,
        cases: &[Case],
        check: &Check,
        counts: &mut Counts,
    ) -> Result<(), Difference> {
        let (name, backend) = self.machine(check);
        let placement = if check.guarded { Placement::Guarded } else { Placement::Heap };
        let (program, _) = dlc_codegen::load(
            &vector.module,
            Arc::new(vector.manifest.clone()),
            vector.updates,
            backend,
        )
        .map_err(|error| Difference::failure(format!("{name} compile"), error))?;
        let loaded = Loaded::new(program)
            .map_err(|message| Difference::failure(format!("{name} load"), message))?;
        for &threads in check.threads {
            let gang = &self.gangs[threads - 1];
            for case in cases {
                let place = format!("{name} {threads} threads at batch {}", case.batch);
                let found = loaded
                    .run(gang, placement, &case.leaves, case.batch)
                    .map_err(|message| Difference::failure(&place, message))?;
                case.compare(&place, &found)?;
                counts.native += 1;
            }
        }
        Ok(())
    }
}

/// Checks the laws of a module, of the one that its text reads back as too, and that both have one text.
fn reads_back(module: &dlc_ir::vector::Module, place: &str) -> Result<(), Difference> {
    let lawful = |module| {
        dlc_ir::vector::verify(module).map_err(|broken| Difference::failure(place, &broken[0]))
    };
    lawful(module)?;
    let text = module.to_string();
    let read = dlc_ir::vector::parse(&text)
        .map_err(|error| Difference::failure(place, format!("{error}\n{text}")))?;
    lawful(&read)?;
    match read.to_string() == text {
        true => Ok(()),
        false => Err(Difference::failure(place, "the text reads back as another module")),
    }
}

/// Runs a program's kernels as machine code in the emulator.
fn emulate(
    vector: &VectorProgram,
    backend: &dyn Backend,
    cases: &[Case],
    name: &str,
    counts: &mut Counts,
) -> Result<(), Difference> {
    let place = format!("{name} emulator");
    let mut kernels = Emulated::new(&vector.module, backend)
        .map_err(|message| Difference::failure(&place, message))?;
    for case in cases {
        let place = format!("{place} at batch {}", case.batch);
        let found = vector::run(vector, Some(&mut kernels), &case.leaves, case.batch, 2, 1)
            .map_err(|message| Difference::failure(&place, message))?;
        case.compare(&place, &found)?;
        counts.emulated += 1;
    }
    Ok(())
}

/// A batch with its values and what the graph interpreter makes of them.
struct Case {
    batch: i64,
    leaves: Leaves,
    expected: Outputs,
}

impl Case {
    /// Compares all results and all parameters and states, those too that must stay as they were.
    fn compare(&self, place: &str, found: &Outputs) -> Result<(), Difference> {
        for (name, expected) in &self.expected.results {
            let Some(tensor) = found.results.get(name) else {
                return Err(Difference::failure(place, format!("the result `{name}` is missing")));
            };
            same(place, name, tensor, expected)?;
        }
        for (name, tensor) in &found.assigns {
            let expected = self.expected.assigns.get(name).unwrap_or(&self.leaves[name]);
            same(place, name, tensor, expected)?;
        }
        let missing = self.expected.assigns.keys().find(|&name| !found.assigns.contains_key(name));
        match missing {
            Some(name) => {
                Err(Difference::failure(place, format!("the new value of `{name}` is missing")))
            }
            None => Ok(()),
        }
    }
}

fn same(place: &str, name: &str, found: &Tensor, expected: &Tensor) -> Result<(), Difference> {
    match found.first_difference(expected) {
        None => Ok(()),
        Some((element, found, expected)) => Err(Difference::Bits {
            place: place.to_owned(),
            output: name.to_owned(),
            element,
            found,
            expected,
        }),
    }
}
