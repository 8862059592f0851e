//! A `train` block whose model is faulty. Its own faults are found in the same run: what the model declares stands for what its text
//! would have computed, so that nothing is said that only follows from the model's faults.

use super::forward::Forward;
use super::train::{frame_of, read_block, settings};
use crate::declarations::{DeclRef, Declarations};
use crate::elaborate::{Elaborator, Frame};
use crate::value::{Eval, Reported, Tensor};
use dlc_grammar::Diagnostic;
use dlc_grammar::ast::{self, SettingKey};
use dlc_ir::graph::InputRole;
use std::sync::Arc;

/// The faults of a block, as far as they can be known without the model.
pub(super) fn check(
    decls: &Arc<Declarations>,
    model: &DeclRef,
    train: &ast::Train,
) -> Vec<Diagnostic> {
    let mut elaborator = Elaborator::new(Arc::clone(decls), "apart", true);
    elaborator.params_unknown = true;
    let Ok((forward, unknown)) = elaborator.declared(model) else { return Vec::new() };
    // The signature's faults were reported with those of the model.
    elaborator.diagnostics.clear();
    let (mut elaborator, names) = match read_block(elaborator, &forward, &unknown, model, train) {
        (_, Some(pass)) => (pass.elaborator, pass.names),
        (diagnostics, None) => return diagnostics,
    };
    settings(&mut elaborator, train, &names);
    elaborator.frames.push(frame_of(train, &names));
    // What is found is among the diagnostics.
    let _ = elaborator.updates_apart(train);
    elaborator.frames.pop();
    elaborator.diagnostics
}

impl Elaborator {
    /// Leaves for the inputs and results of a model as its signature declares them; and the names of the results that it leaves open.
    fn declared(&mut self, model: &DeclRef) -> Eval<(Forward, Vec<String>)> {
        let decl = &model.decl;
        self.frames.push(Frame::new(Some(model.clone()), decl.name.span));
        let outcome = self.declared_within(decl);
        self.frames.pop();
        outcome
    }

    fn declared_within(&mut self, decl: &Arc<ast::Decl>) -> Eval<(Forward, Vec<String>)> {
        let inputs = self.bind_inputs(decl)?;
        let mut results = Vec::new();
        let mut unknown = Vec::new();
        for result in &decl.results {
            let Some(name) = &result.name else { continue };
            match self.declared_tensor(&result.ty) {
                Ok((elem, shape)) => {
                    let dims: Vec<_> = shape.iter().map(|extent| extent.dim).collect();
                    let leaf = format!("result.{}", name.name);
                    let node = self.leaf(&leaf, InputRole::Data, elem, &dims);
                    results.push((name.name.clone(), Tensor { node, shape }));
                }
                Err(_) => unknown.push(name.name.clone()),
            }
        }
        Ok((Forward { inputs, results, sizes: self.sizes() }, unknown))
    }

    /// The schedule, and what is called to update the parameters, with its arguments; but no update, for want of parameters.
    fn updates_apart(&mut self, train: &ast::Train) -> Eval<()> {
        let mut failed = None;
        for turn in self.turns_of(train, &[])? {
            if let Err(reported) = self.schedule(train, &turn) {
                failed = Some(reported);
            }
            for key in [SettingKey::Optimizer, SettingKey::Constraint] {
                for setting in turn.settings(train, key) {
                    let outcome = self.rule(setting).and_then(|rule| self.arguments_of(&rule));
                    if let Err(reported) = outcome {
                        failed = Some(reported);
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err::<(), Reported>)
    }
}
