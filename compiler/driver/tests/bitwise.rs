//! Runs every graph of `tests/filetests/run` through machine code, on every target that runs here, with one to four threads and
//! several batches, and compares all results and new values with the graph interpreter bit by bit.

use dlc_abi::{BufferRole, ElemType};
use dlc_driver::{Target, lower};
use dlc_exec::{Fill, Gang, Memory, MemoryLayout, Persistent, Placement, Program, Workspace, WorkspaceOptions};
use dlc_ir::graph::{self, Data, Graph, Op, OutputKind, Tensor};
use indexmap::IndexMap;

const MAX_BATCH: i64 = 13;

/// A small generator of pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// A value for a leaf. Integer leaves named `name<n` are below n; others are small and of both signs.
fn leaf_value(name: &str, elem: ElemType, shape: &[i64], numbers: &mut Numbers) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    let bound = name.split_once('<').map(|(_, bound)| bound.parse::<u64>().expect("a bound"));
    let data = match elem {
        ElemType::F32 => Data::F32((0..n).map(|_| numbers.next() as f32 / (1u64 << 29) as f32 - 2.0).collect()),
        ElemType::F64 => Data::F64((0..n).map(|_| numbers.next() as f64 / (1u64 << 29) as f64 - 2.0).collect()),
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

fn leaves(graph: &Graph, batch: i64) -> IndexMap<String, Tensor> {
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

fn same(found: &Data, expected: &Data) -> Result<(), String> {
    let differs = |at: usize, a: String, b: String| Err(format!("element {at}: {a}, expected {b}"));
    match (found, expected) {
        (Data::F32(a), Data::F32(b)) => {
            for (at, (x, y)) in a.iter().zip(b).enumerate() {
                if x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan()) {
                    return differs(at, format!("{x:e}"), format!("{y:e}"));
                }
            }
        }
        (Data::F64(a), Data::F64(b)) => {
            for (at, (x, y)) in a.iter().zip(b).enumerate() {
                if x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan()) {
                    return differs(at, format!("{x:e}"), format!("{y:e}"));
                }
            }
        }
        (a, b) if a != b => return Err(format!("{a:?}, expected {b:?}")),
        _ => {}
    }
    Ok(())
}

fn output(workspace: &Workspace, name: &str, elem: ElemType, batch: usize) -> Data {
    match elem {
        ElemType::F32 => Data::F32(workspace.output::<f32>(name, batch).expect("an output").to_vec()),
        ElemType::F64 => Data::F64(workspace.output::<f64>(name, batch).expect("an output").to_vec()),
        ElemType::I32 => Data::I32(workspace.output::<i32>(name, batch).expect("an output").to_vec()),
        ElemType::Bool => {
            let bytes = workspace.output::<u8>(name, batch).expect("an output");
            Data::Bool(bytes.iter().map(|&byte| byte != 0).collect())
        }
        other => panic!("no outputs of {other:?}"),
    }
}

fn check(graph: &Graph, target: Target, placement: Placement) {
    let compiled = lower::compile(graph, MAX_BATCH, target).expect("it compiles");
    let program = Program::load(compiled.program).expect("a sound manifest");
    let layout = MemoryLayout::of(&[program.manifest()]).expect("one program agrees with itself");
    for threads in 1..=4 {
        let gang = Gang::new(threads).expect("threads");
        let options = WorkspaceOptions { parts: threads, placement, fill: Fill::Ones };
        let mut workspace = Workspace::new(&program, &layout, options).expect("memory");
        for batch in [1, 3, 8, MAX_BATCH] {
            let leaves = leaves(graph, batch);
            let expected = graph::interpret(graph, &leaves, batch).expect("the oracle runs");
            let mut memory = Memory::with_placement(&layout, placement, Fill::Ones).expect("memory");
            for desc in &program.manifest().buffers {
                let Some(tensor) = leaves.get(&desc.name) else { continue };
                match (desc.role, &tensor.data) {
                    (BufferRole::Input, Data::F32(values)) => {
                        workspace.set_input(&desc.name, batch as usize, values).expect("it fits");
                    }
                    (BufferRole::Input, Data::I32(values)) => {
                        workspace.set_input(&desc.name, batch as usize, values).expect("it fits");
                    }
                    (_, Data::F32(values)) => memory.set(&desc.name, values).expect("it fits"),
                    (role, _) => panic!("no {role:?} of this type"),
                }
            }
            let segments = program.all_segments();
            workspace.run(Persistent::Exclusive(&mut memory), batch as usize, &gang, segments).expect("it runs");
            let place = format!("{} {} threads {threads} batch {batch}", graph.name, target.name());
            for output_of in &graph.outputs {
                let node = &graph.nodes[output_of.value];
                let (name, found, tensor) = match &output_of.kind {
                    OutputKind::Result(name) => {
                        (name.clone(), output(&workspace, name, node.elem, batch as usize), &expected.results[name])
                    }
                    OutputKind::Assign(leaf) => {
                        let Op::Input { name, .. } = &graph.nodes[*leaf].op else { panic!("a leaf") };
                        let found = Data::F32(memory.read::<f32>(name).expect("a parameter").to_vec());
                        (name.clone(), found, &expected.assigns[name])
                    }
                };
                if let Err(difference) = same(&found, &tensor.data) {
                    let tile = lower::to_tile(graph, MAX_BATCH, &target.backends().expect("it ran").kernels.target());
                    panic!("{place}: `{name}` {difference}\n{}", tile.expect("it compiled"));
                }
            }
        }
    }
}

#[test]
fn machine_code_gives_the_bits_of_the_interpreter() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/filetests/run");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the cases are there");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let graph = graph::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if let Err(broken) = graph.verify() {
            panic!("{}: {broken:?}", file.display());
        }
        for target in Target::ALL.into_iter().filter(|target| target.runs_here()) {
            for placement in [Placement::Heap, Placement::Guarded] {
                eprintln!("{} {} {placement:?}", file.display(), target.name());
                check(&graph, target, placement);
            }
        }
    }
}
