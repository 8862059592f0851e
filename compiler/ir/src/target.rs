//! What passes may know of a machine. Passes before the numerics freeze never see it.

/// Instruction families that back ends emit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// 128-bit vectors through Cranelift, on any of its targets.
    V128,
    /// 256-bit vectors with fused multiply-add (x86-64-v3).
    Avx2,
    /// 512-bit vectors and mask registers (x86-64-v4).
    Avx512,
}

/// Facts about a target that schedules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetDesc {
    /// Instruction family.
    pub isa: Isa,
    /// Bytes of a vector register: 16, 32 or 64.
    pub vector_bytes: usize,
    /// Architectural vector registers.
    pub vector_registers: usize,
    /// Bytes of first-level data cache of a core.
    pub l1_bytes: usize,
    /// Bytes of second-level cache of a core.
    pub l2_bytes: usize,
}

impl TargetDesc {
    /// Typical values for an instruction family.
    pub const fn typical(isa: Isa) -> Self {
        let (vector_bytes, vector_registers) = match isa {
            Isa::V128 => (16, 16),
            Isa::Avx2 => (32, 16),
            Isa::Avx512 => (64, 32),
        };
        TargetDesc { isa, vector_bytes, vector_registers, l1_bytes: 32 << 10, l2_bytes: 512 << 10 }
    }

    /// Lanes of `elem_bytes` elements in one register.
    pub const fn lanes(self, elem_bytes: usize) -> usize {
        self.vector_bytes / elem_bytes
    }
}
