//! Code in executable memory of this process.
//!
//! A module is compiled function by function, in parallel when there is enough of it, and placed in one reservation
//! that is written while it is writable, then made executable, never both. Dropping the last [`Arc`] of a [`JitCode`]
//! gives the memory back.
#![allow(unsafe_code, reason = "machine code is entered through function pointers made here")]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cranelift_codegen::ir::Signature;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings;
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{Linkage, Module as _, ModuleReloc};
use dlc_abi::{LoadedProgram, Manifest, SegmentFn};
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::vector::{Block, FuncId, Function, FunctionKind, Module, Stmt};

use crate::backend::{Backend, CodegenError, Compiled};

/// How kernels and phases are called: one word for each parameter.
pub type KernelFn = unsafe extern "C" fn(args: *const i64);

/// A page, the largest alignment that a function may ask for.
const PAGE_BYTES: u64 = 4096;

/// Statements below which starting threads costs more than it saves: about a millisecond of compilation.
const MIN_STATEMENTS_FOR_THREADS: usize = 500;

/// What compiling a module took and made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JitStats {
    /// Functions of the module.
    pub n_functions: usize,
    /// Functions that were compiled; the others have the same content as one of these and share its code.
    pub n_compiled: usize,
    /// Machine instructions.
    pub n_instructions: usize,
    /// Bytes of code and its constants.
    pub code_bytes: usize,
    /// Threads that compiled.
    pub n_threads: usize,
    /// From vector IR to bytes.
    pub compile_time: Duration,
    /// From bytes to executable memory.
    pub place_time: Duration,
}

/// Compiled functions, ready to be called as long as this lives.
pub struct JitCode {
    entries: BTreeMap<String, Entry>,
    stats: JitStats,
    /// Owns the memory. Behind a lock only because it is not shareable itself; nothing uses it until the drop.
    module: Mutex<Option<JITModule>>,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Segment(SegmentFn),
    Called(KernelFn),
}

impl JitCode {
    /// The segment of that name. The pointer is valid while this `JitCode` lives: keep the [`Arc`] as long.
    pub fn segment(&self, name: &str) -> Option<SegmentFn> {
        match self.entries.get(name)? {
            Entry::Segment(function) => Some(*function),
            Entry::Called(_) => None,
        }
    }

    /// The kernel or phase of that name. The pointer is valid while this `JitCode` lives.
    pub fn kernel(&self, name: &str) -> Option<KernelFn> {
        match self.entries.get(name)? {
            Entry::Called(function) => Some(*function),
            Entry::Segment(_) => None,
        }
    }

    /// Sizes and times.
    pub fn stats(&self) -> JitStats {
        self.stats
    }
}

