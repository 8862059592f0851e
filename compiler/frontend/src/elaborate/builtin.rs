//! Functions that are not written in the language.

use super::Elaborator;
use super::tensor::Kind;
use crate::diagnostics;
use crate::value::{Cell, Eval, Extent, Number, Tensor, Term, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{BinaryOp, Reducer};
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{BinaryOp as NodeOp, Fill, NodeId, UnaryOp};

/// The distribution from which all others are made.
pub(crate) const RANDOM: &str = "random";

/// Functions of one element.
const FUNCTIONS: [(&str, UnaryOp); 11] = [
    ("exp", UnaryOp::Exp),
    ("log", UnaryOp::Log),
    ("log1p", UnaryOp::Log1p),
    ("sqrt", UnaryOp::Sqrt),
    ("tanh", UnaryOp::Tanh),
    ("erf", UnaryOp::Erf),
    ("sigmoid", UnaryOp::Sigmoid),
    ("sin", UnaryOp::Sin),
    ("cos", UnaryOp::Cos),
    ("abs", UnaryOp::Abs),
    ("floor", UnaryOp::Floor),
];

/// Other functions of the language, besides reducers called as functions.
const OTHERS: [&str; 9] =
    ["clamp", "rank", "len", "zeros_like", "concat", "round", "gradient", "across", RANDOM];

/// All names of functions of the language.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name).chain(OTHERS)
}

/// Whether the language has a function of this name.
pub(crate) fn is_builtin(name: &str) -> bool {
    names().any(|builtin| builtin == name) || reducer(name).is_some()
}

/// Whether a function of the language has an argument of this name: the axis along which tensors are joined.
pub(crate) fn takes_axis(function: &str, argument: &str) -> bool {
    function == "concat" && argument == "axis"
}

fn reducer(name: &str) -> Option<Reducer> {
    Reducer::ALL.into_iter().find(|reducer| reducer.word() == name)
}

impl Elaborator {
    /// Calls a function of the language.
    pub(crate) fn call_builtin(
        &mut self,
        name: &str,
        args: Vec<(Value, Span)>,
        axis: Option<(i64, Span)>,
        span: Span,
    ) -> Eval<Value> {
        if let Some((_, op)) = FUNCTIONS.iter().find(|(function, _)| *function == name) {
            let [(value, _)] = self.exactly(name, args, span)?;
            return self.function(*op, value, name, span);
        }
        if let Some(reducer) = reducer(name) {
            return self.call_reducer(reducer, args, span);
        }
        match name {
            "clamp" => {
                let [(value, _), (low, _), (high, _)] = self.exactly(name, args, span)?;
                let above = self.extreme(NodeOp::Max, value, low, name, span)?;
                self.extreme(NodeOp::Min, above, high, name, span)
            }
            "round" => {
                let [(value, _)] = self.exactly(name, args, span)?;
                let raised = self.binary(BinaryOp::Add, value, Value::real(0.5), span)?;
                self.function(UnaryOp::Floor, raised, name, span)
            }
            "gradient" => {
                let [(value, at), (of, of_at)] = self.exactly(name, args, span)?;
                let scalar = self.whole(&value.first(), name, at)?;
                let of = self.whole(&of.first(), name, of_at)?;
                self.gradient(&scalar, at, &of, of_at, span)
            }
            "zeros_like" => {
                let [(value, at)] = self.exactly(name, args, span)?;
                let tensor = self.whole(&value.first(), name, at)?;
                let node = self.number_node(Number::int(0), self.elem(tensor.node), &tensor.dims());
                Ok(Value::Tensor(Tensor { node, shape: tensor.shape }))
            }
            "rank" => {
                let [(value, at)] = self.exactly(name, args, span)?;
                let tensor = self.whole(&value.first(), name, at)?;
                Ok(Value::int(i64::try_from(tensor.rank()).unwrap_or(i64::MAX)))
            }
            "len" => Ok(self.len(&args)),
            "concat" => self.concat(args, axis, span),
            "across" => {
                let [(value, _)] = self.exactly(name, args, span)?;
                self.sum_across(value, span)
            }
            RANDOM => Err(self.report(diagnostics::misplaced(
                RANDOM,
                "a draw: `let u: f32[n] ~ random`",
                span,
            ))),
            other => Err(self.report(diagnostics::not_supported(&format!("`{other}`"), span))),
        }
    }

