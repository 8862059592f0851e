//! Seeded random kernels over all of vector IR, with memory in which every access is valid.
//!
//! What a target may do in its own way is kept away from results: NaN bits never reach an integer, conversions
//! stay in range, addresses are never stored. Within that, values are as awkward as they come: NaN, infinities, denormals,
//! zeros of both signs, masks without lanes, loops without iterations, accesses that end with their region.

use dlc_ir::entity::EntityRef;
use dlc_ir::math::{self, UnaryMath};
use dlc_ir::vector::{
    Addr, Compare, Elem, FoldOp, FuncId, FunctionBuilder, FunctionKind, Inst, IntOp, IntWidth,
    MaskOp, Module, Named, ShiftOp, Stmt, Storage, Type, Val, VecBinary, VecUnary,
};

use crate::kernel_case::{Arg, KernelCase, RegionData};
use crate::rng::Rng;

/// What random kernels may hold.
#[derive(Debug, Clone)]
pub struct KernelConfig {
    /// Statements at each level of nesting, at most.
    pub statements: usize,
    /// Lane counts, each 1, 2, 4, 8 or 16.
    pub lanes: Vec<u8>,
    /// Element types of lanes.
    pub elems: Vec<Elem>,
    /// Whether transcendental functions are inserted.
    pub math: bool,
    /// Largest number of lanes of a transposition; 0 for none.
    pub transpose: u8,
}

impl Default for KernelConfig {
    fn default() -> Self {
        KernelConfig {
            statements: 24,
            lanes: vec![1, 2, 4, 8, 16],
            elems: vec![Elem::F32, Elem::F64, Elem::I32, Elem::I64],
            math: true,
            transpose: 16,
        }
    }
}

/// Bytes of each region.
const REGION_BYTES: usize = 4096;
/// Where the pointers to a region point, so that offsets of both signs are valid.
const ORIGIN: i64 = 1024;
/// Largest distance from a pointer, in bytes, of anything but a wide vector's tail.
const REACH: i64 = 768;
/// Elements stored in the end, so that results can be seen.
const SHOWN: usize = 10;

/// Memory regions: for each storage type one to read, one to write, and pointers to the origin of both and to the end
/// of the first.
const POINTERS: usize = 3;

/// Makes a kernel from a seed.
pub fn generate_kernel(seed: u64, config: &KernelConfig) -> KernelCase {
    let mut rng = Rng::new(seed);
    let storages: Vec<Storage> = Storage::TABLE.iter().map(|entry| entry.0).collect();
    let mut regions = Vec::new();
    let mut args = Vec::new();
    for &storage in &storages {
        let name = storage.name();
        let bytes = random_bytes(&mut rng, storage);
        regions.push(RegionData { name: format!("{name} in"), storage, bytes });
        let bytes = random_bytes(&mut rng, storage);
        regions.push(RegionData { name: format!("{name} out"), storage, bytes });
        let region = regions.len() - 2;
        args.push(Arg::Address { region, offset: ORIGIN });
        args.push(Arg::Address { region: region + 1, offset: ORIGIN });
        args.push(Arg::Address { region, offset: REGION_BYTES as i64 });
    }
    // Small counts, for trips and tails: none, some, many, below zero.
    for _ in 0..3 {
        args.push(Arg::Int(rng.in_range(-1, 9)));
    }
    // Without long runs a family of lanes would rarely meet itself.
    let main_lanes = rng.pick(&config.lanes);
    let mut generator = Generator {
        builder: FunctionBuilder::new(format!("random_{seed}"), FunctionKind::Kernel, args.len()),
        rng,
        config,
        pool: Vec::new(),
        n_pointers: storages.len() * POINTERS,
        main_lanes,
    };
    for i in generator.n_pointers..args.len() {
        let count = generator.builder.param(i);
        generator.pool.push(count);
    }
    generator.block(0);
    generator.show();
    let mut module = Module::default();
    let func = module.functions.push(generator.builder.finish());
    debug_assert_eq!(func, FuncId::from_index(0));
    KernelCase { seed, module, func, regions, args }
}

