//! A compiled program: its manifest, the addresses of its segments, and whoever owns the code.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use dlc_abi::{BufferRole, Manifest, NUMERICS_VERSION, SegmentFn, SegmentKind};

use crate::memory::{ALIGNMENT, Buffer, Fill, MemoryError, Placement};

/// What a program does to parameters and states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only reads them, so that several steps may run at once on one memory.
    Read,
    /// It writes some of them.
    Write,
}

/// Why a manifest is not a program that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The program follows other rules of rounding than this runtime.
    #[error("`{program}` was compiled for numerics {found}, this runtime is for {expected}")]
    Numerics {
        /// The program.
        program: String,
        /// Its version.
        found: u32,
        /// The version of this runtime.
        expected: u32,
    },
    /// Functions and descriptions of segments differ in number.
    #[error("`{program}` describes {described} segments but has {given} functions")]
    Segments {
        /// The program.
        program: String,
        /// Segments in the manifest.
        described: usize,
        /// Functions given.
        given: usize,
    },
    /// A number of the manifest is outside its range.
    #[error("`{program}`: {what} is {found}, expected {expected}")]
    Field {
        /// The program.
        program: String,
        /// Which number.
        what: &'static str,
        /// Its value.
        found: i64,
        /// What it may be.
        expected: &'static str,
    },
    /// A buffer's description contradicts itself.
    #[error("`{program}`: buffer `{buffer}` {problem}")]
    Buffer {
        /// The program.
        program: String,
        /// The buffer.
        buffer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The constant tables do not fit in memory.
    #[error("`{program}`: no memory for its tables")]
    Tables {
        /// The program.
        program: String,
        /// What the allocation says.
        source: MemoryError,
    },
}

/// A compiled program that can be run. Clones share the code.
#[derive(Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: Arc<Manifest>,
    segments: Vec<SegmentFn>,
    access: Access,
    /// The manifest's tables, in its order, as compiled code reads them.
    tables: Vec<Buffer>,
    /// Keeps the machine code mapped.
    _owner: Arc<dyn Any + Send + Sync>,
}

impl Program {
    /// A program that a compiler has put into memory.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn load(loaded: dlc_abi::LoadedProgram) -> Result<Self, ProgramError> {
        let access = if loaded.updates() { Access::Write } else { Access::Read };
        let (manifest, owner) = (Arc::clone(loaded.manifest()), Arc::clone(loaded.owner()));
        // SAFETY: whoever made the `LoadedProgram` has promised all that `new` asks for; the promises are the same, and the
        // code stays mapped because `owner` goes along. Checked by the tests of the driver, which run compiled programs.
        unsafe { Self::new(manifest, loaded.segments().to_vec(), access, owner) }
    }

    /// A program from its manifest and one function for each of the manifest's segments.
    ///
    /// # Errors
    /// When the manifest contradicts itself or this runtime; nothing of it is believed before it was checked.
    ///
    /// # Safety
    /// Every function, called as `SegmentFn` with a batch between 0 and the manifest's `max_batch` and with
    /// `0 <= part < parts`, the parts concurrently, must
    /// - touch no memory but the `bytes` of each buffer, the `scratch_bytes` of its own part, the context, and the part's
    ///   error slot; and write neither a [`BufferRole::Input`] nor a [`BufferRole::Table`], nor, with [`Access::Read`], a
    ///   [`BufferRole::Param`] or [`BufferRole::State`];
    /// - order conflicting accesses of its parts by the context's barrier, and return at once when that returns non-zero;
    /// - not unwind; and leave the stack and the callee-saved registers as the C calling convention says;
    /// - stay mapped as executable code for as long as `owner` lives.
    pub unsafe fn new(
        manifest: Arc<Manifest>,
        segments: Vec<SegmentFn>,
        access: Access,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self, ProgramError> {
        if segments.len() != manifest.segments.len() {
            return Err(ProgramError::Segments {
                program: manifest.name.clone(),
                described: manifest.segments.len(),
                given: segments.len(),
            });
        }
        validate(&manifest)?;
        let tables = make_tables(&manifest, Placement::Heap)
            .map_err(|source| ProgramError::Tables { program: manifest.name.clone(), source })?;
        Ok(Program { inner: Arc::new(Inner { manifest, segments, access, tables, _owner: owner }) })
    }

    /// The description of buffers and segments.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.inner.manifest
    }

    /// What the program does to parameters and states.
    pub fn access(&self) -> Access {
        self.inner.access
    }

    /// All segments, for a whole step.
    pub fn all_segments(&self) -> Range<usize> {
        0..self.inner.segments.len()
    }

    /// The segments before the first that is not [`SegmentKind::Forward`].
    pub fn forward_segments(&self) -> Range<usize> {
        let segments = &self.inner.manifest.segments;
        let end = segments
            .iter()
            .position(|segment| segment.kind != SegmentKind::Forward)
            .unwrap_or(segments.len());
        0..end
    }

    pub(crate) fn functions(&self) -> &[SegmentFn] {
        &self.inner.segments
    }

    pub(crate) fn tables(&self) -> &[Buffer] {
        &self.inner.tables
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.inner.manifest.name)
            .field("access", &self.inner.access)
            .finish_non_exhaustive()
    }
}

