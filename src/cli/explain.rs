//! `dlc explain`: what the code of a diagnostic means.

use dlc_frontend::{Explanation, explanations};
use dlc_grammar::parse::CODES;

use super::{Outcome, output, wrong_input};

/// Explain the code of a diagnostic, such as E0312; without one, list them all
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code
    code: Option<String>,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let all = explanations();
    let Some(code) = args.code else {
        for (code, title) in CODES {
            output::line(format_args!("{code}  {title}"))?;
        }
        for Explanation { code, title, .. } in all {
            output::line(format_args!("{code}  {title}"))?;
        }
        return Ok(Outcome::Done);
    };
    let code = code.to_uppercase();
    if let Some(found) = all.iter().find(|one| one.code == code) {
        output::text(&format!("{}: {}\n\n{}", found.code, found.title, found.text))?;
    } else if let Some((code, title)) = CODES.iter().find(|(known, _)| *known == code) {
        output::text(&format!("{code}: {title}\n"))?;
    } else {
        return Err(wrong_input(format!("there is no code `{code}`; `dlc explain` lists them")));
    }
    Ok(Outcome::Done)
}
