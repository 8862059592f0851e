//! `dlc data`: what a data set holds, a sheet of samples of it, whether all of it can be read.

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use dlc::Model;
use dlc::data::{Column, ColumnKind, DataError, DataSpec, Dataset, Splits, permutation};
use dlc_abi::ElemType;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

use super::options::wants;
use super::sheet::Sheet;
use super::{Outcome, WRONG_INPUT, output, wrong_input};

/// Examples that are looked at together.
const CHUNK: usize = 256;
/// Classes whose examples are counted, and names that are shown.
const MOST_CLASSES: usize = 40;
/// Faults that are told one by one.
const MOST_FAULTS: usize = 20;
/// Values of a row that are shown.
const MOST_VALUES: usize = 12;

/// Look at a data set
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what columns it has
    Info(Info),
    /// Show some examples: images as a sheet of them, all else as lines
    Sample(Sample),
    /// Read all of it and say what is wrong
    Verify(Info),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The data, such as `digits`, `mnist:DIR`, `csv:FILE?label=COLUMN`, `text:FILE`
    data: String,
    /// As the model of this file takes it: size of images, length of windows
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

impl Which {
    fn load(&self) -> anyhow::Result<Splits> {
        let spec: DataSpec = self.data.parse().map_err(|error| wrong_input(format!("{error}")))?;
        let wants = match &self.model {
            Some(path) => wants(&Model::open(path, None)?),
            None => Vec::new(),
        };
        Ok(spec.load_for(&wants)?)
    }
}

#[derive(Debug, clap::Args)]
struct Info {
    #[command(flatten)]
    which: Which,
    /// End with a JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Sample {
    #[command(flatten)]
    which: Which,
    /// Which part of the data
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// How many examples
    #[arg(long, short = 'n', value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    count: u32,
    /// Decides which examples
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// The sheet of images, a PNG
    #[arg(long, short, value_name = "FILE", default_value = "samples.png")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    /// What models learn from
    Train,
    /// What they are judged by
    Test,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Info(args) => info(&args),
        Command::Sample(args) => sample(&args),
        Command::Verify(args) => verify(&args),
    }
}

fn parts(splits: &Splits) -> impl Iterator<Item = (&'static str, &Dataset)> {
    std::iter::once(("train", &splits.train)).chain(splits.test.iter().map(|test| ("test", test)))
}

fn elem(column: &Column) -> &'static str {
    if column.elem() == ElemType::I32 { "i32" } else { "f32" }
}

fn info(args: &Info) -> anyhow::Result<Outcome> {
    let splits = args.which.load()?;
    if args.json {
        let mut object = Map::new();
        for (part, dataset) in parts(&splits) {
            object.insert(part.to_owned(), dataset.n_examples().into());
        }
        let columns = splits.train.columns().iter().map(|column| {
            json!({
                "name": column.name(),
                "type": elem(column),
                "shape": column.shape(),
                "classes": column.n_classes(),
                "class_names": column.class_names(),
            })
        });
        object.insert("columns".to_owned(), columns.collect());
        output::line(Value::Object(object))?;
        return Ok(Outcome::Done);
    }
    for (part, dataset) in parts(&splits) {
        output::line(format_args!(
            "{part:<5} {:>8} examples  {}",
            dataset.n_examples(),
            dataset.name()
        ))?;
    }
    for column in splits.train.columns() {
        let shape = format!("{}{:?}", elem(column), column.shape());
        let classes = column.n_classes().map_or(String::new(), |n| format!("  {n} classes"));
        output::line(format_args!("column `{}`: {shape}{classes}", column.name()))?;
        if let Some(counts) = class_counts(&splits.train, column)? {
            output::line(format_args!("    {}", counts.join(", ")))?;
        } else if let Some(names) = column.class_names() {
            let shown: Vec<String> = names
                .iter()
                .take(MOST_CLASSES)
                .map(|name| name.escape_debug().to_string())
                .collect();
            let more = if names.len() > MOST_CLASSES { " .." } else { "" };
            output::line(format_args!("    {}{more}", shown.join(" ")))?;
        }
    }
    Ok(Outcome::Done)
}

