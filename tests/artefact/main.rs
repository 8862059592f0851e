//! Programs in C and C++ with models that were compiled ahead of time, compared bit by bit with the same models in this
//! process. They need a C compiler; where there is none, the tests say so and pass.

use dlc::{Model, Net, Options, Session};
use dlc_build::{Builder, Cpu, Emit, Weights, Written};
use dlc_train::TensorRef;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dlc-artefact-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether a program can be started; says so where it cannot.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no `{program}`");
    }
    found
}

/// Whether C programs with a model's code can be built and run here; says so where they cannot.
fn can_run(compiler: &str) -> bool {
    if Cpu::from_name("native").is_err() {
        eprintln!("skipped: this processor has no AVX2");
        return false;
    }
    has(compiler)
}

/// Runs a command and returns what it printed; fails with what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Builds a test program with the library of a model.
fn build(folder: &Folder, written: &Written, source: &str, program: &str) -> PathBuf {
    let (compiler, standard): (_, &[&str]) = match source.ends_with(".cpp") {
        true => ("c++", &["-std=c++17"]),
        false => ("cc", &["-std=c11", "-Wstrict-prototypes"]),
    };
    let out = folder.file(program);
    let name = &written.name;
    let mut command = Command::new(compiler);
    command
        .args(standard)
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-pthread"])
        .arg(format!("-DMODEL={name}"))
        .arg(format!("-DMODEL_UPPER={}", name.to_uppercase()))
        .arg(format!("-DMODEL_H=\"{name}.h\""))
        .arg("-I")
        .arg(&folder.0)
        .arg("-o")
        .arg(&out)
        .arg(root("tests/artefact").join(source))
        .arg("-L")
        .arg(&folder.0)
        .arg(format!("-l{name}"));
    run(&mut command);
    out
}

/// A fixed sequence of bytes.
fn bytes(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n).map(|_| next()).collect()
}

