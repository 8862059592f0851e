//! What an artefact holds: one module of all its programs, and where their buffers are in the caller's memory.
//!
//! A state begins with a header of 64 bytes, then come the weights in the order of their file, then what the optimizer
//! keeps. So the state of a training artefact begins with the weights that inference needs. Inputs and outputs are the
//! caller's arrays; scalars are copied. Temporaries are in the workspace, with scratch and an error slot for each part.

use super::ArtefactOptions;
use super::names::unique;
use crate::error::DriverError;
use crate::lower;
use crate::model::ModelGraphs;
use dlc_abi::{BufferDesc, BufferRole, Dim, ElemType, Manifest, NumericsClass};
use dlc_codegen::object::{
    ALIGNMENT, CONTEXT_FIELDS, Clock, Entry, EntrySegment, FileTensor, FirstValue, Interface,
    STATE_HEADER_BYTES, Slot, StateUse, WeightsFile,
};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::Graph;
use dlc_ir::target::TargetDesc;
use dlc_ir::vector::{Block, FuncId, Function, Module, Stmt};
use indexmap::IndexMap;
use safetensors::SafeTensors;
use std::collections::BTreeSet;

/// The program that draws first values.
const INIT: &str = "init";
/// Prefix of the names of metric totals and metric values.
const METRIC: &str = "metric.";

/// The values that a new state has.
#[derive(Debug, Clone)]
pub struct FirstState<'a> {
    /// The weights, as the runtime writes their file.
    pub weights: &'a [u8],
    /// What else outlives a step, such as the optimizer's state, by name.
    pub others: Vec<(String, Vec<u8>)>,
}

/// An artefact before its machine code.
#[derive(Debug)]
pub struct Plan {
    /// The model's name in the text.
    pub model: String,
    /// All programs.
    pub module: Module,
    /// Layout and entries.
    pub interface: Interface,
    /// Bytes of a state for inference.
    pub weights_bytes: u64,
    /// Buffers of the state by name, in order.
    pub state: IndexMap<String, StateBuffer>,
    /// The programs as callers see them, beside the interface's entries.
    pub programs: Vec<ProgramPlan>,
    /// The family of rounding.
    pub class: NumericsClass,
    /// The largest batch.
    pub max_batch: i64,
    /// Whether it trains.
    pub trains: bool,
}

/// A buffer of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateBuffer {
    /// Byte offset.
    pub offset: u64,
    /// Bytes of its elements.
    pub bytes: u64,
    /// Its name in C and Rust.
    pub identifier: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether it is in the file of weights.
    pub is_weight: bool,
}

/// One program as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramPlan {
    /// Its name: `forward`, `train_step`.
    pub name: &'static str,
    /// What it does, for the reader of the header.
    pub doc: &'static str,
    /// Pointers of its context, in order.
    pub pointers: Vec<Pointer>,
}

/// A pointer of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Its name in C and Rust.
    pub identifier: String,
    /// The element type.
    pub elem: ElemType,
    /// The shape; empty for a scalar.
    pub shape: Vec<Dim>,
    /// Bytes that compiled code may touch.
    pub bytes: u64,
    /// Whether the program writes it.
    pub is_output: bool,
}

/// A program on its way into the plan.
struct Part {
    name: &'static str,
    doc: &'static str,
    in_parts: bool,
    segments: Vec<EntrySegment>,
    manifest: Manifest,
}

