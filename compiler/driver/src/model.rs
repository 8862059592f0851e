//! From the text of a model to its compiled programs.
//!
//! [`elaborate_file`] and [`elaborate_text`] run the front end; [`ModelGraphs::freeze`] differentiates and runs the passes that
//! decide bits; [`compile_model`] goes on to machine code. Each step tells how long it took.

use crate::backend::Target;
use crate::error::DriverError;
use crate::lower::{self, Compiled};
use crate::ranks::{self, RankOf, Spread};
use dlc_abi::NumericsClass;
use dlc_frontend::{ElaborateOptions, Frontend, ModelProgram, TrainForward};
use dlc_grammar::ast::ItemKind;
use dlc_grammar::{Diagnostic, FileId, Sources, ast, parse, parse_part, std_files, std_used};
use dlc_ir::graph::{Graph, NodeId, Op};
use dlc_passes::autodiff;
use dlc_passes::pass::{PassCx, PassManager, PassOptions};
use dlc_passes::pipeline::TO_FROZEN;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Examples in a batch where neither the text nor the caller says how many.
pub const DEFAULT_BATCH: usize = 32;

/// Why a text did not become programs.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file could not be read.
    #[error("could not read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is wrong.
    #[error("the model has {}", count_errors(diagnostics))]
    Diagnostics {
        /// The files that the diagnostics speak of.
        sources: Box<Sources>,
        /// What is wrong, in order.
        diagnostics: Vec<Diagnostic>,
    },
    /// The batch is outside its range.
    #[error("a batch holds 1 to 2147483647 examples, not {given}")]
    Batch {
        /// The batch asked for.
        given: i64,
    },
    /// Something below the front end failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

fn count_errors(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count() {
        1 => "an error".to_owned(),
        n => format!("{n} errors"),
    }
}

/// A model that the front end is content with.
#[derive(Debug, Clone)]
pub struct Elaborated {
    /// All files, for diagnostics.
    pub sources: Sources,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
    /// The model's graphs.
    pub program: ModelProgram,
    /// What the front end took.
    pub time: Duration,
}

/// How a model is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileOptions {
    /// The most examples in a batch; by default what the text says, else [`DEFAULT_BATCH`].
    pub batch: Option<usize>,
    /// For which instructions.
    pub target: Target,
    /// The family of rounding.
    pub class: NumericsClass,
    /// Verify every law after every pass, in release builds too.
    pub verify: bool,
    /// For one of several ranks: training and evaluation then exchange values with the others.
    pub rank: Option<RankOf>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            batch: None,
            target: Target::best(),
            class: NumericsClass::Fused,
            verify: false,
            rank: None,
        }
    }
}

/// Where the time went. Programs are compiled side by side, so that parts of all programs add up to more than [`Timings::total`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Reading, parsing and elaborating the text.
    pub front_end: Duration,
    /// Gradients, the optimizer's text, and all passes up to the freeze.
    pub passes: Duration,
    /// From frozen graphs to vector code.
    pub lowering: Duration,
    /// From vector code to executable memory.
    pub codegen: Duration,
    /// From the elaborated text to the machine code of the training step, or of inference where there is none.
    pub step: Duration,
    /// From the elaborated text to the machine code of all programs.
    pub programs: Duration,
}

impl Timings {
    /// From the text to the machine code of all programs.
    pub fn total(&self) -> Duration {
        self.front_end + self.programs
    }

    /// From the text to the machine code of a step.
    pub fn to_step(&self) -> Duration {
        self.front_end + self.step
    }

    fn add_parts(&mut self, other: &Timings) {
        self.passes += other.passes;
        self.lowering += other.lowering;
        self.codegen += other.codegen;
    }
}

/// The graphs of a model, every bit decided.
#[derive(Debug, Clone)]
pub struct ModelGraphs {
    /// First values.
    pub init: Graph,
    /// A training step; `None` without a `train` block.
    pub train: Option<Graph>,
    /// Loss and totals of metrics; `None` without a `train` block.
    pub eval: Option<Graph>,
    /// Metrics from totals; `None` without metrics.
    pub finish: Option<Graph>,
    /// Inference.
    pub predict: Graph,
}

