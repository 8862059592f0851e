//! Elaboration: running the text of a model at compile time, which leaves a graph behind.
//!
//! Layers and functions are inlined; values known when the program is compiled are computed; tensor expressions append nodes.
//! A fault is reported where it is found and the value it would have had is marked as faulty, so one run reports several
//! faults and none twice.
//!
//! | file | does |
//! | --- | --- |
//! | [`scope`] | names: frames, scopes, names of parameters |
//! | [`expr`], [`stmt`], [`call`] | the constructs of the language |
//! | [`number`] | arithmetic on values known at compile time |
//! | [`shape`] | types, shapes and what their names are bound to |
//! | [`tensor`] | expressions over whole tensors |
//! | [`infer`], [`walk`], [`access`], [`cell`], [`reduce`], [`head`], [`write`] | index notation |
//! | [`builtin`] | functions that are not written in the language |
//! | [`leaf`] | parameters, state and random values |
//! | [`scan`] | loops that run with the model |

mod access;
mod builtin;
mod call;
mod cell;
mod expr;
mod head;
mod infer;
mod leaf;
mod number;
mod pow;
mod reduce;
mod scan;
mod scope;
mod select;
mod shape;
mod stmt;
mod tensor;
mod walk;
mod wheres;
mod write;

pub(crate) use leaf::{FirstValue, ParamLeaf, StateLeaf};
pub(crate) use scope::{Binding, Frame, NameLevel};
pub(crate) use shape::Role;

use crate::declarations::Declarations;
use crate::diagnostics;
use crate::program::IndexUse;
use crate::value::{Eval, Extent, Reported, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::{Diagnostic, Span};
use dlc_ir::Dim;
use dlc_ir::graph::{Graph, GraphBuilder, InputRole, NodeId, Origin, Stage};
use indexmap::IndexMap;
use std::sync::Arc;

/// Bounds on the work of one elaboration; text that repeats itself without end meets one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Expressions and statements evaluated.
    pub steps: u64,
    /// Nodes of one graph.
    pub nodes: usize,
    /// Expressions, blocks and calls within each other. Each takes native stack.
    pub depth: usize,
    /// Turns of one `for`.
    pub turns: i64,
    /// Elements of one tensor, with one example in the batch.
    pub elements: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 4_000_000, nodes: 400_000, depth: 160, turns: 10_000, elements: 1 << 40 }
    }
}

/// One index of index notation.
#[derive(Debug, Clone)]
pub(crate) struct AxisInfo {
    /// Its name in the text.
    pub name: String,
    /// Its range, once known.
    pub extent: Option<Extent>,
    /// Whether the text states the range, so that an axis it walks along may be longer.
    pub stated: bool,
}

/// One row of the summary: a layer or function that was applied.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// Full name of a layer, or the function's name.
    pub name: String,
    /// What was called.
    pub kind: String,
    /// How many layers it lies within.
    pub depth: usize,
    /// Shape of the first result; `None` where that is no tensor.
    pub shape: Option<Vec<Dim>>,
    /// Names of the parameters declared inside.
    pub params: std::ops::Range<usize>,
    /// The nodes made inside.
    pub nodes: std::ops::Range<usize>,
}

/// What `total` does: gather in each batch, or stand for the sum over all batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TotalMode {
    /// Totals may not stand here.
    Outside,
    /// A total becomes a result of the graph.
    Batch,
    /// A total becomes a leaf of the graph.
    Finish,
}

/// The state of one elaboration.
pub(crate) struct Elaborator {
    pub decls: Arc<Declarations>,
    pub graph: Graph,
    /// Stage of the nodes to come.
    pub stage: Stage,
    /// What `training` is.
    pub training: bool,
    pub diagnostics: Vec<Diagnostic>,
    pub frames: Vec<Frame>,
    pub levels: Vec<NameLevel>,
    /// Axes of index notation, by number; affine subscripts of cells speak of them.
    pub axes: Vec<AxisInfo>,
    /// Parameters in order of declaration.
    pub params: IndexMap<String, ParamLeaf>,
    /// Whether the model has parameters that are not among these, so that nothing is said about names that are missing.
    pub params_unknown: bool,
    /// State in order of declaration.
    pub states: IndexMap<String, StateLeaf>,
    /// What `penalty` adds to the loss.
    pub penalties: Vec<Tensor>,
    /// Layers and functions applied, in order of their ends.
    pub applied: Vec<Applied>,
    /// Within how many uses of shared layers we are.
    pub sharing: usize,
    /// The label that the binding `let x = layer(..)` gives, and the call it is for.
    pub binding_label: Option<(Span, String)>,
    /// Prefix of the names of totals, and what they do.
    pub totals: TotalMode,
    pub total_prefix: String,
    /// Truth values that were counted: the count as integer, and as the float it was made from.
    pub counts: IndexMap<NodeId, NodeId>,
    /// Lists that the loops we are in yield, innermost last.
    pub yields: Vec<IndexMap<String, Vec<Value>>>,
    /// The `scan` whose body we are in.
    pub scanning: Option<scan::Scanning>,
    /// How data leaves are used as indices.
    pub index_uses: IndexMap<String, IndexUse>,
    /// Nodes that hold probabilities, as the name of a result says.
    pub probabilities: std::collections::BTreeSet<NodeId>,
    /// Numbers of the random draws made.
    pub draws: std::collections::BTreeSet<u32>,
    /// The name of the value being drawn.
    pub draw_name: String,
    /// The parameter being updated.
    pub updated: String,
    /// What `step` and `steps` stand for where updates take turns: those of the turn.
    pub own_steps: Option<(Value, Value)>,
    /// What `across` knows, while the text of an optimizer runs.
    pub across: Option<crate::program::Across>,
    /// Whether leaves `step` exist: the first values of parameters are drawn before the first step.
    pub before_first_step: bool,
    pub origin: Arc<str>,
    pub span: Span,
    pub limits: Limits,
    pub steps: u64,
    pub depth: usize,
    /// Whether a limit was met: nothing more is evaluated, so it is reported once.
    pub exhausted: bool,
}

