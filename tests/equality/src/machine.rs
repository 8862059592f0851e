//! Machine code through the runtime.

use crate::placed::{gathered, spread};
use dlc_abi::{BufferDesc, BufferRole, ElemType, LoadedProgram};
use dlc_exec::{
    Element, Fill, Gang, Memory, MemoryLayout, Persistent, Placement, Program, Workspace,
    WorkspaceOptions,
};
use dlc_ir::graph::{Data, Outputs, Tensor};
use indexmap::IndexMap;
use std::sync::Arc;

/// A loaded program.
pub(crate) struct Loaded {
    program: Program,
    layout: Arc<MemoryLayout>,
}

impl Loaded {
    pub(crate) fn new(loaded: LoadedProgram) -> Result<Loaded, String> {
        let program = Program::load(loaded).map_err(|error| error.to_string())?;
        let layout = MemoryLayout::of(&[program.manifest()]).map_err(|error| error.to_string())?;
        Ok(Loaded { program, layout })
    }

    /// Runs all segments on fresh memory in which what was never written is NaN.
    pub(crate) fn run(
        &self,
        gang: &Gang,
        placement: Placement,
        leaves: &IndexMap<String, Tensor>,
        batch: i64,
    ) -> Result<Outputs, String> {
        let manifest = self.program.manifest();
        let options = WorkspaceOptions { parts: gang.threads(), placement, fill: Fill::Ones };
        let mut workspace = Workspace::new(&self.program, &self.layout, options)
            .map_err(|error| error.to_string())?;
        let mut memory = Memory::with_placement(&self.layout, placement, Fill::Ones)
            .map_err(|error| error.to_string())?;
        let max_batch = manifest.max_batch;
        for desc in &manifest.buffers {
            let Some(tensor) = leaves.get(&desc.name) else { continue };
            let target = match desc.role {
                BufferRole::Input => Target::Input(&mut workspace, max_batch as usize),
                BufferRole::Param | BufferRole::State => Target::Memory(&mut memory),
                BufferRole::Output
                | BufferRole::Temporary
                | BufferRole::Table
                | BufferRole::Message => continue,
            };
            match spread(desc, max_batch, tensor) {
                Data::F32(values) => target.set(&desc.name, &values)?,
                Data::F64(values) => target.set(&desc.name, &values)?,
                Data::I32(values) => target.set(&desc.name, &values)?,
                Data::I64(values) => target.set(&desc.name, &values)?,
                Data::U8(values) => target.set(&desc.name, &values)?,
                Data::Bool(values) => {
                    let bytes: Vec<u8> = values.iter().map(|&x| u8::from(x)).collect();
                    target.set(&desc.name, &bytes)?;
                }
            }
        }
        workspace
            .run(
                Persistent::Exclusive(&mut memory),
                batch as usize,
                gang,
                self.program.all_segments(),
            )
            .map_err(|error| error.to_string())?;
        let mut outputs = Outputs { results: IndexMap::new(), assigns: IndexMap::new() };
        for desc in &manifest.buffers {
            let into = match desc.role {
                BufferRole::Output => &mut outputs.results,
                BufferRole::Param | BufferRole::State => &mut outputs.assigns,
                BufferRole::Input
                | BufferRole::Temporary
                | BufferRole::Table
                | BufferRole::Message => continue,
            };
            let whole = whole(desc, &workspace, &memory, max_batch as usize)?;
            into.insert(desc.name.clone(), gathered(desc, max_batch, batch, &whole));
        }
        Ok(outputs)
    }
}

/// Where a leaf's value goes.
enum Target<'a> {
    Input(&'a mut Workspace, usize),
    Memory(&'a mut Memory),
}

impl Target<'_> {
    fn set<T: Element>(self, name: &str, values: &[T]) -> Result<(), String> {
        let set = match self {
            Target::Input(workspace, batch) => workspace.set_input(name, batch, values),
            Target::Memory(memory) => memory.set(name, values),
        };
        set.map_err(|error| error.to_string())
    }
}

/// All elements of an output, parameter or state.
fn whole(
    desc: &BufferDesc,
    workspace: &Workspace,
    memory: &Memory,
    max_batch: usize,
) -> Result<Data, String> {
    fn elements<T: Element>(
        desc: &BufferDesc,
        workspace: &Workspace,
        memory: &Memory,
        max_batch: usize,
    ) -> Result<Vec<T>, String> {
        let found = if desc.role == BufferRole::Output {
            workspace.output::<T>(&desc.name, max_batch)
        } else {
            memory.read::<T>(&desc.name)
        };
        found.map(<[T]>::to_vec).map_err(|error| error.to_string())
    }
    Ok(match desc.elem {
        ElemType::F32 => Data::F32(elements(desc, workspace, memory, max_batch)?),
        ElemType::F64 => Data::F64(elements(desc, workspace, memory, max_batch)?),
        ElemType::I32 => Data::I32(elements(desc, workspace, memory, max_batch)?),
        ElemType::I64 => Data::I64(elements(desc, workspace, memory, max_batch)?),
        ElemType::U8 => Data::U8(elements(desc, workspace, memory, max_batch)?),
        ElemType::Bool => {
            let bytes: Vec<u8> = elements(desc, workspace, memory, max_batch)?;
            if let Some(byte) = bytes.iter().find(|&&byte| byte > 1 && byte != 0xff) {
                return Err(format!("`{}` holds the truth value {byte}", desc.name));
            }
            Data::Bool(bytes.iter().map(|&byte| byte != 0).collect())
        }
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            return Err(format!("`{}` is of a storage type", desc.name));
        }
    })
}