/// The compiled programs of a model.
#[derive(Debug)]
pub struct ModelPrograms {
    /// First values.
    pub init: Compiled,
    /// A training step.
    pub train: Option<Compiled>,
    /// Loss and totals of metrics.
    pub eval: Option<Compiled>,
    /// Metrics from totals.
    pub finish: Option<Compiled>,
    /// Inference.
    pub predict: Compiled,
    /// Stands for everything that the programs compute, whatever the target and the batch.
    pub fingerprint: u64,
    /// The most examples in a batch.
    pub batch: usize,
    /// Floating-point operations of a training step, or of inference where there is none, at that batch.
    pub flops: Flops,
    /// Where the time went.
    pub timings: Timings,
    /// Where the model is cut, for one of several ranks.
    pub spread: Option<Spread>,
}

/// Operations in contractions of two operands, a multiplication and an addition for each term.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flops {
    /// Of a training step.
    pub train: f64,
    /// Of inference.
    pub predict: f64,
}

/// Reads a file, with the files it uses, and runs the front end on it.
///
/// # Errors
/// When the file cannot be read or its text is wrong.
pub fn elaborate_file(path: &Path, model: Option<&str>) -> Result<Elaborated, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    elaborate_text(&path.display().to_string(), &text, path.parent(), model)
}

/// Runs the front end on a text that diagnostics call `name`. Files it uses are looked for in `folder`.
///
/// # Errors
/// When the text is wrong.
pub fn elaborate_text(
    name: &str,
    text: &str,
    folder: Option<&Path>,
    model: Option<&str>,
) -> Result<Elaborated, Failure> {
    let start = Instant::now();
    let options = ElaborateOptions { model: model.map(str::to_owned), lint: true };
    let mut elaborated = elaborate(load_with(name, text, folder, Library::Used), &options);
    if elaborated.program.is_none() || elaborated.diagnostics.iter().any(Diagnostic::is_error) {
        // Whoever is told of a wrong name is shown the nearest of all names.
        elaborated = elaborate(load(name, text, folder), &options);
    }
    let Tried { sources, diagnostics, program } = elaborated;
    match program {
        Some(program) if !diagnostics.iter().any(Diagnostic::is_error) => {
            Ok(Elaborated { sources, warnings: diagnostics, program, time: start.elapsed() })
        }
        _ => Err(Failure::Diagnostics { sources: Box::new(sources), diagnostics }),
    }
}

/// What the front end made of a text, right or wrong.
struct Tried {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    program: Option<ModelProgram>,
}

fn elaborate(loaded: Loaded, options: &ElaborateOptions) -> Tried {
    let Loaded { sources, front_end, mut diagnostics, .. } = loaded;
    let mut program = None;
    // What the parser did not understand would be reported a second time as names that are missing.
    if !diagnostics.iter().any(Diagnostic::is_error) {
        let (elaborated, more) = front_end.elaborate(options);
        program = elaborated;
        diagnostics.extend(more);
    }
    Tried { sources, diagnostics, program }
}

/// A text that was read with everything it uses.
#[derive(Debug)]
pub struct Loaded {
    /// All files.
    pub sources: Sources,
    /// The syntax tree of the main file.
    pub main: ast::File,
    /// All declarations.
    pub front_end: Frontend,
    /// What is wrong so far.
    pub diagnostics: Vec<Diagnostic>,
}

/// How much of the standard library is parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Library {
    /// All of it.
    Whole,
    /// What the text can use.
    Used,
}

/// Parses a text, the files it uses and the standard library, and collects their declarations.
pub fn load(name: &str, text: &str, folder: Option<&Path>) -> Loaded {
    load_with(name, text, folder, Library::Whole)
}

fn load_with(name: &str, text: &str, folder: Option<&Path>, part: Library) -> Loaded {
    let mut sources = Sources::new();
    let mut diagnostics = Vec::new();
    let main_id = sources.add(name, text);
    let mut parsed = parse(main_id, text);
    diagnostics.append(&mut parsed.diagnostics);
    let main = parsed.file;
    let mut library = Vec::new();
    used_files(
        &main,
        folder.unwrap_or(Path::new("")),
        &mut sources,
        &mut library,
        &mut diagnostics,
    );
    let places: Vec<Vec<Range<usize>>> = match part {
        Library::Whole => std_files()
            .iter()
            .map(|(_, text)| Vec::from([Range { start: 0, end: text.len() }]))
            .collect(),
        Library::Used => std_used(sources.iter().map(|(_, file)| file.text.as_str())),
    };
    library.extend(parse_library(&sources.add_std(), &places));
    let (front_end, more) = dlc_frontend::load(&sources, &main, &library);
    let front_end = front_end.with_gradients(autodiff::gradients);
    diagnostics.extend(more);
    Loaded { sources, main, front_end, diagnostics }
}

