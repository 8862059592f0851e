//! The counter-based random numbers of the language: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", SC 2011).

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The block of four words for a counter and a key: ten rounds.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |at: usize, word: usize| {
            let wide = u64::from(MULTIPLIERS[at]) * u64::from(counter[word]);
            ((wide >> 32) as u32, wide as u32)
        };
        let ((high0, low0), (high1, low1)) = (product(0, 0), product(1, 2));
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    counter
}

/// The 24-bit number of an element of a draw: the element's uniform number in [0, 1) times 2^24.
///
/// Sixteen neighbours share a word of sixteen blocks, so that sixteen lanes of a vector hold one word each of sixteen
/// counters, without a shuffle.
pub fn uniform_24(element: u64, seed: u32, step: u32, draw: u32) -> u32 {
    let block = (element / 64) * 16 + element % 16;
    let word = (element / 16) % 4;
    philox4x32([block as u32, 0, step, draw], [seed, 0])[word as usize] >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_blocks() {
        // The published vectors of the method.
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox4x32(pi, [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn elements_take_words_by_lane() {
        let block = |n| philox4x32([n, 0, 5, 9], [3, 0]);
        assert_eq!(uniform_24(0, 3, 5, 9), block(0)[0] >> 8);
        assert_eq!(uniform_24(15, 3, 5, 9), block(15)[0] >> 8);
        assert_eq!(uniform_24(16, 3, 5, 9), block(0)[1] >> 8);
        assert_eq!(uniform_24(63, 3, 5, 9), block(15)[3] >> 8);
        assert_eq!(uniform_24(64, 3, 5, 9), block(16)[0] >> 8);
    }
}
