//! What one running step needs: inputs, outputs, temporaries, scratch.

use std::ops::Range;
use std::sync::Arc;

use dlc_abi::{BufferDesc, BufferRole, ElemType};
use rustc_hash::FxHashMap;

use crate::gang::Gang;
use crate::memory::{Buffer, Element, Fill, MemoryError, Placement};
use crate::persistent::{MemoryLayout, Persistent, is_persistent};
use crate::program::{Program, make_tables};
use crate::step::{Frame, StepError};

/// How a workspace is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceOptions {
    /// The most threads a step in this workspace may use; each has scratch of its own.
    pub parts: usize,
    /// Where buffers are placed.
    pub placement: Placement,
    /// What buffers hold before they are first written.
    pub fill: Fill,
}

impl Default for WorkspaceOptions {
    fn default() -> Self {
        WorkspaceOptions { parts: 1, placement: Placement::Heap, fill: Fill::Zero }
    }
}

/// Why a buffer cannot be seen as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// No buffer has that name.
    #[error("there is no buffer `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The buffer's elements are of another type.
    #[error("`{name}` holds {elem:?}, not {asked}")]
    Type {
        /// The buffer.
        name: String,
        /// Its element type.
        elem: ElemType,
        /// The type asked for.
        asked: &'static str,
    },
    /// The buffer has another number of elements.
    #[error("`{name}` has {expected} elements, {found} were given")]
    Length {
        /// The buffer.
        name: String,
        /// Its number of elements.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// The buffer does not belong to the workspace, or may not be written by the caller.
    #[error(
        "`{name}` cannot be reached through a workspace in this way: it is of the kind {role:?}"
    )]
    Role {
        /// The buffer.
        name: String,
        /// What it is for.
        role: BufferRole,
    },
    /// The batch is larger than the program allows.
    #[error("a batch of {batch} is outside 0 to {max_batch}")]
    Batch {
        /// The batch asked for.
        batch: usize,
        /// The program's limit.
        max_batch: i64,
    },
}

/// Where a buffer of the program lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Entry of the memory.
    Persistent(usize),
    /// A buffer of the workspace's own.
    Own(usize),
    /// Byte offset in the arena.
    Arena(usize),
    /// A table of the program.
    Table(usize),
}

/// Memory for one step at a time of one program. Concurrent steps need a workspace each; see [`crate::FreeList`].
#[derive(Debug)]
pub struct Workspace {
    buffers: Buffers,
    frame: Frame,
}

/// All of a workspace that a step reads while it fills the frame.
#[derive(Debug)]
pub(crate) struct Buffers {
    program: Program,
    layout: Arc<MemoryLayout>,
    places: Vec<Place>,
    by_name: FxHashMap<String, usize>,
    own: Vec<Buffer>,
    arena: Buffer,
    /// Guarded copies of the program's tables, when everything is guarded.
    own_tables: Option<Vec<Buffer>>,
    scratch: Buffer,
    parts: usize,
}