impl Plan {
    pub(super) fn new(
        model: &str,
        graphs: &ModelGraphs,
        max_batch: i64,
        target: &TargetDesc,
        options: &ArtefactOptions,
        first: &FirstState<'_>,
    ) -> Result<Plan, DriverError> {
        let mut module = Module::default();
        let mut parts = Vec::new();
        for (name, doc, in_parts, graph) in chosen(graphs, options.train) {
            let vector = lower::to_vector(graph, max_batch, target)?;
            let segments = append(&mut module, name, vector.module, &vector.manifest)?;
            parts.push(Part { name, doc, in_parts, segments, manifest: vector.manifest });
        }
        let prefix = unique(model, &mut BTreeSet::new());
        let state = StateLayout::of(&parts, first)?;
        let mut tag = graphs.fingerprint();
        for buffer in state.buffers.values() {
            tag = (tag ^ buffer.offset).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let weights_file = weights_file(first.weights, &state.buffers)?;
        let embedded =
            options.embed.then(|| image(first.weights, &weights_file, tag, state.weights_bytes));
        let mut entries = Vec::new();
        let mut programs = Vec::new();
        let mut tables = Vec::new();
        for part in &parts {
            let (entry, program) = part.plan(&prefix, &state, &mut tables)?;
            entries.push(entry);
            programs.push(program);
        }
        let interface = Interface {
            prefix,
            tag,
            state_bytes: state.bytes,
            entries,
            weights_file,
            tables,
            first_values: state.first_values(first)?,
            embedded,
        };
        Ok(Plan {
            model: model.to_owned(),
            module,
            interface,
            weights_bytes: state.weights_bytes,
            state: state.buffers,
            programs,
            class: options.cpu.class(),
            max_batch,
            trains: options.train,
        })
    }
}

/// The programs of an artefact: name, purpose, whether parts can be called, graph.
pub(super) fn chosen(
    graphs: &ModelGraphs,
    train: bool,
) -> Vec<(&'static str, &'static str, bool, &Graph)> {
    let mut chosen = vec![("forward", "The model's results for a batch.", true, &graphs.predict)];
    if train {
        let init = "Draws first values of the whole state from `seed`.";
        chosen.push((INIT, init, false, &graphs.init));
        let step = "Trains on a batch: forward, backward, update of the state.";
        let evaluate = "The mean loss of a batch and the totals of its metrics.";
        let metrics = "The values of metrics from their totals, added up over batches.";
        for (name, doc, in_parts, graph) in [
            ("train_step", step, true, &graphs.train),
            ("evaluate", evaluate, true, &graphs.eval),
            ("metrics", metrics, false, &graphs.finish),
        ] {
            chosen.extend(graph.as_ref().map(|graph| (name, doc, in_parts, graph)));
        }
    }
    chosen
}

/// Appends a program's functions to the module of all programs; returns its segments.
fn append(
    module: &mut Module,
    name: &str,
    program: Module,
    manifest: &Manifest,
) -> Result<Vec<EntrySegment>, DriverError> {
    let base = module.functions.len();
    let segment_of = |symbol: &str| {
        let mut functions = program.functions.iter();
        functions.find(|(_, function)| function.name == symbol).map(|(id, _)| id)
    };
    let segments = manifest
        .segments
        .iter()
        .map(|segment| {
            let id = segment_of(&segment.symbol).ok_or_else(|| {
                broken(format!("`{}` names a segment that its module lacks", manifest.name))
            })?;
            let function = FuncId::from_index(base + id.index());
            Ok(EntrySegment { function, parallel: segment.parallel })
        })
        .collect::<Result<_, DriverError>>()?;
    for function in program.functions.values() {
        let mut function =
            Function { name: format!("{name}.{}", function.name), ..function.clone() };
        shift_calls(&mut function.body, base);
        module.functions.push(function);
    }
    Ok(segments)
}

fn shift_calls(block: &mut Block, base: usize) {
    for stmt in &mut block.stmts {
        match stmt {
            Stmt::Call { func, .. } => *func = FuncId::from_index(base + func.index()),
            Stmt::Loop(inner) => shift_calls(&mut inner.body, base),
            Stmt::If { then, .. } => shift_calls(then, base),
            Stmt::Let(..)
            | Stmt::Store { .. }
            | Stmt::IntStore { .. }
            | Stmt::Transpose { .. }
            | Stmt::Barrier => {}
        }
    }
}

/// Where everything is in a state.
struct StateLayout {
    buffers: IndexMap<String, StateBuffer>,
    weights_bytes: u64,
    bytes: u64,
}

impl StateLayout {
    fn of(parts: &[Part], first: &FirstState<'_>) -> Result<Self, DriverError> {
        let mut layout =
            StateLayout { buffers: IndexMap::new(), weights_bytes: 0, bytes: STATE_HEADER_BYTES };
        let mut known = BTreeSet::new();
        // Compiled code may touch all bytes of a buffer's description.
        let touched = |name: &str| {
            let descs = parts.iter().flat_map(|part| &part.manifest.buffers);
            let same = descs.filter(|desc| is_persistent(desc.role) && desc.name == name);
            same.map(|desc| desc.bytes).max().unwrap_or(0)
        };
        let mut push = |layout: &mut StateLayout, name: &str, bytes, shape, is_weight| {
            let offset = layout.bytes;
            layout.bytes += touched(name).max(bytes).next_multiple_of(ALIGNMENT);
            let identifier = unique(name, &mut known);
            let buffer = StateBuffer { offset, bytes, identifier, shape, is_weight };
            layout.buffers.insert(name.to_owned(), buffer);
        };
        let (header, metadata) = SafeTensors::read_metadata(first.weights)
            .map_err(|error| broken(format!("the file of weights: {error}")))?;
        let _ = header;
        for name in metadata.offset_keys() {
            let info = metadata
                .info(&name)
                .ok_or_else(|| broken(format!("the file of weights has no `{name}`")))?;
            let bytes = (info.data_offsets.1 - info.data_offsets.0) as u64;
            push(&mut layout, &name, bytes, info.shape.clone(), true);
        }
        layout.weights_bytes = layout.bytes;
        for part in parts {
            for desc in part.manifest.buffers.iter().filter(|desc| is_persistent(desc.role)) {
                if layout.buffers.contains_key(&desc.name) {
                    continue;
                }
                let shape = fixed_shape(desc)?;
                let bytes = shape.iter().product::<usize>() * desc.elem.size();
                push(&mut layout, &desc.name, bytes as u64, shape, false);
            }
        }
        Ok(layout)
    }

