//! Random kernels: split into parts and run by the interpreter, and as machine code of every back end, always the bits that
//! the interpreter makes of the kernel as it is.
//!
//! `DLC_RANDOM_KERNELS` says how many seeds to try.

use dlc_codegen::{CodegenError, legalize};
use dlc_harness::kernel_case::KernelCase;
use dlc_harness::kernel_gen::{KernelConfig, generate_kernel};
use dlc_ir::vector::Memory;

use crate::support::{backends, call, compile};

/// Kernels of several shapes; each seed gives one of each.
fn configs() -> Vec<KernelConfig> {
    let small = KernelConfig { statements: 8, math: false, ..KernelConfig::default() };
    let wide = KernelConfig { statements: 12, lanes: vec![8, 16], ..KernelConfig::default() };
    vec![small, wide, KernelConfig::default()]
}

fn for_each_case(first: u64, check: impl Fn(&KernelCase, &Memory)) {
    let n = std::env::var("DLC_RANDOM_KERNELS").map_or(100, |n| n.parse().expect("a number"));
    for seed in first..first + n {
        for config in configs() {
            let case = generate_kernel(seed, &config);
            let expected = case.interpret().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            check(&case, &expected);
        }
    }
}

#[test]
fn splitting_into_parts_changes_no_bit() {
    for_each_case(1_000_000, |case, expected| {
        for register_bytes in [16, 32, 64] {
            let mut split = case.clone();
            let function = &case.module.functions[case.func];
            split.module.functions[case.func] = legalize(function, register_bytes).into_owned();
            let got = split.interpret().unwrap_or_else(|error| {
                panic!("seed {} in {register_bytes} bytes: {error}", case.seed)
            });
            case.compare(expected, &got)
                .unwrap_or_else(|what| panic!("{what} in {register_bytes} bytes"));
        }
    });
}

#[test]
fn machine_code_makes_the_bits_of_the_interpreter() {
    let backends = backends();
    for_each_case(2_000_000, |case, expected| {
        for backend in &backends {
            let code = match compile(&case.module, &**backend) {
                Ok(code) => code,
                // Kernels with a fused multiply-add, on the level that has none.
                Err(CodegenError::Unsupported { .. }) => continue,
                Err(error) => panic!("seed {}: {error}", case.seed),
            };
            let name = &case.module.functions[case.func].name;
            let (memory, args) = case.lay_out(Memory::native());
            call(code.kernel(name).expect("compiled above"), &args);
            assert!(memory.check_guards().is_empty(), "seed {}: {}", case.seed, backend.name());
            case.compare(expected, &memory)
                .unwrap_or_else(|what| panic!("{}: {what}", backend.name()));
        }
    });
}
