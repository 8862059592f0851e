//! The text that names data, on the command line and elsewhere: `digits`, `mnist:DIR`, `npz:a.npz,b.npz?split=0.1`.
//!
//! `name`, `name:ARGUMENT` or `name:ARGUMENT?option=value&option=value`. The options begin behind the first `?`.

mod forms;
mod nearest;
mod options;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dlc_abi::ElemType;

use crate::arrays;
use crate::cifar::{Cifar, cifar};
use crate::dataset::{Apart, Splits};
use crate::digits::digits;
use crate::embedded::{iris, wine};
use crate::error::{DataError, SpecError};
use crate::files::Files;
use crate::images::{Fit, ImageOptions, images};
use crate::mnist::{FASHION_MNIST_DIR, FASHION_MNIST_PACKAGE, mnist};
use crate::table::{Missing, TableOptions, table};
use crate::text::{TextOptions, Unit, text};
pub(crate) use forms::known_forms;
use forms::{FORMS, Form, Takes};
use nearest::nearest;
use options::Options;

/// Which data to load.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSpec {
    /// As it was written.
    text: String,
    source: Source,
    /// The part of the training examples to be set apart.
    split: Option<f64>,
}

/// Where data come from.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Digits,
    FashionMnist,
    Mnist(PathBuf),
    Cifar(PathBuf, Cifar),
    Npz(ArrayFiles),
    Npy(ArrayFiles),
    Iris,
    Wine,
    Table(Files, Option<Files>, TableOptions),
    Text(TextFiles),
    Images(ImageFolder),
}

/// A folder of images; what is not given depends on the model.
#[derive(Debug, Clone, PartialEq)]
struct ImageFolder {
    directory: PathBuf,
    test: Option<PathBuf>,
    size: Option<[usize; 2]>,
    channels: Option<usize>,
    fit: Fit,
}

/// Text files; what is not given depends on the model.
#[derive(Debug, Clone, PartialEq)]
struct TextFiles {
    files: Files,
    test: Option<Files>,
    unit: Unit,
    vocabulary: Option<PathBuf>,
    words: usize,
    window: Option<usize>,
    stride: Option<usize>,
}

/// An input of the model that the data are for. Forms that could be read in several ways are read so that they fit: a window of text is
/// as long as the input, a column of a table that is called as an input stands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub elem: ElemType,
    /// The shape of one example.
    pub shape: Vec<usize>,
    /// Whether it is given for training only, such as a label.
    pub is_target: bool,
}

/// Tokens of a window where neither the text nor a model says how many.
const WINDOW: usize = 64;
/// Words that have numbers where the text does not say how many.
const WORDS: usize = 10_000;

/// Files of arrays.
#[derive(Debug, Clone, PartialEq)]
struct ArrayFiles {
    files: Files,
    test: Option<Files>,
    scale: f32,
}

impl DataSpec {
    /// Loads the data as they are, for no model in particular.
    ///
    /// # Errors
    /// When files are missing, damaged, or do not fit together.
    pub fn load(&self) -> Result<Splits, DataError> {
        self.load_for(&[])
    }

    /// Loads the data for a model with these inputs.
    ///
    /// # Errors
    /// When files are missing, damaged, or do not fit together. Whether the data fit the model shows when they are used.
    pub fn load_for(&self, wants: &[Want]) -> Result<Splits, DataError> {
        let splits = match &self.source {
            Source::Digits => digits()?,
            Source::FashionMnist => installed("fashion-mnist", Path::new(FASHION_MNIST_DIR))?,
            Source::Mnist(directory) => mnist(directory)?,
            Source::Cifar(directory, set) => cifar(directory, *set)?,
            Source::Npz(ArrayFiles { files, test, scale }) => {
                arrays::npz(files, test.as_ref(), *scale)?
            }
            Source::Npy(ArrayFiles { files, test, scale }) => {
                arrays::npy(files, test.as_ref(), *scale)?
            }
            Source::Iris => iris()?,
            Source::Wine => wine()?,
            Source::Table(files, test, options) => table(files, test.as_ref(), options, wants)?,
            Source::Images(folder) => folder.load(wants)?,
            // Windows are set apart by themselves, since neighbours overlap.
            Source::Text(texts) => return texts.load(wants, self.split),
        };
        match self.split {
            Some(fraction) => splits.set_apart(fraction, Apart::Any),
            None => Ok(splits),
        }
    }

