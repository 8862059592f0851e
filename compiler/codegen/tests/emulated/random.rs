//! Random kernels: AVX2 natively, AVX2 emulated and AVX-512 emulated (and native, where the machine has it) agree in every
//! bit of all outputs, any NaN being as good as any other.

use dlc_codegen::{Backend, WideBackend};
use dlc_harness::rng::Rng;
use dlc_ir::vector::{
    Addr, Compare, Elem, FoldOp, Function, FunctionBuilder, FunctionKind, Inst, IntOp, IntWidth,
    MaskOp, Module, ShiftOp, Stmt, Storage, Type, Val, VecBinary, VecUnary,
};

use crate::{native, support};

const STORAGES: [Storage; 8] = [
    Storage::F32,
    Storage::F64,
    Storage::I32,
    Storage::I64,
    Storage::U8,
    Storage::I8,
    Storage::Bf16,
    Storage::F16,
];
const ELEMS: [Elem; 4] = [Elem::F32, Elem::F64, Elem::I32, Elem::I64];
const LANES: [u8; 5] = [1, 2, 4, 8, 16];
/// Elements of each input array.
const N_INPUT: usize = 160;
/// Elements of each output array: one place of 16 for every store.
const N_OUTPUT: usize = 16 * 64;

/// A value that operations may use, and whether its bits are certain even where it is NaN.
#[derive(Clone, Copy)]
struct Known {
    val: Val,
    is_exact: bool,
}

/// Makes one kernel. Parameters: eight inputs, eight outputs, two counts.
struct Generator {
    rng: Rng,
    b: FunctionBuilder,
    known: Vec<Known>,
    ints: Vec<Val>,
    n_stores: [usize; 8],
    depth: usize,
}

impl Generator {
    fn kernel(seed: u64) -> Function {
        let mut rng = Rng::new(seed);
        let b = FunctionBuilder::new("k", FunctionKind::Kernel, 18);
        let ints = vec![b.param(16), b.param(17)];
        let n_ops = 10 + rng.below(60);
        let mut this = Generator { rng, b, known: Vec::new(), ints, n_stores: [0; 8], depth: 0 };
        this.ops(n_ops);
        // Every kind of value is seen at the end.
        for _ in 0..6 {
            this.store();
        }
        this.b.finish()
    }

    fn ops(&mut self, n: usize) {
        for _ in 0..n {
            match self.rng.below(24) {
                0..4 => self.load(),
                4..7 => self.binary(),
                7 => self.unary(),
                8..10 => self.fma(),
                10 => self.compare(),
                11 => self.masks(),
                12 => self.select(),
                13 => self.convert(),
                14 => self.bits(),
                15 => self.lanes(),
                16 => self.transpose(),
                17..19 => self.int(),
                19 => self.gather(),
                20..22 => self.store(),
                22 => self.for_loop(),
                _ => self.branch(),
            }
        }
    }

    fn push(&mut self, inst: Inst, is_exact: bool) -> Val {
        let val = self.b.inst(inst);
        self.known.push(Known { val, is_exact });
        val
    }

    fn vec_type(&mut self) -> Type {
        // Two in three values share a lane count, so that operations find operands.
        let lanes = if self.rng.one_in(3) { self.rng.pick(&LANES) } else { 8 };
        Type::Vec { elem: self.rng.pick(&ELEMS), lanes }
    }

    /// A known value of a type, or a new constant.
    fn value(&mut self, ty: Type) -> Known {
        let b = &self.b;
        let found: Vec<Known> =
            self.known.iter().copied().filter(|known| b.ty(known.val) == ty).collect();
        if !found.is_empty() && !self.rng.one_in(8) {
            return self.rng.pick(&found);
        }
        match ty {
            Type::Vec { elem, .. } => {
                let bits = match elem {
                    Elem::F32 => u64::from((self.rng.in_range(-9, 9) as f32 / 4.0).to_bits()),
                    Elem::F64 => (self.rng.in_range(-9, 9) as f64 / 4.0).to_bits(),
                    Elem::I32 => u64::from(self.rng.in_range(-9, 9) as u32),
                    Elem::I64 => self.rng.in_range(-9, 9) as u64,
                };
                let val = self.b.inst(Inst::Const { ty, bits });
                Known { val, is_exact: true }
            }
            Type::Mask { .. } => {
                let count = self.int_value();
                let val = self.b.inst(Inst::MaskFirst { ty, count });
                Known { val, is_exact: true }
            }
            Type::Int => Known { val: self.int_value(), is_exact: true },
        }
    }

