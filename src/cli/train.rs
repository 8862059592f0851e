//! `dlc train`: trains a model on a data set.

use anyhow::Context;
use dlc::comm::Communicator;
use dlc::data::Splits;
use dlc::{
    Control, EpochEvent, Event, FitConfig, FitReport, Length, LogEvent, Model, Net, Options,
    Reduce, RunState, Session, StartEvent,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::options::{ModelArgs, RunArgs, load_data};
use super::{Outcome, located, output, ranks, wrong_input};

/// Train a model
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// The data, such as `digits`, `mnist:DIR`, `csv:FILE?label=COLUMN`, `text:FILE`
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Times through the data [default: what the model says, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Steps in all, instead of epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Decides first weights and the order of examples [default: what the model says, else 0]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// How the gradients of several processes are added up
    #[arg(long, value_enum, default_value = "ordered")]
    reduce: How,
    /// Keep the order of the examples
    #[arg(long)]
    no_shuffle: bool,
    /// Begin with the weights of this file
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Where to put `weights.safetensors`, `checkpoint` and `metrics.jsonl`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the checkpoint in `--out`
    #[arg(long, requires = "out")]
    resume: bool,
    /// Steps between two lines of the log
    #[arg(long, value_name = "N", default_value_t = 100)]
    log_every: u64,
    /// End with a JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// A way to add gradients up by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum How {
    /// In a fixed tree: weights have the same bits on any number of processes
    Ordered,
    /// By MPI's own all-reduce: the bits of weights follow the number of processes, their places and the library
    Fast,
}

impl Args {
    fn reduce(&self) -> Reduce {
        match self.reduce {
            How::Ordered => Reduce::Ordered,
            How::Fast => Reduce::Fast,
        }
    }
}

pub(super) fn run(mut args: Args) -> anyhow::Result<Outcome> {
    if let Some((_job, comm)) = ranks::join()? {
        let place = ranks::place(&*comm);
        let rank = comm.rank();
        args.run.share_threads(comm.sharers());
        let model = if rank == 0 { args.model.open() } else { args.model.open_quietly() };
        let outcome = model.and_then(|model| train(&args, &model, Some(comm)));
        return ranks::end(&place, outcome);
    }
    let model = args.model.open()?;
    match model.elaborated().program.settings.grid().ranks() {
        1 => train(&args, &model, None),
        _ if args.reduce == How::Fast => Err(wrong_input(
            "`--reduce fast` leaves sums to MPI, but these ranks are threads of one process: start them by `mpirun`, or leave it out",
        )),
        ranks => side_by_side(args, &model, ranks as usize),
    }
}

/// The ranks that the text asks for, as threads of this process.
fn side_by_side(mut args: Args, model: &Model, ranks: usize) -> anyhow::Result<Outcome> {
    args.run.share_threads(ranks);
    let args = &args;
    std::thread::scope(|scope| {
        let mut ends = dlc::comm::threads(ranks).into_iter();
        let first = ends.next().map(|end| Box::new(end) as Box<dyn Communicator>);
        let others: Vec<_> =
            ends.map(|end| scope.spawn(move || train(args, model, Some(Box::new(end))))).collect();
        let mut outcomes = vec![train(args, model, first)];
        for other in others {
            outcomes.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        ranks::first_cause(outcomes)
    })
}

fn train(
    args: &Args,
    model: &Model,
    comm: Option<Box<dyn Communicator>>,
) -> anyhow::Result<Outcome> {
    // One rank speaks and writes; the others only compute.
    let speaks = comm.as_ref().is_none_or(|comm| comm.rank() == 0);
    let splits = load_data(&args.data, model)?;
    let settings = &model.elaborated().program.settings;
    let seed_of_text = settings.seed.and_then(|seed| u32::try_from(seed).ok());
    let seed = args.seed.or(seed_of_text).unwrap_or(0);
    let alone = comm.is_none();
    if args.reduce == How::Fast && speaks && !alone {
        eprintln!(
            "gradients are added up by MPI, in an order of its own: other runs may leave other bits"
        );
    }
    let options = Options { reduce: args.reduce(), ..args.run.options(seed)? };
    let net = &mut args.run.compile_rank(model, &options, comm)?;
    let mut config = FitConfig {
        batch: net.batch(),
        length: length(args, model),
        shuffle: !args.no_shuffle,
        log_every: args.log_every,
        validate: true,
        start: Default::default(),
    };
    if let Some(weights) = &args.init {
        net.load_weights(weights).with_context(|| weights.display().to_string())?;
    }
    let folder = args.out.as_deref().map(|path| Folder { path });
    if let Some(folder) = folder {
        if speaks {
            folder.create()?;
        }
        if args.resume {
            resume(args, folder, net, &splits.train, &mut config)?;
        }
    }
    let folder = folder.filter(|_| speaks);
    let stop = interrupts()?;
    let mut watch = Watch::new(&stop, folder, args.resume, speaks)?;
    let fitted = net.fit(&splits, &config, &mut |session, event| watch.see(session, event));
    let report = located(model, fitted)?;
    let not_a_number = watch.not_a_number;
    watch.finish()?;
    if let Some(folder) = folder {
        folder.save(net, &report.run)?;
    }
    if let Some(step) = not_a_number.filter(|_| speaks && alone) {
        let run = LostRun { args, model, seed: net.session().seed(), step };
        run.explain(&splits, &config)?;
    }
    if speaks {
        tell(args, &report)?;
    }
    if !report.stopped {
        return Ok(Outcome::Done);
    }
    if !speaks {
        return Ok(Outcome::Interrupted);
    }
    match folder {
        Some(folder) => eprintln!(
            "interrupted after step {}; saved in `{}`",
            report.steps,
            folder.path.display()
        ),
        None => {
            eprintln!("interrupted after step {}; nothing is saved without `--out`", report.steps)
        }
    }
    Ok(Outcome::Interrupted)
}

fn length(args: &Args, model: &Model) -> Length {
    let settings = &model.elaborated().program.settings;
    let positive = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|&n| n > 0);
    let of_text = || match (positive(settings.steps), positive(settings.epochs)) {
        (Some(steps), _) => Length::Steps(steps),
        (None, epochs) => Length::Epochs(epochs.unwrap_or(1)),
    };
    match (args.steps, args.epochs) {
        (Some(steps), _) => Length::Steps(steps),
        (None, Some(epochs)) => Length::Epochs(epochs),
        (None, None) => of_text(),
    }
}

/// Goes back to the checkpoint. What decides the batches must be as it was, or the result would not be that of one run.
fn resume(
    args: &Args,
    folder: Folder<'_>,
    net: &mut Net,
    data: &dlc::data::Dataset,
    config: &mut FitConfig,
) -> anyhow::Result<()> {
    let run = net.load_checkpoint(folder.checkpoint())?;
    let differs = |what: &str, then: String, now: String, way_out: &str| {
        wrong_input(format!(
            "the run in `{}` had {what} {then}, not {now}; {way_out}",
            folder.path.display()
        ))
    };
    if run.batch != config.batch {
        let way_out = format!("pass `--batch {}`", run.batch);
        return Err(differs(
            "batches of",
            run.batch.to_string(),
            config.batch.to_string(),
            &way_out,
        ));
    }
    if run.n_examples != data.n_examples() {
        let (then, now) = (run.n_examples.to_string(), data.n_examples().to_string());
        return Err(differs("a number of examples of", then, now, "pass the same `--data`"));
    }
    if run.shuffle != config.shuffle {
        let way_out = if run.shuffle { "leave out `--no-shuffle`" } else { "pass `--no-shuffle`" };
        return Err(differs(
            "shuffling",
            run.shuffle.to_string(),
            config.shuffle.to_string(),
            way_out,
        ));
    }
    let seed = net.session().seed();
    if args.seed.is_some_and(|asked| asked != seed) {
        let asked = args.seed.unwrap_or(seed).to_string();
        return Err(differs("the seed", seed.to_string(), asked, "leave out `--seed`"));
    }
    if args.steps.is_none() && args.epochs.is_none() {
        config.length = Length::Steps(run.steps);
    }
    config.start = run.position;
    Ok(())
}

/// A run in which a loss was no number.
struct LostRun<'a> {
    args: &'a Args,
    model: &'a Model,
    seed: u32,
    /// The first step of the run whose loss was none, from 1.
    step: u64,
}

