use super::*;
use crate::entity::EntityRef;
use crate::vector::parse;

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

/// Runs the last function of a text on one region, whose address is the first argument.
fn run_on(text: &str, bytes: &[u8], args: &[i64]) -> Result<Vec<u8>, InterpretError> {
    let module = parse(text).expect("well-formed");
    let mut memory = Memory::new();
    let region = memory.add("data", bytes);
    let mut all = vec![memory.base(region)];
    all.extend(args);
    let mut interpreter = Interpreter::new(&module).expect("verified");
    let func = FuncId::from_index(module.functions.len() - 1);
    interpreter.run(func, &all, &mut memory)?;
    Ok(memory.bytes(region).to_vec())
}

#[test]
fn a_loop_with_carried_lanes_and_a_masked_tail() {
    // Sums n floats by eights into lanes, then folds them, and stores the sum in front of them.
    let text = "\
kernel sum(v0, v1) {
  v2: f32x8 = const 0.0
  v3: int = iconst 7
  v4: int = iadd v1, v3
  v5: int = iconst 8
  v6: int = idiv v4, v5
  loop v7 in 0..v6 carry v8: f32x8 = v2 -> v14, v9: int = v1 -> v15 {
    v10: m32x8 = mask_first v9
    v11: int = imul v7, v5
    v12: f32x8 = load.f32 [v0 + v11*4 + 4] mask v10
    v13: f32x8 = add v8, v12
    v16: int = isub v9, v5
    next v13, v16
  }
  v17: f32x1 = fold.add v14
  store.f32 [v0], v17
}
";
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let bytes = run_on(text, &floats(&values), &[11]).expect("all accesses are inside");
    assert_eq!(read_floats(&bytes)[0], 66.0);
    let error = run_on(text, &floats(&values), &[12]).expect_err("the twelfth float is outside");
    assert_eq!(error.function, "sum");
    assert!(error.statement.starts_with("v12: f32x8 = load.f32"), "{}", error.statement);
    assert!(matches!(error.fault, Fault::Access(_)), "{error}");
}

#[test]
fn carried_values_change_places_at_once() {
    let text = "\
kernel swap(v0, v1) {
  v2: f32x1 = broadcast.f32 [v0]
  v3: f32x1 = broadcast.f32 [v0 + 4]
  loop v4 in 0..v1 carry v5: f32x1 = v2 -> v7, v6: f32x1 = v3 -> v8 {
    next v6, v5
  }
  store.f32 [v0], v7
  store.f32 [v0 + 4], v8
}
";
    for trip in -1..5 {
        let bytes = run_on(text, &floats(&[1.0, 2.0]), &[trip]).expect("runs");
        let expected = if trip.max(0) % 2 == 1 { [2.0, 1.0] } else { [1.0, 2.0] };
        assert_eq!(read_floats(&bytes), expected, "{trip} iterations");
    }
}

#[test]
fn undefined_operations_are_faults() {
    let cases = [
        ("v1: int = iconst 0\nv2: int = idiv v1, v1", Fault::Division(0, 0)),
        ("v1: int = iconst 64\nv2: int = ishl v1, v1", Fault::ShiftRange(64)),
        ("v1: f32x2 = const 3e9\nv2: i32x2 = convert v1", Fault::ConvertRange(3e9_f32.into())),
        (
            "v1: f32x1 = const 1.0\nv2: i32x1 = const -253\nv3: f32x1 = scale_pow2 v1, v2",
            Fault::ScaleRange(-253),
        ),
    ];
    for (body, fault) in cases {
        let error = run_on(&format!("kernel k(v0) {{\n{body}\n}}\n"), &[], &[]).expect_err(body);
        assert_eq!(error.fault, fault);
    }
}

#[test]
fn folds_halve_the_lanes_and_keep_nan() {
    let text = |op: &str| {
        format!(
            "kernel k(v0) {{\nv1: f32x4 = load.f32 [v0]\nv2: f32x1 = fold.{op} v1\nstore.f32 [v0], v2\n}}\n"
        )
    };
    let run = |op: &str, values: [f32; 4]| {
        read_floats(&run_on(&text(op), &floats(&values), &[]).expect("runs"))[0]
    };
    // (a + c) + (b + d): another order would lose the small terms.
    assert_eq!(run("add", [1e8, 1.0, -1e8, 1.0]), 2.0);
    assert_eq!(run("max", [1.0, 4.0, 3.0, 2.0]), 4.0);
    assert!(run("max", [1.0, f32::NAN, 3.0, 2.0]).is_nan());
    assert!(run("min", [-0.0, 1.0, 0.0, 1.0]).is_sign_negative());
}

