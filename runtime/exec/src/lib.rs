//! Runs compiled segments: gang of threads, barrier, arena, floating-point environment.
//!
//! A [`Program`] is a manifest with the addresses of its segments. A [`Memory`] holds what outlives a step
//! (parameters, optimizer state); a [`Workspace`] holds what one running step needs (inputs, outputs,
//! temporaries, scratch). [`Workspace::run`] is the only place from which compiled code is entered.
//!
//! **Invariant:** a steady step allocates nothing, holds no lock another step may wait for, and gives the same bits
//! whether it got the [`Gang`] or runs alone.
#![deny(unsafe_code)]

mod affinity;
#[expect(unsafe_code, reason = "compiled code reaches the barrier through a raw context")]
mod barrier;
mod event;
mod file_map;
#[expect(unsafe_code, reason = "the floating-point control register has no safe access")]
mod float_env;
mod free_list;
#[expect(unsafe_code, reason = "a borrowed job is handed to threads that outlive it")]
mod gang;
#[expect(
    unsafe_code,
    reason = "aligned allocations and guard pages are owned through raw pointers"
)]
mod memory;
mod persistent;
#[expect(unsafe_code, reason = "the caller vouches for the segments of a program")]
mod program;
#[expect(unsafe_code, reason = "the jump into compiled code")]
mod step;
mod workspace;

pub use affinity::available_threads;
pub use barrier::{Barrier, barrier_entry};
pub use file_map::FileMap;
pub use float_env::FloatEnv;
pub use free_list::{FreeList, Lease};
pub use gang::{Gang, GangConfig, GangError, MAX_THREADS, Team};
pub use memory::{ALIGNMENT, Buffer, Element, Fill, MemoryError, Placement};
pub use persistent::{Entry, LayoutError, Memory, MemoryLayout, Persistent};
pub use program::{Access, Program, ProgramError};
pub use step::StepError;
pub use workspace::{BufferError, Workspace, WorkspaceError, WorkspaceOptions};
