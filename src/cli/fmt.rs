//! `dlc fmt`: formats files.

use anyhow::Context;
use dlc_grammar::{FileId, Sources};
use std::path::PathBuf;

use super::{FAILED, Outcome, WRONG_INPUT, output, wrong_input};

/// Format files in place
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change nothing; list the files that are not formatted, and fail if there are any
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for path in &args.files {
        let text = std::fs::read_to_string(path).map_err(|error| {
            wrong_input(format!("could not read `{}`: {error}", path.display()))
        })?;
        match dlc_grammar::format(FileId(0), &text) {
            Err(diagnostics) => {
                let mut sources = Sources::new();
                sources.add(path.display().to_string(), text);
                output::diagnostics(&diagnostics, &sources);
                outcome = Outcome::No(WRONG_INPUT);
            }
            Ok(formatted) if formatted == text => {}
            Ok(_) if args.check => {
                output::line(path.display())?;
                if outcome == Outcome::Done {
                    outcome = Outcome::No(FAILED);
                }
            }
            Ok(formatted) => dlc_train::write_atomically(path, formatted.as_bytes())
                .with_context(|| format!("could not write `{}`", path.display()))?,
        }
    }
    Ok(outcome)
}
