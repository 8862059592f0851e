//! The pass manager: what is common to all passes.
//!
//! A pass is a function `fn run(ir: Graph, cx: &PassCx) -> Result<Graph, PassError>`; its file, its [`Pass::name`], its timer and its
//! dump are one string. The manager verifies after every pass (in debug builds and on request), times it, keeps its text on
//! request, stops after or skips a pass by name, and asserts that a second run of an idempotent pass changes nothing.
//!
//! **Invariant:** passes before the numerics freeze cannot know the target: their context is [`PassCx`], which has none.

use dlc_ir::graph::Graph;
use dlc_ir::target::TargetDesc;
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why a pass gave up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PassError {
    /// A law of the compiler is broken: a fault of the compiler, whatever the program says.
    #[error("compiler bug in pass `{pass}`: {message}")]
    Bug {
        /// The pass that broke the law or met the broken law.
        pass: String,
        /// What is wrong, with the text of the IR where that helps.
        message: String,
    },
    /// The program needs something that this compiler does not do.
    #[error("`{name}`: {message}")]
    Unsupported {
        /// Name of the value in the source.
        name: String,
        /// What is not supported.
        message: String,
    },
    /// The options name a pass that is not in the pipeline.
    #[error("there is no pass `{0}`")]
    UnknownPass(String),
}

impl PassError {
    /// A broken law.
    pub fn bug(pass: impl Into<String>, message: impl Into<String>) -> Self {
        PassError::Bug { pass: pass.into(), message: message.into() }
    }
}

/// What a pass is given besides the IR: counters, the limit of a bisection, and `target`, which is `()` before the freeze.
#[derive(Debug, Default)]
pub struct Cx<T> {
    /// What is known of the machine.
    pub target: T,
    counts: RefCell<IndexMap<&'static str, u64>>,
    rewrites_left: Cell<Option<u64>>,
}

/// The context of passes that decide bits: they know nothing of the target.
pub type PassCx = Cx<()>;
/// The context of passes after the freeze.
pub type TargetCx = Cx<TargetDesc>;

impl<T> Cx<T> {
    /// A context with empty counters.
    pub fn new(target: T) -> Self {
        Cx { target, counts: RefCell::default(), rewrites_left: Cell::new(None) }
    }

    /// Allows only so many rewrites that could be left out; used to find a wrong one by bisection.
    pub fn limit_rewrites(&self, limit: Option<u64>) {
        self.rewrites_left.set(limit);
    }

    /// Counts something that a pass did.
    pub fn count(&self, what: &'static str, by: u64) {
        *self.counts.borrow_mut().entry(what).or_insert(0) += by;
    }

    /// Whether a rewrite that could be left out may take place; if so it is counted.
    pub fn may_rewrite(&self, rule: &'static str) -> bool {
        if let Some(left) = self.rewrites_left.get() {
            if left == 0 {
                return false;
            }
            self.rewrites_left.set(Some(left - 1));
        }
        self.count(rule, 1);
        true
    }

    fn take_counts(&self) -> IndexMap<&'static str, u64> {
        self.counts.take()
    }
}

/// What the manager needs of an intermediate representation.
pub trait Ir: Clone + PartialEq {
    /// Checks all laws; the error lists every broken one.
    fn verify(&self) -> Result<(), String>;
    /// Its text.
    fn text(&self) -> String;
    /// A size for reports: nodes, phases, instructions.
    fn size(&self) -> usize;
}

