//! The text that names data on the command line: `digits`, `mnist:DIR`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::dataset::Splits;
use crate::digits::digits;
use crate::error::{DataError, SpecError};
use crate::mnist::{FASHION_MNIST_DIR, FASHION_MNIST_PACKAGE, mnist};

/// All forms of a [`DataSpec`], as messages list them.
pub const KNOWN_FORMS: &[&str] = &["digits", "fashion-mnist", "mnist:DIR"];

/// Names that a typing error may have been meant for.
const NAMES: [&str; 3] = ["digits", "fashion-mnist", "mnist"];

/// Which data to load.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataSpec {
    /// `digits`: the embedded set; see [`digits`].
    Digits,
    /// `fashion-mnist`: the files of the Debian package [`FASHION_MNIST_PACKAGE`].
    FashionMnist,
    /// `mnist:DIR`: a folder of IDX files; see [`mnist`].
    Mnist(PathBuf),
}

impl DataSpec {
    /// Loads the data.
    ///
    /// # Errors
    /// When files are missing, damaged, or do not fit together.
    pub fn load(&self) -> Result<Splits, DataError> {
        match self {
            DataSpec::Digits => digits(),
            DataSpec::FashionMnist => installed("fashion-mnist", Path::new(FASHION_MNIST_DIR)),
            DataSpec::Mnist(directory) => mnist(directory),
        }
    }
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
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let plain = |name: &'static str, spec: DataSpec| match argument {
            None => Ok(spec),
            Some(argument) => {
                Err(SpecError::TakesNoArgument { name, argument: argument.to_owned() })
            }
        };
        match name {
            "digits" => plain("digits", DataSpec::Digits),
            "fashion-mnist" => plain("fashion-mnist", DataSpec::FashionMnist),
            "mnist" => match argument {
                Some(directory) if !directory.is_empty() => {
                    Ok(DataSpec::Mnist(PathBuf::from(directory)))
                }
                _ => Err(SpecError::NeedsArgument { name: "mnist", form: "mnist:DIR" }),
            },
            "" if argument.is_none() => Err(SpecError::Empty),
            _ => Err(SpecError::Unknown {
                given: text.to_owned(),
                nearest: nearest(name).map(|nearest| match (nearest, argument) {
                    ("mnist", Some(directory)) if !directory.is_empty() => {
                        format!("mnist:{directory}")
                    }
                    ("mnist", _) => "mnist:DIR".to_owned(),
                    (plain, _) => plain.to_owned(),
                }),
            }),
        }
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSpec::Digits => f.write_str("digits"),
            DataSpec::FashionMnist => f.write_str("fashion-mnist"),
            DataSpec::Mnist(directory) => write!(f, "mnist:{}", directory.display()),
        }
    }
}

/// The known name that takes the fewest edits, when these are few enough to be a slip: a third of its letters.
fn nearest(given: &str) -> Option<&'static str> {
    let given = given.to_lowercase().replace('_', "-");
    NAMES
        .iter()
        .map(|&name| (edit_distance(&given, name), name))
        .filter(|&(distance, name)| distance <= name.len().div_ceil(3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal string
/// alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i.max(j)
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edited = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    edited.min(rows[i - 2][j - 2] + 1)
                } else {
                    edited
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_forms_parse_and_print_back() {
        let cases = [
            ("digits", DataSpec::Digits),
            ("fashion-mnist", DataSpec::FashionMnist),
            ("mnist:/data/m", DataSpec::Mnist("/data/m".into())),
            ("mnist:C:\\m", DataSpec::Mnist("C:\\m".into())),
        ];
        for (text, spec) in cases {
            assert_eq!(text.parse::<DataSpec>().as_ref(), Ok(&spec));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn wrong_forms_are_explained() {
        const FORMS: &str = "known forms are `digits`, `fashion-mnist`, `mnist:DIR`";
        let cases = [
            ("", format!("no data are named; {FORMS}")),
            ("digit", format!("unknown data `digit`; {FORMS}; did you mean `digits`?")),
            ("Digits", format!("unknown data `Digits`; {FORMS}; did you mean `digits`?")),
            ("mnsit:/d", format!("unknown data `mnsit:/d`; {FORMS}; did you mean `mnist:/d`?")),
            ("mist", format!("unknown data `mist`; {FORMS}; did you mean `mnist:DIR`?")),
            (
                "fashion_mnist",
                format!("unknown data `fashion_mnist`; {FORMS}; did you mean `fashion-mnist`?"),
            ),
            ("npz:a.npz", format!("unknown data `npz:a.npz`; {FORMS}")),
            (":x", format!("unknown data `:x`; {FORMS}")),
            ("mnist", "`mnist` needs a folder: write `mnist:DIR`".to_owned()),
            ("mnist:", "`mnist` needs a folder: write `mnist:DIR`".to_owned()),
            ("digits:8", "`digits` takes nothing after its name, but `:8` was given".to_owned()),
            (
                "fashion-mnist:",
                "`fashion-mnist` takes nothing after its name, but `:` was given".to_owned(),
            ),
        ];
        for (text, expected) in cases {
            let error = text.parse::<DataSpec>().expect_err("not a known form");
            assert_eq!(error.to_string(), expected);
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

    #[test]
    fn distances_count_edits_and_swaps() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("digits", "digits", 0),
            ("mnsit", "mnist", 1),
            ("abc", "ca", 3),
        ] {
            assert_eq!(edit_distance(a, b), distance);
        }
    }
}
