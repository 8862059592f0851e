//! `dlc explain`: what the code of a diagnostic means.

use dlc_frontend::{Explanation, explanations};
use dlc_grammar::parse::EXPLANATIONS;

use super::{Outcome, output, wrong_input};

/// Explain the code of a diagnostic, such as E0312; without one, list them all
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code
    code: Option<String>,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut all = EXPLANATIONS.to_vec();
    all.extend(explanations());
    let Some(code) = args.code else {
        for Explanation { code, title, .. } in all {
            output::line(format_args!("{code}  {title}"))?;
        }
        return Ok(Outcome::Done);
    };
    let code = code.to_uppercase();
    let Some(found) = all.iter().find(|one| one.code == code) else {
        return Err(wrong_input(format!("there is no code `{code}`; `dlc explain` lists them")));
    };
    output::text(&format!("{}: {}\n\n{}", found.code, found.title, found.text))?;
    Ok(Outcome::Done)
}
