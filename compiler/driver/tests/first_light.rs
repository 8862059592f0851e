//! The shortest way from a graph to numbers: a dense layer with bias and relu, on every target that runs here.

use dlc_abi::{Dim, ElemType, NumericsClass};
use dlc_driver::{Target, lower};
use dlc_exec::{Gang, Memory, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions};
use dlc_ir::affine::Affine;
use dlc_ir::graph::*;

fn dense(units: i64, inputs: i64) -> Graph {
    let mut graph = Graph::new("dense");
    let leaf = |graph: &mut Graph, name: &str, role, shape: Vec<Dim>| {
        let op = Op::Input { name: name.to_owned(), role };
        graph.push(op, ElemType::F32, shape, Stage::Forward, Origin::default())
    };
    let x = leaf(&mut graph, "x", InputRole::Data, vec![Dim::batch(), Dim::fixed(inputs)]);
    let w = leaf(&mut graph, "w", InputRole::Param, vec![Dim::fixed(inputs), Dim::fixed(units)]);
    let b = leaf(&mut graph, "b", InputRole::Param, vec![Dim::fixed(units)]);
    let shape = vec![Dim::batch(), Dim::fixed(units)];
    let read = |value, subs| Read { value, subs, fill: Fill::InRange };
    let contract = Contract {
        space: vec![Dim::batch(), Dim::fixed(units), Dim::fixed(inputs)],
        out: Affine::identity(2),
        reads: vec![
            read(x, vec![Affine::axis(0), Affine::axis(2)]),
            read(w, vec![Affine::axis(2), Affine::axis(1)]),
        ],
        combine: Combine::Sum,
        guards: vec![],
        congruences: vec![],
        order: Some(Order {
            kind: OrderKind::Chain,
            shard_axis: None,
            run_cut: 256,
            runs_per_chunk: 1,
        }),
    };
    let mut push = |op, shape: &[Dim]| {
        graph.push(op, ElemType::F32, shape.to_vec(), Stage::Forward, Origin::default())
    };
    let product = push(Op::Contract(contract), &shape);
    let bias =
        push(Op::View { operand: b, subs: vec![Affine::axis(1)], fill: Fill::InRange }, &shape);
    let sum = push(Op::Binary(BinaryOp::Add, product, bias), &shape);
    let zero = push(Op::Const(Literal::Float(0.0)), &shape);
    let y = push(Op::Binary(BinaryOp::Max, zero, sum), &shape);
    graph.outputs.push(Output { kind: OutputKind::Result("y".to_owned()), value: y });
    graph.class = NumericsClass::Fused;
    graph.frozen = true;
    graph
}

/// The chain of 256-term chunks that the graph's order asks for.
fn reference(
    x: &[f32],
    w: &[f32],
    b: &[f32],
    batch: usize,
    inputs: usize,
    units: usize,
) -> Vec<f32> {
    let mut y = Vec::new();
    for n in 0..batch {
        for u in 0..units {
            let mut stack: Vec<f32> = Vec::new();
            for (chunk, start) in (0..inputs).step_by(256).enumerate() {
                let mut sum = 0.0f32;
                for k in start..(start + 256).min(inputs) {
                    sum = x[n * inputs + k].mul_add(w[k * units + u], sum);
                }
                for _ in 0..(chunk + 1).trailing_zeros() {
                    sum += stack.pop().unwrap();
                }
                stack.push(sum);
            }
            let mut total = stack.pop().unwrap();
            while let Some(older) = stack.pop() {
                total += older;
            }
            let sum = total + b[u];
            y.push(if 0.0 > sum { 0.0 } else { sum });
        }
    }
    y
}

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

#[test]
fn dense_layer_gives_the_bits_of_its_order() {
    for target in Target::ALL.into_iter().filter(|target| target.runs_here()) {
        for (inputs, units) in [(3, 1), (8, 19), (64, 32), (300, 70), (1000, 10)] {
            let max_batch = 13;
            let compiled = lower::compile(&dense(units, inputs), max_batch, target).unwrap();
            let program = Program::load(compiled.program).unwrap();
            let layout = MemoryLayout::of(&[program.manifest()]).unwrap();
            let mut memory = Memory::new(&layout).unwrap();
            let (inputs, units) = (inputs as usize, units as usize);
            let (w, b) = (numbers(inputs * units, 1), numbers(units, 2));
            memory.set("w", &w).unwrap();
            memory.set("b", &b).unwrap();
            for threads in [1, 2, 3] {
                let gang = Gang::new(threads).unwrap();
                let options = WorkspaceOptions { parts: threads, ..WorkspaceOptions::default() };
                let mut workspace = Workspace::new(&program, &layout, options).unwrap();
                for batch in [1, 4, 13] {
                    let x = numbers(batch * inputs, 3);
                    workspace.set_input("x", batch, &x).unwrap();
                    workspace
                        .run(Persistent::Shared(&memory), batch, &gang, program.all_segments())
                        .unwrap();
                    let y = workspace.output::<f32>("y", batch).unwrap();
                    let expected = reference(&x, &w, &b, batch, inputs, units);
                    assert_eq!(y, expected, "{} {inputs} {units} batch {batch}", target.name());
                }
            }
        }
    }
}
