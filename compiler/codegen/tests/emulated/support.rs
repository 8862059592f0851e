//! The shape of the native support, over emulated memory.

use std::cell::RefCell;
use std::collections::BTreeMap;

use dlc_codegen::{Backend, CodegenError, WideBackend};
use dlc_ir::vector::{FunctionKind, Module, Storage};
use dlc_x86_emulator::{Fault, Memory, Program};

pub use crate::native::{edges, padded, pairs, same, unfused_backend};

/// Instructions after which a kernel under test is taken for endless.
const MAX_STEPS: u64 = 1_000_000_000;

thread_local! {
    /// The arrays of a test, by address.
    static HEAP: RefCell<Heap> = const { RefCell::new(Heap { arrays: BTreeMap::new(), next: 0x40_0000 }) };
}

/// Arrays with untouchable space between them.
struct Heap {
    arrays: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Heap {
    fn find(&mut self, fault: Fault) -> Result<&mut [u8], Fault> {
        let (start, array) = self.arrays.range_mut(..=fault.address).next_back().ok_or(fault)?;
        let offset = (fault.address - start) as usize;
        array.get_mut(offset..offset.saturating_add(fault.bytes)).ok_or(fault)
    }
}

impl Memory for Heap {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let found = self.find(Fault { address, bytes: bytes.len(), is_write: false })?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.find(Fault { address, bytes: bytes.len(), is_write: true })?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Both instruction families, whether or not this machine has them.
pub fn backends() -> Vec<Box<dyn Backend>> {
    vec![Box::new(WideBackend::avx2()), Box::new(WideBackend::avx512())]
}

/// All of them have fused multiply-add.
pub fn fused_backends() -> Vec<Box<dyn Backend>> {
    backends()
}

/// Decoded kernels by name. They live as long as the process, so that they can be copied like pointers to functions.
#[derive(Debug)]
pub struct Emulated(BTreeMap<String, &'static Program>);

impl Emulated {
    pub fn kernel(&self, name: &str) -> Option<&'static Program> {
        self.0.get(name).copied()
    }
}

/// Compiles and decodes a module of kernels.
pub fn compile(module: &Module, backend: &dyn Backend) -> Result<Emulated, CodegenError> {
    let mut programs = BTreeMap::new();
    for function in
        module.functions.values().filter(|function| function.kind == FunctionKind::Kernel)
    {
        let compiled = backend.compile(module, function)?;
        let program = Program::decode(&compiled.bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", function.name));
        programs.insert(function.name.clone(), &*Box::leak(Box::new(program)));
    }
    Ok(Emulated(programs))
}

/// Calls a kernel.
pub fn call(kernel: &Program, args: &[i64]) {
    let result = HEAP.with_borrow_mut(|heap| kernel.call(args, heap, MAX_STEPS));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Elements at an emulated address; anything beyond them is out of bounds.
pub struct Array {
    address: u64,
    storage: Storage,
    initial: Vec<u64>,
}

impl Array {
    pub fn new(storage: Storage, elements: &[u64]) -> Self {
        let bytes = elements.len() * storage.bytes() as usize;
        let address = HEAP.with_borrow_mut(|heap| {
            // Like the native arrays, the end is aligned and the start is not.
            let address = (heap.next + bytes as u64).next_multiple_of(4096) - bytes as u64;
            heap.next = address + bytes as u64 + 4096;
            heap.arrays.insert(address, vec![0; bytes]);
            address
        });
        let mut array = Array { address, storage, initial: elements.to_vec() };
        array.reset();
        array
    }

    pub fn reset(&mut self) {
        let size = self.storage.bytes() as usize;
        HEAP.with_borrow_mut(|heap| {
            let bytes =
                heap.arrays.get_mut(&self.address).expect("arrays live as long as their owner");
            for (chunk, bits) in bytes.chunks_exact_mut(size).zip(&self.initial) {
                chunk.copy_from_slice(&bits.to_le_bytes()[..size]);
            }
        });
    }

    pub fn address(&self) -> i64 {
        self.address as i64
    }

    pub fn elements(&self) -> Vec<u64> {
        let size = self.storage.bytes() as usize;
        HEAP.with_borrow(|heap| {
            heap.arrays[&self.address]
                .chunks_exact(size)
                .map(|chunk| {
                    let mut bits = [0; 8];
                    bits[..size].copy_from_slice(chunk);
                    u64::from_le_bytes(bits)
                })
                .collect()
        })
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        HEAP.with_borrow_mut(|heap| heap.arrays.remove(&self.address));
    }
}
