//! Each lane-wise operation of vector IR against its definition in scalar arithmetic, on edge values, at every lane count
//! (which takes splitting into parts along), in memory that ends at an inaccessible page.

use dlc_codegen::Backend;
use dlc_ir::scalar::{self, Real};
use dlc_ir::vector::{
    Addr, Compare, Elem, FoldOp, Function, FunctionBuilder, FunctionKind, Inst, IntWidth, MaskOp,
    Module, ShiftOp, Stmt, Storage, Type, Val, VecBinary, VecUnary,
};

use crate::support::{Array, backends, call, compile, edges, fused_backends, padded, pairs, same};

const LANES: [u8; 5] = [1, 2, 4, 8, 16];
const ELEMS: [Elem; 4] = [Elem::F32, Elem::F64, Elem::I32, Elem::I64];

/// An operation under test: inputs lane by lane, and what each lane of the output must be.
struct Case {
    name: String,
    inputs: Vec<(Storage, Vec<u64>)>,
    output: Storage,
    /// Builds the operation from one vector of each input.
    build: Box<dyn Fn(&mut FunctionBuilder, &[Val]) -> Val>,
    /// The output lane from the inputs' lanes, in bits.
    expect: Box<dyn Fn(&[u64]) -> u64>,
}

/// `out[i] = f(in0[i], in1[i], ..)` for `n` vectors; parameters: inputs, output, n.
fn kernel(case: &Case, name: String, lanes: u8) -> Function {
    let n_inputs = case.inputs.len();
    let mut b = FunctionBuilder::new(name, FunctionKind::Kernel, n_inputs + 2);
    let trip = b.param(n_inputs + 1);
    b.for_loop(trip, &[], |b, iv, _| {
        let at = |b: &mut FunctionBuilder, param: usize, storage: Storage| {
            let offset = b.imul_const(iv, i64::from(lanes) * storage.bytes());
            Addr { base: b.param(param), index: Some((offset, 1)), disp: 0 }
        };
        let mut values = Vec::new();
        for (param, (storage, _)) in case.inputs.iter().enumerate() {
            let addr = at(b, param, *storage);
            let ty = Type::Vec { elem: storage.elem(), lanes };
            values.push(b.inst(Inst::Load { ty, storage: *storage, addr, mask: None }));
        }
        let result = (case.build)(b, &values);
        let addr = at(b, n_inputs, case.output);
        b.store(case.output, addr, result, None);
        vec![]
    });
    b.finish()
}

fn check(cases: &[Case]) {
    for backend in backends() {
        check_on(&*backend, cases);
    }
}

fn check_on(backend: &dyn Backend, cases: &[Case]) {
    let mut module = Module::default();
    for case in cases {
        for lanes in LANES {
            module.functions.push(kernel(case, format!("{} x{lanes}", case.name), lanes));
        }
    }
    let code = compile(&module, backend).unwrap();
    for case in cases {
        let n = case.inputs[0].1.len();
        let expected: Vec<u64> = (0..n)
            .map(|i| {
                let lanes: Vec<u64> = case.inputs.iter().map(|(_, lanes)| lanes[i]).collect();
                (case.expect)(&lanes)
            })
            .collect();
        for lanes in LANES {
            let inputs: Vec<Array> = case
                .inputs
                .iter()
                .map(|(storage, elements)| Array::new(*storage, elements))
                .collect();
            let output = Array::new(case.output, &vec![0x55; n]);
            let mut args: Vec<i64> = inputs.iter().map(Array::address).collect();
            args.extend([output.address(), n as i64 / i64::from(lanes)]);
            let name = format!("{} x{lanes}", case.name);
            call(code.kernel(&name).unwrap(), &args);
            for (i, (got, want)) in output.elements().into_iter().zip(&expected).enumerate() {
                if same(case.output, got, *want) {
                    continue;
                }
                let of: Vec<String> =
                    case.inputs.iter().map(|(_, lanes)| format!("{:#x}", lanes[i])).collect();
                panic!("{}: {name} of {of:?}: {got:#x}, not {want:#x}", backend.name());
            }
        }
    }
}

