//! Small programs whose segments are written in Rust, standing in for compiled code.
#![allow(dead_code, reason = "each test binary uses its own share")]

use std::sync::Arc;

use dlc_abi::{
    BufferDesc, BufferRole, Dim, ElemType, Manifest, NUMERICS_VERSION, NumericsClass, SegmentDesc,
    SegmentFn, SegmentKind, StepContext,
};
use dlc_exec::{Access, Program};

/// Builds manifests, with offsets and sizes as a compiler would choose them.
pub struct ManifestBuilder {
    pub manifest: Manifest,
}

impl ManifestBuilder {
    pub fn new(name: &str, max_batch: i64) -> Self {
        ManifestBuilder {
            manifest: Manifest {
                name: name.to_owned(),
                numerics: NUMERICS_VERSION,
                class: NumericsClass::Fused,
                max_batch,
                shards: 4,
                window_of: None,
                exchanges: Vec::new(),
                buffers: Vec::new(),
                segments: Vec::new(),
                tables: Vec::new(),
                arena_bytes: 0,
                scratch_bytes: 0,
            },
        }
    }

    pub fn buffer(mut self, name: &str, role: BufferRole, elem: ElemType, shape: &[Dim]) -> Self {
        let manifest = &mut self.manifest;
        let elements: i64 = shape.iter().map(|dim| dim.at(manifest.max_batch)).product();
        let bytes = (elements as u64 * elem.size() as u64).next_multiple_of(64);
        let arena_offset = (role == BufferRole::Temporary).then(|| {
            let offset = manifest.arena_bytes;
            manifest.arena_bytes += bytes;
            offset
        });
        manifest.buffers.push(BufferDesc {
            name: name.to_owned(),
            role,
            elem,
            shape: shape.to_vec(),
            bytes,
            arena_offset,
            table: None,
        });
        self
    }

    pub fn table(mut self, name: &str, values: &[i32]) -> Self {
        self =
            self.buffer(name, BufferRole::Table, ElemType::I32, &[Dim::fixed(values.len() as i64)]);
        let manifest = &mut self.manifest;
        manifest.tables.push(values.to_vec());
        manifest.buffers.last_mut().expect("a buffer was just added").table =
            Some(manifest.tables.len() - 1);
        self
    }

    pub fn scratch(mut self, bytes: u64) -> Self {
        self.manifest.scratch_bytes = bytes;
        self
    }

    pub fn segment(mut self, symbol: &str, kind: SegmentKind, parallel: bool) -> Self {
        self.manifest.segments.push(SegmentDesc { symbol: symbol.to_owned(), kind, parallel });
        self
    }

    pub fn program(self, access: Access, segments: &[SegmentFn]) -> Program {
        // SAFETY: the tests' segments keep to the buffers of their own manifest, which each describes beside it.
        unsafe { Program::new(Arc::new(self.manifest), segments.to_vec(), access, Arc::new(())) }
            .expect("the test's manifest is sound")
    }
}

/// Element `index` of buffer `buffer`, as compiled code would address it.
///
/// # Safety
/// The buffer exists, holds elements of type `T`, at least `index + 1` of them.
pub unsafe fn at<T>(context: *const StepContext, buffer: usize, index: usize) -> *mut T {
    // SAFETY: passed on to the caller.
    unsafe { (*(*context).buffers.add(buffer)).cast::<T>().add(index) }
}

/// The share of `0..n` of a part.
pub fn share(n: usize, part: i64, parts: i64) -> std::ops::Range<usize> {
    let (part, parts) = (part as usize, parts as usize);
    n * part / parts..n * (part + 1) / parts
}

/// Meets the other parts.
///
/// # Safety
/// The context is live.
pub unsafe fn meet(context: *const StepContext, part: i64) -> i32 {
    // SAFETY: passed on to the caller.
    unsafe { ((*context).barrier)(context, part) }
}
