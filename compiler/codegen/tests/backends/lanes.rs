//! What moves lanes, scalar integers, loops and branches, at every lane count.

use dlc_ir::vector::{
    Addr, Elem, Function, FunctionBuilder, FunctionKind, Inst, IntOp, IntWidth, Module, Stmt,
    Storage, Type, Val, VecBinary,
};

use crate::support::{Array, backends, call, compile, edges};

const ELEMS: [Elem; 4] = [Elem::F32, Elem::F64, Elem::I32, Elem::I64];
const LANES: [u8; 5] = [1, 2, 4, 8, 16];

/// Compiles one kernel by every back end, calls it and checks what it wrote to `output`, which starts afresh each time.
fn run(function: &Function, args: &[i64], output: &mut Array, check: impl Fn(Vec<u64>)) {
    let mut module = Module::default();
    module.functions.push(function.clone());
    for backend in backends() {
        let code = compile(&module, &*backend).unwrap();
        output.reset();
        call(code.kernel(&function.name).unwrap(), args);
        check(output.elements());
    }
}

/// A kernel that stores one vector after another to its last parameter.
struct Recorder {
    b: FunctionBuilder,
    out: Val,
    disp: i32,
}

impl Recorder {
    fn new(n_params: usize) -> Self {
        let b = FunctionBuilder::new("k", FunctionKind::Kernel, n_params);
        let out = b.param(n_params - 1);
        Recorder { b, out, disp: 0 }
    }

    fn record(&mut self, value: Val) {
        let Type::Vec { elem, lanes } = self.b.ty(value) else { panic!("a vector is recorded") };
        self.b.store(elem.into(), Addr::offset(self.out, self.disp), value, None);
        self.disp += i32::from(lanes) * elem.bytes() as i32;
    }

    fn record_int(&mut self, value: Val) {
        let (width, addr) = (IntWidth::I64, Addr::offset(self.out, self.disp));
        self.b.push(Stmt::IntStore { width, addr, value });
        self.disp += 8;
    }
}

fn numbered(n: usize) -> Vec<u64> {
    (0..n as u64).map(|i| 1000 + i).collect()
}

#[test]
fn transposes_of_all_sizes() {
    for elem in ELEMS {
        for lanes in LANES {
            let n = usize::from(lanes);
            let (ty, storage) = (Type::Vec { elem, lanes }, Storage::from(elem));
            let mut r = Recorder::new(2);
            let rows = (0..n)
                .map(|row| {
                    let disp = (row * n) as i32 * elem.bytes() as i32;
                    let addr = Addr::offset(r.b.param(0), disp);
                    r.b.inst(Inst::Load { ty, storage, addr, mask: None })
                })
                .collect();
            for column in r.b.transpose(rows) {
                r.record(column);
            }
            let input = Array::new(storage, &numbered(n * n));
            let mut output = Array::new(storage, &vec![0; n * n]);
            let args = [input.address(), output.address()];
            let expected: Vec<u64> =
                (0..n * n).map(|i| 1000 + (i % n * n + i / n) as u64).collect();
            run(&r.b.finish(), &args, &mut output, |elements| {
                assert_eq!(elements, expected, "{elem:?} {lanes}");
            });
        }
    }
}

#[test]
fn lanes_iota_splats_and_broadcasts() {
    for elem in ELEMS {
        for lanes in LANES {
            let n = usize::from(lanes);
            let (ty, storage) = (Type::Vec { elem, lanes }, Storage::from(elem));
            let mut r = Recorder::new(3);
            let addr = Addr::at(r.b.param(0));
            let all = r.b.inst(Inst::Load { ty, storage, addr, mask: None });
            let mut expected = Vec::new();
            for lane in 0..lanes {
                let one = r.b.inst(Inst::Lane(all, lane));
                r.record(one);
                let spread = r.b.inst(Inst::SplatLane { ty, value: one });
                r.record(spread);
                expected.extend(std::iter::repeat_n(1000 + u64::from(lane), n + 1));
            }
            let last = Addr::offset(r.b.param(0), (n as i32 - 1) * elem.bytes() as i32);
            let broadcast = r.b.inst(Inst::Broadcast { ty, storage, addr: last });
            r.record(broadcast);
            expected.extend(std::iter::repeat_n(999 + n as u64, n));
            if !elem.is_float() {
                let iota = r.b.inst(Inst::Iota { ty });
                r.record(iota);
                let value = r.b.param(1);
                let splat = r.b.inst(Inst::Splat { ty, value });
                r.record(splat);
                expected.extend(0..n as u64);
                let low = if elem == Elem::I32 { 0xf0f0_f0f1 } else { 0x1234_5678_f0f0_f0f1 };
                expected.extend(std::iter::repeat_n(low, n));
            }
            let constant = r.b.inst(Inst::Const { ty, bits: 77 });
            r.record(constant);
            expected.extend(std::iter::repeat_n(77, n));
            let input = Array::new(storage, &numbered(n));
            let mut output = Array::new(storage, &vec![0; expected.len()]);
            let args = [input.address(), 0x1234_5678_f0f0_f0f1, output.address()];
            run(&r.b.finish(), &args, &mut output, |elements| {
                assert_eq!(elements, expected, "{elem:?} {lanes}");
            });
        }
    }
}