/// Values at which operations change their behaviour.
const SPECIAL: [f64; 20] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    -3.5,
    1e-45,
    -1e-39,
    1.2e-38,
    3.4e38,
    -3.4e38,
    1e-300,
    1e300,
    8_388_607.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    5e-324,
];

fn random_float(rng: &mut Rng) -> f64 {
    if rng.one_in(4) {
        rng.pick(&SPECIAL)
    } else {
        let exponent = rng.in_range(-6, 6) as i32;
        (rng.unit() * 2.0 - 1.0) * f64::from(exponent).exp2()
    }
}

fn random_bytes(rng: &mut Rng, storage: Storage) -> Vec<u8> {
    let size = storage.bytes() as usize;
    let mut bytes = Vec::with_capacity(REGION_BYTES);
    while bytes.len() < REGION_BYTES {
        let raw = if rng.one_in(8) { rng.bits() } else { 0 };
        let word = match storage {
            Storage::F32 if raw == 0 => u64::from((random_float(rng) as f32).to_bits()),
            Storage::F64 if raw == 0 => random_float(rng).to_bits(),
            Storage::Bf16 if raw == 0 => {
                u64::from(dlc_ir::scalar::f32_to_bf16(random_float(rng) as f32))
            }
            Storage::F16 if raw == 0 => {
                u64::from(dlc_ir::scalar::f32_to_f16(random_float(rng) as f32))
            }
            Storage::I32 | Storage::I64 if raw == 0 => rng.in_range(-40, 40) as u64,
            Storage::U8 | Storage::I8 => rng.bits(),
            _ => raw,
        };
        bytes.extend(&word.to_le_bytes()[..size]);
    }
    bytes
}

struct Generator<'c> {
    builder: FunctionBuilder,
    rng: Rng,
    config: &'c KernelConfig,
    /// Visible values but addresses.
    pool: Vec<Val>,
    n_pointers: usize,
    main_lanes: u8,
}