/// A case over one element type; `inputs` columns all of it.
fn case(
    name: String,
    elem: Elem,
    inputs: Vec<Vec<u64>>,
    output: Elem,
    build: impl Fn(&mut FunctionBuilder, &[Val]) -> Val + 'static,
    expect: impl Fn(&[u64]) -> u64 + 'static,
) -> Case {
    let inputs = inputs.into_iter().map(|lanes| (Storage::from(elem), lanes)).collect();
    Case { name, inputs, output: output.into(), build: Box::new(build), expect: Box::new(expect) }
}

fn unary<T: Real>(op: VecUnary, a: T) -> T {
    match op {
        VecUnary::Neg => -a,
        VecUnary::Abs => a.abs(),
        VecUnary::Sqrt => a.sqrt(),
        VecUnary::Round => a.round(),
        VecUnary::Floor => a.floor(),
    }
}

fn int_unary(op: VecUnary, a: i64) -> i64 {
    match op {
        VecUnary::Neg => a.wrapping_neg(),
        VecUnary::Abs => a.wrapping_abs(),
        VecUnary::Sqrt | VecUnary::Round | VecUnary::Floor => unreachable!("floats only"),
    }
}

fn binary<T: Real>(op: VecBinary, a: T, b: T) -> T {
    match op {
        VecBinary::Add => a + b,
        VecBinary::Sub => a - b,
        VecBinary::Mul => a * b,
        VecBinary::Div => a / b,
        VecBinary::Min => scalar::min(a, b),
        VecBinary::Max => scalar::max(a, b),
        VecBinary::And | VecBinary::Or | VecBinary::Xor | VecBinary::MulHighUnsigned => {
            unreachable!("integers only")
        }
    }
}

fn int_binary(op: VecBinary, a: i64, b: i64) -> i64 {
    match op {
        VecBinary::Add => a.wrapping_add(b),
        VecBinary::Sub => a.wrapping_sub(b),
        VecBinary::Mul => a.wrapping_mul(b),
        VecBinary::Min => a.min(b),
        VecBinary::Max => a.max(b),
        VecBinary::And => a & b,
        VecBinary::Or => a | b,
        VecBinary::Xor => a ^ b,
        VecBinary::MulHighUnsigned => scalar::mul_high_u32(a as u32, b as u32).into(),
        VecBinary::Div => unreachable!("floats only"),
    }
}

/// Lane bits as a signed integer.
fn signed(elem: Elem, bits: u64) -> i64 {
    if elem.bits() == 32 { i64::from(bits as i32) } else { bits as i64 }
}

/// A signed integer as lane bits, wrapped.
fn wrapped(elem: Elem, value: i64) -> u64 {
    if elem.bits() == 32 { u64::from(value as u32) } else { value as u64 }
}

/// The value of float lanes, exact because double precision holds both.
fn float(elem: Elem, bits: u64) -> f64 {
    if elem == Elem::F32 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) }
}

#[test]
fn unary_operations() {
    let mut cases = Vec::new();
    for elem in ELEMS {
        let ops: &[VecUnary] = match elem.is_float() {
            true => {
                &[VecUnary::Neg, VecUnary::Abs, VecUnary::Sqrt, VecUnary::Round, VecUnary::Floor]
            }
            false => &[VecUnary::Neg, VecUnary::Abs],
        };
        for &op in ops {
            cases.push(case(
                format!("{op:?} {elem:?}"),
                elem,
                vec![padded(edges(elem))],
                elem,
                move |b, v| b.inst(Inst::Unary(op, v[0])),
                move |l| match elem {
                    Elem::F32 => unary(op, f32::from_bits64(l[0])).to_bits64(),
                    Elem::F64 => unary(op, f64::from_bits64(l[0])).to_bits64(),
                    Elem::I32 | Elem::I64 => wrapped(elem, int_unary(op, signed(elem, l[0]))),
                },
            ));
        }
    }
    check(&cases);
}

