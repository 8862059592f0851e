//! Loads, stores and gathers.
//!
//! A masked access looks at the mask as bits: all lanes set take the plain path, none set takes no access. Else lanes
//! go one by one, and those masked off use a stack slot instead of their own address, which needs no branch a lane.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self as clif, InstBuilder, MemFlagsData, Value, types};
use dlc_ir::vector::{Addr, Elem, IntWidth, Storage, Type, Val};

use super::control::{Lowering, own, register_type};

/// Buffers of the program: loads and stores may be unaligned.
fn data() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// An address as Cranelift takes it.
#[derive(Clone, Copy)]
struct Place {
    base: Value,
    offset: i32,
}

impl Lowering<'_> {
    fn place(&mut self, addr: &Addr) -> Place {
        let mut base = self.val(addr.base);
        if let Some((index, scale)) = addr.index {
            let mut index = self.val(index);
            if scale > 1 {
                let shift = self.iconst(i64::from(scale.trailing_zeros()));
                index = self.b.ins().ishl(index, shift);
            }
            base = self.b.ins().iadd(base, index);
        }
        // Lanes add less than this to the offset below.
        if addr.disp.checked_add(16).is_some() {
            return Place { base, offset: addr.disp };
        }
        let disp = self.iconst(i64::from(addr.disp));
        Place { base: self.b.ins().iadd(base, disp), offset: 0 }
    }

    pub(super) fn int_load(&mut self, width: IntWidth, addr: &Addr) -> Value {
        let Place { base, offset } = self.place(addr);
        match width {
            IntWidth::I32 => self.b.ins().sload32(data(), base, offset),
            IntWidth::I64 => self.b.ins().load(types::I64, data(), base, offset),
        }
    }

    pub(super) fn int_store(&mut self, width: IntWidth, addr: &Addr, value: Val) {
        let Place { base, offset } = self.place(addr);
        let value = self.val(value);
        match width {
            IntWidth::I32 => self.b.ins().istore32(data(), value, base, offset),
            IntWidth::I64 => self.b.ins().store(data(), value, base, offset),
        };
    }

    pub(super) fn load(
        &mut self,
        ty: Type,
        storage: Storage,
        addr: &Addr,
        mask: Option<Val>,
    ) -> Value {
        let Type::Vec { lanes, .. } = ty else { unreachable!("a load makes a vector") };
        let place = self.place(addr);
        let raw = match mask {
            None => self.raw_load(storage, lanes, place),
            Some(mask) => self.masked_load(storage, lanes, place, mask),
        };
        self.widened(storage, raw)
    }

    pub(super) fn broadcast(&mut self, storage: Storage, addr: &Addr) -> Value {
        let place = self.place(addr);
        let raw = self.raw_splat(storage, place);
        self.widened(storage, raw)
    }

    /// The vector type in which lanes are collected. Whole elements travel as floats whatever they are, because moves from
    /// memory to float lanes do not pass through a general register.
    fn raw_type(&self, storage: Storage) -> clif::Type {
        match storage.bytes() {
            8 => types::F64X2,
            4 => types::F32X4,
            _ => types::I32X4,
        }
    }

    /// One element in every lane; also the cheapest load of a single lane, since lanes above may hold anything.
    fn raw_splat(&mut self, storage: Storage, place: Place) -> Value {
        let lane = self.raw_lane(storage, place);
        let register = self.raw_type(storage);
        self.b.ins().splat(register, lane)
    }

    /// Lanes as they lie in memory, narrow ones extended to 32 bits.
    fn raw_load(&mut self, storage: Storage, lanes: u8, place: Place) -> Value {
        let Place { base, offset } = place;
        let register = self.raw_type(storage);
        if lanes == 1 {
            return self.raw_splat(storage, place);
        }
        let bytes = i64::from(lanes) * storage.bytes();
        match (storage, bytes) {
            (_, 16) => self.b.ins().load(register, data(), base, offset),
            (Storage::Bf16 | Storage::F16, 8) => self.b.ins().uload16x4(data(), base, offset),
            (Storage::F32 | Storage::I32, _) => {
                let both = self.b.ins().load(types::F64, data(), base, offset);
                let both = self.b.ins().splat(types::F64X2, both);
                self.cast(register, both)
            }
            (Storage::Bf16 | Storage::F16, _) => {
                let both = self.b.ins().load(types::I32, data(), base, offset);
                let both = self.b.ins().scalar_to_vector(types::I32X4, both);
                let both = self.cast(types::I16X8, both);
                self.b.ins().uwiden_low(both)
            }
            (Storage::U8 | Storage::I8, _) => {
                let packed = match lanes {
                    4 => self.b.ins().load(types::I32, data(), base, offset),
                    _ => self.b.ins().uload16(types::I32, data(), base, offset),
                };
                let packed = self.b.ins().scalar_to_vector(types::I32X4, packed);
                let packed = self.cast(types::I8X16, packed);
                if storage == Storage::U8 {
                    let words = self.b.ins().uwiden_low(packed);
                    self.b.ins().uwiden_low(words)
                } else {
                    let words = self.b.ins().swiden_low(packed);
                    self.b.ins().swiden_low(words)
                }
            }
            (Storage::F64 | Storage::I64, _) => unreachable!("two lanes are 16 bytes"),
        }
    }

    /// One element as a scalar of the lane type of [`Self::raw_type`].
    fn raw_lane(&mut self, storage: Storage, Place { base, offset }: Place) -> Value {
        match storage {
            Storage::F64 | Storage::I64 => self.b.ins().load(types::F64, data(), base, offset),
            Storage::F32 | Storage::I32 => self.b.ins().load(types::F32, data(), base, offset),
            Storage::U8 => self.b.ins().uload8(types::I32, data(), base, offset),
            Storage::I8 => self.b.ins().sload8(types::I32, data(), base, offset),
            Storage::Bf16 | Storage::F16 => self.b.ins().uload16(types::I32, data(), base, offset),
        }
    }

    /// Raw lanes as lanes of the storage's element type.
    fn widened(&mut self, storage: Storage, raw: Value) -> Value {
        let raw = match storage {
            Storage::Bf16 => self.single_from_bf16(raw),
            Storage::F16 => self.single_from_f16(raw),
            Storage::F32
            | Storage::F64
            | Storage::I32
            | Storage::I64
            | Storage::U8
            | Storage::I8 => raw,
        };
        self.cast(register_type(Type::Vec { elem: storage.elem(), lanes: 1 }), raw)
    }

    fn masked_load(&mut self, storage: Storage, lanes: u8, place: Place, mask: Val) -> Value {
        let bits = self.mask_bits(mask);
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, self.raw_type(storage));
        self.when_all(bits, lanes, |this| {
            let all = this.raw_load(storage, lanes, place);
            this.b.ins().jump(done, &[all.into()]);
        });
        let zero = self.raw_zero(storage);
        if lanes > 1 {
            let some = self.b.create_block();
            self.b.ins().brif(bits, some, [], done, &[zero.into()]);
            self.b.switch_to_block(some);
            let places: Vec<Place> = (0..lanes).map(|lane| step(place, storage, lane)).collect();
            let loaded = self.load_lanes(storage, &places, Some(bits));
            self.b.ins().jump(done, &[loaded.into()]);
        } else {
            self.b.ins().jump(done, &[zero.into()]);
        }
        self.b.switch_to_block(done);
        result
    }

    /// Runs `all` where every lane's bit is set, and goes on in a block where one is not.
    fn when_all(&mut self, bits: Value, lanes: u8, all: impl FnOnce(&mut Self)) {
        let (all_block, otherwise) = (self.b.create_block(), self.b.create_block());
        let full = self.b.ins().iconst(types::I32, (1 << lanes) - 1);
        let is_full = self.b.ins().icmp(IntCC::Equal, bits, full);
        self.b.ins().brif(is_full, all_block, [], otherwise, []);
        self.b.switch_to_block(all_block);
        all(self);
        self.b.switch_to_block(otherwise);
    }

    fn raw_zero(&mut self, storage: Storage) -> Value {
        let zero = self.constant(Type::Vec { elem: Elem::I64, lanes: 2 }, |_| 0);
        self.cast(self.raw_type(storage), zero)
    }

    /// Loads lane by lane; lanes whose bit is clear read zeros from the stack.
    fn load_lanes(&mut self, storage: Storage, places: &[Place], bits: Option<Value>) -> Value {
        let register = self.raw_type(storage);
        let elsewhere = bits.map(|bits| {
            let slot = self.slot(self.zero_slot, 16);
            self.zero_slot = Some(slot);
            let address = self.b.ins().stack_addr(types::I64, slot, 0);
            let zero = self.raw_zero(storage);
            self.b.ins().store(own(), zero, address, 0);
            (bits, address)
        });
        let mut all = None;
        for (lane, &place) in places.iter().enumerate() {
            let place = match elsewhere {
                None => place,
                Some((bits, address)) => self.place_if(bits, lane, place, address),
            };
            let value = self.raw_lane(storage, place);
            all = Some(match all {
                None => self.b.ins().splat(register, value),
                Some(all) => self.b.ins().insertlane(all, value, lane as u8),
            });
        }
        all.expect("a vector has at least one lane")
    }

    /// A place, or another address if the lane's bit is clear.
    fn place_if(&mut self, bits: Value, lane: usize, place: Place, elsewhere: Value) -> Place {
        let bit = self.b.ins().iconst(types::I32, 1 << lane);
        let holds = self.b.ins().band(bits, bit);
        let offset = self.iconst(i64::from(place.offset));
        let address = self.b.ins().iadd(place.base, offset);
        Place { base: self.b.ins().select(holds, address, elsewhere), offset: 0 }
    }

    /// Lane `i` from the address plus `index[i]` elements.
    pub(super) fn gather(
        &mut self,
        ty: Type,
        storage: Storage,
        addr: &Addr,
        index: Val,
        mask: Option<Val>,
    ) -> Value {
        let Type::Vec { lanes, .. } = ty else { unreachable!("a gather makes a vector") };
        let Place { base, offset } = self.place(addr);
        let index = self.val(index);
        let shift = self.iconst(i64::from(storage.bytes().trailing_zeros()));
        let mut places = Vec::with_capacity(usize::from(lanes));
        for lane in 0..lanes {
            let lane = self.b.ins().extractlane(index, lane);
            let lane = self.b.ins().sextend(types::I64, lane);
            let bytes = self.b.ins().ishl(lane, shift);
            places.push(Place { base: self.b.ins().iadd(base, bytes), offset });
        }
        let bits = mask.map(|mask| self.mask_bits(mask));
        let raw = self.load_lanes(storage, &places, bits);
        self.widened(storage, raw)
    }

    pub(super) fn store(&mut self, storage: Storage, addr: &Addr, value: Val, mask: Option<Val>) {
        let lanes = self.lanes(value);
        let place = self.place(addr);
        let value = self.val(value);
        // As integers: a lane above the lowest is stored straight from the vector.
        let register = if storage.bytes() == 8 { types::I64X2 } else { types::I32X4 };
        let raw = self.cast(register, value);
        let raw = match storage {
            Storage::Bf16 => self.bf16_from_single(raw),
            Storage::F16 => self.f16_from_single(raw),
            Storage::F32
            | Storage::F64
            | Storage::I32
            | Storage::I64
            | Storage::U8
            | Storage::I8 => raw,
        };
        match mask {
            None => self.raw_store(storage, lanes, place, raw),
            Some(mask) => self.masked_store(storage, lanes, place, raw, mask),
        }
    }

    /// Writes all lanes; of each the low bytes that the storage has.
    fn raw_store(&mut self, storage: Storage, lanes: u8, place: Place, raw: Value) {
        let Place { base, offset } = place;
        if lanes == 1 {
            return self.store_lane(storage, place, raw, 0);
        }
        let packed = match storage.bytes() {
            1 => self.pick_bytes(
                types::I32X4,
                raw,
                raw,
                [0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12],
            ),
            2 => self.pick_bytes(
                types::I32X4,
                raw,
                raw,
                [0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13],
            ),
            _ => raw,
        };
        match i64::from(lanes) * storage.bytes() {
            16 => self.b.ins().store(data(), packed, base, offset),
            8 => {
                // As a float, because the lowest lane of floats needs no move out of the vector register.
                let packed = self.cast(types::F64X2, packed);
                let low = self.b.ins().extractlane(packed, 0);
                self.b.ins().store(data(), low, base, offset)
            }
            4 => {
                let packed = self.cast(types::F32X4, packed);
                let low = self.b.ins().extractlane(packed, 0);
                self.b.ins().store(data(), low, base, offset)
            }
            _ => {
                let low = self.b.ins().extractlane(packed, 0);
                self.b.ins().istore16(data(), low, base, offset)
            }
        };
    }

    fn store_lane(&mut self, storage: Storage, place: Place, raw: Value, lane: u8) {
        let Place { base, offset } = place;
        let value = self.b.ins().extractlane(raw, lane);
        match storage.bytes() {
            1 => self.b.ins().istore8(data(), value, base, offset),
            2 => self.b.ins().istore16(data(), value, base, offset),
            _ => self.b.ins().store(data(), value, base, offset),
        };
    }

    fn masked_store(&mut self, storage: Storage, lanes: u8, place: Place, raw: Value, mask: Val) {
        let bits = self.mask_bits(mask);
        let done = self.b.create_block();
        self.when_all(bits, lanes, |this| {
            this.raw_store(storage, lanes, place, raw);
            this.b.ins().jump(done, []);
        });
        if lanes > 1 {
            let some = self.b.create_block();
            self.b.ins().brif(bits, some, [], done, []);
            self.b.switch_to_block(some);
            let slot = self.slot(self.sink_slot, 16);
            self.sink_slot = Some(slot);
            let sink = self.b.ins().stack_addr(types::I64, slot, 0);
            for lane in 0..lanes {
                let place = step(place, storage, lane);
                let place = self.place_if(bits, usize::from(lane), place, sink);
                self.store_lane(storage, place, raw, lane);
            }
        }
        self.b.ins().jump(done, []);
        self.b.switch_to_block(done);
    }
}

/// Where lane `lane` of consecutive elements lies.
fn step(place: Place, storage: Storage, lane: u8) -> Place {
    Place { base: place.base, offset: place.offset + i32::from(lane) * storage.bytes() as i32 }
}