    fn any_vec(&mut self) -> (Known, Elem, u8) {
        let ty = self.vec_type();
        let known = self.value(ty);
        let Type::Vec { elem, lanes } = ty else { unreachable!() };
        (known, elem, lanes)
    }

    fn mask_for(&mut self, elem: Elem, lanes: u8) -> Val {
        self.value(Type::Mask { bits: elem.bits(), lanes }).val
    }

    fn int_value(&mut self) -> Val {
        if self.rng.one_in(3) {
            let value = self.rng.in_range(-3, 20);
            self.b.int(value)
        } else {
            self.rng.pick(&self.ints)
        }
    }

    /// An index below 64.
    fn small_index(&mut self) -> Val {
        let (value, limit) = (self.int_value(), self.b.int(63));
        self.b.int_op(IntOp::And, value, limit)
    }

    fn input(&mut self, at: usize) -> Addr {
        let storage = STORAGES[at];
        let base = self.b.param(at);
        let disp = self.rng.below(64) as i32 * storage.bytes() as i32;
        let index = if self.rng.one_in(3) {
            Some((self.small_index(), storage.bytes() as u8))
        } else {
            None
        };
        Addr { base, index, disp }
    }

    fn load(&mut self) {
        let at = self.rng.below(8);
        let storage = STORAGES[at];
        let Type::Vec { lanes, .. } = self.vec_type() else { unreachable!() };
        let ty = Type::Vec { elem: storage.elem(), lanes };
        let addr = self.input(at);
        if self.rng.one_in(4) {
            self.push(Inst::Broadcast { ty, storage, addr }, true);
            return;
        }
        let mask =
            if self.rng.one_in(3) { Some(self.mask_for(storage.elem(), lanes)) } else { None };
        self.push(Inst::Load { ty, storage, addr, mask }, true);
    }

    fn gather(&mut self) {
        let at = self.rng.below(8);
        let storage = STORAGES[at];
        let (index, _, lanes) = {
            let Type::Vec { lanes, .. } = self.vec_type() else { unreachable!() };
            (self.value(Type::Vec { elem: Elem::I32, lanes }).val, (), lanes)
        };
        let index_ty = Type::Vec { elem: Elem::I32, lanes };
        let limit = self.b.int_lanes(index_ty, 31);
        let index = self.b.binary(VecBinary::And, index, limit);
        let mask =
            if self.rng.one_in(2) { Some(self.mask_for(storage.elem(), lanes)) } else { None };
        let addr = self.input(at);
        self.push(
            Inst::Gather {
                ty: Type::Vec { elem: storage.elem(), lanes },
                storage,
                addr,
                index,
                mask,
            },
            true,
        );
    }

    fn store(&mut self) {
        let (value, elem, lanes) = self.any_vec();
        let fitting: Vec<usize> = (0..8).filter(|&at| STORAGES[at].elem() == elem).collect();
        let at = self.rng.pick(&fitting);
        if self.n_stores[at] == N_OUTPUT / 16 {
            return;
        }
        let storage = STORAGES[at];
        let disp = (16 * self.n_stores[at]) as i32 * storage.bytes() as i32;
        self.n_stores[at] += 1;
        let mask = if self.rng.one_in(3) { Some(self.mask_for(elem, lanes)) } else { None };
        self.b.store(storage, Addr::offset(self.b.param(8 + at), disp), value.val, mask);
    }

