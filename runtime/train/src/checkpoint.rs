//! Checkpoints: everything a run needs to go on as if it had not stopped, in one file.
//!
//! The file is a safetensors file of all parameters and states, optimizer state included, whose metadata hold a
//! [`Header`] as JSON. A checksum over names and contents finds torn files that still look whole.

use dlc_abi::{BufferRole, NUMERICS_VERSION, NumericsClass, name_of_sliced};
use dlc_data::Position;
use dlc_exec::{Entry, FileMap};
use flate2::Crc;
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::atomic::write_atomically;
use crate::error::TrainError;
use crate::session::Session;
use crate::weights::{WeightsError, copy_tensors, serialize};

/// Metadata key, which also tells checkpoints from plain weights.
const KEY: &str = "dlc.checkpoint";
/// Version of the header.
const FORMAT: u32 = 1;

/// What a numerics class is called where it differs.
const CLASS: &str = "the numerics class";

/// Where in the data a run stands, and what decides its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// Examples in a batch.
    pub batch: usize,
    /// Examples in the data set.
    pub n_examples: usize,
    /// Whether the examples are shuffled.
    pub shuffle: bool,
    /// The batch that comes next.
    pub position: Position,
    /// Steps of the whole run.
    pub steps: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    model: String,
    /// Hexadecimal, because JSON numbers are doubles to many readers.
    fingerprint: String,
    numerics: u32,
    class: NumericsClass,
    shards: u32,
    seed: u32,
    step: u64,
    steps_planned: u64,
    crc32: u32,
    run: RunState,
}

/// Why a checkpoint could not be written or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read.
    #[error("could not read the checkpoint `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file could not be written.
    #[error("could not write the checkpoint `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no checkpoint, or its end is missing.
    #[error("`{}` is no checkpoint, or not a whole one: {reason}", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint belongs to another program.
    #[error(
        "`{}` was made by another program: {what} is {found}, but here it is {expected}{way_out}",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// Its value in the file.
        found: String,
        /// Its value here.
        expected: String,
        /// What would help, if anything is known to.
        way_out: String,
    },
    /// The tensors are not those of the model.
    #[error("`{}` does not fit the model", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: WeightsError,
    },
}

impl Session {
    /// Writes a checkpoint, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written, or the model cannot be trained.
    pub fn save_checkpoint(&self, path: &Path, run: &RunState) -> Result<(), TrainError> {
        let train = self.programs().train.as_ref().ok_or_else(|| self.no_program("be trained"))?;
        let manifest = train.manifest();
        let is_here = |name: &str| self.whole_entries().any(|whole| whole.name == name);
        let mut sliced = self.memory().layout().entries().iter();
        let lacks =
            sliced.find_map(|entry| name_of_sliced(&entry.name).filter(|name| !is_here(name)));
        if let Some(name) = lacks {
            return Err(TrainError::Contract {
                program: self.model().to_owned(),
                problem: format!(
                    "`{name}` lies in pieces on several ranks until an epoch or a run ends; only rank 0 has it then"
                ),
            });
        }
        let header = Header {
            format: FORMAT,
            model: self.model().to_owned(),
            fingerprint: format!("{:016x}", self.programs().fingerprint),
            numerics: manifest.numerics,
            class: manifest.class,
            shards: manifest.shards_of_batch(),
            seed: self.seed(),
            step: self.step(),
            steps_planned: self.steps_planned(),
            crc32: checksum(self.whole_entries().map(|w| (w.name, w.entry.role, w.bytes))),
            run: *run,
        };
        let header =
            serde_json::to_string(&header).expect("the header is made of names and numbers");
        let bytes = serialize(self.whole_entries(), Some((KEY, header)));
        write_atomically(path, &bytes)
            .map_err(|source| CheckpointError::Write { path: path.to_owned(), source }.into())
    }