    fn of(form: &'static Form, argument: &str, options: &Options<'_>) -> Result<Source, SpecError> {
        let folder = || PathBuf::from(argument);
        let needs = || needs_argument(form);
        let source = match form.name {
            "digits" => Source::Digits,
            "fashion-mnist" => Source::FashionMnist,
            "mnist" => Source::Mnist(folder()),
            "cifar10" => Source::Cifar(folder(), Cifar::Ten),
            "cifar100" => {
                let words = [("fine", Cifar::Hundred), ("coarse", Cifar::Twenty)];
                let set = options.word("labels", "`fine` or `coarse`", &words)?;
                Source::Cifar(folder(), set.unwrap_or(Cifar::Hundred))
            }
            "npz" | "npy" => {
                let arrays = ArrayFiles {
                    files: Files::parse(argument).ok_or_else(needs)?,
                    test: options.files("test")?,
                    scale: options.positive("scale")?.unwrap_or(1.0),
                };
                if form.name == "npz" { Source::Npz(arrays) } else { Source::Npy(arrays) }
            }
            "iris" => Source::Iris,
            "wine" => Source::Wine,
            "csv" => {
                let header =
                    options.word("header", "`yes` or `no`", &[("yes", true), ("no", false)])?;
                let table = TableOptions {
                    label: options.get("label").map(|(_, name)| name.to_owned()),
                    features: options.names("features")?,
                    drop: options.names("drop")?.unwrap_or_default(),
                    text: options.names("text")?.unwrap_or_default(),
                    header: header.unwrap_or(true),
                    delimiter: options.delimiter()?.unwrap_or(b','),
                    missing: options.missing()?.unwrap_or(Missing::Refuse),
                };
                let files = Files::parse(argument).ok_or_else(needs)?;
                Source::Table(files, options.files("test")?, table)
            }
            "text" => {
                let words = [("char", Unit::Char), ("byte", Unit::Byte), ("word", Unit::Word)];
                Source::Text(TextFiles {
                    files: Files::parse(argument).ok_or_else(needs)?,
                    test: options.files("test")?,
                    unit: options
                        .word("unit", "`char`, `byte` or `word`", &words)?
                        .unwrap_or(Unit::Char),
                    vocabulary: options.get("vocab").map(|(_, path)| PathBuf::from(path)),
                    words: options.count("words")?.unwrap_or(WORDS),
                    window: options.count("window")?,
                    stride: options.count("stride")?,
                })
            }
            "images" => Source::Images(ImageFolder {
                directory: folder(),
                test: options.get("test").map(|(_, path)| PathBuf::from(path)),
                size: options.size("size")?,
                channels: options.word("channels", "`1` or `3`", &[("1", 1), ("3", 3)])?,
                fit: options
                    .word(
                        "fit",
                        "`crop` or `stretch`",
                        &[("crop", Fit::Crop), ("stretch", Fit::Stretch)],
                    )?
                    .unwrap_or(Fit::Crop),
            }),
            name => unreachable!("`{name}` stands in the table of forms alone"),
        };
        Ok(source)
    }
}