impl std::fmt::Debug for JitCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitCode").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Drop for JitCode {
    fn drop(&mut self) {
        let module = self.module.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = module.take() {
            // SAFETY: no code of this module may run or be entered any more. `segment` and `kernel` say that their
            // pointers live as long as `self`, calling them is unsafe, and whoever calls holds the `Arc` meanwhile.
            // `tests::memory_is_given_back` fails if this is left out.
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles a program into executable memory and binds its segments to their manifest. `updates` says whether some segment
/// writes a parameter or state.
///
/// The module and the manifest must come from one run of the passes: that the code touches no memory but the manifest's
/// buffers is a law of the compiler, which its interpreters and guard pages check in the tests.
///
/// # Errors
/// As [`compile_jit`], and a bug if a segment of the manifest is not in the module.
pub fn load(
    module: &Module,
    manifest: Arc<Manifest>,
    updates: bool,
    backend: &dyn Backend,
) -> Result<(LoadedProgram, Arc<JitCode>), CodegenError> {
    let code = compile_jit(module, backend)?;
    let segments = manifest
        .segments
        .iter()
        .map(|segment| {
            code.segment(&segment.symbol).ok_or_else(|| CodegenError::Bug {
                backend: backend.name(),
                function: segment.symbol.clone(),
                what: "the manifest names a segment that the module lacks".to_owned(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let owner: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(&code) as _;
    // SAFETY: there is a function for every segment, checked above, and `owner` keeps the code mapped. That the code stays
    // within the buffers and orders its parts by the barrier is what vectorisation promises for the module and manifest that
    // it makes together; the race check, the bounds of the interpreters and the guard pages in the tests of the driver would
    // find a breach.
    let program = unsafe { LoadedProgram::new(manifest, segments, updates, owner) };
    Ok((program, code))
}

/// Compiles a module into executable memory. Functions that differ in their names only are compiled once.
///
/// # Errors
/// What the back ends refuse; of several refusals that of the first function. `Unsupported` also when this machine lacks
/// instructions that a back end uses or refuses executable memory.
pub fn compile_jit(module: &Module, backend: &dyn Backend) -> Result<Arc<JitCode>, CodegenError> {
    if !backend.runs_here() {
        return Err(refused(backend.name(), &"this processor lacks instructions it uses"));
    }
    let start = Instant::now();
    let shared = Shared::of(module);
    let (compiled, n_threads) = compile_all(&shared, backend)?;
    let compile_time = start.elapsed();
    let start = Instant::now();
    let (jit, entries) = place(module, &shared, &compiled)?;
    let stats = JitStats {
        n_functions: module.functions.len(),
        n_compiled: compiled.len(),
        n_instructions: compiled.iter().map(|function| function.n_instructions).sum(),
        code_bytes: compiled.iter().map(|function| function.bytes.len()).sum(),
        n_threads,
        compile_time,
        place_time: start.elapsed(),
    };
    Ok(Arc::new(JitCode { entries, stats, module: Mutex::new(Some(jit)) }))
}

/// A module whose equal functions are one, and who stands for whom.
pub(crate) struct Shared {
    pub(crate) module: Module,
    /// For each function of the old module its place in the new one.
    pub(crate) stand_ins: IndexVec<FuncId, FuncId>,
}

impl Shared {
    /// Callees stand before callers, so that calls are redirected before callers are compared.
    pub(crate) fn of(module: &Module) -> Shared {
        let mut shared = Shared { module: Module::default(), stand_ins: IndexVec::new() };
        let mut candidates: BTreeMap<(usize, usize, usize), Vec<FuncId>> = BTreeMap::new();
        for function in module.functions.values() {
            let mut function = function.clone();
            redirect(&mut function.body, &shared.stand_ins);
            let shape = (function.params.len(), function.types.len(), function.body.stmts.len());
            let candidates = candidates.entry(shape).or_default();
            let same = candidates
                .iter()
                .find(|&&other| same_content(&shared.module.functions[other], &function));
            let stand_in = match same {
                Some(&other) => other,
                None => {
                    let id = shared.module.functions.push(function);
                    candidates.push(id);
                    id
                }
            };
            shared.stand_ins.push(stand_in);
        }
        shared
    }
}

fn same_content(a: &Function, b: &Function) -> bool {
    a.kind == b.kind && a.params == b.params && a.types == b.types && a.body == b.body
}

fn redirect(block: &mut Block, stand_ins: &IndexVec<FuncId, FuncId>) {
    for stmt in &mut block.stmts {
        match stmt {
            Stmt::Call { func, .. } => *func = stand_ins[*func],
            Stmt::Loop(inner) => redirect(&mut inner.body, stand_ins),
            Stmt::If { then, .. } => redirect(then, stand_ins),
            Stmt::Let(..)
            | Stmt::Store { .. }
            | Stmt::IntStore { .. }
            | Stmt::Transpose { .. }
            | Stmt::Barrier => {}
        }
    }
}

/// Compiles every function; returns them in order and the number of threads used.
pub(crate) fn compile_all(
    shared: &Shared,
    backend: &dyn Backend,
) -> Result<(Vec<Compiled>, usize), CodegenError> {
    let functions = &shared.module.functions;
    let compile = |id: FuncId| backend.compile(&shared.module, &functions[id]);
    let statements: Vec<usize> =
        functions.values().map(|function| count_statements(&function.body)).collect();
    let n_threads = if statements.iter().sum::<usize>() < MIN_STATEMENTS_FOR_THREADS {
        1
    } else {
        std::thread::available_parallelism().map_or(1, NonZero::get).min(functions.len())
    };
    if n_threads <= 1 {
        let compiled: Result<Vec<Compiled>, CodegenError> = functions.keys().map(compile).collect();
        return Ok((compiled?, 1));
    }
    // Functions are claimed one by one, the longest first so that no thread begins one when the others are done. Who compiles
    // which does not change the code.
    let mut order: Vec<usize> = (0..functions.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(statements[index]));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((index, compile(FuncId::from_index(index))));
        }
        done
    };
    let mut results: Vec<(usize, Result<Compiled, CodegenError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    results.sort_by_key(|(index, _)| *index);
    let compiled: Result<Vec<Compiled>, CodegenError> =
        results.into_iter().map(|(_, result)| result).collect();
    Ok((compiled?, n_threads))
}

fn count_statements(block: &Block) -> usize {
    block
        .stmts
        .iter()
        .map(|stmt| match stmt {
            Stmt::Loop(inner) => 1 + count_statements(&inner.body),
            Stmt::If { then, .. } => 1 + count_statements(then),
            Stmt::Let(..)
            | Stmt::Store { .. }
            | Stmt::IntStore { .. }
            | Stmt::Transpose { .. }
            | Stmt::Call { .. }
            | Stmt::Barrier => 1,
        })
        .sum()
}

/// Copies code into one reservation, patches calls and makes it executable.
fn place(
    module: &Module,
    shared: &Shared,
    compiled: &[Compiled],
) -> Result<(JITModule, BTreeMap<String, Entry>), CodegenError> {
    let broken = |error: &dyn std::fmt::Display| refused("jit", error);
    let isa = host_isa()?;
    let mut builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    let reserve: u64 =
        compiled.iter().map(|function| function.bytes.len() as u64 + PAGE_BYTES).sum();
    let memory = ArenaMemoryProvider::new_with_size(reserve as usize + PAGE_BYTES as usize)
        .map_err(|error| broken(&error))?;
    builder.memory_provider(Box::new(memory));
    let mut jit = JITModule::new(builder);
    // The bytes are ready, so the signature is only for the books.
    let signature = Signature::new(jit.isa().default_call_conv());
    let mut ids = Vec::with_capacity(compiled.len());
    for function in shared.module.functions.values() {
        let id = jit
            .declare_function(&function.name, Linkage::Local, &signature)
            .map_err(|error| broken(&error))?;
        ids.push(id);
    }
    for (&id, function) in ids.iter().zip(compiled) {
        let relocations: Vec<ModuleReloc> = function
            .relocations
            .iter()
            .map(|relocation| ModuleReloc {
                offset: relocation.offset,
                kind: relocation.kind,
                name: ids[relocation.callee.index()].into(),
                addend: relocation.addend,
            })
            .collect();
        assert!(function.alignment <= PAGE_BYTES, "functions are aligned to a page at most");
        jit.define_function_bytes(id, function.alignment, &function.bytes, &relocations)
            .map_err(|error| broken(&error))?;
    }
    jit.finalize_definitions().map_err(|error| broken(&error))?;
    let mut entries = BTreeMap::new();
    for (function, &stand_in) in module.functions.values().zip(shared.stand_ins.values()) {
        let address = jit.get_finalized_function(ids[stand_in.index()]);
        entries.insert(function.name.clone(), entry(function.kind, address));
    }
    Ok((jit, entries))
}

fn entry(kind: FunctionKind, address: *const u8) -> Entry {
    match kind {
        FunctionKind::Segment => {
            // SAFETY: back ends compile a segment as a `SegmentFn`, and the address is that of its first byte in memory
            // that is executable from here on. `tests::segments_wait_and_report` calls through it.
            Entry::Segment(unsafe { std::mem::transmute::<*const u8, SegmentFn>(address) })
        }
        FunctionKind::Kernel | FunctionKind::Phase => {
            // SAFETY: as above, with the signature that kernels and phases have. Every test of a kernel calls it.
            Entry::Called(unsafe { std::mem::transmute::<*const u8, KernelFn>(address) })
        }
    }
}

/// The module asks it for pointer sizes and alignments only; code arrives as bytes.
fn host_isa() -> Result<OwnedTargetIsa, CodegenError> {
    let broken = |error: &dyn std::fmt::Display| refused("jit", error);
    let builder = cranelift_native::builder_with_options(false).map_err(|error| broken(&error))?;
    builder.finish(settings::Flags::new(settings::builder())).map_err(|error| broken(&error))
}

fn refused(backend: &'static str, what: &dyn std::fmt::Display) -> CodegenError {
    CodegenError::Unsupported {
        backend,
        function: "any function".to_owned(),
        what: what.to_string(),
    }
}
