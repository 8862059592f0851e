//! `dlc doctor`: what this machine offers.

use dlc::Target;
use dlc::data::{FASHION_MNIST_DIR, FASHION_MNIST_PACKAGE};
use serde_json::json;

use super::{Outcome, output, peak};

/// Show what this machine offers: instructions, threads, measured peak, data
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let threads = dlc_exec::available_threads();
    let target = Target::best();
    let one = peak::measure(target, 1)?;
    let all = if threads > 1 { peak::measure(target, threads)? } else { one };
    let fashion = std::path::Path::new(FASHION_MNIST_DIR).is_dir();
    let features = cpu_features();
    let targets: Vec<&str> =
        Target::ALL.into_iter().filter(|target| target.runs_here()).map(Target::name).collect();
    if args.json {
        let value = json!({
            "arch": std::env::consts::ARCH,
            "features": features,
            "targets": targets,
            "target": target.name(),
            "threads": threads,
            "peak_gflops_1": one,
            "peak_gflops": all,
            "numerics": dlc_abi::NUMERICS_VERSION,
            "mpi": mpi(),
            "bound_to_one": bound_to_one(threads),
            "data": { "digits": true, "fashion-mnist": fashion },
        });
        output::line(value)?;
        return Ok(Outcome::Done);
    }
    let fashion = match fashion {
        true => format!("in {FASHION_MNIST_DIR}"),
        false => format!("not found; the Debian package `{FASHION_MNIST_PACKAGE}` has it"),
    };
    output::line(format_args!(
        "processor      {}: {}",
        std::env::consts::ARCH,
        features.join(" ")
    ))?;
    output::line(format_args!(
        "targets        {} (chosen: {})",
        targets.join(", "),
        target.name()
    ))?;
    output::line(format_args!("threads        {threads} that this process may use"))?;
    if bound_to_one(threads) {
        output::line(
            "               this process is bound to one processor of several; `mpirun` does so with one or two ranks",
        )?;
        output::line(
            "               on a host, unless it is given `--bind-to none` or, say, `--map-by slot:PE=4`",
        )?;
    }
    let on_all = if threads > 1 { format!(", {all:.0} on {threads}") } else { String::new() };
    output::line(format_args!("peak           {one:.0} GFLOP/s on 1 thread{on_all}"))?;
    output::line(format_args!("numerics       version {}", dlc_abi::NUMERICS_VERSION))?;
    let mpi = mpi().unwrap_or_else(|| "not built in; build with `--features mpi`".to_owned());
    output::line(format_args!("mpi            {mpi}"))?;
    output::line("data           digits: built in")?;
    output::line(format_args!("               fashion-mnist: {fashion}"))?;
    Ok(Outcome::Done)
}

/// The MPI library that this program was built with.
fn mpi() -> Option<String> {
    #[cfg(feature = "mpi")]
    return Some(dlc::comm::mpi::library());
    #[cfg(not(feature = "mpi"))]
    None
}

/// Whether this process may use one processor of several. Threads of a step would then take turns.
fn bound_to_one(threads: usize) -> bool {
    // One range or several: `0`, `0-7`, `0-3,8-11`.
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    threads == 1 && online.trim().contains(['-', ','])
}

/// Instruction families that matter here and that this processor has.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("sse4.1", std::arch::is_x86_feature_detected!("sse4.1")),
            ("avx", std::arch::is_x86_feature_detected!("avx")),
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("f16c", std::arch::is_x86_feature_detected!("f16c")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ("avx512dq", std::arch::is_x86_feature_detected!("avx512dq")),
            ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
            ("avx512vl", std::arch::is_x86_feature_detected!("avx512vl")),
        ];
        known.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        Vec::new()
    }
}
