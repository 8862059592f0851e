//! The options behind the `?` of a text that names data.

use super::forms::Form;
use super::nearest::nearest;
use crate::error::SpecError;
use crate::files::Files;
use crate::table::Missing;

/// Options as they were given, each known to the form and given once.
#[derive(Debug)]
pub(super) struct Options<'a> {
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Options<'a> {
    /// Reads `option=value&option=value`; an empty text has none.
    pub fn parse(form: &'static Form, text: Option<&'a str>) -> Result<Self, SpecError> {
        let mut given: Vec<(&'static str, &str)> = Vec::new();
        for pair in text.into_iter().flat_map(|text| text.split('&')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(&option) = form.options.iter().find(|&&option| option == key) else {
                return Err(SpecError::UnknownOption {
                    name: form.name,
                    option: key.to_owned(),
                    options: form.options.to_vec(),
                    nearest: nearest(key, form.options.iter().copied()).map(str::to_owned),
                });
            };
            if given.iter().any(|&(other, _)| other == option) {
                return Err(SpecError::OptionTwice { option });
            }
            given.push((option, value));
        }
        Ok(Options { given })
    }

    /// The value of an option, if it was given.
    pub fn get(&self, option: &str) -> Option<(&'static str, &'a str)> {
        self.given.iter().find(|&&(name, _)| name == option).copied()
    }

    fn read<T>(
        &self,
        option: &str,
        wanted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SpecError> {
        let Some((option, value)) = self.get(option) else { return Ok(None) };
        let wrong = || SpecError::OptionValue { option, wanted, given: value.to_owned() };
        read(value).map(Some).ok_or_else(wrong)
    }

    /// A part of a whole.
    pub fn fraction(&self, option: &str) -> Result<Option<f64>, SpecError> {
        let inside = |value: &f64| *value > 0.0 && *value < 1.0;
        let read = |text: &str| text.parse().ok().filter(inside);
        self.read(option, "a number between 0 and 1, such as 0.1", read)
    }

    /// A positive number.
    pub fn positive(&self, option: &str) -> Result<Option<f32>, SpecError> {
        let positive = |value: &f32| *value > 0.0 && value.is_finite();
        self.read(option, "a positive number", |text| text.parse().ok().filter(positive))
    }

    /// One or more files.
    pub fn files(&self, option: &str) -> Result<Option<Files>, SpecError> {
        self.read(option, "files, separated by commas", Files::parse)
    }

    /// A count of at least 1.
    pub fn count(&self, option: &str) -> Result<Option<usize>, SpecError> {
        let positive = |value: &usize| *value > 0;
        let read = |text: &str| text.parse().ok().filter(positive);
        self.read(option, "a whole number from 1 on", read)
    }

    /// Names of columns, separated by commas.
    pub fn names(&self, option: &str) -> Result<Option<Vec<String>>, SpecError> {
        let read = |text: &str| {
            let names: Vec<String> = text.split(',').map(str::to_owned).collect();
            names.iter().all(|name| !name.is_empty()).then_some(names)
        };
        self.read(option, "names of columns, separated by commas", read)
    }

    /// What separates the fields of a table.
    pub fn delimiter(&self) -> Result<Option<u8>, SpecError> {
        let read = |text: &str| match text.as_bytes() {
            b"tab" => Some(b'\t'),
            b"space" => Some(b' '),
            [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Some(*byte),
            _ => None,
        };
        self.read("delimiter", "one sign such as `;`, `tab` or `space`", read)
    }

    /// What stands in for values that are missing.
    pub fn missing(&self) -> Result<Option<Missing>, SpecError> {
        let read = |text: &str| match text {
            "refuse" => Some(Missing::Refuse),
            "mean" => Some(Missing::Mean),
            "drop" => Some(Missing::Drop),
            _ => text.parse().ok().filter(|n: &f32| n.is_finite()).map(Missing::Number),
        };
        self.read("missing", "`refuse`, `mean`, `drop` or a number", read)
    }

    /// Height and width, or one number for both.
    pub fn size(&self, option: &str) -> Result<Option<[usize; 2]>, SpecError> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=1 << 14).contains(side));
        let read = |text: &str| match text.split_once('x') {
            Some((height, width)) => Some([side(height)?, side(width)?]),
            None => side(text).map(|side| [side; 2]),
        };
        self.read(option, "height and width up to 16384, such as `32x32` or `32`", read)
    }

    /// One of some words.
    pub fn word<T: Copy>(
        &self,
        option: &str,
        wanted: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, SpecError> {
        let find =
            |text: &str| words.iter().find(|&&(word, _)| word == text).map(|&(_, value)| value);
        self.read(option, wanted, find)
    }
}
