//! Code in memory: segments and barriers, sharing of equal functions, protection and release of memory.

mod support;

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dlc_abi::{BARRIER_OK, ErrorSlot, STATUS_BAD_INDEX, STATUS_CANCELLED, STATUS_OK, StepContext};
use dlc_codegen::{Backend, CraneliftBackend, JitCode, compile_jit};
use dlc_ir::vector::{
    Addr, Elem, Function, FunctionBuilder, FunctionKind, Inst, IntOp, IntWidth, Module, Stmt,
    Storage, Type, VecBinary,
};

const F32X16: Type = Type::Vec { elem: Elem::F32, lanes: 16 };

/// `y[i] += addend` for 16 elements; arguments: the address of y.
fn add_kernel(name: &str, addend: f64) -> Function {
    let mut b = FunctionBuilder::new(name, FunctionKind::Kernel, 1);
    let addr = Addr::at(b.param(0));
    let y = b.inst(Inst::Load { ty: F32X16, storage: Storage::F32, addr, mask: None });
    let addend = b.float(F32X16, addend);
    let sum = b.binary(VecBinary::Add, y, addend);
    b.store(Storage::F32, addr, sum, None);
    b.finish()
}

/// Calls a kernel for each of `rows` rows; arguments: the address of y, rows.
fn rows_phase(name: &str, kernel: dlc_ir::vector::FuncId) -> Function {
    let mut b = FunctionBuilder::new(name, FunctionKind::Phase, 2);
    let (y, rows) = (b.param(0), b.param(1));
    b.for_loop(rows, &[], |b, row, _| {
        let offset = b.imul_const(row, 64);
        let at = b.iadd(y, offset);
        b.push(Stmt::Call { func: kernel, args: vec![at] });
        vec![]
    });
    b.finish()
}

/// A segment over buffer 0: part 0 runs phase `first`, all wait, part 0 runs `second`; in a loop if it has more than one round.
fn two_phase_module(rounds: i64) -> Module {
    let mut module = Module::default();
    let one = module.functions.push(add_kernel("add_one", 1.0));
    let two = module.functions.push(add_kernel("add_two", 2.0));
    let first = module.functions.push(rows_phase("first", one));
    let second = module.functions.push(rows_phase("second", two));
    let mut b = FunctionBuilder::new("step", FunctionKind::Segment, 3);
    let (context, part) = (b.param(0), b.param(1));
    let buffers = Addr::offset(context, StepContext::OFFSET_BUFFERS);
    let buffers = b.inst(Inst::IntLoad(IntWidth::I64, buffers));
    let y = b.inst(Inst::IntLoad(IntWidth::I64, Addr::at(buffers)));
    let batch = Addr::offset(context, StepContext::OFFSET_BATCH);
    let batch = b.inst(Inst::IntLoad(IntWidth::I64, batch));
    let zero = b.int(0);
    let is_first = b.int_op(IntOp::Equal, part, zero);
    let round = |b: &mut FunctionBuilder| {
        b.if_nonzero(is_first, |b| b.push(Stmt::Call { func: first, args: vec![y, batch] }));
        b.push(Stmt::Barrier);
        b.if_nonzero(is_first, |b| b.push(Stmt::Call { func: second, args: vec![y, batch] }));
    };
    if rounds == 1 {
        round(&mut b);
    } else {
        let rounds = b.int(rounds);
        b.for_loop(rounds, &[], |b, _, _| {
            round(b);
            vec![]
        });
    }
    module.functions.push(b.finish());
    module
}

fn jit(module: &Module) -> Arc<JitCode> {
    let backend = CraneliftBackend::host().unwrap();
    compile_jit(module, &backend).unwrap()
}

/// What the barrier of the test sees.
struct Waits {
    /// What it answers from the wait of this number on; [`BARRIER_OK`] before.
    answer: (i64, i32),
    n_waits: AtomicI64,
    sum_of_parts: AtomicI64,
}

unsafe extern "C" fn barrier(context: *const StepContext, part: i64) -> i32 {
    // SAFETY: the tests below pass a context whose barrier data is a `Waits`.
    let waits = unsafe { &*((*context).barrier_data as *const Waits) };
    waits.sum_of_parts.fetch_add(part + 1, Ordering::Relaxed);
    let wait = waits.n_waits.fetch_add(1, Ordering::Relaxed);
    if wait >= waits.answer.0 { waits.answer.1 } else { BARRIER_OK }
}

