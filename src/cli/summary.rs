//! `dlc summary`: what a model consists of.

use comfy_table::{CellAlignment, Table, presets};
use dlc_abi::{Manifest, bubble};
use dlc_driver::ranks::{
    RankSummary, Spread, TensorLeaf, TensorMap, UpdateMap, piece_of, rank_summaries,
};
use dlc_frontend::{LayerSummary, ModelProgram};
use dlc_train::Shape;
use serde_json::{Value, json};

use super::options::{ModelArgs, RunArgs};
use super::{Outcome, output};

/// Show layers, shapes, parameters, operations and memory of a model
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Show what each of so many ranks has [default: as many as the model asks for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    ranks: Option<u32>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let model = args.model.open()?;
    let program = &model.elaborated().program;
    let net = args.run.compile(&model, 0)?;
    let programs = net.session().programs();
    let step = programs.train.as_ref().unwrap_or(&programs.predict);
    let memory = memory(step.manifest(), net.session().threads());
    let kept: u64 =
        net.session().memory().layout().entries().iter().map(|entry| entry.bytes as u64).sum();
    let batch = args.run.batch.map(|batch| batch as usize);
    let grid = program.settings.grid();
    let ranks = match args.ranks.unwrap_or(grid.ranks()) {
        1 if args.ranks.is_none() => None,
        ranks => {
            let backend = args.run.target()?.backend().map_err(dlc::Error::from)?;
            let target = backend.target();
            let found = rank_summaries(model.elaborated(), batch, ranks, &target);
            Some(found.map_err(dlc::Error::from)?)
        }
    };
    let what = if programs.train.is_some() { "training step" } else { "inference" };
    if args.json {
        let value = json!({
            "model": program.name,
            "layers": program.summary.iter().map(row_json).collect::<Vec<_>>(),
            "weights": weights(program),
            "params": program.trainable(),
            "batch": net.batch(),
            "flops_train": net.flops().train,
            "flops_predict": net.flops().predict,
            "bytes_kept": kept,
            "bytes_step": memory,
            "ranks": ranks.iter().flat_map(|found| &found.ranks).map(rank_json).collect::<Vec<_>>(),
            "slices": ranks.iter().flat_map(|found| slices_json(&found.spread)).collect::<Vec<_>>(),
            "pieces": ranks.iter().flat_map(|found| pieces_json(&found.spread)).collect::<Vec<_>>(),
        });
        output::line(value)?;
        return Ok(Outcome::Done);
    }
    output::line(layers(program))?;
    output::line("")?;
    output::line(weight_table(program))?;
    output::line("")?;
    output::line(format_args!("{} trainable parameters", grouped(program.trainable())))?;
    let flops = if programs.train.is_some() { net.flops().train } else { net.flops().predict };
    output::line(format_args!(
        "{what} of {} examples: {:.1} million operations",
        net.batch(),
        flops / 1e6
    ))?;
    output::line(format_args!(
        "memory: {} of parameters and state, {} for a step ({})",
        mib(kept),
        mib(memory),
        match net.session().threads() {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        }
    ))?;
    if let Some(found) = ranks.filter(|found| !found.ranks.is_empty()) {
        output::line("")?;
        output::line(rank_table(&found.ranks))?;
        if let Some(map) = &found.spread.tensors {
            output::line("")?;
            output::line(slice_table(program, map))?;
        }
        if let Some(map) = &found.spread.updates {
            output::line("")?;
            output::line(update_table(program, map))?;
        }
        if let Some(pipeline) = &program.settings.pipeline {
            let (stages, pieces) = (pipeline.stages(), pipeline.micro_batches);
            output::line(format_args!(
                "{stages} stages, {pieces} micro-batches, {}: each stage waits {:.1} % of a step, if all take the same time",
                pipeline.order.name(),
                100.0 * bubble(stages, pieces)
            ))?;
        }
    }
    Ok(Outcome::Done)
}

fn rank_json(rank: &RankSummary) -> Value {
    json!({
        "replica": rank.place.replica,
        "stage": rank.place.stage,
        "slice": rank.place.slice,
        "first_shard": rank.shards.0,
        "shards": rank.shards.1,
        "examples": rank.examples,
        "params": rank.params,
        "bytes_kept": rank.bytes_kept,
        "bytes_step": rank.bytes_step,
        "micro_batches": rank.live,
        "messages": rank.messages,
        "bytes": rank.bytes,
    })
}

fn slices_json(spread: &Spread) -> Vec<Value> {
    let leaves = spread.tensors.iter().flat_map(|map| &map.leaves);
    let value = |leaf: &TensorLeaf| json!({"name": leaf.name, "axis": leaf.cut.axis, "block": leaf.cut.block});
    leaves.map(value).collect()
}

/// What replicas update in pieces, and which states each of them keeps a piece of.
fn pieces_json(spread: &Spread) -> Vec<Value> {
    let leaves = spread.updates.iter().flat_map(|map| &map.leaves);
    leaves.map(|leaf| json!({"name": leaf.name, "kept_whole": !leaf.is_cut})).collect()
}

