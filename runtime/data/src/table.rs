//! Tables of text, such as CSV: a line is an example, a column a number or a name.
//!
//! A file is gone through twice: first to learn what each column holds, then to take the values. Values are kept in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder};

use crate::column::{Bytes, Column};
use crate::dataset::{Dataset, Splits};
use crate::error::{DataError, Place, TableProblem};
use crate::files::{Files, natural_key};
use crate::spec::Want;

/// What stands in for a value that is not there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Missing {
    /// Nothing: it is an error.
    Refuse,
    /// The mean of the column in the training part.
    Mean,
    /// The line is left out.
    Drop,
    /// A number.
    Number(f32),
}

/// How a table is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableOptions {
    /// The column that shall be predicted.
    pub label: Option<String>,
    /// The columns to learn from, in this order; all that are left without it.
    pub features: Option<Vec<String>>,
    /// Columns that are left out.
    pub drop: Vec<String>,
    /// Columns of names, whatever they look like.
    pub text: Vec<String>,
    pub header: bool,
    pub delimiter: u8,
    pub missing: Missing,
}

/// More different names than this are probably no categories.
const MOST_CATEGORIES: usize = 1000;
/// What is written for a value that is not there.
const MISSING: [&str; 7] = ["", "?", "NA", "N/A", "NaN", "nan", "null"];
/// The column that packs all that have no name of their own.
const FEATURES: &str = "features";
/// The category of names that are not there.
const NO_NAME: &str = "?";

/// A file with what its lines are read by.
struct Source {
    path: PathBuf,
    bytes: Bytes,
}

/// Columns of numbers and names. The label and columns that are named as an input of the model stand alone; all others are packed into
/// `features`, names as a number for each of their categories that is 1 or 0. Categories are sorted, numbers in them as they are counted.
///
/// # Errors
/// When a file cannot be read or is no such table; the message names file, line and column.
pub(crate) fn table(
    files: &Files,
    test: Option<&Files>,
    options: &TableOptions,
    wants: &[Want],
) -> Result<Splits, DataError> {
    let open = |files: &Files| -> Result<Vec<Source>, DataError> {
        let open = |path: PathBuf| Ok(Source { bytes: Bytes::map(&path)?, path });
        files.resolve()?.into_iter().map(open).collect()
    };
    let (train, test_sources) = (open(files)?, test.map(open).transpose()?);
    let mut schema = Schema::of(&train[0], options)?;
    for source in train.iter().chain(test_sources.iter().flatten()) {
        schema.survey(source, options)?;
    }
    for source in &train {
        schema.add_sums(source, options)?;
    }
    let plan = schema.plan(options, wants, &train[0].path)?;
    let dataset = |files: &Files, sources: &[Source]| {
        let columns = schema.columns(&plan, sources, options)?;
        Dataset::new(&files.to_string(), columns)
    };
    Splits {
        train: dataset(files, &train)?,
        test: match (test, &test_sources) {
            (Some(files), Some(sources)) => Some(dataset(files, sources)?),
            _ => None,
        },
    }
    .with_shared_classes()
}

/// What a column holds.
#[derive(Debug, Default)]
struct Survey {
    numbers: u64,
    integers: u64,
    sum: f64,
    summed: u64,
    missing: u64,
    names: BTreeSet<String>,
    /// The first value that is no number.
    first_name: Option<(Arc<Path>, u64, String)>,
    is_text: bool,
}

impl Survey {
    fn is_names(&self) -> bool {
        !self.names.is_empty() || self.is_text
    }

    /// Its categories in order.
    fn categories(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.iter().cloned().collect();
        names.sort_by_cached_key(|name| (natural_key(name), name.clone()));
        names
    }
}

struct Schema {
    names: Vec<String>,
    surveys: Vec<Survey>,
    first: PathBuf,
    label: Option<usize>,
    dropped: Vec<bool>,
}

/// Which columns come alone, and which are packed.
struct Plan {
    alone: Vec<usize>,
    packed: Vec<usize>,
}

fn fault(path: &Path, place: Place, problem: TableProblem) -> DataError {
    DataError::File { path: path.to_owned(), place, problem: problem.into() }
}