/// Parses parts of the library's files, half of the text on a second thread.
fn parse_library(files: &[FileId], places: &[Vec<Range<usize>>]) -> Vec<ast::File> {
    let parts: Vec<(FileId, &str, &Range<usize>)> = files
        .iter()
        .zip(std_files())
        .zip(places)
        .flat_map(|((&id, (_, text)), places)| places.iter().map(move |place| (id, *text, place)))
        .collect();
    let parse_all = |parts: &[(FileId, &str, &Range<usize>)]| -> Vec<ast::File> {
        parts.iter().map(|(id, text, place)| parse_part(*id, text, (*place).clone()).file).collect()
    };
    let total: usize = parts.iter().map(|(_, _, place)| place.len()).sum();
    let mut before = 0;
    let half = parts.partition_point(|(_, _, place)| {
        before += place.len();
        before <= total / 2
    });
    let (first, second) = parts.split_at(half);
    let (mut all, second) = rayon::join(|| parse_all(first), || parse_all(second));
    all.extend(second);
    all
}

/// Reads the files that a file uses, and the files these use, each once.
fn used_files(
    main: &ast::File,
    folder: &Path,
    sources: &mut Sources,
    library: &mut Vec<ast::File>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let uses = |file: &ast::File, folder: &Path| -> Vec<(PathBuf, dlc_grammar::Span)> {
        let used = file.items.iter().filter_map(|item| match &item.kind {
            ItemKind::Use(used) => Some((folder.join(&used.path.text), used.path.span)),
            ItemKind::Decl(_) | ItemKind::Train(_) | ItemKind::Parallel(_) | ItemKind::Bad(_) => {
                None
            }
        });
        used.collect()
    };
    let mut known: Vec<PathBuf> = sources
        .get(main.span.file)
        .and_then(|file| Path::new(&file.name).canonicalize().ok())
        .into_iter()
        .collect();
    let mut pending = uses(main, folder);
    pending.reverse();
    while let Some((path, span)) = pending.pop() {
        let read = path.canonicalize().and_then(|full| Ok((std::fs::read_to_string(&full)?, full)));
        let (text, full) = match read {
            Ok(read) => read,
            Err(error) => {
                let headline = format!("`{}` cannot be read", path.display());
                diagnostics
                    .push(Diagnostic::error("E0390", headline, span).label(error.to_string()));
                continue;
            }
        };
        if known.contains(&full) {
            continue;
        }
        known.push(full);
        let id: FileId = sources.add(path.display().to_string(), text.as_str());
        let mut parsed = parse(id, &text);
        diagnostics.append(&mut parsed.diagnostics);
        let inner = uses(&parsed.file, path.parent().unwrap_or(Path::new("")));
        pending.extend(inner.into_iter().rev());
        library.push(parsed.file);
    }
}

/// The whole training step before any pass: forward, gradients, update. `None` without a `train` block.
///
/// # Errors
/// Diagnostics about the optimizer's text.
pub fn joint_graph(program: &ModelProgram) -> Result<Option<Graph>, Vec<Diagnostic>> {
    let Some(TrainForward { graph, objectives, .. }) = &program.train else { return Ok(None) };
    let mut graph = graph.clone();
    let mut gradients: Vec<NodeId> = Vec::new();
    for objective in objectives {
        let leaves: Vec<NodeId> = objective.params.iter().map(|(_, leaf)| *leaf).collect();
        gradients.extend(autodiff::gradients(&mut graph, objective.loss, &leaves));
    }
    program.apply_optimizer(&mut graph, &gradients)?;
    Ok(Some(graph))
}

pub(crate) fn joint_of(elaborated: &Elaborated) -> Result<Option<Graph>, Failure> {
    joint_graph(&elaborated.program).map_err(|diagnostics| Failure::Diagnostics {
        sources: Box::new(elaborated.sources.clone()),
        diagnostics,
    })
}

