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
        eprintln!("skipped: this processor has no SSE4.2");
        return false;
    }
    has(compiler)
}

/// Whether this processor runs what is compiled when nobody says for which; says so where it does not.
fn has_avx2() -> bool {
    let has = native() != Cpu::V2;
    if !has {
        eprintln!("skipped: this processor has no AVX2");
    }
    has
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

fn net(model: &str, batch: usize, cpu: Cpu) -> Net {
    let class = cpu.class();
    let options = Options { batch, threads: 1, seed: SEED, class, ..Options::default() };
    Model::from_file(root(model)).unwrap().compile(&options).unwrap()
}

/// The weights after the steps that `train.c` takes, and the last loss.
fn trained(model: &str, images: &Images, batch: usize, steps: usize, cpu: Cpu) -> (Vec<u8>, f32) {
    let mut net = net(model, batch, cpu);
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
    cpu: Cpu,
) -> PathBuf {
    let images = Images::new(40, side);
    images.write(folder);
    let builder = Builder::new(root(model)).batch(batch).seed(SEED).cpu(cpu);
    let written = builder.write(&folder.0).unwrap();
    let program = build(folder, &written, "train.c", "train");
    let (expected, loss) = trained(model, &images, batch, steps, cpu);
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
    let levels = Cpu::ALL.into_iter().filter(|&cpu| cpu == Cpu::V2 || cpu == native());
    for cpu in levels {
        let folder = Folder::new(cpu.name());
        let program = same_bits_in_c(&folder, "examples/digits_mlp.dl", 8, 16, 12, cpu);
        // AVX-512 is beyond valgrind.
        if cpu != Cpu::V4 && has("valgrind") {
            runs_under_valgrind(&folder, &program);
        }
    }
}

fn runs_under_valgrind(folder: &Folder, program: &Path) {
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
    same_bits_in_c(&folder, "examples/lenet.dl", 28, 8, 3, native());
}

#[test]
fn wrong_use_gives_a_status() {
    if !can_run("cc") || !has_avx2() {
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

/// A safetensors file of f32 tensors, whose header may be laid out in many ways.
struct WeightsText {
    /// Name, element type, shape, elements.
    tensors: Vec<(String, &'static str, Vec<usize>, Vec<u8>)>,
    metadata: &'static str,
    /// What stands between the parts of the header.
    space: &'static str,
    /// Whether element types come last in their objects.
    types_last: bool,
}

impl WeightsText {
    fn of(file: &[u8]) -> Self {
        let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
        let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            (name, "F32", view.shape().to_vec(), view.data().to_vec())
        };
        let mut tensors: Vec<_> = tensors.tensors().into_iter().map(tensor).collect();
        tensors.sort();
        WeightsText { tensors, metadata: "", space: "", types_last: false }
    }

    fn bytes(&self) -> Vec<u8> {
        let space = self.space;
        let mut header = format!("{{{space}{}", self.metadata);
        let mut data = Vec::new();
        for (index, (name, dtype, shape, elements)) in self.tensors.iter().enumerate() {
            if index > 0 || !self.metadata.is_empty() {
                header.push(',');
            }
            let (begin, end) = (data.len(), data.len() + elements.len());
            data.extend_from_slice(elements);
            let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
            let shape = shape.join(&format!(",{space}"));
            let mut fields = [
                format!("\"dtype\":{space}\"{dtype}\""),
                format!("\"shape\":{space}[{space}{shape}{space}]"),
                format!("\"data_offsets\"{space}:[{begin}{space},{end}{space}]"),
            ];
            if self.types_last {
                fields.reverse();
            }
            let fields = fields.join(&format!("{space},"));
            header.push_str(&format!("{space}\"{name}\"{space}:{space}{{{space}{fields}{space}}}"));
        }
        header.push_str(&format!("{space}}}"));
        // Elements begin on a boundary of eight bytes, after spaces, as other writers have it.
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let length = (header.len() as u64).to_le_bytes();
        length.into_iter().chain(header.into_bytes()).chain(data).collect()
    }
}

/// Files of the same weights that differ in their headers, then wrong ones, each with words of what is said about it.
fn files_of_weights(own: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let text = || WeightsText::of(own);
    let changed = |change: &dyn Fn(&mut WeightsText)| {
        let mut text = text();
        change(&mut text);
        text.bytes()
    };
    let done = "done";
    let mut files = vec![
        (own.to_vec(), done),
        (changed(&|text| text.tensors.reverse()), done),
        (
            changed(&|text| text.metadata = r#""__metadata__":{"format":"pt","said":"\"{}\\"}"#),
            done,
        ),
        (
            changed(&|text| {
                text.space = " \n\t";
                text.types_last = true;
                text.tensors.rotate_left(2);
            }),
            done,
        ),
        (changed(&|text| text.tensors.truncate(4)), "lacks a tensor"),
        (changed(&|text| text.tensors[1].0.push('x')), "lacks a tensor"),
        (
            changed(&|text| text.tensors.push(("more".into(), "F32", vec![1], vec![0; 4]))),
            "tensors that it lacks",
        ),
        (changed(&|text| text.tensors.push(text.tensors[0].clone())), "tensors that it lacks"),
        (changed(&|text| text.tensors[0].2.push(1)), "another shape"),
        (changed(&|text| text.tensors[0].2[0] += 1), "another shape"),
        (changed(&|text| text.tensors[2].1 = "I32"), "another element type"),
        (changed(&|text| text.tensors[0].3.truncate(8)), "damaged"),
        (own[..own.len() - 1].to_vec(), "damaged"),
        (own[..7].to_vec(), "damaged"),
        (Vec::new(), "damaged"),
    ];
    let mut nested = own.to_vec();
    nested[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    files.push((nested, "damaged"));
    files
}

#[test]
fn files_of_weights_are_read_however_they_are_laid_out() {
    if !can_run("cc") {
        return;
    }
    let folder = Folder::new("files");
    let model = root("examples/digits_mlp.dl");
    let written = Builder::new(model).cpu(native()).write(&folder.0).unwrap();
    let program = build(&folder, &written, "files.c", "files");
    let own = std::fs::read(folder.file("digits_mlp.safetensors")).unwrap();
    let files = files_of_weights(&own);
    let mut command = Command::new(program);
    command.arg(folder.file("saved")).arg("400");
    let mut right: Vec<PathBuf> = Vec::new();
    for (index, (bytes, said)) in files.iter().enumerate() {
        let path = folder.file(&format!("weights-{index}"));
        std::fs::write(&path, bytes).unwrap();
        if *said == "done" {
            right.push(path.clone());
        }
        command.arg(path);
    }
    let printed = run(&mut command);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), files.len());
    for (index, (line, (_, said))) in lines.iter().zip(&files).enumerate() {
        assert!(line.contains(said), "file {index}: {line}");
    }
    // However the weights were laid out, they are those.
    for path in right {
        let mut command = Command::new(folder.file("files"));
        run(command.arg(folder.file("saved")).arg("400").arg(path));
        assert!(std::fs::read(folder.file("saved")).unwrap() == own);
    }
}

/// The first text of a kind in the README.
fn readme(kind: &str) -> String {
    let text = std::fs::read_to_string(root("README.md")).unwrap();
    let (_, rest) = text.split_once(&format!("```{kind}\n")).unwrap();
    rest.split("```").next().unwrap().to_owned()
}

#[test]
fn the_program_of_the_readme_trains_and_its_weights_can_be_used() {
    if !can_run("cc") || !has_avx2() {
        return;
    }
    let folder = Folder::new("readme");
    Builder::new(root("examples/digits_mlp.dl")).weights(Weights::None).write(&folder.0).unwrap();
    std::fs::write(folder.file("train.c"), readme("c")).unwrap();
    for standard in ["-std=c99", "-std=c17"] {
        let mut command = Command::new("cc");
        command.args([standard, "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-I."]);
        command.args(["train.c", "-L.", "-ldigits_mlp", "-o", "train"]).current_dir(&folder.0);
        run(&mut command);
    }
    let printed = run(Command::new(folder.file("train")).current_dir(&folder.0));
    let loss = printed.trim().strip_prefix("done, loss ").unwrap().parse::<f32>().unwrap();
    assert!(loss < 0.1, "{printed}");
    let mut net = net("examples/digits_mlp.dl", 8, Cpu::V3);
    net.load_weights(folder.file("trained.safetensors")).unwrap();
    let image: Vec<f32> = (0..64).map(|pixel| f32::from(u8::from(pixel / 8 == 5))).collect();
    let results = net.session().predict(&[("image", TensorRef::f32(&[1, 8, 8, 1], &image))]);
    let dlc_train::Data::F32(logits) = &results.unwrap()[0].1.data else { panic!("f32") };
    let best = (0..10).max_by(|&a, &b| f32::total_cmp(&logits[a], &logits[b]));
    assert_eq!(best, Some(5), "{logits:?}");
}

#[test]
fn a_cpp_program_predicts_from_two_threads() {
    if !can_run("c++") || !has_avx2() {
        return;
    }
    let folder = Folder::new("predict");
    let net = net("examples/digits_mlp.dl", 16, Cpu::V3);
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
        // Without fused multiply-add each one takes many instructions.
        let most = if cpu == Cpu::V2 { 400_000 } else { 300_000 };
        assert!(bytes < most, "the library for {} has {bytes} bytes", cpu.name());
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
    let emit: Vec<Emit> =
        ["graph", "tile", "vector", "clif", "asm", "obj", "header", "lib", "rust"]
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
        ("digits_mlp.rs", "pub fn train_step("),
    ];
    for (name, word) in expected {
        let text = std::fs::read_to_string(folder.file(name)).unwrap();
        assert!(text.contains(word), "{name} lacks `{word}`");
    }
    let [object, library] =
        ["digits_mlp.o", "libdigits_mlp.a"].map(|name| std::fs::read(folder.file(name)).unwrap());
    assert!(object.starts_with(b"\x7fELF") && library.starts_with(b"!<arch>\n"));
    assert!(library.windows(object.len()).any(|window| window == object));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), emit.len());
}

