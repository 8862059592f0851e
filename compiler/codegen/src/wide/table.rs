//! The table of machine instructions: one line each.
//!
//! A line holds the name that the rest of the back end uses, how its operands are read and written ([`Form`]), the
//! register kind of each operand ([`Kind`]), the element size for which an EVEX memory operand may be a broadcast
//! (0: none), its immediate ([`Imm`]), and the encodings for xmm and ymm (VEX), xmm, ymm and zmm (EVEX). Instructions
//! of scalars and masks have one encoding, or a second with an immediate of one byte. Missing encodings at the end of
//! a line are left out. The tests decode every line with the independent decoder and compare operands.

use iced_x86::Code;

/// How operands are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The first operand is written; the last source may be memory.
    Def,
    /// The first operand is read and written; the last source may be memory.
    Acc,
    /// All operands are read; the last may be memory.
    Use,
    /// The first operand is written and may be memory.
    Put,
    /// Destination, vector of addresses, mask in lanes; destination and mask are read and written.
    GatherLanes,
    /// Destination, vector of addresses; destination and writemask are read and written.
    GatherMask,
}

/// Which registers an operand names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Vector register of the instruction's width.
    V,
    /// Vector register of half the width, at least xmm.
    H,
    /// Vector register of a quarter of the width, at least xmm.
    Q,
    /// xmm.
    X,
    /// ymm.
    Y,
    /// Mask register.
    K,
    /// 64-bit general register.
    R,
    /// 32-bit general register.
    D,
    /// 16-bit general register.
    W,
    /// 8-bit general register.
    B,
}

/// The immediate that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Imm {
    /// None.
    No,
    /// One byte.
    Byte,
    /// Sign-extended to 64 bits: four bytes, or one if there is a second encoding and it fits.
    Signed,
    /// Four bytes.
    Word,
    /// Eight bytes.
    Quad,
}

/// A line of the table.
#[derive(Debug)]
pub(super) struct Row {
    /// Name, for reports of broken laws.
    pub name: &'static str,
    /// How operands are read and written.
    pub form: Form,
    /// Register kinds in the order of the instruction's operands.
    pub kinds: &'static [Kind],
    /// Bytes of an element that an EVEX memory operand may broadcast, or 0.
    pub broadcast: u8,
    /// The immediate.
    pub imm: Imm,
    /// Encodings.
    pub codes: &'static [Code],
}

macro_rules! machine_ops {
    ($( $name:ident $form:ident [$($kind:ident)*] $broadcast:literal $imm:ident [$($code:ident)*]; )*) => {
        /// Names of machine instructions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(super) enum Op { $($name),* }

        /// The table, in the order of [`Op`].
        pub(super) static ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            form: Form::$form,
            kinds: &[$(Kind::$kind),*],
            broadcast: $broadcast,
            imm: Imm::$imm,
            codes: &[$(Code::$code),*],
        }),*];
    };
}

