//! The `train` block: settings, losses and metrics.

use super::parallel::{self, PipelineSettings, TensorSettings};
use super::turns::{Turn, settings_in};
use super::{IndexUse, MetricInfo, NamedTensor, Objective, TrainForward, apart, forward};
use crate::declarations::{DeclRef, Declarations};
use crate::diagnostics;
use crate::elaborate::{Binding, Elaborator, Frame, TotalMode};
use crate::glob;
use crate::value::{Eval, Target, Tensor, Value};
use dlc_grammar::ast::{self, DeclKind, ExprKind, Setting, SettingKey, SettingValue};
use dlc_grammar::{Diagnostic, Span};
use dlc_ir::graph::{Graph, InputRole, NodeId, Op, OutputKind};
use indexmap::IndexMap;
use std::sync::Arc;

/// What the `train` block sets.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSettings {
    /// Examples in a batch.
    pub batch: Option<i64>,
    /// Passes over the data.
    pub epochs: Option<i64>,
    /// Updates in all.
    pub steps: Option<i64>,
    /// Parts into which sums over the batch are cut; a power of two.
    pub shards: u32,
    /// Parts of each batch that work side by side, as `parallel` says; 1 without it.
    pub replicas: u32,
    /// How the model is cut into stages, where `parallel` says so.
    pub pipeline: Option<PipelineSettings>,
    /// Which layers are cut into slices, where `parallel` says so.
    pub tensor: Option<TensorSettings>,
    /// The number from which all random values follow.
    pub seed: Option<i64>,
    /// The number of classes, where a label serves as an index along them.
    pub classes: Option<i64>,
    /// The optimizers as written, for display.
    pub optimizers: Vec<String>,
}

impl Default for TrainSettings {
    fn default() -> Self {
        TrainSettings {
            batch: None,
            epochs: None,
            steps: None,
            shards: 4,
            replicas: 1,
            pipeline: None,
            tensor: None,
            seed: None,
            classes: None,
            optimizers: Vec::new(),
        }
    }
}

/// What the optimizers need after the gradients are known.
#[derive(Debug, Clone)]
pub(super) struct TrainPlan {
    /// The block.
    pub train: Arc<ast::Train>,
    /// Sizes and values known when the program is compiled that its text may use.
    pub names: Vec<(String, Binding)>,
    pub settings: TrainSettings,
    /// Updates in the order of their turns.
    pub turns: Vec<Turn>,
}

/// What training adds to a program.
pub(super) struct Trained {
    pub forward: TrainForward,
    pub eval: Graph,
    pub finish: Graph,
    pub inputs: Vec<(String, Tensor, Span)>,
    pub metrics: Vec<MetricInfo>,
    pub frozen: Vec<String>,
    pub index_uses: IndexMap<String, IndexUse>,
    pub plan: TrainPlan,
}

/// What the block's losses and metrics leave behind.
pub(super) struct Pass {
    pub elaborator: Elaborator,
    inputs: Vec<(String, Tensor, Span)>,
    /// The loss that is shown, and those that are made smaller, one for each turn.
    losses: Option<(Tensor, Vec<Tensor>)>,
    /// Names that the block's text may use.
    pub names: Vec<(String, Binding)>,
}

/// Elaborates the graphs of training.
pub(super) fn elaborate(
    decls: &Arc<Declarations>,
    model: &DeclRef,
    train: &Arc<ast::Train>,
) -> (Vec<Diagnostic>, Option<Trained>) {
    let ((faults, training), (more, evaluation)) = rayon::join(
        || pass(decls, model, train, "train", true),
        || pass(decls, model, train, "eval", false),
    );
    let Some(training) = training else { return (faults, None) };
    let mut diagnostics = training.elaborator.diagnostics.clone();
    diagnostics.extend(more);
    let Pass { mut elaborator, inputs, losses, names } = training;
    let settings = settings(&mut elaborator, train, &names);
    let frozen = frozen(&mut elaborator, train);
    let trained: Vec<String> =
        elaborator.params.keys().filter(|name| !frozen.contains(name)).cloned().collect();
    elaborator.frames.push(frame_of(train, &names));
    let turns = elaborator.turns_of(train, &trained);
    elaborator.frames.pop();
    diagnostics.append(&mut elaborator.diagnostics);
    let metrics = metrics(&elaborator.graph, train);
    let (more, finish) = finish(decls, &elaborator, model, train, &names);
    diagnostics.extend(more);
    let (Some(mut evaluation), Some((loss, losses))) = (evaluation, losses) else {
        return (diagnostics, None);
    };
    diagnostics.append(&mut evaluation.elaborator.diagnostics);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return (diagnostics, None);
    }
    for state in elaborator.states.values() {
        if state.current.node != state.leaf.node {
            elaborator.graph.assign(state.leaf.node, state.current.node);
        }
    }
    let Ok(turns) = turns else { return (diagnostics, None) };
    let leaves = |names: &[String]| -> Vec<(String, NodeId)> {
        let leaf = |name: &String| elaborator.params[name].tensor.node;
        names.iter().map(|name| (name.clone(), leaf(name))).collect()
    };
    let params = leaves(&trained);
    let objectives = turns
        .iter()
        .zip(&losses)
        .map(|(turn, loss)| Objective { loss: loss.node, params: leaves(&turn.params) })
        .collect();
    diagnostics.extend(without_loss(&elaborator, train, &turns, &losses));
    let known = names.into_iter().filter(|(_, binding)| is_constant(&binding.value)).collect();
    let trained = Trained {
        forward: TrainForward { graph: elaborator.graph, loss: loss.node, params, objectives },
        eval: evaluation.elaborator.graph,
        finish,
        inputs,
        metrics,
        frozen,
        index_uses: elaborator.index_uses,
        plan: TrainPlan { train: Arc::clone(train), names: known, settings, turns },
    };
    (diagnostics, Some(trained))
}

