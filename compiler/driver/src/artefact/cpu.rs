//! Levels of processors that artefacts are made for.

use crate::backend::{Backends, Target};
use crate::error::DriverError;
use dlc_codegen::object::Level;
use dlc_codegen::{CraneliftBackend, CraneliftOptions, WideBackend};

/// A level of x86-64. Lower levels lack fused multiply-add, without which sums would round differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// AVX2 and FMA.
    V3,
    /// AVX-512.
    V4,
}

impl Cpu {
    /// Both, from low to high.
    pub const ALL: [Cpu; 2] = [Cpu::V3, Cpu::V4];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Cpu::V3 => "x86-64-v3",
            Cpu::V4 => "x86-64-v4",
        }
    }

    /// The level of that name, or for `native` the highest that this processor has.
    ///
    /// # Errors
    /// When there is no such level, or this processor has none.
    pub fn from_name(name: &str) -> Result<Cpu, DriverError> {
        if name == "native" {
            return match Target::best() {
                Target::Avx512 => Ok(Cpu::V4),
                Target::Avx2 => Ok(Cpu::V3),
                Target::V128 => Err(DriverError::TargetLacks { name: "native", lacks: "AVX2" }),
            };
        }
        Cpu::ALL.into_iter().find(|cpu| cpu.name() == name).ok_or_else(|| {
            let known = Cpu::ALL.map(Cpu::name).join(", ");
            DriverError::UnknownTarget { name: name.to_owned(), known: format!("native, {known}") }
        })
    }

    /// What object files check for.
    pub(super) const fn level(self) -> Level {
        match self {
            Cpu::V3 => Level::V3,
            Cpu::V4 => Level::V4,
        }
    }

    /// The back ends that compile for it, on any machine.
    pub(super) fn backends(self) -> Result<Backends, DriverError> {
        let kernels = match self {
            Cpu::V3 => WideBackend::avx2(),
            Cpu::V4 => WideBackend::avx512(),
        };
        let drivers = CraneliftBackend::new(CraneliftOptions::for_objects())?;
        Ok(Backends { kernels: Box::new(kernels), drivers: Box::new(drivers) })
    }
}