impl LostRun<'_> {
    /// Goes through the run again, which gives the same bits, and shows where it came from.
    fn explain(&self, splits: &Splits, config: &FitConfig) -> anyhow::Result<()> {
        let LostRun { args, model, seed, step } = *self;
        let fresh = || -> anyhow::Result<Net> {
            let mut net = args.run.compile(model, seed)?;
            if let Some(weights) = &args.init {
                net.load_weights(weights)?;
            }
            Ok(net)
        };
        // A run that was resumed is that of its beginning.
        let config = &FitConfig { start: Default::default(), ..*config };
        let options = args.run.compile_options()?;
        if let Some(found) = model.find_not_a_number(fresh, &options, splits, config, step)? {
            output::diagnostics(&[found], &model.elaborated().sources);
        }
        Ok(())
    }
}

/// Set by Ctrl-C and by a request to end; a second one ends the process at once.
fn interrupts() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = i32::from(super::INTERRUPTED);
        // In this order: the first signal finds the flag unset and goes on to set it.
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("could not watch for interrupts")?;
    }
    Ok(stop)
}

/// Where a run keeps its files.
#[derive(Debug, Clone, Copy)]
struct Folder<'a> {
    path: &'a Path,
}

impl Folder<'_> {
    fn create(self) -> anyhow::Result<()> {
        fs::create_dir_all(self.path)
            .with_context(|| format!("could not make the folder `{}`", self.path.display()))
    }

    fn checkpoint(self) -> PathBuf {
        self.path.join("checkpoint")
    }

    fn save(self, net: &Net, run: &RunState) -> anyhow::Result<()> {
        net.save_weights(self.path.join("weights.safetensors"))?;
        Ok(net.save_checkpoint(self.checkpoint(), run)?)
    }

    /// The log, to be written from step `done` on. Lines of later steps are from before the checkpoint was gone back to.
    fn log(self, done: u64) -> anyhow::Result<File> {
        let path = self.path.join("metrics.jsonl");
        let context = || format!("could not write `{}`", path.display());
        let kept: String = match fs::read_to_string(&path) {
            Ok(text) if done > 0 => {
                let is_past = |line: &&str| {
                    let step =
                        serde_json::from_str::<Value>(line).ok().and_then(|v| v["step"].as_u64());
                    step.is_some_and(|step| step <= done)
                };
                text.lines().filter(is_past).flat_map(|line| [line, "\n"]).collect()
            }
            _ => String::new(),
        };
        dlc_train::write_atomically(&path, kept.as_bytes()).with_context(context)?;
        OpenOptions::new().append(true).open(&path).with_context(context)
    }
}

