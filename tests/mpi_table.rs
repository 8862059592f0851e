//! The table of reference hashes on ranks that are processes: 1 to 4 of them with 1 to 3 threads each.
//!
//! Without a launcher the program starts itself under `mpirun`, once for each line below, and compares what rank 0 says with the table.

use dlc::comm::mpi::Mpi;
use dlc::data::{Column, Dataset, Splits};
use dlc::{Control, FitConfig, Length, Model, Net, Options};
use dlc_abi::{BufferRole, ElemType};
use dlc_harness::reference;
use dlc_harness::rng::Rng;
use std::process::{Command, ExitCode};

/// Model, examples in a batch, steps.
type Run = (&'static str, usize, u64);

const DIGITS_MLP: Run = ("digits_mlp", 32, 100);
const LENET: Run = ("lenet", 16, 100);
/// Without a schedule the first steps do not depend on how many follow.
const LENET_BEGINS: Run = ("lenet", 16, 10);

/// What is run, on how many ranks, with how many threads each.
const LINES: [(Run, usize, usize); 18] = [
    (DIGITS_MLP, 1, 1),
    (DIGITS_MLP, 1, 2),
    (DIGITS_MLP, 1, 3),
    (DIGITS_MLP, 2, 1),
    (DIGITS_MLP, 2, 2),
    (DIGITS_MLP, 2, 3),
    (DIGITS_MLP, 3, 1),
    (DIGITS_MLP, 3, 2),
    (DIGITS_MLP, 3, 3),
    (DIGITS_MLP, 4, 1),
    (DIGITS_MLP, 4, 2),
    (DIGITS_MLP, 4, 3),
    (LENET_BEGINS, 1, 3),
    (LENET_BEGINS, 3, 3),
    (LENET_BEGINS, 4, 2),
    (LENET, 2, 2),
    (LENET, 3, 1),
    (LENET, 4, 1),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if dlc::comm::launched_ranks().is_some() {
        rank(
            &args[1],
            args[2].parse().unwrap(),
            args[3].parse().unwrap(),
            args[4].parse().unwrap(),
        );
        return ExitCode::SUCCESS;
    }
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/equality/hashes.toml");
    let table = std::fs::read_to_string(table).expect("the table is there");
    let wrong = LINES.iter().filter(|(run, ranks, threads)| !holds(&table, *run, *ranks, *threads));
    ExitCode::from(u8::from(wrong.count() > 0))
}

/// Runs one line and compares.
fn holds(table: &str, (model, batch, steps): Run, ranks: usize, threads: usize) -> bool {
    let start = std::time::Instant::now();
    let section = table.split_once(&format!("[{model}]\n")).expect("the model has a section").1;
    let line = section.split_once(&format!("after_{steps} = \"")).expect("the steps are there").1;
    let expected = line.split_once('"').expect("it ends").0;
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n"])
        .arg(ranks.to_string())
        .arg(std::env::current_exe().expect("this program is a file"))
        .args([model, &batch.to_string(), &steps.to_string(), &threads.to_string()])
        .output()
        .expect("mpirun starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let good = output.status.success() && said.trim() == expected;
    println!(
        "{model}, {steps} steps, {ranks} ranks, {threads} threads: {} ({:.1} s)",
        if good { "ok" } else { "WRONG" },
        start.elapsed().as_secs_f64()
    );
    if !good {
        println!("{said}expected {expected}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    good
}

/// One rank of a run; the first one says the hash.
fn rank(model: &str, batch: usize, steps: u64, threads: usize) {
    let file = format!("{}/examples/{model}.dl", env!("CARGO_MANIFEST_DIR"));
    let model = Model::from_file(file).unwrap_or_else(|error| panic!("{error}"));
    let comm = Mpi::start().expect("MPI starts");
    let options = Options { batch, threads, seed: 1, ..Options::default() };
    let mut net = model.compile_rank(&options, Box::new(comm)).expect("it compiles");
    let splits = Splits { train: examples(&net, batch * steps as usize, batch), test: None };
    let config = FitConfig {
        batch,
        length: Length::Steps(steps),
        shuffle: false,
        log_every: 0,
        validate: false,
        start: Default::default(),
    };
    net.fit(&splits, &config, &mut |_, _| Control::Continue).expect("it trains");
    if net.session().rank() == 0 {
        println!("{:032x}", hash(&net));
    }
}

/// Buffers of the training program with a role, by name, with the values of one example.
fn buffers(net: &Net, role: BufferRole) -> Vec<(String, ElemType, Vec<usize>)> {
    let train = net.session().programs().train.as_ref().expect("it is trained");
    let buffers = train.manifest().buffers.iter().filter(|desc| desc.role == role);
    let shape =
        |desc: &dlc_abi::BufferDesc| desc.shape.iter().map(|dim| dim.at(1) as usize).collect();
    buffers.map(|desc| (desc.name.clone(), desc.elem, shape(desc))).collect()
}

/// The examples of all steps, drawn batch by batch as those of the table are.
fn examples(net: &Net, count: usize, batch: usize) -> Dataset {
    let mut rng = Rng::new(1);
    let mut inputs = buffers(net, BufferRole::Input);
    inputs.retain(|(name, ..)| !["seed", "step", "steps", "@window"].contains(&name.as_str()));
    let (mut floats, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count / batch {
        for (_, elem, shape) in &inputs {
            let n = batch * shape.iter().product::<usize>();
            match elem {
                ElemType::I32 => labels.extend(reference::labels(&mut rng, n)),
                _ => floats.extend(reference::floats(&mut rng, n)),
            }
        }
    }
    let image = inputs.iter().find(|(name, ..)| name == "image").expect("these models see images");
    let image = Column::from_f32("image", &image.2[1..], floats);
    let label = Column::from_labels("label", Some(10), labels);
    Dataset::new("drawn", vec![image, label]).expect("the columns are of one length")
}

/// The hash of all parameters and states.
fn hash(net: &Net) -> u128 {
    let memory = net.session().memory();
    let mut all = buffers(net, BufferRole::Param);
    all.extend(buffers(net, BufferRole::State));
    let values = |name: &str| -> Vec<f32> {
        let at = memory.layout().index(name).expect("programs keep what they name");
        let bytes = memory.entry_bytes(at).expect("it is an entry");
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let kept: Vec<(String, Vec<f32>)> =
        all.into_iter().map(|(name, ..)| (name.clone(), values(&name))).collect();
    reference::hash(kept.iter().map(|(name, values)| (name.as_str(), &values[..])))
}