#[test]
fn narrow_storage_widens_and_rounds() {
    let text = "\
kernel k(v0) {
  v1: i32x2 = load.i8 [v0]
  v2: i32x2 = load.u8 [v0]
  store.i32 [v0 + 8], v1
  store.i32 [v0 + 16], v2
  v3: f32x2 = load.bf16 [v0 + 4]
  store.f16 [v0 + 24], v3
  store.u8 [v0 + 28], v1
}
";
    let mut bytes = vec![0; 32];
    bytes[..8].copy_from_slice(&[0xff, 0x7f, 0, 0, 0x80, 0x3f, 0xc0, 0x40]);
    let bytes = run_on(text, &bytes, &[]).expect("runs");
    let int = |at: usize| i32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!([int(8), int(12), int(16), int(20)], [-1, 127, 255, 127]);
    assert_eq!(bytes[24..32], [0x00, 0x3c, 0x00, 0x46, 0xff, 0x7f, 0, 0]);
}

/// Each part adds its number to its own slot; after the barrier it adds the slot of the next part to its own output.
fn ring(with_barrier: bool) -> String {
    format!(
        "\
phase first(v0, v1) {{
  v2: int = iload.i64 [v0]
  istore.i64 [v2 + v1*8], v1
}}

phase second(v0, v1, v2) {{
  v3: int = iload.i64 [v0]
  v4: int = iload.i64 [v0 + 8]
  v5: int = iconst 1
  v6: int = iadd v1, v5
  v7: int = irem v6, v2
  v8: int = iload.i64 [v3 + v7*8]
  istore.i64 [v4 + v1*8], v8
}}

segment step(v0, v1, v2) {{
  v3: int = iload.i64 [v0]
  call first(v3, v1)
{}  call second(v3, v1, v2)
}}
",
        if with_barrier { "  barrier\n" } else { "" }
    )
}

#[test]
fn parts_meet_at_barriers_and_races_are_found() {
    let parts = 5;
    for (with_barrier, seed) in [(true, 1), (true, 2), (false, 3)] {
        let module = parse(&ring(with_barrier)).expect("well-formed");
        let mut memory = Memory::new();
        let a = memory.add_zeros("a", 8 * parts);
        let b = memory.add_zeros("b", 8 * parts);
        let buffers = [memory.base(a), memory.base(b)];
        let context = lay_out_context(&mut memory, &buffers, 1, 64, parts);
        let mut interpreter = Interpreter::new(&module).expect("verified");
        let func = FuncId::from_index(2);
        let options = SegmentOptions { parts, seed, check_races: true };
        let result = interpreter.run_segment(func, context.context, &mut memory, options);
        if with_barrier {
            assert_eq!(result, Ok(dlc_abi::STATUS_OK));
            let out: Vec<u8> = memory.bytes(b).iter().copied().step_by(8).collect();
            assert_eq!(out, [1, 2, 3, 4, 0]);
        } else {
            let error = result.expect_err("a part reads what another writes");
            assert!(error.to_string().contains("race: part"), "{error}");
            assert!(matches!(error.function.as_str(), "first" | "second"));
        }
    }
}

#[test]
fn a_noted_error_is_the_status() {
    let text = "\
segment step(v0, v1, v2) {
  v3: int = iload.i64 [v0 + 48]
  v4: int = iconst 1
  istore.i64 [v3], v4
}
";
    let module = parse(text).expect("well-formed");
    let mut memory = Memory::new();
    let context = lay_out_context(&mut memory, &[], 0, 0, 3);
    let mut interpreter = Interpreter::new(&module).expect("verified");
    let options = SegmentOptions { parts: 3, seed: 0, check_races: true };
    let status =
        interpreter.run_segment(FuncId::from_index(0), context.context, &mut memory, options);
    assert_eq!(status, Ok(dlc_abi::STATUS_BAD_INDEX));
}

