//! `dlc predict`: runs a model in inference mode on `.npy` files.

use anyhow::Context;
use dlc_train::{InputDesc, Tensor, TensorRef};
use serde_json::{Map, json};
use std::path::PathBuf;

use super::options::{ModelArgs, RunArgs};
use super::{Outcome, located, npy, output, wrong_input};

/// Run a model on tensors from `.npy` files
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// The weights, a safetensors file
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// An input, any number of examples; without a name, in order of declaration
    #[arg(long = "input", value_name = "[NAME=]FILE", required = true)]
    inputs: Vec<String>,
    /// A result to write; without a name, in order of declaration
    #[arg(long = "output", value_name = "[NAME=]FILE", required = true)]
    outputs: Vec<String>,
    /// End with a JSON object on standard output: the shape of each result
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let model = args.model.open()?;
    let mut net = args.run.compile(&model, 0)?;
    net.load_weights(&args.weights).with_context(|| args.weights.display().to_string())?;
    let inputs = assign(&args.inputs, net.session().predict_inputs(), "input")?;
    let outputs = assign(&args.outputs, net.session().predict_results(), "result")?;
    let tensors: Vec<(&str, Tensor)> = inputs
        .iter()
        .map(|(desc, path)| Ok((desc.name.as_str(), npy::read(path, desc.elem)?)))
        .collect::<anyhow::Result<_>>()?;
    let views: Vec<(&str, TensorRef<'_>)> =
        tensors.iter().map(|(name, tensor)| (*name, tensor.view())).collect();
    let results = located(&model, net.session().predict(&views).map_err(dlc::Error::from))?;
    let mut shapes = Map::new();
    for (desc, path) in outputs {
        let found = results.iter().find(|(name, _)| *name == desc.name);
        let (_, tensor) = found.expect("results were looked up among those of the program");
        shapes.insert(desc.name.clone(), json!(tensor.shape));
        npy::write(&path, &tensor.clone().into())?;
    }
    if args.json {
        output::line(serde_json::Value::Object(shapes))?;
    }
    Ok(Outcome::Done)
}

/// Which tensor each argument is for.
fn assign<'d>(
    given: &[String],
    known: &'d [InputDesc],
    what: &str,
) -> anyhow::Result<Vec<(&'d InputDesc, PathBuf)>> {
    let mut assigned: Vec<(&InputDesc, PathBuf)> = Vec::new();
    for argument in given {
        let named = argument
            .split_once('=')
            .and_then(|(name, path)| Some((known.iter().find(|desc| desc.name == name)?, path)));
        let (desc, path) = match named {
            Some(named) => named,
            // An equals sign in a path is part of it, but what looks like a name is meant as one.
            None => {
                if let Some((name, _)) = argument.split_once('=')
                    && is_name(name)
                {
                    return Err(wrong_input(format!(
                        "the model has no {what} `{name}`, it has {}; write `./{argument}` for a file of that name",
                        names(known)
                    )));
                }
                let free =
                    known.iter().find(|desc| !assigned.iter().any(|(taken, _)| taken == desc));
                let Some(desc) = free else {
                    return Err(wrong_input(format!(
                        "`{argument}` is one {what} too many; the model has {}",
                        names(known)
                    )));
                };
                (desc, argument.as_str())
            }
        };
        if assigned.iter().any(|(taken, _)| *taken == desc) {
            return Err(wrong_input(format!("{what} `{}` is given twice", desc.name)));
        }
        assigned.push((desc, PathBuf::from(path)));
    }
    Ok(assigned)
}

fn names(known: &[InputDesc]) -> String {
    let names: Vec<String> = known.iter().map(|desc| format!("`{}`", desc.name)).collect();
    names.join(", ")
}

/// Whether a word could be the name of an input or result.
fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_abi::{Dim, ElemType};

    fn known() -> [InputDesc; 2] {
        ["a", "b"].map(|name| InputDesc {
            name: name.to_owned(),
            elem: ElemType::F32,
            shape: vec![Dim::batch()],
        })
    }

    fn assigned(given: &[&str]) -> Result<Vec<(String, String)>, String> {
        let given: Vec<String> = given.iter().map(|&text| text.to_owned()).collect();
        let known = known();
        let assigned = assign(&given, &known, "input").map_err(|error| error.to_string())?;
        Ok(assigned
            .into_iter()
            .map(|(desc, path)| (desc.name.clone(), path.display().to_string()))
            .collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(list.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect())
    }

    #[test]
    fn files_go_by_name_and_else_in_order() {
        assert_eq!(assigned(&["x.npy", "y.npy"]), pairs(&[("a", "x.npy"), ("b", "y.npy")]));
        assert_eq!(assigned(&["b=x.npy", "y.npy"]), pairs(&[("b", "x.npy"), ("a", "y.npy")]));
        assert_eq!(assigned(&["./run=3/x.npy"]), pairs(&[("a", "./run=3/x.npy")]));
    }

    #[test]
    fn too_many_files_are_refused() {
        assert_eq!(
            assigned(&["x", "y", "z"]),
            Err("`z` is one input too many; the model has `a`, `b`".to_owned())
        );
        assert_eq!(
            assigned(&["c=x"]),
            Err("the model has no input `c`, it has `a`, `b`; write `./c=x` for a file of that name"
                .to_owned())
        );
        assert_eq!(assigned(&["a=x", "a=y"]), Err("input `a` is given twice".to_owned()));
    }
}