#[test]
fn binary_operations() {
    use VecBinary::*;
    let mut cases = Vec::new();
    for elem in ELEMS {
        let ops: &[VecBinary] = match elem {
            Elem::F32 | Elem::F64 => &[Add, Sub, Mul, Div, Min, Max],
            Elem::I32 => &[Add, Sub, Mul, Min, Max, And, Or, Xor, MulHighUnsigned],
            Elem::I64 => &[Add, Sub, Mul, Min, Max, And, Or, Xor],
        };
        for &op in ops {
            cases.push(case(
                format!("{op:?} {elem:?}"),
                elem,
                pairs(&edges(elem)).into(),
                elem,
                move |b, v| b.binary(op, v[0], v[1]),
                move |l| match elem {
                    Elem::F32 => {
                        binary(op, f32::from_bits64(l[0]), f32::from_bits64(l[1])).to_bits64()
                    }
                    Elem::F64 => {
                        binary(op, f64::from_bits64(l[0]), f64::from_bits64(l[1])).to_bits64()
                    }
                    Elem::I32 | Elem::I64 => {
                        wrapped(elem, int_binary(op, signed(elem, l[0]), signed(elem, l[1])))
                    }
                },
            ));
        }
    }
    check(&cases);
}

#[test]
fn shifts() {
    let mut cases = Vec::new();
    for elem in [Elem::I32, Elem::I64] {
        for op in [ShiftOp::Left, ShiftOp::RightLogical, ShiftOp::RightArithmetic] {
            for by in [0, 1, 7, elem.bits() / 2, elem.bits() - 1] {
                cases.push(case(
                    format!("{op:?} {elem:?} {by}"),
                    elem,
                    vec![padded(edges(elem))],
                    elem,
                    move |b, v| b.inst(Inst::Shift(op, v[0], by)),
                    move |l| match op {
                        ShiftOp::Left => wrapped(elem, (l[0] << by) as i64),
                        ShiftOp::RightLogical => l[0] >> by,
                        ShiftOp::RightArithmetic => wrapped(elem, signed(elem, l[0]) >> by),
                    },
                ));
            }
        }
    }
    check(&cases);
}

#[test]
fn fused_multiply_add() {
    for elem in [Elem::F32, Elem::F64] {
        let mut cases = Vec::new();
        let [a, b] = pairs(&edges(elem));
        // Addends that cancel the rounded product show whether it was rounded.
        let c: Vec<u64> = a
            .iter()
            .zip(&b)
            .enumerate()
            .map(|(i, (&a, &b))| match elem {
                _ if i % 3 == 0 => edges(elem)[i % edges(elem).len()],
                Elem::F32 => (-(f32::from_bits64(a) * f32::from_bits64(b))).to_bits64(),
                _ => (f64::from_bits64(a) * f64::from_bits64(b)).to_bits64(),
            })
            .collect();
        for negate in [false, true] {
            cases.push(case(
                format!("fma {elem:?} {negate}"),
                elem,
                vec![a.clone(), b.clone(), c.clone()],
                elem,
                move |f, v| f.inst(Inst::Fma { a: v[0], b: v[1], c: v[2], negate }),
                move |l| {
                    let sign = if negate { 1u64 << (elem.bits() - 1) } else { 0 };
                    let [a, b, c] = [l[0] ^ sign, l[1], l[2]];
                    match elem {
                        Elem::F32 => {
                            let [a, b, c] = [a, b, c].map(f32::from_bits64);
                            f32::fma(a, b, c).to_bits64()
                        }
                        _ => {
                            let [a, b, c] = [a, b, c].map(f64::from_bits64);
                            f64::fma(a, b, c).to_bits64()
                        }
                    }
                },
            ));
        }
        // Without the instruction it is made of others, in single precision.
        for backend in if elem == Elem::F32 { backends() } else { fused_backends() } {
            check_on(&*backend, &cases);
        }
    }
}

/// A processor without the instruction gets an error in double precision, never a slow or wrong library call.
#[test]
#[cfg(target_arch = "x86_64")]
fn fused_multiply_add_is_refused_without_the_instruction() {
    let ty = Type::Vec { elem: Elem::F64, lanes: 2 };
    let mut b = FunctionBuilder::new("k", FunctionKind::Kernel, 1);
    let a = b.float(ty, 2.0);
    let fma = b.inst(Inst::Fma { a, b: a, c: a, negate: false });
    let addr = Addr::at(b.param(0));
    b.store(Storage::F64, addr, fma, None);
    let mut module = Module::default();
    module.functions.push(b.finish());
    let error = compile(&module, &crate::support::unfused_backend()).unwrap_err();
    assert!(matches!(error, dlc_codegen::CodegenError::Unsupported { .. }), "{error}");
}