/// Stands for compiled code: doubles a float instead of running the kernel.
struct Doubler(usize);

impl KernelRunner for Doubler {
    fn run(
        &mut self,
        module: &Module,
        func: FuncId,
        args: &[i64],
        memory: &mut Memory,
    ) -> Result<(), String> {
        if module.functions[func].name != "k" {
            return Err("unknown kernel".to_owned());
        }
        self.0 += 1;
        let bytes = memory.write(args[0], 4).map_err(|error| error.to_string())?;
        let value = read_floats(bytes)[0] * 2.0;
        bytes.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}

#[test]
fn kernels_can_be_run_elsewhere() {
    let text = "kernel k(v0) {\n}\nphase p(v0, v1) {\nloop v2 in 0..v1 {\ncall k(v0)\n}\n}\n";
    let module = parse(text).expect("well-formed");
    let mut memory = Memory::new();
    let region = memory.add("x", &floats(&[1.5]));
    let args = [memory.base(region), 3];
    let mut doubler = Doubler(0);
    let mut interpreter = Interpreter::new(&module).expect("verified").with_runner(&mut doubler);
    interpreter.run(FuncId::from_index(1), &args, &mut memory).expect("runs");
    drop(interpreter);
    assert_eq!(doubler.0, 3);
    assert_eq!(read_floats(memory.bytes(region)), [12.0]);
}

/// Both instantiations of the transcendental functions give the same bits, for every number of lanes.
#[test]
fn emitted_functions_equal_evaluated_ones() {
    use crate::math::{UnaryMath, emit, eval_f32, eval_f64};
    use crate::scalar::Real;
    use crate::vector::FunctionBuilder;

    let special =
        [0.0, -0.0, 1.0, -1.0, 0.3, -0.3, 0.9, 2.5, -7.25, 88.0, -103.5, 1e-40, 1e5, 1e30];
    let limits = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-310, 709.0, -745.0];
    let values: Vec<f64> = special.into_iter().chain(limits).cycle().take(64).collect();
    for fun in UnaryMath::ALL {
        for elem in [Elem::F32, Elem::F64] {
            for lanes in [1, 2, 4, 8, 16] {
                let mut builder = FunctionBuilder::new("f", FunctionKind::Kernel, 2);
                let (at, trip) = (builder.param(0), builder.param(1));
                let ty = Type::Vec { elem, lanes };
                builder.for_loop(trip, &[at], |builder, _, carried| {
                    let addr = Addr::at(carried[0]);
                    let storage = elem.into();
                    let x = builder.inst(Inst::Load { ty, storage, addr, mask: None });
                    let y = emit(builder, fun, x);
                    builder.store(storage, addr, y, None);
                    vec![builder.iadd_const(carried[0], i64::from(lanes) * elem.bytes())]
                });
                let mut module = Module::default();
                let func = module.functions.push(builder.finish());
                let mut memory = Memory::new();
                let single = elem == Elem::F32;
                let bytes: Vec<u8> = if single {
                    values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect()
                } else {
                    values.iter().flat_map(|x| x.to_le_bytes()).collect()
                };
                let region = memory.add("x", &bytes);
                let args = [memory.base(region), (values.len() / usize::from(lanes)) as i64];
                let mut interpreter = Interpreter::new(&module).expect("emitted code is valid");
                interpreter.run(func, &args, &mut memory).expect("no operation is out of range");
                let size = elem.bytes() as usize;
                for (bytes, &x) in memory.bytes(region).chunks_exact(size).zip(&values) {
                    let mut wide = [0; 8];
                    wide[..size].copy_from_slice(bytes);
                    let got = u64::from_le_bytes(wide);
                    let (expected, is_nan) = if single {
                        let y = eval_f32(fun, x as f32);
                        (y.to_bits64(), y.is_nan() && f32::from_bits(got as u32).is_nan())
                    } else {
                        let y = eval_f64(fun, x);
                        (y.to_bits64(), y.is_nan() && f64::from_bits(got).is_nan())
                    };
                    assert!(
                        got == expected || is_nan,
                        "{} of {x:e} in {lanes} lanes of {elem:?}",
                        fun.name()
                    );
                }
            }
        }
    }
}
