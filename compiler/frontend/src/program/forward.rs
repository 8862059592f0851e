//! The model itself: from its inputs to its results.

use crate::declarations::{DeclRef, Declarations};
use crate::diagnostics;
use crate::elaborate::{Binding, Elaborator, Frame};
use crate::value::{Eval, Extent, Given, Number, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{self, DimKind, Formal, TypeKind};
use dlc_ir::Dim;
use dlc_ir::graph::InputRole;
use std::sync::Arc;

/// What a model's text leaves behind, besides the graph.
pub(super) struct Forward {
    /// Its data inputs, and where they are declared.
    pub inputs: Vec<(String, Tensor, Span)>,
    /// Its results.
    pub results: Vec<(String, Tensor)>,
    /// The sizes that its signature names.
    pub sizes: Vec<(String, Binding)>,
}

/// Elaborates a model into a graph of its own.
pub(super) fn elaborate(
    decls: &Arc<Declarations>,
    model: &DeclRef,
    graph: &str,
    training: bool,
) -> (Elaborator, Option<Forward>) {
    let name = format!("{}.{graph}", model.decl.name.name);
    let mut elaborator = Elaborator::new(Arc::clone(decls), name, training);
    let forward = elaborator.forward(model).ok();
    (elaborator, forward)
}

impl Elaborator {
    fn forward(&mut self, model: &DeclRef) -> Eval<Forward> {
        let decl = &model.decl;
        let span = decl.name.span;
        self.frames.push(Frame::new(Some(model.clone()), span));
        let forward = self.run_model(decl, span);
        self.frames.pop();
        forward
    }

    fn run_model(&mut self, decl: &Arc<ast::Decl>, span: Span) -> Eval<Forward> {
        let inputs = self.bind_inputs(decl)?;
        let sizes = self.sizes();
        let value = self.run_body(decl)?;
        let value = self.results(decl, value, span)?;
        let fields = match value {
            Value::Record(record) => record.fields.clone(),
            value => {
                let name = decl.results.first().and_then(|result| result.name.as_ref());
                vec![(name.map_or("result".to_string(), |name| name.name.clone()), value)]
            }
        };
        let mut results = Vec::new();
        for (name, value) in fields {
            let tensor = self.as_tensor_or_scalar(value, "a result", span)?;
            results.push((name, tensor));
        }
        Ok(Forward { inputs, results, sizes })
    }

    /// Leaves for a model's inputs, with its formals bound to them.
    pub(super) fn bind_inputs(
        &mut self,
        decl: &Arc<ast::Decl>,
    ) -> Eval<Vec<(String, Tensor, Span)>> {
        let inputs = self.data_inputs(&decl.formals)?;
        let given = inputs
            .iter()
            .map(|(name, tensor, span)| Given {
                name: Some(name.clone()),
                value: Value::Tensor(tensor.clone()),
                span: *span,
            })
            .collect();
        self.bind_formals(decl, given, decl.name.span)?;
        Ok(inputs)
    }

    /// The sizes that are known by name, such as the batch.
    pub(super) fn sizes(&self) -> Vec<(String, Binding)> {
        let scopes = self.frame().scopes.iter().flatten();
        scopes
            .filter(|(_, binding)| match &binding.value {
                Value::Number(Number::Int(_)) => true,
                Value::Pack(parts) => {
                    parts.iter().all(|part| matches!(part, Value::Number(Number::Int(_))))
                }
                _ => false,
            })
            .map(|(name, binding)| (name.clone(), binding.clone()))
            .collect()
    }

    /// Leaves for the formals that are tensors. The first name of a size that nothing binds is the batch.
    pub(super) fn data_inputs(&mut self, formals: &[Formal]) -> Eval<Vec<(String, Tensor, Span)>> {
        for formal in formals {
            if let Some(default) = &formal.default
                && !matches!(formal.ty.as_ref().map(|ty| &ty.kind), Some(TypeKind::Tensor { .. }))
            {
                let value = self.eval(default)?;
                self.bind(&formal.name.name, value, Some(default.span));
            }
        }
        let mut inputs = Vec::new();
        let mut failed = None;
        for formal in formals {
            match formal.ty.as_ref().map(|ty| &ty.kind) {
                Some(TypeKind::Tensor { shape: Some(shape), .. }) => {
                    match self.data_input(formal, shape) {
                        Ok(tensor) => inputs.push((formal.name.name.clone(), tensor, formal.span)),
                        Err(reported) => failed = Some(reported),
                    }
                }
                _ if formal.default.is_some() => {}
                _ => failed = Some(self.report(diagnostics::input_type(&formal.name, formal.span))),
            }
        }
        match failed {
            Some(reported) => Err(reported),
            None => Ok(inputs),
        }
    }

    fn data_input(&mut self, formal: &Formal, shape: &ast::Shape) -> Eval<Tensor> {
        for dim in &shape.dims {
            let DimKind::At { value, pack: false } = &dim.kind else { continue };
            let Some(name) = value.as_name() else { continue };
            if self.frame().get(&name.name).is_some() {
                continue;
            }
            let batch = self.frame().scopes.iter().flatten().find_map(|(known, binding)| {
                let batch = matches!(&binding.value, Value::Number(Number::Int(dim)) if dim.batch_factor != 0);
                batch.then(|| known.clone())
            });
            match batch {
                None => self.bind(&name.name, Value::dim(Dim::batch()), Some(name.span)),
                Some(batch) => return Err(self.report(diagnostics::open_size(name, &batch))),
            }
        }
        let Some(ty) = &formal.ty else {
            return Err(self.report(diagnostics::input_type(&formal.name, formal.span)));
        };
        let (elem, extents): (ElemType, Vec<Extent>) = self.declared_tensor(ty)?;
        self.check_size(&extents, ty.span)?;
        let dims: Vec<Dim> = extents.iter().map(|extent| extent.dim).collect();
        let name = &formal.name.name;
        if self.graph.input(name).is_some() || is_reserved(name) {
            return Err(self.report(diagnostics::input_name_taken(&formal.name)));
        }
        let node = self.leaf(name, InputRole::Data, elem, &dims);
        Ok(Tensor { node, shape: extents })
    }
}

/// Names of leaves that every program may have.
fn is_reserved(name: &str) -> bool {
    matches!(name, "step" | "steps" | "seed")
}
