//! `ninc weights`: what a file of weights holds, and the same under other names or with smaller numbers.

use super::foreign::{self, ForeignOptions};
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use ninc::io::torch::StateDict;
use ninc_runtime::data::files;
use ninc_runtime::store::{self, Numbers, Store, System, write_atomically};
use ninc_runtime::weights::{Weights, few};
use ninc_runtime::{Error, Tensor};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod order;
mod rename;

pub use rename::Renames;

/// Characters of a text that are shown.
const LONGEST: usize = 160;

#[derive(clap::Args)]
pub struct Args {
    /// A safetensors file of ninc or of another program, a state dict of PyTorch (.pt, .pth), weights of Caffe
    /// (.caffemodel), or a network (.onnx)
    file: PathBuf,
    #[command(flatten)]
    renames: Renames,
    /// Find the layers of a state dict (.pt, .pth) for those of this network by their order, and show which is which;
    /// with --out the tensors are written under the network's names
    #[arg(long = "for", value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Numbers of the file that is written
    #[arg(long, value_name = "TYPE", value_enum, requires = "out")]
    dtype: Option<Dtype>,
    /// Write the tensors here, with the file's texts, under their new names
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Dtype {
    F32,
    F16,
    Bf16,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    if let Some(model) = &args.model {
        return order::run(args, model, global);
    }
    let (store, types) = read(&args.file, &global.foreign)?;
    match &args.out {
        Some(out) => convert(args, store, out, renamed),
        None => {
            let store = renamed(args, store)?;
            let types = types.into_iter().map(|(name, kind)| (args.renames.target(name), kind)).collect();
            list(&store, &types, args.json)
        }
    }
}

/// Reads a file of any program that is known, with the type and shape of each tensor.
fn read(path: &Path, options: &ForeignOptions) -> Done<(Store, Types)> {
    if let Some(StateDict { tensors, others, types, .. }) = foreign::of_torch(path)? {
        return Ok((Store { tensors, others, ..Store::default() }, types));
    }
    if foreign::is_foreign(path) && !foreign::is_archive(path) {
        let tensors = foreign::any_weights(path, options)?.tensors;
        let of = |(name, tensor): (&String, &Tensor)| (name.clone(), ("F32".to_string(), tensor.dims.clone()));
        let types = tensors.iter().map(of).collect();
        return Ok((Store { tensors, ..Store::default() }, types));
    }
    let bytes = files::read(path, store::CAP)?;
    Ok((Store::from_bytes(&bytes, path, false)?, store::types(&bytes)))
}

/// Gives the store's tensors their new names.
fn renamed(args: &Args, mut store: Store) -> Done<Store> {
    if store.metadata.contains_key(store::FORMATS) {
        args.renames.refuse(&args.file)?;
    }
    let (tensors, others) = (std::mem::take(&mut store.tensors), std::mem::take(&mut store.others));
    let some = Weights { tensors, others, ..Weights::default() };
    let some = args.renames.apply(some, &args.file)?;
    Ok(Store { tensors: some.tensors, others: some.others, ..store })
}

/// Writes the store's tensors, by the names that `named` gives them.
fn convert(args: &Args, store: Store, out: &Path, named: impl FnOnce(&Args, Store) -> Done<Store>) -> Done {
    let file = args.file.display();
    if store.metadata.get("format").is_some_and(|format| format.starts_with("ninc-checkpoint")) {
        let help = "its weights are the .safetensors file beside it; `train --resume` brings it to its end";
        return Err(usage(format!("{file} is a checkpoint, which is not converted"), help));
    }
    output::not_read(&[("--out", out)], &[&args.file])?;
    if args.dtype.is_some_and(|dtype| dtype != Dtype::F32) && store.metadata.contains_key(store::FORMATS) {
        let help = "leave --dtype out: its weights are bytes already, and its scales must stay as they are";
        return Err(usage(format!("{file} is quantised"), help));
    }
    if let Some((name, _)) = store.wide.iter().find(|(_, beyond)| **beyond) {
        return Err(Error::new(format!(
            "`{name}` of {file} holds numbers of float64 beyond 3.4e38, the largest of float32"
        ))
        .with_help("networks are computed in float32: it cannot take these weights")
        .into());
    }
    if args.dtype.is_none() && !store.wide.is_empty() {
        let names: Vec<&str> = store.wide.keys().map(String::as_str).collect();
        output::note(&format!("note: float64 is rounded to float32: {}", few(&names)));
    }
    let store = named(args, store)?;
    let numbers = match args.dtype {
        None | Some(Dtype::F32) => Numbers::F32,
        Some(Dtype::F16) => Numbers::F16,
        Some(Dtype::Bf16) => Numbers::Bf16,
    };
    let beyond = |t: &Tensor| numbers == Numbers::F16 && t.data.iter().any(|v| v.is_finite() && v.abs() >= 65520.0);
    if let Some((name, _)) = store.tensors.iter().find(|(_, tensor)| beyond(tensor)) {
        let message = format!("`{name}` of {file} holds numbers beyond 65504, the largest of f16");
        return Err(Error::new(message).with_help("--dtype bf16 has the range of f32").into());
    }
    for (name, kind) in &store.others {
        output::note(&format!("note: `{name}` ({kind}) is left out: it holds no floats"));
    }
    write_atomically(out, &store.to_bytes_of(numbers), &System)?;
    output::line(&format!(
        "{}: {} of {}",
        out.display(),
        output::counted(store.tensors.len(), "tensor"),
        numbers.name()
    ))
}

/// Returns the smallest and the largest value; a NaN is both.
fn range(tensor: &Tensor) -> Option<[f32; 2]> {
    let first = *tensor.data.first()?;
    let wider = |[low, high]: [f32; 2], &v: &f32| match v.is_nan() || low.is_nan() {
        true => [f32::NAN; 2],
        false => [low.min(v), high.max(v)],
    };
    Some(tensor.data.iter().fold([first; 2], wider))
}

/// Types and shapes by name.
type Types = BTreeMap<String, (String, Vec<usize>)>;

fn list(store: &Store, types: &Types, as_json: bool) -> Done {
    let ranges = types.iter().map(|(name, (kind, dims))| (name, kind, dims, store.tensors.get(name).and_then(range)));
    if as_json {
        let tensors: Vec<_> = ranges
            .map(|(name, kind, dims, range)| json!({ "name": name, "type": kind, "shape": dims, "range": range }))
            .collect();
        return output::json(&json!({ "tensors": tensors, "metadata": store.metadata }));
    }
    let mut table = vec![["tensor", "type", "shape", "smallest", "largest"].map(String::from).to_vec()];
    for (name, kind, dims, range) in ranges {
        let number = |end: usize| range.map_or_else(|| "-".into(), |range| format!("{:.4e}", range[end]));
        table.push(vec![name.clone(), kind.clone(), format!("{dims:?}"), number(0), number(1)]);
    }
    output::print(&output::table(&table))?;
    let numbers: usize = types.values().map(|(_, dims)| dims.iter().product::<usize>()).sum();
    output::line(&format!("{}, {}", output::counted(types.len(), "tensor"), output::counted(numbers, "number")))?;
    for (key, text) in &store.metadata {
        let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.chars().count() > LONGEST {
            shown += " …";
        }
        output::line(&format!("{key}: {shown}"))?;
    }
    Ok(())
}
