//! Memory of interpreted programs: regions with bounds that every access is checked against.

use crate::entity;
use crate::entity::{EntityRef, IndexVec};

entity!(
    /// A region of a [`Memory`].
    RegionId, "region"
);

/// A forbidden access.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Not wholly inside a region.
    #[error("{} of {bytes} bytes at {address:#x}, {place}", if *.write { "write" } else { "read" })]
    OutOfBounds {
        /// First byte.
        address: i64,
        /// Bytes of the access.
        bytes: usize,
        /// Whether it writes.
        write: bool,
        /// Where that is, in words.
        place: String,
    },
    /// Two parts touch a byte, one of them writes it, and no barrier stands between.
    #[error(
        "race: part {part} {} {address:#x} (byte {offset} of {region}), which part {other} {} before the last barrier",
        if *.write { "writes" } else { "reads" },
        if *.other_wrote { "wrote and has not passed" } else { "read and has not passed" }
    )]
    Race {
        /// The byte.
        address: i64,
        /// Its region.
        region: String,
        /// Its place in the region.
        offset: usize,
        /// The part that runs now.
        part: usize,
        /// Whether that part writes.
        write: bool,
        /// A part that touched the byte earlier.
        other: usize,
        /// Whether the earlier part wrote.
        other_wrote: bool,
    },
}

/// Where regions lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    /// At invented addresses, far apart.
    Synthetic,
    /// Where the host put the bytes, so that machine code can use the same addresses.
    Native,
}

/// Log2 of the distance between synthetic bases.
const WINDOW: u32 = 36;
/// Bytes on either side of a native region that only wild writes can change.
const GUARD: usize = 4096;
/// What guards hold.
const GUARD_BYTE: u8 = 0xa5;
/// Alignment of bases; that of the runtime's buffers.
const ALIGNMENT: usize = 64;

#[derive(Debug)]
struct Region {
    name: String,
    base: u64,
    /// The region's first byte in `data`.
    start: usize,
    len: usize,
    /// In native memory with guards on both sides.
    data: Vec<u8>,
    /// Whether parts may race here; they may for the error slot.
    racy: bool,
}

