//! Types: what a value must be, and the names of sizes that it binds.

use super::access::DOTS;
use super::tensor::{is_float, literal};
use super::{Binding, Elaborator};
use crate::diagnostics;
use crate::value::{Eval, Extent, Number, Reported, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{self, CompType, DimKind, Dtype, Expr, ExprKind, Type, TypeKind};
use std::sync::Arc;

/// Why a tensor does not fit a shape.
pub(crate) enum Misfit {
    /// Another number of axes.
    Rank,
    /// The axis at this place has another extent than wanted.
    Axis { at: usize, wanted: Extent },
    /// Something else, which was reported.
    Reported(Reported),
}

/// What a value is for, in messages.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// In words, such as "argument `x` of `dense`".
    pub what: String,
    /// The text of the value.
    pub span: Span,
    /// The text of the type.
    pub declared: Span,
}

/// The element type that a word of the language names; `None` for `any`.
pub(crate) fn elem_of(dtype: Dtype) -> Option<ElemType> {
    match dtype {
        Dtype::F32 => Some(ElemType::F32),
        Dtype::F64 => Some(ElemType::F64),
        Dtype::I32 => Some(ElemType::I32),
        Dtype::U8 => Some(ElemType::U8),
        Dtype::Bool => Some(ElemType::Bool),
        Dtype::Any => None,
    }
}

impl Elaborator {
    /// Where the value of a name comes from.
    pub(crate) fn origin_of(&self, expr: &Expr) -> Option<Span> {
        self.frame().get(&expr.as_name()?.name)?.from
    }

    /// The extents of a shape, all of whose names are known.
    pub(crate) fn shape_of_type(&mut self, shape: &ast::Shape) -> Eval<Vec<Extent>> {
        let mut extents = Vec::new();
        for dim in &shape.dims {
            match &dim.kind {
                DimKind::Dots => match self.frame().size(DOTS).map(|binding| binding.value.clone())
                {
                    Some(Value::Pack(parts)) => {
                        for part in &parts {
                            if let Value::Number(Number::Int(size)) = part {
                                extents.push(Extent { dim: *size, from: Some(dim.span) });
                            }
                        }
                    }
                    _ => return Err(self.report(diagnostics::unbound_dots(dim.span))),
                },
                DimKind::At { value, pack: false } => {
                    let size = self.size_value(value)?;
                    extents.push(self.extent_of(&size, value)?);
                }
                DimKind::At { value, pack: true } => {
                    for size in self.eval_pack(value)? {
                        extents.push(self.extent_of(&size, value)?);
                    }
                }
            }
        }
        Ok(extents)
    }

    /// A size; a name of a size may be hidden by an index of the same name.
    fn size_value(&mut self, value: &Expr) -> Eval<Value> {
        if let Some(name) = value.as_name()
            && let Some(binding) = self.frame().size(&name.name)
        {
            return Ok(binding.value.clone());
        }
        Ok(self.eval(value)?.first())
    }

    /// The extents of a shape as far as they are known; empty where not even their number is.
    pub(crate) fn known_extents(&mut self, shape: &ast::Shape) -> Vec<Option<Extent>> {
        let quiet = self.diagnostics.len();
        let mut extents = Vec::new();
        for dim in &shape.dims {
            let one = ast::Shape { dims: vec![dim.clone()], span: dim.span };
            match self.shape_of_type(&one) {
                Ok(some) => extents.extend(some.into_iter().map(Some)),
                Err(_) if matches!(dim.kind, DimKind::At { pack: false, .. }) => extents.push(None),
                Err(_) => {
                    extents.clear();
                    break;
                }
            }
        }
        self.diagnostics.truncate(quiet);
        extents
    }

    /// Fits a tensor's extents to a shape and binds the names of sizes that are new. `lengths` are numbers of axes of packs that
    /// are known beforehand.
    pub(crate) fn match_shape(
        &mut self,
        shape: &ast::Shape,
        extents: &[Extent],
        lengths: &[(String, usize)],
    ) -> Result<(), Misfit> {
        let mut widths = Vec::new();
        for dim in &shape.dims {
            widths.push(self.dim_width(dim, lengths).map_err(Misfit::Reported)?);
        }
        let known: usize = widths.iter().flatten().sum();
        let open = widths.iter().filter(|width| width.is_none()).count();
        if open > 1 {
            let span = shape.span;
            return Err(Misfit::Reported(self.report(diagnostics::two_open_packs(span))));
        }
        if known > extents.len() || (open == 0 && known != extents.len()) {
            return Err(Misfit::Rank);
        }
        let mut at = 0;
        for (dim, width) in shape.dims.iter().zip(widths) {
            let width = width.unwrap_or(extents.len() - known);
            self.match_dim(dim, &extents[at..at + width], at)?;
            at += width;
        }
        Ok(())
    }