fn is_missing(field: &str) -> bool {
    MISSING.contains(&field)
}

fn number(field: &str) -> Option<f64> {
    field.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Calls `take` with each line of values: its number in the file, and its fields.
fn lines(
    source: &Source,
    options: &TableOptions,
    mut take: impl FnMut(u64, &[&str]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut reader = reader(source, options);
    let mut record = ByteRecord::new();
    let mut n_fields = None;
    let mut header = options.header;
    loop {
        let read = reader.read_byte_record(&mut record);
        // Reading bytes in memory fails for nothing that a file can hold; lines of other lengths are looked at below.
        if !read.unwrap_or(false) {
            return Ok(());
        }
        let line = record.position().map_or(0, |position| line_of(source, position));
        let expected = *n_fields.get_or_insert(record.len());
        if record.len() != expected {
            let problem = TableProblem::Fields { found: record.len(), expected };
            return Err(fault(&source.path, Place::Line(line), problem));
        }
        if std::mem::take(&mut header) {
            continue;
        }
        let fields: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        let Ok(fields) = fields else {
            return Err(fault(&source.path, Place::Line(line), TableProblem::NotUtf8));
        };
        take(line, &fields)?;
    }
}

/// The line of a record: empty ones before it are counted in its position.
fn line_of(source: &Source, position: &csv::Position) -> u64 {
    let at = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = without_mark(source).get(at..).unwrap_or(&[]);
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    position.line() + blank.filter(|&&byte| byte == b'\n').count() as u64
}

/// A mark of the byte order, as some spreadsheets write it, is no part of the first name.
fn without_mark(source: &Source) -> &[u8] {
    source.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&source.bytes)
}

fn reader<'a>(source: &'a Source, options: &TableOptions) -> csv::Reader<&'a [u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(options.delimiter)
        .trim(csv::Trim::All)
        .from_reader(without_mark(source))
}

/// The names of a file's columns: those of its first line, or their numbers from 1.
fn names_of(source: &Source, options: &TableOptions) -> Result<Vec<String>, DataError> {
    let wrong = |problem| fault(&source.path, Place::Line(1), problem);
    let mut record = ByteRecord::new();
    if !reader(source, options).read_byte_record(&mut record).unwrap_or(false) {
        return Err(wrong(TableProblem::Empty));
    }
    if !options.header {
        return Ok((1..=record.len()).map(|number| number.to_string()).collect());
    }
    let names: Result<Vec<String>, _> =
        record.iter().map(|name| std::str::from_utf8(name).map(str::to_owned)).collect();
    let Ok(mut names) = names else { return Err(wrong(TableProblem::NotUtf8)) };
    if names.iter().all(|name| number(name).is_some()) {
        return Err(wrong(TableProblem::NoHeader));
    }
    // Tables with a column of line numbers often leave it without a name.
    for (index, name) in names.iter_mut().enumerate() {
        if name.is_empty() {
            *name = (index + 1).to_string();
        }
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(wrong(TableProblem::NameTwice { name: name.clone() }));
        }
    }
    Ok(names)
}