impl ImageFolder {
    /// Size and channels are those of the first input that has three axes, as far as the text does not say them.
    fn load(&self, wants: &[Want]) -> Result<Splits, DataError> {
        let wanted = wants.iter().find_map(|want| match (want.elem, &want.shape[..]) {
            (ElemType::F32, &[height, width, channels @ (1 | 3)]) => {
                Some(([height, width], channels))
            }
            _ => None,
        });
        let options = ImageOptions {
            size: self.size.or(wanted.map(|(size, _)| size)),
            channels: self.channels.or(wanted.map(|(_, channels)| channels)).unwrap_or(3),
            fit: self.fit,
        };
        images(&self.directory, self.test.as_deref(), &options)
    }
}

impl TextFiles {
    /// The window is as long as the first input of the model that is a row of integers; that one on is the first that is given for training.
    fn load(&self, wants: &[Want], split: Option<f64>) -> Result<Splits, DataError> {
        let row = |target: bool| {
            wants.iter().find(|want| {
                want.is_target == target && want.elem == ElemType::I32 && want.shape.len() == 1
            })
        };
        let (given, asked) = (row(false), row(true));
        let name = |want: Option<&Want>, usual: &str| {
            want.map_or_else(|| usual.to_owned(), |want| want.name.clone())
        };
        let window = self.window.or(given.or(asked).map(|want| want.shape[0])).unwrap_or(WINDOW);
        let options = TextOptions {
            unit: self.unit,
            vocabulary: self.vocabulary.clone(),
            words: self.words,
            window: window.max(1),
            stride: self.stride.unwrap_or(window.max(1)),
            split,
            names: [name(given, "token"), name(asked, "next")],
        };
        text(&self.files, self.test.as_ref(), &options)
    }
}

fn needs_argument(form: &'static Form) -> SpecError {
    let what = match form.takes {
        Takes::Nothing => "nothing",
        Takes::Folder => "a folder",
        Takes::Files => "files",
    };
    SpecError::NeedsArgument { name: form.name, what, form: form.shown }
}

/// A set of the MNIST family that a system package installs.
fn installed(name: &'static str, directory: &Path) -> Result<Splits, DataError> {
    if !directory.is_dir() {
        return Err(DataError::NotInstalled {
            name,
            directory: directory.to_owned(),
            package: FASHION_MNIST_PACKAGE,
        });
    }
    mnist(directory)
}

impl FromStr for DataSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (plain, option_text) = match text.split_once('?') {
            Some((plain, options)) => (plain, Some(options)),
            None => (text, None),
        };
        let (name, argument) = match plain.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (plain, None),
        };
        if text.is_empty() {
            return Err(SpecError::Empty);
        }
        let Some(form) = FORMS.iter().find(|form| form.name == name) else {
            let known = FORMS.iter().map(|form| form.name);
            let nearest =
                nearest(name, known).and_then(|near| FORMS.iter().find(|f| f.name == near));
            return Err(SpecError::Unknown {
                given: text.to_owned(),
                nearest: nearest.map(|form| corrected(form, argument)),
            });
        };
        let argument = match (form.takes, argument) {
            (Takes::Nothing, Some(argument)) => {
                let argument = argument.to_owned();
                return Err(SpecError::TakesNoArgument { name: form.name, argument });
            }
            (Takes::Nothing, None) => "",
            (_, Some(argument)) if !argument.is_empty() => argument,
            (Takes::Folder | Takes::Files, _) => return Err(needs_argument(form)),
        };
        let options = Options::parse(form, option_text)?;
        let split = options.fraction("split")?;
        if let (Some(_), Some((second, _))) = (split, options.get("test")) {
            let why = "either names what to judge by";
            return Err(SpecError::OptionsClash { first: "split", second, why });
        }
        let source = DataSpec::of(form, argument, &options)?;
        Ok(DataSpec { text: text.to_owned(), source, split })
    }
}

