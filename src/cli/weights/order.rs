//! `ninc weights --for`: the layers of a state dict for those of a network.

use super::{Args, convert};
use crate::cli::foreign;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, Failure, usage};
use ninc::io::torch::StateDict;
use ninc::io::torch::order::{Layer, Matching, matching, split};
use ninc_runtime::Error;
use ninc_runtime::store::Store;
use ninc_runtime::weights::Weights;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub fn run(args: &Args, model: &Path, global: &GlobalOptions) -> Done {
    let (file, path) = (args.file.display(), model.display());
    let Some(StateDict { order, tensors, others, types }) = foreign::of_torch(&args.file)? else {
        let help = "other files keep tensors in an order of their own: `torch.save(net.state_dict(), \"net.pth\")`";
        return Err(usage(format!("--for {path}: {file} is not a state dict of PyTorch"), help));
    };
    if args.json && args.out.is_some() {
        return Err(usage("--json shows what --for finds, and --out writes it", "leave one of them out"));
    }
    let network = global.model(model)?;
    if let Some(out) = &args.out {
        output::not_read(&[("--out", out)], &[&args.file, model])?;
    }
    let some = args.renames.apply(Weights { tensors, others, ..Weights::default() }, &args.file)?;
    let order: Vec<String> = order.into_iter().map(|name| args.renames.target(name)).collect();
    let said = order.iter().map(|name| split(name).0).filter(|name| args.renames.say(name));
    let said: BTreeSet<String> = said.map(String::from).collect();
    let state = StateDict { order, tensors: some.tensors, others: some.others, types };
    let found = matching(&state, &network, &said).map_err(|e| {
        let message = format!("the layers of {file} are not found for {path}: {e}");
        Failure::Error(Error::new(message).with_help(e.help()))
    })?;
    show(&found, args.json)?;
    output::note(&format!(
        "note: layers of the same shapes are taken in the order in which {file} has them, which is that of the \
         computation in most modules; `ninc compare {path} values.npz --weights FILE` holds the values to PyTorch's"
    ));
    let Some(out) = &args.out else { return Ok(()) };
    let mut tensors = BTreeMap::new();
    for (theirs, ours) in &found.pairs {
        for part in ours.parts.keys() {
            tensors.insert(named(ours, part), state.tensors[&named(theirs, part)].clone());
        }
    }
    convert(args, Store { tensors, ..Store::default() }, out, |_, store| Ok(store))
}

/// The name of a layer's tensor.
fn named(layer: &Layer, part: &str) -> String {
    if layer.name.is_empty() { part.into() } else { format!("{}.{part}", layer.name) }
}

fn show(found: &Matching, as_json: bool) -> Done {
    if as_json {
        let mut layers = vec![];
        for (theirs, ours) in &found.pairs {
            layers.push(json!({ "file": theirs.name, "network": ours.name, "tensors": ours.parts }));
        }
        let names = |layers: &[Layer]| layers.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
        let (left, lacking) = (names(&found.left), names(&found.lacking));
        return output::json(&json!({ "layers": layers, "file": left, "network": lacking }));
    }
    let mut table = vec![["file", "network", "tensors"].map(String::from).to_vec()];
    for (theirs, ours) in &found.pairs {
        table.push(vec![theirs.name.clone(), ours.name.clone(), ours.tensors()]);
    }
    table.extend(found.left.iter().map(|layer| vec![layer.name.clone(), "-".into(), layer.tensors()]));
    table.extend(found.lacking.iter().map(|layer| vec!["-".into(), layer.name.clone(), layer.tensors()]));
    output::print(&output::table(&table))?;
    let alone = |layers: &[Layer]| output::counted(layers.len(), "layer");
    output::line(&format!(
        "{} found by order; {} of the file and {} of the network stay alone",
        output::counted(found.pairs.len(), "layer"),
        alone(&found.left),
        alone(&found.lacking)
    ))
}
