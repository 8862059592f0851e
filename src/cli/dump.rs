//! `dlc dump`: the text of any stage.

use clap::ValueEnum;
use dlc_driver::model::{elaborate_file, load};
use dlc_driver::ranks::RankOf;
use dlc_driver::stages::{Part, Stage, text};

use super::options::{ModelArgs, RunArgs};
use super::{Outcome, output, wrong_input};

/// Print a program at a stage between source and machine code
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// After which stage
    #[arg(long, value_enum)]
    stage: StageName,
    /// Which of the model's programs [default: train if there is one, else predict]
    #[arg(long, value_enum)]
    program: Option<PartName>,
    /// The program of one of so many ranks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ranks: Option<u32>,
    /// Which of them, from 0
    #[arg(long, value_name = "N", default_value_t = 0, requires = "ranks")]
    rank: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StageName {
    /// The syntax tree
    Ast,
    /// The graph as the text says it; of training the forward part
    Graph,
    /// With gradients and update
    Autodiff,
    /// With the order of every sum
    Frozen,
    /// Scheduled loops over placed buffers
    Tile,
    /// Vector code
    Vector,
    /// Machine code
    Asm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PartName {
    /// First values
    Init,
    /// A training step
    Train,
    /// Loss and totals of metrics
    Eval,
    /// Metrics from totals
    Finish,
    /// Inference
    Predict,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let stage = match args.stage {
        StageName::Ast => return dump_tree(&args.model),
        StageName::Graph => Stage::Graph,
        StageName::Autodiff => Stage::Autodiff,
        StageName::Frozen => Stage::Frozen,
        StageName::Tile => Stage::Tile,
        StageName::Vector => Stage::Vector,
        StageName::Asm => Stage::Asm,
    };
    let elaborated =
        elaborate_file(&args.model.file, args.model.model.as_deref()).map_err(dlc::Error::from)?;
    let part = match args.program {
        Some(PartName::Init) => Part::Init,
        Some(PartName::Train) => Part::Train,
        Some(PartName::Eval) => Part::Eval,
        Some(PartName::Finish) => Part::Finish,
        Some(PartName::Predict) => Part::Predict,
        None if elaborated.program.train.is_some() => Part::Train,
        None => Part::Predict,
    };
    let batch = args.run.batch.map(|batch| batch as usize);
    let rank = args.ranks.map(|ranks| RankOf::of(&elaborated.program, ranks, args.rank));
    let rank = rank.transpose().map_err(dlc::Error::from)?;
    let target = args.run.any_target()?;
    match text(&elaborated, part, stage, batch, target, rank).map_err(dlc::Error::from)? {
        Some(text) => output::text(&text)?,
        None => {
            let name = &elaborated.program.name;
            return Err(wrong_input(format!(
                "`{name}` has no `train` block, so it has no such program"
            )));
        }
    }
    Ok(Outcome::Done)
}

/// The tree is shown also where it has errors: that is when one looks at it.
fn dump_tree(model: &ModelArgs) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(&model.file).map_err(|error| {
        wrong_input(format!("could not read `{}`: {error}", model.file.display()))
    })?;
    let loaded = load(&model.file.display().to_string(), &text, model.file.parent());
    output::diagnostics(&loaded.diagnostics, &loaded.sources);
    output::line(format_args!("{:#?}", loaded.main))?;
    Ok(Outcome::Done)
}
