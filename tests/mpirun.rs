//! `mpirun -n N dlc train`: the bits of one process, one set of files, and an end for all when one rank dies.

use std::fs;
use std::io::Read;
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

#[test]
fn ranks_of_a_pipeline_write_what_one_process_writes() {
    let folder = Folder::new("stages");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits_mlp.dl");
    let text = fs::read_to_string(model).expect("the example is there");
    let pipeline = "pipeline 2 at dense_2 { microbatches = 2; schedule = one_f_one_b }";
    let text = format!("{text}\nparallel digits_mlp {{ {pipeline} }}\n");
    let spread = folder.0.join("spread.dl");
    fs::write(&spread, text).expect("there is room");
    let spread = spread.to_str().expect("the name is text");
    let weights = |ranks: Option<usize>, model: &str, name: &str, more: &[&str]| {
        let out = folder.0.join(name);
        let mut args = vec!["train", model, "--data", "digits", "--steps", "20", "--threads", "1"];
        args.extend(["--out", out.to_str().expect("the name is text")]);
        args.extend(more);
        let found = dlc(ranks, &args).output().expect("it starts");
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        fs::read(out.join("weights.safetensors")).expect("written")
    };
    let alone = weights(None, "examples/digits_mlp.dl", "alone", &[]);
    for ranks in [2, 4] {
        assert!(weights(Some(ranks), spread, &ranks.to_string(), &[]) == alone, "{ranks} ranks");
    }
    // Each stage has two replicas, and two numbers have one sum, whoever adds them.
    assert!(weights(Some(4), spread, "fast", &["--reduce", "fast"]) == alone);
}

#[test]
fn sums_may_be_left_to_mpi() {
    let folder = Folder::new("fast");
    let alone = folder.0.join("alone");
    let expected = train(None, &alone, &[]);
    let weights = |folder: &Path| fs::read(folder.join("weights.safetensors")).expect("written");
    let loss = |output: &Output| -> f64 {
        let line = String::from_utf8_lossy(&output.stdout);
        let number = line.split_once("\"loss\":").expect("it tells the loss").1;
        let end = number.find([',', '}']).expect("the object goes on");
        number[..end].parse().expect("a number")
    };
    for ranks in [2, 3] {
        let out = folder.0.join(ranks.to_string());
        let found = train(Some(ranks), &out, &["--reduce", "fast"]);
        let errors = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "{ranks} ranks: {errors}");
        assert!(errors.contains("in an order of its own"), "{errors}");
        let (found, expected) = (loss(&found), loss(&expected));
        assert!((found - expected).abs() < 1e-4 * expected, "{ranks}: {found} for {expected}");
    }
    // Two numbers have one sum, whoever adds them.
    assert!(weights(&folder.0.join("2")) == weights(&alone));
}

/// The processes that `mpirun` has started, in order of their ranks.
fn ranks_of(job: &Child) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", job.id());
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A job that trains until it is ended, its ranks at work.
fn endless(more: &[&str]) -> (Child, Vec<u32>) {
    let mut args = vec!["train", "examples/digits_mlp.dl", "--data", "digits", "--log-every", "50"];
    args.extend(["--steps", "100000000", "--threads", "1"]);
    args.extend(more);
    let mut job = dlc(Some(2), &args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The first line of the log comes when all ranks have done fifty steps.
    let mut line = [0];
    let errors = job.stderr.as_mut().expect("it was asked for");
    while errors.read(&mut line).expect("it can be read") == 1 && line != *b"\n" {}
    let ranks = ranks_of(&job);
    assert_eq!(ranks.len(), 2, "the ranks are children of `mpirun`");
    (job, ranks)
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("there is such a command").success());
}

#[test]
fn a_rank_that_dies_ends_the_job_within_seconds() {
    let (job, ranks) = endless(&[]);
    signal("-9", ranks[1]);
    let death = Instant::now();
    let ended = job.wait_with_output().expect("it can be waited for");
    assert!(death.elapsed() < Duration::from_secs(20), "the job went on for {:?}", death.elapsed());
    assert!(!ended.status.success());
    let message = String::from_utf8_lossy(&ended.stderr);
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host has a name");
    assert!(message.contains("rank 1") && message.contains(name.trim()), "{message}");
}