    /// Goes back to a checkpoint of the same program; returns where in the data its run stands. When it fails, the session
    /// is as before, unless the file's contents belie its checksum: then it must be initialised anew.
    ///
    /// # Errors
    /// When the file cannot be read, is torn, or was made by a program that computes something else.
    pub fn load_checkpoint(&mut self, path: &Path) -> Result<RunState, TrainError> {
        let map = FileMap::open(path)
            .map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
        let torn = |reason: String| CheckpointError::Torn { path: path.to_owned(), reason };
        let header = read_header(&map).map_err(torn)?;
        self.check_origin(path, &header)?;
        let tensors = SafeTensors::deserialize(&map).map_err(|error| torn(error.to_string()))?;
        let model = self.model().to_owned();
        let ranks = self.ranks.as_ref();
        copy_tensors(&mut self.memory, ranks, &model, &tensors, |_| true).map_err(|source| {
            match source {
                WeightsError::Format(error) => torn(error.to_string()),
                source => CheckpointError::Tensors { path: path.to_owned(), source },
            }
        })?;
        // Who has only some of the tensors leaves it to rank 0 to find the file torn.
        if self.is_whole() {
            let layout = self.memory().layout();
            let whole = |entry: &'_ Entry| match name_of_sliced(&entry.name) {
                Some(name) if layout.index(name).is_some() => None,
                sliced => Some((sliced.unwrap_or(&entry.name).to_owned(), entry.role)),
            };
            let wholes: Vec<_> = layout.entries().iter().filter_map(whole).collect();
            let tensor = |(name, role): &'_ (String, BufferRole)| {
                let data = tensors.tensor(name).expect("it was copied").data();
                (name.clone(), *role, data)
            };
            let found: Vec<_> = wholes.iter().map(tensor).collect();
            let entries = found.iter().map(|(name, role, data)| (&name[..], *role, *data));
            if checksum(entries) != header.crc32 {
                return Err(torn("its checksum does not match its contents".to_owned()).into());
            }
        }
        self.restore_clock(header.seed, header.step, header.steps_planned);
        Ok(header.run)
    }

    fn check_origin(&self, path: &Path, header: &Header) -> Result<(), TrainError> {
        let train = self.programs().train.as_ref().ok_or_else(|| self.no_program("be trained"))?;
        let manifest = train.manifest();
        let facts = [
            ("the model", header.model.clone(), self.model().to_owned()),
            ("the version of numerics", header.numerics.to_string(), NUMERICS_VERSION.to_string()),
            (CLASS, format!("{:?}", header.class), format!("{:?}", manifest.class)),
            (
                "the number of shards",
                header.shards.to_string(),
                manifest.shards_of_batch().to_string(),
            ),
            (
                "the fingerprint of the model's text",
                header.fingerprint.clone(),
                format!("{:016x}", self.programs().fingerprint),
            ),
        ];
        for (what, found, expected) in facts {
            if found != expected {
                let path = path.to_owned();
                let way_out = if what == CLASS {
                    format!("; go on with the numerics `{}`", found.to_lowercase())
                } else {
                    String::new()
                };
                return Err(
                    CheckpointError::Foreign { path, what, found, expected, way_out }.into()
                );
            }
        }
        Ok(())
    }
}

/// The header, once the file is known to be as long as its own table of tensors says.
fn read_header(bytes: &[u8]) -> Result<Header, String> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error: SafeTensorError| error.to_string())?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(KEY))
        .ok_or("it holds plain tensors")?;
    let header: Header = serde_json::from_str(text)
        .map_err(|error| format!("its header cannot be read: {error}"))?;
    if header.format != FORMAT {
        return Err(format!("its format is {}, known is {FORMAT}", header.format));
    }
    Ok(header)
}

/// A checksum of names, roles and contents.
fn checksum<'a>(entries: impl Iterator<Item = (&'a str, BufferRole, &'a [u8])>) -> u32 {
    let mut crc = Crc::new();
    for (name, role, bytes) in entries {
        crc.update(name.as_bytes());
        crc.update(&[u8::from(role == BufferRole::Param)]);
        crc.update(bytes);
    }
    crc.sum()
}
