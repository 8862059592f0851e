//! Constants, masks, conversions and movements of lanes.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self as clif, ConstantData, Endianness, InstBuilder, MemFlagsData, Value, types,
};
use dlc_ir::vector::{Elem, Type, Val};

use super::control::{Lowering, register_type};

impl Lowering<'_> {
    pub(super) fn elem(&self, val: Val) -> Elem {
        match self.types[val] {
            Type::Vec { elem, .. } => elem,
            Type::Int | Type::Mask { .. } => unreachable!("verified functions have a vector here"),
        }
    }

    pub(super) fn lanes(&self, val: Val) -> u8 {
        match self.types[val] {
            Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => lanes,
            Type::Int => 1,
        }
    }

    /// The same 128 bits as another vector type.
    pub(super) fn cast(&mut self, ty: clif::Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.b.ins().bitcast(ty, flags, value)
    }

    /// `mask ? a : b`, where each lane of the mask is all ones or all zeros.
    pub(super) fn blend(&mut self, mask: Value, a: Value, b: Value) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        let mask = self.cast(ty, mask);
        self.b.ins().bitselect(mask, a, b)
    }

    /// A vector whose lane `i` has the bits `lane_bits(i)`; the lanes above those of the type continue the row.
    pub(super) fn constant(&mut self, ty: Type, lane_bits: impl Fn(u64) -> u64) -> Value {
        let register = register_type(ty);
        let bytes = register.lane_bits() as usize / 8;
        let mut data = [0u8; 16];
        for (lane, chunk) in data.chunks_exact_mut(bytes).enumerate() {
            chunk.copy_from_slice(&lane_bits(lane as u64).to_le_bytes()[..bytes]);
        }
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(&data[..]));
        self.b.ins().vconst(register, constant)
    }

    pub(super) fn splat(&mut self, ty: Type, value: Val) -> Value {
        let register = register_type(ty);
        let mut value = self.val(value);
        if register == types::I32X4 {
            value = self.b.ins().ireduce(types::I32, value);
        }
        match ty {
            Type::Vec { lanes: 1, .. } => self.b.ins().scalar_to_vector(register, value),
            _ => self.b.ins().splat(register, value),
        }
    }

    pub(super) fn splat_lane(&mut self, ty: Type, value: Val) -> Value {
        let value = self.val(value);
        if matches!(ty, Type::Vec { lanes: 1, .. }) {
            return value;
        }
        let lane = self.b.ins().extractlane(value, 0);
        self.b.ins().splat(register_type(ty), lane)
    }

    /// Words `picks` (0 to 3 of `a`, 4 to 7 of `b`) of 32 bits.
    pub(super) fn pick_words(
        &mut self,
        ty: clif::Type,
        a: Value,
        b: Value,
        picks: [u8; 4],
    ) -> Value {
        self.pick_bytes(ty, a, b, std::array::from_fn(|i| picks[i / 4] * 4 + i as u8 % 4))
    }

    /// Double words `picks` (0 and 1 of `a`, 2 and 3 of `b`) of 64 bits.
    pub(super) fn pick_doubles(
        &mut self,
        ty: clif::Type,
        a: Value,
        b: Value,
        picks: [u8; 2],
    ) -> Value {
        self.pick_bytes(ty, a, b, std::array::from_fn(|i| picks[i / 8] * 8 + i as u8 % 8))
    }

    pub(super) fn pick_bytes(
        &mut self,
        ty: clif::Type,
        a: Value,
        b: Value,
        picks: [u8; 16],
    ) -> Value {
        let (a, b) = (self.cast(types::I8X16, a), self.cast(types::I8X16, b));
        let picks = self.b.func.dfg.immediates.push(ConstantData::from(&picks[..]));
        let picked = self.b.ins().shuffle(a, b, picks);
        self.cast(ty, picked)
    }

    /// Lane `by` and those above it, moved down to lane 0.
    pub(super) fn lanes_down(&mut self, value: Value, elem: Elem, by: u8) -> Value {
        let ty = self.b.func.dfg.value_type(value);
        match (elem.bits(), by) {
            (_, 0) => value,
            (64, _) => self.pick_doubles(ty, value, value, [1, 1]),
            (_, 2) => self.pick_words(ty, value, value, [2, 3, 2, 3]),
            (_, by) => self.pick_words(ty, value, value, [by; 4]),
        }
    }

    pub(super) fn lane(&mut self, a: Val, lane: u8) -> Value {
        let (elem, value) = (self.elem(a), self.val(a));
        self.lanes_down(value, elem, lane)
    }

    /// Lanes below a count, which is clamped first so that it fits the lanes.
    pub(super) fn mask_first(&mut self, ty: Type, count: Val) -> Value {
        let Type::Mask { bits, lanes } = ty else { unreachable!("mask.first is a mask") };
        let count = self.val(count);
        let (zero, all) = (self.iconst(0), self.iconst(i64::from(lanes)));
        let count = self.b.ins().smax(count, zero);
        let count = self.b.ins().smin(count, all);
        let index = self.constant(ty, |lane| lane);
        let count = if bits == 32 { self.b.ins().ireduce(types::I32, count) } else { count };
        let count = self.b.ins().splat(register_type(ty), count);
        self.b.ins().icmp(IntCC::SignedGreaterThan, count, index)
    }

    /// Bit `i` of a 32-bit integer set where lane `i` of a mask holds.
    pub(super) fn mask_bits(&mut self, mask: Val) -> Value {
        let (ty, lanes, value) = (self.types[mask], self.lanes(mask), self.val(mask));
        let bits = self.b.ins().vhigh_bits(types::I32, value);
        if u32::from(lanes) == register_type(ty).lane_count() {
            return bits;
        }
        let used = self.b.ins().iconst(types::I32, (1 << lanes) - 1);
        self.b.ins().band(bits, used)
    }

    pub(super) fn mask_resize(&mut self, ty: Type, mask: Val) -> Value {
        let value = self.val(mask);
        let from = self.b.func.dfg.value_type(value);
        match (from == types::I32X4, register_type(ty) == types::I32X4) {
            (true, false) => self.b.ins().swiden_low(value),
            (false, true) => self.pick_words(types::I32X4, value, value, [0, 2, 0, 2]),
            _ => value,
        }
    }

    /// Lanes as another element type. Both vectors fit a register, so a change of width means one or two lanes.
    pub(super) fn convert(&mut self, to: Elem, a: Val) -> Value {
        let (from, lanes, a) = (self.elem(a), self.lanes(a), self.val(a));
        match (from, to) {
            (Elem::F32, Elem::F32)
            | (Elem::F64, Elem::F64)
            | (Elem::I32, Elem::I32)
            | (Elem::I64, Elem::I64) => a,
            (Elem::F32, Elem::F64) => self.b.ins().fvpromote_low(a),
            (Elem::F64, Elem::F32) => self.b.ins().fvdemote(a),
            (Elem::I32, Elem::I64) => self.b.ins().swiden_low(a),
            (Elem::I64, Elem::I32) => self.pick_words(types::I32X4, a, a, [0, 2, 0, 2]),
            (Elem::I32, Elem::F32) => self.b.ins().fcvt_from_sint(types::F32X4, a),
            (Elem::I32, Elem::F64) => {
                let wide = self.b.ins().swiden_low(a);
                self.b.ins().fcvt_from_sint(types::F64X2, wide)
            }
            (Elem::I64, Elem::F64) if lanes == 2 => self.b.ins().fcvt_from_sint(types::F64X2, a),
            (Elem::F32, Elem::I32) if self.is_x86 => self.b.ins().x86_cvtt2dq(types::I32X4, a),
            (Elem::F64, Elem::I32) if self.is_x86 => {
                // This pair is how Cranelift spells the one instruction that does both.
                let zero = self.constant(Type::Vec { elem: Elem::I64, lanes: 2 }, |_| 0);
                let wide = self.b.ins().x86_cvtt2dq(types::I64X2, a);
                self.b.ins().snarrow(wide, zero)
            }
            (Elem::I64, Elem::F32 | Elem::F64) => self.by_lanes(lanes, to, a, |this, lane| {
                let ty = register_type(Type::Vec { elem: to, lanes }).lane_type();
                this.b.ins().fcvt_from_sint(ty, lane)
            }),
            // Values are in range, so that the saturating form, which cannot trap, says the same.
            (Elem::F32 | Elem::F64, Elem::I32 | Elem::I64) => {
                self.by_lanes(lanes, to, a, |this, lane| {
                    let ty = register_type(Type::Vec { elem: to, lanes }).lane_type();
                    this.b.ins().fcvt_to_sint_sat(ty, lane)
                })
            }
        }
    }

    /// Converts lane by lane, where there is no vector instruction.
    fn by_lanes(
        &mut self,
        lanes: u8,
        to: Elem,
        value: Value,
        mut convert: impl FnMut(&mut Self, Value) -> Value,
    ) -> Value {
        let register = register_type(Type::Vec { elem: to, lanes });
        let first = self.b.ins().extractlane(value, 0);
        let first = convert(self, first);
        let mut all = self.b.ins().scalar_to_vector(register, first);
        for lane in 1..lanes {
            let next = self.b.ins().extractlane(value, lane);
            let next = convert(self, next);
            all = self.b.ins().insertlane(all, next, lane);
        }
        all
    }

    /// Transposes up to four vectors of up to four lanes.
    pub(super) fn transpose(&mut self, inputs: &[Val], results: &[Val]) {
        let ty = register_type(self.types[inputs[0]]);
        let rows: Vec<Value> = inputs.iter().map(|&input| self.val(input)).collect();
        let columns = match rows[..] {
            [a] => vec![a],
            [a, b] if ty.lane_bits() == 64 => {
                vec![self.pick_doubles(ty, a, b, [0, 2]), self.pick_doubles(ty, a, b, [1, 3])]
            }
            [a, b] => {
                // Half registers: a0 b0 a1 b1, of which the upper half is the second column.
                let both = self.pick_words(ty, a, b, [0, 4, 1, 5]);
                let second = self.pick_words(ty, both, both, [2, 3, 2, 3]);
                vec![both, second]
            }
            [a, b, c, d] => {
                let low = [self.zip_low(ty, a, b), self.zip_low(ty, c, d)];
                let high = [self.zip_high(ty, a, b), self.zip_high(ty, c, d)];
                vec![
                    self.pick_doubles(ty, low[0], low[1], [0, 2]),
                    self.pick_doubles(ty, low[0], low[1], [1, 3]),
                    self.pick_doubles(ty, high[0], high[1], [0, 2]),
                    self.pick_doubles(ty, high[0], high[1], [1, 3]),
                ]
            }
            _ => unreachable!("legal vectors have at most four lanes"),
        };
        for (&result, column) in results.iter().zip(columns) {
            self.define(result, column);
        }
    }

    fn zip_low(&mut self, ty: clif::Type, a: Value, b: Value) -> Value {
        self.pick_words(ty, a, b, [0, 4, 1, 5])
    }

    fn zip_high(&mut self, ty: clif::Type, a: Value, b: Value) -> Value {
        self.pick_words(ty, a, b, [2, 6, 3, 7])
    }
}