/// Comparisons seen through a select, and operations of masks seen through two comparisons.
#[test]
fn comparisons_masks_and_selects() {
    let mut cases = Vec::new();
    for elem in ELEMS {
        let holds = move |op: Compare, a: u64, b: u64| {
            let order = if elem.is_float() {
                float(elem, a).partial_cmp(&float(elem, b))
            } else {
                Some(signed(elem, a).cmp(&signed(elem, b)))
            };
            match op {
                Compare::Eq => order.is_some_and(|order| order.is_eq()),
                Compare::Ne => order.is_none_or(|order| order.is_ne()),
                Compare::Lt => order.is_some_and(|order| order.is_lt()),
                Compare::Le => order.is_some_and(|order| order.is_le()),
            }
        };
        for op in [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le] {
            cases.push(case(
                format!("{op:?} {elem:?}"),
                elem,
                pairs(&edges(elem)).into(),
                elem,
                move |b, v| {
                    let mask = b.inst(Inst::Compare(op, v[0], v[1]));
                    b.inst(Inst::Select { mask, a: v[0], b: v[1] })
                },
                move |l| if holds(op, l[0], l[1]) { l[0] } else { l[1] },
            ));
        }
        for op in [MaskOp::And, MaskOp::Or, MaskOp::Xor, MaskOp::AndNot] {
            cases.push(case(
                format!("{op:?} of masks {elem:?}"),
                elem,
                pairs(&edges(elem)).into(),
                elem,
                move |b, v| {
                    let less = b.inst(Inst::Compare(Compare::Lt, v[0], v[1]));
                    let same = b.inst(Inst::Compare(Compare::Eq, v[0], v[0]));
                    let same = b.inst(Inst::MaskNot(same));
                    let le = b.inst(Inst::Compare(Compare::Le, v[1], v[1]));
                    let either = b.inst(Inst::Mask(MaskOp::Or, same, le));
                    let mask = b.inst(Inst::Mask(op, either, less));
                    b.inst(Inst::Select { mask, a: v[1], b: v[0] })
                },
                move |l| {
                    let first = !holds(Compare::Eq, l[0], l[0]) | holds(Compare::Le, l[1], l[1]);
                    let second = holds(Compare::Lt, l[0], l[1]);
                    let mask = match op {
                        MaskOp::And => first & second,
                        MaskOp::Or => first | second,
                        MaskOp::Xor => first ^ second,
                        MaskOp::AndNot => first & !second,
                    };
                    if mask { l[1] } else { l[0] }
                },
            ));
        }
    }
    check(&cases);
}

fn converted(from: Elem, to: Elem, bits: u64) -> u64 {
    match (from.is_float(), to) {
        (true, Elem::F32) => (float(from, bits) as f32).to_bits64(),
        (true, Elem::F64) => float(from, bits).to_bits64(),
        (true, Elem::I32 | Elem::I64) => wrapped(to, float(from, bits) as i64),
        (false, Elem::F32) => (signed(from, bits) as f32).to_bits64(),
        (false, Elem::F64) => (signed(from, bits) as f64).to_bits64(),
        (false, Elem::I32 | Elem::I64) => wrapped(to, signed(from, bits)),
    }
}

#[test]
fn conversions_between_all_pairs() {
    let mut cases = Vec::new();
    for from in ELEMS {
        for to in ELEMS {
            let mut values = edges(from);
            if from.is_float() && !to.is_float() {
                let limit = if to == Elem::I32 { 2147483648.0 } else { 9223372036854775808.0 };
                values.retain(|&bits| {
                    let value = float(from, bits);
                    value > -limit && value < limit
                });
            }
            cases.push(case(
                format!("{from:?} to {to:?}"),
                from,
                vec![padded(values)],
                to,
                move |b, v| b.inst(Inst::Convert(to, v[0])),
                move |l| converted(from, to, l[0]),
            ));
            if from.bits() == to.bits() {
                cases.push(case(
                    format!("{from:?} as {to:?}"),
                    from,
                    vec![padded(edges(from))],
                    to,
                    move |b, v| b.inst(Inst::Bitcast(to, v[0])),
                    |l| l[0],
                ));
            }
        }
    }
    check(&cases);
}