    fn binary(&mut self) {
        let (a, elem, lanes) = self.any_vec();
        let b = self.value(Type::Vec { elem, lanes });
        let floats = [
            VecBinary::Add,
            VecBinary::Sub,
            VecBinary::Mul,
            VecBinary::Div,
            VecBinary::Min,
            VecBinary::Max,
        ];
        let integers = [
            VecBinary::Add,
            VecBinary::Sub,
            VecBinary::Mul,
            VecBinary::Min,
            VecBinary::Max,
            VecBinary::And,
            VecBinary::Or,
            VecBinary::Xor,
            VecBinary::MulHighUnsigned,
        ];
        let op = match elem {
            Elem::F32 | Elem::F64 => self.rng.pick(&floats),
            Elem::I32 => self.rng.pick(&integers),
            Elem::I64 => self.rng.pick(&integers[..8]),
        };
        let picks = matches!(op, VecBinary::Min | VecBinary::Max);
        self.push(
            Inst::Binary(op, a.val, b.val),
            !elem.is_float() || picks && a.is_exact && b.is_exact,
        );
    }

    fn unary(&mut self) {
        let (a, elem, _) = self.any_vec();
        let floats =
            [VecUnary::Neg, VecUnary::Abs, VecUnary::Sqrt, VecUnary::Round, VecUnary::Floor];
        let op = if elem.is_float() { self.rng.pick(&floats) } else { self.rng.pick(&floats[..2]) };
        let keeps = matches!(op, VecUnary::Neg | VecUnary::Abs) && a.is_exact;
        self.push(Inst::Unary(op, a.val), !elem.is_float() || keeps);
    }

    fn fma(&mut self) {
        let elem = self.rng.pick(&[Elem::F32, Elem::F64]);
        let ty =
            Type::Vec { elem, lanes: if self.rng.one_in(3) { self.rng.pick(&LANES) } else { 8 } };
        let (a, b, c) = (self.value(ty).val, self.value(ty).val, self.value(ty).val);
        let negate = self.rng.one_in(2);
        self.push(Inst::Fma { a, b, c, negate }, false);
    }

    fn compare(&mut self) {
        let (a, elem, lanes) = self.any_vec();
        let b = self.value(Type::Vec { elem, lanes });
        let op = self.rng.pick(&[Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le]);
        self.push(Inst::Compare(op, a.val, b.val), true);
    }

    fn masks(&mut self) {
        let (elem, lanes) =
            (self.rng.pick(&ELEMS), if self.rng.one_in(3) { self.rng.pick(&LANES) } else { 8 });
        let ty = Type::Mask { bits: elem.bits(), lanes };
        let a = self.value(ty).val;
        match self.rng.below(5) {
            0 => {
                self.push(Inst::MaskNot(a), true);
            }
            1 => {
                let bits = self.b.inst(Inst::MaskBits(a));
                self.ints.push(bits);
            }
            2 => {
                let ty = Type::Mask { bits: self.rng.pick(&[32, 64]), lanes };
                self.push(Inst::MaskResize { ty, mask: a }, true);
            }
            3 => {
                let count = self.int_value();
                self.push(Inst::MaskFirst { ty, count }, true);
            }
            _ => {
                let b = self.value(ty).val;
                let op = self.rng.pick(&[MaskOp::And, MaskOp::Or, MaskOp::Xor, MaskOp::AndNot]);
                self.push(Inst::Mask(op, a, b), true);
            }
        }
    }

    fn select(&mut self) {
        let (a, elem, lanes) = self.any_vec();
        let b = self.value(Type::Vec { elem, lanes });
        let mask = self.mask_for(elem, lanes);
        self.push(Inst::Select { mask, a: a.val, b: b.val }, a.is_exact && b.is_exact);
    }

    fn convert(&mut self) {
        let (a, from, lanes) = self.any_vec();
        let to = self.rng.pick(&ELEMS);
        let mut source = a.val;
        if from.is_float() && !to.is_float() {
            // Into range, without NaN: min and max give their second operand for it.
            let ty = Type::Vec { elem: from, lanes };
            let (low, high) = (self.b.float(ty, -1e9), self.b.float(ty, 1e9));
            source = self.b.binary(VecBinary::Min, source, high);
            source = self.b.binary(VecBinary::Max, source, low);
        }
        self.push(Inst::Convert(to, source), !from.is_float() || !to.is_float());
    }

