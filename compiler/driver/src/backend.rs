//! Which back end compiles for which instructions.

use crate::error::DriverError;
use dlc_codegen::{Backend, CraneliftBackend, WideBackend};

/// Code for which instruction family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// 128-bit vectors through Cranelift.
    V128,
    /// 256-bit vectors (x86-64-v3).
    Avx2,
    /// 512-bit vectors (x86-64-v4).
    Avx512,
}

impl Target {
    /// All targets, from narrow to wide.
    pub const ALL: [Target; 3] = [Target::V128, Target::Avx2, Target::Avx512];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Target::V128 => "v128",
            Target::Avx2 => "avx2",
            Target::Avx512 => "avx512",
        }
    }

    /// The widest target that this processor runs.
    pub fn best() -> Target {
        Target::ALL.into_iter().rev().find(|target| target.runs_here()).unwrap_or(Target::V128)
    }

    /// The target of that name, or the best one for `native`, whether this processor runs it or not.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_name(name: &str) -> Result<Target, DriverError> {
        if name == "native" {
            return Ok(Target::best());
        }
        let Some(target) = Target::ALL.into_iter().find(|target| target.name() == name) else {
            let known = Target::ALL.map(Target::name).join(", ");
            return Err(DriverError::UnknownTarget {
                name: name.to_owned(),
                known: format!("native, {known}"),
            });
        };
        Ok(target)
    }

    /// The same target, if this processor runs it.
    ///
    /// # Errors
    /// If it lacks instructions.
    pub fn required(self) -> Result<Target, DriverError> {
        if !self.runs_here() {
            let lacks = match self {
                Target::V128 => "SSE4.1 or FMA",
                Target::Avx2 => "AVX2 or FMA",
                Target::Avx512 => "AVX-512",
            };
            return Err(DriverError::TargetLacks { name: self.name(), lacks });
        }
        Ok(self)
    }

    /// The back end that compiles for it.
    ///
    /// # Errors
    /// If Cranelift does not know this machine's architecture.
    pub fn backend(self) -> Result<Box<dyn Backend>, DriverError> {
        Ok(match self {
            Target::V128 => Box::new(CraneliftBackend::host()?),
            Target::Avx2 => Box::new(WideBackend::avx2()),
            Target::Avx512 => Box::new(WideBackend::avx512()),
        })
    }

    /// Whether this processor runs its code.
    pub fn runs_here(self) -> bool {
        self.backend().is_ok_and(|backend| backend.runs_here())
    }
}