/// Runs one part of `step` over `y`; returns its status and what the barrier saw.
fn run_step(
    code: &JitCode,
    y: &mut [f32],
    part: i64,
    answer: (i64, i32),
    slot_status: i64,
) -> (i32, i64) {
    let waits = Waits { answer, n_waits: AtomicI64::new(0), sum_of_parts: AtomicI64::new(0) };
    let mut error = ErrorSlot { status: slot_status, ..ErrorSlot::default() };
    let buffers = [y.as_mut_ptr().cast::<u8>()];
    let context = StepContext {
        buffers: buffers.as_ptr(),
        batch: (y.len() / 16) as i64,
        barrier,
        barrier_data: (&raw const waits).cast_mut().cast::<c_void>(),
        scratch: std::ptr::null_mut(),
        scratch_stride: 0,
        error: &mut error,
    };
    let step = code.segment("step").unwrap();
    // SAFETY: the code was compiled from a segment, reads one buffer of `batch` rows of 16 floats, and lives in `code`.
    let status = unsafe { step(&context, part, 2) };
    (status, waits.sum_of_parts.into_inner())
}

#[test]
fn segments_wait_and_report() {
    for backend in support::backends() {
        waits_and_reports(backend.as_ref());
    }
}

fn waits_and_reports(backend: &dyn Backend) {
    let code = compile_jit(&two_phase_module(1), backend).unwrap();
    let mut y = vec![0.5f32; 48];
    assert_eq!(run_step(&code, &mut y, 0, (0, BARRIER_OK), 0), (STATUS_OK, 1));
    assert!(y.iter().all(|&value| value == 3.5), "{y:?}");
    // Another part calls nothing here, but waits with its own number.
    assert_eq!(run_step(&code, &mut y, 1, (0, BARRIER_OK), 0), (STATUS_OK, 2));
    assert!(y.iter().all(|&value| value == 3.5), "{y:?}");
    // A barrier that refuses ends the segment before the second phase.
    assert_eq!(run_step(&code, &mut y, 0, (0, 7), 0), (STATUS_CANCELLED, 1));
    assert!(y.iter().all(|&value| value == 4.5), "{y:?}");
    // The status comes from the error slot.
    let bad = i64::from(STATUS_BAD_INDEX);
    assert_eq!(run_step(&code, &mut y, 1, (0, BARRIER_OK), bad), (STATUS_BAD_INDEX, 2));
}

#[test]
fn a_barrier_in_a_loop_ends_the_segment_at_once() {
    for backend in support::backends() {
        let code = compile_jit(&two_phase_module(4), backend.as_ref()).unwrap();
        let mut y = vec![0.0f32; 48];
        assert_eq!(run_step(&code, &mut y, 0, (0, BARRIER_OK), 0), (STATUS_OK, 4));
        assert!(y.iter().all(|&value| value == 12.0), "{}: {y:?}", backend.name());
        // The third wait of four is refused: three of the first phase and two of the second have run.
        assert_eq!(run_step(&code, &mut y, 0, (2, 7), 0), (STATUS_CANCELLED, 3));
        assert!(y.iter().all(|&value| value == 19.0), "{}: {y:?}", backend.name());
    }
}

/// More values live across calls than a callee restores registers, in a loop, one of them carried.
#[test]
fn values_outlive_calls() {
    const VALUES: usize = 20;
    const ROUNDS: i64 = 3;
    let mut module = Module::default();
    let mut b = FunctionBuilder::new("put", FunctionKind::Kernel, 2);
    let (addr, value) = (Addr::at(b.param(0)), b.param(1));
    b.push(Stmt::IntStore { width: IntWidth::I64, addr, value });
    let put = module.functions.push(b.finish());
    let mut b = FunctionBuilder::new("phase", FunctionKind::Phase, 2 + VALUES);
    let (out, rounds) = (b.param(0), b.param(1));
    let values: Vec<_> = (0..VALUES).map(|at| b.param(2 + at)).collect();
    let zero = b.int(0);
    let total = b.for_loop(rounds, &[zero], |b, round, carried| {
        let mut total = carried[0];
        let offset = b.imul_const(round, 8 * VALUES as i64);
        for (at, &value) in values.iter().enumerate() {
            let to = b.iadd(out, offset);
            let to = b.iadd_const(to, 8 * at as i64);
            let value = b.iadd(value, round);
            b.push(Stmt::Call { func: put, args: vec![to, value] });
            total = b.iadd(total, value);
        }
        vec![total]
    });
    let end = b.iadd_const(out, 8 * VALUES as i64 * ROUNDS);
    b.push(Stmt::Call { func: put, args: vec![end, total[0]] });
    module.functions.push(b.finish());
    let given: Vec<i64> = (0..VALUES as i64).map(|at| 1000 * at * at - 7).collect();
    let mut expected: Vec<i64> =
        (0..ROUNDS).flat_map(|round| given.iter().map(move |value| value + round)).collect();
    expected.push(expected.iter().sum());
    for backend in support::backends() {
        let code = compile_jit(&module, backend.as_ref()).unwrap();
        let mut found = vec![0i64; expected.len()];
        let mut args = vec![found.as_mut_ptr() as i64, ROUNDS];
        args.extend(&given);
        // SAFETY: the phase writes `ROUNDS` times its number of values, and one more, which `found` has room for.
        unsafe { code.kernel("phase").unwrap()(args.as_ptr()) };
        assert_eq!(found, expected, "{}", backend.name());
    }
}

