//! Functions in machine code of x86-64 with AVX2 (8 lanes of f32) or AVX-512 (16 lanes).
//!
//! The way of a function: [`select`] turns legalised vector IR into machine steps over virtual registers, [`allocate`]
//! gives them physical ones (with [`liveness`], [`spill`] and [`moves`]), [`encode`] writes bytes. [`table`] lists the
//! instructions.
//!
//! Calling convention: `extern "C" fn(args: *const i64)` of System V; a segment takes its three arguments in registers and returns its status. Upper lanes of registers that a value does not
//! fill are unspecified, in vectors and in masks; whatever touches memory or counts lanes cleans them first.

mod allocate;
mod encode;
mod listing;
mod liveness;
mod machine;
mod moves;
mod physical;
mod select;
mod spill;
mod table;

use cranelift_codegen::binemit::Reloc;
use dlc_ir::target::{Isa, TargetDesc};
use dlc_ir::vector::{FuncId, Function, Module};

use crate::backend::{Backend, CodegenError, Compiled, Relocation};
use crate::legalize::legalize;

pub use listing::{Line, listing};

/// The back end for wide vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WideBackend {
    isa: Isa,
}

impl WideBackend {
    /// For x86-64 with AVX2, FMA, F16C and BMI (x86-64-v3).
    pub const fn avx2() -> Self {
        WideBackend { isa: Isa::Avx2 }
    }

    /// For x86-64 with AVX-512 F, BW, DQ and VL (x86-64-v4).
    pub const fn avx512() -> Self {
        WideBackend { isa: Isa::Avx512 }
    }

    fn compile_function(&self, function: &Function) -> Result<Compiled, CodegenError> {
        let function = &*legalize(function, self.target().vector_bytes);
        let bug = |what: String| CodegenError::Bug {
            backend: self.name(),
            function: function.name.clone(),
            what,
        };
        let evex = self.isa == Isa::Avx512;
        let (mut code, has_divide) = select::select(function, evex).map_err(bug)?;
        let files = register_files(evex, has_divide);
        let places = allocate::allocate(&mut code, &files).map_err(bug)?;
        let encoded = encode::encode(&code, &places, evex).map_err(bug)?;
        Ok(Compiled {
            bytes: encoded.bytes,
            relocations: encoded.calls.into_iter().map(call_at).collect(),
            alignment: 64,
            n_instructions: encoded.n_instructions,
        })
    }
}

/// A call's field holds the distance from its own end.
fn call_at((offset, callee): (u32, FuncId)) -> Relocation {
    Relocation { offset, callee, kind: Reloc::X86CallPCRel4, addend: -4 }
}

/// Registers in order of preference: those that a caller saves come first, and rdi holds the first argument.
fn register_files(evex: bool, has_divide: bool) -> allocate::Files {
    let fixed: &[u8] = if has_divide { &[encode::RAX, encode::RDX] } else { &[] };
    allocate::Files {
        gpr: [7, 0, 1, 2, 6, 8, 9, 10, 11, 3, 12, 13, 14, 15]
            .into_iter()
            .filter(|reg| !fixed.contains(reg))
            .collect(),
        vec: (0..if evex { 32 } else { 16 }).collect(),
        mask: (1..8).collect(),
        restored: &encode::CALLEE_SAVED,
    }
}

impl Backend for WideBackend {
    fn name(&self) -> &'static str {
        match self.isa {
            Isa::Avx512 => "avx512",
            Isa::Avx2 | Isa::V128 => "avx2",
        }
    }

    fn target(&self) -> TargetDesc {
        TargetDesc::typical(self.isa)
    }

    fn runs_here(&self) -> bool {
        runs_here(self.isa)
    }

    fn compile(&self, _module: &Module, function: &Function) -> Result<Compiled, CodegenError> {
        self.compile_function(function)
    }
}

#[cfg(target_arch = "x86_64")]
fn runs_here(isa: Isa) -> bool {
    let has_v3 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2");
    let has_v4 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match isa {
        Isa::Avx2 | Isa::V128 => has_v3,
        Isa::Avx512 => has_v3 && has_v4,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn runs_here(_isa: Isa) -> bool {
    false
}