impl Schema {
    fn of(first: &Source, options: &TableOptions) -> Result<Self, DataError> {
        let names = names_of(first, options)?;
        let find = |option: &'static str, column: &str| {
            names.iter().position(|name| name == column).ok_or_else(|| {
                let columns = crate::error::list(&names);
                let problem = TableProblem::NoColumn { option, column: column.to_owned(), columns };
                fault(&first.path, Place::Line(1), problem)
            })
        };
        let label = match &options.label {
            Some(label) => Some(find("label", label)?),
            None => names.iter().position(|name| name == "label"),
        };
        let mut dropped = vec![false; names.len()];
        for name in &options.drop {
            dropped[find("drop", name)?] = true;
        }
        if let Some(features) = &options.features {
            let features: Vec<usize> =
                features.iter().map(|name| find("features", name)).collect::<Result<_, _>>()?;
            for index in 0..names.len() {
                dropped[index] |= !features.contains(&index) && label != Some(index);
            }
        }
        let mut surveys: Vec<Survey> = names.iter().map(|_| Survey::default()).collect();
        for name in &options.text {
            surveys[find("text", name)?].is_text = true;
        }
        Ok(Schema { names, surveys, first: first.path.clone(), label, dropped })
    }

    /// Whether a line is left out for a value that it lacks.
    fn leaves_out(&self, fields: &[&str], options: &TableOptions) -> bool {
        options.missing == Missing::Drop
            && fields
                .iter()
                .zip(&self.dropped)
                .any(|(field, dropped)| !dropped && is_missing(field))
    }

    /// Looks at all values of a file.
    fn survey(&mut self, source: &Source, options: &TableOptions) -> Result<(), DataError> {
        let names = names_of(source, options)?;
        if names != self.names {
            let problem = TableProblem::Columns {
                found: crate::error::list(&names),
                first: self.first.display().to_string(),
                expected: crate::error::list(&self.names),
            };
            return Err(fault(&source.path, Place::Line(1), problem));
        }
        let path: Arc<Path> = source.path.as_path().into();
        let mut n_lines = 0_u64;
        lines(source, options, |line, fields| {
            if self.leaves_out(fields, options) {
                return Ok(());
            }
            n_lines += 1;
            for (index, &field) in fields.iter().enumerate().filter(|&(i, _)| !self.dropped[i]) {
                let survey = &mut self.surveys[index];
                let place = || Place::Field { line, column: self.names[index].clone() };
                if is_missing(field) {
                    survey.missing += 1;
                    let problem = match self.label == Some(index) {
                        true => TableProblem::MissingLabel,
                        false if options.missing == Missing::Refuse => TableProblem::Missing,
                        false => continue,
                    };
                    return Err(fault(&path, place(), problem));
                }
                match number(field).filter(|_| !survey.is_text) {
                    Some(value) => {
                        survey.numbers += 1;
                        survey.integers += u64::from(is_i32(field, value));
                    }
                    None if survey.names.contains(field) => {}
                    None => {
                        let first = || (Arc::clone(&path), line, field.to_owned());
                        survey.first_name.get_or_insert_with(first);
                        survey.names.insert(field.to_owned());
                        if survey.names.len() > MOST_CATEGORIES && survey.numbers == 0 {
                            let column = self.names[index].clone();
                            let problem = TableProblem::TooMany { most: MOST_CATEGORIES, column };
                            return Err(fault(&path, place(), problem));
                        }
                    }
                }
                if survey.numbers > 0
                    && let Some((path, line, text)) = &survey.first_name
                {
                    let column = self.names[index].clone();
                    let place = Place::Field { line: *line, column: column.clone() };
                    let problem = TableProblem::Mixed { text: text.clone(), column };
                    return Err(fault(path, place, problem));
                }
            }
            Ok(())
        })?;
        if n_lines == 0 {
            return Err(fault(&source.path, Place::Whole, TableProblem::Empty));
        }
        Ok(())
    }

    /// Sums up the numbers of a file, for means.
    fn add_sums(&mut self, source: &Source, options: &TableOptions) -> Result<(), DataError> {
        if options.missing != Missing::Mean || self.surveys.iter().all(|s| s.missing == 0) {
            return Ok(());
        }
        let surveys = &mut self.surveys;
        lines(source, options, |_, fields| {
            for (survey, field) in surveys.iter_mut().zip(fields) {
                if let Some(value) = number(field).filter(|_| !is_missing(field)) {
                    survey.sum += value;
                    survey.summed += 1;
                }
            }
            Ok(())
        })
    }

    fn plan(&self, options: &TableOptions, wants: &[Want], path: &Path) -> Result<Plan, DataError> {
        let is_wanted = |name: &String| wants.iter().any(|want| want.name == *name);
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        if let Some(features) = &options.features {
            let place =
                |index: &usize| features.iter().position(|name| *name == self.names[*index]);
            order.sort_by_key(place);
        }
        let (mut alone, mut packed) = (Vec::new(), Vec::new());
        for index in order.into_iter().filter(|&index| !self.dropped[index]) {
            if self.label == Some(index) || is_wanted(&self.names[index]) {
                alone.push(index);
            } else {
                packed.push(index);
            }
        }
        match packed.is_empty() && alone.iter().all(|&index| self.label == Some(index)) {
            true => Err(fault(path, Place::Whole, TableProblem::NoFeatures)),
            false => Ok(Plan { alone, packed }),
        }
    }

    /// The columns of some files.
    fn columns(
        &self,
        plan: &Plan,
        sources: &[Source],
        options: &TableOptions,
    ) -> Result<Vec<Column>, DataError> {
        let readers: Vec<Values> =
            self.surveys.iter().map(|survey| Values::of(survey, options)).collect();
        let mut packed = Vec::new();
        let mut alone: Vec<Vec<f32>> = vec![Vec::new(); plan.alone.len()];
        let mut integers: Vec<Vec<i32>> = vec![Vec::new(); plan.alone.len()];
        for source in sources {
            lines(source, options, |_, fields| {
                if self.leaves_out(fields, options) {
                    return Ok(());
                }
                for &index in &plan.packed {
                    readers[index].append(fields[index], &mut packed);
                }
                for (place, &index) in plan.alone.iter().enumerate() {
                    match readers[index].integer(fields[index]) {
                        Some(value) => integers[place].push(value),
                        None => readers[index].append(fields[index], &mut alone[place]),
                    }
                }
                Ok(())
            })?;
        }
        let mut columns = Vec::new();
        if !plan.packed.is_empty() {
            let width = plan.packed.iter().map(|&index| readers[index].width()).sum();
            columns.push(Column::from_f32(FEATURES, &[width], packed));
        }
        for ((&index, reals), integers) in plan.alone.iter().zip(alone).zip(integers) {
            let (name, reader) = (&self.names[index], &readers[index]);
            columns.push(match &reader.categories {
                Some(categories) => Column::from_labels(name, None, integers)
                    .with_class_names(categories.clone().into()),
                None if reader.is_integer => Column::from_labels(name, None, integers),
                None => Column::from_f32(name, &[], reals),
            });
        }
        Ok(columns)
    }
}

