//! Properties of vector IR over random kernels.

use std::collections::BTreeSet;

use dlc_harness::kernel_gen::{KernelConfig, generate_kernel};
use dlc_harness::kernel_mutations::{Mutation, break_function};
use dlc_harness::rng::Rng;
use dlc_ir::vector::{Interpreter, Memory, parse, verify};

const SEEDS: u64 = 200;

#[test]
fn generated_kernels_obey_the_laws_and_read_back() {
    for seed in 0..SEEDS {
        let case = generate_kernel(seed, &KernelConfig::default());
        if let Err(errors) = verify(&case.module) {
            panic!("seed {seed}: {}", errors[0]);
        }
        let text = case.module.to_string();
        let read = parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(read.to_string(), text, "seed {seed}");
        let renumbered: Vec<_> = case.module.functions.values().map(|f| f.renumbered()).collect();
        assert_eq!(read.functions.values().cloned().collect::<Vec<_>>(), renumbered, "seed {seed}");
    }
}

#[test]
fn generated_kernels_run_without_faults_and_the_same_at_any_address() {
    for seed in 0..SEEDS {
        let case = generate_kernel(seed, &KernelConfig::default());
        let expected = case.interpret().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let (mut memory, args) = case.lay_out(Memory::native());
        let mut interpreter = Interpreter::new(&case.module).expect("verified");
        interpreter.run(case.func, &args, &mut memory).expect("as at synthetic addresses");
        assert!(memory.check_guards().is_empty());
        case.compare(&expected, &memory).expect("addresses do not reach results");
        let changed = expected.regions().zip(&case.regions);
        let changed = changed.filter(|(id, region)| expected.bytes(*id) != region.bytes);
        assert!(changed.count() > 0, "seed {seed}: the kernel shows nothing");
    }
}

/// The words that start an operation, or a statement without a result.
fn mnemonics(text: &str, found: &mut BTreeSet<String>) {
    for line in text.lines().skip(1) {
        let code = line.trim().split(" = ").last().expect("split gives a part");
        let word = code.split(' ').next().expect("split gives a part");
        let word = if line.contains("loop ") { "loop" } else { word };
        found.insert(word.to_owned());
    }
}

#[test]
fn every_operation_is_generated() {
    let mut found = BTreeSet::new();
    for seed in 0..SEEDS {
        mnemonics(&generate_kernel(seed, &KernelConfig::default()).module.to_string(), &mut found);
    }
    let everything = include_str!("../../../compiler/ir/src/vector/everything.txt");
    let kernel = everything.split("\nphase").next().expect("split gives a part");
    let mut expected = BTreeSet::new();
    mnemonics(kernel, &mut expected);
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

#[test]
fn broken_kernels_are_refused() {
    let mut n_broken = [0; Mutation::ALL.len()];
    for seed in 0..SEEDS {
        let case = generate_kernel(seed, &KernelConfig::default());
        for (i, mutation) in Mutation::ALL.into_iter().enumerate() {
            let mut module = case.module.clone();
            let mut rng = Rng::new(seed);
            let function = module.functions.values_mut().next().expect("one kernel");
            if break_function(function, mutation, &mut rng) {
                n_broken[i] += 1;
                assert!(
                    verify(&module).is_err(),
                    "seed {seed}: {mutation:?} goes unseen\n{module}"
                );
            }
        }
    }
    assert!(n_broken.iter().all(|&n| n > SEEDS as usize / 2), "{n_broken:?}");
}