/// Images and labels as they lie in files of MNIST.
struct Images {
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Images {
    fn new(n: usize, side: usize) -> Self {
        let labels = bytes(n, 9).into_iter().map(|byte| byte % 10).collect();
        Images { shape: [n, side, side], pixels: bytes(n * side * side, 5), labels }
    }

    fn write(&self, folder: &Folder) {
        let file = |magic: u32, extents: &[usize], data: &[u8]| {
            let extents = extents.iter().flat_map(|&extent| (extent as u32).to_be_bytes());
            magic.to_be_bytes().into_iter().chain(extents).chain(data.iter().copied()).collect()
        };
        let images: Vec<u8> = file(0x803, &self.shape, &self.pixels);
        let labels: Vec<u8> = file(0x801, &self.shape[..1], &self.labels);
        std::fs::write(folder.file("images"), images).unwrap();
        std::fs::write(folder.file("labels"), labels).unwrap();
    }

    /// Examples `first ..` as models take them, beginning again after the last.
    fn batch(&self, first: usize, batch: usize) -> (Vec<f32>, Vec<i32>) {
        let [n, height, width] = self.shape;
        let size = height * width;
        let examples = (first..first + batch).map(|example| example % n);
        let images = examples.clone().flat_map(|e| &self.pixels[e * size..(e + 1) * size]);
        let labels = examples.map(|e| i32::from(self.labels[e]));
        (images.map(|&pixel| f32::from(pixel) / 255.0).collect(), labels.collect())
    }
}

const SEED: u32 = 3;

fn net(model: &str, batch: usize) -> Net {
    let options = Options { batch, threads: 1, seed: SEED, ..Options::default() };
    Model::from_file(root(model)).unwrap().compile(&options).unwrap()
}

/// The weights after the steps that `train.c` takes, and the last loss.
fn trained(model: &str, images: &Images, batch: usize, steps: usize) -> (Vec<u8>, f32) {
    let mut net = net(model, batch);
    let session: &mut Session = net.session_mut();
    session.plan_steps(steps as u64);
    let (mut first, mut loss) = (0, 0.0);
    for step in 1..=steps {
        let batch = batch - step % 3;
        let (image, label) = images.batch(first, batch);
        first += batch;
        let shape = [batch, images.shape[1], images.shape[2], 1];
        let inputs = [
            ("image", TensorRef::f32(&shape, &image)),
            ("label", TensorRef::i32(&shape[..1], &label)),
        ];
        loss = session.train_step(&inputs).unwrap().loss;
    }
    (session.export_weights(), loss)
}

/// Trains with the C program and compares with the same steps in this process.
fn same_bits_in_c(
    folder: &Folder,
    model: &str,
    side: usize,
    batch: usize,
    steps: usize,
) -> PathBuf {
    let images = Images::new(40, side);
    images.write(folder);
    let builder = Builder::new(root(model)).batch(batch).seed(SEED).cpu(native());
    let written = builder.write(&folder.0).unwrap();
    let program = build(folder, &written, "train.c", "train");
    let (expected, loss) = trained(model, &images, batch, steps);
    for (parts, place) in [(1, "start"), (2, "end"), (4, "end")] {
        let weights = folder.file("after");
        let printed = run(train(&program, folder, steps, parts, batch, &weights).arg(place));
        assert!(std::fs::read(&weights).unwrap() == expected, "{model}: {parts} parts");
        assert_eq!(printed.trim().parse::<f32>().unwrap(), loss, "{model}: {parts} parts");
    }
    program
}

fn train(
    program: &Path,
    folder: &Folder,
    steps: usize,
    parts: usize,
    batch: usize,
    weights: &Path,
) -> Command {
    let mut command = Command::new(program);
    command.arg(folder.file("images")).arg(folder.file("labels"));
    for number in [steps, parts, batch, SEED as usize] {
        command.arg(number.to_string());
    }
    command.arg(weights);
    command
}

fn native() -> Cpu {
    Cpu::from_name("native").unwrap()
}

#[test]
fn a_c_program_trains_digits_to_the_same_bits() {
    if !can_run("cc") {
        return;
    }
    let folder = Folder::new("digits");
    let program = same_bits_in_c(&folder, "examples/digits_mlp.dl", 8, 16, 12);
    if !has("valgrind") {
        return;
    }
    // AVX-512 is beyond valgrind.
    if native() != Cpu::V3 {
        eprintln!("skipped: valgrind does not know this processor's instructions");
        return;
    }
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--error-exitcode=9"]).arg(program);
    command.args([folder.file("images"), folder.file("labels")]);
    run(command.args(["2", "1", "16", "3"]).arg(folder.file("checked")).arg("end"));
}

#[test]
fn a_c_program_trains_lenet_to_the_same_bits() {
    if !can_run("cc") {
        return;
    }
    let folder = Folder::new("lenet");
    same_bits_in_c(&folder, "examples/lenet.dl", 28, 8, 3);
}

#[test]
fn wrong_use_gives_a_status() {
    if !can_run("cc") {
        return;
    }
    let folder = Folder::new("misuse");
    let written = Builder::new(root("examples/digits_mlp.dl"))
        .batch(16)
        .weights(Weights::Embed)
        .write(&folder.0)
        .unwrap();
    let program = build(&folder, &written, "misuse.c", "misuse");
    assert_eq!(run(&mut Command::new(program)).trim(), "all as expected");
}

#[test]
fn a_cpp_program_predicts_from_two_threads() {
    if !can_run("c++") {
        return;
    }
    let folder = Folder::new("predict");
    let net = net("examples/digits_mlp.dl", 16);
    net.save_weights(folder.file("init")).unwrap();
    let written = Builder::new(root("examples/digits_mlp.dl"))
        .batch(16)
        .train(false)
        .init(folder.file("init"))
        .weights(Weights::Embed)
        .write(&folder.0)
        .unwrap();
    let program = build(&folder, &written, "predict.cpp", "predict");
    let (image, _) = Images::new(40, 8).batch(0, 37);
    let raw: Vec<u8> = image.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.file("images"), raw).unwrap();
    let (first, second) = (folder.file("first"), folder.file("second"));
    run(Command::new(program).arg(folder.file("images")).args([&first, &second]));
    let results = net.session().predict(&[("image", TensorRef::f32(&[37, 8, 8, 1], &image))]);
    let results = results.unwrap();
    let dlc_train::Data::F32(logits) = &results[0].1.data else { panic!("logits are f32") };
    let expected: Vec<u8> = logits.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert!(std::fs::read(first).unwrap() == expected);
    assert!(std::fs::read(second).unwrap() == expected);
}

