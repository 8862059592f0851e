//! The command line: one subcommand a file. Only here anything is printed, and only here the process ends.
//!
//! Exit status: 0 done; 1 failed while running; 2 the input is wrong; 130 interrupted, with state saved where there was a
//! place for it.

mod bench;
mod check;
mod compile;
mod data;
mod doctor;
mod dump;
mod eval;
mod explain;
mod fmt;
mod predict;
mod summary;
mod train;

mod npy;
mod options;
mod output;
mod peak;
mod ranks;
mod sheet;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Status of a run that failed.
const FAILED: u8 = 1;
/// Status when the input is wrong.
const WRONG_INPUT: u8 = 2;
/// Status after an interrupt.
const INTERRUPTED: u8 = 130;

/// Compiles neural networks, written in a small language, to native code that trains and runs them.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Compile(compile::Args),
    Fmt(fmt::Args),
    Summary(summary::Args),
    Train(train::Args),
    Eval(eval::Args),
    Predict(predict::Args),
    Dump(dump::Args),
    Bench(bench::Args),
    Data(data::Args),
    Doctor(doctor::Args),
    Explain(explain::Args),
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The answer is no: errors were reported, a file is not formatted.
    No(u8),
    Interrupted,
}

/// What the user gave is wrong; ends with status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongInput(String);

/// An error about what the user gave.
fn wrong_input(message: impl Into<String>) -> anyhow::Error {
    WrongInput(message.into()).into()
}

/// An error at run time with the text of the model that it stems from.
#[derive(Debug, thiserror::Error)]
#[error("{}", dlc_grammar::render_terminal(std::slice::from_ref(diagnostic), sources, false))]
struct Located {
    diagnostic: dlc_grammar::Diagnostic,
    sources: dlc_grammar::Sources,
    /// Whether what was given is at fault.
    input: bool,
}

/// A result of running a model, whose error shows the text that it stems from where there is one.
fn located<T>(model: &dlc::Model, result: Result<T, dlc::Error>) -> anyhow::Result<T> {
    result.map_err(|error| match model.locate(&error) {
        Some(diagnostic) => {
            let sources = model.elaborated().sources.clone();
            Located { diagnostic, sources, input: error.is_input() }.into()
        }
        None => error.into(),
    })
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => check::run(args),
        Command::Compile(args) => compile::run(args),
        Command::Fmt(args) => fmt::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Data(args) => data::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Explain(args) => explain::run(args),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No(status)) => ExitCode::from(status),
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => ExitCode::from(report(&error)),
    }
}

/// Says what went wrong, with all causes, and gives the exit status for it.
fn report(error: &anyhow::Error) -> u8 {
    if output::is_closed_pipe(error) {
        // Whoever read our output has seen enough.
        return 0;
    }
    if let Some(dlc::Error::Model { failure }) = error.downcast_ref::<dlc::Error>()
        && let dlc_driver::model::Failure::Diagnostics { sources, diagnostics } = failure
    {
        output::diagnostics(diagnostics, sources);
        return WRONG_INPUT;
    }
    if let Some(dlc_build::Error::Model { failure }) = error.downcast_ref::<dlc_build::Error>()
        && let dlc_driver::model::Failure::Diagnostics { sources, diagnostics } = failure
    {
        output::diagnostics(diagnostics, sources);
        return WRONG_INPUT;
    }

    if let Some(located) = error.downcast_ref::<Located>() {
        output::diagnostics(std::slice::from_ref(&located.diagnostic), &located.sources);
        return if located.input { WRONG_INPUT } else { FAILED };
    }
    eprintln!("error: {}", told(error));
    let is_input = error.is::<WrongInput>()
        || error.downcast_ref::<dlc_build::Error>().is_some_and(dlc_build::Error::is_input)
        || error.is::<dlc::data::DataError>()
        || error.downcast_ref::<dlc::Error>().is_some_and(dlc::Error::is_input);
    if is_input { WRONG_INPUT } else { FAILED }
}

/// The error with its causes. What a message already says of its cause, or a cause of the file that the message names, is said once.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if cause.contains(&text) {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::told;
    use anyhow::{Context, anyhow};

    #[test]
    fn nothing_is_said_twice() {
        let with = |context: &'static str, cause: &'static str| {
            told(&Err::<(), _>(anyhow!(cause)).context(context).expect_err("an error"))
        };
        assert_eq!(with("could not write `w`", "no space"), "could not write `w`: no space");
        assert_eq!(
            with("could not write `w`: no space", "no space"),
            "could not write `w`: no space"
        );
        assert_eq!(with("w", "could not read `w`"), "could not read `w`");
        assert_eq!(told(&anyhow!("alone")), "alone");
    }
}