#[test]
fn scaling_by_powers_of_two() {
    let mut cases = Vec::new();
    for (elem, int, limit) in [(Elem::F32, Elem::I32, 252i64), (Elem::F64, Elem::I64, 2044)] {
        let mut columns = [Vec::new(), Vec::new()];
        for p in edges(elem) {
            for n in -limit..=limit {
                columns[0].push(p);
                columns[1].push(wrapped(int, n));
            }
        }
        let [p, n] = columns.map(padded);
        cases.push(Case {
            name: format!("scale {elem:?}"),
            inputs: vec![(elem.into(), p), (int.into(), n)],
            output: elem.into(),
            build: Box::new(|b, v| b.inst(Inst::ScalePow2 { p: v[0], n: v[1] })),
            expect: Box::new(move |l| match elem {
                Elem::F32 => f32::from_bits64(l[0]).scale_pow2(signed(int, l[1])).to_bits64(),
                _ => f64::from_bits64(l[0]).scale_pow2(signed(int, l[1])).to_bits64(),
            }),
        });
    }
    check(&cases);
}

/// Every half and bfloat16 is widened; every one of them and its neighbours in single precision are rounded.
#[test]
fn narrow_storage() {
    let identity = |b: &mut FunctionBuilder, v: &[Val]| {
        let _ = b;
        v[0]
    };
    let all: Vec<u64> = (0..0x10000).collect();
    let mut singles = Vec::new();
    for half in 0..=0xffffu16 {
        for value in [scalar::f16_to_f32(half), scalar::bf16_to_f32(half)] {
            let bits = value.to_bits();
            // Exact, a little above, the tie to the next half or bfloat16, and just beside it.
            for step in [0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001] {
                singles.push(u64::from(bits.wrapping_add(step)));
            }
        }
    }
    let narrow =
        |name: &str, from: Storage, to: Storage, values: &[u64], expect: fn(u64) -> u64| Case {
            name: name.to_owned(),
            inputs: vec![(from, padded(values.to_vec()))],
            output: to,
            build: Box::new(identity),
            expect: Box::new(move |l| expect(l[0])),
        };
    let bytes: Vec<u64> = (0..256).collect();
    let words = edges(Elem::I32);
    check(&[
        narrow("load f16", Storage::F16, Storage::F32, &all, |bits| {
            scalar::f16_to_f32(bits as u16).to_bits64()
        }),
        narrow("load bf16", Storage::Bf16, Storage::F32, &all, |bits| {
            scalar::bf16_to_f32(bits as u16).to_bits64()
        }),
        narrow("store f16", Storage::F32, Storage::F16, &singles, |bits| {
            scalar::f32_to_f16(f32::from_bits64(bits)).into()
        }),
        narrow("store bf16", Storage::F32, Storage::Bf16, &singles, |bits| {
            scalar::f32_to_bf16(f32::from_bits64(bits)).into()
        }),
        narrow("load u8", Storage::U8, Storage::I32, &bytes, |bits| bits),
        narrow("load i8", Storage::I8, Storage::I32, &bytes, |bits| {
            u64::from(i32::from(bits as i8) as u32)
        }),
        narrow("store u8", Storage::I32, Storage::U8, &words, |bits| bits & 0xff),
        narrow("store i8", Storage::I32, Storage::I8, &words, |bits| bits & 0xff),
    ]);
}

