//! What outlives a step: parameters, and state such as optimizer moments and moving averages.

use std::sync::Arc;

use dlc_abi::{BufferRole, Dim, ElemType, Manifest};
use rustc_hash::FxHashMap;

use crate::memory::{Buffer, Element, Fill, MemoryError, Placement};
use crate::workspace::BufferError;

/// One buffer of a [`Memory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name, as `layer.param`.
    pub name: String,
    /// [`BufferRole::Param`] or [`BufferRole::State`].
    pub role: BufferRole,
    /// Element type in memory.
    pub elem: ElemType,
    /// Row-major shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Bytes that compiled code may touch.
    pub bytes: usize,
}

impl Entry {
    /// Number of elements.
    pub fn n_elements(&self) -> usize {
        // `MemoryLayout::of` has checked that the product fits the buffer.
        self.shape.iter().product()
    }
}

/// Why programs cannot share their parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Two programs describe the buffer differently.
    #[error(
        "`{name}` is {first_elem:?}{first_shape:?} as {first_role:?} in `{first_program}`, \
         but {second_elem:?}{second_shape:?} as {second_role:?} in `{second_program}`"
    )]
    Disagree {
        /// The buffer's name.
        name: String,
        /// The program that named it first.
        first_program: String,
        /// Its role there.
        first_role: BufferRole,
        /// Its element type there.
        first_elem: ElemType,
        /// Its shape there.
        first_shape: Vec<usize>,
        /// The program that differs.
        second_program: String,
        /// The role there.
        second_role: BufferRole,
        /// The element type there.
        second_elem: ElemType,
        /// The shape there.
        second_shape: Vec<usize>,
    },
    /// A parameter or state depends on the batch, or has an impossible size.
    #[error(
        "`{name}` of `{program}` outlives a step, so its shape must be fixed and fit in {bytes} bytes"
    )]
    Shape {
        /// The program.
        program: String,
        /// The buffer's name.
        name: String,
        /// Bytes the program gives it.
        bytes: u64,
    },
}

/// Names, shapes and places of all buffers that outlive a step, agreed between the programs of one model.
///
/// Memories of one layout (a model and its snapshot) can stand in for each other.
#[derive(Debug)]
pub struct MemoryLayout {
    entries: Vec<Entry>,
    by_name: FxHashMap<String, usize>,
}

impl MemoryLayout {
    /// The union of the parameters and states of several programs (training, evaluation, prediction, initialisation), in
    /// order of first appearance.
    ///
    /// # Errors
    /// When two programs disagree about a buffer, or a shape is not fixed.
    pub fn of(manifests: &[&Manifest]) -> Result<Arc<Self>, LayoutError> {
        let mut layout = MemoryLayout { entries: Vec::new(), by_name: FxHashMap::default() };
        let mut first_program = Vec::new();
        for manifest in manifests {
            for desc in &manifest.buffers {
                if !is_persistent(desc.role) {
                    continue;
                }
                let shape_error = || LayoutError::Shape {
                    program: manifest.name.clone(),
                    name: desc.name.clone(),
                    bytes: desc.bytes,
                };
                let entry = Entry {
                    name: desc.name.clone(),
                    role: desc.role,
                    elem: desc.elem,
                    shape: fixed_shape(&desc.shape).ok_or_else(shape_error)?,
                    bytes: usize::try_from(desc.bytes).map_err(|_| shape_error())?,
                };
                let size = checked_product(&entry.shape)
                    .and_then(|elements| elements.checked_mul(entry.elem.size()));
                if size.is_none_or(|size| size > entry.bytes) {
                    return Err(shape_error());
                }
                match layout.by_name.get(&desc.name) {
                    None => {
                        layout.by_name.insert(desc.name.clone(), layout.entries.len());
                        layout.entries.push(entry);
                        first_program.push(&manifest.name);
                    }
                    Some(&index) => {
                        let known = &mut layout.entries[index];
                        if (known.role, known.elem) != (entry.role, entry.elem)
                            || known.shape != entry.shape
                        {
                            return Err(LayoutError::Disagree {
                                name: entry.name,
                                first_program: first_program[index].clone(),
                                first_role: known.role,
                                first_elem: known.elem,
                                first_shape: known.shape.clone(),
                                second_program: manifest.name.clone(),
                                second_role: entry.role,
                                second_elem: entry.elem,
                                second_shape: entry.shape,
                            });
                        }
                        known.bytes = known.bytes.max(entry.bytes);
                    }
                }
            }
        }
        Ok(Arc::new(layout))
    }

