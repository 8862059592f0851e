//! The runs of the table of reference hashes (`tests/equality/hashes.toml`): the examples that they see, and the hash of what they leave.

use crate::rng::Rng;

/// Draws floats in [0, 1) with 24 bits.
pub fn floats(rng: &mut Rng, count: usize) -> Vec<f32> {
    let uniform = |bits: u64| (bits >> 40) as f32 / (1 << 24) as f32;
    (0..count).map(|_| uniform(rng.bits())).collect()
}

/// Draws whole numbers below 10.
pub fn labels(rng: &mut Rng, count: usize) -> Vec<i32> {
    (0..count).map(|_| rng.below(10) as i32).collect()
}

/// FNV-1a of 128 bits (Fowler, Noll, Vo) over named floats: the bytes of each name, then of each element, little-endian. Every NaN counts
/// as 0x7fc00000.
pub fn hash<'a>(tensors: impl Iterator<Item = (&'a str, &'a [f32])>) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let mut byte = |byte: u8| hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    for (name, values) in tensors {
        name.bytes().for_each(&mut byte);
        for value in values {
            let bits = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
            bits.to_le_bytes().into_iter().for_each(&mut byte);
        }
    }
    hash
}
