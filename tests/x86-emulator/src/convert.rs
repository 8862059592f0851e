//! Conversions between element types.

use iced_x86::Mnemonic as M;

use crate::decode::{Insn, Operand};
use crate::memory::Memory;
use crate::state::{State, Stop, Vector};

/// The value that the processor gives for a float outside the range of the integer.
fn to_i32(value: f64) -> u32 {
    if value > -2147483649.0 && value < 2147483648.0 { value as i32 as u32 } else { 0x8000_0000 }
}

fn to_i64(value: f64) -> u64 {
    if (-9223372036854775808.0..9223372036854775808.0).contains(&value) {
        value as i64 as u64
    } else {
        1 << 63
    }
}

/// Half precision to single.
fn from_f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10 & 31);
    let fraction = u32::from(half & 0x3ff);
    match exponent {
        0 => {
            // A multiple of 2^-24, exact in single precision.
            let magnitude = fraction as f32 * 5.960_464_5e-8;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        31 if fraction == 0 => f32::from_bits(sign | 0x7f80_0000),
        31 => f32::from_bits(sign | 0x7fc0_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// Single precision to half, nearest with ties to even.
fn to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00 | (bits >> 13 & 0x1ff) as u16;
    }
    // Halfway between the largest half and the next power of two.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    let (kept, rest, half) = if magnitude >= 0x3880_0000 {
        let rebased = magnitude - (112 << 23);
        (rebased >> 13, rebased & 0x1fff, 0x1000)
    } else {
        // A multiple of 2^-24: shift the fraction with its leading one.
        let exponent = (magnitude >> 23) as i32;
        let fraction = magnitude & 0x7f_ffff | if exponent > 0 { 0x80_0000 } else { 0 };
        let shift = 126 - exponent.max(1);
        if shift > 25 {
            (0, u32::from(fraction != 0), 2)
        } else {
            (fraction >> shift, fraction & ((1 << shift) - 1), 1 << (shift - 1))
        }
    };
    let up = rest > half || rest == half && kept & 1 == 1;
    sign | (kept + u32::from(up)) as u16
}

