//! Random graphs, forward and backward, give the same bits in every interpreter, on every target and with every number of threads.
//!
//! `DLC_RANDOM_GRAPHS` says how many (the default is for a developer's run; the whole test is 10,000), `DLC_RANDOM_FIRST` where the seeds
//! start. Each graph takes one target and a part of the checks, chosen by its seed, so that all combinations occur.

use dlc_driver::Target;
use dlc_equality_tests::everywhere::{Check, Counts, Difference, Machines, frozen};
use dlc_equality_tests::random::{Case, case};
use dlc_equality_tests::shrink::shrink;
use dlc_ir::graph::Graph;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Graphs of a developer's run.
const DEFAULT_GRAPHS: u64 = 1000;
/// Kinds of differences that are shrunk and shown.
const SHOWN: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
        Err(_) => default,
    }
}

/// What is checked of the graph of a seed.
fn checks(seed: u64) -> Vec<Check> {
    // Seeds say by their last bits what kind of graph they are, so choices follow other digits.
    let turn = seed / 4;
    let target = Target::ALL[(turn % 3) as usize];
    let turn = turn / 3;
    let threads: &[usize] = match turn % 4 {
        0 => &[1],
        1 => &[2],
        2 => &[1, 3],
        _ => &[4],
    };
    vec![Check {
        target,
        tile: turn % 2 == 0,
        vector_parts: 1 + (turn % 3) as usize,
        emulated: target == Target::Avx512 || (target == Target::Avx2 && turn % 8 == 0),
        threads,
        guarded: turn % 5 == 0,
        schedules: (turn % 7 < 3).then_some(seed),
    }]
}

fn run(machines: &Machines, case: &Case, graph: &Graph) -> Result<Counts, Difference> {
    let leaves = |graph: &Graph, batch| case.leaves(graph, batch);
    machines.everywhere(graph, case.max_batch, &case.batches, &leaves, &checks(case.seed))
}

/// The case made small, as a file of `tests/filetests/run`.
fn shown(machines: &Machines, case: &Case, difference: &Difference) -> String {
    let kind = difference.kind();
    let fails = |graph: &Graph| {
        run(machines, case, graph).is_err_and(|difference| difference.kind() == kind)
    };
    let small = shrink(&case.graph, &fails);
    let mut text = format!("seed {}: {difference}\n", case.seed);
    if let Err(difference) = run(machines, case, &small) {
        let _ = writeln!(text, "; {difference}");
    }
    let _ = writeln!(text, "; batch up to {}, run with {:?}", case.max_batch, case.batches);
    match frozen(&small) {
        Ok(frozen) => text + &frozen.to_string(),
        Err(_) => text + &small.to_string(),
    }
}

#[test]
fn ten_thousand_random_graphs() {
    let (first, count) =
        (number("DLC_RANDOM_FIRST", 0), number("DLC_RANDOM_GRAPHS", DEFAULT_GRAPHS));
    let next = AtomicU64::new(first);
    let found: Mutex<(Counts, Vec<(u64, Difference)>)> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let machines = Machines::new(4);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let case = case(seed);
                    let result = run(&machines, &case, &case.graph);
                    let mut found = found.lock().expect("no worker panics while it holds the lock");
                    match result {
                        Ok(counts) => found.0.add(counts),
                        Err(difference) => found.1.push((seed, difference)),
                    }
                }
            });
        }
    });
    let (counts, mut differences) = found.into_inner().expect("all workers have ended");
    println!("{count} graphs: {counts:?}");
    differences.sort_by_key(|(seed, _)| *seed);
    let mut kinds: BTreeMap<String, Vec<&(u64, Difference)>> = BTreeMap::new();
    for found in &differences {
        kinds.entry(found.1.kind()).or_default().push(found);
    }
    let machines = Machines::new(4);
    let mut report = String::new();
    for (at, (kind, found)) in kinds.iter().enumerate() {
        let seeds: Vec<u64> = found.iter().map(|(seed, _)| *seed).take(12).collect();
        let _ = writeln!(report, "{} graphs: {kind}, seeds {seeds:?}", found.len());
        if at < SHOWN {
            let (seed, difference) = found[0];
            report += &shown(&machines, &case(*seed), difference);
        }
    }
    assert!(differences.is_empty(), "{} of {count} graphs differ\n{report}", differences.len());
    // Every way of running occurs even in a short test.
    let all = [counts.tile, counts.vector, counts.emulated, counts.native];
    assert!(count < 100 || all.iter().all(|&n| n as u64 >= count / 10), "{counts:?}");
}
