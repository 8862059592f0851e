//! The back end for 128-bit vectors: all of vector IR through Cranelift.
//!
//! It compiles for machines, levels of processors and tests that do not use the wide back end. Wider vectors are split by [`crate::legalize()`] first.
//!
//! * Every vector lives in a whole 128-bit register, also one lane or two `f32`: the lanes above are unspecified and
//!   never reach memory, an Int or a trap. Masks are lanes of all ones or all zeros.
//! * Cranelift contracts and reassociates nothing, so an operation here is an operation there. What it would do by
//!   calling a library (`floor` on old processors) is refused after compilation.
//! * Processors without fused multiply-add get the same bits from more instructions, in single precision; in double
//!   precision it is refused.
//!
//! **Invariant:** the result depends on the function and on the options alone, never on the machine that compiles.

mod control;
mod fused;
mod halves;
mod lanes;
mod memory;
mod ops;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::ExternalName;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context, FinalizedRelocTarget};
use dlc_ir::entity::EntityRef;
use dlc_ir::target::{Isa, TargetDesc};
use dlc_ir::vector::{FuncId, Function, FunctionKind, Module};

use crate::backend::{Backend, CodegenError, Compiled, Relocation};
use crate::legalize::legalize;
use crate::object::Level;

const NAME: &str = "cranelift";

/// Bytes of the vector registers that this back end uses.
const REGISTER_BYTES: usize = 16;

/// Cranelift's names of what the x86-64-v3 level has and code for 128-bit vectors can use. AVX-512 is left out on
/// purpose: it would add little at this width, and code would differ between machines that have it and those that do not.
const X86_64_V3: [&str; 10] = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
];

/// What the x86-64-v2 level has.
const X86_64_V2: [&str; 5] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"];

/// How code is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CraneliftOptions {
    /// Cranelift's names of the processor features to use (`has_fma`); `None`: those of this machine that 128-bit code
    /// profits from.
    pub features: Option<&'static [&'static str]>,
    /// For objects that are linked anywhere; false for code that runs in this process.
    pub position_independent: bool,
    /// Whether Cranelift verifies its own IR, which doubles the time of compilation.
    pub verify: bool,
}

impl CraneliftOptions {
    /// For object files: position-independent code for every processor of a level, whatever this machine has.
    pub fn for_objects(level: Level) -> Self {
        CraneliftOptions {
            features: Some(match level {
                Level::V2 => &X86_64_V2,
                Level::V3 | Level::V4 => &X86_64_V3,
            }),
            position_independent: true,
            ..CraneliftOptions::default()
        }
    }
}

impl Default for CraneliftOptions {
    fn default() -> Self {
        CraneliftOptions {
            features: None,
            position_independent: false,
            verify: cfg!(debug_assertions),
        }
    }
}

/// The 128-bit back end. Cheap to keep, callable from several threads.
pub struct CraneliftBackend {
    /// For kernels: optimised.
    kernels: OwnedTargetIsa,
    /// For phases and segments: compiled fast, with frame pointers so that profilers see through them.
    drivers: OwnedTargetIsa,
    runs_here: bool,
}

impl CraneliftBackend {
    /// A back end for this machine with [`CraneliftOptions::default`].
    ///
    /// # Errors
    /// When Cranelift has no support for this machine's architecture.
    pub fn host() -> Result<Self, CodegenError> {
        Self::new(CraneliftOptions::default())
    }

    /// A back end for this machine's architecture.
    ///
    /// # Errors
    /// When Cranelift has no support for the architecture or does not know a feature.
    pub fn new(options: CraneliftOptions) -> Result<Self, CodegenError> {
        let mut kernels = settings::builder();
        set(&mut kernels, "opt_level", "speed")?;
        let mut drivers = settings::builder();
        set(&mut drivers, "opt_level", "none")?;
        set(&mut drivers, "regalloc_algorithm", "single_pass")?;
        set(&mut drivers, "preserve_frame_pointers", "true")?;
        for flags in [&mut kernels, &mut drivers] {
            set(flags, "is_pic", bool_name(options.position_independent))?;
            set(flags, "enable_verifier", bool_name(options.verify))?;
            // Frames are small; buffers never lie on the stack.
            set(flags, "enable_probestack", "false")?;
        }
        let mut runs_here = true;
        let mut finish = |flags: settings::Builder| -> Result<OwnedTargetIsa, CodegenError> {
            let (builder, runs) = isa_builder(options.features)?;
            runs_here = runs;
            builder.finish(settings::Flags::new(flags)).map_err(|error| refused(&error))
        };
        let (kernels, drivers) = (finish(kernels)?, finish(drivers)?);
        Ok(CraneliftBackend { kernels, drivers, runs_here })
    }

    /// The Cranelift IR of a function before optimisation, for `dump`.
    pub fn clif(&self, function: &Function) -> String {
        let function = legalize(function, REGISTER_BYTES);
        let mut context = Context::new();
        control::translate(&mut context, self.isa_for(&function), &function);
        context.func.display().to_string()
    }

