//! The programs of a model: what is compiled for prediction, training, evaluation and first values.

mod apart;
mod forward;
mod init;
mod losses;
mod optimizer;
mod parallel;
mod summary;
mod train;
mod turns;

pub(crate) use optimizer::Across;
pub use parallel::{PipelineSettings, SlicedLayer, StageStart, TensorSettings};
pub use summary::LayerSummary;
pub use train::TrainSettings;

use crate::declarations::{DeclRef, Declarations, Gradients, nearest};
use crate::diagnostics;
use crate::elaborate::{Elaborator, FirstValue, ParamLeaf};
use crate::lint;
use dlc_abi::ElemType;
use dlc_grammar::ast::{self, DeclKind};
use dlc_grammar::diagnostic::sort_and_dedup;
use dlc_grammar::{Diagnostic, FileId, Sources, Span};
use dlc_ir::Dim;
use dlc_ir::graph::{Graph, NodeId, OutputKind};
use indexmap::IndexMap;
use std::sync::Arc;

/// The declarations of all files of a compilation.
#[derive(Debug, Clone)]
pub struct Frontend {
    decls: Arc<Declarations>,
}

/// What to elaborate.
#[derive(Debug, Clone, Default)]
pub struct ElaborateOptions {
    /// The model; may be left out where the file declares one only.
    pub model: Option<String>,
    /// Whether to warn of what is right and likely not meant, where there are no errors.
    pub lint: bool,
}

/// A tensor that goes in or out by name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub elem: ElemType,
    /// Its shape, row-major.
    pub shape: Vec<Dim>,
}

/// A data input of a model or of its training.
#[derive(Debug, Clone, PartialEq)]
pub struct DataInput {
    /// Its name in the signature.
    pub name: String,
    /// Type of its elements.
    pub elem: ElemType,
    /// Its shape, row-major; the batch is symbolic.
    pub shape: Vec<Dim>,
    /// Whether it is given for training only, such as a label.
    pub train_only: bool,
    /// Where it is declared.
    pub span: Span,
    /// Where its elements serve as indices; for a label the number of classes.
    pub index: Option<IndexUse>,
}

/// A use of an input's elements as indices along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexUse {
    /// The values lie in `0..extent`; where there are several uses, along the shortest axis.
    pub extent: i64,
    /// The user's text that does it.
    pub span: Span,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Its full name, such as `dense_1.w`.
    pub name: String,
    /// Type of its elements.
    pub elem: ElemType,
    /// Its shape, row-major.
    pub shape: Vec<Dim>,
    /// Where it is declared.
    pub span: Span,
    /// Whether training leaves it as it is.
    pub frozen: bool,
}

/// A value that is kept from step to step but not trained.
#[derive(Debug, Clone, PartialEq)]
pub struct StateInfo {
    /// Its full name: `batch_norm_1.moving_mean`, or `dense_1.w/m` of an optimizer.
    pub name: String,
    /// Type of its elements.
    pub elem: ElemType,
    /// Its shape, row-major.
    pub shape: Vec<Dim>,
    /// Whether it belongs to an optimizer, and so to training only.
    pub optimizer: bool,
}

/// A metric: its value is the result `metric.<name>` of the finish graph.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// Its name.
    pub name: String,
    /// What is added up over batches, under the names `metric.<name>.<total>`.
    pub totals: Vec<NamedTensor>,
}

/// The forward part of a training step, to be differentiated.
#[derive(Debug, Clone)]
pub struct TrainForward {
    /// Results: `loss` and the totals of metrics; model state is assigned.
    pub graph: Graph,
    /// The mean loss over the batch, a scalar of f32. Where updates take turns, that of the turn.
    pub loss: NodeId,
    /// The parameters that are trained, by name, with their leaves; in the order of [`ModelProgram::params`].
    pub params: Vec<(String, NodeId)>,
    /// What is made smaller; several where updates take turns.
    pub objectives: Vec<Objective>,
}

/// A loss, and the parameters whose gradients it gives.
#[derive(Debug, Clone)]
pub struct Objective {
    /// The mean loss over the batch, a scalar of f32.
    pub loss: NodeId,
    /// The parameters, by name, with their leaves; in the order of [`ModelProgram::params`].
    pub params: Vec<(String, NodeId)>,
}

