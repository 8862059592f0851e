//! Relocatable object files: the same code as in memory, with entries for C programs around it.
//!
//! `interface` says what a file offers, as data. The entries (`step`, `weights`) are machine code themselves, made
//! with Cranelift through `glue`: whoever links the file needs no compiler of ours, no runtime, and no other library.
//!
//! **Invariant:** a file has no undefined symbol and no writable data.

mod glue;
mod interface;
mod processor;
mod safetensors;
mod step;
mod weights;

use std::collections::BTreeMap;

use cranelift_codegen::ir::{Signature, types};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module as _, ModuleReloc};
use cranelift_object::{ObjectBuilder, ObjectModule};
use dlc_ir::entity::EntityRef;
use dlc_ir::vector::{self, FunctionKind, Module};

use crate::backend::{Backend, CodegenError, Compiled};
use crate::jit::{Shared, compile_all};
use safetensors::Reader;

pub use interface::{
    ALIGNMENT, CONTEXT_BYTES, CONTEXT_FIELDS, Clock, ContextField, Entry, EntrySegment, FileTensor,
    FirstValue, Interface, MAX_PARTS, STATE_HEADER_BYTES, Slot, StateUse, Status, WeightsFile,
};
pub use processor::Level;

/// Functions and data of the file.
struct Ids {
    /// Compiled functions by their number in the vector module.
    functions: BTreeMap<vector::FuncId, FuncId>,
    barrier: FuncId,
    control_store: FuncId,
    control_load: FuncId,
    processor: FuncId,
    copy: FuncId,
    zero: FuncId,
    reader: Reader,
    tensors: DataId,
    header: DataId,
    messages: DataId,
    embedded: Option<DataId>,
    tables: Vec<DataId>,
    first_values: Vec<DataId>,
}

/// Compiles a module of vector code into an object file with an interface for C. The back end must make position-independent code for
/// `level`.
///
/// # Errors
/// What the back ends refuse. `Unsupported` also when this machine is no x86-64, for which alone files are made.
pub fn compile_object(
    module: &Module,
    interface: &Interface,
    level: Level,
    backend: &dyn Backend,
) -> Result<Vec<u8>, CodegenError> {
    let shared = Shared::of(module);
    let (compiled, _) = compile_all(&shared, backend)?;
    let isa = isa()?;
    let name = format!("{}.o", interface.prefix);
    let builder = ObjectBuilder::new(isa, name, cranelift_module::default_libcall_names())
        .map_err(|error| broken(&error))?;
    let mut object = ObjectModule::new(builder);
    let ids = declare(&mut object, module, &shared, interface)?;
    place(&mut object, &shared, &compiled, &ids)?;
    put_data(&mut object, interface, &ids)?;
    let stub = |object: &mut ObjectModule, id, bytes: &[u8]| {
        object.define_function_bytes(id, 16, bytes, &[]).map_err(|error| broken(&error))
    };
    stub(&mut object, ids.control_store, &processor::CONTROL_STORE)?;
    stub(&mut object, ids.control_load, &processor::CONTROL_LOAD)?;
    stub(&mut object, ids.processor, &processor::has_level(level))?;
    weights::memory(&mut object, &ids)?;
    ids.reader.define(&mut object)?;
    step::barrier(&mut object, &ids)?;
    entries(&mut object, &ids, interface)?;
    object.finish().emit().map_err(|error| broken(&error))
}

const NAME: &str = "object";

/// For pointer sizes, and for the entries, which need no more than every x86-64 has.
fn isa() -> Result<OwnedTargetIsa, CodegenError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(refused("object files are made for x86-64 only"));
    }
    let mut flags = settings::builder();
    for (name, value) in
        [("is_pic", "true"), ("opt_level", "speed"), ("enable_probestack", "false")]
    {
        flags.set(name, value).map_err(|error| refused(&format!("{name}: {error}")))?;
    }
    let builder = cranelift_native::builder_with_options(false).map_err(refused)?;
    builder.finish(settings::Flags::new(flags)).map_err(|error| refused(&error.to_string()))
}

fn declare(
    object: &mut ObjectModule,
    module: &Module,
    shared: &Shared,
    interface: &Interface,
) -> Result<Ids, CodegenError> {
    // The bytes of compiled functions are ready; signatures matter for segments, which entries call.
    let word = types::I64;
    let called = glue::signature(object, &[word], &[]);
    let segment = glue::signature(object, &[word; 3], &[types::I32]);
    let mut of_shared = Vec::new();
    for function in shared.module.functions.values() {
        let signature = match function.kind {
            FunctionKind::Kernel | FunctionKind::Phase => &called,
            FunctionKind::Segment => &segment,
        };
        of_shared.push(local(object, &function.name, signature)?);
    }
    let functions =
        module.functions.keys().map(|id| (id, of_shared[shared.stand_ins[id].index()])).collect();
    let signature = |object: &ObjectModule, params: usize, returns: &[_]| {
        glue::signature(object, &vec![word; params], returns)
    };
    let mut helper = |name: &str, params: usize, returns: &[_]| {
        let signature = signature(object, params, returns);
        local(object, name, &signature)
    };
    let barrier = helper(".barrier", 2, &[types::I32])?;
    let control_store = helper(".control_store", 1, &[])?;
    let control_load = helper(".control_load", 1, &[])?;
    let processor = helper(".processor", 0, &[types::I32])?;
    let copy = helper(".copy", 3, &[])?;
    let zero = helper(".zero", 2, &[])?;
    let mut data = |name: &str, linkage| {
        object.declare_data(name, linkage, false, false).map_err(|error| broken(&error))
    };
    let header = data(".header", Linkage::Local)?;
    let tensors = data(".tensors", Linkage::Local)?;
    let words = data(".words", Linkage::Local)?;
    let messages = data(".messages", Linkage::Local)?;
    let embedded = match &interface.embedded {
        Some(_) => Some(data(&format!("{}_weights", interface.prefix), Linkage::Export)?),
        None => None,
    };
    let mut all = |name: &str, count: usize| {
        (0..count).map(|index| data(&format!("{name}.{index}"), Linkage::Local)).collect()
    };
    let tables: Result<_, CodegenError> = all(".table", interface.tables.len());
    let first_values: Result<_, CodegenError> = all(".first_value", interface.first_values.len());
    let reader = Reader::declare(words, |name, params| {
        let signature = glue::signature(object, params, &[types::I32]);
        local(object, name, &signature)
    })?;
    Ok(Ids {
        functions,
        barrier,
        control_store,
        control_load,
        processor,
        copy,
        zero,
        reader,
        tensors,
        header,
        messages,
        embedded,
        tables: tables?,
        first_values: first_values?,
    })
}