    fn isa_for(&self, function: &Function) -> &dyn isa::TargetIsa {
        match function.kind {
            FunctionKind::Kernel => &*self.kernels,
            FunctionKind::Phase | FunctionKind::Segment => &*self.drivers,
        }
    }
}

impl Backend for CraneliftBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn target(&self) -> TargetDesc {
        TargetDesc::typical(Isa::V128)
    }

    fn runs_here(&self) -> bool {
        self.runs_here
    }

    fn compile(&self, _module: &Module, function: &Function) -> Result<Compiled, CodegenError> {
        let isa = self.isa_for(function);
        let function = legalize(function, REGISTER_BYTES);
        let mut context = Context::new();
        control::translate(&mut context, isa, &function);
        if let Err(error) = context.compile(isa, &mut ControlPlane::default()) {
            let what = cranelift_codegen::print_errors::pretty_error(error.func, error.inner);
            return Err(bug(&function, what));
        }
        let code = context.compiled_code().expect("compiled just above");
        let mut relocations = Vec::new();
        for reloc in code.buffer.relocs() {
            let callee = match &reloc.target {
                FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                    FuncId::from_index(context.func.params.user_named_funcs()[*name].index as usize)
                }
                target => return Err(refused_call(&function, target)),
            };
            relocations.push(Relocation {
                offset: reloc.offset,
                callee,
                kind: reloc.kind,
                addend: reloc.addend,
            });
        }
        let alignment = u64::from(code.buffer.alignment)
            .max(u64::from(isa.function_alignment().minimum))
            .max(u64::from(isa.function_alignment().preferred));
        Ok(Compiled {
            bytes: code.code_buffer().to_vec(),
            relocations,
            alignment,
            n_instructions: count_instructions(isa, code),
        })
    }
}

/// Counts machine instructions. The constants behind the code are told apart by source locations, which all
/// instructions have and data has not; on other architectures than x86-64 instructions are taken as four bytes.
fn count_instructions(isa: &dyn isa::TargetIsa, code: &CompiledCode) -> usize {
    let bytes = code.code_buffer();
    let end = code.buffer.get_srclocs_sorted().last().map_or(bytes.len(), |last| last.end as usize);
    if !is_x86(isa) {
        return end / 4;
    }
    let mut decoder = iced_x86::Decoder::new(64, &bytes[..end], iced_x86::DecoderOptions::NONE);
    let mut instruction = iced_x86::Instruction::default();
    let mut count = 0;
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        count += 1;
    }
    count
}

fn is_x86(isa: &dyn isa::TargetIsa) -> bool {
    isa.name() == "x64"
}

/// Of the architectures that Cranelift knows, x86-64 alone can lack fused multiply-add.
fn has_fma(isa: &dyn isa::TargetIsa) -> bool {
    let has = |flag: &settings::Value| flag.name == "has_fma" && flag.as_bool() == Some(true);
    !is_x86(isa) || isa.isa_flags().iter().any(has)
}

/// The builder of an instruction set with its features, and whether this machine can run them.
fn isa_builder(
    features: Option<&'static [&'static str]>,
) -> Result<(isa::Builder, bool), CodegenError> {
    let host = cranelift_native::builder().map_err(|error| refused(&error))?;
    let plain = settings::Flags::new(settings::builder());
    let host_isa = host.finish(plain).map_err(|error| refused(&error))?;
    let host_has = |feature: &str| {
        host_isa.isa_flags().iter().any(|flag| flag.name == feature && flag.as_bool() == Some(true))
    };
    if !is_x86(&*host_isa) && features.is_none() {
        return Ok((cranelift_native::builder().map_err(|error| refused(&error))?, true));
    }
    let chosen: Vec<&str> = match features {
        Some(features) => features.to_vec(),
        None => X86_64_V3.into_iter().filter(|feature| host_has(feature)).collect(),
    };
    let mut builder =
        cranelift_native::builder_with_options(false).map_err(|error| refused(&error))?;
    for feature in &chosen {
        builder.enable(feature).map_err(|error| refused(&format!("{feature}: {error}")))?;
    }
    Ok((builder, chosen.iter().all(|feature| host_has(feature))))
}

fn set(flags: &mut settings::Builder, name: &str, value: &str) -> Result<(), CodegenError> {
    flags.set(name, value).map_err(|error| refused(&format!("{name}: {error}")))
}

const fn bool_name(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// The error of a machine or an option that Cranelift does not know.
fn refused(error: &dyn std::fmt::Display) -> CodegenError {
    CodegenError::Unsupported {
        backend: NAME,
        function: "any function".to_owned(),
        what: error.to_string(),
    }
}

fn refused_call(function: &Function, target: &FinalizedRelocTarget) -> CodegenError {
    CodegenError::Unsupported {
        backend: NAME,
        function: function.name.clone(),
        what: format!(
            "an operation that this processor level has no instruction for (library call {target:?})"
        ),
    }
}

fn bug(function: &Function, what: String) -> CodegenError {
    CodegenError::Bug { backend: NAME, function: function.name.clone(), what }
}