/// What the user and the log see of a run.
struct Watch<'a> {
    stop: &'a AtomicBool,
    folder: Option<Folder<'a>>,
    resumed: bool,
    speaks: bool,
    log: Option<File>,
    bar: ProgressBar,
    last: String,
    epochs: u64,
    /// The first step whose loss was no number.
    not_a_number: Option<u64>,
    /// What went wrong while saving; it ends the run.
    failure: Option<anyhow::Error>,
}

impl<'a> Watch<'a> {
    fn new(
        stop: &'a AtomicBool,
        folder: Option<Folder<'a>>,
        resumed: bool,
        speaks: bool,
    ) -> anyhow::Result<Self> {
        let target = match speaks && std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}  {eta} left")?;
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        Ok(Watch {
            stop,
            folder,
            resumed,
            speaks,
            log: None,
            bar,
            last: String::new(),
            epochs: 0,
            not_a_number: None,
            failure: None,
        })
    }

    fn see(&mut self, session: &Session, event: Event<'_>) -> Control {
        let seen = match event {
            Event::Start(start) => self.start(start),
            Event::Step(step) => {
                self.bar.set_position(step.step);
                // The run goes on: a program may leave out such a step by itself.
                if step.result.loss.is_nan() && self.not_a_number.is_none() {
                    self.not_a_number = Some(step.step);
                    self.line(&format!("the loss of step {} is no number (NaN)", step.step));
                }
                Ok(())
            }
            Event::Log(log) => self.log(log),
            Event::Epoch(epoch) => self.epoch(session, epoch),
        };
        if let Err(error) = seen {
            self.failure = Some(error);
        }
        match self.failure.is_some() || self.stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }

    fn start(&mut self, start: StartEvent) -> anyhow::Result<()> {
        self.epochs = start.epochs;
        self.bar.set_length(start.steps);
        self.bar.set_position(start.done);
        self.bar.reset_eta();
        if let Some(folder) = self.folder {
            self.log = Some(folder.log(if self.resumed { start.done } else { 0 })?);
        }
        Ok(())
    }

    fn log(&mut self, log: &LogEvent) -> anyhow::Result<()> {
        self.last = output::report(log.loss, &log.metrics);
        let rate = rate(log.samples_per_s);
        if self.bar.is_hidden() {
            self.line(&format!("step {}  epoch {}  {}  {rate}", log.step, log.epoch, self.last));
        } else {
            self.bar
                .set_message(format!("epoch {}/{}  {}  {rate}", log.epoch, self.epochs, self.last));
        }
        let Some(file) = &mut self.log else { return Ok(()) };
        let mut object = Map::new();
        object.insert("step".to_owned(), log.step.into());
        object.insert("epoch".to_owned(), log.epoch.into());
        output::add_report(&mut object, "", log.loss, &log.metrics);
        object.insert("lr".to_owned(), log.lr.map(f64::from).into());
        object.insert("samples_per_s".to_owned(), log.samples_per_s.into());
        // One write a line, so that a line is there as a whole.
        file.write_all(format!("{}\n", Value::Object(object)).as_bytes())
            .context("could not write the log")
    }

    fn epoch(&mut self, session: &Session, epoch: &EpochEvent) -> anyhow::Result<()> {
        let train = output::report(epoch.train.loss, &epoch.train.metrics);
        let validation = epoch
            .validation
            .as_ref()
            .map(|report| format!("  |  test: {}", output::report(report.loss, &report.metrics)));
        let rate = rate(epoch.train.examples as f64 / epoch.train_time.as_secs_f64().max(1e-9));
        let validation = validation.unwrap_or_default();
        self.line(&format!("epoch {}/{}  {train}{validation}  {rate}", epoch.epoch, self.epochs));
        if let Some(folder) = self.folder {
            session.save_checkpoint(&folder.checkpoint(), &epoch.run).map_err(dlc::Error::from)?;
        }
        Ok(())
    }

    /// A line that stays, above the bar where there is one.
    fn line(&self, text: &str) {
        if self.speaks {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        self.failure.map_or(Ok(()), Err)
    }
}

fn rate(samples_per_s: f64) -> String {
    format!("{samples_per_s:.0} examples/s")
}

/// The result on standard output.
fn tell(args: &Args, report: &FitReport) -> anyhow::Result<()> {
    if args.json {
        let mut object = Map::new();
        object.insert("steps".to_owned(), report.steps.into());
        object.insert("epochs".to_owned(), report.epochs.into());
        if let Some(train) = &report.train {
            output::add_report(&mut object, "", train.loss, &train.metrics);
        }
        if let Some(validation) = &report.validation {
            output::add_report(&mut object, "val_", validation.loss, &validation.metrics);
        }
        return output::line(Value::Object(object));
    }
    if let Some(train) = &report.train {
        output::line(format_args!("train: {}", output::report(train.loss, &train.metrics)))?;
    }
    if let Some(validation) = &report.validation {
        output::line(format_args!(
            "test:  {}",
            output::report(validation.loss, &validation.metrics)
        ))?;
    }
    Ok(())
}