impl State<'_> {
    /// Elements of `from` bytes become elements of `to` bytes in a register of as many lanes as the wider side has.
    fn each(
        &mut self,
        insn: &Insn,
        from: usize,
        to: usize,
        memory: &mut dyn Memory,
        f: impl Fn(u64) -> u64,
    ) -> Result<(), Stop> {
        let lanes = insn.width as usize / from.max(to).max(4);
        let source = self.source(insn, 1, from, memory)?.to_bytes();
        let mut bytes = [0; 64];
        for lane in 0..lanes {
            let mut word = [0; 8];
            word[..from].copy_from_slice(&source[lane * from..lane * from + from]);
            let value = f(u64::from_le_bytes(word));
            bytes[lane * to..lane * to + to].copy_from_slice(&value.to_le_bytes()[..to]);
        }
        let result = Vector::from_bytes(&bytes);
        if insn.ops[0] == Operand::Mem {
            return self.finish_rm(insn, result, to, lanes * to, memory);
        }
        if to < 4 && insn.mask != 0 {
            // Packed elements of a register under a mask are not emitted.
            return Err(Stop::Unknown);
        }
        self.finish(insn, result, to.max(4), (lanes * to).max(16))
    }

    /// Conversions; whether it was one.
    pub(crate) fn convert(&mut self, insn: &Insn, memory: &mut dyn Memory) -> Result<bool, Stop> {
        let single = |bits: u64| f32::from_bits(bits as u32);
        match insn.mnemonic {
            M::Vcvtdq2ps => {
                self.each(insn, 4, 4, memory, |x| u64::from((x as i32 as f32).to_bits()))?
            }
            M::Vcvttps2dq => {
                self.each(insn, 4, 4, memory, |x| u64::from(to_i32(f64::from(single(x)))))?
            }
            M::Vcvtps2pd => self.each(insn, 4, 8, memory, |x| f64::from(single(x)).to_bits())?,
            M::Vcvtpd2ps => {
                self.each(insn, 8, 4, memory, |x| u64::from((f64::from_bits(x) as f32).to_bits()))?
            }
            M::Vcvtdq2pd => self.each(insn, 4, 8, memory, |x| f64::from(x as i32).to_bits())?,
            M::Vcvttpd2dq => {
                self.each(insn, 8, 4, memory, |x| u64::from(to_i32(f64::from_bits(x))))?
            }
            M::Vcvtqq2pd => self.each(insn, 8, 8, memory, |x| (x as i64 as f64).to_bits())?,
            M::Vcvttpd2qq => self.each(insn, 8, 8, memory, |x| to_i64(f64::from_bits(x)))?,
            M::Vcvtqq2ps => {
                self.each(insn, 8, 4, memory, |x| u64::from((x as i64 as f32).to_bits()))?
            }
            M::Vcvttps2qq => self.each(insn, 4, 8, memory, |x| to_i64(f64::from(single(x))))?,
            M::Vpmovsxdq => self.each(insn, 4, 8, memory, |x| i64::from(x as i32) as u64)?,
            M::Vpmovzxbd => self.each(insn, 1, 4, memory, |x| x)?,
            M::Vpmovsxbd => self.each(insn, 1, 4, memory, |x| x as i8 as i32 as u32 as u64)?,
            M::Vpmovzxwd => self.each(insn, 2, 4, memory, |x| x)?,
            M::Vpmovdb => self.each(insn, 4, 1, memory, |x| x)?,
            M::Vpmovdw => self.each(insn, 4, 2, memory, |x| x)?,
            M::Vpmovqd => self.each(insn, 8, 4, memory, |x| x)?,
            M::Vcvtph2ps => {
                self.each(insn, 2, 4, memory, |x| u64::from(from_f16(x as u16).to_bits()))?
            }
            M::Vcvtps2ph if insn.imm == 0 => {
                self.each(insn, 4, 2, memory, |x| u64::from(to_f16(single(x))))?;
            }
            M::Vcvttsd2si | M::Vcvttss2si => {
                let Operand::Vec(reg) = insn.ops[1] else { return Ok(false) };
                let bits = self.vec[reg as usize].get64(0);
                let value = if insn.mnemonic == M::Vcvttsd2si {
                    f64::from_bits(bits)
                } else {
                    f64::from(single(bits))
                };
                let Operand::Gpr(_, 8) = insn.ops[0] else { return Ok(false) };
                self.set(insn, 0, to_i64(value), memory)?;
            }
            M::Vcvtsi2ss => {
                let mut result = self.source(insn, 1, 4, memory)?;
                let value = self.get(insn, 2, memory)? as i64;
                result.0[0] = (value as f32).to_bits();
                self.finish(insn, result, 4, 16)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{from_f16, to_f16};

    #[test]
    fn every_half_survives_and_ties_go_to_even() {
        for half in 0..=u16::MAX {
            let value = from_f16(half);
            if value.is_nan() {
                assert!(from_f16(to_f16(value)).is_nan());
                continue;
            }
            assert_eq!(to_f16(value), half);
            let next = from_f16(half + 1);
            if half & 0x7fff < 0x7bff {
                // Halfway between neighbours: exact in single precision.
                let middle = (value + next) / 2.0;
                let even = if half & 1 == 0 { half } else { half + 1 };
                assert_eq!(to_f16(middle), even, "{value} and {next}");
                assert_eq!(to_f16(f32::from_bits(middle.to_bits() - 1)), half);
                assert_eq!(to_f16(f32::from_bits(middle.to_bits() + 1)), half + 1);
            }
        }
        assert_eq!(to_f16(65519.996), 0x7bff);
        assert_eq!(to_f16(65520.0), 0x7c00);
        assert_eq!(to_f16(1e-10), 0);
        assert_eq!(to_f16(-1e-10), 0x8000);
        assert_eq!(to_f16(2.980_232_2e-8), 0);
        assert_eq!(to_f16(2.980_232_6e-8), 1);
    }
}
