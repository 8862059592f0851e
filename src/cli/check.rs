//! `dlc check`: diagnostics only.

use anyhow::Context;
use dlc_driver::model::{Loaded, load};
use dlc_frontend::ElaborateOptions;
use dlc_grammar::{Diagnostic, Severity, render_concise, render_json};
use std::path::PathBuf;

use super::{Outcome, WRONG_INPUT, output, wrong_input};

/// Check a file and report what is wrong with it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file
    file: PathBuf,
    /// One line for each finding, for editors
    #[arg(long, conflicts_with = "json")]
    concise: bool,
    /// Findings as a JSON list
    #[arg(long)]
    json: bool,
    /// Leave out warnings of this code, or all `warnings`
    #[arg(long, value_name = "CODE")]
    allow: Vec<String>,
    /// Make warnings of this code, or all `warnings`, errors
    #[arg(long, value_name = "CODE")]
    deny: Vec<String>,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| {
        wrong_input(format!("could not read `{}`: {error}", args.file.display()))
    })?;
    let name = args.file.display().to_string();
    let Loaded { sources, front_end, mut diagnostics, .. } = load(&name, &text, args.file.parent());
    if !diagnostics.iter().any(Diagnostic::is_error) {
        // A file of layers alone is fine; each of several models is checked.
        for model in front_end.models() {
            let (_, more) =
                front_end.elaborate(&ElaborateOptions { model: Some(model), lint: true });
            diagnostics.extend(more);
        }
        if front_end.models().is_empty() {
            diagnostics.extend(front_end.lint());
        }
        dlc_grammar::diagnostic::sort_and_dedup(&mut diagnostics);
    }
    let is_among = |codes: &[String], found: &Diagnostic| {
        let named = |code: &String| code == "warnings" || code.eq_ignore_ascii_case(found.code.0);
        !found.is_error() && codes.iter().any(named)
    };
    diagnostics.retain(|found| !is_among(&args.allow, found));
    for found in &mut diagnostics {
        if is_among(&args.deny, found) {
            found.severity = Severity::Error;
        }
    }
    if args.json {
        output::line(render_json(&diagnostics, &sources))?;
    } else if args.concise {
        output::text(&render_concise(&diagnostics, &sources)).context("could not print")?;
    } else {
        output::diagnostics(&diagnostics, &sources);
    }
    Ok(match diagnostics.iter().any(Diagnostic::is_error) {
        true => Outcome::No(WRONG_INPUT),
        false => Outcome::Done,
    })
}
