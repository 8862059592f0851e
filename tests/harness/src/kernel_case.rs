//! A kernel with memory and arguments, and the comparison of what two executions leave in memory.

use dlc_ir::vector::{FuncId, InterpretError, Interpreter, Memory, Module, RegionId, Storage};

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// A number.
    Int(i64),
    /// An address: so many bytes from the base of a region, by its number in [`KernelCase::regions`].
    Address {
        /// The region.
        region: usize,
        /// Bytes from its base.
        offset: i64,
    },
}

/// Initial contents of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionData {
    /// Its name in messages.
    pub name: String,
    /// What lies in it; decides which bytes compare as NaN.
    pub storage: Storage,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A kernel that is ready to run: no access of it leaves its regions, and every operation is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelCase {
    /// The seed it was made from.
    pub seed: u64,
    /// Holds the kernel alone.
    pub module: Module,
    /// The kernel.
    pub func: FuncId,
    /// Memory before the call.
    pub regions: Vec<RegionData>,
    /// One for each parameter.
    pub args: Vec<Arg>,
}

impl KernelCase {
    /// Fills a memory, [`Memory::new`] or [`Memory::native`], with the regions; region `i` of the case is
    /// region `i` of the memory. Returns the words to call the kernel with: for native memory they are real addresses.
    pub fn lay_out(&self, mut memory: Memory) -> (Memory, Vec<i64>) {
        let ids: Vec<RegionId> = self
            .regions
            .iter()
            .map(|region| memory.add(region.name.clone(), &region.bytes))
            .collect();
        let args = self.args.iter().map(|arg| match *arg {
            Arg::Int(value) => value,
            Arg::Address { region, offset } => memory.base(ids[region]) + offset,
        });
        let args = args.collect();
        (memory, args)
    }

    /// Runs the kernel in the interpreter and returns the memory it leaves.
    ///
    /// # Errors
    /// The interpreter's; for a generated case this is a fault of the generator.
    pub fn interpret(&self) -> Result<Memory, InterpretError> {
        let (mut memory, args) = self.lay_out(Memory::new());
        let mut interpreter =
            Interpreter::new(&self.module).expect("generated kernels obey the laws");
        interpreter.run(self.func, &args, &mut memory)?;
        Ok(memory)
    }

    /// Compares memory after two executions of this case, by region and element.
    ///
    /// # Errors
    /// Where they differ first, with the seed; any NaN equals any NaN.
    pub fn compare(&self, expected: &Memory, got: &Memory) -> Result<(), String> {
        for (id, region) in expected.regions().zip(&self.regions) {
            let (expected, got) = (expected.bytes(id), got.bytes(id));
            if let Some((element, a, b)) = first_difference(region.storage, expected, got) {
                return Err(format!(
                    "seed {}: element {element} of {} is {b:#x}, the interpreter's {a:#x}",
                    self.seed, region.name
                ));
            }
        }
        Ok(())
    }
}

/// The first element in which two arrays differ, with the bits of both; any NaN equals any NaN.
///
/// # Panics
/// If the lengths differ.
pub fn first_difference(storage: Storage, a: &[u8], b: &[u8]) -> Option<(usize, u64, u64)> {
    assert_eq!(a.len(), b.len(), "arrays of one length");
    let size = storage.bytes() as usize;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let pairs = a.chunks(size).zip(b.chunks(size)).map(|(a, b)| (word(a), word(b)));
    let differ =
        |&(_, (a, b)): &(usize, (u64, u64))| a != b && !(is_nan(storage, a) && is_nan(storage, b));
    pairs.enumerate().find(differ).map(|(element, (a, b))| (element, a, b))
}

/// Whether an element's bits are a NaN.
pub fn is_nan(storage: Storage, bits: u64) -> bool {
    match storage {
        Storage::F32 => f32::from_bits(bits as u32).is_nan(),
        Storage::F64 => f64::from_bits(bits).is_nan(),
        Storage::Bf16 => f32::from_bits((bits as u32) << 16).is_nan(),
        Storage::F16 => bits & 0x7fff > 0x7c00,
        Storage::I32 | Storage::I64 | Storage::U8 | Storage::I8 => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_nan_equals_any_nan_and_zeros_differ() {
        let bytes = |values: [f32; 2]| {
            values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
        };
        let nan = bytes([1.0, f32::from_bits(0x7fc0_0001)]);
        let other = bytes([1.0, f32::from_bits(0xff80_0100)]);
        assert_eq!(first_difference(Storage::F32, &nan, &other), None);
        assert!(first_difference(Storage::I32, &nan, &other).is_some());
        let zeros = (bytes([0.0, 0.0]), bytes([0.0, -0.0]));
        assert_eq!(first_difference(Storage::F32, &zeros.0, &zeros.1), Some((1, 0, 0x8000_0000)));
        assert!(is_nan(Storage::F16, 0x7c01) && !is_nan(Storage::F16, 0xfc00));
        assert!(is_nan(Storage::Bf16, 0xffc0) && !is_nan(Storage::Bf16, 0x7f80));
    }
}
