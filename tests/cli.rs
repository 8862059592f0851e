//! The command line as users meet it: what it prints, writes, and ends with.

#[path = "commands/data.rs"]
mod data;

use ndarray::{Array2, Array4};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const MODEL: &str = "\
model small(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> flatten |> dense(16) |> relu |> dense(10)
}

train small(label: i32[batch]) {
    loss      = softmax_cross_entropy(logits, label)
    metric    accuracy(logits, label)
    optimizer = adam(lr = 2e-2)
    batch     = 32
    epochs    = 2
}
";

/// A folder with a model in it, gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dlc-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("model.dl"), MODEL).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlc"));
        command.current_dir(&self.0).args(arguments).env_remove("NO_COLOR");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and reads the JSON object on its last line.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn training_leaves_weights_a_checkpoint_and_a_log() {
    let folder = Folder::new("train");
    let arguments = [
        "train",
        "model.dl",
        "--data",
        "digits",
        "--out",
        "run",
        "--log-every",
        "10",
        "--threads",
        "2",
    ];
    let result = folder.json(&[&arguments[..], &["--json"]].concat());
    assert_eq!(result["steps"], 90);
    assert_eq!(result["epochs"], 2);
    for key in ["loss", "accuracy", "val_loss", "val_accuracy"] {
        assert!(result[key].is_f64(), "{key}: {result}");
    }
    assert!(result["val_accuracy"].as_f64().unwrap() > 0.85, "{result}");
    let log = fs::read_to_string(folder.path("run/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=9).map(|n| 10 * n).collect::<Vec<_>>());
    for key in ["epoch", "loss", "accuracy", "lr", "samples_per_s"] {
        assert!(lines.iter().all(|line| line[key].is_number()), "{key}: {log}");
    }
    assert!(folder.path("run/checkpoint").is_file());

    let weights = "run/weights.safetensors";
    let judged =
        folder.json(&["eval", "model.dl", "--weights", weights, "--data", "digits", "--json"]);
    assert_eq!(judged["examples"], 360);
    assert_eq!(judged["loss"], result["val_loss"]);
    assert_eq!(judged["accuracy"], result["val_accuracy"]);
    let confusion = judged["confusion"].as_array().unwrap();
    let right: u64 = (0..10).map(|class| confusion[class][class].as_u64().unwrap()).sum();
    assert_eq!(right as f32 / 360.0, judged["accuracy"].as_f64().unwrap() as f32);
    let output = folder.run(&["eval", "model.dl", "--weights", weights, "--data", "digits"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("rows: the label"));
}

#[test]
fn a_run_resumed_leaves_the_same_file_as_one_without_a_stop() {
    let folder = Folder::new("resume");
    let train = |out: &str, more: &[&str]| {
        let common =
            ["train", "model.dl", "--data", "digits", "--out", out, "--json", "--log-every", "7"];
        folder.json(&[&common[..], more].concat())
    };
    train("whole", &["--steps", "60"]);
    train("halves", &["--steps", "25", "--threads", "1"]);
    let resumed = train("halves", &["--steps", "60", "--resume", "--threads", "2"]);
    assert_eq!(resumed["steps"], 60);
    let file = |run: &str| fs::read(folder.path(run).join("weights.safetensors")).unwrap();
    assert!(file("whole") == file("halves"), "the weights differ");
    let output = folder.run(&[
        "train", "model.dl", "--data", "digits", "--out", "halves", "--resume", "--batch", "16",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("pass `--batch 32`"), "{}", stderr(&output));
}

#[test]
#[cfg(unix)]
fn an_interrupt_saves_and_ends_with_130() {
    let folder = Folder::new("interrupt");
    let arguments = [
        "train",
        "model.dl",
        "--data",
        "digits",
        "--epochs",
        "1000000",
        "--out",
        "run",
        "--log-every",
        "1",
    ];
    let mut child =
        folder.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("step 1 "), "{first}");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let last = lines.map(Result::unwrap).last().unwrap();
    assert!(
        last.starts_with("interrupted after step ") && last.ends_with("saved in `run`"),
        "{last}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let done: u64 = last.split([' ', ';']).nth(3).unwrap().parse().unwrap();
    let total = (done + 3).to_string();
    let resume = ["--steps", &total, "--out", "run", "--resume", "--json"];
    let result = folder.json(&[&["train", "model.dl", "--data", "digits"][..], &resume].concat());
    assert_eq!(result["steps"].as_u64(), Some(done + 3));
}

/// Two replicas of two stages, each rank a thread: files are those of one, and a run may change from one to the other.
#[test]
fn a_model_in_stages_leaves_the_files_of_one_process() {
    let folder = Folder::new("stages");
    let spread = "parallel small { data 2; pipeline 2 at dense_2 { microbatches = 2 } }\n";
    fs::write(folder.path("spread.dl"), format!("{MODEL}\n{spread}")).unwrap();
    let train = |model: &str, out: &str, steps: &str, more: &[&str]| {
        let mut args = vec!["train", model, "--data", "digits", "--json", "--threads", "1"];
        args.extend(["--out", out, "--steps", steps]);
        args.extend(more);
        folder.json(&args)
    };
    let alone = train("model.dl", "alone", "60", &[]);
    assert_eq!(train("spread.dl", "spread", "60", &[]), alone);
    train("spread.dl", "both", "30", &[]);
    train("model.dl", "both", "45", &["--resume"]);
    train("spread.dl", "both", "60", &["--resume"]);
    for file in ["weights.safetensors", "checkpoint"] {
        let read = |folder_of: &str| fs::read(folder.path(folder_of).join(file)).unwrap();
        assert!(read("spread") == read("alone"), "{file}");
        assert!(read("both") == read("alone"), "{file} of a run resumed");
    }
    let summary = folder.json(&["summary", "spread.dl", "--json"]);
    let ranks = summary["ranks"].as_array().unwrap();
    let params = |rank: usize| ranks[rank]["params"].as_i64().unwrap();
    assert_eq!((ranks.len(), params(0), params(1)), (4, 64 * 16 + 16, 16 * 10 + 10));
    for (rank, leaf) in [("0", "@from 1"), ("3", "@from 0")] {
        let text =
            folder.run(&["dump", "spread.dl", "--stage", "frozen", "--ranks", "4", "--rank", rank]);
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains(leaf), "{text}");
    }
    let odd = folder.run(&["dump", "spread.dl", "--stage", "frozen", "--ranks", "3"]);
    assert_eq!(odd.status.code(), Some(2));
    assert!(
        stderr(&odd).contains(
            "3 ranks cannot be shared out to replicas of the model, each of which takes 2"
        ),
        "{}",
        stderr(&odd)
    );
}

#[test]
fn predictions_go_from_file_to_file() {
    let folder = Folder::new("predict");
    folder
        .json(&["train", "model.dl", "--data", "digits", "--steps", "5", "--out", "run", "--json"]);
    // More examples than a batch, and not a multiple of it.
    let x =
        Array4::from_shape_fn((75, 8, 8, 1), |(n, i, j, _)| ((n + 3 * i + j) % 17) as f64 / 16.0);
    x.write_npy(File::create(folder.path("x.npy")).unwrap()).unwrap();
    let predict = |input: &str, output: &str, batch: &str| {
        folder.json(&[
            "predict",
            "model.dl",
            "--weights",
            "run/weights.safetensors",
            "--input",
            input,
            "--output",
            output,
            "--batch",
            batch,
            "--json",
        ])
    };
    assert_eq!(predict("x.npy", "y.npy", "32")["logits"], serde_json::json!([75, 10]));
    predict("image=x.npy", "logits=z.npy", "7");
    let read =
        |name: &str| Array2::<f32>::read_npy(File::open(folder.path(name)).unwrap()).unwrap();
    assert_eq!(read("y.npy"), read("z.npy"));
    assert_eq!(read("y.npy").dim(), (75, 10));
    let small = x.slice(ndarray::s![.., ..4, .., ..]).to_owned();
    small.write_npy(File::create(folder.path("small.npy")).unwrap()).unwrap();
    let output = folder.run(&[
        "predict",
        "model.dl",
        "--weights",
        "run/weights.safetensors",
        "--input",
        "small.npy",
        "--output",
        "o.npy",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let told =
        "error[E0402]: input `image` is f32[batch, 8, 8, 1], but f32[75, 4, 8, 1] was given\n";
    assert!(stderr(&output).starts_with(told), "{}", stderr(&output));
}

#[test]
fn wrong_text_is_shown_with_its_place() {
    let folder = Folder::new("wrong");
    fs::write(folder.path("bad.dl"), MODEL.replace("dense(10)", "dnese(10)")).unwrap();
    for command in
        [&["check", "bad.dl"][..], &["train", "bad.dl", "--data", "digits"], &["summary", "bad.dl"]]
    {
        let output = folder.run(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let text = stderr(&output);
        assert!(text.starts_with("error[E0"), "{text}");
        assert!(text.contains("bad.dl:2:") && text.contains("dnese"), "{text}");
    }
    assert_eq!(folder.run(&["check", "model.dl"]).status.code(), Some(0));
    let output = folder.run(&["check", "bad.dl", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list[0]["primary"]["from"]["line"], 2);
}

#[test]
fn wrong_arguments_end_with_2() {
    let folder = Folder::new("arguments");
    let cases: &[(&[&str], &str)] = &[
        (&["check", "none.dl"], "error: could not read `none.dl`: "),
        (&["summary", "none.dl"], "error: could not read `none.dl`"),
        (&["train", "model.dl", "--data", "digit"], "error: --data: unknown data `digit`; "),
        (&["train", "model.dl", "--data", "mnist:/none"], "error: "),
        (
            &["train", "model.dl", "--data", "digits", "--target", "riscv"],
            "error: there is no target `riscv`; ",
        ),
        (
            &["train", "model.dl", "--data", "digits", "--init", "none"],
            "error: could not read weights from `none`",
        ),
        (&["train", "model.dl"], "error: the following required arguments were not provided"),
        (&["train", "model.dl", "--data", "digits", "--batch", "0"], "error: invalid value '0'"),
        (&["summary", "model.dl", "--model", "smal"], "error[E0"),
        (&["unknown"], "error: unrecognized subcommand 'unknown'"),
    ];
    for (arguments, expected) in cases {
        let output = folder.run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.starts_with(expected), "{arguments:?}: {text}");
    }
}

/// Each case ends with its status and message, without a panic, and leaves no file behind.
#[test]
fn wrong_files_are_named_and_leave_nothing_behind() {
    let folder = Folder::new("files");
    let trained = ["train", "model.dl", "--data", "digits", "--steps", "2", "--out", "run"];
    assert_eq!(folder.run(&trained).status.code(), Some(0));
    let weights = fs::read(folder.path("run/weights.safetensors")).unwrap();
    let checkpoint = fs::read(folder.path("run/checkpoint")).unwrap();
    fs::write(folder.path("cut.safetensors"), &weights[..100]).unwrap();
    let huge_header = [&u64::MAX.to_le_bytes()[..], &weights].concat();
    fs::write(folder.path("huge.safetensors"), huge_header).unwrap();
    for (name, bytes) in [("r1", &checkpoint[..60]), ("r2", &checkpoint[..1500])] {
        fs::create_dir(folder.path(name)).unwrap();
        fs::write(folder.path(name).join("checkpoint"), bytes).unwrap();
    }
    fs::write(folder.path("other.dl"), MODEL.replace("dense(16)", "dense(8)")).unwrap();
    fs::write(folder.path("bare.dl"), MODEL.split("train").next().unwrap()).unwrap();
    npy(&folder, "x.npy", "<f4", "(5, 8, 8, 1)", &0.5_f32.to_le_bytes().repeat(320));
    npy(&folder, "short.npy", "<f4", "(5, 8, 8, 1)", &[0; 1200]);
    npy(&folder, "huge.npy", "<f4", "(1099511627776, 8, 8, 1)", &[0; 64]);
    npy(&folder, "ints.npy", "<i4", "(5, 8, 8, 1)", &[0; 1280]);
    fs::write(folder.path("noise.npy"), "noise").unwrap();
    fs::create_dir(folder.path("folder")).unwrap();

    let before = listing(&folder);
    let train = ["train", "model.dl", "--data", "digits", "--steps", "1"];
    let predict = ["predict", "model.dl", "--weights", "run/weights.safetensors"];
    let io = |input: &'static str, output: &'static str| ["--input", input, "--output", output];
    let eval =
        |weights: &'static str| ["eval", "model.dl", "--data", "digits", "--weights", weights];
    let cases: Vec<(Vec<&str>, i32, &str)> = vec![
        (
            [&predict[..], &io("short.npy", "y")].concat(),
            2,
            "could not read `short.npy`: reached EOF",
        ),
        (
            [&predict[..], &io("huge.npy", "y")].concat(),
            2,
            "could not read `huge.npy`: its shape asks for more than its ",
        ),
        ([&predict[..], &io("ints.npy", "y")].concat(), 2, "`ints.npy` cannot be read as F32"),
        ([&predict[..], &io("noise.npy", "y")].concat(), 2, "could not read `noise.npy`: "),
        (
            [&predict[..], &io("none.npy", "y")].concat(),
            2,
            "could not read `none.npy`: No such file",
        ),
        (
            [&predict[..], &io("img=x.npy", "y")].concat(),
            2,
            "the model has no input `img`, it has `image`",
        ),
        (
            [&predict[..], &io("x.npy", "y=z")].concat(),
            2,
            "the model has no result `y`, it has `logits`",
        ),
        (
            [&predict[..], &io("x.npy", "none/y")].concat(),
            1,
            "could not write `none/y`: No such file",
        ),
        (
            [&predict[..], &io("x.npy", "folder")].concat(),
            1,
            "could not write `folder`: Is a directory",
        ),
        (
            [&predict[..], &io("x.npy", "/dev/full")].concat(),
            1,
            "could not write `/dev/full`: No space",
        ),
        (eval("none").into(), 2, "could not read weights from `none`: No such file"),
        (eval("folder").into(), 2, "could not read weights from `folder`: "),
        (
            eval("cut.safetensors").into(),
            2,
            "cut.safetensors: this is no safetensors file, or not a whole one",
        ),
        (
            eval("huge.safetensors").into(),
            2,
            "huge.safetensors: this is no safetensors file, or not a whole",
        ),
        (
            vec!["eval", "other.dl", "--data", "digits", "--weights", "run/weights.safetensors"],
            2,
            "run/weights.safetensors: weight `dense_1.w` is f32[64, 8], but f32[64, 16] was given",
        ),
        (
            vec!["eval", "bare.dl", "--data", "digits", "--weights", "run/weights.safetensors"],
            2,
            "`small` has no `train` block, so it cannot ",
        ),
        (
            vec!["train", "bare.dl", "--data", "digits"],
            2,
            "`small` has no `train` block, so it cannot be trained",
        ),
        (
            [&train[..], &["--batch", "4000000000"]].concat(),
            2,
            "a batch holds 1 to 2147483647 examples",
        ),
        ([&train[..], &["--batch", "2147483647"]].concat(), 1, "could not allocate "),
        (
            [&train[..], &["--out", "model.dl"]].concat(),
            1,
            "could not make the folder `model.dl`: ",
        ),
        (
            [&train[..], &["--out", "none", "--init", "cut.safetensors"]].concat(),
            2,
            "cut.safetensors: this is no",
        ),
        (
            [&train[..], &["--out", "folder", "--resume"]].concat(),
            2,
            "could not read the checkpoint `folder/",
        ),
        (
            [&train[..], &["--out", "r1", "--resume"]].concat(),
            2,
            "`r1/checkpoint` is no checkpoint, or not a whole",
        ),
        (
            [&train[..], &["--out", "r2", "--resume"]].concat(),
            2,
            "`r2/checkpoint` is no checkpoint, or not a whole",
        ),
        (
            vec!["train", "other.dl", "--data", "digits", "--out", "run", "--resume"],
            2,
            "`run/checkpoint` was made by another program: ",
        ),
        (
            vec!["train", "model.dl", "--data", "digits", "--epochs", "18446744073709551615"],
            2,
            "18446744073709551615 epochs of 45 steps are more than can be counted",
        ),
        (vec!["summary", "none.dl"], 2, "could not read `none.dl`: No such file"),
        (vec!["summary", "x.npy"], 2, "could not read `x.npy`: "),
        (vec!["bench", "model.dl", "--seconds", "nan"], 2, "--seconds: NaN is no duration"),
        (vec!["bench", "bare.dl", "--mode", "train"], 2, "`small` has no `train` block"),
    ];
    for (arguments, status, expected) in cases {
        let output = folder.run(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.starts_with(&format!("error: {expected}")), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
        assert_eq!(listing(&folder), before, "{arguments:?}");
    }
    assert_eq!(fs::read(folder.path("run/weights.safetensors")).unwrap(), weights);
    assert_eq!(fs::read(folder.path("run/checkpoint")).unwrap(), checkpoint);
}

/// Writes a `.npy` file of format 1.0 with this header and these bytes, whether or not they fit together.
fn npy(folder: &Folder, name: &str, descr: &str, shape: &str, bytes: &[u8]) {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}").into_bytes();
    header.resize((10 + header.len() + 1).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend([&header[..], bytes].concat());
    fs::write(folder.path(name), file).unwrap();
}

/// All files and folders in a folder, in order.
fn listing(folder: &Folder) -> Vec<PathBuf> {
    fn walk(path: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.clone());
            if path.is_dir() {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&folder.0, &mut found);
    found.sort();
    found
}

/// Damaged image files and labels that are no classes end with 2 and the place.
#[test]
fn wrong_images_are_shown_with_their_place() {
    let folder = Folder::new("images");
    let set =
        |name: &str, side: usize, label: u8, damage: &dyn Fn(Vec<u8>) -> Vec<u8>, gz: bool| {
            let path = folder.path(name);
            fs::create_dir(&path).unwrap();
            let n = 40_usize;
            let header = |magic: u32, extents: &[usize]| -> Vec<u8> {
                let extents = extents.iter().flat_map(|&extent| (extent as u32).to_be_bytes());
                magic.to_be_bytes().into_iter().chain(extents).collect()
            };
            let images = [header(0x803, &[n, side, side]), vec![7; n * side * side]].concat();
            let labels = [header(0x801, &[n]), vec![label; n]].concat();
            for part in ["train", "t10k"] {
                for (kind, bytes) in [("images-idx3", &images), ("labels-idx1", &labels)] {
                    let (bytes, end) = match gz {
                        false => (bytes.clone(), ""),
                        true => {
                            let mut gz =
                                flate2::write::GzEncoder::new(Vec::new(), Default::default());
                            std::io::Write::write_all(&mut gz, bytes).unwrap();
                            (gz.finish().unwrap(), ".gz")
                        }
                    };
                    let bytes = if kind == "images-idx3" { damage(bytes) } else { bytes };
                    fs::write(path.join(format!("{part}-{kind}-ubyte{end}")), bytes).unwrap();
                }
            }
        };
    let whole = |bytes| bytes;
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 12);
        bytes
    };
    let boast = |mut bytes: Vec<u8>| {
        bytes[4..16].fill(0xff);
        bytes
    };
    set("plain", 8, 3, &whole, false);
    set("packed", 8, 3, &whole, true);
    for name in ["plain", "packed"] {
        let data = format!("mnist:{name}");
        let output = folder.run(&["train", "model.dl", "--data", &data, "--steps", "1"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    set("cut", 8, 3, &cut, false);
    set("torn", 8, 3, &cut, true);
    set("boast", 8, 3, &boast, false);
    set("large", 28, 3, &whole, false);
    set("label", 8, 12, &whole, false);
    let cases = [
        (
            "cut",
            "`cut/train-images-idx3-ubyte`, byte 2564: expected 2576 bytes in all, but the data end here",
        ),
        ("torn", "`torn/train-images-idx3-ubyte.gz`: the gzip stream is damaged after "),
        ("boast", "`boast/train-images-idx3-ubyte`, byte 2576: expected "),
        (
            "large",
            "input `image` is f32[batch, 8, 8, 1], but column `image` of data `large (training)` is f32[batch, 28,",
        ),
        ("label", "`label` holds 12, which is out of range"),
        ("none", "`none` has no `train-images-idx3-ubyte`, neither plain nor with `.gz`"),
    ];
    for (name, expected) in cases {
        let data = format!("mnist:{name}");
        let arguments = ["train", "model.dl", "--data", &data, "--no-shuffle", "--steps", "1"];
        let output = folder.run(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        let told = ["error: ", "error[E0401]: ", "error[E0402]: "];
        assert!(
            told.iter().any(|kind| text.starts_with(&format!("{kind}{expected}"))),
            "{name}: {text}"
        );
        // What stems from the text of the model is shown with it.
        let line = match name {
            "large" => "1 | model small(image: f32[batch, 8, 8, 1])",
            "label" => "6 |     loss      = softmax_cross_entropy(logits, label)",
            _ => "",
        };
        assert!(text.contains(line), "{name}: {text}");
    }
}

/// The first operation that gave no number is shown with its text, be it on the way to the loss or in the update before.
#[test]
fn a_loss_that_is_no_number_is_traced() {
    let folder = Folder::new("trace");
    let text = MODEL.replace("softmax_cross_entropy(logits, label)", "-mean(log(logits))");
    fs::write(folder.path("log.dl"), text).unwrap();
    let wild = MODEL.replace("adam(lr = 2e-2)", "sgd(lr = 1e38)");
    fs::write(folder.path("wild.dl"), wild).unwrap();
    let cases = [
        ("log.dl", 1, "loss      = -mean(log(logits))", "`log`, ln x, gives NaN in"),
        ("wild.dl", 2, "logits = image", "a sum has become infinite"),
    ];
    for (file, step, line, label) in cases {
        let output = folder.run(&["train", file, "--data", "digits", "--steps", "5"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        let headline = format!("warning[W0403]: the loss of step {step} is no number");
        for wanted in [&headline, line, label] {
            assert!(text.contains(wanted), "{file}: {wanted}\n{text}");
        }
    }
}

/// Code is shown for processors that this one is not.
#[test]
fn code_for_every_target_is_shown_anywhere() {
    let folder = Folder::new("targets");
    fs::write(folder.path("model.dl"), MODEL).unwrap();
    for (target, register) in [("v128", "%xmm0"), ("avx2", "%ymm0"), ("avx512", "%zmm0")] {
        let output = folder.run(&["dump", "model.dl", "--stage", "asm", "--target", target]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains(register), "{target}");
    }
}

/// A run whose loss is no number goes on, says so, and ends with 0: what to do about it is the program's to say.
#[test]
fn numbers_that_are_none_are_reported_and_not_hidden() {
    let folder = Folder::new("nan");
    fs::write(folder.path("wild.dl"), MODEL.replace("adam(lr = 2e-2)", "sgd(lr = 1e38)")).unwrap();
    let arguments =
        ["train", "wild.dl", "--data", "digits", "--steps", "20", "--out", "run", "--json"];
    let result = folder.json(&arguments);
    assert!(result["loss"].is_null(), "{result}");
    let log = fs::read_to_string(folder.path("run/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(last["loss"].is_null(), "{log}");
    // Predictions from such weights, and from such inputs, are numbers or none, but they are made.
    let nan = f32::NAN.to_le_bytes().repeat(320);
    npy(&folder, "nan.npy", "<f4", "(5, 8, 8, 1)", &nan);
    npy(&folder, "zero.npy", "<f4", "(0, 8, 8, 1)", &[]);
    let weights = "run/weights.safetensors";
    for (input, n) in [("nan.npy", 5), ("zero.npy", 0)] {
        let arguments = [
            "predict",
            "wild.dl",
            "--weights",
            weights,
            "--input",
            input,
            "--output",
            "y.npy",
            "--json",
        ];
        assert_eq!(folder.json(&arguments)["logits"], serde_json::json!([n, 10]));
        let read = Array2::<f32>::read_npy(File::open(folder.path("y.npy")).unwrap()).unwrap();
        assert!(read.dim() == (n, 10) && read.iter().all(|x| x.is_nan()), "{read}");
    }
}

#[test]
fn files_are_formatted_in_place() {
    let folder = Folder::new("fmt");
    assert_eq!(folder.run(&["fmt", "model.dl"]).status.code(), Some(0));
    let formatted = fs::read_to_string(folder.path("model.dl")).unwrap();
    fs::write(folder.path("model.dl"), formatted.replace(" = ", "   =  ")).unwrap();
    let output = folder.run(&["fmt", "--check", "model.dl"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b"model.dl\n"[..]));
    assert_eq!(folder.run(&["fmt", "model.dl"]).status.code(), Some(0));
    assert_eq!(folder.run(&["fmt", "--check", "model.dl"]).status.code(), Some(0));
    fs::write(folder.path("bad.dl"), "model {").unwrap();
    assert_eq!(folder.run(&["fmt", "bad.dl"]).status.code(), Some(2));
    assert_eq!(fs::read_to_string(folder.path("bad.dl")).unwrap(), "model {");
}

#[test]
fn every_stage_has_a_text() {
    let folder = Folder::new("dump");
    let cases = [
        ("ast", "File {"),
        ("graph", "small.train"),
        ("autodiff", "small.train"),
        ("frozen", "order"),
        ("tile", "phase"),
        ("vector", "loop"),
        ("asm", "ret"),
    ];
    for (stage, expected) in cases {
        let output = folder.run(&["dump", "model.dl", "--stage", stage]);
        assert_eq!(output.status.code(), Some(0), "{stage}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{stage}");
    }
    let output = folder.run(&["dump", "model.dl", "--stage", "graph", "--program", "predict"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("small.predict"));
}

#[test]
fn measurements_have_all_their_keys() {
    let folder = Folder::new("bench");
    let result =
        folder.json(&["bench", "model.dl", "--seconds", "0.1", "--threads", "1", "--json"]);
    let keys = [
        "ms",
        "ms_min",
        "compile_ms",
        "first_step_s",
        "params",
        "loss0",
        "gflops",
        "percent_of_peak",
        "peak_rss_mib",
        "threads",
        "batch",
    ];
    for key in keys {
        assert!(result[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {result}");
    }
    assert_eq!(result["params"], 64 * 16 + 16 + 16 * 10 + 10);
    assert_eq!(result["batch"], 32);
    let result =
        folder.json(&["bench", "model.dl", "--seconds", "0.1", "--mode", "infer", "--json"]);
    assert!(result["loss0"].is_null());

    let summary = folder.json(&["summary", "model.dl", "--json"]);
    assert_eq!(summary["params"], 1210);
    let names: Vec<&str> = summary["weights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["dense_1.w", "dense_1.b", "dense_2.w", "dense_2.b"]);
    let output = folder.run(&["summary", "model.dl"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1,210 trainable parameters"));

    let doctor = folder.json(&["doctor", "--json"]);
    assert!(doctor["peak_gflops"].as_f64().unwrap() > 1.0, "{doctor}");
    assert_eq!(doctor["data"]["digits"], true);
    assert!(doctor["targets"].as_array().unwrap().contains(&doctor["target"]), "{doctor}");
}
