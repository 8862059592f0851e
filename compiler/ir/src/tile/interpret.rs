//! Runs a tile program point by point: the slow and obvious meaning of phases, and the race check.
//!
//! Work units run in a random order (by seed), so a phase whose units depend on each other gives another result or is caught by the race check:
//! between two barriers no element may be written by one unit and touched by another.

use super::data::{BufferId, Exchange, Phase, Program, Segment};
use super::points::{Evaluator, Point};
use crate::affine::Affine;
use crate::entity::IndexVec;
use crate::graph::{Data, Tensor};
use dlc_abi::{BufferRole, ElemType, ExchangeKind};
use indexmap::IndexMap;
use rustc_hash::FxHashMap;

/// Why a program could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// An input, parameter or state is missing or has another type or size.
    #[error("leaf `{name}`: {problem}")]
    Leaf {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Two units of work touch an element, one of them writing, with no barrier between.
    #[error(
        "race in phase `{phase}`: unit {unit} {action} element {element} of `{buffer}`, which {other} has {touched}"
    )]
    Race {
        /// The phase that came second.
        phase: String,
        /// Its unit.
        unit: usize,
        /// What it does.
        action: &'static str,
        /// The element's place in the buffer.
        element: usize,
        /// The buffer.
        buffer: String,
        /// Who came first.
        other: String,
        /// What it did.
        touched: &'static str,
    },
    /// An element is read that nothing has written.
    #[error("phase `{phase}` reads element {element} of `{buffer}`, which nothing has written")]
    Unwritten {
        /// The phase.
        phase: String,
        /// The element's place in the buffer.
        element: usize,
        /// The buffer.
        buffer: String,
    },
    /// A subscript is outside its buffer.
    #[error("phase `{phase}` leaves `{buffer}` at {index:?}")]
    OutOfRange {
        /// The phase.
        phase: String,
        /// The buffer.
        buffer: String,
        /// The subscripts.
        index: Vec<i64>,
    },
}

/// What a program leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct TileOutputs {
    /// Output buffers by name.
    pub results: IndexMap<String, Tensor>,
    /// Parameters and state after the step, by name.
    pub leaves: IndexMap<String, Tensor>,
}

/// Runs a whole program at an actual batch size, with units in an order chosen by `seed`, checking for races.
///
/// # Errors
/// See [`TileError`].
pub fn interpret(
    program: &Program,
    leaves: &IndexMap<String, Tensor>,
    batch: i64,
    seed: u64,
) -> Result<TileOutputs, TileError> {
    interpret_part(program, leaves, batch, seed, &mut Nobody)
}

/// What other parts do of the exchanges of a part.
pub trait Partners {
    /// Sends what this part gives on its way.
    fn give(&mut self, exchange: &Exchange, given: Tensor);
    /// Waits for what this part takes of an exchange to which it has given; `None` where nobody gives.
    fn take(&mut self, exchange: &Exchange) -> Option<Tensor>;
}

/// For programs of a whole batch.
struct Nobody;

impl Partners for Nobody {
    fn give(&mut self, _: &Exchange, _: Tensor) {}

    fn take(&mut self, _: &Exchange) -> Option<Tensor> {
        None
    }
}

/// As [`interpret`] for a part of a batch.
///
/// # Errors
/// See [`TileError`].
pub fn interpret_part(
    program: &Program,
    leaves: &IndexMap<String, Tensor>,
    batch: i64,
    seed: u64,
    partners: &mut dyn Partners,
) -> Result<TileOutputs, TileError> {
    let mut memory = Memory::new(program, leaves, batch)?;
    let mut order = seed;
    for (at, segment) in program.segments.iter().enumerate() {
        take_before(program, at, &mut memory, batch, partners)?;
        memory.touched.clear();
        for (number, phase, step) in turns(segment) {
            if phase.barrier_before {
                memory.touched.clear();
            }
            let evaluator = Evaluator { program, phase, batch };
            for unit in shuffled(n_units(phase, batch), &mut order) {
                // Serial phases are run by one part, one after the other: between them nobody races.
                memory.actor = Actor { phase: number, unit, serial: phase.schedule.serial };
                for point in points_of_unit(phase, batch, unit, step) {
                    evaluator.run(&mut memory, &point)?;
                }
            }
        }
        for begun in program.exchanges.iter().filter(|exchange| exchange.after == at) {
            let mut given = memory.tensor(begun.from, batch);
            // What is given may lie under another shape of as many elements.
            let row = usize::from(begun.kind == ExchangeKind::AllGather);
            let shape = &program.buffers[begun.to].shape[row..];
            given.shape = shape.iter().map(|dim| dim.at(batch)).collect();
            partners.give(begun, given);
        }
    }
    // Other parts may need what this one gives, though it needs nothing of them any more.
    take_before(program, program.segments.len(), &mut memory, batch, partners)?;
    Ok(memory.outputs(batch))
}

