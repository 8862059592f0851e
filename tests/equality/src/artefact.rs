//! Training steps of a model that was compiled ahead of time, in a small C program that has its static library and nothing
//! else.

use crate::everywhere::Leaves;
use crate::trajectory::{Plan, examples, hash, leaves_of};
use dlc_abi::ElemType;
use dlc_build::{Builder, Cpu, Weights};
use dlc_harness::rng::Rng;
use dlc_ir::graph::{Data, Graph, InputRole, Tensor};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program around the library.
const SOURCE: &str = include_str!("artefact.c");

/// A model in a C program, with the batches it is trained on.
pub struct Artefact<'a> {
    train: &'a Graph,
    folder: PathBuf,
    plan: Plan,
    marks: &'a [i32],
}

impl Drop for Artefact<'_> {
    fn drop(&mut self) {
        // What a full disk or another user leaves behind is no concern of a test.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether there is a C compiler, and a processor that runs what artefacts are made of.
pub fn can_run() -> bool {
    Cpu::from_name("native").is_ok() && Command::new("cc").arg("--version").output().is_ok()
}

impl<'a> Artefact<'a> {
    /// Compiles the model of a file for a processor, links it with the C program, and writes the batches that
    /// [`crate::trajectory::hashes`] trains on. `train` is its frozen graph, which says what is hashed and in which order.
    ///
    /// # Errors
    /// When something on the way fails.
    pub fn build(
        file: &Path,
        cpu: Cpu,
        train: &'a Graph,
        plan: Plan,
        marks: &'a [i32],
    ) -> Result<Self, String> {
        let name = format!("dlc-hashes-{}-{}-{}", train.name, cpu.name(), std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let artefact = Artefact { train, folder, plan, marks };
        let written = Builder::new(file)
            .train(true)
            .cpu(cpu)
            .batch(plan.batch as usize)
            .weights(Weights::None)
            .write(&artefact.folder)
            .map_err(|error| error.to_string())?;
        let (source, program) = (artefact.folder.join("main.c"), artefact.folder.join("main"));
        let text = artefact.head(&written.name) + SOURCE;
        std::fs::write(&source, text).map_err(|error| error.to_string())?;
        let mut command = Command::new("cc");
        command.args([
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-pthread",
        ]);
        command.arg("-o").arg(program).arg(source).arg("-L").arg(&artefact.folder);
        run(command.arg(format!("-l{}", written.name)))?;
        std::fs::write(artefact.folder.join("batches"), artefact.batches())
            .map_err(|error| error.to_string())?;
        Ok(artefact)
    }

    /// What the C program is told about the model.
    fn head(&self, name: &str) -> String {
        let upper = name.to_uppercase();
        let mut text = format!(
            "#include \"{name}.h\"\n#define PREFIX {name}\n#define UPPER {upper}\n#define INPUTS"
        );
        for (input, _, _) in inputs(self.train) {
            let _ = write!(text, " INPUT({input}, {})", input.to_uppercase());
        }
        text.push_str("\n#define ARRAYS");
        for (array, _) in hashed(self.train) {
            let array = array.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let _ = write!(text, " ARRAY({upper}_AT_{array}, {upper}_N_{array})");
        }
        let marks: Vec<String> = self.marks.iter().map(i32::to_string).collect();
        let _ = writeln!(text, "\n#define MARKS {}", marks.join(", "));
        text
    }

    /// The batches of all steps, one after the other.
    fn batches(&self) -> Vec<u8> {
        let (mut rng, mut leaves) = (Rng::new(self.plan.seed as u64), Leaves::new());
        let mut bytes = Vec::new();
        for _ in 0..self.last() {
            examples(&mut rng, self.train, self.plan.batch, &mut leaves);
            for (name, _, _) in inputs(self.train) {
                match &leaves[name].data {
                    Data::F32(values) => bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
                    Data::I32(values) => bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
                    Data::F64(_) | Data::I64(_) | Data::U8(_) | Data::Bool(_) => {
                        unreachable!("examples are f32 and i32")
                    }
                }
            }
        }
        bytes
    }

    fn last(&self) -> i32 {
        self.marks.last().copied().unwrap_or(0)
    }

    /// As [`crate::trajectory::hashes`], in the C program with so many parts.
    ///
    /// # Errors
    /// When the program fails.
    pub fn hashes(&self, parts: usize) -> Result<Vec<u128>, String> {
        let out = self.folder.join(format!("out-{parts}"));
        let mut command = Command::new(self.folder.join("main"));
        command.arg(self.folder.join("batches")).arg(&out);
        let plan = self.plan;
        run(command.args(
            [plan.steps, parts as i32, plan.batch as i32, plan.seed].map(|n| n.to_string()),
        ))?;
        let bytes = std::fs::read(out).map_err(|error| error.to_string())?;
        let mut values = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let hashes = self.marks.iter().map(|_| {
            let mut leaves = Leaves::new();
            for (name, shape) in hashed(self.train) {
                let count = shape.iter().product::<i64>() as usize;
                let data: Vec<f32> = values.by_ref().take(count).collect();
                if data.len() < count {
                    return Err(format!("the program wrote too little of `{name}`"));
                }
                leaves.insert(name.to_owned(), Tensor::new(shape, Data::F32(data)));
            }
            Ok(hash(self.train, &leaves))
        });
        hashes.collect()
    }
}

/// The caller's arrays.
fn inputs(train: &Graph) -> impl Iterator<Item = (&str, ElemType, &[dlc_abi::Dim])> {
    leaves_of(train, InputRole::Data)
        .filter(|(name, _, _)| !["seed", "step", "steps"].contains(name))
}

/// Names and shapes of what is hashed, in order.
fn hashed(train: &Graph) -> impl Iterator<Item = (&str, Vec<i64>)> {
    leaves_of(train, InputRole::Param)
        .chain(leaves_of(train, InputRole::State))
        .filter(|(_, elem, _)| *elem == ElemType::F32)
        .map(|(name, _, shape)| (name, shape.iter().map(|dim| dim.at(1)).collect()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