    /// How many axes a place of a shape takes; `None` if that is open.
    fn dim_width(&mut self, dim: &ast::Dim, lengths: &[(String, usize)]) -> Eval<Option<usize>> {
        let bound = |this: &Self, name: &str| match this.frame().size(name).map(|b| &b.value) {
            Some(Value::Pack(parts)) => Some(parts.len()),
            _ => None,
        };
        match &dim.kind {
            DimKind::Dots => Ok(bound(self, DOTS)),
            DimKind::At { pack: false, .. } => Ok(Some(1)),
            DimKind::At { value, pack: true } => match value.as_name() {
                Some(name) => {
                    let stated = lengths.iter().find(|(pack, _)| *pack == name.name);
                    Ok(bound(self, &name.name).or(stated.map(|(_, length)| *length)))
                }
                None => Ok(Some(self.eval_pack(value)?.len())),
            },
        }
    }

    fn match_dim(&mut self, dim: &ast::Dim, extents: &[Extent], at: usize) -> Result<(), Misfit> {
        let wanted: Vec<Extent> = match &dim.kind {
            DimKind::Dots if self.frame().size(DOTS).is_none() => {
                self.bind_sizes(DOTS, extents);
                return Ok(());
            }
            DimKind::At { value, pack } => match value.as_name() {
                Some(name) if self.frame().get(&name.name).is_none() => {
                    match (pack, extents) {
                        (false, [extent]) => {
                            let value = Value::dim(extent.dim);
                            self.frame_mut().bind(&name.name, Binding::new(value, extent.from));
                        }
                        _ => self.bind_sizes(&name.name, extents),
                    }
                    return Ok(());
                }
                _ => {
                    let one = ast::Shape { dims: vec![dim.clone()], span: dim.span };
                    self.shape_of_type(&one).map_err(Misfit::Reported)?
                }
            },
            DimKind::Dots => {
                let one = ast::Shape { dims: vec![dim.clone()], span: dim.span };
                self.shape_of_type(&one).map_err(Misfit::Reported)?
            }
        };
        if wanted.len() != extents.len() {
            return Err(Misfit::Rank);
        }
        for (place, (wanted, has)) in wanted.iter().zip(extents).enumerate() {
            if wanted.dim != has.dim {
                return Err(Misfit::Axis { at: at + place, wanted: *wanted });
            }
        }
        Ok(())
    }

    fn bind_sizes(&mut self, name: &str, extents: &[Extent]) {
        let parts = extents.iter().map(|extent| Value::dim(extent.dim)).collect();
        let from = extents.iter().find_map(|extent| extent.from);
        self.frame_mut().bind(name, Binding::new(Value::Pack(parts), from));
    }

    /// A value that fits a type, converted where the language says so; names of sizes in the type are bound.
    pub(crate) fn coerce(
        &mut self,
        value: Value,
        ty: &Type,
        lengths: &[(String, usize)],
        role: &Role,
    ) -> Eval<Value> {
        if matches!(value, Value::Bad) {
            return Err(Reported::already());
        }
        match &ty.kind {
            TypeKind::Tensor { dtype, shape: None } => self.coerce_scalar(value, *dtype, role),
            TypeKind::Tensor { dtype, shape: Some(shape) } => {
                self.coerce_tensor(value, *dtype, shape, lengths, role)
            }
            TypeKind::Comp { comp, per: None } => self.coerce_comp(value, *comp, role),
            TypeKind::Comp { comp, per: Some(pack) } => self.coerce_per(value, *comp, pack, role),
            TypeKind::Choice(words) => match &value {
                Value::Choice(choice) if words.iter().any(|word| word.name == choice.word) => {
                    let options: Arc<[String]> =
                        words.iter().map(|word| word.name.clone()).collect();
                    let word = choice.word.clone();
                    Ok(Value::Choice(crate::value::Choice { word, options }))
                }
                Value::Choice(choice) => {
                    let word = choice.word.clone();
                    Err(self.report(diagnostics::unknown_choice(&word, words, role.span)))
                }
                other => Err(self.wrong_type(role, other.noun(), &choice_words(words))),
            },
            TypeKind::Tuple(types) => {
                let value = value.first();
                let Some(parts) = value.parts().filter(|parts| parts.len() == types.len()) else {
                    let wanted = format!("a tuple of {}", types.len());
                    return Err(self.wrong_type(role, value.noun(), &wanted));
                };
                let parts = parts.to_vec();
                let mut coerced = Vec::new();
                for (part, ty) in parts.into_iter().zip(types) {
                    coerced.push(self.coerce(part, ty, lengths, role)?);
                }
                Ok(Value::Tuple(coerced))
            }
        }
    }

