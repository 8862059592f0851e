//! Parameters, state and random values.

use super::shape::Role;
use super::{Binding, Elaborator, Frame};
use crate::diagnostics;
use crate::value::{Callable, Eval, Extent, Given, Number, Reported, Target, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{self, DeclKind, TypeKind};
use dlc_ir::graph::{InputRole, Literal, NodeId};
use std::sync::Arc;

/// A parameter.
#[derive(Debug, Clone)]
pub(crate) struct ParamLeaf {
    /// Its leaf and shape.
    pub tensor: Tensor,
    /// Where it is declared.
    pub span: Span,
    /// What draws its first value.
    pub init: Callable,
}

/// A value that is kept from step to step.
#[derive(Debug, Clone)]
pub(crate) struct StateLeaf {
    /// Its leaf and shape.
    pub leaf: Tensor,
    /// Its value so far in this step.
    pub current: Tensor,
    /// Its first value: a number, or the value of the parameter it belongs to.
    pub first: FirstValue,
}

/// The first value of a state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FirstValue {
    /// A number in every element.
    Number(f64),
    /// The first value of this parameter.
    Param(String),
}

impl Elaborator {
    /// `param w: f32[k, units] ~ glorot_uniform`
    pub(crate) fn exec_param(&mut self, param: &ast::Param, span: Span) -> Eval<()> {
        if !matches!(self.frame().kind(), Some(DeclKind::Layer | DeclKind::Model)) {
            return Err(self.report(diagnostics::misplaced("param", "a layer or a model", span)));
        }
        let (elem, extents) = self.declared_tensor(&param.ty)?;
        let name = self.level().join(&param.name.name);
        let init = self.distribution(&param.init)?;
        let tensor = match self.params.get(&name) {
            Some(known) => {
                let known = known.clone();
                let fits =
                    known.tensor.dims() == dims(&extents) && self.elem(known.tensor.node) == elem;
                if self.sharing == 0 {
                    return Err(self.report(diagnostics::duplicate_param(&param.name, known.span)));
                }
                if !fits {
                    return Err(self.report(diagnostics::shared_shape(
                        &name,
                        param.name.span,
                        &known.tensor.shape,
                        &extents,
                    )));
                }
                known.tensor
            }
            None => {
                self.check_size(&extents, param.ty.span)?;
                if let Some(extent) = extents.iter().find(|extent| extent.dim.as_fixed().is_none())
                {
                    let diagnostic =
                        diagnostics::param_with_batch(&param.name, param.ty.span, *extent);
                    return Err(self.report(diagnostic));
                }
                let node = self.leaf(&name, InputRole::Param, elem, &dims(&extents));
                let tensor = Tensor { node, shape: extents };
                let leaf = ParamLeaf { tensor: tensor.clone(), span: param.name.span, init };
                self.params.insert(name, leaf);
                tensor
            }
        };
        self.bind(&param.name.name, Value::Tensor(tensor), Some(param.name.span));
        Ok(())
    }

    /// Element type and extents of a declared tensor.
    pub(crate) fn declared_tensor(&mut self, ty: &ast::Type) -> Eval<(ElemType, Vec<Extent>)> {
        let TypeKind::Tensor { dtype, shape } = &ty.kind else {
            return Err(self.report(diagnostics::needs_tensor_type(ty.span)));
        };
        let Some(elem) = super::shape::elem_of(*dtype) else {
            return Err(self.report(diagnostics::needs_tensor_type(ty.span)));
        };
        let extents = match shape {
            Some(shape) => self.shape_of_type(shape)?,
            None => Vec::new(),
        };
        Ok((elem, extents))
    }

    /// What stands after `~`, with its arguments.
    fn distribution(&mut self, call: &ast::Call) -> Eval<Callable> {
        let name = &ast::Ident { name: call.path.text(), span: call.path.span };
        let value = match call.path.single() {
            Some(name) => self.lookup(name)?,
            None => self.lookup_path(&call.path)?,
        };
        let mut callable = match value {
            Value::Callable(callable) => (*callable).clone(),
            other => return Err(self.report(diagnostics::not_a_distribution(name, other.noun()))),
        };
        match &callable.target {
            Target::Builtin(builtin) if builtin == super::builtin::RANDOM => {}
            Target::Decl(decl) if decl.decl.kind == DeclKind::Init => {}
            Target::Builtin(_) => {
                return Err(self.report(diagnostics::not_a_distribution(name, "a function")));
            }
            Target::Decl(decl) => {
                let noun = format!("a {}", decl.decl.kind.word());
                return Err(self.report(diagnostics::not_a_distribution(name, &noun)));
            }
        }
        let args = call.args.as_deref().unwrap_or_default();
        callable.given.extend(self.partial_args(&callable, args)?);
        Ok(callable)
    }