#[test]
fn a_library_is_small_and_needs_nothing() {
    let folder = Folder::new("small");
    for cpu in Cpu::ALL {
        let builder = Builder::new(root("examples/lenet.dl")).cpu(cpu).weights(Weights::None);
        let written = builder.write(&folder.0).unwrap();
        let names: Vec<_> =
            written.files.iter().map(|(path, _)| path.file_name().unwrap().to_str()).collect();
        let usual = ["liblenet.a", "lenet.o", "lenet.h", "lenet.rs"].map(Some);
        assert_eq!(names, usual);
        for (path, bytes) in &written.files {
            assert_eq!(path.metadata().unwrap().len(), *bytes);
        }
        let bytes = written.files[0].1;
        assert!(bytes < 300_000, "the library for {} has {bytes} bytes", cpu.name());
        if has("nm") {
            let undefined = run(Command::new("nm").arg("-u").arg(&written.files[1].0));
            assert_eq!(undefined.trim(), "", "{}", cpu.name());
            let exported = run(Command::new("nm")
                .args(["-g", "--format=just-symbols"])
                .arg(&written.files[1].0));
            let expected = [
                "lenet_evaluate",
                "lenet_evaluate_part",
                "lenet_forward",
                "lenet_forward_part",
                "lenet_init",
                "lenet_load",
                "lenet_metrics",
                "lenet_save",
                "lenet_strerror",
                "lenet_train_step",
                "lenet_train_step_part",
            ];
            assert_eq!(exported.split_whitespace().collect::<Vec<_>>(), expected);
        }
    }
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 4, "no temporary file is left");
}

#[test]
fn the_same_model_gives_the_same_files() {
    let folders = [Folder::new("once"), Folder::new("again")];
    let files = folders.each_ref().map(|folder| {
        let written = Builder::new(root("examples/digits_mlp.dl")).write(&folder.0).unwrap();
        let files = written.files.into_iter();
        files.map(|(path, _)| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(files[0].len(), 5);
    assert!(files[0] == files[1]);
}

#[test]
fn every_stage_has_a_text() {
    let folder = Folder::new("texts");
    let emit: Vec<Emit> = ["graph", "tile", "vector", "clif", "asm", "header"]
        .map(|name| Emit::from_name(name).unwrap())
        .to_vec();
    let builder = Builder::new(root("examples/digits_mlp.dl")).emit(&emit).weights(Weights::None);
    builder.write(&folder.0).unwrap();
    let expected = [
        ("digits_mlp.graph", "contract"),
        ("digits_mlp.tile", "segment"),
        ("digits_mlp.vector", "train_step."),
        ("digits_mlp.clif", "function"),
        ("digits_mlp.asm", "vfmadd"),
        ("digits_mlp.h", "digits_mlp_train_step("),
    ];
    for (name, word) in expected {
        let text = std::fs::read_to_string(folder.file(name)).unwrap();
        assert!(text.contains(word), "{name} lacks `{word}`");
    }
    assert!(!folder.file("libdigits_mlp.a").exists());
}

#[test]
fn the_command_compiles_and_refuses() {
    let folder = Folder::new("command");
    let dlc = || Command::new(env!("CARGO_BIN_EXE_dlc"));
    let compile = |arguments: &[&str]| {
        let mut command = dlc();
        command.args(["compile", "examples/digits_mlp.dl", "--json", "-o"]).arg(&folder.0);
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    };
    let printed = run(&mut compile(&["--train", "--cpu", "x86-64-v4", "--emit", "lib,header"]));
    let object: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(object["name"], "digits_mlp");
    assert_eq!(object["cpu"], "x86-64-v4");
    assert_eq!(object["files"].as_array().unwrap().len(), 3, "library, header, weights");
    let refused = |arguments: &[&str], word: &str| {
        let output = compile(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    };
    refused(&["--cpu", "x86-64-v2"], "x86-64-v3");
    refused(&["--emit", "pdf"], "pdf");
    refused(&["--init", "examples/lenet.dl"], "safetensors");
    refused(&["--init", "nowhere"], "nowhere");
}