/// Why a workspace could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceError {
    /// The memory layout lacks a buffer of the program: it was made for other programs.
    #[error(
        "the memory layout lacks `{name}` of `{program}`, or has it with another type or shape"
    )]
    Layout {
        /// The program.
        program: String,
        /// The buffer.
        name: String,
    },
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl Workspace {
    /// A workspace for `program`, whose parameters and states lie in memories of `layout`.
    ///
    /// # Errors
    /// When the layout is not one that the program had a part in, or there is not enough memory.
    pub fn new(
        program: &Program,
        layout: &Arc<MemoryLayout>,
        options: WorkspaceOptions,
    ) -> Result<Self, WorkspaceError> {
        let manifest = program.manifest();
        let WorkspaceOptions { placement, fill, .. } = options;
        let parts = options.parts.clamp(1, crate::gang::MAX_THREADS);
        let mut own = Vec::new();
        let mut places = Vec::with_capacity(manifest.buffers.len());
        let mut by_name = FxHashMap::default();
        let mut add_own = |desc: &BufferDesc| -> Result<Place, MemoryError> {
            own.push(Buffer::new(desc.bytes as usize, placement, fill)?);
            Ok(Place::Own(own.len() - 1))
        };
        for (index, desc) in manifest.buffers.iter().enumerate() {
            by_name.insert(desc.name.clone(), index);
            places.push(match desc.role {
                BufferRole::Param | BufferRole::State => {
                    Place::Persistent(find_entry(layout, desc).ok_or_else(|| {
                        WorkspaceError::Layout {
                            program: manifest.name.clone(),
                            name: desc.name.clone(),
                        }
                    })?)
                }
                BufferRole::Input | BufferRole::Output | BufferRole::Message => add_own(desc)?,
                BufferRole::Temporary => match placement {
                    Placement::GuardedApart => add_own(desc)?,
                    Placement::Heap | Placement::Guarded => {
                        let offset =
                            desc.arena_offset.expect("the program was checked to have offsets");
                        Place::Arena(offset as usize)
                    }
                },
                BufferRole::Table => {
                    Place::Table(desc.table.expect("the program was checked to have its tables"))
                }
            });
        }
        let arena_bytes = match placement {
            Placement::GuardedApart => 0,
            Placement::Heap | Placement::Guarded => manifest.arena_bytes as usize,
        };
        let own_tables = match placement {
            Placement::Heap => None,
            Placement::Guarded | Placement::GuardedApart => Some(make_tables(manifest, placement)?),
        };
        let scratch_bytes = (manifest.scratch_bytes as usize).saturating_mul(parts);
        Ok(Workspace {
            frame: Frame::new(manifest.buffers.len(), parts),
            buffers: Buffers {
                places,
                by_name,
                own,
                arena: Buffer::new(arena_bytes, placement, fill)?,
                own_tables,
                scratch: Buffer::new(scratch_bytes, placement, fill)?,
                parts,
                program: program.clone(),
                layout: Arc::clone(layout),
            },
        })
    }

    /// The program this workspace is for.
    pub fn program(&self) -> &Program {
        &self.buffers.program
    }

    /// The layout of the memories that steps in this workspace run on.
    pub fn layout(&self) -> &Arc<MemoryLayout> {
        &self.buffers.layout
    }

    /// An input's elements for a batch, to be written before a step. Rows of the batch lie one after the other.
    ///
    /// # Errors
    /// When there is no such input, its type differs, or the batch is too large.
    pub fn input_mut<T: Element>(
        &mut self,
        name: &str,
        batch: usize,
    ) -> Result<&mut [T], BufferError> {
        let (index, count) = self.buffers.find::<T>(name, batch)?;
        let desc = &self.buffers.program.manifest().buffers[index];
        match (desc.role, self.buffers.places[index]) {
            (BufferRole::Input, Place::Own(own)) => Ok(self.buffers.own[own]
                .view_mut(0, count)
                .expect("the program was checked to fit its buffers")),
            (role, _) => Err(BufferError::Role { name: name.to_owned(), role }),
        }
    }

    /// Sets an input for a batch.
    ///
    /// # Errors
    /// As [`Workspace::input_mut`], and when the number of values differs.
    pub fn set_input<T: Element>(
        &mut self,
        name: &str,
        batch: usize,
        values: &[T],
    ) -> Result<(), BufferError> {
        let target = self.input_mut::<T>(name, batch)?;
        if target.len() != values.len() {
            return Err(BufferError::Length {
                name: name.to_owned(),
                expected: target.len(),
                found: values.len(),
            });
        }
        target.copy_from_slice(values);
        Ok(())
    }

    /// The elements of an output (or input, temporary, table) as the last step of that batch left them. A temporary holds
    /// what was last written to its place in the arena.
    ///
    /// # Errors
    /// When there is no such buffer, it is a parameter or state, its type differs, or the batch is too large.
    pub fn output<T: Element>(&self, name: &str, batch: usize) -> Result<&[T], BufferError> {
        let (index, count) = self.buffers.find::<T>(name, batch)?;
        let (buffer, start) = match self.buffers.places[index] {
            Place::Own(own) => (&self.buffers.own[own], 0),
            Place::Arena(offset) => (&self.buffers.arena, offset),
            Place::Table(table) => (&self.buffers.tables()[table], 0),
            Place::Persistent(_) => {
                return Err(BufferError::Role {
                    name: name.to_owned(),
                    role: self.buffers.program.manifest().buffers[index].role,
                });
            }
        };
        Ok(buffer.view(start, count).expect("the program was checked to fit its buffers"))
    }

    /// The elements of an input, output or message for a batch as bytes, by its index in the manifest; with those of the largest batch
    /// between them where the batch is not the outermost axis.
    ///
    /// # Panics
    /// When the buffer is none of these, or the batch is too large.
    pub fn bytes(&self, index: usize, batch: usize) -> &[u8] {
        let (own, bytes) = self.bytes_place(index, batch);
        &self.buffers.own[own].as_bytes()[..bytes]
    }

    /// As [`Workspace::bytes`], to be changed.
    ///
    /// # Panics
    /// As there.
    pub fn bytes_mut(&mut self, index: usize, batch: usize) -> &mut [u8] {
        let (own, bytes) = self.bytes_place(index, batch);
        &mut self.buffers.own[own].as_bytes_mut()[..bytes]
    }

    /// Copies a message into a piece of another one.
    ///
    /// # Panics
    /// When they are no messages, are the same, or their lengths do not fit.
    pub fn copy_bytes(&mut self, from: usize, to: usize, piece: Range<usize>) {
        let ((from, length), (to, _)) = (self.bytes_place(from, 0), self.bytes_place(to, 0));
        let [from, to] = self
            .buffers
            .own
            .get_disjoint_mut([from, to])
            .expect("two messages are different buffers");
        to.as_bytes_mut()[piece].copy_from_slice(&from.as_bytes()[..length]);
    }

    fn bytes_place(&self, index: usize, batch: usize) -> (usize, usize) {
        let manifest = self.buffers.program.manifest();
        let desc = &manifest.buffers[index];
        let outer = desc.shape.iter().take_while(|dim| dim.batch_factor == 0);
        let is_outermost = outer.map(|dim| dim.constant).product::<i64>() == 1;
        let has_batch = desc.shape.iter().any(|dim| dim.batch_factor != 0);
        let batch = match i64::try_from(batch) {
            Ok(batch) if is_outermost || !has_batch => batch,
            _ => manifest.max_batch,
        };
        let elements: i64 = desc.shape.iter().map(|dim| dim.at(batch)).product();
        match (desc.role, self.buffers.places[index]) {
            (BufferRole::Message | BufferRole::Input | BufferRole::Output, Place::Own(own)) => {
                (own, elements as usize * desc.elem.size())
            }
            (role, _) => panic!("`{}` does not travel: it is of the kind {role:?}", desc.name),
        }
    }

    /// Runs some of the program's segments on a batch: on the gang when it is free and the segments are worth it, else on
    /// the calling thread, with the same bits. Allocates nothing when it succeeds.
    ///
    /// # Errors
    /// When the arguments do not fit the program, which is noticed before anything runs, or when the program finds an
    /// index outside its range; then the rest of the segments did not run, and outputs are undefined.
    pub fn run(
        &mut self,
        mut persistent: Persistent<'_>,
        batch: usize,
        gang: &Gang,
        segments: Range<usize>,
    ) -> Result<(), StepError> {
        crate::step::run(&mut self.frame, &self.buffers, &mut persistent, batch, gang, segments)
    }
}

