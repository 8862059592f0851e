//! What is to be compiled and how.

use dlc_driver::artefact::{ArtefactOptions, Cpu, compile, text};
use dlc_driver::model::{Elaborated, Failure, ModelGraphs, elaborate_file};
use dlc_grammar::{Sources, render_concise};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::first::First;
use crate::written::{Emit, Written};

/// Where the weights of an artefact go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// Into the library, ready to be used where they are.
    Embed,
    /// Into a file beside it, `<name>.safetensors`.
    File,
    /// Nowhere.
    None,
}

/// A model to be compiled, with all choices. Its methods change one each.
#[derive(Debug, Clone)]
pub struct Builder {
    file: PathBuf,
    model: Option<String>,
    batch: Option<usize>,
    cpu: Cpu,
    train: Option<bool>,
    weights: Weights,
    seed: u32,
    init: Option<PathBuf>,
    emit: Vec<Emit>,
}

impl Builder {
    /// The model of a file: for every processor with AVX2, with training if the file says how, its weights in a file of
    /// their own, drawn from seed 0.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Builder {
            file: file.as_ref().to_owned(),
            model: None,
            batch: None,
            cpu: Cpu::V3,
            train: None,
            weights: Weights::File,
            seed: 0,
            init: None,
            emit: Emit::USUAL.to_vec(),
        }
    }

    /// One of several models of the file, by name.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// The most examples in a batch.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = Some(batch);
        self
    }

    /// For which processors.
    #[must_use]
    pub fn cpu(mut self, cpu: Cpu) -> Self {
        self.cpu = cpu;
        self
    }

    /// With or without training.
    #[must_use]
    pub fn train(mut self, train: bool) -> Self {
        self.train = Some(train);
        self
    }

    /// Where the weights go.
    #[must_use]
    pub fn weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// Decides the weights that are drawn.
    #[must_use]
    pub fn seed(mut self, seed: u32) -> Self {
        self.seed = seed;
        self
    }

    /// Takes the weights of a file instead of drawing them.
    #[must_use]
    pub fn init(mut self, file: impl Into<PathBuf>) -> Self {
        self.init = Some(file.into());
        self
    }

    /// What is written beside the weights.
    #[must_use]
    pub fn emit(mut self, emit: &[Emit]) -> Self {
        self.emit = emit.to_vec();
        self
    }

    /// Compiles and writes all files into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the text is wrong, with its diagnostics, or a file cannot be read or written.
    pub fn write(&self, folder: &Path) -> Result<Written, Error> {
        let elaborated = self.elaborate()?;
        self.write_elaborated(&elaborated, folder)
    }

    /// The front end's part of [`Builder::write`].
    ///
    /// # Errors
    /// When the text is wrong, or a file cannot be read.
    pub fn elaborate(&self) -> Result<Elaborated, Error> {
        Ok(elaborate_file(&self.file, self.model.as_deref())?)
    }

    /// The rest of [`Builder::write`].
    ///
    /// # Errors
    /// When the choices do not fit the model, or a file cannot be read or written.
    pub fn write_elaborated(
        &self,
        elaborated: &Elaborated,
        folder: &Path,
    ) -> Result<Written, Error> {
        let file = self.init.as_ref().map(|path| {
            std::fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })
        });
        let file = file.transpose()?;
        let graphs = ModelGraphs::freeze_in(elaborated, self.cpu.class(), false)?;
        let first = First::of(&elaborated.program.name, &graphs, self.seed, file.as_deref())?;
        let options = ArtefactOptions {
            batch: self.batch,
            cpu: self.cpu,
            train: self.train.unwrap_or(elaborated.program.train.is_some()),
            embed: self.weights == Weights::Embed,
        };
        let artefact = compile(elaborated, &graphs, &options, &first.state())?;
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        let name = &artefact.name;
        let mut written = Written { name: name.clone(), files: Vec::new() };
        for &emit in &self.emit {
            let bytes = match emit {
                Emit::Library => artefact.archive.clone(),
                Emit::Object => artefact.object.clone(),
                Emit::Header => artefact.header.clone().into_bytes(),
                Emit::Rust => artefact.rust.clone().into_bytes(),
                Emit::Text(stage) => {
                    text(elaborated, &graphs, &options, &first.state(), stage)?.into_bytes()
                }
            };
            written.write(folder, &emit.file_name(name), &bytes)?;
        }
        if self.weights == Weights::File {
            written.write(folder, &format!("{name}.safetensors"), first.weights())?;
        }
        Ok(written)
    }

    /// [`Builder::write`] into the `OUT_DIR` of a build script, which tells Cargo what to link and which files the result was
    /// made of, also when it fails.
    ///
    /// # Errors
    /// As [`Builder::write`], and when there is no `OUT_DIR`.
    pub fn compile(&self) -> Result<(), Error> {
        let folder = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or(Error::NoOutDir)?;
        self.compile_into(&folder, &mut |line| println!("{line}"))
    }

    /// [`Builder::compile`] into a folder, with the lines for Cargo handed to `tell`: for build scripts that write elsewhere, and
    /// for other build systems that want to know what an artefact was made of.
    ///
    /// # Errors
    /// As [`Builder::write`]; the lines about files that were read come all the same.
    pub fn compile_into(&self, folder: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let elaborated = self.elaborate();
        let sources = match &elaborated {
            Ok(elaborated) => Some(&elaborated.sources),
            Err(Error::Model { failure: Failure::Diagnostics { sources, .. } }) => Some(&**sources),
            Err(_) => None,
        };
        let mut files: Vec<&Path> = vec![&self.file];
        files.extend(self.init.as_deref());
        let sources = sources.into_iter().flat_map(Sources::iter).map(|(_, file)| file);
        files.extend(sources.filter(|file| !file.std).map(|file| Path::new(&file.name)));
        for (index, file) in files.iter().enumerate() {
            if !files[..index].contains(file) {
                tell(&format!("cargo::rerun-if-changed={}", file.display()));
            }
        }
        let elaborated = elaborated?;
        for line in render_concise(&elaborated.warnings, &elaborated.sources).lines() {
            tell(&format!("cargo::warning={line}"));
        }
        let written = self.write_elaborated(&elaborated, folder)?;
        tell(&format!("cargo::rustc-link-search=native={}", folder.display()));
        tell(&format!("cargo::rustc-link-lib=static={}", written.name));
        Ok(())
    }
}
