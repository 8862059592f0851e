//! The table of reference hashes of `tests/equality` for ranks: the interpreter and all back ends reproduce it alone.

use dlc::data::{Column, Dataset, Splits};
use dlc::{FitConfig, Length, Model, Session};
use dlc_driver::model::ModelGraphs;
use dlc_harness::reference::{self, floats, labels};
use dlc_harness::rng::Rng;
use dlc_ir::graph::{InputRole, Op};
use dlc_train::Data;
use std::path::Path;

/// An entry of the table.
#[derive(Clone, Copy)]
pub struct Entry {
    pub model: &'static str,
    pub batch: usize,
    pub steps: usize,
    pub image: &'static [usize],
}

/// From which all random numbers of the table follow.
pub const SEED: u32 = 1;
pub const DIGITS_MLP: Entry =
    Entry { model: "digits_mlp", batch: 32, steps: 100, image: &[8, 8, 1] };
pub const LENET: Entry = Entry { model: "lenet", batch: 16, steps: 100, image: &[28, 28, 1] };

impl Entry {
    /// The model, spread over ranks as the lines of a `parallel` block say.
    pub fn model(self, parallel: &str) -> Model {
        let name = self.model;
        let text = std::fs::read_to_string(root().join(format!("examples/{name}.dl")))
            .expect("the example is there");
        let text = format!("{text}\nparallel {name} {{ {parallel} }}\n");
        Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The examples of all steps, drawn as the table's are: each step its images, then its labels.
    pub fn splits(self) -> Splits {
        let mut rng = Rng::new(u64::from(SEED));
        let (mut images, mut classes) = (Vec::new(), Vec::new());
        for _ in 0..self.steps {
            images.extend(floats(&mut rng, self.batch * self.image.iter().product::<usize>()));
            classes.extend(labels(&mut rng, self.batch));
        }
        let image = Column::from_f32("image", self.image, images);
        let label = Column::from_labels("label", Some(10), classes);
        let train = Dataset::new("drawn", vec![image, label]).expect("columns are of one length");
        Splits { train, test: None }
    }

    /// A run of these steps.
    pub fn config(self) -> FitConfig {
        FitConfig {
            batch: self.batch,
            length: Length::Steps(self.steps as u64),
            shuffle: false,
            log_every: 0,
            validate: false,
            start: Default::default(),
        }
    }

    /// What the table says.
    pub fn expected(self) -> String {
        let table = std::fs::read_to_string(root().join("tests/equality/hashes.toml"))
            .expect("the table is there");
        let section = table.split_once(&format!("[{}]\n", self.model)).expect("it has the model").1;
        let key = format!("after_{} = \"", self.steps);
        let hash = section.split_once(&key).expect("it has the steps").1;
        hash.split_once('"').expect("the hash ends").0.to_owned()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The hash of a session that has all parameters and states, in the order in which the training step of one process reads them.
pub fn hash(model: &Model, session: &Session) -> String {
    let graphs = ModelGraphs::freeze(model.elaborated(), false).expect("it freezes");
    let train = graphs.train.expect("it trains");
    let mut kept: Vec<(&str, Vec<f32>)> = Vec::new();
    for wanted in [InputRole::Param, InputRole::State] {
        for node in train.nodes.values() {
            let Op::Input { name, role } = &node.op else { continue };
            if *role == wanted {
                let values = session.weight(name).expect("the session has it");
                let Data::F32(values) = values.data else { panic!("the table is of f32") };
                kept.push((name, values));
            }
        }
    }
    format!("{:032x}", reference::hash(kept.iter().map(|(name, values)| (*name, &values[..]))))
}