/// Folds of all lane counts: the order is visible in rounding, in NaN and in which zero wins.
#[test]
fn folds() {
    let fold = |op: FoldOp, elem: Elem, mut lanes: Vec<u64>| {
        while lanes.len() > 1 {
            let upper = lanes.split_off(lanes.len() / 2);
            for (a, b) in lanes.iter_mut().zip(upper) {
                let (x, y) = (*a, b);
                *a = match (op, elem) {
                    (FoldOp::Add, Elem::F32) => {
                        (f32::from_bits64(x) + f32::from_bits64(y)).to_bits64()
                    }
                    (FoldOp::Add, Elem::F64) => {
                        (f64::from_bits64(x) + f64::from_bits64(y)).to_bits64()
                    }
                    (FoldOp::Add, _) => {
                        wrapped(elem, signed(elem, x).wrapping_add(signed(elem, y)))
                    }
                    (FoldOp::Max | FoldOp::Min, Elem::F32 | Elem::F64) => {
                        let (a, b) = (float(elem, x), float(elem, y));
                        let wins = if op == FoldOp::Max { b > a } else { b < a };
                        if wins || b.is_nan() { y } else { x }
                    }
                    (FoldOp::Max, _) => wrapped(elem, signed(elem, x).max(signed(elem, y))),
                    (FoldOp::Min, _) => wrapped(elem, signed(elem, x).min(signed(elem, y))),
                };
            }
        }
        lanes[0]
    };
    let mut module = Module::default();
    let name = |op, elem, lanes| format!("{op:?} {elem:?} {lanes}");
    let all = || {
        ELEMS.into_iter().flat_map(|elem| {
            [2u8, 4, 8, 16].into_iter().flat_map(move |lanes| {
                [FoldOp::Add, FoldOp::Max, FoldOp::Min].map(move |op| (op, elem, lanes))
            })
        })
    };
    for (op, elem, lanes) in all() {
        let mut b = FunctionBuilder::new(name(op, elem, lanes), FunctionKind::Kernel, 2);
        let ty = Type::Vec { elem, lanes };
        let storage = Storage::from(elem);
        let addr = Addr::at(b.param(0));
        let value = b.inst(Inst::Load { ty, storage, addr, mask: None });
        let folded = b.inst(Inst::Fold(op, value));
        let addr = Addr::at(b.param(1));
        b.store(storage, addr, folded, None);
        module.functions.push(b.finish());
    }
    for backend in backends() {
        let code = compile(&module, &*backend).unwrap();
        let mut rng = dlc_harness::rng::Rng::new(11);
        for (op, elem, lanes) in all() {
            let kernel = code.kernel(&name(op, elem, lanes)).unwrap();
            let values = edges(elem);
            for _ in 0..200 {
                let lanes: Vec<u64> = (0..lanes).map(|_| rng.pick(&values)).collect();
                let (input, output) =
                    (Array::new(elem.into(), &lanes), Array::new(elem.into(), &[0]));
                call(kernel, &[input.address(), output.address()]);
                let (got, want) = (output.elements()[0], fold(op, elem, lanes.clone()));
                assert!(
                    same(elem.into(), got, want),
                    "{op:?} {elem:?} {lanes:x?}: {got:x} {want:x}"
                );
            }
        }
    }
}

/// Masked loads, stores and gathers in arrays that end exactly after the last lane that may be touched.
#[test]
fn masked_memory_touches_nothing_else() {
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
    let mut module = Module::default();
    let name = |storage, lanes| format!("{storage:?} {lanes}");
    // Parameters: from, to, count, indices, gathered, bits.
    for storage in STORAGES {
        for lanes in LANES {
            let mut b = FunctionBuilder::new(name(storage, lanes), FunctionKind::Kernel, 6);
            let (ty, bits) = (Type::Vec { elem: storage.elem(), lanes }, storage.elem().bits());
            let count = b.param(2);
            let mask = b.inst(Inst::MaskFirst { ty: Type::Mask { bits, lanes }, count });
            let addr = Addr::at(b.param(0));
            let loaded = b.inst(Inst::Load { ty, storage, addr, mask: Some(mask) });
            let addr = Addr::at(b.param(1));
            b.store(storage, addr, loaded, Some(mask));
            let narrow = Type::Mask { bits: 32, lanes };
            let index_mask = b.inst(Inst::MaskResize { ty: narrow, mask });
            let addr = Addr::at(b.param(3));
            let index = b.inst(Inst::Load {
                ty: Type::Vec { elem: Elem::I32, lanes },
                storage: Storage::I32,
                addr,
                mask: Some(index_mask),
            });
            let addr = Addr::at(b.param(0));
            let gathered = b.inst(Inst::Gather { ty, storage, addr, index, mask: Some(mask) });
            let addr = Addr::at(b.param(4));
            b.store(storage, addr, gathered, Some(mask));
            let held = b.inst(Inst::MaskBits(mask));
            let (width, addr) = (IntWidth::I64, Addr::at(b.param(5)));
            b.push(Stmt::IntStore { width, addr, value: held });
            module.functions.push(b.finish());
        }
    }
    for backend in backends() {
        let code = compile(&module, &*backend).unwrap();
        for storage in STORAGES {
            for lanes in LANES {
                let kernel = code.kernel(&name(storage, lanes)).unwrap();
                let counts = (0..=i64::from(lanes)).chain([-1, i64::MIN, i64::MAX, 1 << 32, 17]);
                for count in counts {
                    let n = count.clamp(0, i64::from(lanes)) as usize;
                    let values: Vec<u64> = (0..n as u64).map(|i| 0x3c + i).collect();
                    let reversed: Vec<u64> = (0..n as u64).rev().collect();
                    let from = Array::new(storage, &values);
                    let to = [(); 2].map(|()| Array::new(storage, &vec![0x11; n]));
                    let indices = Array::new(Storage::I32, &reversed);
                    let bits = Array::new(Storage::I64, &[u64::MAX]);
                    let args = [&from, &to[0], &indices, &to[1], &bits].map(Array::address);
                    call(kernel, &[args[0], args[1], count, args[2], args[3], args[4]]);
                    let backwards: Vec<u64> = values.iter().rev().copied().collect();
                    assert_eq!(to[0].elements(), values, "{storage:?} {lanes} {count}");
                    assert_eq!(to[1].elements(), backwards, "{storage:?} {lanes} {count}");
                    assert_eq!(bits.elements(), [(1 << n) - 1], "{storage:?} {lanes} {count}");
                }
            }
        }
    }
}