/// A broadcast of every storage, next to the load of the same element.
#[test]
fn narrow_broadcasts_equal_narrow_loads() {
    for storage in [Storage::U8, Storage::I8, Storage::Bf16, Storage::F16] {
        let mut r = Recorder::new(2);
        for lanes in LANES {
            let addr = Addr::offset(r.b.param(0), storage.bytes() as i32);
            let ty = Type::Vec { elem: storage.elem(), lanes };
            let broadcast = r.b.inst(Inst::Broadcast { ty, storage, addr });
            let one = Type::Vec { elem: storage.elem(), lanes: 1 };
            let value = r.b.inst(Inst::Load { ty: one, storage, addr, mask: None });
            let spread = r.b.inst(Inst::SplatLane { ty, value });
            r.record(broadcast);
            r.record(spread);
        }
        let input = Array::new(storage, &[0x11, 0x93]);
        let mut output = Array::new(storage.elem().into(), &[0; 62]);
        let args = [input.address(), output.address()];
        let expected = match storage {
            Storage::U8 => 0x93,
            Storage::I8 => 0xffff_ff93,
            Storage::Bf16 => 0x93_0000,
            // 0x93 units of 2^-24.
            _ => u64::from((147.0 / 16_777_216.0f32).to_bits()),
        };
        run(&r.b.finish(), &args, &mut output, |elements| assert_eq!(elements, [expected; 62]));
    }
}

#[test]
fn gathers_take_negative_indices() {
    for storage in [Storage::F32, Storage::F64, Storage::U8, Storage::F16] {
        for lanes in LANES {
            let n = usize::from(lanes);
            let mut r = Recorder::new(3);
            let index_type = Type::Vec { elem: Elem::I32, lanes };
            let addr = Addr::at(r.b.param(1));
            let index =
                r.b.inst(Inst::Load { ty: index_type, storage: Storage::I32, addr, mask: None });
            let ty = Type::Vec { elem: storage.elem(), lanes };
            let addr = Addr::at(r.b.param(0));
            let gathered = r.b.inst(Inst::Gather { ty, storage, addr, index, mask: None });
            r.b.store(storage, Addr::at(r.out), gathered, None);
            // The base is the last element, and lane i reads i elements before it.
            let values: Vec<u64> = (0..n as u64).map(|i| i + 1).collect();
            let input = Array::new(storage, &values);
            let indices: Vec<u64> = (0..n as i32).map(|i| u64::from(-i as u32)).collect();
            let indices = Array::new(Storage::I32, &indices);
            let mut output = Array::new(storage, &vec![0; n]);
            let base = input.address() + (n as i64 - 1) * storage.bytes();
            let args = [base, indices.address(), output.address()];
            let expected: Vec<u64> = values.into_iter().rev().collect();
            run(&r.b.finish(), &args, &mut output, |elements| {
                assert_eq!(elements, expected, "{storage:?} {lanes}");
            });
        }
    }
}

