//! The memory that emulated code sees.

use std::fmt;

/// An access that memory refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// First byte of the access.
    pub address: u64,
    /// Bytes accessed.
    pub bytes: usize,
    /// Whether it was a write.
    pub is_write: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_write { "write" } else { "read" };
        write!(f, "{kind} of {} bytes at {:#x} is out of bounds", self.bytes, self.address)
    }
}

/// Checked memory. Every access lies within one object or is refused.
pub trait Memory {
    /// Fills `bytes` from an address.
    ///
    /// # Errors
    /// If any byte is outside.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Writes `bytes` to an address.
    ///
    /// # Errors
    /// If any byte is outside; then nothing is written.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault>;
}

/// Separate byte arrays at addresses of their own, with untouchable space between them.
#[derive(Debug, Default, Clone)]
pub struct Regions {
    regions: Vec<(u64, Vec<u8>)>,
    /// The region of the last access, tried first.
    last: usize,
}

impl Regions {
    /// No regions.
    pub fn new() -> Self {
        Regions::default()
    }

    /// Adds an array and returns its address. Arrays are at least 4096 bytes apart; `skew` bytes are added to an address
    /// that is a multiple of 4096.
    pub fn add(&mut self, bytes: Vec<u8>, skew: u64) -> u64 {
        let end =
            self.regions.last().map_or(0x10_0000, |(start, bytes)| start + bytes.len() as u64);
        let address = (end + 4096).next_multiple_of(4096) + skew;
        self.regions.push((address, bytes));
        address
    }

    /// The array that starts at an address.
    pub fn bytes(&self, address: u64) -> Option<&[u8]> {
        self.regions.iter().find(|(start, _)| *start == address).map(|(_, bytes)| bytes.as_slice())
    }

    fn find(&mut self, address: u64, len: usize) -> Option<(usize, usize)> {
        let holds = |(start, bytes): &(u64, Vec<u8>)| {
            let offset = address.checked_sub(*start)?;
            (offset + len as u64 <= bytes.len() as u64).then_some(offset as usize)
        };
        if let Some(offset) = self.regions.get(self.last).and_then(holds) {
            return Some((self.last, offset));
        }
        let (index, offset) = self
            .regions
            .iter()
            .enumerate()
            .find_map(|(index, region)| Some((index, holds(region)?)))?;
        self.last = index;
        Some((index, offset))
    }
}

impl Memory for Regions {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let fault = Fault { address, bytes: bytes.len(), is_write: false };
        let (index, offset) = self.find(address, bytes.len()).ok_or(fault)?;
        bytes.copy_from_slice(&self.regions[index].1[offset..offset + bytes.len()]);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let fault = Fault { address, bytes: bytes.len(), is_write: true };
        let (index, offset) = self.find(address, bytes.len()).ok_or(fault)?;
        self.regions[index].1[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