    /// First values of all that no file of weights has and that is not zero.
    fn first_values(&self, first: &FirstState<'_>) -> Result<Vec<FirstValue>, DriverError> {
        let mut values = Vec::new();
        for (name, buffer) in self.buffers.iter().filter(|(_, buffer)| !buffer.is_weight) {
            let (_, bytes) = first
                .others
                .iter()
                .find(|(other, _)| other == name)
                .ok_or_else(|| broken(format!("nobody knows the first value of `{name}`")))?;
            if bytes.len() as u64 != buffer.bytes {
                return Err(broken(format!("the first value of `{name}` has another size")));
            }
            if bytes.iter().any(|&byte| byte != 0) {
                let value = FirstValue { state_offset: buffer.offset, bytes: bytes.clone() };
                values.push(value);
            }
        }
        Ok(values)
    }
}

fn is_persistent(role: BufferRole) -> bool {
    match role {
        BufferRole::Param | BufferRole::State => true,
        BufferRole::Input
        | BufferRole::Output
        | BufferRole::Temporary
        | BufferRole::Table
        | BufferRole::Message => false,
    }
}

fn fixed_shape(desc: &BufferDesc) -> Result<Vec<usize>, DriverError> {
    let extents = desc.shape.iter().map(|dim| dim.as_fixed().map(|extent| extent as usize));
    extents
        .collect::<Option<_>>()
        .ok_or_else(|| broken(format!("`{}` outlives a step but depends on the batch", desc.name)))
}

/// The file's header, and where its tensors go.
fn weights_file(
    file: &[u8],
    state: &IndexMap<String, StateBuffer>,
) -> Result<WeightsFile, DriverError> {
    let (header_bytes, metadata) = SafeTensors::read_metadata(file)
        .map_err(|error| broken(format!("the file of weights: {error}")))?;
    // Eight bytes of length stand before the header.
    let start = header_bytes + 8;
    let tensors = metadata
        .offset_keys()
        .iter()
        .filter_map(|name| Some((name, metadata.info(name)?, state.get(name)?)))
        .map(|(name, info, buffer)| FileTensor {
            name: name.clone(),
            dtype: info.dtype.to_string(),
            shape: info.shape.iter().map(|&extent| extent as u64).collect(),
            file_offset: (start + info.data_offsets.0) as u64,
            state_offset: buffer.offset,
            bytes: buffer.bytes,
        })
        .collect();
    Ok(WeightsFile { header: file[..start].to_vec(), tensors, bytes: file.len() as u64 })
}

/// The state for inference that holds the weights of a file.
fn image(file: &[u8], weights: &WeightsFile, tag: u64, bytes: u64) -> Vec<u8> {
    let mut image = vec![0; bytes as usize];
    image[..8].copy_from_slice(&tag.to_le_bytes());
    for tensor in &weights.tensors {
        let (from, to) = (tensor.file_offset as usize, tensor.state_offset as usize);
        let bytes = tensor.bytes as usize;
        image[to..to + bytes].copy_from_slice(&file[from..from + bytes]);
    }
    image
}

impl Part {
    fn plan(
        &self,
        prefix: &str,
        state: &StateLayout,
        tables: &mut Vec<Vec<u8>>,
    ) -> Result<(Entry, ProgramPlan), DriverError> {
        let manifest = &self.manifest;
        let mut known: BTreeSet<String> =
            CONTEXT_FIELDS.iter().map(|field| field.name.to_owned()).collect();
        let mut pointers = Vec::new();
        let mut shared_bytes = manifest.arena_bytes.next_multiple_of(ALIGNMENT);
        let mut slots = Vec::new();
        for desc in &manifest.buffers {
            let mut pointer = |is_output| {
                let name = desc.name.strip_prefix(METRIC).unwrap_or(&desc.name);
                pointers.push(Pointer {
                    identifier: unique(name, &mut known),
                    elem: desc.elem,
                    shape: desc.shape.clone(),
                    bytes: desc.bytes,
                    is_output,
                });
                pointers.len() - 1
            };
            let is_scalar = desc.shape.is_empty();
            let scalar_bytes = desc.elem.size() as u64;
            slots.push(match desc.role {
                BufferRole::Param | BufferRole::State => {
                    let buffer = state.buffers.get(&desc.name);
                    Slot::State(buffer.map(|buffer| buffer.offset).ok_or_else(|| {
                        broken(format!("`{}` has no place in the state", desc.name))
                    })?)
                }
                BufferRole::Temporary => Slot::Workspace(desc.arena_offset.unwrap_or(0)),
                BufferRole::Input => match clock(&desc.name) {
                    Some(clock) => Slot::Clock(clock),
                    None if is_scalar => Slot::ScalarIn(pointer(false), scalar_bytes),
                    None => Slot::Pointer(pointer(false)),
                },
                BufferRole::Output if is_scalar => {
                    let at = shared_bytes;
                    shared_bytes += desc.bytes.next_multiple_of(ALIGNMENT);
                    Slot::ScalarOut(pointer(true), at, scalar_bytes)
                }
                BufferRole::Output => Slot::Pointer(pointer(true)),
                BufferRole::Table => Slot::Table(table_of(manifest, desc, tables)?),
                BufferRole::Message => {
                    return Err(broken(format!("`{}` is that of one rank", manifest.name)));
                }
            });
        }
        let farthest = slots.iter().filter_map(|slot| match slot {
            Slot::State(offset) => Some(*offset),
            _ => None,
        });
        let farthest = farthest.max();
        let of_batch =
            pointers.iter().any(|pointer| pointer.shape.iter().any(|dim| dim.batch_factor != 0));
        let uses = match farthest {
            _ if self.name == INIT => StateUse::Draws,
            None => StateUse::None,
            Some(offset) if offset < state.weights_bytes => StateUse::Needs(state.weights_bytes),
            Some(_) => StateUse::Needs(state.bytes),
        };
        let entry = Entry {
            symbol: format!("{prefix}_{}", self.name),
            in_parts: self.in_parts,
            segments: self.segments.clone(),
            max_batch: of_batch.then_some(manifest.max_batch as u64),
            slots,
            shared_bytes,
            scratch_bytes: manifest.scratch_bytes.next_multiple_of(ALIGNMENT),
            state: uses,
        };
        Ok((entry, ProgramPlan { name: self.name, doc: self.doc, pointers }))
    }
}

/// The number of a buffer's constants among the tables of the artefact, where equal ones stand once. Compiled code may touch all bytes
/// of the buffer's description.
fn table_of(
    manifest: &Manifest,
    desc: &BufferDesc,
    tables: &mut Vec<Vec<u8>>,
) -> Result<usize, DriverError> {
    let table = desc.table.and_then(|table| manifest.tables.get(table)).ok_or_else(|| {
        broken(format!("`{}` of `{}` has no constants", desc.name, manifest.name))
    })?;
    let mut bytes: Vec<u8> = table.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes.resize(bytes.len().max(desc.bytes as usize), 0);
    let known = tables.iter().position(|known| *known == bytes);
    Ok(known.unwrap_or_else(|| {
        tables.push(bytes);
        tables.len() - 1
    }))
}

/// Which of the inputs that every context has.
fn clock(name: &str) -> Option<Clock> {
    match name {
        "step" => Some(Clock::Step),
        "steps" => Some(Clock::Steps),
        "seed" => Some(Clock::Seed),
        _ => None,
    }
}

fn broken(what: String) -> DriverError {
    DriverError::Artefact { what }
}