    /// `let keep: f32[s..] ~ bernoulli(0.5)`
    pub(crate) fn exec_draw(
        &mut self,
        name: &ast::Ident,
        ty: Option<&ast::Type>,
        call: &ast::Call,
    ) -> Eval<()> {
        let Some(ty) = ty else {
            return Err(self.report(diagnostics::draw_without_type(name)));
        };
        let (elem, extents) = self.declared_tensor(ty)?;
        self.check_size(&extents, ty.span)?;
        let init = self.distribution(call)?;
        let outer = self.draw_name.clone();
        self.draw_name = match self.frame().kind() {
            Some(DeclKind::Init) => format!("{outer}/{}", name.name),
            _ => self.level().join(&name.name),
        };
        let drawn = self.draw(&init, elem, &extents, call.span);
        self.draw_name = outer;
        self.bind(&name.name, Value::Tensor(drawn?), Some(name.span));
        Ok(())
    }

    /// A tensor of random or constant values.
    pub(crate) fn draw(
        &mut self,
        init: &Callable,
        elem: ElemType,
        extents: &[Extent],
        span: Span,
    ) -> Eval<Tensor> {
        match &init.target {
            Target::Builtin(_) if super::tensor::is_float(elem) => Ok(self.random(elem, extents)),
            Target::Builtin(_) => {
                let name = dlc_ir::graph::ops::elem_name(elem);
                Err(self.report(diagnostics::random_type(name, span)))
            }
            Target::Decl(decl) => {
                let decl = decl.clone();
                self.enter(span)?;
                self.frames.push(Frame::new(Some(decl.clone()), span));
                let drawn = self.run_init(&decl.decl, &init.given, elem, extents, span);
                self.frames.pop();
                self.leave();
                drawn
            }
        }
    }

    /// Uniform numbers in [0, 1). The draw's number follows from its name, so that other draws leave it as it is.
    fn random(&mut self, elem: ElemType, extents: &[Extent]) -> Tensor {
        let seed = self.leaf("seed", InputRole::Data, ElemType::I32, &[]);
        let step = if self.before_first_step {
            self.build().constant(Literal::Int(0), ElemType::I32, Vec::new())
        } else {
            self.leaf("step", InputRole::Data, ElemType::I32, &[])
        };
        let mut draw = fingerprint(&self.draw_name);
        while !self.draws.insert(draw) {
            draw = draw.wrapping_add(1);
        }
        let node = self.build().random(seed, step, draw, elem, dims(extents));
        Tensor { node, shape: extents.to_vec() }
    }

    fn run_init(
        &mut self,
        decl: &Arc<ast::Decl>,
        given: &[Given],
        elem: ElemType,
        extents: &[Extent],
        span: Span,
    ) -> Eval<Tensor> {
        let result = decl.results.first();
        if let Some(result) = result
            && let TypeKind::Tensor { shape: Some(shape), .. } = &result.ty.kind
        {
            // The wanted shape is known before anything else: it binds the names of sizes.
            match self.match_shape(shape, extents, &[]) {
                Ok(()) => {}
                Err(super::shape::Misfit::Reported(reported)) => return Err(reported),
                Err(_) => {
                    let name = &decl.name.name;
                    return Err(
                        self.report(diagnostics::init_shape(name, span, extents, shape.span))
                    );
                }
            }
        }
        self.bind_formals(decl, given.to_vec(), span)?;
        let value = self.run_body(decl)?;
        let named = result.and_then(|result| result.name.as_ref());
        let value = match named {
            Some(name) => self.lookup(name)?,
            None => match value {
                Some(value) => value,
                None => {
                    return Err(self.report(diagnostics::no_value(decl.name.span, &decl.name.name)));
                }
            },
        };
        let role = Role {
            what: format!("the value of `{}`", decl.name.name),
            span: decl.name.span,
            declared: result.map_or(decl.name.span, |result| result.span),
        };
        self.fill(value.first(), elem, extents, &role)
    }