/// Regions of bytes, little-endian.
#[derive(Debug)]
pub struct Memory {
    placement: Placement,
    regions: IndexVec<RegionId, Region>,
    /// Bases in ascending order, for native memory.
    order: Vec<(u64, RegionId)>,
    races: Option<Races>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl Memory {
    /// Memory whose regions lie 64 GiB apart, at the same addresses in every run.
    pub fn new() -> Self {
        Memory {
            placement: Placement::Synthetic,
            regions: IndexVec::new(),
            order: Vec::new(),
            races: None,
        }
    }

    /// Memory whose addresses are real: machine code called with them reads and writes the regions. Guards
    /// around each region show writes that miss it ([`Memory::check_guards`]).
    pub fn native() -> Self {
        Memory { placement: Placement::Native, ..Memory::new() }
    }

    /// Adds a region with these bytes. Bases are multiples of 64.
    ///
    /// # Panics
    /// If the region is longer than 32 GiB.
    pub fn add(&mut self, name: impl Into<String>, bytes: &[u8]) -> RegionId {
        assert!(bytes.len() < 1 << (WINDOW - 1), "a region is shorter than half its window");
        let id = RegionId::from_index(self.regions.len());
        let name = name.into();
        let region = match self.placement {
            Placement::Synthetic => {
                // In the middle of its window, so that an address just below the base belongs to no other region.
                let base = ((id.index() as u64 + 1) << WINDOW) + (1 << (WINDOW - 1));
                Region { name, base, start: 0, len: bytes.len(), data: bytes.to_vec(), racy: false }
            }
            Placement::Native => {
                let mut data = vec![GUARD_BYTE; bytes.len() + 2 * GUARD + ALIGNMENT];
                let origin = data.as_mut_ptr() as usize;
                let start = (origin + GUARD).next_multiple_of(ALIGNMENT) - origin;
                data[start..start + bytes.len()].copy_from_slice(bytes);
                let base = (origin + start) as u64;
                Region { name, base, start, len: bytes.len(), data, racy: false }
            }
        };
        let position = self.order.partition_point(|entry| entry.0 < region.base);
        self.order.insert(position, (region.base, id));
        if let Some(races) = &mut self.races {
            races.shadow.push(vec![0; region.len]);
        }
        self.regions.push(region)
    }

    /// Adds a region of zeros.
    pub fn add_zeros(&mut self, name: impl Into<String>, len: usize) -> RegionId {
        self.add(name, &vec![0; len])
    }

    /// The address of a region's first byte.
    pub fn base(&self, id: RegionId) -> i64 {
        self.regions[id].base as i64
    }

    /// All regions.
    pub fn regions(&self) -> impl Iterator<Item = RegionId> + use<> {
        self.regions.keys()
    }

    /// A region's name.
    pub fn name(&self, id: RegionId) -> &str {
        &self.regions[id].name
    }

    /// A region's bytes.
    pub fn bytes(&self, id: RegionId) -> &[u8] {
        let region = &self.regions[id];
        &region.data[region.start..region.start + region.len]
    }

    /// A region's bytes.
    pub fn bytes_mut(&mut self, id: RegionId) -> &mut [u8] {
        let region = &mut self.regions[id];
        &mut region.data[region.start..region.start + region.len]
    }

    /// Leaves a region out of the race check.
    pub fn allow_races(&mut self, id: RegionId) {
        self.regions[id].racy = true;
    }

    /// Regions whose guards have changed: machine code wrote outside them. Empty for synthetic memory.
    pub fn check_guards(&self) -> Vec<RegionId> {
        let intact = |region: &Region| {
            let (before, rest) = region.data.split_at(region.start);
            before.iter().chain(&rest[region.len..]).all(|&byte| byte == GUARD_BYTE)
        };
        self.regions.iter().filter(|entry| !intact(entry.1)).map(|entry| entry.0).collect()
    }

    /// A copy of all regions at addresses of the other kind or the same, in the same order.
    pub fn copied(&self, mut into: Memory) -> Memory {
        for (id, region) in self.regions.iter() {
            let copy = into.add(region.name.clone(), self.bytes(id));
            into.regions[copy].racy = region.racy;
        }
        into
    }

    /// The region that holds an address, or for native memory the one that starts last before it.
    fn region_at(&self, address: u64) -> Option<RegionId> {
        match self.placement {
            Placement::Synthetic => {
                let index = ((address >> WINDOW) as usize).checked_sub(1)?;
                (index < self.regions.len()).then(|| RegionId::from_index(index))
            }
            Placement::Native => {
                let after = self.order.partition_point(|entry| entry.0 <= address);
                Some(self.order[after.checked_sub(1)?].1)
            }
        }
    }

    /// The region and offset of an access.
    #[inline]
    fn locate(
        &self,
        address: i64,
        bytes: usize,
        write: bool,
    ) -> Result<(RegionId, usize), AccessError> {
        let id = self.region_at(address as u64);
        if let Some(id) = id {
            let region = &self.regions[id];
            let offset = (address as u64).wrapping_sub(region.base) as usize;
            if offset < region.len && bytes <= region.len - offset {
                return Ok((id, offset));
            }
        }
        let place = match id {
            None => "in no region".to_owned(),
            Some(id) => {
                let region = &self.regions[id];
                let offset = (address as u64).wrapping_sub(region.base) as i64;
                format!("byte {offset} of {}, which has {} bytes", region.name, region.len)
            }
        };
        Err(AccessError::OutOfBounds { address, bytes, write, place })
    }

    /// The region that holds these bytes, and their offset in it.
    ///
    /// # Errors
    /// If the bytes lie in no region.
    pub fn find(&self, address: i64, bytes: usize) -> Result<(RegionId, usize), AccessError> {
        self.locate(address, bytes, false)
    }

    /// Bytes to be read.
    ///
    /// # Errors
    /// If they are not inside a region, or race with a write.
    #[inline]
    pub fn read(&mut self, address: i64, bytes: usize) -> Result<&[u8], AccessError> {
        let (id, offset) = self.locate(address, bytes, false)?;
        if self.races.is_some() {
            self.note(id, offset, bytes, false)?;
        }
        let region = &self.regions[id];
        let first = region.start + offset;
        Ok(&region.data[first..first + bytes])
    }

    /// Bytes to be overwritten.
    ///
    /// # Errors
    /// If they are not inside a region, or race with a read or write.
    #[inline]
    pub fn write(&mut self, address: i64, bytes: usize) -> Result<&mut [u8], AccessError> {
        let (id, offset) = self.locate(address, bytes, true)?;
        if self.races.is_some() {
            self.note(id, offset, bytes, true)?;
        }
        let region = &mut self.regions[id];
        let first = region.start + offset;
        Ok(&mut region.data[first..first + bytes])
    }

    /// Eight bytes as an integer.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn read_i64(&mut self, address: i64) -> Result<i64, AccessError> {
        let bytes = self.read(address, 8)?.try_into().expect("eight bytes were asked for");
        Ok(i64::from_le_bytes(bytes))
    }