/// All graphs of a model, and what a driver and a runtime must know about them.
#[derive(Debug, Clone)]
pub struct ModelProgram {
    /// The model's name.
    pub name: String,
    /// Data inputs: those of the model, then those of training.
    pub inputs: Vec<DataInput>,
    /// The model's results, in order.
    pub results: Vec<NamedTensor>,
    /// All parameters in order of declaration.
    pub params: Vec<ParamInfo>,
    /// All state: of the model, then of the optimizers.
    pub states: Vec<StateInfo>,
    /// Metrics in order.
    pub metrics: Vec<MetricInfo>,
    /// What the `train` block sets.
    pub settings: TrainSettings,
    /// Inference: results are the model's results by name.
    pub predict: Graph,
    /// Loss and totals of metrics in inference mode; without results where the file has no `train` block.
    pub eval: Graph,
    /// From totals to values of metrics.
    pub finish: Graph,
    /// Assigns every parameter and state its first value. Its leaf `seed` decides all random values.
    pub init: Graph,
    /// The training step as far as it is text; `None` where the file has no `train` block.
    pub train: Option<TrainForward>,
    /// Layers and functions applied, in order, with their shapes and costs.
    pub summary: Vec<LayerSummary>,
    decls: Arc<Declarations>,
    leaves: IndexMap<String, ParamLeaf>,
    plan: Option<train::TrainPlan>,
    state_firsts: IndexMap<String, FirstValue>,
}

/// Collects the declarations of a file and of the files it uses, the standard library among them.
///
/// Diagnostics tell of names that are declared twice.
pub fn load(
    sources: &Sources,
    main: &ast::File,
    library: &[ast::File],
) -> (Frontend, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let decls = Declarations::collect(sources, main, library, &mut diagnostics);
    sort_and_dedup(&mut diagnostics);
    (Frontend { decls: Arc::new(decls) }, diagnostics)
}

impl Frontend {
    /// The names of the models that the user's files declare.
    pub fn models(&self) -> Vec<String> {
        self.decls.models().map(|decl| decl.decl.name.name.clone()).collect()
    }

    /// Warnings about the text of a file that declares no model, and so is not elaborated: names that nothing uses.
    pub fn lint(&self) -> Vec<Diagnostic> {
        lint::unused(&self.decls)
    }

    /// The same with what differentiates: `gradient(..)` in a text needs it.
    pub fn with_gradients(mut self, gradients: Gradients) -> Frontend {
        Arc::make_mut(&mut self.decls).gradients = Some(gradients);
        self
    }

    /// Elaborates a model with its training. There is a program exactly where no diagnostic is an error.
    pub fn elaborate(&self, options: &ElaborateOptions) -> (Option<ModelProgram>, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let program = self
            .choose(options, &mut diagnostics)
            .and_then(|model| build(&self.decls, &model, &mut diagnostics));
        let failed = diagnostics.iter().any(Diagnostic::is_error);
        if failed || !options.lint {
            diagnostics.retain(Diagnostic::is_error);
        } else {
            diagnostics.extend(lint::unused(&self.decls));
        }
        sort_and_dedup(&mut diagnostics);
        (program.filter(|_| !failed), diagnostics)
    }

