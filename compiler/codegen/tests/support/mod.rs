//! Back ends under test, and lanes in guarded memory: what kernels read and write.
#![allow(dead_code, reason = "each test crate uses its part of it")]

use std::sync::Arc;

use dlc_codegen::object::Level;
use dlc_codegen::{
    Backend, CodegenError, CraneliftBackend, CraneliftOptions, JitCode, KernelFn, WideBackend,
    compile_jit,
};
use dlc_exec::{Buffer, Fill, Placement};
use dlc_ir::vector::{Elem, Module, Storage};

/// Every back end whose code runs here.
pub fn backends() -> Vec<Box<dyn Backend>> {
    let mut all = fused_backends();
    #[cfg(target_arch = "x86_64")]
    all.push(Box::new(unfused_backend()));
    all.retain(|backend| backend.runs_here());
    all
}

/// Those that have fused multiply-add.
pub fn fused_backends() -> Vec<Box<dyn Backend>> {
    let mut all: Vec<Box<dyn Backend>> = vec![
        Box::new(CraneliftBackend::host().unwrap()),
        Box::new(WideBackend::avx2()),
        Box::new(WideBackend::avx512()),
    ];
    all.retain(|backend| backend.runs_here());
    all
}

/// A back end for processors without fused multiply-add.
#[cfg(target_arch = "x86_64")]
pub fn unfused_backend() -> CraneliftBackend {
    let options = CraneliftOptions::for_objects(Level::V2);
    CraneliftBackend::new(CraneliftOptions { position_independent: false, ..options }).unwrap()
}

/// A module of kernels by one back end.
pub fn compile(module: &Module, backend: &dyn Backend) -> Result<Arc<JitCode>, CodegenError> {
    compile_jit(module, backend)
}

/// Elements that end where an inaccessible page begins, so that code which reaches too far dies.
pub struct Array {
    buffer: Buffer,
    start: usize,
    storage: Storage,
    initial: Vec<u64>,
}

impl Array {
    /// An array of elements given by their bits.
    pub fn new(storage: Storage, elements: &[u64]) -> Self {
        let bytes = elements.len() * storage.bytes() as usize;
        let buffer = Buffer::new(bytes.max(1), Placement::Guarded, Fill::Ones).unwrap();
        let start = buffer.len() - bytes;
        let mut array = Array { buffer, start, storage, initial: elements.to_vec() };
        array.reset();
        array
    }

    /// Writes the first elements again.
    pub fn reset(&mut self) {
        let size = self.storage.bytes() as usize;
        let chunks = self.buffer.as_bytes_mut()[self.start..].chunks_exact_mut(size);
        for (chunk, bits) in chunks.zip(&self.initial) {
            chunk.copy_from_slice(&bits.to_le_bytes()[..size]);
        }
    }

    /// The address of the first element, as kernels take it.
    pub fn address(&self) -> i64 {
        self.buffer.address() as i64 + self.start as i64
    }

    /// The bits of every element.
    pub fn elements(&self) -> Vec<u64> {
        let size = self.storage.bytes() as usize;
        let read = |chunk: &[u8]| {
            let mut bits = [0; 8];
            bits[..size].copy_from_slice(chunk);
            u64::from_le_bytes(bits)
        };
        self.buffer.as_bytes()[self.start..].chunks_exact(size).map(read).collect()
    }
}

/// Calls a kernel.
pub fn call(kernel: KernelFn, args: &[i64]) {
    // SAFETY: the tests pass the words that the kernel's parameters mean, and addresses of arrays as long as it touches;
    // guard pages show where it does not.
    unsafe { kernel(args.as_ptr()) }
}

/// Whether these are the bits of a NaN in that storage.
pub fn is_nan(storage: Storage, bits: u64) -> bool {
    match storage {
        Storage::F32 => f32::from_bits(bits as u32).is_nan(),
        Storage::F64 => f64::from_bits(bits).is_nan(),
        Storage::Bf16 => bits & 0x7fff > 0x7f80,
        Storage::F16 => bits & 0x7fff > 0x7c00,
        Storage::I32 | Storage::I64 | Storage::U8 | Storage::I8 => false,
    }
}

/// Equal bits, or both NaN.
pub fn same(storage: Storage, a: u64, b: u64) -> bool {
    a == b || is_nan(storage, a) && is_nan(storage, b)
}

/// Values at which operations of an element type change their behaviour.
pub fn edges(elem: Elem) -> Vec<u64> {
    match elem {
        Elem::F32 => [
            0.0f32,
            1.0,
            0.5,
            1.5,
            2.5,
            3.0,
            0.1,
            1e-3,
            1e10,
            3e38,
            8388607.5,
            8388608.0,
            16777217.0,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::INFINITY,
            1e-45,
            1.1e-38,
        ]
        .iter()
        .flat_map(|value| [value.to_bits(), (-value).to_bits()])
        .chain([f32::NAN.to_bits()])
        .map(u64::from)
        .collect(),
        Elem::F64 => [
            0.0f64,
            1.0,
            0.5,
            1.5,
            2.5,
            3.0,
            0.1,
            1e-3,
            1e10,
            1e308,
            4503599627370495.5,
            9007199254740993.0,
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::INFINITY,
            5e-324,
            2e-308,
        ]
        .iter()
        .flat_map(|value| [value.to_bits(), (-value).to_bits()])
        .chain([f64::NAN.to_bits()])
        .collect(),
        Elem::I32 => [
            0,
            1,
            2,
            3,
            -1,
            -2,
            7,
            0x5555_5555,
            0x1234_5678,
            65535,
            65536,
            i32::MAX,
            i32::MIN,
            i32::MIN + 1,
        ]
        .iter()
        .map(|&value| u64::from(value as u32))
        .collect(),
        Elem::I64 => [
            0,
            1,
            2,
            3,
            -1,
            -2,
            7,
            0x5555_5555_5555_5555,
            0x1234_5678_9abc_def0,
            1 << 31,
            1 << 32,
            -(1 << 32),
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
        ]
        .iter()
        .map(|&value| value as u64)
        .collect(),
    }
}

/// All pairs of the items as two columns, padded by repetition to a multiple of 16.
pub fn pairs(items: &[u64]) -> [Vec<u64>; 2] {
    let mut columns = [Vec::new(), Vec::new()];
    for &a in items {
        for &b in items {
            columns[0].push(a);
            columns[1].push(b);
        }
    }
    columns.map(padded)
}

/// The items, repeated until their number is a multiple of 16.
pub fn padded(mut items: Vec<u64>) -> Vec<u64> {
    let n = items.len();
    while items.len() % 16 != 0 {
        items.push(items[items.len() % n]);
    }
    items
}