/// Warnings about parameters that no loss of their turn depends on.
fn without_loss(
    elaborator: &Elaborator,
    train: &ast::Train,
    turns: &[Turn],
    losses: &[Tensor],
) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for (turn, loss) in turns.iter().zip(losses) {
        let mut reached = std::collections::BTreeSet::new();
        let mut open = vec![loss.node];
        while let Some(node) = open.pop() {
            if reached.insert(node) {
                open.extend(elaborator.graph.nodes[node].op.operands());
            }
        }
        for name in &turn.params {
            let leaf = &elaborator.params[name];
            if !reached.contains(&leaf.tensor.node) {
                warnings.push(diagnostics::without_loss(name, train.name.span, leaf.span));
            }
        }
    }
    warnings
}

/// Whether a value needs no graph.
fn is_constant(value: &Value) -> bool {
    match value {
        Value::Number(_) | Value::Bool(_) | Value::Str(_) | Value::Choice(_) | Value::None => true,
        Value::Tuple(parts) | Value::List(parts) | Value::Pack(parts) => {
            parts.iter().all(is_constant)
        }
        _ => false,
    }
}

/// The model and the block's losses and metrics, in one mode.
fn pass(
    decls: &Arc<Declarations>,
    model: &DeclRef,
    train: &ast::Train,
    graph: &str,
    training: bool,
) -> (Vec<Diagnostic>, Option<Pass>) {
    let (mut elaborator, forward) = forward::elaborate(decls, model, graph, training);
    match forward {
        Some(forward) => read_block(elaborator, &forward, &[], model, train),
        None => {
            if training && !elaborator.exhausted {
                elaborator.diagnostics.extend(apart::check(decls, model, train));
            }
            (elaborator.diagnostics, None)
        }
    }
}

/// The block's losses and metrics on what a model's text left behind. Of results that are `unknown` nothing is said.
pub(super) fn read_block(
    mut elaborator: Elaborator,
    forward: &forward::Forward,
    unknown: &[String],
    model: &DeclRef,
    train: &ast::Train,
) -> (Vec<Diagnostic>, Option<Pass>) {
    elaborator.frames.push(Frame::new(None, train.name.span));
    for (name, binding) in &forward.sizes {
        elaborator.frame_mut().bind(name, binding.clone());
    }
    let inputs = elaborator.data_inputs(&train.formals);
    let of_inputs = forward.inputs.iter().map(|(name, tensor, _)| (name, tensor));
    for (name, tensor) in
        of_inputs.chain(forward.results.iter().map(|(name, tensor)| (name, tensor)))
    {
        elaborator.bind(name, Value::Tensor(tensor.clone()), Some(model.decl.name.span));
    }
    for name in unknown {
        elaborator.bind(name, Value::Bad, None);
    }
    let outcome = inputs.map(|inputs| {
        for (name, tensor, span) in &inputs {
            elaborator.bind(name, Value::Tensor(tensor.clone()), Some(*span));
        }
        elaborator.totals = TotalMode::Batch;
        let losses = elaborator.block(train);
        elaborator.totals = TotalMode::Outside;
        let losses = losses.and_then(|losses| {
            let losses = elaborator.with_penalties(losses);
            let shown = elaborator.shown_loss(train, &losses)?;
            elaborator.graph.result("loss", shown.node);
            Ok((shown, losses))
        });
        (inputs, losses)
    });
    let scope = elaborator.frame().scopes.iter().flatten();
    let names = scope.map(|(name, binding)| (name.clone(), binding.clone())).collect();
    elaborator.frames.pop();
    match outcome {
        Err(_) => (elaborator.diagnostics, None),
        Ok((inputs, losses)) => {
            let losses = losses.ok();
            // Metrics come before the loss in the text of the block as well as in the graph; `loss` leads the results.
            order_results(&mut elaborator.graph);
            (Vec::new(), Some(Pass { elaborator, inputs, losses, names }))
        }
    }
}

