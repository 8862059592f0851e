//! A program that does nothing but fused multiply-adds, to measure what a processor can do at most.
//!
//! It goes through the same back end and the same runtime as the programs of models, so the share of the peak that a model
//! reaches compares like with like.

use crate::backend::Target;
use crate::error::DriverError;
use dlc_abi::{
    BufferDesc, BufferRole, Dim, ElemType, LoadedProgram, Manifest, NUMERICS_VERSION,
    NumericsClass, SegmentDesc, SegmentKind, StepContext,
};
use dlc_ir::target::Isa;
use dlc_ir::vector::{
    Addr, Elem, FunctionBuilder, FunctionKind, Inst, IntWidth, Module, Stmt, Storage, Type, Val,
    VecBinary,
};
use std::sync::Arc;

/// Rounds of a kernel call: a fraction of a millisecond, so that the best of many calls meets no other process.
const ROUNDS: i64 = 20_000;
/// How often the accumulators are updated in a round, so that the loop's own instructions do not count.
const UNROLL: usize = 2;
/// The most parts that may run the program together.
pub const MAX_PARTS: usize = 64;

/// The program, and the floating-point operations of one run of one part.
#[derive(Debug)]
pub struct Peak {
    /// Takes no inputs; each part writes a row of its output.
    pub program: LoadedProgram,
    /// A multiplication and an addition for each lane.
    pub flops_per_part: f64,
}

/// Compiles the program for a target. It has as many independent chains as registers allow, twelve of sixteen or 24 of 32, more
/// than the latency of the instruction times its throughput on any processor known.
///
/// # Errors
/// When the back end refuses it.
pub fn compile(target: Target) -> Result<Peak, DriverError> {
    let backend = target.backend()?;
    let desc = backend.target();
    let lanes = desc.lanes(4);
    let chains = match desc.isa {
        Isa::V128 | Isa::Avx2 => 12,
        Isa::Avx512 => 24,
    };
    let row_bytes = (chains * lanes * 4).next_multiple_of(64) as i64;
    let mut module = Module::default();
    let kernel = module.functions.push(kernel(lanes as u8, chains));
    let mut segment = FunctionBuilder::new("peak.forward", FunctionKind::Segment, 3);
    let (context, part) = (segment.param(0), segment.param(1));
    let buffers = segment
        .inst(Inst::IntLoad(IntWidth::I64, Addr::offset(context, StepContext::OFFSET_BUFFERS)));
    let output = segment.inst(Inst::IntLoad(IntWidth::I64, Addr::at(buffers)));
    let offset = segment.imul_const(part, row_bytes);
    let row = segment.iadd(output, offset);
    segment.push(Stmt::Call { func: kernel, args: vec![row] });
    module.functions.push(segment.finish());
    let manifest = Manifest {
        name: "peak".to_owned(),
        numerics: NUMERICS_VERSION,
        class: NumericsClass::Fused,
        max_batch: 1,
        shards: 1,
        window_of: None,
        buffers: vec![BufferDesc {
            name: "sums".to_owned(),
            role: BufferRole::Output,
            elem: ElemType::F32,
            shape: vec![Dim::fixed(MAX_PARTS as i64), Dim::fixed(row_bytes / 4)],
            bytes: row_bytes as u64 * MAX_PARTS as u64,
            arena_offset: None,
            table: None,
        }],
        segments: vec![SegmentDesc {
            symbol: "peak.forward".to_owned(),
            kind: SegmentKind::Forward,
            parallel: true,
        }],
        exchanges: Vec::new(),
        tables: Vec::new(),
        arena_bytes: 0,
        scratch_bytes: 0,
    };
    let (program, _) = dlc_codegen::load(&module, Arc::new(manifest), false, backend.as_ref())?;
    let flops_per_part = 2.0 * (lanes * chains * UNROLL) as f64 * ROUNDS as f64;
    Ok(Peak { program, flops_per_part })
}

/// `sum[j] += x * y`, over and over.
fn kernel(lanes: u8, chains: usize) -> dlc_ir::vector::Function {
    let mut b = FunctionBuilder::new("peak.kernel", FunctionKind::Kernel, 1);
    let row = b.param(0);
    let ty = Type::Vec { elem: Elem::F32, lanes };
    // The sums grow to a few dozen: no denormals, no infinities. The factors are computed, because a constant may be loaded anew for
    // every use, and loads have a peak of their own.
    let two = b.float(ty, 2.0);
    let (a, c) = (b.float(ty, 0.25), b.float(ty, 0.0005));
    let (x, y) = (b.binary(VecBinary::Mul, a, two), b.binary(VecBinary::Mul, c, two));
    let init: Vec<Val> = (0..chains).map(|_| b.float(ty, 0.0)).collect();
    let trip = b.int(ROUNDS);
    let sums = b.for_loop(trip, &init, |b, _, carried| {
        let mut sums = carried.to_vec();
        for _ in 0..UNROLL {
            for sum in &mut sums {
                *sum = b.inst(Inst::Fma { a: x, b: y, c: *sum, negate: false });
            }
        }
        sums
    });
    for (at, &sum) in sums.iter().enumerate() {
        let disp = (at * usize::from(lanes) * 4) as i32;
        b.store(Storage::F32, Addr::offset(row, disp), sum, None);
    }
    b.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_exec::{Gang, Memory, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions};

    #[test]
    fn every_part_adds_up_its_products() {
        for target in Target::ALL.into_iter().filter(|target| target.runs_here()) {
            let peak = compile(target).expect("plain code");
            let program = Program::load(peak.program).expect("a sound manifest");
            let layout = MemoryLayout::of(&[program.manifest()]).expect("nothing is kept");
            let memory = Memory::new(&layout).expect("small");
            let gang = Gang::new(2).expect("two threads");
            let options = WorkspaceOptions { parts: 2, ..WorkspaceOptions::default() };
            let mut workspace = Workspace::new(&program, &layout, options).expect("small");
            workspace.run(Persistent::Shared(&memory), 1, &gang, 0..1).expect("it runs");
            let mut expected = 0f32;
            for _ in 0..ROUNDS as usize * UNROLL {
                expected = 0.5f32.mul_add(0.001, expected);
            }
            let rows = workspace.output::<f32>("sums", 1).expect("an output");
            let row = rows.len() / MAX_PARTS;
            assert!(
                rows[..2 * row].iter().all(|&sum| sum == expected),
                "{} {expected}",
                target.name()
            );
            assert!(rows[2 * row..].iter().all(|&sum| sum == 0.0), "{}", target.name());
        }
    }
}