    /// The model asked for, or the only one.
    fn choose(
        &self,
        options: &ElaborateOptions,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<DeclRef> {
        let models: Vec<&DeclRef> = self.decls.models().collect();
        let names: Vec<String> = models.iter().map(|model| model.decl.name.name.clone()).collect();
        for train in self.decls.trains.values() {
            if !names.contains(&train.name.name) && !self.decls.is_faulty(&train.name.name) {
                let near = nearest(&train.name.name, names.iter().map(String::as_str));
                diagnostics.push(diagnostics::unknown_model(
                    &train.name.name,
                    train.name.span,
                    &names,
                    near,
                ));
            }
        }
        for parallel in self.decls.parallels.values() {
            let name = &parallel.name;
            if !names.contains(&name.name) && !self.decls.is_faulty(&name.name) {
                let near = nearest(&name.name, names.iter().map(String::as_str));
                diagnostics.push(diagnostics::unknown_model(&name.name, name.span, &names, near));
            }
        }
        let top = Span::point(self.decls.main_file, 0);
        match (&options.model, models.as_slice()) {
            (Some(name), models) => {
                let found = models.iter().find(|model| model.decl.name.name == *name);
                if found.is_none() && !self.decls.is_faulty(name) {
                    let near = nearest(name, names.iter().map(String::as_str));
                    diagnostics.push(diagnostics::unknown_model(name, top, &names, near));
                }
                found.map(|model| (*model).clone())
            }
            (None, [only]) => Some((*only).clone()),
            (None, []) => {
                if !self.decls.has_faulty() {
                    diagnostics.push(diagnostics::no_model(top));
                }
                None
            }
            (None, [_, second, ..]) => {
                diagnostics.push(diagnostics::several_models(second.decl.name.span, &names));
                None
            }
        }
    }

    /// Whether a file belongs to the standard library.
    pub fn is_std(&self, file: FileId) -> bool {
        self.decls.is_std(file)
    }
}

/// Elaborates all graphs of a model.
fn build(
    decls: &Arc<Declarations>,
    model: &DeclRef,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ModelProgram> {
    debug_assert_eq!(model.decl.kind, DeclKind::Model);
    let name = model.decl.name.name.clone();
    let train = decls.trains.get(&name).cloned();
    let ((mut predictor, forward), trained) = rayon::join(
        || forward::elaborate(decls, model, "predict", false),
        || train.as_ref().map(|train| train::elaborate(decls, model, train)),
    );
    let mut failed = predictor.failed() || forward.is_none();
    let (plan, trained) = match trained {
        None => (None, None),
        Some((diags, trained)) => {
            failed |= diags.iter().any(Diagnostic::is_error) || trained.is_none();
            diagnostics.extend(diags);
            match trained {
                Some(trained) => (Some(trained.plan.clone()), Some(trained)),
                None => (None, None),
            }
        }
    };
    diagnostics.append(&mut predictor.diagnostics);
    let forward = forward?;
    if failed {
        return None;
    }
    let mut program = predicted(decls, name, predictor, forward);
    if let (Some(plan), Some(trained)) = (plan, trained) {
        program.settings = plan.settings.clone();
        program.add_training(trained);
        program.plan = Some(plan);
        diagnostics.extend(program.add_optimizer_states());
    }
    program.set_shards();
    match init::graph(decls, &program) {
        Ok(graph) => program.init = graph,
        Err(more) => {
            diagnostics.extend(more);
            return None;
        }
    }
    Some(program)
}

/// A program that can predict, as far as the model alone says.
fn predicted(
    decls: &Arc<Declarations>,
    name: String,
    predictor: Elaborator,
    forward: forward::Forward,
) -> ModelProgram {
    let summary = summary::rows(&predictor);
    let mut graph = predictor.graph;
    let inputs = forward
        .inputs
        .iter()
        .map(|(name, tensor, span)| DataInput {
            name: name.clone(),
            elem: graph.nodes[tensor.node].elem,
            shape: tensor.dims(),
            train_only: false,
            span: *span,
            index: predictor.index_uses.get(name).copied(),
        })
        .collect();
    let mut results = Vec::new();
    for (name, tensor) in &forward.results {
        results.push(NamedTensor {
            name: name.clone(),
            elem: graph.nodes[tensor.node].elem,
            shape: tensor.dims(),
        });
        graph.result(name.clone(), tensor.node);
    }
    let params = predictor
        .params
        .iter()
        .map(|(name, leaf)| ParamInfo {
            name: name.clone(),
            elem: graph.nodes[leaf.tensor.node].elem,
            shape: leaf.tensor.dims(),
            span: leaf.span,
            frozen: false,
        })
        .collect();
    let states = predictor
        .states
        .iter()
        .map(|(name, state)| StateInfo {
            name: name.clone(),
            elem: graph.nodes[state.leaf.node].elem,
            shape: state.leaf.dims(),
            optimizer: false,
        })
        .collect();
    let state_firsts =
        predictor.states.iter().map(|(name, state)| (name.clone(), state.first.clone())).collect();
    let leaves = predictor.params;
    graph.prune();
    ModelProgram {
        inputs,
        results,
        params,
        states,
        metrics: Vec::new(),
        settings: TrainSettings::default(),
        predict: graph,
        eval: Graph::new(format!("{name}.eval")),
        finish: Graph::new(format!("{name}.finish")),
        init: Graph::new(format!("{name}.init")),
        train: None,
        summary,
        decls: Arc::clone(decls),
        leaves,
        plan: None,
        state_firsts,
        name,
    }
}

impl ModelProgram {
    /// Takes over what training adds.
    fn add_training(&mut self, trained: train::Trained) {
        for (name, tensor, span) in &trained.inputs {
            self.inputs.push(DataInput {
                name: name.clone(),
                elem: trained.forward.graph.nodes[tensor.node].elem,
                shape: tensor.dims(),
                train_only: true,
                span: *span,
                index: None,
            });
        }
        for input in &mut self.inputs {
            if let Some(&found) = trained.index_uses.get(&input.name)
                && input.index.is_none_or(|known| found.extent < known.extent)
            {
                input.index = Some(found);
            }
        }
        for param in &mut self.params {
            param.frozen = trained.frozen.contains(&param.name);
        }
        let labels = self.inputs.iter().filter(|input| input.train_only);
        self.settings.classes =
            labels.filter_map(|label| label.index).map(|used| used.extent).next();
        self.metrics = trained.metrics;
        self.eval = trained.eval;
        self.finish = trained.finish;
        let mut forward = trained.forward;
        let mut kept: Vec<&mut NodeId> = forward.params.iter_mut().map(|(_, node)| node).collect();
        kept.push(&mut forward.loss);
        for objective in &mut forward.objectives {
            kept.extend(objective.params.iter_mut().map(|(_, node)| node));
            kept.push(&mut objective.loss);
        }
        forward.graph.prune_keeping(kept);
        self.eval.prune();
        self.train = Some(forward);
    }

    /// All graphs cut sums over the batch into the same number of parts.
    fn set_shards(&mut self) {
        let shards = self.settings.shards;
        let train = self.train.as_mut().map(|train| &mut train.graph);
        let graphs = [&mut self.predict, &mut self.eval, &mut self.finish, &mut self.init];
        for graph in graphs.into_iter().chain(train) {
            graph.shards = shards;
        }
    }

    /// How many numbers are trained.
    pub fn trainable(&self) -> i64 {
        let elements = |param: &ParamInfo| param.shape.iter().map(|dim| dim.at(1)).product::<i64>();
        self.params.iter().filter(|param| !param.frozen).map(elements).sum()
    }

    /// Appends the update of every trained parameter to a training graph that holds the gradients: nodes of the stage `Update`,
    /// leaves for the optimizers' state, assignments of the new values, and the result `lr`.
    ///
    /// `grads` are in the order of [`Objective::params`], one objective after the other; each has the shape and element type of its
    /// parameter.
    ///
    /// # Errors
    /// Diagnostics about the text of the optimizers or the schedule. [`Frontend::elaborate`] has run the same text once, so a program
    /// that it returned meets none.
    pub fn apply_optimizer(
        &self,
        graph: &mut Graph,
        grads: &[NodeId],
    ) -> Result<(), Vec<Diagnostic>> {
        let Some(plan) = &self.plan else { return Ok(()) };
        let outcome = optimizer::apply(&self.decls, plan, &self.leaves, graph, grads);
        outcome.map(|_| ())
    }

    /// Runs the optimizers' text on made-up gradients to learn of their state and of faults in it.
    fn add_optimizer_states(&mut self) -> Vec<Diagnostic> {
        let (Some(plan), Some(forward)) = (&self.plan, &self.train) else { return Vec::new() };
        let mut graph = forward.graph.clone();
        graph.outputs.retain(|output| matches!(output.kind, OutputKind::Result(_)));
        // Each parameter stands for its own gradient: only its shape and type matter here.
        let params = forward.objectives.iter().flat_map(|objective| &objective.params);
        let grads: Vec<NodeId> = params.map(|(_, node)| *node).collect();
        match optimizer::apply(&self.decls, plan, &self.leaves, &mut graph, &grads) {
            Ok(applied) => {
                for (name, state) in applied.states {
                    self.states.push(StateInfo {
                        name: name.clone(),
                        elem: graph.nodes[state.leaf.node].elem,
                        shape: state.leaf.dims(),
                        optimizer: true,
                    });
                    self.state_firsts.insert(name, state.first);
                }
                applied.warnings
            }
            Err(diagnostics) => diagnostics,
        }
    }
}
