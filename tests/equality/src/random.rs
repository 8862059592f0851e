//! Random graphs to send everywhere: forward, with gradients, and with an update of their parameters.

use crate::everywhere::Leaves;
use dlc_abi::{ElemType, NumericsClass};
use dlc_harness::graph_gen::{Config, INDEX_LIMIT, program};
use dlc_harness::rng::Rng;
use dlc_ir::graph::{Data, Graph, InputRole, NodeId, Op, Origin, Stage, Tensor, retyped};
use dlc_passes::autodiff;

/// A random program with its seed.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it was drawn from.
    pub seed: u64,
    /// Not frozen.
    pub graph: Graph,
    /// Largest batch to compile it for.
    pub max_batch: i64,
    /// Batches to run it with.
    pub batches: [i64; 2],
    /// Whether floats among the leaves are zeros of both signs, infinities, NaN and denormals now and then.
    pub wild: bool,
    /// Whether all single precision became double.
    pub double: bool,
}

/// Draws a case: every second one has gradients of its loss, every fourth an update as well, one in six is of double precision,
/// one in four of the class in which products and sums round apart.
pub fn case(seed: u64) -> Case {
    let mut rng = Rng::new(seed);
    let backward = seed % 2 == 1;
    let config = Config {
        steps: (2, if backward { 6 } else { 9 }),
        loss: backward,
        smooth: false,
        affine_writes: rng.one_in(3),
        everything: true,
    };
    let drawn = program(&mut rng, config);
    let mut graph = drawn.graph;
    graph.name = format!("random_{seed}");
    if let Some(loss) = drawn.loss {
        differentiate(&mut graph, loss, seed % 4 == 3);
    }
    let double = rng.one_in(6);
    if double {
        graph = retyped(&graph);
    }
    let max_batch = drawn.batch + rng.in_range(0, 2);
    let batches = [drawn.batch, rng.in_range(1, max_batch)];
    let wild = rng.one_in(4);
    if rng.one_in(4) {
        graph.class = NumericsClass::Unfused;
    }
    Case { seed, graph, max_batch, batches, wild, double }
}

/// Adds gradients with respect to all parameters as results, or as a step of gradient descent.
fn differentiate(graph: &mut Graph, loss: NodeId, update: bool) {
    let params: Vec<(NodeId, String)> = graph
        .nodes
        .iter()
        .filter_map(|(id, node)| match &node.op {
            Op::Input { name, role: InputRole::Param } => Some((id, name.clone())),
            _ => None,
        })
        .collect();
    let wrt: Vec<NodeId> = params.iter().map(|(id, _)| *id).collect();
    let gradients = autodiff::gradients(graph, loss, &wrt);
    for ((param, name), gradient) in params.into_iter().zip(gradients) {
        if !update {
            graph.result(format!("d {name}"), gradient);
            continue;
        }
        let mut b = graph.build(Stage::Update, Origin { name: format!("{name}.new"), span: None });
        let rate = b.number_like(-0.125, gradient);
        let change = b.mul(rate, gradient);
        let new = b.add(param, change);
        graph.assign(param, new);
    }
}

impl Case {
    /// Whether processors without fused multiply-add can run it: nothing is of double precision.
    pub fn suits_any_processor(&self) -> bool {
        self.graph.nodes.values().all(|node| node.elem != ElemType::F64)
    }

    /// Values for the leaves of its graph, or of one that was made from it: they depend on seed, batch and names alone.
    pub fn leaves(&self, graph: &Graph, batch: i64) -> Leaves {
        let mut leaves = Leaves::new();
        for node in graph.nodes.values() {
            let Op::Input { name, .. } = &node.op else { continue };
            let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(batch)).collect();
            let start = name.bytes().fold(self.seed ^ (batch as u64) << 48, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
            let data = self.data(&mut Rng::new(start), node.elem, shape.iter().product());
            leaves.insert(name.clone(), Tensor::new(shape, data));
        }
        leaves
    }

    fn data(&self, rng: &mut Rng, elem: ElemType, count: i64) -> Data {
        const WILD: [f64; 8] =
            [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-42, -3e-39, 3e38];
        let mut float = || match self.wild && rng.one_in(6) {
            true => rng.pick(&WILD),
            false => rng.unit() * 3.0 - 1.5,
        };
        match elem {
            ElemType::F64 => Data::F64((0..count).map(|_| float()).collect()),
            ElemType::F32 | ElemType::Bf16 | ElemType::F16 => {
                Data::F32((0..count).map(|_| float() as f32).collect())
            }
            ElemType::I32 | ElemType::I8 => {
                Data::I32((0..count).map(|_| rng.in_range(0, INDEX_LIMIT - 1) as i32).collect())
            }
            ElemType::I64 => {
                Data::I64((0..count).map(|_| rng.in_range(0, INDEX_LIMIT - 1)).collect())
            }
            ElemType::U8 => Data::U8((0..count).map(|_| rng.bits() as u8).collect()),
            ElemType::Bool => Data::Bool((0..count).map(|_| rng.one_in(2)).collect()),
        }
    }
}