fn order_results(graph: &mut Graph) {
    graph.outputs.sort_by_key(|output| output.kind != OutputKind::Result("loss".to_string()));
}

/// The settings of a block, in order.
pub(super) fn settings_of(train: &ast::Train) -> impl Iterator<Item = &Setting> {
    settings_in(&train.body.stmts)
}

/// The frame of the block's text.
pub(super) fn frame_of(train: &ast::Train, names: &[(String, Binding)]) -> Frame {
    let mut frame = Frame::new(None, train.name.span);
    for (name, binding) in names {
        frame.bind(name, binding.clone());
    }
    frame
}

/// The name of a metric: stated, or that of the declaration.
fn metric_name(setting: &Setting) -> Option<(String, Span)> {
    if let Some(name) = &setting.name {
        return Some((name.name.clone(), name.span));
    }
    match &setting.value {
        SettingValue::Call(call) => {
            call.path.parts.last().map(|name| (name.name.clone(), name.span))
        }
        SettingValue::Expr(expr) => match &expr.unparen().kind {
            ExprKind::Call(callee, _) => match &callee.unparen().kind {
                ExprKind::Name(name) | ExprKind::Field(_, ast::FieldName::Name(name)) => {
                    Some((name.name.clone(), name.span))
                }
                _ => None,
            },
            _ => None,
        },
        SettingValue::Globs(_) => None,
    }
}

impl Elaborator {
    /// A metric; its value matters in the finish graph only.
    pub(super) fn metric(
        &mut self,
        setting: &Setting,
        names: &mut Vec<String>,
    ) -> Eval<(String, Value)> {
        let Some((name, at)) = metric_name(setting) else {
            return Err(self.report(diagnostics::setting_form(setting.key, setting.key_span)));
        };
        if names.contains(&name) {
            return Err(self.report(diagnostics::name_taken(&name, at)));
        }
        names.push(name.clone());
        let (callee, args, span): (Value, &[ast::Arg], Span) = match &setting.value {
            SettingValue::Call(call) => {
                let callee = self.lookup_path(&call.path)?;
                (callee, call.args.as_deref().unwrap_or_default(), call.span)
            }
            SettingValue::Expr(expr) => match &expr.unparen().kind {
                ExprKind::Call(callee, args) => (self.eval_callee(callee)?, args, expr.span),
                _ => return Err(self.report(diagnostics::setting_form(setting.key, expr.span))),
            },
            SettingValue::Globs(_) => {
                return Err(self.report(diagnostics::setting_form(setting.key, setting.key_span)));
            }
        };
        let is_metric = matches!(&callee, Value::Callable(callable)
            if matches!(&callable.target, Target::Decl(decl) if decl.decl.kind == DeclKind::Metric));
        if !is_metric {
            return Err(self.report(diagnostics::setting_form(setting.key, span)));
        }
        self.total_prefix = format!("metric.{name}");
        let value = self.apply_value(&callee, span, None, args, None, span)?;
        Ok((name, value))
    }
}

/// The block's numbers.
pub(super) fn settings(
    elaborator: &mut Elaborator,
    train: &ast::Train,
    names: &[(String, Binding)],
) -> TrainSettings {
    elaborator.frames.push(frame_of(train, names));
    let mut settings = TrainSettings::default();
    let mut seen: Vec<(SettingKey, Span)> = Vec::new();
    for setting in settings_of(train) {
        let single = matches!(
            setting.key,
            SettingKey::Batch
                | SettingKey::Epochs
                | SettingKey::Steps
                | SettingKey::Shards
                | SettingKey::Seed
                | SettingKey::Schedule
        );
        if !single {
            continue;
        }
        if let Some((_, first)) = seen.iter().find(|(key, _)| *key == setting.key) {
            let first = *first;
            elaborator.report(diagnostics::setting_twice(setting.key, setting.key_span, first));
            continue;
        }
        seen.push((setting.key, setting.key_span));
        if setting.key == SettingKey::Schedule {
            continue;
        }
        let SettingValue::Expr(expr) = &setting.value else {
            elaborator.report(diagnostics::setting_form(setting.key, setting.key_span));
            continue;
        };
        let what = format!("`{}`", setting.key.word());
        let Ok(value) = elaborator.eval_int(expr, &what) else { continue };
        let fits = match setting.key {
            SettingKey::Seed => i32::try_from(value).is_ok(),
            SettingKey::Shards => (1..=1024).contains(&value) && value & (value - 1) == 0,
            _ => (1..=i64::from(i32::MAX)).contains(&value),
        };
        if !fits {
            let wanted = match setting.key {
                SettingKey::Seed => "an integer of 32 bits",
                SettingKey::Shards => "a power of two up to 1024",
                _ => "positive and at most 2147483647",
            };
            elaborator.report(diagnostics::setting_value(setting.key, value, wanted, expr.span));
            continue;
        }
        match setting.key {
            SettingKey::Batch => settings.batch = Some(value),
            SettingKey::Epochs => settings.epochs = Some(value),
            SettingKey::Steps => settings.steps = Some(value),
            SettingKey::Seed => settings.seed = Some(value),
            SettingKey::Shards => settings.shards = u32::try_from(value).unwrap_or(4),
            _ => {}
        }
    }
    if let Some(parallel) = elaborator.decls.parallels.get(&train.name.name).cloned() {
        parallel::settings(elaborator, &parallel, &mut settings);
    }
    elaborator.frames.pop();
    settings
}

