//! The floating-point environment of compiled code: round to nearest, denormals kept, no traps.
//!
//! A host may have loaded a library that switches denormals off in the thread that loaded it. Every thread therefore
//! enters a step with the default control word and gets its own back afterwards. The x87 control word is left alone:
//! compiled code uses no x87 instruction.

use std::marker::PhantomData;

/// While it lives, the calling thread computes with the default floating-point environment; dropping it restores what
/// was there before. On processors without such a control word it does nothing.
#[derive(Debug)]
pub struct FloatEnv {
    saved: arch::Control,
    /// The control word belongs to the thread, so the guard must be dropped where it was made.
    _not_send: PhantomData<*const ()>,
}

impl FloatEnv {
    /// Saves the thread's control word and sets the default one.
    pub fn enter() -> Self {
        let saved = arch::read();
        if saved != arch::DEFAULT {
            arch::write(arch::DEFAULT);
        }
        FloatEnv { saved, _not_send: PhantomData }
    }
}

impl Drop for FloatEnv {
    fn drop(&mut self) {
        // Sticky exception flags that compiled code raised are dropped with the rest: they are no result of a step.
        if arch::read() != self.saved {
            arch::write(self.saved);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;

    pub(super) type Control = u32;

    /// MXCSR after reset: all exceptions masked, round to nearest, no flush to zero, denormals are not zeros.
    pub(super) const DEFAULT: Control = 0x1F80;

    pub(super) fn read() -> Control {
        let mut control: Control = 0;
        // SAFETY: `stmxcsr` stores four bytes to the place given, which is a live local of four bytes. Checked by
        // `the_callers_control_word_is_replaced_and_comes_back`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut control, options(nostack, preserves_flags)) };
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: `ldmxcsr` reads four bytes from a live local. The value is either the default that Rust code assumes
        // or one read from this same register before, so no reserved bit is set and the thread is never left with an
        // environment it did not already have. Checked by `the_callers_control_word_is_replaced_and_comes_back`.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &control, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    pub(super) type Control = u64;

    /// FPCR zero: round to nearest, no flush to zero, default NaN off, no traps.
    pub(super) const DEFAULT: Control = 0;

    pub(super) fn read() -> Control {
        let control: Control;
        // SAFETY: reads a register that user code may read; touches no memory. Checked by
        // `the_callers_control_word_is_replaced_and_comes_back`.
        unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: writes the default that Rust code assumes, or a value read from this same register before. Checked by
        // `the_callers_control_word_is_replaced_and_comes_back`.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) type Control = u32;

    /// There is nothing to set: RISC-V has no flush-to-zero mode, and its rounding mode is encoded in instructions.
    pub(super) const DEFAULT: Control = 0;

    pub(super) fn read() -> Control {
        DEFAULT
    }

    pub(super) fn write(_control: Control) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    const FLUSHING: arch::Control = 0x1F80 | 1 << 15 | 1 << 6;
    #[cfg(target_arch = "aarch64")]
    const FLUSHING: arch::Control = 1 << 24;

    /// The control word without the sticky exception flags that any arithmetic raises.
    fn control() -> arch::Control {
        const FLAGS: arch::Control = if cfg!(target_arch = "x86_64") { 0x3F } else { 0 };
        arch::read() & !FLAGS
    }

    fn half_of_smallest_normal() -> f32 {
        std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5)
    }

    #[test]
    fn the_callers_control_word_is_replaced_and_comes_back() {
        // A thread of its own: the test harness must not run on with denormals off.
        std::thread::spawn(|| {
            arch::write(FLUSHING);
            assert_eq!(half_of_smallest_normal(), 0.0, "the host flushes denormals");
            {
                let _environment = FloatEnv::enter();
                assert_eq!(control(), arch::DEFAULT);
                assert!(half_of_smallest_normal() > 0.0, "a step keeps denormals");
                let _nested = FloatEnv::enter();
                assert_eq!(control(), arch::DEFAULT);
            }
            assert_eq!(control(), FLUSHING);
            arch::write(arch::DEFAULT);
        })
        .join()
        .expect("the control word is as expected");
    }
}
