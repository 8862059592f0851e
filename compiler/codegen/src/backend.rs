//! The trait that both back ends implement.

use dlc_ir::target::TargetDesc;
use dlc_ir::vector::{FuncId, Function, Module};

/// A call from compiled code to another function of the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// Byte offset of the field to patch.
    pub offset: u32,
    /// The function called.
    pub callee: FuncId,
    /// How the field is filled, in Cranelift's terms.
    pub kind: cranelift_codegen::binemit::Reloc,
    /// Added to the callee's address.
    pub addend: i64,
}

/// One compiled function.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Machine code and its constants; position-independent but for the relocations.
    pub bytes: Vec<u8>,
    /// Calls to other functions of the module.
    pub relocations: Vec<Relocation>,
    /// Required alignment of the first byte, a power of two.
    pub alignment: u64,
    /// Machine instructions emitted, for statistics.
    pub n_instructions: usize,
}

/// What a back end can refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodegenError {
    /// The function holds something that this back end does not compile.
    #[error("{backend} cannot compile {function}: {what}")]
    Unsupported {
        /// Name of the back end.
        backend: &'static str,
        /// Name of the function.
        function: String,
        /// What it met.
        what: String,
    },
    /// A law of the compiler is broken.
    #[error("compiler bug in {backend}, function {function}: {what}")]
    Bug {
        /// Name of the back end.
        backend: &'static str,
        /// Name of the function.
        function: String,
        /// What was found.
        what: String,
    },
}

/// Turns functions of vector IR into machine code.
pub trait Backend: Send + Sync {
    /// Name as it appears in options and reports.
    fn name(&self) -> &'static str;
    /// What passes may know of the machine it compiles for.
    fn target(&self) -> TargetDesc;
    /// Whether this machine can run the code.
    fn runs_here(&self) -> bool;
    /// Compiles one function of a module.
    fn compile(&self, module: &Module, function: &Function) -> Result<Compiled, CodegenError>;
}

/// Looks a callee up by reference; drivers need its name in messages only.
#[allow(dead_code)]
pub(crate) fn callee_name(module: &Module, callee: FuncId) -> &str {
    &module.functions[callee].name
}
