//! Random graphs, forward and backward, give the same bits in every interpreter, on every target and with every number of threads.
//!
//! Graph n is drawn from seed `DLC_RANDOM_SEED + n`, for n below `DLC_RANDOM_GRAPHS`; by default seeds start at 0. Another start gives
//! other graphs, and the seed of a failure with one graph repeats it alone. Each graph takes one target and a part of the checks, chosen
//! by its seed, so that all combinations occur.

use dlc_abi::NumericsClass;
use dlc_driver::Target;
use dlc_equality_tests::everywhere::{Check, Counts, Difference, Machines, frozen};
use dlc_equality_tests::random::{Case, case};
use dlc_equality_tests::shrink::shrink;
use dlc_equality_tests::statistics::Statistics;
use dlc_ir::graph::Graph;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const DEFAULT_GRAPHS: u64 = 10_000;
/// Kinds of differences that are shrunk and shown.
const SHOWN: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
        Err(_) => default,
    }
}

/// What is checked of a case, as its seed says.
fn checks(case: &Case) -> Vec<Check> {
    let seed = case.seed;
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
        lacks_fma: target == Target::V128 && turn % 2 == 1 && case.suits_any_processor(),
        tile: turn % 2 == 0,
        vector_parts: 1 + (turn % 3) as usize,
        emulated: target == Target::Avx512 || (target == Target::Avx2 && turn % 8 == 0),
        threads,
        guarded: turn % 5 == 0,
        texts: turn % 4 == 1,
        schedules: (turn % 7 < 3).then_some(seed),
    }]
}

fn run(machines: &Machines, case: &Case, graph: &Graph) -> Result<Counts, Difference> {
    let leaves = |graph: &Graph, batch| case.leaves(graph, batch);
    machines.everywhere(graph, case.max_batch, &case.batches, &leaves, &checks(case))
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

/// What many graphs came to.
#[derive(Default)]
struct Found {
    counts: Counts,
    statistics: Statistics,
    differences: Vec<(u64, Difference)>,
}

impl Found {
    fn take(&mut self, machines: &Machines, case: &Case) {
        let result = frozen(&case.graph).and_then(|graph| {
            self.statistics.add(&case.graph, &graph);
            run(machines, case, &graph)
        });
        if case.double {
            self.statistics.note("double precision");
        }
        if case.graph.class == NumericsClass::Unfused {
            self.statistics.note("products apart from sums");
        }
        if case.wild {
            self.statistics.note("wild numbers");
        }
        if case.batches.iter().any(|&batch| batch < case.max_batch) {
            self.statistics.note("batch below the largest");
        }
        match result {
            Ok(counts) => self.counts.add(counts),
            Err(difference) => self.differences.push((case.seed, difference)),
        }
    }

    fn merge(&mut self, other: Found) {
        self.counts.add(other.counts);
        self.statistics.merge(other.statistics);
        self.differences.extend(other.differences);
    }
}

/// Runs the cases of many seeds on all cores.
fn run_all(first: u64, count: u64) -> Found {
    let next = AtomicU64::new(first);
    let found = Mutex::new(Found::default());
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let machines = Machines::new(4);
                let mut own = Found::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    own.take(&machines, &case(seed));
                }
                found.lock().expect("no worker panics while it holds the lock").merge(own);
            });
        }
    });
    found.into_inner().expect("all workers have ended")
}

/// The differences by kind, with a small graph for some.
fn report(differences: &[(u64, Difference)]) -> String {
    let mut kinds: BTreeMap<String, Vec<&(u64, Difference)>> = BTreeMap::new();
    for found in differences {
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
    report
}

#[test]
fn ten_thousand_random_graphs() {
    let (first, count) =
        (number("DLC_RANDOM_SEED", 0), number("DLC_RANDOM_GRAPHS", DEFAULT_GRAPHS));
    let Found { counts, statistics, mut differences } = run_all(first, count);
    println!("{count} graphs: {counts:?}\n{statistics}");
    differences.sort_by_key(|(seed, _)| *seed);
    let report = report(&differences);
    assert!(differences.is_empty(), "{} of {count} graphs differ\n{report}", differences.len());
    // Every way of running occurs even in a short test, and every feature in a whole one.
    let all = [counts.tile, counts.vector, counts.emulated, counts.native];
    assert!(count < 100 || all.iter().all(|&n| n as u64 >= count / 10), "{counts:?}");
    let rare = statistics.rare((count / 1000).max(1));
    assert!(count < DEFAULT_GRAPHS || rare.is_empty(), "hardly ever drawn: {rare:?}");
}