/// The manifest's tables as buffers.
pub(crate) fn make_tables(
    manifest: &Manifest,
    placement: Placement,
) -> Result<Vec<Buffer>, MemoryError> {
    // A table's buffer may be larger than its data, up to what its description says.
    let mut bytes: Vec<usize> =
        manifest.tables.iter().map(|table| size_of_val(&table[..])).collect();
    for desc in &manifest.buffers {
        if let Some(table) = desc.table {
            bytes[table] = bytes[table].max(desc.bytes as usize);
        }
    }
    manifest
        .tables
        .iter()
        .zip(bytes)
        .map(|(table, bytes)| {
            let mut buffer = Buffer::new(bytes, placement, Fill::Zero)?;
            buffer
                .view_mut::<i32>(0, table.len())
                .expect("the buffer was made to hold the table")
                .copy_from_slice(table);
            Ok(buffer)
        })
        .collect()
}

/// Checks everything that later code relies on.
fn validate(manifest: &Manifest) -> Result<(), ProgramError> {
    let field = |what, found: i64, expected| {
        Err(ProgramError::Field { program: manifest.name.clone(), what, found, expected })
    };
    if manifest.numerics != NUMERICS_VERSION {
        return Err(ProgramError::Numerics {
            program: manifest.name.clone(),
            found: manifest.numerics,
            expected: NUMERICS_VERSION,
        });
    }
    // The limit keeps every product of an extent with an element size far from overflow checks in inner loops.
    if !(1..=i64::from(i32::MAX)).contains(&manifest.max_batch) {
        return field("max_batch", manifest.max_batch, "1 to 2147483647");
    }
    if !manifest.shards.is_power_of_two() {
        return field("shards", i64::from(manifest.shards), "a power of two");
    }
    for (what, bytes) in
        [("arena_bytes", manifest.arena_bytes), ("scratch_bytes", manifest.scratch_bytes)]
    {
        if !is_size(bytes) {
            return field(what, bytes as i64, "a multiple of 64 that can be allocated");
        }
    }
    let mut names = rustc_hash::FxHashSet::default();
    for desc in &manifest.buffers {
        let problem = if names.insert(desc.name.as_str()) {
            buffer_problem(manifest, desc)
        } else {
            Some("has a name that another one has")
        };
        if let Some(problem) = problem {
            return Err(ProgramError::Buffer {
                program: manifest.name.clone(),
                buffer: desc.name.clone(),
                problem,
            });
        }
    }
    Ok(())
}

fn buffer_problem(manifest: &Manifest, desc: &dlc_abi::BufferDesc) -> Option<&'static str> {
    if !is_size(desc.bytes) {
        return Some("needs a size that is a multiple of 64 and can be allocated");
    }
    // Extents never shrink when the batch grows, so the largest batch needs the most bytes.
    if desc.shape.iter().any(|dim| dim.batch_factor < 0 || dim.constant < 0) {
        return Some("has a negative extent");
    }
    let size = desc.shape.iter().try_fold(desc.elem.size() as i64, |size, dim| {
        let extent = dim.batch_factor.checked_mul(manifest.max_batch)?.checked_add(dim.constant)?;
        size.checked_mul(extent)
    });
    if size.is_none_or(|size| size as u64 > desc.bytes) {
        return Some("is larger than its bytes at the largest batch");
    }
    if desc.table.is_some() && desc.role != BufferRole::Table {
        return Some("has a table but is none");
    }
    match desc.role {
        BufferRole::Temporary => match desc.arena_offset {
            None => Some("is temporary but has no place in the arena"),
            Some(offset) if !is_size(offset) => {
                Some("has an arena offset that is no multiple of 64")
            }
            Some(offset) if offset + desc.bytes > manifest.arena_bytes => {
                Some("reaches beyond the arena")
            }
            Some(_) => None,
        },
        BufferRole::Table => match desc.table.and_then(|table| manifest.tables.get(table)) {
            None => Some("names no table of the program"),
            Some(table) if size_of_val(&table[..]) as u64 > desc.bytes => {
                Some("is smaller than its table")
            }
            Some(_) => None,
        },
        BufferRole::Input
        | BufferRole::Param
        | BufferRole::State
        | BufferRole::Output
        | BufferRole::Message => None,
    }
}

/// A multiple of the alignment that two of can still be added.
fn is_size(bytes: u64) -> bool {
    bytes.is_multiple_of(ALIGNMENT as u64) && bytes <= isize::MAX as u64 / 2
}