    fn wrong_type(&mut self, role: &Role, found: &str, wanted: &str) -> Reported {
        self.report(diagnostics::wrong_type(&role.what, role.span, found, wanted, role.declared))
    }

    /// A number that may only be known when the program runs.
    fn coerce_scalar(&mut self, value: Value, dtype: Dtype, role: &Role) -> Eval<Value> {
        let value = value.first();
        let elem = elem_of(dtype);
        match &value {
            Value::Number(Number::Int(dim)) if elem.is_some_and(is_float) => {
                Ok(dim.as_fixed().map_or(value.clone(), |whole| Value::real(whole as f64)))
            }
            Value::Number(Number::Real(_)) if elem.is_some_and(|elem| !is_float(elem)) => {
                Err(self.wrong_type(role, value.noun(), "an integer"))
            }
            Value::Number(_) | Value::Cell(_) => Ok(value),
            Value::Tensor(tensor) if tensor.rank() == 0 => {
                let node = self.element_type(tensor.node, elem, role)?;
                Ok(Value::Tensor(Tensor { node, shape: Vec::new() }))
            }
            Value::Tensor(tensor) => {
                let shape = diagnostics::shape_words(&tensor.shape);
                Err(self.wrong_type(role, &format!("a tensor {shape}"), "a number"))
            }
            other => Err(self.wrong_type(role, other.noun(), "a number")),
        }
    }

    /// A node in an element type. Truth values and integers may become floats; nothing else changes by itself.
    fn element_type(
        &mut self,
        node: dlc_ir::graph::NodeId,
        elem: Option<ElemType>,
        role: &Role,
    ) -> Eval<dlc_ir::graph::NodeId> {
        let has = self.elem(node);
        match elem {
            None => Ok(node),
            Some(elem) if elem == has => Ok(node),
            Some(elem) if is_float(elem) && !is_float(has) => Ok(self.convert(node, elem)),
            Some(ElemType::I32) if has == ElemType::U8 => Ok(self.convert(node, ElemType::I32)),
            Some(elem) => Err(self.report(diagnostics::element_type(
                &role.what,
                role.span,
                dlc_ir::graph::ops::elem_name(has),
                dlc_ir::graph::ops::elem_name(elem),
                role.declared,
            ))),
        }
    }

    fn coerce_tensor(
        &mut self,
        value: Value,
        dtype: Dtype,
        shape: &ast::Shape,
        lengths: &[(String, usize)],
        role: &Role,
    ) -> Eval<Value> {
        let elem = elem_of(dtype);
        match value.first() {
            Value::Tensor(tensor) => {
                let node = self.element_type(tensor.node, elem, role)?;
                match self.match_shape(shape, &tensor.shape, lengths) {
                    Ok(()) => Ok(Value::Tensor(Tensor { node, shape: tensor.shape })),
                    Err(Misfit::Reported(reported)) => Err(reported),
                    Err(Misfit::Rank) => Err(self.report(diagnostics::rank_mismatch(
                        &role.what,
                        role.span,
                        &tensor.shape,
                        shape.span,
                    ))),
                    Err(Misfit::Axis { at, wanted }) => {
                        Err(self.report(diagnostics::shape_mismatch(
                            &role.what,
                            role.span,
                            &tensor.shape,
                            at,
                            wanted,
                            shape.dims.get(at).map_or(shape.span, |dim| dim.span),
                        )))
                    }
                }
            }
            // A scalar fills a shape that is known.
            Value::Number(number) => {
                let extents = self.shape_of_type(shape)?;
                self.check_size(&extents, role.span)?;
                let elem = elem.unwrap_or(ElemType::F32);
                if matches!(number, Number::Real(_)) && !is_float(elem) {
                    return Err(self.wrong_type(role, "a real number", "an integer"));
                }
                let dims: Vec<_> = extents.iter().map(|extent| extent.dim).collect();
                let node = self.number_node(number, elem, &dims);
                Ok(Value::Tensor(Tensor { node, shape: extents }))
            }
            Value::Bool(value) if elem == Some(ElemType::Bool) => {
                let extents = self.shape_of_type(shape)?;
                self.check_size(&extents, role.span)?;
                let dims = extents.iter().map(|extent| extent.dim).collect();
                let value = literal(f64::from(u8::from(value)), ElemType::Bool);
                let node = self.build().constant(value, ElemType::Bool, dims);
                Ok(Value::Tensor(Tensor { node, shape: extents }))
            }
            Value::Bad => Err(Reported::already()),
            other => Err(self.wrong_type(role, other.noun(), "a tensor")),
        }
    }

