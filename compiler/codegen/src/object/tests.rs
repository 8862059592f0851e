//! Object files in C programs; where there is no C compiler, the tests say so and pass.

use std::process::Command;

use dlc_abi::StepContext;
use dlc_ir::vector::{
    Addr, Elem, FuncId, FunctionBuilder, FunctionKind, Inst, IntWidth, Module, Stmt, Storage, Type,
    VecBinary,
};

use super::{Entry, EntrySegment, Interface, Level, Slot, StateUse, WeightsFile, compile_object};
use crate::{CraneliftBackend, CraneliftOptions};

const LANES: usize = 16;

/// A program of three buffers: the first becomes the sum of the others, 16 numbers each.
fn sums(module: &mut Module) -> FuncId {
    let ty = Type::Vec { elem: Elem::I32, lanes: LANES as u8 };
    let mut b = FunctionBuilder::new("add", FunctionKind::Kernel, 3);
    let [out, first, second] = [0, 1, 2].map(|index| Addr::at(b.param(index)));
    let mut load = |addr| b.inst(Inst::Load { ty, storage: Storage::I32, addr, mask: None });
    let (x, y) = (load(first), load(second));
    let sum = b.binary(VecBinary::Add, x, y);
    b.store(Storage::I32, out, sum, None);
    let kernel = module.functions.push(b.finish());
    let mut b = FunctionBuilder::new("segment", FunctionKind::Segment, 3);
    let buffers = Addr::offset(b.param(0), StepContext::OFFSET_BUFFERS);
    let buffers = b.inst(Inst::IntLoad(IntWidth::I64, buffers));
    let args = [0, 8, 16]
        .map(|at| b.inst(Inst::IntLoad(IntWidth::I64, Addr::offset(buffers, at))))
        .to_vec();
    b.push(Stmt::Call { func: kernel, args });
    module.functions.push(b.finish())
}

const PROGRAM: &str = r#"
#include <stdint.h>
#include <stdio.h>
struct context {
    void *state; uint64_t state_bytes; void *workspace; uint64_t workspace_bytes, batch;
    void *barrier, *barrier_data, *error; int32_t step, steps, seed, reserved; int32_t *out;
};
int32_t t_run(const struct context *context);
const char *t_strerror(int32_t status);
static _Alignas(64) unsigned char workspace[64];
static _Alignas(64) int32_t out[16];
int main(void)
{
    struct context context = {.workspace = workspace, .workspace_bytes = sizeof workspace, .out = out};
    puts(t_strerror(t_run(&context)));
    for (int i = 0; i < 16; i++)
        printf("%d\n", (int)out[i]);
    return 0;
}
"#;

#[test]
fn tables_of_constants_are_data_of_the_file() {
    if Command::new("cc").arg("--version").output().is_err() {
        eprintln!("skipped: there is no C compiler");
        return;
    }
    let mut module = Module::default();
    let function = sums(&mut module);
    let table = |start: i32| -> Vec<u8> {
        (start..).take(LANES).flat_map(|number| (number * number).to_le_bytes()).collect()
    };
    let entry = Entry {
        symbol: "t_run".into(),
        in_parts: false,
        segments: vec![EntrySegment { function, parallel: false }],
        max_batch: None,
        slots: vec![Slot::Pointer(0), Slot::Table(1), Slot::Table(0)],
        shared_bytes: 0,
        scratch_bytes: 0,
        state: StateUse::None,
    };
    let interface = Interface {
        prefix: "t".into(),
        tag: 1,
        state_bytes: 64,
        entries: vec![entry],
        weights_file: WeightsFile { header: b"{}".to_vec(), tensors: Vec::new(), bytes: 2 },
        tables: vec![table(1), table(-20)],
        first_values: Vec::new(),
        embedded: None,
    };
    let backend = CraneliftBackend::new(CraneliftOptions::for_objects(Level::V2)).unwrap();
    let object = compile_object(&module, &interface, Level::V2, &backend).unwrap();
    let folder = std::env::temp_dir().join(format!("dlc-object-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("t.o"), object).unwrap();
    std::fs::write(folder.join("main.c"), PROGRAM).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-std=c11", "-Wall", "-Werror", "main.c", "t.o", "-o", "main"]);
    let compiled = compile.current_dir(&folder).output().unwrap();
    let printed = Command::new(folder.join("main")).output().map(|output| output.stdout);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let expected: Vec<String> =
        (0..LANES as i32).map(|i| ((1 + i) * (1 + i) + (i - 20) * (i - 20)).to_string()).collect();
    let printed = String::from_utf8(printed.unwrap()).unwrap();
    assert_eq!(printed.trim(), format!("done\n{}", expected.join("\n")));
}
