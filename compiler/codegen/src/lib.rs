//! Machine code: two back ends behind one trait, and the module that holds what they make.
//!
//! A [`Backend`] turns one function of vector IR into bytes and relocations. It is stateless and may be called from
//! several threads. `jit` places the bytes in executable memory, [`object`] in a file for linkers.
#![deny(unsafe_code)]

mod backend;
mod cranelift;
mod jit;
mod legalize;
pub mod object;
mod wide;

pub use backend::{Backend, CodegenError, Compiled, Relocation};
pub use cranelift::{CraneliftBackend, CraneliftOptions};
pub use jit::{JitCode, JitStats, KernelFn, compile_jit, load};
pub use legalize::legalize;
pub use object::compile_object;
pub use wide::{Line, WideBackend, listing};
