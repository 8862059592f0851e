//! The few instructions that Cranelift cannot express, as bytes: the floating-point control word and what the processor has.

/// Levels of x86-64 that files are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// SSE up to 4.2, and POPCNT; no fused multiply-add.
    V2,
    /// AVX2, FMA, F16C and BMI.
    V3,
    /// AVX-512 F, BW, DQ and VL as well.
    V4,
}

/// `stmxcsr [rdi]; ret`.
pub(super) const CONTROL_STORE: [u8; 4] = [0x0F, 0xAE, 0x1F, 0xC3];
/// `ldmxcsr [rdi]; ret`.
pub(super) const CONTROL_LOAD: [u8; 4] = [0x0F, 0xAE, 0x17, 0xC3];

/// Bits of ecx of leaf 1 for V2: SSE3, SSSE3, SSE4.1, SSE4.2, POPCNT.
const LEAF_1_V2: u32 = 1 | 1 << 9 | 1 << 19 | 1 << 20 | 1 << 23;
/// Bits of ecx of leaf 1 above V2: FMA, OSXSAVE, AVX, F16C.
const LEAF_1_V3: u32 = 1 << 12 | 1 << 27 | 1 << 28 | 1 << 29;
/// Bits of ebx of leaf 7 for V3: BMI1, AVX2, BMI2.
const LEAF_7_V3: u32 = 1 << 3 | 1 << 5 | 1 << 8;
/// Bits of ebx of leaf 7 for V4: those of V3, AVX-512 F, DQ, BW, VL.
const LEAF_7_V4: u32 = LEAF_7_V3 | 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31;
/// State that the operating system saves: SSE, AVX; for V4 also mask registers and both halves of AVX-512.
const SAVED_V3: u32 = 0x06;
const SAVED_V4: u32 = 0xE6;

/// What a level needs beyond leaf 1: saved state and bits of ebx of leaf 7.
fn beyond_leaf_1(level: Level) -> Option<(u32, u32)> {
    match level {
        Level::V2 => None,
        Level::V3 => Some((SAVED_V3, LEAF_7_V3)),
        Level::V4 => Some((SAVED_V4, LEAF_7_V4)),
    }
}

/// A function `() -> i32` that tells whether the processor and the operating system support a level (Intel's manual,
/// volume 1, sections 14.3 and 15.2).
pub(super) fn has_level(level: Level) -> Vec<u8> {
    const PUSH_RBX: &[u8] = &[0x53];
    const CLEAR_ECX_CPUID: &[u8] = &[0x31, 0xC9, 0x0F, 0xA2];
    const CLEAR_ECX_XGETBV: &[u8] = &[0x31, 0xC9, 0x0F, 0x01, 0xD0];
    const MOV_EAX: u8 = 0xB8;
    const POP_RBX_RET: &[u8] = &[0x5B, 0xC3];
    const CLEAR_EAX: &[u8] = &[0x31, 0xC0];
    let mut code = PUSH_RBX.to_vec();
    let mut jumps = Vec::new();
    // and reg, bits; cmp reg, bits; jne no
    let mut require = |code: &mut Vec<u8>, and: &[u8], compare: &[u8], bits: u32| {
        for opcode in [and, compare] {
            code.extend_from_slice(opcode);
            code.extend_from_slice(&bits.to_le_bytes());
        }
        code.extend_from_slice(&[0x75, 0]);
        jumps.push(code.len());
    };
    code.push(MOV_EAX);
    code.extend_from_slice(&1_u32.to_le_bytes());
    code.extend_from_slice(CLEAR_ECX_CPUID);
    let beyond = beyond_leaf_1(level);
    let leaf_1 = if beyond.is_some() { LEAF_1_V2 | LEAF_1_V3 } else { LEAF_1_V2 };
    require(&mut code, &[0x81, 0xE1], &[0x81, 0xF9], leaf_1);
    if let Some((saved, leaf_7)) = beyond {
        code.extend_from_slice(CLEAR_ECX_XGETBV);
        require(&mut code, &[0x25], &[0x3D], saved);
        code.push(MOV_EAX);
        code.extend_from_slice(&7_u32.to_le_bytes());
        code.extend_from_slice(CLEAR_ECX_CPUID);
        require(&mut code, &[0x81, 0xE3], &[0x81, 0xFB], leaf_7);
    }
    code.push(MOV_EAX);
    code.extend_from_slice(&1_u32.to_le_bytes());
    code.extend_from_slice(POP_RBX_RET);
    let no = code.len();
    code.extend_from_slice(CLEAR_EAX);
    code.extend_from_slice(POP_RBX_RET);
    for jump in jumps {
        code[jump - 1] = u8::try_from(no - jump).expect("the function is short");
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_are_the_instructions_that_they_say() {
        let text = |bytes: &[u8]| {
            let lines = crate::listing(bytes).into_iter().map(|line| line.text);
            lines.collect::<Vec<_>>().join("; ")
        };
        assert!(text(&CONTROL_STORE).starts_with("stmxcsr"), "{}", text(&CONTROL_STORE));
        assert!(text(&CONTROL_LOAD).starts_with("ldmxcsr"), "{}", text(&CONTROL_LOAD));
        for (level, leaves) in [(Level::V2, 1), (Level::V3, 2), (Level::V4, 2)] {
            let code = text(&has_level(level));
            assert_eq!(code.matches("cpuid").count(), leaves, "{code}");
            assert_eq!(code.matches("xgetbv").count(), leaves - 1, "{code}");
            // The listing ends where the answer is yes.
            assert_eq!(code.matches("ret").count(), 1, "{code}");
            assert!(has_level(level).ends_with(&[0x31, 0xC0, 0x5B, 0xC3]), "no: xor, pop, ret");
            assert_eq!(code.matches("jne").count(), 2 * leaves - 1, "{code}");
        }
    }
}