impl Ir for Graph {
    fn verify(&self) -> Result<(), String> {
        Graph::verify(self)
            .map_err(|broken| broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn size(&self) -> usize {
        self.nodes.len()
    }
}

/// A pass over one IR.
pub struct Pass<I, C> {
    /// Its name: the name of its file.
    pub name: &'static str,
    /// Whether a second run changes nothing.
    pub idempotent: bool,
    /// The pass.
    pub run: fn(I, &C) -> Result<I, PassError>,
}

/// Which texts the manager keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Dump {
    /// None.
    #[default]
    Nothing,
    /// After the passes of these names.
    After(Vec<String>),
    /// After every pass.
    Everything,
}

/// How the manager runs passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassOptions {
    /// Verify after every pass, and run idempotent passes twice, in release builds too.
    pub verify: bool,
    /// Which texts to keep.
    pub dump: Dump,
    /// Run nothing after this pass.
    pub stop_after: Option<String>,
    /// Leave out these passes.
    pub skip: Vec<String>,
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq)]
pub struct PassReport {
    /// Its name.
    pub name: &'static str,
    /// Wall time of the pass alone.
    pub time: Duration,
    /// Size of the IR before.
    pub size_before: usize,
    /// Size of the IR after.
    pub size_after: usize,
    /// What it counted: rules and how often each was applied.
    pub counts: IndexMap<&'static str, u64>,
    /// The text after it, if asked for.
    pub text: Option<String>,
}

/// Runs passes and keeps their reports.
#[derive(Debug, Default)]
pub struct PassManager {
    options: PassOptions,
    reports: Vec<PassReport>,
    stopped: bool,
}

impl PassManager {
    /// A manager that follows these options.
    pub fn new(options: PassOptions) -> Self {
        PassManager { options, reports: Vec::new(), stopped: false }
    }

    /// Reports of the passes run so far, in order.
    pub fn reports(&self) -> &[PassReport] {
        &self.reports
    }

    /// Whether the pass named by `stop_after` has run: nothing further should.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Runs passes in order, until one fails or `stop_after` is reached.
    pub fn run<I: Ir, T>(
        &mut self,
        mut ir: I,
        passes: &[Pass<I, Cx<T>>],
        cx: &Cx<T>,
    ) -> Result<I, PassError> {
        for pass in passes {
            if self.stopped {
                break;
            }
            if self.options.skip.iter().any(|name| name == pass.name) {
                continue;
            }
            ir = self.lower(pass.name, ir, cx, pass.run)?;
            if self.checks() && pass.idempotent {
                self.assert_idempotent(pass, &ir, cx)?;
            }
        }
        Ok(ir)
    }

    /// Runs one pass whose result may be another IR.
    pub fn lower<I: Ir, O: Ir, T>(
        &mut self,
        name: &'static str,
        ir: I,
        cx: &Cx<T>,
        pass: impl FnOnce(I, &Cx<T>) -> Result<O, PassError>,
    ) -> Result<O, PassError> {
        let size_before = ir.size();
        let start = Instant::now();
        let after = pass(ir, cx)?;
        let time = start.elapsed();
        if self.checks()
            && let Err(broken) = after.verify()
        {
            let text = after.text();
            return Err(PassError::bug(name, format!("its result breaks laws:\n{broken}\n{text}")));
        }
        let keep = match &self.options.dump {
            Dump::Nothing => false,
            Dump::After(names) => names.iter().any(|wanted| wanted == name),
            Dump::Everything => true,
        };
        self.reports.push(PassReport {
            name,
            time,
            size_before,
            size_after: after.size(),
            counts: cx.take_counts(),
            text: keep.then(|| after.text()),
        });
        self.stopped |= self.options.stop_after.as_deref() == Some(name);
        Ok(after)
    }