    /// All buffers, in order of first appearance in the programs.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The place in [`MemoryLayout::entries`] of a name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

pub(crate) fn is_persistent(role: BufferRole) -> bool {
    match role {
        BufferRole::Param | BufferRole::State => true,
        BufferRole::Input
        | BufferRole::Output
        | BufferRole::Temporary
        | BufferRole::Table
        | BufferRole::Message => false,
    }
}

fn fixed_shape(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(|dim| dim.as_fixed().and_then(|extent| usize::try_from(extent).ok())).collect()
}

fn checked_product(extents: &[usize]) -> Option<usize> {
    extents.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))
}

/// The parameters and states of one model, zero until written.
#[derive(Debug)]
pub struct Memory {
    layout: Arc<MemoryLayout>,
    buffers: Vec<Buffer>,
}

impl Memory {
    /// Zeroed memory on the heap.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn new(layout: &Arc<MemoryLayout>) -> Result<Self, MemoryError> {
        Self::with_placement(layout, Placement::Heap, Fill::Zero)
    }

    /// Memory placed and filled as given.
    ///
    /// # Errors
    /// When there is not enough, or no guard pages.
    pub fn with_placement(
        layout: &Arc<MemoryLayout>,
        placement: Placement,
        fill: Fill,
    ) -> Result<Self, MemoryError> {
        let buffers = layout
            .entries
            .iter()
            .map(|entry| Buffer::new(entry.bytes, placement, fill))
            .collect::<Result<_, _>>()?;
        Ok(Memory { layout: Arc::clone(layout), buffers })
    }

    /// Names and shapes of what is held.
    pub fn layout(&self) -> &Arc<MemoryLayout> {
        &self.layout
    }

    /// All elements of a buffer, in row-major order.
    ///
    /// # Errors
    /// When there is no such buffer, or its elements are of another type.
    pub fn read<T: Element>(&self, name: &str) -> Result<&[T], BufferError> {
        let (index, entry) = self.find::<T>(name)?;
        Ok(self.buffers[index]
            .view(0, entry.n_elements())
            .expect("the layout has checked the size"))
    }

    /// As [`Memory::read`], to be changed.
    ///
    /// # Errors
    /// When there is no such buffer, or its elements are of another type.
    pub fn write<T: Element>(&mut self, name: &str) -> Result<&mut [T], BufferError> {
        let (index, entry) = self.find::<T>(name)?;
        let n_elements = entry.n_elements();
        Ok(self.buffers[index].view_mut(0, n_elements).expect("the layout has checked the size"))
    }

    /// Sets all elements of a buffer, in row-major order.
    ///
    /// # Errors
    /// When there is no such buffer, its elements are of another type, or their number differs.
    pub fn set<T: Element>(&mut self, name: &str, values: &[T]) -> Result<(), BufferError> {
        let target = self.write::<T>(name)?;
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

    /// The logical bytes of the entry at `index` of the layout, without padding: what a file stores.
    pub fn entry_bytes(&self, index: usize) -> Option<&[u8]> {
        let entry = self.layout.entries.get(index)?;
        self.buffers[index].as_bytes().get(..entry.n_elements() * entry.elem.size())
    }

    /// As [`Memory::entry_bytes`], to be changed.
    pub fn entry_bytes_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let entry = self.layout.entries.get(index)?;
        self.buffers[index].as_bytes_mut().get_mut(..entry.n_elements() * entry.elem.size())
    }

    pub(crate) fn buffer(&self, index: usize) -> &Buffer {
        &self.buffers[index]
    }

    fn find<T: Element>(&self, name: &str) -> Result<(usize, &Entry), BufferError> {
        let index = self
            .layout
            .index(name)
            .ok_or_else(|| BufferError::Unknown { name: name.to_owned() })?;
        let entry = &self.layout.entries[index];
        if !T::matches(entry.elem) {
            return Err(BufferError::Type {
                name: name.to_owned(),
                elem: entry.elem,
                asked: T::NAME,
            });
        }
        Ok((index, entry))
    }
}

/// How a step holds the memory: many read-only steps may share it, one that writes must have it alone.
#[derive(Debug)]
pub enum Persistent<'a> {
    /// For programs that only read parameters and states.
    Shared(&'a Memory),
    /// For any program.
    Exclusive(&'a mut Memory),
}

impl Persistent<'_> {
    /// The same hold once more, for a step that runs in pieces.
    pub fn again(&mut self) -> Persistent<'_> {
        match self {
            Persistent::Shared(memory) => Persistent::Shared(memory),
            Persistent::Exclusive(memory) => Persistent::Exclusive(memory),
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        match self {
            Persistent::Shared(memory) => memory,
            Persistent::Exclusive(memory) => memory,
        }
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        match self {
            Persistent::Shared(_) => false,
            Persistent::Exclusive(_) => true,
        }
    }
}