#[test]
fn names_find_functions_of_their_kind_only() {
    let code = jit(&two_phase_module(1));
    assert!(code.segment("step").is_some() && code.kernel("step").is_none());
    assert!(code.kernel("add_one").is_some() && code.segment("add_one").is_none());
    assert!(code.kernel("second").is_some());
    assert!(code.kernel("third").is_none());
}

#[test]
fn functions_of_equal_content_share_code() {
    let mut module = Module::default();
    let a = module.functions.push(add_kernel("a", 1.0));
    let b = module.functions.push(add_kernel("b", 1.0));
    let c = module.functions.push(add_kernel("c", 3.0));
    for (name, kernel) in [("pa", a), ("pb", b), ("pc", c)] {
        module.functions.push(rows_phase(name, kernel));
    }
    let code = jit(&module);
    // b is a, and so the phase that calls b is the phase that calls a.
    assert_eq!((code.stats().n_functions, code.stats().n_compiled), (6, 4));
    assert_eq!(code.kernel("a").unwrap() as usize, code.kernel("b").unwrap() as usize);
    assert_eq!(code.kernel("pa").unwrap() as usize, code.kernel("pb").unwrap() as usize);
    assert_ne!(code.kernel("pa").unwrap() as usize, code.kernel("pc").unwrap() as usize);
    let mut y = [0f32; 32];
    for (name, expected) in [("pa", 1.0), ("pb", 2.0), ("pc", 5.0)] {
        let args = [y.as_mut_ptr() as i64, 2];
        // SAFETY: the phase takes an address and a number of rows of 16 floats, which `y` has.
        unsafe { code.kernel(name).unwrap()(args.as_ptr()) };
        assert_eq!(y, [expected; 32], "{name}");
    }
}

/// Many kernels, so that several threads compile; each must still find its own code.
#[test]
fn parallel_compilation_keeps_functions_apart() {
    let mut module = Module::default();
    for i in 0..200 {
        module.functions.push(add_kernel(&format!("k{i}"), f64::from(i)));
    }
    let code = jit(&module);
    assert_eq!(code.stats().n_compiled, 200);
    for i in (0..200).rev() {
        let mut y = [0.25f32; 16];
        let args = [y.as_mut_ptr() as i64];
        // SAFETY: the kernel takes the address of 16 floats.
        unsafe { code.kernel(&format!("k{i}")).unwrap()(args.as_ptr()) };
        assert_eq!(y, [0.25 + i as f32; 16]);
    }
}

#[cfg(target_os = "linux")]
mod memory {
    use super::*;

    #[test]
    fn no_mapping_is_writable_and_executable() {
        let code = jit(&two_phase_module(1));
        let address = code.segment("step").unwrap() as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut found = false;
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            assert!(!(rights.contains('w') && rights.contains('x')), "{line}");
            let (from, to) = range.split_once('-').unwrap();
            let from = usize::from_str_radix(from, 16).unwrap();
            let to = usize::from_str_radix(to, 16).unwrap();
            if (from..to).contains(&address) {
                assert_eq!(rights, "r-xp", "{line}");
                found = true;
            }
        }
        assert!(found, "the segment lies in no mapping");
    }

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    fn mappings() -> usize {
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
    }

    /// A module holds at least one page, so that 2,000 leaked ones would show as 8 MB and 2,000 mappings.
    #[test]
    fn memory_is_given_back() {
        let backend = CraneliftBackend::host().unwrap();
        let mut module = Module::default();
        module.functions.push(add_kernel("k", 1.0));
        let round = || {
            for _ in 0..1000 {
                drop(compile_jit(&module, &backend).unwrap());
            }
        };
        round();
        let (bytes, maps) = (resident_bytes(), mappings());
        round();
        round();
        let (grown, more_maps) =
            (resident_bytes().saturating_sub(bytes), mappings().saturating_sub(maps));
        assert!(grown < 4 << 20, "{grown} bytes more after 2,000 modules");
        assert!(more_maps < 200, "{more_maps} mappings more after 2,000 modules");
    }
}
