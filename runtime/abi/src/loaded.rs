//! A program whose code is in memory: the one thing that a compiler hands to a runtime.
#![allow(unsafe_code, reason = "declares the contract under which code addresses are handed over")]

use crate::{Manifest, SegmentFn};
use std::any::Any;
use std::sync::Arc;

/// A manifest, the functions of its segments, and whoever owns their code.
pub struct LoadedProgram {
    manifest: Arc<Manifest>,
    segments: Vec<SegmentFn>,
    updates: bool,
    owner: Arc<dyn Any + Send + Sync>,
}

impl LoadedProgram {
    /// Puts a program together. `updates` says whether some segment writes a parameter or state.
    ///
    /// # Safety
    /// There is one function for each segment of the manifest. Each, called as [`SegmentFn`] with a batch between 0 and the
    /// manifest's `max_batch` and with `0 <= part < parts`, the parts concurrently, must
    /// - touch no memory but the `bytes` of each buffer, the `scratch_bytes` of its own part, the context, and the error slot, and write
    ///   neither inputs nor tables, nor, unless `updates`, parameters or states;
    /// - order conflicting accesses of its parts by the context's barrier, and return at once when that returns non-zero;
    /// - not unwind, and leave the stack and the callee-saved registers as the C calling convention says;
    /// - stay mapped as executable code for as long as `owner` lives.
    pub unsafe fn new(
        manifest: Arc<Manifest>,
        segments: Vec<SegmentFn>,
        updates: bool,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        LoadedProgram { manifest, segments, updates, owner }
    }

    /// What the program needs.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The functions, in the manifest's order.
    pub fn segments(&self) -> &[SegmentFn] {
        &self.segments
    }

    /// Whether some segment writes a parameter or state.
    pub fn updates(&self) -> bool {
        self.updates
    }

    /// Keeps the code mapped.
    pub fn owner(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.owner
    }
}

impl std::fmt::Debug for LoadedProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedProgram").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}