/// Ends the exchanges that a segment waits for, or for the number of segments those that none waits for.
fn take_before(
    program: &Program,
    at: usize,
    memory: &mut Memory<'_>,
    batch: i64,
    partners: &mut dyn Partners,
) -> Result<(), TileError> {
    for due in program.exchanges.iter().filter(|exchange| exchange.before == at) {
        let name = || program.buffers[due.to].name.clone();
        let alone = || TileError::Leaf { name: name(), problem: "has no giver".to_owned() };
        let taken = partners.take(due).ok_or_else(alone)?;
        memory.fill(due.to, &taken, batch)?;
    }
    Ok(())
}

/// The phases of a segment in the order in which they run, numbered anew in every step, with the step of those of loops.
fn turns(segment: &Segment) -> Vec<(usize, &Phase, Option<i64>)> {
    let mut turns = Vec::new();
    let mut rest = &segment.phases[..];
    while let Some(first) = rest.first() {
        let n_own = match first.step {
            None => 1,
            Some(_) => rest.iter().take_while(|phase| phase.step == first.step).count(),
        };
        let (own, later) = rest.split_at(n_own);
        rest = later;
        let Some(step) = first.step else {
            turns.push((turns.len(), first, None));
            continue;
        };
        let steps = first.axes[0].as_fixed().unwrap_or(0);
        for turn in 0..steps {
            let at = if step.reverse { steps - 1 - turn } else { turn };
            for phase in own {
                turns.push((turns.len(), phase, Some(at)));
            }
        }
    }
    turns
}

/// Units along each unit axis.
fn unit_counts(phase: &Phase, batch: i64) -> Vec<i64> {
    let count = |axis: usize, tile: i64| (phase.axes[axis].at(batch) + tile - 1) / tile;
    phase.schedule.units.iter().map(|unit| count(unit.axis, unit.tile).max(0)).collect()
}

fn n_units(phase: &Phase, batch: i64) -> usize {
    unit_counts(phase, batch).iter().product::<i64>() as usize
}

/// All points of a work unit, in lexicographic order.
fn points_of_unit(phase: &Phase, batch: i64, unit: usize, step: Option<i64>) -> Vec<Point> {
    let mut ranges: Vec<(i64, i64)> = phase.space().iter().map(|dim| (0, dim.at(batch))).collect();
    if let Some(step) = step {
        ranges[0] = (step, step + 1);
    }
    let mut number = unit as i64;
    let counts = unit_counts(phase, batch);
    for (cut, count) in phase.schedule.units.iter().zip(counts).rev() {
        let start = number % count * cut.tile;
        number /= count;
        ranges[cut.axis] = (start, (start + cut.tile).min(ranges[cut.axis].1));
    }
    let mut points = vec![Point::new()];
    for (low, high) in ranges {
        points = points
            .into_iter()
            .flat_map(|point| {
                (low..high).map(move |index| {
                    let mut point = point.clone();
                    point.push(index);
                    point
                })
            })
            .collect();
    }
    points
}

/// The numbers below `n` in a random order.
fn shuffled(n: usize, state: &mut u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for at in (1..n).rev() {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (*state >> 33) as usize % (at + 1));
    }
    order
}

/// A unit at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Actor {
    /// The phase, by its place in the order of execution.
    phase: usize,
    unit: usize,
    /// Whether the phase runs on one part.
    serial: bool,
}

impl Actor {
    /// Whether two units may run at the same time.
    fn meets(self, other: Actor) -> bool {
        self != other && !(self.serial && other.serial && self.phase != other.phase)
    }
}

/// Who touched an element since the last barrier.
#[derive(Debug, Clone, Copy, Default)]
struct Touched {
    writer: Option<Actor>,
    reader: Option<Actor>,
    /// Whether several units have read it.
    read_by_many: bool,
}