    /// The arguments, if they are as many as the function takes.
    fn exactly<const N: usize>(
        &mut self,
        name: &str,
        args: Vec<(Value, Span)>,
        span: Span,
    ) -> Eval<[(Value, Span); N]> {
        let given = args.len();
        args.try_into()
            .map_err(|_| self.report(diagnostics::builtin_arguments(name, span, N, given)))
    }

    /// A whole tensor.
    fn whole(&mut self, value: &Value, name: &str, span: Span) -> Eval<Tensor> {
        match value {
            Value::Tensor(tensor) => Ok(tensor.clone()),
            Value::Bad => Err(crate::value::Reported::already()),
            other => {
                let what = format!("the argument of `{name}`");
                Err(self.report(diagnostics::wrong_type(
                    &what,
                    span,
                    other.noun(),
                    "a tensor",
                    span,
                )))
            }
        }
    }

    /// `len(r..)`: the number of values; `len(list)`: of its elements; `len(x)`: of the first axis of a tensor.
    fn len(&self, args: &[(Value, Span)]) -> Value {
        let count = |count: usize| Value::int(i64::try_from(count).unwrap_or(i64::MAX));
        if let [(value, _)] = args {
            if let Some(parts) = value.parts() {
                return count(parts.len());
            }
            if let Value::Tensor(tensor) = value
                && let Some(extent) = tensor.shape.first()
            {
                return Value::dim(extent.dim);
            }
        }
        count(args.len())
    }

    /// A reducer called as a function: over all elements of one tensor, or over its arguments.
    /// The gradient of a scalar with respect to a tensor, as an expression like any other.
    fn gradient(
        &mut self,
        scalar: &Tensor,
        at: Span,
        of: &Tensor,
        of_at: Span,
        span: Span,
    ) -> Eval<Value> {
        let Some(gradients) = self.decls.gradients else {
            return Err(self.report(diagnostics::not_supported("`gradient` here", span)));
        };
        if scalar.rank() != 0 {
            return Err(self.report(diagnostics::gradient_of(at, &scalar.shape)));
        }
        for (tensor, at) in [(scalar, at), (of, of_at)] {
            let elem = self.elem(tensor.node);
            if !super::tensor::is_float(elem) {
                let noun = dlc_ir::graph::ops::elem_name(elem);
                return Err(self.report(diagnostics::wrong_operand("gradient", noun, at)));
            }
        }
        let before = self.graph.nodes.len();
        let node = gradients(&mut self.graph, scalar.node, &[of.node])[0];
        // What derives from this value may stand anywhere, so it belongs where it is written.
        let made: Vec<NodeId> = self.graph.nodes.keys().skip(before).collect();
        for id in made {
            self.graph.nodes[id].stage = self.stage;
        }
        Ok(Value::Tensor(Tensor { node, shape: of.shape.clone() }))
    }

    fn call_reducer(&mut self, op: Reducer, args: Vec<(Value, Span)>, span: Span) -> Eval<Value> {
        let mut values: Vec<Value> = args.into_iter().map(|(value, _)| value.first()).collect();
        if let [one] = &values[..] {
            if let Value::Tensor(tensor) = one {
                let tensor = tensor.clone();
                return self.reduce_all(op, &tensor, span);
            }
            if let Some(parts) = one.parts() {
                values = parts.to_vec();
            }
        }
        if let Some(bad) = values.iter().find(|value| self.kind(value).is_none()) {
            let diagnostic = diagnostics::wrong_operand(op.word(), bad.noun(), span);
            return Err(match bad {
                Value::Bad => crate::value::Reported::already(),
                _ => self.report(diagnostic),
            });
        }
        let count = values.len();
        let step = |this: &mut Self, op: BinaryOp, values: Vec<Value>, start: Value| {
            values.into_iter().try_fold(start, |sum, value| this.binary(op, sum, value, span))
        };
        match op {
            Reducer::Sum => step(self, BinaryOp::Add, values, Value::int(0)),
            Reducer::Prod => step(self, BinaryOp::Mul, values, Value::int(1)),
            Reducer::Any => step(self, BinaryOp::Or, values, Value::Bool(false)),
            Reducer::All => step(self, BinaryOp::And, values, Value::Bool(true)),
            Reducer::Mean if count > 0 => {
                let sum = step(self, BinaryOp::Add, values, Value::int(0))?;
                let count = Value::int(i64::try_from(count).unwrap_or(i64::MAX));
                self.binary(BinaryOp::Div, sum, count, span)
            }
            Reducer::Max | Reducer::Min if count > 0 => {
                let node = if op == Reducer::Max { NodeOp::Max } else { NodeOp::Min };
                let mut values = values.into_iter();
                let first = values.next().unwrap_or(Value::Bad);
                values
                    .try_fold(first, |best, value| self.extreme(node, best, value, op.word(), span))
            }
            Reducer::Mean | Reducer::Max | Reducer::Min => {
                Err(self.report(diagnostics::builtin_arguments(op.word(), span, 1, 0)))
            }
            Reducer::Argmax | Reducer::Argmin => {
                let what = format!("`{}` of numbers", op.word());
                Err(self.report(diagnostics::not_supported(&what, span)))
            }
        }
    }