#[test]
fn a_rank_whose_data_are_wrong_ends_the_job_and_says_so() {
    let binary = env!("CARGO_BIN_EXE_dlc");
    let train = |data: &str| {
        ["-n", "1", binary, "train", "examples/digits_mlp.dl", "--data", data].map(str::to_owned)
    };
    let begin = Instant::now();
    let ended = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"])
        .args(train("digits"))
        .arg(":")
        .args(train("mnist:/nowhere"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("it starts");
    assert!(begin.elapsed() < Duration::from_secs(60), "it took {:?}", begin.elapsed());
    assert!(!ended.status.success());
    let message = String::from_utf8_lossy(&ended.stderr);
    assert!(
        message.contains("error: rank 1 of 2 on ") && message.contains("/nowhere"),
        "{message}"
    );
}

#[test]
fn an_interrupt_of_the_job_saves() {
    let folder = Folder::new("interrupt");
    let out = folder.0.to_str().expect("the name is text");
    let (job, _) = endless(&["--out", out]);
    // What Ctrl-C does: ranks have process groups of their own.
    signal("-INT", job.id());
    let ended = job.wait_with_output().expect("it can be waited for");
    let message = String::from_utf8_lossy(&ended.stderr);
    assert!(message.contains("saved in"), "{message}");
    assert!(folder.0.join("weights.safetensors").exists() && folder.0.join("checkpoint").exists());
}

/// Two hosts that are network namespaces, a cable between them. They go with the test.
struct Hosts {
    names: [String; 2],
    /// Runs a command on the host with an address, as `ssh` would.
    agent: PathBuf,
}

impl Hosts {
    const ADDRESSES: [&str; 2] = ["10.213.7.1", "10.213.7.2"];

    /// The hosts, or why there can be none.
    fn new(folder: &Folder) -> Result<Self, String> {
        let names = ["a", "b"].map(|end| format!("dlc{}{end}", std::process::id()));
        let agent = folder.0.join("agent");
        let hosts = Hosts { names, agent };
        let [a, b] = &hosts.names;
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        ip(&["link", "add", "cable", "netns", a, "type", "veth", "peer", "cable", "netns", b])?;
        for (name, address) in hosts.names.iter().zip(Self::ADDRESSES) {
            ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", "cable"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "link", "set", "cable", "up"])?;
        }
        // Each host has a name of its own, or Open MPI would take both for one and use memory that they share.
        let script = format!(
            "#!/bin/sh\nhost=$1\nshift\ncase $host in {}) space={a};; *) space={b};; esac\n\
             exec ip netns exec $space unshare --uts sh -c \"hostname $space; $*\"\n",
            Self::ADDRESSES[0]
        );
        fs::write(&hosts.agent, script).map_err(|error| error.to_string())?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&hosts.agent, executable).map_err(|error| error.to_string())?;
        Ok(hosts)
    }

    /// `mpirun` on the first host, with one rank there and two on the second.
    fn mpirun(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[0], "mpirun", "--allow-run-as-root"]);
        let [a, b] = Self::ADDRESSES;
        command.args(["--host", &format!("{a}:1,{b}:2"), "--bind-to", "none", "-n", "3"]);
        command.arg("--mca").arg("plm_rsh_agent").arg(&self.agent);
        for (key, value) in
            [("btl", "self,tcp"), ("btl_tcp_if_include", "cable"), ("oob_tcp_if_include", "cable")]
        {
            command.args(["--mca", key, value]);
        }
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    let message = || format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    done.status.success().then_some(()).ok_or_else(message)
}

#[test]
fn hosts_train_to_the_bits_of_one_process() {
    let folder = Folder::new("hosts");
    let hosts = match Hosts::new(&folder) {
        Ok(hosts) => hosts,
        Err(reason) => return println!("left out, no hosts can be made here: {reason}"),
    };
    let [alone, together] = ["alone", "together"].map(|name| folder.0.join(name));
    assert!(train(None, &alone, &[]).status.success());
    let mut command = hosts.mpirun();
    command.arg(env!("CARGO_BIN_EXE_dlc")).args([
        "train",
        "examples/digits_mlp.dl",
        "--data",
        "digits",
    ]);
    command.args(["--steps", "20", "--threads", "1", "--out"]).arg(&together);
    let found = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it starts");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let read = |folder: &Path| fs::read(folder.join("weights.safetensors")).expect("written");
    assert!(read(&alone) == read(&together));
}