/// Whether a number is an integer of 32 bits and written as one.
fn is_i32(field: &str, value: f64) -> bool {
    value.fract() == 0.0 && field.parse::<i32>().is_ok()
}

/// How the fields of a column become values.
struct Values {
    categories: Option<Vec<String>>,
    is_integer: bool,
    fill: f32,
}

impl Values {
    fn of(survey: &Survey, options: &TableOptions) -> Self {
        let mut categories = survey.is_names().then(|| survey.categories());
        if let Some(categories) = &mut categories
            && survey.missing > 0
        {
            categories.push(NO_NAME.to_owned());
        }
        let fill = match options.missing {
            Missing::Number(number) => number,
            Missing::Mean if survey.summed > 0 => (survey.sum / survey.summed as f64) as f32,
            Missing::Mean | Missing::Refuse | Missing::Drop => 0.0,
        };
        let is_integer = survey.numbers == survey.integers
            && (survey.missing == 0 || fill.fract() == 0.0 && fill.abs() < 1e6);
        Values { categories, is_integer, fill }
    }

    /// How many numbers a field becomes.
    fn width(&self) -> usize {
        self.categories.as_ref().map_or(1, Vec::len)
    }

    fn category(&self, field: &str) -> Option<usize> {
        let field = if is_missing(field) { NO_NAME } else { field };
        self.categories.as_ref()?.iter().position(|name| name == field)
    }

    fn append(&self, field: &str, values: &mut Vec<f32>) {
        match &self.categories {
            Some(categories) => {
                let own = self.category(field);
                let hot =
                    (0..categories.len()).map(|index| f32::from(u8::from(own == Some(index))));
                values.extend(hot);
            }
            None if is_missing(field) => values.push(self.fill),
            None => values.push(number(field).map_or(self.fill, |value| value as f32)),
        }
    }

    /// The value of a column of integers or names.
    fn integer(&self, field: &str) -> Option<i32> {
        match &self.categories {
            Some(_) => self.category(field).and_then(|index| i32::try_from(index).ok()),
            None if !self.is_integer => None,
            None if is_missing(field) => Some(self.fill as i32),
            None => field.parse().ok(),
        }
    }
}