/// The parameters that `freeze` names.
fn frozen(elaborator: &mut Elaborator, train: &ast::Train) -> Vec<String> {
    let mut frozen = Vec::new();
    for setting in settings_of(train).filter(|setting| setting.key == SettingKey::Freeze) {
        let SettingValue::Globs(patterns) = &setting.value else {
            elaborator.report(diagnostics::setting_form(setting.key, setting.key_span));
            continue;
        };
        for pattern in patterns {
            let names: Vec<String> = elaborator.params.keys().cloned().collect();
            let before = frozen.len();
            frozen.extend(names.iter().filter(|name| glob::matches(&pattern.text, name)).cloned());
            if frozen.len() == before {
                elaborator.report(diagnostics::pattern_without_match(pattern, &names));
            }
        }
    }
    frozen
}

/// The metrics with their totals, as the training graph hands them out.
fn metrics(graph: &Graph, train: &ast::Train) -> Vec<MetricInfo> {
    let names = settings_of(train)
        .filter(|setting| setting.key == SettingKey::Metric)
        .filter_map(metric_name);
    names
        .map(|(name, _)| {
            let prefix = format!("metric.{name}.");
            let totals = graph
                .outputs
                .iter()
                .filter_map(|output| match &output.kind {
                    OutputKind::Result(result) if result.starts_with(&prefix) => {
                        Some(NamedTensor {
                            name: result.clone(),
                            elem: graph.nodes[output.value].elem,
                            shape: graph.nodes[output.value].shape.clone(),
                        })
                    }
                    _ => None,
                })
                .collect();
            MetricInfo { name, totals }
        })
        .collect()
}

/// From totals to values. The same text runs with leaves in place of the model's tensors and of the totals; what is left of the
/// former in the end is a fault of the text.
fn finish(
    decls: &Arc<Declarations>,
    trained: &Elaborator,
    model: &DeclRef,
    train: &ast::Train,
    names: &[(String, Binding)],
) -> (Vec<Diagnostic>, Graph) {
    let title = format!("{}.finish", model.decl.name.name);
    let mut elaborator = Elaborator::new(Arc::clone(decls), title, false);
    elaborator.totals = TotalMode::Finish;
    let mut frame = Frame::new(None, train.name.span);
    for (name, binding) in names {
        let mut binding = binding.clone();
        if let Value::Tensor(tensor) = &binding.value {
            let elem = trained.elem(tensor.node);
            let node =
                elaborator.leaf(&format!("batch.{name}"), InputRole::Data, elem, &tensor.dims());
            binding.value = Value::Tensor(Tensor { node, shape: tensor.shape.clone() });
        }
        frame.bind(name, binding);
    }
    elaborator.frames.push(frame);
    let mut taken = Vec::new();
    for setting in settings_of(train).filter(|setting| setting.key == SettingKey::Metric) {
        let Ok((name, value)) = elaborator.metric(setting, &mut taken) else { continue };
        let span = setting.key_span;
        let Ok(tensor) = elaborator.as_tensor_or_scalar(value, "metric", span) else { continue };
        let reads = reads_batch(&elaborator.graph, &tensor);
        if reads {
            elaborator.report(diagnostics::metric_of_batch(&name, span));
        }
        elaborator.graph.result(format!("metric.{name}"), tensor.node);
    }
    let mut graph = elaborator.graph;
    graph.prune_all();
    (elaborator.diagnostics, graph)
}

/// Whether a value depends on a tensor of one batch.
fn reads_batch(graph: &Graph, tensor: &Tensor) -> bool {
    let mut open = vec![tensor.node];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = &graph.nodes[id];
        let batch = match &node.op {
            Op::Input { name, .. } => !name.starts_with("metric."),
            Op::Extent(dim) => dim.batch_factor != 0,
            _ => node.shape.iter().any(|dim| dim.batch_factor != 0),
        };
        if batch {
            return true;
        }
        open.extend(node.op.operands());
    }
    false
}
