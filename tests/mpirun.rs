//! `mpirun -n N dlc train`: the bits of one process, one set of files, and an end for all when one rank dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dlc-mpirun-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("there is room");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `dlc` with these arguments: alone, or on so many ranks.
fn dlc(ranks: Option<usize>, args: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_dlc");
    let mut command = match ranks {
        None => Command::new(binary),
        Some(ranks) => {
            let mut command = Command::new("mpirun");
            // Tests run as anybody, on machines with fewer cores than ranks.
            command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]);
            command.args(["-n", &ranks.to_string(), binary]);
            command
        }
    };
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn train(ranks: Option<usize>, out: &Path, more: &[&str]) -> Output {
    let mut args = vec!["train", "examples/digits_mlp.dl", "--data", "digits", "--json", "--out"];
    args.push(out.to_str().expect("the name is text"));
    args.extend(["--steps", "20", "--threads", "1"]);
    args.extend(more);
    dlc(ranks, &args).output().expect("it starts")
}

#[test]
fn ranks_of_a_job_write_what_one_process_writes() {
    let folder = Folder::new("bits");
    let alone = folder.0.join("alone");
    let expected = train(None, &alone, &[]);
    assert!(expected.status.success(), "{}", String::from_utf8_lossy(&expected.stderr));
    for ranks in 1..=4 {
        let out = folder.0.join(ranks.to_string());
        let found = train(Some(ranks), &out, &["--log-every", "5"]);
        let errors = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "{ranks} ranks: {errors}");
        // One rank speaks: one line, the same.
        assert_eq!(found.stdout, expected.stdout, "{ranks} ranks");
        let read = |folder: &Path| fs::read(folder.join("weights.safetensors")).expect("written");
        assert!(read(&out) == read(&alone), "{ranks} ranks leave other weights");
        let log = fs::read_to_string(out.join("metrics.jsonl")).expect("written");
        assert_eq!(log.lines().count(), 4, "{ranks} ranks: one of them logs");
    }
}

#[test]
fn a_checkpoint_is_gone_on_with_on_another_number_of_ranks() {
    let folder = Folder::new("resume");
    let weights = |name: &str, first: Option<usize>, second: Option<usize>| {
        let out = folder.0.join(name);
        for (ranks, steps, more) in [(first, "10", None), (second, "20", Some("--resume"))] {
            let mut args = vec!["train", "examples/digits_mlp.dl", "--data", "digits", "--out"];
            args.push(out.to_str().expect("the name is text"));
            args.extend(["--threads", "1", "--steps", steps]);
            args.extend(more);
            assert!(dlc(ranks, &args).status().expect("it starts").success(), "{ranks:?} ranks");
        }
        fs::read(out.join("weights.safetensors")).expect("written")
    };
    assert!(weights("alone", None, None) == weights("ranks", Some(2), Some(3)));
}

/// The processes that `mpirun` has started, in order of their ranks.
fn ranks_of(job: &Child) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", job.id());
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[test]
fn a_rank_that_dies_ends_the_job_within_seconds() {
    let args = [
        "train",
        "examples/digits_mlp.dl",
        "--data",
        "digits",
        "--steps",
        "100000000",
        "--threads",
        "1",
    ];
    let mut job = dlc(Some(2), &args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let begin = Instant::now();
    let ranks = loop {
        let ranks = ranks_of(&job);
        if ranks.len() == 2 && begin.elapsed() > Duration::from_secs(3) {
            break ranks;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the ranks never started");
        std::thread::yield_now();
    };
    let killed = Command::new("kill").args(["-9", &ranks[1].to_string()]).status();
    assert!(killed.expect("there is such a command").success());
    let death = Instant::now();
    let ended = job.wait_with_output().expect("it can be waited for");
    assert!(death.elapsed() < Duration::from_secs(20), "the job went on for {:?}", death.elapsed());
    assert!(!ended.status.success());
    let message = String::from_utf8_lossy(&ended.stderr);
    assert!(message.contains("rank 1"), "{message}");
}