#[test]
fn scalar_integers() {
    const OPS: [IntOp; 12] = [
        IntOp::Add,
        IntOp::Sub,
        IntOp::Mul,
        IntOp::Div,
        IntOp::Rem,
        IntOp::Min,
        IntOp::Max,
        IntOp::And,
        IntOp::Shl,
        IntOp::Shr,
        IntOp::Less,
        IntOp::Equal,
    ];
    let defined = |op: IntOp, a: i64, b: i64| match op {
        IntOp::Div | IntOp::Rem => a >= 0 && b > 0,
        IntOp::Shl | IntOp::Shr => (0..64).contains(&b),
        _ => true,
    };
    let expect = |op: IntOp, a: i64, b: i64| match op {
        IntOp::Add => a.wrapping_add(b),
        IntOp::Sub => a.wrapping_sub(b),
        IntOp::Mul => a.wrapping_mul(b),
        IntOp::Div => a / b,
        IntOp::Rem => a % b,
        IntOp::Min => a.min(b),
        IntOp::Max => a.max(b),
        IntOp::And => a & b,
        IntOp::Shl => a << b,
        IntOp::Shr => a >> b,
        IntOp::Less => i64::from(a < b),
        IntOp::Equal => i64::from(a == b),
    };
    let values: Vec<i64> = edges(Elem::I64).into_iter().map(|bits| bits as i64).collect();
    let mut module = Module::default();
    for op in OPS {
        let mut r = Recorder::new(3);
        let (a, b) = (r.b.param(0), r.b.param(1));
        let result = r.b.int_op(op, a, b);
        r.record_int(result);
        let mut function = r.b.finish();
        function.name = format!("{op:?}");
        module.functions.push(function);
    }
    let mut r = Recorder::new(3);
    let zeros = r.b.inst(Inst::IntTrailingZeros(r.b.param(0)));
    r.record_int(zeros);
    let ty = Type::Vec { elem: Elem::I32, lanes: 1 };
    let narrow = r.b.inst(Inst::Splat { ty, value: r.b.param(0) });
    let sign_extended = r.b.inst(Inst::IntFromLane(narrow));
    r.record_int(sign_extended);
    let ty = Type::Vec { elem: Elem::I64, lanes: 1 };
    let wide = r.b.inst(Inst::Splat { ty, value: r.b.param(0) });
    let same = r.b.inst(Inst::IntFromLane(wide));
    r.record_int(same);
    let four = Inst::IntLoad(IntWidth::I32, Addr::offset(r.out, 16));
    let four = r.b.inst(four);
    r.record_int(four);
    let eight = Inst::IntLoad(IntWidth::I64, Addr::offset(r.out, 16));
    let eight = r.b.inst(eight);
    r.record_int(eight);
    let (width, addr) = (IntWidth::I32, Addr::offset(r.out, 44));
    let value = r.b.param(0);
    r.b.push(Stmt::IntStore { width, addr, value });
    module.functions.push(r.b.finish());

    for backend in backends() {
        let code = compile(&module, &*backend).unwrap();
        let output = Array::new(Storage::I64, &[0; 6]);
        for &a in &values {
            for b in values.iter().copied().chain([5, 31, 63]) {
                for op in OPS.into_iter().filter(|&op| defined(op, a, b)) {
                    call(code.kernel(&format!("{op:?}")).unwrap(), &[a, b, output.address()]);
                    assert_eq!(output.elements()[0] as i64, expect(op, a, b), "{op:?} {a} {b}");
                }
            }
            call(code.kernel("k").unwrap(), &[a, 0, output.address()]);
            let narrow = i64::from(a as i32);
            let expected = [i64::from(a.trailing_zeros()), narrow, a, narrow, a, a << 32];
            assert_eq!(output.elements(), expected.map(|value| value as u64), "{a}");
        }
    }
}

/// Nested loops with carried vectors and a branch; also trips of zero and below.
#[test]
fn loops_carry_values() {
    let ty = Type::Vec { elem: Elem::I32, lanes: 16 };
    let mut r = Recorder::new(3);
    let (rows, columns) = (r.b.param(0), r.b.param(1));
    let start = r.b.inst(Inst::Iota { ty });
    let count = r.b.int(0);
    let (out, sums) = (r.out, Storage::I32);
    let after = r.b.for_loop(rows, &[start, count], |b, row, carried| {
        let inner = b.for_loop(columns, carried, |b, column, carried| {
            let product = b.int_op(IntOp::Mul, row, column);
            let product = b.inst(Inst::Splat { ty, value: product });
            let sum = b.binary(VecBinary::Add, carried[0], product);
            let one = b.iadd_const(carried[1], 1);
            // Swapped sides of the comparison in the branch: taken in the last row only.
            let next = b.iadd_const(row, 1);
            let is_last = b.int_op(IntOp::Equal, next, rows);
            b.if_nonzero(is_last, |b| b.store(sums, Addr::offset(out, 64), sum, None));
            vec![sum, one]
        });
        vec![inner[0], inner[1]]
    });
    r.record(after[0]);
    r.disp = 128;
    r.record_int(after[1]);
    let function = r.b.finish();
    for (rows, columns) in [(3i64, 4i64), (1, 1), (0, 5), (5, 0), (-2, 3), (2, i64::MIN)] {
        let mut output = Array::new(Storage::I32, &[9; 34]);
        let (n, m) = (rows.max(0), columns.max(0));
        let total: i64 = (0..n).map(|row| (0..m).map(|column| row * column).sum::<i64>()).sum();
        let lanes = |base: i64| (0..16).map(move |lane| (lane + base) as u64);
        let mut expected: Vec<u64> = lanes(total).collect();
        // The branch stores the sum in each column of the last row, so that of the end remains.
        if n > 0 && m > 0 {
            expected.extend(lanes(total));
        } else {
            expected.extend([9; 16]);
        }
        expected.extend([(n * m) as u64, 0]);
        let args = [rows, columns, output.address()];
        run(&function, &args, &mut output, |elements| {
            assert_eq!(elements, expected, "{rows} x {columns}");
        });
    }
}
