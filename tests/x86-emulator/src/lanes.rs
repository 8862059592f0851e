//! Lane-wise arithmetic, comparisons and selection.

use iced_x86::Mnemonic as M;

use crate::decode::{Insn, Operand};
use crate::memory::Memory;
use crate::state::{State, Stop, Vector};

/// The outcome of a float comparison that a predicate accepts: less, equal, greater, unordered.
fn accepts(predicate: u8, a: f64, b: f64) -> bool {
    // Bits for less, equal, greater, unordered; predicates 16 to 31 differ in signalling only.
    const TABLE: [u8; 16] = [
        0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111, 0b1010, 0b1001, 0b1011,
        0b0000, 0b0101, 0b0110, 0b0100, 0b1111,
    ];
    let outcome = match a.partial_cmp(&b) {
        Some(std::cmp::Ordering::Less) => 0,
        Some(std::cmp::Ordering::Equal) => 1,
        Some(std::cmp::Ordering::Greater) => 2,
        None => 3,
    };
    TABLE[usize::from(predicate & 15)] >> outcome & 1 == 1
}

/// Predicates of `vpcmpd` and `vpcmpq`.
fn accepts_integer(predicate: u8, a: i64, b: i64) -> bool {
    match predicate & 7 {
        0 => a == b,
        1 => a < b,
        2 => a <= b,
        3 => false,
        4 => a != b,
        5 => a >= b,
        6 => a > b,
        _ => true,
    }
}

/// `±(x * y) + z` in all lanes, rounded once.
///
/// A product of two singles is exact in double precision, and the sum of it and a single, rounded to double and then to single, is
/// rounded wrongly only if the double lies halfway between two singles, or where singles are denormal. Then, and for all lanes,
/// the library's function is taken, which is exact and slow on processors without the instruction.
fn fma_f32(x: &Vector, y: &Vector, z: &Vector, negate: bool) -> Vector {
    let sign = u32::from(negate) << 31;
    // Of the 52 bits of a double's fraction, the 29 that a single lacks.
    const LACKING: u64 = (1 << 29) - 1;
    const HALFWAY: u64 = 1 << 28;
    const LEAST_NORMAL: u64 = (f32::MIN_POSITIVE as f64).to_bits();
    let mut result = Vector::ZERO;
    let mut doubtful = false;
    for lane in 0..16 {
        let x = f64::from(f32::from_bits(x.0[lane] ^ sign));
        let (y, z) = (f64::from(f32::from_bits(y.0[lane])), f64::from(f32::from_bits(z.0[lane])));
        let sum = x * y + z;
        let magnitude = sum.abs().to_bits();
        doubtful |= magnitude & LACKING == HALFWAY;
        doubtful |= magnitude < LEAST_NORMAL && magnitude != 0;
        result.0[lane] = (sum as f32).to_bits();
    }
    if doubtful {
        result = Vector(std::array::from_fn(|lane| {
            let x = f32::from_bits(x.0[lane] ^ sign);
            x.mul_add(f32::from_bits(y.0[lane]), f32::from_bits(z.0[lane])).to_bits()
        }));
    }
    result
}

