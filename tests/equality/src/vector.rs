//! Vector programs on checked memory: every kernel in the interpreter, or kernels as machine code in the emulator.

use crate::placed::{from_bytes, gathered, spread, to_bytes};
use dlc_abi::{BufferRole, STATUS_OK};
use dlc_codegen::Backend;
use dlc_ir::graph::{Outputs, Tensor};
use dlc_ir::vector::{
    FuncId, FunctionKind, Interpreter, KernelRunner, Memory, Module, RegionId, SegmentOptions,
    lay_out_context,
};
use dlc_passes::vectorize::VectorProgram;
use dlc_x86_emulator as x86;
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// Instructions after which a kernel is taken for endless.
const MAX_STEPS: u64 = 50_000_000;

/// Kernels of a module as machine code for the emulator.
pub(crate) struct Emulated {
    kernels: BTreeMap<FuncId, x86::Program>,
}

impl Emulated {
    /// Compiles and decodes all kernels.
    pub(crate) fn new(module: &Module, backend: &dyn Backend) -> Result<Emulated, String> {
        let mut kernels = BTreeMap::new();
        for (id, function) in module.functions.iter() {
            if function.kind != FunctionKind::Kernel {
                continue;
            }
            let compiled = backend.compile(module, function).map_err(|error| error.to_string())?;
            let program = x86::Program::decode(&compiled.bytes)
                .map_err(|error| format!("{}: {error}", function.name))?;
            kernels.insert(id, program);
        }
        Ok(Emulated { kernels })
    }
}

impl KernelRunner for Emulated {
    fn run(
        &mut self,
        module: &Module,
        func: FuncId,
        args: &[i64],
        memory: &mut Memory,
    ) -> Result<(), String> {
        let result = self.kernels[&func].call(args, &mut Checked(memory), MAX_STEPS);
        result.map(|_| ()).map_err(|error| format!("{}: {error}", module.functions[func].name))
    }
}

/// The interpreter's memory as the emulator sees it.
struct Checked<'a>(&'a mut Memory);

impl x86::Memory for Checked<'_> {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), x86::Fault> {
        let refused = x86::Fault { address, bytes: bytes.len(), is_write: false };
        bytes.copy_from_slice(self.0.read(address as i64, bytes.len()).map_err(|_| refused)?);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), x86::Fault> {
        let refused = x86::Fault { address, bytes: bytes.len(), is_write: true };
        self.0.write(address as i64, bytes.len()).map_err(|_| refused)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Runs all segments of a program. With `kernels` those run in the interpreter's place, and races are not looked for.
pub(crate) fn run(
    program: &VectorProgram,
    kernels: Option<&mut Emulated>,
    leaves: &IndexMap<String, Tensor>,
    batch: i64,
    parts: usize,
    seed: u64,
) -> Result<Outputs, String> {
    let manifest = &program.manifest;
    let check_races = kernels.is_none();
    let mut interpreter = Interpreter::new(&program.module)
        .map_err(|broken| broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    if let Some(kernels) = kernels {
        interpreter = interpreter.with_runner(kernels);
    }
    let mut memory = Memory::new();
    // What was never written shows as these numbers, not as zeros.
    let arena = memory.add("arena", &vec![0x7f; manifest.arena_bytes as usize]);
    let arena_base = memory.base(arena);
    let mut regions: Vec<Option<RegionId>> = Vec::new();
    let mut addresses = Vec::new();
    for desc in &manifest.buffers {
        if let (BufferRole::Temporary, Some(offset)) = (desc.role, desc.arena_offset) {
            regions.push(None);
            addresses.push(arena_base + offset as i64);
            continue;
        }
        let mut bytes = vec![0x7f; desc.bytes as usize];
        if let Some(tensor) = leaves.get(&desc.name)
            && desc.role != BufferRole::Output
        {
            let elements = to_bytes(&spread(desc, manifest.max_batch, tensor));
            bytes[..elements.len()].copy_from_slice(&elements);
        }
        let region = memory.add(desc.name.clone(), &bytes);
        addresses.push(memory.base(region));
        regions.push(Some(region));
    }
    let scratch = manifest.scratch_bytes as usize;
    let context = lay_out_context(&mut memory, &addresses, batch, scratch, parts);
    for segment in &manifest.segments {
        let (func, _) = program
            .module
            .functions
            .iter()
            .find(|(_, function)| {
                function.kind == FunctionKind::Segment && function.name == segment.symbol
            })
            .ok_or_else(|| format!("the module lacks the segment {}", segment.symbol))?;
        let parts = if segment.parallel { parts } else { 1 };
        let options = SegmentOptions { parts, seed, check_races };
        let status = interpreter
            .run_segment(func, context.context, &mut memory, options)
            .map_err(|error| error.to_string())?;
        if status != STATUS_OK {
            return Err(format!("segment {} ends with status {status}", segment.symbol));
        }
    }
    let mut outputs = Outputs { results: IndexMap::new(), assigns: IndexMap::new() };
    for (desc, region) in manifest.buffers.iter().zip(regions) {
        let into = match desc.role {
            BufferRole::Output => &mut outputs.results,
            BufferRole::Param | BufferRole::State => &mut outputs.assigns,
            BufferRole::Input | BufferRole::Temporary | BufferRole::Table | BufferRole::Message => {
                continue;
            }
        };
        let region = region.expect("only temporaries lie in the arena");
        let whole = from_bytes(desc.elem, memory.bytes(region));
        let tensor = gathered(desc, manifest.max_batch, batch, &whole);
        into.insert(desc.name.clone(), tensor);
    }
    Ok(outputs)
}
