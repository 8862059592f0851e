//! `dlc compile`: a static library ahead of time.

use clap::ValueEnum;
use dlc_build::{Builder, Cpu, Emit, Weights, check_system};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

use super::options::ModelArgs;
use super::{Outcome, output, wrong_input};

/// Compile a model to a static library with a C header and a Rust module, which need no runtime
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Where the files go
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// With first values, training step and evaluation, not only inference
    #[arg(long)]
    train: bool,
    /// For which processors: x86-64-v2, x86-64-v3, x86-64-v4 or native; x86-64-v2 alone rounds differently, as `--numerics unfused` does elsewhere
    #[arg(long, value_name = "LEVEL", default_value = "x86-64-v3")]
    cpu: String,
    /// For which system, as a target triple; object files are ELF for x86-64
    #[arg(long, value_name = "TRIPLE", default_value = "x86_64-unknown-linux-gnu")]
    target: String,
    /// The most examples in a batch [default: what the model says, else 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Where the weights go
    #[arg(long, value_enum, default_value = "file")]
    weights: WeightsPlace,
    /// Take these weights instead of drawing them
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Decides the weights that are drawn [default: what the model says, else 0]
    #[arg(long, value_name = "N", conflicts_with = "init")]
    seed: Option<u32>,
    /// What to write besides weights: lib, obj, header, rust, graph, tile, vector, clif, asm
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "lib,obj,header,rust")]
    emit: Vec<String>,
    /// End with a JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WeightsPlace {
    /// Into the library
    Embed,
    /// Into a file of their own
    File,
    /// Nowhere
    None,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let emit = args.emit.iter().map(|name| {
        Emit::from_name(name).ok_or_else(|| wrong_input(format!("--emit: there is no `{name}`")))
    });
    let emit = emit.collect::<anyhow::Result<Vec<_>>>()?;
    let cpu = Cpu::from_name(&args.cpu).map_err(dlc::Error::from)?;
    check_system(&args.target).map_err(dlc::Error::from)?;
    let model = args.model.open()?;
    let settings = &model.elaborated().program.settings;
    let seed_of_text = settings.seed.and_then(|seed| u32::try_from(seed).ok());
    let mut builder = Builder::new(&args.model.file)
        .train(args.train)
        .cpu(cpu)
        .seed(args.seed.or(seed_of_text).unwrap_or(0))
        .emit(&emit)
        .weights(match args.weights {
            WeightsPlace::Embed => Weights::Embed,
            WeightsPlace::File => Weights::File,
            WeightsPlace::None => Weights::None,
        });
    if let Some(batch) = args.batch {
        builder = builder.batch(batch as usize);
    }
    if let Some(init) = &args.init {
        builder = builder.init(init);
    }
    let written = builder.write_elaborated(model.elaborated(), &args.out)?;
    let compile_ms = start.elapsed().as_secs_f64() * 1e3;
    if args.json {
        let files = written
            .files
            .iter()
            .map(|(path, bytes)| json!({ "path": path.display().to_string(), "bytes": bytes }));
        output::line(json!({
            "name": written.name,
            "cpu": cpu.name(),
            "target": args.target,
            "compile_ms": compile_ms,
            "files": files.collect::<Vec<_>>(),
        }))?;
        return Ok(Outcome::Done);
    }
    for (path, bytes) in &written.files {
        output::line(format_args!("{} ({:.1} KB)", path.display(), *bytes as f64 / 1e3))?;
    }
    eprintln!("compiled for {} in {compile_ms:.0} ms", cpu.name());
    Ok(Outcome::Done)
}
