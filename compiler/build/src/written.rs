//! The files of an artefact.

use dlc_driver::artefact::Text;
use dlc_train::write_atomically;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Something that can be written beside an artefact's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// The static library `lib<name>.a`.
    Library,
    /// The object file `<name>.o`.
    Object,
    /// The C header `<name>.h`.
    Header,
    /// The Rust module `<name>.rs`.
    Rust,
    /// The text of all programs at a stage, `<name>.<stage>`.
    Text(Text),
}

impl Emit {
    /// What is written where nothing else is asked for.
    pub const USUAL: [Emit; 4] = [Emit::Library, Emit::Object, Emit::Header, Emit::Rust];

    /// The thing of that name: `lib`, `obj`, `header`, `rust`, or a stage.
    pub fn from_name(name: &str) -> Option<Emit> {
        match name {
            "lib" => Some(Emit::Library),
            "obj" => Some(Emit::Object),
            "header" => Some(Emit::Header),
            "rust" => Some(Emit::Rust),
            _ => Text::from_name(name).map(Emit::Text),
        }
    }

    /// The name of its file.
    pub(crate) fn file_name(self, name: &str) -> String {
        match self {
            Emit::Library => format!("lib{name}.a"),
            Emit::Object => format!("{name}.o"),
            Emit::Header => format!("{name}.h"),
            Emit::Rust => format!("{name}.rs"),
            Emit::Text(text) => format!("{name}.{}", text.name()),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What the artefact's files and symbols begin with.
    pub name: String,
    /// The files with their bytes, in order.
    pub files: Vec<(PathBuf, u64)>,
}

impl Written {
    /// Writes one more file, whole or not at all.
    pub(crate) fn write(&mut self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = folder.join(name);
        write_atomically(&path, bytes)
            .map_err(|source| Error::Write { path: path.clone(), source })?;
        self.files.push((path, bytes.len() as u64));
        Ok(())
    }
}