/// Elements of every memory, as bits; `None` before they are written.
pub(super) struct Memory<'a> {
    program: &'a Program,
    elements: IndexVec<BufferId, Vec<Option<u64>>>,
    touched: FxHashMap<(BufferId, usize), Touched>,
    /// The unit at work.
    actor: Actor,
}

impl<'a> Memory<'a> {
    fn new(
        program: &'a Program,
        leaves: &IndexMap<String, Tensor>,
        batch: i64,
    ) -> Result<Self, TileError> {
        let elements = program
            .buffers
            .values()
            .map(|buffer| {
                vec![None; buffer.layout.elements(&buffer.shape, program.max_batch).max(1) as usize]
            })
            .collect();
        let actor = Actor { phase: 0, unit: 0, serial: false };
        let mut memory = Memory { program, elements, touched: FxHashMap::default(), actor };
        for (id, buffer) in program.buffers.iter() {
            let is_leaf =
                matches!(buffer.role, BufferRole::Input | BufferRole::Param | BufferRole::State);
            if !is_leaf || buffer.alias_of.is_some() {
                continue;
            }
            let missing =
                || TileError::Leaf { name: buffer.name.clone(), problem: "is missing".to_owned() };
            memory.fill(id, leaves.get(&buffer.name).ok_or_else(missing)?, batch)?;
        }
        Ok(memory)
    }

    /// Sets all elements of a buffer.
    fn fill(&mut self, id: BufferId, tensor: &Tensor, batch: i64) -> Result<(), TileError> {
        let buffer = &self.program.buffers[id];
        let problem = |problem: &str| TileError::Leaf {
            name: buffer.name.clone(),
            problem: problem.to_owned(),
        };
        if tensor.data.elem() != buffer.elem {
            return Err(problem("has another element type"));
        }
        let shape: Vec<i64> = buffer.shape.iter().map(|dim| dim.at(batch)).collect();
        if tensor.shape != shape {
            return Err(problem("has another shape"));
        }
        for (index, bits) in indices(&shape).into_iter().zip(bits_of(&tensor.data)) {
            let offset = buffer.layout.offset(&buffer.shape, self.program.max_batch, &index);
            self.elements[id][offset as usize] = Some(bits);
        }
        Ok(())
    }

    /// The elements of a buffer; zero where none was written.
    fn tensor(&self, id: BufferId, batch: i64) -> Tensor {
        let buffer = &self.program.buffers[id];
        let shape: Vec<i64> = buffer.shape.iter().map(|dim| dim.at(batch)).collect();
        let bits: Vec<u64> = indices(&shape)
            .into_iter()
            .map(|index| {
                let offset = buffer.layout.offset(&buffer.shape, self.program.max_batch, &index);
                self.elements[id][offset as usize].unwrap_or(0)
            })
            .collect();
        Tensor::new(shape, data_of(buffer.elem, &bits))
    }

    /// For a part of a batch: its place as [`dlc_abi::WINDOW_INPUT`] tells it, and the shards of the whole batch.
    pub(super) fn window(&self) -> Option<([i64; 3], i64)> {
        let of = i64::from(self.program.window_of?);
        let elements = &self.elements[self.program.window()?];
        let value = |at: usize| elements[at].map_or(0, |bits| i64::from(bits as u32 as i32));
        Some(([value(0), value(1), value(2)], of))
    }

    /// Memory and place of an element; `None` if a subscript is outside.
    pub(super) fn place(
        &self,
        buffer: BufferId,
        subs: &[i64],
        batch: i64,
    ) -> Option<(BufferId, usize)> {
        let data = &self.program.buffers[buffer];
        let inside =
            subs.iter().zip(&data.shape).all(|(&sub, dim)| (0..dim.at(batch)).contains(&sub));
        let offset = data.layout.offset(&data.shape, self.program.max_batch, subs);
        inside.then(|| (self.program.memory_of(buffer), offset as usize))
    }

