//! The table of reference hashes on ranks that are processes: 1 to 4 of them with 1 to 3 threads each.
//!
//! Without a launcher the program starts itself under `mpirun`, once for each line below, and compares what rank 0 says with the table.

mod reference;

use dlc::comm::mpi::Mpi;
use dlc::{Control, Options};
use reference::{DIGITS_MLP, Entry, LENET, SEED};
use std::process::{Command, ExitCode};

/// Without a schedule the first steps do not depend on how many follow.
const LENET_BEGINS: Entry = Entry { steps: 10, ..LENET };

/// What is run, spread as the lines of a `parallel` block say, on how many ranks, with how many threads each.
const LINES: [(Entry, &str, usize, usize); 24] = [
    (DIGITS_MLP, "", 1, 1),
    (DIGITS_MLP, "", 1, 2),
    (DIGITS_MLP, "", 1, 3),
    (DIGITS_MLP, "", 2, 1),
    (DIGITS_MLP, "", 2, 2),
    (DIGITS_MLP, "", 2, 3),
    (DIGITS_MLP, "", 3, 1),
    (DIGITS_MLP, "", 3, 2),
    (DIGITS_MLP, "", 3, 3),
    (DIGITS_MLP, "", 4, 1),
    (DIGITS_MLP, "", 4, 2),
    (DIGITS_MLP, "", 4, 3),
    (LENET_BEGINS, "", 1, 3),
    (LENET_BEGINS, "", 3, 3),
    (LENET_BEGINS, "", 4, 2),
    (LENET, "", 2, 2),
    (LENET, "", 3, 1),
    (LENET, "", 4, 1),
    (DIGITS_MLP, "pipeline 2 at dense_2 { microbatches = 4; schedule = gpipe }", 2, 1),
    (DIGITS_MLP, "pipeline 3 at dense_2, dense_3 { microbatches = 4 }", 3, 2),
    (DIGITS_MLP, "pipeline 2 at dense_3 { microbatches = 2 }", 4, 1),
    (LENET_BEGINS, "pipeline 2 at dense_1 { microbatches = 2 }", 4, 1),
    (DIGITS_MLP, "tensor 2 on dense_1, dense_2", 4, 1),
    (LENET_BEGINS, "tensor 2 on conv_2, dense_1, dense_2", 2, 1),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if dlc::comm::launched_ranks().is_some() {
        rank(args[1].parse().expect("the number of a line"));
        return ExitCode::SUCCESS;
    }
    let wrong = (0..LINES.len()).filter(|&line| !holds(line));
    ExitCode::from(u8::from(wrong.count() > 0))
}

/// Runs one line and compares.
fn holds(line: usize) -> bool {
    let start = std::time::Instant::now();
    let (entry, parallel, ranks, threads) = LINES[line];
    let expected = entry.expected();
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n"])
        .arg(ranks.to_string())
        .arg(std::env::current_exe().expect("this program is a file"))
        .arg(line.to_string())
        .output()
        .expect("mpirun starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let good = output.status.success() && said.trim() == expected;
    println!(
        "{}, {} steps, {ranks} ranks, {threads} threads, {parallel}: {} ({:.1} s)",
        entry.model,
        entry.steps,
        if good { "ok" } else { "WRONG" },
        start.elapsed().as_secs_f64()
    );
    if !good {
        println!("{said}expected {expected}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    good
}

/// One rank of a run; the first one says the hash.
fn rank(line: usize) {
    let (entry, parallel, _, threads) = LINES[line];
    let model = entry.model(parallel);
    let comm = Mpi::start().expect("MPI starts");
    let options = Options { batch: entry.batch, threads, seed: SEED, ..Options::default() };
    let mut net = model.compile_rank(&options, Box::new(comm)).expect("it compiles");
    net.fit(&entry.splits(), &entry.config(), &mut |_, _| Control::Continue).expect("it trains");
    if net.session().rank() == 0 {
        println!("{}", reference::hash(&model, net.session()));
    }
}