    fn bits(&mut self) {
        let (a, elem, lanes) = self.any_vec();
        match elem {
            Elem::I32 | Elem::I64 if self.rng.one_in(2) => {
                let op = self.rng.pick(&[
                    ShiftOp::Left,
                    ShiftOp::RightLogical,
                    ShiftOp::RightArithmetic,
                ]);
                let by = self.rng.below(usize::from(elem.bits())) as u8;
                self.push(Inst::Shift(op, a.val, by), true);
            }
            Elem::F32 | Elem::F64 if self.rng.one_in(2) => {
                let n_ty = Type::Vec {
                    elem: if elem == Elem::F32 { Elem::I32 } else { Elem::I64 },
                    lanes,
                };
                let n = self.value(n_ty).val;
                let (mask, bias) = (self.b.int_lanes(n_ty, 255), self.b.int_lanes(n_ty, 127));
                let n = self.b.binary(VecBinary::And, n, mask);
                let n = self.b.binary(VecBinary::Sub, n, bias);
                self.push(Inst::ScalePow2 { p: a.val, n }, false);
            }
            _ if a.is_exact => {
                let to = match elem {
                    Elem::F32 => Elem::I32,
                    Elem::I32 => Elem::F32,
                    Elem::F64 => Elem::I64,
                    Elem::I64 => Elem::F64,
                };
                self.push(Inst::Bitcast(to, a.val), true);
            }
            _ => {}
        }
    }

    fn lanes(&mut self) {
        let (a, elem, lanes) = self.any_vec();
        match self.rng.below(4) {
            0 if lanes > 1 => {
                let op = self.rng.pick(&[FoldOp::Add, FoldOp::Max, FoldOp::Min]);
                let exact = !elem.is_float() || op != FoldOp::Add && a.is_exact;
                self.push(Inst::Fold(op, a.val), exact);
            }
            1 => {
                let lane = self.rng.below(usize::from(lanes)) as u8;
                let val = self.push(Inst::Lane(a.val, lane), a.is_exact);
                if !elem.is_float() && self.rng.one_in(2) {
                    let int = self.b.inst(Inst::IntFromLane(val));
                    self.ints.push(int);
                }
            }
            2 => {
                let one = self.value(Type::Vec { elem, lanes: 1 });
                let ty = Type::Vec { elem, lanes };
                self.push(Inst::SplatLane { ty, value: one.val }, one.is_exact);
            }
            _ if !elem.is_float() => {
                let ty = Type::Vec { elem, lanes };
                let inst = if self.rng.one_in(2) {
                    Inst::Iota { ty }
                } else {
                    Inst::Splat { ty, value: self.int_value() }
                };
                self.push(inst, true);
            }
            _ => {}
        }
    }

    fn transpose(&mut self) {
        if !self.rng.one_in(3) {
            return;
        }
        let (elem, lanes) = (self.rng.pick(&ELEMS), self.rng.pick(&LANES));
        let rows: Vec<Known> = (0..lanes).map(|_| self.value(Type::Vec { elem, lanes })).collect();
        let is_exact = rows.iter().all(|row| row.is_exact);
        let columns = self.b.transpose(rows.iter().map(|row| row.val).collect());
        self.known.extend(columns.into_iter().map(|val| Known { val, is_exact }));
    }