/// Masks with holes: lanes that are off load as zero and are not stored.
#[test]
fn masks_with_holes() {
    let mut module = Module::default();
    let name = |elem, lanes| format!("{elem:?} {lanes}");
    for elem in ELEMS {
        for lanes in LANES {
            let mut b = FunctionBuilder::new(name(elem, lanes), FunctionKind::Kernel, 4);
            let (ty, storage) = (Type::Vec { elem, lanes }, Storage::from(elem));
            let selector =
                Type::Vec { elem: if elem.bits() == 32 { Elem::I32 } else { Elem::I64 }, lanes };
            let Type::Vec { elem: int, .. } = selector else { unreachable!() };
            let addr = Addr::at(b.param(0));
            let wanted = b.inst(Inst::Load { ty: selector, storage: int.into(), addr, mask: None });
            let zero = b.int_lanes(selector, 0);
            let mask = b.inst(Inst::Compare(Compare::Ne, wanted, zero));
            let addr = Addr::at(b.param(1));
            let loaded = b.inst(Inst::Load { ty, storage, addr, mask: Some(mask) });
            let (all, some) = (Addr::at(b.param(2)), Addr::at(b.param(3)));
            b.store(storage, all, loaded, None);
            b.store(storage, some, loaded, Some(mask));
            module.functions.push(b.finish());
        }
    }
    for backend in backends() {
        let code = compile(&module, &*backend).unwrap();
        let mut rng = dlc_harness::rng::Rng::new(5);
        for elem in ELEMS {
            for lanes in LANES {
                for _ in 0..40 {
                    let int = if elem.bits() == 32 { Storage::I32 } else { Storage::I64 };
                    let wanted: Vec<u64> = (0..lanes).map(|_| rng.bits() & 1).collect();
                    let values: Vec<u64> = (0..u64::from(lanes)).map(|lane| 100 + lane).collect();
                    let arrays = [
                        Array::new(int, &wanted),
                        Array::new(elem.into(), &values),
                        Array::new(elem.into(), &vec![7; values.len()]),
                        Array::new(elem.into(), &vec![7; values.len()]),
                    ];
                    let args: Vec<i64> = arrays.iter().map(Array::address).collect();
                    call(code.kernel(&name(elem, lanes)).unwrap(), &args);
                    let pick = |off: u64| -> Vec<u64> {
                        let one = |(&wanted, &value)| if wanted == 1 { value } else { off };
                        wanted.iter().zip(&values).map(one).collect()
                    };
                    assert_eq!(arrays[2].elements(), pick(0), "{elem:?} {lanes} {wanted:?}");
                    assert_eq!(arrays[3].elements(), pick(7), "{elem:?} {lanes} {wanted:?}");
                }
            }
        }
    }
}