fn local(
    object: &mut ObjectModule,
    name: &str,
    signature: &Signature,
) -> Result<FuncId, CodegenError> {
    object.declare_function(name, Linkage::Local, signature).map_err(|error| broken(&error))
}

/// Puts the compiled functions into the file.
fn place(
    object: &mut ObjectModule,
    shared: &Shared,
    compiled: &[Compiled],
    ids: &Ids,
) -> Result<(), CodegenError> {
    // Every function of the shared module stands for itself in the full one, among others.
    let mut of_shared: BTreeMap<usize, FuncId> = BTreeMap::new();
    for (id, stand_in) in shared.stand_ins.iter() {
        of_shared.insert(stand_in.index(), ids.functions[&id]);
    }
    for (index, function) in compiled.iter().enumerate() {
        let relocations: Vec<ModuleReloc> = function
            .relocations
            .iter()
            .map(|relocation| ModuleReloc {
                offset: relocation.offset,
                kind: relocation.kind,
                name: of_shared[&relocation.callee.index()].into(),
                addend: relocation.addend,
            })
            .collect();
        object
            .define_function_bytes(
                of_shared[&index],
                function.alignment,
                &function.bytes,
                &relocations,
            )
            .map_err(|error| broken(&error))?;
    }
    Ok(())
}

fn put_data(
    object: &mut ObjectModule,
    interface: &Interface,
    ids: &Ids,
) -> Result<(), CodegenError> {
    let mut put = |id: DataId, bytes: Vec<u8>, alignment: u64| {
        let mut data = DataDescription::new();
        data.define(bytes.into_boxed_slice());
        data.set_align(alignment);
        object.define_data(id, &data).map_err(|error| broken(&error))
    };
    put(ids.header, interface.weights_file.header.clone(), 8)?;
    put(ids.tensors, safetensors::table(&interface.weights_file.tensors), 8)?;
    put(ids.reader.words, safetensors::words(), 1)?;
    put(ids.messages, weights::messages(), 1)?;
    if let (Some(id), Some(image)) = (ids.embedded, &interface.embedded) {
        put(id, image.clone(), ALIGNMENT)?;
    }
    for (&id, table) in ids.tables.iter().zip(&interface.tables) {
        put(id, table.clone(), ALIGNMENT)?;
    }
    for (&id, value) in ids.first_values.iter().zip(&interface.first_values) {
        put(id, value.bytes.clone(), 8)?;
    }
    Ok(())
}

/// Defines everything that a program may call.
fn entries(
    object: &mut ObjectModule,
    ids: &Ids,
    interface: &Interface,
) -> Result<(), CodegenError> {
    let word = types::I64;
    let mut needed = interface.state_bytes;
    for entry in &interface.entries {
        if let StateUse::Needs(bytes) = entry.state {
            needed = needed.min(bytes);
        }
        let (whole_type, part_type) = (
            glue::signature(object, &[word], &[types::I32]),
            glue::signature(object, &[types::I32, types::I32, types::I32, word], &[types::I32]),
        );
        let linkage = if entry.in_parts { Linkage::Export } else { Linkage::Local };
        let part = object
            .declare_function(&format!("{}_part", entry.symbol), linkage, &part_type)
            .map_err(|error| broken(&error))?;
        let whole = export(object, &entry.symbol, &whole_type)?;
        step::part(object, ids, interface, entry, part)?;
        step::whole(object, entry, whole, part)?;
    }
    let name = |name: &str| format!("{}_{name}", interface.prefix);
    let file_type = glue::signature(object, &[word; 4], &[types::I32]);
    let load = export(object, &name("load"), &file_type)?;
    weights::load(object, ids, interface, load)?;
    let save = export(object, &name("save"), &file_type)?;
    weights::save(object, ids, interface, needed, save)?;
    let strerror_type = glue::signature(object, &[types::I32], &[word]);
    let strerror = export(object, &name("strerror"), &strerror_type)?;
    weights::strerror(object, ids, strerror)
}

fn export(
    object: &mut ObjectModule,
    name: &str,
    signature: &Signature,
) -> Result<FuncId, CodegenError> {
    object.declare_function(name, Linkage::Export, signature).map_err(|error| broken(&error))
}

fn refused(what: &str) -> CodegenError {
    CodegenError::Unsupported {
        backend: NAME,
        function: "any function".to_owned(),
        what: what.to_owned(),
    }
}

/// What the module says is a defect of ours: names and signatures come from here.
fn broken(error: &dyn std::fmt::Display) -> CodegenError {
    CodegenError::Bug {
        backend: NAME,
        function: "any function".to_owned(),
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
