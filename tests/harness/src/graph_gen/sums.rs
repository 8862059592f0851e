//! Steps whose sums are long, and windows with strides and dilations along two axes.

use super::{LARGEST_BATCH, LARGEST_SPACE, LARGEST_TENSOR, Maker, count, fixed};
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Combine, Contract, Fill, Guard, InputRole, Literal, NodeId, Read};

impl Maker<'_> {
    /// A new leaf; its name follows from how many there are.
    fn wide_leaf(&mut self, role: InputRole, shape: Vec<Dim>) -> NodeId {
        let name = format!("wide_{}", self.b.graph.nodes.len());
        self.b.input(name, role, ElemType::F32, shape)
    }

    /// Sums of several chunks: rows that are summed in lanes, products summed in chains, and columns over rows of all examples.
    pub(super) fn long_sum(&mut self) -> NodeId {
        let b = Dim::batch();
        match self.rng.below(5) {
            0 => {
                // In lanes: one lane has a sixteenth of the row, so rows of several chunks are long; most are of one.
                let n = if self.rng.one_in(3) { (4097, 9000) } else { (257, 1500) };
                let (rows, row) = (self.rng.in_range(1, 2), self.rng.in_range(n.0, n.1));
                let x = self.wide_leaf(InputRole::Param, vec![fixed(rows), fixed(row)]);
                let combine = self.rng.pick(&Combine::ALL);
                self.b.reduce(combine, x, &[1])
            }
            1 => {
                let (row, units) = (self.rng.in_range(257, 900), self.rng.in_range(1, 6));
                let x = self.wide_leaf(InputRole::Data, vec![b, fixed(row)]);
                let y = self.wide_leaf(InputRole::Param, vec![fixed(row), fixed(units)]);
                let y = self.b.matmul(x, y);
                self.damped(y, Combine::Sum)
            }
            2 => {
                // Runs shorter than a chunk: several of them share one.
                let (rows, columns) = (self.rng.in_range(20, 60), self.rng.in_range(9, 40));
                let x = self.wide_leaf(InputRole::Data, vec![b, fixed(rows), fixed(columns)]);
                let k =
                    self.wide_leaf(InputRole::Param, vec![fixed(rows), fixed(columns), fixed(5)]);
                let space = vec![b, fixed(5), fixed(rows), fixed(columns)];
                let reads = vec![Read::axes(x, &[0, 2, 3]), Read::axes(k, &[2, 3, 1])];
                let y = self.b.contract(Contract::normal(Combine::Sum, space, 2, reads));
                self.damped(y, Combine::Sum)
            }
            3 => {
                // Over the batch as well, cut into shards.
                let (rows, columns) = (self.rng.in_range(60, 300), self.rng.in_range(1, 4));
                let x = self.wide_leaf(InputRole::Data, vec![b, fixed(rows), fixed(columns)]);
                let space = vec![fixed(columns), b, fixed(rows)];
                let combine = self.rng.pick(&[Combine::Sum, Combine::Sum, Combine::Max]);
                let reads = vec![Read::axes(x, &[1, 2, 0])];
                self.b.contract(Contract::normal(combine, space, 1, reads))
            }
            _ => {
                // A dimension that is a multiple of the batch.
                let rows = self.rng.in_range(100, 400) / LARGEST_BATCH;
                let dim = Dim { batch_factor: rows, constant: 0 };
                let x = self.wide_leaf(InputRole::Data, vec![dim, fixed(3)]);
                let y = self.b.reduce(Combine::Sum, x, &[0]);
                self.damped(y, Combine::Sum)
            }
        }
    }

    /// A convolution along two axes with its own strides, dilations and paddings.
    pub(super) fn window_2d(&mut self) -> NodeId {
        let (h, w) = (self.rng.in_range(3, 8), self.rng.in_range(3, 8));
        let (c, f) = (self.rng.in_range(1, 3), self.rng.in_range(1, 5));
        let shape = vec![Dim::batch(), fixed(h), fixed(w), fixed(c)];
        let x = match self.any(ElemType::F32, |found| found == shape) {
            Some(x) => x,
            None => self.wide_leaf(InputRole::Data, shape),
        };
        let mut axis = |extent: i64| {
            let (taps, stride) = (self.rng.in_range(1, 3), self.rng.in_range(1, 3));
            let (dilation, before) = (self.rng.in_range(1, 2), self.rng.in_range(0, 2));
            // Outputs as long as the last tap of one of them still meets the image's padding of `before`.
            let n = ((extent + 2 * before - dilation * (taps - 1) - 1).max(0) / stride + 1).max(1);
            (taps, stride, dilation, before, n)
        };
        let (rows, columns) = (axis(h), axis(w));
        // i0 example, i1 row, i2 column, i3 filter; i4, i5 taps, i6 channel.
        let sub = |at: usize, (_, stride, dilation, before, _): (i64, i64, i64, i64, i64)| {
            Affine::new([(at, stride), (at + 3, dilation)], -before)
        };
        let (i, j) = (sub(1, rows), sub(2, columns));
        let subs = vec![Affine::axis(0), i.clone(), j.clone(), Affine::axis(6)];
        let out = vec![Dim::batch(), fixed(rows.4), fixed(columns.4), fixed(f)];
        let space = [&out[..], &[fixed(rows.0), fixed(columns.0), fixed(c)]].concat();
        if count(&space) > LARGEST_SPACE || count(&out) > LARGEST_TENSOR {
            return x;
        }
        let combine = self.rng.pick(&[Combine::Sum, Combine::Sum, Combine::Sum, Combine::Max]);
        let (fill, guards) = match self.rng.below(3) {
            0 => (Fill::Value(Literal::Float(0.0)), Vec::new()),
            1 => (Fill::Skip, Vec::new()),
            _ => {
                let guards =
                    vec![Guard { expr: i, extent: fixed(h) }, Guard { expr: j, extent: fixed(w) }];
                (Fill::InRange, guards)
            }
        };
        let mut reads = vec![Read { value: x, subs, fill }];
        if combine == Combine::Sum {
            let k = self.param(vec![fixed(rows.0), fixed(columns.0), fixed(c), fixed(f)]);
            reads.push(Read::axes(k, &[4, 5, 6, 3]));
        }
        let mut contract = Contract::normal(combine, space, 4, reads);
        contract.guards = guards;
        self.b.contract(contract)
    }
}
