//! Every graph of `tests/filetests/run` gives the same bits everywhere, with tame and with wild numbers.

use dlc_driver::Target;
use dlc_equality_tests::everywhere::{Check, Machines};
use dlc_equality_tests::random::Case;
use dlc_ir::graph::{Graph, parse};
use std::path::Path;

#[test]
fn filetests_give_the_same_bits_everywhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../filetests/run");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the cases are there");
    let machines = Machines::new(4);
    let mut checks = Target::ALL.map(Check::full).to_vec();
    for seed in 0..3 {
        let target = Target::ALL[seed as usize % Target::ALL.len()];
        let check = Check { emulated: false, threads: &[3], ..Check::full(target) };
        checks.push(Check { schedules: Some(seed), ..check });
    }
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let graph = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for wild in [false, true] {
            let batches = [1, 5];
            let case =
                Case { seed: 7, graph: graph.clone(), max_batch: 5, batches, wild, double: false };
            let leaves = |graph: &Graph, batch| case.leaves(graph, batch);
            machines
                .everywhere(&graph, case.max_batch, &batches, &leaves, &checks)
                .unwrap_or_else(|difference| panic!("{}: {difference}", file.display()));
        }
    }
}