/// The form that a wrong name was probably meant for, with what stood behind it.
fn corrected(form: &Form, argument: Option<&str>) -> String {
    match (form.takes, argument) {
        (Takes::Folder | Takes::Files, Some(argument)) if !argument.is_empty() => {
            format!("{}:{argument}", form.name)
        }
        _ => form.shown.to_owned(),
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_forms_print_back() {
        for text in [
            "digits",
            "iris",
            "wine",
            "fashion-mnist",
            "mnist:/data/m",
            "npz:a.npz,b-*.npz?split=0.1",
        ] {
            assert_eq!(text.parse::<DataSpec>().expect("a known form").to_string(), text);
        }
    }

    #[test]
    fn wrong_forms_are_explained() {
        let forms = format!("known forms are {}", crate::error::list(&known_forms()));
        let cases = [
            ("", format!("no data are named; {forms}")),
            ("digit", format!("unknown data `digit`; {forms}; did you mean `digits`?")),
            ("Digits", format!("unknown data `Digits`; {forms}; did you mean `digits`?")),
            ("mnsit:/d", format!("unknown data `mnsit:/d`; {forms}; did you mean `mnist:/d`?")),
            ("mist", format!("unknown data `mist`; {forms}; did you mean `mnist:DIR`?")),
            (
                "fashion_mnist",
                format!("unknown data `fashion_mnist`; {forms}; did you mean `fashion-mnist`?"),
            ),
            ("parquet:a", format!("unknown data `parquet:a`; {forms}")),
            (":x", format!("unknown data `:x`; {forms}")),
            ("mnist", "`mnist` needs a folder: write `mnist:DIR`".to_owned()),
            ("mnist:", "`mnist` needs a folder: write `mnist:DIR`".to_owned()),
            ("npz:", "`npz` needs files: write `npz:FILES`".to_owned()),
            ("npz:a,,b", "`npz` needs files: write `npz:FILES`".to_owned()),
            ("digits:8", "`digits` takes nothing after its name, but `:8` was given".to_owned()),
            (
                "fashion-mnist:",
                "`fashion-mnist` takes nothing after its name, but `:` was given".to_owned(),
            ),
            (
                "npz:a?spilt=0.1",
                "`npz` has no option `spilt`; it has `scale`, `split`, `test`; did you mean `split`?"
                    .to_owned(),
            ),
            ("digits?x=1", "`digits` has no option `x`; it has none".to_owned()),
            ("npz:a?", "`npz` has no option ``; it has `scale`, `split`, `test`".to_owned()),
            ("npz:a?split=.5&split=.5", "option `split` is given twice".to_owned()),
            (
                "npz:a?split=1",
                "option `split` takes a number between 0 and 1, such as 0.1, not `1`".to_owned(),
            ),
            (
                "npz:a?split",
                "option `split` takes a number between 0 and 1, such as 0.1, not ``".to_owned(),
            ),
            ("npz:a?scale=-1", "option `scale` takes a positive number, not `-1`".to_owned()),
            ("npz:a?test=", "option `test` takes files, separated by commas, not ``".to_owned()),
            (
                "npz:a?test=b&split=0.5",
                "options `split` and `test` cannot be given together: either names what to judge by"
                    .to_owned(),
            ),
            (
                "cifar100:d?labels=both",
                "option `labels` takes `fine` or `coarse`, not `both`".to_owned(),
            ),
        ];
        for (text, expected) in cases {
            let error = text.parse::<DataSpec>().expect_err("not a known form");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn every_form_is_made() {
        for form in FORMS {
            let text = match form.takes {
                Takes::Nothing => form.name.to_owned(),
                Takes::Folder | Takes::Files => format!("{}:x", form.name),
            };
            assert!(text.parse::<DataSpec>().is_ok(), "{text}");
        }
    }

    #[test]
    fn a_package_that_is_not_installed_is_named() {
        let error = installed("fashion-mnist", Path::new("/nowhere/fashion-mnist"))
            .expect_err("the folder does not exist");
        assert_eq!(
            error.to_string(),
            "`fashion-mnist` is not installed: `/nowhere/fashion-mnist` does not exist; install the package \
             `dataset-fashion-mnist`, or give the folder of the files as `mnist:DIR`"
        );
    }
}