impl Buffers {
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn layout(&self) -> &Arc<MemoryLayout> {
        &self.layout
    }

    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// Start and size of each buffer of the program, in the manifest's order.
    pub(crate) fn addresses<'a>(
        &'a self,
        persistent: &'a Persistent<'_>,
    ) -> impl Iterator<Item = (*mut u8, usize)> + 'a {
        let memory = persistent.memory();
        self.places.iter().map(move |&place| {
            let whole = |buffer: &Buffer| (buffer.address(), buffer.len());
            match place {
                Place::Persistent(entry) => whole(memory.buffer(entry)),
                Place::Own(own) => whole(&self.own[own]),
                Place::Table(table) => whole(&self.tables()[table]),
                Place::Arena(offset) => {
                    (self.arena.address().wrapping_add(offset), self.arena.len() - offset)
                }
            }
        })
    }

    pub(crate) fn scratch(&self) -> &Buffer {
        &self.scratch
    }

    fn tables(&self) -> &[Buffer] {
        self.own_tables.as_deref().unwrap_or(self.program.tables())
    }

    /// Index in the manifest, and number of elements for that batch.
    fn find<T: Element>(&self, name: &str, batch: usize) -> Result<(usize, usize), BufferError> {
        let manifest = self.program.manifest();
        let index = *self
            .by_name
            .get(name)
            .ok_or_else(|| BufferError::Unknown { name: name.to_owned() })?;
        let desc = &manifest.buffers[index];
        if !T::matches(desc.elem) {
            return Err(BufferError::Type {
                name: name.to_owned(),
                elem: desc.elem,
                asked: T::NAME,
            });
        }
        let batch = i64::try_from(batch)
            .ok()
            .filter(|&batch| batch <= manifest.max_batch)
            .ok_or(BufferError::Batch { batch, max_batch: manifest.max_batch })?;
        let count: i64 = desc.shape.iter().map(|dim| dim.at(batch)).product();
        Ok((index, count as usize))
    }
}

fn find_entry(layout: &MemoryLayout, desc: &BufferDesc) -> Option<usize> {
    let index = layout.index(&desc.name)?;
    let entry = &layout.entries()[index];
    let same_shape = entry.shape.len() == desc.shape.len()
        && entry
            .shape
            .iter()
            .zip(&desc.shape)
            .all(|(&extent, dim)| dim.as_fixed() == i64::try_from(extent).ok());
    let fits = is_persistent(desc.role)
        && entry.elem == desc.elem
        && same_shape
        && entry.bytes as u64 >= desc.bytes;
    fits.then_some(index)
}