impl Elaborator {
    /// An elaborator with an empty graph.
    pub(crate) fn new(decls: Arc<Declarations>, graph: impl Into<String>, training: bool) -> Self {
        Elaborator {
            decls,
            graph: Graph::new(graph),
            stage: Stage::Forward,
            training,
            diagnostics: Vec::new(),
            frames: Vec::new(),
            levels: vec![NameLevel::default()],
            axes: Vec::new(),
            params: IndexMap::new(),
            params_unknown: false,
            states: IndexMap::new(),
            penalties: Vec::new(),
            applied: Vec::new(),
            sharing: 0,
            binding_label: None,
            totals: TotalMode::Outside,
            total_prefix: String::new(),
            counts: IndexMap::new(),
            yields: Vec::new(),
            scanning: None,
            index_uses: IndexMap::new(),
            probabilities: Default::default(),
            draws: Default::default(),
            draw_name: String::new(),
            updated: String::new(),
            own_steps: None,
            across: None,
            before_first_step: false,
            origin: Arc::from(""),
            span: Span::default(),
            limits: Limits::default(),
            steps: 0,
            depth: 0,
            exhausted: false,
        }
    }

    /// Issues a diagnostic. One about the library's own text also shows the user's text that led there.
    pub(crate) fn report(&mut self, mut diagnostic: Diagnostic) -> Reported {
        if self.decls.is_std(diagnostic.primary.span.file) {
            let user = self.frames.iter().rev().find(|frame| !self.decls.is_std(frame.call.file));
            if let Some(frame) = user {
                let name = frame.title();
                diagnostic = diagnostic.also(frame.call, format!("in this use of `{name}`"));
            }
        }
        self.diagnostics.push(diagnostic);
        Reported::already()
    }

    /// Whether the same was said before about something with the same origin.
    fn is_known(&self, found: &Diagnostic) -> bool {
        let is_same = |known: &Diagnostic| {
            known.code == found.code
                && known.headline == found.headline
                && found.secondary.iter().all(|origin| known.secondary.contains(origin))
        };
        !found.secondary.is_empty() && self.diagnostics.iter().any(is_same)
    }

    /// Warns of something at the user's text that is being evaluated.
    pub(crate) fn warn(&mut self, warning: impl FnOnce(Span) -> Diagnostic) {
        let span = self.users_span();
        self.diagnostics.push(warning(span));
    }

    /// Whether an error was reported.
    pub(crate) fn failed(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Counts a step of work and a level of depth; [`Elaborator::leave`] must follow when this succeeds.
    pub(crate) fn enter(&mut self, span: Span) -> Eval<()> {
        if self.exhausted {
            return Err(Reported::already());
        }
        self.steps += 1;
        let Limits { steps, nodes, depth, .. } = self.limits;
        if self.steps > steps || self.graph.nodes.len() > nodes {
            self.exhausted = true;
            return Err(self.report(diagnostics::too_much_work(span, steps, nodes)));
        }
        if self.depth >= depth {
            self.exhausted = true;
            return Err(self.report(diagnostics::too_deep(span, depth)));
        }
        self.depth += 1;
        self.span = span;
        Ok(())
    }

    /// Ends a level of depth.
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// A builder for nodes that come from the text being evaluated.
    pub(crate) fn build(&mut self) -> GraphBuilder<'_> {
        let origin = Origin { name: self.origin.to_string(), span: Some(self.users_span()) };
        self.graph.build(self.stage, origin)
    }

    /// The text of the user that is being evaluated: within the library that of its use.
    pub(crate) fn users_span(&self) -> Span {
        if !self.decls.is_std(self.span.file) {
            return self.span;
        }
        let user = self.frames.iter().rev().find(|frame| !self.decls.is_std(frame.call.file));
        user.map_or(self.span, |frame| frame.call)
    }

    /// Element type of a node.
    pub(crate) fn elem(&self, node: NodeId) -> ElemType {
        self.graph.nodes[node].elem
    }

    /// The leaf of that name, made if it does not exist.
    pub(crate) fn leaf(
        &mut self,
        name: &str,
        role: InputRole,
        elem: ElemType,
        shape: &[Dim],
    ) -> NodeId {
        match self.graph.input(name) {
            Some(node) => node,
            None => {
                let origin = Origin { name: name.to_string(), span: Some(self.span) };
                self.graph.build(Stage::Forward, origin).input(name, role, elem, shape.to_vec())
            }
        }
    }

    /// Checks that a tensor of this shape can be held: no axis is negative or empty, and its elements can be counted.
    pub(crate) fn check_size(&mut self, shape: &[Extent], span: Span) -> Eval<()> {
        let mut elements: i64 = 1;
        for extent in shape {
            let one = extent.dim.at(1);
            if one < 1 || extent.dim.batch_factor < 0 {
                let found = diagnostics::empty_axis(span, *extent);
                // One wrong size makes many wrong shapes; it is told of once.
                return Err(match self.is_known(&found) {
                    true => Reported::already(),
                    false => self.report(found),
                });
            }
            match elements.checked_mul(one) {
                Some(product) if product <= self.limits.elements => elements = product,
                _ => {
                    return Err(
                        self.report(diagnostics::tensor_too_large(span, self.limits.elements))
                    );
                }
            }
        }
        Ok(())
    }
}