/// What a build script tells Cargo, and how it ends.
fn built(builder: &Builder, folder: &Folder) -> (Vec<String>, Result<(), dlc_build::Error>) {
    let mut lines = Vec::new();
    let result = builder.compile_into(&folder.0, &mut |line| lines.push(line.to_owned()));
    (lines, result)
}

#[test]
fn a_build_script_names_every_file_and_shows_diagnostics() {
    let folder = Folder::new("build-script");
    let blocks = "layer twice(x: f32[.., k], units: int) -> y: f32[.., units] {\n    y = x |> dense(units) |> relu |> dense(units)\n}\n";
    let net = "use \"parts/blocks.dl\"\n\nmodel small(x: f32[batch, 4]) -> y: f32[batch, 2] {\n    y = x |> twice(2)\n}\n";
    std::fs::create_dir_all(folder.file("parts")).unwrap();
    std::fs::write(folder.file("parts/blocks.dl"), blocks).unwrap();
    std::fs::write(folder.file("net.dl"), net).unwrap();
    let model = folder.file("net.dl");
    let changes = |files: &[PathBuf]| {
        let line = |file: &PathBuf| format!("cargo::rerun-if-changed={}", file.display());
        files.iter().map(line).collect::<Vec<_>>()
    };
    let (lines, result) = built(&Builder::new(&model), &folder);
    result.unwrap();
    let mut expected = changes(&[model.clone(), folder.file("parts/blocks.dl")]);
    expected.push(format!("cargo::rustc-link-search=native={}", folder.0.display()));
    expected.push("cargo::rustc-link-lib=static=small".into());
    assert_eq!(lines, expected);
    let init = folder.file("small.safetensors");
    let (lines, result) = built(&Builder::new(&model).init(&init), &folder);
    result.unwrap();
    assert_eq!(lines[..3], changes(&[model.clone(), init, folder.file("parts/blocks.dl")]));

    // A mistake in a file that is used: the same files, and the words of the shell.
    std::fs::write(folder.file("parts/blocks.dl"), blocks.replace("relu", "rellu")).unwrap();
    let (lines, result) = built(&Builder::new(&model), &folder);
    assert_eq!(lines, changes(&[model.clone(), folder.file("parts/blocks.dl")]));
    let shown = format!("{:?}", result.unwrap_err());
    assert!(shown.contains("rellu") && shown.contains("parts/blocks.dl:2:"), "{shown}");
    let at_the_shell =
        Command::new(env!("CARGO_BIN_EXE_dlc")).arg("check").arg(&model).output().unwrap();
    let at_the_shell = String::from_utf8(at_the_shell.stderr).unwrap();
    assert!(at_the_shell.contains(shown.trim()), "{shown}\n{at_the_shell}");

    let (lines, result) = built(&Builder::new(folder.file("none.dl")), &folder);
    assert_eq!(lines, changes(&[folder.file("none.dl")]));
    assert!(result.unwrap_err().to_string().contains("none.dl"));
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
    refused(&["--cpu", "x86-64"], "x86-64-v2");
    refused(&["--cpu", "pentium"], "x86-64-v3");
    refused(&["--target", "aarch64-unknown-linux-gnu"], "x86_64-unknown-linux-gnu");
    refused(&["--emit", "pdf"], "pdf");
    refused(&["--init", "examples/lenet.dl"], "safetensors");
    refused(&["--init", "nowhere"], "nowhere");
}