    /// Four bytes as an integer.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn read_i32(&mut self, address: i64) -> Result<i32, AccessError> {
        let bytes = self.read(address, 4)?.try_into().expect("four bytes were asked for");
        Ok(i32::from_le_bytes(bytes))
    }

    /// Starts a race check: all accesses before the next [`Memory::pass_barrier`] count as concurrent.
    pub(super) fn start_race_check(&mut self) {
        let shadow = self.regions.values().map(|region| vec![0; region.len]).collect();
        self.races = Some(Races { epoch: 1, part: 0, shadow });
    }

    pub(super) fn end_race_check(&mut self) {
        self.races = None;
    }

    /// From now on part `part` runs.
    pub(super) fn set_part(&mut self, part: usize) {
        if let Some(races) = &mut self.races {
            races.part = part as u16;
        }
    }

    pub(super) fn pass_barrier(&mut self) {
        if let Some(races) = &mut self.races {
            races.epoch += 1;
        }
    }

    fn note(
        &mut self,
        id: RegionId,
        offset: usize,
        bytes: usize,
        write: bool,
    ) -> Result<(), AccessError> {
        let region = &self.regions[id];
        let Some(races) = self.races.as_mut().filter(|_| !region.racy) else { return Ok(()) };
        for byte in offset..offset + bytes {
            if let Some((other, other_wrote)) = races.note(id, byte, write) {
                return Err(AccessError::Race {
                    address: (region.base as i64) + byte as i64,
                    region: region.name.clone(),
                    offset: byte,
                    part: usize::from(races.part),
                    write,
                    other,
                    other_wrote,
                });
            }
        }
        Ok(())
    }
}

/// Who touched each byte since the last barrier.
#[derive(Debug)]
struct Races {
    epoch: u32,
    part: u16,
    /// For each byte of each region: epoch in the upper half, then the writer's and a reader's part plus one.
    shadow: IndexVec<RegionId, Vec<u64>>,
}

/// A reader's mark when several parts have read.
const SEVERAL: u16 = u16::MAX;

impl Races {
    /// Notes an access; returns the part it collides with and whether that one wrote.
    fn note(&mut self, id: RegionId, byte: usize, write: bool) -> Option<(usize, bool)> {
        let me = self.part + 1;
        let entry = &mut self.shadow[id][byte];
        if (*entry >> 32) as u32 != self.epoch {
            *entry = u64::from(self.epoch) << 32;
        }
        let (writer, reader) = ((*entry >> 16) as u16, *entry as u16);
        if writer != 0 && writer != me {
            return Some((usize::from(writer - 1), true));
        }
        if write && reader != 0 && reader != me {
            // Of several readers the first other part serves as the example.
            let other =
                if reader == SEVERAL { usize::from(me == 1) } else { usize::from(reader - 1) };
            return Some((other, false));
        }
        let (writer, reader) = match (write, reader) {
            (true, _) => (me, reader),
            (false, 0) => (writer, me),
            (false, other) => (writer, if other == me { me } else { SEVERAL }),
        };
        *entry = (*entry >> 32 << 32) | u64::from(writer) << 16 | u64::from(reader);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_stay_inside_their_region() {
        for mut memory in [Memory::new(), Memory::native()] {
            let a = memory.add("a", &[1, 0, 0, 0, 0, 0, 0, 0]);
            let b = memory.add_zeros("b", 4);
            let (a, b) = (memory.base(a), memory.base(b));
            assert_eq!(memory.read_i64(a), Ok(1));
            assert!(memory.read(a + 1, 7).is_ok() && memory.read(a + 1, 8).is_err());
            assert!(memory.read(a - 1, 1).is_err() && memory.read(a + 8, 1).is_err());
            assert!(memory.write(b + 3, 1).is_ok() && memory.write(b + 3, 2).is_err());
            assert!(memory.read(0, 1).is_err() && memory.read(-1, 1).is_err());
            assert!(memory.check_guards().is_empty());
        }
    }

    #[test]
    fn synthetic_bases_do_not_depend_on_the_run() {
        let mut memory = Memory::new();
        let id = memory.add_zeros("a", 1);
        assert_eq!(memory.base(id), 0x18_0000_0000);
        let error = memory.read(0x18_0000_0001, 2).map(<[u8]>::to_vec).expect_err("one byte only");
        let text = "read of 2 bytes at 0x1800000001, byte 1 of a, which has 1 bytes";
        assert_eq!(error.to_string(), text);
    }
}
