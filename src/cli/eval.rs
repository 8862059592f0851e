//! `dlc eval`: loss, metrics and confusion matrix of trained weights.

use anyhow::Context;
use clap::ValueEnum;
use dlc::Confusion;
use serde_json::{Map, Value};
use std::path::PathBuf;

use super::options::{ModelArgs, RunArgs, load_data};
use super::{Outcome, located, output, wrong_input};

/// Above so many classes the matrix is left out: nobody can read it.
const MOST_CLASSES: usize = 40;

/// Judge trained weights by a data set
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// The weights, a safetensors file
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The data, such as `digits`, `mnist:DIR`, `csv:FILE?label=COLUMN`, `text:FILE`
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Which part of the data [default: test if the data have one, else train]
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// End with a JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    /// What models learn from
    Train,
    /// What they are judged by
    Test,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let model = args.model.open()?;
    let splits = load_data(&args.data, &model)?;
    let dataset = match (args.split, splits.test) {
        (Some(Split::Test), None) => {
            return Err(wrong_input(format!("data `{}` have no test split", args.data)));
        }
        (Some(Split::Train), _) | (None, None) => splits.train,
        (Some(Split::Test) | None, Some(test)) => test,
    };
    let mut net = args.run.compile(&model, 0)?;
    net.load_weights(&args.weights).with_context(|| args.weights.display().to_string())?;
    let report = located(&model, net.evaluate(&dataset))?;
    let confusion = net.session().confusion(&dataset).map_err(dlc::Error::from)?;
    if args.json {
        let mut object = Map::new();
        object.insert("examples".to_owned(), report.examples.into());
        output::add_report(&mut object, "", report.loss, &report.metrics);
        if let Some(confusion) = &confusion {
            object.insert("confusion".to_owned(), rows(confusion).into());
        }
        output::line(Value::Object(object))?;
        return Ok(Outcome::Done);
    }
    output::line(format_args!("{}: {} examples", dataset.name(), report.examples))?;
    output::line(output::report(report.loss, &report.metrics))?;
    match confusion {
        Some(confusion) if confusion.n_classes() <= MOST_CLASSES => {
            output::text(&table(&confusion))?
        }
        _ => {}
    }
    Ok(Outcome::Done)
}

fn rows(confusion: &Confusion) -> Vec<Vec<u64>> {
    let classes = 0..confusion.n_classes();
    classes
        .clone()
        .map(|label| classes.clone().map(|predicted| confusion.count(label, predicted)).collect())
        .collect()
}

/// A row for each class, a column for what it was taken for; zeros as dots, so that mistakes stand out.
fn table(confusion: &Confusion) -> String {
    let rows = rows(confusion);
    let widest = rows.iter().flatten().max().map_or(1, |count| count.to_string().len());
    let width = widest.max(confusion.n_classes().to_string().len()) + 1;
    let mut text = String::from("rows: the label; columns: the class with the greatest result\n");
    let header: String = (0..rows.len()).map(|class| format!("{class:>width$}")).collect();
    text.push_str(&format!("{:>width$} |{header}\n", ""));
    for (label, row) in rows.iter().enumerate() {
        text.push_str(&format!("{label:>width$} |"));
        for &count in row {
            let count = if count == 0 { ".".to_owned() } else { count.to_string() };
            text.push_str(&format!("{count:>width$}"));
        }
        text.push('\n');
    }
    text
}
