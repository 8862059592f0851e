//! The inner loop of a product of matrices, as the wide back end emits it.

mod support;

use dlc_codegen::{Backend, WideBackend, compile_jit, listing};
use dlc_ir::vector::{
    Addr, Elem, Function, FunctionBuilder, FunctionKind, Inst, Module, Storage, Type, Val,
};
use support::{Array, call};

const VEC: Type = Type::Vec { elem: Elem::F32, lanes: 16 };

/// `c[mr][16 nv] = sum_k a[k][mr] * b[k][16 nv]` on packed operands; parameters a, b, c and the number of terms.
fn gemm(mr: usize, nv: usize) -> Function {
    let mut b = FunctionBuilder::new("gemm", FunctionKind::Kernel, 4);
    let (a_ptr, b_ptr, c_ptr, terms) = (b.param(0), b.param(1), b.param(2), b.param(3));
    let zero = b.float(VEC, 0.0);
    let mut init = vec![a_ptr, b_ptr];
    init.extend(std::iter::repeat_n(zero, mr * nv));
    let results = b.for_loop(terms, &init, |b, _, carried| {
        let (a_ptr, b_ptr) = (carried[0], carried[1]);
        let columns: Vec<Val> = (0..nv)
            .map(|j| {
                let addr = Addr::offset(b_ptr, j as i32 * 64);
                b.inst(Inst::Load { ty: VEC, storage: Storage::F32, addr, mask: None })
            })
            .collect();
        let mut next =
            vec![b.iadd_const(a_ptr, mr as i64 * 4), b.iadd_const(b_ptr, nv as i64 * 64)];
        for i in 0..mr {
            let addr = Addr::offset(a_ptr, i as i32 * 4);
            let a = b.inst(Inst::Broadcast { ty: VEC, storage: Storage::F32, addr });
            for (j, &column) in columns.iter().enumerate() {
                let c = carried[2 + i * nv + j];
                next.push(b.inst(Inst::Fma { a, b: column, c, negate: false }));
            }
        }
        next
    });
    for (at, &value) in results[2..].iter().enumerate() {
        b.store(Storage::F32, Addr::offset(c_ptr, at as i32 * 64), value, None);
    }
    b.finish()
}

/// The mnemonics of the innermost loop, which lies between a branch back and its target.
fn inner_loop(backend: WideBackend, function: &Function) -> Vec<String> {
    let compiled = backend.compile(&Module::default(), function).unwrap();
    let lines = listing(&compiled.bytes);
    let (end, start) = lines
        .iter()
        .enumerate()
        .find_map(|(at, line)| {
            let (jump, target) = line.text.split_once(' ')?;
            let target = usize::from_str_radix(target.trim().trim_start_matches("0x"), 16).ok()?;
            (jump.starts_with('j') && target < line.offset).then_some((at, target))
        })
        .expect("the kernel has a loop");
    let first =
        lines.iter().position(|line| line.offset == start).expect("loops start at an instruction");
    lines[first..=end].iter().map(|line| line.text.clone()).collect()
}

fn count(lines: &[String], mnemonic: &str) -> usize {
    lines.iter().filter(|line| line.split(' ').next() == Some(mnemonic)).count()
}

#[test]
fn inner_loops_hold_nothing_but_their_work() {
    // 6 x 16: twelve accumulators, two columns, broadcasts: fifteen registers of AVX2.
    let lines = inner_loop(WideBackend::avx2(), &gemm(6, 1));
    assert_eq!(count(&lines, "vmovups"), 2, "{lines:#?}");
    assert_eq!(count(&lines, "vbroadcastss"), 6, "{lines:#?}");
    assert_eq!(count(&lines, "vfmadd231ps"), 12, "{lines:#?}");
    assert_eq!(lines.len(), 2 + 6 + 12 + 2 + 2, "{lines:#?}");
    // 6 x 64: 24 accumulators, four columns, broadcasts: 29 registers of AVX-512.
    let lines = inner_loop(WideBackend::avx512(), &gemm(6, 4));
    assert_eq!(count(&lines, "vmovups"), 4, "{lines:#?}");
    assert_eq!(count(&lines, "vbroadcastss"), 6, "{lines:#?}");
    assert_eq!(count(&lines, "vfmadd231ps"), 24, "{lines:#?}");
    assert_eq!(lines.len(), 4 + 6 + 24 + 2 + 2, "{lines:#?}");
    // With one column each element of a serves one product, so it becomes that product's memory operand.
    let lines = inner_loop(WideBackend::avx512(), &gemm(8, 1));
    assert_eq!(count(&lines, "vfmadd231ps"), 8, "{lines:#?}");
    assert_eq!(lines.len(), 1 + 8 + 2 + 2, "{lines:#?}");
}

#[test]
fn products_are_right_and_spilled_accumulators_too() {
    if !WideBackend::avx2().runs_here() {
        return;
    }
    let terms = 37;
    for (mr, nv) in [(1, 1), (6, 1), (4, 4), (9, 3)] {
        let mut module = Module::default();
        module.functions.push(gemm(mr, nv));
        let code = compile_jit(&module, &WideBackend::avx2()).unwrap();
        let value = |i: usize| ((i * 7919 % 257) as f32 - 128.0) / 64.0;
        let a: Vec<f32> = (0..terms * mr).map(value).collect();
        let b: Vec<f32> = (0..terms * nv * 16).map(|i| value(i + 5)).collect();
        let bits =
            |values: &[f32]| values.iter().map(|v| u64::from(v.to_bits())).collect::<Vec<_>>();
        let (a_mem, b_mem) =
            (Array::new(Storage::F32, &bits(&a)), Array::new(Storage::F32, &bits(&b)));
        let c_mem = Array::new(Storage::F32, &vec![0; mr * nv * 16]);
        call(
            code.kernel("gemm").unwrap(),
            &[a_mem.address(), b_mem.address(), c_mem.address(), terms as i64],
        );
        for (at, &bits) in c_mem.elements().iter().enumerate() {
            let (row, column) = (at / (nv * 16), at % (nv * 16));
            let expected = (0..terms)
                .fold(0f32, |acc, k| a[k * mr + row].mul_add(b[k * nv * 16 + column], acc));
            assert_eq!(f32::from_bits(bits as u32), expected, "{mr}x{nv} at {row}, {column}");
        }
    }
}