impl Op {
    /// Its line.
    pub(super) fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

machine_ops! {
    // Float arithmetic.
    AddF32 Def [V V V] 4 No [VEX_Vaddps_xmm_xmm_xmmm128 VEX_Vaddps_ymm_ymm_ymmm256 EVEX_Vaddps_xmm_k1z_xmm_xmmm128b32 EVEX_Vaddps_ymm_k1z_ymm_ymmm256b32 EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er];
    AddF64 Def [V V V] 8 No [VEX_Vaddpd_xmm_xmm_xmmm128 VEX_Vaddpd_ymm_ymm_ymmm256 EVEX_Vaddpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vaddpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er];
    SubF32 Def [V V V] 4 No [VEX_Vsubps_xmm_xmm_xmmm128 VEX_Vsubps_ymm_ymm_ymmm256 EVEX_Vsubps_xmm_k1z_xmm_xmmm128b32 EVEX_Vsubps_ymm_k1z_ymm_ymmm256b32 EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er];
    SubF64 Def [V V V] 8 No [VEX_Vsubpd_xmm_xmm_xmmm128 VEX_Vsubpd_ymm_ymm_ymmm256 EVEX_Vsubpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vsubpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er];
    MulF32 Def [V V V] 4 No [VEX_Vmulps_xmm_xmm_xmmm128 VEX_Vmulps_ymm_ymm_ymmm256 EVEX_Vmulps_xmm_k1z_xmm_xmmm128b32 EVEX_Vmulps_ymm_k1z_ymm_ymmm256b32 EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er];
    MulF64 Def [V V V] 8 No [VEX_Vmulpd_xmm_xmm_xmmm128 VEX_Vmulpd_ymm_ymm_ymmm256 EVEX_Vmulpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vmulpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er];
    DivF32 Def [V V V] 4 No [VEX_Vdivps_xmm_xmm_xmmm128 VEX_Vdivps_ymm_ymm_ymmm256 EVEX_Vdivps_xmm_k1z_xmm_xmmm128b32 EVEX_Vdivps_ymm_k1z_ymm_ymmm256b32 EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er];
    DivF64 Def [V V V] 8 No [VEX_Vdivpd_xmm_xmm_xmmm128 VEX_Vdivpd_ymm_ymm_ymmm256 EVEX_Vdivpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vdivpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er];
    MinF32 Def [V V V] 4 No [VEX_Vminps_xmm_xmm_xmmm128 VEX_Vminps_ymm_ymm_ymmm256 EVEX_Vminps_xmm_k1z_xmm_xmmm128b32 EVEX_Vminps_ymm_k1z_ymm_ymmm256b32 EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae];
    MinF64 Def [V V V] 8 No [VEX_Vminpd_xmm_xmm_xmmm128 VEX_Vminpd_ymm_ymm_ymmm256 EVEX_Vminpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vminpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae];
    MaxF32 Def [V V V] 4 No [VEX_Vmaxps_xmm_xmm_xmmm128 VEX_Vmaxps_ymm_ymm_ymmm256 EVEX_Vmaxps_xmm_k1z_xmm_xmmm128b32 EVEX_Vmaxps_ymm_k1z_ymm_ymmm256b32 EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae];
    MaxF64 Def [V V V] 8 No [VEX_Vmaxpd_xmm_xmm_xmmm128 VEX_Vmaxpd_ymm_ymm_ymmm256 EVEX_Vmaxpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vmaxpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae];
    SqrtF32 Def [V V] 4 No [VEX_Vsqrtps_xmm_xmmm128 VEX_Vsqrtps_ymm_ymmm256 EVEX_Vsqrtps_xmm_k1z_xmmm128b32 EVEX_Vsqrtps_ymm_k1z_ymmm256b32 EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er];
    SqrtF64 Def [V V] 8 No [VEX_Vsqrtpd_xmm_xmmm128 VEX_Vsqrtpd_ymm_ymmm256 EVEX_Vsqrtpd_xmm_k1z_xmmm128b64 EVEX_Vsqrtpd_ymm_k1z_ymmm256b64 EVEX_Vsqrtpd_zmm_k1z_zmmm512b64_er];
    RoundF32 Def [V V] 4 Byte [VEX_Vroundps_xmm_xmmm128_imm8 VEX_Vroundps_ymm_ymmm256_imm8 EVEX_Vrndscaleps_xmm_k1z_xmmm128b32_imm8 EVEX_Vrndscaleps_ymm_k1z_ymmm256b32_imm8 EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae];
    RoundF64 Def [V V] 8 Byte [VEX_Vroundpd_xmm_xmmm128_imm8 VEX_Vroundpd_ymm_ymmm256_imm8 EVEX_Vrndscalepd_xmm_k1z_xmmm128b64_imm8 EVEX_Vrndscalepd_ymm_k1z_ymmm256b64_imm8 EVEX_Vrndscalepd_zmm_k1z_zmmm512b64_imm8_sae];
    // Fused multiply-add: 132 is `d*m + v`, 213 is `v*d + m`, 231 is `v*m + d`.
    Fma132F32 Acc [V V V] 4 No [VEX_Vfmadd132ps_xmm_xmm_xmmm128 VEX_Vfmadd132ps_ymm_ymm_ymmm256 EVEX_Vfmadd132ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfmadd132ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er];
    Fma132F64 Acc [V V V] 8 No [VEX_Vfmadd132pd_xmm_xmm_xmmm128 VEX_Vfmadd132pd_ymm_ymm_ymmm256 EVEX_Vfmadd132pd_xmm_k1z_xmm_xmmm128b64 EVEX_Vfmadd132pd_ymm_k1z_ymm_ymmm256b64 EVEX_Vfmadd132pd_zmm_k1z_zmm_zmmm512b64_er];
    Fma213F32 Acc [V V V] 4 No [VEX_Vfmadd213ps_xmm_xmm_xmmm128 VEX_Vfmadd213ps_ymm_ymm_ymmm256 EVEX_Vfmadd213ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfmadd213ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er];
    Fma213F64 Acc [V V V] 8 No [VEX_Vfmadd213pd_xmm_xmm_xmmm128 VEX_Vfmadd213pd_ymm_ymm_ymmm256 EVEX_Vfmadd213pd_xmm_k1z_xmm_xmmm128b64 EVEX_Vfmadd213pd_ymm_k1z_ymm_ymmm256b64 EVEX_Vfmadd213pd_zmm_k1z_zmm_zmmm512b64_er];
    Fma231F32 Acc [V V V] 4 No [VEX_Vfmadd231ps_xmm_xmm_xmmm128 VEX_Vfmadd231ps_ymm_ymm_ymmm256 EVEX_Vfmadd231ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfmadd231ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er];
    Fma231F64 Acc [V V V] 8 No [VEX_Vfmadd231pd_xmm_xmm_xmmm128 VEX_Vfmadd231pd_ymm_ymm_ymmm256 EVEX_Vfmadd231pd_xmm_k1z_xmm_xmmm128b64 EVEX_Vfmadd231pd_ymm_k1z_ymm_ymmm256b64 EVEX_Vfmadd231pd_zmm_k1z_zmm_zmmm512b64_er];
    Fnma132F32 Acc [V V V] 4 No [VEX_Vfnmadd132ps_xmm_xmm_xmmm128 VEX_Vfnmadd132ps_ymm_ymm_ymmm256 EVEX_Vfnmadd132ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfnmadd132ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfnmadd132ps_zmm_k1z_zmm_zmmm512b32_er];
    Fnma132F64 Acc [V V V] 8 No [VEX_Vfnmadd132pd_xmm_xmm_xmmm128 VEX_Vfnmadd132pd_ymm_ymm_ymmm256 EVEX_Vfnmadd132pd_xmm_k1z_xmm_xmmm128b64 EVEX_Vfnmadd132pd_ymm_k1z_ymm_ymmm256b64 EVEX_Vfnmadd132pd_zmm_k1z_zmm_zmmm512b64_er];
    Fnma213F32 Acc [V V V] 4 No [VEX_Vfnmadd213ps_xmm_xmm_xmmm128 VEX_Vfnmadd213ps_ymm_ymm_ymmm256 EVEX_Vfnmadd213ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfnmadd213ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er];
    Fnma213F64 Acc [V V V] 8 No [VEX_Vfnmadd213pd_xmm_xmm_xmmm128 VEX_Vfnmadd213pd_ymm_ymm_ymmm256 EVEX_Vfnmadd213pd_xmm_k1z_xmm_xmmm128b64 EVEX_Vfnmadd213pd_ymm_k1z_ymm_ymmm256b64 EVEX_Vfnmadd213pd_zmm_k1z_zmm_zmmm512b64_er];
    Fnma231F32 Acc [V V V] 4 No [VEX_Vfnmadd231ps_xmm_xmm_xmmm128 VEX_Vfnmadd231ps_ymm_ymm_ymmm256 EVEX_Vfnmadd231ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfnmadd231ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er];
    Fnma231F64 Acc [V V V] 8 No [VEX_Vfnmadd231pd_xmm_xmm_xmmm128 VEX_Vfnmadd231pd_ymm_ymm_ymmm256 EVEX_Vfnmadd231pd_xmm_k1z_xmm_xmmm128b64 EVEX_Vfnmadd231pd_ymm_k1z_ymm_ymmm256b64 EVEX_Vfnmadd231pd_zmm_k1z_zmm_zmmm512b64_er];
    // Integer arithmetic.
    AddI32 Def [V V V] 4 No [VEX_Vpaddd_xmm_xmm_xmmm128 VEX_Vpaddd_ymm_ymm_ymmm256 EVEX_Vpaddd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpaddd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32];
    SubI32 Def [V V V] 4 No [VEX_Vpsubd_xmm_xmm_xmmm128 VEX_Vpsubd_ymm_ymm_ymmm256 EVEX_Vpsubd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpsubd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32];
    MulI32 Def [V V V] 4 No [VEX_Vpmulld_xmm_xmm_xmmm128 VEX_Vpmulld_ymm_ymm_ymmm256 EVEX_Vpmulld_xmm_k1z_xmm_xmmm128b32 EVEX_Vpmulld_ymm_k1z_ymm_ymmm256b32 EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32];
    MinI32 Def [V V V] 4 No [VEX_Vpminsd_xmm_xmm_xmmm128 VEX_Vpminsd_ymm_ymm_ymmm256 EVEX_Vpminsd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpminsd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32];
    MaxI32 Def [V V V] 4 No [VEX_Vpmaxsd_xmm_xmm_xmmm128 VEX_Vpmaxsd_ymm_ymm_ymmm256 EVEX_Vpmaxsd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpmaxsd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32];
    AddI64 Def [V V V] 8 No [VEX_Vpaddq_xmm_xmm_xmmm128 VEX_Vpaddq_ymm_ymm_ymmm256 EVEX_Vpaddq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpaddq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64];
    SubI64 Def [V V V] 8 No [VEX_Vpsubq_xmm_xmm_xmmm128 VEX_Vpsubq_ymm_ymm_ymmm256 EVEX_Vpsubq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpsubq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpsubq_zmm_k1z_zmm_zmmm512b64];
    MulI64 Def [V V V] 8 No [INVALID INVALID EVEX_Vpmullq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpmullq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpmullq_zmm_k1z_zmm_zmmm512b64];
    MinI64 Def [V V V] 8 No [INVALID INVALID EVEX_Vpminsq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpminsq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpminsq_zmm_k1z_zmm_zmmm512b64];
    MaxI64 Def [V V V] 8 No [INVALID INVALID EVEX_Vpmaxsq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpmaxsq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpmaxsq_zmm_k1z_zmm_zmmm512b64];
    MulU32 Def [V V V] 8 No [VEX_Vpmuludq_xmm_xmm_xmmm128 VEX_Vpmuludq_ymm_ymm_ymmm256 EVEX_Vpmuludq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpmuludq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpmuludq_zmm_k1z_zmm_zmmm512b64];
    AbsI32 Def [V V] 4 No [VEX_Vpabsd_xmm_xmmm128 VEX_Vpabsd_ymm_ymmm256 EVEX_Vpabsd_xmm_k1z_xmmm128b32 EVEX_Vpabsd_ymm_k1z_ymmm256b32 EVEX_Vpabsd_zmm_k1z_zmmm512b32];
    AbsI64 Def [V V] 8 No [INVALID INVALID EVEX_Vpabsq_xmm_k1z_xmmm128b64 EVEX_Vpabsq_ymm_k1z_ymmm256b64 EVEX_Vpabsq_zmm_k1z_zmmm512b64];
    And32 Def [V V V] 4 No [VEX_Vpand_xmm_xmm_xmmm128 VEX_Vpand_ymm_ymm_ymmm256 EVEX_Vpandd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpandd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32];
    Or32 Def [V V V] 4 No [VEX_Vpor_xmm_xmm_xmmm128 VEX_Vpor_ymm_ymm_ymmm256 EVEX_Vpord_xmm_k1z_xmm_xmmm128b32 EVEX_Vpord_ymm_k1z_ymm_ymmm256b32 EVEX_Vpord_zmm_k1z_zmm_zmmm512b32];
    Xor32 Def [V V V] 4 No [VEX_Vpxor_xmm_xmm_xmmm128 VEX_Vpxor_ymm_ymm_ymmm256 EVEX_Vpxord_xmm_k1z_xmm_xmmm128b32 EVEX_Vpxord_ymm_k1z_ymm_ymmm256b32 EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32];
    AndNot32 Def [V V V] 4 No [VEX_Vpandn_xmm_xmm_xmmm128 VEX_Vpandn_ymm_ymm_ymmm256 EVEX_Vpandnd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpandnd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpandnd_zmm_k1z_zmm_zmmm512b32];
    And64 Def [V V V] 8 No [VEX_Vpand_xmm_xmm_xmmm128 VEX_Vpand_ymm_ymm_ymmm256 EVEX_Vpandq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpandq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpandq_zmm_k1z_zmm_zmmm512b64];
    Or64 Def [V V V] 8 No [VEX_Vpor_xmm_xmm_xmmm128 VEX_Vpor_ymm_ymm_ymmm256 EVEX_Vporq_xmm_k1z_xmm_xmmm128b64 EVEX_Vporq_ymm_k1z_ymm_ymmm256b64 EVEX_Vporq_zmm_k1z_zmm_zmmm512b64];
    Xor64 Def [V V V] 8 No [VEX_Vpxor_xmm_xmm_xmmm128 VEX_Vpxor_ymm_ymm_ymmm256 EVEX_Vpxorq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpxorq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpxorq_zmm_k1z_zmm_zmmm512b64];
    Shl32 Def [V V] 4 Byte [VEX_Vpslld_xmm_xmm_imm8 VEX_Vpslld_ymm_ymm_imm8 EVEX_Vpslld_xmm_k1z_xmmm128b32_imm8 EVEX_Vpslld_ymm_k1z_ymmm256b32_imm8 EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8];
    Shl64 Def [V V] 8 Byte [VEX_Vpsllq_xmm_xmm_imm8 VEX_Vpsllq_ymm_ymm_imm8 EVEX_Vpsllq_xmm_k1z_xmmm128b64_imm8 EVEX_Vpsllq_ymm_k1z_ymmm256b64_imm8 EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8];
    Shr32 Def [V V] 4 Byte [VEX_Vpsrld_xmm_xmm_imm8 VEX_Vpsrld_ymm_ymm_imm8 EVEX_Vpsrld_xmm_k1z_xmmm128b32_imm8 EVEX_Vpsrld_ymm_k1z_ymmm256b32_imm8 EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8];
    Shr64 Def [V V] 8 Byte [VEX_Vpsrlq_xmm_xmm_imm8 VEX_Vpsrlq_ymm_ymm_imm8 EVEX_Vpsrlq_xmm_k1z_xmmm128b64_imm8 EVEX_Vpsrlq_ymm_k1z_ymmm256b64_imm8 EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8];
    Sar32 Def [V V] 4 Byte [VEX_Vpsrad_xmm_xmm_imm8 VEX_Vpsrad_ymm_ymm_imm8 EVEX_Vpsrad_xmm_k1z_xmmm128b32_imm8 EVEX_Vpsrad_ymm_k1z_ymmm256b32_imm8 EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8];
    Sar64 Def [V V] 8 Byte [INVALID INVALID EVEX_Vpsraq_xmm_k1z_xmmm128b64_imm8 EVEX_Vpsraq_ymm_k1z_ymmm256b64_imm8 EVEX_Vpsraq_zmm_k1z_zmmm512b64_imm8];
    // Comparisons: into lanes (VEX) and into mask registers (EVEX).
    CmpF32 Def [V V V] 0 Byte [VEX_Vcmpps_xmm_xmm_xmmm128_imm8 VEX_Vcmpps_ymm_ymm_ymmm256_imm8];
    CmpF64 Def [V V V] 0 Byte [VEX_Vcmppd_xmm_xmm_xmmm128_imm8 VEX_Vcmppd_ymm_ymm_ymmm256_imm8];
    CmpEqI32 Def [V V V] 0 No [VEX_Vpcmpeqd_xmm_xmm_xmmm128 VEX_Vpcmpeqd_ymm_ymm_ymmm256];
    CmpEqI64 Def [V V V] 0 No [VEX_Vpcmpeqq_xmm_xmm_xmmm128 VEX_Vpcmpeqq_ymm_ymm_ymmm256];
    CmpGtI32 Def [V V V] 0 No [VEX_Vpcmpgtd_xmm_xmm_xmmm128 VEX_Vpcmpgtd_ymm_ymm_ymmm256];
    CmpGtI64 Def [V V V] 0 No [VEX_Vpcmpgtq_xmm_xmm_xmmm128 VEX_Vpcmpgtq_ymm_ymm_ymmm256];
    CmpMaskF32 Def [K V V] 4 Byte [INVALID INVALID EVEX_Vcmpps_kr_k1_xmm_xmmm128b32_imm8 EVEX_Vcmpps_kr_k1_ymm_ymmm256b32_imm8 EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae];
    CmpMaskF64 Def [K V V] 8 Byte [INVALID INVALID EVEX_Vcmppd_kr_k1_xmm_xmmm128b64_imm8 EVEX_Vcmppd_kr_k1_ymm_ymmm256b64_imm8 EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae];
    CmpMaskI32 Def [K V V] 4 Byte [INVALID INVALID EVEX_Vpcmpd_kr_k1_xmm_xmmm128b32_imm8 EVEX_Vpcmpd_kr_k1_ymm_ymmm256b32_imm8 EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8];
    CmpMaskI64 Def [K V V] 8 Byte [INVALID INVALID EVEX_Vpcmpq_kr_k1_xmm_xmmm128b64_imm8 EVEX_Vpcmpq_kr_k1_ymm_ymmm256b64_imm8 EVEX_Vpcmpq_kr_k1_zmm_zmmm512b64_imm8];
    // Selection: `m ? second : first`, with the mask in lanes (VEX) or as the writemask (EVEX).
    BlendLanes32 Def [V V V V] 0 No [VEX_Vblendvps_xmm_xmm_xmmm128_xmm VEX_Vblendvps_ymm_ymm_ymmm256_ymm];
    BlendLanes64 Def [V V V V] 0 No [VEX_Vblendvpd_xmm_xmm_xmmm128_xmm VEX_Vblendvpd_ymm_ymm_ymmm256_ymm];
    BlendMask32 Def [V V V] 4 No [INVALID INVALID EVEX_Vblendmps_xmm_k1z_xmm_xmmm128b32 EVEX_Vblendmps_ymm_k1z_ymm_ymmm256b32 EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32];
    BlendMask64 Def [V V V] 8 No [INVALID INVALID EVEX_Vblendmpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vblendmpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64];
    BlendImm32 Def [V V V] 0 Byte [VEX_Vpblendd_xmm_xmm_xmmm128_imm8 VEX_Vpblendd_ymm_ymm_ymmm256_imm8];
    // Conversions.
    CvtI32F32 Def [V V] 4 No [VEX_Vcvtdq2ps_xmm_xmmm128 VEX_Vcvtdq2ps_ymm_ymmm256 EVEX_Vcvtdq2ps_xmm_k1z_xmmm128b32 EVEX_Vcvtdq2ps_ymm_k1z_ymmm256b32 EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er];
    CvtF32I32 Def [V V] 4 No [VEX_Vcvttps2dq_xmm_xmmm128 VEX_Vcvttps2dq_ymm_ymmm256 EVEX_Vcvttps2dq_xmm_k1z_xmmm128b32 EVEX_Vcvttps2dq_ymm_k1z_ymmm256b32 EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae];
    CvtF32F64 Def [V H] 4 No [VEX_Vcvtps2pd_xmm_xmmm64 VEX_Vcvtps2pd_ymm_xmmm128 EVEX_Vcvtps2pd_xmm_k1z_xmmm64b32 EVEX_Vcvtps2pd_ymm_k1z_xmmm128b32 EVEX_Vcvtps2pd_zmm_k1z_ymmm256b32_sae];
    CvtI32F64 Def [V H] 4 No [VEX_Vcvtdq2pd_xmm_xmmm64 VEX_Vcvtdq2pd_ymm_xmmm128 EVEX_Vcvtdq2pd_xmm_k1z_xmmm64b32 EVEX_Vcvtdq2pd_ymm_k1z_xmmm128b32 EVEX_Vcvtdq2pd_zmm_k1z_ymmm256b32_er];
    CvtI32I64 Def [V H] 0 No [VEX_Vpmovsxdq_xmm_xmmm64 VEX_Vpmovsxdq_ymm_xmmm128 EVEX_Vpmovsxdq_xmm_k1z_xmmm64 EVEX_Vpmovsxdq_ymm_k1z_xmmm128 EVEX_Vpmovsxdq_zmm_k1z_ymmm256];
    CvtF32I64 Def [V H] 4 No [INVALID INVALID EVEX_Vcvttps2qq_xmm_k1z_xmmm64b32 EVEX_Vcvttps2qq_ymm_k1z_xmmm128b32 EVEX_Vcvttps2qq_zmm_k1z_ymmm256b32_sae];
    CvtF64F32 Def [H V] 8 No [VEX_Vcvtpd2ps_xmm_xmmm128 VEX_Vcvtpd2ps_xmm_ymmm256 EVEX_Vcvtpd2ps_xmm_k1z_xmmm128b64 EVEX_Vcvtpd2ps_xmm_k1z_ymmm256b64 EVEX_Vcvtpd2ps_ymm_k1z_zmmm512b64_er];
    CvtF64I32 Def [H V] 8 No [VEX_Vcvttpd2dq_xmm_xmmm128 VEX_Vcvttpd2dq_xmm_ymmm256 EVEX_Vcvttpd2dq_xmm_k1z_xmmm128b64 EVEX_Vcvttpd2dq_xmm_k1z_ymmm256b64 EVEX_Vcvttpd2dq_ymm_k1z_zmmm512b64_sae];
    CvtI64F32 Def [H V] 8 No [INVALID INVALID EVEX_Vcvtqq2ps_xmm_k1z_xmmm128b64 EVEX_Vcvtqq2ps_xmm_k1z_ymmm256b64 EVEX_Vcvtqq2ps_ymm_k1z_zmmm512b64_er];
    CvtI64F64 Def [V V] 8 No [INVALID INVALID EVEX_Vcvtqq2pd_xmm_k1z_xmmm128b64 EVEX_Vcvtqq2pd_ymm_k1z_ymmm256b64 EVEX_Vcvtqq2pd_zmm_k1z_zmmm512b64_er];
    CvtF64I64 Def [V V] 8 No [INVALID INVALID EVEX_Vcvttpd2qq_xmm_k1z_xmmm128b64 EVEX_Vcvttpd2qq_ymm_k1z_ymmm256b64 EVEX_Vcvttpd2qq_zmm_k1z_zmmm512b64_sae];
    CvtF16F32 Def [V H] 0 No [VEX_Vcvtph2ps_xmm_xmmm64 VEX_Vcvtph2ps_ymm_xmmm128 EVEX_Vcvtph2ps_xmm_k1z_xmmm64 EVEX_Vcvtph2ps_ymm_k1z_xmmm128 EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae];
    CvtU8I32 Def [V Q] 0 No [VEX_Vpmovzxbd_xmm_xmmm32 VEX_Vpmovzxbd_ymm_xmmm64 EVEX_Vpmovzxbd_xmm_k1z_xmmm32 EVEX_Vpmovzxbd_ymm_k1z_xmmm64 EVEX_Vpmovzxbd_zmm_k1z_xmmm128];
    CvtI8I32 Def [V Q] 0 No [VEX_Vpmovsxbd_xmm_xmmm32 VEX_Vpmovsxbd_ymm_xmmm64 EVEX_Vpmovsxbd_xmm_k1z_xmmm32 EVEX_Vpmovsxbd_ymm_k1z_xmmm64 EVEX_Vpmovsxbd_zmm_k1z_xmmm128];
    CvtU16I32 Def [V H] 0 No [VEX_Vpmovzxwd_xmm_xmmm64 VEX_Vpmovzxwd_ymm_xmmm128 EVEX_Vpmovzxwd_xmm_k1z_xmmm64 EVEX_Vpmovzxwd_ymm_k1z_xmmm128 EVEX_Vpmovzxwd_zmm_k1z_ymmm256];
    CvtF32F16 Put [H V] 0 Byte [VEX_Vcvtps2ph_xmmm64_xmm_imm8 VEX_Vcvtps2ph_xmmm128_ymm_imm8 EVEX_Vcvtps2ph_xmmm64_k1z_xmm_imm8 EVEX_Vcvtps2ph_xmmm128_k1z_ymm_imm8 EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae];
    CvtI32I8 Put [Q V] 0 No [INVALID INVALID EVEX_Vpmovdb_xmmm32_k1z_xmm EVEX_Vpmovdb_xmmm64_k1z_ymm EVEX_Vpmovdb_xmmm128_k1z_zmm];
    CvtI32I16 Put [H V] 0 No [INVALID INVALID EVEX_Vpmovdw_xmmm64_k1z_xmm EVEX_Vpmovdw_xmmm128_k1z_ymm EVEX_Vpmovdw_ymmm256_k1z_zmm];
    CvtI64I32 Put [H V] 0 No [INVALID INVALID EVEX_Vpmovqd_xmmm64_k1z_xmm EVEX_Vpmovqd_xmmm128_k1z_ymm EVEX_Vpmovqd_ymmm256_k1z_zmm];
    ScalarF64ToI64 Def [R X] 0 No [VEX_Vcvttsd2si_r64_xmmm64 INVALID EVEX_Vcvttsd2si_r64_xmmm64_sae];
    ScalarF32ToI64 Def [R X] 0 No [VEX_Vcvttss2si_r64_xmmm32 INVALID EVEX_Vcvttss2si_r64_xmmm32_sae];
    ScalarI64ToF32 Def [X X R] 0 No [VEX_Vcvtsi2ss_xmm_xmm_rm64 INVALID EVEX_Vcvtsi2ss_xmm_xmm_rm64_er];
    // Moves of vectors.
    Mov Def [V V] 0 No [VEX_Vmovaps_xmm_xmmm128 VEX_Vmovaps_ymm_ymmm256 EVEX_Vmovaps_xmm_k1z_xmmm128 EVEX_Vmovaps_ymm_k1z_ymmm256 EVEX_Vmovaps_zmm_k1z_zmmm512];
    Load32 Def [V V] 0 No [VEX_Vmovups_xmm_xmmm128 VEX_Vmovups_ymm_ymmm256 EVEX_Vmovups_xmm_k1z_xmmm128 EVEX_Vmovups_ymm_k1z_ymmm256 EVEX_Vmovups_zmm_k1z_zmmm512];
    Load64 Def [V V] 0 No [VEX_Vmovupd_xmm_xmmm128 VEX_Vmovupd_ymm_ymmm256 EVEX_Vmovupd_xmm_k1z_xmmm128 EVEX_Vmovupd_ymm_k1z_ymmm256 EVEX_Vmovupd_zmm_k1z_zmmm512];
    Store32 Put [V V] 0 No [VEX_Vmovups_xmmm128_xmm VEX_Vmovups_ymmm256_ymm EVEX_Vmovups_xmmm128_k1z_xmm EVEX_Vmovups_ymmm256_k1z_ymm EVEX_Vmovups_zmmm512_k1z_zmm];
    Store64 Put [V V] 0 No [VEX_Vmovupd_xmmm128_xmm VEX_Vmovupd_ymmm256_ymm EVEX_Vmovupd_xmmm128_k1z_xmm EVEX_Vmovupd_ymmm256_k1z_ymm EVEX_Vmovupd_zmmm512_k1z_zmm];
    MaskLoad32 Def [V V V] 0 No [VEX_Vmaskmovps_xmm_xmm_m128 VEX_Vmaskmovps_ymm_ymm_m256];
    MaskLoad64 Def [V V V] 0 No [VEX_Vmaskmovpd_xmm_xmm_m128 VEX_Vmaskmovpd_ymm_ymm_m256];
    MaskStore32 Put [V V V] 0 No [VEX_Vmaskmovps_m128_xmm_xmm VEX_Vmaskmovps_m256_ymm_ymm];
    MaskStore64 Put [V V V] 0 No [VEX_Vmaskmovpd_m128_xmm_xmm VEX_Vmaskmovpd_m256_ymm_ymm];
    MovFromGpr32 Def [X D] 0 No [VEX_Vmovd_xmm_rm32 INVALID EVEX_Vmovd_xmm_rm32];
    MovToGpr32 Put [D X] 0 No [VEX_Vmovd_rm32_xmm INVALID EVEX_Vmovd_rm32_xmm];
    MovFromGpr64 Def [X R] 0 No [VEX_Vmovq_xmm_rm64 INVALID EVEX_Vmovq_xmm_rm64];
    MovToGpr64 Put [R X] 0 No [VEX_Vmovq_rm64_xmm INVALID EVEX_Vmovq_rm64_xmm];
    Splat32 Def [V X] 0 No [VEX_Vbroadcastss_xmm_xmm VEX_Vbroadcastss_ymm_xmm EVEX_Vbroadcastss_xmm_k1z_xmmm32 EVEX_Vbroadcastss_ymm_k1z_xmmm32 EVEX_Vbroadcastss_zmm_k1z_xmmm32];
    LoadSplat32 Def [V X] 0 No [VEX_Vbroadcastss_xmm_m32 VEX_Vbroadcastss_ymm_m32 EVEX_Vbroadcastss_xmm_k1z_xmmm32 EVEX_Vbroadcastss_ymm_k1z_xmmm32 EVEX_Vbroadcastss_zmm_k1z_xmmm32];
    Splat64 Def [V X] 0 No [VEX_Vmovddup_xmm_xmmm64 VEX_Vbroadcastsd_ymm_xmm EVEX_Vmovddup_xmm_k1z_xmmm64 EVEX_Vbroadcastsd_ymm_k1z_xmmm64 EVEX_Vbroadcastsd_zmm_k1z_xmmm64];
    LoadSplat64 Def [V X] 0 No [VEX_Vmovddup_xmm_xmmm64 VEX_Vbroadcastsd_ymm_m64 EVEX_Vmovddup_xmm_k1z_xmmm64 EVEX_Vbroadcastsd_ymm_k1z_xmmm64 EVEX_Vbroadcastsd_zmm_k1z_xmmm64];
    SplatGpr32 Def [V D] 0 No [INVALID INVALID EVEX_Vpbroadcastd_xmm_k1z_r32 EVEX_Vpbroadcastd_ymm_k1z_r32 EVEX_Vpbroadcastd_zmm_k1z_r32];
    SplatGpr64 Def [V R] 0 No [INVALID INVALID EVEX_Vpbroadcastq_xmm_k1z_r64 EVEX_Vpbroadcastq_ymm_k1z_r64 EVEX_Vpbroadcastq_zmm_k1z_r64];
    // Shuffles.
    Shuffle32 Def [V V] 4 Byte [VEX_Vpshufd_xmm_xmmm128_imm8 VEX_Vpshufd_ymm_ymmm256_imm8 EVEX_Vpshufd_xmm_k1z_xmmm128b32_imm8 EVEX_Vpshufd_ymm_k1z_ymmm256b32_imm8 EVEX_Vpshufd_zmm_k1z_zmmm512b32_imm8];
    ShufflePair32 Def [V V V] 4 Byte [VEX_Vshufps_xmm_xmm_xmmm128_imm8 VEX_Vshufps_ymm_ymm_ymmm256_imm8 EVEX_Vshufps_xmm_k1z_xmm_xmmm128b32_imm8 EVEX_Vshufps_ymm_k1z_ymm_ymmm256b32_imm8 EVEX_Vshufps_zmm_k1z_zmm_zmmm512b32_imm8];
    ShuffleBytes Def [V V V] 0 No [VEX_Vpshufb_xmm_xmm_xmmm128 VEX_Vpshufb_ymm_ymm_ymmm256 EVEX_Vpshufb_xmm_k1z_xmm_xmmm128 EVEX_Vpshufb_ymm_k1z_ymm_ymmm256 EVEX_Vpshufb_zmm_k1z_zmm_zmmm512];
    UnpackLow32 Def [V V V] 4 No [VEX_Vunpcklps_xmm_xmm_xmmm128 VEX_Vunpcklps_ymm_ymm_ymmm256 EVEX_Vunpcklps_xmm_k1z_xmm_xmmm128b32 EVEX_Vunpcklps_ymm_k1z_ymm_ymmm256b32 EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32];
    UnpackHigh32 Def [V V V] 4 No [VEX_Vunpckhps_xmm_xmm_xmmm128 VEX_Vunpckhps_ymm_ymm_ymmm256 EVEX_Vunpckhps_xmm_k1z_xmm_xmmm128b32 EVEX_Vunpckhps_ymm_k1z_ymm_ymmm256b32 EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32];
    UnpackLow64 Def [V V V] 8 No [VEX_Vunpcklpd_xmm_xmm_xmmm128 VEX_Vunpcklpd_ymm_ymm_ymmm256 EVEX_Vunpcklpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vunpcklpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64];
    UnpackHigh64 Def [V V V] 8 No [VEX_Vunpckhpd_xmm_xmm_xmmm128 VEX_Vunpckhpd_ymm_ymm_ymmm256 EVEX_Vunpckhpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vunpckhpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64];
    Permute64 Def [V V] 8 Byte [INVALID VEX_Vpermq_ymm_ymmm256_imm8 INVALID EVEX_Vpermq_ymm_k1z_ymmm256b64_imm8 EVEX_Vpermq_zmm_k1z_zmmm512b64_imm8];
    Shuffle128 Def [V V V] 4 Byte [INVALID VEX_Vperm2f128_ymm_ymm_ymmm256_imm8 INVALID EVEX_Vshuff32x4_ymm_k1z_ymm_ymmm256b32_imm8 EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8];
    Extract128 Put [X V] 0 Byte [INVALID VEX_Vextractf128_xmmm128_ymm_imm8 INVALID EVEX_Vextractf32x4_xmmm128_k1z_ymm_imm8 EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8];
    Extract256 Put [Y V] 0 Byte [INVALID INVALID INVALID INVALID EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8];
    Insert128 Def [V V X] 0 Byte [INVALID VEX_Vinsertf128_ymm_ymm_xmmm128_imm8 INVALID EVEX_Vinsertf32x4_ymm_k1z_ymm_xmmm128_imm8 EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8];
    InsertByte Def [X X D] 0 Byte [VEX_Vpinsrb_xmm_xmm_r32m8_imm8 INVALID EVEX_Vpinsrb_xmm_xmm_r32m8_imm8];
    InsertWord Def [X X D] 0 Byte [VEX_Vpinsrw_xmm_xmm_r32m16_imm8 INVALID EVEX_Vpinsrw_xmm_xmm_r32m16_imm8];
    InsertLane32 Def [X X D] 0 Byte [VEX_Vpinsrd_xmm_xmm_rm32_imm8 INVALID EVEX_Vpinsrd_xmm_xmm_rm32_imm8];
    InsertLane64 Def [X X R] 0 Byte [VEX_Vpinsrq_xmm_xmm_rm64_imm8 INVALID EVEX_Vpinsrq_xmm_xmm_rm64_imm8];
    ExtractByte Put [D X] 0 Byte [VEX_Vpextrb_r32m8_xmm_imm8 INVALID EVEX_Vpextrb_r32m8_xmm_imm8];
    ExtractWord Put [D X] 0 Byte [VEX_Vpextrw_r32m16_xmm_imm8 INVALID EVEX_Vpextrw_r32m16_xmm_imm8];
    ExtractLane32 Put [D X] 0 Byte [VEX_Vpextrd_rm32_xmm_imm8 INVALID EVEX_Vpextrd_rm32_xmm_imm8];
    // Gathers: 32-bit indices.
    GatherLanes32 GatherLanes [V V V] 0 No [VEX_Vgatherdps_xmm_vm32x_xmm VEX_Vgatherdps_ymm_vm32y_ymm];
    GatherLanes64 GatherLanes [V H V] 0 No [VEX_Vgatherdpd_xmm_vm32x_xmm VEX_Vgatherdpd_ymm_vm32x_ymm];
    GatherMask32 GatherMask [V V] 0 No [INVALID INVALID EVEX_Vgatherdps_xmm_k1_vm32x EVEX_Vgatherdps_ymm_k1_vm32y EVEX_Vgatherdps_zmm_k1_vm32z];
    GatherMask64 GatherMask [V H] 0 No [INVALID INVALID EVEX_Vgatherdpd_xmm_k1_vm32x EVEX_Vgatherdpd_ymm_k1_vm32x EVEX_Vgatherdpd_zmm_k1_vm32y];
    // Masks.
    MaskMov Def [K K] 0 No [VEX_Kmovw_kr_km16];
    MaskAnd Def [K K K] 0 No [VEX_Kandw_kr_kr_kr];
    MaskOr Def [K K K] 0 No [VEX_Korw_kr_kr_kr];
    MaskXor Def [K K K] 0 No [VEX_Kxorw_kr_kr_kr];
    MaskAndNot Def [K K K] 0 No [VEX_Kandnw_kr_kr_kr];
    MaskNot Def [K K] 0 No [VEX_Knotw_kr_kr];
    MaskFromGpr Def [K D] 0 No [VEX_Kmovw_kr_r32];
    MaskToGpr16 Def [D K] 0 No [VEX_Kmovw_r32_kr];
    MaskToGpr8 Def [D K] 0 No [VEX_Kmovb_r32_kr];
    MaskSpill Put [K K] 0 No [VEX_Kmovw_m16_kr];
    LaneBits32 Def [D V] 0 No [VEX_Vmovmskps_r32_xmm VEX_Vmovmskps_r32_ymm];
    LaneBits64 Def [D V] 0 No [VEX_Vmovmskpd_r32_xmm VEX_Vmovmskpd_r32_ymm];
    // Scalars. Where an immediate follows, the second code is the form with a byte.
    MovGpr Def [R R] 0 No [Mov_r64_rm64];
    LoadGpr Def [R R] 0 No [Mov_r64_rm64];
    LoadGprI32 Def [R D] 0 No [Movsxd_r64_rm32];
    StoreGpr Put [R R] 0 No [Mov_rm64_r64];
    StoreGpr32 Put [D D] 0 No [Mov_rm32_r32];
    MovImm32 Def [D] 0 Word [Mov_r32_imm32];
    MovImmSigned Def [R] 0 Signed [Mov_rm64_imm32];
    MovImm64 Def [R] 0 Quad [Mov_r64_imm64];
    ZextByte Def [D B] 0 No [Movzx_r32_rm8];
    ZextWord Def [D W] 0 No [Movzx_r32_rm16];
    SextByte Def [D B] 0 No [Movsx_r32_rm8];
    Lea Def [R R] 0 No [Lea_r64_m];
    Add Acc [R R] 0 No [Add_r64_rm64];
    AddImm Acc [R] 0 Signed [Add_rm64_imm32 Add_rm64_imm8];
    Sub Acc [R R] 0 No [Sub_r64_rm64];
    SubImm Acc [R] 0 Signed [Sub_rm64_imm32 Sub_rm64_imm8];
    And Acc [R R] 0 No [And_r64_rm64];
    AndImm Acc [R] 0 Signed [And_rm64_imm32 And_rm64_imm8];
    Imul Acc [R R] 0 No [Imul_r64_rm64];
    ImulImm Def [R R] 0 Signed [Imul_r64_rm64_imm32 Imul_r64_rm64_imm8];
    Cmp Use [R R] 0 No [Cmp_r64_rm64];
    CmpImm Use [R] 0 Signed [Cmp_rm64_imm32 Cmp_rm64_imm8];
    Test Use [R R] 0 No [Test_rm64_r64];
    TestImm32 Use [D] 0 Word [Test_rm32_imm32];
    ShlImm Acc [R] 0 Byte [Shl_rm64_imm8];
    SarImm Acc [R] 0 Byte [Sar_rm64_imm8];
    ShrImm Acc [R] 0 Byte [Shr_rm64_imm8];
    Shlx Def [R R R] 0 No [VEX_Shlx_r64_rm64_r64];
    Sarx Def [R R R] 0 No [VEX_Sarx_r64_rm64_r64];
    Bzhi32 Def [D D D] 0 No [VEX_Bzhi_r32_rm32_r32];
    Tzcnt Def [R R] 0 No [Tzcnt_r64_rm64];
    CmovL Acc [R R] 0 No [Cmovl_r64_rm64];
    CmovG Acc [R R] 0 No [Cmovg_r64_rm64];
    CmovE Acc [R R] 0 No [Cmove_r64_rm64];
    SetL Def [B] 0 No [Setl_rm8];
    SetE Def [B] 0 No [Sete_rm8];
}