    pub(super) fn read(
        &mut self,
        phase: &Phase,
        (memory, element): (BufferId, usize),
    ) -> Result<u64, TileError> {
        let touched = self.touched.entry((memory, element)).or_default();
        if let Some(writer) = touched.writer
            && writer.meets(self.actor)
        {
            return Err(self.race(phase, "reads", (memory, element), writer, "written"));
        }
        match touched.reader {
            Some(reader) if reader.meets(self.actor) => touched.read_by_many = true,
            _ => touched.reader = Some(self.actor),
        }
        self.elements[memory][element].ok_or_else(|| TileError::Unwritten {
            phase: phase.name.clone(),
            element,
            buffer: self.program.buffers[memory].name.clone(),
        })
    }

    pub(super) fn write(
        &mut self,
        phase: &Phase,
        (memory, element): (BufferId, usize),
        bits: u64,
    ) -> Result<(), TileError> {
        let touched = self.touched.entry((memory, element)).or_default();
        let other_reader =
            touched.reader.filter(|&reader| reader.meets(self.actor) || touched.read_by_many);
        let found = match (touched.writer, other_reader) {
            (Some(writer), _) if writer.meets(self.actor) => Some((writer, "written")),
            (_, Some(reader)) => Some((reader, "read")),
            _ => None,
        };
        if let Some((other, what)) = found {
            return Err(self.race(phase, "writes", (memory, element), other, what));
        }
        touched.writer = Some(self.actor);
        self.elements[memory][element] = Some(bits);
        Ok(())
    }

    fn race(
        &self,
        phase: &Phase,
        action: &'static str,
        (memory, element): (BufferId, usize),
        other: Actor,
        touched: &'static str,
    ) -> TileError {
        TileError::Race {
            phase: phase.name.clone(),
            unit: self.actor.unit,
            action,
            element,
            buffer: self.program.buffers[memory].name.clone(),
            other: format!("unit {} of phase {}", other.unit, other.phase),
            touched,
        }
    }

    fn outputs(&self, batch: i64) -> TileOutputs {
        let mut outputs = TileOutputs { results: IndexMap::new(), leaves: IndexMap::new() };
        for (id, buffer) in
            self.program.buffers.iter().filter(|(_, buffer)| buffer.alias_of.is_none())
        {
            let into = match buffer.role {
                BufferRole::Output => &mut outputs.results,
                BufferRole::Param | BufferRole::State => &mut outputs.leaves,
                BufferRole::Input
                | BufferRole::Temporary
                | BufferRole::Table
                | BufferRole::Message => continue,
            };
            into.insert(buffer.name.clone(), self.tensor(id, batch));
        }
        outputs
    }
}

/// All indices of a shape in row-major order.
fn indices(shape: &[i64]) -> Vec<Vec<i64>> {
    shape.iter().fold(vec![Vec::new()], |indices, &extent| {
        indices
            .into_iter()
            .flat_map(|index| {
                (0..extent).map(move |at| {
                    let mut index = index.clone();
                    index.push(at);
                    index
                })
            })
            .collect()
    })
}

fn bits_of(data: &Data) -> Vec<u64> {
    match data {
        Data::F32(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
        Data::F64(values) => values.iter().map(|value| value.to_bits()).collect(),
        Data::I32(values) => values.iter().map(|&value| i64::from(value) as u64).collect(),
        Data::I64(values) => values.iter().map(|&value| value as u64).collect(),
        Data::U8(values) => values.iter().map(|&value| u64::from(value)).collect(),
        Data::Bool(values) => values.iter().map(|&value| u64::from(value)).collect(),
    }
}

fn data_of(elem: ElemType, bits: &[u64]) -> Data {
    match elem {
        ElemType::F32 | ElemType::Bf16 | ElemType::F16 => {
            Data::F32(bits.iter().map(|&bits| f32::from_bits(bits as u32)).collect())
        }
        ElemType::F64 => Data::F64(bits.iter().map(|&bits| f64::from_bits(bits)).collect()),
        ElemType::I32 | ElemType::I8 => Data::I32(bits.iter().map(|&bits| bits as i32).collect()),
        ElemType::I64 => Data::I64(bits.iter().map(|&bits| bits as i64).collect()),
        ElemType::U8 => Data::U8(bits.iter().map(|&bits| bits as u8).collect()),
        ElemType::Bool => Data::Bool(bits.iter().map(|&bits| bits != 0).collect()),
    }
}

/// The subscripts of an access at a point.
pub(super) fn at_point(subs: &[Affine], point: &[i64]) -> Vec<i64> {
    subs.iter().map(|sub| sub.eval(point)).collect()
}
