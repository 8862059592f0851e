//! Levels of processors that artefacts are made for.

use crate::backend::Target;
use crate::error::DriverError;
use dlc_abi::NumericsClass;
use dlc_codegen::object::Level;
use dlc_codegen::{Backend, CraneliftBackend, CraneliftOptions, WideBackend};

/// Systems that object files are made for: ELF with the calling convention of System V, whatever the C library.
const SYSTEMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"];

/// Fails unless object files are made for the system of that name, a target triple.
///
/// # Errors
/// When there is no such system.
pub fn check_system(triple: &str) -> Result<(), DriverError> {
    match SYSTEMS.contains(&triple) {
        true => Ok(()),
        false => {
            Err(DriverError::UnknownTarget { name: triple.to_owned(), known: SYSTEMS.join(", ") })
        }
    }
}

/// A level of x86-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// SSE4.2. It lacks fused multiply-add, so sums round differently: its numerics class is another.
    V2,
    /// AVX2 and FMA.
    V3,
    /// AVX-512.
    V4,
}

impl Cpu {
    /// All of them, from low to high.
    pub const ALL: [Cpu; 3] = [Cpu::V2, Cpu::V3, Cpu::V4];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Cpu::V2 => "x86-64-v2",
            Cpu::V3 => "x86-64-v3",
            Cpu::V4 => "x86-64-v4",
        }
    }

    /// The family of rounding that its code follows.
    pub const fn class(self) -> NumericsClass {
        match self {
            Cpu::V2 => NumericsClass::Unfused,
            Cpu::V3 | Cpu::V4 => NumericsClass::Fused,
        }
    }

    /// The level of that name, or for `native` the highest that this processor has.
    ///
    /// # Errors
    /// When there is no such level, or this processor has none.
    pub fn from_name(name: &str) -> Result<Cpu, DriverError> {
        if name == "native" {
            return Cpu::native()
                .ok_or(DriverError::TargetLacks { name: "native", lacks: "SSE4.2" });
        }
        if name == "x86-64" {
            return Err(DriverError::BelowLevels { lowest: Cpu::V2.name() });
        }
        Cpu::ALL.into_iter().find(|cpu| cpu.name() == name).ok_or_else(|| {
            let known = Cpu::ALL.map(Cpu::name).join(", ");
            DriverError::UnknownTarget { name: name.to_owned(), known: format!("native, {known}") }
        })
    }

    fn native() -> Option<Cpu> {
        match Target::best() {
            Target::Avx512 => Some(Cpu::V4),
            Target::Avx2 => Some(Cpu::V3),
            Target::V128 => Cpu::V2.cranelift().ok().filter(Backend::runs_here).map(|_| Cpu::V2),
        }
    }

    /// What object files check for.
    pub(super) const fn level(self) -> Level {
        match self {
            Cpu::V2 => Level::V2,
            Cpu::V3 => Level::V3,
            Cpu::V4 => Level::V4,
        }
    }

    /// The back end that compiles for it, on any machine.
    pub(super) fn backend(self) -> Result<Box<dyn Backend>, DriverError> {
        Ok(match self {
            Cpu::V2 => Box::new(self.cranelift()?),
            Cpu::V3 => Box::new(WideBackend::avx2()),
            Cpu::V4 => Box::new(WideBackend::avx512()),
        })
    }

    /// Cranelift for its processors.
    pub(super) fn cranelift(self) -> Result<CraneliftBackend, DriverError> {
        Ok(CraneliftBackend::new(CraneliftOptions::for_objects(self.level()))?)
    }
}