    /// Refuses options that name none of these passes.
    pub fn check_names(&self, known: &[&str]) -> Result<(), PassError> {
        let dumped = match &self.options.dump {
            Dump::After(names) => names.as_slice(),
            Dump::Nothing | Dump::Everything => &[],
        };
        let mut named = self.options.skip.iter().chain(&self.options.stop_after).chain(dumped);
        match named.find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(PassError::UnknownPass(name.clone())),
            None => Ok(()),
        }
    }

    fn checks(&self) -> bool {
        self.options.verify || cfg!(debug_assertions)
    }

    fn assert_idempotent<I: Ir, T>(
        &self,
        pass: &Pass<I, Cx<T>>,
        once: &I,
        cx: &Cx<T>,
    ) -> Result<(), PassError> {
        let twice = (pass.run)(once.clone(), cx)?;
        cx.take_counts();
        // Compared as text: NaN literals differ from themselves.
        if twice == *once || twice.text() == once.text() {
            return Ok(());
        }
        let (once, twice) = (once.text(), twice.text());
        let message = format!("a second run changes its result\nonce:\n{once}\ntwice:\n{twice}");
        Err(PassError::bug(pass.name, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A toy IR: the laws are that numbers are not negative.
    #[derive(Debug, Clone, PartialEq)]
    struct Number(i64);

    impl Ir for Number {
        fn verify(&self) -> Result<(), String> {
            if self.0 < 0 { Err(format!("{} is negative", self.0)) } else { Ok(()) }
        }
        fn text(&self) -> String {
            self.0.to_string()
        }
        fn size(&self) -> usize {
            1
        }
    }

    type NumberPass = Pass<Number, PassCx>;

    const HALVE: NumberPass = Pass {
        name: "halve",
        idempotent: false,
        run: |n, cx| {
            cx.count("halved", 1);
            Ok(Number(n.0 / 2))
        },
    };
    const EVEN: NumberPass =
        Pass { name: "even", idempotent: true, run: |n, _| Ok(Number(n.0 & !1)) };
    const NEGATE: NumberPass =
        Pass { name: "negate", idempotent: false, run: |n, _| Ok(Number(-n.0)) };

    fn run(
        options: PassOptions,
        passes: &[NumberPass],
    ) -> (Result<Number, PassError>, PassManager) {
        let mut manager = PassManager::new(options);
        let result = manager.run(Number(21), passes, &PassCx::default());
        (result, manager)
    }

    #[test]
    fn passes_run_in_order_and_report() {
        let options = PassOptions { dump: Dump::After(vec!["even".into()]), ..Default::default() };
        let (result, manager) = run(options, &[HALVE, EVEN, HALVE]);
        assert_eq!(result, Ok(Number(5)));
        let names: Vec<_> = manager.reports().iter().map(|report| report.name).collect();
        assert_eq!(names, ["halve", "even", "halve"]);
        assert_eq!(manager.reports()[0].counts["halved"], 1);
        assert_eq!(manager.reports()[0].text, None);
        assert_eq!(manager.reports()[1].text.as_deref(), Some("10"));
    }

    #[test]
    fn stop_and_skip_follow_names() {
        let stop = PassOptions { stop_after: Some("even".into()), ..Default::default() };
        let (result, manager) = run(stop, &[EVEN, HALVE]);
        assert_eq!(result, Ok(Number(20)));
        assert!(manager.stopped());
        let skip = PassOptions { skip: vec!["even".into()], ..Default::default() };
        let (result, manager) = run(skip, &[EVEN, HALVE]);
        assert_eq!(result, Ok(Number(10)));
        assert!(!manager.stopped());
        assert_eq!(manager.check_names(&["even"]), Ok(()));
        assert_eq!(manager.check_names(&["halve"]), Err(PassError::UnknownPass("even".into())));
    }

    #[test]
    fn a_broken_law_names_the_pass() {
        let verify = PassOptions { verify: true, ..Default::default() };
        let (result, _) = run(verify.clone(), &[HALVE, NEGATE]);
        let message = result.unwrap_err().to_string();
        assert!(message.contains("`negate`") && message.contains("-10 is negative"), "{message}");
        let liar = Pass { idempotent: true, ..HALVE };
        let message = run(verify, &[liar]).0.unwrap_err().to_string();
        assert!(message.contains("second run"), "{message}");
    }

    #[test]
    fn a_bisection_limits_rewrites() {
        let cx = PassCx::default();
        cx.limit_rewrites(Some(2));
        let allowed: Vec<bool> = (0..3).map(|_| cx.may_rewrite("rule")).collect();
        assert_eq!(allowed, [true, true, false]);
        assert_eq!(cx.take_counts()["rule"], 2);
    }
}