/// Runs the passes that decide bits.
///
/// # Errors
/// When a pass gives up.
pub fn freeze(graph: Graph, verify: bool) -> Result<Graph, DriverError> {
    let mut passes = PassManager::new(PassOptions { verify, ..PassOptions::default() });
    Ok(passes.run(graph, TO_FROZEN, &PassCx::default())?)
}

impl ModelGraphs {
    /// Differentiates and freezes the graphs of a model, in the class in which products round together with sums.
    ///
    /// # Errors
    /// When a pass gives up, or the optimizer's text is wrong.
    pub fn freeze(elaborated: &Elaborated, verify: bool) -> Result<Self, Failure> {
        Self::freeze_in(elaborated, NumericsClass::Fused, verify)
    }

    /// Does the same in any numerics class.
    ///
    /// # Errors
    /// As [`ModelGraphs::freeze`].
    pub fn freeze_in(
        elaborated: &Elaborated,
        class: NumericsClass,
        verify: bool,
    ) -> Result<Self, Failure> {
        let freeze = |mut graph: Graph| {
            graph.class = class;
            freeze(graph, verify)
        };
        let program = &elaborated.program;
        let joint = joint_of(elaborated)?;
        let trains = joint.is_some();
        let measures = trains && !program.finish.outputs.is_empty();
        let optional =
            |wanted: bool, graph: &Graph| wanted.then(|| freeze(graph.clone())).transpose();
        Ok(ModelGraphs {
            init: freeze(program.init.clone())?,
            train: joint.map(freeze).transpose()?,
            eval: optional(trains, &program.eval)?,
            finish: optional(measures, &program.finish)?,
            predict: freeze(program.predict.clone())?,
        })
    }

    /// The graphs there are, in order.
    pub fn all(&self) -> impl Iterator<Item = &Graph> {
        let optional = [&self.train, &self.eval, &self.finish].into_iter().flatten();
        std::iter::once(&self.init).chain(optional).chain(std::iter::once(&self.predict))
    }

    /// A number that two models share only if they compute the same, bit by bit: the FNV-1a hash (Fowler, Noll, Vo) of the text of
    /// all graphs, in which the batch is a symbol and no target occurs.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::default();
        for graph in self.all() {
            hash.add(&graph.to_string());
        }
        hash.0
    }
}

/// Compiles all programs of a model: the training step first, with all threads that its code gives work to, then the others on two.
///
/// # Errors
/// When the batch is out of range, or something below the front end fails.
pub fn compile_model(
    elaborated: &Elaborated,
    options: &CompileOptions,
) -> Result<ModelPrograms, Failure> {
    let batch = batch_of(elaborated, options.batch)?;
    let start = Instant::now();
    let program = &elaborated.program;
    let CompileOptions { target, class, verify, rank, .. } = *options;
    let rank = rank.map(|rank| Ok::<_, Failure>((rank, Spread::of(elaborated, batch, rank)?)));
    let work = Work { program, batch, target, class, verify, rank: rank.transpose()? };
    let trains = program.train.is_some();
    let measures = trains && !program.finish.outputs.is_empty();
    let some = |wanted: bool, graph: &Graph, cut: Cut| {
        wanted.then(|| work.compile(graph.clone(), cut)).transpose()
    };
    let train = compile_step(elaborated, &work, start)?;
    let inference = || -> Result<_, Failure> {
        Ok((work.compile(program.predict.clone(), Cut::Whole)?, start.elapsed()))
    };
    let others = || -> Result<_, Failure> {
        let init = work.compile(program.init.clone(), Cut::Leaves)?;
        let eval = some(trains, &program.eval, Cut::Step)?;
        Ok((init, eval, some(measures, &program.finish, Cut::Whole)?))
    };
    let (inference, others) = rayon::join(inference, others);
    let ((predict, inference), (init, eval, finish)) = (inference?, others?);
    let (train, step) = train.map_or((None, inference), |(train, step)| (Some(train), step));
    let made = [Some(&init), train.as_ref(), eval.as_ref(), finish.as_ref(), Some(&predict)];
    let mut timings = Timings { front_end: elaborated.time, step, ..Timings::default() };
    let mut fingerprint = Fingerprint::default();
    for made in made.into_iter().flatten() {
        timings.add_parts(&made.timings);
        fingerprint.add(&made.text);
    }
    let flops =
        Flops { train: train.as_ref().map_or(0.0, |made| made.flops), predict: predict.flops };
    let compiled = |made: Made| made.compiled;
    timings.programs = start.elapsed();
    Ok(ModelPrograms {
        init: init.compiled,
        train: train.map(compiled),
        eval: eval.map(compiled),
        finish: finish.map(compiled),
        predict: predict.compiled,
        fingerprint: fingerprint.0,
        batch: batch as usize,
        flops,
        timings,
        spread: work.rank.map(|(_, spread)| spread),
    })
}