/// How many examples each class has, where there are few classes.
fn class_counts(dataset: &Dataset, column: &Column) -> anyhow::Result<Option<Vec<String>>> {
    let Some(n_classes) = column.n_classes().filter(|&n| n <= MOST_CLASSES) else {
        return Ok(None);
    };
    if column.row_len() != 1 || !column.serves(ElemType::I32) {
        return Ok(None);
    }
    let mut counts = vec![0_u64; n_classes];
    for_chunks(dataset, |examples| {
        let mut labels = vec![0_i32; examples.len()];
        dataset.gather(column.name(), examples, &mut labels)?;
        // `gather` has compared the labels with their classes.
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        Ok(())
    })?;
    let name = |class: usize| match column.class_names() {
        Some(names) => names[class].clone(),
        None => class.to_string(),
    };
    Ok(Some(counts.iter().enumerate().map(|(class, n)| format!("{}: {n}", name(class))).collect()))
}

fn for_chunks(
    dataset: &Dataset,
    mut work: impl FnMut(&[u32]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let n = dataset.n_examples();
    (0..n).step_by(CHUNK).try_for_each(|start| {
        // Data sets number their examples by 32 bits.
        let examples: Vec<u32> = (start..n.min(start + CHUNK)).map(|i| i as u32).collect();
        work(&examples)
    })
}

fn sample(args: &Sample) -> anyhow::Result<Outcome> {
    let splits = args.which.load()?;
    let dataset = match (args.split, splits.test) {
        (Split::Train, _) => splits.train,
        (Split::Test, Some(test)) => test,
        (Split::Test, None) => {
            return Err(wrong_input(format!("data `{}` have no test split", args.which.data)));
        }
    };
    let mut examples = vec![0; dataset.n_examples()];
    permutation(args.seed.into(), 0, &mut examples);
    examples.truncate(args.count as usize);
    let image = dataset.columns().iter().find(|column| Sheet::shows(column));
    let Some(image) = image else {
        for &example in &examples {
            output::line(row(&dataset, example, |_| true)?)?;
        }
        return Ok(Outcome::Done);
    };
    let sheet = Sheet::of(&dataset, image, &examples)?;
    dlc_train::write_atomically(&args.output, &sheet.png()?)
        .with_context(|| format!("could not write `{}`", args.output.display()))?;
    let rows = examples.chunks(sheet.columns());
    for (index, examples) in rows.enumerate() {
        let shown = |&example: &u32| row(&dataset, example, |column| column.name() != image.name());
        let shown: Vec<String> = examples.iter().map(shown).collect::<Result<_, _>>()?;
        output::line(format_args!("row {}: {}", index + 1, shown.join(" | ")))?;
    }
    eprintln!(
        "{} images of column `{}` in `{}`",
        examples.len(),
        image.name(),
        args.output.display()
    );
    Ok(Outcome::Done)
}

/// An example in a line.
fn row(
    dataset: &Dataset,
    example: u32,
    mut wanted: impl FnMut(&Column) -> bool,
) -> Result<String, DataError> {
    let mut fields = Vec::new();
    for column in dataset.columns().iter().filter(|column| wanted(column)) {
        let n = column.row_len();
        let mut integers = vec![0_i32; n];
        if column.elem() != ElemType::I32 {
            let mut reals = vec![0.0_f32; n];
            dataset.fetch(column.name(), example, &mut reals)?;
            fields.push(format!("{}: {}", column.name(), few(&reals)));
            continue;
        }
        dataset.fetch(column.name(), example, &mut integers)?;
        let text = match column.class_names() {
            Some(names) => {
                let names: Vec<&str> = integers
                    .iter()
                    .map(|&i| names.get(i as usize).map_or("?", |name| name))
                    .collect();
                let is_letters = names.iter().all(|name| name.chars().count() == 1);
                let text = names.join(if is_letters { "" } else { " " });
                if n > 1 { format!("{text:?}") } else { text }
            }
            None => few(&integers),
        };
        fields.push(format!("{}: {text}", column.name()));
    }
    Ok(fields.join("  "))
}

fn few<T: std::fmt::Display>(values: &[T]) -> String {
    let shown: Vec<String> = values.iter().take(MOST_VALUES).map(ToString::to_string).collect();
    let more = if values.len() > MOST_VALUES { " .." } else { "" };
    format!("{}{more}", shown.join(" "))
}

/// What the values of a column are.
#[derive(Debug)]
struct Range {
    least: f32,
    greatest: f32,
    sum: f64,
    count: u64,
    /// Values that are no numbers, or infinite.
    not_finite: u64,
}

impl Range {
    fn add(&mut self, values: &[f32]) {
        for &value in values {
            if value.is_finite() {
                self.least = self.least.min(value);
                self.greatest = self.greatest.max(value);
                self.sum += f64::from(value);
                self.count += 1;
            } else {
                self.not_finite += 1;
            }
        }
    }
}

fn verify(args: &Info) -> anyhow::Result<Outcome> {
    let splits = args.which.load()?;
    let (mut faults, mut object) = (Vec::new(), Map::new());
    for (part, dataset) in parts(&splits) {
        let mut columns = Map::new();
        for column in dataset.columns() {
            let before = faults.len();
            let range = read(dataset, column, &mut faults)?;
            let mean = range.sum / range.count.max(1) as f64;
            let bad = faults.len() - before;
            columns.insert(
                column.name().to_owned(),
                json!({
                    "least": range.least, "greatest": range.greatest, "mean": mean,
                    "not_finite": range.not_finite, "faults": bad,
                }),
            );
            if !args.json {
                let mut line = format!(
                    "{part} `{}`: {} examples, values from {} to {}, mean {mean:.4}",
                    column.name(),
                    dataset.n_examples(),
                    range.least,
                    range.greatest
                );
                if range.not_finite > 0 {
                    line += &format!(", {} values are no numbers or infinite", range.not_finite);
                }
                if bad > 0 {
                    line += &format!(", {bad} examples cannot be read");
                }
                output::line(line)?;
            }
        }
        object.insert(part.to_owned(), Value::Object(columns));
    }
    for fault in faults.iter().take(MOST_FAULTS) {
        eprintln!("error: {fault}");
    }
    if faults.len() > MOST_FAULTS {
        eprintln!("error: {} more examples cannot be read", faults.len() - MOST_FAULTS);
    }
    if args.json {
        object.insert("faults".to_owned(), faults.len().into());
        output::line(Value::Object(object))?;
    }
    Ok(if faults.is_empty() { Outcome::Done } else { Outcome::No(WRONG_INPUT) })
}

/// Reads all of a column. What is wrong with examples is collected, and the others are read.
fn read(dataset: &Dataset, column: &Column, faults: &mut Vec<DataError>) -> anyhow::Result<Range> {
    let (least, greatest) = (f32::INFINITY, f32::NEG_INFINITY);
    let mut range = Range { least, greatest, sum: 0.0, count: 0, not_finite: 0 };
    let mut reals = Vec::new();
    let mut integers = Vec::new();
    let counted = column.kind() == ColumnKind::Label && column.serves(ElemType::I32);
    for_chunks(dataset, |examples| {
        let mut fetch = |examples: &[u32]| -> Result<(), DataError> {
            let n = examples.len() * column.row_len();
            if counted {
                integers.resize(n, 0_i32);
                dataset.gather(column.name(), examples, &mut integers)?;
            }
            reals.resize(n, 0.0_f32);
            dataset.gather(column.name(), examples, &mut reals)?;
            range.add(&reals);
            Ok(())
        };
        if fetch(examples).is_err() {
            faults.extend(examples.iter().filter_map(|&example| fetch(&[example]).err()));
        }
        Ok(())
    })?;
    Ok(range)
}
