//! Runs every graph of `tests/filetests/run` through machine code, on every target that runs here, with one to four threads and
//! several batches, and compares all results and new values with the graph interpreter bit by bit.

mod common;

use common::{cases, leaves};
use dlc_abi::{BufferRole, ElemType};
use dlc_driver::{Target, lower};
use dlc_exec::{
    Fill, Gang, Memory, MemoryLayout, Persistent, Placement, Program, Workspace, WorkspaceOptions,
};
use dlc_ir::graph::{self, Data, Graph, Op, OutputKind};

const MAX_BATCH: i64 = 13;

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

/// What the last step left of a result. Where the batch is not the outermost axis, the room of the largest batch lies between its elements.
fn output(workspace: &Workspace, name: &str, node: &graph::Node, batch: i64) -> Data {
    let [dims, room] = [batch, MAX_BATCH]
        .map(|batch| node.shape.iter().map(|dim| dim.at(batch) as usize).collect::<Vec<_>>());
    let places: Vec<usize> = (0..dims.iter().product())
        .map(|mut element| {
            let (mut place, mut stride) = (0, 1);
            for (&dim, &room) in dims.iter().zip(&room).rev() {
                place += element % dim * stride;
                element /= dim;
                stride *= room;
            }
            place
        })
        .collect();
    fn values<T: dlc_exec::Element>(workspace: &Workspace, name: &str, places: &[usize]) -> Vec<T> {
        let all = workspace.output::<T>(name, MAX_BATCH as usize).expect("an output");
        places.iter().map(|&place| all[place]).collect()
    }
    match node.elem {
        ElemType::F32 => Data::F32(values(workspace, name, &places)),
        ElemType::F64 => Data::F64(values(workspace, name, &places)),
        ElemType::I32 => Data::I32(values(workspace, name, &places)),
        ElemType::Bool => {
            let bytes: Vec<u8> = values(workspace, name, &places);
            Data::Bool(bytes.into_iter().map(|byte| byte != 0).collect())
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
            let mut memory =
                Memory::with_placement(&layout, placement, Fill::Ones).expect("memory");
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
            workspace
                .run(Persistent::Exclusive(&mut memory), batch as usize, &gang, segments)
                .expect("it runs");
            let place = format!("{} {} threads {threads} batch {batch}", graph.name, target.name());
            for output_of in &graph.outputs {
                let node = &graph.nodes[output_of.value];
                let (name, found, tensor) = match &output_of.kind {
                    OutputKind::Carry(_) => continue,
                    OutputKind::Result(name) => (
                        name.clone(),
                        output(&workspace, name, node, batch),
                        &expected.results[name],
                    ),
                    OutputKind::Assign(leaf) => {
                        let Op::Input { name, .. } = &graph.nodes[*leaf].op else {
                            panic!("a leaf")
                        };
                        let found =
                            Data::F32(memory.read::<f32>(name).expect("a parameter").to_vec());
                        (name.clone(), found, &expected.assigns[name])
                    }
                };
                if let Err(difference) = same(&found, &tensor.data) {
                    let tile = lower::to_tile(
                        graph,
                        MAX_BATCH,
                        &target.backend().expect("it ran").target(),
                    );
                    panic!("{place}: `{name}` {difference}\n{}", tile.expect("it compiled"));
                }
            }
        }
    }
}

#[test]
fn machine_code_gives_the_bits_of_the_interpreter() {
    for (_, graph) in cases() {
        for target in Target::ALL.into_iter().filter(|target| target.runs_here()) {
            for placement in [Placement::Heap, Placement::Guarded] {
                check(&graph, target, placement);
            }
        }
    }
}
