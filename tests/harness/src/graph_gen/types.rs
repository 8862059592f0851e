//! Steps over other element types: integers, truth values, double precision, and the ways between them.

use super::{LARGEST_TENSOR, Maker, count, fixed, one_of_each_example};
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{
    BinaryOp, Combine, Compare, Contract, Fill, Gather, InputRole, Literal, NodeId, Read, UnaryOp,
};

impl Maker<'_> {
    /// Leaves of the types that models hold beside single precision.
    pub(super) fn typed_leaves(&mut self) {
        let b = Dim::batch();
        let wide = fixed(self.rng.in_range(2, 20));
        self.b.input("counts", InputRole::Data, ElemType::I32, vec![b, wide]);
        match self.rng.below(4) {
            0 => self.b.input("mask", InputRole::Data, ElemType::Bool, vec![b, fixed(4)]),
            1 => self.b.input("long", InputRole::Data, ElemType::I64, vec![b, fixed(3)]),
            2 => self.b.input("double", InputRole::Data, ElemType::F64, vec![b, fixed(5)]),
            _ => self.b.input("state", InputRole::State, ElemType::F32, vec![fixed(4)]),
        };
    }

    /// A value of an integer type, from an old one, an index or a number.
    fn integer(&mut self, elem: ElemType) -> NodeId {
        if self.rng.one_in(2)
            && let Some(old) = self.any(elem, |_| true)
        {
            return old;
        }
        let from = self.rng.pick(&[ElemType::F32, ElemType::I32, ElemType::I64, ElemType::Bool]);
        match self.any(from, |shape| !shape.is_empty()) {
            Some(x) if from == ElemType::F32 => self.rounded(x, elem),
            Some(x) if from != elem => self.b.convert(x, elem),
            Some(x) => {
                let shape = self.b.shape(x).to_vec();
                let iota = self.b.iota(self.rng.below(shape.len()), elem, shape);
                self.b.binary(BinaryOp::Add, x, iota)
            }
            None => self.b.iota(0, elem, vec![Dim::batch()]),
        }
    }

    /// A float as an integer, from -100 to 100: kept in range, and no NaN, which no integer stands for.
    fn rounded(&mut self, x: NodeId, elem: ElemType) -> NodeId {
        let bounded = self.b.unary(UnaryOp::Tanh, x);
        let is_number = self.b.compare(Compare::Eq, bounded, bounded);
        let zero = self.b.number_like(0.0, bounded);
        let bounded = self.b.select(is_number, bounded, zero);
        let hundred = self.b.number_like(100.0, bounded);
        let wide = self.b.mul(bounded, hundred);
        self.b.convert(wide, elem)
    }

    /// An old value of the same type and shape, else a constant.
    fn fellow(&mut self, x: NodeId) -> NodeId {
        let (elem, shape) = (self.b.elem(x), self.b.shape(x).to_vec());
        match self.any(elem, |other| other == shape) {
            Some(same) if same != x => same,
            _ if elem == ElemType::Bool => {
                let value = Literal::Bool(self.rng.one_in(2));
                self.b.constant(value, elem, shape)
            }
            _ => {
                let value = self.rng.in_range(-3, 3) as f64;
                self.b.number_like(value, x)
            }
        }
    }

    /// Arithmetic, comparison, choice, movement and reduction of integers.
    pub(super) fn integers(&mut self) -> NodeId {
        let elem = self.rng.pick(&[ElemType::I32, ElemType::I64]);
        let x = self.integer(elem);
        match self.rng.below(13) {
            0 => self.b.unary(UnaryOp::Neg, x),
            1 => self.b.unary(UnaryOp::Abs, x),
            2..=5 => {
                let op = self.rng.pick(&BinaryOp::ALL);
                let y = self.fellow(x);
                match op {
                    BinaryOp::Div | BinaryOp::Rem => {
                        let by = self.rng.pick(&[-7.0, -2.0, 2.0, 3.0, 10.0]);
                        let by = self.b.number_like(by, x);
                        self.b.binary(op, x, by)
                    }
                    BinaryOp::And | BinaryOp::Or => self.b.add(x, y),
                    BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Min
                    | BinaryOp::Max => self.b.binary(op, x, y),
                }
            }
            6 => {
                let (y, z) = (self.fellow(x), self.fellow(x));
                let op = self.rng.pick(&Compare::ALL);
                let condition = self.b.compare(op, x, y);
                self.b.select(condition, y, z)
            }
            7 => self.moved(x),
            8 => {
                let to = if elem == ElemType::I32 { ElemType::I64 } else { ElemType::I32 };
                self.b.convert(x, to)
            }
            _ => self.reduced(x),
        }
    }

    /// A reduction of one tensor, or of the product of two of one shape, over some axes.
    fn reduced(&mut self, x: NodeId) -> NodeId {
        let shape = self.b.shape(x).to_vec();
        let kept: Vec<usize> = (0..shape.len()).filter(|_| self.rng.one_in(2)).collect();
        let gone = (0..shape.len()).filter(|axis| !kept.contains(axis));
        let order: Vec<usize> = kept.iter().copied().chain(gone).collect();
        let space = order.iter().map(|&axis| shape[axis]).collect();
        let place = |axis| order.iter().position(|&at| at == axis).expect("all axes are there");
        let axes: Vec<usize> = (0..shape.len()).map(place).collect();
        let combine = self.rng.pick(&Combine::ALL);
        let mut reads = vec![Read::axes(x, &axes)];
        if !combine.is_arg() && self.rng.one_in(2) {
            let y = self.fellow(x);
            reads.push(Read::axes(y, &axes));
        }
        self.b.contract(Contract::normal(combine, space, kept.len(), reads))
    }

    /// A flip and a pad of the last fixed axis, another order of the axes, or a row chosen by the labels.
    fn moved(&mut self, x: NodeId) -> NodeId {
        let (elem, from) = (self.b.elem(x), self.b.shape(x).to_vec());
        let Some(axis) = (0..from.len()).rev().find(|&axis| from[axis].as_fixed().is_some()) else {
            return self.b.reshape(x, [vec![fixed(1)], from].concat());
        };
        let extent = from[axis].as_fixed().expect("the axis was chosen fixed");
        let mut subs = Affine::identity(from.len());
        match self.rng.below(3) {
            0 => {
                subs[axis] = Affine::new([(axis, -1)], extent - 1);
                self.b.view(x, subs, Fill::InRange, from)
            }
            1 => {
                subs[axis] = Affine::new([(axis, 1)], -1);
                let mut shape = from;
                shape[axis] = fixed(extent + 2);
                let fill = match elem {
                    ElemType::Bool => Literal::Bool(self.rng.one_in(2)),
                    ElemType::F32 | ElemType::F64 => Literal::Float(0.5),
                    _ => Literal::Int(self.rng.in_range(-2, 2)),
                };
                self.b.view(x, subs, Fill::Value(fill), shape)
            }
            _ => {
                // Labels may exceed the axis: the remainder is a sound index.
                let label = self.b.graph.input("label").expect("every program has labels");
                let limit =
                    self.b.constant(Literal::Int(extent), ElemType::I32, vec![Dim::batch()]);
                let index = self.b.binary(BinaryOp::Rem, label, limit);
                let (shape, subs) = one_of_each_example(&from, axis);
                if count(&shape) > LARGEST_TENSOR {
                    return x;
                }
                let index_subs = vec![Affine::axis(0)];
                self.b.gather(Gather { operand: x, subs, axis, index, index_subs }, shape)
            }
        }
    }

    /// Logic, choice and movement of truth values, and what they are as numbers.
    pub(super) fn truths(&mut self) -> NodeId {
        let x = match self.any(ElemType::Bool, |_| true) {
            Some(x) if self.rng.one_in(2) => x,
            _ => {
                let elem = self.rng.pick(&[ElemType::F32, ElemType::I32, ElemType::I64]);
                let x = match elem {
                    ElemType::F32 => self.float(),
                    _ => self.integer(elem),
                };
                let y = self.fellow(x);
                let op = self.rng.pick(&Compare::ALL);
                self.b.compare(op, x, y)
            }
        };
        match self.rng.below(7) {
            0 => self.b.unary(UnaryOp::Not, x),
            1 => {
                let y = self.fellow(x);
                self.b.binary(BinaryOp::And, x, y)
            }
            2 => {
                let y = self.fellow(x);
                self.b.binary(BinaryOp::Or, x, y)
            }
            3 => {
                let (y, z) = (self.fellow(x), self.fellow(x));
                self.b.select(x, y, z)
            }
            4 => self.moved(x),
            5 => {
                let elem = self.rng.pick(&[ElemType::F32, ElemType::I32, ElemType::I64]);
                let number = self.any(elem, |_| true).unwrap_or(x);
                self.b.convert(number, ElemType::Bool)
            }
            _ => {
                let all = [ElemType::F32, ElemType::F64, ElemType::I32, ElemType::I64];
                let elem = self.rng.pick(&all);
                self.b.convert(x, elem)
            }
        }
    }

    /// Double precision: functions, arithmetic, comparison and sums, and back.
    pub(super) fn doubles(&mut self) -> NodeId {
        let x = match self.any(ElemType::F64, |_| true) {
            Some(x) if self.rng.one_in(2) => x,
            _ => {
                let x = self.float();
                self.b.convert(x, ElemType::F64)
            }
        };
        let y = self.fellow(x);
        match self.rng.below(8) {
            0 => {
                let op =
                    self.rng.pick(&[UnaryOp::Exp, UnaryOp::Tanh, UnaryOp::Erf, UnaryOp::Floor]);
                self.b.unary(op, x)
            }
            1 => self.b.mul(x, y),
            2 => self.b.sub(x, y),
            3 => {
                let op = self.rng.pick(&Compare::ALL);
                let condition = self.b.compare(op, x, y);
                self.b.select(condition, x, y)
            }
            4 => self.moved(x),
            5 => self.reduced(x),
            6 => {
                let shape = [self.b.shape(x), &[fixed(3)]].concat();
                let elem = self.rng.pick(&[ElemType::F32, ElemType::F64]);
                let axis = self.rng.below(shape.len());
                self.b.iota(axis, elem, shape)
            }
            _ => self.b.convert(x, ElemType::F32),
        }
    }
}