    fn coerce_comp(&mut self, value: Value, comp: CompType, role: &Role) -> Eval<Value> {
        let whole = |elem: ElemType| matches!(elem, ElemType::I32 | ElemType::I64 | ElemType::U8);
        let fits = match (comp, &value) {
            (CompType::Int, Value::Number(Number::Int(_))) => true,
            (CompType::Int, Value::Cell(cell)) => whole(self.term_elem(&cell.term)),
            (CompType::Int, Value::Tensor(tensor)) => {
                tensor.rank() == 0 && whole(self.elem(tensor.node))
            }
            (CompType::Real, Value::Number(_) | Value::Cell(_)) => true,
            (CompType::Real, Value::Tensor(tensor)) => tensor.rank() == 0,
            (CompType::Bool, Value::Bool(_)) => true,
            (CompType::Str, Value::Str(_)) => true,
            (CompType::Params, Value::Params(_)) => true,
            (CompType::Layer, Value::Shared(_)) => true,
            (CompType::Layer | CompType::Fn | CompType::Init, Value::Callable(_)) => true,
            _ => false,
        };
        if !fits {
            return Err(self.wrong_type(role, value.noun(), comp_words(comp)));
        }
        match (comp, &value) {
            (CompType::Real, Value::Number(Number::Int(dim))) => {
                Ok(dim.as_fixed().map_or(value.clone(), |whole| Value::real(whole as f64)))
            }
            _ => Ok(value),
        }
    }

    /// One value for each axis of a pack; a single one is repeated.
    fn coerce_per(
        &mut self,
        value: Value,
        comp: CompType,
        pack: &ast::Ident,
        role: &Role,
    ) -> Eval<Value> {
        let length = match self.frame().get(&pack.name).map(|binding| &binding.value) {
            Some(Value::Pack(parts)) => parts.len(),
            Some(Value::Bad) => return Err(Reported::already()),
            _ => return Err(self.unknown_name(pack)),
        };
        if let Some(parts) = value.parts() {
            if parts.len() != length {
                let given = parts.len();
                return Err(self.report(diagnostics::pack_length(
                    &role.what, role.span, given, length, &pack.name,
                )));
            }
            let parts = parts.to_vec();
            let mut coerced = Vec::new();
            for part in parts {
                coerced.push(self.coerce_comp(part, comp, role)?);
            }
            return Ok(Value::Pack(coerced));
        }
        let one = self.coerce_comp(value, comp, role)?;
        Ok(Value::Pack(vec![one; length]))
    }

    /// Whether a value is of a type; names of sizes that are new are bound if it is.
    pub(crate) fn is_of_type(&mut self, value: &Value, ty: &Type) -> Eval<bool> {
        match (&ty.kind, value) {
            (TypeKind::Tensor { dtype, shape }, Value::Tensor(tensor)) => {
                if elem_of(*dtype).is_some_and(|elem| elem != self.elem(tensor.node)) {
                    return Ok(false);
                }
                let Some(shape) = shape else { return Ok(tensor.rank() == 0) };
                // Sizes are bound only by a test that holds.
                let before = self.frame().scopes.last().cloned();
                match self.match_shape(shape, &tensor.shape, &[]) {
                    Ok(()) => Ok(true),
                    Err(Misfit::Reported(reported)) => Err(reported),
                    Err(Misfit::Rank | Misfit::Axis { .. }) => {
                        if let (Some(scope), Some(before)) =
                            (self.frame_mut().scopes.last_mut(), before)
                        {
                            *scope = before;
                        }
                        Ok(false)
                    }
                }
            }
            (TypeKind::Comp { comp, per: None }, value) => Ok(match comp {
                CompType::Int => matches!(value, Value::Number(Number::Int(_))),
                CompType::Real => matches!(value, Value::Number(_)),
                CompType::Bool => matches!(value, Value::Bool(_)),
                CompType::Str => matches!(value, Value::Str(_)),
                CompType::Params => matches!(value, Value::Params(_)),
                CompType::Layer => matches!(value, Value::Callable(_) | Value::Shared(_)),
                CompType::Fn | CompType::Init => matches!(value, Value::Callable(_)),
            }),
            _ => Ok(false),
        }
    }
}

/// The words of a choice.
fn choice_words(words: &[ast::Ident]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.name)).collect();
    format!("one of {}", words.join(", "))
}

/// A compile-time type in words.
fn comp_words(comp: CompType) -> &'static str {
    match comp {
        CompType::Int => "an integer",
        CompType::Real => "a number",
        CompType::Bool => "`true` or `false`",
        CompType::Layer => "a layer",
        CompType::Fn => "a function",
        CompType::Init => "an initializer",
        CompType::Params => "a pattern of parameter names",
        CompType::Str => "a string",
    }
}

/// Whether an expression is a literal, so that it has its value before any size is known.
pub(crate) fn is_literal(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::None => true,
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => is_literal(inner),
        _ => false,
    }
}
