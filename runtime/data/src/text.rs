//! Text files: tokens are characters, bytes or words; an example is a window of them, with the same one token on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::column::{Bytes, Column, Texts, Tokens};
use crate::dataset::{Apart, Dataset, Splits};
use crate::error::{DataError, Place, TextProblem};
use crate::files::Files;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Char,
    Byte,
    Word,
}

/// How texts are read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextOptions {
    pub unit: Unit,
    /// A file with one token a line.
    pub vocabulary: Option<PathBuf>,
    /// So many of the most frequent words have a number of their own.
    pub words: usize,
    pub window: usize,
    /// Tokens from the beginning of one window to that of the next.
    pub stride: usize,
    /// The part of the training windows to be set apart: the last ones.
    pub split: Option<f64>,
    /// The names of the columns: the window, and the same one token on.
    pub names: [String; 2],
}

/// Stands for all that has no number of its own.
const UNKNOWN: &str = "<unk>";
/// Numbers of tokens have 16 bits.
const MOST_TOKENS: usize = 1 << 16;

/// Windows of text files. Bytes, and characters where the files are ASCII, are read from where they lie; other tokens are kept in memory.
///
/// # Errors
/// When a file cannot be read, is no text, has a token that has no number, or none is as long as a window.
pub(crate) fn text(
    files: &Files,
    test: Option<&Files>,
    options: &TextOptions,
) -> Result<Splits, DataError> {
    let open = |files: &Files| -> Result<Vec<(Arc<Path>, Bytes)>, DataError> {
        let open = |path| {
            let bytes = Bytes::map(path)?;
            check(path, &bytes, options.unit)?;
            Ok((path.into(), bytes))
        };
        files.resolve()?.iter().map(|path| open(path)).collect()
    };
    let train = open(files)?;
    let vocabulary = match &options.vocabulary {
        Some(path) => Vocabulary::read(path)?,
        None => Vocabulary::of(&train, options)?,
    };
    let dataset = |files: &Files, texts| dataset(&files.to_string(), texts, &vocabulary, options);
    let splits = Splits {
        train: dataset(files, train)?,
        test: test.map(|files| dataset(files, open(files)?)).transpose()?,
    };
    match options.split {
        // A window that is set apart shares no token with one that is learnt from.
        Some(fraction) => {
            let gap = options.window.div_ceil(options.stride);
            splits.set_apart(fraction, Apart::Last { gap })
        }
        None => Ok(splits),
    }
}

fn check(path: &Path, bytes: &[u8], unit: Unit) -> Result<(), DataError> {
    if unit == Unit::Byte {
        return Ok(());
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(fault(path, error.valid_up_to(), TextProblem::NotUtf8)),
    }
}

fn fault(path: &Path, byte: usize, problem: TextProblem) -> DataError {
    let place = Place::Byte(byte as u64);
    DataError::File { path: path.to_owned(), place, problem: problem.into() }
}

/// A text that [`check`] has let pass.
fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the text has been checked")
}

fn dataset(
    name: &str,
    files: Vec<(Arc<Path>, Bytes)>,
    vocabulary: &Vocabulary,
    options: &TextOptions,
) -> Result<Dataset, DataError> {
    let mut texts = Vec::new();
    for (path, bytes) in files {
        let tokens = vocabulary.tokens(&path, bytes, options.unit)?;
        texts.push((path, tokens));
    }
    let longest = texts.iter().map(|(_, tokens)| tokens.len()).max().unwrap_or(0);
    let reach = options.window.saturating_add(1);
    let texts = Arc::new(Texts::new(texts, reach, options.stride));
    if texts.n_windows() == 0 {
        return Err(DataError::ShortText {
            dataset: name.to_owned(),
            window: options.window,
            longest,
        });
    }
    let column = |name: &String, offset| {
        Column::from_texts(name, options.window, Arc::clone(&texts), offset)
            .with_class_names(Arc::clone(&vocabulary.names))
    };
    let [window, next] = &options.names;
    Dataset::new(name, vec![column(window, 0), column(next, 1)])
}

/// The numbers of tokens.
struct Vocabulary {
    names: Arc<[String]>,
    numbers: FxHashMap<String, u16>,
    unknown: Option<u16>,
}

impl Vocabulary {
    fn new(names: Vec<String>) -> Self {
        let numbers: FxHashMap<String, u16> =
            (0..=u16::MAX).zip(&names).map(|(number, name)| (name.clone(), number)).collect();
        let unknown = numbers.get(UNKNOWN).copied();
        Vocabulary { names: names.into(), numbers, unknown }
    }