/// The training step, and when it was ready, counted from `start`. `None` without a `train` block.
fn compile_step(
    elaborated: &Elaborated,
    work: &Work<'_>,
    start: Instant,
) -> Result<Option<(Made, Duration)>, Failure> {
    let begin = Instant::now();
    let Some(joint) = joint_of(elaborated)? else { return Ok(None) };
    let joint_time = begin.elapsed();
    let mut made = work.compile(joint, Cut::Step)?;
    made.timings.passes += joint_time;
    Ok(Some((made, start.elapsed())))
}

/// What all programs of a model are compiled with.
struct Work<'a> {
    program: &'a ModelProgram,
    batch: i64,
    target: Target,
    class: NumericsClass,
    verify: bool,
    rank: Option<(RankOf, Spread)>,
}

/// What a rank has of a program.
#[derive(Clone, Copy)]
enum Cut {
    /// All of it.
    Whole,
    /// Its part of a step.
    Step,
    /// What concerns its parameters and states.
    Leaves,
}

/// A program, and what is told of it.
struct Made {
    compiled: Compiled,
    /// The text of the frozen graph.
    text: String,
    flops: f64,
    timings: Timings,
}

impl Work<'_> {
    fn compile(&self, mut graph: Graph, cut: Cut) -> Result<Made, Failure> {
        let start = Instant::now();
        graph.class = self.class;
        let frozen = freeze(graph, self.verify)?;
        // Text and operations are those of the whole, so that all ranks tell the same.
        let (text, flops) = (frozen.to_string(), flops(&frozen, self.batch));
        let (frozen, batch) = match (cut, &self.rank) {
            (Cut::Whole, _) | (_, None) => (frozen, self.batch),
            (Cut::Step, Some((rank, spread))) => {
                ranks::cut(frozen, *rank, self.program, spread, self.batch)?
            }
            (Cut::Leaves, Some((rank, spread))) => {
                (ranks::first_values(frozen, *rank, spread, self.batch)?, self.batch)
            }
        };
        let passes = start.elapsed();
        let compiled = lower::compile(&frozen, batch, self.target)?;
        let stats = compiled.code.stats();
        let codegen = stats.compile_time + stats.place_time;
        let lowering = start.elapsed().saturating_sub(passes + codegen);
        let timings = Timings { passes, lowering, codegen, ..Timings::default() };
        Ok(Made { compiled, text, flops, timings })
    }
}

/// The FNV-1a hash (Fowler, Noll, Vo) of texts.
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The most examples in a batch: what is asked for, else what the text says.
///
/// # Errors
/// When it is out of range.
pub fn batch_of(elaborated: &Elaborated, asked: Option<usize>) -> Result<i64, Failure> {
    let asked = asked.map(|batch| i64::try_from(batch).unwrap_or(i64::MAX));
    let batch = asked.or(elaborated.program.settings.batch).unwrap_or(DEFAULT_BATCH as i64);
    if (1..=i64::from(i32::MAX)).contains(&batch) {
        Ok(batch)
    } else {
        Err(Failure::Batch { given: batch })
    }
}

/// Operations of a graph at a batch size: two for every term of a contraction of two operands. Terms outside an image count as well.
pub fn flops(graph: &Graph, batch: i64) -> f64 {
    let terms = graph.nodes.values().map(|node| match &node.op {
        Op::Contract(contract) if contract.reads.len() == 2 => {
            contract.space.iter().map(|dim| dim.at(batch) as f64).product()
        }
        _ => 0.0,
    });
    2.0 * terms.sum::<f64>()
}