    fn int(&mut self) {
        let (a, b) = (self.int_value(), self.int_value());
        let all = [
            IntOp::Add,
            IntOp::Sub,
            IntOp::Mul,
            IntOp::Min,
            IntOp::Max,
            IntOp::And,
            IntOp::Less,
            IntOp::Equal,
            IntOp::Div,
            IntOp::Rem,
            IntOp::Shl,
            IntOp::Shr,
        ];
        let op = self.rng.pick(&all);
        let (a, b) = match op {
            IntOp::Div | IntOp::Rem => {
                let (limit, one) = (self.b.int(0xffff_ffff), self.b.int(1));
                let a = self.b.int_op(IntOp::And, a, limit);
                let factor = self.rng.in_range(1, 9);
                let divisor = if self.rng.one_in(2) {
                    self.b.int(factor)
                } else {
                    let b = self.b.int_op(IntOp::And, b, limit);
                    self.b.int_op(IntOp::Max, b, one)
                };
                (a, divisor)
            }
            IntOp::Shl | IntOp::Shr => {
                let limit = self.b.int(63);
                (a, self.b.int_op(IntOp::And, b, limit))
            }
            _ => (a, b),
        };
        let val = if self.rng.one_in(8) {
            self.b.inst(Inst::IntTrailingZeros(a))
        } else {
            self.b.int_op(op, a, b)
        };
        self.ints.push(val);
        if self.rng.one_in(3) {
            let at = self.n_stores[3];
            if at < N_OUTPUT / 16 {
                self.n_stores[3] += 1;
                let addr = Addr::offset(self.b.param(11), (16 * at) as i32 * 8);
                self.b.push(Stmt::IntStore { width: IntWidth::I64, addr, value: val });
            }
        }
        if self.rng.one_in(4) {
            let (width, at) =
                if self.rng.one_in(2) { (IntWidth::I32, 2) } else { (IntWidth::I64, 3) };
            let addr = self.input(at);
            let loaded = self.b.inst(Inst::IntLoad(width, addr));
            self.ints.push(loaded);
        }
    }

    fn for_loop(&mut self) {
        if self.depth == 2 {
            return;
        }
        self.depth += 1;
        let trip = if self.rng.one_in(2) {
            let n = self.rng.in_range(0, 3);
            self.b.int(n)
        } else {
            self.rng.pick(&self.ints[..2])
        };
        let n_carried = self.rng.below(5);
        let mut init = Vec::new();
        for _ in 0..n_carried {
            init.push(match self.rng.below(6) {
                0 => self.int_value(),
                1 => {
                    let lanes = self.rng.pick(&LANES);
                    self.mask_for(Elem::F32, lanes)
                }
                _ => self.any_vec().0.val,
            });
        }
        let types: Vec<Type> = init.iter().map(|&val| self.b.ty(val)).collect();
        let (n_known, n_ints) = (self.known.len(), self.ints.len());
        let n_ops = 3 + self.rng.below(12);
        let open = self.b.open_loop(trip, &init);
        self.ints.push(open.iv);
        for (&param, &ty) in open.params.iter().zip(&types) {
            match ty {
                Type::Int => self.ints.push(param),
                Type::Vec { elem, .. } => {
                    self.known.push(Known { val: param, is_exact: !elem.is_float() })
                }
                Type::Mask { .. } => self.known.push(Known { val: param, is_exact: true }),
            }
        }
        self.ops(n_ops);
        let next: Vec<Val> = types.iter().map(|&ty| self.value(ty).val).collect();
        let results = self.b.close_loop(open, next);
        self.known.truncate(n_known);
        self.ints.truncate(n_ints);
        for (&val, &ty) in results.iter().zip(&types) {
            match ty {
                Type::Int => self.ints.push(val),
                Type::Vec { elem, .. } => {
                    self.known.push(Known { val, is_exact: !elem.is_float() })
                }
                Type::Mask { .. } => self.known.push(Known { val, is_exact: true }),
            }
        }
        self.depth -= 1;
    }

    fn branch(&mut self) {
        if self.depth == 2 {
            return;
        }
        self.depth += 1;
        let cond = if self.rng.one_in(2) {
            let (a, b) = (self.int_value(), self.int_value());
            self.b.int_op(IntOp::Less, a, b)
        } else {
            self.int_value()
        };
        let (n_known, n_ints) = (self.known.len(), self.ints.len());
        let n_ops = 2 + self.rng.below(6);
        self.b.open_if();
        self.ops(n_ops);
        self.store();
        self.b.close_if(cond);
        self.known.truncate(n_known);
        self.ints.truncate(n_ints);
        self.depth -= 1;
    }
}