    /// What occurs in some texts: characters and bytes in their order, words by how frequent they are.
    fn of(texts: &[(Arc<Path>, Bytes)], options: &TextOptions) -> Result<Self, DataError> {
        let names = match options.unit {
            Unit::Byte => (0..=u8::MAX).map(|byte| byte.escape_ascii().to_string()).collect(),
            Unit::Char => {
                let mut ascii = [false; 128];
                let mut others = BTreeSet::new();
                for (_, bytes) in texts {
                    for c in as_text(bytes).chars() {
                        match ascii.get_mut(c as usize) {
                            Some(seen) => *seen = true,
                            None => {
                                others.insert(c);
                            }
                        }
                    }
                }
                let ascii = (0..128_u8).filter(|&c| ascii[usize::from(c)]).map(char::from);
                ascii.chain(others).map(String::from).collect::<Vec<_>>()
            }
            Unit::Word => {
                let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                let words = texts.iter().flat_map(|(_, bytes)| as_text(bytes).split_whitespace());
                words.for_each(|word| *counts.entry(word).or_insert(0) += 1);
                let mut words: Vec<_> =
                    counts.into_iter().filter(|&(word, _)| word != UNKNOWN).collect();
                words.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
                let kept = words.into_iter().take(options.words).map(|(word, _)| word.to_owned());
                std::iter::once(UNKNOWN.to_owned()).chain(kept).collect()
            }
        };
        let first = texts.first().map(|(path, _)| Arc::clone(path));
        match first.filter(|_| names.len() > MOST_TOKENS) {
            Some(path) => {
                Err(fault(&path, 0, TextProblem::TooMany { found: names.len(), most: MOST_TOKENS }))
            }
            None => Ok(Self::new(names)),
        }
    }

    /// The lines of a file; `\n`, `\t`, `\r`, `\s` and `\\` stand for a line end, a tabulator, a carriage return, a space and a backslash.
    fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = Bytes::map(path)?;
        check(path, &bytes, Unit::Char)?;
        let mut names: Vec<String> = Vec::new();
        let mut seen = FxHashSet::default();
        for (index, line) in as_text(&bytes).lines().enumerate() {
            let wrong = |problem: TextProblem| DataError::File {
                path: path.to_owned(),
                place: Place::Line(index as u64 + 1),
                problem: problem.into(),
            };
            let name = unescape(line);
            if name.is_empty() {
                return Err(wrong(TextProblem::EmptyToken));
            }
            if names.len() == MOST_TOKENS {
                let found = names.len() + 1;
                return Err(wrong(TextProblem::TooMany { found, most: MOST_TOKENS }));
            }
            if !seen.insert(name.clone()) {
                return Err(wrong(TextProblem::TokenTwice { name }));
            }
            names.push(name);
        }
        if names.is_empty() {
            return Err(fault(path, 0, TextProblem::EmptyToken));
        }
        Ok(Self::new(names))
    }

    fn number(&self, token: &str) -> Option<u16> {
        self.numbers.get(token).copied().or(self.unknown)
    }

    /// The tokens of a text.
    fn tokens(&self, path: &Path, bytes: Bytes, unit: Unit) -> Result<Tokens, DataError> {
        let unknown = |at: usize, token: &str| {
            fault(path, at, TextProblem::Unknown { token: token.escape_debug().to_string() })
        };
        if unit == Unit::Byte {
            let table = Arc::new(std::array::from_fn(|byte| byte as u16));
            return Ok(Tokens::Bytes { bytes, table });
        }
        if unit == Unit::Char && bytes.is_ascii() {
            let mut table = [None; 256];
            for byte in 0..128_u8 {
                table[usize::from(byte)] = self.number(char::from(byte).encode_utf8(&mut [0; 4]));
            }
            if let Some(at) = bytes.iter().position(|&byte| table[usize::from(byte)].is_none()) {
                return Err(unknown(at, &char::from(bytes[at]).to_string()));
            }
            let table = Arc::new(table.map(|number| number.unwrap_or(0)));
            return Ok(Tokens::Bytes { bytes, table });
        }
        let text = as_text(&bytes);
        let number =
            |(at, token): (usize, &str)| self.number(token).ok_or_else(|| unknown(at, token));
        let ids = match unit {
            Unit::Word => {
                // A slice of a text knows where it begins in it.
                let at = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
                text.split_whitespace().map(|word| number((at(word), word))).collect()
            }
            Unit::Char | Unit::Byte => {
                let characters =
                    text.char_indices().map(|(at, c)| (at, &text[at..at + c.len_utf8()]));
                characters.map(number).collect::<Result<Vec<u16>, _>>()
            }
        };
        Ok(Tokens::Ids(ids?))
    }
}

fn unescape(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('s') => text.push(' '),
            Some('\\') | None => text.push('\\'),
            Some(other) => text.extend(['\\', other]),
        }
    }
    text
}