impl State<'_> {
    fn map_f32(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
        f: impl Fn(f32) -> f32,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, 4, memory)?;
        let result = Vector(std::array::from_fn(|lane| f(f32::from_bits(a.0[lane])).to_bits()));
        self.finish(insn, result, 4, insn.width as usize)
    }

    fn map_f64(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
        f: impl Fn(f64) -> f64,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, 8, memory)?;
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / 8 {
            result.set64(lane, f(f64::from_bits(a.get64(lane))).to_bits());
        }
        self.finish(insn, result, 8, insn.width as usize)
    }

    fn zip_f32(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
        f: impl Fn(f32, f32) -> f32,
    ) -> Result<(), Stop> {
        self.zip_32(insn, memory, |a, b| f(f32::from_bits(a), f32::from_bits(b)).to_bits())
    }

    fn zip_f64(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
        f: impl Fn(f64, f64) -> f64,
    ) -> Result<(), Stop> {
        self.zip_64(insn, memory, |a, b| f(f64::from_bits(a), f64::from_bits(b)).to_bits())
    }

    fn zip_32(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
        f: impl Fn(u32, u32) -> u32,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, 4, memory)?;
        let b = self.source(insn, 2, 4, memory)?;
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / 4 {
            result.0[lane] = f(a.0[lane], b.0[lane]);
        }
        self.finish(insn, result, 4, insn.width as usize)
    }

    fn zip_64(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
        f: impl Fn(u64, u64) -> u64,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, 8, memory)?;
        let b = self.source(insn, 2, 8, memory)?;
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / 8 {
            result.set64(lane, f(a.get64(lane), b.get64(lane)));
        }
        self.finish(insn, result, 8, insn.width as usize)
    }

    /// `±(x * y) + z`, where the three forms order destination, second and third operand.
    fn fma(
        &mut self,
        insn: &Insn,
        order: [usize; 3],
        negate: bool,
        elem: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let (Operand::Vec(first), Operand::Vec(second)) = (insn.ops[0], insn.ops[1]) else {
            return Err(Stop::Unknown);
        };
        let third = self.source(insn, 2, elem, memory)?;
        let operands = [&self.vec[first as usize], &self.vec[second as usize], &third];
        let [x, y, z] = order.map(|at| operands[at]);
        if elem == 4 {
            let result = fma_f32(x, y, z, negate);
            return self.finish(insn, result, elem, insn.width as usize);
        }
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / elem {
            let x = f64::from_bits(x.get64(lane));
            let x = if negate { -x } else { x };
            let (y, z) = (f64::from_bits(y.get64(lane)), f64::from_bits(z.get64(lane)));
            result.set64(lane, x.mul_add(y, z).to_bits());
        }
        self.finish(insn, result, elem, insn.width as usize)
    }

    /// Float arithmetic; whether it was that.
    pub(crate) fn float_lanes(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
    ) -> Result<bool, Stop> {
        match insn.mnemonic {
            M::Vaddps => self.zip_f32(insn, memory, |a, b| a + b)?,
            M::Vaddpd => self.zip_f64(insn, memory, |a, b| a + b)?,
            M::Vsubps => self.zip_f32(insn, memory, |a, b| a - b)?,
            M::Vsubpd => self.zip_f64(insn, memory, |a, b| a - b)?,
            M::Vmulps => self.zip_f32(insn, memory, |a, b| a * b)?,
            M::Vmulpd => self.zip_f64(insn, memory, |a, b| a * b)?,
            M::Vdivps => self.zip_f32(insn, memory, |a, b| a / b)?,
            M::Vdivpd => self.zip_f64(insn, memory, |a, b| a / b)?,
            // The second operand is returned for NaN and for two zeros.
            M::Vminps => self.zip_f32(insn, memory, |a, b| if a < b { a } else { b })?,
            M::Vminpd => self.zip_f64(insn, memory, |a, b| if a < b { a } else { b })?,
            M::Vmaxps => self.zip_f32(insn, memory, |a, b| if a > b { a } else { b })?,
            M::Vmaxpd => self.zip_f64(insn, memory, |a, b| if a > b { a } else { b })?,
            M::Vsqrtps => self.map_f32(insn, memory, f32::sqrt)?,
            M::Vsqrtpd => self.map_f64(insn, memory, f64::sqrt)?,
            M::Vroundps | M::Vrndscaleps => match insn.imm & 0xf7 {
                0 => self.map_f32(insn, memory, f32::round_ties_even)?,
                1 => self.map_f32(insn, memory, f32::floor)?,
                _ => return Ok(false),
            },
            M::Vroundpd | M::Vrndscalepd => match insn.imm & 0xf7 {
                0 => self.map_f64(insn, memory, f64::round_ties_even)?,
                1 => self.map_f64(insn, memory, f64::floor)?,
                _ => return Ok(false),
            },
            M::Vfmadd132ps => self.fma(insn, [0, 2, 1], false, 4, memory)?,
            M::Vfmadd213ps => self.fma(insn, [1, 0, 2], false, 4, memory)?,
            M::Vfmadd231ps => self.fma(insn, [1, 2, 0], false, 4, memory)?,
            M::Vfnmadd132ps => self.fma(insn, [0, 2, 1], true, 4, memory)?,
            M::Vfnmadd213ps => self.fma(insn, [1, 0, 2], true, 4, memory)?,
            M::Vfnmadd231ps => self.fma(insn, [1, 2, 0], true, 4, memory)?,
            M::Vfmadd132pd => self.fma(insn, [0, 2, 1], false, 8, memory)?,
            M::Vfmadd213pd => self.fma(insn, [1, 0, 2], false, 8, memory)?,
            M::Vfmadd231pd => self.fma(insn, [1, 2, 0], false, 8, memory)?,
            M::Vfnmadd132pd => self.fma(insn, [0, 2, 1], true, 8, memory)?,
            M::Vfnmadd213pd => self.fma(insn, [1, 0, 2], true, 8, memory)?,
            M::Vfnmadd231pd => self.fma(insn, [1, 2, 0], true, 8, memory)?,
            M::Vcmpps => {
                let predicate = insn.imm as u8;
                self.compare(insn, 4, memory, |a, b| {
                    accepts(
                        predicate,
                        f64::from(f32::from_bits(a as u32)),
                        f64::from(f32::from_bits(b as u32)),
                    )
                })?;
            }
            M::Vcmppd => {
                let predicate = insn.imm as u8;
                self.compare(insn, 8, memory, |a, b| {
                    accepts(predicate, f64::from_bits(a), f64::from_bits(b))
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A comparison into a mask register, whose masked-off bits are zero, or into all-ones lanes.
    fn compare(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
        holds: impl Fn(u64, u64) -> bool,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let b = self.source(insn, 2, elem, memory)?;
        let get = |vector: &Vector, lane: usize| {
            if elem == 4 { u64::from(vector.0[lane]) } else { vector.get64(lane) }
        };
        let mut bits = 0u64;
        for lane in 0..insn.width as usize / elem {
            bits |= u64::from(holds(get(&a, lane), get(&b, lane))) << lane;
        }
        if let Operand::Mask(reg) = insn.ops[0] {
            self.mask[reg as usize] = bits & self.writemask(insn);
            return Ok(());
        }
        let result = Vector(std::array::from_fn(|lane| {
            if bits >> (lane * 4 / elem) & 1 == 1 { u32::MAX } else { 0 }
        }));
        self.finish(insn, result, elem, insn.width as usize)
    }

    fn shift(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
        f: impl Fn(u64) -> u64,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / elem {
            if elem == 4 {
                result.0[lane] = f(u64::from(a.0[lane])) as u32;
            } else {
                result.set64(lane, f(a.get64(lane)));
            }
        }
        self.finish(insn, result, elem, insn.width as usize)
    }

    /// Integer arithmetic, logic, comparisons and selection; whether it was that.
    pub(crate) fn integer_lanes(
        &mut self,
        insn: &Insn,
        memory: &mut dyn Memory,
    ) -> Result<bool, Stop> {
        let imm = insn.imm as u8 as u32;
        match insn.mnemonic {
            M::Vpaddd => self.zip_32(insn, memory, u32::wrapping_add)?,
            M::Vpaddq => self.zip_64(insn, memory, u64::wrapping_add)?,
            M::Vpsubd => self.zip_32(insn, memory, u32::wrapping_sub)?,
            M::Vpsubq => self.zip_64(insn, memory, u64::wrapping_sub)?,
            M::Vpmulld => self.zip_32(insn, memory, u32::wrapping_mul)?,
            M::Vpmullq => self.zip_64(insn, memory, u64::wrapping_mul)?,
            M::Vpmuludq => {
                self.zip_64(insn, memory, |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff))?
            }
            M::Vpminsd => self.zip_32(insn, memory, |a, b| (a as i32).min(b as i32) as u32)?,
            M::Vpmaxsd => self.zip_32(insn, memory, |a, b| (a as i32).max(b as i32) as u32)?,
            M::Vpminsq => self.zip_64(insn, memory, |a, b| (a as i64).min(b as i64) as u64)?,
            M::Vpmaxsq => self.zip_64(insn, memory, |a, b| (a as i64).max(b as i64) as u64)?,
            M::Vpand | M::Vpandd => self.zip_32(insn, memory, |a, b| a & b)?,
            M::Vpandq => self.zip_64(insn, memory, |a, b| a & b)?,
            M::Vpor | M::Vpord => self.zip_32(insn, memory, |a, b| a | b)?,
            M::Vporq => self.zip_64(insn, memory, |a, b| a | b)?,
            M::Vpxor | M::Vpxord => self.zip_32(insn, memory, |a, b| a ^ b)?,
            M::Vpxorq => self.zip_64(insn, memory, |a, b| a ^ b)?,
            M::Vpandn | M::Vpandnd => self.zip_32(insn, memory, |a, b| !a & b)?,
            M::Vpandnq => self.zip_64(insn, memory, |a, b| !a & b)?,
            M::Vpabsd => self.shift(insn, 4, memory, |a| u64::from((a as i32).unsigned_abs()))?,
            M::Vpabsq => self.shift(insn, 8, memory, |a| (a as i64).unsigned_abs())?,
            M::Vpslld => self.shift(insn, 4, memory, |a| if imm < 32 { a << imm } else { 0 })?,
            M::Vpsllq => self.shift(insn, 8, memory, |a| if imm < 64 { a << imm } else { 0 })?,
            M::Vpsrld => self.shift(insn, 4, memory, |a| if imm < 32 { a >> imm } else { 0 })?,
            M::Vpsrlq => self.shift(insn, 8, memory, |a| if imm < 64 { a >> imm } else { 0 })?,
            M::Vpsrad => {
                self.shift(insn, 4, memory, |a| (a as i32 >> imm.min(31)) as u32 as u64)?
            }
            M::Vpsraq => self.shift(insn, 8, memory, |a| (a as i64 >> imm.min(63)) as u64)?,
            M::Vpcmpeqd => self.compare(insn, 4, memory, |a, b| a == b)?,
            M::Vpcmpeqq => self.compare(insn, 8, memory, |a, b| a == b)?,
            M::Vpcmpgtd => self.compare(insn, 4, memory, |a, b| a as i32 > b as i32)?,
            M::Vpcmpgtq => self.compare(insn, 8, memory, |a, b| a as i64 > b as i64)?,
            M::Vpcmpd => self.compare(insn, 4, memory, |a, b| {
                accepts_integer(imm as u8, i64::from(a as i32), i64::from(b as i32))
            })?,
            M::Vpcmpq => self
                .compare(insn, 8, memory, |a, b| accepts_integer(imm as u8, a as i64, b as i64))?,
            M::Vblendvps => self.blend_by_sign(insn, 4, memory)?,
            M::Vblendvpd => self.blend_by_sign(insn, 8, memory)?,
            M::Vblendmps | M::Vpblendmd => self.blend_by_mask(insn, 4, memory)?,
            M::Vblendmpd | M::Vpblendmq => self.blend_by_mask(insn, 8, memory)?,
            M::Vpblendd => {
                let a = self.source(insn, 1, 4, memory)?;
                let b = self.source(insn, 2, 4, memory)?;
                let result = Vector(std::array::from_fn(|lane| {
                    if imm >> (lane % 8) & 1 == 1 { b.0[lane] } else { a.0[lane] }
                }));
                self.finish(insn, result, 4, insn.width as usize)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn blend_by_sign(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let b = self.source(insn, 2, elem, memory)?;
        let mask = self.source(insn, 3, elem, memory)?;
        let result = Vector(std::array::from_fn(|lane| {
            let top = lane * 4 / elem * elem / 4 + elem / 4 - 1;
            if mask.0[top] >> 31 == 1 { b.0[lane] } else { a.0[lane] }
        }));
        self.finish(insn, result, elem, insn.width as usize)
    }

    /// The writemask selects the second source; with zeroing, unselected elements are zero.
    fn blend_by_mask(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let b = self.source(insn, 2, elem, memory)?;
        let mask = self.writemask(insn);
        let result = Vector(std::array::from_fn(|lane| match mask >> (lane * 4 / elem) & 1 {
            1 => b.0[lane],
            _ if insn.zeroing => 0,
            _ => a.0[lane],
        }));
        let Operand::Vec(reg) = insn.ops[0] else { return Err(Stop::Unknown) };
        // The mask has done its work: all lanes are written.
        self.vec[reg as usize] = result.cleared_from(insn.width as usize);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the library's function, with sums that lie at, just above and just below the middle of two singles, denormal results,
    /// and numbers that are none.
    #[test]
    fn products_and_sums_are_rounded_once() {
        let mut state = 1_u64;
        let mut bits = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let special = [
            0,
            1 << 31,
            1,
            0x0080_0000,
            0x3f80_0000,
            0x3f80_0001,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7fc0_0000,
        ];
        for round in 0..20_000 {
            let mut operand = |kind: u32| {
                Vector(std::array::from_fn(|_| match kind {
                    0 => bits() << 1 ^ bits(),
                    1 => special[bits() as usize % special.len()],
                    // Few bits in the fraction and exponents close together: exact ties are common.
                    2 => (120 + bits() % 16) << 23 | (bits() & 0x7) << 20 | bits() & 1,
                    // Products are denormal or vanish.
                    _ => (50 + bits() % 20) << 23 | bits() & 0x7f_ffff,
                }))
            };
            let (x, y, z) = (operand(round % 4), operand(round / 4 % 4), operand(round / 16 % 4));
            let negate = round % 128 >= 64;
            let found = fma_f32(&x, &y, &z, negate);
            for lane in 0..16 {
                let [x, y, z] = [x, y, z].map(|vector| f32::from_bits(vector.0[lane]));
                let x = if negate { -x } else { x };
                let (found, expected) = (f32::from_bits(found.0[lane]), x.mul_add(y, z));
                let same =
                    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "{x:e} * {y:e} + {z:e} is {expected:e}, not {found:e}");
            }
        }
    }
}
