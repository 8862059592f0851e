//! Cases of `tests/filetests/run` and values for their leaves.
#![allow(dead_code, reason = "not every test uses every helper")]

use dlc_abi::ElemType;
use dlc_ir::graph::{self, Data, Graph, Op, Tensor};
use indexmap::IndexMap;

/// A small generator of pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// A value for a leaf. Integer leaves named `name<n` are below n; others are small and of both signs.
fn leaf_value(name: &str, elem: ElemType, shape: &[i64], numbers: &mut Numbers) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    let bound = name.split_once('<').map(|(_, bound)| bound.parse::<u64>().expect("a bound"));
    let data = match elem {
        ElemType::F32 => {
            Data::F32((0..n).map(|_| numbers.next() as f32 / (1u64 << 29) as f32 - 2.0).collect())
        }
        ElemType::F64 => {
            Data::F64((0..n).map(|_| numbers.next() as f64 / (1u64 << 29) as f64 - 2.0).collect())
        }
        ElemType::I32 => Data::I32(
            (0..n)
                .map(|_| match bound {
                    Some(bound) => (numbers.next() % bound) as i32,
                    None => numbers.next() as i32 % 1000 - 500,
                })
                .collect(),
        ),
        other => panic!("no values for {other:?}"),
    };
    Tensor::new(shape.to_vec(), data)
}

/// A value for every leaf of a graph.
pub fn leaves(graph: &Graph, batch: i64) -> IndexMap<String, Tensor> {
    let mut numbers = Numbers(7);
    let mut leaves = IndexMap::new();
    for node in graph.nodes.values() {
        if let Op::Input { name, .. } = &node.op {
            let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(batch)).collect();
            leaves.insert(name.clone(), leaf_value(name, node.elem, &shape, &mut numbers));
        }
    }
    leaves
}

/// The parsed and verified cases with their file names, in order.
pub fn cases() -> Vec<(String, Graph)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/filetests/run");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the cases are there");
    let parsed = files.into_iter().map(|file| {
        let text = std::fs::read_to_string(&file).expect("readable");
        let graph =
            graph::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if let Err(broken) = graph.verify() {
            panic!("{}: {broken:?}", file.display());
        }
        (file.file_name().expect("a file").to_string_lossy().into_owned(), graph)
    });
    parsed.collect()
}
