//! Types and shapes.
use super::{Lower, Parts};
use crate::ast::*;
use crate::diagnostic::{Applicability, Diagnostic};
use crate::parse::{Rule, nearest};
use pest::iterators::Pair;

impl Lower<'_> {
    pub(super) fn ty(&mut self, pair: Pair<'_, Rule>) -> Type {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let form = parts.next().expect("a type has a form");
        let kind = match form.as_rule() {
            Rule::tensor_t => self.tensor(form),
            Rule::comp_t => {
                let word = form.as_str().trim_end();
                let comp = CompType::ALL.into_iter().find(|comp| comp.word() == word);
                TypeKind::Comp {
                    comp: comp.expect("the grammar and the tree list the same words"),
                    per: parts.take(Rule::ident).map(|name| self.ident(&name)),
                }
            }
            Rule::tuple_t => {
                let inner = Parts::of(form);
                TypeKind::Tuple(inner.pairs.map(|part| self.ty(part)).collect())
            }
            _ => self.choice(form),
        };
        Type { kind, span }
    }

    fn tensor(&mut self, pair: Pair<'_, Rule>) -> TypeKind {
        let mut parts = Parts::of(pair);
        let word = parts.next().expect("a tensor type begins with its element type");
        let dtype = Dtype::ALL.into_iter().find(|dtype| dtype.word() == word.as_str().trim_end());
        TypeKind::Tensor {
            dtype: dtype.expect("the grammar and the tree list the same words"),
            shape: parts.take(Rule::shape).map(|shape| self.shape(shape)),
        }
    }

    fn shape(&mut self, pair: Pair<'_, Rule>) -> Shape {
        let span = self.span(&pair);
        let dims = Parts::of(pair).pairs.map(|dim| self.dim(dim)).collect();
        Shape { dims, span }
    }

    fn dim(&mut self, pair: Pair<'_, Rule>) -> Dim {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let kind = match parts.take(Rule::inner) {
            Some(value) => DimKind::At { value: self.expr(value), pack: parts.has(Rule::dots) },
            None => DimKind::Dots,
        };
        Dim { kind, span }
    }

    /// A choice of one word is no choice: it is a type that does not exist.
    fn choice(&mut self, pair: Pair<'_, Rule>) -> TypeKind {
        let words: Vec<Ident> = Parts::of(pair).pairs.map(|word| self.ident(&word)).collect();
        if let [only] = words.as_slice() {
            let known: Vec<&str> = Dtype::ALL
                .iter()
                .map(|dtype| dtype.word())
                .chain(CompType::ALL.iter().map(|comp| comp.word()))
                .collect();
            let name = &only.name;
            let mut d = Diagnostic::error("E0118", format!("there is no type `{name}`"), only.span)
                .label("not a type")
                .note("tensors: `f32[n, c]`, with `f64`, `i32`, `u8`, `bool` or `any` for other elements")
                .note("values known when the program is compiled: `int`, `real`, `bool`, `string`, `layer`, `fn`, `init`, `params`")
                .note("one of several words: `same | valid`");
            let habit = match name.as_str() {
                "float" | "float32" | "tensor" | "Tensor" => Some("f32"),
                "double" | "float64" => Some("f64"),
                "integer" | "size" | "usize" | "i64" => Some("int"),
                "int32" => Some("i32"),
                "byte" | "uint8" => Some("u8"),
                "boolean" => Some("bool"),
                "str" => Some("string"),
                _ => nearest(name, &known),
            };
            if let Some(meant) = habit {
                d = d.fix(
                    format!("did you mean `{meant}`?"),
                    only.span,
                    meant,
                    Applicability::Unsafe,
                );
            }
            self.report(d);
        }
        TypeKind::Choice(words)
    }
}
