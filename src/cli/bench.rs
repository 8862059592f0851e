//! `dlc bench`: how fast steps are, on random data.

use clap::ValueEnum;
use dlc::Net;
use dlc::data::philox4x32;
use dlc_abi::ElemType;
use dlc_frontend::ModelProgram;
use dlc_train::{Data, InputDesc, Tensor, TensorRef};
use serde_json::json;
use std::time::{Duration, Instant};

use super::options::{ModelArgs, RunArgs};
use super::{Outcome, output, peak, wrong_input};

/// Measure steps on random data
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// What to measure [default: train if the model can be trained]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// For how long
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// End with a JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Whole training steps
    Train,
    /// Inference
    Infer,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let limit = Duration::try_from_secs_f64(args.seconds)
        .map_err(|_| wrong_input(format!("--seconds: {} is no duration", args.seconds)))?;
    let model = args.model.open()?;
    let program = &model.elaborated().program;
    let mode = args.mode.unwrap_or(if program.train.is_some() { Mode::Train } else { Mode::Infer });
    let mut net = args.run.compile(&model, 0)?;
    let descs = match mode {
        Mode::Train => net.session().train_inputs().to_vec(),
        Mode::Infer => net.session().predict_inputs().to_vec(),
    };
    let tensors: Vec<Tensor> = descs
        .iter()
        .enumerate()
        .map(|(index, desc)| random(desc, index, program, net.batch()))
        .collect();
    let inputs: Vec<(&str, TensorRef<'_>)> = descs
        .iter()
        .zip(&tensors)
        .map(|(desc, tensor)| (desc.name.as_str(), tensor.view()))
        .collect();
    let loss0 = step(&mut net, mode, &inputs)?;
    let first_step_s = since_process_start().unwrap_or_else(|| begin.elapsed().as_secs_f64());
    let times = measure(&mut net, mode, &inputs, limit)?;
    let (median, least) = (times[times.len() / 2], times[0]);
    let threads = net.session().threads();
    let peak = peak::measure(args.run.target()?, threads)?;
    let flops = match mode {
        Mode::Train => net.flops().train,
        Mode::Infer => net.flops().predict,
    };
    let gflops = flops / median.as_secs_f64() / 1e9;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let value = json!({
        "ms": ms(median),
        "ms_min": ms(least),
        "compile_ms": ms(net.timings().total()),
        "compile_step_ms": ms(net.timings().to_step()),
        "first_step_s": first_step_s,
        "params": program.trainable(),
        "loss0": loss0,
        "gflops": gflops,
        "percent_of_peak": 100.0 * gflops / peak,
        "peak_rss_mib": peak_rss_mib(),
        "threads": threads,
        "batch": net.batch(),
        "target": args.run.target()?.name(),
        "peak_gflops": peak,
        "steps": times.len(),
    });
    if args.json {
        output::line(value)?;
    } else {
        for (key, value) in value.as_object().expect("made as an object above") {
            output::line(format_args!("{key:<16} {value}"))?;
        }
    }
    Ok(Outcome::Done)
}

/// One step; the loss where there is one.
fn step(
    net: &mut Net,
    mode: Mode,
    inputs: &[(&str, TensorRef<'_>)],
) -> anyhow::Result<Option<f32>> {
    match mode {
        Mode::Train => {
            Ok(Some(net.session_mut().train_step(inputs).map_err(dlc::Error::from)?.loss))
        }
        Mode::Infer => {
            net.session().predict(inputs).map_err(dlc::Error::from)?;
            Ok(None)
        }
    }
}

/// Times of steps, sorted; at least three.
fn measure(
    net: &mut Net,
    mode: Mode,
    inputs: &[(&str, TensorRef<'_>)],
    limit: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 3 || begin.elapsed() < limit {
        let start = Instant::now();
        step(net, mode, inputs)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Numbers in [-1, 1), or indices in their range, from a counter-based generator: the same in every run.
fn random(desc: &InputDesc, index: usize, program: &ModelProgram, batch: usize) -> Tensor {
    let shape: Vec<usize> = desc.shape.iter().map(|dim| dim.at(batch as i64) as usize).collect();
    let n: usize = shape.iter().product();
    let word = |element: usize| {
        philox4x32([(element / 4) as u32, 0, 0, index as u32], [0, 0])[element % 4]
    };
    // The top 24 bits, so that the number is exact in single precision.
    let unit = |element: usize| (word(element) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let known = program.inputs.iter().find(|input| input.name == desc.name);
    let bound =
        known.and_then(|input| input.index).map(|used| used.extent).unwrap_or(2).clamp(1, 1 << 31)
            as u64;
    let below = |element: usize| (u64::from(word(element)) * bound) >> 32;
    let data = match desc.elem {
        ElemType::F64 => Data::F64((0..n).map(|element| f64::from(unit(element))).collect()),
        ElemType::I32 => Data::I32((0..n).map(|element| below(element) as i32).collect()),
        ElemType::I64 => Data::I64((0..n).map(|element| below(element) as i64).collect()),
        ElemType::U8 | ElemType::Bool => {
            Data::U8((0..n).map(|element| (below(element) & 1) as u8).collect())
        }
        ElemType::F32 | ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            Data::F32((0..n).map(unit).collect())
        }
    };
    Tensor { shape, data }
}

/// Seconds since this process was started, by the system's account: loading the program counts.
fn since_process_start() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold blanks; the 22nd is the start in ticks.
    let start: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    // Linux reports these times to user space in ticks of 1/100 s on every architecture.
    Some(now - start / 100.0)
}

/// The most memory this process has had, by the system's account.
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}
