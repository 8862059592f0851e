//! Options that several commands share.

use clap::ValueEnum;
use dlc::comm::Communicator;
use dlc::data::{DataSpec, Splits, Want};
use dlc::{Model, Net, NumericsClass, Options, Target};
use dlc_driver::model::CompileOptions;
use dlc_frontend::DataInput;
use std::path::PathBuf;

use super::wrong_input;

/// Which model.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// The file that declares the model
    pub file: PathBuf,
    /// Which model, where the file declares several
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
}

impl ModelArgs {
    /// Reads and checks the model; warnings go to standard error.
    pub fn open(&self) -> anyhow::Result<Model> {
        let model = self.open_quietly()?;
        let elaborated = model.elaborated();
        super::output::diagnostics(&elaborated.warnings, &elaborated.sources);
        Ok(model)
    }

    /// As [`ModelArgs::open`], without the warnings.
    pub fn open_quietly(&self) -> anyhow::Result<Model> {
        Ok(Model::open(&self.file, self.model.as_deref())?)
    }
}

/// How it is compiled and run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Examples in a batch [default: what the model says, else 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Threads of a step; results do not depend on it [default: all that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Instructions to use: native, v128, avx2 or avx512; results do not depend on it
    #[arg(long, value_name = "NAME", default_value = "native")]
    pub target: String,
    /// How products round that are terms of sums: results of one are not those of the other
    #[arg(long, value_enum, default_value = "fused")]
    pub numerics: Numerics,
    /// Say how long each stage of compiling took
    #[arg(long)]
    pub timings: bool,
}

/// A numerics class by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Numerics {
    /// With the sum, at once
    Fused,
    /// For themselves, as on processors without fused multiply-add (x86-64-v2)
    Unfused,
}

impl RunArgs {
    /// Shares the threads of this process between so many ranks, where the user has not said how many each has.
    pub fn share_threads(&mut self, ranks: usize) {
        let each = (Options::default().threads / ranks).max(1);
        self.threads.get_or_insert(u32::try_from(each).unwrap_or(1));
    }

    /// The options for the library.
    pub fn options(&self, seed: u32) -> anyhow::Result<Options> {
        let defaults = Options::default();
        Ok(Options {
            batch: self.batch.map_or(defaults.batch, |batch| batch as usize),
            threads: self.threads.map_or(defaults.threads, |threads| threads as usize),
            seed,
            target: self.target()?,
            class: match self.numerics {
                Numerics::Fused => NumericsClass::Fused,
                Numerics::Unfused => NumericsClass::Unfused,
            },
            ..defaults
        })
    }

    /// How the compiler below the library is asked for the same.
    pub fn compile_options(&self) -> anyhow::Result<CompileOptions> {
        let Options { batch, target, class, verify, .. } = self.options(0)?;
        let batch = (batch > 0).then_some(batch);
        Ok(CompileOptions { batch, target, class, verify, rank: None })
    }

    /// The target, which this machine must run.
    pub fn target(&self) -> anyhow::Result<Target> {
        Ok(self.any_target()?.required().map_err(dlc::Error::from)?)
    }

    /// The target, for commands that only show its code.
    pub fn any_target(&self) -> anyhow::Result<Target> {
        Ok(Target::from_name(&self.target).map_err(dlc::Error::from)?)
    }

    /// Compiles a model.
    pub fn compile(&self, model: &Model, seed: u32) -> anyhow::Result<Net> {
        self.compile_rank(model, &self.options(seed)?, None)
    }

    /// Compiles a model with these options, as one of several ranks where there is a transport to the others.
    pub fn compile_rank(
        &self,
        model: &Model,
        options: &Options,
        comm: Option<Box<dyn Communicator>>,
    ) -> anyhow::Result<Net> {
        let net = match comm {
            Some(comm) => model.compile_rank(options, comm)?,
            None => model.compile(options)?,
        };
        if self.timings {
            timings(&net);
        }
        Ok(net)
    }
}

/// Says where the time of compiling went.
fn timings(net: &Net) {
    let timings = net.timings();
    let (instructions, bytes) = net
        .code()
        .iter()
        .fold((0, 0), |(n, bytes), code| (n + code.n_instructions, bytes + code.code_bytes));
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    eprintln!(
        "front end {:.1} ms, passes {:.1} ms, lowering {:.1} ms, code {:.1} ms ({instructions} instructions, {bytes} bytes); \
         a step after {:.1} ms, all programs after {:.1} ms",
        ms(timings.front_end),
        ms(timings.passes),
        ms(timings.lowering),
        ms(timings.codegen),
        ms(timings.to_step()),
        ms(timings.total())
    );
}

/// Loads data by their specification, as a model takes them.
pub(super) fn load_data(spec: &str, model: &Model) -> anyhow::Result<Splits> {
    let spec: DataSpec = spec.parse().map_err(|error| wrong_input(format!("--data: {error}")))?;
    Ok(spec.load_for(&wants(model))?)
}

/// The inputs whose shape is fixed but for the batch.
pub(super) fn wants(model: &Model) -> Vec<Want> {
    let inputs = model.elaborated().program.inputs.iter();
    let want = |input: &DataInput| {
        let extents = input.shape.iter().skip(1);
        let extents = extents.map(|dim| dim.as_fixed().and_then(|n| usize::try_from(n).ok()));
        Some(Want {
            name: input.name.clone(),
            elem: input.elem,
            shape: extents.collect::<Option<_>>()?,
            is_target: input.train_only,
        })
    };
    inputs.filter_map(want).collect()
}
