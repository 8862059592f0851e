//! Values for leaves, comparison of graphs by the interpreter, and running one pass with its report.

use dlc_abi::ElemType;
use dlc_ir::graph::{Data, Graph, Op, Tensor, interpret};
use dlc_passes::pass::{Pass, PassCx, PassManager, PassOptions, PassReport};
use indexmap::IndexMap;

/// Splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Uniform in `low..high`.
    pub fn float(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

pub type Inputs = IndexMap<String, Tensor>;

/// Values of every leaf: floats from -1 to 1, integers from 0 to 3.
pub fn random_inputs(graph: &Graph, batch: i64, rng: &mut Rng) -> Inputs {
    let mut inputs = Inputs::new();
    for node in graph.nodes.values() {
        let Op::Input { name, .. } = &node.op else { continue };
        let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(batch)).collect();
        let n = shape.iter().product::<i64>() as usize;
        let data = match node.elem {
            ElemType::F32 => Data::F32((0..n).map(|_| rng.float(-1.0, 1.0) as f32).collect()),
            ElemType::F64 => Data::F64((0..n).map(|_| rng.float(-1.0, 1.0)).collect()),
            ElemType::I32 => Data::I32((0..n).map(|_| rng.below(4) as i32).collect()),
            ElemType::Bool => Data::Bool((0..n).map(|_| rng.below(2) == 1).collect()),
            other => panic!("no values for {other:?}"),
        };
        inputs.insert(name.clone(), Tensor::new(shape, data));
    }
    inputs
}

/// Runs one pass under the manager, which verifies and runs it twice.
pub fn run_pass(
    name: &'static str,
    pass: fn(Graph, &PassCx) -> Result<Graph, dlc_passes::pass::PassError>,
    graph: Graph,
) -> (Graph, PassReport) {
    let mut manager = PassManager::new(PassOptions { verify: true, ..Default::default() });
    let passes = [Pass { name, idempotent: true, run: pass }];
    let text = graph.to_string();
    let graph = manager
        .run(graph, &passes, &PassCx::default())
        .unwrap_or_else(|error| panic!("{error}\nbefore:\n{text}"));
    (graph, manager.reports()[0].clone())
}

/// Asserts that two graphs have the same results up to `tolerance` relative to the largest element.
pub fn assert_same_results(a: &Graph, b: &Graph, inputs: &Inputs, batch: i64, tolerance: f64) {
    let run = |graph: &Graph| {
        interpret(graph, inputs, batch).unwrap_or_else(|error| panic!("{error}\n{graph}"))
    };
    let (left, right) = (run(a), run(b));
    let all = |outputs: &dlc_ir::graph::Outputs| {
        let results = outputs.results.clone();
        results.into_iter().chain(outputs.assigns.clone()).collect::<Vec<_>>()
    };
    let (left, right) = (all(&left), all(&right));
    assert_eq!(left.len(), right.len());
    for ((name, x), (other, y)) in left.iter().zip(&right) {
        assert_eq!((name, &x.shape), (other, &y.shape));
        let (xs, ys) = (x.to_f64(), y.to_f64());
        let scale = xs.iter().fold(1.0_f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { m });
        for (at, (x, y)) in xs.iter().zip(&ys).enumerate() {
            let same = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * scale;
            assert!(same, "{name}[{at}]: {x} and {y}\n{a}\n{b}");
        }
    }
}