/// Contents of the inputs, edge values among them.
fn inputs(rng: &mut Rng) -> Vec<(Storage, Vec<u64>)> {
    STORAGES
        .iter()
        .map(|&storage| {
            let edges = native::edges(storage.elem());
            let elements = (0..N_INPUT)
                .map(|_| match storage {
                    Storage::F32 | Storage::F64 | Storage::I32 | Storage::I64 if rng.one_in(3) => {
                        rng.pick(&edges)
                    }
                    Storage::F32 => u64::from((rng.in_range(-999, 999) as f32 / 64.0).to_bits()),
                    Storage::F64 => (rng.in_range(-999, 999) as f64 / 64.0).to_bits(),
                    _ => rng.bits(),
                })
                .collect();
            (storage, elements)
        })
        .collect()
}

/// All outputs of one run.
type Outputs = Vec<(Storage, Vec<u64>)>;

fn run_emulated(
    function: &Function,
    backend: WideBackend,
    inputs: &[(Storage, Vec<u64>)],
    counts: [i64; 2],
) -> Outputs {
    let mut module = Module::default();
    module.functions.push(function.clone());
    let code = support::compile(&module, &backend).unwrap();
    let ins: Vec<support::Array> =
        inputs.iter().map(|(storage, bits)| support::Array::new(*storage, bits)).collect();
    let outs: Vec<support::Array> =
        STORAGES.iter().map(|&storage| support::Array::new(storage, &[0x55; N_OUTPUT])).collect();
    let mut args: Vec<i64> = ins.iter().chain(&outs).map(support::Array::address).collect();
    args.extend(counts);
    support::call(code.kernel("k").unwrap(), &args);
    STORAGES.iter().zip(&outs).map(|(&storage, array)| (storage, array.elements())).collect()
}

fn run_native(
    function: &Function,
    backend: &dyn Backend,
    inputs: &[(Storage, Vec<u64>)],
    counts: [i64; 2],
) -> Outputs {
    let mut module = Module::default();
    module.functions.push(function.clone());
    let code = native::compile(&module, backend).unwrap();
    let ins: Vec<native::Array> =
        inputs.iter().map(|(storage, bits)| native::Array::new(*storage, bits)).collect();
    let outs: Vec<native::Array> =
        STORAGES.iter().map(|&storage| native::Array::new(storage, &[0x55; N_OUTPUT])).collect();
    let mut args: Vec<i64> = ins.iter().chain(&outs).map(native::Array::address).collect();
    args.extend(counts);
    native::call(code.kernel("k").unwrap(), &args);
    STORAGES.iter().zip(&outs).map(|(&storage, array)| (storage, array.elements())).collect()
}

fn assert_same(what: &str, seed: u64, a: &Outputs, b: &Outputs) {
    for ((storage, a), (_, b)) in a.iter().zip(b) {
        for (at, (&a, &b)) in a.iter().zip(b).enumerate() {
            assert!(
                native::same(*storage, a, b),
                "{what}, seed {seed}: {storage:?} {at} is {a:#x} and {b:#x}"
            );
        }
    }
}

#[test]
fn random_kernels_agree_on_every_way_to_run_them() {
    for seed in 0..3000 {
        let function = Generator::kernel(seed);
        let mut rng = Rng::new(seed ^ 0x5eed);
        let inputs = inputs(&mut rng);
        let counts = [rng.in_range(-2, 6), rng.in_range(0, 20)];
        let avx512 = run_emulated(&function, WideBackend::avx512(), &inputs, counts);
        let avx2 = run_emulated(&function, WideBackend::avx2(), &inputs, counts);
        assert_same("emulated avx2 and avx512", seed, &avx2, &avx512);
        for backend in [WideBackend::avx2(), WideBackend::avx512()] {
            if backend.runs_here() {
                let result = run_native(&function, &backend, &inputs, counts);
                assert_same(
                    &format!("native and emulated {}", backend.name()),
                    seed,
                    &result,
                    &avx2,
                );
            }
        }
    }
}