impl Generator<'_> {
    fn lanes(&mut self) -> u8 {
        if self.rng.one_in(4) { self.rng.pick(&self.config.lanes) } else { self.main_lanes }
    }

    fn elem(&mut self, allowed: fn(Elem) -> bool) -> Option<Elem> {
        let elems: Vec<Elem> =
            self.config.elems.iter().copied().filter(|&elem| allowed(elem)).collect();
        (!elems.is_empty()).then(|| self.rng.pick(&elems))
    }

    fn keep(&mut self, inst: Inst) -> Val {
        let val = self.builder.inst(inst);
        self.pool.push(val);
        val
    }

    /// A visible value of the type, mostly a late one, or a new one.
    fn value(&mut self, ty: Type) -> Val {
        let fitting: Vec<Val> =
            self.pool.iter().copied().filter(|&val| self.builder.ty(val) == ty).collect();
        if fitting.is_empty() || self.rng.one_in(6) {
            return self.leaf(ty);
        }
        let late = fitting.len().saturating_sub(6);
        if self.rng.one_in(3) { self.rng.pick(&fitting) } else { self.rng.pick(&fitting[late..]) }
    }

    fn int(&mut self) -> Val {
        self.value(Type::Int)
    }

    /// A number in `0..=limit`, where `limit` is a power of two less one.
    fn bounded(&mut self, limit: i64) -> Val {
        let (a, mask) = (self.int(), self.builder.int(limit));
        self.builder.int_op(IntOp::And, a, mask)
    }

    /// A value made without operands.
    fn leaf(&mut self, ty: Type) -> Val {
        let inst = match ty {
            Type::Int => Inst::IntConst(self.rng.in_range(-20, 20)),
            Type::Mask { .. } => {
                let count = self.builder.int(self.rng.in_range(-1, 17));
                Inst::MaskFirst { ty, count }
            }
            Type::Vec { elem, .. } => match self.rng.below(4) {
                0 if elem.is_float() => {
                    let value = random_float(&mut self.rng);
                    let bits = if elem == Elem::F32 {
                        u64::from((value as f32).to_bits())
                    } else {
                        value.to_bits()
                    };
                    Inst::Const { ty, bits }
                }
                0 => {
                    let bits = self.rng.in_range(-9, 9) as u64;
                    Inst::Const {
                        ty,
                        bits: if elem.bits() == 32 { bits & 0xffff_ffff } else { bits },
                    }
                }
                1 if !elem.is_float() => Inst::Iota { ty },
                2 if !elem.is_float() => Inst::Splat { ty, value: self.int() },
                _ => self.load(elem, ty),
            },
        };
        self.keep(inst)
    }

    /// A storage type of an element type.
    fn storage(&mut self, elem: Elem) -> Storage {
        let all = Storage::TABLE.iter().map(|entry| entry.0);
        let fitting: Vec<Storage> = all.filter(|storage| storage.elem() == elem).collect();
        self.rng.pick(&fitting)
    }

    /// One of the pointers of a storage type: 0 to read, 1 to write, 2 the end of the former.
    fn pointer(&self, storage: Storage, which: usize) -> Val {
        let index = Storage::TABLE.iter().position(|entry| entry.0 == storage);
        self.builder.param(index.expect("the table holds every type") * POINTERS + which)
    }

    /// An address within reach of a pointer.
    fn addr(&mut self, base: Val) -> Addr {
        let disp = self.rng.in_range(-REACH, REACH) as i32;
        if self.rng.one_in(2) {
            return Addr::offset(base, disp);
        }
        // The index adds up to 15 * 8 bytes.
        let (index, scale) = (self.bounded(15), self.rng.pick(&[1, 2, 4, 8]));
        let base = if self.rng.one_in(4) { self.builder.iadd_const(base, 8) } else { base };
        Addr { base, index: Some((index, scale)), disp }
    }

    /// A load of some form.
    fn load(&mut self, elem: Elem, ty: Type) -> Inst {
        let storage = self.storage(elem);
        let from = self.rng.below(2);
        let base = self.pointer(storage, from);
        let Type::Vec { lanes, .. } = ty else { unreachable!("loads make vectors") };
        match self.rng.below(8) {
            0 => Inst::Broadcast { ty, storage, addr: self.addr(base) },
            1 => self.tail_load(storage, ty),
            2 => {
                let index = self.gather_index(lanes);
                let mask = self.maybe_mask(elem, lanes);
                Inst::Gather { ty, storage, addr: Addr::offset(base, -8), index, mask }
            }
            _ => {
                let mask = self.maybe_mask(elem, lanes);
                Inst::Load { ty, storage, addr: self.addr(base), mask }
            }
        }
    }

    /// Indices in -16..16.
    fn gather_index(&mut self, lanes: u8) -> Val {
        let ty = Type::Vec { elem: Elem::I32, lanes };
        if !self.config.elems.contains(&Elem::I32) {
            return self.builder.inst(Inst::Iota { ty });
        }
        let x = self.value(ty);
        let mask = self.builder.int_lanes(ty, 31);
        let x = self.builder.binary(VecBinary::And, x, mask);
        let middle = self.builder.int_lanes(ty, 16);
        self.builder.binary(VecBinary::Sub, x, middle)
    }

    /// The last `count` elements of a region: the lanes behind them lie outside and must not be touched.
    fn tail_load(&mut self, storage: Storage, ty: Type) -> Inst {
        let Type::Vec { elem, lanes } = ty else { unreachable!("loads make vectors") };
        let count = self.rng.in_range(0, i64::from(lanes));
        let end = self.pointer(storage, 2);
        let count_val = self.builder.int(count);
        let mask_ty = Type::Mask { bits: elem.bits(), lanes };
        let mask = self.builder.inst(Inst::MaskFirst { ty: mask_ty, count: count_val });
        let addr = Addr::offset(end, -(count * storage.bytes()) as i32);
        Inst::Load { ty, storage, addr, mask: Some(mask) }
    }

    fn maybe_mask(&mut self, elem: Elem, lanes: u8) -> Option<Val> {
        self.rng.one_in(3).then(|| self.value(Type::Mask { bits: elem.bits(), lanes }))
    }

    fn block(&mut self, depth: usize) {
        let n = 2 + self.rng.below(self.config.statements);
        for _ in 0..n {
            match self.rng.below(24) {
                0 if depth < 3 => self.loop_stmt(depth),
                1 if depth < 3 => self.if_stmt(depth),
                2 => self.transpose(),
                3 | 4 => self.store(),
                5 if depth == 0 && self.config.math => self.transcendental(),
                6 => self.int_store(),
                7..=9 => self.scalar(),
                10 | 11 => self.mask(),
                12 | 13 => self.across(),
                14 => {
                    let elem = self.elem(|_| true).expect("a kernel has lanes");
                    let ty = Type::Vec { elem, lanes: self.lanes() };
                    let inst = self.load(elem, ty);
                    self.keep(inst);
                }
                15..=17 => self.integer_lanes(),
                _ => self.float_lanes(),
            }
        }
    }

    fn loop_stmt(&mut self, depth: usize) {
        let trip = if self.rng.one_in(2) {
            self.bounded(3)
        } else {
            self.builder.int(self.rng.in_range(-1, 4))
        };
        let mut init: Vec<Val> = Vec::new();
        for _ in 0..self.rng.below(5) {
            if !self.pool.is_empty() {
                init.push(self.rng.pick(&self.pool));
            }
        }
        let open = self.builder.open_loop(trip, &init);
        let mark = self.pool.len();
        self.pool.push(open.iv);
        self.pool.extend(&open.params);
        self.block(depth + 1);
        // Often the value of a carried neighbour, so that they change places.
        let next = open.params.iter().map(|&param| self.value(self.builder.ty(param))).collect();
        self.pool.truncate(mark);
        let results = self.builder.close_loop(open, next);
        self.pool.extend(results);
    }

    fn if_stmt(&mut self, depth: usize) {
        let cond = if self.rng.one_in(2) { self.bounded(1) } else { self.int() };
        self.builder.open_if();
        let mark = self.pool.len();
        self.block(depth + 1);
        self.pool.truncate(mark);
        self.builder.close_if(cond);
    }

    fn transpose(&mut self) {
        let mut lanes = self.lanes();
        while lanes > self.config.transpose {
            lanes /= 2;
        }
        if lanes < 2 || !self.config.lanes.contains(&lanes) || lanes == 16 && !self.rng.one_in(3) {
            return;
        }
        let elem = self.elem(|_| true).expect("a kernel has lanes");
        let inputs = (0..lanes).map(|_| self.value(Type::Vec { elem, lanes })).collect();
        let results = self.builder.transpose(inputs);
        self.pool.extend(results);
    }

    fn store(&mut self) {
        let elem = self.elem(|_| true).expect("a kernel has lanes");
        let lanes = self.lanes();
        let value = self.value(Type::Vec { elem, lanes });
        let storage = self.storage(elem);
        let mask = self.maybe_mask(elem, lanes);
        let base = self.pointer(storage, 1);
        let addr = self.addr(base);
        self.builder.store(storage, addr, value, mask);
    }

    fn int_store(&mut self) {
        let value = self.int();
        let (width, storage) =
            self.rng.pick(&[(IntWidth::I32, Storage::I32), (IntWidth::I64, Storage::I64)]);
        let base = self.pointer(storage, 1);
        let addr = self.addr(base);
        self.builder.push(Stmt::IntStore { width, addr, value });
    }

    fn transcendental(&mut self) {
        if let Some(elem) = self.elem(Elem::is_float) {
            let x = Type::Vec { elem, lanes: self.lanes() };
            let x = self.value(x);
            let fun = self.rng.pick(&UnaryMath::ALL);
            let y = math::emit(&mut self.builder, fun, x);
            self.pool.push(y);
        }
    }

    /// Scalar integers.
    fn scalar(&mut self) {
        let (op, _) = IntOp::TABLE[self.rng.below(IntOp::TABLE.len())];
        let inst = match (self.rng.below(6), op) {
            (0, _) => Inst::IntTrailingZeros(self.int()),
            (1, _) => {
                let (width, storage) =
                    self.rng.pick(&[(IntWidth::I32, Storage::I32), (IntWidth::I64, Storage::I64)]);
                let base = self.pointer(storage, 0);
                Inst::IntLoad(width, self.addr(base))
            }
            (_, IntOp::Div | IntOp::Rem) => {
                let a = self.bounded((1 << 40) - 1);
                let b = self.builder.int(self.rng.in_range(1, 1000));
                Inst::Int(op, a, b)
            }
            (_, IntOp::Shl | IntOp::Shr) => {
                let (a, b) = (self.int(), self.bounded(63));
                Inst::Int(op, a, b)
            }
            (
                _,
                IntOp::Add
                | IntOp::Sub
                | IntOp::Mul
                | IntOp::Min
                | IntOp::Max
                | IntOp::And
                | IntOp::Less
                | IntOp::Equal,
            ) => Inst::Int(op, self.int(), self.int()),
        };
        self.keep(inst);
    }

    fn mask(&mut self) {
        let elem = self.elem(|_| true).expect("a kernel has lanes");
        let lanes = self.lanes();
        let (ty, mask) = (Type::Vec { elem, lanes }, Type::Mask { bits: elem.bits(), lanes });
        let inst = match self.rng.below(8) {
            0 => Inst::MaskFirst { ty: mask, count: self.int() },
            1 => Inst::MaskBits(self.value(mask)),
            2 => Inst::MaskNot(self.value(mask)),
            3 => {
                let from = Type::Mask { bits: self.rng.pick(&[32, 64]), lanes };
                Inst::MaskResize { ty: mask, mask: self.value(from) }
            }
            4 => {
                let (op, _) = MaskOp::TABLE[self.rng.below(MaskOp::TABLE.len())];
                Inst::Mask(op, self.value(mask), self.value(mask))
            }
            5 => Inst::Select { mask: self.value(mask), a: self.value(ty), b: self.value(ty) },
            _ => {
                let (op, _) = Compare::TABLE[self.rng.below(Compare::TABLE.len())];
                Inst::Compare(op, self.value(ty), self.value(ty))
            }
        };
        self.keep(inst);
    }

    /// Operations that change the number or the type of lanes.
    fn across(&mut self) {
        let elem = self.elem(|_| true).expect("a kernel has lanes");
        let lanes = self.lanes();
        let ty = Type::Vec { elem, lanes };
        let single = Type::Vec { elem, lanes: 1 };
        let inst = match self.rng.below(6) {
            0 if lanes >= 2 => {
                let (op, _) = FoldOp::TABLE[self.rng.below(FoldOp::TABLE.len())];
                Inst::Fold(op, self.value(ty))
            }
            1 => Inst::Lane(self.value(ty), self.rng.below(usize::from(lanes)) as u8),
            2 => Inst::SplatLane { ty, value: self.value(single) },
            3 if !elem.is_float() => Inst::IntFromLane(self.value(single)),
            4 => self.bitcast(elem, lanes),
            _ => self.convert(elem, lanes),
        };
        self.keep(inst);
    }

    /// A bitcast to `elem`. NaN is replaced first, because its bits are not promised.
    fn bitcast(&mut self, elem: Elem, lanes: u8) -> Inst {
        let from = self.elem(|_| true).expect("a kernel has lanes");
        let from = if from.bits() == elem.bits() { from } else { elem };
        let x = self.value(Type::Vec { elem: from, lanes });
        Inst::Bitcast(elem, if from.is_float() { self.without_nan(x) } else { x })
    }

    fn without_nan(&mut self, x: Val) -> Val {
        let number = self.builder.inst(Inst::Compare(Compare::Eq, x, x));
        let zero = self.builder.float(self.builder.ty(x), 0.0);
        self.builder.inst(Inst::Select { mask: number, a: x, b: zero })
    }

    /// A conversion to `elem`, of a float that fits.
    fn convert(&mut self, elem: Elem, lanes: u8) -> Inst {
        let from = self.elem(|_| true).expect("a kernel has lanes");
        if from == elem {
            return Inst::Unary(VecUnary::Neg, self.value(Type::Vec { elem, lanes }));
        }
        let ty = Type::Vec { elem: from, lanes };
        let mut x = self.value(ty);
        if from.is_float() && !elem.is_float() {
            let limit = if elem == Elem::I32 { 2e9 } else { 9e18 };
            // The first operand is lost if it is NaN.
            let (low, high) = (self.builder.float(ty, -limit), self.builder.float(ty, limit));
            x = self.builder.binary(VecBinary::Min, x, high);
            x = self.builder.binary(VecBinary::Max, x, low);
        }
        Inst::Convert(elem, x)
    }

    fn integer_lanes(&mut self) {
        let Some(elem) = self.elem(|elem| !elem.is_float()) else { return };
        let ty = Type::Vec { elem, lanes: self.lanes() };
        let inst = match self.rng.below(5) {
            0 => {
                let (op, _) = ShiftOp::TABLE[self.rng.below(ShiftOp::TABLE.len())];
                Inst::Shift(op, self.value(ty), self.rng.below(usize::from(elem.bits())) as u8)
            }
            1 => Inst::Unary(self.rng.pick(&[VecUnary::Neg, VecUnary::Abs]), self.value(ty)),
            _ => {
                let (op, _) = VecBinary::TABLE[self.rng.below(VecBinary::TABLE.len())];
                let op = match op {
                    VecBinary::Div => VecBinary::Add,
                    VecBinary::MulHighUnsigned if elem == Elem::I64 => VecBinary::Mul,
                    op => op,
                };
                Inst::Binary(op, self.value(ty), self.value(ty))
            }
        };
        self.keep(inst);
    }

    fn float_lanes(&mut self) {
        let Some(elem) = self.elem(Elem::is_float) else { return };
        let lanes = self.lanes();
        let ty = Type::Vec { elem, lanes };
        let inst = match self.rng.below(8) {
            0 => {
                let (op, _) = VecUnary::TABLE[self.rng.below(VecUnary::TABLE.len())];
                Inst::Unary(op, self.value(ty))
            }
            1 => self.scale_pow2(ty),
            2..=4 => {
                let (a, b, c) = (self.value(ty), self.value(ty), self.value(ty));
                Inst::Fma { a, b, c, negate: self.rng.one_in(2) }
            }
            _ => {
                let arithmetic = [
                    VecBinary::Add,
                    VecBinary::Sub,
                    VecBinary::Mul,
                    VecBinary::Div,
                    VecBinary::Min,
                    VecBinary::Max,
                ];
                Inst::Binary(self.rng.pick(&arithmetic), self.value(ty), self.value(ty))
            }
        };
        self.keep(inst);
    }

    /// With powers in the allowed range, cut out of any integer lanes.
    fn scale_pow2(&mut self, ty: Type) -> Inst {
        let Type::Vec { elem, lanes } = ty else { unreachable!("scaled values are vectors") };
        let (int_elem, bits, half) =
            if elem == Elem::F32 { (Elem::I32, 255, 128) } else { (Elem::I64, 2047, 1024) };
        let int_ty = Type::Vec { elem: int_elem, lanes };
        let mut n = if self.config.elems.contains(&int_elem) {
            self.value(int_ty)
        } else {
            self.builder.inst(Inst::Iota { ty: int_ty })
        };
        let mask = self.builder.int_lanes(int_ty, bits);
        n = self.builder.binary(VecBinary::And, n, mask);
        let half = self.builder.int_lanes(int_ty, half);
        n = self.builder.binary(VecBinary::Sub, n, half);
        Inst::ScalePow2 { p: self.value(ty), n }
    }

    /// Stores the last values, each in a place of its own, behind everything that the body may write.
    fn show(&mut self) {
        let vals: Vec<Val> = self.pool.iter().rev().take(SHOWN * 4).copied().collect();
        let (mut n_vectors, mut n_ints) = (0, 0);
        for val in vals {
            let value = match self.builder.ty(val) {
                Type::Vec { elem, .. } => {
                    if n_vectors < SHOWN {
                        let storage = Storage::from(elem);
                        let addr =
                            Addr::offset(self.pointer(storage, 1), 1024 + 128 * n_vectors as i32);
                        self.builder.store(storage, addr, val, None);
                        n_vectors += 1;
                    }
                    continue;
                }
                Type::Int => val,
                Type::Mask { .. } => self.builder.inst(Inst::MaskBits(val)),
            };
            let addr = Addr::offset(self.pointer(Storage::I64, 1), 2560 + 8 * n_ints);
            self.builder.push(Stmt::IntStore { width: IntWidth::I64, addr, value });
            n_ints += 1;
        }
    }
}