    /// A value as a tensor of an element type and shape: a scalar fills it.
    pub(crate) fn fill(
        &mut self,
        value: Value,
        elem: ElemType,
        extents: &[Extent],
        role: &Role,
    ) -> Eval<Tensor> {
        let wanted = dims(extents);
        let node: NodeId = match &value {
            Value::Number(Number::Real(_)) if !super::tensor::is_float(elem) => {
                return Err(self.report(diagnostics::wrong_type(
                    &role.what,
                    role.span,
                    "a real number",
                    "an integer",
                    role.declared,
                )));
            }
            Value::Number(number) => self.number_node(*number, elem, &wanted),
            Value::Tensor(tensor)
                if super::tensor::is_float(self.elem(tensor.node))
                    && !super::tensor::is_float(elem) =>
            {
                let (has, wants) = (self.elem(tensor.node), elem);
                return Err(self.report(diagnostics::element_type(
                    &role.what,
                    role.span,
                    dlc_ir::graph::ops::elem_name(has),
                    dlc_ir::graph::ops::elem_name(wants),
                    role.declared,
                )));
            }
            Value::Tensor(tensor) if tensor.rank() == 0 || tensor.dims() == wanted => {
                let node = self.convert(tensor.node, elem);
                if tensor.rank() == 0 { self.spread(node, &wanted) } else { node }
            }
            Value::Tensor(tensor) => {
                let shape = tensor.shape.clone();
                return Err(
                    self.report(diagnostics::value_shape(&role.what, role.span, &shape, extents))
                );
            }
            Value::Bad => return Err(Reported::already()),
            other => {
                return Err(self.report(diagnostics::wrong_type(
                    &role.what,
                    role.span,
                    other.noun(),
                    "a tensor",
                    role.declared,
                )));
            }
        };
        Ok(Tensor { node, shape: extents.to_vec() })
    }

    /// `state moving_mean: f32[c] = 0`
    pub(crate) fn exec_state(&mut self, state: &ast::State, span: Span) -> Eval<()> {
        let kind = self.frame().kind();
        let (name, (elem, extents)) = match kind {
            Some(DeclKind::Layer | DeclKind::Model) => {
                let Some(ty) = &state.ty else {
                    return Err(self.report(diagnostics::state_without_type(&state.name)));
                };
                (self.level().join(&state.name.name), self.declared_tensor(ty)?)
            }
            Some(DeclKind::Optimizer) => {
                let declared = match &state.ty {
                    Some(ty) => self.declared_tensor(ty)?,
                    None => self.updated_shape()?,
                };
                (self.optimizer_state_name(&state.name.name), declared)
            }
            _ => {
                let place = "a layer, a model or an optimizer";
                return Err(self.report(diagnostics::misplaced("state", place, span)));
            }
        };
        if let Some(known) = self.states.get(&name) {
            if self.sharing == 0 {
                return Err(self.report(diagnostics::duplicate_param(&state.name, state.name.span)));
            }
            let value = Value::Tensor(known.current.clone());
            self.bind_state(&state.name, value, name);
            return Ok(());
        }
        self.check_size(&extents, state.name.span)?;
        if let Some(extent) = extents.iter().find(|extent| extent.dim.as_fixed().is_none()) {
            let span = state.ty.as_ref().map_or(state.name.span, |ty| ty.span);
            return Err(self.report(diagnostics::state_with_batch(&state.name, span, *extent)));
        }
        let value = self.eval(&state.value)?.first();
        let first = match &value {
            Value::Number(number) => number.as_f64().map(FirstValue::Number),
            Value::Tensor(tensor) => self
                .params
                .iter()
                .find(|(_, param)| {
                    param.tensor.node == tensor.node && tensor.dims() == dims(&extents)
                })
                .map(|(name, _)| FirstValue::Param(name.clone())),
            _ => None,
        };
        let Some(first) = first else {
            return Err(self.report(diagnostics::not_supported(
                "a first value of a state that is neither a number nor the parameter",
                state.value.span,
            )));
        };
        let node = self.leaf(&name, InputRole::State, elem, &dims(&extents));
        let leaf = Tensor { node, shape: extents };
        let value = Value::Tensor(leaf.clone());
        self.states.insert(name.clone(), StateLeaf { current: leaf.clone(), leaf, first });
        self.bind_state(&state.name, value, name);
        Ok(())
    }

    fn bind_state(&mut self, name: &ast::Ident, value: Value, full: String) {
        let binding = Binding { value, from: Some(name.span), state: Some(full) };
        self.frame_mut().bind(&name.name, binding);
    }

    /// Element type and shape of the parameter that an optimizer updates.
    fn updated_shape(&mut self) -> Eval<(ElemType, Vec<Extent>)> {
        match self.frame().get("param").map(|binding| binding.value.clone()) {
            Some(Value::Tensor(tensor)) => Ok((self.elem(tensor.node), tensor.shape)),
            _ => Err(Reported::already()),
        }
    }

    /// `dense_1.w/m`, with a number where another optimizer of the chain has the name already.
    fn optimizer_state_name(&self, name: &str) -> String {
        let wanted = format!("{}/{name}", self.updated);
        let mut free = wanted.clone();
        let mut number = 2;
        while self.states.contains_key(&free) {
            free = format!("{wanted}_{number}");
            number += 1;
        }
        free
    }
}

/// The extents without their origins.
pub(crate) fn dims(extents: &[Extent]) -> Vec<dlc_ir::Dim> {
    extents.iter().map(|extent| extent.dim).collect()
}

/// FNV-1a: a number that depends on the whole name.
fn fingerprint(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