    /// A reducer over all elements of a tensor.
    fn reduce_all(&mut self, op: Reducer, tensor: &Tensor, span: Span) -> Eval<Value> {
        let axes: Vec<usize> =
            tensor.shape.iter().map(|extent| self.new_axis("", Some(*extent))).collect();
        let term = self.dense(tensor.node, &axes);
        self.reduce_cell(op, Cell::always(term), &axes, span)
    }

    /// Tensors side by side along an axis, the last where none is given. Elements are chosen by place, so that none is calculated
    /// with.
    fn concat(
        &mut self,
        args: Vec<(Value, Span)>,
        axis: Option<(i64, Span)>,
        span: Span,
    ) -> Eval<Value> {
        let mut tensors = Vec::new();
        for (value, at) in &args {
            match value {
                Value::List(parts) | Value::Tuple(parts) => {
                    for part in parts {
                        tensors.push(self.whole(&part.clone().first(), "concat", *at)?);
                    }
                }
                value => tensors.push(self.whole(&value.clone().first(), "concat", *at)?),
            }
        }
        let Some(first) = tensors.first().cloned() else {
            return Err(self.report(diagnostics::builtin_arguments("concat", span, 1, 0)));
        };
        if first.rank() == 0 {
            return Err(self.report(diagnostics::wrong_operand("concat", "a scalar", span)));
        }
        let last = match axis {
            None => first.rank() - 1,
            Some((axis, at)) => {
                let rank = i64::try_from(first.rank()).unwrap_or(i64::MAX);
                let from_start = if axis < 0 { axis.saturating_add(rank) } else { axis };
                match usize::try_from(from_start) {
                    Ok(axis) if axis < first.rank() => axis,
                    _ => {
                        return Err(self.report(diagnostics::no_such_axis(at, axis, &first.shape)));
                    }
                }
            }
        };
        let mut elem = self.elem(first.node);
        let mut total = 0_i64;
        for tensor in &tensors {
            let fits = tensor.rank() == first.rank()
                && (0..first.rank())
                    .all(|axis| axis == last || tensor.dims()[axis] == first.dims()[axis]);
            if !fits {
                let (a, b) = (first.shape.clone(), tensor.shape.clone());
                return Err(self.report(diagnostics::concat_mismatch(span, &a, &b)));
            }
            elem = super::tensor::common(Kind::Elem(elem), Kind::Elem(self.elem(tensor.node)));
            total += self.fixed(tensor.shape[last].dim, "an axis that is joined", span)?;
        }
        let mut shape = first.shape.clone();
        shape[last] = Extent { dim: Dim::fixed(total), from: Some(span) };
        self.check_size(&shape, span)?;
        let dims = super::leaf::dims(&shape);
        let place = self.build().iota(last, ElemType::I32, dims.clone());
        let mut start = 0;
        let mut joined = None;
        for tensor in tensors {
            let node = self.convert(tensor.node, elem);
            let mut subs = Affine::identity(dims.len());
            subs[last] = Affine::new([(last, 1)], -start);
            let zero = super::tensor::literal(0.0, elem);
            let fill =
                if start == 0 && tensor.dims() == dims { Fill::InRange } else { Fill::Value(zero) };
            let part = self.build().view(node, subs, fill, dims.clone());
            joined = Some(match joined {
                None => part,
                Some(before) => {
                    let limit = self.number_node(Number::int(start), ElemType::I32, &dims);
                    let mut build = self.build();
                    let ahead = build.compare(dlc_ir::graph::Compare::Lt, place, limit);
                    build.select(ahead, before, part)
                }
            });
            start += tensor.shape[last].dim.as_fixed().unwrap_or(0);
        }
        match joined {
            Some(node) => Ok(Value::Tensor(Tensor { node, shape })),
            None => Ok(Value::Cell(Cell::always(Term::Number(Number::int(0))))),
        }
    }
}