/// Where weights are cut.
fn slice_table(program: &ModelProgram, map: &TensorMap) -> Table {
    let mut table = table(&["cut weight", "shape", "along axis", "in each slice"]);
    for param in &program.params {
        let Some(leaf) = map.leaves.iter().find(|leaf| leaf.name == param.name) else { continue };
        let (axis, extent) = (leaf.cut.axis, leaf.shape[leaf.cut.axis]);
        let sizes = (0..map.slices).map(|slice| {
            let range = leaf.cut.range(extent, slice);
            (range.end - range.start).to_string()
        });
        table.add_row([
            leaf.name.clone(),
            Shape(&param.shape).to_string(),
            axis.to_string(),
            sizes.collect::<Vec<_>>().join(" + "),
        ]);
    }
    table
}

/// What each replica updates of every weight, and what it keeps of the optimizer's state.
fn update_table(program: &ModelProgram, map: &UpdateMap) -> Table {
    let mut table =
        table(&["weight", "numbers", "updated by each replica", "kept in pieces", "kept whole"]);
    for param in program.params.iter().filter(|param| !param.frozen) {
        let n: i64 = param.shape.iter().map(|dim| dim.at(1)).product();
        let own = match map.leaf(&param.name) {
            Some(_) => piece_of(n, map.replicas),
            None => n,
        };
        let names = |cut: bool| {
            let states = program.states.iter().map(|state| &state.name);
            let own = states.filter(|name| map.cut_leaf(name).is_some() == cut);
            let own = own.filter_map(|name| name.strip_prefix(&param.name)?.strip_prefix('/'));
            own.collect::<Vec<_>>().join(", ")
        };
        table.add_row([param.name.clone(), grouped(n), grouped(own), names(true), names(false)]);
    }
    right(&mut table, &[1, 2]);
    table
}

fn rank_table(ranks: &[RankSummary]) -> Table {
    let mut table = table(&[
        "rank",
        "stage",
        "slice",
        "shards",
        "examples",
        "parameters",
        "kept",
        "for a step",
        "under way",
        "messages a step",
        "bytes a step",
    ]);
    for (number, rank) in ranks.iter().enumerate() {
        let (first, count, of) = rank.shards;
        table.add_row([
            number.to_string(),
            rank.place.stage.to_string(),
            rank.place.slice.to_string(),
            format!("{first} to {} of {of}", first + count - 1),
            rank.examples.to_string(),
            grouped(rank.params),
            mib(rank.bytes_kept),
            mib(rank.bytes_step),
            rank.live.to_string(),
            rank.messages.to_string(),
            grouped(i64::try_from(rank.bytes).unwrap_or(i64::MAX)),
        ]);
    }
    table
}

/// Bytes of a workspace.
fn memory(manifest: &Manifest, threads: usize) -> u64 {
    use dlc_abi::BufferRole;
    let own = manifest
        .buffers
        .iter()
        .filter(|desc| {
            matches!(
                desc.role,
                BufferRole::Input | BufferRole::Output | BufferRole::Table | BufferRole::Message
            )
        })
        .map(|desc| desc.bytes);
    own.sum::<u64>() + manifest.arena_bytes + manifest.scratch_bytes * threads as u64
}

fn layers(program: &ModelProgram) -> Table {
    let mut table = table(&["layer", "kind", "result", "parameters", "operations each"]);
    for row in &program.summary {
        table.add_row([
            format!("{}{}", "  ".repeat(row.depth), row.name),
            row.kind.clone(),
            shape(row),
            grouped(row.params),
            grouped(row.multiply_adds.saturating_mul(2)),
        ]);
    }
    right(&mut table, &[3, 4]);
    table
}

fn weight_table(program: &ModelProgram) -> Table {
    let mut table = table(&["weight", "shape", "numbers"]);
    for param in &program.params {
        let n: i64 = param.shape.iter().map(|dim| dim.at(1)).product();
        let frozen = if param.frozen { " (frozen)" } else { "" };
        table.add_row([param.name.clone(), format!("{}{frozen}", Shape(&param.shape)), grouped(n)]);
    }
    right(&mut table, &[2]);
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    table
}

fn right(table: &mut Table, columns: &[usize]) {
    for &index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn shape(row: &LayerSummary) -> String {
    row.shape.as_ref().map_or(String::new(), |shape| Shape(shape).to_string())
}

fn row_json(row: &LayerSummary) -> Value {
    json!({
        "name": row.name,
        "kind": row.kind,
        "depth": row.depth,
        "shape": row.shape.as_ref().map(|shape| Shape(shape).to_string()),
        "params": row.params,
        "multiply_adds": row.multiply_adds,
    })
}

fn weights(program: &ModelProgram) -> Vec<Value> {
    let extents = |shape: &[dlc_abi::Dim]| shape.iter().map(|dim| dim.at(1)).collect::<Vec<_>>();
    program
        .params
        .iter()
        .map(|param| json!({ "name": param.name, "shape": extents(&param.shape), "frozen": param.frozen }))
        .collect()
}

/// `431,080`
fn grouped(n: i64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && (digits.len() - index).is_multiple_of(3)
            && digit != '-'
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_threes() {
        let texts = [0, 12, 123, 1234, 431_080, 1_000_000, -1234].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "431,080", "1,000,000", "-1,234"]);
    }
}
